"""Two ways of resynthesis, for notebook 01: WORLD's synthesis alone, and the recording kept."""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..anonymize import Features, analyze, render, resynthesize
from ..anonymize.pipeline import measured_source
from ..config import AnonymizeConfig
from .measure import copy_loss

KEPT = AnonymizeConfig(voiced="recorded", unvoiced="recorded")
OF_SAME_PITCH = ("SI-SNR [dB]", "log-spectral distance [dB]")  # scores that need the same pitch
SOUND_S = 0.1  # part of a consonant and of a vowel that `consonant_and_vowel` compares [s]


def both_ways(
    wav: np.ndarray, features: Features, wanted: Features, note: str = ""
) -> dict[str, np.ndarray]:
    """Make a waveform of features in both ways.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        The recording.
    features, wanted : Features
        Of the recording, and of the result; the same number of frames.
    note : str
        Added to the labels.

    Returns
    -------
    dict of label to np.ndarray [shape=(n_samples,), float32, -1..1]
        "WORLD": all sound is synthesized. "recording kept": voiced sound is made of grains of the
        recording, and all other sound is the recording, filtered.
    """
    kept = render(wav, features, wanted, KEPT, measured_source(features, KEPT))
    return {f"WORLD{note}": resynthesize(wanted, len(wav)), f"recording kept{note}": kept}


def consonant_and_vowel(features: Features, seconds: float = 0.5) -> slice:
    """A stretch [samples] with a loud unvoiced consonant before a vowel.

    Parameters
    ----------
    features : Features
    seconds : float [s]
        Length of the stretch; it may be shorter at the ends of the recording.
    """
    step_s = features.frame_period_ms / 1000
    n = round(SOUND_S / step_s)
    power = features.sp.mean(axis=1)
    unvoiced, voiced = (np.where(of, power, 0) for of in (~features.voiced, features.voiced))
    before = uniform_filter1d(unvoiced, n, mode="constant", origin=(n - 1) // 2)
    after = uniform_filter1d(voiced, n, mode="constant", origin=-(n // 2))
    start = (before * after).argmax() * step_s - seconds / 2
    return slice(int(max(0, start) * features.sr), int((start + seconds) * features.sr))


def scores(
    unchanged: Mapping[str, np.ndarray],
    raised: Mapping[str, np.ndarray],
    wav: np.ndarray,
    features: Features,
) -> dict[str, dict[str, float]]:
    """Score sounds of unchanged features, and of features with a raised pitch.

    Parameters
    ----------
    unchanged, raised : dict of label to np.ndarray [shape=(n_samples,), -1..1]
        From `both_ways`.
    wav : np.ndarray [shape=(n_samples,), -1..1]
    features : Features
        Of `wav`.

    Returns
    -------
    dict of label to dict of label to float
        Of `raised`, the scores that need the same pitch are left out.
    """
    rows = {label: _scores(sound, wav, features) for label, sound in unchanged.items()}
    for label, sound in raised.items():
        row = _scores(sound, wav, features)
        rows[label] = {k: v for k, v in row.items() if k not in OF_SAME_PITCH}
    return rows


def _scores(sound: np.ndarray, wav: np.ndarray, features: Features) -> dict[str, float]:
    found = analyze(sound, features.sr)
    moved = {"pitch moved [semitones]": pitch_moved(found, features)}
    return copy_loss(sound, found, wav, features) | moved


def pitch_moved(changed: Features, original: Features) -> float:
    """Median change of F0 over the frames that are voiced in both [semitones]; nan without any."""
    voiced = changed.voiced & original.voiced
    if not voiced.any():
        return float("nan")
    moved = np.median(12 * np.log2(changed.f0[voiced] / original.f0[voiced]))
    return round(float(moved), 2) + 0.0  # no -0
