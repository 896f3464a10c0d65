"""Strip a recording of its speaker with the WORLD vocoder: small pure transforms, each a dial,
joined by presets.

Sound is taken apart into F0, spectral envelope and aperiodicity (`analyze`), each is changed, and
the parts are put together again (`synthesize`); `anonymize` does all of it. WORLD: Morise et al.,
IEICE Trans. E99-D(7), 2016.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .audio import check_sr, check_wav, resample
from .config import AnonymizeConfig, SpeakerStats
from .errors import MissingInput, ParameterError
from .pitch import find_pitch
from .sounds import apply_fmllr, estimate_fmllr, fit_gmm, map_adapt_means, shift_class_means
from .synthesis import synthesis

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # we pin setuptools
    import pyworld

N_CEPSTRA = 24  # coefficients that describe a speaker's long-term envelope
N_BENDS = 32  # bends in the space of the cepstrum that a random disguise makes
LEAST_SPREAD = 1e-4  # of the mean variance: the least that a direction is taken to vary
MAX_STRETCH = 3.0  # of a direction in the cepstrum's space
BEND = 1.5  # how far across a bend a speaker's frames are spread [deviations]
FLOOR_POWER = 1e-16  # keeps logarithms finite in digital silence
MAX_GAIN_DB = 20.0  # for a whole clip: where nobody speaks the room must not be made loud [dB]
VTL_POWER = 0.25  # of the ratio of two registers: the ratio of the formants
VTL_RATIOS = (0.8, 1.25)  # the least and the most of it
SHRINK_FRAMES = 100  # as much as this counts the prior against a clip's own means and deviations
SHRINK_COVARIANCE_FRAMES = 800  # likewise of voiced frames: a covariance takes more to know
SR_MIN, SR_MAX = 8_000, 192_000  # [Hz]
SWIFT_CONFIDENCE = 0.07  # voiced above it; the package's own 0.9 loses most voiced frames
AP_PERIOD_MS = (
    20.0  # how often aperiodicity is looked for: it changes slowly, and D4C is WORLD's slowest part
)
NOISE = 1 - 1e-12  # aperiodicity of what has no pitch, as D4C gives it
MIN_SECONDS = 0.1  # WORLD needs some periods; shorter clips are padded inside `analyze`


@dataclass(frozen=True)
class Features:
    """WORLD's three parts of a recording, one row per frame."""

    f0: np.ndarray  # (n_frames,) float64 [Hz], 0 where unvoiced
    sp: np.ndarray  # (n_frames, fft_size / 2 + 1) float64, power spectral envelope
    ap: np.ndarray  # (n_frames, fft_size / 2 + 1) float64, aperiodicity 0..1
    sr: int  # [Hz]
    frame_period_ms: float

    @property
    def voiced(self) -> np.ndarray:
        """Frames that have a pitch [shape=(n_frames,), bool]."""
        return self.f0 > 0

    @property
    def times(self) -> np.ndarray:
        """Centre of each frame [shape=(n_frames,), s]."""
        return _times(len(self.f0), self.frame_period_ms)

    def checked(self) -> "Features":
        """These, or a ParameterError that says what cannot be put together again."""
        f0, sp, ap = (np.asarray(part) for part in (self.f0, self.sp, self.ap))
        if f0.ndim != 1 or sp.ndim != 2 or sp.shape != ap.shape or len(f0) != len(sp):
            raise ParameterError(
                f"features have shapes f0 {f0.shape}, sp {sp.shape}, ap {ap.shape}; they must be (n_frames,) and twice "
                "(n_frames, n_bins): take them from analyze"
            )
        if not np.isfinite(f0.sum() + sp.sum() + ap.sum()):  # a sum tells, and is quick
            raise ParameterError("features hold NaN or infinity; take them from analyze")
        if len(f0) and min(f0.min(), sp.min(), ap.min()) < 0:
            raise ParameterError("features hold negative numbers; take them from analyze")
        return self

    def compact(self) -> "Features":
        """The same in half the memory: envelope and aperiodicity as float32."""
        return replace(self, sp=self.sp.astype(np.float32), ap=self.ap.astype(np.float32))

    def __getitem__(self, frames: slice) -> "Features":
        """The same features over a range of frames."""
        return replace(self, f0=self.f0[frames], sp=self.sp[frames], ap=self.ap[frames])


