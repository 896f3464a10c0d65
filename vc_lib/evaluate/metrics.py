"""Distances between two sounds: one function for each metric, with its definition and direction.

A distance compares a judged signal `a` with its reference `b`. Metrics on WORLD's frames take a
waveform or, to save time, its `Features` from `anonymize.analyze`. A silent reference raises
ParameterError. A silent judged signal scores nan where nothing can be measured, never well.
`evaluate.scores` computes all of them together.
"""

import numpy as np

from ..anonymize import Features, active_frames, analyze, cepstrum
from ..audio import check_sr, check_wav, stft_magnitude
from ..audio.level import near_loud
from ..config import AnonymizeConfig, AudioConfig
from ..errors import ParameterError
from ..speaker import SpeakerStats

METER = AnonymizeConfig(f0_method="harvest")  # analysis of waveforms: slow, with a reliable F0
N_MEL_CEPSTRA = 24  # number of cepstral coefficients compared, 1..24; coefficient 0 is the level
CEPSTRUM_TO_DB = 10 / np.log(10)  # factor from a norm of WORLD's cepstra to dB, see `mcd_db`
MIN_VOICED = 10  # voiced frames below which a correlation or a median is nan
TOLERANCE_MS = 5.0  # length difference up to which the longer waveform is cut [ms]
MAX_DTW_FRAMES = 4_000  # longest input of DTW, 20 s [frames]; it needs 20 bytes a pair of frames
FLOOR_DB = 120.0  # floor of spectra under the loudest bin of the reference [dB]
LIMIT_DB = 120.0  # limit of ratios of powers, so that they stay finite [dB]
ALIGNMENTS = ("frames", "dtw")  # choices of `align`
Speech = np.ndarray | Features


# Inputs and their alignment


def _features(speech: Speech, sr: int) -> Features:
    """WORLD features of a waveform; Features pass through."""
    sr = check_sr(sr)
    if not isinstance(speech, Features):
        return analyze(speech, sr, METER)
    if speech.sr != sr:
        raise ParameterError(
            f"features have sr={speech.sr} Hz, must have sr={sr} Hz; resample and analyze again"
        )
    return speech


def _recordings(target: Speech | list[Speech], sr: int) -> list[Features]:
    """Features of one recording or of several, as a list."""
    items = list(target) if isinstance(target, list | tuple) else [target]
    if not items:
        raise ParameterError("target=[] must hold a recording; give at least one")
    return [_features(speech, sr) for speech in items]


def _pairs(a: Features, b: Features, align: str) -> tuple[np.ndarray, np.ndarray]:
    """Align frames: the indices into `a` and into `b`, two arrays of one length."""
    if align not in ALIGNMENTS:
        raise ParameterError(f"align={align!r} must be one of {', '.join(ALIGNMENTS)}")
    if a.frame_period_ms != b.frame_period_ms:
        raise ParameterError(
            f"frame periods of {a.frame_period_ms} and {b.frame_period_ms} ms must be equal; "
            "analyze both with the same config"
        )
    n_a, n_b = len(a.f0), len(b.f0)
    if align == "frames":
        if abs(n_a - n_b) > 1:
            raise ParameterError(
                f"a has {n_a} frames and b {n_b}; they must agree within one frame; "
                'use align="dtw" for another reading of the sentence'
            )
        index = np.arange(min(n_a, n_b))
        return index, index
    if max(n_a, n_b) > MAX_DTW_FRAMES:
        raise ParameterError(
            f'align="dtw" takes at most {MAX_DTW_FRAMES} frames, got {max(n_a, n_b)}; '
            "compare sentence by sentence"
        )
    import librosa  # here, because importing it takes seconds

    _, path = librosa.sequence.dtw(X=_shape(a).T, Y=_shape(b).T, metric="euclidean")
    return path[::-1, 0], path[::-1, 1]


def _shape(features: Features) -> np.ndarray:
    """WORLD's mel cepstrum without the level [shape=(n_frames, N_MEL_CEPSTRA)]."""
    return cepstrum(features, N_MEL_CEPSTRA + 1)[:, 1:]


