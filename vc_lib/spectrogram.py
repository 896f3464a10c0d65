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
so the inverse is exact at every length. The functions on tensors are differentiable and take any
number of leading axes; losses use them.
"""

import math

import numpy as np
import torch

from .audio import check_wav
from .config import AudioConfig
from .errors import ParameterError

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
    x = torch.from_numpy(np.ascontiguousarray(check_wav(wav), dtype=np.float32))
    return to_image(stft(x, cfg), cfg).numpy()


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
    x = torch.from_numpy(np.ascontiguousarray(img, dtype=np.float32))
    return istft(from_image(x, cfg), cfg, n_samples).numpy()


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
    x = torch.from_numpy(np.ascontiguousarray(img, dtype=np.float32))
    return from_image(x, cfg).abs().numpy()


# The same on tensors: waveform (..., n_samples), STFT (..., n_freqs, n_frames), complex,
# image (..., 2, n_freqs, n_frames)


def _window(cfg: AudioConfig, like: torch.Tensor) -> torch.Tensor:
    """Hann window (n_fft,) on the device of `like`."""
    return torch.hann_window(cfg.n_fft, dtype=torch.float32, device=like.device)


def stft(wav: torch.Tensor, cfg: AudioConfig) -> torch.Tensor:
    """STFT of `wav` (..., n_samples), scaled so that a full-scale sine peaks at 1."""
    n_frames = 1 + math.ceil(wav.shape[-1] / cfg.hop_length)
    flat = wav.reshape(-1, wav.shape[-1])
    flat = torch.nn.functional.pad(flat, (0, (n_frames - 1) * cfg.hop_length - wav.shape[-1]))
    D = torch.stft(
        flat,
        cfg.n_fft,
        cfg.hop_length,
        window=_window(cfg, wav),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return D.reshape(*wav.shape[:-1], *D.shape[-2:]) / (cfg.n_fft / 4)


def istft(D: torch.Tensor, cfg: AudioConfig, n_samples: int) -> torch.Tensor:
    """Inverse of `stft`: (..., n_freqs, n_frames) to (..., n_samples)."""
    flat = D.reshape(-1, *D.shape[-2:]) * (cfg.n_fft / 4)
    wav = torch.istft(
        flat, cfg.n_fft, cfg.hop_length, window=_window(cfg, D), center=True, length=n_samples
    )
    return wav.reshape(*D.shape[:-2], n_samples)


def to_image(D: torch.Tensor, cfg: AudioConfig) -> torch.Tensor:
    """Image (..., 2, n_freqs, n_frames) of an STFT."""
    mag = D.abs()
    if has_logarithm(cfg):
        first = 1 + torch.log10(mag + FLOOR) * (2 / DECADES)
        angle = torch.angle(D)
        if cfg.second_channel == "instantaneous_frequency":
            angle = _wrap(
                torch.cat([angle[..., :1], angle.diff(dim=-1) - _advance(cfg, angle)], -1)
            )
        return torch.stack([first, angle / math.pi], -3)
    if cfg.second_channel == "cos_sin":
        r = torch.log1p(mag / FLOOR) / math.log1p(1 / FLOOR)
    else:
        r = mag**POWER
    return torch.view_as_real(torch.polar(r, torch.angle(D))).movedim(-1, -3)


def from_image(img: torch.Tensor, cfg: AudioConfig) -> torch.Tensor:
    """STFT of an image (..., 2, n_freqs, n_frames)."""
    first, second = img.float().unbind(-3)
    if has_logarithm(cfg):
        mag = (10 ** ((first - 1) * (DECADES / 2)) - FLOOR).clamp(min=0)
        angle = second * math.pi
        if cfg.second_channel == "instantaneous_frequency":
            step = torch.cat([angle[..., :1], angle[..., 1:] + _advance(cfg, angle)], -1)
            step = step if step.device.type == "mps" else step.double()  # MPS has no float64
            turns = step.cumsum(-1) / (2 * math.pi)
            angle = ((turns - turns.detach().round()) * (2 * math.pi)).float()
        return torch.polar(mag, angle)
    z = torch.complex(first, second)
    r = (first.square() + second.square() + 1e-24).sqrt()
    if cfg.second_channel == "cos_sin":
        return z * (torch.expm1(r * math.log1p(1 / FLOOR)) * FLOOR / r)
    return z * r ** (1 / POWER - 1)


def minimum_phase(log_gain: torch.Tensor, n_quefrencies: int | None = None) -> torch.Tensor:
    """Log-response of the minimum-phase filters with these gains at the bins of an STFT.

    Parameters
    ----------
    log_gain : torch.Tensor [shape=(..., n_freqs, n_frames), nepers]
    n_quefrencies : int, optional
        Number of cepstral coefficients that are kept; fewer smooth the gain along frequency.

    Returns
    -------
    torch.Tensor [shape=(..., n_freqs, n_frames), complex]
        Smoothed log-gain [nepers] as real part, phase [rad] as imaginary part.

    References
    ----------
    Oppenheim and Schafer, Discrete-Time Signal Processing, the chapter on the cepstrum.
    """
    n = 2 * (log_gain.shape[-2] - 1)
    cepstrum = torch.fft.irfft(log_gain, n, dim=-2)
    causal = torch.zeros(n, device=log_gain.device)
    causal[0] = causal[n // 2] = 1
    causal[1 : n // 2] = 2
    if n_quefrencies is not None:
        causal[n_quefrencies:] = 0
    return torch.fft.rfft(cepstrum * causal[:, None], dim=-2)


def filtered(
    img: torch.Tensor,
    log_gain: torch.Tensor,
    cfg: AudioConfig,
    n_quefrencies: int | None = None,
) -> torch.Tensor:
    """Filter each frame of an image with a minimum-phase filter.

    Parameters
    ----------
    img : torch.Tensor [shape=(..., 2, n_freqs, n_frames)]
    log_gain : torch.Tensor [shape=(..., 1, n_freqs, n_frames)]
        Log-gain: in units of channel 0 (50 dB) if that is a logarithm, else in nepers of the
        compressed magnitude.
    n_quefrencies : int, optional
        As for `minimum_phase`.

    Returns
    -------
    torch.Tensor [shape as `img`]
    """
    if not has_logarithm(cfg):
        return img * torch.exp(minimum_phase(log_gain, n_quefrencies).real)
    response = minimum_phase(log_gain * NEPERS, n_quefrencies)
    turn = response.imag
    if cfg.second_channel == "instantaneous_frequency":
        turn = torch.cat([turn[..., :1], turn.diff(dim=-1)], -1)
    angle = img[..., 1:, :, :] + turn / math.pi
    return torch.cat([img[..., :1, :, :] + response.real / NEPERS, angle], -3)


def log_magnitude(img: torch.Tensor, cfg: AudioConfig) -> torch.Tensor:
    """Log-magnitude of an image (..., n_freqs, n_frames), -1 at -100 dB and 1 at 0 dB."""
    if has_logarithm(cfg):
        return img[..., 0, :, :]
    return log_of_magnitude(from_image(img, cfg))


def log_of_magnitude(D: torch.Tensor) -> torch.Tensor:
    """Log-magnitude of an STFT (..., n_freqs, n_frames), as `log_magnitude`; finite gradient at 0."""
    mag = (D.real.square() + D.imag.square() + 1e-24).sqrt()
    return 1 + torch.log10(mag + FLOOR) * (2 / DECADES)


def _advance(cfg: AudioConfig, like: torch.Tensor) -> torch.Tensor:
    """Phase advance of each bin's center frequency in one hop [shape=(n_freqs, 1), rad]."""
    turns = torch.arange(cfg.n_freqs, dtype=torch.float64) * cfg.hop_length / cfg.n_fft
    return ((turns % 1) * 2 * math.pi).to(like.device, torch.float32)[:, None]


def _wrap(angle: torch.Tensor) -> torch.Tensor:
    """Angle wrapped to -pi..pi [rad]."""
    return angle - 2 * math.pi * torch.round(angle / (2 * math.pi))
