"""Training in two processes on a CPU equals one process with twice the batch; one process writes."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import soundfile

from vc_lib.config import Config
from vc_lib.convert import load_voice
from vc_lib.corpus import learn_target, prepare, split
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import distributed, fit
from vc_lib.training.run_folder import load_checkpoint
from vc_lib.training.stages import gan_learner, generator_learner

REPO = Path(__file__).parents[2]
N_EPOCHS = 3
CODE = """
import sys
from pathlib import Path
from fastai.callback.core import Callback
from test_distributed import learner
from vc_lib.training.run import distributed, fit

folder, run, bs, n_epochs, stop = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
learn = learner(folder, bs)

class Stop(Callback):
    order = 70
    def after_epoch(self):
        if self.epoch + 1 == stop:
            raise RuntimeError("stopped on purpose")

learn.add_cb(Stop())
with distributed(learn), learn.no_bar():
    fit(learn, run, "generator", n_epochs)
    fit(learn, run, "generator", n_epochs)  # prints that all epochs are trained
"""

pytestmark = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="pip install accelerate to test several processes"
)


def learner(folder: Path, bs: int):
    """A tiny learner of the config and recordings in `folder`."""
    cfg = replace(Config.load(folder / "config.json"), bs=bs)
    train, valid = split(prepare(folder / "recordings", cfg, folder / "cache", n_jobs=1), cfg)
    return generator_learner(make_dls(train, valid, learn_target(train, cfg), num_workers=0))


@pytest.fixture(scope="module")
def folder(tiny_cfg, voice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "recordings").mkdir()
    for i in range(6):
        soundfile.write(folder / "recordings" / f"{i}.wav", voice(2.0, f0=200.0, seed=i), 16_000)
    # losses that do not depend on how crops are batched, and weights that change quickly
    means = dict(variance_weight=0.0, mr_stft_weight=0.0, ema_decay=0.5, lr=5e-4)
    replace(tiny_cfg, f0_method="dio", valid_share=0.34, **means).save(folder / "config.json")
    return folder


def launched(*args) -> subprocess.CompletedProcess:
    """Run CODE in two processes, started as `accelerate launch` does."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    folder = Path(args[0])
    (folder / "script.py").write_text(CODE)
    paths = os.pathsep.join([str(REPO), str(Path(__file__).parent)])
    return subprocess.run(
        [*command, str(folder / "script.py"), *map(str, args)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def history(run: Path) -> dict[str, np.ndarray]:
    with (run / "history.csv").open(newline="") as f:
        rows = [row for row in csv.DictReader(f) if row["stage"] == "generator"]
    return {
        name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != "stage"
    }


@pytest.fixture(scope="module")
def two(folder):
    """A run of two processes with one crop each, interrupted after two epochs and resumed."""
    run = folder / "two"
    broken = launched(folder, run, 1, N_EPOCHS, 2)
    assert "stopped on purpose" in broken.stderr
    assert load_checkpoint(run / "generator.checkpoint.pt")["epoch"] == 1
    done = launched(folder, run, 1, N_EPOCHS, 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all 3 epochs are trained") == 1, "only one process prints"
    return run


def test_two_processes_equal_one_with_twice_the_batch(folder, two):
    """Steps use the same crops, but pair them differently, which changes batch norm."""
    learn = learner(folder, 2)
    with learn.no_bar():
        fit(learn, folder / "one", "generator", N_EPOCHS)
    a, b = history(two), history(folder / "one")
    assert list(a["epoch"]) == list(range(N_EPOCHS)) == list(b["epoch"])
    np.testing.assert_allclose(a["valid_loss"], b["valid_loss"], rtol=0.02)
    np.testing.assert_allclose(a["lsd_db"], b["lsd_db"], rtol=0.02)
    np.testing.assert_allclose(a["train_loss"], b["train_loss"], rtol=0.02)
    assert b["train_loss"][-1] < 0.98 * b["train_loss"][0], "the loss falls"


def test_the_voice_of_two_processes_can_be_loaded(two, voice):
    model = load_voice(two, device="cpu")
    assert np.isfinite(model.convert(voice(0.5), 16_000)).all()
    checkpoint = load_checkpoint(two / "generator.checkpoint.pt")
    assert not any(name.startswith("module.") for name in checkpoint["model"])


def test_fit_rejects_a_gan_in_several_processes(folder, monkeypatch):
    learn = gan_learner(learner(folder, 2).dls)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ParameterError, match="num_processes=2 must be 1 for generator and critic"):
        fit(learn, folder / "gan", "gan", 1)
    assert not (folder / "gan").exists()


def test_command_rejects_a_gan_in_several_processes_first(folder, monkeypatch):
    train = run_path(str(REPO / "tools" / "train_voice.py"))["train"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ParameterError, match="--gan-epochs 5 must be 0 with 2 processes"):
        train(
            folder / "recordings", folder / "refused", (5, 1, 5), 2, 1, {}, folder / "unused", None
        )
    assert not (folder / "refused").exists() and not (folder / "unused").exists()


def test_without_accelerate_the_error_says_what_to_install(folder, monkeypatch):
    learn = learner(folder, 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "fastai.distributed", None)
    with pytest.raises(MissingInput, match="pip install accelerate"), distributed(learn):
        pass


def test_distributed_changes_nothing_in_one_process(folder):
    learn = learner(folder, 2)
    with distributed(learn) as same:
        assert same is learn and not hasattr(learn, "distributed_trainer")
