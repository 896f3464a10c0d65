"""Loudness: level of speech, loud frames, and the gain that attenuates pauses."""

import numpy as np
import pytest

from vc_lib.audio.level import block_power, near_loud, pause_gain, speech_level_db

SR = 16_000


def noise(seconds, level_db, seed=0):
    n = int(seconds * SR)
    return 10 ** (level_db / 20) * np.random.default_rng(seed).normal(size=n)


def gain_db(wav, depth_db=30.0):
    level_db = speech_level_db(block_power(wav, SR))
    return 20 * np.log10(pause_gain(wav, SR, level_db, depth_db))


def test_speech_level_ignores_pauses():
    for pause_s in (0.0, 1.0, 5.0):
        wav = np.concatenate([noise(1.0, -20), noise(pause_s, -70)])
        assert speech_level_db(block_power(wav, SR)) == pytest.approx(-20, abs=0.3)
    assert speech_level_db(block_power(np.zeros(1000), SR)) == -120
    assert speech_level_db(block_power(np.zeros(0), SR)) == -120


@pytest.mark.parametrize("sr", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("pause_db", [-60, -120])
def test_attenuates_pauses_but_not_speech(sr, pause_db):
    """Pauses as recorded, and gated to digital silence."""
    rng = np.random.default_rng(0)
    level = np.repeat(10 ** (np.array([-20, pause_db, -20]) / 20), sr // 2)
    wav = level * rng.normal(size=len(level))
    gain = pause_gain(wav, sr, speech_level_db(block_power(wav, sr)), 30.0)
    assert gain.shape == wav.shape and gain.dtype == np.float32
    db = 20 * np.log10(gain)
    np.testing.assert_allclose(db[int(0.56 * sr) : int(0.94 * sr)], -30, atol=0.5)
    assert db[: sr // 2].min() > -1.5 and db[-sr // 2 :].min() > -1.5


def test_depth_of_zero_changes_nothing():
    wav = np.concatenate([noise(0.3, -20), noise(0.3, -70)])
    assert (pause_gain(wav, SR, -20.0, 0.0) == 1).all()


@pytest.mark.parametrize("pause_s, is_pause", [(0.06, False), (0.2, True)])
def test_pauses_last_a_tenth_of_a_second(pause_s, is_pause):
    wav = np.concatenate([noise(0.5, -20), noise(pause_s, -80), noise(0.5, -20)])
    assert (gain_db(wav).min() < -25) == is_pause


def test_keeps_a_burst_between_silences():
    """Such as a /t/ at the end of a word, in a gated recording."""
    silence = np.zeros(SR // 5)
    wav = np.concatenate([noise(0.5, -20), silence, noise(0.03, -38), silence, noise(0.5, -20)])
    burst = slice(int(0.705 * SR), int(0.725 * SR))
    assert gain_db(wav)[burst].min() > -2


@pytest.mark.parametrize("below_db", [24, 26, 28, 30, 32])
def test_steady_noise_does_not_switch_on_and_off(below_db):
    wav = np.concatenate([noise(1.0, -20), noise(4.0, -20 - below_db, 1), noise(1.0, -20, 2)])
    down = gain_db(wav)[int(1.2 * SR) : int(4.8 * SR)] < -15
    assert np.abs(np.diff(down.astype(int))).sum() <= 4


def test_gain_of_silence_is_finite():
    for n in (1, 159, 5_000):
        gain = pause_gain(np.zeros(n), SR, -120.0, 30.0)
        assert gain.shape == (n,) and np.isfinite(gain).all()


def test_near_loud_counts_from_the_95th_percentile():
    level_db = np.array([-20.0] * 10 + [-54.9, -55.1, -100.0])
    assert near_loud(level_db).tolist() == [True] * 11 + [False] * 2
    assert near_loud(level_db, 25.0).tolist() == [True] * 10 + [False] * 3
    assert not near_loud(level_db, floor_db=-20.0).any()
