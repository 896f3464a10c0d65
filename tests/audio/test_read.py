"""Reading sound files: formats, names, channels, rates, blocks, and files that are rejected."""

import errno
import os
import resource
import socket
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile as sf

from vc_lib.audio import (
    blocks,
    list_audio,
    load_wav,
    read_comment,
    resample,
    save_wav,
)
from vc_lib.audio import read as read_module
from vc_lib.audio.read import AUDIO_SUFFIXES
from vc_lib.audio.wav import n_resampled
from vc_lib.errors import MissingInput, NotWritten, ParameterError

SR = 16_000


def tone(hz=440.0, seconds=0.5, sr=SR, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * sr)) / sr)).astype("float32")


def peak_hz(wav, sr):
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav))))
    return np.argmax(spectrum) * sr / len(wav)


def ffmpeg(source, destination, *options):
    exe = imageio_ffmpeg.get_ffmpeg_exe()
    command = [exe, "-v", "error", "-nostdin", "-i", str(source), *options, f"file:{destination}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_long_mp3_is_read_in_silence(tmp_path, voice, capfd):
    """The decoder prints errors when it has to seek."""
    for seed in range(3):
        path = tmp_path / f"{seed}.mp3"
        save_wav(path, voice(9.0, seed=seed), SR)
        assert len(load_wav(path, SR)) == 9 * SR
    assert capfd.readouterr() == ("", "")


def test_mp3_keeps_tone_level_and_nearly_the_length(tmp_path):
    wav = tone()
    save_wav(tmp_path / "a.mp3", wav, SR)
    back = load_wav(tmp_path / "a.mp3", SR)
    assert abs(len(back) - len(wav)) <= 1152 * 2  # a codec frame at either end
    assert abs(peak_hz(back, SR) - 440) < 4
    assert abs(np.abs(back).max() - 0.5) < 0.1


@pytest.mark.parametrize(
    "name, options",
    [
        ("a.m4a", ["-c:a", "aac"]),
        ("a.aac", ["-c:a", "aac"]),
        ("a.opus", ["-c:a", "libopus"]),
        ("a.wma", ["-c:a", "wmav2"]),
        ("a.aiff", []),
        ("a.g722", []),
        ("a.ulaw", ["-ar", "8000", "-f", "mulaw"]),
    ],
)
def test_reads_formats_through_ffmpeg(tmp_path, name, options):
    save_wav(tmp_path / "a.wav", tone(), SR)
    ffmpeg(tmp_path / "a.wav", tmp_path / name, *options)
    wav = load_wav(tmp_path / name, SR)
    assert 0.45 * SR < len(wav) < 0.7 * SR  # codecs add or lose some frames at the ends
    assert abs(peak_hz(wav, SR) - 440) < 6
    assert {p.name for p in tmp_path.iterdir()} == {"a.wav", name}


def test_reads_the_sound_track_of_a_film(tmp_path):
    save_wav(tmp_path / "a.wav", tone(), SR)
    picture = ["-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=0.5"]
    ffmpeg(tmp_path / "a.wav", tmp_path / "a.mkv", *picture, "-c:v", "mpeg4", "-c:a", "flac")
    assert abs(peak_hz(load_wav(tmp_path / "a.mkv", SR), SR) - 440) < 4


def test_recognizes_formats_by_content(tmp_path):
    sf.write(tmp_path / "a.flac", tone(), SR)
    for name in ("a.wav", "a.raw", "a.gsm", "a"):
        (tmp_path / name).write_bytes((tmp_path / "a.flac").read_bytes())
        assert len(load_wav(tmp_path / name, SR)) == SR // 2


def test_reads_flac_written_through_a_pipe(tmp_path):
    save_wav(tmp_path / "a.wav", tone(), SR)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "a.wav")]
    piped = subprocess.run([*command, "-f", "flac", "-"], check=True, capture_output=True).stdout
    (tmp_path / "piped.flac").write_bytes(piped)
    assert len(load_wav(tmp_path / "piped.flac", SR)) == SR // 2


@pytest.mark.parametrize("name", ["two words", "Zoë und Jürgen 日本", "-dash", "a:b", "50%d", "-"])
@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_reads_and_writes_unusual_names(in_folder, name, suffix):
    save_wav("plain.wav", tone(), SR)
    if suffix != ".wav":
        ffmpeg("plain.wav", f"plain{suffix}")
    os.replace(f"plain{suffix}", f"{name}{suffix}")
    assert abs(peak_hz(load_wav(f"{name}{suffix}", SR), SR) - 440) < 6
    save_wav(f"{name} copy.wav", tone(), SR)


