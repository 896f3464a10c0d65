"""Pseudo-strangers: recordings of the target as a real stranger would have spoken them.

`SpeakerPerturbation` changes the features of a recording. But they stay features of a quiet room,
analyzed at the target's own F0. At conversion a voice of 100 Hz is analyzed in its own room, and
raised by an octave. So the statistics of a real speaker move the target's recording to that
speaker, by grains. A room is added, and the result goes the way of every source: it is analyzed,
and normalized to the target. Only its F0 is that of the original, so that harmonics coincide.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import joblib
import numpy as np
from fastprogress.fastprogress import progress_bar
from scipy.signal import fftconvolve, lfilter

from ..anonymize import Features, analyze, render, speaker_stats, transform
from ..anonymize.dials import VTL_RATIOS, scale_formants, vtl_ratio
from ..anonymize.hybrid import hybrid
from ..anonymize.pipeline import choose_grains, measured_source
from ..anonymize.pseudo_speaker import strangers
from ..config import ADDED, AnonymizeConfig, Config
from ..corpus import CorpusItem, check_target, load_arrays, parallel, save_arrays
from ..errors import MissingInput, ParameterError
from ..fields import check_number
from ..files import sha256
from ..parallel import one_thread
from ..speaker import SpeakerStats

PAIR_VERSION = 1  # version of the cached pairs; part of the names of their files
RATIO_STEP = 0.04  # step between the formant ratios at which the target is measured
OWN_RECORDINGS = 60  # number of recordings, at most, on which the target is measured for this
OWN_STEP = 4  # step between their frames
RT60_S = (0.1, 0.4)  # reverberation time [s]
REVERBERATION_DB = (-20.0, -6.0)  # level of the reverberation relative to the direct sound [dB]
DIRECT_S = 0.002  # time before the first reflection [s]
SNR_DB = (25.0, 45.0)  # level of speech above the noise [dB]
DARKEST = 0.95  # largest coefficient of the low-pass filter of the noise


def add_strangers(
    recordings: Sequence[CorpusItem],
    cfg: Config,
    n_strangers: int = 1,
    cache_dir="data/cache",
    n_jobs: int = -1,
) -> list[CorpusItem]:
    """Make pseudo-strangers of recordings on all cores, and cache them on disk.

    The recording itself is anonymized too, as the target's own speech, and cached beside them.

    Parameters
    ----------
    recordings : sequence of CorpusItem
        Recordings to train on, or to validate on.
    cfg : Config
        With its `target` set.
    n_strangers : int [1..100]
        Number of strangers for each recording.
    cache_dir : str or Path
        Folder of the cache. File names are hashes of recording and settings.
    n_jobs : int
        Number of processes; -1: one a core.

    Returns
    -------
    list of CorpusItem
        The recordings with their `strangers` and `own`. 80 % of their training crops are of
        strangers, 20 % of the target.

    Raises
    ------
    ParameterError
        If `cfg` has no target, or one that was hardly voiced, if `n_strangers` is out of range, or
        if `cfg.sr` is not 16 kHz, the rate at which the strangers were measured.
    NotWritten
        If the disk is full, or the folder is read-only.
    """
    check_target(cfg)
    check_number("n_strangers", n_strangers, 1, 100, whole=True)
    known = strangers(cfg.sr)
    if not known:
        raise ParameterError(
            f"sr={cfg.sr} Hz must be 16000 Hz, the rate of the strangers' statistics; "
            "train with sr=16000, or without add_strangers"
        )
    if not cfg.target.voiced_cov:
        raise ParameterError(
            "the target has less than a quarter of a second of voiced speech; add recordings"
        )
    key, cache_dir = _key(cfg), Path(cache_dir).absolute()
    missing, unspoken, with_strangers = [], [], []
    for item in recordings:
        paths = []
        for version in range(n_strangers):
            paths.append(cache_dir / f"{item.cache.stem}.{key}.{version}.npz")
            if not _is_whole(paths[-1]):
                seed = [cfg.seed, version, zlib.crc32(item.cache.name.encode())]
                stranger = known[np.random.default_rng(seed).integers(len(known))]
                ratio = _ratio(cfg.target, stranger)
                missing.append((ratio, (item, paths[-1], stranger, seed)))
        own_path = cache_dir / f"{item.cache.stem}.{key}.own.npz"
        if not _is_whole(own_path):
            unspoken.append((item, own_path))
        with_strangers.append(replace(item, strangers=tuple(paths), own=own_path))
    own = _own_by_ratio(recordings, {ratio for ratio, _ in missing}) if missing else {}
    jobs = [joblib.delayed(_make_pair)(*pair, own[ratio], cfg) for ratio, pair in missing]
    jobs += [joblib.delayed(_make_own)(*pair, cfg) for pair in unspoken]
    for _ in progress_bar(parallel(n_jobs)(jobs), total=len(jobs), leave=False):
        pass
    return with_strangers


def load_pair(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Load a cached pair of waveforms, anonymized and original [float32, equally long].

    Raises
    ------
    MissingInput
        If the file is gone.
    ParameterError
        If it is damaged.
    """
    anonymized, original = load_arrays(path, ("anonymized", "original"), "add_strangers")
    return anonymized.astype(np.float32) / 32767, original.astype(np.float32) / 32767


