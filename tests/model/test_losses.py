"""Losses: zero for equal images, known for a gain, finite for silence; and the losses of the GAN."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vc_lib.config import SECOND_CHANNELS, Config
from vc_lib.model.losses import (
    ConditionalGANLoss,
    GeneratorLoss,
    MultiResolutionMel,
    MultiResolutionSTFT,
    global_variance,
    image_l1,
    judged,
    lsd_db,
)
from vc_lib.model.networks import Critic, Generator
from vc_lib.spectrogram import stft, to_image

N_SAMPLES = 31 * 128

each_channel = pytest.mark.parametrize("second_channel", SECOND_CHANNELS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def noise(level=0.1, n=2, seed=0):
    wav = np.random.default_rng(seed).normal(size=(n, N_SAMPLES))
    return torch.from_numpy((level * wav).astype(np.float32))


def images(cfg, wavs):
    return to_image(stft(wavs, cfg), cfg)


# Distances


@each_channel
def test_distance_is_zero_only_for_equal_images(second_channel):
    cfg = Config(second_channel=second_channel)
    a, b = images(cfg, noise()), images(cfg, noise(seed=1))
    for distance in (image_l1, lsd_db, lambda a, b, cfg: GeneratorLoss(cfg)(a, b)):
        assert distance(a, a, cfg).item() == pytest.approx(0, abs=1e-5)
        assert distance(a, b, cfg).item() > 0.05
        assert distance(a, b, cfg).shape == ()


@each_channel
@pytest.mark.parametrize("gain_db", [-6.0, 0.5, 3.0])
def test_lsd_of_a_gain_is_the_gain_in_db(second_channel, gain_db):
    cfg = Config(second_channel=second_channel)
    wavs = noise()
    a, b = images(cfg, wavs), images(cfg, wavs * 10 ** (gain_db / 20))
    assert lsd_db(b, a, cfg).item() == pytest.approx(abs(gain_db), rel=0.02)
    assert image_l1(b, a, cfg).item() * 50 == pytest.approx(abs(gain_db), rel=0.02)


def test_distances_ignore_the_phase(cfg):
    """Two almost equal phases may differ by 2 pi as numbers."""
    img = images(cfg, noise())
    turned = img.clone()
    turned[:, 1] = -turned[:, 1]
    assert image_l1(turned, img, cfg) == 0 and lsd_db(turned, img, cfg) == 0
    wrapped = img.clone()
    wrapped[:, 1] += 2 * (wrapped[:, 1] < 0)  # the same angles, a turn later
    assert GeneratorLoss(cfg)(wrapped, img).item() == pytest.approx(0, abs=1e-3)
    assert GeneratorLoss(cfg)(turned, img).item() > 0.1, "the waveform hears the phase"


def test_mr_stft_of_known_changes():
    distance = MultiResolutionSTFT()
    wavs = noise()
    assert distance(wavs, wavs) == 0
    assert distance(-wavs, wavs).item() == pytest.approx(0, abs=1e-5), "a sign cannot be heard"
    half = 0.5 + np.log(2)  # spectral convergence and log-magnitude of half the amplitude
    assert distance(wavs / 2, wavs).item() == pytest.approx(half, rel=0.01)
    assert distance(noise(seed=1), wavs).item() > 0.5


def test_mr_stft_grows_with_the_error():
    wavs, error = noise(), noise(seed=1)
    distances = [MultiResolutionSTFT()(wavs + x * error, wavs).item() for x in (0.01, 0.1, 1)]
    assert distances == sorted(distances)


@each_channel
@pytest.mark.parametrize("pred, original", [(0.0, 0.0), (0.0, 0.1), (0.1, 0.0), (1e-8, 0.1)])
def test_loss_and_gradient_of_silence_are_finite(second_channel, pred, original):
    cfg = Config(second_channel=second_channel)
    a = images(cfg, noise(pred)).requires_grad_()
    loss = GeneratorLoss(cfg)(a, images(cfg, noise(original, seed=1)))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(a.grad).all()
    assert torch.isfinite(lsd_db(a.detach(), images(cfg, noise(original)), cfg))
    assert loss.item() == pytest.approx(0, abs=1e-5) if pred == original == 0 else loss > 0.05


def test_gradient_of_equal_images_is_finite(cfg):
    a = images(cfg, noise()).requires_grad_()
    GeneratorLoss(cfg)(a, a.detach().clone()).backward()
    assert torch.isfinite(a.grad).all()


@each_channel
def test_a_step_down_the_gradient_lowers_the_loss(second_channel):
    cfg = Config(second_channel=second_channel)
    distance = GeneratorLoss(cfg)
    a, b = images(cfg, noise(0.03)).requires_grad_(), images(cfg, noise(0.1))
    before = distance(a, b)
    before.backward()
    with torch.no_grad():
        after = distance(a - 0.01 * a.grad / a.grad.norm(), b)
    assert after < before


def test_each_distance_scales_with_its_weight(cfg):
    a, b = images(cfg, noise()), images(cfg, noise(seed=1))
    only = dict(image_weight=0.0, mr_stft_weight=0.0, mel_weight=0.0, variance_weight=0.0)
    parts = []
    for name in only:
        near = 1e-9  # the config requires one weight above 0
        one, two = (
            GeneratorLoss(replace(cfg, **only | {"image_weight": near} | {name: weight}))(a, b)
            for weight in (1, 2)
        )
        assert two.item() == pytest.approx(2 * one.item())
        parts.append(one.item())
    together = GeneratorLoss(replace(cfg, **dict.fromkeys(only, 1.0)))(a, b).item()
    assert together == pytest.approx(sum(parts), rel=1e-4)
    assert parts[0] == pytest.approx(image_l1(a, b, cfg).item())


def test_global_variance_of_known_changes(cfg):
    original = images(cfg, noise())
    assert global_variance(original, original, cfg) == 0
    flat, louder = original.clone(), original.clone()
    middle = original[:, 0].mean((0, 2), keepdim=True)
    flat[:, 0] = middle + (original[:, 0] - middle) / 2
    louder[:, 0] += 0.2
    assert global_variance(flat, original, cfg).item() == pytest.approx(np.log(2), rel=0.05)
    assert global_variance(louder, original, cfg).item() == pytest.approx(0, abs=1e-3)


def test_mel_of_known_changes():
    distance, wavs = MultiResolutionMel(16_000), noise()
    assert distance(wavs, wavs) == 0
    assert distance(-wavs, wavs).item() == pytest.approx(0, abs=1e-5), "a sign cannot be heard"
    assert distance(wavs / 2, wavs).item() == pytest.approx(np.log(2), rel=0.02)


def test_mel_distance_of_two_noises_is_smaller_than_that_of_bins(cfg):
    """Two noises of the same spectrum differ in single bins, less in mel bands."""
    a, b = noise(), noise(seed=1)
    same_colour = MultiResolutionMel(16_000)(a, b) / MultiResolutionMel(16_000)(a, a / 2)
    every_bin = image_l1(images(cfg, a), images(cfg, b), cfg) / image_l1(
        images(cfg, a), images(cfg, a / 2), cfg
    )
    assert same_colour < 0.7 * every_bin


def test_generator_loss_ignores_further_arguments(cfg):
    """The adversarial stage validates with the anonymized image as third argument."""
    a, b = images(cfg, noise()), images(cfg, noise(seed=1))
    assert GeneratorLoss(cfg)(a, b, b) == GeneratorLoss(cfg)(a, b)


# Losses of the GAN


def test_judged_is_ln_2_at_chance_and_small_when_right():
    logits = torch.zeros(2, 1, 4, 4)
    for real in (True, False):
        right = 1 if real else -1
        assert judged(logits, real).item() == pytest.approx(np.log(2))
        assert judged(logits + 10 * right, real) < 1e-3 < 9 < judged(logits - 10 * right, real)


class Stub(nn.Module):
    """Two networks: the generator returns zeros; the critic has fixed logits for zeros and for other images."""

    def __init__(self, fake=0.0, wrong=0.0, original=None):
        super().__init__()
        self.fake, self.wrong, self.original = fake, wrong, original

    def generator(self, anonymized):
        return torch.zeros_like(anonymized)

    def critic(self, img, anonymized):
        if not img.any():
            return torch.full((len(img), 1, 2, 2), self.fake)
        right = self.original is not None and torch.equal(img, self.original)
        return torch.full((len(img), 1, 2, 2), -self.wrong if right else self.wrong)


def critic_loss(cfg, stub, real=0.0, n=2):
    loss = ConditionalGANLoss(cfg, stub)
    value = loss.critic(
        torch.full((n, 1, 2, 2), real), torch.ones(n, 2, 3, 4), torch.ones(n, 2, 3, 4)
    )
    return value.item(), loss


def test_critic_loss_falls_when_the_critic_is_right(cfg):
    chance, _ = critic_loss(cfg, Stub())
    assert chance == pytest.approx(np.log(2))
    assert critic_loss(cfg, Stub(), real=3.0)[0] < chance < critic_loss(cfg, Stub(), real=-3.0)[0]
    assert critic_loss(cfg, Stub(fake=-3.0))[0] < chance < critic_loss(cfg, Stub(fake=3.0))[0]
    assert critic_loss(cfg, Stub(wrong=-3.0))[0] < chance < critic_loss(cfg, Stub(wrong=3.0))[0]
    assert critic_loss(cfg, Stub(fake=-9.0, wrong=-9.0), real=9.0)[0] < 1e-3


@pytest.mark.parametrize("mismatch_weight", [0.0, 0.3, 1.0])
def test_mismatch_weight_is_the_share_of_mismatched_pairs(cfg, mismatch_weight):
    cfg = replace(cfg, mismatch_weight=mismatch_weight)
    refused = (1 - mismatch_weight) * judged(torch.tensor([-1.0]), False)
    refused += mismatch_weight * judged(torch.tensor([2.0]), False)
    expected = (judged(torch.tensor([0.5]), True) + refused) / 2
    value, loss = critic_loss(cfg, Stub(fake=-1.0, wrong=2.0), real=0.5)
    assert value == pytest.approx(expected.item(), rel=1e-5)
    real_fake = (judged(torch.tensor([0.5]), True) + judged(torch.tensor([-1.0]), False)) / 2
    assert loss.real_fake_loss.item() == pytest.approx(real_fake.item(), rel=1e-5)


def test_a_batch_of_one_has_no_mismatched_pair(cfg):
    assert critic_loss(cfg, Stub(wrong=9.0), n=1)[0] == pytest.approx(np.log(2))


def test_a_mismatched_pair_has_the_recording_of_another_clip(cfg):
    seen = []

    class Watch(Stub):
        def critic(self, img, anonymized):
            seen.append((img, anonymized))
            return super().critic(img, anonymized)

    original, anonymized = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
    ConditionalGANLoss(cfg, Watch()).critic(torch.zeros(3, 1, 2, 2), anonymized, original)
    (fake, beside_fake), (wrong, beside_wrong) = seen
    assert not fake.any() and torch.equal(beside_fake, anonymized)
    assert torch.equal(beside_wrong, anonymized)
    assert not any(torch.equal(a, b) for a, b in zip(wrong, original, strict=True))
    assert {img.sum().item() for img in wrong} == {img.sum().item() for img in original}


class Pair(nn.Module):
    """The part of fastai's GANModule that the loss uses."""

    def __init__(self, cfg):
        super().__init__()
        self.generator, self.critic = Generator(cfg), Critic(cfg)


