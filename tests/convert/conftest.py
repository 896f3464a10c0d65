"""A tiny voice, shared by the tests of conversion."""

from dataclasses import replace

import pytest
import torch

from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.convert import load_voice
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import save_voice

SR = 16_000


@pytest.fixture(scope="session")
def target_cfg(tiny_cfg, voice):
    cfg = replace(tiny_cfg, f0_method="dio")
    return replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=220.0, seed=3), SR, cfg)]))


@pytest.fixture(scope="session")
def saved(target_cfg, tmp_path_factory):
    """The folder of a voice whose generator was only disturbed a little, never trained."""
    torch.manual_seed(0)
    generator = Generator(target_cfg)
    with torch.no_grad():
        for p in generator.parameters():
            p.add_(0.02 * torch.randn_like(p))
        generator.limiter.loud.fill_(-0.8)  # as after a step: -40 dB
        generator.limiter.counted.fill_(1.0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_voice(generator.state_dict(), target_cfg, folder)
    return folder


@pytest.fixture(scope="session")
def model(saved):
    return load_voice(saved, device="cpu")
