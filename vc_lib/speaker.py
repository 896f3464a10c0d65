"""Statistics of a speaker: register, envelope, acoustic classes.

`anonymize.statistics` measures them. Those of a target are saved in the config of its voice.
"""

import math
from dataclasses import dataclass

from .errors import ParameterError
from .fields import check, check_number

MAX_CEPSTRUM = 1e6  # largest coefficient or variance; those of speech are under 1e3
NO_NOISE_DB = -300.0  # level of noise that was not measured [dB]

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class AcousticClasses:
    """Gaussian mixture over cepstral coefficients 1 and up: one component for each class."""

    weights: tuple[float, ...]  # (n_classes,) shares of the frames
    means: Matrix  # (n_classes, n_coefficients)
    variances: Matrix  # (n_classes, n_coefficients), diagonal of each covariance

    def __post_init__(self):
        _as_numbers(self, ("weights",), ("means", "variances"))
        widths = [len(row) for row in self.means]
        check(
            0 < len(self.weights) == len(widths)
            and widths == [len(row) for row in self.variances]
            and len(set(widths)) == 1,
            f"AcousticClasses has {len(self.weights)} weights, {len(widths)} means and "
            f"{len(self.variances)} variances; they must agree",
        )
        numbers = (*self.weights, *(v for row in (*self.means, *self.variances) for v in row))
        check(
            all(math.isfinite(v) for v in numbers), "AcousticClasses must hold finite numbers only"
        )
        smallest = min(map(min, self.variances))
        check(
            min(self.weights) > 0 and smallest > 0,
            "weights and variances of AcousticClasses must be > 0",
        )
        largest = max(numbers, key=abs)
        check(
            abs(largest) <= MAX_CEPSTRUM and smallest >= 1 / MAX_CEPSTRUM**2,
            f"AcousticClasses hold {largest:g}, or a variance under {1 / MAX_CEPSTRUM**2:g}; "
            "copy the voice's folder again",
        )


@dataclass(frozen=True)
class SpeakerStats:
    """Register and long-term envelope of a speaker.

    Cepstra are WORLD's mel cepstra (`pyworld.code_spectral_envelope`). They depend on the sampling
    rate.
    """

    sr: int  # sampling rate of the measured speech [Hz]
    f0_hz: float  # register: median F0 of voiced frames [Hz]; 0 if no frame was voiced
    f0_std_semitones: float  # standard deviation of log-F0 around it [semitones]
    level_db: float  # mean power of the envelope over active frames [dB]
    cepstrum_mean: tuple[float, ...]  # (n_cepstra,) mean over active frames
    cepstrum_std: tuple[float, ...]  # (n_cepstra,) standard deviation over active frames
    voiced_mean: tuple[float, ...] = ()  # (n_cepstra,) mean over loud voiced frames; (): unknown
    voiced_cov: Matrix = ()  # (n_cepstra, n_cepstra) covariance over loud voiced frames
    formant_ratio: float = 1.0  # source: factor for its formants before the rest was measured
    classes: AcousticClasses | None = None  # target: acoustic classes of its loud voiced frames
    fmllr: Matrix = ()  # source: affine map, see acoustic_classes.estimate_fmllr
    class_means: Matrix = ()  # source: its means of the target's classes
    noise_db: float = NO_NOISE_DB  # level of the quietest frames, of the noise between words [dB]

    def __post_init__(self):
        check_number("sr", self.sr, 8_000, 192_000, "Hz", whole=True)
        scalars = ("f0_hz", "f0_std_semitones", "level_db", "formant_ratio", "noise_db")
        _as_numbers(
            self,
            ("cepstrum_mean", "cepstrum_std", "voiced_mean"),
            ("voiced_cov", "fmllr", "class_means"),
            scalars,
        )
        coefficients = (
            *self.cepstrum_mean,
            *self.cepstrum_std,
            *self.voiced_mean,
            *(v for row in (*self.voiced_cov, *self.fmllr, *self.class_means) for v in row),
        )
        finite = all(
            math.isfinite(v) for v in (*coefficients, *(getattr(self, n) for n in scalars))
        )
        check(finite, "SpeakerStats must hold finite numbers only; were the recordings silent?")
        self._check_shapes()
        largest = max(coefficients, key=abs)
        check(
            abs(largest) <= MAX_CEPSTRUM,
            f"SpeakerStats hold a coefficient of {largest:g}, must be within {MAX_CEPSTRUM:g}; "
            "copy the voice's folder again",
        )
        check_number("formant_ratio", self.formant_ratio, 0.5, 2)
        check(
            self.f0_hz >= 0 and min(self.f0_std_semitones, *self.cepstrum_std) >= 0,
            "f0_hz and deviations must be >= 0",
        )
        if self.f0_hz:
            check_number("f0_hz", self.f0_hz, 10, 4_000, "Hz (0: nothing was voiced)")
        check_number("f0_std_semitones", self.f0_std_semitones, 0, 120, "semitones")
        check_number("level_db", self.level_db, -400, 400, "dB")
        check_number("noise_db", self.noise_db, -400, 400, "dB")

    def _check_shapes(self):
        """Raise ParameterError if sizes disagree; make `classes` of a dict."""
        check(
            0 < len(self.cepstrum_mean) == len(self.cepstrum_std),
            f"cepstrum_mean has {len(self.cepstrum_mean)} coefficients, "
            f"cepstrum_std {len(self.cepstrum_std)}; they must agree",
        )
        n = len(self.voiced_mean)
        check(
            n in (0, len(self.cepstrum_mean)) and [len(row) for row in self.voiced_cov] == [n] * n,
            f"voiced_mean has {n} coefficients, voiced_cov {len(self.voiced_cov)} rows; both must "
            f"have {len(self.cepstrum_mean)} or none",
        )
        if isinstance(self.classes, dict):  # read from a file
            object.__setattr__(self, "classes", AcousticClasses(**self.classes))
        ok = self.classes is None or isinstance(self.classes, AcousticClasses)
        check(ok, f"classes must be AcousticClasses or None, got {type(self.classes).__name__}")
        check(
            self.classes is None or len(self.classes.means[0]) == n - 1,
            "classes must have one coefficient less than voiced_mean, which includes the level",
        )
        rows = [len(row) for row in self.fmllr]
        check(
            rows in ([], [n - 1] * n),
            f"fmllr has {len(rows)} rows of {sorted(set(rows))} numbers; "
            f"it must have {n} of {n - 1}, or none",
        )


def _as_numbers(stats, vectors: tuple, matrices: tuple, scalars: tuple = ()) -> None:
    """Convert fields of a frozen dataclass to floats and tuples, which can be saved and compared."""
    try:
        for name in scalars:
            object.__setattr__(stats, name, float(getattr(stats, name)))
        for name in vectors:
            object.__setattr__(stats, name, tuple(map(float, getattr(stats, name))))
        for name in matrices:
            rows = tuple(tuple(map(float, row)) for row in getattr(stats, name))
            object.__setattr__(stats, name, rows)
    except (TypeError, ValueError, OverflowError) as e:
        raise ParameterError(
            f"{type(stats).__name__} must hold numbers ({e}); copy the voice's folder again"
        ) from e
