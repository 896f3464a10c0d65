"""Conversion without a network: the rows that a trained voice has to beat.

Each takes WORLD's features of the source and what is known of the target, and gives features to
synthesize; `BASELINES` names them. They are meant to be as good as such a method gets: energy of
every frame kept, unvoiced frames left unvoiced, aperiodicity averaged in four bands where the
envelope is replaced.
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

N_FINE = 60  # cepstral coefficients that draw an envelope with all that is heard of it
N_NEIGHBOURS = 12  # their mean is taken; of fewer the sound is rougher
CONTEXT = 4  # frames on either side that are compared too: 20 ms
MAX_FRAMES = 150_000  # of the target: 12 minutes of speech; more: slower


@dataclass(frozen=True)
class TargetFrames:
    """What the baselines know of a target: statistics, and single frames of the recordings."""

    stats: SpeakerStats
    keys: torch.Tensor  # (n_frames, (2 CONTEXT + 1) (N_CEPSTRA - 1)) what frames are found by
    fine: np.ndarray  # (n_frames, N_FINE) their cepstra

    @classmethod
    def of(cls, recordings: Sequence[Features], max_frames: int = MAX_FRAMES) -> "TargetFrames":
        """Learn the frames of some recordings of one speaker; spread evenly where there are more than `max_frames`."""
        recordings = list(recordings)
        stats = speaker_stats(recordings)
        active = [active_frames(features) for features in recordings]
        step = max(1, -(-sum(a.sum() for a in active) // max_frames))
        keys, fine = [], []
        for features, there in zip(recordings, active, strict=True):
            chosen = np.flatnonzero(there)[::step]
            if len(chosen):
                keys.append(_keys(features, stats)[chosen])
                fine.append(cepstrum(features[chosen], N_FINE).astype(np.float32))
        return cls(stats, torch.from_numpy(np.concatenate(keys)), np.concatenate(fine))


def _keys(features: Features, stats: SpeakerStats) -> np.ndarray:
    """Cepstra without the level, in deviations of their speaker, each beside its neighbours in time."""
    mean, std = (np.array(v)[1:] for v in (stats.cepstrum_mean, stats.cepstrum_std))
    warped = replace(features, sp=scale_formants(features.sp, stats.formant_ratio))
    z = (cepstrum(warped)[:, 1:] - mean) / np.maximum(std, 1e-6)
    padded = np.pad(z, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    shifts = range(2 * CONTEXT + 1)
    return np.concatenate([padded[s : s + len(z)] for s in shifts], 1).astype(np.float32)


def keep_energy(sp: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The envelope with the power that each frame of another has."""
    return sp * 10 ** ((power_db(like) - power_db(sp)) / 10)[:, None]


def _stats(target: "TargetFrames | SpeakerStats") -> SpeakerStats:
    stats = target if isinstance(target, SpeakerStats) else target.stats
    return replace(stats, classes=None)  # statistics alone, no sound by itself


def shifted_f0(features: Features, target: TargetFrames | SpeakerStats) -> Features:
    """Copy-synthesis at the target's register: melody moved, all else as it was."""
    stats = _stats(target)
    own = speaker_stats([features], prior=stats)
    return replace(features, f0=recentre_f0(features.f0, own.f0_hz, stats.f0_hz))


def world_statistics(features: Features, target: TargetFrames | SpeakerStats) -> Features:
    """Register and spread of log-F0, all formants as one, mean and covariance of 24 cepstral coefficients:
    moved to the target's."""
    stats = _stats(target)
    own = speaker_stats([features], prior=stats)
    cfg = AnonymizeConfig(preset="neutral", n_cepstra=N_FINE, target=stats)
    moved = transform(features, cfg, source=own)
    sp = keep_energy(moved.sp, features.sp)
    return replace(moved, f0=gaussian_f0(features.f0, own, stats), sp=sp)


def nearest_frames(features: Features, target: TargetFrames) -> Features:
    """Every envelope replaced by the mean of the target's nearest, with the source's energy and moved melody.

    Frames are found by 23 cepstral coefficients, normalised per speaker, with 20 ms on either side.

    References
    ----------
    The idea of kNN-VC (Baas et al., Interspeech 2023), on WORLD's features instead of a pretrained
    network's.
    """
    own = speaker_stats([features], prior=target.stats)
    asked = torch.from_numpy(_keys(features, own))
    means = []
    for part in asked.split(500):
        nearest = torch.cdist(part, target.keys).topk(
            min(N_NEIGHBOURS, len(target.keys)), largest=False
        )
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
