"""What notebook 03 writes and streams: the note on synthetic speech, and live conversion."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ..convert import Voice
from ..convert.streaming import BUDGET

BLOCK_S = 0.02  # block of a sound card [s]
NOTE = """Speech in the voice {voice_dir}, converted from {source} by 03_output-without-pretrain.ipynb.
Each <name>_converted.wav is as long as its source.

This is synthetic speech: disclose it as such wherever it is heard. The licence of the source
recordings applies to it, and so does the card of the voice.
"""


def write_note(out_dir, voice_dir, source) -> Path:
    """Write README.txt, which says that the recordings beside it are synthetic."""
    path = Path(out_dir) / "README.txt"
    path.write_text(NOTE.format(voice_dir=voice_dir, source=source), encoding="utf-8")
    return path


def convert_live(voice: Voice, wav: np.ndarray) -> tuple[np.ndarray, float]:
    """Convert a waveform block by block, as from a microphone, and measure the speed.

    The speaker's statistics are measured first, on the whole waveform.

    Parameters
    ----------
    voice : Voice
    wav : np.ndarray [shape=(n_samples,), -1..1]
        At `voice.sr`.

    Returns
    -------
    converted : np.ndarray [shape=(n_samples + latency,), float32, -1..1]
        The first `latency` samples are silent.
    speed : float
        Duration of the speech, divided by the time that its conversion took.
    """
    speaker = voice.source_stats([wav])
    voice.stream(np.zeros(voice.sr, np.float32), speaker)  # warm up
    voice.stream(None)
    n_blocks = -(-len(wav) // round(BLOCK_S * voice.sr))
    start = perf_counter()
    converted = [voice.stream(block, speaker) for block in np.array_split(wav, n_blocks)]
    speed = len(wav) / voice.sr / (perf_counter() - start)
    return np.concatenate([*converted, voice.stream(None)]), speed


def latency_budget(n_samples: int, sr: int) -> pd.DataFrame:
    """The parts of the latency of live conversion, and their sum `n_samples` [ms]."""
    parts = {name: 1000 * seconds for name, seconds in BUDGET.items()}
    parts["all"] = 1000 * n_samples / sr
    return pd.DataFrame([parts], index=["future speech needed [ms]"]).round().astype(int)
