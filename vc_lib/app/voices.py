"""The voices of the page: listed by name, each loaded once and shared by all who use it."""

from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from ..config import Config
from ..convert import Voice, load_voice
from ..errors import MissingInput
from ..model.voice_folder import BASE, CONFIG, VOICES, WEIGHTS

FIRST = ("ljspeech", "kathleen")  # the shipped voices lead the menu


class VoiceCache:
    """The voices of a folder, of `models/`, and those that ship.

    Parameters
    ----------
    folder : str or Path
        Its subfolders are voices; where names are the same, they win.
    """

    def __init__(self, folder="models"):
        self.parents = [Path(folder), *map(Path, VOICES)]
        self._loaded: dict[Path, tuple[int, Voice]] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        """Names of all voices: the shipped ones, then the newest."""
        found = self._folders()
        others = sorted(found.keys() - set(FIRST), key=lambda n: (-_changed_ns(found[n]), n))
        return [name for name in FIRST if name in found] + others

    def chosen(
        self, name: str, semitones: float | None = None, strength: float | None = None
    ) -> Voice:
        """A voice with dials of its own; it shares its network with everybody.

        Parameters
        ----------
        name : str
            One of `names()`.
        semitones, strength : float, optional
            As in `Voice.with_dials`.

        Raises
        ------
        MissingInput
            If there is no such voice.
        ParameterError
            If the voice is damaged, or a dial is out of range.
        """
        return self._load(name).with_dials(semitones, strength)

    def config(self, name: str) -> Config:
        """The settings of a voice, without its network; errors as in `chosen`."""
        return Config.load(self.folder(name) / CONFIG)

    def _folders(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self._candidates():
            found.setdefault(path.name, path)
        found.pop(BASE, None)
        return found

    def _candidates(self) -> Iterator[Path]:
        for parent in self.parents:
            yield from (path.parent for path in sorted(parent.glob(f"*/{WEIGHTS}")))

    def folder(self, name: str) -> Path:
        """The folder of a voice; MissingInput if there is no such voice."""
        folder = self._folders().get(name)
        if folder is None:
            raise MissingInput(f"the voice {name} is gone; choose another one")
        return folder

    def _load(self, name: str) -> Voice:
        folder = self.folder(name)
        with self._lock:
            changed_ns = _changed_ns(folder)  # training writes better weights
            known = self._loaded.get(folder)
            if known is None or known[0] != changed_ns:
                known = self._loaded[folder] = changed_ns, load_voice(folder)
            return known[1]


def _changed_ns(folder: Path) -> int:
    try:
        return (folder / WEIGHTS).stat().st_mtime_ns
    except FileNotFoundError:  # removed just now
        return 0
