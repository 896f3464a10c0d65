"""All settings, each with its range and unit: frozen dataclasses that are saved beside the weights.

`Config` inherits from `AudioConfig`, `AnonymizeConfig`, `ModelConfig` and `TrainConfig`, so a
function that takes one of these also takes a `Config`. `dataclasses.replace(cfg, n_fft=1024)`
makes a changed copy.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingInput, ParameterError
from .fields import Checked, check, check_number, choice, flag, number
from .files import atomically, parsed_json, read_limited
from .speaker import SpeakerStats

CONFIG_VERSION = 4  # version of the file format
ADDED = ("private_strength", "private_key")  # settings that older files of this version lack
MAX_BYTES = 16_000_000  # largest config file; one with 64 acoustic classes has 100 kB [bytes]

F0_METHODS = ("dio", "harvest", "harvest_fast", "swift-f0")
SECOND_CHANNELS = ("phase", "cos_sin", "real_imag", "instantaneous_frequency")
# F0: unchanged, unvoiced, monotone, register moved, register and spread moved, random
F0_MODES = ("keep", "zero", "constant", "recentre", "match", "noise")
# voiced sound: WORLD's, grains of the recording, or grains where the register moves little
VOICED = ("vocoder", "recorded", "auto")
UNVOICED = ("vocoder", "recorded")  # all other sound: WORLD's, or the recording, filtered
ENCODERS = ("compact", "convnext", "resnet18")

# Dials of AnonymizeConfig for each preset; a dial that is set in the config overrides its preset
NO_CHANGE = dict(
    f0_mode="keep",
    n_cepstra=0,
    blur_hz=0.0,
    match_target=0.0,
    highpass_db_per_octave=0.0,
    n_ap_bands=0,
    ap_gain_db=0.0,
    ap_noise=0.0,
    voiced="vocoder",
    unvoiced="vocoder",
)
PRESETS = {
    "whisper": NO_CHANGE | dict(f0_mode="zero"),
    "robot": NO_CHANGE | dict(f0_mode="constant"),
    "noise": NO_CHANGE | dict(f0_mode="noise", blur_hz=200.0, ap_noise=1.0),
    "neutral": NO_CHANGE
    | dict(
        f0_mode="match",
        match_target=1.0,
        highpass_db_per_octave=18.0,
        n_ap_bands=4,
        ap_gain_db=-6.0,
        voiced="auto",
        unvoiced="recorded",
    ),
}
# Presets that make a pseudo-speaker, see anonymize.pseudo_speaker. Their sound is WORLD's alone.
PRIVATE = ("private", "private_consistent")
PRESETS |= dict.fromkeys(PRIVATE, PRESETS["neutral"] | dict(voiced="vocoder", unvoiced="vocoder"))


@dataclass(frozen=True)
class AudioConfig(Checked):
    """Settings of the two-channel image."""

    sr: int = number(16_000, 8_000, 192_000, "Hz")  # sampling rate
    n_fft: int = number(512, 16, 16_384, "samples")  # analysis window
    hop_length: int = 128  # step between frames [samples, 1..n_fft / 2]
    second_channel: str = choice("phase", SECOND_CHANNELS)  # meaning of channel 1, see spectrogram

    def _check_together(self):
        check(self.n_fft % 2 == 0, f"n_fft={self.n_fft} must be even")
        unit = "samples (half of n_fft)"
        check_number("hop_length", self.hop_length, 1, self.n_fft // 2, unit, whole=True)

    @property
    def n_freqs(self) -> int:
        """Image height [bins]: DC to Nyquist, nothing dropped, so that the way back is exact."""
        return self.n_fft // 2 + 1


@dataclass(frozen=True)
class AnonymizeConfig(Checked):
    """Settings of anonymization. Dials left at None are set by `preset`."""

    preset: str = choice("neutral", tuple(PRESETS))  # defaults of the dials
    f0_method: str = choice("harvest_fast", F0_METHODS)  # harvest is WORLD's, 18 times slower
    f0_floor: float = number(71.0, 40, 400, "Hz")  # lowest F0
    f0_ceil: float = number(600.0, 60, 2_000, "Hz")  # highest F0
    frame_period_ms: float = number(5.0, 1, 20, "ms")  # step between WORLD frames

    f0_mode: str | None = choice(None, F0_MODES)  # change of F0
    f0_register_hz: float = number(160.0, 40, 2_000, "Hz")  # new register where no target is set
    f0_shift_semitones: float = number(0.0, -24, 24, "semitones")  # added after f0_mode
    f0_noise_semitones: float = number(2.0, 0, 24, "semitones")  # spread of f0_mode="noise"
    formant_ratio: float = number(1.0, 0.5, 2)  # formants times this; > 1: a shorter vocal tract
    # cepstral coefficients that are kept; fewer: a coarser envelope; 0: all
    n_cepstra: int | None = number(None, 0, 80, "(0: all)", whole=True)
    blur_hz: float | None = number(None, 0, 2_000, "Hz")  # Gaussian blur along frequency, std
    match_target: float | None = number(None, 0, 1)  # share of the way to the target's envelope
    match_smooth_ms: float = number(10.0, 0, 100, "ms")  # smoothing of that change, std
    n_classes: int = number(64, 0, 1_024)  # acoustic classes of the target; 0: none
    # attenuation of voiced frames below F0; 0: none
    highpass_db_per_octave: float | None = number(None, 0, 96, "dB")
    # bands over which aperiodicity is averaged; 0: no change
    n_ap_bands: int | None = number(None, 0, 32, "(0: all)", whole=True)
    ap_gain_db: float | None = number(None, -40, 40, "dB")  # gain of aperiodicity where voiced
    ap_noise: float | None = number(None, 0, 1)  # noise on aperiodicity, as in 2019; breaks voicing
    voiced: str | None = choice(None, VOICED)  # where voiced sound comes from
    unvoiced: str | None = choice(None, UNVOICED)  # where all other sound comes from
    pause_depth_db: float = number(30.0, 0, 100, "dB")  # conversion: attenuation of pauses

    perturb_formants: float = number(
        0.1, 0, 0.5
    )  # training without strangers: formants times up to 1.1 or 1 / 1.1
    perturb_cepstrum: float = number(0.45, 0, 2)  # the same: random map of the cepstrum, std
    perturb_ap_db: float = number(3.0, 0, 20, "dB")  # the same: random offset of aperiodicity, std

    # presets private and private_consistent: from nobody hidden (0) to most private (1)
    private_strength: float = number(0.5, 0, 1)
    # private_consistent: a pseudo-speaker for each key; who knows the key can undo its random part
    private_key: int | None = number(None, 0, 2**63 - 1, whole=True)

    target: SpeakerStats | None = None  # the voice's statistics, set by training

    def _check_together(self):
        check(
            self.f0_ceil >= self.f0_floor + 20,
            f"f0_ceil={self.f0_ceil!r} must be a number in {self.f0_floor + 20}..2000 Hz",
        )
        check(
            self.f0_floor <= self.f0_register_hz <= self.f0_ceil,
            f"f0_register_hz={self.f0_register_hz!r} must be a number in "
            f"{self.f0_floor}..{self.f0_ceil} Hz",
        )
        ok = self.target is None or isinstance(self.target, SpeakerStats)
        check(ok, f"target must be SpeakerStats or None, got {type(self.target).__name__}")
        check(
            self.n_cepstra not in (1, 2, 3),
            f"n_cepstra={self.n_cepstra} must be 0 (all) or 4..80",
        )
        check(
            self.preset != "private_consistent" or self.private_key is not None,
            "preset='private_consistent' needs a private_key: a secret number, another for each person",
        )

    @property
    def is_private(self) -> bool:
        """Whether `preset` makes a pseudo-speaker; `target` is not used then."""
        return self.preset in PRIVATE

    @property
    def dials(self) -> dict:
        """The dials in force: the preset's, except where one is set here."""
        preset = PRESETS[self.preset]
        dials = {
            name: value if getattr(self, name) is None else getattr(self, name)
            for name, value in preset.items()
        }
        if dials["f0_mode"] == "zero":  # the recording would bring its pitch along
            dials["unvoiced"] = "vocoder"
        if self.is_private:  # the recording says who speaks
            dials["voiced"] = dials["unvoiced"] = "vocoder"
        return dials


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Settings of the networks."""

    # compact: a U-Net that a CPU trains; convnext: no U-Net; resnet18: that of 2019
    encoder: str = choice("compact", ENCODERS)
    width: int = number(48, 4, 512)  # channels of compact's first stage; convnext: a sixth of all
    depth: int = number(3, 2, 6)  # stages of compact, blocks of convnext
    # True: the generator filters the anonymized sound; False: it generates both channels
    filter_output: bool = flag(True)
    lifter_ms: float = number(2.0, 0, 20, "ms")  # length of the filter; 0: a gain for each bin
    limit_change: bool = flag(True)  # limit the change with networks.ChangeLimiter
    change_below_hz: float = number(7_000.0, 0, 96_000, "Hz")  # frequencies that are changed
    change_smooth_ms: float = number(24.0, 0, 500, "ms")  # smoothing of the change over time, std
    change_strength: float = number(1.0, 0, 2)  # conversion: change times this; 0: none
    fold: int = number(64, 1, 128)  # frequency rows folded into channels before the encoder
    critic_width: int = number(32, 4, 256)  # channels of the critic's first layer
    critic_depth: int = number(3, 1, 5)  # strided layers; each doubles the size of a patch


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Settings of training."""

    n_frames: int = number(256, 16, 8_192, "frames")  # width of a training crop
    bs: int = number(8, 1, 1_024)  # crops in a step
    max_crops: int = number(400, 1, 1_000_000)  # most crops in an epoch; the next epoch goes on
    valid_share: float = number(0.1, 0.0, 0.9)  # share of the files held out for validation
    lr: float = number(1e-3, 1e-8, 1)  # generator alone: peak of the one-cycle schedule
    lr_critic: float = number(5e-4, 1e-8, 1)  # critic
    lr_gan: float = number(3e-4, 1e-8, 1)  # generator against critic
    image_weight: float = number(0.0, 0, 1_000)  # loss: L1 of the log-magnitude image [50 dB]
    mr_stft_weight: float = number(0.0, 0, 1_000)  # loss: multi-resolution STFT of the waveform
    mel_weight: float = number(3.0, 0, 1_000)  # loss: log-mel spectra of the waveform
    variance_weight: float = number(1.0, 0, 1_000)  # loss: global variance of the cepstra
    gan_weight: float = number(0.5, 0, 1_000)  # loss: opinion of the critic
    mismatch_weight: float = number(0.3, 0, 1)  # critic: share of mismatched pairs among the fakes
    # loss of the critic at which the generator's turn begins
    critic_threshold: float = number(0.65, 0, 1_000)
    max_critic_steps: int = number(2, 1, 1_000)  # most steps of the critic in a turn
    ema_decay: float = number(0.99, 0, 0.99999)  # decay of the averaged weights, which are saved
    seed: int = number(42, 0, 2**32 - 1)

    def _check_together(self):
        check(
            self.image_weight + self.mr_stft_weight + self.mel_weight > 0,
            "image_weight, mr_stft_weight and mel_weight are all 0; one must be above 0",
        )


