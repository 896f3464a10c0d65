"""Acoustic classes: a Gaussian mixture of the target's cepstra, adapted to a source speaker.

The classes need no transcription: each component of the mixture is one. Two steps find them in the
source's speech. fMLLR moves all cepstra by one affine map to the highest likelihood under the
mixture, as in speech recognition: Gales, Computer Speech and Language 12, 1998. MAP adaptation then
moves each mean, as in speaker verification: Reynolds, Quatieri and Dunn, Digital Signal
Processing 10, 2000.
"""

import warnings

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..parallel import one_blas_thread
from ..speaker import AcousticClasses

FRAMES_EACH = 50  # least number of frames for each class
RELEVANCE = 16.0  # MAP: weight of the target's mean [frames]
ROUNDS = 10  # MAP: number of iterations
MAX_FRAMES = 20_000  # largest number of frames; more do not change the estimates
LEAST_WEIGHT = 1e-30  # of a class; float32 divides by no less
MAP_FRAMES = 500.0  # fMLLR: weight of the identity [frames]
MAP_STEPS = 30  # fMLLR: largest number of iterations
MAP_TOLERANCE = 1e-7  # fMLLR: relative gain of the last iteration
LEAST_VARIANCE = 1e-3  # added to the variances of the mixture
SMOOTH_S = 0.015  # smoothing of the posteriors over time, standard deviation [s]


