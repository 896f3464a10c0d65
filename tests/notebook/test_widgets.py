"""Uploads, recordings and dials."""

import datetime
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from vc_lib.anonymize import analyze
from vc_lib.audio import load_wav
from vc_lib.config import PRESETS, PRIVATE, AnonymizeConfig, Config
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.notebook.widgets import (
    DISPLAYED,
    FIELDS,
    SLIDERS,
    Dials,
    DialsPanel,
    Recorder,
    SpeechInput,
)

SR = 16_000


@pytest.fixture
def clips(voice, tmp_path):
    """Two clips in a folder, at two rates."""
    paths = [tmp_path / "one.wav", tmp_path / "two.flac"]
    soundfile.write(paths[0], voice(1.0), SR)
    soundfile.write(paths[1], voice(2.0, f0=200.0, sr=48_000), 48_000)
    return paths


def recording(wav, sr):
    """A recording as the page sends it."""
    return {"sr": sr, "samples": memoryview(np.asarray(wav, np.float32).tobytes())}


def uploaded(path):
    content = memoryview(path.read_bytes())
    when = datetime.datetime(2026, 1, 1)
    return dict(name=path.name, type="", size=len(content), content=content, last_modified=when)


def test_the_first_clip_is_chosen_and_another_can_be(clips, voice):
    speech = SpeechInput(clips, SR)
    assert speech.name == "one" and np.allclose(speech.wav, voice(1.0), atol=1e-4)
    heard = []
    speech.observe(lambda change: heard.append(len(change.new)), "wav")
    speech.menu.value = clips[1]
    assert speech.name == "two" and heard == [2 * SR]


def test_an_upload_arrives_as_samples(clips, voice):
    speech = SpeechInput(clips[:1], SR)
    speech.upload.value = (uploaded(clips[1]),)
    assert speech.name == "two" and len(speech.wav) == 2 * SR and np.abs(speech.wav).max() > 0.1


def test_a_broken_upload_is_told_and_nothing_is_chosen(clips, tmp_path):
    (tmp_path / "notes.txt").write_text("not a sound")
    speech = SpeechInput(clips, SR)
    speech.upload.value = (uploaded(tmp_path / "notes.txt"),)
    assert speech.wav is None and speech.name == "" and speech.menu.value is None
    assert "notes.txt" in speech.status.value and str(tmp_path) not in speech.status.value
    speech.menu.value = clips[0]
    assert speech.name == "one" and len(speech.wav) == SR


def test_a_recording_arrives_as_samples(clips):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    speech = SpeechInput(clips, SR)
    speech.recorder.recording = recording(tone, 48_000)
    assert re.fullmatch(r"recording_\d{8}_\d{6}", speech.name) and len(speech.wav) == SR
    assert np.abs(np.fft.rfft(speech.wav)).argmax() == 440


def test_what_is_long_is_used_from_its_beginning(clips):
    speech = SpeechInput([clips[1]], SR, max_seconds=1.0)
    whole = load_wav(clips[1], SR)
    assert np.array_equal(speech.wav, whole[:SR])
    assert "first 1.0 of 2.0 s" in speech.status.value
    speech.upload.value = (uploaded(clips[1]),)
    assert len(speech.wav) == SR and "of 2.0 s" in speech.status.value
    speech.upload.value = (uploaded(clips[0]),)
    assert len(speech.wav) == SR and "one: 1.0 s" in speech.status.value


def test_one_can_go_back_to_the_clip_before(clips):
    speech = SpeechInput(clips, SR)
    speech.upload.value = (uploaded(clips[1]),)
    assert speech.menu.value is None and speech.name == "two"
    speech.menu.value = clips[0]
    assert speech.name == "one"


def test_a_first_clip_that_is_none_stops_here(tmp_path, clips):
    with pytest.raises(MissingInput):
        SpeechInput([tmp_path / "nowhere.wav", *clips], SR)
    soundfile.write(tmp_path / "silence.wav", np.zeros(SR), SR)
    with pytest.raises(ParameterError, match="silent; choose"):
        SpeechInput([tmp_path / "silence.wav", *clips], SR)


def test_a_silent_microphone_is_told(clips):
    speech = SpeechInput(clips, SR)
    speech.recorder.recording = recording(np.zeros(48_000), 48_000)
    assert speech.wav is None and "silent" in speech.status.value


