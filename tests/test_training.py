"""The stages of training at a tiny size: what they write, learn, average, and how they stop and go on."""

import csv
import resource
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import nn

from vc_lib.config import Config
from vc_lib.convert import load_voice
from vc_lib.corpus import learn_target, prepare
from vc_lib.errors import MissingInput, NotWritten, ParameterError
from vc_lib.model import networks
from vc_lib.model.losses import GeneratorLoss
from vc_lib.model.networks import Critic, Generator
from vc_lib.model.voice_folder import save_voice, trained_until
from vc_lib.spectrogram import wav_to_image
from vc_lib.training import callbacks, stages
from vc_lib.training.callbacks import AverageWeights, EarlyStopping
from vc_lib.training.dataset import crop_pair, make_dls
from vc_lib.training.run import Interrupted, fit
from vc_lib.training.run_folder import load_checkpoint, read_history, write_history
from vc_lib.training.stages import (
    JudgedPair,
    critic_learner,
    gan_learner,
    generator_learner,
    patch_accuracy,
    patch_loss,
    save_generated,
    suggest_lr,
)

from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.torch_core import default_device

REPO = Path(__file__).parents[1]
N_EPOCHS = 2
SR = 16_000


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """fastai writes beside where it is run."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def on_the_cpu():
    """Also where there is a GPU."""
    default_device(False)
    yield
    default_device(None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, voice, tiny_cfg):
    """Three short recordings of one speaker, analysed, and the config that knows her."""
    folder = tmp_path_factory.mktemp("recordings")
    for i in range(3):
        soundfile.write(folder / f"{i}.wav", voice(0.6 + 0.3 * i, f0=200.0, seed=i), SR)
    cfg = replace(tiny_cfg, f0_method="dio", n_frames=32, max_crops=4, ema_decay=0.5)
    cfg = replace(cfg, critic_threshold=100.0)  # the turns alternate, two steps an epoch
    recordings = prepare(folder, cfg, tmp_path_factory.mktemp("cache"), n_jobs=1)
    return recordings, learn_target(recordings, cfg)


@pytest.fixture(scope="module")
def whole_run(prepared, tmp_path_factory):
    """An undisturbed run of every stage: its folder, and its learners by stage."""
    (recordings, cfg), run = prepared, tmp_path_factory.mktemp("models") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        dls = make_dls(recordings[1:], recordings[:1], cfg, num_workers=0)
        learn = {"generator": generator_learner(dls)}
        fit(learn["generator"], run, "generator", N_EPOCHS)
        save_generated(learn["generator"].model, dls, run)
        learn["critic"] = critic_learner(run, cfg, num_workers=0)
        fit(learn["critic"], run, "critic", N_EPOCHS)
        networks = deepcopy((learn["generator"].model, learn["critic"].model))
        learn["gan"] = gan_learner(dls, *networks)
        fit(learn["gan"], run, "gan", N_EPOCHS)
    return run, learn


@pytest.fixture
def make(prepared, whole_run):
    """`make(stage, **settings)`: its learner in another session, before the stage begins."""
    (recordings, cfg), (run, learn) = prepared, whole_run

    def make(stage="generator", **settings):
        changed = replace(cfg, **settings)
        if stage == "critic":
            return critic_learner(run, changed, num_workers=0)
        dls = make_dls(recordings[1:], recordings[:1], changed, num_workers=0)
        if stage == "generator":
            return generator_learner(dls)
        return gan_learner(dls, *deepcopy((learn["generator"].model, learn["critic"].model)))

    return make


def state_of(network):
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def same(a, b):
    """Whether two states agree in every bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class At(Callback):
    "Do `act` once, in the middle of a batch."

    order = -50

    def __init__(self, epoch, act):
        self.at, self.act = epoch, act

    def after_pred(self):
        if self.training and (self.epoch, self.iter) == (self.at, 1):
            self.act(self.learn)


def interrupt(learn):
    raise KeyboardInterrupt


def fit_interrupted(*args, at):
    with pytest.raises(Interrupted, match="Run this again with the same number of epochs"):
        fit(*args, cbs=[At(at, interrupt)])


def spoil(learn):
    learn.pred = learn.pred * float("nan")


# A whole run


