"""CheapTrick: the envelope of WORLD's own."""

import numpy as np
import pytest
import pyworld

from vc_lib.anonymize.cheaptrick import cheaptrick


def both(x, f0, times, sr, fft_size):
    """Envelopes by WORLD and by us [dB]."""
    x = np.ascontiguousarray(x, dtype=np.float64)
    world = pyworld.cheaptrick(x, f0, times, sr, fft_size=fft_size)
    return [10 * np.log10(sp) for sp in (world, cheaptrick(x, f0, times, sr, fft_size))]


@pytest.mark.parametrize("sr", [8_000, 16_000, 48_000])
def test_the_envelope_is_that_of_world(voice, sr):
    x = voice(0.6, sr=sr) + np.random.default_rng(0).normal(0, 1e-3, int(0.6 * sr))
    times = np.arange(121) * 0.005
    f0 = np.where(np.arange(121) % 50 < 35, np.linspace(75, 580, 121), 0.0)
    fft_size = pyworld.get_cheaptrick_fft_size(sr)
    world, own = both(x, f0, times, sr, fft_size)
    assert own.dtype == np.float32 and own.shape == (121, fft_size // 2 + 1)
    np.testing.assert_allclose(own, world, atol=0.02)


def test_frames_past_the_ends_repeat_the_last_sample(voice):
    times = np.array([-0.01, 0.0, 0.199, 0.21])
    world, own = both(0.1 + voice(0.2, sr=16_000), np.full(4, 90.0), times, 16_000, 1024)
    np.testing.assert_allclose(own, world, atol=0.02)


def test_silence_has_a_flat_floor():
    sp = cheaptrick(np.zeros(8_000), np.array([0.0, 100.0]), np.array([0.1, 0.2]), 16_000, 1024)
    np.testing.assert_allclose(10 * np.log10(sp), -157, atol=1)


def test_no_frames_have_no_envelope():
    assert cheaptrick(np.zeros(100), np.zeros(0), np.zeros(0), 16_000, 1024).shape == (0, 513)
