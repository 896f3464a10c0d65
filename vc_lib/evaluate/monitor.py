"""Scores of a few fixed clips while a voice is trained.

The losses measure how well the target's own recordings are reconstructed. Only other speakers'
speech shows whether the source stays recognizable, and whether the words are kept.
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
from ..model.networks import OnArrays
from ..training.callbacks import epoch_values
from .clips import Clip, TargetClips
from .judges import installed
from .scores import METRICS, evaluate

from fastai.vision.all import Callback

OWN = ("mcd_db", "pesq_wb")  # metrics of the target's held-out recordings, against themselves
OTHERS = ("envelope_distance_db", "cosine_to_target", "cosine_to_source", "distillmos")  # of others
F0_METHOD = "dio"  # fast F0 estimator; scores are compared within a run only


class EvaluateCallback(Callback):
    """After an epoch, convert some clips and add their scores to history.csv.

    Columns are the keys of `evaluate` with the prefix `own_` or `others_`. Metrics whose package is
    not installed are left out. fastai makes the callback available as `learn.evaluate`.

    Parameters
    ----------
    cfg : Config
        With its `target` set.
    own : sequence of np.ndarray [shape=(n_samples,), -1..1], at `cfg.sr`
        Recordings of the target speaker that are not trained on.
    others : sequence of np.ndarray [shape=(n_samples,), -1..1], at `cfg.sr`
        Recordings of other speakers; may be empty.
    every : int
        Score every n-th epoch, and always the last one.
    english : bool
        Whether `others` speak English, so that their word error rate is measured too.

    Raises
    ------
    ParameterError
        If `own` is empty, or `every` is below 1.
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
            raise ParameterError("own=[] must hold a recording of the target; give one of `valid`")
        self.cfg, self.every = cfg, every
        self.keys = OTHERS + (("wer",) if english else ())
        self.own = [Clip(wav, cfg.sr, F0_METHOD, "own") for wav in own]
        self.others = [Clip(wav, cfg.sr, F0_METHOD, "others") for wav in others]
        stats = cfg.target
        self.target = TargetClips(self.own, stats)
        self.shown = len(self.own) if self.others else 0  # index of the clip that `preview` shows
        self.converted = None  # its conversion in this epoch
        self.anonymized = [anonymize(c.wav, cfg.sr, cfg, source=stats) for c in self.own]
        self.anonymized += [anonymize(c.wav, cfg.sr, cfg) for c in self.others]

    def before_epoch(self):
        self.converted = None

    def after_epoch(self):
        last = self.epoch == self.n_epoch - 1
        if epoch_values(self.learn) and (last or self.epoch % self.every == 0):
            self.learn.scores = self.score()

    def preview(self) -> dict[str, np.ndarray]:
        """One clip and its current conversion, to listen to.

        The clip is the first of another speaker, or of the target if there is none.

        Returns
        -------
        sounds : dict of str to np.ndarray [shape=(n_samples,), -1..1]
            By label: source, anonymized, converted. Empty in stages that train no generator.
        """
        if not hasattr(self.learn, "average_weights"):
            return {}
        source, anonymized = (self.own + self.others)[self.shown].wav, self.anonymized[self.shown]
        if self.converted is None:
            (self.converted,) = self._converted([self.shown])
        return dict(source=source, anonymized=anonymized[: len(source)], converted=self.converted)

    def _converted(self, indices: Iterable[int]) -> list[np.ndarray]:
        """Convert clips, given by index into `own + others`, with the averaged weights."""
        network = deepcopy(self.learn.average_weights.network)
        network.load_state_dict(self.learn.average_weights.average)
        voice = Voice(OnArrays(network, self.dls.device), self.cfg)
        clips = self.own + self.others
        attenuate = partial(attenuate_pauses, sr=voice.sr, depth_db=self.cfg.pause_depth_db)
        return [attenuate(voice.generate(self.anonymized[i]), clips[i].wav) for i in indices]

    def score(self) -> dict[str, float]:
        """Scores of the averaged weights, means over the clips."""
        converted = self._converted(range(len(self.anonymized)))
        self.converted = converted[self.shown]
        own = [
            self._scores(wav, OWN, reference=clip)
            for wav, clip in zip(converted[: len(self.own)], self.own, strict=True)
        ]
        others = [
            self._scores(wav, self.keys, source=clip, target=self.target)
            for wav, clip in zip(converted[len(self.own) :], self.others, strict=True)
        ]
        return _means("own", own) | _means("others", others)

    def _scores(self, wav: np.ndarray, keys: Iterable[str], **roles) -> dict[str, float]:
        """Scores of one conversion, by the metrics whose package is installed."""
        only = [key for key in keys if installed(METRICS[key].packages)]
        return evaluate(wav, self.cfg.sr, only=only, f0_method=F0_METHOD, **roles)


def _means(role: str, scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each score over the clips of a role, by column name."""
    keys = scores[0] if scores else ()
    return {f"{role}_{key}": float(np.nanmean([s[key] for s in scores])) for key in keys}
