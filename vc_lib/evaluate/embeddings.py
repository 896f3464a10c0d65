"""Embeddings of anonymized utterances, by which an attacker recognizes their speakers.

`judges.speaker_embedding` was trained on untouched speech. `cepstral_statistics` was not trained at
all; it shows what an anonymizer leaves of the envelope. `embed` computes both for every utterance.
"""

from collections.abc import Callable, Mapping
from zlib import crc32

import joblib
import numpy as np

from ..anonymize import active_frames, analyze, cepstrum
from ..anonymize.statistics import loud_voiced_frames
from ..config import AnonymizeConfig
from ..errors import ParameterError
from ..parallel import one_thread
from . import judges
from .clips import Clip
from .privacy import halves

AP_HZ = np.arange(0, 8_001, 1_000)  # frequencies of the aperiodicity [Hz]
N_CORRELATED = 12  # cepstral coefficients 1.. whose correlations count
MIN_FRAMES = 20  # fewest frames that statistics are taken of
MIN_STD = 1e-3  # added to standard deviations, so that logarithms are finite
System = Callable[[Clip, np.random.Generator], np.ndarray]
Embedding = Callable[[np.ndarray, int], np.ndarray | None]


def cepstral_statistics(wav: np.ndarray, sr: int) -> np.ndarray | None:
    """Speaker embedding: statistics of cepstra, aperiodicity and F0 over an utterance.

    The level of the sound does not count.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        A few seconds or more.
    sr : int [Hz]

    Returns
    -------
    np.ndarray [shape=(181,)] or None
        None if there is less than half a second of sound, or 0.1 s of speech. In this order:

        ===== ===================================================================================
        23    mean of the mel cepstrum without the level, over loud voiced frames
        23    its log standard deviation
        23    its mean over active unvoiced frames; 0 if there are few
        24    log standard deviation of the frame-to-frame change, with the level
        66    correlations of coefficients 1 to 12
        9, 9  mean and standard deviation of log aperiodicity at 0 to 8 kHz
        2     mean and log standard deviation of log F0
        2     shares of loud voiced frames and of voiced frames
        ===== ===================================================================================
    """
    wav = judges.prepared(wav, sr, judges.SPEAKER_DB)
    if wav is None:
        return None
    features = analyze(wav, judges.JUDGE_SR, AnonymizeConfig(f0_method="harvest_fast"))
    active, loud = active_frames(features), loud_voiced_frames(features)
    share = loud.mean()
    if loud.sum() < MIN_FRAMES:  # a whisper
        loud = active
    if loud.sum() < MIN_FRAMES:
        return None
    mc = cepstrum(features)
    unvoiced = mc[active & ~features.voiced][:, 1:]
    n_bins = features.sp.shape[1]
    bins = np.round(AP_HZ / (judges.JUDGE_SR / 2) * (n_bins - 1)).astype(int)
    log_ap = np.log(np.maximum(features.ap[loud][:, bins], 1e-4))
    return np.concatenate(
        [
            mc[loud, 1:].mean(0),
            _log_std(mc[loud, 1:]),
            unvoiced.mean(0) if len(unvoiced) >= MIN_FRAMES else np.zeros(mc.shape[1] - 1),
            _log_std(np.gradient(mc, axis=0)[loud]),
            _correlations(mc[loud, 1 : N_CORRELATED + 1]),
            log_ap.mean(0),
            log_ap.std(0),
            _log_f0_statistics(features.f0[loud & features.voiced]),
            [share, features.voiced.mean()],
        ]
    )


def _log_std(values: np.ndarray) -> np.ndarray:
    """Log standard deviation of each column."""
    return np.log(values.std(0) + MIN_STD)


def _correlations(values: np.ndarray) -> np.ndarray:
    """Correlations of each two columns; 0 for a constant one."""
    standard = (values - values.mean(0)) / np.maximum(values.std(0), 1e-12)
    rows, columns = np.triu_indices(values.shape[1], 1)
    return (standard.T @ standard / len(values))[rows, columns]


def _log_f0_statistics(f0: np.ndarray) -> list[float]:
    """Mean and log standard deviation of log F0 [log Hz]; those of 1 Hz without a voiced frame."""
    log_f0 = np.log(f0) if len(f0) else np.zeros(1)
    return [float(log_f0.mean()), float(np.log(log_f0.std() + MIN_STD))]


EMBEDDINGS: Mapping[str, Embedding] = {
    "speaker": judges.speaker_embedding,
    "cepstra": cepstral_statistics,
}


def embed(
    clips: Mapping[str, Clip],
    system: System,
    n_draws: int = 1,
    n_jobs: int = 1,
    embeddings: Mapping[str, Embedding] = EMBEDDINGS,
) -> dict[str, np.ndarray]:
    """Anonymize both halves of each clip several times, and embed the results.

    Parameters
    ----------
    clips : mapping of str to Clip
        A clip of each speaker. Its key seeds the random numbers, so equal calls give equal results.
    system : function
        Takes a Clip and a random generator, and returns the anonymized waveform.
    n_draws : int
        How often each half is anonymized, each time with other random numbers.
    n_jobs : int
        Number of processes. With more than one, `system` must be picklable.
    embeddings : mapping of str to function
        Each takes a waveform and its sampling rate, and returns an array, or None for silence.

    Returns
    -------
    dict of str to np.ndarray [shape=(n_speakers, 2, n_draws, n_dimensions)]
        nan for utterances without an embedding.

    Raises
    ------
    ParameterError
        If all utterances are silent.
    MissingInput
        If an evaluation package is not installed.
    """
    jobs = [
        joblib.delayed(_embedded)(
            half, [random_generator(name, i, draw) for draw in range(n_draws)], system, embeddings
        )
        for name, clip in clips.items()
        for i, half in enumerate(halves(clip))
    ]
    utterances = [draw for draws in joblib.Parallel(n_jobs)(jobs) for draw in draws]
    shape = len(clips), 2, n_draws, -1
    return {name: _stacked([u[name] for u in utterances]).reshape(shape) for name in embeddings}


def random_generator(name: str, part: int, draw: int) -> np.random.Generator:
    """Random numbers of one draw: part 0 or 1 is a half of the clip, 2 the whole."""
    return np.random.default_rng([crc32(name.encode()), part, draw])


@one_thread()
def _embedded(half: Clip, generators, system: System, embeddings) -> list[dict]:
    """The embeddings of each draw of one half."""
    wavs = [system(half, rng) for rng in generators]
    return [{name: of(wav, half.sr) for name, of in embeddings.items()} for wav in wavs]


def _stacked(embeddings: list) -> np.ndarray:
    """The embeddings in rows; nan for None."""
    known = next((e for e in embeddings if e is not None), None)
    if known is None:
        raise ParameterError("no utterance has an embedding; does the system return silence?")
    missing = np.full(len(known), np.nan)
    return np.array([missing if e is None else e for e in embeddings], float)
