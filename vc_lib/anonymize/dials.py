"""Dials: pure transforms of F0, of the envelope and of aperiodicity."""

import math
from itertools import pairwise

import numpy as np

from ..errors import ParameterError
from ..speaker import SpeakerStats
from .world import FLOOR_POWER

VTL_POWER = 0.25  # exponent that turns a ratio of registers into a ratio of formants
MAX_GAIN_DB = 20.0  # largest gain of a clip, so that noise without speech is not amplified [dB]
VTL_RATIOS = (0.8, 1.25)  # smallest and largest ratio of formants


# F0: contours (n_frames,) in Hz, 0 where unvoiced


def shift_f0(f0: np.ndarray, n_semitones: float | np.ndarray) -> np.ndarray:
    """Shift an F0 contour by semitones; unvoiced frames stay 0.

    Examples
    --------
    >>> shift_f0(np.array([0.0, 100.0, 220.0]), n_semitones=12)
    array([  0., 200., 440.])
    """
    return f0 * 2.0 ** (n_semitones / 12)


def constant_f0(f0: np.ndarray, hz: float) -> np.ndarray:
    """Set F0 of every voiced frame to the same value [Hz].

    Examples
    --------
    >>> constant_f0(np.array([0.0, 100.0, 220.0]), hz=150)
    array([  0., 150., 150.])
    """
    return np.where(f0 > 0, float(hz), 0.0)


def recentre_f0(f0: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Move a contour from one register to another; the intonation in semitones stays.

    Examples
    --------
    >>> recentre_f0(np.array([0.0, 100.0, 110.0]), from_hz=100, to_hz=200)
    array([  0., 200., 220.])
    """
    return f0 * (to_hz / from_hz) if from_hz > 0 else f0


def gaussian_f0(f0: np.ndarray, source: SpeakerStats, target: SpeakerStats) -> np.ndarray:
    """Move register and spread of log-F0 to the target's; unvoiced frames stay 0.

    The spread changes by a factor of 0.5..2, and only within an octave of the register: values
    farther out are errors of the F0 tracker and keep their distance. If a spread is unknown, only
    the register moves.
    """
    if min(source.f0_hz, target.f0_hz) <= 0:
        return f0
    spread = 1.0
    if min(source.f0_std_semitones, target.f0_std_semitones) > 0:
        spread = np.clip(target.f0_std_semitones / source.f0_std_semitones, 0.5, 2)
    voiced = f0 > 0
    octaves = np.log2(np.where(voiced, f0, 1) / source.f0_hz)
    far = np.abs(octaves)
    octaves = np.sign(octaves) * np.minimum(far * spread, np.maximum(far, 1))
    return np.where(voiced, target.f0_hz * 2**octaves, 0.0)


def jitter_f0(f0: np.ndarray, n_semitones: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of standard deviation `n_semitones` to F0; unvoiced frames stay 0."""
    return shift_f0(f0, rng.normal(0, n_semitones, len(f0)))


# Envelope: power spectra (n_frames, n_bins)


def between_columns(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Interpolate linearly between columns, at fractional column numbers `position`."""
    low = np.clip(position.astype(int), 0, max(values.shape[1] - 2, 0))
    high = np.minimum(low + 1, values.shape[1] - 1)
    share = (position - low).astype(np.result_type(values, np.float32))
    return values[:, low] * (1 - share) + values[:, high] * share


def scale_formants(sp: np.ndarray, ratio: float) -> np.ndarray:
    """Move every formant to `ratio` times its frequency.

    A ratio above 1 sounds like a shorter vocal tract.
    """
    if ratio == 1:
        return sp
    position = np.minimum(np.arange(sp.shape[1]) / ratio, sp.shape[1] - 1)
    return np.exp(between_columns(np.log(np.maximum(sp, FLOOR_POWER)), position))


def vtl_ratio(f0_hz: float, to_f0_hz: float) -> float:
    """Ratio of the formants of a voice at `to_f0_hz` to those of one at `f0_hz`; 1 if either is 0.

    Higher voices have shorter vocal tracts: an octave of register gives a ratio of 1.19. One ratio
    for all formants is more reliable than the statistics of a few seconds of speech.
    """
    if min(f0_hz, to_f0_hz) <= 0:
        return 1.0
    return float(np.clip((to_f0_hz / f0_hz) ** VTL_POWER, *VTL_RATIOS))


def blur_envelope(sp: np.ndarray, sr: int, width_hz: float) -> np.ndarray:
    """Blur power along frequency with a Gaussian of standard deviation `width_hz`, as in 2019."""
    if width_hz == 0:
        return sp
    sigma = width_hz / (sr / 2 / (sp.shape[1] - 1))  # [bins]
    reach = min(int(np.ceil(4 * sigma)), sp.shape[1] - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    padded = np.pad(sp, ((0, 0), (reach, reach)), mode="reflect")
    spectrum = np.fft.rfft(padded, axis=1) * np.fft.rfft(kernel / kernel.sum(), padded.shape[1])
    return np.maximum(np.fft.irfft(spectrum, padded.shape[1], axis=1)[:, 2 * reach :], FLOOR_POWER)


def highpass_envelope(sp: np.ndarray, f0: np.ndarray, sr: int, db_per_octave: float) -> np.ndarray:
    """Attenuate each voiced frame below its own F0, by `db_per_octave`.

    A voice has no power there. CheapTrick extrapolates its envelope to these frequencies, and
    synthesis would fill it with noise and the skirts of pulses.
    """
    if db_per_octave == 0 or not (f0 > 0).any():
        return sp
    bin_hz = sr / 2 / (sp.shape[1] - 1)
    n_low = min(int(np.ceil(f0.max() / bin_hz)), sp.shape[1])
    hz = bin_hz * np.maximum(np.arange(n_low), 1)  # bin 0 takes the gain of bin 1
    octaves = np.log2(np.maximum(f0, hz[0])[:, None] / hz)
    out = sp.copy()
    out[:, :n_low] *= 10 ** (-db_per_octave * np.maximum(octaves, 0) / 10)
    return out


# Aperiodicity: 0..1 (n_frames, n_bins)


def average_aperiodicity(ap: np.ndarray, n_bands: int) -> np.ndarray:
    """Average aperiodicity in dB over `n_bands` equal bands, joined by lines; 0: no change."""
    if n_bands == 0:
        return ap
    if not 0 < n_bands <= ap.shape[1]:
        raise ParameterError(f"n_bands={n_bands} must be in 0..{ap.shape[1]}, the number of bins")
    db = 20 * np.log10(np.clip(ap, 1e-3, 1.0))
    edges = np.linspace(0, db.shape[1], n_bands + 1).round().astype(int)
    means = np.stack([db[:, a:b].mean(1) for a, b in pairwise(edges)], 1)
    centers = (edges[:-1] + edges[1:] - 1) / 2
    position = np.interp(np.arange(db.shape[1]), centers, np.arange(n_bands))
    return np.exp(between_columns(means, position) * (math.log(10) / 20))


# Level


def with_power(sp: np.ndarray, db: np.ndarray) -> np.ndarray:
    """An envelope with another mean power in each frame: `db` (n_frames,) [dB]."""
    return sp * (10 ** ((db - power_db(sp)) / 10)).astype(sp.dtype)[:, None]


def power_db(sp: np.ndarray) -> np.ndarray:
    """Mean power of each frame of an envelope [shape=(n_frames,), dB]."""
    return 10 * np.log10(np.maximum(sp.mean(1).astype(float), FLOOR_POWER))
