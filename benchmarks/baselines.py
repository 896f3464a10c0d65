"""Systems that a voice is compared with, beside those of `vc_lib.evaluate.baselines`.

griffin_lim    the voice's magnitudes with a phase estimated from them
half_and_half  the mean of two baselines
mcadams        the anonymization of VoicePrivacy's baseline B2
"""

from dataclasses import replace

import librosa
import numpy as np
import torch
from scipy.signal import lfilter

from vc_lib.anonymize import Features
from vc_lib.audio import check_sr, check_wav, resample
from vc_lib.audio.level import attenuate_pauses
from vc_lib.convert import Voice
from vc_lib.errors import ParameterError
from vc_lib.evaluate.baselines import (
    BASELINES,
    TargetFrames,
    keep_energy,
    nearest_frames,
    world_statistics,
)
from vc_lib.spectrogram import magnitude, wav_to_image


def half_and_half(features: Features, target: TargetFrames) -> Features:
    """Average the log envelopes of `world_statistics` and `nearest_frames`."""
    a, b = world_statistics(features, target), nearest_frames(features, target)
    return replace(a, sp=keep_energy(np.sqrt(a.sp * b.sp), features.sp))


ALL_BASELINES = BASELINES | {"half and half": half_and_half}


def griffin_lim(
    voice: Voice, wav: np.ndarray, sr: int, n_iter: int = 32, seed: int = 0
) -> np.ndarray:
    """Convert with a voice, but replace the vocoder's phase by one estimated from the magnitudes.

    Parameters
    ----------
    voice : Voice
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    n_iter : int
        Number of iterations, at least 1.
    seed : int
        Seed of the initial phases.

    Returns
    -------
    converted : np.ndarray [shape=(n_converted,), float32, -1..1], as long as that of `voice.convert`

    Raises
    ------
    ParameterError
        If `n_iter` is below 1, or `wav` is no waveform.

    References
    ----------
    Perraudin et al., A fast Griffin-Lim algorithm, WASPAA 2013; by librosa.
    """
    if n_iter < 1:
        raise ParameterError(f"n_iter={n_iter} must be at least 1")
    cfg = voice.config
    wav = resample(check_wav(wav), sr, voice.sr)
    anonymized = voice.anonymize(wav, voice.sr)
    img = torch.from_numpy(wav_to_image(anonymized, cfg))[None].to(voice.device)
    with torch.inference_mode():
        out = voice.generator(img)[0].float().cpu().numpy()
    converted = librosa.griffinlim(
        magnitude(out, cfg) * (cfg.n_fft / 4),
        n_iter=n_iter,
        hop_length=cfg.hop_length,
        n_fft=cfg.n_fft,
        length=(out.shape[-1] - 1) * cfg.hop_length,
        random_state=seed,
        pad_mode="constant",
    )
    converted = np.clip(converted[: len(anonymized)], -1, 1).astype(np.float32)
    return attenuate_pauses(converted, wav, voice.sr, voice.config.pause_depth_db)


def mcadams(wav: np.ndarray, sr: int, alpha: float = 0.8, order: int = 20) -> np.ndarray:
    """Move formants: raise the angles of the poles of linear prediction to the power `alpha`.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    alpha : float [0.3..1.5; 1 changes nothing]
    order : int
        Order of the prediction: 20 at 16 kHz.

    Returns
    -------
    anonymized : np.ndarray [shape=(n_samples,), float32, -1..1]
        Scaled to the RMS of `wav`, or less where that would clip.

    Raises
    ------
    ParameterError
        If `alpha` is out of range, or `wav` is no waveform.

    References
    ----------
    Patino et al., Speaker anonymisation using the McAdams coefficient, Interspeech 2021. It is
    baseline B2 of the VoicePrivacy challenges, with frames of 20 ms every 10 ms.
    """
    if not 0.3 <= alpha <= 1.5:
        raise ParameterError(f"alpha={alpha} must be in 0.3..1.5 (1 changes nothing)")
    wav = check_wav(wav).astype(np.float64)
    hop = round(0.01 * check_sr(sr))
    size = 2 * hop
    window = np.sqrt(np.hanning(size + 1)[:-1])  # applied twice, overlapping frames add up to 1
    padded = np.pad(wav, (size, size + hop))
    out = np.zeros_like(padded)
    for start in range(0, len(padded) - size + 1, hop):
        frame = padded[start : start + size] * window
        if np.abs(frame).max() < 1e-7:
            continue
        predictor = librosa.lpc(frame + 1e-9 * window, order=order)
        residual = lfilter(predictor, [1.0], frame)
        frame = lfilter([1.0], _moved_poles(predictor, alpha), residual)
        out[start : start + size] += frame * window
    out = out[size : size + len(wav)]
    power = np.square(out).mean()
    if power == 0:
        return out.astype(np.float32)
    gain = np.sqrt(np.square(wav).mean() / power)  # moved poles make the sound louder
    return (out * min(gain, 1 / np.abs(out).max())).astype(np.float32)


def _moved_poles(predictor: np.ndarray, alpha: float) -> np.ndarray:
    """The predictor with the angles of its complex poles raised to the power `alpha`."""
    poles = np.roots(predictor)
    angle = np.angle(poles)
    is_complex = np.abs(poles.imag) > 1e-9
    moved = np.where(is_complex, np.sign(angle) * np.abs(angle) ** alpha, angle)
    moved = np.clip(moved, -np.pi, np.pi)
    return np.poly(np.minimum(np.abs(poles), 0.999) * np.exp(1j * moved)).real
