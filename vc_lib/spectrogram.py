"""The two-channel image of a waveform, and its exact inverse.

`cfg.second_channel` sets the meaning of the channels. D is the STFT, scaled so that a full-scale
sine peaks at 1:

    phase                    0: log |D|, -1 at -100 dB and 1 at 0 dB
                             1: angle of D / pi
    instantaneous_frequency  0: as above
                             1: change of the angle from frame to frame, minus that of the bin's
                                center frequency, wrapped, / pi
    cos_sin                  r cos(angle), r sin(angle), r = log(1 + |D| / 1e-5) / log(1 + 1e5)
    real_imag                r cos(angle), r sin(angle), r = |D| ** 0.3

The STFT has a Hann window and keeps DC and Nyquist. Frames are centered on every `hop_length`-th
sample, from sample 0 to the first multiple at or past the end. Each sample lies between two frames,
so the inverse is exact at every length.

The functions from `stft` on take NumPy arrays and torch tensors, with any number of leading axes. On
tensors they are differentiable; losses use them. torch is not imported here: conversion needs none.
"""

import math
import sys
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .audio import check_wav
from .audio.wav import hann
from .audio.wav import stft as stft_of_arrays
from .config import AudioConfig
from .errors import ParameterError

if TYPE_CHECKING:
    import torch

    Array = TypeVar("Array", np.ndarray, torch.Tensor)
else:
    Array = TypeVar("Array")

FLOOR = 1e-5  # magnitude of silence: -100 dB of full scale
DECADES = 5.0  # range of -1..1 in channel 0 [decades of magnitude]: log10 of 1 / FLOOR
NEPERS = DECADES / 2 * math.log(10)  # unit of channel 0 [nepers]
POWER = 0.3  # exponent that compresses the magnitude in real_imag


def has_logarithm(cfg: AudioConfig) -> bool:
    """Whether channel 0 is a log-magnitude and channel 1 an angle."""
    return cfg.second_channel in ("phase", "instantaneous_frequency")


def wav_to_image(wav: np.ndarray, cfg: AudioConfig) -> np.ndarray:
    """Turn a waveform into its 2-channel image.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    cfg : AudioConfig
        May be a whole `Config`.

    Returns
    -------
    img : np.ndarray [shape=(2, n_freqs, n_frames), float32]
        n_frames is 1 + ceil(n_samples / hop_length).

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array with at least one sample.

    Examples
    --------
    >>> wav_to_image(np.zeros(1000), AudioConfig(n_fft=512, hop_length=128)).shape
    (2, 257, 9)
    """
    return to_image(stft(check_wav(wav).astype(np.float32, copy=False), cfg), cfg)


def image_to_wav(img: np.ndarray, cfg: AudioConfig, n_samples: int | None = None) -> np.ndarray:
    """Turn a 2-channel image into its waveform: the exact inverse of `wav_to_image`.

    Parameters
    ----------
    img : np.ndarray [shape=(2, n_freqs, n_frames)]
    cfg : AudioConfig
        The config that the image was made with.
    n_samples : int, optional
        Length of the waveform; by default the span of the image, (n_frames - 1) * hop_length.

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32]

    Raises
    ------
    ParameterError
        If the shape does not fit `cfg`, a value is not finite, or `n_samples` exceeds the span.
    """
    img = check_image(img, cfg)
    longest = (img.shape[2] - 1) * cfg.hop_length
    n_samples = longest if n_samples is None else n_samples
    if not 0 <= n_samples <= max(longest, 1):
        raise ParameterError(
            f"n_samples={n_samples} must be in 0..{longest}, the span of {img.shape[2]} frames"
        )
    if n_samples == 0:
        return np.zeros(0, np.float32)
    return istft(from_image(img, cfg), cfg, n_samples)


def check_image(img: np.ndarray, cfg: AudioConfig) -> np.ndarray:
    """Check shape and values of an image, and return it as an array; else raise ParameterError."""
    img = np.asarray(img)
    if img.ndim != 3 or img.shape[:2] != (2, cfg.n_freqs) or img.shape[2] < 1:
        raise ParameterError(
            f"img has shape {img.shape}, must be (2, {cfg.n_freqs}, n_frames) for n_fft={cfg.n_fft}"
        )
    if not np.isfinite(img).all():
        raise ParameterError("img holds NaN or infinity; did the network diverge?")
    return img


def magnitude(img: np.ndarray, cfg: AudioConfig) -> np.ndarray:
    """Magnitude of an image [shape=(n_freqs, n_frames); 1 is a full-scale sine]."""
    return np.abs(from_image(np.asarray(img), cfg))


# On arrays and tensors: waveform (..., n_samples), STFT (..., n_freqs, n_frames), complex,
# image (..., 2, n_freqs, n_frames)


