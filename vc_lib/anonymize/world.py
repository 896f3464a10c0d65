"""WORLD features (F0, envelope, aperiodicity): analysis, cepstra of the envelope, synthesis."""

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..audio import check_sr, check_wav
from ..audio.wav import _resample
from ..config import AnonymizeConfig
from ..errors import MissingInput, ParameterError
from ..parallel import in_parts
from .cheaptrick import cheaptrick
from .f0_tracker import _find_pitch
from .synthesis import synthesis

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # we pin setuptools
    import pyworld

N_CEPSTRA = 24  # number of cepstral coefficients that describe a speaker
MAX_LOG_POWER = (
    50.0  # natural logarithm of the largest and of the least power of an envelope; float32 holds 88
)
FLOOR_POWER = 1e-16  # lowest power of an envelope, so that logarithms of silence are finite
SR_MIN, SR_MAX = 8_000, 192_000  # range of sampling rates for WORLD [Hz]
SWIFT_CONFIDENCE = 0.07  # threshold of voicing; the package's 0.9 loses most voiced frames
AP_PERIOD_MS = 20.0  # step between frames of D4C, which is slow; lines join them [ms]
NOISE = 1 - 1e-12  # aperiodicity of unvoiced frames, the value of D4C
MIN_SECONDS = 0.1  # shortest clip for WORLD; `analyze` pads shorter ones [s]


@dataclass(frozen=True)
class Features:
    """WORLD features of a recording, one row per frame."""

    f0: np.ndarray  # (n_frames,) float64 [Hz], 0 where unvoiced
    sp: np.ndarray  # (n_frames, fft_size / 2 + 1) float32, power spectral envelope
    ap: np.ndarray  # (n_frames, fft_size / 2 + 1) float64, aperiodicity 0..1
    sr: int  # [Hz]
    frame_period_ms: float

    @property
    def voiced(self) -> np.ndarray:
        """Mask of the voiced frames [shape=(n_frames,), bool]."""
        return self.f0 > 0

    @property
    def times(self) -> np.ndarray:
        """Centers of the frames [shape=(n_frames,), s]."""
        return _times(len(self.f0), self.frame_period_ms)

    def checked(self) -> "Features":
        """Return these features if they can be synthesized; else raise ParameterError."""
        f0, sp, ap = (np.asarray(part) for part in (self.f0, self.sp, self.ap))
        if f0.ndim != 1 or sp.ndim != 2 or sp.shape != ap.shape or len(f0) != len(sp):
            raise ParameterError(
                f"features have shapes f0 {f0.shape}, sp {sp.shape}, ap {ap.shape}; they must be "
                "(n_frames,) and twice (n_frames, n_bins): take them from analyze"
            )
        if not np.isfinite(f0.sum() + sp.sum() + ap.sum()):  # faster than isfinite of each
            raise ParameterError("features hold NaN or infinity; take them from analyze")
        if len(f0) and min(f0.min(), sp.min(), ap.min()) < 0:
            raise ParameterError("features hold negative numbers; take them from analyze")
        return self

    def compact(self) -> "Features":
        """The same features in half the memory: envelope and aperiodicity as float32."""
        return replace(
            self,
            sp=self.sp.astype(np.float32, copy=False),
            ap=self.ap.astype(np.float32, copy=False),
        )

    def __getitem__(self, frames: slice) -> "Features":
        """Features of a range of frames."""
        return replace(self, f0=self.f0[frames], sp=self.sp[frames], ap=self.ap[frames])


