"""Grains: marks one period apart, and voiced sound at another pitch."""

import numpy as np
import pytest

from vc_lib.anonymize import analyze
from vc_lib.anonymize.psola import find_grains, last_mark, overlap_add, pitch_marks
from vc_lib.anonymize.recorded import beside, weight
from vc_lib.config import AnonymizeConfig

SR, HOP = 16_000, 80


def pulses(hz, seconds=1.0):
    """A train of pulses, and its F0 at each frame."""
    n = int(seconds * SR)
    wav = np.zeros(n, np.float32)
    wav[np.round(np.arange(100, n, SR / hz)).astype(int)] = 0.5
    return wav, np.full(n // HOP + 1, float(hz))


def moved(wav, f0, ratio, nepers=0.0):
    """The voiced sound at `ratio` times the pitch."""
    grains = find_grains(wav, f0, ratio * f0, SR, HOP)
    return overlap_add(wav, grains, np.full((len(f0), 513), nepers), HOP)


# Pitch marks


@pytest.mark.parametrize("hz", [80.0, 123.4, 317.0])
def test_marks_of_pulses_are_a_period_apart(hz):
    wav, f0 = pulses(hz)
    ((frames, marks),) = pitch_marks(wav, f0, SR, HOP)
    inside = marks[(marks >= 100) & (marks < len(wav) - SR / hz)]
    assert frames == (0, len(f0)) and len(inside) == pytest.approx(hz, abs=2)
    assert np.abs(np.diff(inside) - SR / hz).max() <= 1
    assert (np.diff(marks) > 0).all() and marks[0] < 0 and marks[-1] >= len(wav) - SR / hz


def test_marks_continue_from_a_known_one():
    wav, f0 = pulses(160.0)
    known = 4_130  # off the pulses, which are at 100, 200, ...
    ((_, marks),) = pitch_marks(wav, f0, SR, HOP, (known, 0.0))
    inside = marks[(marks > 1_000) & (marks < 15_000)]
    assert known in marks and (np.abs(inside % 100 - known % 100) <= 1).all()


def test_marks_from_the_middle_equal_those_of_the_whole(speech, features):
    cut = 20
    (_, marks), *_ = pitch_marks(speech, features.f0, SR, HOP)
    known = int(marks[marks > (cut + 5) * HOP][0]) - cut * HOP
    (_, late), *_ = pitch_marks(speech[cut * HOP :], features.f0[cut:], SR, HOP, (known, 0.0))
    np.testing.assert_array_equal(
        late[late >= known] + cut * HOP, marks[marks >= known + cut * HOP]
    )


def test_marks_do_not_depend_on_the_microphones_sign(speech, features):
    plus, minus = (pitch_marks(wav, features.f0, SR, HOP) for wav in (speech, -speech))
    for (_, marks), (_, others) in zip(plus, minus, strict=True):
        np.testing.assert_array_equal(marks, others)


def test_each_voiced_run_has_its_own_marks(speech, features):
    runs = pitch_marks(speech, features.f0, SR, HOP)
    voiced = np.zeros_like(features.voiced)
    for (first, end), marks in runs:
        voiced[first:end] = True
        assert marks[0] < first * HOP and marks[-1] > (end - 2) * HOP
    assert len(runs) > 1 and (voiced == features.voiced).all()
    assert pitch_marks(speech, 0 * features.f0, SR, HOP) == []


# Grains


def test_without_a_change_voiced_sound_is_the_recording(speech, features):
    out, share = moved(speech, features.f0, 1.0), weight(features.voiced, len(speech), HOP)
    np.testing.assert_allclose(share * out, share * speech, atol=1e-6)
    assert not out[weight(beside(features.voiced, 1), len(speech), HOP) == 0].any()


@pytest.mark.parametrize("ratio", [0.8, 1.2, 1.35])
def test_pitch_is_multiplied_and_power_kept(speech, features, ratio):
    out = moved(speech, features.f0, ratio)
    now = analyze(out, SR, AnonymizeConfig(f0_method="harvest"))
    both = now.voiced & features.voiced
    assert both.sum() > 0.95 * features.voiced.sum()
    assert np.median(now.f0[both] / features.f0[both]) == pytest.approx(ratio, rel=0.01)
    share = weight(features.voiced, len(speech), HOP)
    assert 10 * np.log10(((share * out) ** 2).sum() / ((share * speech) ** 2).sum()) == (
        pytest.approx(0, abs=1.6)  # WORLD's synthesis differs as much: harmonics miss a formant
    )


def test_a_flat_gain_scales(speech, features):
    plain, louder = (moved(speech, features.f0, 1.2, nepers) for nepers in (0.0, np.log(2)))
    np.testing.assert_allclose(louder, 2 * plain, atol=1e-5)


def test_grains_go_on_where_they_ended(speech, features):
    f0, ratio = features.f0, 1.2
    whole, *_ = find_grains(speech, f0, ratio * f0, SR, HOP)
    cut, end = 20, 50  # in the first run [frames]
    known = last_mark([whole], end * HOP)
    assert -SR / 80 < known[1] < 0, "counted from the end"
    known = tuple(x + (end - cut) * HOP for x in known)
    late, *_ = find_grains(speech[cut * HOP :], f0[cut:], ratio * f0[cut:], SR, HOP, known)
    a, b = whole.at, late.at + cut * HOP
    np.testing.assert_allclose(b[b >= end * HOP], a[a >= end * HOP], atol=1e-6)
    np.testing.assert_array_equal(
        late.center[b >= end * HOP] + cut * HOP, whole.center[a >= end * HOP]
    )


def test_no_mark_is_the_last_where_nothing_is_voiced(speech, features):
    grains = find_grains(speech, features.f0, features.f0, SR, HOP)
    pause = np.flatnonzero(~beside(features.voiced, 2))[0] * HOP
    assert last_mark(grains, pause) is None and last_mark([], 100) is None


@pytest.mark.parametrize("hz", [0.0, 75.0, 500.0])
def test_grains_of_very_short_clips_and_of_silence(hz):
    for n in (0, 1, 2, 300):
        for wav in (np.zeros(n, np.float32), np.full(n, 0.1, np.float32)):
            out = moved(wav, np.full(n // HOP + 2, hz), 1.2)
            assert out.shape == wav.shape and np.isfinite(out).all()
            assert (hz and wav.any()) or not out.any()
