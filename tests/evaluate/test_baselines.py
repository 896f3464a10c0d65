"""Conversions without a network: what they move, what they keep."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import active_frames, speaker_stats, synthesize
from vc_lib.anonymize.dials import power_db
from vc_lib.anonymize.statistics import voice_threshold_db
from vc_lib.evaluate import envelope_distance_db, log_f0_correlation, mcd_db
from vc_lib.evaluate.baselines import BASELINES, TargetFrames, gaussian_f0

SR = 16_000


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_keeps_words_timing_and_melody(source, target, name):
    converted = BASELINES[name](source, target)
    assert converted.sp.shape == converted.ap.shape == source.sp.shape
    assert (converted.voiced == source.voiced).all()
    assert log_f0_correlation(converted, source, SR) > 0.999
    np.testing.assert_allclose(power_db(converted.sp), power_db(source.sp), atol=1e-6)
    median = np.median(converted.f0[converted.voiced & active_frames(source)])
    assert median == pytest.approx(target.stats.f0_hz, rel=0.01)
    assert np.isfinite(synthesize(converted)).all()


@pytest.mark.parametrize("name", ["WORLD statistics", "nearest frames"])
def test_an_envelope_comes_nearer_to_the_target(source, recordings, target, name):
    converted = BASELINES[name](source, target)
    before = envelope_distance_db(source, recordings, SR)
    assert envelope_distance_db(converted, recordings, SR) < 0.9 * before


def test_shifting_the_pitch_leaves_the_envelope(source, target):
    assert (BASELINES["F0 shifted"](source, target).sp == source.sp).all()


def test_nearest_frames_of_the_target_are_its_own(recordings, target):
    """A recording of the target finds itself."""
    converted = BASELINES["nearest frames"](recordings[0], target)
    assert mcd_db(converted, recordings[0], SR) < 2.5
    other = TargetFrames.of(recordings[1:])
    assert mcd_db(converted, recordings[0], SR) < mcd_db(
        BASELINES["nearest frames"](recordings[0], other), recordings[0], SR
    )


def test_a_bank_of_frames_is_bounded_and_spread(recordings):
    bank = TargetFrames.of(recordings, max_frames=100)
    n_active = sum(int(active_frames(r).sum()) for r in recordings)
    assert n_active > 300 and 80 <= len(bank.fine) == len(bank.keys) <= 103


def test_gaussian_f0_moves_register_and_spread(source, target):
    own = speaker_stats([source])
    wide = replace(target.stats, f0_std_semitones=1.5 * own.f0_std_semitones)
    f0 = gaussian_f0(source.f0, own, wide)
    voiced = f0 > 0
    assert (voiced == source.voiced).all()
    spread = np.log2(f0[voiced]).std() / np.log2(source.f0[voiced]).std()
    loud = voiced & (power_db(source.sp) > voice_threshold_db(own))
    assert np.median(f0[loud]) == pytest.approx(wide.f0_hz)
    assert spread == pytest.approx(1.5, rel=0.02)
    nobody = replace(own, f0_hz=0.0)
    assert (gaussian_f0(source.f0, nobody, wide) == source.f0).all()