def analyze(
    wav: np.ndarray,
    sr: int,
    cfg: AnonymizeConfig | None = None,
    frames: slice = slice(None),
    f0: np.ndarray | None = None,
    aperiodic: bool = True,
) -> Features:
    """Split a recording into F0, spectral envelope and aperiodicity.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    cfg : AnonymizeConfig, optional
        F0 method, F0 range and frame period.
    frames : slice
        Frames to return; F0 is tracked over all frames.
    f0 : np.ndarray, optional [shape=(n_frames,), Hz]
        F0 of all frames, if known.
    aperiodic : bool
        Whether aperiodicity is measured, too. If not, it is that of noise; sound made of grains
        needs none, and `with_aperiodicity` measures it later.

    Returns
    -------
    Features
        `n_samples / sr / frame_period + 1` frames; clips under 0.1 s are padded first.

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, `sr` is not in 8000..192000, `frames` selects nothing,
        or `f0` is no contour.
    MissingInput
        If `cfg.f0_method` needs a package that is not installed.
    """
    cfg = cfg or AnonymizeConfig()
    x = _accept(wav, sr)
    if f0 is not None:
        f0 = np.asarray(f0)
        if f0.ndim != 1 or f0.dtype.kind != "f" or not ((f0 >= 0) & (f0 < sr / 2)).all():
            raise ParameterError(
                f"f0 has shape {f0.shape} and dtype {f0.dtype}, must be (n_frames,) of floats "
                f"in 0..{sr / 2:g} Hz; take it from find_f0"
            )
        f0 = f0.astype(np.float64)
    contour = _f0(x, sr, cfg) if f0 is None else (f0, _times(len(f0), cfg.frame_period_ms))
    f0, times = (np.ascontiguousarray(part[frames]) for part in contour)
    if not len(f0):
        n = len(contour[0])
        raise ParameterError(
            f"frames={frames} selects none of the {n} frames; give a slice within 0..{n}"
        )
    fft_size = pyworld.get_cheaptrick_fft_size(sr, min(cfg.f0_floor, pyworld.default_f0_floor))
    sp = in_parts(lambda part: cheaptrick(x, f0[part], times[part], sr, fft_size), len(f0))
    features = Features(f0, sp, np.full_like(sp, NOISE), sr, cfg.frame_period_ms)
    if not aperiodic:
        return features
    return replace(features, ap=_aperiodicity(x, f0, times, sr, fft_size, cfg.frame_period_ms))


def with_aperiodicity(features: Features, wav: np.ndarray) -> Features:
    """Features of `wav` with their aperiodicity, for those of `analyze` that lack it."""
    f, x = features, _accept(wav, features.sr)
    fft_size = 2 * (f.sp.shape[1] - 1)
    return replace(f, ap=_aperiodicity(x, f.f0, f.times, f.sr, fft_size, f.frame_period_ms))


def spectral_envelope(wav: np.ndarray, like: Features, frames: np.ndarray) -> np.ndarray:
    """CheapTrick's envelope of `wav`, at some frames and the F0 of `like`.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    like : Features
    frames : np.ndarray [shape=(n_frames,), bool]

    Returns
    -------
    np.ndarray [shape=(number of `frames`, n_bins)]
    """
    fft_size = 2 * (like.sp.shape[1] - 1)
    f0, times = like.f0[frames], like.times[frames]
    return in_parts(lambda part: cheaptrick(wav, f0[part], times[part], like.sr, fft_size), len(f0))


