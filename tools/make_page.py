"""The page readme/index.html and the film readme/demo.mp4: what the voices make of other speakers.

    python tools/make_page.py [--voice FOLDER ...] [--out readme]

Each FOLDER holds a voice and is named as in page_targets.py; by default the voices of models/. The voice converts
its clips of data/sample. Sounds and spectrograms go to OUT/clips/<voice>, what the player needs to know of
them to OUT/clips/<voice>/tracks.js. Voices that are not given keep their clips. A source is stored once, for
all voices. The page plays from a disk as well as from a server, and asks nobody else for anything. Its tables
are those of docs/measurements.md.
"""

import argparse
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import numpy as np
from demo_video import write_video
from page_targets import NOTES, SPEAKERS, TARGETS

from vc_lib.anonymize import resynthesize
from vc_lib.audio import list_audio, load_wav
from vc_lib.convert import Voice, load_voice
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import Clip
from vc_lib.evaluate.baselines import world_statistics
from vc_lib.listen.page import DESCRIBED, player_code, players_of
from vc_lib.listen.tracks import tracks_of

REPO = Path(__file__).resolve().parents[1]
SAMPLE = REPO / "data" / "sample"
ENGLISH = ("demo-instruct-8", "dir-intro-1", "followme-sorry", "queue-periodic-announce")
OWN = "target, another sentence"
SECONDS = 10.0  # of each sentence at most
N_OPEN = 6  # clips of a voice that are seen at once; the others are folded


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--voice", action="append", type=Path, metavar="FOLDER")
    p.add_argument("--out", default=REPO / "readme", type=Path)
    a = p.parse_args()
    folders = a.voice or [path for name in TARGETS if (path := REPO / "models" / name).exists()]
    unknown = [str(path) for path in folders if path.resolve().name not in TARGETS]
    if unknown:
        raise ParameterError(
            f"--voice {unknown[0]}: the folder must be named {' or '.join(TARGETS)}; rename it, "
            "or describe another voice in tools/page_targets.py"
        )
    voices = {path.resolve().name: load_voice(path) for path in folders}
    for name in TARGETS:  # a later voice plays sounds of an earlier one
        if name in voices:
            write_clips(name, voices[name], a.out)
    write_video(a.out)
    (a.out / "index.html").write_text(page(a.out), encoding="utf-8")


# The clips of a voice


def write_clips(name: str, voice: Voice, out: Path) -> None:
    """Convert the clips of a voice and write OUT/clips/<name>."""
    (out / "clips" / "sources").mkdir(parents=True, exist_ok=True)
    folder = out / "clips" / name
    folder.mkdir(exist_ok=True)
    own = load_wav(out / TARGETS[name].recording, voice.sr)[: int(SECONDS * voice.sr)]
    clips = []
    for clip in TARGETS[name].clips.split():
        wavs = versions(voice, load_wav(recording_of(clip, out), voice.sr)) | {OWN: own}
        tracks = [
            stored(track, out, place(name, clip, track["label"]))
            for track in tracks_of(wavs, voice.sr)
        ]
        clips.append({"title": title_of(clip), "tracks": tracks})
        print(name, clip, flush=True)
    lines = ",\n".join(json.dumps(clip, separators=(",", ":")) for clip in clips)
    text = f"(globalThis.voiceClips ??= []).push(...[\n{lines}\n]);\n"
    (folder / "tracks.js").write_text(text, encoding="utf-8")


def recording_of(clip: str, out: Path) -> Path:
    """The file of a clip that is converted."""
    if clip in TARGETS:
        return out / TARGETS[clip].recording
    english = {f"en_woman_allison_{i}": name for i, name in enumerate(ENGLISH, 1)}
    if clip in english:
        return SAMPLE / "target" / f"{english[clip]}.flac"
    return {path.stem: path for path in list_audio(SAMPLE / "sources")}[clip]


def title_of(clip: str) -> str:
    """What stands over a sentence, as "a woman, French: sentence 2"."""
    if clip in SPEAKERS:
        return SPEAKERS[clip]
    speaker, _, number = clip.rpartition("_")
    note = f", {NOTES[clip]}" if clip in NOTES else ""
    return f"{SPEAKERS[speaker]}{note}: sentence {number}"


