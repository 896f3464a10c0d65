"""Random speakers for training."""

from dataclasses import replace

import numpy as np

from vc_lib.anonymize import (
    SpeakerPerturbation,
    speaker_stats,
)
from vc_lib.anonymize.dials import (
    power_db,
)
from vc_lib.config import AnonymizeConfig


def rng(seed=0):
    return np.random.default_rng(seed)


def bump(at, n_bins=257, width=6.0):
    """An envelope of one frame with one formant, at bin `at`."""
    return 1e-6 * np.exp(8 * np.exp(-0.5 * ((np.arange(n_bins) - at) / width) ** 2))[None]


def test_formant_ratio_is_constant_over_a_clip_and_two_sided(features, source):
    """The ratio is drawn once a clip, up to 10 % either way."""
    cfg = AnonymizeConfig(perturb_cepstrum=0)
    flat = replace(features, sp=np.repeat(bump(150, n_bins=513), len(features.f0), 0))
    peaks = []
    for seed in range(12):
        out = SpeakerPerturbation.draw(cfg, source, rng(seed)).apply(flat)
        assert len(set(out.sp.argmax(1))) == 1
        peaks.append(out.sp[0].argmax() / 150)
    assert 1 / 1.11 < min(peaks) < 0.97 and 1.03 < max(peaks) < 1.11


def test_perturbation_keeps_f0_and_energy(features, source):
    perturbation = SpeakerPerturbation.draw(AnonymizeConfig(), source, rng())
    out = perturbation.apply(features)
    assert (out.f0 == features.f0).all()
    np.testing.assert_allclose(power_db(out.sp), power_db(features.sp), atol=1e-5)
    moved = speaker_stats([out])
    far = np.abs(np.subtract(moved.voiced_mean, source.voiced_mean)) / source.cepstrum_std
    assert far[1:].max() > 0.1
    parts = [perturbation.apply(features[:50]).sp, perturbation.apply(features[50:]).sp]
    np.testing.assert_allclose(
        np.concatenate(parts), out.sp, rtol=1e-4, err_msg="the same for every frame"
    )


def test_perturbation_of_size_zero_changes_nothing(features, source):
    off = AnonymizeConfig(perturb_formants=0, perturb_cepstrum=0, perturb_ap_db=0)
    out = SpeakerPerturbation.draw(off, source, rng()).apply(features)
    np.testing.assert_allclose(out.sp, features.sp, rtol=1e-6)
    np.testing.assert_allclose(out.ap, np.clip(features.ap, 1e-3, 1))


def test_a_wild_perturbation_stays_finite(features, source):
    cfg = AnonymizeConfig(perturb_cepstrum=1.0)
    for seed in range(5):
        perturbation = SpeakerPerturbation.draw(cfg, source, rng(seed))
        wild = replace(perturbation, mix=1e3 * perturbation.mix)
        made = wild.apply(features.compact())
        assert np.isfinite(made.sp).all() and (made.sp >= 0).all()
