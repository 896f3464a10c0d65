"""Statistics of a speaker, and optimal transport from one speaker's cepstra to another's."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..audio.level import ACTIVE_DB, LOUD_DB, near_loud
from ..errors import ParameterError
from ..speaker import SpeakerStats
from .acoustic_classes import apply_fmllr, estimate_fmllr, fit_gmm, map_adapt_means
from .dials import power_db, scale_formants, vtl_ratio
from .world import FLOOR_POWER, N_CEPSTRA, Features, cepstrum

SILENT_DB = -110.0  # mean power of an envelope under which no frame is speech [dB]
LEAST_SPREAD = 1e-4  # smallest variance of a direction, as a share of the mean variance
MAX_STRETCH = 3.0  # largest factor by which a direction of cepstral space is stretched
SHRINK_FRAMES = 100  # weight of the prior for means and deviations [frames]
SHRINK_COVARIANCE_FRAMES = 800  # weight of the prior for a covariance [voiced frames]


def active_frames(features: Features) -> np.ndarray:
    """Mask of the frames of speech: less than 35 dB under the loud ones [shape=(n_frames,)]."""
    return near_loud(power_db(features.sp), ACTIVE_DB, SILENT_DB)


def loud_voiced_frames(features: Features) -> np.ndarray:
    """Mask of the voiced frames that are less than 25 dB under the loud ones [shape=(n_frames,)]."""
    return features.voiced & near_loud(power_db(features.sp), LOUD_DB)


def speaker_stats(
    recordings: Iterable[Features], prior: SpeakerStats | None = None, n_classes: int = 0
) -> SpeakerStats:
    """Measure register and long-term envelope of one speaker.

    Parameters
    ----------
    recordings : iterable of Features
        All by one speaker, all at one sampling rate.
    prior : SpeakerStats, optional
        Statistics to shrink towards, since half a second of speech does not show a whole voice.
        The prior has the weight of 100 frames (800 for a covariance). It is returned if there is
        no speech. With a prior that has a covariance, formants are scaled by `vtl_ratio` before
        the envelope is measured; the ratio is stored as `formant_ratio`. With a prior that has
        acoustic classes, `fmllr` and `class_means` are estimated too.
    n_classes : int
        For a target: number of acoustic classes to fit, see `acoustic_classes.fit_gmm`.

    Returns
    -------
    SpeakerStats
        `f0_hz` is the median over active voiced frames, 0 if there are none. `voiced_mean` and
        `voiced_cov` are empty if less than a quarter of a second is voiced, as in a whisper.

    Raises
    ------
    ParameterError
        If no frame is active and there is no prior.
    """
    formant_ratio = 1.0
    if prior is not None and prior.voiced_cov:
        recordings = [r for r in recordings if len(r.f0)]
        f0 = np.concatenate([np.empty(0), *(r.f0[r.voiced & active_frames(r)] for r in recordings)])
        formant_ratio = vtl_ratio(np.median(f0) if len(f0) else 0.0, prior.f0_hz)
    f0s, powers, cepstra, voiced = [], [], [], []
    for features in recordings:
        if not len(features.f0):
            continue
        active = active_frames(features)
        mc = cepstrum(replace(features, sp=scale_formants(features.sp, formant_ratio)))
        voiced.append(mc[loud_voiced_frames(features)])
        f0s.append(features.f0[features.voiced & active])
        powers.append(features.sp[active].mean(1))
        cepstra.append(mc[active])
    f0, power, mc, voiced = (
        np.concatenate(parts) if parts else np.empty(0) for parts in (f0s, powers, cepstra, voiced)
    )
    if not len(power):
        if prior is None:
            raise ParameterError(
                "the recordings hold no speech: every frame is silent; "
                "check the files or their level"
            )
        return prior
    stats = SpeakerStats(
        sr=features.sr,
        f0_hz=float(np.median(f0)) if len(f0) else 0.0,
        f0_std_semitones=float(np.std(12 * np.log2(f0 / np.median(f0)))) if len(f0) else 0.0,
        level_db=float(10 * np.log10(max(power.mean(), FLOOR_POWER))),
        cepstrum_mean=tuple(mc.mean(0)),
        cepstrum_std=tuple(mc.std(0)),
        formant_ratio=formant_ratio,
    )
    if len(voiced) > 2 * N_CEPSTRA:
        stats = replace(stats, voiced_mean=voiced.mean(0), voiced_cov=np.cov(voiced.T))
        if n_classes:
            stats = replace(stats, classes=fit_gmm(voiced[:, 1:], n_classes))
    if prior is None:
        return stats

    def shrunk(name: str, n_frames: int, n_prior: int = SHRINK_FRAMES) -> np.ndarray:
        weight = n_frames / (n_frames + n_prior)
        own, assumed = (np.array(getattr(s, name)) for s in (stats, prior))
        return weight * own + (1 - weight) * assumed if len(own) and len(assumed) else own

    stats = replace(
        stats,
        **{name: shrunk(name, len(mc)) for name in ("cepstrum_mean", "cepstrum_std")},
        voiced_mean=shrunk("voiced_mean", len(voiced)),
        voiced_cov=shrunk("voiced_cov", len(voiced), SHRINK_COVARIANCE_FRAMES),
    )
    if not (stats.voiced_cov and prior.classes):
        return stats
    moved = _transported(voiced[:, 1:], stats, prior)
    fmllr = estimate_fmllr(moved, prior.classes)
    class_means = map_adapt_means(apply_fmllr(moved, fmllr), prior.classes)
    return replace(stats, fmllr=fmllr, class_means=class_means)


def _root(matrix: np.ndarray, power: float) -> np.ndarray:
    """Power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-30) ** power) @ vectors.T


def _regularized(cov: np.ndarray) -> np.ndarray:
    """Covariance with raised small eigenvalues, which few frames estimate badly."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.maximum(values, LEAST_SPREAD * values.mean())) @ vectors.T


def optimal_transport(cov: np.ndarray, to_cov: np.ndarray) -> np.ndarray:
    """Smallest linear change that turns Gaussian data of one covariance into another.

    Parameters
    ----------
    cov, to_cov : np.ndarray [shape=(n, n), symmetric, >= 0]
        Directions of almost no variance are given a little.

    Returns
    -------
    np.ndarray [shape=(n, n), symmetric, eigenvalues in 1/3..3]
        Matrix to multiply rows of data with. It stretches by a factor of 3 at most, since larger
        differences are errors of the estimate.

    References
    ----------
    Monge's map between Gaussians: Peyre and Cuturi, Computational Optimal Transport, 2019,
    remark 2.31.
    """
    cov, to_cov = _regularized(cov), _regularized(to_cov)
    half, back = _root(cov, 0.5), _root(cov, -0.5)
    move = back @ _root(half @ to_cov @ half, 0.5) @ back
    values, vectors = np.linalg.eigh((move + move.T) / 2)
    return (vectors * np.clip(values, 1 / MAX_STRETCH, MAX_STRETCH)) @ vectors.T


def _transported(mc: np.ndarray, source: SpeakerStats, target: SpeakerStats) -> np.ndarray:
    """Cepstral coefficients 1 .. N_CEPSTRA - 1 with the target's mean and covariance."""
    mean, to_mean = (np.array(s.voiced_mean)[1:] for s in (source, target))
    cov, to_cov = (np.array(s.voiced_cov)[1:, 1:] for s in (source, target))
    return (mc - mean) @ optimal_transport(cov, to_cov) + to_mean
