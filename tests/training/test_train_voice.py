"""tools/train_voice.py, called as from the shell."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vc_lib.config import Config
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import save_voice

TOOL = Path(__file__).parents[2] / "tools" / "train_voice.py"


@pytest.fixture
def train_voice(monkeypatch):
    """`train_voice(recordings, run, *options)` runs the tool, with tiny networks and no training."""

    def run(recordings, run_dir, *options):
        untrained = ["--from-nothing", "--epochs", "0", "--held-out", "1", "--cache", "cache"]
        tiny = ["--set", "f0_method=dio", "width=4", "n_classes=4"]
        arguments = [TOOL, recordings, run_dir, *untrained, *options, *tiny]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        runpy.run_path(str(TOOL), run_name="__main__")

    return run


def test_the_target_is_measured_or_taken_from_a_voice(train_voice, corpus, tmp_path):
    recordings, cfg = corpus
    given = replace(cfg, target=replace(cfg.target, f0_hz=123.0))
    save_voice(Generator(given).state_dict(), given, tmp_path / "given")
    folder = recordings[0].path.parent
    train_voice(folder, tmp_path / "measured")
    train_voice(folder, tmp_path / "taken", "--statistics", tmp_path / "given")
    measured, taken = (
        Config.load(tmp_path / run / "config.json").target for run in ("measured", "taken")
    )
    assert taken == given.target
    assert measured.f0_hz == pytest.approx(200, rel=0.05)
