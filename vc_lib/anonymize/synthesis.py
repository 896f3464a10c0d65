"""WORLD synthesis that can begin anywhere in a recording.

In WORLD's own synthesis the positions of pulses and noise depend on everything before. Here the
noise depends on the position in the recording. Pulses are counted from the onset of voicing, or
from a given phase. Chunks of a recording therefore fit together to the sample, and speech can be
synthesized while it comes in. Each frame sounds as in WORLD, whose noise also has no mean over a
period: Morise et al., IEICE Trans. E99-D(7), 2016.
"""

import math
from functools import lru_cache

import numpy as np
import scipy.fft

from ..parallel import in_order

BATCH = 256  # pulses or frames processed at once, which fit a processor's cache
N_NOISE = 2**18  # length of the noise, which repeats [samples]
NOISE_SEED = 2016  # seed of the noise
TINY = 1e-12  # power added to envelopes, so that logarithms are finite
AP_RANGE = (1e-3, 1 - 1e-12)  # range of aperiodicity
UNVOICED_HZ = 500.0  # F0 in WORLD's synthesis where unvoiced [Hz]


def synthesis(
    f0: np.ndarray,
    sp: np.ndarray,
    ap: np.ndarray,
    sr: int,
    frame_period_ms: float,
    first: int = 0,
    phase: tuple[int, float] | None = None,
    noisy: np.ndarray | None = None,
) -> np.ndarray:
    """Synthesize a waveform from WORLD features.

    Parameters
    ----------
    f0 : np.ndarray [shape=(n_frames,), Hz; 0: unvoiced]
    sp : np.ndarray [shape=(n_frames, n_bins)]
        Power envelope.
    ap : np.ndarray [shape=(n_frames, n_bins), 0..1]
        Aperiodicity.
    sr : int [Hz]
    frame_period_ms : float [ms]
    first : int
        Position of the features in the recording [samples].
    phase : (int, float), optional [samples, periods]
        Phase of the excitation at one sample, to continue the chunk before; see `phases`.
    noisy : np.ndarray, optional [shape=(n_frames,), bool]
        Frames to make noise for; all by default.

    Returns
    -------
    wav : np.ndarray [shape=(n_frames * frame period in samples,), float32]
    """
    hop = frame_period_ms / 1000 * sr
    out = np.zeros(int(len(f0) * hop), np.float32)
    if not len(out):
        return out
    numbers = np.arange(len(f0)) if noisy is None else np.flatnonzero(noisy)
    _add_noise(out, f0, sp, ap, sr, hop, first, numbers)
    _add_pulses(out, f0, sp, ap, sr, hop, phase)
    return out


