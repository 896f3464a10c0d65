"""A tiny corpus, one undisturbed run of all stages, and new learners of them."""

from copy import deepcopy
from dataclasses import replace

import pytest
import soundfile
from training_helpers import (
    N_EPOCHS,
    SR,
)

from vc_lib.corpus import learn_target, prepare
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import fit
from vc_lib.training.stages import (
    critic_learner,
    gan_learner,
    generator_learner,
    save_generated,
)

from fastai.torch_core import default_device

collect_ignore = ["conftest.py"]  # as doctests: pytest would confuse the conftest.py of all folders


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder: fastai writes into the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="package", autouse=True)
def on_the_cpu():
    """Train on the CPU, also where there is a GPU."""
    default_device(False)
    yield
    default_device(None)


@pytest.fixture(scope="package")
def corpus(tmp_path_factory, voice, tiny_cfg):
    """Three short analyzed recordings of one speaker, and a config with her as target."""
    folder = tmp_path_factory.mktemp("recordings")
    for i in range(3):
        soundfile.write(folder / f"{i}.wav", voice(0.6 + 0.3 * i, f0=200.0, seed=i), SR)
    cfg = replace(tiny_cfg, f0_method="dio", n_frames=32, max_crops=4, ema_decay=0.5)
    cfg = replace(cfg, critic_threshold=100.0)  # turns alternate; an epoch has two steps
    recordings = prepare(folder, cfg, tmp_path_factory.mktemp("cache"), n_jobs=1)
    return recordings, learn_target(recordings, cfg)


@pytest.fixture(scope="package")
def whole_run(corpus, tmp_path_factory):
    """An undisturbed run of every stage: its folder, and its learners by stage."""
    (recordings, cfg), run = corpus, tmp_path_factory.mktemp("models") / "run"
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
def make(corpus, whole_run):
    """`make(stage, **settings)`: a new learner of the stage, as in another session."""
    (recordings, cfg), (run, learn) = corpus, whole_run

    def make(stage="generator", **settings):
        changed = replace(cfg, **settings)
        if stage == "critic":
            return critic_learner(run, changed, num_workers=0)
        dls = make_dls(recordings[1:], recordings[:1], changed, num_workers=0)
        if stage == "generator":
            return generator_learner(dls)
        return gan_learner(dls, *deepcopy((learn["generator"].model, learn["critic"].model)))

    return make
