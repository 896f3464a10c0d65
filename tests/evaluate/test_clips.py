"""Clips: each waveform is measured once."""

import pytest
import soundfile

from vc_lib.anonymize import analyze
from vc_lib.errors import ParameterError
from vc_lib.evaluate import Clip, clips, evaluate

SR = 16_000
pytestmark = pytest.mark.usefixtures("no_judges")


def test_a_clip_is_measured_once(speech, monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return analyze(*args)

    monkeypatch.setattr(clips, "analyze", counted)
    source = Clip(speech, SR)
    first = evaluate(speech, SR, source=source, target=[source])
    assert evaluate(speech, SR, source=source, target=[source]) == first
    assert len(calls) == 3, "the source once, what is judged each time"
    with pytest.raises(ParameterError, match="source has sr=16000 Hz, must have sr=8000"):
        evaluate(speech, 8_000, source=source)


def test_clips_are_taken_at_equal_steps():
    assert clips.spread(list("abcdef"), 2) == ["a", "d"]
    assert clips.spread(["a"], 3) == ["a"]


def test_the_beginnings_of_a_folder_are_taken_at_equal_steps(voice, tmp_path):
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", voice(0.6, seed=i), SR)
    found = clips.clips_of(tmp_path, SR, 0.5)
    assert list(found) == [f"{i}.wav" for i in range(6)]
    assert {len(wav) for wav in found.values()} == {8_000}
    assert list(clips.clips_of(tmp_path, SR, 0.5, 3)) == ["0.wav", "2.wav", "4.wav"]


def test_what_cannot_be_read_is_left_out_and_told(voice, tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(ParameterError, match="no recording that can be read"):
        clips.clips_of(tmp_path, SR, 0.5)
    soundfile.write(tmp_path / "b.wav", voice(0.6), SR)
    with pytest.warns(UserWarning, match="1 recordings were left out: .*a.wav"):
        assert list(clips.clips_of(tmp_path, SR, 0.5)) == ["b.wav"]


def test_rejects_a_clip_of_another_f0_method(speech):
    with pytest.raises(ParameterError, match="source is a Clip with f0_method='dio'"):
        evaluate(speech, SR, source=Clip(speech, SR, "dio"))
