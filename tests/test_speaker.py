"""Statistics of a speaker: shapes, ranges, types."""

import numpy as np
import pytest

from vc_lib.errors import ParameterError
from vc_lib.speaker import AcousticClasses, SpeakerStats

STATS = dict(
    sr=16_000,
    f0_hz=203.5,
    f0_std_semitones=3.25,
    level_db=-31.0,
    cepstrum_mean=(-1.5, 0.25, 1 / 3),
    cepstrum_std=(0.5, 0.0, 0.1),
)
VOICED = dict(voiced_mean=(0.0, 1.0, 0.5), voiced_cov=np.eye(3))
CLASSES = dict(
    weights=(0.25, 0.75), means=((1.0, -1 / 3), (0.0, 2.0)), variances=((0.5, 0.1), (0.2, 0.3))
)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(f0_hz=float("nan")), "finite"),
        (dict(cepstrum_mean=(0.0, float("inf"), 0.0)), "finite"),
        (dict(cepstrum_std=(0.5,)), "cepstrum_mean has 3 .*cepstrum_std.* 1"),
        (dict(cepstrum_mean=(), cepstrum_std=()), "cepstrum_mean has 0"),
        (dict(f0_hz=-1.0), ">= 0"),
        (dict(cepstrum_std=(0.5, -0.1, 0.1)), ">= 0"),
        (dict(voiced_mean=(0.0, 1.0)), "voiced_mean has 2 .*voiced_cov 0 rows.* 3 or none"),
        (dict(voiced_mean=(0.0,) * 3, voiced_cov=((1.0,),) * 3), "voiced_cov 3 rows"),
        (dict(voiced_mean=(0.0,) * 3, voiced_cov=((float("nan"),) * 3,) * 3), "finite"),
        (VOICED | dict(fmllr=np.eye(3)), r"3 rows of \[3\] numbers; it must have 3 of 2"),
        (dict(formant_ratio=3), "formant_ratio=3.0 must be a number in 0.5..2"),
    ],
)
def test_speaker_stats_reject_bad_values(change, message):
    with pytest.raises(ParameterError, match=message):
        SpeakerStats(**STATS | change)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(weights=(1.0,)), "1 weights, 2 means and 2 variances"),
        (dict(means=((1.0, 2.0), (1.0,))), "must agree"),
        (dict(weights=(), means=(), variances=()), "0 weights"),
        (dict(weights=(0.0, 1.0)), "> 0"),
        (dict(variances=((0.1, -0.1), (0.1, 0.1))), "> 0"),
        (dict(means=((float("nan"), 0.0), (0.0, 0.0))), "finite"),
        (dict(means=(("a", "b"), (0.0, 0.0))), "numbers"),
    ],
)
def test_acoustic_classes_reject_bad_values(change, message):
    with pytest.raises(ParameterError, match=message):
        AcousticClasses(**CLASSES | change)


@pytest.mark.parametrize(
    "sounds, message", [("a, b", "AcousticClasses or None"), (3, "less than voiced")]
)
def test_speaker_stats_reject_classes_that_do_not_fit(sounds, message):
    if sounds == 3:
        sounds = AcousticClasses((1.0,), ((0.0,) * 3,), ((1.0,) * 3,))
    with pytest.raises(ParameterError, match=message):
        SpeakerStats(**STATS | VOICED, classes=sounds)


def test_speaker_stats_take_arrays():
    arrays = {k: np.array(v) if isinstance(v, tuple) else v for k, v in STATS.items()}
    assert SpeakerStats(**arrays) == SpeakerStats(**STATS)
