"""The panel of notebook 03: choose speech, a voice and dials, and convert."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np

from ..audio import resample, save_wav
from ..convert import Voice, load_voice
from ..errors import MissingInput, ParameterError
from ..listen.tracks import data_url
from ..model.voice_folder import BASE, WEIGHTS, find_voice
from .compare import beside
from .players import Player
from .widgets import LOOK, SpeechInput


def find_voices(voice_dir, folder="models") -> list[Path]:
    """`voice_dir` and the voices in `folder`, newest first."""
    trained = {path.parent for path in Path(folder).glob(f"*/{WEIGHTS}")} - {Path(folder) / BASE}
    found = {find_voice(voice_dir), *trained}
    return sorted(found, key=lambda path: (-(path / WEIGHTS).stat().st_mtime, path))


class ConvertPanel(ipywidgets.VBox):
    """Convert a clip, an upload or a recording with any voice; the result is played and saved.

    The first clip is converted at once, so that there is something to hear.

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
        A recording of the voice of the page, played beside its results and as long as these.

    Attributes
    ----------
    speech : SpeechInput
    player : Player
    name : str
        Name of the last speech that was converted.
    sounds : dict of label to np.ndarray [shape=(n_samples,), -1..1], at the rate of `voice`
        Its "source", "anonymized" and "converted".
    saved : Path
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
        self.of_target = of_target or {}
        self.player: Player | None = None
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
        self.status, self.download = ipywidgets.HTML(), ipywidgets.HTML()
        self.convert()
        dials = ipywidgets.VBox([self.menu, self.offset, self.strength])
        done = ipywidgets.HBox([self.button, self.download, self.status])
        super().__init__([self.speech, dials, done, self.player])
        self.button.on_click(self._clicked)
        self.speech.observe(self._chosen, "wav")

    def _chosen(self, _) -> None:
        self.button.disabled = self.speech.wav is None
        self.status.value, self.download.value = "press convert" * (not self.button.disabled), ""

    def _clicked(self, _) -> None:
        self.button.disabled, self.status.value = True, "converting"
        try:
            self.convert()
        except (ParameterError, MissingInput, OSError) as e:
            self.status.value = html.escape(str(e))
        finally:
            self.button.disabled = False

    def chosen_voice(self) -> Voice:
        """The voice of the menu, with the positions of the sliders."""
        is_of_page = self.menu.value == self.voice_dir
        voice = self.voice if is_of_page else load_voice(self.menu.value)
        return voice.with_dials(self.offset.value, self.strength.value)

    def convert(self) -> None:
        """Convert the chosen speech, save the result, and show a player and a link to download it."""
        voice, sr = self.chosen_voice(), self.voice.sr
        source = resample(self.speech.wav, sr, voice.sr)
        made = {"source": source, "anonymized": voice.anonymize(source, voice.sr)}
        made["converted"] = voice.convert(source, voice.sr)
        saved = self.out_dir / f"{self.speech.name}_yours.wav"
        save_wav(saved, made["converted"], voice.sr, comment=voice.disclosure)
        self.name, self.saved = self.speech.name, saved
        self.sounds = {label: resample(wav, voice.sr, sr) for label, wav in made.items()}
        self._show()

    def _show(self) -> None:
        """Show the sounds; the target, if they are in its voice, is cut to their length."""
        of_page = self.of_target if self.menu.value == self.voice_dir else {}
        sounds = beside(self.sounds, of_page)
        if self.player:
            self.player.show(sounds, self.voice.sr)
        else:
            self.player = Player(sounds, self.voice.sr)
        self.player.active = list(sounds).index("converted")
        link, name = data_url("audio/wav", self.saved.read_bytes()), html.escape(self.saved.name)
        self.download.value = (
            f'<a class="jupyter-button widget-button" download="{name}" href="{link}">download</a>'
        )
        self.status.value = f"saved: {html.escape(str(self.saved))} (synthetic: say so)"
