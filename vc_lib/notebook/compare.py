"""Comparison of a voice's output with its source: excerpts, envelopes and scores."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastprogress.fastprogress import progress_bar

from ..anonymize import Features, envelope_from_cepstrum, resynthesize
from ..audio import load_wav, resample
from ..convert import load_voice
from ..errors import MissingInput, ParameterError
from ..evaluate import METRICS, Clip, TargetClips, evaluate, judges
from ..evaluate.baselines import world_statistics
from ..model.voice_folder import find_voice
from ..speaker import SpeakerStats
from .measure import coarse_envelope

ROWS = ("source", "anonymized", "WORLD statistics", "converted")
MEASURED = (
    "envelope_distance_db",
    "f0_register_cents",
    "source_log_f0_corr",
    "source_voicing_error",
    "source_envelope_distance_db",
    "pause_level_db",
)
JUDGED = ("cosine_to_source", "distillmos", "dnsmos")  # by the packages of requirements-eval.txt


def target_excerpt(voice_dir, target_clip, sr: int, n_samples: int) -> dict[str, np.ndarray]:
    """The beginning of a recording of the target, labelled "target"; empty if there is none.

    Without a `target_clip`, models/ljspeech brings its own.
    """
    if not target_clip and find_voice(voice_dir) == Path("models/ljspeech"):
        target_clip = "readme/target.mp3"
    return {"target": load_wav(target_clip, sr)[:n_samples]} if target_clip else {}


def beside(
    wavs: Mapping[str, np.ndarray], of_target: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The waveforms and a recording of the target, which is cut to the length of the longest.

    Examples
    --------
    >>> {k: len(wav) for k, wav in beside({"source": np.ones(3)}, {"target": np.ones(9)}).items()}
    {'source': 3, 'target': 3}
    """
    n_samples = max(map(len, wavs.values()))
    return {**wavs, **{label: wav[:n_samples] for label, wav in of_target.items()}}


def coarse_envelopes(features: Mapping[str, Features], target: SpeakerStats) -> dict[str, Features]:
    """The features with as many cepstral coefficients as are known of the target, and the target.

    Returns
    -------
    dict of label to Features
        "target" is one frame: its average envelope at its register.
    """
    n_cepstra = len(target.cepstrum_mean)
    coarse = {label: coarse_envelope(part, n_cepstra) for label, part in features.items()}
    any_part = next(iter(features.values()))
    mean = np.array([target.cepstrum_mean])
    sp = envelope_from_cepstrum(mean, any_part.sr, any_part.sp.shape[1])
    f0, ap = np.array([target.f0_hz]), np.ones_like(sp)
    return coarse | {"target": replace(any_part, f0=f0, sp=sp, ap=ap)}


def baseline(source: Clip, target: SpeakerStats) -> Clip:
    """The source with its statistics moved to the target's, without a network."""
    moved = world_statistics(source.features, target)
    return Clip(resynthesize(moved, len(source.wav)), source.sr)


def compare(
    clips: Mapping[str, Mapping[str, Clip]],
    stats: SpeakerStats,
    target: Iterable[np.ndarray] = (),
    english: bool = False,
) -> dict[str, dict[str, float]]:
    """Score every version of every clip against its source and the target.

    Parameters
    ----------
    clips : dict of name to dict of label to Clip
        Labels "source", "anonymized" and "converted"; "WORLD statistics" is made here.
    stats : SpeakerStats
        Statistics of the target.
    target : iterable of np.ndarray [shape=(n_samples,), -1..1]
        Recordings of the target, for the speaker verifier.
    english : bool
        Whether the clips are English: then the word error rate is measured.

    Returns
    -------
    dict of "name, label" to dict of metric to float
        Metrics whose package is not installed are left out.
    """
    sr, scores = next(iter(clips.values()))["source"].sr, {}
    of_target = TargetClips([Clip(wav, sr) for wav in target], stats)
    for name, versions in clips.items():
        versions = {**versions, "WORLD statistics": baseline(versions["source"], stats)}
        scored = _scored({row: versions[row] for row in ROWS}, of_target, english)
        scores |= {f"{name}, {row}": values for row, values in scored.items()}
    return scores


def compare_versions(
    wavs: Mapping[str, np.ndarray], sr: int, stats: SpeakerStats, target: Iterable[np.ndarray] = ()
) -> dict[str, dict[str, float]]:
    """Score versions of one clip, such as those of each stage of training.

    Parameters
    ----------
    wavs : dict of label to np.ndarray [shape=(n_samples,), -1..1]
        With "source" among the labels.
    sr : int [Hz]
    stats, target
        As for `compare`.

    Returns
    -------
    dict of label to dict of metric to float
        Words are not counted. Metrics whose package is not installed are left out.
    """
    of_target = TargetClips([Clip(wav, sr) for wav in target], stats)
    return _scored({label: Clip(wav, sr) for label, wav in wavs.items()}, of_target)


def _scored(versions: Mapping[str, Clip], of_target: TargetClips, english: bool = False) -> dict:
    """Scores of each version of a clip, by label; metrics whose package is not installed are left out."""
    judged = JUDGED + ("wer",) * english + ("cosine_to_target",) * bool(of_target)
    keys = [*MEASURED, *(key for key in judged if judges.installed(METRICS[key].packages))]
    given: dict[str, Any] = dict(only=keys, source=versions["source"], target=of_target)
    return {label: evaluate(clip, clip.sr, **given) for label, clip in versions.items()}


def average(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Means of the scores of `compare` over its clips, by label.

    Examples
    --------
    >>> average({"a, source": {"wer": 0.0}, "b, source": {"wer": 0.5}})
    {'source': {'wer': 0.25}}
    """
    labels = [row.rpartition(", ")[2] for row in scores]
    frame = pd.DataFrame(list(scores.values()), index=labels)
    means = frame.groupby(level=0, sort=False).mean()
    return {label: row.to_dict() for label, row in means.iterrows()}


def convert_with_each(folders: Iterable[Path], wav: np.ndarray, sr: int) -> dict[str, np.ndarray]:
    """Convert a waveform with several voices.

    Parameters
    ----------
    folders : iterable of Path
        Voices. One that cannot be loaded is reported and left out.
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]

    Returns
    -------
    dict of folder name to np.ndarray
        At `sr`.
    """
    converted = {}
    for folder in progress_bar(list(folders)):
        try:
            voice = load_voice(folder)
        except (MissingInput, ParameterError) as e:
            print(f"{folder} is left out: {e}")
            continue
        converted[folder.name] = resample(voice.convert(wav, sr), voice.sr, sr)
    return converted
