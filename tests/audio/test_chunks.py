"""Chunks of long recordings: together the whole, cut in pauses."""

import numpy as np
import pytest

from vc_lib.audio import chunks
from vc_lib.audio.chunks import quietest

SR = 16_000


def split(*args, **kw):
    """Each chunk as (wav, start, length, is last)."""
    return ((p.wav, p.start, p.n, p.last) for p in chunks.split_at_pauses(*args, **kw))


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 0.61, 2.7])
def test_chunks_of_any_blocks_add_up_to_the_recording(voice, short_chunks, seconds):
    wav = voice(3.0)[: int(seconds * SR)]
    cuts = []
    for n_block in (100, 3_333, 8_000, 10**6):
        blocks = [wav[i : i + n_block] for i in range(0, len(wav), n_block)]
        parts = list(split(blocks, SR, fade=320))
        whole = [part[n_before : n_before + n] for part, n_before, n, _ in parts]
        assert np.array_equal(np.concatenate([np.zeros(0), *whole]), wav)
        assert [last for *_, last in parts] == [False] * (len(parts) - 1) + [True] * bool(parts)
        for i, (part, n_before, n, last) in enumerate(parts):
            assert 0 < n <= (0.6 if last else 0.5) * SR and len(part) <= 0.7 * SR
            assert n_before == (0 if i == 0 else 0.1 * SR)
            assert last or len(part) == n_before + n + 0.1 * SR
        cuts.append([n for _, _, n, _ in parts])
    assert all(c == cuts[0] for c in cuts), "the seams lie where they lie in one block"


@pytest.mark.parametrize("grid", [1, 320, 441])
def test_chunks_begin_on_the_grid(voice, short_chunks, grid):
    wav = voice(3.0)
    for chunk in chunks.split_at_pauses([wav[:9_000], wav[9_000:]], SR, 320, grid):
        assert chunk.at % grid == 0 and chunk.start < 0.1 * SR + grid
        assert np.array_equal(wav[chunk.at : chunk.at + len(chunk.wav)], chunk.wav)


def test_the_context_is_at_least_the_fade(monkeypatch, voice):
    monkeypatch.setattr(chunks, "CHUNK_S", 0.5)
    monkeypatch.setattr(chunks, "CONTEXT_S", 0.0)
    for part, n_before, n, last in split([voice(2.0)], SR, fade=320):
        assert last or len(part) >= n_before + n + 320


def test_cuts_fall_in_pauses(voice, short_chunks):
    wav = 0.1 * np.random.default_rng(0).normal(size=3 * SR).astype(np.float32)
    starts = np.arange(6_000, len(wav), 6_000)
    for start in starts:
        wav[start : start + 1_000] = 0
    ends = np.cumsum([n for _, _, n, _ in split([wav], SR, fade=320)])[:-1]
    assert len(ends) > 4
    for end in ends:
        assert np.abs(starts + 500 - end).min() <= 500


def test_quietest_looks_in_the_second_half():
    wav = np.ones(10_000)
    wav[1_000:2_000] = 0
    wav[7_000:8_000] = 0.1
    assert 7_000 <= quietest(wav, SR) <= 8_000
    assert quietest(np.zeros(10_000), SR) >= 5_000
