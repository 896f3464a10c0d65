"""Statistics of a speaker, and optimal transport from one speaker's cepstra to another's."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..audio.level import ACTIVE_DB, LOUD_DB, near_loud
from ..errors import ParameterError
from ..speaker import NO_NOISE_DB, SpeakerStats
from .acoustic_classes import (
    apply_fmllr,
    estimate_fmllr,
    fit_gmm,
    map_adapt_means,
    shift_class_means,
)
from .dials import power_db, scale_formants, vtl_ratio
from .world import N_CEPSTRA, Features, cepstrum

SILENT_DB = -110.0  # mean power of an envelope under which no frame is speech [dB]
LEAST_SPREAD = 1e-4  # smallest variance of a direction, as a share of the mean variance
MAX_STRETCH = 3.0  # largest factor by which a direction of cepstral space is stretched
QUIET_DB = 20.0  # distance under the speech at which a voice is too quiet to be resynthesized [dB]
NOISE_PERCENTILE = 5  # percentile of the levels of all frames that counts as background noise
LEAST_NOISE_S = 2.0  # shortest speech to measure a level and noise on; less may hold no pause [s]
ABOVE_NOISE_DB = 6.0  # least distance of a voice from the noise [dB]
QUIETER_DB = 6.0  # distance by which a part may be quieter than all of the speech [dB]
NEAR_SPEECH_DB = 10.0  # distance under the speech within which a voice is one in any noise [dB]
SHRINK_FRAMES = 100  # weight of the prior for means and deviations [frames]
SHRINK_COVARIANCE_FRAMES = 800  # weight of the prior for a covariance [voiced frames]


def active_frames(features: Features) -> np.ndarray:
    """Mask of the frames of speech: less than 35 dB under the loud ones [shape=(n_frames,)]."""
    return near_loud(power_db(features.sp), ACTIVE_DB, SILENT_DB)


def loud_voiced_frames(features: Features) -> np.ndarray:
    """Mask of the voiced frames that are less than 25 dB under the loud ones [shape=(n_frames,)]."""
    return features.voiced & near_loud(power_db(features.sp), LOUD_DB)


def voice_threshold_db(stats: SpeakerStats, features: Features | None = None) -> float:
    """Level above which a voiced frame counts as the speaker's voice [dB].

    Below it there is the end of a word in a room, or the hum of a machine, which is voiced too.
    Features of two seconds or more lower it if their speech is far quieter than the speaker's.
    """
    above_noise = min(stats.noise_db + ABOVE_NOISE_DB, stats.level_db - NEAR_SPEECH_DB)
    level_db = stats.level_db
    if features is not None and _long_enough(len(features.f0), features.frame_period_ms):
        db = power_db(features.sp)
        level_db = min(level_db, _mean_db(db[active_frames(features)]) + QUIETER_DB)
    return max(level_db - QUIET_DB, above_noise)


def _long_enough(n_frames: int, frame_period_ms: float) -> bool:
    """Whether a level and noise can be measured on so many frames."""
    return n_frames * frame_period_ms >= LEAST_NOISE_S * 1000


def _mean_db(db: np.ndarray) -> float:
    """Level of the mean power [dB]; infinite without a frame."""
    return float(10 * np.log10(np.mean(10 ** (db / 10)))) if len(db) else np.inf


def _register_and_level(
    contours: list[tuple[np.ndarray, ...]], like: Features
) -> SpeakerStats | None:
    """Register and levels alone, from the `_contours` of recordings; None if no frame is active."""
    f0, db, active = (np.concatenate(parts) for parts in zip(*contours, strict=True))
    if not active.any():
        return None
    noise_db = NO_NOISE_DB
    if _long_enough(len(db), like.frame_period_ms):
        noise_db = np.percentile(db, NOISE_PERCENTILE)
    level_db = _mean_db(db[active])
    stats = SpeakerStats(like.sr, 0.0, 0.0, level_db, (0.0,), (0.0,), noise_db=noise_db)
    f0 = f0[(f0 > 0) & active & (db > voice_threshold_db(stats))]
    if not len(f0):
        return stats
    median = float(np.median(f0))
    return replace(stats, f0_hz=median, f0_std_semitones=np.std(12 * np.log2(f0 / median)))


def _contours(features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F0 [Hz], level [dB] and mask of active frames."""
    return features.f0, power_db(features.sp), active_frames(features)


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
        `f0_hz` is the median over voiced frames above `voice_threshold_db`, 0 if there are none.
        `voiced_mean` and `voiced_cov` are empty if less than a quarter of a second is voiced, as
        in a whisper.

    Raises
    ------
    ParameterError
        If no frame is active and there is no prior.
    """
    recordings = (r for r in recordings if len(r.f0))
    formant_ratio, contours, cepstra, voiced = 1.0, [], [], []
    if prior is not None and prior.voiced_cov:
        recordings = list(recordings)
        contours = [_contours(r) for r in recordings]
        register = _register_and_level(contours, recordings[0]) if contours else None
        formant_ratio = vtl_ratio(register.f0_hz if register else 0.0, prior.f0_hz)
    measured = bool(contours)
    for i, features in enumerate(recordings):
        if not measured:
            contours.append(_contours(features))
        mc = cepstrum(replace(features, sp=scale_formants(features.sp, formant_ratio)))
        voiced.append(mc[loud_voiced_frames(features)])
        cepstra.append(mc[contours[i][2]])
    stats = _register_and_level(contours, features) if contours else None
    if stats is None:
        if prior is None:
            raise ParameterError(
                "the recordings hold no speech: every frame is silent; "
                "check the files or their level"
            )
        return prior
    mc, voiced = np.concatenate(cepstra), np.concatenate(voiced)
    stats = replace(
        stats,
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
    moved = transported(voiced[:, 1:], stats, prior)
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
    cov, to_cov = (np.ascontiguousarray(c, np.float64) for c in (cov, to_cov))
    return _transport(cov.tobytes(), to_cov.tobytes())


@lru_cache(maxsize=8)  # live speech asks for the same one in each block
def _transport(*covariances: bytes) -> np.ndarray:
    """`optimal_transport` of two matrices given by their bytes."""
    flat = [np.frombuffer(c) for c in covariances]
    n = math.isqrt(len(flat[0]))
    cov, to_cov = (_regularized(c.reshape(n, n)) for c in flat)
    half, back = _root(cov, 0.5), _root(cov, -0.5)
    move = back @ _root(half @ to_cov @ half, 0.5) @ back
    values, vectors = np.linalg.eigh((move + move.T) / 2)
    out = (vectors * np.clip(values, 1 / MAX_STRETCH, MAX_STRETCH)) @ vectors.T
    out.setflags(write=False)
    return out


def transported(mc: np.ndarray, source: SpeakerStats, target: SpeakerStats) -> np.ndarray:
    """Cepstral coefficients 1 .. N_CEPSTRA - 1 with the target's mean and covariance."""
    mean, to_mean = (np.array(s.voiced_mean)[1:] for s in (source, target))
    cov, to_cov = (np.array(s.voiced_cov)[1:, 1:] for s in (source, target))
    return (mc - mean) @ optimal_transport(cov, to_cov) + to_mean


def match_target(
    mc: np.ndarray, source: SpeakerStats, target: SpeakerStats, frame_period_s: float
) -> np.ndarray:
    """Map cepstra of a source to a target's statistics.

    Mean and covariance are matched, then the acoustic classes. Where a covariance is unknown, mean
    and standard deviations are matched.

    Parameters
    ----------
    mc : np.ndarray [shape=(n_frames, N_CEPSTRA - 1)]
        Cepstral coefficients 1 and up.
    source, target : SpeakerStats
        `source` was measured with `target` as the prior.
    frame_period_s : float [s]

    Returns
    -------
    np.ndarray [shape as `mc`]
    """
    if source.voiced_cov and target.voiced_cov:
        moved = transported(mc, source, target)
        if source.class_means and target.classes:
            moved, means = apply_fmllr(moved, source.fmllr), np.array(source.class_means)
            moved = shift_class_means(moved, target.classes, means, frame_period_s)
        return moved
    mean, to_mean = (np.array(s.cepstrum_mean)[1:] for s in (source, target))
    std, to_std = (np.maximum(s.cepstrum_std[1:], 1e-6) for s in (source, target))
    return (mc - mean) * np.clip(to_std / std, 0.5, 2) + to_mean
