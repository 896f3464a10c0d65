"""Input of a notebook: speech of the reader, and the dials of the anonymizer.

Recorder     records the microphone
SpeechInput  a clip, an upload or a recording
Dials        a slider for each dial of `AnonymizeConfig`
DialsPanel   a player of the result above the dials
"""

import dataclasses
import html
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets

from ..anonymize import Features, render, resynthesize, transform
from ..anonymize.pipeline import measured_source
from ..audio import check_sr, load_wav, resample
from ..config import F0_MODES, PRESETS, PRIVATE, UNVOICED, VOICED, AnonymizeConfig
from ..errors import MissingInput, ParameterError
from .players import Player

MAX_SECONDS = 30.0  # longest recording [s]
# as wide as the longest label, which browsers cut otherwise
LOOK = dict(style={"description_width": "21em"}, layout={"width": "41em"})
FIELDS = {field.name: field.metadata for field in dataclasses.fields(AnonymizeConfig)}
# Label and step of each slider. Its range and unit are those of the config's field.
SLIDERS = {
    "f0_register_hz": ("register without a target", 5.0),
    "f0_shift_semitones": ("pitch up or down", 0.5),
    "f0_noise_semitones": ("noise of the pitch", 0.5),
    "formant_ratio": ("formants times", 0.05),
    "n_cepstra": ("cepstral coefficients", 4),
    "blur_hz": ("blur of the envelope", 50.0),
    "match_target": ("share of the target's envelope", 0.1),
    "match_smooth_ms": ("smoothing of that change", 5.0),
    "highpass_db_per_octave": ("attenuation below F0, an octave", 3.0),
    "n_ap_bands": ("bands of aperiodicity", 1),
    "ap_gain_db": ("gain of aperiodicity", 1.0),
    "ap_noise": ("noise of aperiodicity", 0.1),
}
# Narrower ranges for display, where most of the field's range is useless
DISPLAYED = {
    "f0_register_hz": (80.0, 320.0),  # human voices; the config rejects what no tracker would find
    "f0_shift_semitones": (-12.0, 12.0),  # an octave either way
    "f0_noise_semitones": (0.0, 6.0),  # above, no melody is left
    "blur_hz": (0.0, 800.0),  # above, no formant is left
    "ap_gain_db": (-20.0, 20.0),  # outside, a voice is all buzz or all hiss
}
# Label and values of each menu
MENUS = {
    "f0_mode": ("pitch", F0_MODES),
    "voiced": ("voiced sound from", VOICED),
    "unvoiced": ("all other sound from", UNVOICED),
}


class Recorder(anywidget.AnyWidget):
    """A microphone recorder with a countdown, a level meter and a maximum length.

    Browsers allow the microphone on localhost and https only; elsewhere the widget says so. The
    recording is sent to this kernel and nowhere else.

    Parameters
    ----------
    max_seconds : float [s]

    Attributes
    ----------
    recording : dict or None
        The last recording: `sr` [Hz] and `samples` (float32 as bytes). `observe` it to be told of a
        new one.
    """

    _esm = Path(__file__).with_name("recorder.js")
    recording = traitlets.Any(None, allow_none=True).tag(sync=True)
    max_seconds = traitlets.Float(MAX_SECONDS, min=1.0).tag(sync=True)

    def wav(self, sr: int) -> np.ndarray | None:
        """The last recording at `sr` [shape=(n_samples,), float32, -1..1]; None before the first."""
        if self.recording is None:
            return None
        samples = np.frombuffer(self.recording["samples"], np.float32)
        return np.clip(resample(samples, int(self.recording["sr"]), check_sr(sr)), -1, 1)


