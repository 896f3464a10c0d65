"""A higher output rate: converted speech below half the voice's rate, the recording's own sound above.

The band above is what resampling to the voice's rate takes from the recording. It is the source's
own and keeps traces of the speaker; a gain alone moves it: the one that the conversion gave to the
top of the narrow band. Both parts pass the same resamplers, so that a voice that changes nothing
returns the recording.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr

from ..audio.wav import _fit

TOP_BAND = (0.34, 0.47)  # share of the voice's rate: 5.4 to 7.5 kHz at 16 kHz
N_TAPS = 65  # of the filter for that band; odd, so that its delay is whole
STEP_S = 0.005  # step of the gain [s]
SMOOTH_STEPS = 9  # length of the window that smooths it; at half height it lasts 25 ms
MAX_GAIN_DB = 12.0  # largest distance of the gain from that of the whole narrow band [dB]
FLOOR_POWER = 1e-10  # power under which neither counts: -100 dB


def full_band(
    convert: Callable[[Iterator[np.ndarray]], Iterable[np.ndarray]],
    narrow: Iterable[np.ndarray],
    wide: Iterable[np.ndarray],
    from_sr: int,
    sr: int,
) -> Iterator[np.ndarray]:
    """Convert a recording, with its own band above half of `from_sr`, at constant memory.

    Parameters
    ----------
    convert : callable
        Takes the blocks of `narrow` and yields as many samples at `from_sr`, in pieces of any
        length.
    narrow : iterable of np.ndarray [shape=(n_samples,), float32]
        Blocks of the recording at `from_sr`.
    wide : iterable of np.ndarray [shape=(n_samples,), float32]
        Blocks of the same recording at `sr`.
    from_sr, sr : int [Hz]
        Rates of the voice and of the output, the lower one first.

    Yields
    ------
    np.ndarray [shape=(n_samples,), float32]
        Altogether as many samples as `wide`. The lengths of blocks and pieces make no difference.
    """
    source, recording = _Buffer(), _Buffer(wide)
    low, own = _Upsampler(from_sr, sr), _Upsampler(from_sr, sr)
    gain = _Gain(from_sr, sr)
    for wav in convert(_kept(narrow, source)):
        original = source.take(len(wav))
        low.add(wav)
        own.add(original)
        gain.add(wav, original)
        n = min(len(low.ready), gain.n_known())
        yield _mixed(low.ready.take(n), own.ready.take(n), recording.take(n), gain.take(n))
    low.end()
    own.end()
    gain.end()
    above = recording.rest()
    n = len(above)
    yield _mixed(_fit(low.ready.rest(), n), _fit(own.ready.rest(), n), above, gain.take(n))


def _mixed(low, own, recording, gain) -> np.ndarray:
    """Converted speech, and what of the recording its narrow band lacks."""
    return (low + gain * (recording - own)).astype(np.float32)


def _kept(wavs: Iterable[np.ndarray], buffer: "_Buffer") -> Iterator[np.ndarray]:
    """The blocks, each added to `buffer` when it is taken."""
    for wav in wavs:
        buffer.add(wav)
        yield wav


class _Buffer:
    """Samples that come and go in pieces of any length; `more` is taken when they run out."""

    def __init__(self, more: Iterable[np.ndarray] = ()):
        self.more, self.wav = iter(more), np.zeros(0, np.float32)

    def __len__(self) -> int:
        return len(self.wav)

    def add(self, wav: np.ndarray) -> None:
        self.wav = np.concatenate([self.wav, wav])

    def take(self, n: int) -> np.ndarray:
        """The next `n` samples; fewer at the end."""
        while len(self.wav) < n and (wav := next(self.more, None)) is not None:
            self.add(wav)
        out, self.wav = self.wav[:n], self.wav[n:]
        return out

    def rest(self) -> np.ndarray:
        """All samples that are left."""
        return np.concatenate([self.take(len(self)), *self.more])


class _Upsampler:
    """Samples at a higher rate, as far as they are `ready`."""

    def __init__(self, from_sr: int, sr: int):
        self.stream = soxr.ResampleStream(from_sr, sr, 1, dtype="float32", quality="HQ")
        self.ready = _Buffer()

    def add(self, wav: np.ndarray) -> None:
        self.ready.add(self.stream.resample_chunk(np.ascontiguousarray(wav, np.float32)))

    def end(self) -> None:
        self.ready.add(self.stream.resample_chunk(np.zeros(0, np.float32), last=True))


class _Gain:
    """Gain of the band above: that of the top of the narrow band, near that of all of it."""

    def __init__(self, from_sr: int, sr: int):
        from scipy.signal import firwin  # here: slow to import

        self.step = max(1, round(STEP_S * from_sr))  # [samples at from_sr]
        self.steps_per_sample = from_sr / sr / self.step
        edges = tuple(share * from_sr for share in TOP_BAND)
        self.taps = firwin(N_TAPS, edges, fs=from_sr, pass_zero=False)
        self.delay = N_TAPS // 2
        self.state = np.zeros((2, N_TAPS - 1))
        window = np.hanning(SMOOTH_STEPS + 2)[1:-1]
        self.window = window / window.sum()
        self.half = SMOOTH_STEPS // 2
        # rows: top band of converted and source, all of both
        self.samples = np.zeros((4, 0))  # that do not fill a step yet
        self.powers = np.zeros((4, self.half))  # of steps that later gains need
        self.past = np.zeros((2, self.delay))  # samples that the filtered ones lag behind
        self.n_skipped = self.delay  # filtered samples before the first one
        self.gains = np.zeros(0)  # of the steps from `first` on
        self.first = self.n_taken = 0

    def add(self, converted: np.ndarray, source: np.ndarray) -> None:
        """Measure the next samples of both."""
        from scipy.signal import lfilter

        if not len(converted):
            return
        wavs = np.stack([converted, source]).astype(float)
        top, self.state = lfilter(self.taps, 1, wavs, axis=1, zi=self.state)
        whole = np.concatenate([self.past, wavs], axis=1)
        self.past = whole[:, whole.shape[1] - self.delay :]
        new = np.concatenate([top, whole[:, : top.shape[1]]])
        n_skipped = min(self.n_skipped, new.shape[1])
        self.n_skipped -= n_skipped
        self.samples = np.concatenate([self.samples, new[:, n_skipped:]], axis=1)
        self._measure()

    def _measure(self) -> None:
        """Gains of the steps that are whole and have all their neighbours."""
        n = self.samples.shape[1] // self.step
        whole, self.samples = np.split(self.samples, [n * self.step], axis=1)
        new = (whole.reshape(4, n, self.step) ** 2).mean(2)
        powers = np.concatenate([self.powers, new], axis=1)
        if powers.shape[1] > 2 * self.half:
            smooth = np.stack([np.convolve(row, self.window, "valid") for row in powers])
            top_converted, top_source, converted, source = np.sqrt(smooth + FLOOR_POWER)
            overall, limit = converted / source, 10 ** (MAX_GAIN_DB / 20)
            top = np.clip(top_converted / top_source, overall / limit, overall * limit)
            self.gains = np.concatenate([self.gains, top])
            powers = powers[:, powers.shape[1] - 2 * self.half :]
        self.powers = powers

    def end(self) -> None:
        """Let the gains reach the last sample."""
        silence = np.zeros(self.delay + self.step * (self.half + 1))
        self.add(silence, silence)

    def n_known(self) -> int:
        """How many output samples more have a gain."""
        last = self.first + len(self.gains) - 0.5  # the gain of a step is that of its middle
        return max(0, int(last / self.steps_per_sample) - self.n_taken)

    def take(self, n: int) -> np.ndarray:
        """Gain of the next `n` output samples."""
        if not n:
            return np.zeros(0)
        at = (self.n_taken + np.arange(n)) * self.steps_per_sample - 0.5
        out = np.interp(at, self.first + np.arange(len(self.gains)), self.gains)
        self.n_taken += n
        n_done = max(0, int(at[-1]) - 1 - self.first)
        self.gains, self.first = self.gains[n_done:], self.first + n_done
        return out
