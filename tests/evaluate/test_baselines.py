"""Conversions without a network: what they move, what they keep."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import active_frames, analyze, speaker_stats, synthesize
from vc_lib.anonymize.dials import power_db
from vc_lib.convert import Voice
from vc_lib.errors import ParameterError
from vc_lib.evaluate import envelope_distance_db, log_f0_correlation, mcd_db
from vc_lib.evaluate.baselines import BASELINES, TargetFrames, gaussian_f0, griffin_lim
from vc_lib.model.networks import Generator

SR = 16_000


@pytest.fixture(scope="module")
def source(voice):
    return analyze(voice(2.0, f0=110.0), SR)


@pytest.fixture(scope="module")
def recordings(voice):
    return [analyze(voice(2.0, f0=210.0, seed=seed), SR) for seed in range(1, 4)]


@pytest.fixture(scope="module")
def target(recordings):
    return TargetFrames.of(recordings)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_keeps_words_timing_and_melody(source, target, name):
    made = BASELINES[name](source, target)
    assert made.sp.shape == made.ap.shape == source.sp.shape
    assert (made.voiced == source.voiced).all()
    assert log_f0_correlation(made, source, SR) > 0.999
    np.testing.assert_allclose(power_db(made.sp), power_db(source.sp), atol=1e-6)
    median = np.median(made.f0[made.voiced])
    assert median == pytest.approx(target.stats.f0_hz, rel=0.01)
    assert np.isfinite(synthesize(made)).all()


@pytest.mark.parametrize("name", ["WORLD statistics", "nearest frames", "half and half"])
def test_an_envelope_comes_nearer_to_the_target(source, recordings, target, name):
    made = BASELINES[name](source, target)
    before = envelope_distance_db(source, recordings, SR)
    assert envelope_distance_db(made, recordings, SR) < 0.9 * before


def test_shifting_the_pitch_leaves_the_envelope(source, target):
    assert (BASELINES["F0 shifted"](source, target).sp == source.sp).all()


def test_nearest_frames_of_the_target_are_her_own(recordings, target):
    """Said by her, a sentence finds itself."""
    made = BASELINES["nearest frames"](recordings[0], target)
    assert mcd_db(made, recordings[0], SR) < 2.5
    other = TargetFrames.of(recordings[1:])
    assert mcd_db(made, recordings[0], SR) < mcd_db(
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
    assert np.median(f0[voiced]) == pytest.approx(wide.f0_hz) and spread == pytest.approx(
        1.5, rel=0.02
    )
    nobody = replace(own, f0_hz=0.0)
    assert (gaussian_f0(source.f0, nobody, wide) == source.f0).all()


@pytest.mark.parametrize("sr", [SR, 22_050])
def test_griffin_lim_finds_a_phase(voice, tiny_cfg, target, sr):
    import torch

    cfg = replace(tiny_cfg, f0_method="dio", target=target.stats)
    untrained = Voice(Generator(cfg), cfg, torch.device("cpu"))  # changes nothing
    wav = voice(1.0, sr=sr)[:-37]  # no whole number of frames
    made, given = griffin_lim(untrained, wav, sr, n_iter=8), untrained.anonymize(wav, sr)
    assert made.shape == given.shape and np.isfinite(made).all()
    a, b = analyze(made, SR), analyze(given, SR)
    assert mcd_db(a, b, SR) < 4
    assert np.square(made).mean() == pytest.approx(np.square(given).mean(), rel=0.1)
    assert (griffin_lim(untrained, wav, sr, n_iter=8) == made).all()
    with pytest.raises(ParameterError, match="n_iter=0"):
        griffin_lim(untrained, wav, sr, n_iter=0)