def test_a_run_leaves_its_files_and_nothing_half_written(whole_run):
    run, _ = whole_run
    names = {"generator.safetensors", "config.json", "card.md", "history.csv", "generated.npy"}
    names |= {f"{stage}.checkpoint.pt" for stage in ("generator", "critic", "gan")}
    assert {file.name for file in run.iterdir()} == names


def test_the_voice_of_a_run_speaks(whole_run, voice, prepared):
    run, learn = whole_run
    loaded = load_voice(run, device="cpu")
    assert loaded.config == prepared[1] == Config.load(run / "config.json")
    assert same(loaded.generator.state_dict(), learn["gan"].model.generator.state_dict())
    out = loaded.convert(voice(0.3), SR)
    assert out.shape == (4_800,) and np.isfinite(out).all()


def test_the_history_has_a_row_per_epoch_of_every_stage(whole_run):
    rows = read_history(whole_run[0] / "history.csv")
    assert [(r["stage"], r["epoch"]) for r in rows] == [
        (stage, str(epoch)) for stage in ("generator", "critic", "gan") for epoch in (0, 1)
    ]
    filled = {
        "generator": {"train_loss", "valid_loss", "lsd_db"},
        "critic": {"train_loss", "valid_loss", "patch_accuracy"},
        "gan": {"train_loss", "valid_loss", "lsd_db", "gen_loss", "crit_loss"}
        | {"critic_steps", "generator_steps", "capped"},
    }
    for row in rows:
        values = {k: v for k, v in row.items() if k not in ("stage", "epoch") and v}
        assert set(values) == filled[row["stage"]]
        assert np.isfinite([float(v) for v in values.values()]).all()
        if row["stage"] == "gan":
            assert int(row["critic_steps"]) + int(row["generator_steps"]) == 2  # batches
        if row["stage"] != "critic":
            assert 0.5 < float(row["lsd_db"]) < 40


@pytest.mark.parametrize("stage", ["generator", "critic", "gan"])
def test_a_checkpoint_holds_no_code(whole_run, stage):
    kept = torch.load(whole_run[0] / f"{stage}.checkpoint.pt", weights_only=True)
    assert (kept["epoch"], kept["n_epoch"]) == (1, 2)
    assert kept["settings"]["n_frames"] == 32


def test_what_is_saved_is_the_average(whole_run):
    run, learn = whole_run
    kept = load_checkpoint(run / "gan.checkpoint.pt")
    assert same(load_file(run / "generator.safetensors"), kept["average"])
    raw = {k[10:]: v for k, v in kept["model"].items() if k.startswith("generator.")}
    assert not same(raw, kept["average"])
    assert same(learn["gan"].model.generator.state_dict(), kept["average"])


def test_the_card_says_what_is_known(whole_run, prepared):
    text = (whole_run[0] / "card.md").read_text(encoding="utf-8")
    assert "# Voice: run" in text and f"{prepared[1].target.f0_hz:.0f} Hz" in text
    assert "'max_crops': 4" in text and "'lr'" not in text


def test_a_card_that_a_person_wrote_is_kept(prepared, tmp_path):
    (tmp_path / "card.md").write_text("My voice.", encoding="utf-8")
    save_voice(Generator(prepared[1]).state_dict(), prepared[1], tmp_path)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == "My voice."


def test_saved_and_loaded_weights_give_the_same_output(prepared, tmp_path):
    torch.manual_seed(1)
    generator = Generator(prepared[1]).eval()
    for p in generator.parameters():
        nn.init.normal_(p, std=0.1)
    save_voice(generator.state_dict(), prepared[1], tmp_path / "new" / "run")
    img = torch.randn(1, 2, 257, 20)
    with torch.no_grad():
        loaded = load_voice(tmp_path / "new" / "run", "cpu").generator
        torch.testing.assert_close(loaded(img), generator(img), atol=1e-5, rtol=1e-5)


# Learning


def test_one_batch_can_be_overfitted(prepared):
    recordings, cfg = prepared
    cfg = replace(cfg, n_frames=16, image_weight=10.0, mel_weight=0.0, limit_change=False)
    pair = crop_pair(recordings[2], cfg, np.random.default_rng(0))
    anonymized, original = (torch.from_numpy(wav_to_image(wav, cfg))[None] for wav in pair)
    torch.manual_seed(0)
    generator, loss = Generator(cfg), GeneratorLoss(cfg)
    opt = torch.optim.Adam(generator.parameters(), 1e-2)
    values = []
    for _ in range(90):
        value = loss(generator(anonymized), original)
        opt.zero_grad()
        value.backward()
        opt.step()
        values.append(value.item())
    assert min(values[-5:]) < values[0] / 2