def check_same_length(a, b, sr: int, names=("a", "b")) -> tuple[np.ndarray, np.ndarray]:
    """Both waveforms as float64, cut to the shorter if they agree within TOLERANCE_MS.

    Raises
    ------
    ParameterError
        If lengths differ by more, `b` is silent, or an array is no waveform.
    """
    a, b = check_wav(a, names[0]), check_wav(b, names[1])
    tolerance = TOLERANCE_MS / 1000 * check_sr(sr)  # [samples]
    if abs(len(a) - len(b)) > tolerance:
        raise ParameterError(
            f"{names[0]} has {len(a)} samples and {names[1]} {len(b)}; they must agree within "
            f"{tolerance:.0f} ({TOLERANCE_MS} ms); trim the longer one"
        )
    if np.ptp(b) == 0:
        raise ParameterError(silent_message(names[1]))
    n = min(len(a), len(b))
    return a[:n].astype(np.float64), b[:n].astype(np.float64)


def silent_message(name: str) -> str:
    """Error message for a silent reference."""
    return f"{name} is silent, must hold sound; check the recording and its level"


def power_ratio_db(power: float, other: float) -> float:
    """10 log10(power / other) within +-LIMIT_DB; nan for 0 / 0."""
    if power == other == 0:
        return float("nan")
    ratio_db = 10 * np.log10(power / other) if power > 0 < other else np.inf * (power - other)
    return float(np.clip(ratio_db, -LIMIT_DB, LIMIT_DB))


def power_to_db(power: np.ndarray) -> np.ndarray:
    """Power in dB, finite in silence."""
    return 10 * np.log10(np.maximum(power, 1e-20))


# Envelope and spectrum


def mcd_db(a: Speech, b: Speech, sr: int, align: str = "frames") -> float:
    """Mel-cepstral distortion [dB, lower is better]: distance of two envelopes, level removed.

    The mean over frames of ``10 / ln 10 * sqrt(2 * sum_k (m_a[k] - m_b[k]) ** 2)``, k = 1..24,
    where m is the mel cepstrum of the ln *amplitude* envelope,
    ``ln |H(w)| = m[0] + sum_k m[k] cos(k w~)``. This is SPTK's `mcep`, the convention of the
    literature. The value of a frame is the root mean square difference of the two envelopes in dB
    over the mel axis, smoothed to 24 coefficients, at equal level.

    `pyworld.code_spectral_envelope` returns c, of the ln *power* and an orthonormal cosine
    transform: ``ln |H(w)| ** 2 = c[0] + sqrt(2) * sum_k c[k] cos(k w~)``. So m[k] = c[k] / sqrt(2),
    and the function computes ``10 / ln 10 * sqrt(sum_k (c_a[k] - c_b[k]) ** 2)``. Code that uses c
    in place of m reports sqrt(2) times as much.

    WORLD's mel axis is 1127 ln(1 + f / 700), from 40 Hz to the lower of sr / 2 and 20 kHz. It
    differs a little from SPTK's all-pass warping. Values at different `sr` are not comparable.

    Parameters
    ----------
    a, b : np.ndarray [shape=(n_samples,), -1..1] or Features
        Judged signal and reference. Only frames active in `b` count (`anonymize.active_frames`).
    sr : int [Hz]
    align : str
        "frames": frame by frame; lengths must agree within one frame. "dtw": along the path of
        least distance between the cepstra, for two readings of a sentence; each pair on it counts
        once.

    Returns
    -------
    float [dB; 0 for equal envelopes, 4..8 for conversions in most papers; nan if `a` is silent]

    Raises
    ------
    ParameterError
        If lengths disagree, an input of DTW exceeds 20 s, `b` is silent, or an array is no
        waveform.

    References
    ----------
    Kubichek, Mel-cepstral distance measure for objective speech quality assessment, PacRim 1993.
    DTW: Sakoe and Chiba, IEEE Trans. ASSP 26(1), 1978; by librosa.
    """
    a, b = _features(a, sr), _features(b, sr)
    i, j = _pairs(a, b, align)
    active = active_frames(b)[j]
    if not active.any():
        raise ParameterError(silent_message("b"))
    if not active_frames(a).any():  # the flat envelope of silence would score fairly well
        return float("nan")
    distance = np.linalg.norm(_shape(a)[i] - _shape(b)[j], axis=1)
    return float(CEPSTRUM_TO_DB * distance[active].mean())


