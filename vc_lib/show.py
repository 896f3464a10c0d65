"""Players, pictures and tables: how the notebooks let you hear, see and compare.

Pictures are figures of their own, never pyplot's, so that they work in callbacks and leave nothing
open; a notebook shows them as small PNGs on white, readable in light and dark themes.
"""

import io
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from IPython import get_ipython
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter
from PIL import Image

from .anonymize import Features, active_frames, analyze
from .audio import check_sr
from .config import AudioConfig
from .errors import MissingInput, ParameterError
from .evaluate import METRICS
from .players import (
    RANGE_DB,
    checked_wavs,
    gains_to_level,
    levels_under_loudest,
)
from .spectrogram import check_image

MAX_SECONDS = 300.0  # longer, a picture shows nothing and takes gigabytes
WIDTH, ROW, DPI = 7.5, 1.7, 80  # of a picture and of its panels [inches, pixels an inch]
N_COLORS = 40  # of a whole picture; fewer: smaller files

# Told apart by every kind of eye: Okabe and Ito, Color Universal Design, 2008; dashes help in print
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
# Few levels, as noise makes large files. Levels may be averaged into a pixel, signs and angles not
LEVELS = {"cmap": matplotlib.colormaps["magma"].resampled(14), "interpolation_stage": "data"}
SIGNED = {"cmap": matplotlib.colormaps["RdBu"].resampled(9), "interpolation": "nearest"}
ANGLES = {"cmap": matplotlib.colormaps["twilight"].resampled(8), "interpolation": "nearest"}
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "axes.grid": False}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "white"}
STYLE |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), "black")
STYLE |= dict.fromkeys(("xtick.color", "ytick.color", "legend.labelcolor"), "black")
STYLE |= {"legend.frameon": False, "grid.color": "#D0D0D0", "image.interpolation": "auto"}

# Better when higher, by what a name contains that is none of evaluate's; all others when lower
HIGHER_IS_BETTER = ("corr", "snr", "pesq", "stoi", "cosine", "mos", "accuracy")

UNMARKED = ("critic", "turns")  # panels in which nothing is best

HISTORY = "history.csv in a run's folder holds an epoch column and one for each number"


# See


class Picture(Figure):
    """A matplotlib Figure that a notebook shows as a small PNG, with pyplot and without it."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", facecolor="white", transparent=False, dpi=DPI)
        image = _with_few_colors(np.asarray(Image.open(file).convert("RGB")))
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        return file.getvalue()

    def save(self, path) -> None:
        """Write the very PNG that a notebook shows; its folder is made if need be."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._repr_png_())


