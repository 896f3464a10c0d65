"""Strong attackers, on systems whose answer is known.

A voice is a chord: the levels of its tones say who sings. Embeddings are these levels.
"""

import time

import numpy as np
import pytest

from vc_lib.errors import ParameterError
from vc_lib.evaluate import Clip, privacy
from vc_lib.evaluate.privacy_attack import (
    ATTACKERS,
    INFORMED,
    attack,
    attack_scores,
    attack_trials,
    cost,
    unchanged,
)

SR, N_SAMPLES, N_TONES = 8_000, 1_600, 10  # of a half
TONES = np.sin(2 * np.pi * 200 * np.outer(np.arange(1, N_TONES + 1), np.arange(N_SAMPLES)) / SR)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Intervals need 500 resamples; their order does not."""
    monkeypatch.setattr(privacy, "N_DRAWS", 25)


def chord(log_levels, rng, noise=0.02):
    """One half of a clip: tones of these levels, which differ a little from half to half."""
    levels = np.exp(log_levels + 0.05 * rng.normal(size=len(log_levels)))
    return 0.02 * levels @ TONES[: len(levels)] + 0.02 * noise * rng.normal(size=N_SAMPLES)


def log_levels(wav, sr=SR):
    """Levels of the tones of a half [shape=(N_TONES,), of length 1]."""
    found = np.log(np.abs(TONES @ wav) / (N_SAMPLES / 2) / 0.02 + 1e-3)
    return found / np.linalg.norm(found)


def crowd(n, seed):
    rng = np.random.default_rng(seed)
    voices = 0.8 * rng.normal(size=(n, N_TONES))
    halves = [[chord(voice, rng) for _ in range(2)] for voice in voices]
    return {f"{seed} {i}": Clip(np.concatenate(pair), SR) for i, pair in enumerate(halves)}


@pytest.fixture(scope="module")
def attacked():
    """`attacked(system, **settings)`: what the attackers find of 16 chords."""
    clips, others = crowd(16, 1), crowd(40, 2)
    embeddings = {"speaker": log_levels, "cepstra": lambda wav, sr: log_levels(wav)[::-2]}
    return lambda system, **settings: attack(
        clips, others, system, embeddings=embeddings, **settings
    )


def one_voice(clip, rng):
    """The same chord for everybody."""
    return chord(np.linspace(-1, 1, N_TONES), rng, noise=1)


def another_voice(clip, rng):
    """A chord that is drawn each time."""
    return chord(rng.normal(size=N_TONES), rng)


def leaking(clip, rng):
    """A chord that is drawn each time, apart from one of the speaker's tones."""
    levels = 2 * rng.normal(size=N_TONES)
    levels[-1] = np.log(np.abs(TONES[0] @ clip.wav) / (N_SAMPLES / 2) / 0.02)
    return chord(levels, rng)


