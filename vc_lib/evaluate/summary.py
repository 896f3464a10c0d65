"""Scores of many clips: tables, means and bootstrap intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from fastprogress.fastprogress import progress_bar

from ..errors import ParameterError
from ..files import atomically
from ..speaker import SpeakerStats
from .clips import Clip
from .scores import METRICS, _recordings, evaluate

N_RESAMPLES = 2_000  # of the bootstrap


# Sets


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
        Arguments of `evaluate`: `converted` and any of `source`, `reference`, `text`. May be a
        generator that converts each clip as it comes.
    sr : int [Hz]
    target : as in `evaluate`, optional
        For all clips.
    csv : str or Path, optional
        Where the table goes, a row for each clip, written when whole.
    total : int, optional
        How many clips, for the progress bar; known where `clips` has a length.
    n_jobs : int
        Clips evaluated at a time, in threads.
    **settings
        `align`, `only` and `f0_method` of `evaluate`.

    Returns
    -------
    pd.DataFrame
        A row for each clip, by name; a column for each metric, nan where there is none.

    Raises
    ------
    ParameterError, MissingInput
        As `evaluate`, naming the clip; or if there is no clip.
    """
    target = _recordings(
        target,
        lambda wav, name: (
            wav
            if isinstance(wav, Clip)
            else Clip(wav, sr, settings.get("f0_method", "harvest"), name)
        ),
    )
    total = len(clips) if hasattr(clips, "__len__") else total

    def one(name: str, arguments: Mapping) -> tuple[str, dict]:
        try:
            return name, evaluate(sr=sr, target=target, **arguments, **settings)
        except ParameterError as e:
            raise ParameterError(f"{name}: {e}") from e

    parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    done = parallel(joblib.delayed(one)(*clip) for clip in clips)
    rows = dict(progress_bar(done, total=total, leave=False))
    if not rows:
        raise ParameterError("clips is empty; give at least one to evaluate")
    scores = pd.DataFrame.from_dict(rows, orient="index")
    scores = scores[[key for key in METRICS if key in scores]].rename_axis("clip")
    if csv is not None:
        atomically(csv, lambda part: scores.to_csv(part, float_format="%.5g"))
    return scores


def bootstrap(values: Iterable[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of a sample and its 95 % confidence interval, by resampling it; nan values do not count.

    Returns
    -------
    mean, low, high : float
        All nan if nothing counts.

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
    return mean, *(float(v) for v in resampled.confidence_interval)


def summary(
    scores: Mapping[str, pd.DataFrame],
    keys: Iterable[str] | None = None,
    against: str | None = None,
) -> pd.DataFrame:
    """Means with their 95 % intervals, a row for each system, a column for each metric.

    Parameters
    ----------
    scores : mapping of system to what `evaluate_set` gave
    keys : names of metrics, optional
        Which, and in which order; all by default.
    against : name of a system, optional
        Given: not the systems themselves but what each has more than this one, clip by clip, which
        tells far smaller differences from chance than two intervals side by side.

    Returns
    -------
    pd.DataFrame of str
        Such as "0.731 ± 0.012" (half the interval's width), or "+0.061 [+0.044, +0.078]" against a
        system, under headings with unit and direction; "n = 32" where that many clips only have a
        number; "–" where nothing was measured.
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
            more = frame - scores[against]
            more = more.loc[frame.index.intersection(scores[against].index)]
            rows[system] = {k: _difference(more[k]) if k in more else "–" for k in keys}
    return pd.DataFrame.from_dict(rows, orient="index").rename(columns=_heading)


def _heading(key: str) -> str:
    metric = METRICS[key]
    unit = f" [{metric.unit}]" if metric.unit in ("dB", "cents") else ""
    return f"{metric.label}{unit} {metric.arrow}"


def _mean_and_half(values: pd.Series) -> str:
    mean, low, high = bootstrap(values)
    if math.isnan(mean):
        return "–"
    digits = 1 if abs(mean) >= 20 else 2 if abs(mean) >= 2 else 3
    half = f" ± {(high - low) / 2:.{digits}f}" if values.count() > 1 else ""
    return f"{mean:.{digits}f}{half}{_how_many(values)}"


def _difference(values: pd.Series) -> str:
    mean, low, high = bootstrap(values)
    if values.count() < 2:
        return "–"
    digits = 1 if max(map(abs, (low, high))) >= 2 else 3
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{_how_many(values)}"


def _how_many(values: pd.Series) -> str:
    """How many clips count, if not all do."""
    return "" if values.count() == len(values) else f" (n = {values.count()})"
