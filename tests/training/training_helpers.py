"""Helpers of the training tests: compare states and runs, and stop a run at a given batch."""

import pytest
import torch

from vc_lib.training import callbacks
from vc_lib.training.run import Interrupted, fit
from vc_lib.training.run_folder import load_checkpoint, read_history

from fastai.callback.core import Callback

SR = 16_000
N_EPOCHS = 2


def state_of(network):
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def same(a, b):
    """Whether two states are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def state_of_average(learn):
    return {k: v.clone() for k, v in learn.average_weights.average.items()}


class At(Callback):
    "Call `act(learn)` once, in the middle of a batch."

    order = -50

    def __init__(self, epoch, act):
        self.at, self.act = epoch, act

    def after_pred(self):
        if self.training and (self.epoch, self.iter) == (self.at, 1):
            self.act(self.learn)


def interrupt(learn):
    raise KeyboardInterrupt


def spoil(learn):
    learn.pred = learn.pred * float("nan")


def fit_interrupted(*args, at):
    with pytest.raises(Interrupted, match="Run this again with the same number of epochs"):
        fit(*args, cbs=[At(at, interrupt)])


def assert_as_undisturbed(whole_run, run, stage):
    """Checkpoint and history of the stage equal those of the whole run."""
    expected_rows = [r for r in read_history(whole_run[0] / "history.csv") if r["stage"] == stage]
    rows = read_history(run / "history.csv")
    assert [r["epoch"] for r in rows] == [r["epoch"] for r in expected_rows]
    for row, expected in zip(rows, expected_rows, strict=True):
        for name in row:
            assert row[name] == expected[name], f"{name} of epoch {row['epoch']}"
    name = f"{stage}.checkpoint.pt"
    checkpoint, expected = load_checkpoint(run / name), load_checkpoint(whole_run[0] / name)
    assert same(checkpoint["model"], expected["model"])
    assert same(checkpoint.get("average", {}), expected.get("average", {}))
    for now, before in zip(checkpoint["opt"]["state"], expected["opt"]["state"], strict=True):
        assert now.keys() == before.keys()
        for k, v in now.items():
            assert torch.equal(v, before[k]) if isinstance(v, torch.Tensor) else v == before[k]


class Watch(Callback):
    "Record for each batch whose turn it was, and which networks changed."

    order = -100  # before the switcher

    def before_batch(self):
        self.turn = self.gan_trainer.gen_mode
        self.before = {side: state_of(getattr(self.model, side)) for side in self.sides}
        self.before["average"] = state_of_average(self.learn)

    def after_batch(self):
        if self.training:
            now = {side: state_of(getattr(self.model, side)) for side in self.sides}
            now["average"] = state_of_average(self.learn)
            moved = {side for side in now if not same(now[side], self.before[side])}
            self.turns.append((self.epoch, "generator" if self.turn else "critic", moved))

    def __init__(self):
        self.turns, self.sides = [], ("generator", "critic")


class Worsen(Callback):
    "Replace the validation distance by the given ones, epoch by epoch."

    order = 55  # after Recorder has written the log

    def __init__(self, *lsd_db):
        self.lsd_db, self.averages = lsd_db, []

    def after_epoch(self):
        self.averages.append(state_of_average(self.learn))
        if callbacks.epoch_values(self.learn):  # not skipped
            at = self.learn.recorder.metric_names.index("lsd_db")
            self.learn.recorder.log[at] = self.lsd_db[self.epoch]
