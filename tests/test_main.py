"""The command line: each command does what its function does, says where the result is, and refuses in one line."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from vc_lib import __version__
from vc_lib.__main__ import main
from vc_lib.anonymize import anonymize
from vc_lib.audio import load_wav, read_comment
from vc_lib.audio.loudness import Loudness
from vc_lib.config import AnonymizeConfig
from vc_lib.convert import load_voice
from vc_lib.model.voice_folder import find_voice, read_voice, save_voice

SR = 16_000
LEAST = 2 / 32_768  # two steps of 16 bits


@pytest.fixture
def clip(voice, tmp_path, monkeypatch):
    """A recording of a second; the current folder is its own."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("me.wav", voice(1.0, f0=180.0), SR)
    return load_wav("me.wav", SR)


def written(path):
    wav, sr = soundfile.read(path, dtype="float32")
    assert sr == SR
    return wav


def loudness(wav):
    meter = Loudness(SR)
    meter.add(wav)
    return meter.lufs


def folder(name: str) -> Path:
    Path(name).mkdir(parents=True, exist_ok=True)
    return Path(name)


def refused(capsys, *arguments) -> str:
    """The line that a command says when it refuses."""
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    return line


def test_converts_a_file_and_names_it(clip, capsys):
    assert main(["convert", "me.wav", "out/her.wav"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the converted recording is out/her.wav"
    made, expected = written("out/her.wav"), load_voice("ljspeech").convert(clip, SR)
    gain = np.dot(made, expected) / np.dot(expected, expected)
    assert np.abs(made - gain * expected).max() <= LEAST
    assert loudness(made) == pytest.approx(loudness(clip), abs=0.1)
    main(["convert", "me.wav", "as_is.wav", "--level", "voice"])
    assert np.abs(written("as_is.wav") - expected).max() <= LEAST


def test_loudness_rate_and_format(clip, capsys):
    wide = ["convert", "me.wav", "wide.flac", "--level", "-23", "--rate", "48000"]
    assert main(wide) == 0
    wav, sr = soundfile.read("wide.flac")
    assert sr == 48_000 and len(wav) == 3 * len(clip)
    assert loudness(load_wav("wide.flac", SR)) == pytest.approx(-23, abs=0.2)
    assert main(["convert", "me.wav", "out", "--format", "ogg", "--rate", "44100"]) == 0
    assert soundfile.info("out/me_converted.ogg").samplerate == 44_100
    capsys.readouterr()


def test_a_folder_as_destination_names_the_file_after_the_source(clip, capsys):
    assert main(["convert", "me.wav", "out", "--voice", "kathleen"]) == 0
    assert "out/me_converted.wav" in capsys.readouterr().out
    assert "to the voice 'kathleen'" in read_comment("out/me_converted.wav")


def test_dials_change_the_sound_as_in_the_config(clip):
    main(["convert", "me.wav", "plain.wav", "--strength", "0", "--level", "voice"])
    voice = load_voice("ljspeech")
    anonymized = voice.anonymize(clip, SR)
    assert np.abs(written("plain.wav") - anonymized).max() < 0.01 < np.abs(anonymized).max()
    main(["convert", "me.wav", "higher.wav", "--semitones", "7", "--level", "voice"])
    assert np.abs(written("higher.wav") - written("plain.wav")).max() > 0.05


def test_a_voice_keeps_its_own_dials(clip):
    voice = load_voice("ljspeech")
    config = replace(voice.config, f0_shift_semitones=7.0, change_strength=0.0)
    save_voice(read_voice(find_voice("ljspeech"))[0], config, "models/high")
    main(["convert", "me.wav", "own.wav", "--voice", "high", "--level", "voice"])
    expected = load_voice("models/high").convert(clip, SR)
    assert np.abs(written("own.wav") - expected).max() <= LEAST
    zero = ["--semitones", "0", "--strength", "1", "--level", "voice"]
    main(["convert", "me.wav", "zero.wav", "--voice", "high", *zero])
    assert np.abs(written("zero.wav") - voice.convert(clip, SR)).max() <= LEAST


def test_converts_a_folder(clip, capsys):
    for name in ("a.wav", "b.flac"):
        soundfile.write(folder("many") / name, clip, SR)
    assert main(["convert", "many", "out"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "2 converted recordings are in out; listen: out/index.html"
    )
    assert np.array_equal(written("out/a_converted.wav"), written("out/b_converted.wav"))
    assert main(["convert", "many", "more", "--format", "mp3"]) == 0
    names = {path.name for path in Path("more").iterdir()}
    assert names == {"a_converted.mp3", "b_converted.mp3", "index.html"}


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["none.wav", "out.wav"], "error: none.wav does not exist"),
        (["me.wav", "out.doc"], "error: out.doc must end in one of .wav"),
        (["me.wav", "me.wav"], "error: me.wav is the source itself"),
        (["me.wav", "out.wav", "--voice", "nobody"], "error: nobody is neither a folder nor"),
        (["me.wav", "out.wav", "--semitones", "99"], "error: --semitones 99.0 must be"),
        (["me.wav", "out.wav", "--strength", "-1"], "error: --strength -1.0 must be"),
        (["none.wav", "out.wav", "--voice", "nobody"], "error: none.wav does not exist"),
        (["me.wav", "out.wav", "--level", "0"], "error: level=0.0 must be 'keep', 'voice' or"),
        (["me.wav", "out.wav", "--level", "loud"], "error: level='loud' must be"),
        (["me.wav", "out.wav", "--format", "mp3"], "error: --format mp3 must not contradict"),
        ([".", "out.mp3"], "error: out.mp3 is a file name, must be a folder"),
        (["me.wav", "n" * 300 + ".wav"], "error: "),
    ],
)
def test_bad_input_is_refused_in_one_line(clip, capsys, tmp_path, arguments, line):
    assert refused(capsys, "convert", *arguments).startswith(line)
    assert [path.name for path in tmp_path.iterdir()] == ["me.wav"]
    assert np.array_equal(load_wav("me.wav", SR), clip)


