"""What a person puts into a notebook: speech of their own, and the positions of the dials."""

import html
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets

from ..audio import check_sr, load_wav, resample
from ..config import F0_MODES, PRESETS, AnonymizeConfig
from ..errors import MissingInput, ParameterError

MAX_SECONDS = 30.0  # of a take [s]
# Dials of AnonymizeConfig: what stands beside each, the range of its slider, its step
SLIDERS = {
    "f0_register_hz": ("register without a target [Hz]", 80.0, 320.0, 5.0),
    "f0_shift_semitones": ("pitch up or down [semitones]", -12.0, 12.0, 0.5),
    "f0_noise_semitones": ("noise of the pitch [semitones]", 0.0, 6.0, 0.5),
    "formant_ratio": ("formants times", 0.7, 1.4, 0.05),
    "n_cepstra": ("cepstral coefficients (0: all)", 0, 80, 4),
    "blur_hz": ("blur of the envelope [Hz]", 0.0, 800.0, 50.0),
    "match_target": ("envelope to the target (0 to 1)", 0.0, 1.0, 0.1),
    "match_smooth_ms": ("that, smoothed over [ms]", 0.0, 60.0, 5.0),
    "highpass_db_per_octave": ("fall below F0 [dB an octave]", 0.0, 48.0, 3.0),
    "n_ap_bands": ("bands of aperiodicity (0: all)", 0, 16, 1),
    "ap_noise": ("noise of aperiodicity (0 to 1)", 0.0, 1.0, 0.1),
}
ORDER = ("f0_mode", *SLIDERS)


class Recorder(anywidget.AnyWidget):
    """A microphone recorder with a count-in, a level and a longest take.

    Browsers give a microphone to pages of localhost and https only; elsewhere it says so. Nothing is sent
    anywhere but to this kernel.

    Parameters
    ----------
    max_seconds : float [s]

    Attributes
    ----------
    taken : dict or None
        What was said: `sr` [Hz] and `samples` (float32 as bytes). `observe` it to hear of a new take.
    """

    _esm = Path(__file__).with_name("recorder.js")
    taken = traitlets.Any(None, allow_none=True).tag(sync=True)
    max_seconds = traitlets.Float(MAX_SECONDS, min=1.0).tag(sync=True)

    def wav(self, sr: int) -> np.ndarray | None:
        """The last take [shape=(n_samples,), float32, -1..1] at a rate [Hz]; None before the first."""
        if self.taken is None:
            return None
        samples = np.frombuffer(self.taken["samples"], np.float32)
        return np.clip(resample(samples, int(self.taken["sr"]), check_sr(sr)), -1, 1)


