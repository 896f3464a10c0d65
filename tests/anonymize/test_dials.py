"""Dials: properties of the transforms of F0, envelope and aperiodicity."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize.dials import (
    average_aperiodicity,
    blur_envelope,
    constant_f0,
    gaussian_f0,
    highpass_envelope,
    jitter_f0,
    power_db,
    recentre_f0,
    scale_formants,
    shift_f0,
    vtl_ratio,
)

SR = 16_000


def rng(seed=0):
    return np.random.default_rng(seed)


def contour():
    """A pitch contour with pauses [Hz]."""
    f0 = 120 * 2 ** (np.sin(np.arange(60) / 5) / 6)
    f0[[0, 10, 11, 40, 59]] = 0
    return f0


def bump(at, n_bins=257, width=6.0):
    """An envelope of one frame with one formant, at bin `at`."""
    return 1e-6 * np.exp(8 * np.exp(-0.5 * ((np.arange(n_bins) - at) / width) ** 2))[None]


# F0


def test_shift_f0_counts_in_semitones():
    f0 = contour()
    for n_semitones in (-12, 0, 7):
        out = shift_f0(f0, n_semitones)
        assert ((out == 0) == (f0 == 0)).all()
        np.testing.assert_allclose(out, f0 * 2 ** (n_semitones / 12))


def test_constant_f0_is_constant():
    out = constant_f0(contour(), 150)
    assert set(out) == {0.0, 150.0} and ((out == 0) == (contour() == 0)).all()


def test_recentre_f0_moves_the_register_and_keeps_the_intonation():
    f0 = contour()
    voiced = f0 > 0
    out = recentre_f0(f0, from_hz=np.median(f0[voiced]), to_hz=200)
    assert np.median(out[voiced]) == pytest.approx(200) and not out[~voiced].any()
    np.testing.assert_allclose(np.diff(np.log(out[voiced])), np.diff(np.log(f0[voiced])))
    assert (recentre_f0(f0, from_hz=0, to_hz=200) == f0).all(), "nothing is known of the register"


def test_jitter_f0_has_the_given_standard_deviation():
    f0 = np.tile(contour(), 100)
    out = jitter_f0(f0, 2.0, rng())
    assert ((out == 0) == (f0 == 0)).all() and (out >= 0).all()
    semitones = 12 * np.log2(out[f0 > 0] / f0[f0 > 0])
    assert semitones.std() == pytest.approx(2, rel=0.05) and abs(semitones.mean()) < 0.1
    assert (jitter_f0(f0, 2.0, rng()) == out).all() and (jitter_f0(f0, 2.0, rng(1)) != out).any()


# Envelope


@pytest.mark.parametrize("ratio", [0.7, 0.85, 1.18, 1.5])
def test_scale_formants_moves_a_formant_by_the_ratio(ratio):
    sp = bump(100)
    warped = scale_formants(sp, ratio)
    assert warped.shape == sp.shape and warped.argmax() == pytest.approx(100 * ratio, abs=1)
    assert warped.max() == pytest.approx(sp.max(), rel=0.02)


def test_scale_formants_is_undone_by_the_inverse_ratio():
    sp = bump(100)
    assert (scale_formants(sp, 1) == sp).all()
    back = scale_formants(scale_formants(sp, 1.25), 0.8)
    np.testing.assert_allclose(np.log(back), np.log(sp), atol=0.2)


@pytest.mark.parametrize("width_hz", [50, 200, 2_000])
def test_blur_widens_and_keeps_the_level(features, width_hz):
    sp = bump(256, n_bins=513)
    blurred = blur_envelope(sp, SR, width_hz)
    assert blurred.shape == sp.shape and blurred.argmax() == pytest.approx(256, abs=1)
    assert blurred.max() < sp.max() and (blurred > 0).all()
    speech = blur_envelope(features.sp, SR, width_hz)
    assert np.abs(power_db(speech) - power_db(features.sp)).max() < 0.5


def test_blur_of_zero_width_or_a_flat_envelope_changes_nothing(features):
    assert (blur_envelope(features.sp, SR, 0) == features.sp).all()
    flat = np.full((3, 513), 0.25)
    np.testing.assert_allclose(blur_envelope(flat, SR, 300), flat)


def test_blur_has_the_given_width():
    """A single bin becomes a Gaussian of that standard deviation."""
    sp = np.zeros((1, 513))
    sp[0, 256] = 1
    blurred = blur_envelope(sp, SR, 200)[0]
    hz = np.arange(513) * 8_000 / 512
    assert np.sqrt((blurred * (hz - hz[256]) ** 2).sum()) == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize("db_per_octave", [6, 12, 48])
def test_highpass_has_the_given_slope_below_f0_of_voiced_frames(db_per_octave):
    sp, f0 = np.ones((3, 513)), np.array([0.0, 250.0, 125.0])  # bins 15.625 Hz apart
    fall_db = -10 * np.log10(highpass_envelope(sp, f0, SR, db_per_octave))
    assert (fall_db[0] == 0).all()  # unvoiced
    assert (fall_db[1, 16:] == 0).all() and (fall_db[2, 8:] == 0).all()
    assert fall_db[1, [8, 4, 2]] == pytest.approx(db_per_octave * np.array([1, 2, 3]))
    assert fall_db[2, [4, 2]] == pytest.approx(db_per_octave * np.array([1, 2]))
    assert (np.diff(fall_db[1:, :17]) <= 0).all() and np.isfinite(fall_db).all()
    assert (sp == 1).all()


def test_highpass_without_slope_or_voice_changes_nothing(features):
    assert (highpass_envelope(features.sp, features.f0, SR, 0) == features.sp).all()
    assert (highpass_envelope(features.sp, 0 * features.f0, SR, 12) == features.sp).all()


# Aperiodicity


@pytest.mark.parametrize("n_bands", [1, 2, 4, 32])
def test_average_aperiodicity_stays_in_range_and_keeps_the_mean(features, n_bands):
    out = average_aperiodicity(features.ap, n_bands)
    assert out.shape == features.ap.shape and (out > 0).all() and (out <= 1).all()
    db, out_db = 20 * np.log10(features.ap.clip(1e-3)), 20 * np.log10(out)
    assert np.abs(out_db.mean(1) - db.mean(1)).max() < 3
    assert (np.ptp(out_db, axis=1) <= np.ptp(db, axis=1) + 1e-9).all()
    if n_bands == 1:
        np.testing.assert_allclose(out_db, np.broadcast_to(db.mean(1)[:, None], db.shape))


def test_average_aperiodicity_of_zero_bands_and_of_extremes(features):
    assert (average_aperiodicity(features.ap, 0) == features.ap).all()
    for value in (0.0, 1.0):
        out = average_aperiodicity(np.full((2, 513), value), 4)
        np.testing.assert_allclose(out, max(value, 1e-3))


@pytest.mark.parametrize(
    "f0, to_f0, ratio",
    [(100, 200, 2**0.25), (200, 100, 2**-0.25), (150, 150, 1), (0, 200, 1), (200, 0, 1)],
)
def test_vtl_ratio_follows_the_register(f0, to_f0, ratio):
    assert vtl_ratio(f0, to_f0) == pytest.approx(ratio)
    assert 0.8 <= vtl_ratio(40, 2_000) <= 1.25


def test_gaussian_f0_does_not_spread_errors_of_the_tracker(source):
    f0 = source.f0_hz * 2 ** np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    to = replace(source, f0_hz=200.0, f0_std_semitones=2 * source.f0_std_semitones)
    octaves = np.log2(gaussian_f0(f0, source, to) / 200)
    np.testing.assert_allclose(octaves, [-2, -1, 0, 1, 2])