def test_a_wrong_command_exits_with_2_and_help_shows_an_example(capsys):
    told = (["--version"], 0), ([], 0), (["convert", "--help"], 0)
    for arguments, code in ((["sing"], 2), (["convert"], 2), *told):
        with pytest.raises(SystemExit) as e:
            main(arguments)
        assert e.value.code == code
    out = capsys.readouterr().out
    assert "example: vc convert me.m4a converted.wav" in out
    assert out.startswith(f"vc {__version__}\n") and "COMMAND" in out


def started(run: list) -> subprocess.Popen:
    """A process that hears SIGINT; a shell starts what runs in its background with it ignored."""
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(run, preexec_fn=heard, **pipes)


def part_of(folder: Path, n_bytes: int) -> list[Path]:
    """Files in a folder that are being written and have so many bytes."""
    return [path for path in folder.glob(".*.part") if path.stat().st_size > n_bytes]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of the shell differ there")
@pytest.mark.parametrize("source", ["long", "long/0.wav"])
def test_ctrl_c_leaves_nothing_half_written(voice, tmp_path, source):
    (tmp_path / "long").mkdir()
    for i in range(2):
        soundfile.write(tmp_path / "long" / f"{i}.wav", np.tile(voice(4.0), 100), SR)
    run = [sys.executable, "-m", "vc_lib", "convert", tmp_path / source, tmp_path / "out"]
    run += ["--level", "voice"]  # else the samples wait in a file without a name
    process = started(run)
    parts, deadline = [], time.monotonic() + 120
    while not parts and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        parts = part_of(tmp_path / "out", 1_000)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert parts and process.returncode == 130, err
    assert not out and err.endswith("Stopped; nothing half-written is left.\n")
    assert not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("out/.*"))


def test_anonymizes_by_a_preset(clip, capsys):
    assert main(["anonymize", "me.wav", "out", "--preset", "whisper"]) == 0
    assert capsys.readouterr().out == "the anonymized recording is out/me_whisper.wav\n"
    expected = anonymize(clip, SR, AnonymizeConfig(preset="whisper"))
    assert np.abs(written("out/me_whisper.wav") - np.clip(expected, -1, 1)).max() <= LEAST
    assert "synthetic" in read_comment("out/me_whisper.wav").lower()
    assert refused(capsys, "anonymize", "me.wav", "me.wav").startswith(
        "error: me.wav is the source"
    )


