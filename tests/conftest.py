"""Sound and settings for the tests: speech that nobody spoke, so that no recording is needed."""

import os
import signal

# Before torch is imported, here or in a notebook's kernel: tiny networks lose by many threads.
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))
os.environ.setdefault("MPLBACKEND", "Agg")

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.audio import chunks
from vc_lib.config import AnonymizeConfig, Config
from vc_lib.corpus import learn_target, prepare

collect_ignore_glob = ["*/conftest.py"]  # no doctests in there, and their module names are the same

# A man's a, i and u after Peterson & Barney, J. Acoust. Soc. Am. 24, 1952: formants, widths [Hz]
VOWELS = ((730, 1090, 2440, 3400), (270, 2290, 3010, 3700), (300, 870, 2240, 3300))
BANDWIDTHS = (80, 100, 140, 200)
# Each phrase, about a second, is voiced, hissed, voiced and silent [shares of it]
VOICED, HISS = ((0.0, 0.42), (0.54, 0.84)), (0.42, 0.54)
NOISE_FLOOR = 3e-5  # of the pauses [standard deviation]: -90 dB


def make_voice(
    seconds: float = 1.0, f0: float = 120.0, sr: int = 16_000, seed: int = 0
) -> np.ndarray:
    """Speech-like sound: pulses through moving formants, a hiss and a pause in every phrase.

    Parameters
    ----------
    seconds : float [s]; a phrase takes about one second, a shorter sound is one short phrase
    f0 : float [Hz; of the middle of a phrase; higher voices get a shorter vocal tract]
    sr : int [Hz]
    seed : int; another seed is another utterance of the same voice

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32, peak about 0.5]

    Examples
    --------
    >>> wav = make_voice(seconds=2.0, f0=200.0, sr=22_050)
    >>> wav.shape, wav.dtype.name, bool(0.49 < abs(wav).max() < 0.51)
    ((44100,), 'float32', True)
    >>> bool((wav == make_voice(seconds=2.0, f0=200.0, sr=22_050)).all())
    True
    """
    contour, at, rng = _contour(seconds, f0, sr, seed)
    tract = (f0 / 120) ** 0.3  # formants times this
    n, t = len(at), np.arange(len(at)) / sr

    path = 2 * np.pi * (1.3 * t[:, None] - np.arange(3) / 3 + rng.uniform())
    shares = (1 + np.cos(path)) / 3  # (n, 3): how much of each vowel
    buzz = lfilter([1], [1, -0.95], _pulses(contour, sr) + 0.01 * rng.normal(size=n))
    vowels = [_vowel(buzz, formants, tract, sr) for formants in VOWELS]
    spoken = np.einsum("nv,vn->n", shares, vowels)
    hiss = 0.04 * np.diff(rng.normal(size=n), prepend=0.0)

    wav = spoken / np.abs(spoken).max() * _gate(at, VOICED, sr) + hiss * _gate(at, (HISS,), sr)
    return (0.5 * wav / np.abs(wav).max() + NOISE_FLOOR * rng.normal(size=n)).astype(np.float32)


def make_voice_f0(
    seconds: float = 1.0, f0: float = 120.0, sr: int = 16_000, seed: int = 0
) -> np.ndarray:
    """The true pitch of `make_voice` [shape=(n_samples,), Hz; 0 where unvoiced].

    Examples
    --------
    WORLD finds it:

    >>> import pyworld
    >>> for true_f0 in (90.0, 120.0, 220.0, 300.0):
    ...     wav = make_voice(2.0, true_f0).astype(np.float64)
    ...     found, times = pyworld.dio(wav, 16_000)
    ...     found = pyworld.stonemask(wav, found, times, 16_000)
    ...     true = make_voice_f0(2.0, true_f0)[np.minimum((times * 16_000).astype(int), 31_999)]
    ...     both = (found > 0) & (true > 0)
    ...     assert both.sum() > 0.8 * (true > 0).sum(), (true_f0, both.sum(), (true > 0).sum())
    ...     assert (np.abs(found / np.where(both, true, 1) - 1)[both] < 0.03).mean() > 0.9, true_f0
    """
    contour, at, _ = _contour(seconds, f0, sr, seed)
    return np.where(_inside(at, VOICED), contour, 0.0)


def _contour(seconds, f0, sr, seed):
    """Pitch of every sample [Hz], where in its phrase it is [0..1], and rng for the rest."""
    rng = np.random.default_rng(seed)
    n = round(seconds * sr)
    t = np.arange(n) / sr
    at = (t * max(1, round(seconds)) / seconds) % 1
    declination = 1.5 - 3 * at  # [semitones]
    vibrato = 0.25 * np.sin(2 * np.pi * (5.5 * t + rng.uniform()))  # [semitones]
    return f0 * 2 ** ((declination + vibrato) / 12), at, rng


