"""Waveforms: checks, mixing to mono, resampling, magnitude of the STFT."""

import math
from functools import cache

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from ..config import AudioConfig
from ..errors import ParameterError

SR_MIN, SR_MAX = 4_000, 384_000  # range of sampling rates [Hz]
MAX_SAMPLE = 1e6  # largest sample value; the power of a waveform then stays finite
MAX_PEAK = 16  # largest peak that counts as overshoot of full scale: 24 dB over it


def n_resampled(n_samples: int, from_sr: int, to_sr: int) -> int:
    """Length of a waveform after resampling from `from_sr` [Hz] to `to_sr` [Hz] [samples]."""
    return round(n_samples * to_sr / from_sr)


def check_wav(wav, name: str = "wav") -> np.ndarray:
    """Check that `wav` is a waveform.

    Parameters
    ----------
    wav : array_like [shape=(n_samples,), float, nominally -1..1]
    name : str
        Name for the error message.

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32 or float64]
        The array itself if it has one of those types, else a converted copy.

    Raises
    ------
    ParameterError
        If it is not floating point, not 1-D or empty, or holds NaN, infinity or values over 1e6.
    """
    wav = np.asarray(wav)
    if wav.dtype.kind != "f":
        raise ParameterError(
            f"{name} has dtype {wav.dtype}, must be floating point in -1..1; "
            f"convert integers with to_mono({name})"
        )
    if wav.ndim != 1:
        raise ParameterError(
            f"{name} has shape {wav.shape}, must be (n_samples,); mix down with to_mono({name})"
        )
    if wav.size == 0:
        raise ParameterError(f"{name} is empty; it must hold at least one sample")
    if not np.isfinite(wav).all():
        n_bad = int(np.count_nonzero(~np.isfinite(wav)))
        raise ParameterError(
            f"{name} holds {n_bad} NaN or infinite samples; check how it was computed"
        )
    wav = wav if wav.dtype in (np.float32, np.float64) else wav.astype(np.float32)
    if max(wav.max(), -wav.min()) > MAX_SAMPLE:
        raise ParameterError(
            f"{name} reaches {np.abs(wav).max():.3g} where full scale is 1; check how it was computed"
        )
    return wav


def check_level(wav: np.ndarray, name: str = "wav") -> np.ndarray:
    """Clip a checked waveform to -1..1; ParameterError if its peak shows another scale."""
    peak = float(max(wav.max(), -wav.min()))
    if peak > MAX_PEAK:
        raise ParameterError(
            f"{name} reaches {peak:.4g} where full scale is 1; divide it by 32768 if it was converted from int16"
        )
    return np.clip(wav, -1, 1) if peak > 1 else wav


def check_sr(sr, name: str = "sr") -> int:
    """Check a sampling rate [Hz] and return it as int; ParameterError unless in 4000..384000."""
    ok = isinstance(sr, int | np.integer) and not isinstance(sr, bool) and SR_MIN <= sr <= SR_MAX
    if not ok:
        raise ParameterError(
            f"{name}={sr!r} must be an int in {SR_MIN}..{SR_MAX} Hz; for speech try 16000 or 22050"
        )
    return int(sr)


def to_mono(wav) -> np.ndarray:
    """Mix channels down to their mean and scale integers to -1..1.

    Parameters
    ----------
    wav : array_like [shape=(n_samples,), (n_samples, n_channels) or (n_channels, n_samples)]
        Float, int16, int32, int8 or uint8. The channels are the shorter axis, of 8 at most.

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32; float64 for float64]

    Raises
    ------
    ParameterError
        If the type or shape is another, or the array is empty or not finite.

    Examples
    --------
    >>> to_mono(np.array([[0, 16384], [16384, 16384], [-32768, 0]], dtype=np.int16))
    array([ 0.25,  0.5 , -0.5 ], dtype=float32)
    """
    wav = np.asarray(wav)
    if wav.dtype in (np.int8, np.int16, np.int32):
        wav = (wav / -float(np.iinfo(wav.dtype).min)).astype(np.float32)
    elif wav.dtype == np.uint8:
        wav = ((wav - 128.0) / 128).astype(np.float32)
    elif wav.dtype.kind != "f":
        raise ParameterError(
            f"wav has dtype {wav.dtype}, must be float, int16, int32, int8 or uint8; "
            "scale it to float in -1..1"
        )
    if wav.ndim == 2:
        n_channels, axis = min((n, axis) for axis, n in enumerate(wav.shape))
        if n_channels > 8 or wav.shape[0] == wav.shape[1] > 1:
            raise ParameterError(
                f"wav has shape {wav.shape}, so the axis of the channels is unclear; pass (n_samples,)"
            )
        if n_channels:
            wav = wav.mean(axis=axis)
    return check_wav(wav)


def resample(wav, from_sr: int, to_sr: int) -> np.ndarray:
    """Change the sampling rate, with soxr's HQ filter.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), float]
    from_sr, to_sr : int [Hz]

    Returns
    -------
    wav : np.ndarray [shape=(round(n_samples * to_sr / from_sr),), same type]
        Always a copy. It is not clipped: the filter may overshoot at loud passages.

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D waveform, or a rate is out of range.
    """
    return _resample(check_wav(wav), check_sr(from_sr, "from_sr"), check_sr(to_sr, "to_sr"))


def _resample(wav: np.ndarray, from_sr: int, to_sr: int) -> np.ndarray:
    """`resample` for input that was checked before."""
    if from_sr == to_sr:
        return wav.copy()
    return _fit(
        soxr.resample(wav, from_sr, to_sr, quality="HQ"), n_resampled(len(wav), from_sr, to_sr)
    )


def stft_magnitude(wav: np.ndarray, cfg: AudioConfig) -> np.ndarray:
    """Magnitude of the STFT that `spectrogram.stft` gives.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    cfg : AudioConfig

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, n_frames), float32; 1 is a full-scale sine]
        With n_frames = 1 + ceil(n_samples / hop_length).

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    >>> mag = stft_magnitude(tone, AudioConfig(sr=16_000, n_fft=512, hop_length=128))
    >>> mag.shape, float(mag[32, 60].round(3))
    ((257, 126), 1.0)
    """
    return np.abs(stft(np.asarray(check_wav(wav), np.float32), cfg))


def stft(wav: np.ndarray, cfg: AudioConfig) -> np.ndarray:
    """STFT of waveforms (..., n_samples) in float32, as `spectrogram.stft` describes it."""
    half, n_samples = cfg.n_fft // 2, wav.shape[-1]
    n_frames = 1 + math.ceil(n_samples / cfg.hop_length)
    after = (n_frames - 1) * cfg.hop_length - n_samples + half
    padded = np.pad(wav, [(0, 0)] * (wav.ndim - 1) + [(half, after)])
    frames = sliding_window_view(padded, cfg.n_fft, -1)[..., :: cfg.hop_length, :]
    return np.fft.rfft(frames * hann(cfg.n_fft)).swapaxes(-1, -2) / np.float32(cfg.n_fft / 4)


@cache
def hann(n: int) -> np.ndarray:
    """Periodic Hann window [shape=(n,), float32]."""
    return np.hanning(n + 1)[:-1].astype(np.float32)


def _fit(wav: np.ndarray, n_samples: int) -> np.ndarray:
    """Cut or zero-pad to `n_samples`, since a resampler may return one sample more or less."""
    return np.pad(wav[:n_samples], (0, max(0, n_samples - len(wav))))