@dataclass(frozen=True)
class Config(TrainConfig, ModelConfig, AnonymizeConfig, AudioConfig):
    """All settings of a voice; saved beside its weights.

    Examples
    --------
    >>> from dataclasses import replace
    >>> cfg = replace(Config(), sr=22_050, n_fft=1024, hop_length=256)
    >>> cfg.n_freqs
    513
    """

    def _check_together(self):
        check(
            not self.is_private,
            f"preset={self.preset!r} is for AnonymizeConfig alone; a voice needs a preset that moves "
            "speech to its target, such as 'neutral'",
        )

    def values(self) -> dict:
        """Content of the config's file: all settings and the version, as JSON types."""
        return json.loads(json.dumps({"version": CONFIG_VERSION} | dataclasses.asdict(self)))

    def save(self, path) -> None:
        """Write as JSON, atomically."""
        text = json.dumps(self.values(), indent=1) + "\n"
        atomically(path, lambda part: part.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path) -> "Config":
        """Read a file that `save` wrote.

        Raises
        ------
        MissingInput
            If the file does not exist.
        ParameterError
            If it is not JSON, has another version, or holds an unknown setting or an invalid value.
        """
        return cls.from_values(read_values(path), path)

    @classmethod
    def from_values(cls, values: dict, path) -> "Config":
        """Config of the values that `read_values` returned; errors are those of `load`."""
        values = dict(values)
        version = values.pop("version", None)
        check(
            version == CONFIG_VERSION and not isinstance(version, bool),
            f"{path} has config version {version!r}, this code reads {CONFIG_VERSION}; "
            "update vc_lib or train the voice again",
        )
        names = {f.name for f in dataclasses.fields(cls)}
        missing = sorted(names - set(values) - set(ADDED))
        check(not missing, f"{path} lacks {', '.join(missing)}; copy the voice's folder again")
        unknown = sorted(set(values) - names)
        check(
            not unknown,
            f"{path} holds unknown settings: {', '.join(unknown)}; "
            "it was saved by a later version of vc_lib",
        )
        try:
            if values.get("target") is not None:
                values["target"] = SpeakerStats(**values["target"])
            return cls(**values)
        except (TypeError, OverflowError) as e:
            raise ParameterError(
                f"{path} holds a value of the wrong type ({e}); copy the voice's folder again"
            ) from e


def read_values(path) -> dict:
    """Read the values of a config's file without checking them.

    Raises
    ------
    MissingInput
        If the file does not exist.
    ParameterError
        If it is not JSON, not an object, or too large.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder; name the config.json in it" if path.is_dir() else "does not exist"
        raise MissingInput(f"{path} {what}; a voice's folder holds it beside generator.safetensors")
    way_out = "copy the voice's folder again"
    values = parsed_json(read_limited(path, MAX_BYTES, way_out), path, way_out)
    check(isinstance(values, dict), f"{path} must hold a JSON object, got {type(values).__name__}")
    return values