def _thinned(frames: np.ndarray) -> np.ndarray:
    """At most MAX_FRAMES of the frames, evenly spread."""
    return frames[:: max(1, -(-len(frames) // MAX_FRAMES))]


def fit_gmm(frames: np.ndarray, n_classes: int) -> AcousticClasses | None:
    """Fit the acoustic classes of a speaker.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Cepstra of voiced frames, without the level.
    n_classes : int
        Number of classes; fewer if there are less than 50 frames for each.

    Returns
    -------
    AcousticClasses or None
        None if there are too few frames for two classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture  # slow to import, and only training needs it

    frames = _thinned(frames)
    n_classes = min(n_classes, len(frames) // FRAMES_EACH)
    if n_classes < 2:
        return None
    mixture = GaussianMixture(
        n_classes, covariance_type="diag", reg_covar=LEAST_VARIANCE, max_iter=40, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 40 iterations are close enough
        mixture.fit(frames)
    return AcousticClasses(mixture.weights_, mixture.means_, mixture.covariances_)


def class_posteriors(frames: np.ndarray, classes: AcousticClasses, means=None) -> np.ndarray:
    """Posterior probability of each class in each frame [shape=(n_frames, n_classes)].

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
    classes : AcousticClasses
    means : np.ndarray, optional [shape=(n_classes, n_coefficients)]
        Means in place of those of `sounds`.
    """
    weights, own, variances = (part.astype(np.float32) for part in _arrays(classes))
    means = own if means is None else np.asarray(means, np.float32)
    frames = np.asarray(frames, np.float32)
    return _posteriors(_log_densities(frames.T, weights, means, variances))[0].T


def _arrays(classes: AcousticClasses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances."""
    parts = classes.weights, classes.means, classes.variances
    weights, means, variances = (np.array(part, float) for part in parts)
    return np.maximum(weights / weights.sum(), LEAST_WEIGHT), means, variances


def _log_densities(frames, weights, means, variances) -> np.ndarray:
    """Weighted log-densities of frames (n_coefficients, n_frames), up to a constant.

    They are (n_classes, n_frames), because sums over the first axis are quick.
    """
    precision = 1 / variances
    level = np.log(weights) + (np.log(precision) - means**2 * precision).sum(1) / 2
    both = np.concatenate([precision / -2, means * precision], 1)
    return both @ np.concatenate([frames**2, frames]) + level[:, None]


def _posteriors(log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of log-densities (n_classes, n_frames), and the log-density of each frame."""
    top = log_p.max(0)
    posterior = np.exp(log_p - top)
    total = posterior.sum(0)
    posterior /= total
    return posterior, top + np.log(total)


@one_blas_thread()
def estimate_fmllr(frames: np.ndarray, classes: AcousticClasses) -> np.ndarray:
    """Estimate the affine map of a source's cepstra that makes them most likely under the mixture.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Cepstra of voiced frames, already moved to the target's mean and covariance.
    classes : AcousticClasses
        Classes of the target.

    Returns
    -------
    np.ndarray [shape=(n_coefficients + 1, n_coefficients)]
        Matrix to multiply (frame, 1) with, see `apply_fmllr`. Constrained maximum likelihood
        linear regression (fMLLR), shrunk to the identity with the weight of 500 frames.

    References
    ----------
    Gales, Maximum likelihood linear transformations for HMM-based speech recognition, 1998.
    """
    frames = _thinned(frames)
    n = frames.shape[1]
    identity = np.eye(n + 1, n)
    if not len(frames):
        return identity
    weights, means, variances = _arrays(classes)
    center = weights @ means
    spread = np.sqrt(weights @ (variances + (means - center) ** 2))
    # float64: rounding to float32 depends on where in memory an array lies, and the search amplifies it
    z = np.vstack([((frames - center) / spread).T, np.ones(len(frames))])
    pulls = np.concatenate([means / variances, 1 / variances], 1).T
    shrinkage = MAP_FRAMES / len(frames)

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log-likelihood a frame plus the penalty, and its gradient."""
        move = flat.reshape(n + 1, n)
        sign, log_volume = np.linalg.slogdet(move[:n])
        if sign <= 0:
            return np.inf, np.zeros_like(flat)
        scaled = move * spread
        scaled[n] += center
        y = scaled.T @ z
        log_p = _log_densities(y, weights, means, variances)
        posterior, total = _posteriors(log_p)
        up, down = np.split(pulls @ posterior, 2)
        change = move - identity
        slope = 2 * shrinkage * change - (z @ (up - y * down).T) * (spread / len(frames))
        slope[:n] -= np.linalg.inv(move[:n]).T
        return shrinkage * (change**2).sum() - total.mean() - log_volume, slope.ravel()

    from scipy.optimize import minimize  # imported here, because analysis does not need it

    options = dict(maxiter=MAP_STEPS, ftol=MAP_TOLERANCE)
    result = minimize(cost, identity.ravel(), jac=True, method="L-BFGS-B", options=options)
    move = result.x.reshape(n + 1, n)
    # the same map for cepstra that are not standardized
    matrix = move[:n] / spread[:, None] * spread
    return np.vstack([matrix, move[n] * spread + center - center @ matrix])


def apply_fmllr(frames: np.ndarray, fmllr) -> np.ndarray:
    """Map frames (n_frames, n_coefficients) by the matrix of `estimate_fmllr`."""
    fmllr = np.asarray(fmllr)
    return frames @ fmllr[:-1] + fmllr[-1]


@one_blas_thread()
def map_adapt_means(frames: np.ndarray, classes: AcousticClasses) -> np.ndarray:
    """Adapt the means of the target's classes to a source speaker.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Cepstra of voiced frames, after `apply_fmllr`.
    classes : AcousticClasses
        Classes of the target.

    Returns
    -------
    means : np.ndarray [shape=(n_classes, n_coefficients)]
        Maximum a posteriori estimates; a class without frames keeps the target's mean.
    """
    frames, own = _thinned(frames).astype(np.float32), np.array(classes.means)
    means = own
    for _ in range(ROUNDS):
        posterior = class_posteriors(frames, classes, means)
        counts = posterior.sum(0, dtype=float)[:, None]
        means = (posterior.T @ frames + RELEVANCE * own) / (counts + RELEVANCE)
    return means


@one_blas_thread()
def shift_class_means(
    frames: np.ndarray, classes: AcousticClasses, means: np.ndarray, frame_period_s: float
) -> np.ndarray:
    """Shift each frame by the difference of the class means, target minus source.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_coefficients)]
        Consecutive frames, after `apply_fmllr`.
    classes : AcousticClasses
        Classes of the target.
    means : np.ndarray [shape=(n_classes, n_coefficients)]
        Means of the source, from `map_adapt_means`.
    frame_period_s : float [s]

    Returns
    -------
    np.ndarray [shape=(n_frames, n_coefficients)]
        Shifts are weighted by the posteriors of the classes, smoothed over time.
    """
    posterior = class_posteriors(frames, classes, means)
    posterior = gaussian_filter1d(posterior, SMOOTH_S / frame_period_s, axis=0, mode="nearest")
    return frames + posterior @ (np.array(classes.means) - means)
