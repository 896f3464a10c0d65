"""Steps that the two 02 notebooks share: a tiny run, a summary of the corpus, clips to evaluate and convert."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import list_audio, load_wav
from ..config import Config
from ..convert import Voice
from ..corpus import CorpusItem
from ..evaluate.clips import spread
from ..model.networks import Generator, OnArrays
from ..training import new_voice

TINY: dict[str, Any] = dict(
    f0_method="dio", width=8, depth=3, critic_width=8, n_frames=64, bs=2, max_crops=6
)  # settings of a run of seconds
N_TINY_FILES = 6


def tiny_run(cfg: Config, files: Sequence[Path], run_dir: Path) -> tuple[Config, list[Path], Path]:
    """A tiny network, the smallest files, and a run folder with "-smoke" in its name."""
    smallest = sorted(files, key=lambda file: file.stat().st_size)[:N_TINY_FILES]
    return replace(cfg, **TINY), smallest, run_dir.with_name(f"{run_dir.name}-smoke")


def corpus_summary(train: Sequence[CorpusItem], valid: Sequence[CorpusItem], cfg: Config) -> str:
    """How much speech there is, and the register of the target.

    Parameters
    ----------
    train, valid : sequences of CorpusItem
        From `split`: recordings (files), those over 8 s in chunks.
    cfg : Config
        With its `target` set.
    """
    minutes = sum(item.seconds for item in train) / 60
    n_train, n_valid = (len({item.path for item in items}) for items in (train, valid))
    return (
        f"training: {n_train} recordings in {len(train)} chunks, {minutes:.1f} minutes\n"
        f"validation: {n_valid} recordings in {len(valid)} chunks\n"
        f"register: {cfg.target.f0_hz:.0f} Hz, spread {cfg.target.f0_std_semitones:.1f} semitones"
    )


def evaluation_clips(
    valid: Sequence[CorpusItem], others_dir, cfg: Config, n: int = 2, max_seconds: float = 8.0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Clips for `EvaluateCallback`: `n` of the target and `n` of other speakers.

    Parameters
    ----------
    valid : sequence of CorpusItem
        Held-out recordings of the target.
    others_dir : str or Path
        Folder of other speakers. Its clips are chosen at equal steps, so not all are of the first.
    cfg : Config
    n : int
    max_seconds : float [s]

    Returns
    -------
    own, others : lists of np.ndarray [shape=(n_samples,), -1..1], at `cfg.sr`
    """
    n_samples = round(max_seconds * cfg.sr)
    paths = spread(list_audio(others_dir), n)
    own = [item.load()[0][:n_samples] for item in valid[:n]]
    return own, [load_wav(path, cfg.sr)[:n_samples] for path in paths]


def save_untrained(generator: Generator, cfg: Config, run_dir) -> None:
    """Save the voice before training, by statistics and the base alone; a run that has begun keeps its own."""
    if new_voice.save_untrained(generator, cfg, Path(run_dir)):
        print(f'{run_dir} speaks already: voice_dir = "{run_dir}" in 03')


def convert(generator: Generator, cfg: Config, wav: np.ndarray) -> np.ndarray:
    """Convert speech with a generator that is still in training.

    Parameters
    ----------
    generator : Generator
        It stays as it is, but for its mode: `eval`.
    cfg : Config
        With its `target` set.
    wav : np.ndarray [shape=(n_samples,), -1..1], at `cfg.sr`

    Returns
    -------
    converted : np.ndarray [shape=(n_samples,), float32, -1..1]
    """
    device = next(generator.parameters()).device
    return Voice(OnArrays(generator, device), cfg).convert(wav, cfg.sr)
