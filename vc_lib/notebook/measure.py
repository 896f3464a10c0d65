"""What notebook 01 measures: which parts of speech a change of WORLD's features keeps."""

from dataclasses import replace

import numpy as np

from ..anonymize import Features, active_frames, cepstrum, envelope_from_cepstrum, find_f0
from ..config import AnonymizeConfig
from ..evaluate import envelope_distance_db, f0_register_cents, log_f0_correlation
from ..evaluate.metrics import log_spectral_distance_db
from ..evaluate.signal_metrics import si_snr_db

DIO = AnonymizeConfig(f0_method="dio")  # a strict tracker: it finds less voicing than the default
RANGE_DB = 60.0  # levels further below the loudest do not count


def copy_loss(
    copy: np.ndarray, copied: Features, wav: np.ndarray, features: Features
) -> dict[str, float]:
    """Measure the loss of copy-synthesis, by waveform, spectrum, melody and average envelope.

    Parameters
    ----------
    copy, copied : np.ndarray [shape=(n_samples,), -1..1], Features
        The copy and its analysis.
    wav, features : np.ndarray [shape=(n_samples,), -1..1], Features
        The original and its analysis.
    """
    sr = features.sr
    return {
        "SI-SNR [dB]": si_snr_db(copy, wav, sr),
        "log-spectral distance [dB]": log_spectral_distance_db(copy, wav, sr),
        "log-F0 correlation": log_f0_correlation(copied, features, sr),
        "average envelope moved [dB]": envelope_distance_db(copied, features, sr),
    }


def coarse_envelope(features: Features, n_cepstra: int) -> Features:
    """Redraw the envelope with its first `n_cepstra` cepstral coefficients."""
    coefficients = cepstrum(features, n_cepstra)
    sp = envelope_from_cepstrum(coefficients, features.sr, features.sp.shape[1])
    return replace(features, sp=sp)


def voiced_kept(wav: np.ndarray, original: np.ndarray, sr: int) -> float:
    """Share of the voiced frames of `original` that are voiced in `wav`, by DIO.

    Parameters
    ----------
    wav, original : np.ndarray [shape=(n_samples,), -1..1]
        `wav` is at least as long as `original`.
    sr : int [Hz]
    """
    voiced = find_f0(original, sr, DIO) > 0
    still = find_f0(wav[: len(original)], sr, DIO) > 0
    return float((still & voiced).sum() / voiced.sum())


def envelope_correlation(changed: Features, original: Features) -> float:
    """Correlation of the envelopes' movement over time: the words.

    The log envelopes of active frames are compared, without the level of each frame and without the
    average spectrum.
    """
    active = active_frames(original)
    moving = [_movement_db(features.sp[active]).ravel() for features in (changed, original)]
    return float(np.corrcoef(*moving)[0, 1])


def _movement_db(power: np.ndarray) -> np.ndarray:
    """Log envelopes (n_frames, n_bins) without their levels and their average [dB]."""
    floor = power.max() * 10 ** (-RANGE_DB / 10)
    level_db = 10 * np.log10(np.maximum(power, floor))
    level_db -= level_db.mean(axis=1, keepdims=True)
    return level_db - level_db.mean(axis=0)


def kept_and_moved(
    wav: np.ndarray, changed: Features, copy: np.ndarray, original: Features
) -> dict[str, float]:
    """Measure what a changed sound keeps of the original, and how far its average envelope moved.

    Parameters
    ----------
    wav, changed : np.ndarray [shape=(n_samples,), -1..1], Features
        The changed sound and its analysis.
    copy, original : np.ndarray [shape=(n_samples,), -1..1], Features
        The unchanged copy-synthesis, and the analysis of the recording.

    Returns
    -------
    dict of label to float
        Higher is better (voicing, melody, words) or more anonymous (the distance).
    """
    sr = original.sr
    return {
        "voiced kept": voiced_kept(wav, copy, sr),
        "log-F0 corr.": log_f0_correlation(changed, original, sr),
        "envelope corr.": envelope_correlation(changed, original),
        "average moved [dB]": envelope_distance_db(changed, original, sr),
    }


def speaker_distance(a: Features, b: Features) -> dict[str, float]:
    """Distance of two speakers: median pitch and average envelope."""
    return {
        "pitch [semitones]": abs(f0_register_cents(a, b, a.sr)) / 100,
        "average envelope [dB]": envelope_distance_db(a, b, a.sr),
    }
