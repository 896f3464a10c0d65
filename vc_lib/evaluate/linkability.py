"""What the scores of trials say beyond their equal error rate: linkability, and how distinct voices stay."""

from collections.abc import Sequence

import numpy as np

from ..errors import ParameterError

MAX_BINS = 100  # of the histograms of scores
SCORES_PER_BIN = 10  # at least, of the trials with one speaker


def linkability(
    same: Sequence[float] | np.ndarray, different: Sequence[float] | np.ndarray
) -> float:
    """Global linkability: how surely two utterances of one speaker are linked, over all thresholds.

    Parameters
    ----------
    same, different : sequences of float
        Scores of trials with one speaker and with two. A link is as likely as none before a trial.

    Returns
    -------
    float [0..1; 0: the scores of both kinds are alike, 1: they do not overlap]
        With 100 trials of one speaker, chance alone gives about .07.

    Raises
    ------
    ParameterError
        If there are fewer than 20 scores of one kind.

    References
    ----------
    Gomez-Barrero et al., General framework to evaluate unlinkability in biometric template protection
    systems, IEEE TIFS 13(6), 2018. For speech: Maouche et al., Interspeech 2020.

    Examples
    --------
    >>> round(linkability(np.linspace(0.5, 1, 500), np.linspace(-1, 0.4, 500)), 3)
    1.0
    """
    same, different = (np.asarray(s, float)[np.isfinite(s)] for s in (same, different))
    if min(len(same), len(different)) < 2 * SCORES_PER_BIN:
        raise ParameterError(
            f"linkability needs {2 * SCORES_PER_BIN} scores of each kind, got {len(same)} and {len(different)}"
        )
    n_bins = min(len(same) // SCORES_PER_BIN, MAX_BINS)
    # bins of as many trials with one speaker: scores may have long tails
    edges = np.unique(np.quantile(same, np.linspace(0, 1, n_bins + 1)))
    edges = np.concatenate([[-np.inf], edges[:-1], [np.inf]])
    shares = [np.histogram(s, edges)[0] / len(s) for s in (same, different)]
    total = shares[0] + shares[1]
    # 2 LR / (1 + LR) - 1 of the likelihood ratio LR, and 0 where a link is less likely than none
    local = np.clip((shares[0] - shares[1]) / np.where(total > 0, total, 1), 0, 1)
    return float(shares[0] @ local)


def distinctiveness_gain_db(original: np.ndarray, anonymized: np.ndarray) -> float:
    """Gain of voice distinctiveness: whether speakers can still be told from each other.

    Parameters
    ----------
    original, anonymized : np.ndarray [shape=(n_speakers, n_speakers), 0..1]
        Similarity of each two speakers, before and after: the probability that they are one.

    Returns
    -------
    float [dB; 0: as distinct as before, lower: less; -inf: not at all]

    Raises
    ------
    ParameterError
        If a matrix is not square, has one speaker only, or is not within 0..1, or if speakers could
        not be told apart before.

    References
    ----------
    Noé et al., Speech pseudonymisation assessment using voice similarity matrices, Interspeech 2020.
    """
    before, after = (_diagonal_dominance(m) for m in (original, anonymized))
    if not before:
        raise ParameterError("the original speakers cannot be told apart; use another verifier")
    return float(10 * np.log10(after / before)) if after else -np.inf


def _diagonal_dominance(similarity: np.ndarray) -> float:
    """Mean similarity with oneself, less that with others [0..1]."""
    similarity = np.asarray(similarity, float)
    square = similarity.ndim == 2 and len(set(similarity.shape)) == 1 and len(similarity) > 1
    if not square or not ((similarity >= 0) & (similarity <= 1)).all():
        raise ParameterError(
            f"similarities of shape {similarity.shape} must be square, of 2 speakers or more, within 0..1"
        )
    own = np.eye(len(similarity), dtype=bool)
    return abs(float(similarity[own].mean() - similarity[~own].mean()))