def test_the_critic_learns_to_tell(whole_run):
    """One batch of the recording, what was made of it, and another recording."""
    run, learn = whole_run
    pairs = JudgedPair(run / "generated.npy")
    image, anonymized, is_recorded = (
        torch.stack(part) for part in zip(*map(pairs.encodes, range(6)), strict=True)
    )
    torch.manual_seed(0)
    critic = Critic(learn["critic"].dls.cfg)
    opt = torch.optim.Adam(critic.parameters(), 5e-3)
    values = []
    for _ in range(200):
        logits = critic(image, anonymized)
        value = patch_loss(logits, is_recorded)
        opt.zero_grad()
        value.backward()
        opt.step()
        values.append(value.item())
    assert values[-1] < 0.75 * values[0] and patch_accuracy(logits, is_recorded) > 0.75


def test_patch_loss_and_accuracy_of_known_logits():
    logits = torch.tensor([2.0, -2.0, 2.0, 2.0])[:, None, None, None].expand(4, 1, 3, 5)
    is_recorded = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert patch_accuracy(logits, is_recorded) == 0.75
    expected = (3 * np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 4
    assert patch_loss(logits, is_recorded).item() == pytest.approx(expected)


def test_a_fitted_learner_shows_its_results(whole_run):
    whole_run[1]["generator"].show_results(max_n=1)


class Watch(Callback):
    "Note of every batch whose turn it was, and which networks moved."

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


def state_of_average(learn):
    return {k: v.clone() for k, v in learn.average_weights.average.items()}


def test_the_side_whose_turn_it_is_not_does_not_move(make, tmp_path):
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
def test_the_turn_of_the_critic_is_capped_and_counted(make, tmp_path, threshold, cap, capped):
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


@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_validation_runs_as_conversion_does(make, tmp_path, stage):
    """In evaluation mode: batch normalisation by what it learnt, not by the batch."""
    modes = []

    class Modes(Callback):
        order = 100

        def before_batch(self):
            if not self.training:
                modes.extend(m.training for m in self.model.modules())

    fit(make(stage), tmp_path / "run", stage, 2, cbs=[Modes()])
    assert modes and not any(modes)


def test_the_critic_has_its_own_rate(make, tmp_path):
    """Its steps are as large as its own rate says, the generator's as its own."""
    rates = []

    class Rates(Callback):
        order = 100

        def before_step(self):
            rates.append((self.gan_trainer.gen_mode, float(self.opt.hypers[0]["lr"])))

    learn = make("gan", lr_gan=1e-4, lr_critic=5e-3, max_crops=8)
    fit(learn, tmp_path / "run", "gan", 1, cbs=[Rates()])
    of = {side: max(rate for gen_mode, rate in rates if gen_mode is side) for side in (True, False)}
    assert of[True] <= 1e-4 * 1.001 and 1e-3 < of[False] <= 5e-3 * 1.001


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_the_average_is_that_of_the_weights_after_each_step(make, tmp_path, decay):
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


def test_validation_is_of_the_average_and_leaves_the_weights(make, tmp_path):
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


# What the generator makes, kept for the critic


def test_generated_is_what_the_generator_makes_of_each_crop_in_order(whole_run):
    run, learn = whole_run
    dls, generator = learn["generator"].dls, learn["generator"].model.eval()
    kept = np.load(run / "generated.npy", allow_pickle=False)
    assert kept.shape == (4, 3, 2, 257, 32) and kept.dtype == np.float16
    dls.pairs.epoch = 0
    for i, (anonymized, made, original) in enumerate(kept.astype(np.float32)):
        x, y = (img.as_subclass(torch.Tensor) for img in dls.pairs.encodes(i))
        with torch.no_grad():
            expected = generator(x[None])[0]
        np.testing.assert_allclose(anonymized, x, atol=2e-3)
        np.testing.assert_allclose(original, y, atol=2e-3)
        np.testing.assert_allclose(made, expected, atol=5e-2 if networks.has_bf16_units() else 2e-3)


def test_the_suggested_rate_is_measured_once_a_run(prepared, tmp_path, monkeypatch):
    (recordings, cfg), calls = prepared, []
    dls = make_dls(recordings[1:], recordings[:1], cfg, num_workers=0)
    find = Learner.lr_find
    monkeypatch.setattr(
        Learner, "lr_find", lambda *a, **kw: calls.append(1) or find(*a, num_it=12, **kw)
    )
    lr = suggest_lr(dls, tmp_path / "run")
    assert 1e-5 <= lr <= 1e-2 and suggest_lr(dls, tmp_path / "run") == lr and len(calls) == 1
    (tmp_path / "run" / "lr_find.json").write_text("{")
    with pytest.raises(ParameterError, match="is damaged .* remove it to measure"):
        suggest_lr(dls, tmp_path / "run")


def test_judged_pairs_go_round_in_three(whole_run):
    pairs = JudgedPair(whole_run[0] / "generated.npy")
    kept = torch.from_numpy(np.array(pairs.triples).astype(np.float32))
    for number in range(12):
        image, anonymized, is_recorded = pairs.encodes(number)
        i, kind = divmod(number, 3)
        assert torch.equal(anonymized, kept[i, 0])
        assert torch.equal(image, (kept[i, 2], kept[i, 1], kept[(i + 1) % 4, 2])[kind])
        assert is_recorded == (kind == 0)


def test_the_critic_needs_what_was_generated(prepared, tmp_path):
    with pytest.raises(MissingInput, match=r"generated\.npy is not there; call save_generated"):
        critic_learner(tmp_path, prepared[1])


def test_generating_that_fails_leaves_nothing(make, tmp_path):
    class Broken(nn.Module):
        def forward(self, img):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        save_generated(Broken(), make().dls, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


# Stop and go on


def assert_as_undisturbed(whole_run, run, stage):
    """Checkpoint and history of the stage equal those of the whole run."""
    expected_rows = [r for r in read_history(whole_run[0] / "history.csv") if r["stage"] == stage]
    rows = read_history(run / "history.csv")
    assert [r["epoch"] for r in rows] == [r["epoch"] for r in expected_rows]
    for row, expected in zip(rows, expected_rows, strict=True):
        for name in row:
            assert row[name] == expected[name], f"{name} of epoch {row['epoch']}"
    name = f"{stage}.checkpoint.pt"
    kept, expected = load_checkpoint(run / name), load_checkpoint(whole_run[0] / name)
    assert same(kept["model"], expected["model"])
    assert same(kept.get("average", {}), expected.get("average", {}))
    for now, before in zip(kept["opt"]["state"], expected["opt"]["state"], strict=True):
        assert now.keys() == before.keys()
        for k, v in now.items():
            assert torch.equal(v, before[k]) if isinstance(v, torch.Tensor) else v == before[k]


@pytest.mark.parametrize("stage", ["generator", "critic", "gan"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(make, whole_run, tmp_path, stage):
    fit_interrupted(make(stage), tmp_path / "run", stage, N_EPOCHS, at=1)
    assert load_checkpoint(tmp_path / "run" / f"{stage}.checkpoint.pt")["epoch"] == 0
    fit(make(stage), tmp_path / "run", stage, N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", stage)


@pytest.mark.parametrize("act", [interrupt, spoil])
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_the_same_learner_goes_on_too(make, whole_run, tmp_path, stage, epoch, act):
    """As when a cell of a notebook is stopped, or fails, and is run again."""
    learn = make(stage)
    with pytest.raises((Interrupted, FloatingPointError)):
        fit(learn, tmp_path / "run", stage, N_EPOCHS, cbs=[At(epoch, act)])
    fit(learn, tmp_path / "run", stage, N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", stage)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_new_learner_of_the_same_networks_goes_on_too(make, whole_run, tmp_path, epoch):
    """As when the cell that was stopped also makes the learner."""
    stopped = make("gan")
    fit_interrupted(stopped, tmp_path / "run", "gan", N_EPOCHS, at=epoch)
    learn = gan_learner(stopped.dls, stopped.model.generator, stopped.model.critic)
    fit(learn, tmp_path / "run", "gan", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "gan")


def test_a_gan_leaves_the_networks_that_it_began_with_alone(make, tmp_path):
    first, critic = make(), make("critic")
    before = state_of(first.model), state_of(critic.model)
    fit(gan_learner(first.dls, first.model, critic.model), tmp_path / "run", "gan", 1)
    assert same(first.model.state_dict(), before[0])
    assert same(critic.model.state_dict(), before[1])


def test_a_stage_that_is_trained_anew_forgets_its_epochs(make, tmp_path):
    run = tmp_path / "run"
    fit(make(), run, "generator", 2)
    fit(make("gan"), run, "gan", 1)
    (run / "generator.checkpoint.pt").unlink()
    fit_interrupted(make(), run, "generator", 2, at=1)
    rows = [(row["stage"], row["epoch"]) for row in read_history(run / "history.csv")]
    assert rows == [("gan", "0"), ("generator", "0")]


def test_a_notebook_says_how_to_go_on_and_nothing_else():
    assert issubclass(Interrupted, KeyboardInterrupt), "so that what was queued behind it stops"
    assert Interrupted("run it again")._render_traceback_() == ["run it again"]


def test_a_stage_is_not_gone_on_with_after_the_one_before_it_changed(make, tmp_path):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    fit(make("gan"), run, "gan", 1)
    fit(make("gan"), run, "gan", 1)  # as it was: nothing to say
    fit(make(), run, "generator", 2)
    with pytest.raises(
        ParameterError, match=r"after \{'generator': 1\} .* come to \{'generator': 2\}"
    ):
        fit(make("gan"), run, "gan", 1)


def test_an_interrupt_keeps_the_voice_of_the_last_whole_epoch(make, tmp_path):
    learn = make()
    fit_interrupted(learn, tmp_path / "run", "generator", N_EPOCHS, at=1)
    kept = load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")
    assert same(load_file(tmp_path / "run" / "generator.safetensors"), kept["average"])
    assert same(learn.model.state_dict(), kept["average"])
    assert len(read_history(tmp_path / "run" / "history.csv")) == 1
    load_voice(tmp_path / "run", "cpu")


def test_an_interrupt_before_the_first_epoch_ends_leaves_a_run_to_begin(make, whole_run, tmp_path):
    fit_interrupted(make(), tmp_path / "run", "generator", N_EPOCHS, at=0)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())
    fit(make(), tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")


@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_a_loss_that_is_not_finite_stops_with_a_reason_and_keeps_the_run(
    make, whole_run, tmp_path, stage
):
    with pytest.raises(FloatingPointError, match="became nan in epoch 1, batch 1; .* lower lr"):
        fit(make(stage), tmp_path / "run", stage, N_EPOCHS, cbs=[At(1, spoil)])
    kept = load_checkpoint(tmp_path / "run" / f"{stage}.checkpoint.pt")
    assert kept["epoch"] == 0 and all(torch.isfinite(v).all() for v in kept["model"].values())
    load_voice(tmp_path / "run", "cpu")
    fit(make(stage), tmp_path / "run", stage, N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", stage)


def test_the_recordings_of_a_lost_batch_are_named(make, tmp_path, monkeypatch):
    made_of = []
    learn = make()
    recording = learn.dls.pairs.recording
    monkeypatch.setattr(
        learn.dls.pairs, "recording", lambda i: made_of.append(recording(i)) or made_of[-1]
    )
    with pytest.raises(FloatingPointError, match=r"this batch was made of: \d\.wav") as lost:
        fit(learn, tmp_path / "run", "generator", N_EPOCHS, cbs=[At(1, spoil)])
    drawn = {r.path.name for r in made_of[-2 - 2 : -2]}  # asked again for the message
    assert set(str(lost.value).split("made of: ")[1].split(", ")) == drawn


def test_a_gradient_that_is_not_finite_spoils_no_weight(make, tmp_path):
    class Steep(Callback):
        def after_backward(self):
            if (self.epoch, self.iter) == (1, 1):
                next(self.learn.model.parameters()).grad[0] = float("inf")

    learn = make()
    with pytest.raises(FloatingPointError, match="a gradient became infinite in epoch 1, batch 1;"):
        fit(learn, tmp_path / "run", "generator", N_EPOCHS, cbs=[Steep()])
    kept = load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")
    assert kept["epoch"] == 0 and same(learn.model.state_dict(), kept["average"])


def test_a_weight_that_is_lost_in_the_last_step_is_not_kept(make, tmp_path):
    class Lose(Callback):
        def after_step(self):
            if (self.epoch, self.iter) == (1, 1):
                next(self.learn.model.parameters()).data[0] = float("nan")

    with pytest.raises(FloatingPointError, match="a weight became infinite in epoch 1"):
        fit(make(), tmp_path / "run", "generator", N_EPOCHS, cbs=[Lose()])
    kept = load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")
    assert kept["epoch"] == 0 and all(torch.isfinite(v).all() for v in kept["model"].values())
    load_voice(tmp_path / "run", "cpu")


@pytest.mark.parametrize("act", [interrupt, spoil])
def test_bfloat16_ends_with_the_batch_however_that_ends(make, tmp_path, monkeypatch, act):
    monkeypatch.setattr(networks, "has_bf16_units", lambda: True)
    try:
        fit(make(), tmp_path / "run", "generator", 1, cbs=[At(0, act)])
    except (FloatingPointError, Interrupted) as e:
        assert isinstance(e, FloatingPointError) == (act is spoil)
    try:
        assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_autocast_enabled("cpu", False)
        torch.clear_autocast_cache()


def test_training_in_bfloat16_stays_finite(make, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "has_bf16_units", lambda: True)
    fit(make("gan"), tmp_path / "run", "gan", 1)
    saved = load_file(tmp_path / "run" / "generator.safetensors")
    assert all(torch.isfinite(v).all() for v in saved.values())
    assert {v.dtype for v in saved.values()} <= {torch.float32, torch.int64}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    "change, name", [(dict(lr=1e-4), "lr"), (dict(width=16, seed=1), "width, seed")]
)
def test_other_settings_are_refused_by_name(make, whole_run, change, name):
    with pytest.raises(ParameterError, match=rf"other settings \({name}\); use a new run folder"):
        fit(make(**change), whole_run[0], "generator", 2)


def test_another_number_of_epochs_is_refused_while_unfinished(make, tmp_path):
    fit_interrupted(make(), tmp_path / "run", "generator", N_EPOCHS, at=1)
    for n_epochs in (1, 5):
        with pytest.raises(ParameterError, match=f"of 2 epochs, not n_epochs={n_epochs}"):
            fit(make(), tmp_path / "run", "generator", n_epochs)
    for n_epochs in (0, -1):
        with pytest.raises(ParameterError, match=f"n_epochs={n_epochs} must be at least 1"):
            fit(make(), tmp_path / "run", "generator", n_epochs)


def test_a_finished_stage_can_be_prolonged(make, tmp_path):
    for n_epochs in (1, 2):
        fit(make(), tmp_path / "run", "generator", n_epochs)
    assert load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")["n_epoch"] == 2
    assert [r["epoch"] for r in read_history(tmp_path / "run" / "history.csv")] == ["0", "1"]


@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_a_finished_stage_is_loaded_and_not_trained(make, whole_run, monkeypatch, capsys, stage):
    run, trained = whole_run
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    learn = make(stage)
    monkeypatch.setattr(learn, "fit_one_cycle", None)
    fit(learn, run, stage, 2)
    assert f"{stage}: all 2 epochs are done" in capsys.readouterr().out
    assert before == {file.name: file.read_bytes() for file in run.iterdir()}
    assert same(learn.model.state_dict(), trained[stage].model.state_dict())


def test_lr_find_leaves_everything_as_it_was(make, whole_run, tmp_path):
    learn = make()
    before = state_of(learn.model)
    learn.lr_find(num_it=6, show_plot=False)
    assert same(learn.model.state_dict(), before)
    if hasattr(learn.average_weights, "average"):
        assert same(learn.average_weights.average, before)
    assert not [f for f in tmp_path.rglob("*") if f.is_file()], "no file stays"
    fit(learn, tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")


def test_lr_find_ends_where_the_loss_is_lost(make):
    learn = make()
    before = state_of(learn.model)
    with learn.added_cbs(At(1, spoil)):  # in the second of its epochs
        learn.lr_find(num_it=6, show_plot=False, suggest_funcs=None)
    n_good = len(learn.dls.train) + 1
    assert len(learn.recorder.losses) == n_good and np.isfinite(learn.recorder.losses).all()
    assert same(learn.model.state_dict(), before)


def test_lr_find_that_is_stopped_does_not_spoil_what_comes(make, whole_run, tmp_path):
    class Stop(Callback):
        def after_batch(self):
            if self.iter == 1:
                raise KeyboardInterrupt

    learn = make()
    before = state_of(learn.model)
    with learn.added_cbs(Stop()), pytest.raises(KeyboardInterrupt):
        learn.lr_find(num_it=6, show_plot=False)
    fit(make(), tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")
    fit(learn, tmp_path / "other", "generator", 1)
    assert not same(load_file(tmp_path / "other" / "generator.safetensors"), before), "averaged"


def test_stop_when_spoilt_keeps_the_voice_before(make, tmp_path, capsys):
    class Spoil(Callback):
        "Let the second epoch pass the limit."

        def before_epoch(self):
            self.learn.early_stopping.limit_db = 1_000.0 if self.epoch == 0 else 0.1

    kept = {}

    class Keep(Callback):
        def before_epoch(self):
            file = tmp_path / "run" / "generator.safetensors"
            kept[self.epoch] = file.read_bytes() if file.exists() else b""

    learn = make("gan")
    fit(learn, tmp_path / "run", "gan", 3, cbs=[EarlyStopping(1_000.0), Spoil(), Keep()])
    assert "over the limit of 0.10 dB: stopped" in capsys.readouterr().out
    assert list(kept) == [0, 1], "no third epoch"
    assert (tmp_path / "run" / "generator.safetensors").read_bytes() == kept[1] != b""
    assert load_checkpoint(tmp_path / "run" / "gan.checkpoint.pt")["epoch"] == 0
    average = load_file(tmp_path / "run" / "generator.safetensors")
    assert same(learn.model.generator.state_dict(), average)


def test_stop_when_spoilt_lets_a_good_run_pass(make, tmp_path, whole_run):
    fit(make("gan"), tmp_path / "run", "gan", N_EPOCHS, cbs=[EarlyStopping(1_000.0)])
    assert_as_undisturbed(whole_run, tmp_path / "run", "gan")


class Worsen(Callback):
    "Let validation be as told, epoch by epoch."

    order = 55  # after Recorder has written the log

    def __init__(self, *lsd_db):
        self.lsd_db, self.averages = lsd_db, []

    def after_epoch(self):
        self.averages.append(state_of_average(self.learn))
        if callbacks.epoch_values(self.learn):  # not skipped
            at = self.learn.recorder.metric_names.index("lsd_db")
            self.learn.recorder.log[at] = self.lsd_db[self.epoch]


@pytest.mark.parametrize("spoilt_db", [4.1, float("nan"), float("inf")])
def test_a_gan_that_collapses_leaves_its_best_voice(make, tmp_path, capsys, spoilt_db):
    """Without being asked to: a third worse than the best epoch is too much."""
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


def test_a_collapse_is_known_after_an_interruption_too(make, tmp_path, capsys):
    run, worsen = tmp_path / "run", Worsen(3.0, 3.9, 4.1)
    with pytest.raises(Interrupted):
        fit(make("gan"), run, "gan", 3, cbs=[worsen, At(1, interrupt)])
    fit(make("gan"), run, "gan", 3, cbs=[Worsen(0.0, 3.9, 4.1)])
    assert "the limit of 4.00 dB: stopped; the voice is that of epoch 0" in capsys.readouterr().out
    assert same(load_file(run / "generator.safetensors"), worsen.averages[0])


def test_a_gan_that_is_worse_than_its_pretraining_from_the_start_is_not_taken(
    make, tmp_path, capsys
):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    before = (run / "generator.safetensors").read_bytes()
    pretrained_db = float(read_history(run / "history.csv")[0]["lsd_db"])
    fit(make("gan"), run, "gan", 2, cbs=[Worsen(1.4 * pretrained_db, 0.0)])
    assert "stopped; the voice is what it was before" in capsys.readouterr().out
    assert (run / "generator.safetensors").read_bytes() == before
    assert not (run / "gan.checkpoint.pt").exists()


# Killed, full, taken


def test_a_voice_that_a_kill_kept_from_being_saved_is_saved(make, tmp_path, whole_run):
    """The kill came after the last checkpoint: there is nothing more to train."""
    run, other = tmp_path / "run", state_of(Generator(make().dls.cfg))
    fit(make(), run, "generator", N_EPOCHS)
    whole = {f.name: f.read_bytes() for f in run.iterdir()}
    for spoil_it in (
        lambda: (run / "generator.safetensors").unlink(),
        lambda: (run / "config.json").unlink(),
        lambda: (run / "config.json").write_text("{}"),
        lambda: save_voice(other, make().dls.cfg, run, ("generator", 0)),
    ):
        spoil_it()
        fit(make(), run, "generator", N_EPOCHS)
        assert {f.name: f.read_bytes() for f in run.iterdir()} == whole


def test_a_later_stage_keeps_its_voice(make, tmp_path):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    fit(make("gan"), run, "gan", 1)
    before = (run / "generator.safetensors").read_bytes()
    fit(make(), run, "generator", 1)
    assert (run / "generator.safetensors").read_bytes() == before


def test_the_same_seed_gives_the_same_bytes(make, tmp_path):
    for name in ("one", "two"):
        fit(make(), tmp_path / name / "run", "generator", 1)
    one, two = (
        {f.name: f.read_bytes() for f in (tmp_path / name / "run").iterdir()}
        for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    for name in ("generator.safetensors", "config.json", "card.md"):
        assert one[name] == two[name], name


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_a_damaged_checkpoint_is_refused(make, tmp_path, damage):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    path = run / "generator.checkpoint.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    broken = dict(cut=data[: len(data) // 2], flip=data, text=b"no checkpoint", empty=b"")[damage]
    path.write_bytes(bytes(broken))
    before = (run / "generator.safetensors").read_bytes()
    with pytest.raises(ParameterError, match=r"checkpoint.pt is damaged .*; remove it to train"):
        fit(make(), run, "generator", 2)
    assert (run / "generator.safetensors").read_bytes() == before


def test_a_second_run_into_a_folder_is_refused(make, tmp_path):
    class Second(Callback):
        def after_epoch(self):
            code = "import sys; from vc_lib.files import only_process\nwith only_process(sys.argv[1]): pass"
            run = [sys.executable, "-c", code, str(tmp_path / "run")]
            second = subprocess.run(run, cwd=REPO, capture_output=True, text=True)
            refused.append("run is being trained into by another process" in second.stderr)

    refused = []
    fit(make(), tmp_path / "run", "generator", 1, cbs=[Second()])
    assert refused == [True]
    fit(make(), tmp_path / "run", "generator", 1)


def test_a_full_disk_ends_training_with_a_reason_and_the_last_epoch(make, whole_run, tmp_path):
    """No file may be over 100 kB from the second epoch on: the checkpoint does not fit."""

    class Full(Callback):
        def before_epoch(self):
            if self.epoch == 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(NotWritten, match=r"checkpoint.pt cannot be written: the disk is full"):
            fit(make(), tmp_path / "run", "generator", N_EPOCHS, cbs=[Full()])
        with pytest.raises(NotWritten, match=r"generated.npy cannot be written: the disk is full"):
            save_generated(make().model, make().dls, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [f for f in (tmp_path / "run").iterdir() if f.name.startswith(".")]
    assert load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")["epoch"] == 0
    load_voice(tmp_path / "run", "cpu")
    fit(make(), tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")


# Files of a run


def test_history_survives_the_file_with_columns_that_differ(tmp_path):
    assert read_history(tmp_path / "history.csv") == []
    rows = [{"stage": "a", "epoch": "0", "x": "1"}, {"stage": "b", "epoch": "0", "y": "2"}]
    write_history(tmp_path / "run" / "history.csv", rows)
    back = read_history(tmp_path / "run" / "history.csv")
    assert back == [rows[0] | {"y": ""}, {"stage": "b", "epoch": "0", "x": "", "y": "2"}]
    with (tmp_path / "run" / "history.csv").open(newline="") as f:
        assert next(csv.reader(f)) == ["stage", "epoch", "x", "y"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def write(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        stages.atomically(tmp_path / "a.txt", write)
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_average_weights_can_be_used_twice(make, tmp_path):
    """A second stage on the same network starts its average at what the first left."""
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
