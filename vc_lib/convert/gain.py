"""Bring a converted recording of any length to a loudness, by a second pass at constant memory.

The gain is known only when all is converted. Until then the samples wait in a file without a name
on the disk of the destination, as float32; it vanishes with the process.
"""

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..audio.loudness import Loudness
from ..errors import ParameterError
from ..files import writing

LEVELS = "keep", "voice"  # the source's loudness; as the voice makes it
LUFS_MIN, LUFS_MAX = -60.0, -5.0  # range of a loudness to bring recordings to
PEAK_DB = -1.0  # highest true peak; coders overshoot by less [dBFS]
SHORT_DB = 3.0  # missed loudness from which there is a warning [LU]
PASS = 2**18  # samples that the second pass holds at once


def check_target_level(level) -> str | float:
    """Return `level` if it is "keep", "voice" or a loudness in LUFS; else ParameterError."""
    if isinstance(level, str) and level in LEVELS:
        return level
    number = isinstance(level, int | float | np.number) and not isinstance(level, bool)
    if number and LUFS_MIN <= level <= LUFS_MAX:
        return float(level)
    raise ParameterError(
        f"level={level!r} must be 'keep', 'voice' or a loudness in {LUFS_MIN:g}..{LUFS_MAX:g} LUFS; "
        "video platforms and broadcasters ask for -14 to -24"
    )


def metered(wavs: Iterable[np.ndarray], meter: Loudness) -> Iterator[np.ndarray]:
    """Pieces of a recording, unchanged, measured as they pass."""
    for wav in wavs:
        meter.add(wav)
        yield wav


def with_loudness(
    wavs: Iterable[np.ndarray], sr: int, aim: Loudness | float, path: Path
) -> Iterator[np.ndarray]:
    """A recording with a gain that brings it to a loudness.

    Parameters
    ----------
    wavs : iterable of np.ndarray [shape=(n_samples,)]
        Its pieces, of any lengths.
    sr : int [Hz]
    aim : Loudness or float
        The loudness [LUFS], or a meter that has measured it when all pieces have been taken.
    path : Path
        Where the recording will be. Its folder takes the temporary file; its name is in warnings.

    Yields
    ------
    np.ndarray [shape=(n_samples,), float32]
        Unchanged if it or the aim is silent or shorter than 0.4 s. With a warning if the true peak
        of -1 dBFS leaves too little room for the whole gain.
    """
    meter = Loudness(sr)
    with writing(path):
        buffer = tempfile.TemporaryFile(dir=path.parent)
    with buffer:
        for wav in metered(wavs, meter):
            with writing(path):
                buffer.write(np.asarray(wav, np.float32).tobytes())
        lufs = aim.lufs if isinstance(aim, Loudness) else aim
        gain = np.float32(10 ** (_gain_db(meter, lufs, path.name) / 20))
        with writing(path):
            buffer.seek(0)
        while data := buffer.read(4 * PASS):
            yield np.frombuffer(data, np.float32) * gain


def _gain_db(meter: Loudness, aim: float, name: str) -> float:
    """Gain to the loudness `aim`, less if the true peak would pass its limit [dB]."""
    wanted = aim - meter.lufs
    if not np.isfinite(wanted):
        return 0.0
    gain = min(wanted, PEAK_DB - meter.true_peak_db)
    if wanted - gain > SHORT_DB:
        warnings.warn(
            f"{name} is {wanted - gain:.1f} LU quieter than {aim:.1f} LUFS: "
            f"louder, its peaks would pass {PEAK_DB:g} dBFS",
            stacklevel=2,
        )
    return gain
