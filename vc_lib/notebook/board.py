"""Progress of training, in a notebook and in TensorBoard.

Board           curves, scores, time left and a converted clip, renewed after every epoch
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
from . import batches  # noqa: F401 - dls.show_batch shows players
from .players import Player
from .plots import plot_spectrograms
from .runs import plot_losses

from fastai.callback.core import Callback

TENSORBOARD = "tensorboard"  # subfolder of a run


def watch(run_dir, stage: str, tensorboard: bool = False) -> list[Callback]:
    """Callbacks that show the progress of a stage: `Board`, and `to_tensorboard` if wanted."""
    return [Board(), *(to_tensorboard(run_dir, stage) if tensorboard else [])]


class Board(Callback):
    """Show curves, scores, the time left and a converted clip, renewed after every epoch.

    Give it to `fit` beside an `EvaluateCallback`, whose first clip of another speaker is played.
    Without one there is no player.
    """

    order = 67  # after History and SaveVoice have written

    def before_fit(self):
        self.epoch_seconds, self.player, self.progress = [], None, ""
        self.status, self.curves = ipywidgets.HTML(), ipywidgets.Image(format="png")
        self.curves.layout.align_self = "flex-start"  # not stretched
        self.panel = ipywidgets.VBox([self.status])
        self.show_status("The first epoch is running.")
        display(self.panel)

    def before_epoch(self):
        self.began = time.perf_counter()

    def after_epoch(self):
        values = epoch_values(self.learn)
        if not values:
            return  # skipped: trained before
        self.epoch_seconds.append(time.perf_counter() - self.began)
        scores = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        n_left = self.n_epoch - 1 - self.epoch
        each = np.mean(self.epoch_seconds[-3:])
        self.progress = f"{self.learn.history.stage}: {self.epoch + 1} of {self.n_epoch} epochs"
        self.show_status(
            f"{self.progress}, {in_words(each)} each, about {in_words(n_left * each)} left. Now: {scores}."
        )
        self.curves.value = plot_losses(self.learn.history.path)._repr_png_()
        sounds = self.learn.evaluate.preview() if hasattr(self.learn, "evaluate") else {}
        if sounds and self.player is None:
            self.player = Player(sounds, self.dls.cfg.sr)
        elif sounds:
            self.player.show(sounds, self.dls.cfg.sr)
        self.panel.children = [self.status, *filter(None, [self.player]), self.curves]

    def after_fit(self):
        self.status.value = (
            f"{self.progress}, done." if self.epoch_seconds else "All epochs were trained before."
        )

    def show_status(self, text: str) -> None:
        hint = "The stop button keeps all complete epochs; run the cell again to continue."
        self.status.value = f"{text}<br><small>{hint}</small>"


def in_words(seconds: float) -> str:
    """A duration in words.

    Examples
    --------
    >>> in_words(42.4), in_words(192), in_words(5400)
    ('42 s', '3 min', '1.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def to_tensorboard(run_dir, stage: str) -> list[Callback]:
    """Callbacks that write curves, sounds and spectrograms of a stage for TensorBoard.

    The callback of fastai writes losses, rates and metrics. `ScoreEvents` adds the scores and sounds
    of `EvaluateCallback`. Show them with `tensorboard --logdir models`.

    Parameters
    ----------
    run_dir : str or Path
        Folder of the run; events go to `<run_dir>/tensorboard/<stage>`.
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
            "tensorboard is not installed; pip install tensorboard, or set tensorboard = False"
        ) from e
    folder = Path(run_dir) / TENSORBOARD / stage
    return [TensorBoardCallback(folder, trace_model=False, log_preds=False), ScoreEvents()]


class ScoreEvents(Callback):
    "Write scores and sounds of EvaluateCallback into the log of fastai's TensorBoardCallback."

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
        writer.flush()  # the writer stays open after an interrupt