def versions(voice: Voice, wav: np.ndarray) -> dict[str, np.ndarray]:
    """The sounds of a player but the last: what is given to the network, to statistics, and what comes out."""
    clip = Clip(wav[: int(SECONDS * voice.sr)], voice.sr)
    return {
        "source": clip.wav,
        "anonymized": voice.anonymize(clip.wav, voice.sr),
        "baseline": resynthesize(
            world_statistics(clip.features, voice.config.target), len(clip.wav)
        ),
        "converted": voice.convert(clip.wav, voice.sr),
    }


def place(name: str, clip: str, label: str) -> str:
    """Where the sound and the picture of a row lie in clips/, without suffix."""
    if label == OWN:
        return f"{name}/target"
    if label == "source":
        return f"{clip}/target" if clip in TARGETS else f"sources/{clip}"
    return f"{name}/{clip}_{label}"


def stored(track: Mapping, out: Path, stem: str) -> dict:
    """Write sound and picture of a row and describe it to the player; a sound that is there keeps its picture."""
    sound, picture = (out / "clips" / f"{stem}.{suffix}" for suffix in ("mp3", "png"))
    shared = stem.startswith("sources/") or stem.endswith("/target")
    if not shared or not (sound.exists() and picture.exists()):
        sound.write_bytes(track["sound"])
        picture.write_bytes(track["picture"])
    elif sound.read_bytes() != track["sound"]:
        raise ParameterError(
            f"{sound} holds another sound or another level; remove it, and make all voices again"
        )
    kept = {key: track[key] for key in DESCRIBED} | {"cut": track["label"] == OWN}
    return kept | {"src": f"clips/{stem}.mp3", "picture": f"clips/{stem}.png"}


def clips_of(name: str, out: Path) -> list[dict]:
    """Title and tracks of the clips of a voice, as they were written."""
    path = out / "clips" / name / "tracks.js"
    if not path.exists():
        raise MissingInput(f"{path} does not exist; run tools/make_page.py --voice FOLDER/{name}")
    return json.loads(f"[{''.join(path.read_text(encoding='utf-8').splitlines()[1:-1])}]")


# The page


def page(out: Path) -> str:
    """The page as HTML."""
    measurements = (REPO / "docs" / "measurements.md").read_text(encoding="utf-8")
    known = [name for name in TARGETS if (out / "clips" / name / "tracks.js").exists()]
    template = Template((REPO / "tools" / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        contents="\n".join(
            f'<li><a href="#{name}">{html.escape(TARGETS[name].title)}</a></li>' for name in known
        ),
        voices="\n".join(section(name, clips_of(name, out)) for name in known),
        scripts="\n".join(f'<script src="clips/{name}/tracks.js"></script>' for name in known),
        tables="\n".join(scrolling(table) for table in tables_of(measurements)),
        code=player_code(),
    )


def section(name: str, clips: Sequence[Mapping]) -> str:
    """Heading, description and players of a voice."""
    target = TARGETS[name]
    titled = [(clip["title"], clip["tracks"]) for clip in clips]
    shown, folded = (players_of(part, "h3") for part in (titled[:N_OPEN], titled[N_OPEN:]))
    lines = [f'<h2 id="{name}">To {html.escape(target.title)}</h2>', f"<p>{target.about}</p>"]
    lines.append(shown["players"])
    if folded["players"]:
        summary = f"{len(titled) - N_OPEN} more sentences of these speakers"
        lines.append(f"<details><summary>{summary}</summary>\n{folded['players']}\n</details>")
    return "\n".join(lines)


def scrolling(table: str) -> str:
    """A table in a box that scrolls where the screen is narrow, by the keyboard too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="table">{table}</div>'


def tables_of(measurements: str) -> list[str]:
    """The tables with intervals ("±") of the section on quality, as HTML."""
    section = re.search(r"^## How good is it\n(.*?)^## ", measurements, re.DOTALL | re.MULTILINE)[1]
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        if "±" not in block:
            continue
        rows = [[c.strip() for c in line.strip("|\n").split("|")] for line in block.splitlines()]
        head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in rows[0])
        body = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{html.escape(c)}</td>" for c in row[1:])
            + "</tr>"
            for row in rows[2:]
        )
        found.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return found


if __name__ == "__main__":
    main()
