"""The image: exact inverse at every setting, meaning of the channels, finite gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vc_lib.audio import stft_magnitude
from vc_lib.config import SECOND_CHANNELS, AudioConfig
from vc_lib.errors import ParameterError
from vc_lib.spectrogram import (
    NEPERS,
    filtered,
    from_image,
    has_logarithm,
    image_to_wav,
    istft,
    log_magnitude,
    magnitude,
    minimum_phase,
    stft,
    to_image,
    wav_to_image,
)

SETTINGS = [  # sr [Hz], n_fft, hop_length; the hop may be as long as half a window
    (16_000, 512, 128),
    (22_050, 1024, 256),
    (24_000, 600, 150),
    (44_100, 2048, 512),
    (48_000, 2048, 1024),
]
MANY_FRAMES = 200  # of the longest sound here: small errors of the phase have time to add up

each_channel = pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
# Each setting once and each channel at least once; the Hypothesis tests draw from all pairs.
each_cfg = pytest.mark.parametrize(
    "cfg",
    [
        AudioConfig(*setting, SECOND_CHANNELS[i % len(SECOND_CHANNELS)])
        for i, setting in enumerate(SETTINGS)
    ],
    ids=lambda cfg: f"{cfg.sr}-{cfg.n_fft}-{cfg.hop_length}-{cfg.second_channel}",
)
any_channel = st.sampled_from(SECOND_CHANNELS)


def noise(n_samples, level=0.1, seed=0):
    return (level * np.random.default_rng(seed).normal(size=n_samples)).astype(np.float32)


def tone(hz, n_samples, sr, level=1.0):
    return (level * np.cos(2 * np.pi * hz * np.arange(n_samples) / sr)).astype(np.float32)


def si_snr_db(wav, back):
    """Scale-invariant signal-to-noise ratio [dB]."""
    wav, back = wav.astype(np.float64), back.astype(np.float64)
    right = wav * (back @ wav) / (wav @ wav)
    return 10 * np.log10((right @ right) / max((back - right) @ (back - right), 1e-300))


def round_trip(wav, cfg):
    return image_to_wav(wav_to_image(wav, cfg), cfg, len(wav))


# Without torch


@each_cfg
def test_numpy_finds_the_same_magnitude(cfg):
    for n_samples in (1, 200, 16_001):
        wav = noise(n_samples)
        mag = stft_magnitude(wav, cfg)
        assert mag.dtype == np.float32
        np.testing.assert_allclose(mag, stft(torch.from_numpy(wav), cfg).abs().numpy(), atol=1e-7)


# Image and inverse


@each_cfg
def test_a_wav_survives_the_image_at_every_length(cfg):
    hop = cfg.hop_length
    for n_samples in (1, 2, hop - 1, hop, hop + 1, 1000, hop * MANY_FRAMES + 77):
        wav = noise(n_samples)
        back = round_trip(wav, cfg)
        assert back.shape == wav.shape and back.dtype == np.float32
        assert si_snr_db(wav, back) > 50, f"{n_samples} samples"
        assert np.linalg.norm(back) == pytest.approx(np.linalg.norm(wav), rel=1e-3)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    second_channel=any_channel,
    half=st.integers(8, 600),
    n_hops=st.integers(1, 16),
    n_samples=st.integers(1, 5_000),
)
def test_any_wav_survives_any_image(second_channel, half, n_hops, n_samples):
    cfg = AudioConfig(16_000, 2 * half, max(1, half // n_hops), second_channel)
    wav = noise(n_samples)
    back = round_trip(wav, cfg)
    assert back.shape == wav.shape and si_snr_db(wav, back) > 50


@each_cfg
def test_speech_survives_however_quiet(voice, cfg):
    for level_db in (0, -40, -80):
        wav = voice(seconds=0.5, sr=cfg.sr) * np.float32(10 ** (level_db / 20))
        assert si_snr_db(wav, round_trip(wav, cfg)) > 50, f"{level_db} dB"


@settings(max_examples=30, deadline=None, derandomize=True)
@given(second_channel=any_channel, setting=st.sampled_from(SETTINGS), level_db=st.integers(-80, 0))
def test_speech_survives_any_channel_setting_and_level(voice, second_channel, setting, level_db):
    cfg = AudioConfig(*setting, second_channel)
    wav = voice(seconds=0.5, sr=cfg.sr) * np.float32(10 ** (level_db / 20))
    assert si_snr_db(wav, round_trip(wav, cfg)) > 50


@each_channel
def test_a_click_and_full_scale_survive(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    click = np.zeros(3_000, np.float32)
    click[1_501] = 1
    for wav in (click, tone(440, 3_000, cfg.sr), np.ones(3_000, np.float32)):
        assert si_snr_db(wav, round_trip(wav, cfg)) > 50


@each_cfg
def test_silence_stays_silence(cfg):
    img = wav_to_image(np.zeros(1_000, np.float32), cfg)
    assert np.isfinite(img).all() and not magnitude(img, cfg).any()
    assert not image_to_wav(img, cfg, 1_000).any()


@each_channel
def test_accepts_float64_and_does_not_modify_its_input(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    wav = noise(1_000).astype(np.float64)
    before = wav.copy()
    img = wav_to_image(wav, cfg)
    assert img.dtype == np.float32 and (wav == before).all()
    before = img.copy()
    image_to_wav(img, cfg)
    magnitude(img, cfg)
    assert (img == before).all()


def test_default_length_is_the_span_of_the_image(cfg):
    wav = noise(1_000)
    back = image_to_wav(wav_to_image(wav, cfg), cfg)
    assert back.shape == (8 * 128,)
    assert np.abs(back[:1_000] - wav).max() < 1e-5 and np.abs(back[1_000:]).max() < 1e-5


@each_channel
def test_an_image_of_one_frame_spans_nothing(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    img = wav_to_image(noise(1_000), cfg)[:, :, :1]
    assert image_to_wav(img, cfg).shape == image_to_wav(img, cfg, 0).shape == (0,)
    assert magnitude(img, cfg).shape == (cfg.n_freqs, 1)


# Meaning of the channels


@each_cfg
def test_the_image_has_a_frame_on_every_hop_and_one_past_the_end(cfg):
    hop = cfg.hop_length
    for n_samples in (1, hop - 1, hop, hop + 1, 2 * hop, 1_000):
        img = wav_to_image(noise(n_samples), cfg)
        assert img.shape == (2, cfg.n_fft // 2 + 1, 1 + -(-n_samples // hop))
        assert img.dtype == np.float32


def test_magnitude_does_not_depend_on_the_second_channel(voice):
    wav = voice(seconds=0.5)
    cfgs = [AudioConfig(second_channel=name) for name in SECOND_CHANNELS]
    mags = [magnitude(wav_to_image(wav, cfg), cfg) for cfg in cfgs]
    truth = stft(torch.from_numpy(wav), cfgs[0]).abs().numpy()
    for mag in mags:
        np.testing.assert_allclose(mag, truth, rtol=1e-3, atol=1e-7)


def test_log_magnitude_does_not_depend_on_the_second_channel(voice):
    logs = []
    for name in SECOND_CHANNELS:
        cfg = AudioConfig(second_channel=name)
        img = torch.from_numpy(wav_to_image(voice(seconds=0.5), cfg))
        logs.append(log_magnitude(img, cfg))
    for log in logs[1:]:
        torch.testing.assert_close(log, logs[0], atol=1e-3, rtol=0)


@each_cfg
def test_log_magnitude_is_1_at_full_scale_and_falls_by_1_in_50_db(cfg):
    for level_db in (0, -20, -60):
        check_log_magnitude_of_a_tone(cfg, level_db)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(second_channel=any_channel, setting=st.sampled_from(SETTINGS), level_db=st.integers(-60, 0))
def test_log_magnitude_of_any_channel_setting_and_level(second_channel, setting, level_db):
    check_log_magnitude_of_a_tone(AudioConfig(*setting, second_channel), level_db)


def check_log_magnitude_of_a_tone(cfg, level_db):
    hz = 40 * cfg.sr / cfg.n_fft  # the centre of a bin
    img = wav_to_image(tone(hz, 8 * cfg.n_fft, cfg.sr, 10 ** (level_db / 20)), cfg)
    log = log_magnitude(torch.from_numpy(img), cfg)
    middle = log[:, log.shape[1] // 2]
    assert middle.argmax() == 40
    assert middle.max().item() == pytest.approx(1 + level_db / 50, abs=0.003)


@each_channel
def test_log_magnitude_of_silence_is_minus_1(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    img = torch.from_numpy(wav_to_image(np.zeros(1_000), cfg))
    torch.testing.assert_close(log_magnitude(img, cfg), torch.full(img.shape[1:], -1.0))


@pytest.mark.parametrize("sr, n_fft, hop", SETTINGS)
def test_instantaneous_frequency_of_a_tone_is_constant(sr, n_fft, hop):
    """In each bin: offset of the tone from the bin's center, in half turns a hop."""
    cfg = AudioConfig(sr, n_fft, hop, "instantaneous_frequency")
    inner = slice(n_fft // hop + 1, -n_fft // hop - 1)  # away from the ends
    for offset in (0.0, 0.3, -0.4):
        hz = (40 + offset) * sr / n_fft
        img = wav_to_image(tone(hz, 12 * n_fft, sr), cfg)
        for row in (39, 40, 41):
            turns = (hz - row * sr / n_fft) * hop / sr
            off = np.exp(1j * np.pi * (img[1, row, inner] - 2 * turns))  # half a turn is -1 or 1
            np.testing.assert_allclose(off, 1, atol=5e-3)


@pytest.mark.parametrize("second_channel", ["phase", "instantaneous_frequency"])
def test_angles_are_counted_in_half_turns(second_channel):
    img = wav_to_image(noise(5_000), AudioConfig(second_channel=second_channel))
    assert 0.9 < np.abs(img[1]).max() <= 1 + 1e-6


@pytest.mark.parametrize("second_channel", ["cos_sin", "real_imag"])
def test_both_channels_lie_within_full_scale(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    img = wav_to_image(tone(1_000, 5_000, cfg.sr), cfg)
    assert 0.9 < np.hypot(*img).max() <= 1 + 1e-3


# Tensors: any leading axes, gradients


@each_channel
def test_leading_axes_are_batches(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    wavs = torch.from_numpy(noise(6 * 1_000)).reshape(2, 3, 1_000)
    imgs = to_image(stft(wavs, cfg), cfg)
    assert imgs.shape == (2, 3, 2, cfg.n_freqs, 9)
    one = torch.from_numpy(wav_to_image(wavs[1, 2].numpy(), cfg))
    torch.testing.assert_close(imgs[1, 2], one, atol=1e-5, rtol=1e-4)
    back = istft(from_image(imgs, cfg), cfg, 1_000)
    torch.testing.assert_close(back, wavs, atol=1e-5, rtol=0)
    assert log_magnitude(imgs, cfg).shape == (2, 3, cfg.n_freqs, 9)


@each_channel
def test_gradients_are_finite_even_for_silence_and_flow_for_sound(second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    goal = torch.from_numpy(noise(2 * 1_024, seed=1)).reshape(2, 1_024)
    for level in (0.0, 1e-9, 1e-4, 0.1):
        wav = torch.from_numpy(noise(2 * 1_024, level)).reshape(2, 1_024)
        img = to_image(stft(wav, cfg), cfg).requires_grad_()
        back = istft(from_image(img, cfg), cfg, 1_024)
        (back - goal).square().sum().backward()
        assert torch.isfinite(img.grad).all()
        assert img.grad.abs().max() > 1e-4 or level < 1e-4, "no gradient reaches the image"

        img.grad = None
        log_magnitude(img, cfg).square().sum().backward()
        assert torch.isfinite(img.grad).all()


@each_channel
def test_gradients_are_those_of_small_steps(second_channel):
    cfg = AudioConfig(n_fft=16, hop_length=4, second_channel=second_channel)
    img = torch.from_numpy(wav_to_image(noise(40, 0.5), cfg)).requires_grad_()
    goal = torch.from_numpy(noise(40, 0.5, seed=1))

    def distance(img):
        return (istft(from_image(img, cfg), cfg, 40) - goal).square().sum()

    distance(img).backward()
    step = 1e-2 * img.grad / img.grad.norm()
    with torch.no_grad():
        slope = (distance(img + step) - distance(img - step)) / 2e-2
    assert slope.item() == pytest.approx(img.grad.norm().item(), rel=0.02)


# Rejected input


@pytest.mark.parametrize(
    "wav, message",
    [
        (np.zeros(0), "empty"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
        (np.zeros(100, np.int16), "dtype int16"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
    ],
    ids=["empty", "stereo", "integers", "nan", "inf"],
)
def test_rejects_non_waveforms(cfg, wav, message):
    with pytest.raises(ParameterError, match=message):
        wav_to_image(wav, cfg)


@pytest.mark.parametrize("shape", [(257, 9), (1, 257, 9), (2, 256, 9), (2, 257, 0), (1, 2, 257, 9)])
def test_rejects_images_of_another_shape(cfg, shape):
    with pytest.raises(ParameterError, match=r"must be \(2, 257, n_frames\) for n_fft=512"):
        image_to_wav(np.zeros(shape, np.float32), cfg)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rejects_images_that_are_not_finite(cfg, value):
    img = wav_to_image(noise(1_000), cfg)
    img[0, 3, 2] = value
    with pytest.raises(ParameterError, match="NaN or infinity"):
        image_to_wav(img, cfg)


@pytest.mark.parametrize("n_samples", [-1, 8 * 128 + 1])
def test_rejects_more_samples_than_the_span(cfg, n_samples):
    with pytest.raises(ParameterError, match=rf"n_samples={n_samples} must be in 0\.\.1024"):
        image_to_wav(wav_to_image(noise(1_000), cfg), cfg, n_samples)


@pytest.mark.parametrize(
    "taps", [[1.0], [0.5, 0.2], [1.0, -0.9, 0.3], [2.0, 0.0, 0.0, 0.7]], ids=str
)
def test_minimum_phase_recovers_the_phase_of_a_filter(taps):
    D = torch.fft.rfft(torch.tensor(taps), 256)[:, None]  # all zeros inside the unit circle
    torch.testing.assert_close(minimum_phase(D.abs().log()), D.log(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_filtered_image_equals_image_of_filtered_wav(second_channel):
    """A constant gain, or a short filter with its phase where channel 1 is an angle."""
    cfg = AudioConfig(second_channel=second_channel)
    wav = noise(8_000)
    img = torch.from_numpy(wav_to_image(wav, cfg))
    shape = (1, *img.shape[1:])
    if not has_logarithm(cfg):
        half = filtered(img, torch.full(shape, math.log(0.5)), cfg)
        torch.testing.assert_close(half, 0.5 * img)
        return
    response = torch.fft.rfft(torch.tensor([1.0, -0.5]), cfg.n_fft)
    gain = (response.abs().log() / NEPERS)[:, None].expand(shape)
    out = image_to_wav(filtered(img, gain, cfg).numpy(), cfg, len(wav))
    expected = wav - 0.5 * np.concatenate([[0], wav[:-1]])
    assert si_snr_db(expected, out) > 30


def test_flat_gain_has_no_phase():
    gain = torch.full((2, 129, 3), 1.7)
    torch.testing.assert_close(minimum_phase(gain), gain + 0j)


def test_n_quefrencies_limits_the_detail_of_the_gain():
    row = torch.linspace(0, torch.pi, 129)[:, None]
    slow, fast = torch.cos(3 * row), torch.cos(40 * row)
    torch.testing.assert_close(minimum_phase(slow + fast, 20).real, slow, atol=1e-5, rtol=0)
    torch.testing.assert_close(minimum_phase(slow + fast).real, slow + fast, atol=1e-5, rtol=0)
