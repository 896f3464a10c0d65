"""Figures and tables of sounds: how the notebooks let you see and compare."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from ..anonymize import Features, active_frames, analyze
from ..audio import check_sr
from ..config import AudioConfig
from ..errors import ParameterError
from ..evaluate import METRICS
from .players import RANGE_DB, checked_wavs, gains_to_level, levels_under_loudest
from .style import COLORS, DPI, STYLE, WIDTH, Figure, figure, line_style, plain, rounded

MAX_SECONDS = 300.0  # longer, a figure shows nothing and takes gigabytes
# Few levels, as noise makes large files. Levels may be averaged into a pixel, signs and angles not
LEVELS = {"cmap": matplotlib.colormaps["magma"].resampled(14), "interpolation_stage": "data"}
SIGNED = {"cmap": matplotlib.colormaps["RdBu"].resampled(9), "interpolation": "nearest"}
ANGLES = {"cmap": matplotlib.colormaps["twilight"].resampled(8), "interpolation": "nearest"}


# See


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
        (plain(label), features, line_style(i))
        for i, (label, features) in enumerate(_checked_features(features_by_label).items())
    ]


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
) -> Figure:
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
    Figure
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
            f"{seconds:.0f} s is more than a figure shows ({MAX_SECONDS:.0f} s); "
            "cut a piece out, as in wav[: 10 * sr]"
        )
    cfg, levels_db = levels_under_loudest(wavs, sr, gains_to_level(wavs, sr), WIDTH * DPI)
    if f0 is True:
        f0 = {label: analyze(wav, sr) for label, wav in wavs.items()}
    contours = _checked_features(f0) if f0 is not False else {}
    f0_limits = _f0_limits([features.f0 for features in contours.values()])

    fig, axs = figure(len(wavs), sharex=True, sharey=True)
    for ax, (label, level_db) in zip(axs, levels_db.items(), strict=True):
        place = _place(level_db, cfg)
        shown = ax.imshow(level_db, vmin=-RANGE_DB, vmax=0, **place, **LEVELS)
        ax.set(title=plain(label), ylabel="Frequency [kHz]", xlim=(0, seconds))
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
def plot_features(features: Features) -> Figure:
    """Draw the three parts that WORLD takes a recording into: pitch, envelope and aperiodicity.

    Parameters
    ----------
    features : Features

    Returns
    -------
    Figure
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

    fig, (pitch, *images) = figure(3, sharex=True)
    pitch.plot(times, np.where(features.voiced, features.f0, np.nan), **line_style(0))
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
def plot_f0(features_by_label: Mapping[str, Features]) -> Figure:
    """Draw pitch contours over each other; gaps are unvoiced.

    Parameters
    ----------
    features_by_label : dict of label to Features

    Returns
    -------
    Figure
        A matplotlib Figure: F0 [Hz, logarithmic] over time [s]. "(no pitch)" is added to the label
        of what is unvoiced throughout.

    Raises
    ------
    ParameterError
        If it is no such dict.
    """
    fig, (ax,) = figure(row=2.4)
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
def plot_envelope(features_by_label: Mapping[str, Features], time_s: float | None = None) -> Figure:
    """Draw spectral envelopes over each other, each relative to its own mean level.

    Parameters
    ----------
    features_by_label : dict of label to Features
    time_s : float, optional [s]
        The moment to show. By default the average of the log envelope over the active frames, which
        is the colour of the voice.

    Returns
    -------
    Figure
        A matplotlib Figure: level [dB] over frequency [kHz].

    Raises
    ------
    ParameterError
        If it is no such dict, `time_s` is outside of one, or one is silent.
    """
    fig, (ax,) = figure(row=2.4)
    rows = _labelled(features_by_label)
    for i, (label, features, _) in enumerate(rows):
        level_db = _envelope_db(features, time_s, label)
        khz = np.linspace(0, features.sr / 2000, len(level_db))
        ax.plot(khz, level_db - level_db.mean(), label=label, **line_style(i, dashed=True))
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
def plot_image(img: np.ndarray, cfg: AudioConfig) -> Figure:
    """Draw both channels of a 2-channel image.

    Parameters
    ----------
    img : np.ndarray [shape=(2, n_freqs, n_frames)]
    cfg : AudioConfig
        The one that it was made with; a whole `Config` will do.

    Returns
    -------
    Figure
        A matplotlib Figure: time [s], frequency [kHz], and the channels' own scales.

    Raises
    ------
    ParameterError
        If the shape does not fit `cfg`, or a value is not finite.
    """
    from ..spectrogram import check_image  # here, because it takes torch, which 01 does without

    img = check_image(img, cfg)
    fig, axs = figure(2, sharex=True, sharey=True)
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


# Compare


@matplotlib.rc_context(STYLE)
def plot_scores(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw numbers of `evaluate` as bars: a panel for each metric, a bar for each row.

    Parameters
    ----------
    rows : dict of label to dict of key of `evaluate.METRICS` to float
        Such as {"source": evaluate(...), "converted": evaluate(...)}. Keys may differ; what is
        missing or nan has no bar, other keys are left out.

    Returns
    -------
    Figure
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
    fig = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axs = fig.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for ax in axs[len(keys) :]:
        ax.set_visible(False)
    labels = [plain(label) for label in rows]
    for ax, key in zip(axs, keys, strict=False):
        metric = METRICS[key]
        values = [row.get(key, np.nan) for row in rows.values()]
        colors = [COLORS[i % len(COLORS)] for i in range(len(values))]
        bars = ax.barh(range(len(values)), values, color=colors)
        ax.bar_label(bars, [rounded(v) for v in values], padding=2, fontsize=7)
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
) -> Figure:
    """Draw what is gained against what it costs: a dot for each system, a line through the strengths of one.

    Parameters
    ----------
    table : pd.DataFrame
        A row for each system, as `evaluate.privacy.privacy_scores` gives. Rows called "name, number" are one system
        at several strengths.
    x, y : str
        Columns.
    labels : dict of column to str, optional
        What stands at the axes.

    Returns
    -------
    Figure
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
    fig, (ax,) = figure(row=3.6)
    families = {}
    for name in table.index:
        family, _, strength = str(name).rpartition(", ")
        families.setdefault(family or str(name), []).append((name, strength if family else ""))
    for i, (family, members) in enumerate(families.items()):
        color, marker = COLORS[i % len(COLORS)], "osD^vPX*"[i % 8]
        xs, ys = table.loc[[n for n, _ in members], x], table.loc[[n for n, _ in members], y]
        ax.plot(xs, ys, marker=marker, color=color, label=plain(family), linewidth=1)
        for (_, strength), at_x, at_y in zip(members, xs, ys, strict=True):
            at = (at_x, at_y)
            ax.annotate(strength, at, (3, 3), textcoords="offset points", fontsize=7, color=color)
    ax.set(xlabel=plain(labels.get(x, x)), ylabel=plain(labels.get(y, y)))
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig
