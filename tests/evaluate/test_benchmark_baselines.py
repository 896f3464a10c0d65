"""Systems of the benchmarks and tools that a voice is compared with."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.mcadams import mcadams
from tools.baselines import ALL_BASELINES, griffin_lim
from vc_lib.anonymize import analyze
from vc_lib.config import AnonymizeConfig
from vc_lib.convert import Voice
from vc_lib.errors import ParameterError
from vc_lib.evaluate import envelope_distance_db, log_f0_correlation, mcd_db
from vc_lib.model.networks import Generator, OnArrays

SR = 16_000
SURE = AnonymizeConfig(f0_method="harvest")


def test_half_and_half_keeps_the_melody_and_comes_nearer_to_the_target(source, recordings, target):
    converted = ALL_BASELINES["half and half"](source, target)
    assert (converted.voiced == source.voiced).all()
    assert log_f0_correlation(converted, source, SR) > 0.999
    before = envelope_distance_db(source, recordings, SR)
    assert envelope_distance_db(converted, recordings, SR) < 0.9 * before


@pytest.mark.parametrize("sr", [SR, 22_050])
def test_griffin_lim_finds_a_phase(voice, tiny_cfg, target, sr):
    cfg = replace(tiny_cfg, f0_method="dio", target=target.stats)
    untrained = Voice(OnArrays(Generator(cfg), "cpu"), cfg)  # changes nothing
    wav = voice(1.0, sr=sr)[:-37]  # no whole number of frames
    converted, given = griffin_lim(untrained, wav, sr, n_iter=8), untrained.anonymize(wav, sr)
    assert converted.shape == given.shape and np.isfinite(converted).all()
    a, b = analyze(converted, SR), analyze(given, SR)
    assert mcd_db(a, b, SR) < 4
    assert np.square(converted).mean() == pytest.approx(np.square(given).mean(), rel=0.1)
    assert (griffin_lim(untrained, wav, sr, n_iter=8) == converted).all()
    with pytest.raises(ParameterError, match="n_iter=0"):
        griffin_lim(untrained, wav, sr, n_iter=0)


@pytest.mark.parametrize("sr", [SR, 44_100])
def test_mcadams_of_one_changes_nothing(voice, sr):
    wav = voice(0.5, sr=sr)
    out = mcadams(wav, sr, alpha=1.0)
    assert out.shape == wav.shape and out.dtype == np.float32
    assert np.abs(out - wav)[200:-200].max() < 1e-3


def test_mcadams_moves_formants_and_keeps_the_melody(voice):
    wav = voice(1.0)
    original = analyze(wav, SR, SURE)
    moved = [
        envelope_distance_db(analyze(mcadams(wav, SR, a), SR, SURE), original, SR)
        for a in (0.9, 0.7)
    ]
    assert 1 < moved[0] < moved[1]
    assert log_f0_correlation(mcadams(wav, SR, 0.8), original, SR) > 0.95
    assert not mcadams(np.zeros(1_000), SR).any()
    loud = 0.99 * wav / np.abs(wav).max()
    converted = mcadams(loud, SR, 0.7)
    assert np.abs(converted).max() <= 1 and (np.abs(converted) > 0.9999).sum() <= 1, "clipped"
    quiet = mcadams(0.1 * loud, SR, 0.7)
    assert np.square(quiet).mean() == pytest.approx(np.square(0.1 * loud).mean(), rel=0.01)
    with pytest.raises(ParameterError, match="alpha=3"):
        mcadams(wav, SR, 3)
