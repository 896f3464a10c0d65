"""The base: a generator trained on many speakers, from which the training of a voice begins.

Each speaker of a corpus is the target in turn: the corpus gives pairs of pseudo-strangers, each
normalized to the statistics of its own speaker. No sentence can be learnt by heart, as each
speaker says but few. So the base learns what the anonymizer and the vocoder do wrong for everybody.
`tools/train_base.py` trains it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from fastprogress.fastprogress import progress_bar

from ..config import AudioConfig, Config, ModelConfig
from ..corpus import CorpusItem, learn_target, prepare
from ..errors import ParameterError
from ..model.networks import Generator, with_weights
from ..model.voice_folder import BASE, find_voice, read_voice
from .strangers import add_strangers

# settings of images and of the generator, which the base and a voice have in common
SHARED = tuple(
    f.name
    for f in (*fields(AudioConfig), *fields(ModelConfig))
    if f.name not in ("change_strength", "critic_width", "critic_depth")
)


def many_speakers(
    speakers: Iterable[Sequence[Path]],
    cfg: Config,
    n_strangers: int = 1,
    cache_dir="data/cache",
    n_jobs: int = -1,
) -> list[CorpusItem]:
    """Analyze recordings of many speakers, and make pseudo-strangers of each; cached on disk.

    Parameters
    ----------
    speakers : iterable of sequences of Path
        The files of each speaker.
    cfg : Config
        Settings of analysis and anonymizer; its `target` is not read.
    n_strangers : int [1..100]
        Number of strangers for each recording.
    cache_dir : str or Path
    n_jobs : int
        Number of processes; -1: one a core.

    Returns
    -------
    list of CorpusItem
        Each with its `speaker`, measured on all recordings of that speaker, and its `strangers`.
        Speakers of less than a quarter of a second of voiced speech are left out.

    Raises
    ------
    MissingInput, ParameterError, NotWritten
        As `corpus.prepare` and `add_strangers`.
    """
    made = []
    for files in progress_bar(list(speakers), leave=False):
        items = prepare(files, cfg, cache_dir, n_jobs)
        own = learn_target(items, cfg)
        if own.target.voiced_cov:
            items = add_strangers(items, own, n_strangers, cache_dir, n_jobs)
            made += [replace(item, speaker=own.target) for item in items]
    return made


def from_base(cfg: Config, folder=BASE) -> Generator:
    """A new generator with the weights of a base.

    Parameters
    ----------
    cfg : Config
        Of the voice to train.
    folder : str or Path
        The folder of a base or of any voice, or the name of one that ships; by default the base
        that ships.

    Returns
    -------
    generator : Generator

    Raises
    ------
    MissingInput, ParameterError
        If `find_voice` or `read_voice` refuses the folder, or the base has other networks or
        images than `cfg`.
    """
    weights, known = read_voice(find_voice(folder))
    other = [name for name in SHARED if getattr(known, name) != getattr(cfg, name)]
    if other:
        name = other[0]
        raise ParameterError(
            f"{name}={getattr(cfg, name)!r} must be {getattr(known, name)!r}, as in the base in {folder}; "
            "train with that, or from nothing"
        )
    torch.manual_seed(cfg.seed)
    return with_weights(cfg, weights)
