"""Converted recordings get the loudness that was asked for, and never clip."""

import numpy as np
import pytest
import soundfile

from vc_lib.audio import load_wav
from vc_lib.audio.loudness import Loudness
from vc_lib.convert import convert_file, convert_folder, gain
from vc_lib.errors import ParameterError

SR = 16_000


def meter_of(path):
    meter = Loudness(SR)
    meter.add(load_wav(path, SR))
    return meter


@pytest.fixture
def source(voice, tmp_path):
    soundfile.write(tmp_path / "source.wav", 0.1 * voice(2.3), SR)
    return tmp_path / "source.wav"


def test_keeps_the_loudness_of_the_source(model, source, short_chunks):
    out = source.with_name("out.wav")
    convert_file(model, source, out)
    assert meter_of(out).lufs == pytest.approx(meter_of(source).lufs, abs=0.1)


@pytest.mark.parametrize("level", [-23, -30.5])
def test_brings_recordings_to_a_loudness(model, source, level):
    for suffix in (".wav", ".mp3"):
        made = convert_folder(model, source.parent, source.parent / "out", suffix, level=level)
        assert meter_of(made[source]).lufs == pytest.approx(level, abs=0.2)


def test_voice_leaves_the_level_alone(model, source, monkeypatch):
    monkeypatch.setattr(gain.tempfile, "TemporaryFile", lambda **_: pytest.fail("no second pass"))
    convert_file(model, source, source.with_name("out.wav"), level="voice")
    expected = model.convert(load_wav(source, SR), SR)
    assert np.abs(load_wav(source.with_name("out.wav"), SR) - expected).max() < 2 / 32_768


def test_the_true_peak_limits_the_gain_with_a_warning(model, source):
    out = source.with_name("out.wav")
    with pytest.warns(UserWarning, match=r"out.wav is .* LU quieter than -6.0 LUFS: .* -1 dBFS"):
        convert_file(model, source, out, level=-6)
    assert -1.2 < meter_of(out).true_peak_db < -0.95


@pytest.mark.parametrize("wav", [np.zeros(SR), np.full(3_000, 0.01), np.zeros(1)])
def test_silent_and_short_recordings_stay_as_the_voice_makes_them(model, tmp_path, wav):
    soundfile.write(tmp_path / "a.wav", wav, SR)
    for level in ("voice", "keep", -23):
        convert_file(model, tmp_path / "a.wav", tmp_path / f"{level}.wav", level=level)
    made = [load_wav(tmp_path / f"{level}.wav", SR) for level in ("voice", "keep", -23)]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])


@pytest.mark.parametrize("level", [0, -70, "loud", None, True, float("nan")])
def test_refuses_other_levels_at_once(model, source, level):
    with pytest.raises(ParameterError, match="must be 'keep', 'voice' or a loudness in -60..-5"):
        convert_file(model, source, source.with_name("out.wav"), level=level)
    with pytest.raises(ParameterError, match="^level="):
        convert_folder(model, source.parent, source.parent / "out", level=level)
    assert [path.name for path in source.parent.iterdir()] == ["source.wav"]


def test_an_error_in_the_first_pass_leaves_nothing(tmp_path):
    def broken():
        yield np.ones(100, np.float32)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        list(gain.with_loudness(broken(), SR, -23.0, tmp_path / "out.wav"))
    assert not list(tmp_path.iterdir())
