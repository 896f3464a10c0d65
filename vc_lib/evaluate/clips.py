"""Clips to evaluate: what is measured on a waveform alone is computed once and cached."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..anonymize import Features, analyze
from ..audio import check_sr, check_wav, list_audio, load_wav
from ..config import AnonymizeConfig
from ..errors import ParameterError
from ..speaker import SpeakerStats
from . import judges


class cached:
    """A property that is computed once for each instance.

    It is `functools.cached_property` without its lock: until Python 3.12, all instances share that
    lock, and only one thread can work.
    """

    def __init__(self, compute: Callable):
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner, name: str):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.compute(instance)
        return value


class Clip:
    """A waveform, and what is measured on it alone: computed when first read, then cached.

    Give `evaluate` a Clip instead of an array where the same sound is compared many times.

    Attributes
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    features : Features
        WORLD features, from `anonymize.analyze`.
    words : str
        Transcript, from `judges.transcribe`.
    embedding : np.ndarray or None
        Speaker embedding, from `judges.speaker_embedding`.
    """

    def __init__(self, wav: np.ndarray, sr: int, f0_method: str = "harvest", name: str = "wav"):
        self.wav, self.sr, self.name = check_wav(wav, name), check_sr(sr), name
        self.cfg = AnonymizeConfig(f0_method=f0_method)

    @cached
    def features(self) -> Features:
        """WORLD features."""
        return analyze(self.wav, self.sr, self.cfg)

    @cached
    def words(self) -> str:
        """Transcript by the speech recognizer."""
        return judges.transcribe(self.wav, self.sr)

    @cached
    def embedding(self) -> np.ndarray | None:
        """Speaker embedding."""
        return judges.speaker_embedding(self.wav, self.sr)


def spread(paths: Sequence[Path], n: int) -> Sequence[Path]:
    """`n` of the paths at equal steps, so that not all are of the first speaker."""
    return paths[:: max(1, len(paths) // max(1, n))][:n]


def clips_of(folder, sr: int, max_seconds: float, n: int | None = None) -> dict[str, np.ndarray]:
    """The beginnings of the recordings in a folder; those that cannot be read are left out, with a warning.

    Parameters
    ----------
    folder : str or Path
    sr : int [Hz]
    max_seconds : float [s]
    n : int, optional
        Take as many at equal steps; by default all.

    Returns
    -------
    dict of path in the folder to np.ndarray [shape=(n_samples,), float32, -1..1]

    Raises
    ------
    MissingInput, ParameterError
        If the folder does not exist, or holds no recording that can be read.
    """
    files, found, failed = list_audio(folder), {}, []
    for file in spread(files, n) if n else files:
        try:
            found[str(file.relative_to(folder))] = load_wav(file, sr)[: round(max_seconds * sr)]
        except (ParameterError, OSError) as e:
            failed.append(str(e))
    if not found:
        raise ParameterError(f"{folder} holds no recording that can be read: {failed[0]}")
    if failed:
        warnings.warn(f"{len(failed)} recordings were left out: {'; '.join(failed)}", stacklevel=2)
    return found


class TargetClips(list):
    """Clips of the target speaker, with their centroid and optional statistics."""

    def __init__(self, clips: Iterable[Clip], stats: SpeakerStats | None = None):
        super().__init__(clips)
        self.stats = stats

    @cached
    def centroid(self) -> np.ndarray:
        """Mean direction of the clips' speaker embeddings."""
        return judges.centroid([clip.embedding for clip in self])

    @property
    def features(self) -> list[Features] | SpeakerStats:
        """The statistics if there are any, else the features of each clip."""
        return self.stats or [clip.features for clip in self]


@dataclass(frozen=True)
class Inputs:
    """The arguments of `evaluate`, as clips."""

    converted: Clip
    source: Clip | None = None
    target: TargetClips | None = None
    reference: Clip | None = None
    text: str | None = None
    align: str = "frames"

    @property
    def sr(self) -> int:
        return self.converted.sr

    def wavs(self, role: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Arguments of a metric that compares the waveforms of `converted` and of a role."""
        return self.converted.wav, getattr(self, role).wav, self.sr

    def features(self, role: str) -> tuple:
        """Arguments of a metric that compares the features of `converted` and of a role."""
        return self.converted.features, getattr(self, role).features, self.sr

    def aligned(self) -> tuple:
        """Arguments of a metric that aligns the features of `converted` and `reference`."""
        return *self.features("reference"), self.align