def library(x):
    """The module of an array's functions, NumPy or torch; those used here have the same names."""
    return np if isinstance(x, np.ndarray) else sys.modules["torch"]


def _like(constant: np.ndarray, x: Array) -> Array:
    """A constant as an array of the library of `x`, on its device."""
    xp = library(x)
    return constant if xp is np else xp.from_numpy(constant).to(x.device)


def stft(wav: Array, cfg: AudioConfig) -> Array:
    """STFT of `wav` (..., n_samples), scaled so that a full-scale sine peaks at 1."""
    xp, n_samples = library(wav), wav.shape[-1]
    if xp is np:
        return stft_of_arrays(wav, cfg)
    after = math.ceil(n_samples / cfg.hop_length) * cfg.hop_length - n_samples
    flat = xp.nn.functional.pad(wav.reshape(-1, n_samples), (0, after))
    how = dict(center=True, pad_mode="constant", return_complex=True)
    D = xp.stft(flat, cfg.n_fft, cfg.hop_length, window=_like(hann(cfg.n_fft), wav), **how)
    return D.reshape(*wav.shape[:-1], *D.shape[-2:]) / (cfg.n_fft / 4)


def istft(D: Array, cfg: AudioConfig, n_samples: int) -> Array:
    """Inverse of `stft`: (..., n_freqs, n_frames) to (..., n_samples)."""
    xp = library(D)
    flat = D.reshape(-1, *D.shape[-2:]) * (cfg.n_fft / 4)
    if xp is np:
        wav = _overlap_added(np.fft.irfft(flat, cfg.n_fft, 1), cfg, n_samples)
    else:
        how = dict(window=_like(hann(cfg.n_fft), D), center=True, length=n_samples)
        wav = xp.istft(flat, cfg.n_fft, cfg.hop_length, **how)
    return wav.reshape(*D.shape[:-2], n_samples)