def analyze(
    wav: np.ndarray,
    sr: int,
    cfg: AnonymizeConfig | None = None,
    frames: slice = slice(None),
    f0: np.ndarray | None = None,
) -> Features:
    """Take a recording apart into F0, spectral envelope and aperiodicity.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    cfg : AnonymizeConfig, optional
        Gives the F0 method and range and the frame period.
    frames : slice
        Those that are wanted; pitch is followed over all.
    f0 : np.ndarray, optional [shape=(n_frames,), Hz]
        The pitch of all frames, if it is known.

    Returns
    -------
    Features
        With `n_samples / sr / frame_period + 1` frames (clips under 0.1 s are padded to that
        first).

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, or `sr` not in 8000..192000.
    MissingInput
        If `cfg.f0_method` needs a package that is not installed.
    """
    cfg = cfg or AnonymizeConfig()
    x = _checked(wav, sr)
    if f0 is not None:
        f0 = np.asarray(f0)
        if f0.ndim != 1 or f0.dtype.kind != "f" or not ((f0 >= 0) & (f0 < sr / 2)).all():
            raise ParameterError(
                f"f0 has shape {f0.shape} and dtype {f0.dtype}, must be (n_frames,) in Hz, 0 or more and under "
                f"{sr / 2:g}; take it from find_f0"
            )
        f0 = f0.astype(np.float64)
    found = _f0(x, sr, cfg) if f0 is None else (f0, _times(len(f0), cfg.frame_period_ms))
    f0, times = (np.ascontiguousarray(part[frames]) for part in found)
    if not len(f0):
        raise ParameterError(f"frames={frames} holds none of {len(found[0])} frames; ask for some")
    fft_size = pyworld.get_cheaptrick_fft_size(sr, min(cfg.f0_floor, pyworld.default_f0_floor))
    sp = pyworld.cheaptrick(x, f0, times, sr, fft_size=fft_size)
    ap = _aperiodicity(x, f0, times, sr, fft_size, cfg.frame_period_ms)
    return Features(f0, sp, ap, sr, cfg.frame_period_ms)


