"""Statistics of a speaker, and optimal transport between two speakers."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..audio.level import ACTIVE_DB, LOUD_DB, near_loud
from ..errors import ParameterError
from ..speaker import SpeakerStats
from .acoustic_classes import (
    apply_fmllr,
    estimate_fmllr,
    fit_gmm,
    map_adapt_means,
)
from .dials import power_db, scale_formants, vtl_ratio
from .world import FLOOR_POWER, N_CEPSTRA, Features, cepstrum

SILENT_DB = -110.0  # mean power of an envelope under which no frame is speech [dB]
LEAST_SPREAD = 1e-4  # of the mean variance: the least that a direction is taken to vary
MAX_STRETCH = 3.0  # of a direction in the cepstrum's space
SHRINK_FRAMES = 100  # as much as this counts the prior against a clip's own means and deviations
SHRINK_COVARIANCE_FRAMES = 800  # likewise of voiced frames: a covariance takes more to know


def active_frames(features: Features) -> np.ndarray:
    """Frames that hold speech, not pause: less than 35 dB under the loud ones [shape=(n_frames,), bool]."""
    return near_loud(power_db(features.sp), ACTIVE_DB, SILENT_DB)


def loud_voiced_frames(features: Features) -> np.ndarray:
    """What a voice is known by: voiced, less than 25 dB under the loud frames [shape=(n_frames,), bool]."""
    return features.voiced & near_loud(power_db(features.sp), LOUD_DB)


def speaker_stats(
    recordings: Iterable[Features], prior: SpeakerStats | None = None, n_classes: int = 0
) -> SpeakerStats:
    """Register and long-term envelope of one speaker.

    Parameters
    ----------
    recordings : iterable of Features
        All by one speaker, all at one sampling rate.
    prior : SpeakerStats, optional
        What to assume where there is little speech: the envelope's statistics are drawn towards it
        with the weight of 100 frames (800 for a covariance), so that half a second is not taken for a
        whole voice; with no speech at all the prior comes back. If it knows a covariance, the envelope is measured with
        its formants moved by `vtl_ratio`, which is kept as `formant_ratio`; if it knows its sounds, it is
        found where this speaker has them.
    n_classes : int
        Of a target: how many sounds to tell apart, see `sounds.fit_gmm`.

    Returns
    -------
    SpeakerStats
        `f0_hz` is the median over voiced frames, 0 if there are none. `voiced_mean` and
        `voiced_cov` stay empty where hardly a quarter of a second is voiced, as in a whisper.

    Raises
    ------
    ParameterError
        If no frame is active and there is no prior.
    """
    formant_ratio = 1.0
    if prior is not None and prior.voiced_cov:
        recordings = list(recordings)
        f0 = np.concatenate([np.empty(0), *(r.f0[r.voiced] for r in recordings)])
        formant_ratio = vtl_ratio(np.median(f0) if len(f0) else 0.0, prior.f0_hz)
    f0s, powers, cepstra, voiced = [], [], [], []
    for features in recordings:
        if not len(features.f0):
            continue
        active = active_frames(features)
        mc = cepstrum(replace(features, sp=scale_formants(features.sp, formant_ratio)))
        voiced.append(mc[loud_voiced_frames(features)])
        f0s.append(features.f0[features.voiced])
        powers.append(features.sp[active].mean(1))
        cepstra.append(mc[active])
    f0, power, mc, voiced = (
        np.concatenate(parts) if parts else np.empty(0) for parts in (f0s, powers, cepstra, voiced)
    )
    if not len(power):
        if prior is None:
            raise ParameterError(
                "the recordings hold no speech: every frame is silent; check the files or their level"
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

    def drawn(name: str, n_frames: int, against: int = SHRINK_FRAMES) -> np.ndarray:
        weight = n_frames / (n_frames + against)
        own, assumed = (np.array(getattr(known, name)) for known in (stats, prior))
        return weight * own + (1 - weight) * assumed if len(own) and len(assumed) else own

    stats = replace(
        stats,
        **{name: drawn(name, len(mc)) for name in ("cepstrum_mean", "cepstrum_std")},
        voiced_mean=drawn("voiced_mean", len(voiced)),
        voiced_cov=drawn("voiced_cov", len(voiced), SHRINK_COVARIANCE_FRAMES),
    )
    if not (stats.voiced_cov and prior.classes):
        return stats
    moved = _transported(voiced[:, 1:], stats, prior)
    fmllr = estimate_fmllr(moved, prior.classes)
    class_means = map_adapt_means(apply_fmllr(moved, fmllr), prior.classes)
    return replace(stats, fmllr=fmllr, class_means=class_means)


def _root(matrix: np.ndarray, power: float) -> np.ndarray:
    """A power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-30) ** power) @ vectors.T


def _believable(cov: np.ndarray) -> np.ndarray:
    """The covariance, but varying a little in every direction: what a few frames say of the least is not believed."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.maximum(values, LEAST_SPREAD * values.mean())) @ vectors.T


def optimal_transport(cov: np.ndarray, to_cov: np.ndarray) -> np.ndarray:
    """The least change that gives Gaussian data of one covariance another.

    Parameters
    ----------
    cov, to_cov : np.ndarray [shape=(n, n), symmetric, >= 0]
        Where hardly anything varies, they are taken to vary a little.

    Returns
    -------
    np.ndarray [shape=(n, n), symmetric, eigenvalues in 1/3..3]
        To multiply data with. Differences wider than a factor of 3 are not followed: they are taken
        for errors of the estimate.

    References
    ----------
    Monge's map between Gaussians: Peyre and Cuturi, Computational Optimal Transport, 2019, remark
    2.31.
    """
    cov, to_cov = _believable(cov), _believable(to_cov)
    half, back = _root(cov, 0.5), _root(cov, -0.5)
    move = back @ _root(half @ to_cov @ half, 0.5) @ back
    values, vectors = np.linalg.eigh((move + move.T) / 2)
    return (vectors * np.clip(values, 1 / MAX_STRETCH, MAX_STRETCH)) @ vectors.T


def _transported(mc: np.ndarray, source: SpeakerStats, target: SpeakerStats) -> np.ndarray:
    """Coefficients 1 .. N_CEPSTRA - 1 with the target's mean and covariance."""
    mean, to_mean = (np.array(s.voiced_mean)[1:] for s in (source, target))
    cov, to_cov = (np.array(s.voiced_cov)[1:, 1:] for s in (source, target))
    return (mc - mean) @ optimal_transport(cov, to_cov) + to_mean
