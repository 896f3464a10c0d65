"""Track F0: the steps of Harvest, computed on instantaneous frequencies.

1. A bank of 40 filters an octave measures the recording. Neighboring filters whose outputs agree
   on a frequency make a candidate (`_candidates`).
2. Each candidate is refined by the frequencies of its harmonics, and gets a score (`_refined`).
3. The best candidates are joined from frame to frame, and runs are extended into weak sounds that
   alone would count as unvoiced (`_contour`).

Harvest filters the whole signal and times zero crossings, which takes three times as long as the
rest of WORLD. Here filters and refinement are matrix products at the frames alone, in a twentieth
of the time for the same accuracy (benchmarks/LESSONS.md).

Harvest: Morise, Interspeech 2017. Instantaneous frequency from a window and its slope: Flanagan
and Golden, Bell System Technical Journal 45, 1966.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..audio import check_sr, check_wav
from ..audio.wav import _resample
from ..errors import ParameterError
from ..parallel import in_order

SR = 8_000  # sampling rate of the analysis [Hz]
STEP_MS = 2.5  # longest step between the frames of tracking [ms]
CHANNELS = 40  # filters an octave
BEYOND = (0.9, 1.1)  # margin of the filter bank around the range of F0, as factors
PERIODS = 4  # length of a filter [periods of its frequency]
AGREE = 0.1  # largest relative distance of a filter's output from its frequency, to count
N_AGREE = 10  # least number of neighboring filters that count, to make a candidate
SILENCE_POWER = 1e-14  # power of a filter's output that counts as silence
N_HARMONICS = 6  # number of harmonics that refine a candidate
LEAST_SCORE = 2.5  # least score: 1 / mean relative error of the harmonics
GRID = 48  # lengths of the refining window an octave
LEND_MS = 5.0  # distance over which frames also try each other's candidates [ms]
LONE = 0.0625  # largest relative distance of a candidate from one in an adjacent frame
JUMP = 0.008  # largest relative change of F0 inside a voiced run [1/ms]
SHORTEST_MS = 10.0  # shortest run before it is extended [ms]
FOLLOW = 0.18  # largest relative change from frame to frame when a run is extended
REACH_MS = 100.0  # longest extension [ms]
HOLD_MS = 8.0  # longest gap in an extension [ms]
LEAST_PERIODS = 2.2  # shortest run after it was extended [periods]
GAP_MS = 9.0  # longest gap between runs that is interpolated [ms]
UNSURE_MS = 45.0  # end of a stream whose candidates may still change [ms]
SMOOTH_HZ = 30.0  # cutoff of the filter that smooths F0 over time [Hz]


def find_pitch(
    wav: np.ndarray, sr: int, f0_floor: float, f0_ceil: float, frame_period_ms: float
) -> np.ndarray:
    """Track F0 of speech.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    f0_floor, f0_ceil : float [Hz]
        Range of F0.
    frame_period_ms : float [ms]

    Returns
    -------
    f0 : np.ndarray [shape=(n_samples / sr / frame period + 1,), float64, Hz]
        0 where unvoiced.

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, `sr` is not a rate, or range or frame period is invalid.
    """
    wav, sr = check_wav(wav), check_sr(sr)
    if not 0 < f0_floor < f0_ceil < float("inf") or not 0 < frame_period_ms < float("inf"):
        raise ParameterError(
            f"f0_floor={f0_floor} must be above 0 and below f0_ceil={f0_ceil} Hz, "
            f"frame_period_ms={frame_period_ms} above 0; try 71, 600 and 5"
        )
    return _find_pitch(wav, sr, f0_floor, f0_ceil, frame_period_ms)


def _find_pitch(
    wav: np.ndarray, sr: int, f0_floor: float, f0_ceil: float, frame_period_ms: float
) -> np.ndarray:
    """`find_pitch` for input that was checked before."""
    n_frames = int(len(wav) / sr / frame_period_ms * 1000) + 1
    per_frame, step_ms = _steps(frame_period_ms)
    n_steps = n_frames * per_frame
    candidates = _scored(wav, sr, f0_floor, f0_ceil, step_ms, range(n_steps))
    return np.ascontiguousarray(_contour(*_table(*candidates, n_steps), step_ms)[::per_frame])


class PitchFollower:
    """`find_pitch` for the end of a stream; candidates are computed once for each step.

    Parameters
    ----------
    sr : int [Hz]
    f0_floor, f0_ceil : float [Hz]
    frame_period_ms : float [ms]
    """

    def __init__(self, sr: int, f0_floor: float, f0_ceil: float, frame_period_ms: float):
        self.sr, self.limits = sr, (f0_floor, f0_ceil)
        self.per_frame, self.step_ms = _steps(frame_period_ms)
        self.candidates = np.empty(0, int), np.empty(0), np.empty(0)  # steps, F0 [Hz], scores
        self.n_final = 0  # steps whose candidates do not change any more

    def __call__(self, wav: np.ndarray, first: int) -> np.ndarray:
        """Track F0 of the end of the stream.

        Parameters
        ----------
        wav : np.ndarray [shape=(n_samples,), -1..1]
            Samples from frame `first` to the last sample received.
        first : int
            Number of the first frame, counted from the beginning of the stream.

        Returns
        -------
        f0 : np.ndarray [shape=(n_frames,), Hz; 0 where unvoiced]
        """
        n_steps = (
            int(len(wav) / self.sr / self.step_ms * 1000 / self.per_frame) + 1
        ) * self.per_frame
        start = first * self.per_frame
        new = range(max(self.n_final - start, 0), n_steps)
        step, hz, score = self.candidates
        known = (step >= start) & (step < start + new.start)
        parts = _scored(wav, self.sr, *self.limits, self.step_ms, new)
        step = np.concatenate([step[known] - start, parts[0]])
        hz, score = (np.concatenate(p) for p in ((hz[known], parts[1]), (score[known], parts[2])))
        self.candidates = step + start, hz, score
        self.n_final = start + n_steps - round(UNSURE_MS / self.step_ms)
        return _contour(*_table(step, hz, score, n_steps), self.step_ms)[:: self.per_frame]


def _steps(frame_period_ms: float) -> tuple[int, float]:
    """Number of tracking steps in a frame, and length of a step [ms]."""
    per_frame = int(np.ceil(frame_period_ms / STEP_MS))
    return per_frame, frame_period_ms / per_frame


def _scored(
    wav, sr: int, f0_floor: float, f0_ceil: float, step_ms: float, steps: range
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Refined candidates in a range of steps: steps (n,), frequencies (n,) [Hz], scores (n,)."""
    x = _resample(np.asarray(wav, np.float32), sr, SR)
    if not len(x):  # shorter than a sample at the lower rate
        x = np.zeros(1, np.float32)
    x = x - x.mean()
    centers = np.round(np.arange(steps.stop) * step_ms / 1000 * SR).astype(int)
    centers = np.minimum(centers, len(x))
    n_near = round(LEND_MS / step_ms)
    before = max(0, steps.start - n_near)
    step, hz = _candidates(x, centers[before:], f0_floor * BEYOND[0], f0_ceil * BEYOND[1])
    step, hz = _lent(step + before, hz, n_near, steps)
    refined, score = _refined(x, centers[step], hz)
    good = (refined >= f0_floor) & (refined <= f0_ceil) & (score >= LEAST_SCORE)
    return step[good], refined[good], score[good]


