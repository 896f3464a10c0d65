"""F0 tracking: accurate where F0 is known, and in agreement with Harvest on speech."""

import numpy as np
import pytest
import pyworld

from vc_lib.anonymize.f0_tracker import find_pitch

SR = 16_000


def find(wav, sr=SR, low=71.0, high=600.0, period=5.0):
    return find_pitch(wav, sr, low, high, period)


def tone(f0, sr=SR, seconds=1.0, n_harmonics=8):
    """Harmonics of `f0` [Hz], a number or an array of one for each sample."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0, int(seconds * sr))) / sr
    return 0.1 * sum(np.cos(n * phase) / n for n in range(1, n_harmonics + 1))


@pytest.mark.parametrize("f0", [75.0, 100.0, 160.0, 250.0, 400.0, 580.0])
def test_steady_f0_is_accurate_to_5_cents(f0):
    found = find(tone(f0))[5:-5]
    assert (found > 0).all()
    assert np.abs(np.log2(found / f0)).max() * 1200 < 5


@pytest.mark.parametrize("n_harmonics", [3, 8])
def test_follows_a_glide_of_an_octave(n_harmonics):
    f0 = 110 * 2 ** np.linspace(0, 1, SR)
    found = find(tone(f0, n_harmonics=n_harmonics))
    truth = f0[np.minimum(np.arange(len(found)) * 80, SR - 1)]
    assert np.abs(found / truth - 1)[5:-5].max() < 0.02


@pytest.mark.parametrize("sr", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("period", [1.0, 2.5, 5.0, 7.0, 20.0])
def test_returns_a_value_for_each_world_frame(sr, period):
    wav = tone(150.0, sr, 0.503)
    found = find(wav, sr, period=period)
    assert len(found) == len(pyworld.dio(wav, sr, frame_period=period)[0])
    assert found.dtype == np.float64 and found.flags.c_contiguous
    edge = int(np.ceil(15 / period))
    np.testing.assert_allclose(found[edge:-edge], 150, rtol=0.01)


@pytest.mark.parametrize("wav", [np.zeros(SR), np.full(SR, 0.5), np.zeros(10), 1e-9 * np.ones(800)])
def test_silence_and_constants_are_unvoiced(wav):
    assert not find(wav).any()


def test_noise_is_mostly_unvoiced_and_f0_within_the_range():
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * SR)
    found = find(noise, low=80.0, high=300.0)
    assert (found > 0).mean() < 0.6  # Harvest: .75
    voiced = found[found > 0]
    assert voiced.min() > 70 and voiced.max() < 330


def test_finds_the_known_f0_of_speech(voice, voice_f0):
    wav, truth = voice(3.0, 130.0, seed=4), voice_f0(3.0, 130.0, seed=4)
    found = find(wav)
    truth = truth[np.minimum(np.arange(len(found)) * 80, len(truth) - 1)]
    both = (truth > 0) & (found > 0)
    assert both.sum() > 0.97 * (truth > 0).sum()
    assert (np.abs(found[both] / truth[both] - 1) < 0.03).mean() > 0.95


def test_agrees_with_harvest_on_speech(voice):
    for seed, f0 in ((0, 110.0), (1, 210.0), (2, 150.0)):
        wav = voice(2.0, f0, seed=seed).astype(np.float64)
        found = find(wav)
        sure = pyworld.harvest(wav, SR, f0_floor=71.0, f0_ceil=600.0)[0]
        assert ((found > 0) == (sure > 0)).mean() > 0.85  # which hold on to weak ends differently
        both = (found > 0) & (sure > 0)
        assert (np.abs(found[both] / sure[both] - 1) < 0.02).mean() > 0.9


def test_level_and_offset_change_nothing(voice):
    wav = voice(1.0)
    found = find(wav)
    for other in (0.01 * wav, wav + 0.2):
        assert np.isclose(find(other), found, rtol=0.01).mean() > 0.95


def test_f0_of_a_part_equals_that_of_the_recording(voice):
    wav = voice(4.0, seed=3)
    whole, part = find(wav), find(wav[SR : 3 * SR])
    inside = slice(40, -40)  # 0.2 s, farther than a sound is followed
    same = np.isclose(part[inside], whole[200:601][inside], rtol=0.01)
    assert same.mean() > 0.95


def test_f0_is_deterministic(voice):
    assert (find(voice(1.0)) == find(voice(1.0))).all()