class SpeechInput(ipywidgets.VBox):
    """Choose speech: a clip of a list, an upload, or a recording. The last choice counts.

    Parameters
    ----------
    clips : sequence of Path
        The list. The first clip is chosen at the start.
    sr : int [Hz]
        Sampling rate of `wav`.
    max_seconds : float [s]
        Longest recording. Of a longer clip or upload the beginning is used.

    Attributes
    ----------
    wav : np.ndarray [shape=(n_samples,), float32, -1..1] or None
        The chosen speech; None after a choice that failed. `observe(function, "wav")` to be told
        of a new choice.
    name : str
        Its file name without suffix; of a recording, "recording" and the time; "" without `wav`.

    Raises
    ------
    ParameterError
        If there are no clips, or the first is silent or not audio.
    MissingInput
        If the first clip does not exist.
    """

    wav = traitlets.Any()
    name = traitlets.Unicode()

    def __init__(self, clips: Sequence[Path], sr: int, max_seconds: float = MAX_SECONDS):
        if not len(clips):
            raise ParameterError("clips=[] must hold at least one clip, as from list_audio(folder)")
        self.sr, self.max_seconds = check_sr(sr), max_seconds
        options = [(Path(clip).stem, Path(clip)) for clip in clips]
        self.menu = ipywidgets.Dropdown(options=options, description="sample clip")
        self.upload = ipywidgets.FileUpload(accept="audio/*,video/*", description="your file")
        self.recorder = Recorder(max_seconds=max_seconds)
        self.status = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox([self.menu, self.upload]), self.recorder, self.status])
        self.menu.observe(self._clip_chosen, "value")
        self.upload.observe(self._uploaded, "value")
        self.recorder.observe(self._recorded, "recording")
        name, path = options[0]
        if not self._use(name, load_wav(path, self.sr)):
            raise ParameterError(f"{path} is silent; choose a clip with speech")

    def _clip_chosen(self, change) -> None:
        path = change.new
        if path is None:  # the menu was cleared, see `_use_other`
            return
        try:
            self._use(path.stem, load_wav(path, self.sr))
        except (ParameterError, MissingInput) as e:
            self._refuse(str(e))

    def _uploaded(self, change) -> None:
        for file in change.new:
            name = Path(file["name"])
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"upload{name.suffix}"
                path.write_bytes(file["content"])
                try:
                    self._use_other(name.stem, load_wav(path, self.sr))
                except (ParameterError, MissingInput) as e:
                    self.menu.value = None
                    self._refuse(str(e).replace(str(path), name.name))

    def _recorded(self, _) -> None:
        self._use_other(f"recording_{datetime.now():%Y%m%d_%H%M%S}", self.recorder.wav(self.sr))

    def _use_other(self, name: str, wav: np.ndarray) -> None:
        """Use speech that is not in the menu, and clear the menu so that each clip can be chosen."""
        self.menu.value = None
        self._use(name, wav)

    def _use(self, name: str, wav: np.ndarray) -> bool:
        """Make `wav` the choice and return True, or return False if it is silent."""
        used = wav[: int(self.max_seconds * self.sr)]
        if not np.any(used):
            self._refuse(f"{name} is silent; choose another, or check the microphone")
            return False
        self.name = name
        self.wav = used
        whole, seconds = len(wav) / self.sr, len(used) / self.sr
        length = f"{seconds:.1f} s" if whole == seconds else f"first {seconds:.1f} of {whole:.1f} s"
        self._show_status(f"{name}: {length}")
        return True

    def _refuse(self, reason: str) -> None:
        """Choose nothing, so that a failed choice is not taken for the one before, and say why."""
        self.name, self.wav = "", None
        self._show_status(f"Nothing is chosen: {reason}")

    def _show_status(self, text: str) -> None:
        self.status.value = html.escape(text)


