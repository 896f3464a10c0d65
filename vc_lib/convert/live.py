"""Live conversion from one end to another: microphone or file in, loudspeaker or file out.

An end calls `Live.hear` or `Live.speak` from a thread of its own, which only copies samples. A
worker converts. What waits between them is limited: a conversion that is too slow, or stalls, costs
sound (a dropout), never more delay.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Event, Thread
from typing import Protocol

import numpy as np
import soxr

from ..audio import WavWriter, blocks
from ..errors import MissingInput
from .streaming import LATENCY_S, Stream

BLOCK_MS = 5, 200  # range of the blocks that ends pass at once [ms]
WAITING_S = 0.25  # most input that waits to be converted [s]
SPARE_S = 0.15  # most output that waits beyond the cushion [s]
LOST_S = 3.0  # time without a call after which an end counts as lost [s]
SHOW_S = 0.25  # between two looks at the state [s]
LEVEL_S = 0.3  # on which levels are measured [s]


class End(Protocol):
    """A microphone, a loudspeaker, or a file in place of one."""

    name: str
    sr: int  # [Hz]
    latency: float  # its own, that of the hardware [s]
    error: BaseException | None  # why it stopped

    def start(self, live: "Live") -> None:
        """Call `live.hear` or `live.speak` from now on."""

    def stop(self) -> None:
        """Call them no more; once stopped, it may be stopped again."""

    @property
    def active(self) -> bool:
        """Whether it still calls."""


class Live:
    """What waits between two ends, and the conversion from one to the other.

    Parameters
    ----------
    stream : Stream
        Or any function of a block at `stream.sr` with `sr`, `latency`, `n_block` and `rest`.
    in_sr, out_sr : int [Hz]
        Rates of the two ends; other rates than the voice's are resampled, which takes 0.04 s each.
    block_s : float [s]
        Samples that the ends pass at once.

    Attributes
    ----------
    n_dropouts : int
        How often sound was lost: input that nobody converted in time, or output that came late.
    load : float
        Time of conversion for a second of sound, of late [s]. It cannot keep up above 1.
    in_db, out_db : float [dBFS]
        RMS levels of the last third of a second.
    finished : bool
        Whether the input has ended and all of it was played.
    """

    def __init__(self, stream: Stream, in_sr: int, out_sr: int, block_s: float = 0.02):
        self.stream, self.in_sr, self.out_sr = stream, in_sr, out_sr
        self.n_waiting = max(WAITING_S, 3 * block_s) * in_sr
        # output that waits before it is played: a block of the stream may take as long to convert
        self.cushion = round(max(stream.n_block / stream.sr, 2 * block_s) * out_sr)
        self.n_max = self.cushion + round(max(SPARE_S, 2 * block_s) * out_sr)
        self.changed = Condition()
        self.waiting: deque[np.ndarray] = deque()  # input
        self.ready = np.zeros(0, np.float32)  # output
        self.ended = self.flushed = self.stopped = self.playing = False
        self.n_dropouts, self.load, self.error = 0, 0.0, None
        self._last_delay_s = None  # when the input ended
        self.in_db = self.out_db = -120.0
        # seconds that were heard and not dropped, and that were played or dropped
        self.heard_s = self.spoken_s = 0.0
        self.heard_at = self.spoken_at = time.monotonic()
        self._down = _resampler(in_sr, stream.sr)
        self._up = _resampler(stream.sr, out_sr)

    @property
    def delay_s(self) -> float:
        """Time from a sound that is heard now until its conversion is played [s], without the ends."""
        if self._last_delay_s is not None:
            return self._last_delay_s
        return self.heard_s - self.spoken_s + self.stream.latency / self.stream.sr

    def __str__(self) -> str:
        """The state on one line."""
        load = f"load {100 * self.load:.0f} %" if self.load < 1 else "cannot keep up"
        return (
            f"delay {self.delay_s:.2f} s | in {self.in_db:.0f} dB | out {self.out_db:.0f} dB | "
            f"{load} | dropouts {self.n_dropouts}"
        )

    @property
    def finished(self) -> bool:
        return self.flushed and not len(self.ready)

    def hear(self, wav: np.ndarray) -> None:
        """Take input [shape=(n_samples,), at in_sr]; where too much waits, the oldest is dropped."""
        with self.changed:
            self.heard_at = time.monotonic()
            self.waiting.append(np.array(wav, np.float32))
            self.heard_s += len(wav) / self.in_sr
            while len(self.waiting) > 1 and sum(map(len, self.waiting)) > self.n_waiting:
                self.heard_s -= len(self.waiting.popleft()) / self.in_sr
                self.n_dropouts += 1
            self.changed.notify_all()

    def end(self) -> None:
        """Say that no more input comes."""
        with self.changed:
            self._last_delay_s, self.ended = self.delay_s, True
            self.changed.notify_all()

    def speak(self, n_samples: int) -> np.ndarray:
        """Give output [shape=(n_samples,), at out_sr]; silence where it is not ready."""
        with self.changed:
            self.spoken_at = time.monotonic()
            self.playing |= self.flushed or len(self.ready) >= max(self.cushion, n_samples)
            if not self.playing:
                return np.zeros(n_samples, np.float32)
            out, self.ready = self.ready[:n_samples], self.ready[n_samples:]
            self.spoken_s += len(out) / self.out_sr
            if len(out) < n_samples and not self.flushed:
                self.n_dropouts += 1
                self.playing = False  # until there is a cushion again
        return np.pad(out, (0, n_samples - len(out)))

    def work(self) -> None:
        """Convert until the input has ended or `stop` is called; for a thread."""
        try:
            while not (self.stopped or self.flushed):
                with self.changed:
                    self.changed.wait_for(lambda: self.waiting or self.ended or self.stopped)
                if not self.stopped:
                    self.step()
        except BaseException as e:
            self.error = e

    def step(self) -> None:
        """Convert the block that has waited longest; after the last, what the stream still holds."""
        with self.changed:
            wav = self.waiting.popleft() if self.waiting else None
        started = time.monotonic()
        if wav is None:
            if self.flushed or not self.ended:
                return
            tail = self._down(np.zeros(0, np.float32), True)
            out = np.concatenate([self.stream(tail) if len(tail) else tail, self.stream.rest()])
            self._emit(self._up(out, True))
            self.flushed = True
            return
        narrow = self._down(np.clip(wav, -1, 1), False)
        out = self.stream(np.clip(narrow, -1, 1)) if len(narrow) else narrow
        self._emit(self._up(out, False))
        seconds = len(wav) / self.in_sr
        share = min(1.0, seconds)  # the load is a mean over about a second
        self.load += share * ((time.monotonic() - started) / seconds - self.load)
        self.in_db = _followed(self.in_db, wav, seconds)
        self.out_db = _followed(self.out_db, out, seconds)

    def _emit(self, wav: np.ndarray) -> None:
        """Add to the output that waits; where it is too much, the oldest is dropped."""
        with self.changed:
            self.ready = np.concatenate([self.ready, np.clip(wav, -1, 1)])
            n_over = 0 if self.ended else len(self.ready) - self.n_max
            if n_over > 0:
                self.ready = self.ready[n_over:]
                self.spoken_s += n_over / self.out_sr
                self.n_dropouts += 1

    def stop(self) -> None:
        """End `work` as soon as its block is done."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()


