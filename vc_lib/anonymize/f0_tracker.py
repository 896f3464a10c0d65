"""Find the pitch of speech: Harvest's steps, on instantaneous frequencies.

Harvest takes a recording through 40 filters an octave, times the zero crossings that come out, lets
neighbouring filters that agree vote for a candidate, refines each by its harmonics and follows the best
from frame to frame, into sounds so weak that they would not be called voiced by themselves. That
is heard as smooth speech, and takes three times as long as the rest of WORLD. Here filters and refinement
are matrix products at the times of frames alone, and give the frequency at that instant instead of
zero crossings: a twentieth of the time for the same figures (benchmarks/RESULTS.md).

Harvest: Morise, Interspeech 2017. Instantaneous frequency from a window and its slope: Flanagan and
Golden, Bell System Technical Journal 45, 1966.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..audio import check_sr, check_wav
from ..audio.wav import _resample
from ..errors import ParameterError

SR = 8_000  # what is looked at [Hz]
STEP_MS = 2.5  # between the frames that pitch is followed over, at most
CHANNELS = 40  # an octave
BEYOND = (0.9, 1.1)  # filters reach farther than the pitch may, by these factors
PERIODS = 4  # of its own frequency that a filter sees
AGREE = 0.1  # a filter whose output is nearer than this to its own frequency ...
N_AGREE = 10  # ... votes; so many neighbours that do make a candidate
NOTHING = 1e-14  # power of a filter's output that is no sound
N_HARMONICS = 6  # by which a candidate is refined
LEAST_SCORE = 2.5  # 1 over the mean relative error of its harmonics
GRID = 48  # refined candidates have windows in so many lengths an octave
LEND_MS = 5.0  # a frame's candidates are tried by its neighbours, too
LONE = 0.0625  # a candidate has one nearer than this in the next frame or the last
JUMP = 0.008  # more a millisecond ends a voiced run
SHORTEST_MS = 10.0  # voiced run to begin with
FOLLOW, REACH_MS, HOLD_MS = 0.18, 100.0, 8.0  # how far from frame to frame, how long, over what gap
LEAST_PERIODS = 2.2  # of a run once it was followed
GAP_MS = 9.0  # between two runs that is bridged
UNSURE_MS = 60.0  # before the end of what was heard a candidate may still change
SMOOTH_HZ = 30.0  # what changes quicker is smoothed away


def find_pitch(
    wav: np.ndarray, sr: int, f0_floor: float, f0_ceil: float, frame_period_ms: float
) -> np.ndarray:
    """The pitch of speech.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    f0_floor, f0_ceil : float [Hz]
        Pitch is looked for between these.
    frame_period_ms : float [ms]

    Returns
    -------
    f0 : np.ndarray [shape=(n_samples / sr / frame period + 1,), float64, Hz]
        0 where unvoiced.

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, `sr` not a rate, or the limits are none.
    """
    wav, sr = check_wav(wav), check_sr(sr)
    if not 0 < f0_floor < f0_ceil < float("inf") or not 0 < frame_period_ms < float("inf"):
        raise ParameterError(
            f"f0_floor={f0_floor} must be above 0 and below f0_ceil={f0_ceil} Hz, frame_period_ms={frame_period_ms} "
            "above 0; try 71, 600 and 5"
        )
    return _find_pitch(wav, sr, f0_floor, f0_ceil, frame_period_ms)


def _find_pitch(
    wav: np.ndarray, sr: int, f0_floor: float, f0_ceil: float, frame_period_ms: float
) -> np.ndarray:
    """`find_pitch` for input that was checked before."""
    n_frames = int(len(wav) / sr / frame_period_ms * 1000) + 1
    per_frame, step_ms = _steps(frame_period_ms)
    n_steps = n_frames * per_frame
    found = _found(wav, sr, f0_floor, f0_ceil, step_ms, range(n_steps))
    return np.ascontiguousarray(_contour(*_table(*found, n_steps), step_ms)[::per_frame])


class PitchFollower:
    """`find_pitch` in the last part of speech that still goes on: candidates are looked for only once.

    Parameters
    ----------
    sr : int [Hz]
    f0_floor, f0_ceil : float [Hz]
    frame_period_ms : float [ms]
    """

    def __init__(self, sr: int, f0_floor: float, f0_ceil: float, frame_period_ms: float):
        self.sr, self.limits = sr, (f0_floor, f0_ceil)
        self.per_frame, self.step_ms = _steps(frame_period_ms)
        self.found = np.empty(0, int), np.empty(0), np.empty(0)  # steps, frequencies, scores
        self.done = 0  # steps that what comes later does not change

    def __call__(self, wav: np.ndarray, first: int) -> np.ndarray:
        """The pitch of `wav`, which begins at frame number `first` and ends with what came in last
        [shape=(n_frames,), Hz; 0 where unvoiced]."""
        n_steps = (
            int(len(wav) / self.sr / self.step_ms * 1000 / self.per_frame) + 1
        ) * self.per_frame
        start = first * self.per_frame
        new = range(max(self.done - start, 0), n_steps)
        step, hz, score = self.found
        kept = (step >= start) & (step < start + new.start)
        parts = _found(wav, self.sr, *self.limits, self.step_ms, new)
        step = np.concatenate([step[kept] - start, parts[0]])
        hz, score = (np.concatenate(p) for p in ((hz[kept], parts[1]), (score[kept], parts[2])))
        self.found, self.done = (
            (step + start, hz, score),
            start + n_steps - round(UNSURE_MS / self.step_ms),
        )
        return _contour(*_table(step, hz, score, n_steps), self.step_ms)[:: self.per_frame]


def _steps(frame_period_ms: float) -> tuple[int, float]:
    """How many steps pitch is followed over in a frame, and how long one is [ms]."""
    per_frame = int(np.ceil(frame_period_ms / STEP_MS))
    return per_frame, frame_period_ms / per_frame


def _found(
    wav, sr: int, f0_floor: float, f0_ceil: float, step_ms: float, steps: range
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates at some steps: which (n,), frequency [Hz] and score."""
    x = _resample(np.asarray(wav, np.float32), sr, SR)
    if not len(x):  # less than a sample at this rate
        x = np.zeros(1, np.float32)
    x = x - x.mean()
    centres = np.round(np.arange(steps.stop) * step_ms / 1000 * SR).astype(int)
    centres = np.minimum(centres, len(x))
    n_near = round(LEND_MS / step_ms)
    before = max(0, steps.start - n_near)
    step, hz = _candidates(x, centres[before:], f0_floor * BEYOND[0], f0_ceil * BEYOND[1])
    step, hz = _lent(step + before, hz, n_near, steps)
    refined, score = _refined(x, centres[step], hz)
    good = (refined >= f0_floor) & (refined <= f0_ceil) & (score >= LEAST_SCORE)
    return step[good], refined[good], score[good]


