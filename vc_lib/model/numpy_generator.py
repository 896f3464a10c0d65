"""The compact generator in NumPy: conversion needs no torch, and starts without it.

`networks.Generator` is the same network for training. Arrays are (n_rows, n_channels, n_frames)
here, so that a row of the convolution is one matrix product, and rows of padding cost nothing.
"""

import math
from itertools import pairwise

import numpy as np
from scipy.ndimage import correlate1d

from ..config import Config
from ..spectrogram import DECADES, Array, filtered, library, log_magnitude

# frame level relative to loud frames: no change below -35 dB, full change above -25 dB [50 dB]
FADE = (-0.7, -0.5)
LOUD = -2.0  # level of loud frames before the first step of training [50 dB]
LOWEST_HZ, FADE_HZ = 60.0, 20.0  # the change fades out at and below this; no voice is lower
EPS = 1e-5  # of a batch normalization
UNET = "net.1.layers"  # where fastai's DynamicUnet keeps its layers


class NumpyGenerator:
    """The compact generator of a trained voice.

    Parameters
    ----------
    cfg : Config
        Of the voice; its encoder is "compact".
    weights : dict of str to np.ndarray
        The state of a `networks.Generator`, with the names and shapes of `layout`.

    Attributes
    ----------
    step_t : int [frames]
        The network pads an image to a multiple of it.
    """

    def __init__(self, cfg: Config, weights: dict[str, np.ndarray]):
        self.cfg, self.step_t = cfg, 2 ** (cfg.depth - 1)
        self.step_f = cfg.fold * self.step_t
        self.unet = _UNet(cfg.depth, weights)
        limited = cfg.limit_change and cfg.filter_output
        self.limiter = _ChangeLimiter(cfg, weights) if limited else None

    def __call__(self, img: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Change an anonymized image into one of the target's voice.

        Parameters
        ----------
        img : np.ndarray [shape=(2, n_freqs, n_frames), float32]
        strength : float
            Share of the change.

        Returns
        -------
        np.ndarray [shape as `img`, float32]
        """
        n_freqs, n_frames = img.shape[1] - 1, img.shape[2]
        padding = (0, 0), (0, -n_freqs % self.step_f), (0, -n_frames % self.step_t)
        padded = np.pad(img[:, :-1], padding, mode="edge")
        n_rows = padded.shape[1] // self.cfg.fold
        folded = padded.reshape(2, n_rows, self.cfg.fold, -1).swapaxes(0, 1)
        out = self.unet(folded.reshape(n_rows, 2 * self.cfg.fold, -1))
        n_out = out.shape[1] // self.cfg.fold
        change = out.reshape(n_rows, n_out, self.cfg.fold, -1).swapaxes(0, 1)
        change = change.reshape(n_out, padded.shape[1], -1)[:, :n_freqs, :n_frames]
        change = np.concatenate([change, change[:, -1:]], 1)  # (1 or 2, n_freqs, n_frames)
        if not self.cfg.filter_output:
            return img + np.float32(strength) * change
        if self.limiter:
            change = self.limiter(change, img)
        return filtered(img, np.float32(strength) * change, self.cfg, n_quefrencies(self.cfg))


def layout(cfg: Config) -> dict[str, list[int]]:
    """Names and shapes of the weights of a compact generator."""
    shapes: dict[str, list[int]] = {}

    def conv(name: str, n_from: int, n_to: int, size: int = 3, bias: bool = True) -> None:
        shapes[f"{UNET}.{name}.weight"] = [n_to, n_from, size, size]
        if bias:
            shapes[f"{UNET}.{name}.bias"] = [n_to]

    def norm(name: str, n: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{UNET}.{name}.{part}"] = [n]
        shapes[f"{UNET}.{name}.num_batches_tracked"] = []

    def normalized(name: str, n_from: int, n_to: int) -> None:
        conv(f"{name}.0", n_from, n_to, bias=False)
        norm(f"{name}.1", n_to)

    n_out = 1 if cfg.filter_output else 2
    channels = [min(cfg.width * 2**i, cfg.width * 4) for i in range(cfg.depth)]
    for i, (n_from, n_to) in enumerate(pairwise([2 * cfg.fold, *channels])):
        normalized(f"0.{i}.0", n_from, n_to)
        normalized(f"0.{i}.1.convpath.0", n_to, n_to)
        normalized(f"0.{i}.1.convpath.1", n_to, n_to)
    n = channels[-1]
    norm("1", n)
    conv("3.0.0", n, 2 * n)
    conv("3.1.0", 2 * n, n)
    for i, n_skip in enumerate(reversed(channels[:-1])):
        name, is_last = f"{4 + i}", i == cfg.depth - 2
        conv(f"{name}.shuf.0.0", n, n // 2 * 4, size=1)
        norm(f"{name}.bn", n_skip)
        n_joined = n // 2 + n_skip
        n = n_joined // 2 if is_last else n_joined
        conv(f"{name}.conv1.0", n_joined, n)
        conv(f"{name}.conv2.0", n, n)
    conv(f"{4 + cfg.depth}.0", n, n_out * cfg.fold, size=1)
    if cfg.limit_change and cfg.filter_output:
        shapes |= {"limiter.mean": [cfg.n_freqs, 1], "limiter.loud": [], "limiter.counted": []}
    return shapes


class _UNet:
    """Layers of `layout`, on arrays (n_rows, n_channels, n_frames)."""

    def __init__(self, depth: int, weights: dict[str, np.ndarray]):
        def conv(name: str, stride: int = 1) -> _Conv:
            return _Conv(weights[f"{UNET}.{name}.weight"], weights[f"{UNET}.{name}.bias"], stride)

        def norm(name: str) -> tuple[np.ndarray, np.ndarray]:
            parts = ("weight", "bias", "running_mean", "running_var")
            gain, bias, mean, var = (weights[f"{UNET}.{name}.{part}"] for part in parts)
            gain = gain / np.sqrt(var + np.float32(EPS))
            return gain[:, None], (bias - gain * mean)[:, None]

        def normalized(name: str, stride: int = 1) -> _Conv:
            gain, bias = norm(f"{name}.1")
            weight = weights[f"{UNET}.{name}.0.weight"] * gain[..., None, None]
            return _Conv(weight, bias[:, 0], stride)

        self.stages = [
            (
                normalized(f"0.{i}.0", 2 if i else 1),
                normalized(f"0.{i}.1.convpath.0"),
                normalized(f"0.{i}.1.convpath.1"),
            )
            for i in range(depth)
        ]
        self.norm = norm("1")
        self.middle = conv("3.0.0"), conv("3.1.0")
        self.ups = [
            (
                conv(f"{4 + i}.shuf.0.0"),
                norm(f"{4 + i}.bn"),
                conv(f"{4 + i}.conv1.0"),
                conv(f"{4 + i}.conv2.0"),
            )
            for i in range(depth - 1)
        ]
        self.last = conv(f"{4 + depth}.0")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        skips = []
        for first, *residual in self.stages:
            x = _relu(first(x))
            inner, outer = residual
            x = _relu(outer(_relu(inner(x))) + x)
            skips.append(x)
        gain, bias = self.norm
        x = _relu(skips.pop() * gain + bias)
        for layer in self.middle:
            x = _relu(layer(x))
        for widen, (gain, bias), *layers in self.ups:
            up = _shuffled(_relu(widen(x)))
            x = _relu(np.concatenate([up, skips.pop() * gain + bias], 1))
            for layer in layers:
                x = _relu(layer(x))
        return self.last(x)


class _Conv:
    """A convolution of 3 x 3 or 1 x 1, padded with zeros to the size of its input."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, stride: int = 1):
        self.n, self.stride = weight.shape[-1], stride
        # (n_to, row * frame * n_from): the weights of neighboring rows lie side by side
        self.weight = np.ascontiguousarray(weight.transpose(0, 2, 3, 1).reshape(len(weight), -1))
        self.bias = bias[:, None]

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (n_rows, n_from, n_frames)
        n_rows, n_from, n_frames = x.shape
        reach, n_seen = self.n // 2, self.n * n_from
        if reach:
            frames = np.pad(x, ((0, 0), (0, 0), (reach, reach)))
            shifts = [frames[..., i : i + n_frames : self.stride] for i in range(self.n)]
            x = np.concatenate(shifts, 1)  # (n_rows, n * n_from, n_frames / stride)
        centers = range(0, n_rows, self.stride)
        out = np.empty((len(centers), len(self.weight), x.shape[-1]), np.float32)
        for row, center in enumerate(centers):
            first, end = max(center - reach, 0), min(center + reach + 1, n_rows)
            at = (first - center + reach) * n_seen
            weight = self.weight[:, at : at + (end - first) * n_seen]
            np.matmul(weight, x[first:end].reshape(-1, x.shape[-1]), out=out[row])
        out += self.bias
        return out


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0, out=x)


