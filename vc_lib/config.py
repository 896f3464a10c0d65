"""Every number of the method, once, with its unit: frozen dataclasses saved beside the weights.

`Config` is flat: it is at once an `AudioConfig`, an `AnonymizeConfig`, a `ModelConfig` and a
`TrainConfig`, and a function that takes one of those takes a `Config` too. Vary a copy with
`dataclasses.replace(cfg, n_fft=1024)`.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingInput, ParameterError
from .files import atomically, parsed_json, read_limited

CONFIG_VERSION = 1
MAX_CEPSTRUM = 1e6  # coefficients and their variances are under 1e3
MAX_BYTES = 16_000_000  # of a config's file; that of 64 classes has 100 kB

F0_METHODS = ("dio", "harvest", "harvest_fast", "swift-f0")
SECOND_CHANNELS = ("phase", "cos_sin", "real_imag", "instantaneous_frequency")
# unchanged, unvoiced, monotonous, register moved, register and spread of log-F0 moved, random
F0_MODES = ("keep", "zero", "constant", "recentre", "match", "noise")
ENCODERS = ("compact", "resnet18")

# What each preset does to the dials of AnonymizeConfig; a dial that is set there wins over its preset.
NO_CHANGE = dict(
    f0_mode="keep",
    n_cepstra=0,
    blur_hz=0.0,
    match_target=0.0,
    highpass_db_per_octave=0.0,
    n_ap_bands=0,
    ap_noise=0.0,
)
PRESETS = {
    "whisper": NO_CHANGE | dict(f0_mode="zero"),
    "robot": NO_CHANGE | dict(f0_mode="constant"),
    "noise": NO_CHANGE | dict(f0_mode="noise", blur_hz=200.0, ap_noise=1.0),
    "neutral": NO_CHANGE
    | dict(f0_mode="match", match_target=1.0, highpass_db_per_octave=18.0, n_ap_bands=4),
}


def _check(ok: bool, message: str) -> None:
    if not ok:
        raise ParameterError(message)


def _check_choice(name: str, value: str, choices) -> None:
    _check(
        isinstance(value, str) and value in choices,
        f"{name}={value!r} must be one of {', '.join(choices)}",
    )


def _check_bool(name: str, value) -> None:
    _check(isinstance(value, bool), f"{name}={value!r} must be True or False")


def _check_int(name: str, value, low: int, high: int, unit: str = "") -> None:
    ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _check(ok, f"{name}={value!r} must be an int in {low}..{high}{' ' + unit if unit else ''}")


def _check_range(name: str, value, low: float, high: float, unit: str = "") -> None:
    ok = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and low <= value <= high  # which NaN is not
    )
    _check(ok, f"{name}={value!r} must be a number in {low}..{high}{' ' + unit if unit else ''}")


def read_values(path) -> dict:
    """What a config's file holds before anything is made of it.

    Raises
    ------
    MissingInput
        If there is no such file.
    ParameterError
        If it is not JSON, no object, or too large.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder; name the config.json in it" if path.is_dir() else "does not exist"
        raise MissingInput(f"{path} {what}; a voice's folder holds it beside generator.safetensors")
    way_out = "copy the voice's folder again"
    values = parsed_json(read_limited(path, MAX_BYTES, way_out), path, way_out)
    _check(isinstance(values, dict), f"{path} must hold a JSON object, got {type(values).__name__}")
    return values


class Checked:
    """Has the values of a dataclass checked by each class that it is made of, as soon as it is made."""

    def __post_init__(self):
        for part in type(self).__mro__:
            if "_check_fields" in vars(part):
                part._check_fields(self)


