"""Waveform of transformed features with as little vocoder as possible.

Voiced sound comes from WORLD's synthesis or from grains of the recording (`psola`). Everything else
may be the recording itself, filtered (`recorded`).
"""

import math
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .psola import Grains, overlap_add
from .recorded import TAIL_MS, beside, filter_recording, join, log_gain, weight
from .synthesis import synthesis
from .world import FLOOR_POWER, Features, spectral_envelope

REFINE_MAX = 1.5  # largest log-gain of the second filter, either way; 13 dB [nepers]
REFINE_STEP_MS = 10.0  # step between the frames of the second filter [ms]
REFINE_MS = 7.0  # smoothing of this gain over time, std [ms]
NOISE_FRAMES = 2  # frames beside a voiced one whose noise reaches into it


def hybrid(
    wav: np.ndarray,
    features: Features,
    transformed: Features,
    grains: list[Grains] | None,
    recorded: bool,
    refine: bool = True,
    first: int = 0,
    phase: tuple[int, float] | None = None,
) -> np.ndarray:
    """Make a waveform of `transformed` out of the recording and WORLD's synthesis.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    features, transformed : Features
        Of the recording, and as wanted; frame 0 is centered at sample 0.
    grains : list of Grains, optional
        Grains of the voiced sound, from `psola.find_grains`; WORLD's pulses if None.
    recorded : bool
        Whether all else is the filtered recording; if not, WORLD's noise.
    refine : bool
        Whether sound made of grains is filtered once more, from its envelope to the wanted one.
    first, phase
        As for `world.synthesize`; of WORLD's pulses and noise.

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32, -1..1]
    """
    n, hop = len(wav), features.frame_period_ms / 1000 * features.sr
    voiced, gain = transformed.voiced, None
    if grains is not None or recorded:
        gain = log_gain(features, transformed)
    if grains is None:
        noisy = beside(voiced, NOISE_FRAMES) if recorded else None
        sound = _vocoded(transformed, n, first, phase, noisy)
    else:
        sound = overlap_add(wav, grains, gain, hop)
    if recorded:
        n_tail = math.ceil(TAIL_MS / features.frame_period_ms)
        sound = join(wav, gain, sound, voiced, hop, n_tail)
    elif grains is not None:
        share = weight(voiced, n, hop)
        noise = _vocoded(transformed, n, first, phase, beside(~voiced, NOISE_FRAMES))
        sound = share * sound + (1 - share) * noise
    if grains and refine:
        sound = _refined(np.clip(sound, -1, 1), transformed, hop)
    return np.clip(sound, -1, 1)


def _vocoded(
    features: Features, n_samples: int, first: int, phase, noisy: np.ndarray | None
) -> np.ndarray:
    """WORLD's synthesis, cut or padded to `n_samples`; noise of the frames `noisy` only."""
    f = features
    out = synthesis(f.f0, f.sp, f.ap, f.sr, f.frame_period_ms, first, phase, noisy)[:n_samples]
    return np.pad(out, (0, n_samples - len(out)))


def _refined(wav: np.ndarray, wanted: Features, hop: float) -> np.ndarray:
    """Filter voiced sound from the envelope it has to the envelope that is wanted.

    A grain brings its own envelope along, sampled at the old harmonics.
    """
    step = max(1, round(REFINE_STEP_MS / wanted.frame_period_ms))
    wanted = replace(wanted[::step], frame_period_ms=step * wanted.frame_period_ms)
    voiced, hop = wanted.voiced, step * hop
    if not voiced.any():  # a voiced run may lie between two frames
        return wav
    own = spectral_envelope(wav, wanted, voiced)
    gain = np.zeros(wanted.sp.shape, np.float32)
    change = np.log(np.maximum(wanted.sp[voiced], FLOOR_POWER) / np.maximum(own, FLOOR_POWER)) / 2
    gain[voiced] = np.clip(change, -REFINE_MAX, REFINE_MAX)
    gain = gaussian_filter1d(gain, REFINE_MS / wanted.frame_period_ms, axis=0, mode="nearest")
    near = beside(voiced, math.ceil(3 * REFINE_MS / wanted.frame_period_ms))
    return filter_recording(wav, gain, hop, near) + (1 - weight(near, len(wav), hop)) * wav
