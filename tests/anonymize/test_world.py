"""WORLD: analysis, F0 methods, synthesis, cepstra."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import (
    Features,
    active_frames,
    analyze,
    anonymize,
    cepstrum,
    envelope_from_cepstrum,
    synthesize,
    world,
)
from vc_lib.anonymize.dials import (
    power_db,
)
from vc_lib.anonymize.world import with_aperiodicity
from vc_lib.config import F0_METHODS, AnonymizeConfig
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import envelope_distance_db

SR = 16_000
FAST = dict(f0_method="dio")
SURE = AnonymizeConfig(f0_method="harvest")


def test_features_have_a_row_per_frame(speech, features):
    n_frames = len(speech) / SR / 0.005 + 1
    assert features.f0.shape == (int(n_frames),)
    assert features.sp.shape == features.ap.shape == (int(n_frames), 513)
    assert (features.sp > 0).all() and (features.ap >= 0).all() and (features.ap <= 1).all()
    assert features.times[-1] == pytest.approx(1.1, abs=0.005)
    part = features[10:30]
    assert len(part.f0) == len(part.sp) == len(part.ap) == 20 and part.sr == SR
    assert (part.f0 == features.f0[10:30]).all()


def test_analysis_and_synthesis_give_the_same_speech(speech, features):
    back = synthesize(features)
    assert back.dtype == np.float32 and 0 <= len(back) - len(speech) <= 0.005 * SR
    again = analyze(back[: len(speech)], SR, SURE)
    both = features.voiced & again.voiced
    assert both.sum() > 0.95 * features.voiced.sum()
    off = np.abs(again.f0[both] / features.f0[both] - 1)
    assert np.median(off) < 0.005 and (off < 0.03).mean() > 0.95
    level = power_db(again.sp) - power_db(features.sp)
    assert abs(level[active_frames(features)].mean()) < 1
    assert envelope_distance_db(again, features, SR) < 1.0


def test_synthesis_is_deterministic(features):
    assert (synthesize(features) == synthesize(features)).all()


@pytest.mark.parametrize("f0_method", F0_METHODS)
@pytest.mark.parametrize("true_f0", [90.0, 240.0])
def test_every_f0_method_finds_a_known_pitch(voice, voice_f0, f0_method, true_f0):
    if f0_method == "swift-f0":
        pytest.importorskip("swift_f0")
    found = analyze(voice(1.0, true_f0), SR, AnonymizeConfig(f0_method=f0_method))
    true = voice_f0(1.0, true_f0)[np.minimum((found.times * SR).astype(int), SR - 1)]
    both = found.voiced & (true > 0)
    assert both.sum() > 0.95 * (true > 0).sum() and found.voiced.sum() < 1.3 * (true > 0).sum()
    off = np.abs(found.f0[both] / true[both] - 1)
    assert np.median(off) < 0.01 and (off < 0.03).mean() > 0.9


@pytest.mark.parametrize("f0_method", F0_METHODS)
@pytest.mark.parametrize("sr, frame_period_ms", [(16_000, 10.0), (44_100, 5.0), (48_000, 2.5)])
def test_every_f0_method_fits_every_rate_and_frame_period(f0_method, sr, frame_period_ms):
    if f0_method == "swift-f0":
        pytest.importorskip("swift_f0")
    cfg = AnonymizeConfig(f0_method=f0_method, frame_period_ms=frame_period_ms)
    wav = 0.2 * np.sign(np.sin(2 * np.pi * 150 * np.arange(sr // 4) / sr))
    features = analyze(wav, sr, cfg)
    assert len(features.f0) == len(features.sp) == len(features.ap) == len(features.times)
    assert len(features.f0) == 250 // frame_period_ms + 1
    assert np.median(features.f0[features.voiced]) == pytest.approx(150, rel=0.01)


@pytest.mark.parametrize("f0_method", F0_METHODS)
def test_silence_has_no_pitch(f0_method):
    if f0_method == "swift-f0":
        pytest.importorskip("swift_f0")
    assert not analyze(np.zeros(4_000), SR, AnonymizeConfig(f0_method=f0_method)).voiced.any()


def test_missing_package_raises_missing_input(speech, monkeypatch):
    monkeypatch.setitem(sys.modules, "swift_f0", None)
    with pytest.raises(MissingInput, match=r"pip install swift-f0; or use 'harvest' or 'dio'"):
        analyze(speech, SR, AnonymizeConfig(f0_method="swift-f0"))


@pytest.mark.parametrize(
    "wav, message",
    [
        (np.zeros(0), "empty"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
        (np.zeros(100, np.int16), "dtype int16"),
        (np.array([0.0, np.nan]), "NaN"),
    ],
    ids=["empty", "stereo", "integers", "nan"],
)
def test_rejects_non_waveforms(wav, message):
    for call in (analyze, lambda wav, sr: anonymize(wav, sr, AnonymizeConfig())):
        with pytest.raises(ParameterError, match=message):
            call(wav, SR)


@pytest.mark.parametrize("sr", [0, -16_000, 100, 7_999, 400_000, "16000", None, True])
def test_rejects_rates_before_world_sees_them(speech, monkeypatch, sr):
    """At 100 Hz WORLD writes past its arrays, and at 1 Hz it never returns."""
    monkeypatch.setattr(world, "pyworld", None)
    with pytest.raises(ParameterError, match="sr="):
        analyze(speech, sr)


@pytest.mark.parametrize("n_cepstra", [8, 24, 60])
def test_fewer_cepstra_are_coarser_and_keep_the_level(features, n_cepstra):
    coarse = envelope_from_cepstrum(cepstrum(features, n_cepstra), SR, features.sp.shape[1])
    assert coarse.shape == features.sp.shape
    active = active_frames(features)
    off_db = (10 * np.log10(coarse / features.sp))[active]
    assert np.abs(off_db.mean()) < 0.5, "mean level"
    roughness = [
        np.abs(np.diff(np.log(sp[active]), 2, axis=1)).mean() for sp in (coarse, features.sp)
    ]
    assert roughness[0] < roughness[1]


def test_cepstra_survive_the_envelope(features):
    mc = cepstrum(features, 24)
    back = envelope_from_cepstrum(mc, SR, features.sp.shape[1])
    np.testing.assert_allclose(cepstrum(replace(features, sp=back), 24), mc, atol=0.05)


def test_accepts_read_only_arrays(speech, features):
    """Memory-mapped arrays are read-only."""
    wav = speech[:6_000].astype(np.float64)
    parts = [part.copy() for part in (features.f0, features.sp, features.ap)]
    for array in (wav, *parts):
        array.flags.writeable = False
    analyze(wav, SR, AnonymizeConfig(**FAST))
    frozen = Features(*parts, SR, features.frame_period_ms)
    assert (synthesize(frozen) == synthesize(features)).all()
    assert (cepstrum(frozen) == cepstrum(features)).all()


def test_low_f0_floor_lengthens_the_window(voice):
    cfg = AnonymizeConfig(f0_floor=45.0)
    deep, usual = analyze(voice(0.5), 24_000, cfg), analyze(voice(0.5), 24_000)
    assert deep.sp.shape[1] == deep.ap.shape[1] == 2 * (usual.sp.shape[1] - 1) + 1
    assert np.isfinite(anonymize(voice(0.5), 24_000, cfg)).all()


def test_aperiodicity_can_be_measured_later(speech):
    features = analyze(speech, SR)
    without = analyze(speech, SR, aperiodic=False)
    assert (without.ap == np.float32(1)).all() and not (features.ap[features.voiced] == 1).all()
    np.testing.assert_allclose(with_aperiodicity(without, speech).ap, features.ap, rtol=1e-6)
