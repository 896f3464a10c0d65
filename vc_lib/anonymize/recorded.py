"""Filter a recording from one spectral envelope to another, without a vocoder.

A vocoder makes consonants, breath and the room from noise, which sounds worse than the recording.
There the recording itself is kept: its frames are filtered by the difference between the wanted
envelope and its own (`filter_recording`), and `join` fades between it and the voiced sound.
"""

import math

import numpy as np
import scipy.fft
from scipy.ndimage import binary_dilation

from ..parallel import in_order
from .synthesis import BATCH, _exp, _hann, _minimum_phase
from .world import FLOOR_POWER, Features

MAX_CHANGE = 2.0  # largest log-gain of the filter, either way; 17 dB [nepers]
TAIL_MS = 15.0  # time for which a filter rings on [ms]


def log_gain(features: Features, transformed: Features) -> np.ndarray:
    """Log-gain of the filter that changes one envelope into another.

    Parameters
    ----------
    features, transformed : Features
        Of the recording, and as wanted; the same number of frames.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bins), float32, nepers, -2..2]
    """
    own, wanted = (np.maximum(f.sp, FLOOR_POWER) for f in (features, transformed))
    return np.clip(np.log(wanted / own) / 2, -MAX_CHANGE, MAX_CHANGE).astype(np.float32)


def filter_recording(
    wav: np.ndarray, gain: np.ndarray, hop: float, frames: np.ndarray | None = None
) -> np.ndarray:
    """Filter a recording with minimum-phase filters that change from frame to frame.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    gain : np.ndarray [shape=(n_frames, n_bins), nepers]
        Log-gains of the filters; `n_frames` reaches the end of `wav`.
    hop : float [samples]
        Step between frames; frame i is centered at sample i * hop.
    frames : np.ndarray, optional [shape=(n_frames,), bool]
        Frames to filter; the others are left out. All by default.

    Returns
    -------
    filtered : np.ndarray [shape=(n_samples,), float32]
        With a gain of 0 for all frames, `wav` itself.
    """
    n_filter, n_frames = 2 * (gain.shape[1] - 1), len(gain)
    length = 2 * math.ceil(hop) + 1
    n = n_filter  # holds the windowed frame and its filter's tail
    if 2 * length > n:
        n = scipy.fft.next_fast_len(length + n_filter, real=True)
    pad = n + length
    padded = np.pad(np.asarray(wav, np.float32), pad)
    out = np.zeros(len(padded) + n, np.float32)
    last = min(math.ceil(len(wav) / hop), n_frames)  # the last frame is repeated once, at the end
    numbers = np.arange(last + 1)
    if frames is not None:
        numbers = numbers[frames[np.minimum(numbers, n_frames - 1)]]

    def filtered_batch(a: int) -> tuple[np.ndarray, np.ndarray]:
        batch = numbers[a : a + BATCH]
        start = np.floor((batch - 1) * hop).astype(int) + 1
        samples = start[:, None] + np.arange(length)
        part = np.zeros((len(batch), n), np.float32)
        part[:, :length] = padded[samples + pad] * _hann(
            (samples / hop - batch[:, None]).astype(np.float32)
        )
        response = _exp(_minimum_phase(gain[np.minimum(batch, n_frames - 1)]))
        if n > n_filter:
            response = scipy.fft.rfft(scipy.fft.irfft(response, n_filter, axis=1), n, axis=1)
        return start, scipy.fft.irfft(scipy.fft.rfft(part, axis=1) * response, n, axis=1)

    for start, filtered in in_order(filtered_batch, range(0, len(numbers), BATCH)):
        for i, row in zip(start + pad, filtered, strict=True):
            out[i : i + n] += row
    return out[pad : pad + len(wav)]


def weight(frames: np.ndarray, n_samples: int, hop: float) -> np.ndarray:
    """Weight of some frames at each sample: the sum of their Hann windows.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames,), bool]
    n_samples : int
    hop : float [samples]

    Returns
    -------
    np.ndarray [shape=(n_samples,), 0..1, float32]
    """
    at = np.arange(n_samples) / hop
    low = np.minimum(at.astype(int), len(frames) - 1)
    high = np.minimum(low + 1, len(frames) - 1)
    share = _hann((at - low).astype(np.float32))
    return share * frames[low] + (1 - share) * frames[high]


def join(
    wav: np.ndarray,
    gain: np.ndarray,
    voiced_sound: np.ndarray,
    voiced: np.ndarray,
    hop: float,
    n_tail: int,
) -> np.ndarray:
    """Voiced sound where voiced, elsewhere the filtered recording.

    Parameters
    ----------
    wav, gain, hop
        As for `filter_recording`.
    voiced_sound : np.ndarray [shape=(n_samples,)]
    voiced : np.ndarray [shape=(n_frames,), bool]
    n_tail : int
        Number of frames for which a filter rings on.

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32]
    """
    share = weight(voiced, len(wav), hop)
    filtered = filter_recording(wav, gain, hop, beside(~voiced, n_tail))
    return share * voiced_sound + (1 - share) * filtered


def beside(frames: np.ndarray, n: int) -> np.ndarray:
    """Mask of the frames that are at most `n` frames from one of `frames`."""
    return binary_dilation(frames, iterations=n)