def _inside(at, spans):
    return np.any([(low <= at) & (at < high) for low, high in spans], axis=0)


def _gate(at, spans, sr):
    """1 inside the spans, 0 outside, 20 ms of slope between."""
    slope = np.hanning(round(0.02 * sr) + 2)
    return np.convolve(_inside(at, spans), slope / slope.sum(), mode="same")


def _pulses(contour, sr):
    """One pulse a period, shared between two samples where it falls between them."""
    phase = np.cumsum(contour / sr)
    starts = np.flatnonzero(np.diff(np.floor(phase), prepend=0) > 0)
    late = (phase[starts] % 1) * sr / contour[starts]  # how long before its sample [samples]
    pulses = np.zeros(len(phase))
    pulses[starts] += 1 - late
    pulses[starts - 1] += late
    return pulses


def _vowel(buzz, formants, tract, sr):
    """One resonance after the other; those above the Nyquist frequency are left out."""
    for hz, width in zip(formants, BANDWIDTHS, strict=True):
        if hz * tract < 0.45 * sr:
            r = np.exp(-np.pi * width / sr)
            a = np.array([1, -2 * r * np.cos(2 * np.pi * hz * tract / sr), r * r])
            buzz = lfilter([a.sum()], a, buzz)
    return buzz


@pytest.fixture(scope="session")
def voice():
    """`voice(seconds=1.0, f0=120.0, sr=16_000, seed=0)`: see `make_voice`."""
    return make_voice


@pytest.fixture(scope="session")
def voice_f0():
    """The true pitch of `voice` for the same arguments: see `make_voice_f0`."""
    return make_voice_f0


@pytest.fixture(scope="session")
def cfg():
    """The default settings."""
    return Config()


@pytest.fixture(scope="session")
def tiny_cfg(cfg):
    """Settings that train in seconds."""
    small = dict(width=8, depth=2, critic_width=8, critic_depth=2)
    return replace(cfg, n_frames=64, bs=2, **small)


@pytest.fixture
def recordings(tmp_path):
    """A folder of six recordings (1.5 to 3 s, 16 kHz) of one speaker, its own for each test."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for i in range(6):
        wav = make_voice(seconds=1.5 + 0.3 * i, f0=200.0, seed=i)
        soundfile.write(folder / f"{i}.wav", wav, 16_000)
    return folder


@pytest.fixture(scope="session")
def speech(voice):
    """1.1 s of a low voice at 16 kHz."""
    return voice(seconds=1.1)


@pytest.fixture(scope="session")
def features(speech):
    """WORLD features of `speech`."""
    return analyze(speech, 16_000, AnonymizeConfig(f0_method="harvest"))


@pytest.fixture(scope="session")
def source(features):
    """Statistics of the speaker of `speech`."""
    return speaker_stats([features])


@pytest.fixture(scope="session")
def target(voice):
    """Statistics of a higher voice with a shorter vocal tract."""
    wav = voice(seconds=2.0, f0=220.0, seed=3)
    return speaker_stats([analyze(wav, 16_000, AnonymizeConfig(f0_method="harvest"))])


@pytest.fixture(scope="session")
def plain_cfg(tiny_cfg):
    """Tiny and fast, without a target."""
    return replace(tiny_cfg, f0_method="dio")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, voice, plain_cfg):
    """Six recordings (0.4 to 2.4 s) of one speaker, analyzed."""
    folder = tmp_path_factory.mktemp("recordings")
    for i in range(6):
        soundfile.write(folder / f"{i}.wav", voice(0.4 + 0.4 * i, f0=200.0, seed=i), 16_000)
    return prepare(folder, plain_cfg, tmp_path_factory.mktemp("cache"), n_jobs=1)


@pytest.fixture(scope="session")
def target_cfg(prepared, plain_cfg):
    return learn_target(prepared, plain_cfg)


@pytest.fixture
def folder(tmp_path, voice):
    """A folder of two short recordings, to be spoilt."""
    (tmp_path / "recordings").mkdir()
    for i in range(2):
        soundfile.write(tmp_path / "recordings" / f"{i}.wav", voice(0.4, seed=i), 16_000)
    return tmp_path / "recordings"


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of 0.5 s at most, so that little speech crosses many seams."""
    monkeypatch.setattr(chunks, "CHUNK_S", 0.5)
    monkeypatch.setattr(chunks, "CONTEXT_S", 0.1)


@pytest.fixture
def hears_ctrl_c():
    """Hear SIGINT, as do processes that are started: what a shell runs in its background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