def test_a_file_named_dash_is_not_standard_input(in_folder):
    save_wav("plain.wav", tone(), SR)
    os.replace("plain.wav", "-")
    assert len(load_wav("-", SR)) == SR // 2


# Channels and rates


def test_stereo_becomes_the_mean(tmp_path):
    left, right = tone(440), tone(1000)
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SR, subtype="FLOAT")
    assert np.allclose(load_wav(tmp_path / "a.wav", SR), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("from_sr", [8000, 11025, 44100, 48000])
@pytest.mark.parametrize("to_sr", [16000, 22050])
def test_resampling_keeps_tone_level_and_duration(tmp_path, from_sr, to_sr):
    wav = tone(1000, sr=from_sr, seconds=0.7)
    save_wav(tmp_path / "a.wav", wav, from_sr)
    back = load_wav(tmp_path / "a.wav", to_sr)
    assert len(back) == round(len(wav) * to_sr / from_sr) == n_resampled(len(wav), from_sr, to_sr)
    assert abs(peak_hz(back, to_sr) - 1000) < 2
    middle = slice(len(back) // 4, -len(back) // 4)
    assert np.allclose(back[middle], tone(1000, 0.7, to_sr)[: len(back)][middle], atol=2e-3)
    assert np.allclose(
        back, resample(load_wav(tmp_path / "a.wav", from_sr), from_sr, to_sr), atol=1e-3
    )


def test_overshoot_of_the_resampler_is_clipped(tmp_path):
    square = np.sign(tone(300, seconds=0.2, sr=48_000)).astype("float32")
    sf.write(tmp_path / "a.wav", square, 48_000, subtype="FLOAT")
    assert np.abs(resample(square, 48_000, SR)).max() > 1
    assert np.abs(load_wav(tmp_path / "a.wav", SR)).max() == 1


# Blocks


@pytest.mark.parametrize("from_sr, name", [(SR, "a.wav"), (44_100, "a.flac"), (22_050, "a.m4a")])
@pytest.mark.parametrize("n_samples", [1000, 32_000, 10_000_000])
def test_blocks_add_up_to_the_recording(tmp_path, from_sr, name, n_samples):
    rng = np.random.default_rng(0)
    save_wav(tmp_path / "a.wav", 0.1 * rng.standard_normal(5 * from_sr + 123), from_sr)
    if name != "a.wav":
        ffmpeg(tmp_path / "a.wav", tmp_path / name)
    whole = load_wav(tmp_path / name, SR)
    parts = list(blocks(tmp_path / name, SR, n_samples))
    assert all(len(part) == n_samples for part in parts[:-1]) and 0 < len(parts[-1]) <= n_samples
    joined = np.concatenate(parts)
    assert joined.shape == whole.shape and joined.dtype == np.float32
    assert np.abs(joined - whole).max() < 1e-3


def test_closing_blocks_early_removes_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    save_wav(tmp_path / "a.wav", tone(seconds=6), SR)
    ffmpeg(tmp_path / "a.wav", tmp_path / "a.m4a")
    stream = blocks(tmp_path / "a.m4a", SR, 1000)
    next(stream)
    assert list((tmp_path / "temporary").iterdir())
    stream.close()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, True, None])
def test_blocks_rejects_bad_lengths(tmp_path, n_samples):
    save_wav(tmp_path / "a.wav", tone(), SR)
    with pytest.raises(ParameterError, match="n_samples"):
        next(blocks(tmp_path / "a.wav", SR, n_samples))


def test_rejects_missing_files_and_folders(tmp_path):
    with pytest.raises(MissingInput, match="does not exist"):
        load_wav(tmp_path / "no.wav", SR)
    with pytest.raises(ParameterError, match="not a file"):
        load_wav(tmp_path, SR)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.au", "a.raw", "a.ogg"])
def test_rejects_files_that_are_not_sound(tmp_path, name):
    (tmp_path / name).write_text("These are words.\n" * 500)
    with pytest.raises(ParameterError, match="not readable as sound"):
        load_wav(tmp_path / name, SR)


@pytest.mark.parametrize("name", ["a.wav", "a.g722", "a.m4a"])
def test_rejects_empty_files(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ParameterError, match="empty"):
        load_wav(tmp_path / name, SR)


def test_rejects_a_header_without_samples(tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros(0), SR)
    with pytest.raises(ParameterError, match="empty|not readable"):
        load_wav(tmp_path / "a.wav", SR)


