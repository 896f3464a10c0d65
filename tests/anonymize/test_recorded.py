"""Filtered recordings: nothing changes without a gain, and frames fit together."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize.recorded import MAX_CHANGE, beside, filter_recording, join, log_gain, weight

SR, N_BINS = 16_000, 513
each_hop = pytest.mark.parametrize("hop", [80.0, 110.25])  # [samples]


@pytest.fixture(scope="module")
def wav():
    return np.random.default_rng(0).normal(0, 0.1, 6_000).astype(np.float32)


def flat(wav, hop, nepers):
    """Log-gains, the same at every frame and frequency."""
    return np.full((int(len(wav) / hop) + 1, N_BINS), nepers)


@each_hop
def test_a_flat_gain_scales(wav, hop):
    for nepers in (-1.0, 0.0, 0.7):
        out = filter_recording(wav, flat(wav, hop, nepers), hop)
        assert out.shape == wav.shape and out.dtype == np.float32
        np.testing.assert_allclose(out, np.exp(nepers) * wav, atol=1e-6)


@pytest.mark.parametrize("sr, period_ms", [(16_000, 5), (24_000, 20), (48_000, 20)])
def test_a_filter_does_not_ring_before_the_sound(sr, period_ms):
    """Its tail must not wrap around, however long a frame is."""
    hop, n_bins = sr * period_ms / 1000, 513 if sr < 48_000 else 2_049
    click = np.zeros(sr // 2)
    click[sr // 4] = 1
    formant = 2 * np.exp(-(((np.arange(n_bins) - n_bins / 8) / (n_bins / 100)) ** 2))
    gain = np.tile(formant, (int(len(click) / hop) + 1, 1))
    out = filter_recording(click, gain, hop) ** 2
    assert out[: sr // 4 - 1].sum() < 1e-6 * out.sum()


def test_a_gain_of_high_frequencies_leaves_the_low_ones(wav):
    gain = flat(wav, 80.0, 0.0)
    gain[:, 256:] = np.log(2)
    t = np.arange(len(wav)) / SR
    for hz, times in ((1_000, 1), (7_000, 2)):
        tone = np.sin(2 * np.pi * hz * t)
        out = filter_recording(tone, gain, 80.0)[1_000:-1_000]
        assert out.std() == pytest.approx(times * tone.std(), rel=0.02)


@each_hop
def test_frames_that_are_left_out_are_the_rest(wav, hop):
    rng = np.random.default_rng(1)
    gain = flat(wav, hop, 0.0) + rng.normal(0, 0.2, N_BINS)
    some = np.zeros(len(gain), bool)
    some[20:30] = True
    part, others = (filter_recording(wav, gain, hop, frames) for frames in (some, ~some))
    np.testing.assert_allclose(part + others, filter_recording(wav, gain, hop), atol=1e-6)
    assert not part[: int(19 * hop)].any() and part[int(20 * hop) : int(29 * hop)].all()


@each_hop
def test_weights_of_a_mask_and_its_inverse_sum_to_1(wav, hop):
    frames = np.random.default_rng(2).random(len(flat(wav, hop, 0.0))) < 0.5
    weights = [weight(mask, len(wav), hop) for mask in (frames, ~frames)]
    np.testing.assert_allclose(sum(weights), 1, atol=1e-6)
    at_frames = weights[0][:: int(4 * hop)]  # every fourth is at a whole sample
    np.testing.assert_allclose(at_frames, frames[::4][: len(at_frames)], atol=1e-6)


def test_the_gain_is_that_of_the_envelopes_within_bounds(features):
    louder, far = (replace(features, sp=features.sp * power) for power in (4.0, 1e6))
    np.testing.assert_allclose(log_gain(features, louder), np.log(2), atol=1e-6)
    np.testing.assert_allclose(log_gain(features, far), MAX_CHANGE)
    silent = replace(features, sp=0 * features.sp)
    assert not log_gain(silent, silent).any()


def test_join_keeps_the_recording_where_nothing_is_voiced(wav):
    hop = 80.0
    voiced = np.zeros(len(wav) // 80 + 1, bool)
    voiced[20:40] = True
    out = join(wav, flat(wav, hop, 0.0), np.ones_like(wav), voiced, hop, n_tail=3)
    np.testing.assert_allclose(out[20 * 80 : 39 * 80], 1, atol=1e-6)
    for part in (slice(0, 19 * 80), slice(40 * 80, None)):
        np.testing.assert_allclose(out[part], wav[part], atol=1e-6)


def test_beside_reaches_n_frames_either_way():
    frames = np.zeros(9, bool)
    frames[4] = True
    assert beside(frames, 2).tolist() == [False] * 2 + [True] * 5 + [False] * 2
