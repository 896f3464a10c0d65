"""Acoustic classes: fitted, adapted to another voice, and shifted to the target's means."""

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


def frames_of_classes(n_frames, centres=CENTRES, seed=0):
    """Frames of three classes, 40 consecutive ones of each, and their classes."""
    rng = np.random.default_rng(seed)
    which = np.repeat(rng.integers(0, 3, -(-n_frames // 40)), 40)[:n_frames]
    return centres[which] + rng.normal(0, 0.4, (n_frames, 3)), which


@pytest.fixture(scope="module")
def classes():
    fitted = fit_gmm(frames_of_classes(6_000)[0], 3)
    order = np.linalg.norm(np.array(fitted.means)[:, None] - CENTRES, axis=2).argmin(0)
    return AcousticClasses(
        *(np.array(part)[order] for part in (fitted.weights, fitted.means, fitted.variances))
    )


def test_fit_gmm_finds_the_classes(classes):
    np.testing.assert_allclose(classes.means, CENTRES, atol=0.1)
    np.testing.assert_allclose(classes.variances, 0.16, atol=0.03)
    np.testing.assert_allclose(classes.weights, 1 / 3, atol=0.1)


def test_fit_gmm_is_deterministic():
    frames, _ = frames_of_classes(600)
    assert fit_gmm(frames, 3) == fit_gmm(frames, 3)


@pytest.mark.parametrize(
    "n_frames, n_classes", [(0, None), (99, None), (100, 2), (180, 3), (999, 8)]
)
def test_little_speech_has_fewer_classes(n_frames, n_classes):
    fitted = fit_gmm(frames_of_classes(n_frames)[0], 8)
    assert (fitted and len(fitted.weights)) == n_classes


def test_fit_gmm_thins_much_speech_evenly():
    frames, _ = frames_of_classes(3 * MAX_FRAMES)
    assert len(np.unique(np.round(fit_gmm(frames, 3).means), axis=0)) == 3


def test_posteriors_find_the_class_of_each_frame(classes):
    frames, which = frames_of_classes(500, seed=1)
    share = class_posteriors(frames, classes)
    assert share.shape == (500, 3)
    np.testing.assert_allclose(share.sum(1), 1)
    assert (share.argmax(1) == which).mean() > 0.99
    far = class_posteriors(np.full((1, 3), 1e4), classes)
    assert np.isfinite(far).all(), "however far away a frame is"


def test_map_adaptation_finds_shifted_means(classes):
    frames, _ = frames_of_classes(3_000, CENTRES + SHIFTS, seed=2)
    np.testing.assert_allclose(map_adapt_means(frames, classes), CENTRES + SHIFTS, atol=0.1)


def test_rare_classes_keep_the_targets_means(classes):
    frames, which = frames_of_classes(3_000, CENTRES + SHIFTS, seed=2)
    few = np.concatenate([frames[which == 0], frames[which == 1][: int(RELEVANCE)]])
    moved = (map_adapt_means(few, classes) - classes.means) / SHIFTS
    np.testing.assert_allclose(moved.mean(1), [1, 0.5, 0], atol=0.2)
    np.testing.assert_array_equal(map_adapt_means(frames[:0], classes), classes.means)


def test_fmllr_inverts_an_affine_map(classes):
    frames, _ = frames_of_classes(20_000, seed=4)
    matrix = np.array([[1.1, 0.1, 0.0], [-0.15, 0.9, 0.05], [0.1, 0.0, 1.2]])
    other = frames @ matrix + [0.5, -0.4, 0.2]
    back = apply_fmllr(other, estimate_fmllr(other, classes))
    assert np.abs(back - frames).max() < 0.15 * np.abs(other - frames).max()


def test_fmllr_of_little_speech_is_near_the_identity(classes):
    other = frames_of_classes(20_000, seed=4)[0] + [0.5, -0.4, 0.2]
    np.testing.assert_array_equal(estimate_fmllr(other[:0], classes), np.eye(4, 3))
    n_frames = (10, int(MAP_FRAMES), 20_000)
    moved = [
        apply_fmllr(other[:n], estimate_fmllr(other[:n], classes)) - other[:n] for n in n_frames
    ]
    little, some, all_of_it = (np.abs(change.mean(0)).mean() for change in moved)
    assert little < 0.7 * all_of_it and little < some < all_of_it
    assert all_of_it == pytest.approx(np.mean([0.5, 0.4, 0.2]), rel=0.15)


def test_fmllr_keeps_the_targets_own_speech(classes):
    frames, _ = frames_of_classes(5_000, seed=5)
    assert np.abs(apply_fmllr(frames, estimate_fmllr(frames, classes)) - frames).max() < 0.1


def test_shift_moves_classes_to_the_targets_means(classes):
    frames, which = frames_of_classes(3_000, CENTRES + SHIFTS, seed=2)
    moved = shift_class_means(frames, classes, map_adapt_means(frames, classes), FRAME_S)
    for i in range(3):
        distance = np.linalg.norm(moved[which == i].mean(0) - CENTRES[i])
        assert distance < 0.2 * np.linalg.norm(SHIFTS[i])


def test_shift_changes_smoothly_between_classes(classes):
    frames = np.repeat(CENTRES[:2], 40, 0)
    change = shift_class_means(frames, classes, CENTRES + 2 * SHIFTS, FRAME_S) - frames
    assert np.abs(np.diff(change, axis=0)).max() < 0.2 * np.ptp(change, axis=0).max()


def test_shift_by_equal_means_changes_nothing(classes):
    frames, _ = frames_of_classes(200, seed=3)
    same = shift_class_means(frames, classes, np.array(classes.means), FRAME_S)
    np.testing.assert_allclose(same, frames)
