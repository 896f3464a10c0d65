"""Random speakers for training: a perturbation that is constant over a recording."""

from dataclasses import dataclass, replace

import numpy as np

from ..config import AnonymizeConfig
from ..speaker import SpeakerStats
from .dials import power_db, scale_formants
from .statistics import _believable, _root
from .world import N_CEPSTRA, Features, cepstrum, envelope_from_cepstrum

N_BENDS = 32  # bends in the space of the cepstrum that a random disguise makes
BEND = 1.5  # how far across a bend a speaker's frames are spread [deviations]


# Speakers that never were


@dataclass(frozen=True)
class SpeakerPerturbation:
    """What makes a speaker that never was out of another: constant over a recording, drawn for training.

    Formants are moved, and the cepstrum is sent through a random network of one layer, near to the
    identity: part of it mixes the coefficients, part bends their space, as two speakers' vowels are
    not the same map stretched.
    """

    formant_ratio: float  # formants times this
    whiten: np.ndarray  # (n, n) coefficients from 1 on to a usual speaker's deviations
    colour: np.ndarray  # (n, n) the way back
    mean: np.ndarray  # (n,) a usual speaker's
    mix: np.ndarray  # (n, n) what is added of the whitened coefficients
    fold: np.ndarray  # (n, N_BENDS) what is bent: sums of whitened coefficients ...
    offset: np.ndarray  # (N_BENDS,) ... and where
    unfold: np.ndarray  # (N_BENDS, n) what is added of the bends
    ap_gain: float  # aperiodicity times this

    @classmethod
    def draw(
        cls, cfg: AnonymizeConfig, usual: SpeakerStats, rng: np.random.Generator
    ) -> "SpeakerPerturbation":
        """Draw one as wide as `cfg` says, in the deviations of a `usual` speaker."""
        n = N_CEPSTRA - 1
        if usual.voiced_cov:
            cov, mean = np.array(usual.voiced_cov)[1:, 1:], np.array(usual.voiced_mean)[1:]
        else:
            cov, mean = (
                np.diag(np.square(usual.cepstrum_std[1:])),
                np.array(usual.cepstrum_mean)[1:],
            )
        width = cfg.perturb_cepstrum / np.sqrt(2)  # two parts of one size
        cov = _believable(cov)
        return cls(
            formant_ratio=(1 + cfg.perturb_formants) ** rng.uniform(-1, 1),
            whiten=_root(cov, -0.5),
            colour=_root(cov, 0.5),
            mean=mean,
            mix=rng.normal(0, width / np.sqrt(n), (n, n)),
            fold=rng.normal(0, BEND / np.sqrt(n), (n, N_BENDS)),
            offset=rng.normal(0, BEND, N_BENDS),
            unfold=rng.normal(0, width / np.sqrt(N_BENDS), (N_BENDS, n)),
            ap_gain=10 ** (rng.normal(0, cfg.perturb_ap_db) / 20),
        )

    def apply(self, features: Features) -> Features:
        """The features with it on; F0 and the power of each frame stay."""
        warped = replace(features, sp=scale_formants(features.sp, self.formant_ratio))
        mc = cepstrum(warped)
        z = (mc[:, 1:] - self.mean) @ self.whiten
        bends = np.tanh(z @ self.fold + self.offset)
        change = np.zeros_like(mc)
        change[:, 1:] = (z @ self.mix + bends @ self.unfold) @ self.colour
        sp = warped.sp * envelope_from_cepstrum(change, features.sr, features.sp.shape[1])
        sp *= 10 ** ((power_db(features.sp) - power_db(sp)) / 10)[:, None]
        louder = np.clip(features.ap * self.ap_gain, 1e-3, 1.0)
        # what is all noise stays all noise
        return replace(features, sp=sp, ap=np.where(features.ap < 0.999, louder, features.ap))
