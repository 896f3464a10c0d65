"""The semi-informed attacker, on embeddings whose answer is known."""

import numpy as np
import pytest

from vc_lib.errors import ParameterError
from vc_lib.evaluate.attackers import TrainedScorer
from vc_lib.evaluate.privacy import equal_error_rate

N_DIMENSIONS, N_OF_SPEAKER = 30, 3


def utterances(n_speakers, n_utterances, rng, disguise=3.0):
    """Embeddings: a few directions hold the speaker, the others a disguise that is drawn anew each time."""
    speakers = rng.normal(size=(n_speakers, 1, N_OF_SPEAKER))
    own = speakers + 0.1 * rng.normal(size=(n_speakers, n_utterances, N_OF_SPEAKER))
    drawn = disguise * rng.normal(size=(n_speakers, n_utterances, N_DIMENSIONS - N_OF_SPEAKER))
    mixed = np.linalg.qr(np.random.default_rng(9).normal(size=(N_DIMENSIONS, N_DIMENSIONS)))[0]
    return np.concatenate([own, drawn], axis=2) @ mixed


def eer(scores):
    same = np.eye(len(scores), dtype=bool)
    return equal_error_rate(scores[same], scores[~same])[0]


def cosines(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    others = utterances(60, 6, rng)
    return TrainedScorer(others.reshape(-1, N_DIMENSIONS), np.repeat(np.arange(60), 6))


def test_it_finds_what_a_disguise_leaves_of_speakers_it_has_never_seen(trained):
    rng = np.random.default_rng(1)
    for _ in range(3):
        first, second = utterances(40, 2, rng).transpose(1, 0, 2)
        assert eer(cosines(first, second)) > 0.35, "hidden from a verifier that was not trained"
        assert eer(trained.scores(first, second)) < 0.2


def test_it_finds_nothing_where_nothing_is_left(trained):
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(2, 200, N_DIMENSIONS))
    assert 0.4 < eer(trained.scores(*noise)) < 0.6


def test_scores_are_log_likelihood_ratios(trained):
    """So a threshold of 0 is the best where half of the trials are of one speaker."""
    first, second = utterances(300, 2, np.random.default_rng(3)).transpose(1, 0, 2)
    scores = trained.scores(first, second)
    same = np.eye(len(scores), dtype=bool)
    errors = ((scores[same] < 0).mean() + (scores[~same] >= 0).mean()) / 2
    assert abs(errors - eer(scores)) < 0.05
    assert np.allclose(trained.scores(second, first), scores.T), "enrolment and trial are alike"


def test_more_utterances_of_enrolment_help(trained):
    rng = np.random.default_rng(4)
    one, five = [], []
    for _ in range(4):
        parts = utterances(40, 6, rng)
        one.append(eer(trained.scores(parts[:, 0], parts[:, 5])))
        five.append(eer(trained.scores(parts[:, :5].mean(1), parts[:, 5])))
    assert np.mean(five) < np.mean(one)


def test_rejects_what_cannot_be_learned_from():
    rng = np.random.default_rng(0)
    with pytest.raises(ParameterError, match="3 speakers or more"):
        TrainedScorer(rng.normal(size=(4, 5)), [0, 0, 1, 1])
    with pytest.raises(ParameterError, match="2 utterances of each"):
        TrainedScorer(rng.normal(size=(5, 5)), [0, 0, 1, 1, 2])
    with pytest.raises(ParameterError, match="must be finite"):
        TrainedScorer(np.full((6, 5), np.nan), [0, 0, 1, 1, 2, 2])
