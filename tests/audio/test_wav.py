"""Waveforms: checks, mono and resampling."""

import numpy as np
import pytest

from vc_lib.audio import (
    check_wav,
    load_wav,
    resample,
    save_wav,
    to_mono,
)
from vc_lib.errors import ParameterError

SR = 16_000


def tone(hz=440.0, seconds=0.5, sr=SR, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * sr)) / sr)).astype("float32")


def test_resample_returns_a_copy_and_keeps_the_type():
    wav = tone().astype("float64")
    out = resample(wav, SR, SR)
    assert np.array_equal(out, wav) and not np.shares_memory(out, wav)
    assert resample(wav, SR, 8000).dtype == np.float64


def test_to_mono_takes_either_axis_and_integers():
    left, right = tone(440), tone(1000)
    mean = (left + right) / 2
    assert np.allclose(to_mono(np.stack([left, right])), mean)
    assert np.allclose(to_mono(np.stack([left, right], axis=1)), mean)
    assert np.array_equal(to_mono(left), left)
    assert np.allclose(to_mono((left * 32768).astype("int16")), left, atol=1e-4)
    assert np.allclose(to_mono((left * 2**31).astype("int32")), left, atol=1e-6)
    assert np.allclose(to_mono((left * 128 + 128).astype("uint8")), left, atol=1e-2)


# Rejected input


@pytest.mark.parametrize(
    "wav, match",
    [
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.zeros((2, 100)), "shape"),
        (np.zeros(0), "empty"),
        (np.zeros(10, dtype="int16"), "int16"),
        (np.zeros(10, dtype=complex), "complex"),
        (np.float32(0), "shape"),
        ("a.wav", "dtype"),
        (None, "dtype"),
    ],
)
def test_rejects_bad_waveforms_and_writes_nothing(tmp_path, wav, match):
    with pytest.raises(ParameterError, match=match):
        check_wav(wav)
    with pytest.raises(ParameterError, match=match):
        save_wav(tmp_path / "a.wav", wav, SR)
    assert not list(tmp_path.iterdir())


def test_check_wav_names_the_argument_and_returns_floats():
    with pytest.raises(ParameterError, match="^source is empty"):
        check_wav([0.0][:0], name="source")
    for dtype in ("float32", "float64"):
        wav = tone().astype(dtype)
        assert check_wav(wav) is wav
    assert check_wav(tone().astype("float16")).dtype == np.float32
    assert check_wav([0.0, 0.5]).shape == (2,)


@pytest.mark.parametrize("sr", [0, 3999, 384_001, -16_000, 16_000.0, "16000", None, True])
def test_rejects_bad_rates(tmp_path, sr):
    save_wav(tmp_path / "a.wav", tone(), SR)
    for call in (
        lambda: load_wav(tmp_path / "a.wav", sr),
        lambda: save_wav(tmp_path / "b.wav", tone(), sr),
        lambda: resample(tone(), sr, SR),
        lambda: resample(tone(), SR, sr),
    ):
        with pytest.raises(ParameterError, match="4000..384000"):
            call()
    assert not (tmp_path / "b.wav").exists()


def test_rate_may_be_a_numpy_int(tmp_path):
    save_wav(tmp_path / "a.wav", tone(), np.int64(SR))
    assert len(load_wav(tmp_path / "a.wav", np.int32(8000))) == 4000


@pytest.mark.parametrize("wav", [np.zeros((9, 9)), np.zeros((2, 3, 4)), np.zeros(5, "int64")])
def test_to_mono_rejects_ambiguous_shapes(wav):
    with pytest.raises(ParameterError, match="wav has"):
        to_mono(wav)
