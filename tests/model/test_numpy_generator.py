"""The generator in NumPy: it computes what the network of training computes, from its weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vc_lib.config import SECOND_CHANNELS
from vc_lib.model.networks import Generator, OnArrays
from vc_lib.model.numpy_generator import NumpyGenerator, layout

SHAPES = [  # other settings than the default
    dict(),
    dict(depth=2, width=8),
    dict(depth=4, width=10, fold=16),
    dict(filter_output=False, depth=2, width=4),
    dict(limit_change=False, width=6),
    dict(lifter_ms=0.0, width=6),
    dict(n_fft=400, hop_length=80, width=6),
]
each_shape = pytest.mark.parametrize("changes", SHAPES, ids=str)


def trained(cfg, counted=1.0):
    """A network whose weights and averages are anything."""
    torch.manual_seed(1)
    network = Generator(cfg)
    network.bf16 = False  # as NumPy, on every CPU
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = 0.1 * torch.randn_like(value)
                value.copy_(value + (noise.abs() if name.endswith("running_var") else noise))
        if network.limiter:
            network.limiter.loud.fill_(-1.6)
            network.limiter.counted.fill_(counted)
    return network


def arrays(network):
    return {name: value.numpy() for name, value in network.state_dict().items()}


def speech(cfg, n_frames, seed=0):
    """Random image: log-magnitudes like those of speech, any phase."""
    rng = np.random.default_rng(seed)
    img = rng.uniform(-1, 1, (2, cfg.n_freqs, n_frames))
    img[0] = -0.8 + 0.4 * img[0]
    return img.astype(np.float32)


def assert_same(cfg, network, n_frames, strength=1.0):
    img = speech(cfg, n_frames)
    expected = OnArrays(network, "cpu")(img, strength)
    made = NumpyGenerator(cfg, arrays(network))(img, strength)
    assert made.dtype == np.float32 and made.shape == img.shape
    assert np.abs(expected - img).max() > 0.01, "the network changes something"
    error = np.linalg.norm(made - expected) / np.linalg.norm(expected - img)
    assert 20 * np.log10(error) < -80


@each_shape
def test_weights_have_the_names_and_shapes_of_the_network(tiny_cfg, changes):
    cfg = replace(tiny_cfg, **changes)
    state = Generator(cfg).state_dict()
    assert layout(cfg) == {name: list(value.shape) for name, value in state.items()}


@each_shape
def test_the_output_is_that_of_the_network(tiny_cfg, changes):
    cfg = replace(tiny_cfg, **changes)
    assert_same(cfg, trained(cfg), 50)


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_the_output_is_that_of_the_network_for_each_image(tiny_cfg, second_channel):
    cfg = replace(tiny_cfg, second_channel=second_channel)
    assert_same(cfg, trained(cfg), 21)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5, 8, 64])
def test_any_number_of_frames(tiny_cfg, n_frames):
    assert_same(tiny_cfg, trained(tiny_cfg), n_frames)


def test_strength_scales_the_change(tiny_cfg):
    network = trained(tiny_cfg)
    for strength in (0.5, 2.0):
        assert_same(tiny_cfg, network, 30, strength)
    img = speech(tiny_cfg, 30)
    unchanged = NumpyGenerator(tiny_cfg, arrays(network))(img, 0.0)
    np.testing.assert_allclose(unchanged, img, atol=1e-6)


def test_averages_that_were_never_measured_count_as_silence(tiny_cfg):
    assert_same(tiny_cfg, trained(tiny_cfg, counted=0.0), 30)
