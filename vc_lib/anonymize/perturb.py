"""Random speakers for training: one random change of formants, cepstrum and aperiodicity a clip."""

from dataclasses import dataclass, replace

import numpy as np

from ..config import AnonymizeConfig
from ..speaker import SpeakerStats
from .dials import power_db, scale_formants, with_power
from .statistics import _regularized, _root
from .world import N_CEPSTRA, Features, cepstrum, envelope_from_cepstrum

N_UNITS = 32  # hidden units of the random network
UNIT_SCALE = 1.5  # standard deviation of their inputs, so that tanh saturates at times


@dataclass(frozen=True)
class SpeakerPerturbation:
    """A random change that turns one speaker into another, constant over a recording.

    Formants are scaled, and a random network with a skip connection changes the cepstrum. Its
    linear part mixes the coefficients. Its hidden layer bends their space, because the vowels of two
    speakers differ by more than a linear map.
    """

    formant_ratio: float  # factor for the formants
    whiten: np.ndarray  # (n, n) whitens coefficients 1 and up by a usual speaker's covariance
    colour: np.ndarray  # (n, n) inverse of `whiten`
    mean: np.ndarray  # (n,) mean of a usual speaker
    mix: np.ndarray  # (n, n) weights of the linear part
    fold: np.ndarray  # (n, N_UNITS) weights into the hidden layer
    offset: np.ndarray  # (N_UNITS,) biases of the hidden layer
    unfold: np.ndarray  # (N_UNITS, n) weights out of the hidden layer
    ap_gain: float  # factor for aperiodicity

    @classmethod
    def draw(
        cls, cfg: AnonymizeConfig, usual: SpeakerStats, rng: np.random.Generator
    ) -> "SpeakerPerturbation":
        """Draw a perturbation of the size that `cfg` sets.

        Parameters
        ----------
        cfg : AnonymizeConfig
            `perturb_formants`, `perturb_cepstrum` and `perturb_ap_db` set the size.
        usual : SpeakerStats
            Speaker whose covariance is the unit of the change.
        rng : np.random.Generator
        """
        n = N_CEPSTRA - 1
        if usual.voiced_cov:
            cov, mean = np.array(usual.voiced_cov)[1:, 1:], np.array(usual.voiced_mean)[1:]
        else:
            cov, mean = (
                np.diag(np.square(usual.cepstrum_std[1:])),
                np.array(usual.cepstrum_mean)[1:],
            )
        width = cfg.perturb_cepstrum / np.sqrt(2)  # for each of the two parts
        cov = _regularized(cov)
        return cls(
            formant_ratio=(1 + cfg.perturb_formants) ** rng.uniform(-1, 1),
            whiten=_root(cov, -0.5),
            colour=_root(cov, 0.5),
            mean=mean,
            mix=rng.normal(0, width / np.sqrt(n), (n, n)),
            fold=rng.normal(0, UNIT_SCALE / np.sqrt(n), (n, N_UNITS)),
            offset=rng.normal(0, UNIT_SCALE, N_UNITS),
            unfold=rng.normal(0, width / np.sqrt(N_UNITS), (N_UNITS, n)),
            ap_gain=10 ** (rng.normal(0, cfg.perturb_ap_db) / 20),
        )

    def apply(self, features: Features) -> Features:
        """Perturb features; F0 and the power of each frame stay."""
        warped = replace(features, sp=scale_formants(features.sp, self.formant_ratio))
        mc = cepstrum(warped)
        z = (mc[:, 1:] - self.mean) @ self.whiten
        hidden = np.tanh(z @ self.fold + self.offset)
        change = np.zeros_like(mc)
        change[:, 1:] = (z @ self.mix + hidden @ self.unfold) @ self.colour
        sp = warped.sp * envelope_from_cepstrum(change, features.sr, features.sp.shape[1])
        sp = with_power(sp, power_db(features.sp))
        louder = np.clip(features.ap * self.ap_gain, 1e-3, 1.0)
        # frames and bins that are all noise stay so
        return replace(features, sp=sp, ap=np.where(features.ap < 0.999, louder, features.ap))
