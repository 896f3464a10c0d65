"""Embeddings of anonymized utterances."""

import numpy as np
import pytest

from vc_lib.errors import ParameterError
from vc_lib.evaluate import Clip
from vc_lib.evaluate.embeddings import cepstral_statistics, embed

SR = 16_000


# Statistics of cepstra


@pytest.fixture(scope="module")
def statistics(voice):
    """Three utterances of a low voice, and three of a high one."""
    return [
        np.array([cepstral_statistics(voice(3.0, f0=f0, seed=seed), SR) for seed in range(3)])
        for f0 in (110, 200)
    ]


def test_statistics_are_finite_and_the_same_for_the_same_sound(voice, statistics):
    again = cepstral_statistics(voice(3.0, f0=110, seed=0), SR)
    assert again.shape == (181,) and np.isfinite(statistics).all()
    np.testing.assert_array_equal(again, statistics[0][0])


def test_statistics_do_not_depend_on_the_gain(voice, statistics):
    quiet = cepstral_statistics(0.05 * voice(3.0, f0=110, seed=0), SR)
    np.testing.assert_allclose(quiet, statistics[0][0], atol=0.02)


def test_statistics_tell_two_voices_apart(statistics):
    low, high = statistics
    spread = np.concatenate([low - low.mean(0), high - high.mean(0)]).std(0)
    both = np.concatenate([low, high]) / np.maximum(spread, 0.01)
    distances = np.linalg.norm(both[:, None] - both[None], axis=2)
    assert distances[:3, 3:].min() > 2 * distances[:3, :3].max()


def test_statistics_hold_the_pitch(statistics):
    low, high = statistics
    assert np.exp(low[:, -4]) == pytest.approx(110, rel=0.05)
    assert np.exp(high[:, -4]) == pytest.approx(200, rel=0.05)


def test_statistics_of_another_rate_have_the_same_shape(voice):
    assert cepstral_statistics(voice(2.0, sr=22_050), 22_050).shape == (181,)


def test_a_whisper_has_statistics_too():
    hiss = 0.1 * np.random.default_rng(0).normal(size=2 * SR)
    hiss *= np.repeat([1, 0.001, 1, 0.001], SR // 2)
    found = cepstral_statistics(hiss.astype(np.float32), SR)
    assert np.isfinite(found).all() and found[-2] < 0.2, "hardly a voiced frame"


def test_silence_and_a_click_have_no_statistics(voice):
    assert cepstral_statistics(np.zeros(SR, np.float32), SR) is None
    assert cepstral_statistics(voice(0.3), SR) is None


# All utterances of a system


def spoken(wav, sr):
    """Mean and length; None for silence."""
    return np.array([wav.mean(), len(wav) / sr]) if wav.any() else None


def noisy(clip, rng):
    """The clip, and a number that is drawn."""
    return clip.wav + 0.01 * rng.normal()


@pytest.fixture
def clips():
    """Three speakers, who are louder in the second half."""
    return {
        f"{i}": Clip(np.repeat([0.1 * i, 0.1 * i + 0.05], SR).astype(np.float32), SR)
        for i in (1, 2, 3)
    }


def test_both_halves_are_embedded_as_often_as_they_are_drawn(clips):
    found = embed(clips, noisy, n_draws=4, embeddings={"mean": spoken})["mean"]
    assert found.shape == (3, 2, 4, 2)
    expected = [[0.1, 0.15], [0.2, 0.25], [0.3, 0.35]]
    np.testing.assert_allclose(found[..., 0].mean(2), expected, atol=0.03)
    assert (found[..., 1] == 1).all(), "each half is anonymized by itself"
    assert len(np.unique(found[..., 0] - np.array(expected)[..., None])) == 24, "no draw is shared"


def test_the_draws_are_the_same_each_time_and_in_any_number_of_processes(clips):
    arguments = dict(n_draws=2, embeddings={"mean": spoken})
    once = embed(clips, noisy, **arguments)["mean"]
    np.testing.assert_array_equal(embed(clips, noisy, **arguments)["mean"], once)
    np.testing.assert_array_equal(embed(clips, noisy, n_jobs=2, **arguments)["mean"], once)
    alone = embed({"2": clips["2"]}, noisy, **arguments)["mean"]
    np.testing.assert_array_equal(alone[0], once[1])


def test_silence_is_nan(clips):
    mute = lambda clip, rng: clip.wav * (clip.wav.mean() > 0.18)  # noqa: E731
    found = embed(clips, mute, embeddings={"mean": spoken})["mean"]
    np.testing.assert_array_equal(np.isnan(found).all(-1)[..., 0], [[1, 1], [0, 0], [0, 0]])
    with pytest.raises(ParameterError, match="does the system return silence"):
        embed(clips, lambda clip, rng: 0 * clip.wav, embeddings={"mean": spoken})