def _aperiodicity(x, f0, times, sr: int, fft_size: int, frame_period_ms: float) -> np.ndarray:
    """D4C's aperiodicity [shape=(n_frames, n_bins), 0..1]; all noise where unvoiced.

    D4C runs every AP_PERIOD_MS and at the ends of voiced runs. Straight lines in dB join these.
    """
    step = max(1, round(AP_PERIOD_MS / frame_period_ms))
    number = np.round(times * 1000 / frame_period_ms).astype(int)
    ap = np.full((len(f0), fft_size // 2 + 1), NOISE)
    voiced = np.flatnonzero(f0 > 0)
    if not len(voiced):
        return ap
    new = np.diff(voiced) > 1
    anchors = voiced[(number[voiced] % step == 0) | np.r_[True, new] | np.r_[new, True]]
    # F0 alone decides voicing; D4C's own threshold rejects breathy frames

    def log_aperiodicity(part: slice) -> np.ndarray:
        at = anchors[part]
        return np.log(pyworld.d4c(x, f0[at], times[at], sr, threshold=0.0, fft_size=fft_size))

    log_ap = in_parts(log_aperiodicity, len(anchors))
    high = np.searchsorted(anchors, voiced)
    low = np.maximum(high - (anchors[high] > voiced), 0)
    share = (voiced - anchors[low]) / np.maximum(anchors[high] - anchors[low], 1)
    ap[voiced] = np.exp(log_ap[low] + share[:, None] * (log_ap[high] - log_ap[low]))
    return ap


def find_f0(wav: np.ndarray, sr: int, cfg: AnonymizeConfig) -> np.ndarray:
    """F0 of `analyze` alone, with its parameters and errors [shape=(n_frames,), Hz; 0: unvoiced]."""
    return _f0(_accept(wav, sr), sr, cfg)[0]


def _accept(wav: np.ndarray, sr: int) -> np.ndarray:
    """Check a waveform and make it contiguous float64 of at least `MIN_SECONDS`, for WORLD."""
    if not SR_MIN <= check_sr(sr) <= SR_MAX:  # outside this range WORLD crashes or never returns
        raise ParameterError(
            f"sr={sr} must be in {SR_MIN}..{SR_MAX} Hz for WORLD; resample with load_wav(path, sr=16000)"
        )
    x = np.ascontiguousarray(check_wav(wav), dtype=np.float64)
    return np.pad(x, (0, max(0, int(np.ceil(MIN_SECONDS * sr)) - len(x))))


def _f0(x: np.ndarray, sr: int, cfg: AnonymizeConfig) -> tuple[np.ndarray, np.ndarray]:
    """F0 [Hz] and frame times [s] by the configured method; x is contiguous float64."""
    limits = dict(f0_floor=cfg.f0_floor, f0_ceil=cfg.f0_ceil, frame_period=cfg.frame_period_ms)
    if cfg.f0_method == "harvest":
        return pyworld.harvest(x, sr, **limits)
    if cfg.f0_method == "harvest_fast":
        f0 = _find_pitch(x, sr, cfg.f0_floor, cfg.f0_ceil, cfg.frame_period_ms)
        return f0, _times(len(f0), cfg.frame_period_ms)
    if cfg.f0_method == "dio":
        more = dict(channels_in_octave=4, allowed_range=0.2)  # finds more than the defaults
        f0, times = pyworld.dio(x, sr, **limits, **more)
        return pyworld.stonemask(x, f0, times, sr), times
    if cfg.f0_method == "swift-f0":
        return _swift_f0(x, sr, cfg)
    raise ParameterError(f"f0_method={cfg.f0_method!r} has no tracker; call one here, in _f0")


def _swift_f0(x: np.ndarray, sr: int, cfg: AnonymizeConfig) -> tuple[np.ndarray, np.ndarray]:
    """F0 [Hz] and frame times [s] by the package swift-f0, refined by StoneMask."""
    try:
        from swift_f0 import SwiftF0
    except ImportError as e:
        raise MissingInput(
            "f0_method='swift-f0' needs a package: pip install swift-f0; or use 'harvest' or 'dio'"
        ) from e
    detected = SwiftF0().detect(
        _resample(x.astype(np.float32), sr, 16_000),
        16_000,
        fmin=max(cfg.f0_floor, 46.9),
        fmax=cfg.f0_ceil,
    )
    times = _times(int(len(x) / sr / cfg.frame_period_ms * 1000) + 1, cfg.frame_period_ms)
    voiced = np.interp(times, detected.timestamps, detected.confidence) > SWIFT_CONFIDENCE
    log_hz = np.log(np.maximum(detected.pitch_hz, cfg.f0_floor))
    hz = np.exp(np.interp(times, detected.timestamps, log_hz))
    return pyworld.stonemask(x, np.where(voiced, hz, 0.0), times, sr), times


def _times(n_frames: int, frame_period_ms: float) -> np.ndarray:
    """Centers of frames [s]."""
    return np.arange(n_frames) * frame_period_ms / 1000


def synthesize(
    features: Features, first: int = 0, phase: tuple[int, float] | None = None
) -> np.ndarray:
    """Make a waveform from features.

    Parameters
    ----------
    features : Features
    first : int
        Position of the features in a recording [samples]; the noise depends on the position alone.
    phase : (int, float), optional [samples, periods]
        Phase of the excitation at one sample, to continue the chunk before; see `synthesis.phases`.

    Returns
    -------
    wav : np.ndarray [shape=(n_frames * frame period in samples,), float32]
        The same bytes for the same features. Peaks may exceed 1 a little.

    Raises
    ------
    ParameterError
        If shapes disagree, or a value is negative or not finite.
    """
    features = features.checked()
    f0, sp, ap = features.f0, features.sp, features.ap
    return synthesis(f0, sp, ap, features.sr, features.frame_period_ms, first, phase)


def resynthesize(
    features: Features, n_samples: int, first: int = 0, phase: tuple[int, float] | None = None
) -> np.ndarray:
    """`synthesize`, cut or padded to `n_samples` [shape=(n_samples,), float32, -1..1]."""
    if n_samples < 0:
        raise ParameterError(
            f"n_samples={n_samples} must be at least 0; give the length of the recording"
        )
    out = synthesize(features, first, phase)[:n_samples]
    return np.clip(np.pad(out, (0, n_samples - len(out))), -1, 1)


def cepstrum(features: Features, n_cepstra: int = N_CEPSTRA) -> np.ndarray:
    """WORLD's mel cepstrum of the envelope [shape=(n_frames, n_cepstra)].

    Coefficient 0 is the level.
    """
    _check_coded(n_cepstra, features.sp.shape[1])
    log_sp = np.log(np.maximum(features.sp, FLOOR_POWER))
    to_mc, _ = _coder(features.sr, features.sp.shape[1], int(n_cepstra))
    return (log_sp @ to_mc.astype(log_sp.dtype)).astype(np.float64)


@lru_cache(maxsize=8)
def _coder(sr: int, n_bins: int, n_cepstra: int) -> tuple[np.ndarray, np.ndarray]:
    """WORLD's coder of mel cepstra as two matrices: of log-envelopes to cepstra, and back."""
    to_mc = pyworld.code_spectral_envelope(np.exp(np.eye(n_bins)), sr, n_cepstra)
    to_envelope = pyworld.decode_spectral_envelope(np.eye(n_cepstra), sr, 2 * (n_bins - 1))
    return to_mc, np.log(to_envelope).astype(np.float32)


def envelope_from_cepstrum(mc: np.ndarray, sr: int, n_bins: int) -> np.ndarray:
    """Power envelope whose mel cepstrum is `mc` [shape=(n_frames, n_bins), float32].

    Fewer coefficients give a coarser envelope.
    """
    mc = np.asarray(mc)
    if mc.ndim != 2 or not np.isfinite(mc.sum()):
        raise ParameterError(
            f"mc has shape {mc.shape}, must be (n_frames, n_cepstra) and finite; "
            "take it from cepstrum"
        )
    _check_coded(mc.shape[1], n_bins)
    _, to_envelope = _coder(check_sr(sr), n_bins, mc.shape[1])
    log_power = mc.astype(np.float32) @ to_envelope
    return np.exp(np.clip(log_power, -MAX_LOG_POWER, MAX_LOG_POWER))


def _check_coded(n_cepstra: int, n_bins: int) -> None:
    """Raise ParameterError for sizes with which WORLD writes past its memory."""
    whole = isinstance(n_cepstra, int | np.integer) and isinstance(n_bins, int | np.integer)
    if not whole or n_bins < 17 or (n_bins - 1) & (n_bins - 2) or not 1 <= n_cepstra < n_bins:
        raise ParameterError(
            f"n_bins={n_bins} must be a power of two plus 1, n_cepstra={n_cepstra} in "
            f"1..{n_bins - 1}; take the envelope from analyze"
        )
