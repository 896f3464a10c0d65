"""Conversions without a network, which a trained voice has to beat.

A baseline takes WORLD features of the source and knowledge of the target, and returns features to
synthesize. All keep the energy of each frame and leave unvoiced frames unvoiced. `BASELINES` lists
them; tools/baselines.py holds more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..anonymize import (
    Features,
    active_frames,
    cepstrum,
    envelope_from_cepstrum,
    speaker_stats,
    transform,
)
from ..anonymize.dials import (
    average_aperiodicity,
    gaussian_f0,
    power_db,
    recentre_f0,
    scale_formants,
)
from ..anonymize.world import FLOOR_POWER
from ..config import AnonymizeConfig
from ..speaker import SpeakerStats

N_FINE = 60  # number of cepstral coefficients that keep all audible detail of an envelope
N_NEIGHBORS = 12  # number of nearest frames that are averaged; fewer sound rougher
CONTEXT = 4  # neighbors on either side that are compared too, 20 ms [frames]
MAX_FRAMES = 150_000  # largest number of target frames, 12 minutes of speech; more are slower


@dataclass(frozen=True)
class TargetFrames:
    """What the baselines know of a target: statistics, and the active frames of its recordings."""

    stats: SpeakerStats
    keys: torch.Tensor  # (n_frames, (2 CONTEXT + 1) (N_CEPSTRA - 1)): search keys of the frames
    fine: np.ndarray  # (n_frames, N_FINE): cepstra of the frames

    @classmethod
    def of(cls, recordings: Sequence[Features], max_frames: int = MAX_FRAMES) -> "TargetFrames":
        """Collect the active frames of recordings of one speaker.

        Where there are more than `max_frames`, every n-th frame is taken.
        """
        recordings = list(recordings)
        stats = speaker_stats(recordings)
        active = [active_frames(features) for features in recordings]
        step = max(1, -(-sum(a.sum() for a in active) // max_frames))
        keys, fine = [], []
        for features, is_active in zip(recordings, active, strict=True):
            index = np.flatnonzero(is_active)[::step]
            if len(index):
                keys.append(_keys(features, stats)[index])
                fine.append(cepstrum(features[index], N_FINE).astype(np.float32))
        return cls(stats, torch.from_numpy(np.concatenate(keys)), np.concatenate(fine))


def _keys(features: Features, stats: SpeakerStats) -> np.ndarray:
    """Search keys of frames: cepstra without the level, with CONTEXT neighbors on either side.

    The cepstra are in standard deviations from the mean of their speaker.
    """
    mean, std = (np.array(v)[1:] for v in (stats.cepstrum_mean, stats.cepstrum_std))
    warped = replace(features, sp=scale_formants(features.sp, stats.formant_ratio))
    z = (cepstrum(warped)[:, 1:] - mean) / np.maximum(std, 1e-6)
    padded = np.pad(z, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    shifts = range(2 * CONTEXT + 1)
    return np.concatenate([padded[s : s + len(z)] for s in shifts], 1).astype(np.float32)


def keep_energy(sp: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Scale each frame of an envelope to the power of the same frame of `like`."""
    return sp * 10 ** ((power_db(like) - power_db(sp)) / 10)[:, None]


def _stats(target: "TargetFrames | SpeakerStats") -> SpeakerStats:
    """Statistics of the target, without its acoustic classes."""
    stats = target if isinstance(target, SpeakerStats) else target.stats
    return replace(stats, classes=None)


def shifted_f0(features: Features, target: TargetFrames | SpeakerStats) -> Features:
    """Shift F0 to the target's register; envelope and aperiodicity are unchanged."""
    stats = _stats(target)
    own = speaker_stats([features], prior=stats)
    return replace(features, f0=recentre_f0(features.f0, own.f0_hz, stats.f0_hz))


def world_statistics(features: Features, target: TargetFrames | SpeakerStats) -> Features:
    """Move statistics to the target's.

    These are mean and spread of log-F0, one ratio for all formants, and mean and covariance of 24
    cepstral coefficients.
    """
    stats = _stats(target)
    own = speaker_stats([features], prior=stats)
    cfg = AnonymizeConfig(preset="neutral", n_cepstra=N_FINE, target=stats)
    transformed = transform(features, cfg, source=own)
    sp = keep_energy(transformed.sp, features.sp)
    return replace(transformed, f0=gaussian_f0(features.f0, own, stats), sp=sp)


def nearest_frames(features: Features, target: TargetFrames) -> Features:
    """Replace each envelope by the mean of the target's nearest frames.

    Frames are compared by 23 cepstral coefficients, normalized per speaker, with 20 ms on either
    side. The energy stays the source's, F0 moves to the target's statistics, and aperiodicity is
    averaged in four bands.

    References
    ----------
    kNN-VC (Baas et al., Interspeech 2023), with WORLD features in place of a pretrained network's.
    """
    own = speaker_stats([features], prior=target.stats)
    keys = torch.from_numpy(_keys(features, own))
    n_neighbors = min(N_NEIGHBORS, len(target.keys))
    means = []
    for part in keys.split(500):  # bounds the memory of the distances
        nearest = torch.cdist(part, target.keys).topk(n_neighbors, largest=False)
        means.append(target.fine[nearest.indices.numpy()].mean(1))
    sp = envelope_from_cepstrum(np.concatenate(means), features.sr, features.sp.shape[1])
    return replace(
        features,
        f0=gaussian_f0(features.f0, own, target.stats),
        sp=keep_energy(np.maximum(sp, FLOOR_POWER), features.sp),
        ap=average_aperiodicity(features.ap, 4),
    )


BASELINES: dict[str, Callable[[Features, TargetFrames], Features]] = {
    "F0 shifted": shifted_f0,
    "WORLD statistics": world_statistics,
    "nearest frames": nearest_frames,
}
