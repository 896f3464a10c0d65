"""Recordings of any length, converted in chunks of at most 8 s on all cores, at constant memory.

Each chunk is converted with half a second of context on either side, in phase with the chunk
before, and cross-faded with it, so that no seam is heard.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ..anonymize import Features, analyze, speaker_stats, transform, transform_f0
from ..anonymize.hybrid import REFINE_STEP_MS, hybrid
from ..anonymize.pipeline import choose_grains, needs_aperiodicity
from ..anonymize.psola import last_mark
from ..anonymize.synthesis import phase_at
from ..anonymize.world import AP_PERIOD_MS, with_aperiodicity
from ..audio import chunks
from ..audio.chunks import Chunk
from ..audio.level import BLOCK_S, attenuate_pauses, block_power, speech_level_db
from ..config import Config
from ..parallel import in_order, one_blas_thread
from ..speaker import SpeakerStats

FADE_S = 0.02  # cross-fade between chunks [s]
MAX_GRID_S = 0.1  # longest step of the grid, by which the context of a chunk may grow [s]
STATS_S = 60.0  # length of the beginning of a source on which the speaker is measured [s]


def convert_long(
    voice, wavs: Iterable[np.ndarray], source: SpeakerStats | None = None
) -> Iterator[np.ndarray]:
    """Convert a recording that comes in blocks, on all cores; the output has as many samples.

    Parameters
    ----------
    voice : voice.Voice
    wavs : iterable of np.ndarray [shape=(n_samples,), -1..1]
        Blocks at `voice.sr`, of any lengths.
    source : SpeakerStats, optional
        Statistics of the speaker, by default those of the first minute. The level of the speech is
        always that of the first minute.

    Yields
    ------
    converted : np.ndarray [shape=(n_samples,), float32, -1..1]
        Chunk by chunk.
    """
    cfg, sr = voice.config, voice.sr
    fade = round(FADE_S * sr)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    tail = None  # the last chunk's version of the first samples of this one
    split = chunks.split_at_pauses(wavs, sr, fade, grid(cfg))
    buffer, stats, level_db = estimate_speaker(cfg, split)
    source = source or stats

    def converted(linked: tuple[Chunk, Future, Future]) -> tuple[Chunk, np.ndarray]:
        chunk, before, after = linked
        try:
            chunk = _in_phase(chunk, cfg, source, before, after)
            return chunk, convert_chunk(voice, chunk, source, level_db)
        except BaseException as e:
            if not after.done():
                after.set_exception(e)  # otherwise the next chunk waits for ever
            raise

    for chunk, out in in_order(converted, _linked(_emptied(buffer, split))):
        out = out[chunk.start :]
        if tail is not None:
            overlap = min(len(tail), len(out))
            out[:overlap] = tail[:overlap] * (1 - ramp[:overlap]) + out[:overlap] * ramp[:overlap]
        tail = None if chunk.last else out[chunk.n : chunk.n + fade].copy()
        yield out[: chunk.n]


@one_blas_thread()
def convert_chunk(voice, chunk: Chunk, source: SpeakerStats, level_db: float) -> np.ndarray:
    """Convert an analyzed chunk, context included [shape=(len(chunk.wav),), float32]."""
    if needs_aperiodicity(voice.config, source):
        features = with_aperiodicity(chunk.features, chunk.wav).compact()
        chunk = replace(chunk, features=features)
    transformed = transform(chunk.features, voice.config, source)
    recorded = voice.config.dials["unvoiced"] == "recorded"
    sounds = chunk.wav, chunk.features, transformed, chunk.grains
    out = hybrid(*sounds, recorded, first=chunk.at, phase=chunk.phase)
    step = voice.config.hop_length * voice.generator.step_t
    skipped = -chunk.at % step  # samples before the grid on which the images of all chunks lie
    if skipped < len(out):
        out[skipped:] = voice.generate(out[skipped:])
    return attenuate_pauses(out, chunk.wav, voice.sr, voice.config.pause_depth_db, level_db)


def grid(cfg: Config) -> int:
    """Step of the grid on which chunks begin, so that a chunk is analyzed like the whole [samples].

    It is a multiple of a WORLD frame, and of a block of `audio.level` unless that is too long.
    """
    frame = Fraction(cfg.frame_period_ms / 1000).limit_denominator(10**6) * cfg.sr
    steps = (max(1, round(ms / cfg.frame_period_ms)) for ms in (AP_PERIOD_MS, REFINE_STEP_MS))
    frames = (frame * math.lcm(*steps)).numerator
    both = math.lcm(frames, round(BLOCK_S * cfg.sr))
    return both if both < MAX_GRID_S * cfg.sr else frames


@one_blas_thread()
def estimate_speaker(
    cfg: Config, split: Iterator[Chunk]
) -> tuple[deque[Chunk], SpeakerStats, float]:
    """Analyze chunks of the first minute.

    Returns
    -------
    buffer : deque of Chunk
        These chunks, analyzed.
    source : SpeakerStats
        Statistics of their speaker.
    level_db : float [dB]
        Level of their speech.
    """
    own, powers = [], []

    def first_minute():
        left = STATS_S * cfg.sr
        for chunk in split:
            yield chunk
            left -= chunk.n
            if left <= 0:
                return

    buffer = deque(in_order(lambda chunk: _analyzed(chunk, cfg), first_minute()))
    for chunk in buffer:
        own.append(_without_context(chunk, cfg))
        powers.append(block_power(chunk.wav[chunk.start : chunk.start + chunk.n], cfg.sr))
    level_db = speech_level_db(np.concatenate([np.empty(0), *powers]))
    return buffer, speaker_stats(own, prior=cfg.target), level_db


def _analyzed(chunk: Chunk, cfg: Config) -> Chunk:
    """The chunk with its features, and half of its context.

    The other half is cut: near the ends of a chunk, WORLD's features differ from those of the
    whole.
    """
    features = analyze(chunk.wav, cfg.sr, cfg, aperiodic=False)
    frame = cfg.frame_period_ms / 1000 * cfg.sr  # [samples]
    margin = round(chunks.CONTEXT_S * cfg.sr / 2) // grid(cfg) * grid(cfg)
    first = margin if chunk.at else 0
    end = len(chunk.wav) if chunk.last else len(chunk.wav) - margin
    return replace(
        chunk,
        wav=chunk.wav[first:end],
        at=chunk.at + first,
        start=chunk.start - first,
        features=features[round(first / frame) : math.ceil(end / frame) + 1],
    )


def _without_context(chunk: Chunk, cfg: Config) -> Features:
    """Features of the chunk itself."""
    frames_per_sample = 1000 / cfg.frame_period_ms / cfg.sr
    ends = (chunk.start, chunk.start + chunk.n)
    first, last = (round(n * frames_per_sample) for n in ends)
    return chunk.features[first : last + chunk.last]


def _in_phase(
    chunk: Chunk, cfg: Config, source: SpeakerStats, before: Future, after: Future
) -> Chunk:
    """The analyzed chunk, with the grains or the phase that continue the chunk before.

    `before` gives the state at the end of the chunk before: the last mark of its grains [samples
    from that end], or the phase [periods]. `after` is set to the state at this chunk's own end. A
    state is None where a chunk ends unvoiced.
    """
    if chunk.features is None:
        chunk = _analyzed(chunk, cfg)
    to_f0 = transform_f0(chunk.features, cfg, source)
    state, end = before.result(), chunk.start + chunk.n
    known = tuple(chunk.start + x for x in state) if isinstance(state, tuple) else None
    grains = choose_grains(chunk.wav, chunk.features, to_f0, cfg, source, known)
    if grains is not None:
        after.set_result(last_mark(grains, end))
        return replace(chunk, grains=grains)
    phase = None if state is None else (chunk.start, state)
    if not chunk.last:
        after.set_result(phase_at(end, to_f0, cfg.sr, cfg.frame_period_ms, phase))
    return replace(chunk, phase=phase)


def _linked(split: Iterable[Chunk]) -> Iterator[tuple[Chunk, Future, Future]]:
    """Each chunk with the future of the chunk before it and its own."""
    after = Future()
    after.set_result(None)
    for chunk in split:
        before, after = after, Future()
        yield chunk, before, after


def _emptied(buffer: deque, more: Iterable) -> Iterator:
    """The items of `buffer`, each released when it is taken, then those of `more`."""
    while buffer:
        yield buffer.popleft()
    yield from more
