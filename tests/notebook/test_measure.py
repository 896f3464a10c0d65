"""What a change of WORLD's features keeps: voicing, melody, words; and what it moves."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import analyze, synthesize
from vc_lib.anonymize.dials import scale_formants, shift_f0
from vc_lib.notebook import measure

SR = 16_000


@pytest.fixture(scope="module")
def wav(voice):
    return voice(2.0)


@pytest.fixture(scope="module")
def features(wav):
    return analyze(wav, SR)


def test_a_coarse_envelope_keeps_the_pitch_and_loses_detail(features):
    fine, coarse = (measure.coarse_envelope(features, n) for n in (24, 6))
    assert coarse.f0 is features.f0 and coarse.sp.shape == features.sp.shape
    log_sp = np.log(features.sp)
    errors = [np.abs(np.log(part.sp) - log_sp)[features.voiced].mean() for part in (fine, coarse)]
    assert 0 < errors[0] < errors[1]


def test_a_perfect_copy_has_no_loss(wav, features):
    loss = measure.copy_loss(wav, features, wav, features)
    assert loss["SI-SNR [dB]"] > 100 and loss["log-F0 correlation"] == pytest.approx(1)
    assert loss["log-spectral distance [dB]"] == loss["average envelope moved [dB]"] == 0


def test_voicing_is_kept_by_a_copy_and_lost_by_a_whisper(wav, features):
    copy = synthesize(features)
    whisper = synthesize(replace(features, f0=np.zeros_like(features.f0)))
    assert measure.voiced_kept(wav, wav, SR) == 1
    assert measure.voiced_kept(copy, wav, SR) > 0.8
    assert measure.voiced_kept(whisper, wav, SR) < 0.3


def test_the_movement_of_the_envelope_ignores_level_and_average(features):
    filtered = features.sp * np.linspace(1, 50, features.sp.shape[1])
    assert measure.envelope_correlation(features, features) == pytest.approx(1)
    louder = replace(features, sp=4 * features.sp)
    assert measure.envelope_correlation(louder, features) == pytest.approx(1)
    assert measure.envelope_correlation(replace(features, sp=filtered), features) > 0.9
    backwards = replace(features, sp=features.sp[::-1].copy())
    assert measure.envelope_correlation(backwards, features) < 0.7


def test_a_shifted_pitch_keeps_the_rest(wav, features):
    shifted = synthesize(replace(features, f0=shift_f0(features.f0, 3)))[: len(wav)]
    scores = measure.kept_and_moved(shifted, analyze(shifted, SR), wav, features)
    assert list(scores) == ["voiced kept", "log-F0 corr.", "envelope corr.", "average moved [dB]"]
    assert scores["voiced kept"] > 0.8 and scores["envelope corr."] > 0.8


def test_distance_of_speakers(features):
    assert measure.speaker_distance(features, features) == pytest.approx(
        {"pitch [semitones]": 0, "average envelope [dB]": 0}
    )
    other = replace(features, f0=shift_f0(features.f0, -5), sp=scale_formants(features.sp, 1.2))
    distance = measure.speaker_distance(features, other)
    assert distance["pitch [semitones]"] == pytest.approx(5, abs=0.1)
    assert distance["average envelope [dB]"] > 1
