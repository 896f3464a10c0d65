"""Systems that a voice is compared with, beside those of `vc_lib.evaluate.baselines`.

griffin_lim    the voice's magnitudes with a phase estimated from them
half_and_half  the mean of two baselines
"""

from dataclasses import replace

import librosa
import numpy as np

from vc_lib.anonymize import Features
from vc_lib.audio import check_wav, resample
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
    """Convert with a voice, but replace the phase by one estimated from the magnitudes.

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
    out = voice.generator(wav_to_image(anonymized, cfg), 1.0)
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
