"""Distances of envelopes, spectra and pitch, against cases whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import active_frames, analyze
from vc_lib.config import AnonymizeConfig
from vc_lib.errors import ParameterError
from vc_lib.evaluate import envelope_distance_db, f0_register_cents, log_f0_correlation, mcd_db
from vc_lib.evaluate.metrics import f0_rmse_cents, log_spectral_distance_db, voicing_error

SR = 16_000
SIX_DB = 10 ** (6 / 20)  # gain


def with_envelope(features, change_db):
    """Features whose envelope is changed by `change_db` (a function of the mel axis, 0..1) [dB]."""
    hz = np.linspace(0, features.sr / 2, features.sp.shape[1])
    low, top = (1127.01048 * np.log1p(f / 700) for f in (40, min(features.sr / 2, 20_000)))
    place = ((1127.01048 * np.log1p(hz / 700) - low) / (top - low)).clip(0, 1)
    return replace(features, sp=features.sp * 10 ** (change_db(place) / 10))


def stretched(features, times):
    """Features that are spoken `times` as slowly."""
    frames = (np.arange(int(len(features.f0) * times)) / times).astype(int)
    return replace(features, f0=features.f0[frames], sp=features.sp[frames], ap=features.ap[frames])


def test_equal_sounds_have_no_distance(speech, features):
    assert mcd_db(speech, features, SR) == 0
    assert log_spectral_distance_db(speech, speech, SR) == 0
    assert envelope_distance_db(features, features, SR) == 0
    assert f0_rmse_cents(features, features, SR) == f0_register_cents(features, features, SR) == 0
    assert voicing_error(features, features, SR) == 0
    assert log_f0_correlation(features, features, SR) == pytest.approx(1)


def test_gain_counts_in_lsd_only(speech, features):
    louder = SIX_DB * speech
    assert log_spectral_distance_db(louder, speech, SR) == pytest.approx(6, abs=0.05)
    assert mcd_db(louder, features, SR) < 0.01
    assert envelope_distance_db(louder, features, SR) < 0.01


@pytest.mark.parametrize("sr", [16_000, 24_000])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_mcd_of_a_ripple_is_its_rms(voice, sr, k):
    """As in the literature: a cosine of 6 dB along the mel axis is a distance of 6 / sqrt(2) dB."""
    features = analyze(voice(seconds=0.5, sr=sr), sr)
    rippled = with_envelope(features, lambda place: 6 * np.cos(np.pi * k * place))
    assert mcd_db(rippled, features, sr) == pytest.approx(6 / np.sqrt(2), rel=0.02)
    assert mcd_db(features, rippled, sr) == pytest.approx(6 / np.sqrt(2), rel=0.02)


def test_mcd_and_envelope_distance_of_a_tilt(features):
    """A straight slope of 10 dB from end to end has a standard deviation of 10 / sqrt(12) dB."""
    tilted = with_envelope(features, lambda place: 10 * place)
    assert mcd_db(tilted, features, SR) == pytest.approx(10 / np.sqrt(12), rel=0.02)
    assert envelope_distance_db(tilted, features, SR) == pytest.approx(10 / np.sqrt(12), rel=0.02)


def test_mcd_looks_at_active_frames_of_the_reference_only(features):
    loud_db = with_envelope(features, lambda place: 20 * place).sp
    elsewhere = np.where(active_frames(features)[:, None], features.sp, 1e-3 * loud_db)
    assert not active_frames(features).all()
    assert mcd_db(replace(features, sp=elsewhere), features, SR) < 1e-4


def test_mcd_averages_frames_and_envelope_distance_does_not(features):
    """A ripple that turns over in every second frame leaves the average where it was."""
    up = with_envelope(features, lambda place: 6 * np.cos(np.pi * 5 * place)).sp
    down = with_envelope(features, lambda place: -6 * np.cos(np.pi * 5 * place)).sp
    both = replace(features, sp=np.where(np.arange(len(up))[:, None] % 2, up, down))
    assert mcd_db(both, features, SR) == pytest.approx(6 / np.sqrt(2), rel=0.02)
    assert envelope_distance_db(both, features, SR) < 0.3


def test_envelope_distance_needs_no_alignment_and_pools_recordings(features, voice):
    same_voice = [voice(seconds=1.0, seed=seed) for seed in (1, 2)]
    other_voice = voice(seconds=1.0, f0=220.0, seed=1)
    near = envelope_distance_db(features, same_voice, SR)
    assert near < 0.5 * envelope_distance_db(features, other_voice, SR)
    assert envelope_distance_db(features, [features, features], SR) == pytest.approx(0, abs=1e-6)


def test_lsd_of_filtered_sound(speech):
    """A gain of 20 dB in the upper half of the bins alone: the root mean square is 20 / sqrt(2)."""
    spectrum = np.fft.rfft(speech.astype(np.float64))
    half = np.where(np.arange(len(spectrum)) < len(spectrum) // 2, 1, 10)
    found = log_spectral_distance_db(np.fft.irfft(spectrum * half, len(speech)), speech, SR)
    assert found == pytest.approx(20 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("cents", [-1200, -50, 700, 1200])
def test_transposition_is_a_pitch_error_and_keeps_intonation(features, cents):
    transposed = replace(features, f0=features.f0 * 2 ** (cents / 1200))
    assert f0_rmse_cents(transposed, features, SR) == pytest.approx(abs(cents))
    assert f0_register_cents(transposed, features, SR) == pytest.approx(cents)
    assert log_f0_correlation(transposed, features, SR) == pytest.approx(1)
    assert voicing_error(transposed, features, SR) == 0


def test_an_octave_is_1200_cents_from_waveforms(voice):
    dio = AnonymizeConfig(f0_method="dio")  # Harvest bridges gaps of its own in either
    low, high = (analyze(voice(seconds=1.0, f0=f0), SR, dio) for f0 in (110.0, 220.0))
    assert f0_register_cents(high, low, SR) == pytest.approx(1200, abs=15)
    assert f0_register_cents(high, [low, low], SR) == pytest.approx(1200, abs=15)
    assert log_f0_correlation(high, low, SR) > 0.8


def test_intonation_upside_down(features):
    voiced = features.f0 > 0
    mirrored = np.where(voiced, 150**2 / np.where(voiced, features.f0, 1), 0)
    assert log_f0_correlation(replace(features, f0=mirrored), features, SR) == pytest.approx(-1)


def test_swapped_voicing(features):
    swapped = replace(features, f0=np.where(features.f0 > 0, 0, 120.0))
    assert voicing_error(swapped, features, SR) == 1
    assert np.isnan(f0_rmse_cents(swapped, features, SR))
    assert np.isnan(log_f0_correlation(swapped, features, SR))
    whispered = replace(features, f0=np.zeros_like(features.f0))
    assert voicing_error(whispered, features, SR) == pytest.approx((features.f0 > 0).mean())
    assert np.isnan(f0_register_cents(whispered, features, SR))


def test_a_constant_pitch_has_no_correlation(features):
    robot = replace(features, f0=np.where(features.f0 > 0, 120.0, 0))
    assert np.isnan(log_f0_correlation(robot, features, SR))
    assert f0_rmse_cents(robot, features, SR) > 0


def test_dtw_undoes_a_time_stretch(features):
    slow = stretched(features, 1.3)
    with pytest.raises(ParameterError, match='align="dtw"'):
        mcd_db(slow, features, SR)
    assert mcd_db(slow, features, SR, align="dtw") < 0.05
    assert voicing_error(slow, features, SR, align="dtw") < 0.02
    assert log_f0_correlation(slow, features, SR, align="dtw") > 0.98
    same_length = stretched(features, 1.0)
    late = replace(same_length, sp=np.roll(features.sp, 20, axis=0))
    assert mcd_db(late, features, SR, align="dtw") < 0.5 * mcd_db(late, features, SR)


def test_dtw_rejects_long_sounds(features):
    long = stretched(features, 4_500 / len(features.f0))
    with pytest.raises(ParameterError, match="sentence by sentence"):
        mcd_db(long, features, SR, align="dtw")


def test_a_few_samples_more_or_less_are_cut(speech, features):
    for short in (speech[:-80], speech[:-3]):
        assert mcd_db(short, features, SR) < 0.5
        assert log_spectral_distance_db(short, speech, SR) < 0.5
    with pytest.raises(ParameterError, match=r"15919 samples .*16000.* trim"):
        log_spectral_distance_db(speech[:-81], speech, SR)


@pytest.mark.parametrize("metric", [mcd_db, log_spectral_distance_db, envelope_distance_db])
def test_rejects_a_silent_reference(speech, metric):
    with pytest.raises(ParameterError, match="is silent"):
        metric(speech, np.zeros_like(speech), SR)


@pytest.mark.parametrize("metric", [mcd_db, log_spectral_distance_db, f0_rmse_cents, voicing_error])
def test_rejects_non_waveforms(speech, metric):
    broken = speech.copy()
    broken[7] = np.nan
    for wrong in (broken, np.stack([speech, speech]), speech[:0], np.zeros(len(speech), np.int16)):
        for a, b in ((wrong, speech), (speech, wrong)):
            with pytest.raises(ParameterError):
                metric(a, b, SR)


def test_rejects_wrong_settings(speech, features):
    with pytest.raises(ParameterError, match="frames, dtw"):
        mcd_db(features, features, SR, align="warp")
    with pytest.raises(ParameterError, match="22050"):
        mcd_db(features, features, 22_050)
    with pytest.raises(ParameterError, match="frame period"):
        mcd_db(replace(features, frame_period_ms=10.0), features, SR)
    with pytest.raises(ParameterError, match="sr="):
        mcd_db(speech, speech, 0)
    with pytest.raises(ParameterError, match="must hold a recording"):
        f0_register_cents(features, [], SR)
