"""Two ways of resynthesis: what each keeps of the recording."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize.dials import shift_f0
from vc_lib.notebook import resynthesis

SR = 16_000


@pytest.fixture(scope="module")
def rows(speech, features):
    raised = replace(features, f0=shift_f0(features.f0, 2.4))
    unchanged = resynthesis.both_ways(speech, features, features)
    moved = resynthesis.both_ways(speech, features, raised, ", raised")
    return resynthesis.scores(unchanged, moved, speech, features)


def test_without_a_change_the_recording_comes_back(rows):
    kept, world = rows["recording kept"], rows["WORLD"]
    assert kept["SI-SNR [dB]"] > 60 > world["SI-SNR [dB]"]
    assert kept["log-spectral distance [dB]"] < 0.1 < world["log-spectral distance [dB]"]


def test_both_ways_raise_the_pitch(rows):
    for label in ("WORLD", "recording kept"):
        assert rows[label]["pitch moved [semitones]"] == pytest.approx(0, abs=0.1)
        raised = rows[f"{label}, raised"]
        assert raised["pitch moved [semitones]"] == pytest.approx(2.4, abs=0.2)
        assert "SI-SNR [dB]" not in raised and raised["average envelope moved [dB]"] < 3


def test_pitch_moved_needs_voiced_frames(features):
    whisper = replace(features, f0=np.zeros_like(features.f0))
    assert np.isnan(resynthesis.pitch_moved(whisper, features))


def test_finds_the_loudest_consonant_before_a_vowel(features):
    """Frames 100..119 are the only unvoiced ones that are loud, and a loud voice follows."""
    n = len(features.f0)
    f0, sp = np.full(n, 150.0), np.full_like(features.sp, 1e-6)
    f0[100:120], f0[200:220] = 0, 0
    sp[100:120] *= 100
    part = resynthesis.consonant_and_vowel(replace(features, f0=f0, sp=sp), seconds=0.4)
    assert (part.start, part.stop) == pytest.approx((0.4 * SR, 0.8 * SR), abs=0.01 * SR)


def test_a_stretch_at_the_beginning_is_shorter(features):
    f0 = np.full_like(features.f0, 150.0)
    f0[:20] = 0
    part = resynthesis.consonant_and_vowel(replace(features, f0=f0), seconds=0.6)
    assert part.start == 0 and 0 < part.stop < 0.6 * SR