def test_before_the_first_take_there_is_none():
    assert Recorder().wav(SR) is None


def test_no_clips_to_choose_from():
    with pytest.raises(ParameterError, match="at least one clip"):
        SpeechInput([], SR)


# Dials


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset not in PRIVATE])
def test_a_preset_fills_the_dials(preset):
    dials = Dials(AnonymizeConfig())
    dials.presets.value = preset
    assert dials.config == AnonymizeConfig(preset=preset)
    for name, value in PRESETS[preset].items():
        assert dials.dials[name].value == value


def test_a_preset_puts_every_dial_in_its_place():
    dials = Dials(AnonymizeConfig())
    dials.dials["formant_ratio"].value, dials.dials["f0_shift_semitones"].value = 1.3, 5.0
    dials.presets.value = "robot"
    assert dials.config == AnonymizeConfig(preset="robot")


def test_every_dial_reaches_the_config_and_its_line():
    for name, (_, step) in SLIDERS.items():
        dials = Dials(AnonymizeConfig())
        before, high = dials.dials[name].value, dials.dials[name].max
        turned = before + step if before + step <= high else before - step
        dials.dials[name].value = turned
        assert getattr(dials.config, name) == turned
        scope = dict(replace=replace, cfg=Config())
        exec(dials.code.value, scope)  # what is pasted into 02 is what was heard
        assert getattr(scope["cfg"], name) == turned and scope["cfg"].dials == dials.config.dials


def test_sliders_have_the_range_and_unit_of_their_field():
    dials = Dials(AnonymizeConfig()).dials
    for name in SLIDERS:
        slider, rule = dials[name], FIELDS[name]
        assert rule["unit"] in slider.description
        assert rule["low"] <= slider.min < slider.max <= rule["high"]
        if name not in DISPLAYED:
            assert (slider.min, slider.max) == (rule["low"], rule["high"])


@pytest.mark.parametrize("name", SLIDERS)
def test_both_ends_of_a_slider_are_valid(name):
    for end in ("min", "max"):
        dials = Dials(AnonymizeConfig())
        dials.dials[name].value = getattr(dials.dials[name], end)
        assert getattr(dials.config, name) in (getattr(dials.dials[name], end), None)


def test_a_dial_turned_back_is_the_presets_again():
    dials = Dials(AnonymizeConfig())
    dials.dials["n_ap_bands"].value = 8
    assert dials.config.n_ap_bands == 8
    dials.dials["n_ap_bands"].value = PRESETS["neutral"]["n_ap_bands"]
    assert dials.config == AnonymizeConfig() and dials.code.value == "cfg = replace(cfg)"


def test_a_preset_is_one_change_not_many():
    dials, seen = Dials(AnonymizeConfig()), []
    dials.observe(lambda change: seen.append(change.new), "config")
    dials.presets.value = "noise"
    assert len(seen) == 1


def test_a_turned_dial_makes_another_sound_beside_the_copy(voice):
    wav = voice(0.5)
    rest = AnonymizeConfig(preset="whisper", f0_mode="keep")
    panel = DialsPanel(wav, analyze(wav, SR), rest)
    copy, yours = panel.player.tracks
    assert (copy["label"], yours["label"]) == ("copy", "yours") and panel.player.active == 1
    assert copy["sound"] == yours["sound"], "these dials change nothing"
    panel.dials.dials["f0_shift_semitones"].value = 5.0
    copy_after, yours_after = panel.player.tracks
    assert copy_after["sound"] == copy["sound"] and yours_after["sound"] != yours["sound"]
    assert max(yours_after["f0"]) > 1.2 * max(yours["f0"])


def test_menus_choose_what_is_kept_of_the_recording(voice):
    wav = voice(0.5)
    rest = AnonymizeConfig(preset="whisper", f0_mode="keep")
    panel = DialsPanel(wav, analyze(wav, SR), rest)
    for name in ("voiced", "unvoiced"):
        panel.dials.dials[name].value = "recorded"
    assert panel.dials.config == replace(rest, voiced="recorded", unvoiced="recorded")
    assert np.allclose(panel._sounds()[0]["yours"], wav, atol=1e-4)
    copy, yours = panel.player.tracks
    assert copy["sound"] != yours["sound"]
