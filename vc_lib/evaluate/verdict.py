"""The verdict on a voice, in words: is it nearer to the target, are words kept, what to do next.

It compares three versions of each clip: the source; anonymized, which is moved to the target's statistics; and
converted, which went through the network as well. All differences are paired, clip by clip.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ..convert import Voice
from ..errors import ParameterError
from . import judges
from .clips import Clip, TargetClips
from .score_tables import bootstrap, evaluate_set
from .scores import METRICS

VERSIONS = ("source", "anonymized", "converted")
# Measures of likeness, of which the first that was measured counts, and the smallest change that can be heard
LIKENESS = {"cosine_to_target": 0.01, "envelope_distance_db": 0.1}
WORDS = "wer"
N_LEAST = 4  # clips; the interval of fewer says little
WORDS_LOST = 0.03  # rise of the word error rate by the network that is worth a warning


def score_versions(
    voice: Voice,
    clips: Mapping[str, np.ndarray],
    target=(),
    english: bool = False,
    keys: Sequence[str] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, pd.DataFrame]:
    """Convert clips of other speakers, and score what `verdict` needs.

    Parameters
    ----------
    voice : Voice
    clips : dict of name to np.ndarray [shape=(n_samples,), -1..1], at `voice.sr`
    target : iterable of np.ndarray [shape=(n_samples,), -1..1]
        Recordings of the target. Without any, likeness is the distance from the average envelope.
    english : bool
        Whether all clips are English: then words are counted.
    keys : names of metrics, optional
        By default those that `verdict` needs, with the faster F0 tracker. Given ones have WORLD's
        Harvest; scores with different trackers are not comparable.
    say : callable
        Is told what is done now.

    Returns
    -------
    dict of "source", "anonymized" and "converted" to pd.DataFrame
        A row for each clip, a column for each metric.
    """
    sr = voice.sr
    # a verdict needs F0 only to find the envelope
    f0_method = "harvest_fast" if keys is None else "harvest"
    sources = {name: Clip(wav, sr, f0_method) for name, wav in clips.items()}
    target = TargetClips([Clip(wav, sr, f0_method) for wav in target], voice.config.target)
    if keys is None:
        keys = ["envelope_distance_db", *("cosine_to_target",) * bool(target), *(WORDS,) * english]
        keys = [key for key in keys if judges.installed(METRICS[key].packages)]
    systems = dict(source=lambda wav, _: wav, anonymized=voice.anonymize, converted=voice.convert)

    def score(label: str, system) -> pd.DataFrame:
        say(f"scoring {label}")
        made = ((n, dict(converted=system(c.wav, sr), source=c)) for n, c in sources.items())
        return evaluate_set(made, sr, target, total=len(sources), only=keys, f0_method=f0_method)

    return {label: score(label, system) for label, system in systems.items()}


def by_version(scores: Mapping[str, Mapping[str, float]]) -> dict[str, pd.DataFrame]:
    """The scores of `notebook.compare`, a row for each clip and version, as `verdict` takes them."""
    frames = {}
    for version in VERSIONS:
        rows = {
            row.rpartition(", ")[0]: values
            for row, values in scores.items()
            if row.rpartition(", ")[2] == version
        }
        frames[version] = pd.DataFrame.from_dict(rows, orient="index")
    return frames


def verdict(scores: Mapping[str, pd.DataFrame]) -> str:
    """Say in a few sentences what the scores of a voice mean, and what to do.

    Parameters
    ----------
    scores : dict of "source", "anonymized" and "converted" to pd.DataFrame
        From `score_versions`, `evaluate_set` or `by_version`: the same clips in each. Likeness is the cosine of a
        speaker verifier, if it was measured, else the distance of average envelopes.

    Returns
    -------
    str
        Intervals are of 95 %, by the bootstrap over clips.

    Raises
    ------
    ParameterError
        If a version is missing, or no likeness was measured.
    """
    missing = [version for version in VERSIONS if version not in scores]
    if missing:
        raise ParameterError(f"scores lack {', '.join(missing)}; take them from score_versions")
    keys = [key for key in LIKENESS if all(key in scores[version] for version in VERSIONS)]
    if not keys:
        raise ParameterError(f"scores hold no likeness to the target: {' or '.join(LIKENESS)}")
    n_clips = len(scores["converted"])
    network, nearer = _likeness(scores, keys[0])
    words, lost = _words(scores)
    if n_clips < N_LEAST:
        advice = f"{n_clips} clips are too few to tell: give {N_LEAST} or more."
    elif lost:
        advice = "Lower the strength, or train for fewer epochs, to keep more words."
    else:
        advice = {
            1: "The network helps: use the voice.",
            0: "The network changes little: use the voice, or train with more recordings.",
            -1: "The network does harm here: set the strength to 0, and train with more recordings.",
        }[nearer]
    return f"{network} {words} **{advice}**"


def _likeness(scores: Mapping[str, pd.DataFrame], key: str) -> tuple[str, int]:
    """The sentences on likeness, and whether the network brings the voice nearer (1), away (-1), or neither (0).

    It does neither if the change is too small to be heard, or if its interval holds 0.
    """
    metric, means = METRICS[key], {v: scores[v][key].mean() for v in VERSIONS}
    unit = f" {metric.unit}" if metric.unit == "dB" else ""
    mean, low, high = bootstrap(scores["converted"][key] - scores["anonymized"][key])
    sign = 1 if metric.better == "higher" else -1
    nearer = int(min(sign * low, sign * high) > 0) - int(max(sign * low, sign * high) < 0)
    nearer *= abs(mean) >= LIKENESS[key]
    digits = 2 if unit else 3
    text = (
        f"Over {len(scores['converted'])} clips of other speakers, {metric.label} ({metric.arrow}) goes from "
        f"{means['source']:.{digits}f} to {means['converted']:.{digits}f}{unit}. "
        f"Statistics alone reach {means['anonymized']:.{digits}f}{unit}; the network changes that by "
        f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]."
    )
    return text.replace("-", "−"), nearer


def _words(scores: Mapping[str, pd.DataFrame]) -> tuple[str, bool]:
    """The sentence on words, and whether the network loses too many."""
    if not all(WORDS in scores[version] for version in ("anonymized", "converted")):
        return (
            "Words were not counted: that needs English clips and `requirements-eval.txt`.",
            False,
        )
    heard = scores["converted"][WORDS].mean()
    mean, low, _ = bootstrap(scores["converted"][WORDS] - scores["anonymized"][WORDS])
    if math.isnan(heard):
        return "Words could not be counted.", False
    text = (
        f"Of 100 words, {100 * heard:.0f} are heard wrongly, {100 * abs(mean):.0f} "
        f"{'more' if mean >= 0 else 'fewer'} than without the network."
    )
    return text, bool(mean > WORDS_LOST and low > 0)
