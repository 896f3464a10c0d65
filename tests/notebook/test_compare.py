"""Comparison of a voice's output with its source, and what notebook 03 writes."""

import base64
import datetime
import re

import numpy as np
import pytest
import soundfile

from vc_lib.convert import convert_folder, load_voice
from vc_lib.evaluate import Clip, judges
from vc_lib.listen import excerpt as cut
from vc_lib.notebook import compare, output
from vc_lib.notebook.panels import ConvertPanel, find_voices

SR = 16_000


@pytest.fixture(scope="module")
def voice_dir(request):
    return request.config.rootpath / "models" / "ljspeech"


@pytest.fixture(scope="module")
def trained(voice_dir):
    return load_voice(voice_dir)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, voice):
    path = tmp_path_factory.mktemp("clips") / "a, man.wav"
    soundfile.write(path, voice(2.0), SR)
    return path


@pytest.fixture(scope="module")
def excerpt(trained, clip, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("converted")
    convert_folder(trained, [clip], out_dir)
    return cut(trained, clip, out_dir / "a, man_converted.wav", SR)


def test_an_excerpt_is_the_beginning_of_all_three(excerpt, voice):
    assert list(excerpt) == ["source", "anonymized", "converted"]
    assert {len(wav) for wav in excerpt.values()} == {SR}
    assert np.abs(excerpt["source"] - voice(2.0)[:SR]).max() < 1e-3
    assert all(wav.any() for wav in excerpt.values())


def test_a_target_is_heard_only_if_there_is_a_recording(clip, tmp_path, voice_dir):
    assert compare.target_excerpt(tmp_path, "", SR, 100) == {}
    assert len(compare.target_excerpt(tmp_path, clip, SR, 100)["target"]) == 100


def test_envelopes_are_as_coarse_as_the_targets(excerpt, trained):
    stats = trained.config.target
    parts = {label: Clip(wav, SR).features for label, wav in excerpt.items()}
    coarse = compare.coarse_envelopes(parts, stats)
    assert list(coarse) == [*excerpt, "target"]
    assert coarse["target"].f0.tolist() == [stats.f0_hz] and len(coarse["target"].sp) == 1
    assert not np.allclose(coarse["source"].sp, parts["source"].sp)


def test_every_version_is_scored(excerpt, trained, monkeypatch):
    monkeypatch.setattr(judges, "installed", lambda packages: not packages)  # judges are slow
    clips = {"a, man": {label: Clip(wav, SR) for label, wav in excerpt.items()}}
    scores = compare.compare(clips, trained.config.target, [excerpt["source"]], english=True)
    assert list(scores) == [f"a, man, {row}" for row in compare.ROWS]
    assert all(list(row) == list(compare.MEASURED) for row in scores.values())
    assert scores["a, man, source"]["source_envelope_distance_db"] == 0
    assert set(clips["a, man"]) == {"source", "anonymized", "converted"}, "not modified"
    means = compare.average(scores | {"b, source": scores["a, man, converted"]})
    both = [scores[f"a, man, {row}"]["f0_register_cents"] for row in ("source", "converted")]
    assert means["source"]["f0_register_cents"] == pytest.approx(np.mean(both))
    assert list(means) == list(compare.ROWS)


def test_stages_are_scored_as_by_compare(excerpt, trained, monkeypatch):
    monkeypatch.setattr(judges, "installed", lambda packages: not packages)
    stats, target = trained.config.target, [excerpt["source"]]
    stages = compare.compare_versions(
        excerpt | {"fine-tuned": excerpt["converted"]}, SR, stats, target
    )
    assert list(stages) == [*excerpt, "fine-tuned"]
    clips = {"a": {label: Clip(wav, SR) for label, wav in excerpt.items()}}
    versions = compare.compare(clips, stats, target)
    assert all(stages[label] == versions[f"a, {label}"] for label in excerpt)
    assert stages["fine-tuned"] == stages["converted"]


def test_a_voice_that_cannot_be_loaded_is_left_out(voice_dir, tmp_path, voice, capsys):
    sounds = compare.convert_with_each([voice_dir, tmp_path], voice(0.5, sr=22_050), 22_050)
    assert list(sounds) == ["ljspeech"] and len(sounds["ljspeech"]) == 11_025
    assert f"{tmp_path} is left out" in capsys.readouterr().out


# What is written, and live


def test_live_conversion_is_late_and_complete(trained, voice):
    wav = voice(1.0)
    live, speed = output.convert_live(trained, wav)
    latency = len(live) - len(wav)
    assert 0.1 < latency / SR < 1 and not live[:latency].any() and live[latency:].any()
    assert speed > 0 and trained.live is None
    budget = output.latency_budget(latency, SR)
    assert budget["all"].item() == round(1000 * latency / SR)
    assert abs(budget.drop(columns="all").to_numpy().sum() - budget["all"].item()) < 10


def test_the_note_says_that_it_is_synthetic(tmp_path):
    text = output.write_note(tmp_path, "models/x", "me.m4a").read_text(encoding="utf-8")
    assert "synthetic" in text and "models/x" in text and "me.m4a" in text


# The panel


def test_voices_are_found_newest_first_and_a_base_is_none(voice_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_voices(voice_dir) == [voice_dir]
    for name in ("old", "new", "base"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "generator.safetensors").write_bytes(b"")
    assert {path.name for path in find_voices(voice_dir)} == {"old", "new", voice_dir.name}


def test_the_panel_converts_saves_and_plays(trained, voice_dir, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, target = trained.config, np.full(99_999, 0.1, np.float32)
    panel = ConvertPanel(trained, voice_dir, [clip], tmp_path, {"target": target})
    assert panel.saved == tmp_path / "a, man_yours.wav" and panel.saved.is_file()
    tracks = panel.player.tracks
    labels = [track["label"] for track in tracks]
    assert labels == ["source", "anonymized", "converted", "target"]
    assert labels[panel.player.active] == "converted"
    assert len({track["seconds"] for track in tracks}) == 1, "the target is cut"
    first = panel.sounds["converted"]
    panel.offset.value, panel.strength.value = 3.0, 0.0
    panel.button.click()
    assert np.abs(panel.sounds["converted"] - first).max() > 0.01
    assert trained.config is before, "the voice of the page is not changed"
    encoded = re.search(r"base64,([^\"]+)", panel.download.value)[1]
    assert base64.b64decode(encoded) == panel.saved.read_bytes() and not panel.button.disabled


def test_the_panel_does_not_convert_the_clip_before_a_failed_upload(
    trained, voice_dir, clip, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    panel = ConvertPanel(trained, voice_dir, [clip], tmp_path)
    upload = dict(name="notes.wav", type="", size=3, content=memoryview(b"abc"))
    upload["last_modified"] = datetime.datetime(2026, 1, 1)
    panel.speech.upload.value = (upload,)
    assert panel.button.disabled and "notes.wav" in panel.speech.status.value
    assert not panel.download.value, "nothing to download that could be taken for it"
    panel.speech.menu.value = clip
    assert not panel.button.disabled


def test_the_panel_says_what_cannot_be_written(trained, voice_dir, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = ConvertPanel(trained, voice_dir, [clip], tmp_path / "out")
    panel.out_dir = clip  # a file
    panel.button.click()
    assert "is not a folder" in panel.status.value and not panel.button.disabled