def run(live: Live, source: End, sink: End, show: Callable[[Live], object] | None = None) -> None:
    """Convert from `source` to `sink` until the source ends or Ctrl+C is pressed.

    Parameters
    ----------
    live : Live
    source, sink : End
    show : callable, optional
        Called four times a second.

    Raises
    ------
    MissingInput
        If an end stops, or does not call for three seconds: it was unplugged.
    KeyboardInterrupt
        After Ctrl+C, when all has been stopped.
    """
    worker = Thread(target=live.work, name="live conversion", daemon=True)
    try:
        worker.start()
        live.heard_at = live.spoken_at = time.monotonic()
        sink.start(live)
        source.start(live)
        while not live.finished:
            time.sleep(SHOW_S)
            if live.error:
                raise live.error
            _check_alive(source, live.heard_at, lambda: live.ended)
            _check_alive(sink, live.spoken_at, lambda: live.finished)
            if show:
                show(live)
    finally:
        source.stop()
        sink.stop()
        live.stop()
        worker.join()


def _check_alive(end: End, called_at: float, is_done: Callable[[], bool]) -> None:
    """Raise the error of an end, or MissingInput if it has stopped before it was done."""
    if end.error:
        raise end.error
    lost = not end.active or time.monotonic() - called_at > LOST_S
    if lost and not is_done():  # asked afterwards: an end that is done stops
        raise MissingInput(f"{end.name} has stopped; plug it in again, then start anew")