def test_anonymizes_by_a_key(clip, capsys):
    run = ["anonymize", "me.wav", "--preset", "private_consistent"]
    for name, key in (("a.wav", "Anna"), ("b.wav", "Anna"), ("c.wav", "Ben")):
        assert main([*run[:2], name, *run[2:], "--key", key]) == 0
    capsys.readouterr()
    a, b, c = (written(name) for name in ("a.wav", "b.wav", "c.wav"))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01
    assert "needs --key TEXT" in refused(capsys, *run, "d.wav")
    assert "--key is empty" in refused(capsys, *run, "d.wav", "--key", " ")


def test_anonymizes_as_somebody_else_every_time(clip, capsys):
    run = ["anonymize", "me.wav", "--preset", "private"]
    for name in ("a.wav", "b.wav"):
        assert main([*run[:2], name, *run[2:]]) == 0
    assert main([*run[:2], "weak.wav", *run[2:], "--strength", "0"]) == 0
    capsys.readouterr()
    assert np.abs(written("a.wav") - written("b.wav")).max() > 0.01
    expected = anonymize(clip, SR, AnonymizeConfig(preset="private", private_strength=0))
    assert np.abs(written("weak.wav") - np.clip(expected, -1, 1)).max() <= LEAST
    assert "in 0..1" in refused(capsys, *run, "c.wav", "--strength", "2")
    assert "needs --preset private" in refused(
        capsys, "anonymize", "me.wav", "c.wav", "--preset", "robot", "--strength", "1"
    )
    assert "got private" in refused(capsys, *run, "c.wav", "--key", "Anna")


def test_anonymizes_a_folder(clip, capsys):
    soundfile.write(folder("in/sub") / "you.wav", clip, SR)
    soundfile.write("in/me.wav", clip, SR)
    for _ in range(2):  # results beside the recordings are no recordings
        assert main(["anonymize", "in", "in", "--preset", "robot"]) == 0
    assert capsys.readouterr().out.endswith("2 anonymized recordings are in in\n")
    made = sorted(str(path) for path in Path("in").rglob("*_robot.wav"))
    assert made == ["in/me_robot.wav", "in/sub/you_robot.wav"]
    assert refused(capsys, "anonymize", "in", "out.wav").endswith("must be a folder")


def test_a_recording_whose_name_ends_like_a_result_is_anonymized(clip, capsys):
    for name in ("in/a_private.wav", "in/b.wav"):
        soundfile.write(folder("in") / Path(name).name, clip, SR)
    assert main(["anonymize", "in", "out"]) == 0
    assert capsys.readouterr().out.endswith("2 anonymized recordings are in out\n")
    a, b = (written(f"out/{name}_private.wav") for name in ("a_private", "b"))
    assert np.abs(a - b).max() > 0.01, "each recording has another voice"


@pytest.mark.slow
def test_trains_a_voice_that_converts(clip, voice, capsys):
    for i in range(3):
        soundfile.write(folder("recordings") / f"{i}.wav", voice(1.5, f0=200.0, seed=i), SR)
    Path("recordings/0a.wav").write_text("no sound")
    for name in "abcdefghijkl":
        soundfile.write(folder("data/sample/sources") / f"{name}.wav", clip, SR)
    quick = ["--quick", "--epochs", "1", "--cache", "analyzed"]
    assert main(["train", "recordings", "anna", *quick]) == 0
    assert list(Path("analyzed").glob("*.npz")) and not Path("data/cache").exists()
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].endswith("converted.wav --voice models/anna")
    assert "listen: models/anna/listen/index.html" in said.out
    assert {p.name for p in Path("models/anna/listen").iterdir()} == {
        *(f"{name}_converted.wav" for name in "acegik"),
        "index.html",
    }
    assert "Over 6 clips of other speakers" in said.err
    assert "models/anna speaks already" in said.err
    assert main(["convert", "me.wav", "anna.wav", "--voice", "anna"]) == 0
    assert len(written("anna.wav")) == len(clip) and load_voice("anna").name == "anna"
    capsys.readouterr()


@pytest.mark.parametrize("name", ["a/b", "..", "", "base", "anna"])
def test_training_replaces_no_voice_that_it_did_not_make(clip, capsys, name):
    folder("models/anna")
    Path("models/anna/history.csv").write_text("stage,epoch\n")
    line = refused(capsys, "train", ".", name)
    assert "must be one word without slashes" in line or "is there already" in line
    assert [path.name for path in Path("models").rglob("*")] == ["anna", "history.csv"]


