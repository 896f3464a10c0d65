"""Curves of a run and comparison of runs, from history.csv."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ..config import Config
from ..errors import MissingInput, ParameterError
from ..evaluate import METRICS
from ..model.voice_folder import BASE, HISTORY
from ..training.run_folder import STAGES
from .style import COLORS, STYLE, Figure, figure, line_style, plain, rounded
from .tables import table

# Parts of column names outside of METRICS whose higher value is better
HIGHER_IS_BETTER = ("corr", "snr", "pesq", "stoi", "cosine", "mos", "accuracy")
UNMARKED = ("critic", "turns")  # panels without a mark at the best epoch
OWN = "; it may get a little worse while others_ gets better"  # remark on the target's own clips
NEEDED = "history.csv in a run's folder holds an epoch column and one for each number"


@matplotlib.rc_context(STYLE)
def plot_losses(history: str | Path | pd.DataFrame) -> Figure:
    """Draw losses, critic, steps and each metric of a run in panels.

    Parameters
    ----------
    history : path of a CSV file, or pd.DataFrame
        A column `epoch` and others; those with numbers are drawn. Names with "crit" go to the panel
        "critic", names with "loss" to "losses", names with "steps" or "capped" to "turns". Empty
        cells are gaps. With a column `stage` the stages follow each other, with a dashed line
        between them. Losses of the stage "critic" go to the panel "critic".

    Returns
    -------
    Figure
        A dot marks the best epoch of each line in each stage, except in "critic" and "turns". The
        best is the highest for correlations, SNR, PESQ, STOI, cosine, MOS and accuracy, else the
        lowest.

    Raises
    ------
    MissingInput
        If the file does not exist.
    ParameterError
        If `epoch` is missing, or there is no number to draw.
    """
    frame = history if isinstance(history, pd.DataFrame) else _read(Path(history))
    if "epoch" not in frame or not len(frame):
        found = ", ".join(map(str, frame)) or "nothing"
        raise ParameterError(
            f"history holds {found} in {len(frame)} rows, must hold epochs; {NEEDED}"
        )
    frame, stages = _by_stage(frame)
    panels = _panels(frame)
    if not panels:
        raise ParameterError(f"history holds no number beside epoch; {NEEDED}")
    starts_over = (frame["epoch"].diff().dropna() <= 0).any()
    epochs = np.arange(len(frame)) if starts_over else frame["epoch"].to_numpy()

    fig, axs = figure(len(panels), row=1.8, sharex=True)
    for ax, (title, columns) in zip(axs, panels.items(), strict=True):
        for i, column in enumerate(columns):
            _draw_line(ax, epochs, frame[column], stages, i, column, title not in UNMARKED)
        ax.set(title=_titled(title, "gan" in stages.values()))
        ax.ticklabel_format(axis="y", useOffset=False)
        if len(columns) > 1 or columns[0] != title:
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.grid(True)
    if len(stages) > 1:
        axs[0].text(epochs[0], 1.18, plain(stages[0]), transform=axs[0].get_xaxis_transform())
    for start, name in list(stages.items())[1:]:
        for ax in axs:
            ax.axvline(epochs[start] - 0.5, color="gray", linestyle="--", linewidth=1)
        axs[0].text(epochs[start] - 0.5, 1.18, plain(name), transform=axs[0].get_xaxis_transform())
    axs[-1].set_xlabel("Epoch, all stages" if starts_over else "Epoch")
    axs[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return fig


def _by_stage(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, str]]:
    """The table in the order of training, and the first row of each stage.

    Losses of the stage "critic" are moved to columns of their own.
    """
    if "epoch" not in frame or not pd.api.types.is_numeric_dtype(frame["epoch"]):
        raise ParameterError(f"history has no numbers in a column epoch; {NEEDED}")
    if "stage" not in frame:
        return frame, {0: ""}
    names = frame["stage"].astype(str)
    order = {name: i for i, name in enumerate(_stages(names))}
    frame = frame.assign(stage=names, order=names.map(order))
    frame = frame.sort_values(["order", "epoch"], kind="stable", ignore_index=True)
    frame, stage = frame.drop(columns="order"), frame["stage"]
    of_critic = stage == "critic"
    for column in [c for c in frame.select_dtypes("number") if "loss" in c and "crit" not in c]:
        frame[f"critic {column}"] = frame[column].where(of_critic)
        frame[column] = frame[column].where(~of_critic)
    return frame, {int((stage == name).argmax()): name for name in stage.unique()}


def _draw_line(
    ax, epochs, values: pd.Series, stages: dict[int, str], i: int, label: str, mark=True
):
    """Draw line `i` of a panel, with a gap between stages and a mark at the best epoch of each."""
    numbers = values.to_numpy(dtype=float)
    starts = [*stages, len(numbers)]
    for k, (start, stop) in enumerate(pairwise(starts)):
        seen = start + np.flatnonzero(np.isfinite(numbers[start:stop]))
        ax.plot(
            epochs[seen],
            numbers[seen],
            label=plain(label) if k == 0 else None,
            marker=".",
            **line_style(i),
        )
        if mark and len(seen):
            _mark_best(ax, epochs[seen], numbers[seen], values.name, COLORS[i % len(COLORS)])


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise MissingInput(
            f"{path} does not exist; train a voice with one of the 02 notebooks first"
        )
    try:
        return pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as e:
        raise ParameterError(f"{path} is no table ({e}); {NEEDED}") from e


def _panels(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of each panel by its title; columns without a number are left out."""
    numbers = [c for c in frame.select_dtypes("number") if c != "epoch" and frame[c].notna().any()]
    turns = [c for c in numbers if "steps" in c or "capped" in c]
    critic = [c for c in numbers if "crit" in c and c not in turns]
    losses = [c for c in numbers if "loss" in c and c not in critic]
    metrics = {c: [c] for c in numbers if c not in losses + critic + turns}
    panels = {"losses": losses, "critic": critic} | metrics | {"turns": turns}
    return {title: columns for title, columns in panels.items() if columns}


