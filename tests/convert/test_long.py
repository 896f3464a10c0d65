"""Recordings in chunks: seams that cannot be heard."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from vc_lib import parallel
from vc_lib.audio import chunks
from vc_lib.convert import Voice, long

SR = 16_000


def envelope(wav):
    """Level in steps of 10 ms [dB]."""
    frames = wav[: len(wav) // 160 * 160].reshape(-1, 160).astype(np.float64)
    return 10 * np.log10((frames**2).mean(1) + 1e-6)


def test_seams_are_exact_where_chunks_agree(model, voice, short_chunks, monkeypatch):
    monkeypatch.setattr(long, "convert_chunk", lambda _, chunk, *__: chunk.wav.copy())
    wav = voice(3.0)
    for n_block in (997, 8_000, 10**6):
        blocks = [wav[i : i + n_block] for i in range(0, len(wav), n_block)]
        out = list(long.convert_long(model, blocks, model.config.target))
        assert len(out) > 5 and np.abs(np.concatenate(out) - wav).max() < 1e-6


def test_chunks_are_cross_faded(model, short_chunks, monkeypatch):
    """Chunks are 0 and 1 in turn: each change is linear and takes the length of the fade."""
    turns = iter(range(100))
    ones = np.ones(2 * SR, np.float32)
    monkeypatch.setattr(parallel, "n_cores", lambda: 1)
    monkeypatch.setattr(
        long, "convert_chunk", lambda _, chunk, *__: np.full_like(chunk.wav, next(turns) % 2)
    )
    out = np.concatenate(list(long.convert_long(model, [ones], model.config.target)))
    steps = np.abs(np.diff(out))
    assert out.shape == ones.shape and next(turns) >= 4
    assert steps.max() < 1.01 / (0.02 * SR - 1) and set(np.round(out[::500])) == {0.0, 1.0}


def test_speech_in_chunks_sounds_like_the_whole(model, voice, monkeypatch):
    wav = voice(2.5)
    source = model.source_stats([wav])
    whole = model.convert(wav, SR, source)
    monkeypatch.setattr(chunks, "CHUNK_S", 0.9)
    monkeypatch.setattr(chunks, "CONTEXT_S", 0.2)
    stitched = model.convert(wav, SR, source)
    assert stitched.shape == whole.shape and not np.array_equal(stitched, whole)
    off_db = np.abs(envelope(stitched) - envelope(whole))
    assert np.median(off_db) < 0.7 and np.mean(off_db < 3) > 0.9
    assert np.abs(np.diff(stitched)).max() < 2 * np.abs(np.diff(whole)).max(), "no click"


def sung(seconds):
    """A vowel of moving pitch, with no pause to cut in."""
    t = np.arange(int(seconds * SR)) / SR
    phase = 2 * np.pi * np.cumsum(180 * 2 ** (0.3 * np.sin(2.1 * t))) / SR
    harmonics = np.arange(1, 12)[:, None]
    wav = (np.sin(harmonics * phase) / harmonics**1.2).sum(0)
    return (0.15 * wav * (1 + 0.3 * np.sin(1.3 * t))).astype(np.float32)


@pytest.fixture
def seen(monkeypatch):
    """The chunks of 2 s that were converted, as they come."""
    monkeypatch.setattr(parallel, "n_cores", lambda: 1)  # in their order
    monkeypatch.setattr(chunks, "CHUNK_S", 2.0)
    convert_chunk, seen = long.convert_chunk, []
    monkeypatch.setattr(
        long, "convert_chunk", lambda *args: seen.append(args[1]) or convert_chunk(*args)
    )
    return seen


def in_a_room(wav):
    """The sound with a little noise."""
    noise = 1e-3 * np.random.default_rng(7).normal(size=len(wav))
    return wav + noise.astype(np.float32)


def with_sound_of(model, voiced):
    """The voice with another dial `voiced`."""
    cfg = replace(model.config, f0_method="harvest_fast", voiced=voiced)
    return Voice(model.generator, cfg)


@pytest.mark.parametrize("voiced", ["vocoder", "recorded"])
@pytest.mark.parametrize("kind", ["spoken", "sung"])
def test_chunks_equal_the_whole_within_50_db(model, voice, seen, monkeypatch, kind, voiced):
    """The difference from the conversion in one piece is under -50 dB."""
    model = with_sound_of(model, voiced)
    wav = in_a_room(voice(7.0) if kind == "spoken" else sung(7.0))
    source = model.source_stats([wav])
    with monkeypatch.context() as m:
        m.setattr(chunks, "CHUNK_S", 8.0)
        whole = model.convert(wav, SR, source)
    stitched = model.convert(wav, SR, source)
    assert len(seen) >= 4 and all((chunk.grains is None) == (voiced == "vocoder") for chunk in seen)
    assert any(chunk.phase for chunk in seen) == (voiced == "vocoder" and kind == "sung")
    off = stitched.astype(float) - whole
    assert 10 * np.log10(np.mean(off**2) / np.mean(whole.astype(float) ** 2)) < -50


def test_a_chunk_continues_the_grains_of_the_one_before(model, seen):
    model, wav = with_sound_of(model, "recorded"), in_a_room(sung(7.0))
    source = replace(model.source_stats([wav]), f0_hz=200.0)
    model.convert(wav, SR, source)
    for one, other in itertools.pairwise(seen):
        seam = one.at + one.start + one.n
        assert seam == other.at + other.start
        a, b = (
            np.concatenate([run.at for run in chunk.grains]) + chunk.at for chunk in (one, other)
        )
        a, b = (at[(at >= seam) & (at < seam + 0.05 * SR)] for at in (a, b))
        assert len(a) > 8
        np.testing.assert_allclose(a, b, atol=0.01)
