"""fit: the files of a run, interrupt and resume, and what is refused."""

import csv
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_helpers import (
    N_EPOCHS,
    SR,
    At,
    assert_as_undisturbed,
    fit_interrupted,
    interrupt,
    same,
    spoil,
    state_of,
)

from vc_lib.config import Config
from vc_lib.convert import load_voice
from vc_lib.errors import NotWritten, ParameterError
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import save_voice
from vc_lib.training.run import Interrupted, fit
from vc_lib.training.run_folder import STAGES, load_checkpoint, read_history, write_history
from vc_lib.training.stages import (
    gan_learner,
    save_generated,
)

from fastai.callback.core import Callback

REPO = Path(__file__).parents[2]


# Files of a run


def test_a_run_leaves_its_files_and_no_partial_ones(whole_run):
    run, _ = whole_run
    names = {"generator.safetensors", "config.json", "card.md", "history.csv", "generated.npy"}
    names |= {f"{stage}.checkpoint.pt" for stage in STAGES}
    assert {file.name for file in run.iterdir()} == names


def test_the_voice_of_a_run_converts(whole_run, voice, corpus):
    run, learn = whole_run
    loaded = load_voice(run, device="cpu")
    assert loaded.config == corpus[1] == Config.load(run / "config.json")
    assert same(loaded.generator.network.state_dict(), learn["gan"].model.generator.state_dict())
    out = loaded.convert(voice(0.3), SR)
    assert out.shape == (4_800,) and np.isfinite(out).all()


def test_the_saved_voice_is_the_average(whole_run):
    run, learn = whole_run
    checkpoint = load_checkpoint(run / "gan.checkpoint.pt")
    assert same(load_file(run / "generator.safetensors"), checkpoint["average"])
    raw = {k[10:]: v for k, v in checkpoint["model"].items() if k.startswith("generator.")}
    assert not same(raw, checkpoint["average"])
    assert same(learn["gan"].model.generator.state_dict(), checkpoint["average"])


def test_saved_and_loaded_weights_give_the_same_output(corpus, tmp_path):
    torch.manual_seed(1)
    generator = Generator(corpus[1]).eval()
    for p in generator.parameters():
        nn.init.normal_(p, std=0.1)
    save_voice(generator.state_dict(), corpus[1], tmp_path / "new" / "run")
    img = torch.randn(1, 2, 257, 20)
    with torch.no_grad():
        loaded = load_voice(tmp_path / "new" / "run", "cpu").generator.network
        torch.testing.assert_close(loaded(img), generator(img), atol=1e-5, rtol=1e-5)


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


