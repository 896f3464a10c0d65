"""Recordings of any length in pieces, cut where they are quiet: inside a word only if nobody pauses
for four seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .audio import check_sr, check_wav

CHUNK_S = 8.0  # longest piece [s]
CONTEXT_S = 0.5  # heard on either side of a piece, not kept [s]


@dataclass(frozen=True)
class Chunk:
    """A part of a recording, with context on either side."""

    wav: np.ndarray  # (n_samples,), context and all
    at: int  # where that begins in the recording [samples]
    start: int  # where the piece itself begins in `wav` [samples]
    n: int  # how long the piece itself is [samples]
    last: bool  # nothing follows
    features: Any = None  # WORLD's of `wav`, once they are known
    phase: tuple[int, float] | None = None  # of the voice, at a sample of `wav` [periods]


def pieces(wavs: Iterable[np.ndarray], sr: int, fade: int, grid: int = 1) -> Iterator[Chunk]:
    """Cut a recording at its quietest moments, into pieces of at most `CHUNK_S`.

    Parameters
    ----------
    wavs : iterable of np.ndarray
        Consecutive blocks of it, of any lengths.
    sr : int [Hz]
    fade : int [samples]
        How much of the next piece a piece must at least hear.
    grid : int [samples]
        Context begins at a multiple of this, so it may be longer by as much.

    Raises
    ------
    ParameterError
        If a block is not a finite 1-D array, or `sr` not a rate.
    """
    sr = check_sr(sr)
    longest, context = int(CHUNK_S * sr), max(int(CONTEXT_S * sr), fade)
    # what is not yet given out, after `before` samples of context, and where in the recording it begins
    held, before, at = np.zeros(0, np.float32), 0, 0
    for wav in wavs:
        if np.size(wav) == 0:
            continue
        held = np.concatenate([held, check_wav(wav)])
        while len(held) - before > longest + context:
            n = quietest(held[before : before + longest], sr)
            yield Chunk(held[: before + n + context], at, before, n, last=False)
            start = max(0, (at + before + n - context) // grid * grid - at)
            held, before, at = held[start:], before + n - start, at + start
    if len(held) > before:
        yield Chunk(held, at, before, len(held) - before, last=True)


def quietest(wav: np.ndarray, sr: int) -> int:
    """Where in the second half of `wav` the quietest 50 ms have their middle [samples]."""
    wav, sr = check_wav(wav), check_sr(sr)
    half = len(wav) // 2
    late = wav[half:].astype(np.float64)
    width = min(max(1, int(0.05 * sr)), len(late))
    power = np.convolve(late**2, np.ones(width), "valid")  # whole windows only
    return half + int(power.argmin()) + width // 2
