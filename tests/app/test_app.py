"""The page without a browser: voices, conversion, sockets, training, and who may ask for what."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import soundfile

pytest.importorskip("gradio", reason="pip install -e '.[app]'")
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from vc_lib.__main__ import main
from vc_lib.app import conversion, convert_tab, live, server, temporary, training
from vc_lib.app.conversion import check_recording, converting, players_frame
from vc_lib.app.look import problem
from vc_lib.app.training import Training
from vc_lib.app.voices import VoiceCache
from vc_lib.audio import load_wav, read_comment
from vc_lib.convert import Stream
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.model.voice_folder import find_voice, read_voice, save_voice

pytestmark = pytest.mark.usefixtures("cache")
SR = 16_000
LJSPEECH = read_voice(find_voice("ljspeech"))[0]  # weights
REPO = Path(__file__).parents[2]
AT = "http://127.0.0.1:7860"
SOCKET = "ws://127.0.0.1:7860/live/socket"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Gradio keeps what users give and get in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def voice_cache():
    return VoiceCache()


@pytest.fixture
def clip(voice, tmp_path):
    """A recording of one second."""
    path = tmp_path / "me & you.wav"
    soundfile.write(path, voice(1.0), SR)
    return path


# Voices


def test_shipped_voices_lead_the_menu_and_the_base_is_not_in_it(voice_cache, tmp_path, monkeypatch):
    assert voice_cache.names()[:2] == ["ljspeech", "kathleen"] and "base" not in voice_cache.names()
    monkeypatch.chdir(tmp_path)
    assert VoiceCache("nowhere").names() == ["ljspeech", "kathleen"]


def test_users_share_a_network_and_keep_their_own_dials(voice_cache):
    mine, yours = voice_cache.chosen("ljspeech", 3.0, 0.5), voice_cache.chosen("ljspeech", -3.0)
    assert mine.generator is yours.generator
    assert (mine.config.f0_shift_semitones, mine.config.change_strength) == (3.0, 0.5)
    assert (yours.config.f0_shift_semitones, yours.config.change_strength) == (-3.0, 1.0)


def test_a_new_voice_is_found_and_read_again_when_it_has_changed(voice_cache, tmp_path):
    voice = voice_cache.chosen("ljspeech")
    mine = VoiceCache(tmp_path)
    assert "anna" not in mine.names()
    save_voice(LJSPEECH, voice.config, tmp_path / "anna")
    assert mine.names()[2] == "anna"
    before = mine.chosen("anna").generator
    assert mine.chosen("anna").generator is before
    time.sleep(0.02)
    save_voice(LJSPEECH, voice.config, tmp_path / "anna")
    assert mine.chosen("anna").generator is not before


@pytest.fixture
def tuned(voice_cache, tmp_path):
    """The voices of a folder with one whose dials are its own."""
    voice = voice_cache.chosen("ljspeech")
    config = replace(voice.config, f0_shift_semitones=-13.25, change_strength=0.7)
    save_voice(LJSPEECH, config, tmp_path / "voices" / "anna")
    return VoiceCache(tmp_path / "voices")


def test_dials_begin_at_those_of_the_voice(tuned):
    config = tuned.chosen("anna").config
    assert (config.f0_shift_semitones, config.change_strength) == (-13.25, 0.7)
    assert convert_tab._own_dials(tuned, "anna") == [
        dict(minimum=-13.25, maximum=12, value=-13.25),
        dict(minimum=0, maximum=1.5, value=0.7),
    ]
    assert [dial["value"] for dial in convert_tab._own_dials(tuned, "nobody")] == [0, 1]
    described = {one["name"]: one["semitones"] for one in live._described(tuned)}
    assert described["anna"] == -13.25 and described["ljspeech"] == 0


def test_a_voice_that_is_gone_and_a_dial_out_of_range_are_refused(voice_cache):
    with pytest.raises(MissingInput, match="nobody is gone; choose another"):
        voice_cache.chosen("nobody")
    with pytest.raises(ParameterError, match="f0_shift_semitones=99"):
        voice_cache.chosen("ljspeech", 99)


# Convert


def test_length_of_a_recording(clip):
    assert check_recording(clip) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "data, line",
    [
        (b"", "bad.wav is empty (0 bytes)"),
        (b"no sound at all", "bad.wav is not readable as sound"),
        (np.zeros(SR), "bad.wav is silent; check the microphone"),
        (np.ones(1_000) / 2, "bad.wav lasts 0.06 s; give a recording of 0.3 s or more"),
        (np.zeros(0), "bad.wav is empty (0 samples)"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_without_its_folder(tmp_path, data, line):
    path = tmp_path / "bad.wav"
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        soundfile.write(path, data, SR)
    with pytest.raises(ParameterError) as e:
        check_recording(path)
    assert str(e.value).startswith(line) and str(tmp_path) not in str(e.value)


def ask(voice_cache, folder, **given) -> list[list]:
    """All that the page shows after a click on Convert."""
    of = dict(kind=convert_tab.FILE, clip=None, upload=None, recording=None, voice="ljspeech")
    of |= dict(semitones=0, strength=1) | given
    return list(convert_tab._converted(voice_cache, folder, {}, **of))


def test_converts_an_upload_and_says_that_it_is_synthetic(voice_cache, clip, tmp_path):
    *steps, (message, frame, download) = ask(voice_cache, tmp_path, upload=str(clip))
    assert any("converted 1 of 1 s" in bar for _, bar, _ in steps)
    assert not message.visible and download.visible
    assert "voice 'ljspeech'" in read_comment(download.value["path"])
    expected = voice_cache.chosen("ljspeech").convert(load_wav(clip, SR), SR)
    converted = load_wav(download.value["path"], SR)
    gain = (converted @ expected) / (expected @ expected)  # it keeps the recording's loudness
    assert np.abs(converted - gain * expected).max() <= 2 / 32_768
    assert "me &amp;amp; you → ljspeech" in frame
    assert [path.name for path in tmp_path.iterdir()] == [clip.name], "its own copy is removed"


def test_two_users_get_their_own_voice_and_dials(voice_cache, clip, tmp_path):
    results = [
        ask(voice_cache, tmp_path, upload=str(clip), **of)[-1][2].value["path"]
        for of in (dict(voice="ljspeech"), dict(voice="kathleen"), dict(semitones=5))
    ]
    wavs = [load_wav(path, SR) for path in results]
    assert len(set(results)) == 3
    assert min(np.abs(wavs[0] - wavs[1]).max(), np.abs(wavs[0] - wavs[2]).max()) > 0.05


@pytest.mark.parametrize(
    "given, line",
    [
        (dict(), "Choose a file first."),
        (dict(kind=convert_tab.MICROPHONE), "Record something first."),
        (dict(kind=convert_tab.EXAMPLE), "Choose an example first."),
        (dict(upload="text.wav"), "text.wav is not readable as sound"),
        (dict(upload="me & you.wav", voice="nobody"), "The voice nobody is gone"),
    ],
)
def test_what_cannot_be_converted_gets_a_sentence_and_no_old_result(
    voice_cache, clip, tmp_path, monkeypatch, given, line
):
    monkeypatch.chdir(tmp_path)
    Path("text.wav").write_text("no sound")
    *_, (message, result, download) = ask(voice_cache, tmp_path, **given)
    assert line in message.value and message.visible
    assert result == convert_tab.NOTHING and not download.visible


def test_leaving_the_page_stops_the_conversion(voice_cache, voice, tmp_path, short_chunks):
    source, folder = tmp_path / "long.wav", tmp_path / "results"
    soundfile.write(source, voice(20.0), SR)
    folder.mkdir()
    with converting(voice_cache.chosen("ljspeech"), source, folder, "out.wav") as (
        destination,
        steps,
    ):
        assert 0 < next(steps) < 20
    wait_for(lambda: not list(folder.iterdir()))
    with pytest.raises(conversion.Stopped):
        list(steps)
    assert not destination.exists()


def test_a_closed_page_does_not_wait_for_its_conversion(voice_cache, clip, tmp_path, monkeypatch):
    go_on, ended = Event(), Event()

    def slow(voice, source, destination, progress):
        progress(0.1)
        go_on.wait(10)
        Path(destination).touch()
        try:
            progress(0.2)
        finally:
            ended.set()

    monkeypatch.setattr(conversion, "convert_file", slow)
    folder = tmp_path / "results"
    folder.mkdir()
    of = dict(kind=convert_tab.FILE, clip=None, upload=str(clip), recording=None)
    shown = convert_tab._converted(
        voice_cache, folder, {}, **of, voice="ljspeech", semitones=0, strength=1
    )
    while "converted" not in next(shown)[1]:
        pass
    shown.close()  # as Gradio does on its event loop
    assert not ended.is_set() and list(folder.iterdir()), "the thread still runs"
    go_on.set()
    wait_for(lambda: ended.is_set() and not list(folder.iterdir()))


def test_what_is_shown_is_anonymized_as_in_the_conversion(
    voice_cache, voice, tmp_path, monkeypatch
):
    """The speaker is measured on the whole recording, whose end is of another pitch."""
    monkeypatch.setattr(conversion, "SHOWN_S", 1.0)
    seen = []
    monkeypatch.setattr(conversion, "embedded_tracks", lambda wavs, sr: seen.append(wavs) or [])
    wav = np.concatenate([voice(1.0, f0=100.0), voice(3.0, f0=240.0)])
    soundfile.write(tmp_path / "two.wav", wav, SR, "FLOAT")
    chosen = voice_cache.chosen("ljspeech")
    players_frame(chosen, tmp_path / "two.wav", tmp_path / "two.wav", "two")
    speaker = chosen.source_stats([wav])
    expected = chosen.anonymize(wav[:SR].astype(np.float32), SR, speaker)
    assert np.allclose(seen[0]["anonymized"], expected, atol=1e-4)
    alone = chosen.anonymize(wav[:SR].astype(np.float32), SR)
    assert np.abs(alone - expected).max() > 0.01


def test_a_long_recording_is_shown_from_its_beginning(voice_cache, clip, monkeypatch):
    monkeypatch.setattr(conversion, "SHOWN_S", 0.5)
    frame = players_frame(voice_cache.chosen("ljspeech"), clip, clip, "a </script> name")
    assert frame.count("&quot;seconds&quot;:0.5") == 3
    assert "a &amp;lt;/script&amp;gt; name" in frame and "http" not in frame.replace(
        "http://www.w3.org/2000/svg", ""
    )


# Who may ask


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with TestClient(server.make_app(tmp_path_factory.mktemp("app")), AT) as client:
        yield client


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"origin": AT}, 200),
        ({"host": "localhost:7860"}, 200),
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"host": "rebound.example"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "192.0.2.7:7860"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_other_websites_are_refused(client, headers, status):
    for path in ("/", "/live/voices"):
        assert client.get(path, headers=headers).status_code == status


def test_other_websites_cannot_show_the_page_in_a_frame(client):
    for path in ("/", "/live/"):
        assert client.get(path).headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize(
    "path", ["file=https://a.example/b", "file=HTTP%3A//a.example/b", "proxy=https://a.hf.space/b"]
)
def test_the_server_fetches_nothing_from_other_hosts(client, path):
    answer = client.get(f"/gradio_api/{path}", follow_redirects=False)
    assert answer.status_code == 403 and "Another website" in answer.text


def test_a_network_calls_the_server_by_its_own_names(monkeypatch, tmp_path):
    monkeypatch.setattr(socket, "gethostname", lambda: "Studio")
    monkeypatch.setattr(socket, "getfqdn", lambda: "studio.home.arpa")
    names = server.own_names("0.0.0.0")
    with TestClient(server.make_app(tmp_path, hosts=names), AT) as client:
        called = ("studio", "STUDIO.local:7860", "studio.home.arpa", "localhost", "192.0.2.7")
        assert {client.get("/", headers={"host": host}).status_code for host in called} == {200}
        for host in ("rebound.example", "evil.studio", ""):
            assert client.get("/", headers={"host": host}).status_code == 403


def test_the_page_holds_no_address_of_another_host(client):
    config = client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert "fonts.googleapis" not in client.get("/theme.css").text
    assert client.get("/docs").status_code == 404


# Live


def talk(client, settings, blocks, origin=AT):
    """What a live connection answers: JSON, and the sound; a block of text changes the pitch."""
    messages, sound = [], []
    with client.websocket_connect(SOCKET, headers={"origin": origin}) as ws:
        ws.send_json(settings)
        messages.append(ws.receive_json())
        for block in blocks:
            if isinstance(block, dict):
                ws.send_json(block)
                continue
            ws.send_bytes(block)
            message = ws.receive()
            if message.get("bytes") is None:
                return [*messages, json.loads(message["text"])], sound
            sound.append(np.frombuffer(message["bytes"], "<f4"))
            messages.append(ws.receive_json())
    return messages, sound


@pytest.fixture
def foreground(monkeypatch):
    """Measure the speaker between two blocks, so that the output does not depend on the time."""
    monkeypatch.setattr(
        live, "Stream", lambda voice, background, latency: Stream(voice, latency=latency)
    )


def test_live_speech_is_that_of_a_stream(client, voice_cache, voice, foreground):
    wav, chosen = voice(1.5), voice_cache.chosen("kathleen", 2.0)
    parts = np.array_split(wav, 40)
    messages, sound = talk(
        client, dict(voice="kathleen", semitones=2), [part.tobytes() for part in parts]
    )
    stream = Stream(chosen)
    expected = np.concatenate([stream(part) for part in parts])
    assert np.allclose(np.concatenate(sound), expected, atol=1e-4) and np.abs(expected).max() > 0.05
    assert messages[0]["ready"] == dict(sr=SR, latency_s=stream.latency / SR)
    assert all(answer["load"] > 0 for answer in messages[1:])


def test_the_delay_can_be_chosen(client):
    messages, _ = talk(client, dict(voice="ljspeech", latency=0.1), [])
    assert messages[0]["ready"]["latency_s"] <= 0.1


@pytest.mark.parametrize(
    "settings, block, line",
    [
        (dict(voice="nobody"), b"", "the voice nobody is gone"),
        (["ljspeech"], b"", """the message '["ljspeech"]' must be JSON such as"""),
        ({}, b"", "the voice None is gone"),
        (dict(voice="ljspeech", semitones=99), b"", "f0_shift_semitones=99.0 must be"),
        (dict(voice="ljspeech", latency=0.01), b"", "latency=0.01 must be in 0.1..0.3 s"),
        (dict(voice="ljspeech"), b"abc", "a block of 3 bytes must be float32"),
        (dict(voice="ljspeech"), b"\0" * 4 * (SR + 1), "must be float32, 1 s or less"),
        (dict(voice="ljspeech"), np.full(9, np.nan, "<f4").tobytes(), "block"),
    ],
)
def test_bad_live_input_ends_with_a_sentence(client, settings, block, line):
    messages, _ = talk(client, settings, [block] if block else [])
    assert line in messages[-1]["error"]


def test_a_browser_that_says_nothing_is_told_so(client, monkeypatch):
    monkeypatch.setattr(live, "SETTINGS_S", 0.1)
    with client.websocket_connect(SOCKET, headers={"origin": AT}) as ws:
        assert ws.receive_json() == {"error": live.TOO_LATE}


def test_a_problem_without_words_is_shown():
    assert problem("").count("</p>") == 1 and "Choose a voice." in problem("choose a voice")


def test_the_pitch_changes_while_one_speaks(client, voice_cache, voice, foreground):
    """The page and a stream whose pitch changes at the same sample give the same sound."""
    parts = np.array_split(voice(2.4), 48)
    sent = [part.tobytes() for part in parts]
    messages, sound = talk(
        client, dict(voice="ljspeech"), [*sent[:20], dict(semitones=7), *sent[20:]]
    )
    stream, kept = Stream(voice_cache.chosen("ljspeech")), Stream(voice_cache.chosen("ljspeech"))
    expected = [stream(part) for part in parts[:20]]
    stream.cfg = replace(stream.cfg, f0_shift_semitones=7.0)
    expected = np.concatenate([*expected, *(stream(part) for part in parts[20:])])
    assert np.allclose(np.concatenate(sound), expected, atol=1e-4)
    assert np.abs(expected - np.concatenate([kept(part) for part in parts])).max() > 0.05
    messages, _ = talk(client, dict(voice="ljspeech"), [dict(semitones=99), sent[0]])
    assert "f0_shift_semitones=99.0 must be" in messages[-1]["error"]


def test_what_comes_faster_than_it_is_converted_is_dropped_and_counted(client, monkeypatch):
    class Slow(Stream):
        def __call__(self, block):
            time.sleep(0.3)
            return super().__call__(block)

    monkeypatch.setattr(live, "Stream", Slow)
    monkeypatch.setattr(live, "warm_up", lambda voice, latency: None)
    n_blocks, messages, n_samples, n_dropped = 30, [], 0, 0
    with client.websocket_connect(SOCKET, headers={"origin": AT}) as ws:
        ws.send_json(dict(voice="ljspeech"))
        ws.receive_json()
        for _ in range(n_blocks):
            ws.send_bytes(np.zeros(SR // 10, "<f4").tobytes())
        while n_samples + n_dropped < n_blocks * SR // 10:
            message = ws.receive()
            if message.get("text"):
                messages.append(json.loads(message["text"]))
                n_samples += messages[-1].get("samples", 0)
                n_dropped += messages[-1].get("dropped", 0)
    assert n_samples + n_dropped == n_blocks * SR // 10 and n_dropped > SR
    assert messages[0]["load"] > 1


def test_another_website_cannot_listen_in(client):
    for headers in ({"origin": "https://elsewhere.example"}, {}):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(SOCKET, headers=headers),
        ):
            pass


def test_a_third_speaker_is_told_to_wait(client):
    def connect():
        return client.websocket_connect(SOCKET, headers={"origin": AT})

    with connect(), connect(), connect() as third:
        assert third.receive_json()["error"] == live.BUSY
    messages, _ = talk(client, dict(voice="ljspeech"), [])
    assert "ready" in messages[0], "the places are free again"


def test_the_browser_learns_of_voices_and_of_an_example(client):
    listed = client.get("/live/voices").json()
    assert listed["voices"][0] == dict(name="ljspeech", sr=SR, semitones=0.0) and listed["example"]
    assert client.get("/live/example").content[:4] == b"fLaC"
    for path in ("/live/", "/live/live.js", "/live/worklet.js"):
        assert client.get(path).status_code == 200


# Train

SPEAKS = """
import pathlib, sys, time
folder, name, *more = sys.argv[1:]
given, cache = pathlib.Path(folder), pathlib.Path(more[more.index("--cache") + 1])
cache.mkdir()
(cache / "wav.npz").write_bytes(b"sound")
print(f"analyzing {len(list(given.iterdir()))} recordings {more[2:]}", file=sys.stderr)
print("\\r |██--| 50.00% [3/6 00:01<00:01]", end="\\r", file=sys.stderr, flush=True)
"""
WAITS = (
    SPEAKS
    + """
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
)