def test_history_has_a_row_for_each_epoch_of_each_stage(whole_run):
    rows = read_history(whole_run[0] / "history.csv")
    assert [(r["stage"], r["epoch"]) for r in rows] == [
        (stage, str(epoch)) for stage in STAGES for epoch in (0, 1)
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


def test_history_rows_with_different_columns_are_read_back(tmp_path):
    assert read_history(tmp_path / "history.csv") == []
    rows = [{"stage": "a", "epoch": "0", "x": "1"}, {"stage": "b", "epoch": "0", "y": "2"}]
    write_history(tmp_path / "run" / "history.csv", rows)
    back = read_history(tmp_path / "run" / "history.csv")
    assert back == [rows[0] | {"y": ""}, {"stage": "b", "epoch": "0", "x": "", "y": "2"}]
    with (tmp_path / "run" / "history.csv").open(newline="") as f:
        assert next(csv.reader(f)) == ["stage", "epoch", "x", "y"]


@pytest.mark.parametrize("stage", ["generator", "critic", "gan"])
def test_a_checkpoint_holds_no_code(whole_run, stage):
    checkpoint = torch.load(whole_run[0] / f"{stage}.checkpoint.pt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["n_epoch"]) == (1, 2)
    assert checkpoint["settings"]["n_frames"] == 32


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_a_damaged_checkpoint_is_refused(make, tmp_path, damage):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    path = run / "generator.checkpoint.pt"
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:  # not in the padding between two files
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    data[largest.header_offset + largest.file_size // 2] ^= 1
    broken = dict(cut=data[: len(data) // 2], flip=data, text=b"no checkpoint", empty=b"")[damage]
    path.write_bytes(bytes(broken))
    before = (run / "generator.safetensors").read_bytes()
    with pytest.raises(ParameterError, match=r"checkpoint.pt is damaged .*; remove it to train"):
        fit(make(), run, "generator", 2)
    assert (run / "generator.safetensors").read_bytes() == before


# Interrupt and resume


@pytest.mark.parametrize("stage", ["generator", "critic", "gan"])
def test_an_interrupted_run_resumes_bit_for_bit(make, whole_run, tmp_path, stage):
    fit_interrupted(make(stage), tmp_path / "run", stage, N_EPOCHS, at=1)
    assert load_checkpoint(tmp_path / "run" / f"{stage}.checkpoint.pt")["epoch"] == 0
    fit(make(stage), tmp_path / "run", stage, N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", stage)


@pytest.mark.parametrize("act", [interrupt, spoil])
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_the_same_learner_resumes_bit_for_bit(make, whole_run, tmp_path, stage, epoch, act):
    """As when a notebook cell is interrupted, or fails, and is run again."""
    learn = make(stage)
    with pytest.raises((Interrupted, FloatingPointError)):
        fit(learn, tmp_path / "run", stage, N_EPOCHS, cbs=[At(epoch, act)])
    fit(learn, tmp_path / "run", stage, N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", stage)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_new_learner_of_the_same_networks_resumes_bit_for_bit(make, whole_run, tmp_path, epoch):
    """As when the interrupted cell also makes the learner."""
    stopped = make("gan")
    fit_interrupted(stopped, tmp_path / "run", "gan", N_EPOCHS, at=epoch)
    learn = gan_learner(stopped.dls, stopped.model.generator, stopped.model.critic)
    fit(learn, tmp_path / "run", "gan", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "gan")


def test_an_interrupt_keeps_the_voice_of_the_last_epoch(make, tmp_path):
    learn = make()
    fit_interrupted(learn, tmp_path / "run", "generator", N_EPOCHS, at=1)
    checkpoint = load_checkpoint(tmp_path / "run" / "generator.checkpoint.pt")
    assert same(load_file(tmp_path / "run" / "generator.safetensors"), checkpoint["average"])
    assert same(learn.model.state_dict(), checkpoint["average"])
    assert len(read_history(tmp_path / "run" / "history.csv")) == 1
    load_voice(tmp_path / "run", "cpu")


def test_an_interrupt_in_the_first_epoch_leaves_no_files(make, whole_run, tmp_path):
    fit_interrupted(make(), tmp_path / "run", "generator", N_EPOCHS, at=0)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())
    fit(make(), tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")


def test_a_notebook_shows_an_interrupt_without_traceback():
    assert issubclass(Interrupted, KeyboardInterrupt), "so that what was queued behind it stops"
    assert Interrupted("run it again")._render_traceback_() == ["run it again"]


# What may be resumed


@pytest.mark.parametrize(
    "change, name", [(dict(lr=1e-4), "lr"), (dict(width=16, seed=1), "width, seed")]
)
def test_fit_names_settings_that_changed(make, whole_run, change, name):
    with pytest.raises(ParameterError, match=rf"other settings \({name}\); use a new run folder"):
        fit(make(**change), whole_run[0], "generator", 2)


def test_fit_rejects_another_number_of_epochs_while_unfinished(make, tmp_path):
    fit_interrupted(make(), tmp_path / "run", "generator", N_EPOCHS, at=1)
    for n_epochs in (1, 5):
        with pytest.raises(ParameterError, match=f"of 2 epochs, not n_epochs={n_epochs}"):
            fit(make(), tmp_path / "run", "generator", n_epochs)
    for n_epochs in (0, -1):
        with pytest.raises(ParameterError, match=f"n_epochs={n_epochs} must be at least 1"):
            fit(make(), tmp_path / "run", "generator", n_epochs)


def test_a_finished_stage_can_be_extended(make, tmp_path):
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
    assert f"{stage}: all 2 epochs are trained" in capsys.readouterr().out
    assert before == {file.name: file.read_bytes() for file in run.iterdir()}
    assert same(learn.model.state_dict(), trained[stage].model.state_dict())


def test_a_stage_trained_again_drops_its_old_rows(make, tmp_path):
    run = tmp_path / "run"
    fit(make(), run, "generator", 2)
    fit(make("gan"), run, "gan", 1)
    (run / "generator.checkpoint.pt").unlink()
    fit_interrupted(make(), run, "generator", 2, at=1)
    rows = [(row["stage"], row["epoch"]) for row in read_history(run / "history.csv")]
    assert rows == [("gan", "0"), ("generator", "0")]


def test_fit_rejects_a_stage_after_an_earlier_one_changed(make, tmp_path):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    fit(make("gan"), run, "gan", 1)
    fit(make("gan"), run, "gan", 1)  # nothing changed: accepted
    fit(make(), run, "generator", 2)
    with pytest.raises(
        ParameterError, match=r"after \{'generator': 1\} .* now have \{'generator': 2\}"
    ):
        fit(make("gan"), run, "gan", 1)


# Kills, a full disk, a second process


def test_a_voice_missing_after_a_kill_is_saved(make, tmp_path, whole_run):
    """The kill came after the last checkpoint, before the voice was saved."""
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


def test_an_earlier_stage_does_not_overwrite_a_later_voice(make, tmp_path):
    run = tmp_path / "run"
    fit(make(), run, "generator", 1)
    fit(make("gan"), run, "gan", 1)
    before = (run / "generator.safetensors").read_bytes()
    fit(make(), run, "generator", 1)
    assert (run / "generator.safetensors").read_bytes() == before


def test_fit_rejects_a_second_process_in_the_same_folder(make, tmp_path):
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


def test_a_full_disk_stops_training_with_the_last_epoch_saved(make, whole_run, tmp_path):
    """From the second epoch on no file may exceed 100 kB, so the checkpoint does not fit."""

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
