"""A verifier that was trained on anonymized speech of other speakers: the semi-informed attacker.

It knows the anonymizer, but not its random numbers, and none of the speakers it attacks. So it
learns which directions of an embedding the anonymizer leaves alone.
"""

import numpy as np
from scipy.linalg import eigh

from ..errors import ParameterError

N_WHITENED = 100  # principal components of embeddings that are kept
SHRINKAGE = 0.02  # of the covariance within speakers, towards a multiple of the unit matrix


class TrainedScorer:
    """Log likelihood ratios of trials, by what told other speakers apart.

    Embeddings are standardized and reduced to their principal components. Then probabilistic linear
    discriminant analysis (PLDA) with two covariances, between and within speakers, which are made
    diagonal together.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_utterances, n_dimensions)]
        Of anonymized utterances, each with a pseudo-speaker of its own.
    speakers : sequence of length n_utterances
        Who spoke each: three speakers or more, two utterances of each or more.

    Raises
    ------
    ParameterError
        If there are too few utterances or speakers, or a value is not finite.

    References
    ----------
    The semi-informed attacker: Srivastava et al., ICASSP 2020. PLDA: Ioffe, ECCV 2006.
    """

    def __init__(self, embeddings: np.ndarray, speakers):
        embeddings, speakers = _checked(embeddings), np.asarray(speakers)
        names, index, counts = np.unique(speakers, return_inverse=True, return_counts=True)
        if len(speakers) != len(embeddings) or len(names) < 3 or counts.min() < 2:
            raise ParameterError(
                f"{len(embeddings)} embeddings of {len(names)} speakers, {len(speakers)} labels: give one label "
                "an embedding, 3 speakers or more, 2 utterances of each or more"
            )
        self._mean, self._scale = embeddings.mean(0), np.maximum(embeddings.std(0), 1e-12)
        standard = (embeddings - self._mean) / self._scale
        n_kept = min(N_WHITENED, embeddings.shape[1], len(embeddings) - len(names))
        self._components = np.linalg.svd(standard, full_matrices=False)[2][:n_kept].T
        x = standard @ self._components
        means = np.array([x[index == i].mean(0) for i in range(len(names))])
        deviations = x - means[index]
        within = deviations.T @ deviations / (len(x) - len(names))
        unit = np.trace(within) / len(within) * np.eye(len(within))
        within = (1 - SHRINKAGE) * within + SHRINKAGE * unit
        variances, self._directions = eigh(np.cov(means.T), within)
        # variance between speakers where that within them is 1; means of few utterances vary more
        between = variances - (1 / counts).mean()
        self._directions = self._directions[:, between > 0]
        self._between = between[between > 0]

    def scores(self, enrolled: np.ndarray, tested: np.ndarray) -> np.ndarray:
        """Scores of all trials [shape=(n_enrolled, n_tested); over 0: rather one speaker].

        Parameters
        ----------
        enrolled, tested : np.ndarray [shape=(n, n_dimensions)]
            Embeddings; several utterances of one speaker are averaged first.
        """
        a, b = (self._projected(part) for part in (enrolled, tested))
        between, total = self._between, self._between + 1
        det = total**2 - between**2
        own = -0.5 * (total / det - 1 / total)
        constant = -0.5 * np.log(det / total**2).sum()
        return constant + (a**2 @ own)[:, None] + (b**2 @ own) + (a * (between / det)) @ b.T

    def _projected(self, embeddings: np.ndarray) -> np.ndarray:
        standard = (_checked(embeddings) - self._mean) / self._scale
        return standard @ self._components @ self._directions


def _checked(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, float)
    if embeddings.ndim != 2 or not embeddings.size or not np.isfinite(embeddings).all():
        raise ParameterError(
            f"embeddings of shape {embeddings.shape} must be finite and (utterances, dimensions)"
        )
    return embeddings
