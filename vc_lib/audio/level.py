"""Loudness: power of blocks, level of speech, loud frames, and the pauses between speech.

Every threshold of "loud", "speech" and "pause" is defined here.
"""

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter1d, label, uniform_filter1d

from ..errors import ParameterError
from .wav import check_sr, check_wav

BLOCK_S = 0.01  # length of a block that power is measured on [s]
PAUSE_DB = 30.0  # least median distance of a pause from the level of speech [dB]
PAUSE_MIN_DB = 25.0  # least distance of each of its blocks [dB]
PAUSE_S = 0.1  # shortest pause; a shorter gap is part of a word, such as the closure of a /t/ [s]
MARGIN_S = 0.02  # margin around speech that is not attenuated [s]
LOUD_PERCENTILE = 95  # percentile of the levels of a recording that counts as loud
ACTIVE_DB = 35.0  # range of speech below the loud frames [dB]
LOUD_DB = 25.0  # range of loud speech below the loud frames [dB]
FLOOR_POWER = 1e-12  # lowest power, that of digital silence: -120 dB


def block_power(wav: np.ndarray, sr: int) -> np.ndarray:
    """Mean power of blocks of 10 ms, the last one padded with zeros [shape=(n_blocks,)]."""
    sr = check_sr(sr)
    return _block_power(check_wav(wav), sr) if np.size(wav) else np.zeros(0)


def _block_power(wav: np.ndarray, sr: int) -> np.ndarray:
    """`block_power` for input that was checked before."""
    size = round(BLOCK_S * sr)
    wav = wav.astype(np.float64)
    return (np.pad(wav, (0, -len(wav) % size)).reshape(-1, size) ** 2).mean(1)


def loud_level(levels: np.ndarray) -> float:
    """Level of the loud frames: the 95th percentile, of powers or of levels in dB."""
    return np.percentile(levels, LOUD_PERCENTILE)


def near_loud(
    level_db: np.ndarray, below_db: float = ACTIVE_DB, floor_db: float = -np.inf
) -> np.ndarray:
    """Mask of the frames that are less than `below_db` under the loud ones, and above a floor.

    Parameters
    ----------
    level_db : np.ndarray [shape=(n_frames,), dB]
        Levels of the frames or blocks of a recording.
    below_db : float [dB]
        35 by default, which tells speech from pauses.
    floor_db : float [dB]
        Level that no speech is under; without limit by default.

    Returns
    -------
    np.ndarray [shape=(n_frames,), bool]
    """
    return level_db > max(loud_level(level_db) - below_db, floor_db)


def speech_level_db(power: np.ndarray) -> float:
    """Level of the speech in a recording, pauses excluded [dB; -120 for silence].

    Parameters
    ----------
    power : np.ndarray [shape=(n_blocks,)]
        From `block_power`.
    """
    if not len(power):
        return -120.0
    loud = np.maximum(loud_level(power), FLOOR_POWER)
    active = power[power > loud * 10 ** (-ACTIVE_DB / 10)]
    return float(10 * np.log10(max(active.mean() if len(active) else 0.0, FLOOR_POWER)))


def pause_gain(wav: np.ndarray, sr: int, level_db: float, depth_db: float) -> np.ndarray:
    """Gain that attenuates the pauses of `wav` in a conversion of it.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        The source, or a part of it.
    sr : int [Hz]
    level_db : float [dB]
        Level of the speech in the whole source, from `speech_level_db`.
    depth_db : float [dB]
        Attenuation of the pauses.

    Returns
    -------
    gain : np.ndarray [shape=(n_samples,), 0..1, float32]
        1 in speech and 20 ms around it. A pause lasts at least 0.1 s and is 30 dB under the
        speech. Slopes take about 30 ms.

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, `sr` is not a rate, or a level is not finite.
    """
    wav, sr = check_wav(wav), check_sr(sr)
    return _pause_gain(_block_power(wav, sr), len(wav), sr, level_db, depth_db)


def _pause_gain(
    power: np.ndarray, n_samples: int, sr: int, level_db: float, depth_db: float
) -> np.ndarray:
    """`pause_gain` for a recording of `n_samples` samples with a known `block_power`."""
    if not np.isfinite([level_db, depth_db]).all():
        raise ParameterError(
            f"level_db={level_db} and depth_db={depth_db} must be finite; "
            "measure level_db with speech_level_db"
        )
    power = uniform_filter1d(power, 3, mode="nearest")
    below_db = level_db - 10 * np.log10(np.maximum(power, FLOOR_POWER))
    runs, n_runs = label(below_db > PAUSE_MIN_DB)
    pause = np.zeros(len(power), bool)
    for i in range(1, n_runs + 1):
        run = runs == i
        pause |= run & (run.sum() * BLOCK_S >= PAUSE_S) & (np.median(below_db[run]) > PAUSE_DB)
    margin = round(MARGIN_S / BLOCK_S)
    pause = binary_erosion(pause, np.ones(2 * margin + 1), border_value=1)
    half_blocks = np.repeat(pause, 2).astype(float)  # 5 ms each
    slope = gaussian_filter1d(half_blocks, 2 * 0.8, mode="nearest")
    at = (np.arange(n_samples) / (BLOCK_S * sr)) * 2 - 0.5
    return (10 ** (-depth_db * np.interp(at, np.arange(len(slope)), slope) / 20)).astype(np.float32)


def attenuate_pauses(
    converted: np.ndarray, wav: np.ndarray, sr: int, depth_db: float, level_db: float | None = None
) -> np.ndarray:
    """Attenuate `converted` in the pauses of its source `wav`.

    Parameters
    ----------
    converted, wav : np.ndarray [shape=(n_samples,)]
    sr : int [Hz]
        Sampling rate of both.
    depth_db : float [dB]
    level_db : float, optional [dB]
        Level of the speech in the whole recording; measured on `wav` by default.

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32]
    """
    wav, sr = check_wav(wav), check_sr(sr)
    power = _block_power(wav, sr)
    level_db = speech_level_db(power) if level_db is None else level_db
    return converted * _pause_gain(power, len(wav), sr, level_db, depth_db)
