"""A page to listen to converted recordings: index.html beside them, with a player for each.

It is one file: any browser plays it from a disk, and it asks no server for anything.
"""

import html
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from string import Template

import numpy as np

from ..audio import blocks
from ..convert import Voice
from ..errors import ParameterError
from ..files import atomically
from .tracks import PLAYER, data_url, tracks_of

MAX_CLIPS = 12  # recordings on the page; more make it slow to open
SECONDS = 10.0  # longest part of each that is heard, from its beginning [s]
GENERATOR = '<meta name="generator" content="vc_lib">'  # tells our pages from others
# what player.js is told of a track beside its sound and its picture
DESCRIBED = ("label", "note", "seconds", "f0", "period")
PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
$generator
<title>Converted to $voice</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 1.4rem 0 .3rem; font-size: 1rem; overflow-wrap: anywhere; }
.touch { display: none; }
@media (hover: none), (pointer: coarse) { .touch { display: inline; } .keys { display: none; } }
</style></head><body>
<h1>Converted to $voice</h1>
<p><strong>What is converted is synthetic speech; say so wherever it is heard.</strong> Press play, then
<span class="keys"><kbd>1</kbd> and <kbd>2</kbd></span><span class="touch">tap a name</span> to switch at the same
moment. Sounds are brought to one level here; each file keeps its own. The page has the first 10 s of each. $shown</p>
$players
<script type="module">
$script
</script></body></html>
""")
# the tracks of each clip are mounted in its section; the last, the result, is heard first
SCRIPT = Template("""$code
const all = $data;
document.querySelectorAll(".here").forEach((root, i) => mount(root, all[i]).select(all[i].length - 1));""")


def excerpt(voice: Voice, path, converted_path, n_samples: int) -> dict[str, np.ndarray]:
    """The beginning of a clip: source, anonymized and converted.

    Parameters
    ----------
    voice : Voice
    path, converted_path : str or Path
        The clip, and its conversion by `voice`.
    n_samples : int
        Longest excerpt, at `voice.sr`.

    Returns
    -------
    dict of label to np.ndarray [shape=(n_samples,), -1..1]
    """
    wav, converted = (next(blocks(p, voice.sr, n_samples)) for p in (path, converted_path))
    speaker = voice.source_stats(blocks(path, voice.sr, n_samples))  # of the whole clip
    anonymized = voice.anonymize(wav, voice.sr, source=speaker)
    return {"source": wav, "anonymized": anonymized, "converted": converted}


def write_listening_page(voice: Voice, results: Mapping[Path, Path], folder) -> Path:
    """Write index.html: the beginning of each source over what was made of it.

    Parameters
    ----------
    voice : Voice
    results : dict of Path to Path
        Converted file of each source, as `convert_folder` returns it; the first 12 are shown.
    folder : str or Path
        Folder of the page. An older page of this kind is replaced.

    Returns
    -------
    path : Path
        The page.

    Raises
    ------
    MissingInput, ParameterError
        If a file of `results` is gone or damaged, or the folder has an index.html of another kind.
    NotWritten
        If the disk is full, or the folder is read-only.
    """
    path = Path(folder) / "index.html"
    if path.exists() and not (path.is_file() and GENERATOR.encode() in path.read_bytes()):
        raise ParameterError(f"{path} is no page of ours; move it, or choose another folder")
    n_samples, clips = int(SECONDS * voice.sr), []
    for source, converted in islice(results.items(), MAX_CLIPS):
        files = {"source": source, "converted": converted}
        wavs = {k: next(blocks(file, voice.sr, n_samples)) for k, file in files.items()}
        clips.append((converted.name, embedded_tracks(wavs, voice.sr)))
    n_more = len(results) - len(clips)
    text = PAGE.substitute(
        generator=GENERATOR,
        voice=html.escape(voice.name),
        shown=f"The folder holds {n_more} more." if n_more else "",
        **players_of(clips, "h2"),
    )
    data = text.encode("utf-8", "replace")  # names of files need not be text
    atomically(path, lambda part: part.write_bytes(data))
    return path


def players_of(clips: Sequence[tuple[str, list[dict]]], heading: str) -> dict[str, str]:
    """The parts of a page that play clips; the code is in it, as a browser loads no module from a disk.

    Parameters
    ----------
    clips : sequence of (title, tracks)
        Titles are text, not HTML. Tracks are those of `mount` in player.js.
    heading : str
        Tag of the titles, such as "h2".

    Returns
    -------
    dict of str to str
        `players`, the sections of the clips; `script`, the text of a module that fills them.
    """
    sections = (
        f'<section><{heading}>{html.escape(title)}</{heading}><div class="here"></div></section>'
        for title, _ in clips
    )
    data = json.dumps([tracks for _, tracks in clips], separators=(",", ":"))
    script = SCRIPT.substitute(code=player_code(), data=data.replace("<", "\\u003c"))
    return dict(players="\n".join(sections), script=script)


def player_code() -> str:
    """The code of the players, as text."""
    return PLAYER.read_text(encoding="utf-8")


def embedded_tracks(wavs: Mapping[str, np.ndarray], sr: int) -> list[dict]:
    """Tracks of waveforms of one clip, for `players_of`.

    Parameters
    ----------
    wavs : dict of label to np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    """
    return [_embedded(track) for track in tracks_of(wavs, sr)]


def _embedded(track: Mapping) -> dict:
    """A track of a `Player` for player.js, with sound and picture in its own text."""
    return {key: track[key] for key in DESCRIBED} | {
        "src": data_url(track["mime"], track["sound"]),
        "picture": data_url("image/png", track["picture"]),
    }