def _shuffled(x: np.ndarray) -> np.ndarray:
    """Four channels as two rows by two frames: (R, 4C, T) to (2R, C, 2T)."""
    n_rows, n, n_frames = x.shape
    x = x.reshape(n_rows, n // 4, 2, 2, n_frames).transpose(0, 2, 1, 4, 3)
    return x.reshape(2 * n_rows, n // 4, 2 * n_frames)


class _ChangeLimiter:
    """`networks.ChangeLimiter` after training; its reasons are there."""

    def __init__(self, cfg: Config, weights: dict[str, np.ndarray]):
        self.cfg, self.kernel, self.band = cfg, smoothing(cfg), band(cfg)
        mean, loud, n = (weights[f"limiter.{name}"] for name in ("mean", "loud", "counted"))
        self.mean, self.loud = (mean / n, loud / n) if n > 0 else (np.zeros_like(mean), LOUD)

    def __call__(self, change: np.ndarray, img: np.ndarray) -> np.ndarray:
        change = correlate1d(change, self.kernel, mode="nearest")
        return (change - self.mean) * gate(frame_level(img, self.cfg), self.loud) * self.band


def frame_level(img: Array, cfg: Config) -> Array:
    """Level of the frames of an image (..., 2, n_freqs, n_frames) [shape=(..., n_frames), 50 dB]."""
    power = 10 ** (DECADES * (log_magnitude(img, cfg) - 1))
    return library(img).log10(power.mean(-2)) / DECADES


def gate(level: Array, loud) -> Array:
    """Share of the change that frames of a `level` keep, where loud frames have `loud` [50 dB]."""
    return library(level).clip((level - loud - FADE[0]) / (FADE[1] - FADE[0]), 0, 1)


def n_quefrencies(cfg: Config) -> int | None:
    """Number of cepstral coefficients of a filter of `cfg.lifter_ms`; None for a gain of each bin."""
    return math.ceil(cfg.lifter_ms / 1000 * cfg.sr) or None


def smoothing(cfg: Config) -> np.ndarray:
    """Gaussian kernel over frames of `cfg.change_smooth_ms`, whose sum is 1."""
    sigma = max(cfg.change_smooth_ms / 1000 * cfg.sr / cfg.hop_length, 1e-3)  # [frames]
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


def band(cfg: Config) -> np.ndarray:
    """Share of the change that is kept at each bin [shape=(n_freqs, 1)]."""
    hz = np.linspace(0, cfg.sr / 2, cfg.n_freqs)[:, None]
    kept = (hz < cfg.change_below_hz) / (1 + np.exp((LOWEST_HZ - hz) / FADE_HZ))
    return kept.astype(np.float32)
