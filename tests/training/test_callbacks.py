"""The callbacks of training: turns, averaged weights, stopping at NaN and early."""

from itertools import groupby

import pytest
import torch
from safetensors.torch import load_file
from training_helpers import (
    N_EPOCHS,
    At,
    Watch,
    Worsen,
    assert_as_undisturbed,
    interrupt,
    same,
    spoil,
    state_of,
    state_of_average,
)

from vc_lib.convert import load_voice
from vc_lib.model.voice_folder import trained_until
from vc_lib.training.callbacks import AverageWeights, EarlyStopping, EpochBar
from vc_lib.training.run import Interrupted, fit
from vc_lib.training.run_folder import load_checkpoint, read_history

from fastai.callback.core import Callback

# Turns of generator and critic


def test_only_the_network_whose_turn_it_is_changes(make, tmp_path):
    watch = Watch()
    fit(make("gan", max_crops=8), tmp_path / "run", "gan", 2, cbs=[watch])
    moves = {
        turn: [moved for _, t, moved in watch.turns if t == turn]
        for turn in ("generator", "critic")
    }
    assert len(moves["generator"]) > 1 and len(moves["critic"]) > 1
    assert all(moved == {"critic"} for moved in moves["critic"])
    assert all(moved == {"generator", "average"} for moved in moves["generator"])


@pytest.mark.parametrize("threshold, cap, capped", [(0.0, 2, True), (100.0, 5, False)])
def test_critic_turns_are_capped_and_counted(make, tmp_path, threshold, cap, capped):
    watch = Watch()
    learn = make("gan", critic_threshold=threshold, max_critic_steps=cap, max_crops=12)
    fit(learn, tmp_path / "run", "gan", 2, cbs=[watch])
    for epoch, row in enumerate(read_history(tmp_path / "run" / "history.csv")):
        turns = [turn for e, turn, _ in watch.turns if e == epoch]
        in_a_row = max(len(list(run)) for turn, run in groupby(turns) if turn == "critic")
        assert in_a_row == (cap if capped else 1)
        assert int(row["critic_steps"]) == turns.count("critic")
        assert int(row["generator_steps"]) == turns.count("generator") > 0
        assert (int(row["capped"]) > 0) == capped


def test_critic_has_its_own_learning_rate(make, tmp_path):
    """Steps of critic and generator use the learning rate of each."""
    rates = []

    class Rates(Callback):
        order = 100

        def before_step(self):
            rates.append((self.gan_trainer.gen_mode, float(self.opt.hypers[0]["lr"])))

    learn = make("gan", lr_gan=1e-4, lr_critic=5e-3, max_crops=8)
    fit(learn, tmp_path / "run", "gan", 1, cbs=[Rates()])
    of = {side: max(rate for gen_mode, rate in rates if gen_mode is side) for side in (True, False)}
    assert of[True] <= 1e-4 * 1.001 and 1e-3 < of[False] <= 5e-3 * 1.001


# AverageWeights


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_average_is_of_the_weights_after_each_step(make, tmp_path, decay):
    weights = []

    class Weights(Callback):
        def before_fit(self):
            weights.append(state_of(self.model))

        def after_step(self):
            weights.append(state_of(self.model))

    learn = make(ema_decay=decay)
    fit(learn, tmp_path / "run", "generator", 2, cbs=[Weights()])
    expected = weights[0]
    for state in weights[1:]:
        expected = {
            k: decay * expected[k] + (1 - decay) * v if v.is_floating_point() else v
            for k, v in state.items()
        }
    assert len(weights) == 1 + 2 * 2
    saved = load_file(tmp_path / "run" / "generator.safetensors")
    for k, v in expected.items():
        torch.testing.assert_close(saved[k], v)


