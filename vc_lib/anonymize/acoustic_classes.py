"""The sounds of a voice: a Gaussian mixture of its cepstra, and what another speaker has in their
place.

No text says what is spoken where: a sound is whatever the mixture of the target tells apart, and the
same one in another's speech is what answers to it there. First all of the other's cepstra are moved
by one affine map, to where the mixture explains them best, as speakers are adapted to in speech
recognition: Gales, Computer Speech and Language 12, 1998. Then each mean is, as in speaker
verification: Reynolds, Quatieri and Dunn, Digital Signal Processing 10, 2000.
"""

import warnings

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import logsumexp, softmax

from ..speaker import AcousticClasses

FRAMES_EACH = 50  # a mixture has no more sounds than this would allow
RELEVANCE = 16.0  # frames of a sound at which half of what was found of it is believed
ROUNDS = 10  # of adaptation
MAX_FRAMES = 20_000  # more say nothing new
MAP_FRAMES = 500.0  # as much as this counts it that the map changes nothing
MAP_STEPS = 30  # of its search
LEAST_VARIANCE = 1e-3
SMOOTH_S = 0.015  # how sharply one sound gives way to the next [s, standard deviation]


def _some(frames: np.ndarray) -> np.ndarray:
    """The frames, or MAX_FRAMES of them, spread evenly."""
    return frames[:: max(1, -(-len(frames) // MAX_FRAMES))]


def fit_gmm(frames: np.ndarray, n_classes: int) -> AcousticClasses | None:
    """Tell the sounds of a speaker apart.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Cepstra of voiced frames, without the level.
    n_classes : int
        How many; fewer where there are less than 50 frames for each.

    Returns
    -------
    AcousticClasses or None
        None if there are not frames enough for two.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture  # slow to import, and only training needs it

    frames = _some(frames)
    n_classes = min(n_classes, len(frames) // FRAMES_EACH)
    if n_classes < 2:
        return None
    mixture = GaussianMixture(
        n_classes, covariance_type="diag", reg_covar=LEAST_VARIANCE, max_iter=40, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough is good enough
        mixture.fit(frames)
    return AcousticClasses(mixture.weights_, mixture.means_, mixture.covariances_)


def class_posteriors(frames: np.ndarray, sounds: AcousticClasses, means=None) -> np.ndarray:
    """How probable each sound, its mean where `means` says, is in each frame [shape=(n_frames, n_classes)]."""
    weights, own, variances = _arrays(sounds)
    means = own if means is None else np.asarray(means)
    return softmax(_log_densities(frames, weights, means, variances), axis=1)


def _arrays(sounds: AcousticClasses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array(sounds.weights), np.array(sounds.means), np.array(sounds.variances)


def _log_densities(frames, weights, means, variances) -> np.ndarray:
    """Of each frame under each sound, weighted, but for a constant [shape=(n_frames, n_classes)]."""
    narrow = 1 / variances
    far = frames**2 @ narrow.T - 2 * frames @ (means * narrow).T + (means**2 * narrow).sum(1)
    return np.log(weights) - (far - np.log(narrow).sum(1)) / 2


def estimate_fmllr(frames: np.ndarray, sounds: AcousticClasses) -> np.ndarray:
    """The affine map of another speaker's cepstra under which the target's sounds explain them best.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Cepstra of voiced frames, their mean and covariance moved to the target's already.
    sounds : AcousticClasses
        The target's.

    Returns
    -------
    np.ndarray [shape=(n_coefficients + 1, n_coefficients)]
        To multiply (frame, 1) with, see `apply_fmllr`. Constrained maximum likelihood linear regression, drawn towards
        no change by as much as 500 frames count.

    References
    ----------
    Gales, Maximum likelihood linear transformations for HMM-based speech recognition, 1998.
    """
    frames = _some(frames)
    n = frames.shape[1]
    unchanged = np.eye(n + 1, n)
    if not len(frames):
        return unchanged
    weights, means, variances = _arrays(sounds)
    centre = weights @ means
    spread = np.sqrt(weights @ (variances + (means - centre) ** 2))
    z = np.column_stack([(frames - centre) / spread, np.ones(len(frames))])
    drawn = MAP_FRAMES / len(frames)

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        move = flat.reshape(n + 1, n)
        sign, log_volume = np.linalg.slogdet(move[:n])
        if sign <= 0:
            return np.inf, np.zeros_like(flat)
        y = z @ move * spread + centre
        log_p = _log_densities(y, weights, means, variances)
        total = logsumexp(log_p, axis=1, keepdims=True)
        share = np.exp(log_p - total)
        pull = share @ (means / variances) - y * (share @ (1 / variances))
        change = move - unchanged
        slope = 2 * drawn * change - z.T @ (pull * spread) / len(z)
        slope[:n] -= np.linalg.inv(move[:n]).T
        return drawn * (change**2).sum() - total.mean() - log_volume, slope.ravel()

    from scipy.optimize import minimize  # here, because analysing recordings does without

    found = minimize(
        cost, unchanged.ravel(), jac=True, method="L-BFGS-B", options=dict(maxiter=MAP_STEPS)
    )
    move = found.x.reshape(n + 1, n)
    # the same map for cepstra as they are: out of deviations around the centre, and back
    matrix = move[:n] / spread[:, None] * spread
    return np.vstack([matrix, move[n] * spread + centre - centre @ matrix])


def apply_fmllr(frames: np.ndarray, fmllr) -> np.ndarray:
    """Frames (n_frames, n_coefficients) after the map that `estimate_fmllr` found."""
    fmllr = np.asarray(fmllr)
    return frames @ fmllr[:-1] + fmllr[-1]


def map_adapt_means(frames: np.ndarray, sounds: AcousticClasses) -> np.ndarray:
    """Where another speaker has the target's sounds.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Cepstra of voiced frames, moved by `estimate_fmllr` already.
    sounds : AcousticClasses
        The target's.

    Returns
    -------
    means : np.ndarray [shape=(n_classes, n_coefficients)]
        Maximum a posteriori: a sound that was not heard stays where the target has it.
    """
    frames, own = _some(frames), np.array(sounds.means)
    means = own
    for _ in range(ROUNDS):
        share = class_posteriors(frames, sounds, means)
        means = (share.T @ frames + RELEVANCE * own) / (share.sum(0)[:, None] + RELEVANCE)
    return means


def shift_class_means(
    frames: np.ndarray, sounds: AcousticClasses, means: np.ndarray, frame_period_s: float
) -> np.ndarray:
    """Frames, in a row, with each sound taken from where `means` has it to where `sounds` does [shape as `frames`]."""
    share = class_posteriors(frames, sounds, means)
    share = gaussian_filter1d(share, SMOOTH_S / frame_period_s, axis=0, mode="nearest")
    return frames + share @ (np.array(sounds.means) - means)