class SpeechInput(ipywidgets.VBox):
    """Choose speech: one of some clips, an upload, or a recording; what was chosen last counts.

    Parameters
    ----------
    clips : sequence of Path
        Offered by their names; the first is chosen at the start.
    sr : int [Hz]
        Rate that the speech is wanted at.
    max_seconds : float [s]
        Of a take, and of what is used of a clip or an upload, from its beginning.

    Attributes
    ----------
    wav : np.ndarray [shape=(n_samples,), float32, -1..1]
        `observe(function, "wav")` to hear of another.
    name : str
        Of what was chosen, without an ending.

    Raises
    ------
    ParameterError
        If there are no clips, or the first is silent or no sound.
    MissingInput
        If there is no such file.
    """

    wav = traitlets.Any()
    name = traitlets.Unicode()

    def __init__(self, clips: Sequence[Path], sr: int, max_seconds: float = MAX_SECONDS):
        if not len(clips):
            raise ParameterError(
                "clips=[] must hold a clip to begin with, as list_audio gives them"
            )
        self.sr, self.max_seconds = check_sr(sr), max_seconds
        options = [(Path(clip).stem, Path(clip)) for clip in clips]
        self.menu = ipywidgets.Dropdown(options=options, description="sample clip")
        self.upload = ipywidgets.FileUpload(accept="audio/*,video/*", description="your file")
        self.recorder = Recorder(max_seconds=max_seconds)
        self.said = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox([self.menu, self.upload]), self.recorder, self.said])
        self.menu.observe(
            lambda change: change.new and self._choose(change.new.stem, change.new), "value"
        )
        self.upload.observe(self._uploaded, "value")
        self.recorder.observe(
            lambda _: self._bring("recording", self.recorder.wav(self.sr)), "taken"
        )
        name, path = options[0]
        if not self._take(name, load_wav(path, self.sr)):
            raise ParameterError(f"{path} is silent; choose a clip in which somebody speaks")

    def _uploaded(self, change) -> None:
        for file in change.new:
            name = Path(file["name"])
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"upload{name.suffix}"
                path.write_bytes(file["content"])
                try:
                    self._bring(name.stem, load_wav(path, self.sr))
                except (ParameterError, MissingInput) as e:  # what was chosen before stays
                    self._say(str(e).replace(str(path), name.stem))

    def _choose(self, name: str, path: Path) -> None:
        try:
            self._take(name, load_wav(path, self.sr))
        except (ParameterError, MissingInput) as e:
            self._say(str(e))

    def _bring(self, name: str, wav: np.ndarray) -> None:
        """Take what is none of the menu's clips, and let the menu show none: all of them can be chosen."""
        if self._take(name, wav):
            self.menu.value = None

    def _take(self, name: str, wav: np.ndarray) -> bool:
        """Whether it could be taken: silence cannot."""
        used = wav[: int(self.max_seconds * self.sr)]
        if not np.any(used):
            self._say(f"{name} is silent; choose another, or look at the microphone")
            return False
        self.name = name
        self.wav = used
        whole, seconds = len(wav) / self.sr, len(used) / self.sr
        self._say(
            f"{name}: {'the first ' * (whole > seconds)}{seconds:.1f} s"
            + f" of {whole:.1f}" * (whole > seconds)
        )
        return True

    def _say(self, text: str) -> None:
        self.said.value = html.escape(text)


class Dials(ipywidgets.VBox):
    """Every dial of the anonymiser, each with its unit; a preset puts all of them in its position.

    Parameters
    ----------
    config : AnonymizeConfig
        Where the dials stand at first. What has no dial here (pitch tracker, target) stays as it is.

    Attributes
    ----------
    config : AnonymizeConfig
        Where they stand now; `observe(function, "config")` to hear of a change.
    """

    config = traitlets.Instance(AnonymizeConfig)

    def __init__(self, config: AnonymizeConfig):
        self.start = config
        look = dict(style={"description_width": "14em"}, layout={"width": "34em"})
        self.presets = ipywidgets.Dropdown(
            options=list(PRESETS), value=config.preset, description="preset", **look
        )
        self.dials = {}
        for name, (label, low, high, step) in SLIDERS.items():
            slider = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
            self.dials[name] = slider(
                min=low, max=high, step=step, description=label, continuous_update=False, **look
            )
        self.dials["f0_mode"] = ipywidgets.Dropdown(options=F0_MODES, description="pitch", **look)
        self.line = ipywidgets.Textarea(
            description="copy as config",
            rows=2,
            style={"description_width": "14em"},
            layout={"width": "60em"},
        )
        self._filling = False
        self._fill(config)
        super().__init__([self.presets, *(self.dials[name] for name in ORDER), self.line])
        self.presets.observe(self._preset, "value")
        for dial in self.dials.values():
            dial.observe(self._turned, "value")
        self._turned()

    def _preset(self, change) -> None:
        self._fill(AnonymizeConfig(preset=change.new))
        self._turned()

    def _fill(self, config: AnonymizeConfig) -> None:
        self._filling = True
        values = {name: getattr(config, name) for name in self.dials} | config.dials
        try:
            for name, dial in self.dials.items():
                dial.value = values[name]
        finally:
            self._filling = False

    def _turned(self, change=None) -> None:
        if self._filling:
            return
        preset = PRESETS[self.presets.value]
        values = {name: dial.value for name, dial in self.dials.items()}
        values = {k: None if k in preset and v == preset[k] else v for k, v in values.items()}
        config = replace(self.start, preset=self.presets.value, **values)
        usual = AnonymizeConfig()
        said = {k: v for k, v in values.items() if v is not None and v != getattr(usual, k)}
        if config.preset != usual.preset:
            said = {"preset": config.preset} | said
        self.line.value = (
            f"cfg = replace({', '.join(['cfg', *(f'{k}={v!r}' for k, v in said.items())])})"
        )
        self.config = config