class Dials(ipywidgets.VBox):
    """A slider or menu for every dial of the anonymizer; a preset sets all of them.

    Parameters
    ----------
    config : AnonymizeConfig
        Initial positions. Settings without a dial (F0 tracker, target) stay as they are.

    Attributes
    ----------
    config : AnonymizeConfig
        Current positions; `observe(function, "config")` to be told of a change.
    code : ipywidgets.Textarea
        The line of Python that makes this config from the default one.
    """

    config = traitlets.Instance(AnonymizeConfig)

    def __init__(self, config: AnonymizeConfig):
        self.initial = config
        self.presets = ipywidgets.Dropdown(
            options=[name for name in PRESETS if name not in PRIVATE],
            value=config.preset,
            description="preset",
            **LOOK,
        )
        menus = {
            name: ipywidgets.Dropdown(options=values, description=label, **LOOK)
            for name, (label, values) in MENUS.items()
        }
        self.dials = menus | {name: _slider(name) for name in SLIDERS}
        self.code = ipywidgets.Textarea(
            description="copy as config", rows=2, style=LOOK["style"], layout={"width": "60em"}
        )
        self._ignore_changes = False
        self._set_dials(config)
        super().__init__([self.presets, *self.dials.values(), self.code])
        self.presets.observe(self._preset_chosen, "value")
        for dial in self.dials.values():
            dial.observe(self._dial_turned, "value")
        self._update()

    def _preset_chosen(self, change) -> None:
        self._set_dials(AnonymizeConfig(preset=change.new))
        self._update()

    def _dial_turned(self, _) -> None:
        if not self._ignore_changes:
            self._update()

    def _set_dials(self, config: AnonymizeConfig) -> None:
        """Move all dials without an update for each."""
        self._ignore_changes = True
        values = {name: getattr(config, name) for name in self.dials} | config.dials
        try:
            for name, dial in self.dials.items():
                dial.value = values[name]
        finally:
            self._ignore_changes = False

    def _update(self) -> None:
        """Renew `config` and `code` from the dials."""
        preset = PRESETS[self.presets.value]
        values = {name: dial.value for name, dial in self.dials.items()}
        values = {k: None if k in preset and v == preset[k] else v for k, v in values.items()}
        config = replace(self.initial, preset=self.presets.value, **values)
        default = AnonymizeConfig()
        changed = {k: v for k, v in values.items() if v is not None and v != getattr(default, k)}
        if config.preset != default.preset:
            changed = {"preset": config.preset} | changed
        arguments = ["cfg", *(f"{name}={value!r}" for name, value in changed.items())]
        self.code.value = f"cfg = replace({', '.join(arguments)})"
        self.config = config


def _slider(name: str) -> ipywidgets.IntSlider | ipywidgets.FloatSlider:
    """The slider of a dial, with range and unit of its field in `AnonymizeConfig`."""
    (label, step), rule = SLIDERS[name], FIELDS[name]
    low, high = DISPLAYED.get(name, (rule["low"], rule["high"]))
    unit = rule["unit"]
    if unit:
        label = f"{label} {unit if unit.startswith('(') else f'[{unit}]'}"
    kind = ipywidgets.IntSlider if rule["whole"] else ipywidgets.FloatSlider
    return kind(min=low, max=high, step=step, description=label, continuous_update=False, **LOOK)


class DialsPanel(ipywidgets.VBox):
    """A player above dials: each turn makes the sound "yours" anew, beside WORLD's "copy".

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        The speech.
    features : Features
        Of `wav`. They are not analyzed again.
    config : AnonymizeConfig
        Initial positions of the dials.

    Attributes
    ----------
    dials : Dials
    player : Player
    """

    def __init__(self, wav: np.ndarray, features: Features, config: AnonymizeConfig):
        self.wav, self.features = wav, features
        self.copy, self.source = resynthesize(features, len(wav)), measured_source(features, config)
        self.dials = Dials(config)
        self.player = Player(*self._sounds())
        self.player.active = 1
        super().__init__([self.player, self.dials])
        self.dials.observe(lambda _: self.player.show(*self._sounds()), "config")

    def _sounds(self) -> tuple:
        """Arguments of `Player`: waveforms, sampling rate, MP3, pitch."""
        cfg = self.dials.config
        changed = transform(self.features, cfg, self.source)
        yours = render(self.wav, self.features, changed, cfg, self.source)
        wavs = {"copy": self.copy, "yours": yours}
        return wavs, self.features.sr, False, {"copy": self.features, "yours": changed}