@lru_cache(maxsize=4)
def _filters(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies of the filters (n,) [Hz], and what to multiply a frame with for the outputs of all of
    them and of their slopes (n_samples, 4 n): real and imaginary, Nuttall's window."""
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
    """Two complex matrices as one of float32, four times as wide."""
    return np.concatenate([a.real, a.imag, b.real, b.imag], 1).astype(np.float32)


def _instantaneous(out: np.ndarray, hz: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Frequency [Hz] and power of what filters at `hz` give, from `_side_by_side`'s product."""
    n = out.shape[1] // 4
    real, imag, slope_real, slope_imag = (out[:, i * n : (i + 1) * n] for i in range(4))
    power = real * real + imag * imag
    turn = (slope_imag * real - slope_real * imag) / np.maximum(power, NOTHING)
    return hz - turn / (2 * np.pi), power


def _candidates(
    x: np.ndarray, centres: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """What neighbouring filters agree on: frames (n,) and frequencies (n,) [Hz]."""
    hz, weights = _filters(low, high)
    half = len(weights) // 2
    frames = sliding_window_view(np.pad(x, half + 1), len(weights))
    found = []
    for start in range(0, len(centres), 1024):  # what fits a processor's cache
        heard, power = _instantaneous(frames[centres[start : start + 1024] + 1] @ weights, hz)
        agrees = (np.abs(heard / hz - 1) < AGREE) & (heard > low) & (heard < high)
        agrees &= power > NOTHING
        agrees[:, [0, -1]] = False
        edges = np.diff(np.pad(agrees, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        frame, first = np.nonzero(edges == 1)
        end = np.nonzero(edges == -1)[1]
        sums = np.pad(np.cumsum(np.where(agrees, heard, 0), 1, dtype=np.float64), ((0, 0), (1, 0)))
        many = end - first >= N_AGREE
        frame, first, end = frame[many], first[many], end[many]
        found.append((start + frame, (sums[frame, end] - sums[frame, first]) / (end - first)))
    frame, mean = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return frame, mean


def _lent(
    frame: np.ndarray, hz: np.ndarray, n_near: int, steps: range
) -> tuple[np.ndarray, np.ndarray]:
    """The candidates of each step and of its neighbours, but of those within half a GRID one alone."""
    shifts = range(-n_near, n_near + 1)
    frame = np.concatenate([frame + shift for shift in shifts])
    hz = np.tile(hz, len(shifts))
    inside = (frame >= steps.start) & (frame < steps.stop)
    frame, hz = frame[inside], hz[inside]
    same = frame * 10_000 + np.round(np.log2(hz) * 2 * GRID).astype(int)
    first = np.unique(same, return_index=True)[1]
    return frame[first], hz[first]


def _refined(x: np.ndarray, centre: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates `hz` at samples `centre` by the frequencies of their harmonics (n,) [Hz], and scores (n,)."""
    refined, score = np.zeros(len(hz)), np.zeros(len(hz))
    if not len(hz):
        return refined, score
    length = np.round(np.log2(hz) * GRID).astype(int)
    order = np.argsort(length, kind="stable")
    half = _harmonics(int(length.min()))[1].shape[0] // 2
    padded = np.pad(x, half + 1)
    for group in np.split(order, np.flatnonzero(np.diff(length[order])) + 1):
        harmonics, weights = _harmonics(int(length[group[0]]))
        frames = sliding_window_view(padded, len(weights))
        out = frames[centre[group] + half + 1 - len(weights) // 2] @ weights
        heard, power = _instantaneous(out, harmonics)
        n = np.arange(1, len(harmonics) + 1)
        size = np.sqrt(power)
        total = np.maximum((size * n).sum(1), 1e-20)
        refined[group] = (size * heard).sum(1) / total
        error = np.abs(heard / n / hz[group, None] - 1).mean(1)
        score[group] = 1 / (error + 1e-12)
    return refined, score


@lru_cache(maxsize=1_024)
def _harmonics(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics [Hz] of 2 ** (length / GRID) Hz, and weights as in `_filters`: Blackman's window, three periods."""
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
    """Candidates and scores as two tables (n_frames, most in a frame), 0 where there is none, and lone ones out."""
    order = np.argsort(frame, kind="stable")
    frame, hz, score = frame[order], hz[order], score[order]
    counts = np.bincount(frame, minlength=n_frames)
    column = np.arange(len(frame)) - (np.cumsum(counts) - counts)[frame]
    table, scores = np.zeros((2, n_frames, max(1, counts.max(initial=0))))
    table[frame, column], scores[frame, column] = hz, score

    def apart(here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """How far each candidate is from the nearest of the other frame, as a share of it."""
        far = np.abs(there[:, None, :] - here[:, :, None]).min(2)
        return far / np.maximum(here, 1)

    nearest = np.full(table.shape, np.inf)
    nearest[1:] = apart(table[1:], table[:-1])
    nearest[:-1] = np.minimum(nearest[:-1], apart(table[:-1], table[1:]))
    table[nearest > LONE] = scores[nearest > LONE] = 0
    return table, scores


def _contour(table: np.ndarray, scores: np.ndarray, step_ms: float) -> np.ndarray:
    """One pitch a frame out of candidates and their scores, smoothed."""
    best = table[np.arange(len(table)), scores.argmax(1)]
    last, before = np.r_[0, best[:-1]], np.r_[0, 0, best[:-2]]
    straight, far = 2 * last - before, JUMP * step_ms
    broken = (np.abs(best - straight) > far * np.abs(straight)) & (np.abs(best - last) > far * last)
    sure = np.where(broken, 0, best)

    reach, hold = round(REACH_MS / step_ms), max(1, int(HOLD_MS / step_ms))
    out, end = np.zeros(len(table)), 0
    for a, b in _runs(sure > 0):
        if b - a < SHORTEST_MS / step_ms:
            continue
        after = _followed(sure[b - 1], table[b : b + reach], hold)
        ahead = _followed(sure[a], table[max(a - reach, 0) : a][::-1], hold)[::-1]
        run = np.concatenate([ahead, sure[a:b], after])
        start = a - len(ahead)
        if len(run) * step_ms / 1000 < LEAST_PERIODS / run[run > 0].mean():
            continue
        n_shared = min(max(end - start, 0), len(run))
        there = slice(start, start + n_shared)
        if _support(table[there], scores[there], run[:n_shared]) > _support(
            table[there], scores[there], out[there]
        ):
            out[there] = run[:n_shared]
        out[start + n_shared : start + len(run)] = run[n_shared:]
        end = max(end, start + len(run))

    for a, b in _runs(out == 0):
        if 0 < a and b < len(out) and b - a <= int(GAP_MS / step_ms):
            out[a:b] = np.interp(np.arange(a, b), [a - 1, b], [out[a - 1], out[b]])
    from scipy.signal import butter, sosfiltfilt  # takes half a second, so not before it is needed

    smooth = butter(2, SMOOTH_HZ * 2 * step_ms / 1000, output="sos")
    edge = int(np.ceil(75 / step_ms))
    for a, b in _runs(out > 0):
        out[a:b] = sosfiltfilt(smooth, np.pad(out[a:b], edge, mode="edge"))[edge:-edge]
    return out


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """First and past-the-last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, where.astype(np.int8), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _followed(hz: float, table: np.ndarray, hold: int) -> np.ndarray:
    """The nearest candidates from `hz` on, frame by frame, until for `hold` frames none is near; 0 between."""
    found, n = np.zeros(len(table)), 0
    for i, candidates in enumerate(table):
        far = np.abs(candidates - hz)
        j = far.argmin()
        if far[j] < FOLLOW * hz:
            hz = found[i] = candidates[j]
            n = i + 1
        elif i - n + 1 >= hold:
            break
    return found[:n]


def _support(table: np.ndarray, scores: np.ndarray, contour: np.ndarray) -> float:
    """What the candidates nearest to a contour score, summed over its voiced frames."""
    nearest = np.abs(table - contour[:, None]).argmin(1)
    return float((scores[np.arange(len(table)), nearest] * (contour > 0)).sum())
