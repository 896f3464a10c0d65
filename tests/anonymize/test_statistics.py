"""Statistics of a speaker, priors, and optimal transport."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import (
    active_frames,
    analyze,
    cepstrum,
    speaker_stats,
)
from vc_lib.anonymize.statistics import (
    LEAST_NOISE_S,
    QUIET_DB,
    optimal_transport,
    voice_threshold_db,
)
from vc_lib.errors import ParameterError
from vc_lib.speaker import NO_NOISE_DB

SR = 16_000


def rng(seed=0):
    return np.random.default_rng(seed)


def test_speaker_stats_of_known_speech(features, source):
    assert source.f0_hz == pytest.approx(120, rel=0.03)
    assert len(source.cepstrum_mean) == len(source.cepstrum_std) == 24
    active = features[active_frames(features)]
    assert source.level_db == pytest.approx(10 * np.log10(active.sp.mean()))
    np.testing.assert_allclose(source.cepstrum_mean, cepstrum(active).mean(0), rtol=1e-5)


def test_speaker_stats_pool_recordings(features):
    parts = [features[:100], features[100:]]
    pooled, whole = speaker_stats(parts), speaker_stats([features])
    assert pooled.f0_hz == whole.f0_hz
    np.testing.assert_allclose(pooled.cepstrum_mean, whole.cepstrum_mean, atol=0.3)
    assert speaker_stats(iter(parts)) == pooled, "a generator will do"


def test_a_hum_in_pauses_is_not_the_register(features, target):
    """A tracker also finds F0 there."""
    n = 4 * len(features.f0)
    hum = replace(
        features,
        f0=np.full(n, 50.0),
        sp=np.full((n, features.sp.shape[1]), 1e-5 * features.sp.mean()),
        ap=np.tile(features.ap, (4, 1)),
    )
    both = {k: np.concatenate([getattr(f, k) for f in (features, hum)]) for k in ("f0", "sp", "ap")}
    both = replace(features, **both)
    clean, hummed = (speaker_stats([f], prior=target) for f in (features, both))
    assert hummed.f0_hz == clean.f0_hz and hummed.formant_ratio == clean.formant_ratio


@pytest.mark.parametrize("below_db, hum_counts", [(15, False), (5, True)])
def test_a_voice_is_above_the_noise_between_words(features, below_db, hum_counts):
    """A hum 15 dB under the speech is within the range of a voice, but it is the noise."""
    level = 10 ** ((speaker_stats([features]).level_db - below_db) / 10)
    speech = [replace(features, sp=np.maximum(features.sp, level))] * 4
    n = sum(len(f.f0) for f in speech)
    sp = np.full((n, features.sp.shape[1]), level)
    hum = replace(features, f0=np.full(n, 50.0), sp=sp, ap=np.tile(features.ap, (4, 1)))
    stats = speaker_stats([*speech, hum])
    heard = stats.level_db - below_db > voice_threshold_db(stats)
    assert heard == hum_counts == (stats.f0_hz == 50)
    assert stats.noise_db <= stats.level_db


def test_noise_is_not_measured_on_a_short_clip(features):
    """It may hold no pause."""
    clip = speaker_stats([features[: int(LEAST_NOISE_S * 200) - 1]])
    assert clip.noise_db == NO_NOISE_DB
    assert voice_threshold_db(clip) == clip.level_db - QUIET_DB


def test_gain_moves_the_level_only(features, source):
    louder = speaker_stats([replace(features, sp=100 * features.sp)])
    assert louder.level_db == pytest.approx(source.level_db + 20, abs=1e-4)
    np.testing.assert_allclose(louder.cepstrum_mean[1:], source.cepstrum_mean[1:], atol=1e-6)


def test_prior_weighs_less_with_more_speech(features, source, target):
    def share_of_prior(stats, own):
        """1: the prior's cepstral means, 0: the speaker's own."""
        own, prior = np.array(own.cepstrum_mean[1:]), np.array(target.cepstrum_mean[1:])
        return float(((stats.cepstrum_mean[1:] - own) / (prior - own)).mean())

    clip = features[60:80]  # 0.1 s
    prior = replace(target, f0_hz=source.f0_hz)  # so that no formant is moved
    shares = [
        share_of_prior(speaker_stats(recordings, prior=prior), speaker_stats(recordings))
        for recordings in ([clip], [features], [features] * 20)
    ]
    assert shares[0] == pytest.approx(100 / 120, abs=0.02)
    assert 1 > shares[0] > shares[1] > shares[2] > 0 and shares[2] < 0.05
    assert speaker_stats([features], prior=target).f0_hz == source.f0_hz, "the register is its own"


def test_silence_returns_the_prior(target):
    silent = analyze(np.zeros(4_000), SR)
    for recordings in ([silent], [silent, silent], []):
        with pytest.raises(ParameterError, match="hold no speech: every frame is silent"):
            speaker_stats(recordings)
        assert speaker_stats(recordings, prior=target) == target


def test_unvoiced_speech_has_no_register(features):
    assert speaker_stats([replace(features, f0=np.zeros_like(features.f0))]).f0_hz == 0


def test_without_a_covariance_formants_are_not_scaled(features, target):
    assert speaker_stats([features], prior=target).formant_ratio != 1
    assert (
        speaker_stats(
            [features], prior=replace(target, voiced_mean=(), voiced_cov=())
        ).formant_ratio
        == 1
    )


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-9])
def test_optimal_transport_between_equal_covariances_is_the_identity(scale):
    cov = scale * np.diag([3.0, 1.0, 0.1])
    np.testing.assert_allclose(optimal_transport(cov, cov), np.eye(3), atol=1e-6)


def test_optimal_transport_regularizes_small_variances():
    flat = np.diag([1.0, 1.0, 0.0])
    values = np.linalg.eigvalsh(optimal_transport(flat, np.eye(3)))
    np.testing.assert_allclose(values, [1, 1, 3], atol=1e-6)
    assert np.isfinite(optimal_transport(np.zeros((3, 3)), np.eye(3))).all()


def test_optimal_transport_reaches_the_other_covariance_symmetrically():
    mixed, also_mixed = (np.eye(5) + 0.2 * rng(seed).normal(size=(5, 5)) for seed in (1, 3))
    data = rng(0).normal(size=(2_000, 5)) @ mixed
    other = np.cov((rng(2).normal(size=(2_000, 5)) @ also_mixed).T)
    move = optimal_transport(np.cov(data.T), other)
    np.testing.assert_allclose(np.cov((data @ move).T), other, atol=1e-6)
    np.testing.assert_allclose(move, move.T, atol=1e-9)
    assert np.linalg.eigvalsh(move).min() > 0, "symmetric and positive: what makes it the least"
    np.testing.assert_allclose(optimal_transport(other, other), np.eye(5), atol=1e-6)