def test_nobody_is_hidden_by_doing_nothing(attacked):
    found = attacked(unchanged)
    assert max(found[name] for name in ATTACKERS) < 0.05
    assert found["linkability"] > 0.9 and found["worst_linkability"] > 0.9
    assert found["distinctiveness_gain_db"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("system", [one_voice, another_voice])
def test_everybody_is_hidden_where_nothing_is_left(attacked, system):
    found = attacked(system)
    assert min(found[name] for name in ATTACKERS) == pytest.approx(0.5, abs=0.16)
    assert found["eer"] == pytest.approx(0.5, abs=0.1)
    assert found["distinctiveness_gain_db"] < -5 and found["linkability"] < 0.35
    for name in (*ATTACKERS, "worst_case"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]


def test_a_trained_attacker_finds_what_leaks(attacked):
    found = attacked(leaking)
    assert found["eer_informed"] > 0.3 and found["eer"] > 0.3
    assert found["worst_case"] < 0.25 and found["worst_attacker"] in INFORMED[2:]
    assert found["worst_linkability"] > found["linkability"]


def test_worst_case_is_the_best_informed_attacker(attacked):
    found = attacked(leaking, n_draws=2)
    assert found["worst_case"] == min(found[name] for name in INFORMED)
    assert found["worst_case"] == found[found["worst_attacker"]]
    assert found["worst_case_high"] == found[f"{found['worst_attacker']}_high"]


def test_more_draws_of_the_enrolment_help_an_attacker(attacked):
    found = attacked(leaking, n_draws=8)
    assert found["both_many"] <= found["both"]


def test_a_system_without_random_numbers_needs_one_draw(attacked):
    found = attacked(unchanged, n_draws=0)
    assert found == attacked(unchanged, n_draws=3)
    assert found["eer_informed"] == found["eer_informed_many"]


def test_the_same_attack_has_the_same_result_in_processes(attacked):
    assert attacked(leaking, n_draws=1, n_jobs=2) == attacked(leaking, n_draws=1)


def test_rejects_one_speaker():
    with pytest.raises(ParameterError, match="at least 2 speakers, got 1"):
        attack(crowd(1, 1), crowd(3, 2), unchanged)


# Trials


def embedded(n, n_draws, rng, noise=0.1):
    """Random embeddings of speakers, alike in both halves and all draws."""
    own = rng.normal(size=(n, 1, 1, 6))
    return {
        name: own + noise * rng.normal(size=(n, 2, n_draws, 6)) for name in ("speaker", "cepstra")
    }


def test_the_utterance_on_trial_is_not_enrolled():
    """Draw 0 alone tells who speaks, the others do not: no informed attacker succeeds."""
    rng = np.random.default_rng(0)
    hidden = embedded(20, 4, rng)
    for draws in hidden.values():
        draws[:, :, 1:] = rng.normal(size=draws[:, :, 1:].shape)
    scores = attack_scores(attack_trials(hidden, hidden, embedded(30, 2, rng)))
    assert scores["eer"] < 0.05 and min(scores[name] for name in INFORMED) > 0.3
    assert scores["worst_attacker"] == "eer", "who has the anonymizer need not use it"


def test_speech_without_an_embedding_does_not_count():
    rng = np.random.default_rng(0)
    known, hidden, training = (embedded(n, d, rng) for n, d in ((12, 1), (12, 3), (20, 1)))
    whole = attack_scores(attack_trials(known, hidden, training))
    for part in (*hidden.values(), *training.values()):
        part[3, 1] = np.nan
    for part in hidden.values():
        part[5, 0, 1] = np.nan
    trials = attack_trials(known, hidden, training)
    assert np.isnan(trials["eer"][0, :, 3]).all() and np.isfinite(trials["eer"][1, :, 3]).all()
    assert np.isnan(trials["both"][0, 5]).all() and np.isfinite(trials["both_many"][0, 5, :3]).all()
    scores = attack_scores(trials)
    assert set(scores) == set(whole) and scores["worst_case"] < 0.05


def test_scores_of_some_speakers_are_of_their_trials_alone():
    rng = np.random.default_rng(0)
    known, training = embedded(12, 1, rng), embedded(20, 1, rng)
    hidden = {name: part.copy() for name, part in known.items()}
    for part in hidden.values():
        part[::2] = rng.normal(size=part[::2].shape)
    trials = attack_trials(known, hidden, training)
    even, odd = (attack_scores(trials, range(i, 12, 2)) for i in (0, 1))
    assert even["worst_case"] > 0.2 and odd["worst_case"] < 0.05
    assert np.isnan(odd["linkability"]), "too few trials"


# Cost


def test_cost_is_measured_on_whole_clips(voice):
    clips = {f"{f0}": Clip(voice(1.0, f0=f0), 16_000, "dio") for f0 in (110, 150)}
    durations = []

    def busy(clip, rng):
        durations.append(len(clip.wav) / clip.sr)
        assert "features" not in vars(clip), "the analysis is a part of the cost"
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return clip.wav

    found = cost(clips, busy, only=("source_log_f0_corr",))
    assert durations == [1, 1] and set(found) == {"source_log_f0_corr", "rtf"}
    assert found["source_log_f0_corr"] == pytest.approx(1) and found["rtf"] >= 0.2
