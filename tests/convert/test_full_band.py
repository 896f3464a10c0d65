"""Higher output rates: flat over the crossover, aligned, and the same in pieces of any length."""

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfiltfilt

from vc_lib.audio import blocks, load_wav
from vc_lib.convert import convert_file
from vc_lib.convert.full_band import full_band
from vc_lib.errors import ParameterError

SR = 16_000


def streams(wav, sr, to_sr, folder, n=8_000):
    soundfile.write(folder / "wide.wav", wav, sr, "FLOAT")
    return (blocks(folder / "wide.wav", rate, n) for rate in (SR, to_sr))


def made(convert, wav, sr, to_sr, folder, n=8_000):
    return np.concatenate(list(full_band(convert, *streams(wav, sr, to_sr, folder, n), SR, to_sr)))


def hiss(seconds, sr, f_min=50):
    """Noise up to half the rate, loud and soft in turn."""
    n = int(seconds * sr)
    noise = np.random.default_rng(5).normal(size=n)
    wav = sosfiltfilt(butter(4, f_min, "high", fs=sr, output="sos"), noise)
    return (0.1 * wav * (1.1 + np.sin(2 * np.pi * 3 * np.arange(n) / sr))).astype(np.float32)


def band(wav, sr, low, high):
    return sosfiltfilt(butter(6, (low, high), "band", fs=sr, output="sos"), wav)


def level_db(wav):
    return 10 * np.log10(np.mean(wav**2))


@pytest.mark.parametrize("sr", [44_100, 48_000])
def test_a_voice_that_changes_nothing_returns_the_recording(tmp_path, sr):
    wav = hiss(2.0, sr)
    out = made(iter, wav, sr, sr, tmp_path)
    assert out.shape == wav.shape and out.dtype == np.float32
    assert np.abs(out - wav).max() < 1e-4


def test_an_impulse_stays_one_impulse_at_its_place(tmp_path):
    wav = np.zeros(48_000, np.float32)
    wav[20_011] = 0.5
    out = made(iter, wav, 48_000, 48_000, tmp_path)
    assert np.argmax(np.abs(out)) == 20_011 and np.abs(out - wav).max() < 1e-4


def test_a_recording_of_the_voices_rate_is_resampled(tmp_path):
    wav = hiss(1.3, SR)
    out = made(iter, wav, SR, 48_000, tmp_path)
    expected = soxr.resample(wav, SR, 48_000, quality="HQ")
    assert out.shape == expected.shape and np.abs(out - expected).max() < 1e-4


@pytest.mark.parametrize("from_sr, n", [(48_000, 47_999), (44_100, 30_001), (22_050, 9_999)])
def test_lengths_are_those_of_resampling(tmp_path, from_sr, n):
    for to_sr in (44_100, 48_000):
        out = made(iter, hiss(1.0, from_sr)[:n], from_sr, to_sr, tmp_path)
        assert len(out) == round(min(n, from_sr) * to_sr / from_sr)


def test_the_band_above_gets_the_gain_of_the_top_band(tmp_path):
    """A voice that halves all: the band above is halved. The top a third, all else whole: a third."""
    wav, lower = hiss(2.0, 48_000), lambda wavs: (0.5 * wav for wav in wavs)
    above = level_db(band(wav, 48_000, 9_000, 20_000))
    out = made(lower, wav, 48_000, 48_000, tmp_path)
    assert level_db(band(out, 48_000, 9_000, 20_000)) - above == pytest.approx(-6.02, abs=0.1)

    low = butter(6, 4_500, fs=SR, output="sos")

    def duller(wavs):
        whole = np.concatenate(list(wavs))
        yield (whole / 3 + sosfiltfilt(low, whole) * 2 / 3).astype(np.float32)

    out = made(duller, wav, 48_000, 48_000, tmp_path)
    assert level_db(band(out, 48_000, 9_000, 20_000)) - above == pytest.approx(-9.54, abs=0.5)


def test_the_gain_stays_within_12_db_of_the_whole(tmp_path):
    wav = hiss(2.0, 48_000)
    low = butter(10, 4_000, fs=SR, output="sos")

    def dull(wavs):
        yield sosfiltfilt(low, np.concatenate(list(wavs))).astype(np.float32)

    out = made(dull, wav, 48_000, 48_000, tmp_path)
    change = level_db(band(out, 48_000, 9_000, 20_000)) - level_db(band(wav, 48_000, 9_000, 20_000))
    assert -12 - 3.5 < change < -12


