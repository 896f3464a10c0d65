"""The board that a notebook shows while a voice is trained, and what TensorBoard is told."""

import io
import sys
from dataclasses import replace
from importlib.util import find_spec

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from vc_lib.errors import MissingInput
from vc_lib.evaluate.monitor import EvaluateCallback
from vc_lib.notebook import board
from vc_lib.notebook.board import Board, to_tensorboard
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import Interrupted, fit
from vc_lib.training.stages import critic_learner, generator_learner, save_generated

from fastai.callback.core import Callback
from fastai.torch_core import default_device


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "vc_lib.evaluate.monitor.installed", lambda packages: not packages
    )  # they are slow
    default_device(False)
    yield
    default_device(None)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed."""
    things = []
    monkeypatch.setattr(board, "display", things.append)
    return things


@pytest.fixture
def learn(prepared, target_cfg):
    cfg = replace(target_cfg, max_crops=4)
    return generator_learner(make_dls(prepared[1:], prepared[:1], cfg, num_workers=0))


@pytest.fixture
def evaluation(prepared, target_cfg, voice):
    own = [prepared[2].load()[0]]
    return EvaluateCallback(target_cfg, own, [voice(1.0, f0=110.0)], every=5)


class EachEpoch(Callback):
    "Keep what the board shows after each epoch."

    order = 68

    def __init__(self):
        self.seen = []

    def after_epoch(self):
        self.seen.append(
            (self.learn.board.status.value, [t["sound"] for t in self.learn.board.player.tracks])
        )


def test_a_board_shows_and_plays_the_progress(learn, evaluation, shown, tmp_path):
    each = EachEpoch()
    fit(learn, tmp_path / "run", "generator", 3, cbs=[evaluation, Board(), each])
    (panel,) = shown
    status, player, curves = panel.children
    assert status.value == "generator: 3 of 3 epochs, done."
    assert "generator: 1 of 3 epochs" in each.seen[0][0] and "left" in each.seen[0][0]
    assert all("valid_loss" in text and "stop button" in text for text, _ in each.seen)
    assert Image.open(io.BytesIO(curves.value)).width > 300
    assert [t["label"] for t in player.tracks] == ["source", "anonymized", "converted"]
    (first, last) = (sounds for _, sounds in (each.seen[0], each.seen[-1]))
    assert first[:2] == last[:2], "the clip is the same"
    assert first[2] != last[2], "the voice is not"


def test_the_preview_is_what_the_voice_makes_now(learn, evaluation, tmp_path):
    fit(learn, tmp_path / "run", "generator", 1, cbs=[evaluation])
    evaluation.learn = learn
    sounds = evaluation.preview()
    assert {len(wav) for wav in sounds.values()} == {16_000}
    assert all(np.isfinite(wav).all() and wav.any() for wav in sounds.values())
    assert not np.allclose(sounds["converted"], sounds["anonymized"])


def test_a_critic_has_curves_and_no_sound(learn, shown, tmp_path):
    fit(learn, tmp_path / "run", "generator", 1)
    save_generated(learn.model, learn.dls, tmp_path / "run")
    critic = critic_learner(tmp_path / "run", learn.dls.cfg, num_workers=0)
    fit(critic, tmp_path / "run", "critic", 1, cbs=[Board()])
    (panel,) = shown
    assert [type(child) for child in panel.children] == [ipywidgets.HTML, ipywidgets.Image]
    assert "critic: 1 of 1" in panel.children[0].value


def test_a_resumed_board_counts_from_where_it_was(learn, shown, tmp_path):
    class Stop(Callback):
        def before_epoch(self):
            if self.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        fit(learn, tmp_path / "run", "generator", 3, cbs=[Board(), Stop()])
    assert "2 of 3" in shown[0].children[0].value and "left" in shown[0].children[0].value
    fit(learn, tmp_path / "run", "generator", 3, cbs=[Board()])
    assert "3 of 3" in shown[1].children[0].value


def test_durations_in_words():
    assert [board.in_words(s) for s in (0.4, 99.4, 100, 5399, 5400)] == [
        "0 s",
        "99 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]


@pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="tensorboard is not installed: requirements-dev.txt"
)
def test_tensorboard_gets_scores_sounds_and_images(learn, evaluation, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    fit(learn, run, "generator", 2, cbs=[evaluation, *to_tensorboard(run, "generator")])
    fit(learn, run, "generator", 2, cbs=[evaluation])  # nothing to do
    events = EventAccumulator(str(run / "tensorboard" / "generator"))
    events.Reload()
    tags = events.Tags()
    assert {"train_loss", "lsd_db", "own_mcd_db", "lr_0"} <= set(tags["scalars"])
    assert set(tags["audio"]) == {"source", "anonymized", "converted"}
    assert tags["images"] == ["spectrograms"]
    n_steps = len(learn.dls.train)
    assert [event.step for event in events.Scalars("lsd_db")] == [n_steps, 2 * n_steps]
    (first, second) = events.Audio("converted")
    assert first.sample_rate == 16_000 and first.encoded_audio_string[:4] == b"RIFF"
    assert first.encoded_audio_string != second.encoded_audio_string


def test_without_tensorboard_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastai.callback.tensorboard", None)
    with pytest.raises(MissingInput, match="pip install tensorboard"):
        to_tensorboard("models/run", "generator")
