"""Listening in while a voice is trained: the same few clips after every epoch, in numbers.

A loss says how near the target's own recordings come back. Whether another speaker shines through,
and whether the words survive, only other speakers' speech can tell.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import partial

import numpy as np

from ..anonymize import anonymize
from ..audio.level import attenuate_pauses
from ..config import Config
from ..convert import Voice
from ..errors import ParameterError
from ..model import compat  # noqa: F401
from ..training.callbacks import epoch_values
from .clips import Clip, TargetClips
from .judges import installed
from .scores import METRICS, evaluate

from fastai.vision.all import Callback

OWN = ("mcd_db", "pesq_wb")  # of the target's held-out recordings, against themselves
F0_METHOD = "dio"  # quick: rows of a run are compared with each other only
OTHERS = ("envelope_distance_db", "cosine_to_target", "cosine_to_source", "distillmos")


class EvaluateCallback(Callback):
    """After every epoch convert some clips and note how they score, in history.csv and for the curves.

    Columns are named after `evaluate`'s, with `own_` and `others_` in front; metrics whose package is
    not installed are left out.

    Parameters
    ----------
    cfg : Config
        With its `target` set.
    own : sequence of np.ndarray [shape=(n_samples,), -1..1], at `cfg.sr`
        TargetClips of the target that training never sees.
    others : sequence of the same
        Speech of other speakers.
    every : int
        Epochs from one time to the next; the last is always among them.
    english : bool
        Whether `others` speak English: then words are counted too.
    """

    order = 61  # before History writes the row

    def __init__(
        self,
        cfg: Config,
        own: Sequence[np.ndarray],
        others: Sequence[np.ndarray],
        every: int = 1,
        english: bool = False,
    ):
        if every < 1:
            raise ParameterError(f"every={every} must be at least 1 epoch")
        if not len(own):
            raise ParameterError("own=[] must hold a recording of the target; take one of `valid`")
        self.cfg, self.every = cfg, every
        self.keys = OTHERS + ("wer",) * english
        self.own = [Clip(wav, cfg.sr, F0_METHOD, "own") for wav in own]
        self.others = [Clip(wav, cfg.sr, F0_METHOD, "others") for wav in others]
        stats = cfg.target
        self.target = TargetClips(self.own, stats)
        self.shown, self.converted = len(self.own) if self.others else 0, None  # see `preview`
        self.anonymized = [anonymize(c.wav, cfg.sr, cfg, source=stats) for c in self.own]
        self.anonymized += [anonymize(c.wav, cfg.sr, cfg) for c in self.others]

    def before_epoch(self):
        self.converted = None

    def after_epoch(self):
        last = self.epoch == self.n_epoch - 1
        if epoch_values(self.learn) and (last or self.epoch % self.every == 0):
            self.learn.scores = self.score()

    def preview(self) -> dict[str, np.ndarray]:
        """The first clip of another speaker (of the target, if there are none) and what becomes of it
        now, by label [shape=(n_samples,), -1..1]; nothing while no voice is trained."""
        if not hasattr(self.learn, "average_weights"):
            return {}
        source, anonymized = (self.own + self.others)[self.shown].wav, self.anonymized[self.shown]
        if self.converted is None:
            (self.converted,) = self._convert([self.shown])
        return dict(source=source, anonymized=anonymized[: len(source)], converted=self.converted)

    def _convert(self, which: Iterable[int]) -> list[np.ndarray]:
        """Some of the clips, own ones first, by the averaged weights."""
        network = deepcopy(self.learn.average_weights.network)
        network.load_state_dict(self.learn.average_weights.average)
        voice, clips = Voice(network, self.cfg, self.dls.device), self.own + self.others
        attenuate = partial(attenuate_pauses, sr=voice.sr, depth_db=self.cfg.pause_depth_db)
        return [attenuate(voice.generate(self.anonymized[i]), clips[i].wav) for i in which]

    def score(self) -> dict[str, float]:
        """Scores of the averaged weights, means over the clips."""
        made = self._convert(range(len(self.anonymized)))
        self.converted = made[self.shown]
        n, sr = len(self.own), self.cfg.sr
        own = [
            evaluate(wav, sr, reference=clip, only=_installed(OWN), f0_method=F0_METHOD)
            for wav, clip in zip(made[:n], self.own, strict=True)
        ]
        others = [
            evaluate(
                wav,
                sr,
                source=clip,
                target=self.target,
                only=_installed(self.keys),
                f0_method=F0_METHOD,
            )
            for wav, clip in zip(made[n:], self.others, strict=True)
        ]
        return _means("own", own) | _means("others", others)


def _installed(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if installed(METRICS[key].packages)]


def _means(role: str, scores: list[dict[str, float]]) -> dict[str, float]:
    keys = scores[0] if scores else ()
    return {f"{role}_{key}": float(np.nanmean([s[key] for s in scores])) for key in keys}
