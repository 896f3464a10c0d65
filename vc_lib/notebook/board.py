"""Watching training: what a notebook shows, and TensorBoard, while a voice is trained.

Board           curves, numbers, the time left, and a clip to hear, renewed after every epoch
to_tensorboard  the same for TensorBoard
"""

import time
from pathlib import Path

import ipywidgets
import numpy as np
from IPython.display import display

from ..errors import MissingInput
from ..model import compat  # noqa: F401
from ..training.callbacks import epoch_values
from .players import Player
from .plots import plot_spectrograms
from .runs import plot_losses

from fastai.callback.core import Callback

TENSORBOARD = "tensorboard"  # folder of a run


def watch(run_dir, stage: str, tensorboard: bool = False) -> list[Callback]:
    """The callbacks that let one watch a stage: the board, and TensorBoard's if wanted.

    See `Board` and `to_tensorboard`, whose parameters these are.
    """
    return [Board(), *(to_tensorboard(run_dir, stage) if tensorboard else [])]


class Board(Callback):
    """After every epoch show how training goes: curves, numbers, the time left, and a clip as it sounds now.

    Give it to `fit` beside an `EvaluateCallback`, whose first clip of another speaker is played; without one
    there is no sound. The player stays where it is while its sounds are renewed.
    """

    order = 67  # after History and SaveVoice have written

    def before_fit(self):
        self.seconds, self.player, self.stands = [], None, ""
        self.said, self.curves = ipywidgets.HTML(), ipywidgets.Image(format="png")
        self.curves.layout.align_self = "flex-start"  # as large as it was drawn
        self.panel = ipywidgets.VBox([self.said])
        self.say("The first epoch is under way.")
        display(self.panel)

    def before_epoch(self):
        self.began = time.perf_counter()

    def after_epoch(self):
        values = epoch_values(self.learn)
        if not values:
            return  # it was trained before
        self.seconds.append(time.perf_counter() - self.began)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        n_left = self.n_epoch - 1 - self.epoch
        each = np.mean(self.seconds[-3:])
        self.stands = f"{self.learn.history.stage}: {self.epoch + 1} of {self.n_epoch} epochs"
        self.say(
            f"{self.stands}, {in_words(each)} each, about {in_words(n_left * each)} left. Now: {numbers}."
        )
        self.curves.value = plot_losses(self.learn.history.path)._repr_png_()
        sounds = self.learn.evaluate.preview() if hasattr(self.learn, "evaluate") else {}
        if sounds and self.player is None:
            self.player = Player(sounds, self.dls.cfg.sr)
        elif sounds:
            self.player.show(sounds, self.dls.cfg.sr)
        self.panel.children = [self.said, *filter(None, [self.player]), self.curves]

    def after_fit(self):
        self.said.value = f"{self.stands}, done." if self.seconds else "Nothing was left to do."

    def say(self, text: str) -> None:
        hint = "The stop button ends it and keeps all whole epochs; run the cell again to go on."
        self.said.value = f"{text}<br><small>{hint}</small>"


def in_words(seconds: float) -> str:
    """A time as one says it.

    Examples
    --------
    >>> in_words(42.4), in_words(192), in_words(5400)
    ('42 s', '3 min', '1.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def to_tensorboard(run_dir, stage: str) -> list[Callback]:
    """Callbacks that write a stage's curves, sounds and spectrograms for TensorBoard.

    fastai's own callback writes the losses, rates and metrics; what `EvaluateCallback` hears goes beside them. Look
    with `tensorboard --logdir models`.

    Parameters
    ----------
    run_dir : str or Path
        The run's folder; the events go to `<run_dir>/tensorboard/<stage>`.
    stage : str

    Raises
    ------
    MissingInput
        If tensorboard is not installed.
    """
    try:
        from fastai.callback.tensorboard import TensorBoardCallback
    except ImportError as e:
        raise MissingInput(
            "tensorboard is not installed; pip install tensorboard, or leave it away"
        ) from e
    folder = Path(run_dir) / TENSORBOARD / stage
    return [TensorBoardCallback(folder, trace_model=False, log_preds=False), ScoreEvents()]


class ScoreEvents(Callback):
    "After every epoch write what EvaluateCallback heard beside what fastai's TensorBoardCallback has written."

    order = 63  # after EvaluateCallback

    def after_epoch(self):
        if not (epoch_values(self.learn) and hasattr(self.learn, "evaluate")):
            return
        writer, step, sr = self.learn.tensor_board.writer, self.train_iter, self.dls.cfg.sr
        for name, value in self.learn.scores.items():
            writer.add_scalar(name, value, step)
        sounds = self.learn.evaluate.preview()
        for label, wav in sounds.items():
            writer.add_audio(label, wav[None], step, sample_rate=sr)
        writer.add_figure("spectrograms", plot_spectrograms(sounds, sr, f0=False), step)
        writer.flush()  # an interrupt leaves it open