@lru_cache(maxsize=4)
def _filters(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Filter bank with Nuttall's window: frequencies (n,) [Hz], and weights (n_samples, 4 n).

    A frame times the weights gives the outputs of the filters and of their derivatives, real and
    imaginary parts.
    """
    hz = low * 2.0 ** (np.arange(1, int(np.log2(high / low) * CHANNELS) + 2) / CHANNELS)
    half = round(PERIODS / 2 * SR / float(hz[0]))
    s = np.arange(-half, half + 1)[:, None] / SR
    u = s * hz / PERIODS  # -1/2..1/2 over the window
    terms = (0.355768, 0.487396, 0.144232, 0.012604)
    angle = 2 * np.pi * u
    window = sum(a * np.cos(k * angle) for k, a in enumerate(terms))
    slope = -2 * np.pi * hz / PERIODS * sum(k * a * np.sin(k * angle) for k, a in enumerate(terms))
    inside = np.abs(u) < 0.5
    turn = np.exp(-2j * np.pi * s * hz) * inside / (window * inside).sum(0)
    return hz, _side_by_side(window * turn, slope * turn)


def _side_by_side(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Two complex matrices as one float32 matrix, four times as wide."""
    return np.concatenate([a.real, a.imag, b.real, b.imag], 1).astype(np.float32)


def _instantaneous(out: np.ndarray, hz: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Instantaneous frequency [Hz] and power of filters at `hz`, from the product with their weights."""
    n = out.shape[1] // 4
    real, imag, slope_real, slope_imag = (out[:, i * n : (i + 1) * n] for i in range(4))
    power = real * real + imag * imag
    turn = (slope_imag * real - slope_real * imag) / np.maximum(power, SILENCE_POWER)
    return hz - turn / (2 * np.pi), power


def _candidates(
    x: np.ndarray, centers: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean outputs of neighboring filters that agree: frames (n,) and frequencies (n,) [Hz]."""
    hz, weights = _filters(low, high)
    half = len(weights) // 2
    frames = sliding_window_view(np.pad(x, half + 1), len(weights))

    def batch(start: int) -> tuple[np.ndarray, np.ndarray]:
        out_hz, power = _instantaneous(frames[centers[start : start + 1024] + 1] @ weights, hz)
        agrees = (np.abs(out_hz / hz - 1) < AGREE) & (out_hz > low) & (out_hz < high)
        agrees &= power > SILENCE_POWER
        agrees[:, [0, -1]] = False
        edges = np.diff(np.pad(agrees, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        frame, first = np.nonzero(edges == 1)
        end = np.nonzero(edges == -1)[1]
        sums = np.pad(np.cumsum(np.where(agrees, out_hz, 0), 1, dtype=np.float64), ((0, 0), (1, 0)))
        many = end - first >= N_AGREE
        frame, first, end = frame[many], first[many], end[many]
        return start + frame, (sums[frame, end] - sums[frame, first]) / (end - first)

    parts = in_order(batch, range(0, len(centers), 1024))  # batches that fit a processor's cache
    frame, mean = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return frame, mean


def _lent(
    frame: np.ndarray, hz: np.ndarray, n_near: int, steps: range
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of each step and of its neighbors; of those within half a GRID only one."""
    shifts = range(-n_near, n_near + 1)
    frame = np.concatenate([frame + shift for shift in shifts])
    hz = np.tile(hz, len(shifts))
    inside = (frame >= steps.start) & (frame < steps.stop)
    frame, hz = frame[inside], hz[inside]
    same = frame * 10_000 + np.round(np.log2(hz) * 2 * GRID).astype(int)
    first = np.unique(same, return_index=True)[1]
    return frame[first], hz[first]


def _refined(x: np.ndarray, center: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Refine candidates `hz` at samples `center` by their harmonics: F0 (n,) [Hz], scores (n,)."""
    refined, score = np.zeros(len(hz)), np.zeros(len(hz))
    if not len(hz):
        return refined, score
    length = np.round(np.log2(hz) * GRID).astype(int)
    order = np.argsort(length, kind="stable")
    half = _harmonics(int(length.min()))[1].shape[0] // 2
    padded = np.pad(x, half + 1)
    for group in np.split(order, np.flatnonzero(np.diff(length[order])) + 1):
        harmonics, weights = _harmonics(int(length[group[0]]))
        first = center[group] + half + 1 - len(weights) // 2
        out = padded[first[:, None] + np.arange(len(weights))] @ weights
        out_hz, power = _instantaneous(out, harmonics)
        n = np.arange(1, len(harmonics) + 1)
        size = np.sqrt(power)
        total = np.maximum((size * n).sum(1), 1e-20)
        refined[group] = (size * out_hz).sum(1) / total
        error = np.abs(out_hz / n / hz[group, None] - 1).mean(1)
        score[group] = 1 / (error + 1e-12)
    return refined, score


@lru_cache(maxsize=1_024)
def _harmonics(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics of 2 ** (length / GRID) Hz [Hz], and weights as in `_filters`.

    The window is Blackman's, three periods long.
    """
    hz = 2.0 ** (length / GRID)
    half = int(1.5 * SR / hz + 1)
    s = np.arange(-half, half + 1)[:, None] / SR
    rate = 2 * np.pi * SR / (2 * half + 1)
    window = 0.42 + 0.5 * np.cos(rate * s) + 0.08 * np.cos(2 * rate * s)
    slope = -rate * (0.5 * np.sin(rate * s) + 0.16 * np.sin(2 * rate * s))
    harmonics = hz * np.arange(1, max(1, min(N_HARMONICS, int(SR / 2 / hz))) + 1)
    turn = np.exp(-2j * np.pi * s * harmonics)
    return harmonics, _side_by_side(window * turn, slope * turn)


def _table(frame, hz, score, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates and scores as tables (n_frames, n_most), 0 where empty, without lone candidates."""
    order = np.argsort(frame, kind="stable")
    frame, hz, score = frame[order], hz[order], score[order]
    counts = np.bincount(frame, minlength=n_frames)
    column = np.arange(len(frame)) - (np.cumsum(counts) - counts)[frame]
    table, scores = np.zeros((2, n_frames, max(1, counts.max(initial=0))))
    table[frame, column], scores[frame, column] = hz, score

    def distance(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Relative distance of each candidate from the nearest one in the other frame."""
        far = np.abs(other[:, None, :] - own[:, :, None]).min(2)
        return far / np.maximum(own, 1)

    nearest = np.full(table.shape, np.inf)
    nearest[1:] = distance(table[1:], table[:-1])
    nearest[:-1] = np.minimum(nearest[:-1], distance(table[:-1], table[1:]))
    table[nearest > LONE] = scores[nearest > LONE] = 0
    return table, scores


def _contour(table: np.ndarray, scores: np.ndarray, step_ms: float) -> np.ndarray:
    """F0 contour of candidates and their scores: best candidates, extended, bridged and smoothed."""
    best = table[np.arange(len(table)), scores.argmax(1)]
    last, before = np.r_[0, best[:-1]], np.r_[0, 0, best[:-2]]
    straight, far = 2 * last - before, JUMP * step_ms
    broken = (np.abs(best - straight) > far * np.abs(straight)) & (np.abs(best - last) > far * last)
    core = np.where(broken, 0, best)

    reach, hold = round(REACH_MS / step_ms), max(1, int(HOLD_MS / step_ms))
    out, end = np.zeros(len(table)), 0
    for a, b in _runs(core > 0):
        if b - a < SHORTEST_MS / step_ms:
            continue
        after = _followed(core[b - 1], table[b : b + reach], hold)
        ahead = _followed(core[a], table[max(a - reach, 0) : a][::-1], hold)[::-1]
        run = np.concatenate([ahead, core[a:b], after])
        start = a - len(ahead)
        if len(run) * step_ms / 1000 < LEAST_PERIODS / run[run > 0].mean():
            continue
        n_shared = min(max(end - start, 0), len(run))
        shared = slice(start, start + n_shared)
        candidates = table[shared], scores[shared]
        if _support(*candidates, run[:n_shared]) > _support(*candidates, out[shared]):
            out[shared] = run[:n_shared]
        out[start + n_shared : start + len(run)] = run[n_shared:]
        end = max(end, start + len(run))

    for a, b in _runs(out == 0):
        if 0 < a and b < len(out) and b - a <= int(GAP_MS / step_ms):
            out[a:b] = np.interp(np.arange(a, b), [a - 1, b], [out[a - 1], out[b]])
    from scipy.signal import sosfiltfilt  # imported here, because it takes half a second

    smooth = _smoothing(step_ms)
    edge = int(np.ceil(75 / step_ms))
    for a, b in _runs(out > 0):
        out[a:b] = sosfiltfilt(smooth, np.pad(out[a:b], edge, mode="edge"))[edge:-edge]
    return out


@lru_cache(maxsize=4)
def _smoothing(step_ms: float) -> np.ndarray:
    """Filter that smooths F0 over time [shape=(1, 6)]."""
    from scipy.signal import butter

    return butter(2, SMOOTH_HZ * 2 * step_ms / 1000, output="sos")


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, where.astype(np.int8), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _followed(hz: float, table: np.ndarray, hold: int) -> np.ndarray:
    """Extend a run from `hz`: the nearest candidates, 0 in gaps, until a gap of `hold` frames."""
    out, n = np.zeros(len(table)), 0
    for i, candidates in enumerate(table):
        far = np.abs(candidates - hz)
        j = far.argmin()
        if far[j] < FOLLOW * hz:
            hz = out[i] = candidates[j]
            n = i + 1
        elif i - n + 1 >= hold:
            break
    return out[:n]


def _support(table: np.ndarray, scores: np.ndarray, contour: np.ndarray) -> float:
    """Sum of the scores of the candidates nearest to a contour, over its voiced frames."""
    nearest = np.abs(table - contour[:, None]).argmin(1)
    return float((scores[np.arange(len(table)), nearest] * (contour > 0)).sum())
