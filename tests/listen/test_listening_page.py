"""The page beside converted recordings plays from a disk, and holds what it needs."""

import json
import os
import re
import signal
import threading
import time

import pytest
import soundfile
from ipywidgets.widgets.widget import _instances

from vc_lib.errors import MissingInput, NotWritten, ParameterError
from vc_lib.listen import page
from vc_lib.listen.tracks import encoded_sounds

SR = 16_000


class Named:
    """All that the page asks of a voice."""

    name, sr = "Zoë <b>", SR


@pytest.fixture
def results(voice, tmp_path):
    """Sources and results of two recordings; one is longer than what is heard of it."""
    made = {}
    for i, seconds in enumerate((0.5, 1.5)):
        source, converted = tmp_path / f"{i}.wav", tmp_path / "out" / f"{i}<i>_converted.wav"
        converted.parent.mkdir(exist_ok=True)
        for seed, path in enumerate((source, converted)):
            soundfile.write(path, voice(seconds, seed=seed), SR)
        made[source] = converted
    return made


def tracks_of(text: str) -> list:
    return json.loads(re.search(r"^const all = (.*);$", text, re.MULTILINE)[1])


def test_each_result_stands_under_its_source(results, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "SECONDS", 1.0)
    path = page.write_listening_page(Named, results, tmp_path / "out")
    assert path == tmp_path / "out" / "index.html"
    text = path.read_text(encoding="utf-8")
    tracks = tracks_of(text)
    assert [[t["label"] for t in clip] for clip in tracks] == [["source", "converted"]] * 2
    assert [clip[0]["seconds"] for clip in tracks] == [0.5, 1.0]
    assert "Zoë &lt;b&gt;" in text and "1&lt;i&gt;_converted.wav" in text and "<b>" not in text
    assert "synthetic" in text and "holds" not in text
    assert "tap a name" in text and "(hover: none)" in text, "no keys where there are none"
    assert not re.search(r"""(src|href)=["']?https?:""", text), "it asks nobody"


def test_no_widget_is_made_which_a_notebook_would_have_to_show(results, tmp_path):
    before = set(_instances)
    page.write_listening_page(Named, results, tmp_path)
    assert set(_instances) == before


def test_more_recordings_than_fit_are_counted(results, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_CLIPS", 1)
    text = page.write_listening_page(Named, results, tmp_path).read_text(encoding="utf-8")
    assert len(tracks_of(text)) == 1 and "The folder holds 1 more." in text


def test_a_result_that_is_gone_leaves_the_older_page(results, tmp_path):
    page.write_listening_page(Named, results, tmp_path)
    older = (tmp_path / "index.html").read_bytes()
    list(results.values())[1].unlink()
    with pytest.raises(MissingInput, match="does not exist"):
        page.write_listening_page(Named, results, tmp_path)
    assert (tmp_path / "index.html").read_bytes() == older


def test_a_page_of_somebody_else_is_not_replaced(results, tmp_path):
    (tmp_path / "index.html").write_text("<h1>Mine</h1>")
    with pytest.raises(ParameterError, match="is no page of ours"):
        page.write_listening_page(Named, results, tmp_path)
    assert (tmp_path / "index.html").read_text() == "<h1>Mine</h1>"


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_is_not_lost_while_sounds_are_encoded(voice):
    wavs = {"a": voice(5.0)}
    for _ in range(3):
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        end = time.monotonic() + 3
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while time.monotonic() < end:
                encoded_sounds(wavs, SR, exact=False)


def test_a_full_temporary_folder_is_named(voice, monkeypatch):
    def full(file, *args, **kwargs):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(NotWritten, match="sound-.* cannot be written .* set TMPDIR"):
        encoded_sounds({"a": voice(0.5)}, SR, exact=True)