def test_pauses_are_attenuated_above_as_below(tmp_path):
    wav = hiss(2.0, 48_000)
    gain = np.ones(2 * SR, np.float32)
    gain[SR : SR + SR // 2] = 0.03

    def pausing(wavs):
        yield np.concatenate(list(wavs)) * gain

    out = band(made(pausing, wav, 48_000, 48_000, tmp_path), 48_000, 9_000, 20_000)
    before = band(wav, 48_000, 9_000, 20_000)
    inside = slice(int(1.05 * 48_000), int(1.45 * 48_000))
    assert level_db(out[inside]) - level_db(before[inside]) == pytest.approx(-30.5, abs=0.5)
    outside = slice(0, int(0.95 * 48_000))
    assert level_db(out[outside]) == pytest.approx(level_db(before[outside]), abs=0.1)


@pytest.mark.parametrize("n", [480, 7_001, 10**6])
def test_lengths_of_blocks_and_pieces_make_no_difference(tmp_path, n):
    wav, rng = hiss(1.5, 44_100), np.random.default_rng(3)

    def in_pieces(wavs):
        for block in wavs:
            yield from np.split(0.4 * block, np.sort(rng.integers(0, len(block), 3)))

    whole = made(lambda wavs: (0.4 * wav for wav in wavs), wav, 44_100, 48_000, tmp_path, 10**7)
    out = made(in_pieces, wav, 44_100, 48_000, tmp_path, n)
    assert out.shape == whole.shape and np.abs(out - whole).max() < 1e-5


@pytest.mark.parametrize("sr", [44_100, 48_000])
def test_a_file_at_a_higher_rate(model, voice, short_chunks, tmp_path, sr):
    """Below 7 kHz as at the voice's own rate, above 8.5 kHz there is sound, and seams do not click."""
    wav = voice(2.0, sr=48_000) + hiss(2.0, 48_000) / 50
    soundfile.write(tmp_path / "source.wav", wav, 48_000)
    convert_file(model, tmp_path / "source.wav", tmp_path / "wide.wav", sr=sr, level="voice")
    convert_file(model, tmp_path / "source.wav", tmp_path / "narrow.wav", level="voice")
    wide, wide_sr = soundfile.read(tmp_path / "wide.wav", dtype="float32")
    assert wide_sr == sr and len(wide) == 2 * sr
    low = butter(8, 7_000, fs=SR, output="sos")
    both = (load_wav(tmp_path / f"{name}.wav", SR) for name in ("wide", "narrow"))
    one, other = (sosfiltfilt(low, w)[800:-800] for w in both)
    assert np.abs(one - other).max() < 0.01 * np.abs(other).max()
    assert level_db(band(wide, sr, 9_000, 15_000)) > -80


def test_chunks_equal_one_piece_away_from_seams(model, voice, tmp_path, monkeypatch):
    """The band above alone, whose gain must not jump where chunks meet."""
    wav = voice(2.5, sr=48_000) + hiss(2.5, 48_000) / 50
    soundfile.write(tmp_path / "source.wav", wav, 48_000)
    convert_file(model, tmp_path / "source.wav", tmp_path / "whole.wav", sr=48_000, level="voice")
    monkeypatch.setattr("vc_lib.audio.chunks.CHUNK_S", 0.9)
    monkeypatch.setattr("vc_lib.audio.chunks.CONTEXT_S", 0.2)
    convert_file(model, tmp_path / "source.wav", tmp_path / "chunks.wav", sr=48_000, level="voice")
    whole, parts = (
        band(load_wav(tmp_path / f"{name}.wav", 48_000), 48_000, 9_000, 20_000)
        for name in ("whole", "chunks")
    )
    assert np.abs(np.diff(parts)).max() < 1.5 * np.abs(np.diff(whole)).max(), "no click"
    assert level_db(parts - whole) < level_db(whole) - 10


@pytest.mark.parametrize("sr", [8_000, 48_000.0, 500_000])
def test_refuses_other_rates(model, voice, tmp_path, sr):
    soundfile.write(tmp_path / "source.wav", voice(0.5), SR)
    with pytest.raises(ParameterError, match="sr="):
        convert_file(model, tmp_path / "source.wav", tmp_path / "out.wav", sr=sr)
    assert not (tmp_path / "out.wav").exists()