@pytest.fixture
def trainer(tmp_path, monkeypatch, hears_ctrl_c):
    """A function from a program to a training by it; the current folder is its own."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(program: str) -> Training:
        (tmp_path / "page").mkdir(exist_ok=True)
        made.append(Training(tmp_path / "page", (sys.executable, "-c", program)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_for(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_a_training_says_how_far_it_is_and_can_be_stopped(trainer, clip):
    one, other = trainer(WAITS), trainer(WAITS)
    one.start([clip, clip], "anna", quick=True, agreed=True)
    wait_for(lambda: one.progress.done)
    assert one.progress.stage == "analyzing 2 recordings ['--quick']"
    assert one.progress.done == (3, 6) and one.progress.running
    with pytest.raises(ParameterError, match="anna is being trained, one at a time"):
        one.start([clip], "bert", True, True)
    with pytest.raises(ParameterError, match="another page of this computer is training"):
        other.start([clip], "bert", True, True)
    one.cancel()
    assert one.progress.stage == "stopping"
    wait_for(lambda: not one.progress.running)
    assert (
        one.progress.result == "stopped before anything was written." and not one.progress.has_voice
    )
    assert not list(Path("page").iterdir()), "the recordings and their cache are removed"
    assert {path.name for path in Path().rglob("*")} <= {
        clip.name,
        "page",
        "models",
        ".training.lock",
    }
    other.start([clip], "bert", False, True)  # its turn


def test_cancel_is_no_failure_whatever_the_process_ends_with(trainer, clip):
    one = trainer(
        SPEAKS + "signal = __import__('signal')\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(1))\n"
        "print('ready', file=sys.stderr, flush=True)\ntime.sleep(60)"
    )
    one.start([clip], "anna", quick=True, agreed=True)
    wait_for(lambda: one.progress.stage == "ready")
    one.cancel()
    wait_for(lambda: not one.progress.running)
    assert one.progress.result == "stopped before anything was written." and not one.progress.failed


def test_the_result_of_a_training_names_what_is_there(trainer, clip, voice_cache, tmp_path):
    voice = voice_cache.chosen("ljspeech")
    until_there = "while not pathlib.Path('models/anna').exists(): time.sleep(0.01)"
    one = trainer(SPEAKS + until_there)
    save_voice(LJSPEECH, voice.config, tmp_path / "made")
    one.start([clip], "anna", False, True)
    (tmp_path / "made").rename(tmp_path / "models" / "anna")
    wait_for(lambda: not one.progress.running)
    assert one.progress.has_voice and one.progress.result.startswith(
        "trained. The voice is in the menu"
    )
    assert "by statistics alone" in training._result("anna", 130, "", True)
    save_voice(LJSPEECH, voice.config, "models/anna", ("generator", 2))
    assert "stopped after epoch 2: models/anna holds" in training._result(
        "anna", 130, "", True
    ).replace("\\", "/")


@pytest.mark.parametrize(
    "end, line",
    [
        ("sys.exit('error: too little speech')", "error: too little speech"),
        ("print('killed', file=sys.stderr); sys.exit(9)", "the training ended with code 9: killed"),
    ],
)
def test_a_training_that_fails_says_why(trainer, clip, end, line):
    one = trainer(SPEAKS + end)
    one.start([clip], "anna", True, True)
    wait_for(lambda: not one.progress.running)
    assert one.progress.result == line and one.progress.failed and not one.progress.has_voice


@pytest.mark.parametrize(
    "of, line",
    [
        (dict(agreed=False), "train it only if the speaker agrees"),
        (dict(files=[]), "choose recordings"),
        (dict(name="a/b"), "must be one word"),
        (dict(name="--epochs"), "must be one word"),
        (dict(name=""), "must be one word"),
        (dict(name="bert"), "bert exists already; choose another name"),
    ],
)
def test_a_training_begins_only_with_all_it_needs(trainer, clip, of, line):
    Path("models/bert").mkdir(parents=True)
    one = trainer(WAITS)
    with pytest.raises(ParameterError, match=line):
        one.start(**dict(files=[clip], name="anna", quick=True, agreed=True) | of)
    assert not one.progress.running and not list(Path("page").iterdir())


def test_too_many_bytes_are_refused(trainer, clip, monkeypatch):
    monkeypatch.setattr(training, "SIZE", 2 * clip.stat().st_size - 1)
    one = trainer(WAITS)
    with pytest.raises(ParameterError, match="GB or less; choose fewer"):
        one.start([clip, clip], "anna", quick=True, agreed=True)
    assert not list(Path("page").iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_recordings_are_linked_where_the_disk_allows(clip, tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    training._gather([clip, clip], tmp_path / "all")
    there = sorted((tmp_path / "all").iterdir())
    assert [path.name[:5] for path in there] == ["0000_", "0001_"]
    assert [path.read_bytes() for path in there] == [clip.read_bytes()] * 2
    assert [path.samefile(clip) for path in there] == [links] * 2


def test_stopping_the_server_stops_the_training(trainer, clip):
    one = trainer("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)" + WAITS)
    one.start([clip], "anna", True, True)
    wait_for(lambda: one.progress.done)
    one.close()
    assert not one.progress.running and one._process.poll() is not None


# The server


def test_a_taken_port_and_a_foreign_host_are_refused(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["app", "--no-browser", "--port", str(port)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: cannot listen on 127.0.0.1, port {port}")
    with pytest.raises(ParameterError, match="choose another --port or --host"):
        server._listen("203.0.113.1", None)
    with pytest.raises(ParameterError, match=r"must be in 0\.\.65535"):
        server._listen("127.0.0.1", 70_000)


def test_whoever_opens_the_page_to_a_network_is_warned(monkeypatch):
    said, folders = [], []
    make_app = server.make_app

    def make(folder, voices, hosts):
        folders.append((folder, hosts))
        return make_app(folder, voices, hosts)

    monkeypatch.setattr(server, "make_app", make)
    monkeypatch.setattr(server._Server, "run", lambda self, sockets: self.at_start())
    for host in ("127.0.0.1", "0.0.0.0"):
        server.serve(host, 0, open_browser=False, ready=said.append, warn=said.append)
    assert [line.partition(" ")[0] for line in said] == [said[0], "warning:", said[2]]
    assert "anyone in the network of 0.0.0.0 can use this page" in said[1]
    assert all(line.startswith("http://127.0.0.1:") for line in (said[0], said[2]))
    assert folders[0][1] == server.LOOPBACK and "rebound.example" not in folders[1][1]
    assert not any(folder.exists() for folder, _ in folders)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_closed_terminal_leaves_no_files(tmp_path):
    (tmp_path / "temporary").mkdir()
    env = os.environ | {"PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path / "temporary")}
    run = [sys.executable, "-m", "vc_lib", "app", "--no-browser", "--port", "0"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    heard = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    with subprocess.Popen(run, cwd=tmp_path, env=env, preexec_fn=heard, **pipes) as page:
        assert page.stdout.readline().startswith(b"http://127.0.0.1:")
        assert list(tmp_path.glob("temporary/vc-app-*"))
        page.send_signal(signal.SIGHUP)
        assert page.wait(90) == 130 and b"Traceback" not in page.stderr.read()
    assert not list(tmp_path.glob("temporary/vc-app-*"))


def test_the_next_server_removes_what_a_killed_one_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("vc-app-killed", "vc-app-starts", "another"):
        (tmp_path / name).mkdir()
    for name in ("vc-app-killed", "another"):
        (tmp_path / name / temporary.LOCK).touch()
    with temporary.temporary_folder() as mine, temporary.temporary_folder() as yours:
        there = {path.name for path in tmp_path.iterdir()}
        assert there == {"vc-app-starts", "another", mine.name, yours.name}
    assert {path.name for path in tmp_path.iterdir()} == {"vc-app-starts", "another"}


def test_a_folder_of_voices_that_is_not_there_is_refused(capsys):
    assert main(["app", "--voices", "nowhere"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: nowhere does not exist")


def test_without_gradio_one_line_names_the_way_out(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the page needs gradio, not installed here")
    assert "pip install 'vc-lib[app]'" in line and "pip install -e '.[app]'" in line
