"""Loudness in pieces equals pyloudnorm on the whole recording."""

import numpy as np
import pyloudnorm
import pytest

from vc_lib.audio.loudness import Loudness

SR = 16_000


def measured(wav, sr, n_piece):
    meter = Loudness(sr)
    for start in range(0, len(wav), n_piece):
        meter.add(wav[start : start + n_piece])
    return meter


@pytest.mark.parametrize("sr", [SR, 22_050, 44_100, 48_000, 11_025])
@pytest.mark.parametrize("seconds", [0.4, 0.47, 3.33, 7.0])
def test_equals_pyloudnorm_on_the_whole(voice, sr, seconds):
    wav = voice(seconds, sr=sr)
    wav[len(wav) // 2 :] *= 0.05  # for the gate
    expected = pyloudnorm.Meter(sr).integrated_loudness(wav.astype(float))
    for n_piece in (997, 10**7):
        assert measured(wav, sr, n_piece).lufs == pytest.approx(expected, abs=0.05)


def test_nothing_between_two_pieces_changes_nothing(voice):
    wav, whole, parts = voice(2.0), Loudness(16_000), Loudness(16_000)
    whole.add(wav)
    for piece in (wav[:0], wav[:9_000], wav[:0], wav[9_000:], wav[:0]):
        parts.add(piece)
    assert parts.lufs == pytest.approx(whole.lufs, abs=1e-6)


def test_a_sine_has_the_loudness_of_the_standard():
    """997 Hz at full scale: -3.01 LUFS; half of that amplitude is 6.02 LU less."""
    wav = np.sin(2 * np.pi * 997 * np.arange(5 * 48_000) / 48_000).astype(np.float32)
    loud, soft = measured(wav, 48_000, 10_000), measured(wav / 2, 48_000, 10_000)
    assert loud.lufs == pytest.approx(-3.01, abs=0.1)
    assert soft.lufs == pytest.approx(loud.lufs - 6.02, abs=0.01)


def test_the_true_peak_lies_between_samples():
    """A sine of a quarter of the rate, 45° late: its samples reach 0.707 of its peak only."""
    wav = np.sin(np.pi * np.arange(SR) / 2 + np.pi / 4).astype(np.float32)
    fade = np.minimum(1, np.minimum(np.arange(SR), np.arange(SR)[::-1]) / 1_000)
    wav = (0.5 * wav * fade).astype(np.float32)
    assert np.abs(wav).max() < 0.354
    assert measured(wav, SR, 700).true_peak_db == pytest.approx(-6.02, abs=0.1)


@pytest.mark.parametrize("wav", [np.zeros(0), np.zeros(SR), np.ones(6_399) / 2, np.zeros(1)])
def test_silence_and_less_than_400_ms_have_none(wav):
    assert measured(wav, SR, 500).lufs == -np.inf


def test_it_keeps_80_bytes_a_second(voice):
    meter = Loudness(SR)
    for _ in range(30):
        meter.add(voice(1.0))
    assert len(meter._energies) == 300 and len(meter._open) < SR / 10