def _is_whole(path: Path) -> bool:
    """Whether a pair is cached and undamaged."""
    try:
        load_pair(path)
        return True
    except (MissingInput, ParameterError):
        return False


def _key(cfg: Config) -> str:
    """Hash of all that a pair depends on, apart from its recording and its version."""
    settings = asdict(cfg)
    names = [f.name for f in fields(AnonymizeConfig) if f.name not in ADDED]
    relevant = [PAIR_VERSION, cfg.sr, cfg.seed, *(settings[name] for name in names)]
    return sha256(json.dumps(relevant).encode())[:12]


def _ratio(target: SpeakerStats, stranger: SpeakerStats) -> float:
    """Ratio of the stranger's formants to the target's, on a coarse grid."""
    ratio = vtl_ratio(target.f0_hz, stranger.f0_hz)
    return float(np.clip(round(ratio / RATIO_STEP) * RATIO_STEP, *VTL_RATIOS))


def _own_by_ratio(
    recordings: Sequence[CorpusItem], ratios: Iterable[float]
) -> dict[float, SpeakerStats]:
    """The target's statistics with formants scaled by each ratio."""
    some = recordings[:: -(-len(recordings) // OWN_RECORDINGS)]
    features = [item.load(slice(None, None, OWN_STEP))[1] for item in some]
    measured = {}
    for ratio in ratios:
        scaled = (replace(f, sp=scale_formants(f.sp, ratio)) for f in features)
        measured[ratio] = replace(speaker_stats(scaled), formant_ratio=ratio)
    return measured


@one_thread()
def _make_pair(
    item: CorpusItem,
    path: Path,
    stranger: SpeakerStats,
    seed: list[int],
    own: SpeakerStats,
    cfg: Config,
) -> None:
    """Write the pair of a recording and a stranger."""
    wav, features = item.load()
    rng = np.random.default_rng([*seed, 1])
    spoken = speak_as(wav, features, stranger, own, cfg)
    room = np.clip(add_room(spoken, cfg.sr, rng), -1, 1)
    anonymized = anonymize_stranger(room, features.f0, cfg)
    save_arrays(path, anonymized=_int16(anonymized), original=_int16(wav))


@one_thread()
def _make_own(item: CorpusItem, path: Path, cfg: Config) -> None:
    """Write the pair of a recording as it is: anonymized with the statistics of its own speaker."""
    wav, features = item.load()
    anonymized = render(wav, features, transform(features, cfg, cfg.target), cfg, cfg.target)
    save_arrays(path, anonymized=_int16(anonymized), original=_int16(wav))


def _int16(wav: np.ndarray) -> np.ndarray:
    return np.round(np.clip(wav, -1, 1) * 32767).astype(np.int16)


def speak_as(
    wav: np.ndarray,
    features: Features,
    stranger: SpeakerStats,
    own: SpeakerStats,
    cfg: AnonymizeConfig,
) -> np.ndarray:
    """Move a recording to a stranger's register, formants and envelope, by grains.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    features : Features
        Of `wav`.
    stranger : SpeakerStats
    own : SpeakerStats
        Statistics of the speaker of `wav`, whose `formant_ratio` leads to the stranger's formants.
    cfg : AnonymizeConfig
        Settings of the analysis.

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32, -1..1]
    """
    to_stranger = AnonymizeConfig(
        f0_method=cfg.f0_method,
        f0_floor=cfg.f0_floor,
        f0_ceil=cfg.f0_ceil,
        frame_period_ms=cfg.frame_period_ms,
        voiced="recorded",
        target=stranger,
    )
    moved = transform(features, to_stranger, own)
    grains = choose_grains(wav, features, moved.f0, to_stranger, own)
    return hybrid(wav, features, moved, grains, recorded=True, refine=False)


def add_room(wav: np.ndarray, sr: int, rng: np.random.Generator) -> np.ndarray:
    """Add the reverberation and the steady noise of a random room.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    sr : int [Hz]
    rng : np.random.Generator

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32]
        The direct sound stays; the sum may exceed 1.
    """
    n = round(rng.uniform(*RT60_S) * sr)
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail[: round(DIRECT_S * sr)] = 0
    tail *= 10 ** (rng.uniform(*REVERBERATION_DB) / 20) / np.linalg.norm(tail)
    wet = wav + fftconvolve(wav, tail)[: len(wav)]
    noise = lfilter([1], [1, -rng.uniform(0, DARKEST)], rng.standard_normal(len(wav)))
    snr_db = rng.uniform(*SNR_DB)
    noise *= np.sqrt(np.mean(wet**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (wet + noise).astype(np.float32)


def anonymize_stranger(wav: np.ndarray, original_f0: np.ndarray, cfg: Config) -> np.ndarray:
    """Anonymize a pseudo-stranger as a source, with the F0 of the original recording.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    original_f0 : np.ndarray [shape=(n_frames,), Hz]
    cfg : Config
        With its `target` set.

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32, -1..1]
    """
    features = analyze(wav, cfg.sr, cfg)
    source = measured_source(features, cfg)
    f0 = np.where((features.f0 > 0) & (original_f0 > 0), original_f0, features.f0)
    in_register = replace(
        source, f0_hz=cfg.target.f0_hz, f0_std_semitones=cfg.target.f0_std_semitones
    )
    transformed = transform(replace(features, f0=f0), cfg, in_register)
    return render(wav, features, transformed, cfg, source)
