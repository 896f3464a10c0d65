"""Linkability and distinctiveness, on scores whose answer is known."""

import numpy as np
import pytest

from vc_lib.errors import ParameterError
from vc_lib.evaluate.linkability import distinctiveness_gain_db, linkability


def test_scores_of_one_distribution_cannot_be_linked():
    rng = np.random.default_rng(0)
    assert linkability(rng.normal(size=20_000), rng.normal(size=20_000)) < 0.05


def test_scores_that_do_not_overlap_are_linked_surely():
    rng = np.random.default_rng(0)
    assert linkability(rng.uniform(1, 2, 500), rng.uniform(-1, 0.5, 500)) == pytest.approx(1)


def test_half_an_overlap_of_uniform_scores_has_the_value_of_the_formula():
    """Same: 0..2, different: 1..3. Above 1 the densities agree: 0. Below 1 only `same` has scores: 1."""
    rng = np.random.default_rng(0)
    # half of the mass of `different` lies in the overlap, so does half of that of `same`
    value = linkability(rng.uniform(0, 2, 50_000), rng.uniform(1, 3, 50_000))
    assert value == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_two_normal_distributions_have_the_value_of_the_integral(shift):
    x = np.linspace(-8, 8 + shift, 20_001)
    same, different = (np.exp(-((x - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (shift, 0))
    local = np.clip((same - different) / (same + different), 0, 1)
    expected = float((same * local).sum() * (x[1] - x[0]))
    rng = np.random.default_rng(1)
    value = linkability(rng.normal(shift, 1, 50_000), rng.normal(0, 1, 50_000))
    assert value == pytest.approx(expected, abs=0.03)


def test_few_scores_are_refused_and_nan_does_not_count():
    with pytest.raises(ParameterError, match="20 scores of each kind, got 19 and 30"):
        linkability([np.nan, *range(19)], range(30))


def test_distinctiveness_of_known_matrices():
    sharp, flat = 0.9 * np.eye(4) + 0.05, np.full((4, 4), 0.5)
    assert distinctiveness_gain_db(sharp, sharp) == 0
    assert distinctiveness_gain_db(sharp, 0.5 * sharp) == pytest.approx(-3.01, abs=0.01)
    assert distinctiveness_gain_db(sharp, flat) == -np.inf
    with pytest.raises(ParameterError, match="cannot be told apart"):
        distinctiveness_gain_db(flat, sharp)
    with pytest.raises(ParameterError, match="must be square"):
        distinctiveness_gain_db(sharp[:3], sharp)