def _metrics(frame: pd.DataFrame) -> list[str]:
    """The columns that are neither losses nor steps."""
    apart = ("losses", *UNMARKED)
    return [c for title, columns in _panels(frame).items() if title not in apart for c in columns]


def _titled(panel: str, is_game: bool = False) -> str:
    """Title of a panel, with the better direction; `is_game`: losses of a stage gan are in it.

    Examples
    --------
    >>> _titled("others_cosine_to_target"), _titled("losses")
    ('others_cosine_to_target ↑ higher is better', 'losses ↓ lower is better')
    """
    if panel == "critic":
        return "critic: a game of two networks, neither direction is better"
    if panel in UNMARKED:
        return panel
    if panel == "losses":
        return f"losses ↓ lower is better{', but not in the stage gan, a game' if is_game else ''}"
    better = "↑ higher is better" if _higher_is_better(panel) else "↓ lower is better"
    return f"{plain(panel)} {better}{OWN if panel.startswith('own_') else ''}"


def _higher_is_better(column: str) -> bool:
    """Whether a higher value is better: by the metric in the name (own_pesq_wb), or by a part of it."""
    for key in sorted(METRICS, key=len, reverse=True):
        if column == key or column.endswith(f"_{key}"):
            return METRICS[key].better == "higher"
    return any(word in column for word in HIGHER_IS_BETTER)


def _mark_best(ax, epochs: np.ndarray, values: np.ndarray, column: str, color: str) -> None:
    """Draw a dot and the number at the best epoch."""
    higher = _higher_is_better(column)
    best = int(np.argmax(values) if higher else np.argmin(values))
    ax.plot(epochs[best], values[best], "o", color=color, markeredgecolor="black", zorder=3)
    ax.annotate(
        rounded(values[best]),
        (epochs[best], values[best]),
        xytext=(4, -10 if higher else 5),
        textcoords="offset points",
    )


# Comparison of runs