def log_spectral_distance_db(a: np.ndarray, b: np.ndarray, sr: int) -> float:
    """Log-spectral distance [dB, lower is better]: includes level, harmonics and noise, not phase.

    The mean of ``sqrt(mean_f (20 log10 |A| / |B|) ** 2)`` over the active frames of `b`. The STFTs
    have a 32 ms Hann window and a hop of 8 ms. Active frames are less than 35 dB under the loud
    ones (95th percentile). Bins have a floor 120 dB under the loudest bin of `b`, so that digital
    silence stays finite.

    Parameters
    ----------
    a, b : np.ndarray [shape=(n_samples,), -1..1]
        Judged signal and reference, in time; lengths must agree within 5 ms.
    sr : int [Hz]

    Returns
    -------
    float [dB; a gain of 6 dB gives 6]

    Raises
    ------
    ParameterError
        If lengths disagree, `b` is silent, or an array is no waveform.

    References
    ----------
    Gray and Markel, Distance measures for speech processing, IEEE Trans. ASSP 24(5), 1976.
    """
    a, b = check_same_length(a, b, sr)
    cfg = AudioConfig(sr=int(sr), n_fft=2 * round(0.016 * sr), hop_length=round(0.008 * sr))
    mag_a, mag_b = (stft_magnitude(wav, cfg) for wav in (a, b))
    level_db = power_to_db((mag_b**2).mean(0))
    active = near_loud(level_db)
    floor = mag_b.max() * 10 ** (-FLOOR_DB / 20)
    difference_db = 20 * np.log10(np.maximum(mag_a, floor) / np.maximum(mag_b, floor))
    return float(np.sqrt((difference_db[:, active] ** 2).mean(0)).mean())


def envelope_distance_db(
    speech: Speech, target: Speech | list[Speech] | SpeakerStats, sr: int
) -> float:
    """Distance of two voices' average envelopes [dB, lower is nearer], whatever they say.

    The log envelope is averaged over all active frames, those of all recordings of `target`
    together. The result is the root mean square difference of the two averages over the mel axis,
    level removed: the formula of `mcd_db`, applied to averages. It measures timbre (vocal tract and
    microphone), not clarity. Nothing is aligned.

    Parameters
    ----------
    speech : np.ndarray [shape=(n_samples,), -1..1] or Features
    target : np.ndarray or Features, a list of them, or SpeakerStats
        Any sentences; a minute is better than one sentence, whose sounds bias the average.
        SpeakerStats, such as a voice's `config.target`, hold one coefficient less, which seldom
        matters.
    sr : int [Hz]

    Returns
    -------
    float [dB; nan if `speech` is silent]

    Raises
    ------
    ParameterError
        If `target` is empty or silent, or an array is no waveform.

    References
    ----------
    Long-time average spectrum: Löfqvist and Mandersson, Folia Phoniatrica 39, 1987.
    """
    speech = _features(speech, sr)
    frames = _shape(speech)[active_frames(speech)]
    target_average = _average_shape(target, sr)
    if not len(frames):
        return float("nan")
    difference = frames.mean(0)[: len(target_average)] - target_average
    return float(CEPSTRUM_TO_DB * np.linalg.norm(difference))


def _average_shape(target, sr: int) -> np.ndarray:
    """The mean of `_shape` over all active frames of recordings, or from statistics."""
    if isinstance(target, SpeakerStats):
        if target.sr != sr:
            raise ParameterError(
                f"target was measured at {target.sr} Hz, must be at sr={sr} Hz; measure it again"
            )
        return np.array(target.cepstrum_mean)[1 : N_MEL_CEPSTRA + 1]
    frames = np.concatenate([_shape(t)[active_frames(t)] for t in _recordings(target, sr)])
    if not len(frames):
        raise ParameterError(silent_message("target"))
    return frames.mean(0)