def test_validation_uses_the_average_and_restores_the_weights(make, tmp_path):
    seen = {}

    class Look(Callback):
        order = 90

        def after_train(self):
            seen["raw"] = state_of(self.model)

        def before_validate(self):
            seen["validated"] = state_of(self.model)

        def after_validate(self):
            seen["after"], seen["average"] = state_of(self.model), state_of_average(self.learn)

    fit(make(), tmp_path / "run", "generator", 1, cbs=[Look()])
    assert same(seen["raw"], seen["after"]) and not same(seen["raw"], seen["validated"])
    assert same(seen["validated"], seen["average"])


def test_average_weights_can_be_used_twice(make, tmp_path):
    """A second stage on the same network starts its average at the weights of the first."""
    learn = make()
    fit(learn, tmp_path / "one", "generator", 1)
    left = state_of(learn.model)
    starts = []

    class Start(Callback):
        order = 90

        def before_fit(self):
            starts.append(state_of_average(self.learn))

    fit(learn, tmp_path / "two", "generator", 1, cbs=[Start()])
    assert same(starts[0], left)
    assert isinstance(learn.average_weights, AverageWeights)


# StopAtNaN


@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_a_loss_that_is_not_finite_stops_and_can_be_resumed(make, whole_run, tmp_path, stage):
    with pytest.raises(FloatingPointError, match="became nan in epoch 1, batch 1; .* Lower lr"):
        fit(make(stage), tmp_path / "run", stage, N_EPOCHS, cbs=[At(1, spoil)])
    checkpoint = load_checkpoint(tmp_path / "run" / f"{stage}.checkpoint.pt")
    assert checkpoint["epoch"] == 0 and all(
        torch.isfinite(v).all() for v in checkpoint["model"].values()
    )
    load_voice(tmp_path / "run", "cpu")
    fit(make(stage), tmp_path / "run", stage, N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", stage)


def test_nan_error_names_the_recordings_of_the_batch(make, tmp_path, monkeypatch):
    made_of = []
    learn = make()
    recording = learn.dls.pairs.recording
    monkeypatch.setattr(
        learn.dls.pairs, "recording", lambda i: made_of.append(recording(i)) or made_of[-1]
    )
    with pytest.raises(FloatingPointError, match=r"recordings of this batch: \d\.wav") as lost:
        fit(learn, tmp_path / "run", "generator", N_EPOCHS, cbs=[At(1, spoil)])
    drawn = {r.path.name for r in made_of[-2 - 2 : -2]}  # the message looks them up again
    assert set(str(lost.value).split("batch: ")[1].split(", ")) == drawn


def test_a_gradient_that_is_not_finite_changes_no_weight(make, tmp_path):
    class Steep(Callback):
        def after_backward(self):
            if (self.epoch, self.iter) == (1, 1):
                next(self.learn.model.parameters()).grad[0] = float("inf")

    learn = make()
    with pytest.raises(FloatingPointError, match="a gradient became infinite in epoch 1, batch 1;"):
        fit(learn, tmp_path / "run", "generator", N_EPOCHS, cbs=[Steep()])
    checkpoint = load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")
    assert checkpoint["epoch"] == 0 and same(learn.model.state_dict(), checkpoint["average"])


def test_a_weight_that_is_not_finite_is_not_saved(make, tmp_path):
    class Lose(Callback):
        def after_step(self):
            if (self.epoch, self.iter) == (1, 1):
                next(self.learn.model.parameters()).data[0] = float("nan")

    with pytest.raises(FloatingPointError, match="a weight became infinite in epoch 1"):
        fit(make(), tmp_path / "run", "generator", N_EPOCHS, cbs=[Lose()])
    checkpoint = load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")
    assert checkpoint["epoch"] == 0 and all(
        torch.isfinite(v).all() for v in checkpoint["model"].values()
    )
    load_voice(tmp_path / "run", "cpu")


# EarlyStopping


def test_early_stopping_keeps_the_voice_before(make, tmp_path, capsys):
    class Spoil(Callback):
        "Let the second epoch pass the limit."

        def before_epoch(self):
            self.learn.early_stopping.limit_db = 1_000.0 if self.epoch == 0 else 0.1

    voices = {}

    class Keep(Callback):
        def before_epoch(self):
            file = tmp_path / "run" / "generator.safetensors"
            voices[self.epoch] = file.read_bytes() if file.exists() else b""

    learn = make("gan")
    fit(learn, tmp_path / "run", "gan", 3, cbs=[EarlyStopping(1_000.0), Spoil(), Keep()])
    assert "over the limit of 0.10 dB: stopped" in capsys.readouterr().out
    assert list(voices) == [0, 1], "no third epoch"
    assert (tmp_path / "run" / "generator.safetensors").read_bytes() == voices[1] != b""
    assert load_checkpoint(tmp_path / "run" / "gan.checkpoint.pt")["epoch"] == 0
    average = load_file(tmp_path / "run" / "generator.safetensors")
    assert same(learn.model.generator.state_dict(), average)


def test_early_stopping_does_not_change_a_good_run(make, tmp_path, whole_run):
    fit(make("gan"), tmp_path / "run", "gan", N_EPOCHS, cbs=[EarlyStopping(1_000.0)])
    assert_as_undisturbed(whole_run, tmp_path / "run", "gan")


@pytest.mark.parametrize("spoilt_db", [4.1, float("nan"), float("inf")])
def test_a_collapsed_gan_leaves_its_best_voice(make, tmp_path, capsys, spoilt_db):
    """By default: 4/3 of the best distance is the limit."""
    worsen = Worsen(3.5, 3.0, 3.9, spoilt_db, 1.0)
    learn, run = make("gan"), tmp_path / "run"
    fit(learn, run, "gan", 5, cbs=[worsen])
    assert "the limit of 4.00 dB: stopped; the voice is that of epoch 1" in capsys.readouterr().out
    best = worsen.averages[1]
    assert same(load_file(run / "generator.safetensors"), best)
    assert same(learn.model.generator.state_dict(), best)
    assert trained_until(run) == ("gan", 1)
    assert [float(row["lsd_db"]) for row in read_history(run / "history.csv")][:3] == [
        3.5,
        3.0,
        3.9,
    ]


def test_a_collapse_is_found_after_an_interrupt_too(make, tmp_path, capsys):
    run, worsen = tmp_path / "run", Worsen(3.0, 3.9, 4.1)
    with pytest.raises(Interrupted):
        fit(make("gan"), run, "gan", 3, cbs=[worsen, At(1, interrupt)])
    fit(make("gan"), run, "gan", 3, cbs=[Worsen(0.0, 3.9, 4.1)])
    assert "the limit of 4.00 dB: stopped; the voice is that of epoch 0" in capsys.readouterr().out
    assert same(load_file(run / "generator.safetensors"), worsen.averages[0])


def test_a_gan_worse_than_its_pretraining_leaves_the_voice(make, tmp_path, capsys):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    before = (run / "generator.safetensors").read_bytes()
    pretrained_db = float(read_history(run / "history.csv")[0]["lsd_db"])
    fit(make("gan"), run, "gan", 2, cbs=[Worsen(1.4 * pretrained_db, 0.0)])
    assert "stopped; the voice is unchanged" in capsys.readouterr().out
    assert (run / "generator.safetensors").read_bytes() == before
    assert not (run / "gan.checkpoint.pt").exists()


# Progress


def test_bars_tell_the_epoch_and_the_speed(make, tmp_path):
    learn, said = make("generator", max_crops=8), []

    class Listen(Callback):
        order = EpochBar.order + 1

        def after_batch(self):
            said.append((self.training, self.learn.progress.pbar.comment))

    with learn.no_mbar():
        fit(learn, tmp_path / "run", "generator", 2, cbs=[EpochBar(), Listen()])
    trained = [comment for training, comment in said if training]
    assert trained[0].startswith("epoch 1 of 2, ") and trained[-1].startswith("epoch 2 of 2, ")
    assert all(float(comment.split()[4]) > 0 for comment in trained)
    assert [comment for training, comment in said if not training][-1] == "epoch 2 of 2"
