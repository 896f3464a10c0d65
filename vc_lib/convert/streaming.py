"""Live conversion: blocks of speech in, converted blocks out, at a fixed latency of 0.1 to 0.3 s.

For each block, a `Stream` runs three stages, each on new samples and a little past context: WORLD
features moved to the voice, synthesis, and the generator. Each stage waits for its lookahead. At
0.3 s, `BUDGET`, it passes on only samples that later input can hardly change. At 0.1 s,
`LOW_BUDGET`, it guesses what the end of the input becomes.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from threading import Thread

import numpy as np

from ..anonymize import Features, analyze, speaker_stats, transform
from ..anonymize.f0_tracker import PitchFollower
from ..anonymize.hybrid import hybrid
from ..anonymize.pipeline import grains_fit
from ..anonymize.psola import find_grains, last_mark
from ..anonymize.synthesis import phase_at
from ..audio import check_level, check_wav
from ..audio.level import block_power, pause_gain, speech_level_db
from ..errors import ParameterError
from ..parallel import one_thread
from ..speaker import SpeakerStats
from .long import grid

BUDGET = {  # latency of each stage [s]
    "block": 0.1,  # samples that are converted at once
    "pitch and envelope": 0.11,  # lookahead: windows of the lowest voice, end of the F0 contour
    "smoothing": 0.02,  # lookahead of `transform`, which smooths its changes over time
    "synthesis": 0.01,  # lookahead: the noise of a frame begins before the frame
    "network": 0.06,  # lookahead of the generator
}
LOW_BUDGET = {  # the same at the lowest latency [s]
    "block": 0.04,
    "pitch and envelope": 0.035,  # half a window of the tracker's lowest filter
    "smoothing": 0.005,
    "synthesis": 0.005,
    "network": 0.015,
}
LATENCY_S = 0.1, 0.3  # range of the latency: the sums of the two [s]
CONTEXT_S = {  # past context of each stage at the highest latency; less in proportion [s]
    "pitch": 0.25,  # for the beginning of the F0 contour
    "smoothing": 0.05,  # of `transform`, which smooths over time; of the future too
    "ringing": 0.08,  # of the synthesis, whose pulses ring on
    "network": 0.12,
    "pauses": 1.0,  # in which pauses are detected
}
ESTIMATE_S = (
    0.5,
    1,
    2,
    4,
    8,
    16,
    32,
)  # voiced speech after which the speaker is measured again [s]
WAIT_S = 60.0  # longest input that is kept while nobody speaks [s]


class Stream:
    """A live conversion.

    Parameters
    ----------
    voice : convert.Voice
    source : SpeakerStats, optional
        Statistics of the speaker, from `voice.source_stats`. By default they are measured on the
        input, and again as more of it comes in. The first half second of speech then keeps its own
        register.
    level_db : float, optional [dB]
        Level of the speech, from `audio.level.speech_level_db`, to detect pauses. By default it is
        measured on the input.
    background : bool
        Measure the speaker in a thread of its own. That takes 20 ms for each second of voiced
        speech, too long between two blocks. The output then depends on when the thread is done.
    latency : float [s, 0.1..0.3]
        Longest delay of the output. The shorter it is, the more the output differs from a
        conversion of the whole, and the longer it takes (benchmarks/RESULTS.md).

    Attributes
    ----------
    latency : int [samples]
        Delay of the output. At frame periods of 1, 2, 2.5, 4, 5 and 10 ms it is what was asked for,
        or less. At others, such as 3 ms, blocks can be longer, and the delay up to .1 s longer.

    Raises
    ------
    ParameterError
        If `latency` is not in 0.1..0.3.
    """

    def __init__(
        self,
        voice,
        source: SpeakerStats | None = None,
        level_db: float | None = None,
        background: bool = False,
        latency: float = LATENCY_S[1],
    ):
        budget = _budget(latency)
        self.context = {name: s * latency / LATENCY_S[1] for name, s in CONTEXT_S.items()}
        self.voice, self.cfg, self.sr = voice, voice.config, voice.sr
        self.grid, self.unit = grid(voice.config), self.cfg.hop_length * voice.generator.step_t
        self.n_block = max(1, int(budget["block"] * self.sr / self.grid + 1e-6)) * self.grid
        self.frame = self.cfg.frame_period_ms / 1000 * self.sr  # [samples]
        ahead = {name: round(s * self.sr) for name, s in budget.items() if name != "block"}
        self.ahead_features = ahead["pitch and envelope"] + ahead["smoothing"]
        self.ahead_vocoded = self.ahead_features + ahead["synthesis"]
        self.ahead_network = self.ahead_vocoded + ahead["network"]
        self.latency = self.n_block + self.ahead_network
        self.source, self.source_given = source or self.cfg.target, source is not None
        self.level_db, self.level_given = level_db, level_db is not None
        self.wav = _Tail(self.sr * self.context["pauses"] + self.latency + self.grid)
        self.vocoded = _Tail(self.sr * self.context["network"] + self.latency + self.unit)
        self.follower = None  # without one, `analyze` finds F0 anew in each block
        if self.cfg.f0_method == "harvest_fast":
            limits = self.cfg.f0_floor, self.cfg.f0_ceil, self.cfg.frame_period_ms
            self.follower = PitchFollower(self.sr, *limits)
        self.waiting = np.zeros(0, np.float32)  # input that does not fill a block yet
        self.ready = np.zeros(self.n_block, np.float32)  # output that was not returned yet
        self.features = None  # the last settled frames, analyzed
        self.past = None  # the last settled frames, analyzed and moved to the voice
        self.n_frames = 0  # number of settled frames since the start
        # state of the excitation where `vocoded` ends: phase [periods] or mark, None if unvoiced
        self.phase = None
        self.use_grains = False  # whether voiced sound is made of grains
        self.own, self.powers, self.n_estimates = [], [], 0  # what the speaker is measured on
        self.background = background
        self.estimate: Future | None = None  # of the speaker, in the background

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Convert a block of samples at the voice's rate; the output lags `latency` samples behind.

        Parameters
        ----------
        block : np.ndarray [shape=(n_samples,), -1..1]
            Of any length.

        Returns
        -------
        converted : np.ndarray [shape=(n_samples,), float32, -1..1]
            The first `latency` samples of a stream are zero.

        Raises
        ------
        ParameterError
            If `block` is not a finite 1-D array of floats, or its scale is not -1..1.
        """
        block = check_level(check_wav(block, "block"), "block").astype(np.float32)
        self.waiting = np.concatenate([self.waiting, block])
        while len(self.waiting) >= self.n_block:
            new, self.waiting = self.waiting[: self.n_block], self.waiting[self.n_block :]
            with one_thread():
                self.ready = np.concatenate([self.ready, self._convert(new)])
        out, self.ready = self.ready[: len(block)], self.ready[len(block) :]
        return out

    def rest(self) -> np.ndarray:
        """End the stream: the output of the last input samples [shape=(latency,), float32]."""
        return self(np.zeros(self.latency, np.float32))

    def _convert(self, new: np.ndarray) -> np.ndarray:
        """Convert `n_block` new samples: the `n_block` output samples that are settled now."""
        if self.estimate and self.estimate.done():
            self.source, self.estimate = self.estimate.result(), None
        self.wav.add(new)
        self.vocoded.add(self._synthesize(*self._transform()))
        return self._generate()

    def _transform(self) -> tuple[Features, Features, int]:
        """Analyze new frames and move them to the voice.

        Returns
        -------
        features, transformed : Features
            The frames after those of the last block, before and after; a few more than are settled.
        n_settled : int
            How many of them are settled.
        """
        cfg, start = self.cfg, self._grid_start("pitch")
        first = round(start / self.frame)
        settled = max(0, int((self.wav.end - self.ahead_features) / self.frame))
        n_past = 0 if self.features is None else len(self.features.f0)
        n_context = round(self.context["smoothing"] * self.sr / self.frame)
        new = slice(self.n_frames - first, settled + n_context - first)
        wav = self.wav.since(start)
        f0 = self.follower(wav, first) if self.follower else None
        analyzed = analyze(wav, self.sr, cfg, new, f0)
        n_settled = settled - self.n_frames
        self._estimate_speaker(analyzed[:n_settled])
        features = _joined(self.features, analyzed)
        end = n_past + n_settled
        self.features = features[max(0, end - n_context) : end]
        self.n_frames = settled
        return analyzed, transform(features, cfg, self.source)[n_past:], n_settled

    def _synthesize(self, features: Features, transformed: Features, n_settled: int) -> np.ndarray:
        """Synthesize the new samples that are settled, and continue the voice of those before."""
        past = self.past or (None, None)
        n_past = 0 if past[0] is None else len(past[0].f0)
        features, transformed = (
            _joined(*parts) for parts in zip(past, (features, transformed), strict=True)
        )
        start = round((self.n_frames - n_settled - n_past) * self.frame)
        at, end = self.vocoded.end, max(self.vocoded.end, self.wav.end - self.ahead_vocoded)
        wav = self.wav.since(start)[: int(len(features.f0) * self.frame)]
        if self.phase is None:  # a change within a voiced run would be heard
            self.use_grains = grains_fit(self.cfg, self.source)
        grains = phase = None
        if self.use_grains:
            known = self.phase and tuple(at - start + x for x in self.phase)
            f0s = features.f0, transformed.f0
            grains = find_grains(wav, *f0s, self.sr, self.frame, known)
            self.phase = last_mark(grains, end - start)
        else:
            phase = None if self.phase is None else (at - start, self.phase)
            period_ms = self.cfg.frame_period_ms
            self.phase = phase_at(end - start, transformed.f0, self.sr, period_ms, phase)
        n_done = n_past + n_settled
        kept = slice(max(0, n_done - round(self.context["ringing"] * self.sr / self.frame)), n_done)
        self.past = features[kept], transformed[kept]
        recorded = self.cfg.dials["unvoiced"] == "recorded"
        refine = False  # it would need more lookahead
        out = hybrid(wav, features, transformed, grains, recorded, refine, start, phase)
        return out[at - start : end - start]

    def _generate(self) -> np.ndarray:
        """Apply the generator to the last settled samples, and attenuate pauses."""
        out = np.zeros(self.n_block, np.float32)
        end = self.wav.end - self.ahead_network
        if end <= 0:
            return out
        first = end - self.n_block  # below 0 in the first block
        begin = max(first, 0)
        start = max(0, int(first - self.context["network"] * self.sr) // self.unit * self.unit)
        converted = self.voice.generate(self.vocoded.since(start))[begin - start : end - start]
        if self.level_db is not None:
            start = self._grid_start("pauses")
            wav, depth_db = self.wav.since(start), self.cfg.pause_depth_db
            gain = pause_gain(wav, self.sr, self.level_db, depth_db)[begin - start :]
            converted = converted * gain[: len(converted)]
        out[begin - first :] = converted
        return out

    def _grid_start(self, stage: str) -> int:
        """The sample on the grid of frames where the context of a stage begins."""
        seconds = self.context[stage] + self.latency / self.sr
        return max(0, int(self.wav.end - seconds * self.sr) // self.grid * self.grid)

    def _estimate_speaker(self, new: Features) -> None:
        """Measure the speaker and the level on the input so far, where they were not given."""
        if (self.source_given and self.level_given) or self.n_estimates >= len(ESTIMATE_S):
            return
        self.own.append(new.compact())
        self.powers.append(block_power(self.wav.since(self.wav.end - self.n_block), self.sr))
        n_kept = round(WAIT_S * self.sr / self.n_block)
        del self.own[:-n_kept], self.powers[:-n_kept]
        voiced_s = sum(part.voiced.sum() for part in self.own) * self.cfg.frame_period_ms / 1000
        if voiced_s < ESTIMATE_S[self.n_estimates]:
            return
        self.n_estimates = int(np.searchsorted(ESTIMATE_S, voiced_s, "right"))
        if not self.source_given:
            self.own = [_joined(*self.own)]
            how = partial(speaker_stats, list(self.own), prior=self.cfg.target)
            if self.background:
                self.estimate = _in_background(how)
            else:
                self.source = how()
        if not self.level_given:
            self.level_db = speech_level_db(np.concatenate(self.powers))
        if self.n_estimates == len(ESTIMATE_S):
            self.own, self.powers = [], []


def _budget(latency: float) -> dict[str, float]:
    """Latency of each stage [s], between `LOW_BUDGET` and `BUDGET`."""
    low, high = LATENCY_S
    if not isinstance(latency, int | float) or not low <= latency <= high:
        raise ParameterError(
            f"latency={latency!r} must be in {low:g}..{high:g} s; "
            f"{high:g} sounds best, {low:g} hinders a talk least"
        )
    share = (latency - low) / (high - low)
    return {name: LOW_BUDGET[name] + share * (s - LOW_BUDGET[name]) for name, s in BUDGET.items()}


def _in_background(function: Callable) -> Future:
    """Run a function in a thread that ends with it."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as e:
            future.set_exception(e)

    Thread(target=run, daemon=True).start()
    return future


class _Tail:
    """The last `n_max` samples of a growing signal, addressed by their index since its start."""

    def __init__(self, n_max: float):
        self.n_max, self.end, self.buffer = int(n_max), 0, np.zeros(0, np.float32)

    def add(self, wav: np.ndarray) -> None:
        """Append samples and drop the oldest."""
        self.end += len(wav)
        self.buffer = np.concatenate([self.buffer, wav])[-self.n_max :]

    def since(self, start: int) -> np.ndarray:
        """A copy of the samples from index `start` on."""
        return self.buffer[start - self.end + len(self.buffer) :].copy()


def _joined(*parts: Features | None) -> Features:
    """Features one after the other; None holds no frames."""
    parts = [part for part in parts if part is not None]
    if len(parts) == 1:
        return parts[0]
    names = ("f0", "sp", "ap")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)
