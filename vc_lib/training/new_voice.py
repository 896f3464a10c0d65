"""Train a new voice from a folder of recordings: the generator alone, from the base that ships."""

from collections.abc import Callable
from pathlib import Path

from ..audio import list_audio
from ..config import Config
from ..corpus import learn_target, prepare, split
from ..errors import ParameterError
from ..model.networks import Generator
from ..model.voice_folder import BASE, HISTORY, PACKAGE, save_voice
from .base import from_base
from .callbacks import EpochBar
from .dataset import make_dls
from .run import fit
from .stages import generator_learner
from .strangers import add_strangers

# epochs, and pseudo-strangers that speak each recording
WHOLE, QUICK = (12, 2), (4, 1)


def train_new_voice(
    recordings,
    name: str,
    quick: bool = False,
    n_epochs: int | None = None,
    say: Callable[[str], object] = print,
    cache_dir="data/cache",
) -> Path:
    """Train a voice into models/NAME; interrupted, the same call goes on after the last whole epoch.

    Parameters
    ----------
    recordings : str or Path
        A folder of recordings of one speaker.
    name : str
        One word.
    quick : bool
        A third of the steps.
    n_epochs : int, optional
        12 by default, or 4.
    say : callable
        Is told what is done now.
    cache_dir : str or Path
        Folder of the analyzed recordings, their waveforms included, and of the pseudo-strangers.

    Returns
    -------
    run : Path
        The voice's folder.

    Raises
    ------
    MissingInput, ParameterError
        If the folder does not exist or holds no recording, if `n_epochs` is less than 1, or if
        `name` is no word or is that of a voice that was made otherwise.
    NotWritten
        If the disk is full.
    """
    default, n_strangers = QUICK if quick else WHOLE
    n_epochs = default if n_epochs is None else n_epochs
    if n_epochs < 1:
        raise ParameterError(f"--epochs {n_epochs} must be at least 1")
    run = _check_name(name)
    files = list_audio(recordings)
    say(f"analyzing {len(files)} recordings")
    cfg = Config()
    known, held_out = split(prepare(files, cfg, cache_dir), cfg)
    cfg = learn_target(known, cfg)
    generator = from_base(cfg)
    if save_untrained(generator, cfg, run):
        say(f"{run} speaks already, by statistics alone; training brings it nearer")
    say("making pairs: the recordings, spoken by strangers and anonymized")
    known = add_strangers(known, cfg, n_strangers, cache_dir)
    held_out = add_strangers(held_out, cfg, cache_dir=cache_dir)
    learn = generator_learner(make_dls(known, held_out, cfg), generator)
    say(f"training, {n_epochs} epochs in all; Ctrl+C keeps whole ones, the same command goes on")
    with learn.no_mbar():
        fit(learn, run, "generator", n_epochs, cbs=[EpochBar()])
    return run


def save_untrained(generator: Generator, cfg: Config, run: Path) -> bool:
    """Save the voice before training; False if the run has begun, and keeps its own."""
    if (run / HISTORY).exists():
        return False
    save_voice(generator.state_dict(), cfg, run)
    return True


def _check_name(name: str) -> Path:
    """Folder of a new voice; ParameterError if it would replace another."""
    run = Path("models") / name
    if not name or name in (".", "..") or Path(name).name != name:
        raise ParameterError(f"name={name!r} must be one word without slashes, such as anna")
    ships = name == BASE or (PACKAGE / "voices" / name).exists()
    if ships or ((run / HISTORY).exists() and not (run / "generator.checkpoint.pt").exists()):
        raise ParameterError(f"{name} is a voice that is there already; choose another name")
    return run
