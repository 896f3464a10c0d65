"""What notebook 03 writes and streams: the note on synthetic speech, README examples, live conversion."""

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from ..audio import save_wav
from ..convert import Voice
from ..convert.streaming import BUDGET
from ..evaluate import Clip
from .compare import baseline
from .players import same_loudness
from .plots import plot_spectrograms

BLOCK_S = 0.02  # block of a sound card [s]
MAX_PNG_BYTES = 150_000  # largest figure of an example in readme/
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


def write_examples(
    excerpts: Mapping[str, Mapping[str, np.ndarray]],
    of_target: Mapping[str, np.ndarray],
    voice: Voice,
    folder="readme",
) -> None:
    """Write the sounds and figures of the README.

    Parameters
    ----------
    excerpts : dict of clip name to dict of label to np.ndarray
        From `compare.excerpt`; the baseline is added here.
    of_target : dict of label to np.ndarray
        A recording of the target; nothing is written for an empty dict.
    voice : Voice
    folder : str or Path
    """
    folder = Path(folder)
    for name, wavs in excerpts.items():
        source = Clip(wavs["source"], voice.sr)
        wavs = {label: wavs[label] for label in ("source", "anonymized")} | {
            "baseline": baseline(source, voice.config.target).wav,
            "converted": wavs["converted"],
        }
        for label, wav in same_loudness(wavs, voice.sr).items():
            save_wav(folder / f"{name}_{label}.mp3", wav, voice.sr)
        plot_spectrograms(wavs, voice.sr).save(folder / f"{name}.png")
    if of_target:
        save_wav(folder / "target.mp3", same_loudness(of_target, voice.sr)["target"], voice.sr)
        plot_spectrograms(of_target, voice.sr).save(folder / "target.png")
    written = [folder / f"{name}.png" for name in (*excerpts, *(["target"] if of_target else []))]
    too_large = [p.name for p in written if p.stat().st_size > MAX_PNG_BYTES]
    assert not too_large, f"{too_large} take more than {MAX_PNG_BYTES} bytes"