def _aperiodicity(x, f0, times, sr: int, fft_size: int, frame_period_ms: float) -> np.ndarray:
    """D4C's aperiodicity, found every AP_PERIOD_MS and at the ends of voiced runs, with straight lines [dB]
    between; all noise where unvoiced."""
    step = max(1, round(AP_PERIOD_MS / frame_period_ms))
    number = np.round(times * 1000 / frame_period_ms).astype(int)
    ap = np.full((len(f0), fft_size // 2 + 1), NOISE)
    voiced = np.flatnonzero(f0 > 0)
    if not len(voiced):
        return ap
    new = np.diff(voiced) > 1
    found = voiced[(number[voiced] % step == 0) | np.r_[True, new] | np.r_[new, True]]
    # F0 alone decides what is voiced; D4C's own test undoes breathy frames
    log_ap = np.log(pyworld.d4c(x, f0[found], times[found], sr, threshold=0.0, fft_size=fft_size))
    high = np.searchsorted(found, voiced)
    low = np.maximum(high - (found[high] > voiced), 0)
    share = (voiced - found[low]) / np.maximum(found[high] - found[low], 1)
    ap[voiced] = np.exp(log_ap[low] + share[:, None] * (log_ap[high] - log_ap[low]))
    return ap


def find_f0(wav: np.ndarray, sr: int, cfg: AnonymizeConfig) -> np.ndarray:
    """The pitch alone of what `analyze` finds, with its parameters and errors [shape=(n_frames,), Hz; 0: unvoiced]."""
    return _f0(_checked(wav, sr), sr, cfg)[0]


def _checked(wav: np.ndarray, sr: int) -> np.ndarray:
    """A waveform as WORLD takes it: contiguous float64, `MIN_SECONDS` long at least."""
    if not SR_MIN <= check_sr(sr) <= SR_MAX:  # outside of it WORLD fails, or never returns
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
        f0 = find_pitch(x, sr, cfg.f0_floor, cfg.f0_ceil, cfg.frame_period_ms)
        return f0, _times(len(f0), cfg.frame_period_ms)
    if cfg.f0_method == "dio":
        f0, times = pyworld.dio(
            x, sr, **limits, channels_in_octave=4, allowed_range=0.2
        )  # finds more than the defaults
        return pyworld.stonemask(x, f0, times, sr), times
    try:
        from swift_f0 import SwiftF0
    except ImportError as e:
        raise MissingInput(
            "f0_method='swift-f0' needs a package: pip install swift-f0; or use 'harvest' or 'dio'"
        ) from e
    found = SwiftF0().detect(
        resample(x.astype(np.float32), sr, 16_000),
        16_000,
        fmin=max(cfg.f0_floor, 46.9),
        fmax=cfg.f0_ceil,
    )
    times = _times(int(len(x) / sr / cfg.frame_period_ms * 1000) + 1, cfg.frame_period_ms)
    sure = np.interp(times, found.timestamps, found.confidence) > SWIFT_CONFIDENCE
    hz = np.exp(
        np.interp(times, found.timestamps, np.log(np.maximum(found.pitch_hz, cfg.f0_floor)))
    )
    return pyworld.stonemask(x, np.where(sure, hz, 0.0), times, sr), times


def _times(n_frames: int, frame_period_ms: float) -> np.ndarray:
    """Centres of frames [s]."""
    return np.arange(n_frames) * frame_period_ms / 1000


def synthesize(
    features: Features, first: int = 0, phase: tuple[int, float] | None = None
) -> np.ndarray:
    """Put features together again.

    Parameters
    ----------
    features : Features
    first : int
        Where in a recording they begin [samples]: there is the same noise at the same place.
    phase : (int, float), optional
        At which sample the voice is where in its period, see `synthesis.phases`.

    Returns
    -------
    wav : np.ndarray [shape=(n_frames * frame period in samples,), float32]
        The same bytes for the same features; may pass +-1 a little.

    Raises
    ------
    ParameterError
        If shapes differ, or a value is negative or not finite.
    """
    features = features.checked()
    f0, sp, ap = features.f0, features.sp, features.ap
    return synthesis(f0, sp, ap, features.sr, features.frame_period_ms, first, phase)


def resynthesize(
    features: Features, n_samples: int, first: int = 0, phase: tuple[int, float] | None = None
) -> np.ndarray:
    """`synthesize` for as long as the original was [shape=(n_samples,), float32, -1..1]."""
    if n_samples < 0:
        raise ParameterError(
            f"n_samples={n_samples} must be at least 0; give the original's length"
        )
    out = synthesize(features, first, phase)[:n_samples]
    return np.clip(np.pad(out, (0, n_samples - len(out))), -1, 1)


# F0: each takes and gives a contour in Hz with 0 where unvoiced


def shift_f0(f0: np.ndarray, n_semitones: float | np.ndarray) -> np.ndarray:
    """Shift a pitch contour, leaving unvoiced frames at zero.

    Examples
    --------
    >>> shift_f0(np.array([0.0, 100.0, 220.0]), n_semitones=12)
    array([  0., 200., 440.])
    """
    return f0 * 2.0 ** (n_semitones / 12)


def constant_f0(f0: np.ndarray, hz: float) -> np.ndarray:
    """Give every voiced frame the same pitch [Hz].

    Examples
    --------
    >>> constant_f0(np.array([0.0, 100.0, 220.0]), hz=150)
    array([  0., 150., 150.])
    """
    return np.where(f0 > 0, float(hz), 0.0)


def recentre_f0(f0: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Move a contour from one register to another; intonation, counted in semitones, stays.

    Examples
    --------
    >>> recentre_f0(np.array([0.0, 100.0, 110.0]), from_hz=100, to_hz=200)
    array([  0., 200., 220.])
    """
    return f0 * (to_hz / from_hz) if from_hz > 0 else f0


def gaussian_f0(f0: np.ndarray, source: SpeakerStats, target: SpeakerStats) -> np.ndarray:
    """Move register and spread of log-F0 to the target's; unvoiced frames stay 0.

    The spread by a factor of 0.5..2, but no farther out than an octave from the register: what is
    there is a slip of the pitch tracker, and stays as far off as it was. Where the target's or the
    source's spread is not known only the register moves.
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
    """Add Gaussian noise [semitones, standard deviation] to each voiced frame; unvoiced frames stay at zero."""
    return shift_f0(f0, rng.normal(0, n_semitones, len(f0)))


# Envelope: each takes and gives a power spectrum (n_frames, n_bins)


def between_columns(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Values on the straight lines between columns, at fractional column numbers `position`."""
    low = np.clip(position.astype(int), 0, max(values.shape[1] - 2, 0))
    high = np.minimum(low + 1, values.shape[1] - 1)
    share = position - low
    return values[:, low] * (1 - share) + values[:, high] * share


def scale_formants(sp: np.ndarray, ratio: float) -> np.ndarray:
    """Move every formant to `ratio` times its frequency; above 1 sounds like a shorter vocal tract."""
    if ratio == 1:
        return sp
    position = np.minimum(np.arange(sp.shape[1]) / ratio, sp.shape[1] - 1)
    return np.exp(between_columns(np.log(np.maximum(sp, FLOOR_POWER)), position))


def vtl_ratio(f0_hz: float, to_f0_hz: float) -> float:
    """What brings the formants of a voice of one register near to those of another; 1 if either is 0.

    A voice twice as high has formants 19 % higher here, for its vocal tract is shorter: what one
    ratio can do to all formants alike need not be left to statistics of a few seconds.
    """
    if min(f0_hz, to_f0_hz) <= 0:
        return 1.0
    return float(np.clip((to_f0_hz / f0_hz) ** VTL_POWER, *VTL_RATIOS))


def blur_envelope(sp: np.ndarray, sr: int, width_hz: float) -> np.ndarray:
    """Blur power along frequency with a Gaussian of `width_hz` [Hz, standard deviation], as the 2019 method did."""
    if width_hz == 0:
        return sp
    sigma = width_hz / (sr / 2 / (sp.shape[1] - 1))  # [bins]
    reach = min(int(np.ceil(4 * sigma)), sp.shape[1] - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    padded = np.pad(sp, ((0, 0), (reach, reach)), mode="reflect")
    spectrum = np.fft.rfft(padded, axis=1) * np.fft.rfft(kernel / kernel.sum(), padded.shape[1])
    return np.maximum(np.fft.irfft(spectrum, padded.shape[1], axis=1)[:, 2 * reach :], FLOOR_POWER)


def cepstrum(features: Features, n_cepstra: int = N_CEPSTRA) -> np.ndarray:
    """WORLD's mel cepstrum of the envelope [shape=(n_frames, n_cepstra)]; coefficient 0 is the level."""
    _check_coded(n_cepstra, features.sp.shape[1])
    sp = np.ascontiguousarray(np.maximum(features.sp, FLOOR_POWER), dtype=np.float64)
    return pyworld.code_spectral_envelope(sp, features.sr, n_cepstra)


def envelope_from_cepstrum(mc: np.ndarray, sr: int, n_bins: int) -> np.ndarray:
    """The power envelope (n_frames, n_bins) whose mel cepstrum is `mc`; fewer coefficients make it coarser."""
    mc = np.array(mc, dtype=np.float64, order="C")
    if mc.ndim != 2 or not np.isfinite(mc.sum()):
        raise ParameterError(
            f"mc has shape {mc.shape}, must be (n_frames, n_cepstra) and finite; take it from cepstrum"
        )
    _check_coded(mc.shape[1], n_bins)
    return pyworld.decode_spectral_envelope(mc, check_sr(sr), 2 * (n_bins - 1))


def _check_coded(n_cepstra: int, n_bins: int) -> None:
    """WORLD writes past its memory where these do not fit."""
    whole = isinstance(n_cepstra, int | np.integer) and isinstance(n_bins, int | np.integer)
    if not whole or n_bins < 17 or (n_bins - 1) & (n_bins - 2) or not 1 <= n_cepstra < n_bins:
        raise ParameterError(
            f"n_bins={n_bins} must be a power of two and 1, n_cepstra={n_cepstra} in 1..{n_bins - 1}; take the "
            "envelope from analyze"
        )


def highpass_envelope(sp: np.ndarray, f0: np.ndarray, sr: int, db_per_octave: float) -> np.ndarray:
    """Let each voiced frame fall off below its own F0 [Hz], by so much an octave.

    Nothing rings there in a voice; what CheapTrick's envelope has there is an extrapolation, which
    WORLD's synthesis fills with noise and the skirts of its pulses.
    """
    if db_per_octave == 0 or not (f0 > 0).any():
        return sp
    bin_hz = sr / 2 / (sp.shape[1] - 1)
    n_low = min(int(np.ceil(f0.max() / bin_hz)), sp.shape[1])
    hz = bin_hz * np.maximum(np.arange(n_low), 1)  # 0 Hz takes what the bin above it takes
    octaves = np.log2(np.maximum(f0, hz[0])[:, None] / hz)
    out = sp.copy()
    out[:, :n_low] *= 10 ** (-db_per_octave * np.maximum(octaves, 0) / 10)
    return out


# Aperiodicity: takes and gives 0..1 (n_frames, n_bins)


def average_aperiodicity(ap: np.ndarray, n_bands: int) -> np.ndarray:
    """Average aperiodicity [dB] in `n_bands` equal bands, joined by straight lines; 0: as it is."""
    if n_bands == 0:
        return ap
    if not 0 < n_bands <= ap.shape[1]:
        raise ParameterError(
            f"n_bands={n_bands} must be in 0..{ap.shape[1]}, as many as there are bins"
        )
    db = 20 * np.log10(np.clip(ap, 1e-3, 1.0))
    edges = np.linspace(0, db.shape[1], n_bands + 1).round().astype(int)
    means = np.stack([db[:, a:b].mean(1) for a, b in pairwise(edges)], 1)
    centres = (edges[:-1] + edges[1:] - 1) / 2
    position = np.interp(np.arange(db.shape[1]), centres, np.arange(n_bands))
    return 10 ** (between_columns(means, position) / 20)


# Speaker statistics


def power_db(sp: np.ndarray) -> np.ndarray:
    """Mean power of each frame of an envelope [shape=(n_frames,), dB]."""
    return 10 * np.log10(np.maximum(sp.mean(1), FLOOR_POWER))


def active_frames(features: Features) -> np.ndarray:
    """Frames that hold speech, not pause: less than 35 dB under the loud ones [shape=(n_frames,), bool]."""
    level_db = power_db(features.sp)
    return level_db > max(np.percentile(level_db, 95) - 35, -110)


def loud_voiced_frames(features: Features) -> np.ndarray:
    """What a voice is known by: voiced, less than 25 dB under the loud frames [shape=(n_frames,), bool]."""
    level_db = power_db(features.sp)
    return features.voiced & (level_db > np.percentile(level_db, 95) - 25)


def speaker_stats(
    recordings: Iterable[Features], prior: SpeakerStats | None = None, n_classes: int = 0
) -> SpeakerStats:
    """Register and long-term envelope of one speaker.

    Parameters
    ----------
    recordings : iterable of Features
        All by one speaker, all at one sampling rate.
    prior : SpeakerStats, optional
        What to assume where there is little speech: the envelope's statistics are drawn towards it
        with the weight of 100 frames (800 for a covariance), so that half a second is not taken for a
        whole voice; with no speech at all the prior comes back. If it knows a covariance, the envelope is measured with
        its formants moved by `vtl_ratio`, which is kept as `formant_ratio`; if it knows its sounds, it is
        found where this speaker has them.
    n_classes : int
        Of a target: how many sounds to tell apart, see `sounds.fit_gmm`.

    Returns
    -------
    SpeakerStats
        `f0_hz` is the median over voiced frames, 0 if there are none. `voiced_mean` and
        `voiced_cov` stay empty where hardly a quarter of a second is voiced, as in a whisper.

    Raises
    ------
    ParameterError
        If no frame is active and there is no prior.
    """
    formant_ratio = 1.0
    if prior is not None and prior.voiced_cov:
        recordings = list(recordings)
        f0 = np.concatenate([np.empty(0), *(r.f0[r.voiced] for r in recordings)])
        formant_ratio = vtl_ratio(np.median(f0) if len(f0) else 0.0, prior.f0_hz)
    f0s, powers, cepstra, voiced = [], [], [], []
    for features in recordings:
        if not len(features.f0):
            continue
        active = active_frames(features)
        mc = cepstrum(replace(features, sp=scale_formants(features.sp, formant_ratio)))
        voiced.append(mc[loud_voiced_frames(features)])
        f0s.append(features.f0[features.voiced])
        powers.append(features.sp[active].mean(1))
        cepstra.append(mc[active])
    f0, power, mc, voiced = (
        np.concatenate(parts) if parts else np.empty(0) for parts in (f0s, powers, cepstra, voiced)
    )
    if not len(power):
        if prior is None:
            raise ParameterError(
                "the recordings hold no speech: every frame is silent; check the files or their level"
            )
        return prior
    stats = SpeakerStats(
        sr=features.sr,
        f0_hz=float(np.median(f0)) if len(f0) else 0.0,
        f0_std_semitones=float(np.std(12 * np.log2(f0 / np.median(f0)))) if len(f0) else 0.0,
        level_db=float(10 * np.log10(max(power.mean(), FLOOR_POWER))),
        cepstrum_mean=tuple(mc.mean(0)),
        cepstrum_std=tuple(mc.std(0)),
        formant_ratio=formant_ratio,
    )
    if len(voiced) > 2 * N_CEPSTRA:
        stats = replace(stats, voiced_mean=voiced.mean(0), voiced_cov=np.cov(voiced.T))
        if n_classes:
            stats = replace(stats, classes=fit_gmm(voiced[:, 1:], n_classes))
    if prior is None:
        return stats

    def drawn(name: str, n_frames: int, against: int = SHRINK_FRAMES) -> np.ndarray:
        weight = n_frames / (n_frames + against)
        own, assumed = (np.array(getattr(known, name)) for known in (stats, prior))
        return weight * own + (1 - weight) * assumed if len(own) and len(assumed) else own

    stats = replace(
        stats,
        **{name: drawn(name, len(mc)) for name in ("cepstrum_mean", "cepstrum_std")},
        voiced_mean=drawn("voiced_mean", len(voiced)),
        voiced_cov=drawn("voiced_cov", len(voiced), SHRINK_COVARIANCE_FRAMES),
    )
    if not (stats.voiced_cov and prior.classes):
        return stats
    moved = _transported(voiced[:, 1:], stats, prior)
    fmllr = estimate_fmllr(moved, prior.classes)
    class_means = map_adapt_means(apply_fmllr(moved, fmllr), prior.classes)
    return replace(stats, fmllr=fmllr, class_means=class_means)


# Speakers that never were


@dataclass(frozen=True)
class SpeakerPerturbation:
    """What makes a speaker that never was out of another: constant over a recording, drawn for training.

    Formants are moved, and the cepstrum is sent through a random network of one layer, near to the
    identity: part of it mixes the coefficients, part bends their space, as two speakers' vowels are
    not the same map stretched.
    """

    formant_ratio: float  # formants times this
    whiten: np.ndarray  # (n, n) coefficients from 1 on to a usual speaker's deviations
    colour: np.ndarray  # (n, n) the way back
    mean: np.ndarray  # (n,) a usual speaker's
    mix: np.ndarray  # (n, n) what is added of the whitened coefficients
    fold: np.ndarray  # (n, N_BENDS) what is bent: sums of whitened coefficients ...
    offset: np.ndarray  # (N_BENDS,) ... and where
    unfold: np.ndarray  # (N_BENDS, n) what is added of the bends
    ap_gain: float  # aperiodicity times this

    @classmethod
    def draw(
        cls, cfg: AnonymizeConfig, usual: SpeakerStats, rng: np.random.Generator
    ) -> "SpeakerPerturbation":
        """Draw one as wide as `cfg` says, in the deviations of a `usual` speaker."""
        n = N_CEPSTRA - 1
        if usual.voiced_cov:
            cov, mean = np.array(usual.voiced_cov)[1:, 1:], np.array(usual.voiced_mean)[1:]
        else:
            cov, mean = (
                np.diag(np.square(usual.cepstrum_std[1:])),
                np.array(usual.cepstrum_mean)[1:],
            )
        width = cfg.perturb_cepstrum / np.sqrt(2)  # two parts of one size
        cov = _believable(cov)
        return cls(
            formant_ratio=(1 + cfg.perturb_formants) ** rng.uniform(-1, 1),
            whiten=_root(cov, -0.5),
            colour=_root(cov, 0.5),
            mean=mean,
            mix=rng.normal(0, width / np.sqrt(n), (n, n)),
            fold=rng.normal(0, BEND / np.sqrt(n), (n, N_BENDS)),
            offset=rng.normal(0, BEND, N_BENDS),
            unfold=rng.normal(0, width / np.sqrt(N_BENDS), (N_BENDS, n)),
            ap_gain=10 ** (rng.normal(0, cfg.perturb_ap_db) / 20),
        )

    def apply(self, features: Features) -> Features:
        """The features with it on; F0 and the power of each frame stay."""
        warped = replace(features, sp=scale_formants(features.sp, self.formant_ratio))
        mc = cepstrum(warped)
        z = (mc[:, 1:] - self.mean) @ self.whiten
        bends = np.tanh(z @ self.fold + self.offset)
        change = np.zeros_like(mc)
        change[:, 1:] = (z @ self.mix + bends @ self.unfold) @ self.colour
        sp = warped.sp * envelope_from_cepstrum(change, features.sr, features.sp.shape[1])
        sp *= 10 ** ((power_db(features.sp) - power_db(sp)) / 10)[:, None]
        louder = np.clip(features.ap * self.ap_gain, 1e-3, 1.0)
        # what is all noise stays all noise
        return replace(features, sp=sp, ap=np.where(features.ap < 0.999, louder, features.ap))


def _root(matrix: np.ndarray, power: float) -> np.ndarray:
    """A power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-30) ** power) @ vectors.T


def _believable(cov: np.ndarray) -> np.ndarray:
    """The covariance, but varying a little in every direction: what a few frames say of the least is not believed."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.maximum(values, LEAST_SPREAD * values.mean())) @ vectors.T


def optimal_transport(cov: np.ndarray, to_cov: np.ndarray) -> np.ndarray:
    """The least change that gives Gaussian data of one covariance another.

    Parameters
    ----------
    cov, to_cov : np.ndarray [shape=(n, n), symmetric, >= 0]
        Where hardly anything varies, they are taken to vary a little.

    Returns
    -------
    np.ndarray [shape=(n, n), symmetric, eigenvalues in 1/3..3]
        To multiply data with. Differences wider than a factor of 3 are not followed: they are taken
        for errors of the estimate.

    References
    ----------
    Monge's map between Gaussians: Peyre and Cuturi, Computational Optimal Transport, 2019, remark
    2.31.
    """
    cov, to_cov = _believable(cov), _believable(to_cov)
    half, back = _root(cov, 0.5), _root(cov, -0.5)
    move = back @ _root(half @ to_cov @ half, 0.5) @ back
    values, vectors = np.linalg.eigh((move + move.T) / 2)
    return (vectors * np.clip(values, 1 / MAX_STRETCH, MAX_STRETCH)) @ vectors.T


# All together


def transform(
    features: Features,
    cfg: AnonymizeConfig,
    source: SpeakerStats | None = None,
    rng: np.random.Generator | None = None,
) -> Features:
    """Turn the dials of `cfg` on features.

    Parameters
    ----------
    features : Features
    cfg : AnonymizeConfig
    source : SpeakerStats, optional
        The speaker's statistics; measured on `features` if not given.
    rng : np.random.Generator, optional
        Draws what the dials want drawn; not given: the same every time.

    Returns
    -------
    Features
        As many frames; unvoiced frames are still unvoiced.

    Raises
    ------
    ParameterError
        If a rate is not that at which `cfg.target` or `source` was measured, or the features are none.
    """
    if not len(features.checked().f0):
        raise ParameterError("features have no frame; analyze at least one sample")
    for stats in (cfg.target, source):
        if stats and stats.sr != features.sr:
            raise ParameterError(
                f"sr={features.sr} must equal the statistics' sr={stats.sr} Hz; "
                f"resample with load_wav(path, sr={stats.sr})"
            )
    source = source or speaker_stats([features], prior=cfg.target or _own_mean(features))
    dials = cfg.dials
    rng = rng or np.random.default_rng(0)
    f0 = _transform_f0(features.f0, cfg, dials, source, rng)
    sp = _transform_envelope(features, cfg, dials, source)
    return replace(
        features,
        f0=f0,
        sp=highpass_envelope(sp, f0, features.sr, dials["highpass_db_per_octave"]),
        ap=_transform_aperiodicity(features.ap, dials, rng),
    )


def _own_mean(features: Features) -> SpeakerStats:
    """A prior for clips that may hold no speech at all: what they are, so that nothing is moved."""
    mc = cepstrum(features)
    level_db = float(power_db(features.sp).max())
    return SpeakerStats(features.sr, 0.0, 0.0, level_db, tuple(mc.mean(0)), tuple(mc.std(0)))


def transform_f0(f0: np.ndarray, cfg: AnonymizeConfig, source: SpeakerStats) -> np.ndarray:
    """The contour alone of what `change` gives, without chance [shape=(n_frames,), Hz]."""
    return _transform_f0(f0, cfg, cfg.dials, source, np.random.default_rng(0))


def _transform_f0(f0, cfg, dials, source, rng) -> np.ndarray:
    register = cfg.target.f0_hz if cfg.target and cfg.target.f0_hz > 0 else cfg.f0_register_hz
    mode = dials["f0_mode"]
    if mode == "zero":
        f0 = np.zeros_like(f0)
    elif mode == "constant":
        f0 = constant_f0(f0, register)
    elif mode == "recentre":
        f0 = recentre_f0(f0, source.f0_hz, register)
    elif mode == "match":
        to = cfg.target or replace(source, f0_std_semitones=0.0)
        f0 = gaussian_f0(f0, source, replace(to, f0_hz=register))
    elif mode == "noise":
        f0 = jitter_f0(f0, cfg.f0_noise_semitones, rng)
    return shift_f0(f0, cfg.f0_shift_semitones)


def _transform_envelope(features, cfg, dials, source) -> np.ndarray:
    strength = dials["match_target"] if cfg.target else 0.0
    sp = scale_formants(features.sp, cfg.formant_ratio * source.formant_ratio**strength)
    sp = blur_envelope(sp, features.sr, dials["blur_hz"])
    if dials["n_cepstra"] or strength:
        sp = _move_cepstrum(replace(features, sp=sp), cfg, dials["n_cepstra"], strength, source)
    gain_db = strength * (cfg.target.level_db - source.level_db) if cfg.target else 0.0
    gain_db = np.clip(gain_db, -MAX_GAIN_DB, MAX_GAIN_DB)
    # each frame keeps its energy, but for one gain for all
    return sp * 10 ** ((power_db(features.sp) + gain_db - power_db(sp)) / 10)[:, None]


def _move_cepstrum(features, cfg, n_cepstra, strength, source) -> np.ndarray:
    """The envelope with its cepstra moved towards the target's statistics, and cut to `n_cepstra`."""
    mc = cepstrum(features, max(N_CEPSTRA, n_cepstra))
    moved = mc.copy()
    if strength:  # the level, coefficient 0, is not the envelope's business
        here, period_ms = mc[:, 1:N_CEPSTRA], features.frame_period_ms
        added = _moved(here, source, cfg.target, period_ms / 1000) - here
        if cfg.match_smooth_ms:  # the map is for sounds; of a frame's own unrest it would make more
            sigma = cfg.match_smooth_ms / period_ms
            added = gaussian_filter1d(added, sigma, axis=0, mode="nearest")
        moved[:, 1:N_CEPSTRA] += strength * added
    n_bins = features.sp.shape[1]
    if n_cepstra:
        return envelope_from_cepstrum(moved[:, :n_cepstra], features.sr, n_bins)
    return features.sp * envelope_from_cepstrum(moved - mc, features.sr, n_bins)


def _moved(
    mc: np.ndarray, source: SpeakerStats, target: SpeakerStats, frame_period_s: float
) -> np.ndarray:
    """Coefficients 1 .. N_CEPSTRA - 1 with the target's mean and covariance, and then its sounds, as
    far as those are known; else with its mean and deviations."""
    if source.voiced_cov and target.voiced_cov:
        moved = _transported(mc, source, target)
        if source.class_means and target.classes:
            moved, means = apply_fmllr(moved, source.fmllr), np.array(source.class_means)
            moved = shift_class_means(moved, target.classes, means, frame_period_s)
        return moved
    mean, to_mean = (np.array(s.cepstrum_mean)[1:] for s in (source, target))
    std, to_std = (np.maximum(s.cepstrum_std[1:], 1e-6) for s in (source, target))
    return (mc - mean) * np.clip(to_std / std, 0.5, 2) + to_mean


def _transported(mc: np.ndarray, source: SpeakerStats, target: SpeakerStats) -> np.ndarray:
    """Coefficients 1 .. N_CEPSTRA - 1 with the target's mean and covariance."""
    mean, to_mean = (np.array(s.voiced_mean)[1:] for s in (source, target))
    cov, to_cov = (np.array(s.voiced_cov)[1:, 1:] for s in (source, target))
    return (mc - mean) @ optimal_transport(cov, to_cov) + to_mean


def _transform_aperiodicity(ap, dials, rng) -> np.ndarray:
    ap = average_aperiodicity(ap, dials["n_ap_bands"])
    if dials["ap_noise"]:
        ap = np.clip(ap + rng.normal(0, dials["ap_noise"], ap.shape), 1e-3, 1.0)
    return ap


def anonymize(
    wav: np.ndarray,
    sr: int,
    cfg: AnonymizeConfig,
    rng: np.random.Generator | None = None,
    source: SpeakerStats | None = None,
) -> np.ndarray:
    """Strip a recording of its speaker.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    cfg : AnonymizeConfig
        A whole `Config` will do. Its `target`, if there is one, gives the register and envelope to
        move to.
    rng : np.random.Generator, optional
        Given: a random `SpeakerPerturbation` is put on first, as in training. Not given: the same bytes every
        time.
    source : SpeakerStats, optional
        Statistics of this speaker over more speech than `wav`, if known.

    Returns
    -------
    anonymized : np.ndarray [shape=(n_samples,), float32, -1..1]

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, or `sr` is not the rate that `cfg.target` was measured
        at.

    Examples
    --------
    >>> wav = 0.1 * np.sin(2 * np.pi * 150 * np.arange(8000) / 16000)
    >>> anonymize(wav, 16000, AnonymizeConfig(preset="robot")).shape
    (8000,)
    """
    features = analyze(wav, sr, cfg)
    if rng is not None:
        usual = cfg.target or speaker_stats([features], prior=_own_mean(features))
        features = SpeakerPerturbation.draw(cfg, usual, rng).apply(features)
    return resynthesize(transform(features, cfg, source, rng), len(wav))