@pytest.mark.parametrize("value, match", [(np.nan, "NaN"), (np.inf, "NaN"), (12_345.0, "32768")])
def test_rejects_non_finite_and_huge_samples(tmp_path, value, match):
    wav = tone(seconds=5)
    wav[70_000] = value
    sf.write(tmp_path / "a.wav", wav, SR, subtype="FLOAT")
    with pytest.raises(ParameterError, match=match):
        load_wav(tmp_path / "a.wav", SR)


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nb.ts\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile b.wav\n"),
        ("a.wav", "ffconcat version 1.0\nfile b.wav\n"),
    ],
)
def test_playlists_cannot_name_other_files(tmp_path, name, text):
    save_wav(tmp_path / "b.wav", tone(), SR)
    ffmpeg(tmp_path / "b.wav", tmp_path / "b.ts", "-c:a", "mp2")
    (tmp_path / name).write_text(text)
    with pytest.raises(ParameterError, match="playlist"):
        load_wav(tmp_path / name, SR)


# Folders


def test_list_audio_finds_recordings_at_any_depth_in_order(tmp_path):
    names = ["b.WAV", "a.flac", "sub/c.mp3", "sub/deep/d.G722", "e.m4a"]
    others = [".hidden.wav", "._mac.wav", ".cache/x.wav", "notes.txt", "picture.png", "wav"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    found = list_audio(str(tmp_path))
    assert found == sorted(tmp_path / name for name in names)
    assert {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus", ".g722"} <= AUDIO_SUFFIXES


def test_list_audio_says_what_is_missing(tmp_path):
    with pytest.raises(MissingInput, match="does not exist"):
        list_audio(tmp_path / "no")
    with pytest.raises(ParameterError, match="copy some there, or give another folder"):
        list_audio(tmp_path)
    (tmp_path / "a.wav").touch()
    with pytest.raises(ParameterError, match="must be a folder"):
        list_audio(tmp_path / "a.wav")


def test_read_comment_rejects_other_files(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    for path in (tmp_path / "a.wav", tmp_path):
        with pytest.raises(ParameterError, match="is no WAV, FLAC, OGG or MP3"):
            read_comment(path)
    with pytest.raises(MissingInput):
        read_comment(tmp_path / "b.wav")


def test_recordings_over_the_limit_are_read_in_blocks_only(tmp_path, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_LOADED_S", 2)
    save_wav(tmp_path / "a.wav", np.zeros(2 * 16_000), 16_000)
    save_wav(tmp_path / "b.wav", np.zeros(2 * 16_000 + 1), 16_000)
    assert len(load_wav(tmp_path / "a.wav", 8_000)) == 16_000
    assert len(load_wav(tmp_path / "a.wav", 16_000)) == 32_000
    with pytest.raises(
        ParameterError, match=r"b.wav is longer than .* h, too much .* convert_file"
    ):
        load_wav(tmp_path / "b.wav", 16_000)
    assert sum(map(len, blocks(tmp_path / "b.wav", 16_000, 1_000))) == 32_001


def test_rejects_endless_films(tmp_path, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_DECODED_S", 2)
    (tmp_path / "a.g722").write_bytes(bytes(8_000 * 10))
    with pytest.raises(ParameterError, match="claims to be longer"):
        load_wav(tmp_path / "a.g722", 16_000)


def test_full_temporary_folder_raises_not_written(tmp_path, monkeypatch):
    (tmp_path / "a.g722").write_bytes(bytes(80_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(NotWritten, match="is decoded, is full; free some space there, or set"):
            load_wav(tmp_path / "a.g722", 16_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def written(path, wav):
    """Write a recording in the format of its suffix."""
    if path.suffix in (".m4a", ".wma", ".mka", ".g722"):
        sf.write(path.with_suffix(".tmp.wav"), wav, SR)
        ffmpeg(path.with_suffix(".tmp.wav"), path)
        path.with_suffix(".tmp.wav").unlink()
    else:
        sf.write(path, wav, SR)
    return path


@pytest.mark.parametrize(
    "suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".wma", ".mka"]
)
def test_truncated_files_load_in_part_or_are_rejected(tmp_path, suffix):
    noise = 0.1 * np.random.default_rng(0).normal(size=4 * SR)
    whole = written(tmp_path / f"whole{suffix}", noise)
    data, n_whole = whole.read_bytes(), len(load_wav(whole, SR))
    path, n_taken = tmp_path / f"cut{suffix}", 0
    cuts = [
        1,
        2,
        4,
        8,
        12,
        20,
        40,
        44,
        45,
        60,
        100,
        200,
        500,
        len(data) // 4,
        len(data) // 2,
        len(data) - 1,
    ]
    for n_bytes in cuts:
        path.write_bytes(data[:n_bytes])
        try:
            wav = load_wav(path, SR)
        except ParameterError as e:
            assert str(path) in str(e)
            continue
        n_taken += 1
        assert wav.ndim == 1 and len(wav) <= n_whole + SR // 10
        assert np.isfinite(wav).all() and np.abs(wav).max() <= 1
    if suffix in (".wav", ".mp3", ".ogg", ".aiff"):
        assert n_taken, "half a recording is half a recording"


@pytest.mark.parametrize("claimed", [0, 1, 2**31 - 1, 2**32 - 1])
def test_wrong_lengths_in_headers_are_ignored(tmp_path, claimed):
    sf.write(tmp_path / "a.wav", tone(), SR, subtype="PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = claimed.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(bytes(data))
    try:
        assert len(load_wav(tmp_path / "a.wav", SR)) <= SR // 2 + SR // 10
    except ParameterError as e:
        assert "a.wav" in str(e)


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"]
)
@pytest.mark.parametrize("sr", [4_000, 11_025, 96_000, 192_000])
@pytest.mark.parametrize("n_channels", [1, 2, 8])
def test_reads_any_depth_rate_and_number_of_channels(tmp_path, subtype, sr, n_channels):
    wav = tone(400.0, 0.2, sr, 0.4)
    sf.write(tmp_path / "a.wav", np.stack([wav] * n_channels, 1), sr, subtype)
    read = load_wav(tmp_path / "a.wav", SR)
    assert read.dtype == np.float32 and len(read) == round(len(wav) * SR / sr)
    assert np.abs(read).max() == pytest.approx(0.4, abs=0.05)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
def test_rejects_pipes_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "zero.wav"):
        with pytest.raises(ParameterError, match="is not a file"):
            load_wav(tmp_path / name, SR)


@pytest.mark.parametrize(
    "suffix", [".wav", ".m3u8", ".mp3", ".m4a", ".sdp", ".pls", ".ffconcat", ".mpd"]
)
def test_fetches_nothing_from_the_network(tmp_path, suffix):
    """Playlists of all kinds and suffixes name a server, which gets no connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        host = f"http://127.0.0.1:{server.getsockname()[1]}/a.wav"
        texts = (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{host}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{host}'\n",
            f"[playlist]\nFile1={host}\nNumberOfEntries=1\n",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
            f'<?xml version="1.0"?><MPD><Period><BaseURL>{host}</BaseURL></Period></MPD>',
            host,
        )
        for text in texts:
            (tmp_path / f"a{suffix}").write_text(text)
            with pytest.raises(ParameterError):
                load_wav(tmp_path / f"a{suffix}", SR)
        with pytest.raises(TimeoutError):
            server.accept()


def test_good_and_broken_files_side_by_side(tmp_path):
    """Three good files load, and each of three broken ones raises an error with its name."""
    for i in range(3):
        sf.write(tmp_path / f"good {i} é.wav", tone(), SR)
    whole = (tmp_path / "good 0 é.wav").read_bytes()
    (tmp_path / "text.wav").write_text("not sound")
    (tmp_path / "header.wav").write_bytes(whole[:30])
    (tmp_path / "empty.mp3").write_bytes(b"")
    usable, reasons = [], {}
    for path in list_audio(tmp_path):
        try:
            usable.append(len(load_wav(path, SR)))
        except ParameterError as e:
            reasons[path.name] = str(e)
    assert usable == [SR // 2] * 3 and set(reasons) == {"text.wav", "header.wav", "empty.mp3"}
    assert all(name in reason for name, reason in reasons.items())


def test_rejects_impossible_names(tmp_path):
    with pytest.raises(ParameterError, match="cannot be a file .*; correct the path"):
        load_wav(tmp_path / f"{'n' * 300}.wav", SR)
    with pytest.raises(MissingInput, match="does not exist"):
        load_wav(tmp_path / "a\0b.wav", SR)


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_reads_and_writes_names_that_are_not_utf8(tmp_path, suffix):
    source = written(tmp_path / f"a{suffix}", tone())
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe folder/\xe9"))
    odd.parent.mkdir()
    os.replace(source, odd.with_suffix(suffix))
    n_open = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert len(load_wav(odd.with_suffix(suffix), SR)) >= SR // 2
    save_wav(odd.with_suffix(".flac"), tone(), SR)
    assert len(load_wav(odd.with_suffix(".flac"), SR)) == SR // 2
    odd.with_suffix(".wav").write_bytes(b"no sound")
    with pytest.raises(ParameterError):
        load_wav(odd.with_suffix(".wav"), SR)
    if n_open:
        assert len(os.listdir("/proc/self/fd")) == n_open, "all are closed again"


def test_rejects_files_without_read_permission(tmp_path, monkeypatch):
    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    save_wav(tmp_path / "a.wav", tone(), SR)
    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(ParameterError, match="may not be read .* change its permissions"):
        load_wav(tmp_path / "a.wav", SR)
