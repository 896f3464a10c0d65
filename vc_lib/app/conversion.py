"""Convert a recording that somebody gave the page, and show it in players."""

import html
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from string import Template
from threading import Event

import numpy as np

from ..audio import blocks
from ..convert import Voice, convert_file
from ..errors import ParameterError
from ..listen.page import embedded_tracks, excerpt, players_of
from ..listen.tracks import SILENT_DB

SHOWN_S = 20.0  # longest part of a recording that is played on the page, from its beginning [s]
SHORTEST_S = 0.3  # shorter recordings hold no speech to measure [s]
BLOCK_S = 10.0  # length of the blocks in which a recording is checked [s]
SIZE = 1_000_000_000  # largest upload [bytes]
# the frame takes the theme of the page around it, and the height of its own text
FRAME = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; padding: 1px; }
section h3 { margin: 0 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
.vc-player { max-width: none; }
</style></head><body>
$players
<script type="module">
$script
const dark = parent.document.body.classList.contains("dark");
document.documentElement.style.colorScheme = frameElement.style.colorScheme = dark ? "dark" : "light";
const fit = () => (frameElement.style.height = document.body.scrollHeight + "px");
new ResizeObserver(fit).observe(document.body);
</script></body></html>
""")


class Stopped(Exception):
    """Nobody waits for the conversion any more."""


def check_recording(path) -> float:
    """Length of a recording [s], after checking that there is something to convert.

    Raises
    ------
    ParameterError
        If it is not sound, empty, shorter than 0.3 s or silent. The message is one sentence for the
        person who gave the file, and names it without its folder.
    """
    path, n_samples, peak, sr = Path(path), 0, 0.0, 16_000
    try:
        for wav in blocks(path, sr, round(BLOCK_S * sr)):
            n_samples += len(wav)
            peak = max(peak, float(np.abs(wav).max()))
    except ParameterError as e:
        raise ParameterError(without_folder(e, path)) from e
    seconds = n_samples / sr
    if seconds < SHORTEST_S:
        raise ParameterError(
            f"{path.name} lasts {seconds:.2f} s; give a recording of {SHORTEST_S:g} s or more"
        )
    if peak < 10 ** (SILENT_DB / 20):
        raise ParameterError(f"{path.name} is silent; check the microphone, or give another file")
    return seconds


def without_folder(error: Exception, path: Path) -> str:
    """The message of an error; the path is written as the name of the file."""
    return str(error).replace(str(path.absolute()), path.name).replace(str(path), path.name)


@contextmanager
def converting(voice: Voice, source, folder, name: str) -> Iterator[tuple[Path, Iterator[float]]]:
    """Convert a file in a thread.

    The end of the context stops the conversion at its next chunk, and does not wait for it. Once it
    has stopped, nothing is left in `folder`.

    Parameters
    ----------
    voice : Voice
    source : str or Path
    folder : str or Path
        Of the result.
    name : str
        File name of the result.

    Returns
    -------
    destination : Path
        The result, in a folder of its own.
    steps : iterator of float
        Seconds that are done; ends when the result is whole, or with an error of `convert_file`.
    """
    own = Path(tempfile.mkdtemp(dir=folder))
    steps: SimpleQueue = SimpleQueue()
    stopped = Event()

    def progress(seconds: float) -> None:
        if stopped.is_set():
            raise Stopped
        steps.put(seconds)

    def results() -> Iterator[float]:
        yield from iter(steps.get, None)
        done.result()

    pool = ThreadPoolExecutor(1)
    done = pool.submit(convert_file, voice, source, own / name, progress)
    pool.shutdown(wait=False)
    done.add_done_callback(lambda _: steps.put(None))
    try:
        yield own / name, results()
    finally:
        stopped.set()
        # now, or in the thread when it ends
        done.add_done_callback(lambda _: shutil.rmtree(own, ignore_errors=True))


def players_frame(voice: Voice, source, converted, name: str) -> str:
    """HTML of a frame that plays source, anonymized and converted, one over the other.

    Parameters
    ----------
    voice : Voice
        The voice that made `converted` of `source`, with the same dials.
    source, converted : str or Path
        Files; their first 20 s are in the frame.
    name : str
        What is said of the source in the title.
    """
    sounds = excerpt(voice, source, converted, round(SHOWN_S * voice.sr))
    tracks = embedded_tracks(sounds, voice.sr)
    title = f"{name} → {voice.name}"
    page = FRAME.substitute(players_of([(title, tracks)], "h3"))
    return (
        f'<iframe class="vc-frame" title="players" allow="autoplay" scrolling="no" '
        f'srcdoc="{html.escape(page)}"></iframe>'
    )


def file_name(name: str, voice: Voice) -> str:
    """Name of the converted file, without characters that a system may refuse.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> file_name("my: song?", SimpleNamespace(name="anna"))
    'my_ song__anna.wav'
    """
    kept = "".join(c if c.isalnum() or c in " ._-" else "_" for c in name)
    return f"{kept[:80] or 'speech'}_{voice.name}.wav"