def _resampler(from_sr: int, to_sr: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """A function of the next samples, and whether they are the last."""
    if from_sr == to_sr:
        return lambda wav, last: wav
    stream = soxr.ResampleStream(from_sr, to_sr, 1, dtype="float32", quality="HQ")
    return lambda wav, last: stream.resample_chunk(np.ascontiguousarray(wav, np.float32), last)


def _followed(level_db: float, wav: np.ndarray, seconds: float) -> float:
    """The level [dBFS] after new samples, as a slow pointer shows it."""
    if not len(wav):
        return level_db
    share = min(1.0, seconds / LEVEL_S)
    power = (1 - share) * 10 ** (level_db / 10) + share * float(np.mean(wav.astype(float) ** 2))
    return float(10 * np.log10(max(power, 1e-12)))


class _Paced:
    """A thread that calls `once` each `block_s`, on average, until it is stopped or `once` is done."""

    latency = 0.0

    def __init__(self, name: str, sr: int, block_s: float):
        self.name, self.sr, self.block_s = name, sr, block_s
        self.error: BaseException | None = None
        self._stopped, self._thread = Event(), Thread()

    def start(self, live: Live) -> None:
        self._thread = Thread(target=self._run, args=(live,), name=self.name, daemon=True)
        self._thread.start()

    def once(self, live: Live) -> bool:
        """Pass one block on; False after the last."""
        raise NotImplementedError

    def _run(self, live: Live) -> None:
        try:
            due = time.monotonic()
            while not self._stopped.is_set() and self.once(live):
                due += self.block_s
                self._stopped.wait(max(0.0, due - time.monotonic()))
        except BaseException as e:
            self.error = e

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def active(self) -> bool:
        return self._thread.is_alive()


class FileInput(_Paced):
    """Blocks of a recording in place of a microphone, as fast as they were spoken."""

    def __init__(self, path, sr: int, block_s: float):
        super().__init__(str(path), sr, block_s)
        self.wavs = blocks(path, sr, round(block_s * sr))

    def once(self, live: Live) -> bool:
        """Pass one block on; False after the last."""
        wav = next(self.wavs, None)
        if wav is None:
            live.end()
            return False
        live.hear(wav)
        return True


class FileOutput(_Paced):
    """A recorder in place of a loudspeaker: it writes what would have been heard, dropouts too."""

    def __init__(self, out: WavWriter, block_s: float):
        super().__init__(str(out.path), out.sr, block_s)
        self.out = out

    def once(self, live: Live) -> bool:
        """Write one block."""
        self.out.write(live.speak(round(self.block_s * self.sr)))
        return not live.finished


def warm_up(voice, latency: float = LATENCY_S[1]) -> None:
    """Convert half a second of noise, so that the first words do not wait for caches."""
    noise = np.random.default_rng(0).normal(0, 0.01, voice.sr // 2).astype(np.float32)
    with suppress(FloatingPointError):
        Stream(voice, latency=latency)(noise)
