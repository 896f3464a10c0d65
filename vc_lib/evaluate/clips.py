"""Clips to evaluate: each waveform is measured once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..anonymize import Features, analyze
from ..audio import check_sr, check_wav
from ..config import AnonymizeConfig
from ..speaker import SpeakerStats
from . import judges


class kept:
    """What a property gives, found when first asked for; `functools.cached_property`, but without its
    lock, which until Python 3.12 is one for all instances and lets only one thread work."""

    def __init__(self, find: Callable):
        self.find, self.__doc__ = find, find.__doc__

    def __set_name__(self, owner, name: str):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.find(instance)
        return value


class Clip:
    """A waveform and what is measured on it alone, found when first asked for and kept.

    Give one instead of an array to `evaluate` where the same sound is compared many times.

    Attributes
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    features : Features
        WORLD's.
    words : str
        What `judges.transcribe` hears.
    embedding : np.ndarray or None
        Who speaks, see `judges.speaker_embedding`.
    """

    def __init__(self, wav: np.ndarray, sr: int, f0_method: str = "harvest", name: str = "wav"):
        self.wav, self.sr, self.name = check_wav(wav, name), check_sr(sr), name
        self.cfg = AnonymizeConfig(f0_method=f0_method)

    @kept
    def features(self) -> Features:
        return analyze(self.wav, self.sr, self.cfg)

    @kept
    def words(self) -> str:
        return judges.transcribe(self.wav, self.sr)

    @kept
    def embedding(self) -> np.ndarray | None:
        return judges.speaker_embedding(self.wav, self.sr)


class TargetClips(list):
    """Several clips of one speaker, whose middle is found once, and what else is known of that speaker."""

    def __init__(self, clips: Iterable[Clip], stats: SpeakerStats | None = None):
        super().__init__(clips)
        self.stats = stats

    @kept
    def centroid(self) -> np.ndarray:
        return judges.centroid([clip.embedding for clip in self])

    @property
    def features(self) -> list[Features] | SpeakerStats:
        return self.stats or [clip.features for clip in self]


@dataclass(frozen=True)
class Given:
    """What `evaluate` was given, as clips."""

    converted: Clip
    source: Clip | None = None
    target: TargetClips | None = None
    reference: Clip | None = None
    text: str | None = None
    align: str = "frames"

    @property
    def sr(self) -> int:
        return self.converted.sr

    def wavs(self, role: str) -> tuple:
        """Arguments of a metric that compares waveforms."""
        return self.converted.wav, getattr(self, role).wav, self.sr

    def features(self, role: str) -> tuple:
        """Arguments of a metric that compares features."""
        return self.converted.features, getattr(self, role).features, self.sr

    def aligned(self) -> tuple:
        return *self.features("reference"), self.align
