"""Acoustic classes are told apart, found again in another voice, and moved to where the target has them."""

import numpy as np
import pytest

from vc_lib.anonymize.acoustic_classes import (
    MAP_FRAMES,
    MAX_FRAMES,
    RELEVANCE,
    apply_fmllr,
    class_posteriors,
    estimate_fmllr,
    fit_gmm,
    map_adapt_means,
    shift_class_means,
)
from vc_lib.speaker import AcousticClasses

CENTRES = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 1.0], [0.0, 6.0, -1.0]])
SHIFTS = np.array([[0.8, -0.5, 0.3], [-0.6, 0.9, 0.2], [0.5, 0.5, -0.9]])
FRAME_S = 0.005


def spoken(n_frames, centres=CENTRES, seed=0):
    """Frames of three sounds, 40 in a row of each, and which they are."""
    rng = np.random.default_rng(seed)
    which = np.repeat(rng.integers(0, 3, -(-n_frames // 40)), 40)[:n_frames]
    return centres[which] + rng.normal(0, 0.4, (n_frames, 3)), which


@pytest.fixture(scope="module")
def sounds():
    found = fit_gmm(spoken(6_000)[0], 3)
    order = np.linalg.norm(np.array(found.means)[:, None] - CENTRES, axis=2).argmin(0)
    return AcousticClasses(
        *(np.array(part)[order] for part in (found.weights, found.means, found.variances))
    )


def test_fit_gmm_finds_the_classes(sounds):
    np.testing.assert_allclose(sounds.means, CENTRES, atol=0.1)
    np.testing.assert_allclose(sounds.variances, 0.16, atol=0.03)
    np.testing.assert_allclose(sounds.weights, 1 / 3, atol=0.1)


def test_fit_gmm_is_deterministic():
    frames, _ = spoken(600)
    assert fit_gmm(frames, 3) == fit_gmm(frames, 3)


@pytest.mark.parametrize("n_frames, n_found", [(0, None), (99, None), (100, 2), (180, 3), (999, 8)])
def test_little_speech_has_fewer_classes(n_frames, n_found):
    found = fit_gmm(spoken(n_frames)[0], 8)
    assert (found and len(found.weights)) == n_found


def test_fit_gmm_thins_much_speech_evenly():
    frames, _ = spoken(3 * MAX_FRAMES)
    assert len(np.unique(np.round(fit_gmm(frames, 3).means), axis=0)) == 3


def test_posteriors_find_the_class_of_each_frame(sounds):
    frames, which = spoken(500, seed=1)
    share = class_posteriors(frames, sounds)
    assert share.shape == (500, 3)
    np.testing.assert_allclose(share.sum(1), 1)
    assert (share.argmax(1) == which).mean() > 0.99
    far = class_posteriors(np.full((1, 3), 1e4), sounds)
    assert np.isfinite(far).all(), "however far away a frame is"


def test_map_adaptation_finds_shifted_means(sounds):
    frames, _ = spoken(3_000, CENTRES + SHIFTS, seed=2)
    np.testing.assert_allclose(map_adapt_means(frames, sounds), CENTRES + SHIFTS, atol=0.1)


def test_rare_classes_keep_the_targets_means(sounds):
    frames, which = spoken(3_000, CENTRES + SHIFTS, seed=2)
    few = np.concatenate([frames[which == 0], frames[which == 1][: int(RELEVANCE)]])
    moved = (map_adapt_means(few, sounds) - sounds.means) / SHIFTS
    np.testing.assert_allclose(moved.mean(1), [1, 0.5, 0], atol=0.2)
    np.testing.assert_array_equal(map_adapt_means(frames[:0], sounds), sounds.means)


def test_fmllr_inverts_an_affine_map(sounds):
    frames, _ = spoken(20_000, seed=4)
    matrix = np.array([[1.1, 0.1, 0.0], [-0.15, 0.9, 0.05], [0.1, 0.0, 1.2]])
    other = frames @ matrix + [0.5, -0.4, 0.2]
    back = apply_fmllr(other, estimate_fmllr(other, sounds))
    assert np.abs(back - frames).max() < 0.15 * np.abs(other - frames).max()


def test_fmllr_of_little_speech_is_near_the_identity(sounds):
    other = spoken(20_000, seed=4)[0] + [0.5, -0.4, 0.2]
    np.testing.assert_array_equal(estimate_fmllr(other[:0], sounds), np.eye(4, 3))
    n_frames = (10, int(MAP_FRAMES), 20_000)
    moved = [
        apply_fmllr(other[:n], estimate_fmllr(other[:n], sounds)) - other[:n] for n in n_frames
    ]
    little, some, all_of_it = (np.abs(change.mean(0)).mean() for change in moved)
    assert little < 0.7 * all_of_it and little < some < all_of_it
    assert all_of_it == pytest.approx(np.mean([0.5, 0.4, 0.2]), rel=0.15)


def test_fmllr_keeps_the_targets_own_speech(sounds):
    frames, _ = spoken(5_000, seed=5)
    assert np.abs(apply_fmllr(frames, estimate_fmllr(frames, sounds)) - frames).max() < 0.1


def test_shift_moves_classes_to_the_targets_means(sounds):
    frames, which = spoken(3_000, CENTRES + SHIFTS, seed=2)
    moved = shift_class_means(frames, sounds, map_adapt_means(frames, sounds), FRAME_S)
    for i in range(3):
        there = np.linalg.norm(moved[which == i].mean(0) - CENTRES[i])
        assert there < 0.2 * np.linalg.norm(SHIFTS[i])


def test_shift_changes_smoothly_between_classes(sounds):
    frames = np.repeat(CENTRES[:2], 40, 0)
    change = shift_class_means(frames, sounds, CENTRES + 2 * SHIFTS, FRAME_S) - frames
    assert np.abs(np.diff(change, axis=0)).max() < 0.2 * np.ptp(change, axis=0).max()


def test_shift_by_equal_means_changes_nothing(sounds):
    frames, _ = spoken(200, seed=3)
    same = shift_class_means(frames, sounds, np.array(sounds.means), FRAME_S)
    np.testing.assert_allclose(same, frames)
