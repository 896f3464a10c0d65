"""Chunks of a recording, cut at its quietest moments.

A cut falls inside a word only if there is no pause within four seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .wav import check_sr, check_wav

CHUNK_S = 8.0  # longest chunk [s]
CONTEXT_S = 0.5  # context on either side of a chunk; it is analyzed, but not output [s]


@dataclass(frozen=True)
class Chunk:
    """A part of a recording, with context on either side."""

    wav: np.ndarray  # (n_samples,), context included
    at: int  # position of wav[0] in the recording [samples]
    start: int  # position of the chunk itself in `wav` [samples]
    n: int  # length of the chunk itself [samples]
    last: bool  # True for the last chunk of the recording
    features: Any = None  # WORLD's features of `wav`, once analyzed
    # (index in `wav`, phase of the excitation at that sample [periods])
    phase: tuple[int, float] | None = None
    grains: Any = None  # grains of the voiced sound, where it is made of them


def longest(sr: int) -> int:
    """Longest waveform that `split_at_pauses` leaves in one chunk [samples]."""
    return int(CHUNK_S * sr) + int(CONTEXT_S * sr)


def split_at_pauses(
    wavs: Iterable[np.ndarray], sr: int, fade: int, grid: int = 1
) -> Iterator[Chunk]:
    """Split a recording at its quietest moments, into chunks of at most `CHUNK_S`.

    The last chunk may be longer by `CONTEXT_S`.

    Parameters
    ----------
    wavs : iterable of np.ndarray
        Consecutive blocks of the recording, of any lengths.
    sr : int [Hz]
    fade : int [samples]
        Least context: at least this many samples follow a chunk, for the cross-fade.
    grid : int [samples]
        Context begins at multiples of `grid`, so it is up to `grid` samples longer.

    Yields
    ------
    chunk : Chunk

    Raises
    ------
    ParameterError
        If a block is not a finite 1-D array, or `sr` is not a sampling rate.
    """
    sr = check_sr(sr)
    n_max, context = int(CHUNK_S * sr), max(int(CONTEXT_S * sr), fade)
    buffer = np.zeros(0, np.float32)  # context, then the samples of the next chunks
    before = 0  # length of that context [samples]
    at = 0  # position of buffer[0] in the recording [samples]
    for wav in wavs:
        if np.size(wav) == 0:
            continue
        buffer = np.concatenate([buffer, check_wav(wav)])
        while len(buffer) - before > n_max + context:
            n = _quietest(buffer[before : before + n_max], sr)
            yield Chunk(buffer[: before + n + context], at, before, n, last=False)
            start = max(0, (at + before + n - context) // grid * grid - at)
            buffer, before, at = buffer[start:], before + n - start, at + start
    if len(buffer) > before:
        yield Chunk(buffer, at, before, len(buffer) - before, last=True)


def quietest(wav: np.ndarray, sr: int) -> int:
    """Middle of the quietest 50 ms in the second half of `wav` [samples]."""
    return _quietest(check_wav(wav), check_sr(sr))


def _quietest(wav: np.ndarray, sr: int) -> int:
    """`quietest` for input that was checked before."""
    half = len(wav) // 2
    late = wav[half:].astype(np.float64)
    width = min(max(1, int(0.05 * sr)), len(late))
    power = np.convolve(late**2, np.ones(width), "valid")  # whole windows only
    return half + int(power.argmin()) + width // 2
