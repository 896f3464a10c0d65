"""Files and folders: lengths, interruptions, and what is refused."""

import numpy as np
import pytest
import soundfile

from vc_lib.audio import load_wav, read_comment
from vc_lib.convert import Voice, convert_file, convert_folder, files, long
from vc_lib.errors import MissingInput, NotWritten, ParameterError

SR = 16_000


@pytest.mark.parametrize("sr", [SR, 22_050])
def test_converts_a_file_like_its_samples(model, voice, short_chunks, tmp_path, sr):
    """Longer than one chunk; 16 bits in, 16 bits out."""
    soundfile.write(tmp_path / "source.wav", voice(1.7, sr=sr), sr)
    convert_file(
        model, tmp_path / "source.wav", str(tmp_path / "out" / "converted.wav"), level="voice"
    )
    converted, converted_sr = soundfile.read(tmp_path / "out" / "converted.wav", dtype="float32")
    wav = load_wav(tmp_path / "source.wav", SR)
    assert converted_sr == SR and converted.shape == (round(round(1.7 * sr) * SR / sr),)
    assert np.abs(converted - model.convert(wav, SR)).max() < 2 / 32_768
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["converted.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_metadata_discloses_synthetic_speech(model, voice, tmp_path, suffix):
    soundfile.write(tmp_path / "source.wav", voice(0.3), SR)
    convert_file(model, tmp_path / "source.wav", tmp_path / f"a{suffix}")
    comment = read_comment(tmp_path / f"a{suffix}")
    assert comment.startswith("Synthetic speech: converted to the voice 'tiny' by vc_lib")
    assert "Disclose it" in comment and comment.isascii()
    odd = Voice(model.generator, model.config, "Zoë 'x'")
    assert "'Zo? 'x''" in odd.disclosure


def test_resumes_a_folder_with_only_new(model, takes, tmp_path):
    first = convert_folder(model, takes, tmp_path / "out")
    for path in list(first.values())[:2]:
        path.write_bytes(b"mine")
    list(first.values())[2].unlink()
    again = convert_folder(model, takes, tmp_path / "out", only_new=True)
    assert again == first
    assert [p.read_bytes() == b"mine" for p in first.values()] == [True, True, False, False]


def test_a_full_disk_stops_a_folder(model, takes, tmp_path, monkeypatch):
    def full(*_, **__):
        raise NotWritten("the disk is full")

    monkeypatch.setattr(files, "convert_file", full)
    with pytest.raises(NotWritten, match="the disk is full"):
        convert_folder(model, takes, tmp_path / "out")


def test_a_long_file_is_read_in_blocks(model, voice, short_chunks, tmp_path, monkeypatch):
    longest = []

    def watched(_, chunk, *__):
        longest.append(len(chunk.wav))
        return chunk.wav.copy()

    monkeypatch.setattr(long, "convert_chunk", watched)
    monkeypatch.setattr(long, "STATS_S", 1.0)
    soundfile.write(tmp_path / "source.flac", np.tile(voice(3.0), 15), SR)  # 45 s
    convert_file(model, tmp_path / "source.flac", tmp_path / "converted.flac")
    converted, _ = soundfile.read(tmp_path / "converted.flac", dtype="float32")
    assert np.abs(converted - soundfile.read(tmp_path / "source.flac")[0]).max() < 2 / 32_768
    assert len(longest) >= 90 and max(longest) <= 0.7 * SR


@pytest.fixture
def takes(voice, tmp_path):
    """A folder of four recordings, one of them in a folder of its own, and one that was converted before."""
    for i, name in enumerate(["a.wav", "b.flac", "more/a.wav", "c d.wav", "a_converted.wav"]):
        path = tmp_path / "takes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(0.6 + 0.1 * i, seed=i), SR)
    return tmp_path / "takes"


def test_output_folder_mirrors_the_source_folder(model, takes, tmp_path):
    outputs = convert_folder(model, takes, tmp_path / "out")
    names = {"a_converted.wav", "b_converted.wav", "more/a_converted.wav", "c d_converted.wav"}
    assert {p.relative_to(tmp_path / "out").as_posix() for p in outputs.values()} == names
    for file, destination in outputs.items():
        convert_file(model, file, tmp_path / "alone.wav")
        of_folder, alone = (soundfile.read(p)[0] for p in (destination, tmp_path / "alone.wav"))
        assert np.abs(of_folder - alone).max() < 2 / 32_768


def test_a_folder_tells_the_seconds_of_all_files(model, takes, tmp_path):
    told = []
    outputs = convert_folder(model, takes, tmp_path / "out", progress=told.append)
    assert len(told) >= len(outputs)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(sum(soundfile.info(file).duration for file in outputs))


def test_skips_broken_files_with_a_warning(model, takes, tmp_path):
    (takes / "b.flac").write_bytes(b"no sound")
    (takes / "empty.wav").write_bytes(b"")
    with pytest.warns(UserWarning, match="2 of 5 files were left out: b.flac: .*; empty.wav: "):
        outputs = convert_folder(model, takes, tmp_path / "out", suffix=".flac")
    assert len(outputs) == 3 and all(path.suffix == ".flac" for path in outputs.values())
    with pytest.raises(ParameterError, match="none of 1 files can be converted; first: empty.wav"):
        convert_folder(model, takes / "empty.wav", tmp_path / "out")


def test_rejects_files_with_the_same_output(model, takes, tmp_path):
    with pytest.raises(ParameterError, match="2 recordings but only 1 different"):
        convert_folder(model, [takes / "a.wav", takes / "more" / "a.wav"], tmp_path / "out")
    with pytest.raises(ParameterError, match="holds no recording"):
        convert_folder(model, [], tmp_path / "out")
    with pytest.raises(MissingInput):
        convert_folder(model, takes / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_silent_file_stays_silent(model, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(9_000), SR)
    convert_file(model, tmp_path / "silent.wav", tmp_path / "converted.wav")
    converted, _ = soundfile.read(tmp_path / "converted.wav")
    assert converted.shape == (9_000,) and np.abs(converted).max() < 1e-3


def test_rejects_the_source_as_destination(model, voice, tmp_path):
    path = tmp_path / "me.wav"
    soundfile.write(path, voice(0.3), SR)
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="is the source itself"):
        convert_file(model, path, tmp_path / "." / "me.wav")
    (tmp_path / "linked.wav").symlink_to(path)
    with pytest.raises(ParameterError, match="is the source itself"):
        convert_file(model, path, tmp_path / "linked.wav")
    assert path.read_bytes() == before


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_no_partial_file(
    model, voice, short_chunks, tmp_path, monkeypatch, old, error
):
    calls = []

    def fails(_, chunk, *__):
        calls.append(len(chunk.wav))
        if len(calls) == 3:
            raise error("in the middle")
        return chunk.wav.copy()

    monkeypatch.setattr(long, "convert_chunk", fails)
    soundfile.write(tmp_path / "source.wav", voice(2.5), SR)
    (tmp_path / "out").mkdir()
    if old:
        (tmp_path / "out" / "converted.wav").write_bytes(old)
    with pytest.raises(error, match="in the middle"):
        convert_file(model, tmp_path / "source.wav", tmp_path / "out" / "converted.wav")
    left = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert left == ({"converted.wav": old} if old else {})


def test_rejects_a_bad_source_or_destination(model, voice, tmp_path):
    soundfile.write(tmp_path / "source.wav", voice(0.5), SR)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(MissingInput, match="nowhere.wav does not exist"):
        convert_file(model, tmp_path / "nowhere.wav", tmp_path / "converted.wav")
    with pytest.raises(ParameterError, match="not readable as sound"):
        convert_file(model, tmp_path / "text.wav", tmp_path / "converted.wav")
    with pytest.raises(ParameterError, match=r"must end in one of \.wav"):
        convert_file(model, tmp_path / "source.wav", tmp_path / "converted.m4a")
    assert {file.name for file in tmp_path.iterdir()} == {"source.wav", "text.wav"}


def test_rejects_a_bad_destination_before_the_slow_part(model, voice, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "source.wav", voice(0.5), SR)
    monkeypatch.setattr(long, "estimate_speaker", lambda *_: pytest.fail("analyzed first"))
    with pytest.raises(ParameterError, match=r"must end in one of \.wav"):
        convert_file(model, tmp_path / "source.wav", tmp_path / "converted.txt")
