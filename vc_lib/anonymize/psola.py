"""Pitch-synchronous overlap-add: voiced sound from grains of the recording, at another pitch.

A grain is two periods of the recording around a pitch mark. Grains are filtered, moved to new marks
and added. Where the pitch stays and the filter is flat, the recording comes back exactly.

TD-PSOLA: Moulines and Charpentier, Speech Communication 9 (5/6), 1990.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from ..parallel import in_order
from .f0_tracker import _runs
from .synthesis import BATCH, _between, _exp, _hann, _minimum_phase

LOWPASS_HZ = 1_000.0  # marks are set on the recording below this frequency [Hz]
NEXT_MARK = (0.78, 1.22)  # range in which the next mark is searched [periods]
START_S = 0.04  # beginning of a run in which the first mark is set, so that a stream sees it [s]
TINY = 1e-9  # energy added to each window's, to avoid division by zero


@dataclass(frozen=True)
class Grains:
    """Grains of one voiced run, in the order of the output."""

    center: np.ndarray  # (n,) int, mark in the recording [samples]
    before: np.ndarray  # (n,) int, distance of the mark before it [samples]
    after: np.ndarray  # (n,) int, distance of the mark after it [samples]
    at: np.ndarray  # (n,) float64, mark in the output [samples]
    ratio: np.ndarray  # (n,) float64, new F0 / old F0
    span: tuple[int, int]  # first and last sample (exclusive) of the run in the output


def find_grains(
    wav: np.ndarray,
    f0: np.ndarray,
    to_f0: np.ndarray,
    sr: int,
    hop: float,
    known: tuple[int, float] | None = None,
) -> list[Grains]:
    """Choose the grains of each voiced run, and where they go.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    f0, to_f0 : np.ndarray [shape=(n_frames,), Hz; 0 where unvoiced]
        F0 of the recording and of the output.
    sr : int [Hz]
    hop : float [samples]
        Step between frames.
    known : (int, float), optional [samples]
        A mark of the recording and where it goes, to continue the chunk before.

    Returns
    -------
    list of Grains
        One for each run of frames where both are voiced.
    """
    voiced = (f0 > 0) & (to_f0 > 0)
    ratios = np.where(voiced, to_f0, 1.0) / np.where(voiced, f0, 1.0)
    out = []
    for (first, end), marks in pitch_marks(wav, np.where(voiced, f0, 0.0), sr, hop, known):
        frames = np.arange(first, end)
        ratio = np.interp(marks / hop, frames, ratios[first:end])
        continues = known and marks[2] <= known[0] <= marks[-3]  # without the marks beyond the run
        at = _moved(marks, ratio, known[1] if continues else float(marks[0]))
        nearest = np.clip(np.searchsorted(marks, at), 1, len(marks) - 1)
        nearest -= at - marks[nearest - 1] < marks[nearest] - at
        steps = np.diff(marks)
        before, after = np.r_[steps[0], steps], np.r_[steps, steps[-1]]
        span = max(0, math.ceil((first - 1) * hop)), min(len(wav), math.ceil(end * hop))
        out.append(
            Grains(marks[nearest], before[nearest], after[nearest], at, ratio[nearest], span)
        )
    return out


def last_mark(grains: list[Grains], end: int) -> tuple[int, float] | None:
    """The last mark before sample `end`, to continue there; None where it is unvoiced.

    Returns
    -------
    (int, float) [samples]
        The mark in the recording and in the output, counted from `end`.
    """
    for run in grains:
        before = np.flatnonzero(run.at < end)
        if run.span[0] <= end < run.span[1] and len(before):
            i = before[-1]
            return int(run.center[i]) - end, float(run.at[i]) - end
    return None


def pitch_marks(
    wav: np.ndarray, f0: np.ndarray, sr: int, hop: float, known: tuple[int, float] | None = None
) -> list[tuple[tuple[int, int], np.ndarray]]:
    """Pitch marks of each voiced run, one a period.

    The first mark is the largest peak of the first 40 ms of a run, or the known mark. The others
    follow in both directions: each is set where one period of the low-passed recording correlates
    best with the period before. Each run gets two more marks at either end, so that its grains
    cover all of it.

    Parameters
    ----------
    wav, f0, sr, hop, known
        As for `find_grains`.

    Returns
    -------
    list of ((int, int), np.ndarray [shape=(n_marks,), int, samples])
        First and last frame (exclusive) of each run, and its marks in ascending order. The outer
        marks may lie outside the recording.
    """
    frame_runs = _runs(f0 > 0)
    if not frame_runs or len(wav) < 2:
        return []
    low = _lowpassed(wav, sr)
    periods = sr / np.where(f0 > 0, f0, sr)
    pad = int(3 * periods.max()) + 2
    padded = np.pad(low, pad)
    energy = np.cumsum(np.r_[0.0, padded.astype(np.float64) ** 2])
    out = []
    for first, end in frame_runs:
        begin, stop = (int(np.clip((i - 0.5) * hop, 0, len(wav))) for i in (first, end))
        if begin == stop:
            continue
        peaks = low[begin : min(stop, begin + round(START_S * sr))]
        # the sharp side of the pulses; it depends on the microphone
        start = begin + int(peaks.argmax() if (peaks**3).sum() >= 0 else peaks.argmin())
        if known and begin <= known[0] < stop:
            start = known[0]
        run = padded, energy, pad, periods[first:end], first, hop, begin, stop
        marks = [*_walk(start, -1, *run)[::-1], start, *_walk(start, 1, *run)]
        ends = np.array([1, 2]) * round(periods[first]), np.array([1, 2]) * round(periods[end - 1])
        out.append(((first, end), np.r_[(marks[0] - ends[0])[::-1], marks, marks[-1] + ends[1]]))
    return out


def _lowpassed(wav: np.ndarray, sr: int) -> np.ndarray:
    """The recording below `LOWPASS_HZ` [float32]."""
    from scipy.signal import sosfiltfilt  # imported here, because it takes half a second

    return sosfiltfilt(_lowpass(sr), wav, padlen=min(9, len(wav) - 1)).astype(np.float32)


@lru_cache(maxsize=4)
def _lowpass(sr: int) -> np.ndarray:
    """Filter of `_lowpassed` [shape=(1, 6)]."""
    from scipy.signal import butter

    return butter(2, LOWPASS_HZ, fs=sr, output="sos")


def _walk(mark, step, padded, energy, pad, periods, first, hop, begin, stop) -> list[int]:
    """The marks from `mark` on, forward (step 1) or back (step -1), to the end of the run."""
    marks = []
    while True:
        period = periods[min(max(round(mark / hop) - first, 0), len(periods) - 1)]
        half, near, far = (round(x * period) for x in (0.5, *NEXT_MARK))
        origin = mark + pad
        low = origin + (near if step > 0 else -far) - half
        n = 2 * half + 1
        own = padded[origin - half : origin + half + 1]
        match = np.correlate(padded[low : low + far - near + n], own)
        match /= np.sqrt(
            energy[low + n : low + n + len(match)] - energy[low : low + len(match)] + TINY
        )
        mark = low + half - pad + int(match.argmax())
        if not begin <= mark < stop:
            return marks
        marks.append(mark)


def _moved(marks: np.ndarray, ratio: np.ndarray, at: float) -> np.ndarray:
    """Marks of the output [samples]: each period of the recording divided by the ratio.

    One of them is `at`. With a ratio of 1 and one of `marks` as `at`, they are `marks`.
    """
    own, last = marks.tolist(), len(marks) - 2
    steps = (np.diff(marks) / ratio[:-1]).tolist()
    forward, back, t = [at], [], at
    while t <= own[-1]:
        t += steps[min(max(bisect_right(own, t) - 1, 0), last)]
        forward.append(t)
    t = at
    while t > own[0]:
        t -= steps[min(max(bisect_left(own, t) - 1, 0), last)]
        back.append(t)
    moved = np.array(back[::-1] + forward)
    return moved[(moved >= own[0]) & (moved <= own[-1])]


def overlap_add(wav: np.ndarray, grains: list[Grains], gain: np.ndarray, hop: float) -> np.ndarray:
    """Filter the grains, move them to their marks and add them.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    grains : list of Grains
    gain : np.ndarray [shape=(n_frames, n_bins), nepers]
        Log-gains of the minimum-phase filters.
    hop : float [samples]

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32]
        0 outside the spans of the voiced runs. Where pitch rises, grains are attenuated by the root
        of the ratio, so that the power stays.
    """
    n = 2 * (gain.shape[1] - 1)
    pad = 2 * n
    out = np.zeros(len(wav), np.float32)
    padded = np.pad(np.asarray(wav, np.float32), pad)
    if not grains:
        return out
    center, before, after, at, ratio = (
        np.concatenate([getattr(g, name) for g in grains])
        for name in ("center", "before", "after", "at", "ratio")
    )
    spans = np.repeat([g.span for g in grains], [len(g.at) for g in grains], axis=0)
    bins = np.arange(n // 2 + 1, dtype=np.float32)
    lead = min(int(before.max(initial=0)), n // 2)  # the grain's mark is its sample `lead`
    far = np.arange(min(n, lead + int(after.max(initial=0)))) - lead
    distance = far.astype(np.float32)

    def moved_batch(a: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        b = slice(a, a + BATCH)
        start = np.floor(at[b]).astype(int)
        length = np.where(far < 0, before[b, None], after[b, None]).astype(np.float32)
        part = np.zeros((len(start), n), np.float32)
        part[:, : len(far)] = padded[center[b, None] + far + pad] * _hann(distance / length)
        part /= np.sqrt(ratio[b, None]).astype(np.float32)
        log_response = _minimum_phase(_between(gain, np.maximum(center[b] / hop, 0)))
        log_response.imag -= (2 * np.pi / n * (at[b] - start)).astype(np.float32)[:, None] * bins
        moved = scipy.fft.irfft(scipy.fft.rfft(part, axis=1) * _exp(log_response), n, axis=1)
        return start - lead, spans[b], moved

    for rows in in_order(moved_batch, range(0, len(at), BATCH)):
        for i, (low, high), row in zip(*rows, strict=True):
            low, high = max(low, i), min(high, i + n)
            if low < high:
                out[low:high] += row[low - i : high - i]
    return out
