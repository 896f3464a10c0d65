"""Scores of many clips: tables, means and bootstrap intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from fastprogress.fastprogress import progress_bar

from ..errors import ParameterError
from ..files import atomically
from ..speaker import SpeakerStats
from .clips import Clip
from .scores import METRICS, evaluate, target_clips

N_RESAMPLES = 2_000  # resamples of the bootstrap


def evaluate_set(
    clips: Iterable[tuple[str, Mapping]],
    sr: int,
    target: np.ndarray | Clip | SpeakerStats | Sequence | None = None,
    csv: str | Path | None = None,
    total: int | None = None,
    n_jobs: int = 1,
    **settings,
) -> pd.DataFrame:
    """`evaluate` for many clips, with a progress bar.

    Parameters
    ----------
    clips : iterable of (name, arguments)
        Arguments of `evaluate`: `converted` and any of `source`, `reference`, `text`. A generator
        may convert each clip when it is needed.
    sr : int [Hz]
    target : as in `evaluate`, optional
        The target of all clips.
    csv : str or Path, optional
        Output file for the table, written when it is complete.
    total : int, optional
        Number of clips, for the progress bar; by default the length of `clips`, if it has one.
    n_jobs : int
        Number of threads.
    **settings
        `align`, `only` and `f0_method` of `evaluate`.

    Returns
    -------
    pd.DataFrame
        A row for each clip, by name, and a column for each metric; nan where a clip has no score.

    Raises
    ------
    ParameterError, MissingInput
        As `evaluate`, with the name of the clip. Also if `clips` is empty.
    """
    f0_method = settings.get("f0_method", "harvest")

    def clip(wav, name: str) -> Clip:
        return wav if isinstance(wav, Clip) else Clip(wav, sr, f0_method, name)

    target = target_clips(target, clip)
    total = len(clips) if isinstance(clips, Sized) else total

    def evaluated(name: str, arguments: Mapping) -> tuple[str, dict]:
        try:
            return name, evaluate(sr=sr, target=target, **arguments, **settings)
        except ParameterError as e:
            raise ParameterError(f"{name}: {e}") from e

    parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    results = parallel(joblib.delayed(evaluated)(*item) for item in clips)
    rows = dict(progress_bar(results, total=total, leave=False))
    if not rows:
        raise ParameterError("clips is empty; give at least one to evaluate")
    scores = pd.DataFrame.from_dict(rows, orient="index")
    scores = scores[[key for key in METRICS if key in scores]].rename_axis("clip")
    if csv is not None:
        atomically(csv, lambda part: scores.to_csv(part, float_format="%.5g"))
    return scores


def bootstrap(values: Iterable[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of a sample and its 95 % confidence interval, by the bootstrap; nan values do not count.

    Returns
    -------
    mean, low, high : float
        All nan without a value. The interval of a single value is the value.

    References
    ----------
    The percentile interval of Efron and Tibshirani, An introduction to the bootstrap, 1993.

    Examples
    --------
    >>> bootstrap([2.0, 2.0, float("nan")])
    (2.0, 2.0, 2.0)
    """
    from scipy.stats import bootstrap as resample  # here, because importing it takes a second

    values = np.array([v for v in values if not math.isnan(v)], dtype=float)
    if len(values) < 2:
        return (float(values[0]) if len(values) else float("nan"),) * 3
    mean = float(values.mean())
    resampled = resample((values,), np.mean, n_resamples=N_RESAMPLES, method="percentile", rng=seed)
    low, high = resampled.confidence_interval
    return mean, float(low), float(high)


def summary(
    scores: Mapping[str, pd.DataFrame],
    keys: Iterable[str] | None = None,
    against: str | None = None,
) -> pd.DataFrame:
    """Means and 95 % confidence intervals, a row for each system, a column for each metric.

    Parameters
    ----------
    scores : mapping of str to pd.DataFrame
        Table of each system, from `evaluate_set`.
    keys : names of metrics, optional
        Columns, in order; by default all metrics.
    against : name of a system, optional
        Give differences from this system instead, clip by clip. Paired differences become
        significant far earlier than two separate intervals.

    Returns
    -------
    pd.DataFrame of str
        Cells such as "0.731 ± 0.012" (half the width of the interval), or "+0.061 [+0.044, +0.078]"
        against a system. "n = 32" is added where only 32 clips have a score, and "–" stands where
        none has. Headings hold unit and direction.

    Raises
    ------
    ParameterError
        If `scores` is empty, or `against` is not among its systems.
    """
    if not scores:
        raise ParameterError("scores is empty; give at least one system")
    if against is not None and against not in scores:
        raise ParameterError(f"against={against!r} must be one of {', '.join(scores)}")
    found = {key for frame in scores.values() for key in frame}
    keys = [key for key in METRICS if key in found] if keys is None else list(keys)
    rows = {}
    for system, frame in scores.items():
        if against is None:
            rows[system] = {k: _mean_and_half(frame[k]) if k in frame else "–" for k in keys}
        elif system != against:
            difference = frame - scores[against]
            difference = difference.loc[frame.index.intersection(scores[against].index)]
            rows[system] = {
                k: _mean_difference(difference[k]) if k in difference else "–" for k in keys
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename(columns=_heading)


def _heading(key: str) -> str:
    """Label, unit and direction of a metric."""
    metric = METRICS[key]
    unit = f" [{metric.unit}]" if metric.unit in ("dB", "cents") else ""
    return f"{metric.label}{unit} {metric.arrow}"


def _mean_and_half(values: pd.Series) -> str:
    """Mean and half the width of its interval, as text."""
    mean, low, high = bootstrap(values)
    if math.isnan(mean):
        return "–"
    digits = 1 if abs(mean) >= 20 else 2 if abs(mean) >= 2 else 3
    half = f" ± {(high - low) / 2:.{digits}f}" if values.count() > 1 else ""
    return f"{mean:.{digits}f}{half}{_count(values)}"


def _mean_difference(values: pd.Series) -> str:
    """Mean difference and its interval, with signs, as text."""
    mean, low, high = bootstrap(values)
    if values.count() < 2:
        return "–"
    digits = 1 if max(map(abs, (low, high))) >= 2 else 3
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{_count(values)}"


def _count(values: pd.Series) -> str:
    """The number of clips with a score, if some have none."""
    return "" if values.count() == len(values) else f" (n = {values.count()})"
