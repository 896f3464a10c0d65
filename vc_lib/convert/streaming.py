"""Speech to another voice while it is spoken: blocks in, blocks out, a fixed time later.

What conversion does to a recording is done to the last second of what came in, over and over, and of each stage that
part is kept which what comes later can hardly change any more. Where the time goes is `BUDGET`.
"""

from dataclasses import replace

import numpy as np

from ..anonymize import Features, analyze, resynthesize, speaker_stats, transform
from ..anonymize.f0_tracker import PitchFollower
from ..anonymize.synthesis import phases
from ..audio import check_level, check_wav
from ..audio.level import block_power, pause_gain, speech_level_db
from ..parallel import one_thread
from ..speaker import SpeakerStats
from .long import grid

BUDGET = {  # [s]; what is heard of the future, and so the latency
    "block": 0.1,  # so much is converted at once
    "pitch and envelope": 0.11,  # windows of the lowest voice, and a contour's end
    "smoothing": 0.02,  # of what is moved, sound by sound
    "synthesis": 0.01,  # noise of a frame rings before it, too
    "network": 0.06,
}
HEARD_S = 0.25  # of the past, for a contour's beginning [s]
NETWORK_S = 0.12  # of the past, for the network [s]
PAUSE_S = 1.0  # of the past, to know a pause by [s]
SMOOTH_S = 0.05  # before and behind, for what is smoothed over time [s]
RINGING_S = 0.08  # of the past, for pulses that still ring [s]
LISTEN_S = (
    0.5,
    1,
    2,
    4,
    8,
    16,
    32,
)  # voiced speech after which an unknown speaker is measured anew [s]


