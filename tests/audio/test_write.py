"""Writing sound files: formats, atomic writes, comments, full disks, closed folders."""

import errno
import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from vc_lib.audio import (
    WavWriter,
    load_wav,
    read_comment,
    save_wav,
    write,
)
from vc_lib.audio.write import WRITABLE
from vc_lib.errors import NotWritten, ParameterError

SR = 16_000


def tone(hz=440.0, seconds=0.5, sr=SR, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * sr)) / sr)).astype("float32")


# Formats


@pytest.mark.parametrize("suffix, tolerance", [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)])
def test_saved_files_load_again(tmp_path, suffix, tolerance):
    wav = tone()
    save_wav(tmp_path / f"a.{suffix}", wav, SR)
    back = load_wav(tmp_path / f"a.{suffix}", SR)
    assert back.shape == wav.shape and back.dtype == np.float32
    assert np.abs(back - wav).max() < tolerance


# Writing


def test_save_makes_the_folder_and_leaves_only_the_file(tmp_path):
    save_wav(tmp_path / "new" / "er" / "a.flac", tone(), SR)
    assert [p.name for p in (tmp_path / "new" / "er").iterdir()] == ["a.flac"]
    info = sf.info(tmp_path / "new" / "er" / "a.flac")
    assert (info.samplerate, info.channels, info.subtype) == (SR, 1, "PCM_16")


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    save_wav(path, tone(), SR)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="halfway"), WavWriter(path, SR) as out:
        out.write(tone(1000))
        raise RuntimeError("halfway")
    with pytest.raises(ParameterError, match="nothing was written"), WavWriter(path, SR) as out:
        out.write(np.zeros(0))
    with pytest.raises(ParameterError, match="NaN"), WavWriter(path, SR) as out:
        out.write(tone())
        out.write(np.array([np.nan]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_when_it_is_complete(tmp_path):
    with WavWriter(tmp_path / "a.wav", SR) as out:
        out.write(tone())
        assert not (tmp_path / "a.wav").exists()
        out.write(tone(1000).astype("float64"))
    assert out.n_samples == SR
    assert np.allclose(
        load_wav(tmp_path / "a.wav", SR), np.concatenate([tone(), tone(1000)]), atol=1e-4
    )


def test_long_ogg_is_written(tmp_path):
    save_wav(tmp_path / "a.ogg", 0.01 * np.ones(3_000_000), 8000)  # crashes libvorbis in one piece
    assert sf.info(tmp_path / "a.ogg").frames == 3_000_000


def test_clips_overshoot_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"peak was 2, 6\.02 dB over"):
        save_wav(tmp_path / "a.wav", np.array([0.5, 2.0, -2.0]), SR)
    assert np.allclose(load_wav(tmp_path / "a.wav", SR), [0.5, 1, -1], atol=1e-4)


@pytest.mark.filterwarnings("error")
def test_full_scale_is_not_clipped(tmp_path):
    save_wav(tmp_path / "a.wav", np.array([1.0, -1.0]), SR)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.m4a", "a.g722"])
def test_rejects_unknown_suffixes(tmp_path, name):
    with pytest.raises(ParameterError, match="must end in"):
        save_wav(tmp_path / name, tone(), SR)
    assert not list(tmp_path.iterdir())


def test_rejects_impossible_destinations(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(ParameterError, match="is a folder"):
        save_wav(tmp_path / "a.wav", tone(), SR)
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="not a folder"):
        save_wav(tmp_path / "file" / "b.wav", tone(), SR)
    with pytest.raises(ParameterError, match="use .wav"):
        save_wav(tmp_path / "b.mp3", tone(), 17_000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "file"]


# Disks, comments, lengths


@pytest.mark.parametrize("suffix", WRITABLE)
def test_full_disk_raises_not_written_and_keeps_the_old_file(tmp_path, suffix):
    """A limit on file sizes stands for a full disk."""
    noise = 0.1 * np.random.default_rng(0).normal(size=20 * 16_000)
    path = tmp_path / f"a{suffix}"
    save_wav(path, noise[:2_000], 16_000)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    for n_samples in (len(noise), 5 * 16_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5_000, limits[1]))
        try:
            with pytest.raises(NotWritten, match=r"cannot be written .* Free some space"):
                save_wav(path, noise[:n_samples], 16_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [f.name for f in tmp_path.iterdir()] == [path.name]
        assert path.read_bytes() == before


def test_samples_lost_on_closing_raise_not_written(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    with pytest.raises(NotWritten, match="500 of 1000 samples"), WavWriter(path, 16_000) as out:
        out.write(np.zeros(1_000))
        monkeypatch.setattr(WavWriter, "_n_on_disk", lambda self: 500)
    assert not list(tmp_path.iterdir())


def test_closed_folder_raises_not_written(tmp_path, monkeypatch):
    def closed(path, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", closed)
    with pytest.raises(NotWritten, match="its folder is closed to you .*; choose another folder"):
        save_wav(tmp_path / "a.wav", np.zeros(100), 16_000)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_comment_survives_the_file(tmp_path, suffix):
    text = "Synthetic speech: voice 'anna', \"quoted\"; disclose it. " * 4
    save_wav(tmp_path / f"a{suffix}", np.zeros(4_000), 16_000, comment=text.strip())
    assert read_comment(tmp_path / f"a{suffix}") == text.strip()
    assert len(load_wav(tmp_path / f"a{suffix}", 16_000)) >= 4_000
    save_wav(tmp_path / f"b{suffix}", np.zeros(4_000), 16_000)
    assert read_comment(tmp_path / f"b{suffix}") == ""


@pytest.mark.parametrize("comment", ["café", "a\0b", None, b"a"])
def test_rejects_comments_that_are_not_ascii(tmp_path, comment):
    with pytest.raises(ParameterError, match="must be ASCII text"):
        save_wav(tmp_path / "a.wav", np.zeros(100), 16_000, comment=comment)


def test_rejects_rates_comments_and_sizes_beyond_the_format(tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="sr=250000 Hz; OGG takes 200000 at most"):
        save_wav(tmp_path / "a.ogg", np.zeros(100), 250_000)
    with pytest.raises(ParameterError, match="comment has 1001 characters, must have 1000"):
        save_wav(tmp_path / "a.wav", np.zeros(100), SR, comment="x" * 1_001)
    monkeypatch.setattr(write, "MAX_WAV_BYTES", 1_000)
    with pytest.raises(ParameterError, match=r"would pass 4 GB.* ends in .flac"):
        save_wav(tmp_path / "a.wav", np.zeros(501), SR)
    save_wav(tmp_path / "a.wav", np.zeros(500), SR, comment="x" * 1_000)
    save_wav(tmp_path / "a.flac", np.zeros(501), SR)
    assert read_comment(tmp_path / "a.wav") == "x" * 1_000
    assert {f.name for f in tmp_path.iterdir()} == {"a.wav", "a.flac"}


def test_writes_long_names(tmp_path):
    save_wav(tmp_path / f"{'n' * 245}.wav", tone(), SR)
    assert [len(f.name) for f in tmp_path.iterdir()] == [249]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
def test_does_not_replace_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(ParameterError, match="is not a file; choose another name"):
        save_wav(tmp_path / "a.wav", tone(), SR)


def test_rejects_rates_that_flac_does_not_support(tmp_path):
    with pytest.raises(ParameterError, match="sr=65537 Hz; above 65535 FLAC takes multiples of 10"):
        save_wav(tmp_path / "a.flac", tone(), 65_537)
    for sr in (65_535, 65_540, 384_000):
        save_wav(tmp_path / "a.flac", tone(), sr)
        assert len(load_wav(tmp_path / "a.flac", sr)) == SR // 2


def test_saving_removes_old_partial_files(tmp_path):
    for name, age_s in ((".old.part", 7_200), (".new.part", 0)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    save_wav(tmp_path / "a.wav", tone(), SR)
    assert {f.name for f in tmp_path.iterdir()} == {".new.part", "a.wav"}
