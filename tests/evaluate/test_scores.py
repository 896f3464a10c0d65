"""All metrics together: what is computed from which arguments, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import (
    METRICS,
    Clip,
    clips,
    envelope_distance_db,
    evaluate,
    f0_register_cents,
    judges,
    log_f0_correlation,
    mcd_db,
)
from vc_lib.evaluate.metrics import METER, log_spectral_distance_db
from vc_lib.evaluate.signal_metrics import pause_level_db

SR = 16_000
pytestmark = pytest.mark.usefixtures("no_judges")
SIX_DB = 10 ** (6 / 20)
SOURCE = {
    "source_log_f0_corr",
    "source_voiced_share",
    "source_voicing_error",
    "source_envelope_distance_db",
    "pause_level_db",
}
TARGET = {"f0_register_cents", "envelope_distance_db"}
REFERENCE = {"mcd_db", "f0_rmse_cents", "log_f0_corr", "voicing_error"}
SAMPLEWISE = {"lsd_db", "si_snr_db"}
OPTIONAL = {key for key, metric in METRICS.items() if metric.packages}


def test_evaluate_computes_what_its_arguments_allow(speech, voice):
    other = voice(seconds=1.2, f0=200.0)
    assert not set(evaluate(speech, SR)) - OPTIONAL
    assert set(evaluate(speech, SR, source=speech)) - OPTIONAL == SOURCE
    assert set(evaluate(speech, SR, target=[other])) - OPTIONAL == TARGET
    assert set(evaluate(speech, SR, reference=speech)) - OPTIONAL == REFERENCE | SAMPLEWISE
    assert set(evaluate(speech, SR, reference=other, align="dtw")) - OPTIONAL == REFERENCE
    scores = evaluate(speech, SR, source=speech, target=other, reference=speech)
    assert set(scores) - OPTIONAL == SOURCE | TARGET | REFERENCE | SAMPLEWISE
    assert all(type(value) is float and np.isfinite(value) for value in scores.values())


def test_evaluate_agrees_with_its_parts(speech, features, voice):
    converted, target = SIX_DB * speech, voice(seconds=1.0, f0=180.0)
    scores = evaluate(converted, SR, source=speech, target=target, reference=speech)
    assert scores["lsd_db"] == log_spectral_distance_db(converted, speech, SR)
    assert scores["mcd_db"] == mcd_db(converted, features, SR)
    assert scores["f0_register_cents"] == f0_register_cents(converted, target, SR)
    assert scores["envelope_distance_db"] == envelope_distance_db(converted, target, SR)
    assert scores["source_log_f0_corr"] == log_f0_correlation(converted, features, SR)
    assert scores["pause_level_db"] == pause_level_db(converted, SR, speech)
    assert scores["pause_level_db"] < -40


def test_evaluate_changes_none_of_its_inputs(speech):
    before = speech.copy()
    speech.flags.writeable = False
    evaluate(speech, SR, source=speech, target=[speech], reference=speech)
    assert (speech == before).all()


def test_a_silent_conversion_never_scores_well(speech):
    scores = evaluate(np.zeros_like(speech), SR, source=speech, target=speech, reference=speech)
    undefined = {name for name, value in scores.items() if np.isnan(value)}
    assert undefined - OPTIONAL == (SOURCE | TARGET | REFERENCE | SAMPLEWISE) - {
        "source_voiced_share",
        "source_voicing_error",
        "voicing_error",
        "lsd_db",
    }
    assert scores["source_voiced_share"] == 0
    assert scores["lsd_db"] > 30
    assert scores["voicing_error"] > 0.3


@pytest.mark.parametrize("role", ["source", "target", "reference"])
def test_rejects_a_silent_role(speech, role):
    with pytest.raises(ParameterError, match="is silent"):
        evaluate(speech, SR, **{role: np.zeros_like(speech)})


@pytest.mark.parametrize("role", ["source", "reference"])
def test_rejects_another_length(speech, role):
    with pytest.raises(ParameterError, match=f"{role} 8000"):
        evaluate(speech, SR, **{role: speech[:8_000]})


def test_only_computes_the_metrics_asked_for(speech, monkeypatch):
    def unwanted(*args):
        raise AssertionError("nothing asks for features")

    monkeypatch.setattr(clips, "analyze", unwanted)
    assert evaluate(speech, SR, source=speech, reference=speech, only=["lsd_db"]) == {"lsd_db": 0}


@pytest.mark.parametrize(
    "only, message",
    [
        (["mos"], "only='mos' must be one of wer"),
        (["mcd_db"], "mcd_db needs reference"),
        (["wer"], "wer needs source or text"),
    ],
)
def test_rejects_metrics_that_cannot_be_computed(speech, only, message):
    with pytest.raises(ParameterError, match=message):
        evaluate(speech, SR, target=[speech], only=only)


def test_a_missing_package_is_left_out_unless_asked_for(speech, monkeypatch):
    monkeypatch.setattr(judges, "installed", lambda packages: not packages)
    assert set(evaluate(speech, SR, source=speech)) == SOURCE
    with pytest.raises(MissingInput, match="requirements-eval"):
        evaluate(speech, SR, only=["distillmos"])


def test_words_and_quality_are_the_judges(speech, voice, monkeypatch):
    other = voice(seconds=1.0, f0=200.0)
    transcripts = {len(speech): "one two", len(other) + 1: "one too"}
    monkeypatch.setattr(judges, "installed", lambda packages: True)
    monkeypatch.setattr(judges, "transcribe", lambda wav, sr: transcripts.get(len(wav), "one too"))
    monkeypatch.setattr(judges, "word_error_rate", lambda a, b: (a, b))
    monkeypatch.setattr(judges, "distillmos", lambda wav, sr: ("distillmos", len(wav), sr))
    monkeypatch.setattr(judges, "dnsmos", lambda wav, sr: ("dnsmos", len(wav), sr))
    converted = np.append(other, 0)
    scores = evaluate(converted, SR, source=speech, only=["wer", "distillmos", "dnsmos"])
    assert scores["wer"] == ("one too", "one two")
    assert scores["distillmos"] == ("distillmos", len(converted), SR)
    assert scores["dnsmos"] == ("dnsmos", len(converted), SR)
    assert evaluate(converted, SR, text="three", only=["wer"])["wer"] == ("one too", "three")


def test_cosines_compare_with_source_and_target(voice, monkeypatch):
    """Four directions: of the conversion, of its source, and of two recordings of the target."""
    sounds = [voice(seconds=0.5, f0=f0) for f0 in (100, 120, 140, 160)]
    directions = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.8, 0, 0.6], [0.8, 0, -0.6]])
    monkeypatch.setattr(judges, "installed", lambda packages: True)
    monkeypatch.setattr(
        judges,
        "speaker_embedding",
        lambda wav, sr: next(
            d for s, d in zip(sounds, directions, strict=True) if (s == wav).all()
        ),
    )
    converted, source, *target = sounds
    keys = ["cosine_to_source", "cosine_to_target"]
    scores = evaluate(converted, SR, source=source, target=target, only=keys)
    assert scores["cosine_to_source"] == pytest.approx(0.6)
    assert scores["cosine_to_target"] == pytest.approx(1)  # the two lie on either side


def test_voiced_share_counts_the_sources_frames(speech, features):
    frames = np.arange(len(features.f0))
    half = replace(features, f0=np.where(frames % 2, features.f0, 0.0))
    more = replace(features, f0=np.full(len(frames), 100.0))
    source, converted = Clip(speech, SR), Clip(speech, SR)
    for changed, share in ((half, 0.5), (more, 1), (features, 1)):
        source.features, converted.features = features, changed
        scores = evaluate(converted, SR, source=source, only=["source_voiced_share"])
        assert scores["source_voiced_share"] == pytest.approx(share, abs=0.02)


def test_statistics_may_stand_for_the_target(speech, voice, features):
    wav = voice(seconds=1.0, f0=200.0, seed=1)
    stats = speaker_stats([analyze(wav, SR, METER)])
    known, measured = (evaluate(speech, SR, target=t, only=TARGET) for t in (stats, wav))
    assert known["f0_register_cents"] == pytest.approx(measured["f0_register_cents"], abs=1)
    assert known["envelope_distance_db"] == pytest.approx(
        measured["envelope_distance_db"], rel=0.02
    )
    assert evaluate(speech, SR, target=[stats, speech], only=TARGET) == known, "statistics win"
    with pytest.raises(ParameterError, match="cosine_to_target needs recordings of target"):
        evaluate(speech, SR, target=stats, only=["cosine_to_target"])
    with pytest.raises(ParameterError, match="measured at 16000 Hz"):
        envelope_distance_db(np.repeat(speech, 2), stats, 2 * SR)


def test_every_metric_is_in_the_table_of_the_docstring():
    for key, metric in METRICS.items():
        assert f"\n        {key} " in evaluate.__doc__, key
        assert metric.better in ("higher", "lower", "zero")