def _with_few_colors(rgb: np.ndarray) -> Image.Image:
    """Every pixel (height, width, 3) in the nearest of the N_COLORS commonest colours."""
    packed = rgb.astype(np.int32) @ [65536, 256, 1]
    codes, which, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)
    palette = colors[np.argsort(-counts)[:N_COLORS]]
    nearest = ((colors[:, None] - palette) ** 2).sum(2).argmin(1)
    image = Image.fromarray(nearest[which].reshape(packed.shape).astype(np.uint8)).convert("P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    return image


if get_ipython():  # or else `%matplotlib inline`, which knows only Figure, would show a larger one
    get_ipython().display_formatter.formatters["image/png"].for_type(Picture, Picture._repr_png_)


def _picture(n_panels: int = 1, row: float = ROW, **axes) -> tuple[Picture, list]:
    """A picture with panels under each other, and the panels."""
    fig = Picture(figsize=(WIDTH, 0.5 + n_panels * row), layout="constrained", facecolor="white")
    return fig, list(fig.subplots(n_panels, squeeze=False, **axes)[:, 0])


def _checked_features(features_by_label: Mapping[str, Features]) -> Mapping[str, Features]:
    """What was given, if it is features by label."""
    ok = isinstance(features_by_label, Mapping) and features_by_label
    if not ok or not all(isinstance(f, Features) for f in features_by_label.values()):
        raise ParameterError(
            "features_by_label must be a dict of label to Features with at least one, "
            'as in {"source": analyze(wav, sr)}'
        )
    return features_by_label


def _labelled(features_by_label: Mapping[str, Features]) -> list[tuple]:
    """(label, features, line style) of each, refusing anything else."""
    return [
        (_plain(label), features, _line(i))
        for i, (label, features) in enumerate(_checked_features(features_by_label).items())
    ]


def _plain(label) -> str:
    """A label as it is: matplotlib takes $...$ for mathematics and a leading _ for "no legend"."""
    text = str(label).replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text


def _line(i: int, dashed: bool = False) -> dict:
    """Colour and dashes of the i-th line."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": DASHES[i % len(DASHES)] if dashed else "-",
        "linewidth": 1.5,
    }


def _hz_axis(ax, label: str = "F0 [Hz]") -> None:
    """A logarithmic pitch axis with numbers in Hz."""
    ax.set_yscale("log")
    ax.set_yticks([50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600])
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel(label)


def _f0_limits(contours) -> tuple[float, float]:
    """A common range for pitch axes, half an octave at least [Hz]."""
    f0 = np.concatenate([*contours, np.zeros(0)])
    f0 = f0[f0 > 0]
    low, high = (f0.min(), f0.max()) if len(f0) else (100.0, 200.0)
    widen = max(1.06, np.sqrt(np.sqrt(2) / (high / low)))
    return low / widen, high * widen


@matplotlib.rc_context(STYLE)
def plot_spectrograms(
    wavs: Mapping[str, np.ndarray], sr: int, f0: bool | Mapping[str, Features] = True
) -> Picture:
    """Draw log-spectrograms under each other, on common scales of time, frequency and level.

    They are brought to the same speech level first, as in `play`, so that equal colours mean
    equally loud next to the speech.

    Parameters
    ----------
    wavs : dict of label to np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
        Of all of them.
    f0 : bool or dict of label to Features
        Draw the pitch over it, by the axis on the right; True: find it (about 0.1 s for a second of
        sound), features: take theirs, for the labels that there are.

    Returns
    -------
    Picture
        A matplotlib Figure: 0 dB is the loudest bin of all, -70 dB the darkest colour.

    Raises
    ------
    ParameterError
        If there is nothing to draw, an array is no waveform, or one is longer than 300 s.
    """
    sr, wavs = check_sr(sr), checked_wavs(wavs)
    seconds = max(map(len, wavs.values())) / sr
    if seconds > MAX_SECONDS:
        raise ParameterError(
            f"{seconds:.0f} s is more than a picture shows ({MAX_SECONDS:.0f} s); "
            "cut a piece out, as in wav[: 10 * sr]"
        )
    cfg, levels_db = levels_under_loudest(wavs, sr, gains_to_level(wavs, sr), WIDTH * DPI)
    if f0 is True:
        f0 = {label: analyze(wav, sr) for label, wav in wavs.items()}
    contours = _checked_features(f0) if f0 is not False else {}
    f0_limits = _f0_limits([features.f0 for features in contours.values()])

    fig, axs = _picture(len(wavs), sharex=True, sharey=True)
    for ax, (label, level_db) in zip(axs, levels_db.items(), strict=True):
        place = _place(level_db, cfg)
        shown = ax.imshow(level_db, vmin=-RANGE_DB, vmax=0, **place, **LEVELS)
        ax.set(title=_plain(label), ylabel="Frequency [kHz]", xlim=(0, seconds))
        if label in contours:
            _draw_f0_over(ax, contours[label], f0_limits)
    axs[-1].set_xlabel("Time [s]")
    fig.colorbar(shown, ax=axs, label="Level [dB]", pad=0.01, aspect=15 * len(wavs))
    return fig


def _place(level: np.ndarray, cfg: AudioConfig) -> dict:
    """How imshow puts an array (n_freqs, n_frames) on axes of seconds and kHz."""
    half_frame, half_bin = cfg.hop_length / cfg.sr / 2, cfg.sr / cfg.n_fft / 2000
    right = (level.shape[1] - 1) * cfg.hop_length / cfg.sr + half_frame
    extent = (-half_frame, right, -half_bin, cfg.sr / 2000 + half_bin)
    return {"extent": extent, "origin": "lower", "aspect": "auto"}


def _draw_f0_over(ax, features: Features, limits: tuple[float, float]) -> None:
    """The pitch over a spectrogram, by an axis of its own on the right."""
    right = ax.twinx()
    hz = np.where(features.f0 > 0, features.f0, np.nan)
    outlined = [Stroke(linewidth=3, foreground="black"), Normal()]
    right.plot(features.times, hz, color="#7FE3FF", linewidth=1.3, path_effects=outlined)
    _hz_axis(right)
    right.set_ylim(limits)


@matplotlib.rc_context(STYLE)
def plot_features(features: Features) -> Picture:
    """Draw the three parts that WORLD takes a recording into: pitch, envelope and aperiodicity.

    Parameters
    ----------
    features : Features

    Returns
    -------
    Picture
        A matplotlib Figure: F0 [Hz, logarithmic; gaps are unvoiced], level of the envelope [dB under
        its loudest cell] and aperiodicity [0..1; 1 is all noise], over time [s].

    Raises
    ------
    ParameterError
        If they are no Features.
    """
    if not isinstance(features, Features):
        raise ParameterError(
            f"features must be Features, as from analyze(wav, sr); got {type(features).__name__}"
        )
    level_db = 10 * np.log10(np.maximum(features.sp, 1e-16))
    half_step, times = features.frame_period_ms / 2000, features.times
    extent = (-half_step, times[-1] + half_step, 0, features.sr / 2000)

    fig, (pitch, *images) = _picture(3, sharex=True)
    pitch.plot(times, np.where(features.voiced, features.f0, np.nan), **_line(0))
    _hz_axis(pitch)
    pitch.set_ylim(_f0_limits([features.f0]))
    pitch.grid(True)
    pitch.set_title("F0: pitch, where there is one")
    shown = (
        (
            "Envelope: how loud each frequency is",
            level_db - level_db.max(),
            -RANGE_DB,
            0,
            "Level [dB]",
        ),
        ("Aperiodicity: how much of it is noise", features.ap, 0, 1, "Share of noise"),
    )
    for ax, (title, values, low, high, unit) in zip(images, shown, strict=True):
        image = ax.imshow(
            values.T, vmin=low, vmax=high, extent=extent, origin="lower", aspect="auto", **LEVELS
        )
        ax.set(title=title, ylabel="Frequency [kHz]", xlim=(0, times[-1]))
        fig.colorbar(image, ax=ax, label=unit, pad=0.01)
    images[-1].set_xlabel("Time [s]")
    return fig


@matplotlib.rc_context(STYLE)
def plot_f0(features_by_label: Mapping[str, Features]) -> Picture:
    """Draw pitch contours over each other; gaps are unvoiced.

    Parameters
    ----------
    features_by_label : dict of label to Features

    Returns
    -------
    Picture
        A matplotlib Figure: F0 [Hz, logarithmic] over time [s]. "(no pitch)" is added to the label
        of what is unvoiced throughout.

    Raises
    ------
    ParameterError
        If it is no such dict.
    """
    fig, (ax,) = _picture(row=2.4)
    rows = _labelled(features_by_label)
    for label, features, line in rows:
        note = "" if (features.f0 > 0).any() else " (no pitch)"
        ax.plot(
            features.times,
            np.where(features.f0 > 0, features.f0, np.nan),
            label=label + note,
            **line,
        )
    _hz_axis(ax)
    ax.set_ylim(_f0_limits([features.f0 for _, features, _ in rows]))
    ax.set(xlabel="Time [s]", xlim=(0, max(features.times[-1] for _, features, _ in rows)))
    ax.grid(True)
    fig.legend(loc="outside upper left", ncols=4)
    return fig


@matplotlib.rc_context(STYLE)
def plot_envelope(
    features_by_label: Mapping[str, Features], time_s: float | None = None
) -> Picture:
    """Draw spectral envelopes over each other, each relative to its own mean level.

    Parameters
    ----------
    features_by_label : dict of label to Features
    time_s : float, optional [s]
        The moment to show. By default the average of the log envelope over the active frames, which
        is the colour of the voice.

    Returns
    -------
    Picture
        A matplotlib Figure: level [dB] over frequency [kHz].

    Raises
    ------
    ParameterError
        If it is no such dict, `time_s` is outside of one, or one is silent.
    """
    fig, (ax,) = _picture(row=2.4)
    rows = _labelled(features_by_label)
    for i, (label, features, _) in enumerate(rows):
        level_db = _envelope_db(features, time_s, label)
        khz = np.linspace(0, features.sr / 2000, len(level_db))
        ax.plot(khz, level_db - level_db.mean(), label=label, **_line(i, dashed=True))
    when = "average of active frames" if time_s is None else f"at {time_s:g} s"
    ax.set(xlabel="Frequency [kHz]", ylabel="Level re mean [dB]", title=f"Envelope, {when}")
    ax.set_xlim(0, max(features.sr for _, features, _ in rows) / 2000)
    ax.grid(True)
    fig.legend(loc="outside upper left", ncols=4)
    return fig


def _envelope_db(features: Features, time_s: float | None, label: str) -> np.ndarray:
    """The envelope at a moment, or the average over active frames [dB]."""
    level_db = 10 * np.log10(np.maximum(features.sp, 1e-16))
    if time_s is not None:
        if not 0 <= time_s <= features.times[-1] + features.frame_period_ms / 1000:
            raise ParameterError(
                f"time_s={time_s} must be in 0..{features.times[-1]:.2f} s, where {label!r} ends"
            )
        return level_db[np.argmin(np.abs(features.times - time_s))]
    active = active_frames(features)
    if not active.any():
        raise ParameterError(f"{label!r} is silent: it has no average envelope; leave it out")
    return level_db[active].mean(0)


@matplotlib.rc_context(STYLE)
def plot_image(img: np.ndarray, cfg: AudioConfig) -> Picture:
    """Draw both channels of a 2-channel image.

    Parameters
    ----------
    img : np.ndarray [shape=(2, n_freqs, n_frames)]
    cfg : AudioConfig
        The one that it was made with; a whole `Config` will do.

    Returns
    -------
    Picture
        A matplotlib Figure: time [s], frequency [kHz], and the channels' own scales.

    Raises
    ------
    ParameterError
        If the shape does not fit `cfg`, or a value is not finite.
    """
    img = check_image(img, cfg)
    fig, axs = _picture(2, sharex=True, sharey=True)
    for i, (name, colors, top) in enumerate(_channels(img, cfg)):
        ax, place = axs[i], _place(img[i], cfg)
        shown = ax.imshow(img[i], vmin=-top, vmax=top, **place, **colors)
        ax.set(title=f"Channel {i}: {name}", ylabel="Frequency [kHz]")
        fig.colorbar(shown, ax=ax, pad=0.01)
    axs[-1].set_xlabel("Time [s]")
    return fig


def _channels(img: np.ndarray, cfg: AudioConfig) -> list[tuple[str, dict, float]]:
    """Of each channel its name, its colours and where they end (they start at the negative)."""
    log_mag = ("log-magnitude (−1: −100 dB, 1: 0 dB)", LEVELS, 1.0)
    top = float(np.abs(img).max()) or 1.0
    return {
        "phase": [log_mag, ("phase / π", ANGLES, 1.0)],
        "instantaneous_frequency": [log_mag, ("turn per frame / π", SIGNED, 1.0)],
        "cos_sin": [(f"log-magnitude × {f}(phase)", SIGNED, top) for f in ("cos", "sin")],
        "real_imag": [(f"compressed magnitude × {f}(phase)", SIGNED, top) for f in ("cos", "sin")],
    }[cfg.second_channel]


@matplotlib.rc_context(STYLE)
def plot_losses(history: str | Path | pd.DataFrame) -> Picture:
    """Draw how training went: losses, critic, steps and each metric in a panel of its own.

    Parameters
    ----------
    history : path of a CSV file, or pd.DataFrame
        A column `epoch` and any others; those with numbers are drawn. Names with "crit" go to the
        critic's panel, "loss" to the losses', "steps" and "capped" to that of the turns. Empty
        cells are gaps. With a column `stage`, stages are drawn one after the other, parted by a
        dashed line, and the losses of a stage named "critic" go to the critic's panel too.

    Returns
    -------
    Picture
        A matplotlib Figure. A dot marks the best epoch of each line in each stage, but none of
        critic and turns: the highest for correlations, SNR, PESQ, STOI, cosine, MOS and accuracy,
        else the lowest.

    Raises
    ------
    MissingInput
        If there is no such file.
    ParameterError
        If `epoch` or a number to draw is missing.
    """
    frame = history if isinstance(history, pd.DataFrame) else _read_history(Path(history))
    if "epoch" not in frame or not len(frame):
        found = ", ".join(map(str, frame)) or "nothing"
        raise ParameterError(
            f"history holds {found} in {len(frame)} rows, must hold epochs; {HISTORY}"
        )
    frame, stages = _by_stage(frame)
    panels = _panels(frame)
    if not panels:
        raise ParameterError(f"history holds no number beside epoch; {HISTORY}")
    starts_over = (frame["epoch"].diff().dropna() <= 0).any()
    epochs = np.arange(len(frame)) if starts_over else frame["epoch"].to_numpy()

    fig, axs = _picture(len(panels), row=1.5, sharex=True)
    for ax, (title, columns) in zip(axs, panels.items(), strict=True):
        for i, column in enumerate(columns):
            _draw_history(ax, epochs, frame[column], stages, i, mark=title not in UNMARKED)
        ax.set(title=_plain(title))
        if len(columns) > 1 or columns[0] != title:
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.grid(True)
    for start, name in list(stages.items())[1:]:
        for ax in axs:
            ax.axvline(epochs[start] - 0.5, color="gray", linestyle="--", linewidth=1)
        axs[0].text(epochs[start] - 0.5, 1.08, name, transform=axs[0].get_xaxis_transform())
    axs[-1].set_xlabel("Epoch, all stages" if starts_over else "Epoch")
    axs[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


def _by_stage(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, str]]:
    """The table with the critic stage's losses in columns of their own; first row of each stage."""
    if "stage" not in frame:
        return frame, {0: ""}
    stage = frame["stage"].astype(str)
    frame = frame.sort_values("stage", key=lambda s: s.map(list(dict.fromkeys(stage)).index))
    frame = frame.reset_index(drop=True)
    stage = frame["stage"].astype(str)
    of_critic = stage == "critic"
    for column in [c for c in frame.select_dtypes("number") if "loss" in c and "crit" not in c]:
        frame[f"critic {column}"] = frame[column].where(of_critic)
        frame[column] = frame[column].where(~of_critic)
    return frame, {int((stage == name).argmax()): name for name in stage.unique()}


def _draw_history(ax, epochs, values: pd.Series, stages: dict[int, str], i: int, mark: bool):
    """The i-th line of a panel, broken between stages, with the best epoch of each."""
    numbers = values.to_numpy(dtype=float)
    starts = [*stages, len(numbers)]
    for k, (start, stop) in enumerate(pairwise(starts)):
        seen = start + np.flatnonzero(np.isfinite(numbers[start:stop]))
        label = _plain(values.name) if k == 0 else None
        ax.plot(epochs[seen], numbers[seen], label=label, marker=".", **_line(i))
        if mark and len(seen):
            _mark_best(ax, epochs[seen], numbers[seen], values.name, COLORS[i % len(COLORS)])


def _read_history(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise MissingInput(
            f"{path} does not exist; train a voice with one of the 02 notebooks first"
        )
    try:
        return pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as e:
        raise ParameterError(f"{path} is no table ({e}); {HISTORY}") from e


def _panels(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Title of each panel and the columns in it; columns without a number are left out."""
    numbers = [c for c in frame.select_dtypes("number") if c != "epoch" and frame[c].notna().any()]
    turns = [c for c in numbers if "steps" in c or "capped" in c]
    critic = [c for c in numbers if "crit" in c and c not in turns]
    losses = [c for c in numbers if "loss" in c and c not in critic]
    metrics = {c: [c] for c in numbers if c not in losses + critic + turns}
    panels = {"losses": losses, "critic": critic} | metrics | {"turns": turns}
    return {title: columns for title, columns in panels.items() if columns}


def _higher_is_better(column: str) -> bool:
    """By the metric that a column is named after, such as own_pesq_wb; others by what names mean."""
    for key in sorted(METRICS, key=len, reverse=True):
        if column == key or column.endswith(f"_{key}"):
            return METRICS[key].better == "higher"
    return any(word in column for word in HIGHER_IS_BETTER)


def _mark_best(ax, epochs: np.ndarray, values: np.ndarray, column: str, color: str) -> None:
    """A dot and the number at the best epoch."""
    higher = _higher_is_better(column)
    best = int(np.argmax(values) if higher else np.argmin(values))
    ax.plot(epochs[best], values[best], "o", color=color, markeredgecolor="black", zorder=3)
    ax.annotate(
        _rounded(values[best]),
        (epochs[best], values[best]),
        xytext=(4, -10 if higher else 5),
        textcoords="offset points",
    )


# Compare


@matplotlib.rc_context(STYLE)
def plot_scores(rows: Mapping[str, Mapping[str, float]]) -> Picture:
    """Draw numbers of `evaluate` as bars: a panel for each metric, a bar for each row.

    Parameters
    ----------
    rows : dict of label to dict of key of `evaluate.METRICS` to float
        Such as {"source": evaluate(...), "converted": evaluate(...)}. Keys may differ; what is
        missing or nan has no bar, other keys are left out.

    Returns
    -------
    Picture
        A matplotlib Figure; the arrow in a title says what is better.

    Raises
    ------
    ParameterError
        If it is no such dict, or holds no metric.
    """
    if not isinstance(rows, Mapping) or not all(isinstance(r, Mapping) for r in rows.values()):
        raise ParameterError('rows must be a dict of dicts, as in {"source": evaluate(...)}')
    keys = [k for k in METRICS if any(np.isfinite(r.get(k, np.nan)) for r in rows.values())]
    if not keys:
        raise ParameterError("rows hold no number of evaluate.METRICS; were there any sounds?")
    n_columns = 3
    n_rows = -(-len(keys) // n_columns)
    height = 0.4 + n_rows * (0.45 + 0.2 * len(rows))
    fig = Picture(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axs = fig.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for ax in axs[len(keys) :]:
        ax.set_visible(False)
    labels = [_plain(label) for label in rows]
    for ax, key in zip(axs, keys, strict=False):
        metric = METRICS[key]
        values = [row.get(key, np.nan) for row in rows.values()]
        colors = [COLORS[i % len(COLORS)] for i in range(len(values))]
        bars = ax.barh(range(len(values)), values, color=colors)
        ax.bar_label(bars, [_rounded(v) for v in values], padding=2, fontsize=7)
        unit = f" [{metric.unit}]" if metric.unit in ("dB", "cents") else ""
        ax.set(title=f"{metric.label}{unit} {metric.arrow}", yticks=range(len(values)))
        ax.set_yticklabels(labels)
        ax.margins(x=0.25)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(3))
    axs[0].invert_yaxis()  # shared by all
    return fig


@matplotlib.rc_context(STYLE)
def plot_tradeoff(
    table: pd.DataFrame, x: str, y: str, labels: Mapping[str, str] | None = None
) -> Picture:
    """Draw what is gained against what it costs: a dot for each system, a line through the strengths of one.

    Parameters
    ----------
    table : pd.DataFrame
        A row for each system, as `leakage.leakage` gives. Rows called "name, number" are one system
        at several strengths.
    x, y : str
        Columns.
    labels : dict of column to str, optional
        What stands at the axes.

    Returns
    -------
    Picture
        A matplotlib Figure.

    Raises
    ------
    ParameterError
        If there is no such column.
    """
    for column in (x, y):
        if column not in table:
            raise ParameterError(f"{column!r} must be one of {', '.join(map(str, table))}")
    labels = labels or {}
    fig, (ax,) = _picture(row=3.6)
    families = {}
    for name in table.index:
        family, _, strength = str(name).rpartition(", ")
        families.setdefault(family or str(name), []).append((name, strength if family else ""))
    for i, (family, members) in enumerate(families.items()):
        color, marker = COLORS[i % len(COLORS)], "osD^vPX*"[i % 8]
        xs, ys = table.loc[[n for n, _ in members], x], table.loc[[n for n, _ in members], y]
        ax.plot(xs, ys, marker=marker, color=color, label=_plain(family), linewidth=1)
        for (_, strength), at_x, at_y in zip(members, xs, ys, strict=True):
            at = (at_x, at_y)
            ax.annotate(strength, at, (3, 3), textcoords="offset points", fontsize=7, color=color)
    ax.set(xlabel=labels.get(x, x), ylabel=labels.get(y, y))
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def table(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Numbers side by side, rounded to what matters, as text.

    Parameters
    ----------
    rows : dict of label to dict of name to float
        Rows as `evaluate` gives them; they may differ in what they hold.

    Returns
    -------
    pd.DataFrame
        A row for each label, a column for each name in order of appearance; three digits or so. An
        en dash stands for what is missing or nan.

    Raises
    ------
    ParameterError
        If it is no such dict.

    Examples
    --------
    >>> table({"whisper": {"mcd_db": 7.7712}, "neutral": {"mcd_db": 5.2, "f0_rmse_cents": 212.6}})
            mcd_db f0_rmse_cents
    whisper   7.77             –
    neutral   5.20           213
    """
    if not isinstance(rows, Mapping) or not all(isinstance(r, Mapping) for r in rows.values()):
        raise ParameterError('rows must be a dict of dicts, as in {"source": evaluate(...)}')
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [[_rounded(row.get(name)) for name in names] for row in rows.values()]
    return pd.DataFrame(cells, index=[str(label) for label in rows], columns=names, dtype=object)


def _rounded(value) -> str:
    """A number to three digits or so, text as it is, an en dash for nothing."""
    if isinstance(value, str):
        return value
    if value is None or np.isnan(value):
        return "–"
    if isinstance(value, int | np.integer):
        return str(value).replace("-", "−")
    n_decimals = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{n_decimals}f}".replace("-", "−")