@dataclass(frozen=True)
class AudioConfig(Checked):
    """How a waveform becomes an image. These numbers live here and nowhere else."""

    sr: int = 16_000  # sampling rate [Hz]
    n_fft: int = 512  # analysis window [samples]
    hop_length: int = 128  # step between frames [samples]
    second_channel: str = "phase"  # what channel 1 means, see SECOND_CHANNELS and spectrogram.py

    def _check_fields(self):
        _check_int("sr", self.sr, 8_000, 192_000, "Hz")
        _check_int("n_fft", self.n_fft, 16, 16_384, "samples")
        _check(self.n_fft % 2 == 0, f"n_fft={self.n_fft} must be even")
        _check_int("hop_length", self.hop_length, 1, self.n_fft // 2, "samples (half of n_fft)")
        _check_choice("second_channel", self.second_channel, SECOND_CHANNELS)

    @property
    def n_freqs(self) -> int:
        """Image height [bins]: DC to Nyquist, nothing dropped, so that the way back is exact."""
        return self.n_fft // 2 + 1


def _matrix(rows) -> tuple[tuple[float, ...], ...]:
    """Rows of numbers that can be saved and compared."""
    return tuple(tuple(map(float, row)) for row in rows)


@dataclass(frozen=True)
class AcousticClasses:
    """A mixture of Gaussians that tells the classes of a voice apart, by cepstral coefficients 1 and up."""

    weights: tuple[float, ...]  # (n_classes,) how common each is
    means: tuple[tuple[float, ...], ...]  # (n_classes, n_coefficients)
    variances: tuple[tuple[float, ...], ...]  # likewise; a sound's coefficients vary independently

    def __post_init__(self):
        try:
            object.__setattr__(self, "weights", tuple(map(float, self.weights)))
            for name in ("means", "variances"):
                object.__setattr__(self, name, _matrix(getattr(self, name)))
        except (TypeError, ValueError, OverflowError) as e:
            raise ParameterError(f"AcousticClasses must hold numbers ({e}); copy it again") from e
        shape = [len(row) for row in self.means]
        _check(
            0 < len(self.weights) == len(shape)
            and shape == [len(row) for row in self.variances]
            and len(set(shape)) == 1,
            f"AcousticClasses has {len(self.weights)} weights, {len(shape)} means and {len(self.variances)} "
            "variances; they must agree",
        )
        numbers = (*self.weights, *(v for row in (*self.means, *self.variances) for v in row))
        _check(
            all(math.isfinite(v) for v in numbers), "AcousticClasses must hold finite numbers only"
        )
        _check(
            min(self.weights) > 0 and min(map(min, self.variances)) > 0,
            "weights and variances of AcousticClasses must be > 0",
        )
        largest = max(numbers, key=abs)
        _check(
            abs(largest) <= MAX_CEPSTRUM and min(map(min, self.variances)) >= 1 / MAX_CEPSTRUM**2,
            f"AcousticClasses reach {largest:g}, or vary less than {1 / MAX_CEPSTRUM**2:g}: copy it again",
        )


@dataclass(frozen=True)
class SpeakerStats:
    """What is known of a speaker's voice: register and long-term envelope, from voiced or active
    frames.

    Cepstra are WORLD's mel cepstra (`pyworld.code_spectral_envelope`), which depend on the rate.
    """

    sr: int  # sampling rate that they were measured at [Hz]
    f0_hz: float  # register: median F0 of voiced frames [Hz]; 0 if nothing was voiced
    f0_std_semitones: float  # spread of log-F0 around it [semitones]
    level_db: float  # mean power of the envelope over active frames [dB]
    cepstrum_mean: tuple[float, ...]  # per coefficient, active frames
    cepstrum_std: tuple[float, ...]  # likewise
    voiced_mean: tuple[float, ...] = ()  # of the same coefficients over loud voiced frames
    voiced_cov: tuple[tuple[float, ...], ...] = ()  # how they go together there; (): not known
    formant_ratio: float = 1.0  # of a source: what its formants were multiplied by before all this
    classes: AcousticClasses | None = None  # of a target: what its voiced frames are made of
    fmllr: tuple[tuple[float, ...], ...] = ()  # of a source: see classes.estimate_fmllr
    class_means: tuple[tuple[float, ...], ...] = ()  # likewise: where it has its target's classes

    def __post_init__(self):
        _check_int("sr", self.sr, 8_000, 192_000, "Hz")
        try:
            for name in ("f0_hz", "f0_std_semitones", "level_db", "formant_ratio"):
                object.__setattr__(self, name, float(getattr(self, name)))
            for name in ("cepstrum_mean", "cepstrum_std", "voiced_mean"):
                object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
            for name in ("voiced_cov", "fmllr", "class_means"):
                object.__setattr__(self, name, _matrix(getattr(self, name)))
        except (TypeError, ValueError, OverflowError) as e:
            raise ParameterError(f"SpeakerStats must hold numbers ({e}); copy it again") from e
        values = (
            self.f0_hz,
            self.f0_std_semitones,
            self.level_db,
            self.formant_ratio,
            *self.cepstrum_mean,
            *self.cepstrum_std,
            *self.voiced_mean,
            *(v for row in (*self.voiced_cov, *self.fmllr, *self.class_means) for v in row),
        )
        _check(
            all(math.isfinite(v) for v in values),
            "SpeakerStats must hold finite numbers only; were the recordings silent?",
        )
        _check(
            0 < len(self.cepstrum_mean) == len(self.cepstrum_std),
            f"cepstrum_mean has {len(self.cepstrum_mean)} coefficients, "
            f"cepstrum_std {len(self.cepstrum_std)}; they must agree",
        )
        n = len(self.voiced_mean)
        _check(
            n in (0, len(self.cepstrum_mean)) and [len(row) for row in self.voiced_cov] == [n] * n,
            f"voiced_mean has {n} coefficients, voiced_cov {len(self.voiced_cov)} rows; both must "
            f"have {len(self.cepstrum_mean)} or none",
        )
        if isinstance(self.classes, dict):  # as it comes out of a file
            object.__setattr__(self, "classes", AcousticClasses(**self.classes))
        ok = self.classes is None or isinstance(self.classes, AcousticClasses)
        _check(ok, f"classes must be AcousticClasses or None, got {type(self.classes).__name__}")
        _check(
            self.classes is None or len(self.classes.means[0]) == n - 1,
            "classes must have a coefficient less than voiced_mean, which has the level too",
        )
        rows = [len(row) for row in self.fmllr]
        _check(
            rows in ([], [n - 1] * n),
            f"fmllr has {len(rows)} rows of {sorted(set(rows))} numbers; it must have {n} of {n - 1}, or none",
        )
        largest = max(values[4:], key=abs)
        _check(
            abs(largest) <= MAX_CEPSTRUM,
            f"SpeakerStats have a coefficient of {largest:g}; no voice's pass {MAX_CEPSTRUM:g}: copy it again",
        )
        _check_range("formant_ratio", self.formant_ratio, 0.5, 2)
        _check(
            self.f0_hz >= 0 and min(self.f0_std_semitones, *self.cepstrum_std) >= 0,
            "f0_hz and deviations must be >= 0",
        )
        if self.f0_hz:
            _check_range("f0_hz", self.f0_hz, 10, 4_000, "Hz (0: nothing was voiced)")
        _check_range("f0_std_semitones", self.f0_std_semitones, 0, 120, "semitones")
        _check_range("level_db", self.level_db, -400, 400, "dB")


@dataclass(frozen=True)
class AnonymizeConfig(Checked):
    """How a recording is stripped of its speaker. Dials left at None are set by `preset`."""

    preset: str = "neutral"  # whisper, robot, noise or neutral, see PRESETS
    f0_method: str = (
        "harvest_fast"  # harvest (WORLD's, 18 times slower), dio (less sure) or swift-f0 (extra)
    )
    f0_floor: float = 71.0  # lowest F0 looked for [Hz]
    f0_ceil: float = 600.0  # highest F0 looked for [Hz]
    frame_period_ms: float = 5.0  # step between WORLD frames [ms]

    f0_mode: str | None = None  # see F0_MODES
    f0_register_hz: float = 160.0  # where F0 is moved to without a `target` [Hz]
    f0_shift_semitones: float = 0.0  # added after f0_mode [semitones]
    f0_noise_semitones: float = 2.0  # spread of f0_mode="noise" [semitones]
    formant_ratio: float = 1.0  # formants times this; above 1: a shorter vocal tract
    n_cepstra: int | None = None  # cepstral coefficients kept; fewer: coarser; 0: all
    blur_hz: float | None = None  # Gaussian blur along frequency [Hz, std]
    match_target: float | None = None  # 0..1: cepstral mean and covariance to the target's
    match_smooth_ms: float = 10.0  # what match_target adds is smoothed over time [ms, std]
    n_classes: int = 64  # classes of the target that match_target tells apart; 0: none
    highpass_db_per_octave: float | None = None  # how voiced frames fall off below F0; 0: not
    n_ap_bands: int | None = None  # aperiodicity averaged over this many bands; 0: left as it is
    ap_noise: float | None = None  # noise on aperiodicity, as in 2019; breaks voicing
    pause_depth_db: float = 30.0  # conversion: how much quieter the source's pauses become [dB]

    perturb_formants: float = 0.1  # training: formants times up to 1.1 or its inverse
    perturb_cepstrum: float = 0.45  # training: random moves in the cepstrum's space [deviations]
    perturb_ap_db: float = 3.0  # training: random offset of aperiodicity [dB, std]

    target: SpeakerStats | None = None  # the voice's register and envelope, set by training

    def _check_fields(self):
        _check_choice("preset", self.preset, PRESETS)
        _check_choice("f0_method", self.f0_method, F0_METHODS)
        _check_range("f0_floor", self.f0_floor, 40, 400, "Hz")
        _check_range("f0_ceil", self.f0_ceil, self.f0_floor + 20, 2_000, "Hz")
        _check_range("frame_period_ms", self.frame_period_ms, 1, 20, "ms")
        _check_range("f0_register_hz", self.f0_register_hz, self.f0_floor, self.f0_ceil, "Hz")
        _check_range("f0_shift_semitones", self.f0_shift_semitones, -24, 24, "semitones")
        _check_range("f0_noise_semitones", self.f0_noise_semitones, 0, 24, "semitones")
        _check_range("formant_ratio", self.formant_ratio, 0.5, 2)
        ok = self.target is None or isinstance(self.target, SpeakerStats)
        _check(ok, f"target must be SpeakerStats or None, got {type(self.target).__name__}")
        dials = self.dials
        _check_choice("f0_mode", dials["f0_mode"], F0_MODES)
        _check_int("n_cepstra", dials["n_cepstra"], 0, 80, "(0: all)")
        _check(
            dials["n_cepstra"] not in (1, 2, 3),
            f"n_cepstra={dials['n_cepstra']} must be 0 (all) or 4..80",
        )
        _check_range("blur_hz", dials["blur_hz"], 0, 2_000, "Hz")
        _check_range("match_target", dials["match_target"], 0, 1)
        _check_range("match_smooth_ms", self.match_smooth_ms, 0, 100, "ms")
        _check_range("highpass_db_per_octave", dials["highpass_db_per_octave"], 0, 96, "dB")
        _check_int("n_classes", self.n_classes, 0, 1_024)
        _check_int("n_ap_bands", dials["n_ap_bands"], 0, 32, "(0: all)")
        _check_range("ap_noise", dials["ap_noise"], 0, 1)
        _check_range("pause_depth_db", self.pause_depth_db, 0, 100, "dB")
        _check_range("perturb_formants", self.perturb_formants, 0, 0.5)
        _check_range("perturb_cepstrum", self.perturb_cepstrum, 0, 2)
        _check_range("perturb_ap_db", self.perturb_ap_db, 0, 20, "dB")

    @property
    def dials(self) -> dict:
        """The dials in force: the preset's, except where one is set here."""
        preset = PRESETS[self.preset]
        return {
            name: value if getattr(self, name) is None else getattr(self, name)
            for name, value in preset.items()
        }


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Which networks are built."""

    encoder: str = "compact"  # compact (a CPU trains it) or resnet18 (as in 2019)
    width: int = 32  # channels of the compact encoder's first stage
    depth: int = 4  # stages of the compact encoder
    filter_output: bool = True  # filter what the vocoder made; False: both channels are made anew
    lifter_ms: float = 2.0  # how long it is: the gain is as smooth along frequency; 0: bin by bin
    limit_change: bool = True  # of it only what serves any speaker, see models.ChangeLimiter: ...
    change_below_hz: float = 3_000.0  # ... below this [Hz] ...
    change_smooth_ms: float = 24.0  # ... and no quicker than this [ms, standard deviation]
    change_strength: float = 1.0  # conversion: of the change; 0: none, the anonymized sound
    fold: int = 8  # frequency rows folded into channels before the encoder
    critic_width: int = 32  # channels of the critic's first layer
    critic_depth: int = 3  # its strided layers; each doubles what a patch sees

    def _check_fields(self):
        _check_choice("encoder", self.encoder, ENCODERS)
        for name in ("filter_output", "limit_change"):
            _check_bool(name, getattr(self, name))
        for name, low, high in (
            ("width", 4, 512),
            ("depth", 2, 6),
            ("fold", 1, 16),
            ("critic_width", 4, 256),
            ("critic_depth", 1, 5),
        ):
            _check_int(name, getattr(self, name), low, high)
        _check_range("lifter_ms", self.lifter_ms, 0, 20)
        _check_range("change_below_hz", self.change_below_hz, 0, 96_000, "Hz")
        _check_range("change_smooth_ms", self.change_smooth_ms, 0, 500, "ms")
        _check_range("change_strength", self.change_strength, 0, 2)


@dataclass(frozen=True)
class TrainConfig(Checked):
    """How the networks are trained."""

    n_frames: int = 256  # width of a training crop [frames]
    bs: int = 8  # crops a step
    max_crops: int = 400  # crops an epoch at most; over epochs all take their turn
    valid_share: float = 0.1  # share of recordings held out for validation
    lr: float = 1e-3  # generator alone: the peak of the one-cycle schedule
    lr_critic: float = 5e-4  # critic
    lr_gan: float = 3e-4  # generator against the critic
    image_weight: float = 0.0  # of the image's log-magnitude L1, of which a unit is 50 dB
    mr_stft_weight: float = 0.0  # of the waveform's STFT loss
    mel_weight: float = 3.0  # of the waveform's log-mel loss
    variance_weight: float = 3.0  # of how much the spectra of a batch vary, against speech
    gan_weight: float = 0.5  # of the critic's opinion, against all of these
    mismatch_weight: float = 0.3  # share of wrong content in what the critic refuses
    critic_threshold: float = 0.65  # train the critic until its loss is below this ...
    max_critic_steps: int = 2  # ... but never longer than this before a generator step
    ema_decay: float = 0.99  # the running average of the weights is what is saved
    seed: int = 42

    def _check_fields(self):
        for name, low, high in (
            ("n_frames", 16, 8_192),
            ("bs", 1, 1_024),
            ("max_crops", 1, 1_000_000),
            ("max_critic_steps", 1, 1_000),
            ("seed", 0, 2**32 - 1),
        ):
            _check_int(name, getattr(self, name), low, high)
        _check_range("valid_share", self.valid_share, 0.0, 0.9)
        for name in ("lr", "lr_critic", "lr_gan"):
            _check_range(name, getattr(self, name), 1e-8, 1)
        _check_range("mismatch_weight", self.mismatch_weight, 0, 1)
        for name in ("image_weight", "mr_stft_weight", "mel_weight", "variance_weight"):
            _check_range(name, getattr(self, name), 0, 1_000)
        _check(
            self.image_weight + self.mr_stft_weight + self.mel_weight > 0,
            "image_weight, mr_stft_weight and mel_weight are all 0; one must be above, to learn from",
        )
        for name in ("gan_weight", "critic_threshold"):
            _check_range(name, getattr(self, name), 0, 1_000)
        _check_range("ema_decay", self.ema_decay, 0, 0.99999)


@dataclass(frozen=True)
class Config(TrainConfig, ModelConfig, AnonymizeConfig, AudioConfig):
    """Everything that makes a voice what it is; saved beside its weights.

    Examples
    --------
    >>> from dataclasses import replace
    >>> cfg = replace(Config(), sr=22_050, n_fft=1024, hop_length=256)
    >>> cfg.n_freqs
    513
    """

    def values(self) -> dict:
        """What is saved: lists, numbers and words, and the version."""
        return json.loads(json.dumps({"version": CONFIG_VERSION} | dataclasses.asdict(self)))

    def save(self, path) -> None:
        """Write as JSON, whole or not at all."""
        text = json.dumps(self.values(), indent=1) + "\n"
        atomically(path, lambda part: part.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path) -> "Config":
        """Read what `save` wrote.

        Raises
        ------
        MissingInput
            If there is no such file.
        ParameterError
            If it is not JSON, comes from a later version, or holds an unknown or forbidden value.
        """
        return cls.from_values(read_values(path), path)

    @classmethod
    def from_values(cls, values: dict, path) -> "Config":
        """The config of what `read_values` found in a file, with the errors of `load`; `path` is for these."""
        values = dict(values)
        version = values.pop("version", None)
        _check(
            version == CONFIG_VERSION,
            f"{path} has config version {version!r}, this code reads {CONFIG_VERSION}; "
            "update vc_lib or train the voice again",
        )
        names = {f.name for f in dataclasses.fields(cls)}
        missing = sorted(names - set(values))
        _check(not missing, f"{path} lacks {', '.join(missing)}; copy the voice's folder again")
        unknown = sorted(set(values) - names)
        _check(
            not unknown,
            f"{path} holds unknown settings: {', '.join(unknown)}; it was saved by a later version of vc_lib",
        )
        try:
            if values.get("target") is not None:
                values["target"] = SpeakerStats(**values["target"])
            return cls(**values)
        except (TypeError, OverflowError) as e:
            raise ParameterError(
                f"{path} holds a value of the wrong type ({e}); copy the voice's folder again"
            ) from e