def find_runs(folder="models") -> dict[str, Path]:
    """Find the runs in a folder: subfolders with a history.csv, by name, without the base.

    Raises
    ------
    MissingInput
        If there is none.
    """
    found = {path.parent.name: path.parent for path in sorted(Path(folder).glob(f"*/{HISTORY}"))}
    found.pop(BASE, None)
    if not found:
        raise MissingInput(f"{folder} holds no run; train a voice with one of the 02 notebooks")
    return found


def compare_runs(folder="models") -> pd.DataFrame:
    """Compare the runs of a folder: different settings, epochs of each stage, last metrics.

    Parameters
    ----------
    folder : str or Path
        Each subfolder with a history.csv is a run.

    Returns
    -------
    pd.DataFrame
        Text, a row for each run. Settings that all runs share are left out. Metrics are the last
        measured ones, which may be some epochs old. An en dash marks missing values and runs that
        cannot be read.

    Raises
    ------
    MissingInput
        If there is no run.
    """
    runs = find_runs(folder)
    settings = {name: _settings(run) for name, run in runs.items()}
    known = [row for row in settings.values() if row]
    differ = [key for key in asdict(Config()) if len({str(row.get(key)) for row in known}) > 1]
    rows = {}
    for name, run in runs.items():
        rows[name] = {key: _setting_text(settings[name].get(key)) for key in differ}
        try:
            frame, _ = _by_stage(_read(run / HISTORY))
        except ParameterError:
            rows[name]["epochs"] = f"{HISTORY} cannot be read"
            continue
        rows[name]["epochs"] = _epochs(frame)
        for metric in _metrics(frame):
            rows[name][metric] = frame[metric].dropna().iloc[-1]
    return table(rows)


def _setting_text(value) -> str:
    """A setting as text; an en dash if it is unknown."""
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _settings(run: Path) -> dict:
    """The settings of a run without the target's statistics; empty if they cannot be read."""
    try:
        settings = asdict(Config.load(run / "config.json"))
    except (MissingInput, ParameterError):
        return {}
    return {key: value for key, value in settings.items() if key != "target"}


def _epochs(history: pd.DataFrame) -> str:
    """Number of epochs of each stage, as in "generator 15, critic 2, gan 10"."""
    if "stage" not in history:
        return str(len(history))
    names = history["stage"].astype(str)
    counts = names.value_counts()
    return ", ".join(f"{stage} {counts[stage]}" for stage in _stages(names))


def _stages(names: pd.Series) -> list[str]:
    """The stages of a history in the order of training, unknown ones last."""
    return list(dict.fromkeys([*(stage for stage in STAGES if (names == stage).any()), *names]))


@matplotlib.rc_context(STYLE)
def plot_runs(folder="models", metrics: Sequence[str] = ()) -> Figure:
    """Draw the metrics of all runs of a folder: a panel for each metric, a line for each run.

    Parameters
    ----------
    folder : str or Path
    metrics : sequence of str
        Columns of history.csv; by default all except losses and steps.

    Returns
    -------
    Figure
        Each metric over the epochs of all stages. A dot marks the best epoch of each stage.

    Raises
    ------
    MissingInput
        If there is no run.
    ParameterError
        If no run has such a column.
    """
    histories = {}
    for name, run in find_runs(folder).items():
        with suppress(ParameterError):  # compare_runs reports it
            histories[name] = _by_stage(_read(run / HISTORY))
    known = list(dict.fromkeys(c for frame, _ in histories.values() for c in _metrics(frame)))
    unknown = [metric for metric in metrics if metric not in known]
    if unknown or not known:
        raise ParameterError(f"metrics={list(metrics)} must be among {', '.join(known) or 'none'}")
    shown = list(metrics) or known
    fig, axs = figure(len(shown), row=1.8, sharex=True)
    for ax, metric in zip(axs, shown, strict=True):
        for i, (name, (frame, stages)) in enumerate(histories.items()):
            if metric in frame:
                _draw_line(ax, np.arange(len(frame)), frame[metric], stages, i, name)
        ax.set(title=_titled(metric))
        ax.ticklabel_format(axis="y", useOffset=False)
        ax.grid(True)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    axs[-1].set_xlabel("Epoch, all stages")
    axs[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return fig