# Pitch. F0 of waveforms is found by Harvest: Morise, Interspeech 2017


def _f0_pairs(a: Speech, b: Speech, sr: int, align: str) -> tuple[np.ndarray, np.ndarray]:
    """F0 of both in aligned frames [Hz, 0 where unvoiced]."""
    a, b = _features(a, sr), _features(b, sr)
    i, j = _pairs(a, b, align)
    return a.f0[i], b.f0[j]


def _cents(f0: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pitch of the frames in `mask`, which are all voiced [cents above 1 Hz]."""
    return 1200 * np.log2(f0[mask])


def f0_rmse_cents(a: Speech, b: Speech, sr: int, align: str = "frames") -> float:
    """Root mean square pitch error over frames voiced in both [cents, lower is better].

    ``sqrt(mean((1200 log2(f0_a / f0_b)) ** 2))``: an octave is 1200, a semitone 100. Differences of
    register count in full, and so do octave errors of the F0 estimator. Parameters, alignment and
    errors are those of `mcd_db`, but silence is allowed: nan if fewer than 10 frames are voiced in
    both.
    """
    f0_a, f0_b = _f0_pairs(a, b, sr, align)
    both = (f0_a > 0) & (f0_b > 0)
    if both.sum() < MIN_VOICED:
        return float("nan")
    return float(np.sqrt(np.mean((_cents(f0_a, both) - _cents(f0_b, both)) ** 2)))


def log_f0_correlation(a: Speech, b: Speech, sr: int, align: str = "frames") -> float:
    """Correlation of log F0 over frames voiced in both [-1..1, higher: intonation is kept].

    Pearson's correlation ignores register: a transposed melody scores 1. Parameters, alignment and
    errors are those of `mcd_db`, but silence is allowed: nan if fewer than 10 frames are voiced in
    both, or if one contour is constant (standard deviation below 1 cent).

    References
    ----------
    Pitch correlation of the VoicePrivacy 2022 challenge (Tomashenko et al., evaluation plan), here
    without a search for the best lag.
    """
    f0_a, f0_b = _f0_pairs(a, b, sr, align)
    both = (f0_a > 0) & (f0_b > 0)
    if both.sum() < MIN_VOICED:
        return float("nan")
    cents_a, cents_b = _cents(f0_a, both), _cents(f0_b, both)
    if min(cents_a.std(), cents_b.std()) < 1:
        return float("nan")
    return float(np.corrcoef(cents_a, cents_b)[0, 1])


def voicing_error(a: Speech, b: Speech, sr: int, align: str = "frames") -> float:
    """Share of all frames, pauses included, that are voiced in one only [0..1, lower is better].

    Parameters, alignment and errors are those of `mcd_db`, but silence is allowed; never nan.

    References
    ----------
    Voicing decision error: Nakatani et al., Speech Communication 50(3), 2008.
    """
    f0_a, f0_b = _f0_pairs(a, b, sr, align)
    return float(np.mean((f0_a > 0) != (f0_b > 0)))


def f0_register_cents(
    speech: Speech, target: Speech | list[Speech] | SpeakerStats, sr: int
) -> float:
    """Register above the target's [cents, nearer to 0 is better; negative: below].

    ``1200 log2`` of the ratio of the medians of F0 over voiced frames, those of all recordings of
    `target` together. Nothing is aligned. Parameters and errors are those of
    `envelope_distance_db`, but silence is allowed: nan if either has fewer than 10 voiced frames.
    """
    f0 = _features(speech, sr).f0
    if isinstance(target, SpeakerStats):
        target_f0 = np.full(MIN_VOICED, target.f0_hz)
    else:
        target_f0 = np.concatenate([t.f0 for t in _recordings(target, sr)])
    if min((f0 > 0).sum(), (target_f0 > 0).sum()) < MIN_VOICED:
        return float("nan")
    return float(np.median(_cents(f0, f0 > 0)) - np.median(_cents(target_f0, target_f0 > 0)))
