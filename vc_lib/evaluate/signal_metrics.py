"""Metrics of waveforms: SI-SNR, level in pauses, PESQ, ESTOI."""

import warnings

import numpy as np

from ..audio import resample
from ..audio.level import near_loud
from ..errors import MissingInput
from .metrics import check_same_length, power_ratio_db, power_to_db

BLOCK_MS = 10.0  # block in which levels are measured [ms]
PAUSE_MARGIN = 3  # margin between speech and pause, where sound rings on [blocks]
MIN_PAUSE = 5  # total length of the pauses below which their level is nan [blocks]


def si_snr_db(a: np.ndarray, b: np.ndarray, sr: int) -> float:
    """Scale-invariant signal-to-noise ratio [dB, higher is better]: agreement sample by sample.

    With means removed, `a` is split into its projection on `b` and the rest. The result is
    ``10 log10(|projection| ** 2 / |rest| ** 2)``. It tells whether a round trip is exact. A
    conversion scores low however good it sounds, because its phase is never that of the reference.

    Parameters
    ----------
    a, b : np.ndarray [shape=(n_samples,), -1..1]
        Judged signal and reference, in time; lengths must agree within 5 ms.
    sr : int [Hz]
        Used only for the 5 ms.

    Returns
    -------
    float [dB, -120..120; nan if `a` is silent]

    Raises
    ------
    ParameterError
        If lengths disagree, `b` is silent, or an array is no waveform.

    References
    ----------
    Le Roux et al., SDR - half-baked or well done?, ICASSP 2019.
    """
    a, b = check_same_length(a, b, sr)
    if np.ptp(a) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    if b @ b == 0:  # its power underflows
        return float("nan")
    projection = (a @ b) / (b @ b) * b
    return power_ratio_db(np.sum(projection**2), np.sum((a - projection) ** 2))


def pause_level_db(converted: np.ndarray, sr: int, source: np.ndarray) -> float:
    """Level of noise in the pauses [dB relative to speech, lower is better].

    A block of 10 ms is speech if `source` is less than 35 dB under its loud blocks (95th
    percentile). It is a pause if no block within 30 ms is speech. The result is the RMS level of
    `converted` in pauses minus that in speech.

    Parameters
    ----------
    converted, source : np.ndarray [shape=(n_samples,), -1..1]
        In time; lengths must agree within 5 ms.
    sr : int [Hz]

    Returns
    -------
    float [dB, -120..120]
        nan if the pauses of `source` last less than 50 ms in all, as in noisy recordings, or if
        `converted` is silent.

    Raises
    ------
    ParameterError
        If lengths disagree, `source` is silent, or an array is no waveform.
    """
    converted, source = check_same_length(converted, source, sr, ("converted", "source"))
    size = round(BLOCK_MS / 1000 * sr)
    blocks = [wav[: len(wav) // size * size].reshape(-1, size) for wav in (converted, source)]
    power, source_power = ((wav**2).mean(1) for wav in blocks)
    if len(power) < MIN_PAUSE:
        return float("nan")
    level_db = power_to_db(source_power)
    speech = near_loud(level_db)
    near = np.convolve(speech, np.ones(2 * PAUSE_MARGIN + 1))[PAUSE_MARGIN:-PAUSE_MARGIN]
    pause = near == 0
    if pause.sum() < MIN_PAUSE:
        return float("nan")
    return power_ratio_db(power[pause].mean(), power[speech].mean())


# Models of hearing, each from an optional package


def pesq_wb(a: np.ndarray, b: np.ndarray, sr: int) -> float:
    """Wide-band PESQ [MOS-LQO, about 1.0..4.6, higher is better], at 16 kHz.

    Parameters
    ----------
    a, b : np.ndarray [shape=(n_samples,), -1..1]
        Judged signal and reference; lengths must agree within 5 ms. PESQ aligns small delays
        itself.
    sr : int [Hz]

    Returns
    -------
    float [1.0..4.6; nan if `a` is silent, PESQ finds no utterance, or they last less than 0.25 s]

    Raises
    ------
    MissingInput
        If the package pesq is not installed.
    ParameterError
        If lengths disagree, `b` is silent, or an array is no waveform.

    References
    ----------
    ITU-T P.862.2, 2007.
    """
    try:
        import pesq
    except ImportError as e:
        raise MissingInput("pesq_wb needs the package pesq: pip install pesq") from e
    a, b = (resample(wav, int(sr), 16_000) for wav in check_same_length(a, b, sr))
    if np.ptp(a) == 0:
        return float("nan")
    try:
        return float(pesq.pesq(16_000, b, a, "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return float("nan")


def estoi(a: np.ndarray, b: np.ndarray, sr: int) -> float:
    """Extended short-time objective intelligibility [0..1, higher is better], at 10 kHz.

    Parameters
    ----------
    a, b : np.ndarray [shape=(n_samples,), -1..1]
        Judged signal and reference, in time; lengths must agree within 5 ms.
    sr : int [Hz]

    Returns
    -------
    float [about 0..1; nan if `a` is silent, or `b` holds less than 0.4 s of sound without pauses]

    Raises
    ------
    MissingInput
        If the package pystoi is not installed.
    ParameterError
        If lengths disagree, `b` is silent, or an array is no waveform.

    References
    ----------
    Jensen and Taal, IEEE/ACM Trans. ASLP 24(11), 2016.
    """
    try:
        import pystoi
    except ImportError as e:
        raise MissingInput("estoi needs the package pystoi: pip install pystoi") from e
    a, b = (resample(wav, int(sr), 10_000) for wav in check_same_length(a, b, sr))
    if np.ptp(a) == 0 or len(b) < 4_000:
        return float("nan")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(pystoi.stoi(b, a, 10_000, extended=True))
        except RuntimeWarning:
            return float("nan")
