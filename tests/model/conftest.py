"""A small voice in a folder."""

from dataclasses import replace

import pytest
import torch

from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import save_voice

SR = 16_000
collect_ignore = ["conftest.py"]  # as doctests: pytest would confuse the conftest.py of all folders


@pytest.fixture(scope="module")
def voice_cfg(tiny_cfg, voice):
    cfg = replace(tiny_cfg, f0_method="dio")
    return replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=220.0, seed=3), SR, cfg)]))


@pytest.fixture(scope="module")
def weights(voice_cfg):
    torch.manual_seed(0)
    return {
        k: v + 0.02 * torch.randn_like(v) if v.is_floating_point() else v
        for k, v in Generator(voice_cfg).state_dict().items()
    }


@pytest.fixture
def voice_dir(weights, voice_cfg, tmp_path):
    """The folder of a voice; tests may damage it."""
    valid = {
        k: v.abs() if k.endswith(("running_var", "counted")) else v for k, v in weights.items()
    }
    save_voice(valid, voice_cfg, tmp_path / "anna", ("gan", 3))
    return tmp_path / "anna"
