"""Synthesis: given F0, envelope and level, and chunks that fit to the sample."""

import numpy as np
import pytest
import pyworld

from vc_lib.anonymize.synthesis import phases, synthesis

SR, PERIOD_MS, HOP, N_BINS = 16_000, 5.0, 80, 513


def features(n_frames=200, f0=120.0, ap=0.1, power=1e-4):
    """A buzz, as (f0, sp, ap); `power` may be a spectrum."""
    flat = np.ones((n_frames, N_BINS))
    return np.full(n_frames, float(f0)), flat * power, flat * ap


def glide(n_frames=200):
    """Two voiced runs of moving pitch and envelope with breath between."""
    t = np.linspace(0, 1, n_frames)
    f0 = 150 * 2 ** np.sin(6 * t)
    f0[90:110] = 0
    bins = np.arange(N_BINS)
    sp = 1e-4 * np.exp(-(((bins - 40 - 60 * t[:, None]) / 30) ** 2)) + 1e-7
    ap = np.clip(bins / N_BINS + 0 * t[:, None], 0.01, 1)
    return f0, sp, ap


def synthesized(parts, *args):
    return synthesis(*parts, SR, PERIOD_MS, *args)


@pytest.mark.parametrize("f0", [75.0, 120.0, 400.0])
def test_output_has_the_given_f0(f0):
    wav = synthesized(features(f0=f0)).astype(float)
    measured, times = pyworld.dio(wav, SR)
    measured = pyworld.stonemask(wav, measured, times, SR)
    assert np.median(measured[20:-20]) == pytest.approx(f0, rel=0.002)


@pytest.mark.parametrize("f0, ap", [(0.0, 1.0), (120.0, 0.001), (120.0, 0.5), (300.0, 1.0)])
def test_output_is_as_loud_as_worlds(f0, ap):
    parts = features(400, f0, ap)
    worlds = pyworld.synthesize(*parts, SR, PERIOD_MS)
    assert 10 * np.log10(synthesized(parts).var() / worlds.var()) == pytest.approx(0, abs=0.15)


def test_output_has_the_given_envelope():
    bins = np.arange(N_BINS)
    wanted = 1e-4 * np.exp(-(((bins - 120) / 40) ** 2)) + 1e-6
    wav = synthesized(features(800, 0.0, 1.0, wanted))
    frames = wav[: len(wav) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
    measured = (np.abs(np.fft.rfft(frames)) ** 2).mean(0) / (np.hanning(1024) ** 2).sum()
    smooth = np.ones(9) / 9
    off_db = 10 * np.log10(
        np.convolve(measured, smooth, "same") / np.convolve(wanted, smooth, "same")
    )
    assert np.abs(off_db[40:-20]).max() < 2.5 and abs(np.mean(off_db[40:-20])) < 0.3


def test_noise_has_no_power_near_0_hz():
    low = slice(0, 3)  # up to 31 Hz, of a window of a tenth of a second

    def share(wav):
        power = np.abs(np.fft.rfft(wav[: len(wav) // 1600 * 1600].reshape(-1, 1600))) ** 2
        return 10 * np.log10(power.mean(0)[low].mean() / power.mean())

    assert share(synthesized(features(800, 0.0, 1.0))) < -10
    assert share(synthesized(features(800, 200.0, 1.0))) < -10


@pytest.mark.parametrize("cut", [40, 60, 95, 100, 150])
def test_chunks_fit_to_the_sample(cut):
    parts = glide()
    whole = synthesized(parts)
    counted, _ = phases(parts[0], SR, PERIOD_MS)
    phase = (800, np.nan_to_num(counted[cut * HOP + 800]) % 1)
    late = synthesized([part[cut:] for part in parts], cut * HOP, phase)
    reach = 1100  # of pulses and noise from before the cut
    assert np.abs(late[reach:] - whole[cut * HOP + reach :]).max() < 1e-3 * np.abs(whole).max()
    early = synthesized([part[: cut + 8] for part in parts])
    assert np.abs(early[: cut * HOP] - whole[: cut * HOP]).max() < 1e-3 * np.abs(whole).max()


def test_noise_of_some_frames_is_all_noise_beside_them():
    parts = glide()
    noisy = np.zeros(len(parts[0]), bool)
    noisy[80:120] = True
    whole, part = synthesized(parts), synthesized(parts, 0, None, noisy)
    reach = 8  # frames over which noise rings on
    inside = slice((80 + reach) * HOP, (120 - reach) * HOP)
    np.testing.assert_allclose(part[inside], whole[inside], atol=1e-3 * np.abs(whole).max())
    assert not np.allclose(part[: 70 * HOP], whole[: 70 * HOP], atol=1e-3 * np.abs(whole).max())
    everywhere = synthesized(parts, 0, None, noisy | True)
    np.testing.assert_array_equal(everywhere, whole)


def test_phase_shifts_the_pulses_and_position_the_noise():
    buzz, breath = features(ap=0.001), features(f0=0.0)
    by_half = 0.5 * SR / 120
    a, b = synthesized(buzz), synthesized(buzz, 0, (0, 0.5))
    shifts = np.arange(40, 100)
    best = shifts[np.argmax([np.dot(a[2000:8000], b[2000 - s : 8000 - s]) for s in shifts])]
    assert best == pytest.approx(by_half, abs=1)
    assert np.abs(np.corrcoef(synthesized(breath), synthesized(breath, 5_000))[0, 1]) < 0.05
    late, whole = synthesized(breath, 800), synthesized(features(210, 0.0))
    assert np.allclose(late[1_600:-1_600], whole[2_400 : 2_400 + 12_800], atol=1e-5)


def test_phase_counts_periods_from_the_onset():
    f0 = np.r_[np.zeros(20), np.full(80, 100.0), np.zeros(20)]
    counted, hz = phases(f0, SR, PERIOD_MS)
    voiced = np.flatnonzero(np.isfinite(counted))
    assert counted[voiced[0]] == 0 and set(hz[voiced]) == {100.0}
    assert counted[voiced[-1]] == pytest.approx((len(voiced) - 1) * 100 / SR)
    moved, _ = phases(f0, SR, PERIOD_MS, (50 * HOP, 0.25))
    assert moved[50 * HOP] == 0.25
    np.testing.assert_allclose(np.diff(moved), np.diff(counted))
    still, _ = phases(f0, SR, PERIOD_MS, (10 * HOP, 0.25))
    np.testing.assert_array_equal(still, counted, "nothing is voiced there")


@pytest.mark.parametrize("n_frames", [0, 1, 2])
def test_synthesizes_very_few_frames(n_frames):
    wav = synthesized(features(n_frames))
    assert wav.shape == (n_frames * HOP,) and np.isfinite(wav).all() and wav.dtype == np.float32


@pytest.mark.parametrize("sr, period_ms", [(22_050, 5.0), (48_000, 2.5), (11_025, 10.0)])
def test_synthesizes_at_any_rate_and_frame_period(sr, period_ms):
    f0, sp, ap = features(100)
    wav = synthesis(f0, sp, ap, sr, period_ms)
    worlds = pyworld.synthesize(f0, sp, ap, sr, period_ms)
    assert abs(len(wav) - len(worlds)) <= 1
    assert 10 * np.log10(wav.var() / worlds.var()) == pytest.approx(0, abs=0.5)


def test_synthesis_does_not_modify_its_input():
    parts = glide()
    before = [part.copy() for part in parts]
    synthesized(parts)
    assert all(np.array_equal(a, b) for a, b in zip(parts, before, strict=True))