class Stream:
    """A conversion under way.

    Parameters
    ----------
    voice : convert.Voice
    source : SpeakerStats, optional
        Who speaks, from `voice.source_stats` of a recording of some seconds. Not given: measured on what is heard, ever
        more surely; the first half second is not moved to the voice's register.
    level_db : float, optional [dB]
        Of their speech, see `pauses.speech_level_db`, to know pauses by; measured on what is heard if not given.

    Attributes
    ----------
    latency : int [samples]
        How much later what goes in comes out.
    """

    def __init__(self, voice, source: SpeakerStats | None = None, level_db: float | None = None):
        self.voice, self.cfg, self.sr = voice, voice.config, voice.sr
        self.grid, self.unit = grid(voice.config), self.cfg.hop_length * voice.generator.step_t
        self.n_block = max(1, round(BUDGET["block"] * self.sr / self.grid)) * self.grid
        self.frame = self.cfg.frame_period_ms / 1000 * self.sr  # [samples]
        ahead = {name: round(s * self.sr) for name, s in BUDGET.items() if name != "block"}
        self.ahead_features = ahead["pitch and envelope"] + ahead["smoothing"]
        self.ahead_sound = self.ahead_features + ahead["synthesis"]
        self.ahead_network = self.ahead_sound + ahead["network"]
        self.latency = self.n_block + self.ahead_network
        self.source, self.known = source or self.cfg.target, source is not None
        self.level_db, self.level_known = level_db, level_db is not None
        self.wav = _Tail(self.sr * PAUSE_S + self.latency + self.grid)
        self.sound = _Tail(self.sr * NETWORK_S + self.latency + self.unit)
        self.follower = None  # for the other methods all pitch is found anew
        if self.cfg.f0_method == "harvest_fast":
            limits = self.cfg.f0_floor, self.cfg.f0_ceil, self.cfg.frame_period_ms
            self.follower = PitchFollower(self.sr, *limits)
        self.waiting = np.zeros(0, np.float32)  # came in, and is not yet worked on
        self.ready = np.zeros(self.n_block, np.float32)  # goes out next
        self.features = None  # of the last frames, found
        self.changed = None  # ... and moved to the voice
        self.n_frames = 0  # that are settled
        self.phase = None  # of the voice where the settled sound ends [periods]
        self.heard, self.powers, self.n_heard = [], [], 0

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Take a block, at the voice's rate, and give one as long: what came in `latency` samples before.

        Parameters
        ----------
        block : np.ndarray [shape=(n_samples,), -1..1]
            Of any length.

        Returns
        -------
        converted : np.ndarray [shape=(n_samples,), float32, -1..1]
            The very first `latency` samples are silence.

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
                self.ready = np.concatenate([self.ready, self._step(new)])
        out, self.ready = self.ready[: len(block)], self.ready[len(block) :]
        return out

    def rest(self) -> np.ndarray:
        """What is still to come out of what went in [shape=(latency,), float32]; the stream is over then."""
        return self(np.zeros(self.latency, np.float32))

    def _step(self, new: np.ndarray) -> np.ndarray:
        """Convert `n_block` more samples: as many that are settled now, of `ahead_network` before."""
        self.wav.add(new)
        moved = self._move()
        self.sound.add(self._speak(moved))
        return self._finish()

    def _move(self) -> Features:
        """Analyse what is new, and move it to the voice; the frames that are settled now come last but for some."""
        cfg, start = self.cfg, self._start(HEARD_S + self.latency / self.sr)
        first = round(start / self.frame)
        settled = max(0, int((self.wav.end - self.ahead_features) / self.frame))
        n_kept = 0 if self.features is None else len(self.features.f0)
        n_near = round(SMOOTH_S * self.sr / self.frame)
        new = slice(self.n_frames - first, settled + n_near - first)
        wav = self.wav.since(start)
        f0 = self.follower(wav, first) if self.follower else None
        found = analyze(wav, self.sr, cfg, new, f0)
        together = found if self.features is None else _joined(self.features, found)
        self._estimate_speaker(found[: settled - self.n_frames])
        moved = transform(together, cfg, self.source)[n_kept:]
        end = n_kept + settled - self.n_frames
        self.features = together[max(0, end - n_near) : end]
        self.n_new = settled - self.n_frames
        self.n_frames = settled
        return moved

    def _speak(self, moved: Features) -> np.ndarray:
        """The sound that is settled now."""
        kept = self.changed
        together = moved if kept is None else _joined(kept, moved)
        n_kept = 0 if kept is None else len(kept.f0)
        first = self.n_frames - self.n_new - n_kept  # number of the first frame of these
        start = round(first * self.frame)
        at, end = self.sound.end, max(self.sound.end, self.wav.end - self.ahead_sound)
        phase = None if self.phase is None else (at - start, self.phase)
        counted, _ = phases(together.f0, self.sr, self.cfg.frame_period_ms, phase)
        reached = counted[end - start] if end - start < len(counted) else np.nan
        self.phase = float(reached % 1) if np.isfinite(reached) else None
        sound = resynthesize(together, end - start, start, phase)[at - start :]
        done = n_kept + self.n_new
        self.changed = together[max(0, done - round(RINGING_S * self.sr / self.frame)) : done]
        return sound

    def _finish(self) -> np.ndarray:
        """Send the last of the sound through the network, and make pauses quieter."""
        end = self.wav.end - self.ahead_network
        begin = end - self.n_block
        start = max(0, int(begin - NETWORK_S * self.sr) // self.unit * self.unit)
        out = np.zeros(self.n_block, np.float32)
        if end <= 0:
            return out
        begun, since = max(begin, 0), self._start(PAUSE_S + self.latency / self.sr)
        made = self.voice.generate(self.sound.since(start))[begun - start : end - start]
        if self.level_db is not None:
            wav, depth_db = self.wav.since(since), self.cfg.pause_depth_db
            gain = pause_gain(wav, self.sr, self.level_db, depth_db)[begun - since :]
            made = made * gain[: len(made)]
        out[begun - begin :] = made
        return out

    def _start(self, seconds: float) -> int:
        """Where on the grid of frames the last so many seconds begin."""
        return max(0, int(self.wav.end - seconds * self.sr) // self.grid * self.grid)

    def _estimate_speaker(self, found: Features) -> None:
        """Get to know who speaks, and how loud, unless that was said."""
        if (self.known and self.level_known) or self.n_heard >= len(LISTEN_S):
            return
        self.heard.append(found.compact())
        self.powers.append(block_power(self.wav.since(self.wav.end - self.n_block), self.sr))
        voiced_s = sum(part.voiced.sum() for part in self.heard) * self.cfg.frame_period_ms / 1000
        if voiced_s < LISTEN_S[self.n_heard]:
            return
        self.n_heard = int(np.searchsorted(LISTEN_S, voiced_s, "right"))
        if not self.known:
            self.heard = [_joined(*self.heard)]
            self.source = speaker_stats(self.heard, prior=self.cfg.target)
        if not self.level_known:
            self.level_db = speech_level_db(np.concatenate(self.powers))
        if self.n_heard == len(LISTEN_S):
            self.heard, self.powers = [], []


class _Tail:
    """The last samples of what is added to it, known by their place from the beginning."""

    def __init__(self, n_kept: float):
        self.n_kept, self.end, self.kept = int(n_kept), 0, np.zeros(0, np.float32)

    def add(self, wav: np.ndarray) -> None:
        self.end += len(wav)
        self.kept = np.concatenate([self.kept, wav])[-self.n_kept :]

    def since(self, start: int) -> np.ndarray:
        return self.kept[start - self.end + len(self.kept) :].copy()


def _joined(*parts: Features) -> Features:
    """The frames of one after those of the other."""
    together = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("f0", "sp", "ap")
    }
    return replace(parts[0], **together)