def phases(
    f0: np.ndarray, sr: int, frame_period_ms: float, phase: tuple[int, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Phase of the excitation at each sample.

    Parameters
    ----------
    f0, sr, frame_period_ms
        As for `synthesis`.
    phase : (int, float), optional [samples, periods]
        Known phase at one sample. It sets the phase of the voiced run around this sample.

    Returns
    -------
    phases : np.ndarray [shape=(n_frames * frame period in samples,), float64, periods]
        Counted from the onset of voicing; NaN where unvoiced.
    hz : np.ndarray [shape as `phases`, Hz]
        F0 at each sample; 0 where unvoiced.
    """
    hop = frame_period_ms / 1000 * sr
    at = np.arange(int(len(f0) * hop)) / hop
    low = np.minimum(at.astype(int), len(f0) - 1)
    high = np.minimum(low + 1, len(f0) - 1)
    share = at - low
    near = np.where(share < 0.5, f0[low], f0[high])
    both = (f0[low] > 0) & (f0[high] > 0)
    hz = np.where(both, f0[low] + share * (f0[high] - f0[low]), near)
    voiced = hz > 0
    periods = np.cumsum(np.r_[0.0, hz[:-1]]) / sr
    starts = voiced & ~np.r_[False, voiced[:-1]]
    onset = np.maximum.accumulate(np.where(starts, np.arange(len(hz)), 0))
    counted = periods - periods[onset]
    if phase and voiced[phase[0]]:
        run = _run_of(voiced, phase[0])
        counted[run] += phase[1] - counted[phase[0]]
    return np.where(voiced, counted, np.nan), hz


def phase_at(
    sample: int,
    f0: np.ndarray,
    sr: int,
    frame_period_ms: float,
    phase: tuple[int, float] | None = None,
) -> float | None:
    """Phase of the excitation at one sample [periods, 0..1]; None where unvoiced or past the end.

    The other parameters are those of `phases`.
    """
    counted, _ = phases(f0, sr, frame_period_ms, phase)
    if sample >= len(counted) or np.isnan(counted[sample]):
        return None
    return float(counted[sample] % 1)


def _run_of(voiced: np.ndarray, i: int) -> slice:
    """Slice of the voiced run around sample `i`."""
    gaps = np.flatnonzero(~voiced)
    after = np.searchsorted(gaps, i)
    return slice(
        gaps[after - 1] + 1 if after else 0, gaps[after] if after < len(gaps) else len(voiced)
    )


def _add_pulses(out, f0, sp, ap, sr: int, hop: float, phase: tuple[int, float] | None) -> None:
    """Add the pulses of voiced frames to `out`."""
    counted, hz = phases(f0, sr, hop / sr * 1000, phase)
    whole = np.floor(counted)
    before = np.r_[np.nan, whole[:-1]]
    onset = ~np.isfinite(before) & (counted == whole)
    index = np.flatnonzero(onset | (whole > before))
    if not len(index):
        return
    period = sr / hz[index]
    position = index - np.where(onset[index], 0, counted[index] - whole[index]) * period
    n = 2 * (sp.shape[1] - 1)
    half, bins = n // 2, np.arange(n // 2 + 1, dtype=np.float32)
    inside = position > -half  # at an F0 far below any voice's a pulse may begin much earlier
    period, position = period[inside], position[inside]
    bow = _bow(n)
    padded = np.zeros(len(out) + 2 * n, np.float32)

    def batch(a: int) -> tuple[np.ndarray, np.ndarray]:
        places = position[a : a + BATCH]
        envelope, ratio = _between(sp, places / hop), _between(ap, places / hop)
        power = envelope * (1 - np.clip(ratio, *AP_RANGE) ** 2)
        start = np.floor(places).astype(int)
        turn = (-2 * np.pi / n * (places - start)).astype(np.float32)[:, None] * bins
        log_response = _minimum_phase(np.log(power + TINY) / 2)
        log_response.imag += turn
        pulses = scipy.fft.irfft(_exp(log_response), n, axis=1)
        pulses *= np.sqrt(period[a : a + BATCH]).astype(np.float32)[:, None]
        pulses[:, half:] = 0  # removes what wraps around in time
        centered = -pulses.sum(1)[:, None] * bow
        centered[:, half:] += pulses[:, :half]
        return start, centered

    for rows in in_order(batch, range(0, len(position), BATCH)):
        for i, pulse in zip(*rows, strict=True):
            padded[i + n - half : i + 2 * n - half] += pulse
    out += padded[n : n + len(out)]


def _add_noise(out, f0, sp, ap, sr: int, hop: float, first: int, numbers: np.ndarray) -> None:
    """Add the noise of the frames `numbers` to `out`."""
    n = 2 * (sp.shape[1] - 1)
    length = 2 * math.ceil(hop) + 1
    if length > n // 2:
        n = scipy.fft.next_fast_len(2 * length, real=True)
    before = (n - length) // 2
    noise = _noise()
    bin_hz = sr / 2 / (sp.shape[1] - 1)
    n_low = min(math.ceil(2 * max(UNVOICED_HZ, f0.max()) / bin_hz), sp.shape[1])
    low_hz = np.arange(n_low) * bin_hz
    padded = np.zeros(len(out) + 2 * n + length, np.float32)

    def batch(a: int) -> tuple[np.ndarray, np.ndarray]:
        frames = numbers[a : a + BATCH]
        start = np.floor((frames - 1) * hop).astype(int) + 1
        samples = start[:, None] + np.arange(length)
        window = _hann((samples / hop - frames[:, None]).astype(np.float32))
        part = np.zeros((len(frames), n), np.float32)
        part[:, before : before + length] = window * noise[(first + samples) % N_NOISE]
        voiced = f0[frames, None] > 0
        gain = np.sqrt(sp[frames]) * np.where(voiced, np.clip(ap[frames], *AP_RANGE), 1)
        gain = gain.astype(np.float32)
        hz = np.where(f0[frames] > 0, f0[frames], UNVOICED_HZ)
        gain[:, :n_low] *= _without_mean(low_hz / hz[:, None])
        if gain.shape[1] != n // 2 + 1:
            gain = _between(gain.T, np.linspace(0, gain.shape[1] - 1, n // 2 + 1)).T
        return start, scipy.fft.irfft(scipy.fft.rfft(part, axis=1) * gain, n, axis=1)

    for rows in in_order(batch, range(0, len(numbers), BATCH)):
        for i, row in zip(*rows, strict=True):
            padded[i - before + n : i - before + 2 * n] += row
    out += padded[n : n + len(out)]


def _without_mean(share: np.ndarray) -> np.ndarray:
    """Gain of noise without a mean over each period, at frequencies of `share` times F0."""
    return np.sqrt(1 - np.sinc(share) ** 2).astype(np.float32)


def _between(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate linearly between rows, at fractional row numbers `at` [float32]."""
    low = np.clip(at.astype(int), 0, len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    share = np.asarray(at - low, np.float32)[:, None]
    return (rows[low] * (1 - share) + rows[high] * share).astype(np.float32)


def _minimum_phase(log_gain: np.ndarray) -> np.ndarray:
    """Log-responses of the minimum-phase filters with log-gains (n, n_bins) [nepers; complex64]."""
    n = 2 * (log_gain.shape[1] - 1)
    cepstrum = scipy.fft.irfft(log_gain.astype(np.float32), n, axis=1)
    cepstrum[:, 1 : n // 2] *= 2
    cepstrum[:, n // 2 + 1 :] = 0
    return scipy.fft.rfft(cepstrum, axis=1)


def _exp(z: np.ndarray) -> np.ndarray:
    """Exponential of a complex array; NumPy's own takes nine times as long."""
    out, size = np.empty_like(z), np.exp(z.real)
    np.multiply(size, np.cos(z.imag), out=out.real)
    np.multiply(size, np.sin(z.imag), out=out.imag)
    return out


def _hann(far: np.ndarray) -> np.ndarray:
    """Hann window at distances `far` from its center; it ends at -1 and 1 [as `far`]."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(far, -1, 1))


@lru_cache(maxsize=8)
def _bow(n: int) -> np.ndarray:
    """Hann window (n,) of sum 1, which removes the mean of a pulse."""
    bow = np.hanning(n + 2)[1:-1]
    return (bow / bow.sum()).astype(np.float32)


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """White noise (N_NOISE,) of standard deviation 1."""
    return np.random.default_rng(NOISE_SEED).standard_normal(N_NOISE).astype(np.float32)
