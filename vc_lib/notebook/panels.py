"""The panel of notebook 03: choose speech, a voice and dials, and convert."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np

from ..audio import resample, save_wav
from ..convert import Voice, load_voice
from ..model.networks import WEIGHTS
from ..model.voice_folder import BASE, find_voice
from .players import play
from .widgets import LOOK, SpeechInput


def find_voices(voice_dir, folder="models") -> list[Path]:
    """`voice_dir` and the voices in `folder`, newest first."""
    trained = {path.parent for path in Path(folder).glob(f"*/{WEIGHTS}")} - {Path(folder) / BASE}
    found = {find_voice(voice_dir), *trained}
    return sorted(found, key=lambda path: (-(path / WEIGHTS).stat().st_mtime, path))


class ConvertPanel(ipywidgets.VBox):
    """Convert a clip, an upload or a recording with any voice; the result is played and saved.

    Parameters
    ----------
    voice : Voice
        The voice of the page. It is not changed.
    voice_dir : str or Path
        Its folder.
    clips : sequence of Path
        Clips to choose from.
    out_dir : str or Path
        Folder of the results, `<name>_yours.wav`.
    of_target : dict of label to np.ndarray [shape=(n_samples,), -1..1], optional
        A recording of the voice of the page, played beside its results.

    Attributes
    ----------
    speech : SpeechInput
    saved : Path or None
        The last result.
    """

    def __init__(
        self,
        voice: Voice,
        voice_dir,
        clips: Sequence[Path],
        out_dir,
        of_target: Mapping[str, np.ndarray] | None = None,
    ):
        self.voice, self.voice_dir, self.out_dir = voice, find_voice(voice_dir), Path(out_dir)
        self.of_target, self.saved = of_target or {}, None
        cfg = voice.config
        self.speech = SpeechInput(clips, voice.sr)
        voices = [(str(folder), folder) for folder in sorted(find_voices(voice_dir))]
        self.menu = ipywidgets.Dropdown(
            options=voices, value=self.voice_dir, description="voice", **LOOK
        )
        self.offset = ipywidgets.FloatSlider(
            cfg.f0_shift_semitones,
            min=-12,
            max=12,
            step=0.5,
            description="pitch offset [semitones]",
            **LOOK,
        )
        self.strength = ipywidgets.FloatSlider(
            cfg.change_strength, min=0, max=1.5, step=0.1, description="strength (0 to 1.5)", **LOOK
        )
        self.button = ipywidgets.Button(description="convert", button_style="primary")
        self.result = ipywidgets.Output()
        self.button.on_click(self._clicked)
        dials = [self.menu, self.offset, self.strength]
        super().__init__([self.speech, *dials, self.button, self.result])

    def _clicked(self, _) -> None:
        self.button.disabled = True
        self.result.clear_output(wait=True)
        try:
            with self.result:  # errors are shown there
                self.convert()
        finally:
            self.button.disabled = False

    def chosen_voice(self) -> Voice:
        """The voice of the menu, with the positions of the sliders."""
        is_of_page = self.menu.value == self.voice_dir
        voice = copy(self.voice) if is_of_page else load_voice(self.menu.value)
        dials = dict(f0_shift_semitones=self.offset.value, change_strength=self.strength.value)
        voice.config = replace(voice.config, **dials)
        return voice

    def convert(self) -> None:
        """Convert the chosen speech, save the result and show a player."""
        voice = self.chosen_voice()
        wav = resample(self.speech.wav, self.voice.sr, voice.sr)
        converted = voice.convert(wav, voice.sr)
        self.saved = self.out_dir / f"{self.speech.name}_yours.wav"
        save_wav(self.saved, converted, voice.sr, comment=voice.disclosure)
        sounds = {"source": wav, "anonymized": voice.anonymize(wav, voice.sr)}
        sounds["converted"] = converted
        play(sounds | (self.of_target if self.menu.value == self.voice_dir else {}), voice.sr)
        print(f"saved: {self.saved}; this is synthetic speech, disclose it as such")