def _overlap_added(frames: np.ndarray, cfg: AudioConfig, n_samples: int) -> np.ndarray:
    """Windowed frames (B, n_fft, n_frames) in sum, over the sum of their squared windows."""
    hop, window, n_frames = cfg.hop_length, hann(cfg.n_fft), frames.shape[2]
    n_parts = math.ceil(cfg.n_fft / hop)  # of a frame, each as long as a hop; the last may be less
    total = np.zeros((len(frames), n_frames + n_parts - 1, hop), np.float32)
    weight = np.zeros(total.shape[1:], np.float32)
    for i in range(n_parts):
        part = slice(i * hop, min((i + 1) * hop, cfg.n_fft))
        n = part.stop - part.start
        total[:, i : i + n_frames, :n] += frames[:, part].swapaxes(1, 2) * window[part]
        weight[i : i + n_frames, :n] += window[part] ** 2
    kept = slice(cfg.n_fft // 2, cfg.n_fft // 2 + n_samples)
    return total.reshape(len(frames), -1)[:, kept] / weight.reshape(-1)[kept]


def to_image(D: Array, cfg: AudioConfig) -> Array:
    """Image (..., 2, n_freqs, n_frames) of an STFT."""
    xp, mag = library(D), abs(D)
    if has_logarithm(cfg):
        first = 1 + xp.log10(mag + FLOOR) * (2 / DECADES)
        angle = xp.angle(D)
        if cfg.second_channel == "instantaneous_frequency":
            step = xp.diff(angle, 1, -1) - _advance(cfg, angle)
            angle = _wrap(xp.concatenate([angle[..., :1], step], -1))
        return xp.stack([first, angle / math.pi], -3)
    if cfg.second_channel == "cos_sin":
        r = xp.log1p(mag / FLOOR) / math.log1p(1 / FLOOR)
    else:
        r = mag**POWER
    angle = xp.angle(D)
    return xp.stack([r * xp.cos(angle), r * xp.sin(angle)], -3)


def from_image(img: Array, cfg: AudioConfig) -> Array:
    """STFT of an image (..., 2, n_freqs, n_frames)."""
    xp = library(img)
    img = img.astype(np.float32, copy=False) if isinstance(img, np.ndarray) else img.float()
    first, second = img[..., 0, :, :], img[..., 1, :, :]
    if has_logarithm(cfg):
        mag = xp.clip(10 ** ((first - 1) * (DECADES / 2)) - FLOOR, 0, None)
        angle = second * math.pi
        if cfg.second_channel == "instantaneous_frequency":
            step = xp.concatenate([angle[..., :1], angle[..., 1:] + _advance(cfg, angle)], -1)
            angle = _sum_of_steps(step)
        return _complex(mag * xp.cos(angle), mag * xp.sin(angle))
    z = _complex(first, second)
    r = (first**2 + second**2 + 1e-24) ** 0.5
    if cfg.second_channel == "cos_sin":
        return z * (xp.expm1(r * math.log1p(1 / FLOOR)) * FLOOR / r)
    return z * r ** (1 / POWER - 1)


def _complex(real: Array, imag: Array) -> Array:
    """Complex numbers of two arrays of float32."""
    xp = library(real)
    if xp is not np:
        return xp.complex(real, imag)
    z = np.empty(real.shape, np.complex64)
    z.real, z.imag = real, imag
    return z


def _sum_of_steps(step: Array) -> Array:
    """Angles of float32 from their steps along the last axis, summed in float64 [rad]."""
    if isinstance(step, np.ndarray):
        return _wrap(step.cumsum(-1, np.float64)).astype(np.float32)
    step = step if step.device.type == "mps" else step.double()  # MPS has no float64
    return _wrap(step.cumsum(-1)).float()


def minimum_phase(log_gain: Array, n_quefrencies: int | None = None) -> Array:
    """Log-response of the minimum-phase filters with these gains at the bins of an STFT.

    Parameters
    ----------
    log_gain : np.ndarray or torch.Tensor [shape=(..., n_freqs, n_frames), nepers]
    n_quefrencies : int, optional
        Number of cepstral coefficients that are kept; fewer smooth the gain along frequency.

    Returns
    -------
    np.ndarray or torch.Tensor [shape=(..., n_freqs, n_frames), complex]
        Smoothed log-gain [nepers] as real part, phase [rad] as imaginary part.

    References
    ----------
    Oppenheim and Schafer, Discrete-Time Signal Processing, the chapter on the cepstrum.
    """
    xp, n = library(log_gain), 2 * (log_gain.shape[-2] - 1)
    causal = np.zeros((n, 1), np.float32)
    causal[0] = causal[n // 2] = 1
    causal[1 : n // 2] = 2
    if n_quefrencies is not None:
        causal[n_quefrencies:] = 0
    cepstrum = xp.fft.irfft(log_gain, n, -2)
    return xp.fft.rfft(cepstrum * _like(causal, log_gain), n, -2)


def filtered(
    img: Array,
    log_gain: Array,
    cfg: AudioConfig,
    n_quefrencies: int | None = None,
) -> Array:
    """Filter each frame of an image with a minimum-phase filter.

    Parameters
    ----------
    img : np.ndarray or torch.Tensor [shape=(..., 2, n_freqs, n_frames)]
    log_gain : np.ndarray or torch.Tensor [shape=(..., 1, n_freqs, n_frames)]
        Log-gain: in units of channel 0 (50 dB) if that is a logarithm, else in nepers of the
        compressed magnitude.
    n_quefrencies : int, optional
        As for `minimum_phase`.

    Returns
    -------
    np.ndarray or torch.Tensor [shape as `img`]
    """
    xp = library(img)
    if not has_logarithm(cfg):
        return img * xp.exp(minimum_phase(log_gain, n_quefrencies).real)
    response = minimum_phase(log_gain * NEPERS, n_quefrencies)
    turn = response.imag
    if cfg.second_channel == "instantaneous_frequency":
        turn = xp.concatenate([turn[..., :1], xp.diff(turn, 1, -1)], -1)
    angle = img[..., 1:, :, :] + turn / math.pi
    return xp.concatenate([img[..., :1, :, :] + response.real / NEPERS, angle], -3)


def log_magnitude(img: Array, cfg: AudioConfig) -> Array:
    """Log-magnitude of an image (..., n_freqs, n_frames), -1 at -100 dB and 1 at 0 dB."""
    if has_logarithm(cfg):
        return img[..., 0, :, :]
    return log_of_magnitude(from_image(img, cfg))


def log_of_magnitude(D: Array) -> Array:
    """Log-magnitude of an STFT (..., n_freqs, n_frames), as `log_magnitude`; finite gradient at 0."""
    mag = (D.real**2 + D.imag**2 + 1e-24) ** 0.5
    return 1 + library(D).log10(mag + FLOOR) * (2 / DECADES)


def _advance(cfg: AudioConfig, like: Array) -> Array:
    """Phase advance of each bin's center frequency in one hop [shape=(n_freqs, 1), rad]."""
    turns = np.arange(cfg.n_freqs) * cfg.hop_length / cfg.n_fft
    return _like((turns % 1 * 2 * math.pi).astype(np.float32)[:, None], like)


def _wrap(angle: Array) -> Array:
    """Angle wrapped to -pi..pi [rad]."""
    return angle - 2 * math.pi * library(angle).round(angle / (2 * math.pi))