@pytest.mark.slow
def test_evaluates_a_voice(clip, voice, capsys):
    for i in range(2):
        soundfile.write(folder("sources") / f"{i}.wav", voice(1.0, f0=120.0, seed=i), SR)
    assert main(["evaluate", "ljspeech", "sources", "--target", "sources"]) == 0
    table = capsys.readouterr().out
    assert table.split()[:3] == ["source", "anonymized", "converted"]
    assert "log-F0 corr. with source" in table
    assert "2 clips are too few to tell" in table.splitlines()[-1], "a verdict in words"
    assert main(["evaluate", "ljspeech", "sources", "--page", "heard"]) == 0
    out = capsys.readouterr().out
    assert "converted" in out.splitlines()[0] and out.splitlines()[-1] == (
        "2 converted recordings are in heard; listen: heard/index.html"
    )
    assert "0_converted.wav" in Path("heard/index.html").read_text(encoding="utf-8")


def test_live_from_file_to_file(clip, capsys):
    began = time.monotonic()
    assert main(["live", "--from", "me.wav", "--to", "out/live.wav"]) == 0
    seconds, said = time.monotonic() - began, capsys.readouterr()
    assert re.fullmatch(r"converted \d\.\d s, dropouts: \d+, delay 0.\d\d s\n", said.out)
    assert "Ctrl+C ends it" in said.err and "headphones" not in said.err
    assert ("sound is missing" in said.err) == ("dropouts: 0," not in said.out)
    assert "to the voice 'ljspeech'" in read_comment("out/live.wav")
    n_samples = len(written("out/live.wav"))
    assert len(clip) < n_samples < seconds * SR, "in real time, with its dropouts"


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--from", "me.wav"], "error: no sound output is there"),
        (["--list-devices"], "error: no sound device is there; plug one in"),
        (["--input", "abc", "--to", "a.wav"], "error: --input 'abc' must be one device"),
        (["--from", "me.wav", "--to", "me.wav"], "error: me.wav is the source itself"),
        (
            ["--from", "me.wav", "--to", "a.wav", "--block-ms", "1"],
            "error: --block-ms 1 must be in",
        ),
        (
            ["--from", "me.wav", "--to", "a.wav", "--latency", "0.05"],
            "error: --latency 0.05 must be in 0.1..0.3 s",
        ),
        (["--from", "me.wav", "--to", "a.wav", "--voice", "nobody"], "error: nobody is neither"),
    ],
)
def test_live_refuses_in_one_line(clip, capsys, monkeypatch, tmp_path, arguments, line):
    monkeypatch.setattr("vc_lib.convert.sound_card.sounddevice", no_devices)
    assert refused(capsys, "live", *arguments).startswith(line)
    assert [path.name for path in tmp_path.iterdir()] == ["me.wav"]


def no_devices():
    """The package sounddevice where there is no device."""

    def query_devices(name=None, kind=None):
        if kind:
            raise ValueError(f"No {kind} device matching {name!r}")
        return []

    default = SimpleNamespace(device=(-1, -1))
    return SimpleNamespace(query_devices=query_devices, PortAudioError=OSError, default=default)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of the shell differ there")
def test_ctrl_c_is_the_usual_end_of_live(voice, tmp_path):
    soundfile.write(tmp_path / "me.wav", np.tile(voice(4.0), 30), SR)
    run = [sys.executable, "-m", "vc_lib", "live"]
    run += ["--from", tmp_path / "me.wav", "--to", tmp_path / "out.wav"]
    process = started(run)
    deadline = time.monotonic() + 120
    while not part_of(tmp_path, 30_000) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert re.fullmatch(r"converted \d+\.\d s, dropouts: \d+, delay \d\.\d\d s\n", out), out
    assert {path.name for path in tmp_path.iterdir()} == {"me.wav", "out.wav"}
    assert len(written(tmp_path / "out.wav")) > 14_000


def test_a_folder_is_anonymized_but_for_what_cannot_be_read(clip, tmp_path, capsys):
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "a.wav").write_text("no sound")
    soundfile.write(folder / "b.wav", clip, SR)
    assert main(["anonymize", str(folder), "out"]) == 0
    said = capsys.readouterr()
    assert said.out == "1 anonymized recordings are in out\n"
    assert "1 of 2 files were left out: a.wav" in said.err
    (folder / "b.wav").unlink()
    assert main(["anonymize", str(folder), "out"]) == 1
    assert "none of 1 files can be anonymized; first: " in capsys.readouterr().err
