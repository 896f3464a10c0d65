"""CheapTrick: the spectral envelope of speech, of many frames at once in float32.

Each frame is three periods long, so its power does not depend on where in a period it lies. Its
power spectrum is smoothed over two thirds of F0, and its cepstrum over one F0, which removes the
harmonics. The result is that of WORLD in a third of the time.

Morise, CheapTrick, a spectral envelope estimator for high-quality speech synthesis, Speech
Communication 67, 2015.
"""

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

BATCH = 128  # frames processed at once, which fit a processor's cache
UNVOICED_HZ = 500.0  # F0 of unvoiced frames, and of those too low for the FFT [Hz]
PERIODS = 1.5  # half length of a frame [periods]
RECOVERY = -0.15  # WORLD's q1: how far smoothing is undone at the harmonics
LEAST_POWER = 1.8e-16  # added to each bin; the mean of WORLD's noise


def cheaptrick(
    x: np.ndarray, f0: np.ndarray, times: np.ndarray, sr: int, fft_size: int
) -> np.ndarray:
    """Spectral envelope.

    Parameters
    ----------
    x : np.ndarray [shape=(n_samples,)]
    f0 : np.ndarray [shape=(n_frames,), Hz; 0: unvoiced]
    times : np.ndarray [shape=(n_frames,), s]
        Centers of the frames.
    sr : int [Hz]
    fft_size : int
        A power of two; frames of an F0 up to `3 * sr / (fft_size - 3)` count as unvoiced.

    Returns
    -------
    sp : np.ndarray [shape=(n_frames, fft_size // 2 + 1), float32, power]
    """
    hz = np.where(f0 > 3 * sr / (fft_size - 3), f0, UNVOICED_HZ)
    half = np.floor(PERIODS * sr / hz + 0.5).astype(int)
    center = np.floor(times * sr + 0.501).astype(int)
    reach = int(half.max(initial=0))
    padded = np.pad(np.asarray(x, np.float32), 2 * reach, mode="edge")
    center = np.clip(center, -reach, len(x) - 1 + reach) + 2 * reach
    sp = np.empty((len(f0), fft_size // 2 + 1), np.float32)
    order = np.argsort(half, kind="stable")  # frames of similar lengths
    for a in range(0, len(order), BATCH):
        at = order[a : a + BATCH]
        power = _power(padded, center[at], half[at], hz[at], sr, fft_size)
        sp[at] = _recovered(_smoothed(power, hz[at] * (fft_size / sr)), hz[at] / sr)
    return sp


def _power(padded, center, half, hz, sr: int, fft_size: int) -> np.ndarray:
    """Power spectra of frames (n, fft_size // 2 + 1), with the power below F0 made up for."""
    longest = int(half.max())
    offset = np.arange(-longest, longest + 1)
    angle = np.pi / PERIODS / sr * hz[:, None] * offset
    window = 0.5 + 0.5 * np.cos(angle.astype(np.float32))
    window[np.abs(offset) > half[:, None]] = 0
    window /= np.sqrt((window * window).sum(1, keepdims=True))
    frames = sliding_window_view(padded, len(offset))[center - longest] * window
    frames -= window * (frames.sum(1, keepdims=True) / window.sum(1, keepdims=True))
    spectrum = scipy.fft.rfft(frames, fft_size, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    f0_bin = hz[:, None] * (fft_size / sr)
    n_low = int(f0_bin.max()) + 2
    mirror = np.maximum(f0_bin - np.arange(n_low), 0)
    low = mirror.astype(int)
    share = (mirror - low).astype(np.float32)
    low_power = np.take_along_axis(power, low, 1) * (1 - share)
    low_power += np.take_along_axis(power, low + 1, 1) * share
    power[:, :n_low] += np.where(np.arange(n_low) < f0_bin.astype(int) + 1, low_power, 0)
    return power


def _smoothed(power: np.ndarray, f0_bin: np.ndarray) -> np.ndarray:
    """Mean power over two thirds of F0 [shape as `power`]; `f0_bin` is F0 in bins."""
    width, n = f0_bin * 2 / 3, power.shape[1]
    beyond = int(width.max()) + 2
    # float64, because the sum over all bins may be 1e10 times the power of one
    total = np.cumsum(np.pad(power, ((0, 0), (beyond, beyond)), mode="reflect"), 1, dtype=float)
    windows, rows = sliding_window_view(total, n + 1, axis=1), np.arange(len(power))

    def upto(position: np.ndarray) -> np.ndarray:
        """Sum from the lowest bin to `position` bins beyond each."""
        first = np.floor(position).astype(int)
        share, part = (position - first)[:, None], windows[rows, first]
        return part[:, :-1] + (part[:, 1:] - part[:, :-1]) * share

    middle = beyond - 0.5
    mean = (upto(middle + width / 2) - upto(middle - width / 2)) / width[:, None]
    return mean.astype(np.float32) + np.float32(LEAST_POWER)


def _recovered(power: np.ndarray, f0_share: np.ndarray) -> np.ndarray:
    """Envelope without harmonics, by its cepstrum; `f0_share` is F0 as a share of the rate."""
    n = power.shape[1]
    periods = f0_share.astype(np.float32)[:, None] * np.arange(n, dtype=np.float32)
    lifter = np.sinc(periods) * (1 - 2 * RECOVERY + 2 * RECOVERY * np.cos(2 * np.pi * periods))
    cepstrum = scipy.fft.dct(np.log(power), 1, axis=1) * lifter
    return np.exp(scipy.fft.dct(cepstrum, 1, axis=1) / (2 * (n - 1)))
