"""Loudness of a recording that comes in pieces: ITU-R BS.1770, with the filters of pyloudnorm.

`pyloudnorm.Meter` wants the whole recording at once. Here its two filters keep their state from one
piece to the next, and only the energy of steps of 100 ms is kept: 80 bytes a second.
"""

from array import array

import numpy as np
import soxr

from .wav import check_sr

BLOCK_STEPS = 4  # steps in a gating block of 400 ms, which overlaps the next by three
OFFSET_DB = -0.691  # of BS.1770: K-weighted power to loudness [dB]
ABSOLUTE_GATE = -70.0  # loudness under which a block never counts [LUFS]
RELATIVE_GATE = 0.1  # share of the mean power of the others under which a block does not count
OVERSAMPLING = 4  # of the true peak, as BS.1770 has it


class Loudness:
    """Meter of integrated loudness and true peak; `add` takes the pieces one after the other.

    Parameters
    ----------
    sr : int [Hz]
    """

    def __init__(self, sr: int):
        import pyloudnorm  # here: it is slow to import, as is lfilter

        self.sr = check_sr(sr)
        filters = pyloudnorm.Meter(self.sr)._filters.values()
        self._filters = [(f.b, f.a, np.zeros(2)) for f in filters]
        self._energies = array("d")  # of whole steps
        self._step = self.sr / 10  # 100 ms [samples]
        self._open = np.zeros(0)  # squares of samples that do not fill a step yet
        self._n = 0  # samples in whole steps
        self._peak = 0.0
        rates = self.sr, self.sr * OVERSAMPLING, 1
        self._oversample = soxr.ResampleStream(*rates, dtype="float32", quality="HQ")

    def add(self, wav: np.ndarray) -> None:
        """Measure the next piece [shape=(n_samples,), -1..1]."""
        from scipy.signal import lfilter

        wav = np.asarray(wav, np.float32)
        if not len(wav):
            return  # lfilter has no state after nothing
        self._measure_peak(self._oversample.resample_chunk(wav))
        weighted = wav.astype(float)
        for i, (b, a, state) in enumerate(self._filters):
            weighted, state = lfilter(b, a, weighted, zi=state)
            self._filters[i] = b, a, state
        squares = np.concatenate([self._open, weighted**2])
        ends = round(self._step * (len(self._energies) + 1)) - self._n
        start = 0
        while ends <= len(squares):
            self._energies.append(squares[start:ends].sum())
            start, ends = ends, round(self._step * (len(self._energies) + 1)) - self._n
        self._n, self._open = self._n + start, squares[start:]

    def _measure_peak(self, oversampled: np.ndarray) -> None:
        if len(oversampled):
            self._peak = max(self._peak, float(np.abs(oversampled).max()))

    @property
    def lufs(self) -> float:
        """Integrated loudness so far [LUFS; -inf for silence and for less than 0.4 s]."""
        steps = np.array(self._energies)
        if len(self._open) > self._step / 2:  # pyloudnorm rounds the number of blocks
            steps = np.append(steps, self._open.sum())
        if len(steps) < BLOCK_STEPS or self._n + len(self._open) < BLOCK_STEPS * self._step:
            return -np.inf
        blocks = np.convolve(steps, np.ones(BLOCK_STEPS), "valid") / (BLOCK_STEPS * self._step)
        loud = blocks[blocks >= 10 ** ((ABSOLUTE_GATE - OFFSET_DB) / 10)]
        if not len(loud):
            return -np.inf
        loud = loud[loud > RELATIVE_GATE * loud.mean()]
        return float(OFFSET_DB + 10 * np.log10(loud.mean()))

    @property
    def true_peak_db(self) -> float:
        """True peak [dBFS; -inf for silence]; reading it ends the measurement of the peak."""
        self._measure_peak(self._oversample.resample_chunk(np.zeros(0, np.float32), last=True))
        self._oversample.clear()
        return float(20 * np.log10(self._peak)) if self._peak else -np.inf
