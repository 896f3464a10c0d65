"""The networks: any image size, identity before training, gradients of all weights, logits of patches."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vc_lib.config import SECOND_CHANNELS
from vc_lib.errors import ParameterError
from vc_lib.model.losses import judged
from vc_lib.model.networks import ChangeLimiter, Critic, Fold, Generator, Unfold, compact_encoder
from vc_lib.parallel import in_order
from vc_lib.spectrogram import log_magnitude, minimum_phase, wav_to_image

WIDTHS = (1, 2, 37, 64, 300)  # [frames]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def one_thread():
    """Let torch use one thread; several would round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def make_generator(tiny_cfg):
    """`make_generator(**settings)`: a small untrained generator; each is built once, as that takes a second."""
    built = {}

    def make(**settings):
        cfg = replace(tiny_cfg, **settings)
        if cfg not in built:
            torch.manual_seed(0)
            generator = Generator(cfg)
            built[cfg] = generator, {k: v.clone() for k, v in generator.state_dict().items()}
        generator, drawn = built[cfg]
        generator.load_state_dict(drawn)
        generator.zero_grad()
        generator.bf16 = None
        return generator.train()

    return make


def images(cfg, n=2, n_frames=64):
    return torch.randn(n, 2, cfg.n_freqs, n_frames) * 0.5


def perturbed(network, scale=0.1):
    """The same network after noise was added to every weight, zeros included."""
    with torch.no_grad():
        for p in network.parameters():
            p.add_(scale * torch.randn_like(p))
    return network


# Fold