@pytest.fixture
def pair(tiny_cfg):
    pair = Pair(replace(tiny_cfg, limit_change=False))
    with torch.no_grad():
        for p in pair.generator.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return pair


def test_critic_loss_gives_the_generator_no_gradient(tiny_cfg, pair):
    anonymized, original = images(tiny_cfg, noise()), images(tiny_cfg, noise(seed=1))
    loss = ConditionalGANLoss(tiny_cfg, pair)
    loss.critic(pair.critic(original, anonymized), anonymized, original).backward()
    assert all(p.grad is None for p in pair.generator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in pair.critic.parameters())


def test_generator_loss_adds_gan_weight_of_the_critic(tiny_cfg, pair):
    anonymized, original = images(tiny_cfg, noise()), images(tiny_cfg, noise(seed=1))
    with torch.no_grad():
        for _ in range(5):
            pair.critic(original, anonymized)
    pair.critic.eval()  # as in training
    made = pair.generator(anonymized)
    fooled = judged(pair.critic(made, anonymized), True).item()
    for weight in (0.0, 0.3, 2.0):
        loss = ConditionalGANLoss(replace(tiny_cfg, gan_weight=weight), pair)
        value = loss.generator(made, original, anonymized).item()
        assert value - loss.gen_loss.item() == pytest.approx(weight * fooled, abs=1e-4)
        assert loss.gen_loss.item() == pytest.approx(
            GeneratorLoss(tiny_cfg)(made, original).item(), rel=1e-5
        )
    loss.generator(made, original, anonymized).backward()
    trained = list(pair.generator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in trained)
