"""SI-SNR, level in pauses, PESQ and ESTOI, against cases whose answer is known."""

import sys

import numpy as np
import pytest

from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate.signal_metrics import estoi, pause_level_db, pesq_wb, si_snr_db

SR = 16_000
SIX_DB = 10 ** (6 / 20)  # gain


def burst(n_speech=SR, n_pause=SR, level=0.1, pause_level=0.0):
    """Noise for a second, then a pause."""
    noise = np.random.default_rng(0).normal(size=n_speech + n_pause)
    return noise * np.repeat([level, pause_level], [n_speech, n_pause])


def test_si_snr_ignores_gain(speech):
    assert si_snr_db(speech, speech, SR) == 120
    assert si_snr_db(SIX_DB * speech, speech, SR) > 110


@pytest.mark.parametrize("snr", [-10, 0, 20])
def test_si_snr_of_known_noise(speech, snr):
    clean = speech.astype(np.float64) - speech.mean()
    noise = np.random.default_rng(0).normal(size=len(clean))
    noise -= noise.mean()
    noise -= (noise @ clean) / (clean @ clean) * clean
    noise *= np.linalg.norm(clean) / np.linalg.norm(noise) * 10 ** (-snr / 20)
    assert si_snr_db(clean + noise, clean, SR) == pytest.approx(snr, abs=1e-6)
    assert si_snr_db(-3 * (clean + noise) + 0.1, clean, SR) == pytest.approx(snr, abs=1e-6)


def test_si_snr_is_bounded(speech):
    other = np.zeros_like(speech)
    other[::2] = 1
    assert -120 <= si_snr_db(other, speech, SR) < 0
    assert np.isnan(si_snr_db(np.zeros_like(speech), speech, SR))


@pytest.mark.parametrize("level_db", [-60, -20, 0])
def test_pause_level_is_measured_where_the_source_pauses(level_db):
    converted = burst(level=0.05, pause_level=0.05 * 10 ** (level_db / 20))
    assert pause_level_db(converted, SR, burst()) == pytest.approx(level_db, abs=0.2)


def test_pause_level_at_its_limits():
    assert pause_level_db(burst(), SR, burst()) == -120
    assert np.isnan(pause_level_db(burst(n_pause=0), SR, burst(n_pause=0)))
    assert np.isnan(pause_level_db(0 * burst(), SR, burst()))
    noisy_source = burst(pause_level=0.01)  # 20 dB under the speech: not told from it
    assert np.isnan(pause_level_db(burst(), SR, noisy_source))


def test_pause_level_leaves_a_margin_around_speech():
    """What rings on for 30 ms after the source's last block of speech is not counted."""
    ringing = burst(n_speech=SR + 480, n_pause=SR - 480)
    assert pause_level_db(ringing, SR, burst()) == -120


def test_a_few_samples_more_or_less_of_a_waveform_are_cut(speech):
    for short in (speech[:-80], speech[:-3]):
        assert si_snr_db(short, speech, SR) > 60
    for metric in (si_snr_db, pesq_wb, estoi):
        with pytest.raises(ParameterError, match=r"15919 samples .*16000.* trim"):
            metric(speech[:-81], speech, SR)


@pytest.mark.parametrize("metric", [si_snr_db, pesq_wb, estoi])
def test_a_silent_reference_is_rejected(speech, metric):
    with pytest.raises(ParameterError, match="is silent"):
        metric(speech, np.zeros_like(speech), SR)


def test_si_snr_rejects_non_waveforms(speech):
    broken = speech.copy()
    broken[7] = np.nan
    for wrong in (broken, np.stack([speech, speech]), speech[:0], np.zeros(len(speech), np.int16)):
        for a, b in ((wrong, speech), (speech, wrong)):
            with pytest.raises(ParameterError):
                si_snr_db(a, b, SR)


def test_pesq_and_estoi_prefer_clean_speech(speech):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    noisy = speech + 0.05 * np.random.default_rng(0).normal(size=len(speech))
    assert pesq_wb(speech, speech, SR) > 4.5 > pesq_wb(noisy, speech, SR)
    assert estoi(speech, speech, SR) == pytest.approx(1)
    assert estoi(noisy, speech, SR) < 0.95
    for metric in (pesq_wb, estoi):
        assert np.isnan(metric(speech[:3_000], speech[:3_000], SR))
        assert np.isnan(metric(np.zeros_like(speech), speech, SR))


def test_a_missing_package_is_named(speech, monkeypatch):
    for package in ("pesq", "pystoi"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingInput, match="pip install pesq"):
        pesq_wb(speech, speech, SR)
    with pytest.raises(MissingInput, match="pip install pystoi"):
        estoi(speech, speech, SR)