@pytest.mark.parametrize("n", [1, 2, 8])
def test_fold_and_unfold_are_inverse(n):
    x = torch.randn(3, 2, 16, 5)
    folded = Fold(n)(x)
    assert folded.shape == (3, 2 * n, 16 // n, 5)
    assert torch.equal(Unfold(n)(folded), x)
    assert torch.equal(Fold(n)(Unfold(n)(folded)), folded)


def test_fold_puts_neighbouring_rows_into_channels():
    x = torch.arange(12.0).reshape(1, 1, 12, 1)
    assert Fold(4)(x).flatten(2).tolist() == [[[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]]


# Generator


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_compact_encoder_halves_at_every_stage_but_the_first(depth):
    x = torch.randn(1, 3, 64, 32)
    sizes = [x.shape[-1]]
    for i, stage in enumerate(compact_encoder(3, 4, depth)):
        x = stage(x)
        sizes.append(x.shape[-1])
        assert x.shape[1] == 4 * min(2**i, 4)
    assert sizes == [32, *[32 // 2**i for i in range(depth)]]


@pytest.mark.parametrize("n_frames", WIDTHS)
@pytest.mark.parametrize("n_fft", [512, 600])
@pytest.mark.parametrize(
    "settings",
    [dict(), dict(depth=3, fold=5, filter_output=False), dict(encoder="convnext")],
    ids=["", "5", "convnext"],
)
def test_untrained_small_generator_is_identity_at_any_size(
    tiny_cfg, make_generator, settings, n_fft, n_frames
):
    img = images(replace(tiny_cfg, n_fft=n_fft), 1, n_frames)
    generator = make_generator(n_fft=n_fft, **settings).eval()
    with torch.no_grad():
        assert torch.equal(generator(img), img)
        out = perturbed(generator)(img)
    assert out.shape == img.shape and out.dtype == torch.float32
    assert torch.isfinite(out).all() and not torch.equal(out, img)


@pytest.mark.parametrize("n_fft, n_frames", [(512, 1), (128, 37), (600, 2)])
def test_untrained_resnet18_generator_is_identity_at_any_size(
    tiny_cfg, make_generator, n_fft, n_frames
):
    img = images(replace(tiny_cfg, n_fft=n_fft, hop_length=64), 1, n_frames)
    generator = make_generator(encoder="resnet18", n_fft=n_fft, hop_length=64).eval()
    with torch.no_grad():
        assert torch.equal(generator(img), img)
        assert perturbed(generator, 0.01)(img).shape == img.shape


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
@pytest.mark.parametrize("filter_output", [True, False])
def test_untrained_generator_is_identity_for_every_channel_format(
    tiny_cfg, make_generator, second_channel, filter_output
):
    generator = make_generator(second_channel=second_channel, filter_output=filter_output)
    img = images(tiny_cfg)
    assert torch.equal(generator(img), img), "in training mode too"


@pytest.mark.parametrize("second_channel", ["cos_sin", "real_imag"])
def test_filter_of_compressed_images_is_a_positive_gain(tiny_cfg, make_generator, second_channel):
    img = images(tiny_cfg)
    with torch.no_grad():
        out = perturbed(make_generator(second_channel=second_channel, filter_output=True))(img)
    gain = out / img
    assert not torch.equal(out, img)
    assert (gain > 0).all(), "a gain keeps the sign of real and imaginary part"
    torch.testing.assert_close(gain[:, 0], gain[:, 1])


# ChangeLimiter


@pytest.fixture
def limiter(tiny_cfg):
    """A limiter of a voice at 16 kHz."""
    return ChangeLimiter(replace(tiny_cfg, change_smooth_ms=24.0, change_below_hz=3_000.0))


def loud_then_quiet(cfg, quiet_db=60.0):
    """Images (2, 2, n_freqs, 64) whose second half is quieter by `quiet_db`."""
    img = torch.zeros(2, 2, cfg.n_freqs, 64)
    img[..., 32:] -= quiet_db / 50
    return img


def test_limiter_passes_loud_slow_low_changes_only(limiter):
    img = loud_then_quiet(limiter.cfg)
    limiter.loud.fill_(-1.0)  # -50 dB of full scale
    limiter.counted.fill_(1.0)
    steady = torch.full((2, 1, limiter.cfg.n_freqs, 64), 0.1)
    out = limiter.eval()(steady, img)
    hz = torch.linspace(0, 8_000, limiter.cfg.n_freqs)
    passed = (hz > 300) & (hz < 3_000)
    torch.testing.assert_close(out[:, :, passed, :32], steady[:, :, passed, :32])
    assert (out[:, :, hz >= 3_000] == 0).all() and (out[..., 32:] == 0).all()
    assert (out[:, :, 0] < 0.1 * steady[:, :, 0]).all(), "no rumble"
    quick = 0.1 * torch.ones(64).cumprod(0) * (-1) ** torch.arange(64)
    out = limiter(quick.expand_as(steady), img)
    assert out[..., 4:28].abs().max() < 0.01


def test_limiter_removes_the_mean_change_over_loud_frames(limiter):
    cfg = limiter.cfg
    img = loud_then_quiet(cfg)
    change = 0.3 + 0.1 * torch.randn(2, 1, cfg.n_freqs, 1) * torch.ones(64)
    for _ in range(3):
        out = limiter.train()(change, img)
    assert limiter.loud / limiter.counted == pytest.approx(-1.0, abs=0.02)
    assert out[..., :32].mean((0, 3)).abs().max() < 1e-6
    torch.testing.assert_close(limiter.mean[:, 0] / limiter.counted, change[..., 0].mean((0, 1)))
    assert limiter.eval()(change, img)[..., :32].mean((0, 3)).abs().max() < 1e-6


@pytest.mark.parametrize("second_channel", ["phase", "instantaneous_frequency"])
def test_minimum_phase_of_the_filter_is_added(tiny_cfg, make_generator, second_channel):
    img = images(tiny_cfg)
    with torch.no_grad():
        change = perturbed(make_generator(second_channel=second_channel))(img) - img
    nepers = change[:, 0] * (5 / 2 * math.log(10))  # -1..1 of the image are five decades of power
    turn = change[:, 1] * math.pi
    if second_channel == "instantaneous_frequency":
        turn = turn.cumsum(-1)
    assert turn.std() > 0.1
    torch.testing.assert_close(turn, minimum_phase(nepers).imag, atol=1e-3, rtol=1e-3)


def test_change_is_smooth_along_frequency_by_lifter_ms(tiny_cfg, make_generator):
    img = images(tiny_cfg)
    for lifter_ms in (1.0, 0.0):
        with torch.no_grad():
            change = (perturbed(make_generator(lifter_ms=lifter_ms))(img) - img)[:, 0]
        cepstrum = torch.fft.irfft(change, dim=1).abs()
        n = math.ceil(lifter_ms / 1000 * tiny_cfg.sr)
        beyond = cepstrum[:, n : -n + 1 or None].max() / cepstrum.max()
        assert beyond < 1e-4 if n else beyond > 0.1


def test_without_filter_output_both_channels_change(tiny_cfg, make_generator):
    img = images(tiny_cfg)
    out = perturbed(make_generator(filter_output=False))(img)
    assert not torch.equal(out[:, 0], img[:, 0]) and not torch.equal(out[:, 1], img[:, 1])


def test_nyquist_row_gets_the_change_of_the_row_below(tiny_cfg, make_generator):
    img = images(tiny_cfg)
    generator = make_generator(lifter_ms=0.0, change_below_hz=9_000.0)
    change = (perturbed(generator)(img) - img)[:, 0]
    torch.testing.assert_close(change[:, -1], change[:, -2])
    assert not torch.allclose(change[:, -2], change[:, -3], atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        dict(),
        dict(depth=3, fold=5, filter_output=False),
        dict(encoder="convnext"),
        dict(encoder="resnet18"),
    ],
    ids=["compact", "both-channels", "convnext", "resnet18"],
)
def test_every_weight_gets_a_gradient(tiny_cfg, make_generator, settings):
    size = dict(n_fft=128, hop_length=32)
    cfg = replace(tiny_cfg, **size)
    settings = dict(limit_change=False) | size | settings
    generator = perturbed(make_generator(**settings), 0.02)
    (generator(images(cfg)) - images(cfg)).square().mean().backward()
    without = [
        name
        for name, p in generator.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in generator.parameters())


def test_every_weight_before_the_limiter_gets_a_gradient(tiny_cfg, make_generator):
    """All but the last bias, which is part of the mean that the limiter removes."""
    generator = perturbed(make_generator(), 0.02)
    (generator(images(tiny_cfg)) - images(tiny_cfg)).square().mean().backward()
    named = dict(generator.named_parameters())
    last_bias = [name for name in named if name.endswith("bias")][-1]
    assert all(p.grad.abs().sum() > 0 for name, p in named.items() if name != last_bias)


def test_the_first_step_moves_the_last_layer(tiny_cfg, make_generator):
    """It starts at zero and must not stay zero."""
    generator = make_generator()
    (generator(images(tiny_cfg)) - images(tiny_cfg)).square().mean().backward()
    last = [m for m in generator.modules() if isinstance(m, nn.Conv2d)][-1]
    assert not last.weight.any() and last.weight.grad.abs().max() > 0


@pytest.mark.parametrize("encoder", ["compact", "convnext", "resnet18"])
def test_a_batch_of_one_equals_a_batch_of_many(tiny_cfg, make_generator, encoder):
    size = dict(n_fft=128, hop_length=32)
    generator = perturbed(make_generator(encoder=encoder, **size), 0.02).eval()
    generator.bf16 = False  # other sizes would round differently
    batch = images(replace(tiny_cfg, **size), 3, 32)
    with torch.no_grad():
        many, one = generator(batch), torch.cat([generator(img[None]) for img in batch])
    torch.testing.assert_close(one, many, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [dict(), dict(depth=3, fold=5, filter_output=False), dict(encoder="convnext", lifter_ms=0.0)],
    ids=["tiny", "deeper", "convnext"],
)
def test_overlapping_parts_equal_the_whole_away_from_the_cut(tiny_cfg, make_generator, settings):
    generator = perturbed(make_generator(**settings)).eval()
    generator.bf16 = False  # other sizes would round differently
    img = images(tiny_cfg, 1, 320)
    with torch.no_grad():
        whole = generator(img)
        left, right = generator(img[..., :192]), generator(img[..., 128:])
    torch.testing.assert_close(left[..., :160], whole[..., :160], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(right[..., 32:], whole[..., 160:], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(left[..., -1], whole[..., 191], atol=1e-3), "what the cut costs"


def test_the_same_seed_draws_the_same_generator(tiny_cfg):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(next(Generator(tiny_cfg).parameters()))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("encoder", ["compact", "convnext", "resnet18"])
def test_threads_can_share_a_generator(tiny_cfg, make_generator, one_thread, encoder):
    generator = perturbed(make_generator(encoder=encoder)).eval()
    img = images(tiny_cfg, n=6)

    def made(i):
        with torch.inference_mode():
            return generator(img[i : i + 1])

    alone = [made(i) for i in range(6)]
    for _ in range(3):
        together = list(in_order(made, range(6), n_threads=3))
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert all(hook.stored is None for hook in generator.skips), "nothing is held on to"


def test_convnext_gives_a_smooth_gain(tiny_cfg, make_generator):
    img = images(tiny_cfg)
    network = perturbed(make_generator(encoder="convnext"), 0.3).net
    change = network(img[:, :, :-1])[:, 0]
    ripple = (change[:, 2:] - 2 * change[:, 1:-1] + change[:, :-2]).abs().mean()
    assert ripple < 0.1 * change.abs().mean()


def test_convnext_has_no_second_channel_to_give(tiny_cfg):
    with pytest.raises(ParameterError, match=r"set filter_output=True, or encoder='compact'"):
        Generator(replace(tiny_cfg, encoder="convnext", filter_output=False))


def test_the_input_is_not_modified(tiny_cfg, make_generator):
    img = images(tiny_cfg)
    before = img.clone()
    perturbed(make_generator())(img)
    Critic(tiny_cfg)(img, img)
    assert torch.equal(img, before)


# Critic


@pytest.mark.parametrize("critic_depth", [1, 2, 4])
def test_the_critic_gives_one_logit_per_patch(tiny_cfg, critic_depth):
    cfg = replace(tiny_cfg, critic_depth=critic_depth)
    logits = Critic(cfg)(images(cfg), images(cfg))
    assert logits.shape == (2, 1, 257 // 2**critic_depth, 64 // 2**critic_depth)
    assert logits.dtype == torch.float32 and torch.isfinite(logits).all()


@pytest.mark.parametrize("n_fft, n_frames", [(600, 37), (512, 300)])
def test_the_critic_takes_any_size(tiny_cfg, n_fft, n_frames):
    cfg = replace(tiny_cfg, n_fft=n_fft)
    img = images(cfg, 1, n_frames)
    assert Critic(cfg)(img, img).shape == (1, 1, cfg.n_freqs // 4, n_frames // 4)


def test_critic_depends_on_both_images(tiny_cfg):
    critic = Critic(tiny_cfg).eval()
    img, anonymized, other = (images(tiny_cfg) for _ in range(3))
    with torch.no_grad():
        logits = critic(img, anonymized)
        for changed in (critic(other, anonymized), critic(img, other), critic(anonymized, img)):
            assert (changed - logits).abs().max() > 1e-4
        assert torch.equal(critic(img, anonymized), logits)


def test_critic_judges_a_patch_by_its_surroundings(tiny_cfg):
    critic = Critic(replace(tiny_cfg, filter_output=False)).eval()
    img, anonymized = images(tiny_cfg), images(tiny_cfg)
    elsewhere = img.clone()
    elsewhere[..., 200:, 48:] += 1
    with torch.no_grad():
        change = (critic(elsewhere, anonymized) - critic(img, anonymized)).abs()
    assert change[..., 55:, 14:].max() > 1e-4
    assert change[..., :40, :].max() < 1e-6 and change[..., :8].max() < 1e-6


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_critic_with_filter_output_ignores_phase(tiny_cfg, voice, second_channel):
    """The generator keeps the anonymized phase, which would give generated images away."""
    cfg = replace(tiny_cfg, second_channel=second_channel)
    n_samples = (cfg.n_frames - 1) * cfg.hop_length
    wavs = [voice(n_samples / cfg.sr, seed=seed) for seed in range(2)]
    recorded, anonymized, turned = (
        torch.from_numpy(wav_to_image(wav, cfg))[None] for wav in (*wavs, -wavs[0])
    )
    critic = Critic(cfg).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            critic(turned, anonymized), critic(recorded, anonymized), rtol=0.01, atol=0.01
        )
        torch.testing.assert_close(
            critic.seen(recorded)[:, 0], log_magnitude(recorded, cfg), rtol=0, atol=0.02
        )


def test_every_weight_of_the_critic_gets_a_gradient(tiny_cfg):
    critic = Critic(tiny_cfg)
    critic(images(tiny_cfg), images(tiny_cfg)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters())


def test_critic_learns_differences_of_a_few_db(tiny_cfg):
    """Generated images lack a few dB of detail; a critic must be able to learn that."""
    torch.manual_seed(0)
    critic = Critic(tiny_cfg)
    opt = torch.optim.Adam(critic.parameters(), lr=2e-3)

    def loss():
        anonymized, recorded = images(tiny_cfg), images(tiny_cfg)
        made = recorded.clone()
        made[:, :1] = torch.nn.functional.avg_pool2d(recorded[:, :1], 3, 1, 1)
        return (
            judged(critic(recorded, anonymized), True) + judged(critic(made, anonymized), False)
        ) / 2

    first = loss().item()
    for _ in range(40):
        opt.zero_grad()
        now = loss()
        now.backward()
        opt.step()
    assert now.item() < 0.3 < first
