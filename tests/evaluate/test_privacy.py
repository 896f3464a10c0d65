"""Privacy scores: error rates and systems whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import analyze, transform
from vc_lib.anonymize.pipeline import between
from vc_lib.config import AnonymizeConfig
from vc_lib.errors import ParameterError
from vc_lib.evaluate import Clip
from vc_lib.evaluate import privacy as module
from vc_lib.evaluate.privacy import equal_error_rate, privacy_scores

SR = 16_000
SURE = AnonymizeConfig(f0_method="harvest")


@pytest.fixture(scope="module")
def features(voice):
    return analyze(voice(1.0), SR, SURE)


# Error rates


def test_eer_of_known_scores():
    assert equal_error_rate([0.9, 0.8], [0.1, 0.2])[0] == 0
    assert equal_error_rate([0.1, 0.2], [0.9, 0.8])[0] == 1
    eer, threshold = equal_error_rate([0.9, float("nan"), 0.3], [0.2, 0.4])
    assert eer == 0.5 and 0.3 <= threshold <= 0.4
    for same, different in (([], [0.1]), ([0.1], []), ([float("nan")], [0.1])):
        with pytest.raises(ParameterError, match="of one speaker and of two, got"):
            equal_error_rate(same, different)


def test_eer_of_two_gaussians():
    """Two Gaussians, two deviations apart: Phi(-1) = 15.9 %."""
    rng = np.random.default_rng(0)
    eer, threshold = equal_error_rate(rng.normal(2, 1, 20_000), rng.normal(0, 1, 20_000))
    assert eer == pytest.approx(0.1587, abs=0.005) and threshold == pytest.approx(1, abs=0.03)


# Systems


def test_strength_goes_from_untouched_to_anonymized(features):
    for preset in ("whisper", "robot", "neutral"):
        changed = transform(features, AnonymizeConfig(preset=preset))
        for strength, end in ((0.0, features), (1.0, changed)):
            at = between(features, changed, strength)
            np.testing.assert_allclose(at.f0, end.f0, rtol=1e-9)
            np.testing.assert_allclose(at.sp, end.sp, rtol=1e-6)
            np.testing.assert_allclose(at.ap, end.ap.clip(1e-3), rtol=1e-6, atol=1e-3)
    with pytest.raises(ParameterError, match="strength=2"):
        between(features, features, 2)


def test_half_strength_is_halfway(features):
    changed = replace(features, f0=4 * features.f0, sp=100 * features.sp)
    half = between(features, changed, 0.5)
    np.testing.assert_allclose(half.f0, 2 * features.f0)
    np.testing.assert_allclose(half.sp, 10 * features.sp, rtol=1e-6)
    quiet = between(features, replace(features, f0=0 * features.f0), 0.5)
    assert (quiet.f0 == features.f0).all(), "the pitch goes at the end"
    voiced = features.voiced
    assert (quiet.ap[voiced] >= features.ap[voiced].clip(1e-3) - 1e-9).all()
    assert quiet.ap[voiced].mean() > 1.5 * features.ap[voiced].mean()


# Privacy scores


@pytest.fixture
def crowd(monkeypatch):
    """Four speakers that the verifier tells apart by their level."""

    def embedding(wav, sr):
        angle = np.pi / 2 * np.abs(wav).mean()
        return np.array([np.cos(angle), np.sin(angle)])

    monkeypatch.setattr(module.judges, "speaker_embedding", embedding)
    monkeypatch.setattr(Clip, "features", None)
    monkeypatch.setattr(Clip, "words", property(lambda clip: pytest.fail("nobody asked for words")))
    monkeypatch.setattr(module, "evaluate", lambda wav, *a, **k: {"loudness": float(wav.mean())})
    return {f"{i}": Clip(np.full(4 * SR, 0.2 * i), SR) for i in range(1, 5)}


def test_scores_tell_hidden_from_open_speakers(crowd):
    systems = {"the same": lambda clip: clip.wav, "all alike": lambda clip: 0 * clip.wav + 0.5}
    table = privacy_scores(crowd, systems, only=["loudness"])
    assert list(table.index) == ["untouched", "the same", "all alike"]
    assert table.eer["untouched"] == table.eer["the same"] == 0
    assert table.linked["untouched"] == 1 and table.cosine_to_self["untouched"] == pytest.approx(1)
    assert table.eer["all alike"] >= 0.4 and table.eer_informed["all alike"] >= 0.5
    assert table.linked["all alike"] < 1 and table.cosine_to_self["all alike"] < 0.99
    assert table.loudness["all alike"] == pytest.approx(0.5)
    assert table.eer_low["all alike"] <= table.eer["all alike"] <= table.eer_high["all alike"]
    plain = privacy_scores(crowd, systems, only=["loudness"], intervals=False)
    assert plain.equals(table[[c for c in table if not c.endswith(("_low", "_high"))]])
    assert privacy_scores(crowd, systems, only=["loudness"], n_jobs=2).equals(table)


def test_each_half_is_anonymized_by_itself(crowd):
    durations = []

    def system(clip):
        durations.append(len(clip.wav) / SR)
        return clip.wav

    privacy_scores(crowd, {"as it is": system}, only=[])
    assert sorted(durations) == [2] * 8 + [4] * 4


def test_the_cost_may_be_measured_on_fewer_clips(crowd):
    table = privacy_scores(crowd, {}, only=["loudness"], n_priced=2)
    assert table.loudness["untouched"] == pytest.approx((0.2 + 0.6) / 2)  # the first and the third
    assert table.cosine_to_self["untouched"] == pytest.approx(1)


def test_names_a_system_that_returns_silence(crowd, monkeypatch):
    known = module.judges.speaker_embedding
    silent = lambda wav, sr: known(wav, sr) if wav.any() else None  # noqa: E731
    monkeypatch.setattr(module.judges, "speaker_embedding", silent)
    with pytest.raises(ParameterError, match="mute: .*does the system return silence"):
        privacy_scores(crowd, {"mute": lambda clip: 0 * clip.wav}, only=[])


def test_an_informed_verifier_recognizes_moved_speakers(crowd):
    """Speakers are moved, but each to another place, so they can still be told apart."""
    table = privacy_scores(crowd, {"shifted": lambda clip: 1 - clip.wav}, only=[])
    assert table.eer["shifted"] > 0.4 and table.eer_informed["shifted"] == 0


def test_rejects_too_few_or_too_short_clips(crowd):
    with pytest.raises(ParameterError, match="at least 2 speakers, got 1"):
        privacy_scores({"1": crowd["1"]}, {})
    with pytest.raises(ParameterError, match=r"short lasts 1\.0 s"):
        privacy_scores(crowd | {"short": Clip(np.ones(SR), SR)}, {})
