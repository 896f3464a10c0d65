"""Recordings of any length in pieces, cut where they are quiet: inside a word only if nobody pauses
for ten seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

PIECE_S = 20.0  # longest piece [s]
CONTEXT_S = 0.5  # heard on either side of a piece, not kept [s]


@dataclass(frozen=True)
class Piece:
    """A part of a recording, with context on either side."""

    wav: np.ndarray  # (n_samples,), context and all
    start: int  # where the piece itself begins in it [samples]
    n: int  # how long the piece itself is [samples]
    last: bool  # nothing follows
    features: Any = None  # WORLD's of `wav`, once they are known


def pieces(wavs: Iterable[np.ndarray], sr: int, fade: int) -> Iterator[Piece]:
    """Cut a recording at its quietest moments, into pieces of at most `PIECE_S`.

    Parameters
    ----------
    wavs : iterable of np.ndarray
        Consecutive blocks of it, of any lengths.
    sr : int [Hz]
    fade : int [samples]
        How much of the next piece a piece must at least hear.
    """
    longest, context = int(PIECE_S * sr), max(int(CONTEXT_S * sr), fade)
    held, before = (
        np.zeros(0, np.float32),
        0,
    )  # what is not yet given out, after `before` samples of context
    for wav in wavs:
        held = np.concatenate([held, wav])
        while len(held) - before > longest + context:
            n = quietest(held[before : before + longest], sr)
            yield Piece(held[: before + n + context], before, n, last=False)
            start = max(0, before + n - context)
            held, before = held[start:], before + n - start
    if len(held) > before:
        yield Piece(held, before, len(held) - before, last=True)


def quietest(wav: np.ndarray, sr: int) -> int:
    """Where in the second half of `wav` the quietest 50 ms have their middle [samples]."""
    half = len(wav) // 2
    late = wav[half:].astype(np.float64)
    width = min(max(1, int(0.05 * sr)), len(late))
    power = np.convolve(late**2, np.ones(width), "valid")  # whole windows only
    return half + int(power.argmin()) + width // 2
