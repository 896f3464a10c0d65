"""Figures of sounds and scores.

plot_spectrograms  spectrograms with the pitch
plot_features      pitch, envelope and aperiodicity of one sound
plot_f0            pitch contours of several sounds
plot_envelope      spectral envelopes of several sounds
plot_scores        scores as bars
"""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from ..anonymize import Features, active_frames, analyze
from ..audio import check_sr
from ..errors import ParameterError
from ..evaluate import METRICS
from ..listen.tracks import RANGE_DB, checked_wavs, gains_to_level, levels_under_loudest
from .style import (
    COLORS,
    DPI,
    STYLE,
    WIDTH,
    Figure,
    f0_limits,
    figure,
    hz_axis,
    image_axes,
    line_style,
    plain,
    rounded,
)

MAX_SECONDS = 300.0  # longest waveform of a figure; longer ones take gigabytes [s]
# Colours of levels. Few of them, as noise makes large files.
LEVELS = {"cmap": matplotlib.colormaps["magma"].resampled(14), "interpolation_stage": "data"}


def _checked_features(features_by_label: Mapping[str, Features]) -> Mapping[str, Features]:
    """The features, checked."""
    ok = isinstance(features_by_label, Mapping) and features_by_label
    if not ok or not all(isinstance(f, Features) for f in features_by_label.values()):
        raise ParameterError(
            "features_by_label must be a dict of label to Features with at least one, "
            'as in {"source": analyze(wav, sr)}'
        )
    return features_by_label


def _labelled(features_by_label: Mapping[str, Features]) -> list[tuple]:
    """(label, features, line style) of each sound."""
    return [
        (plain(label), features, line_style(i))
        for i, (label, features) in enumerate(_checked_features(features_by_label).items())
    ]


@matplotlib.rc_context(STYLE)
def plot_spectrograms(
    wavs: Mapping[str, np.ndarray], sr: int, f0: bool | Mapping[str, Features] = True
) -> Figure:
    """Draw spectrograms on common scales of time, frequency and level.

    All waveforms get the same speech level first, as in `play`.

    Parameters
    ----------
    wavs : dict of label to np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
        Sampling rate of all waveforms.
    f0 : bool or dict of label to Features
        Pitch, drawn by the axis on the right. True: measured here, which takes about 0.1 s for 1 s of
        sound. Features: taken from them; labels without features have no pitch.

    Returns
    -------
    Figure
        0 dB is the loudest bin of all, -70 dB the darkest color.

    Raises
    ------
    ParameterError
        If there is no waveform, an array is not a waveform, or one is longer than 300 s.
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
    limits_hz = f0_limits([features.f0 for features in contours.values()])

    fig, axs = figure(len(wavs), sharex=True, sharey=True)
    for ax, (label, level_db) in zip(axs, levels_db.items(), strict=True):
        place = image_axes(level_db, cfg)
        shown = ax.imshow(level_db, vmin=-RANGE_DB, vmax=0, **place, **LEVELS)
        ax.set(title=plain(label), ylabel="Frequency [kHz]", xlim=(0, seconds))
        if label in contours:
            _draw_f0_over(ax, contours[label], limits_hz)
    axs[-1].set_xlabel("Time [s]")
    fig.colorbar(shown, ax=axs, label="Level [dB]", pad=0.01, aspect=15 * len(wavs))
    return fig


def _draw_f0_over(ax, features: Features, limits_hz: tuple[float, float]) -> None:
    """Draw the pitch over a spectrogram, by an axis on the right."""
    right = ax.twinx()
    hz = np.where(features.f0 > 0, features.f0, np.nan)
    outlined = [Stroke(linewidth=3, foreground="black"), Normal()]
    right.plot(features.times, hz, color="#7FE3FF", linewidth=1.3, path_effects=outlined)
    hz_axis(right)
    right.set_ylim(limits_hz)


@matplotlib.rc_context(STYLE)
def plot_features(features: Features) -> Figure:
    """Draw the three features of WORLD: pitch, envelope and aperiodicity.

    Parameters
    ----------
    features : Features

    Returns
    -------
    Figure
        F0 [Hz, logarithmic; gaps are unvoiced], level of the envelope [dB below its maximum] and
        aperiodicity [0..1; 1 is all noise], over time [s].

    Raises
    ------
    ParameterError
        If `features` are not Features.
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
    hz_axis(pitch)
    pitch.set_ylim(f0_limits([features.f0]))
    pitch.grid(True)
    pitch.set_title("F0: pitch, where there is one")
    envelope_db = level_db - level_db.max()
    shown = (
        ("Envelope: how loud each frequency is", envelope_db, -RANGE_DB, 0, "Level [dB]"),
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
    """Draw pitch contours into one panel; gaps are unvoiced.

    Parameters
    ----------
    features_by_label : dict of label to Features

    Returns
    -------
    Figure
        F0 [Hz, logarithmic] over time [s]. "(no pitch)" is added to the label of an unvoiced sound.

    Raises
    ------
    ParameterError
        If `features_by_label` is not such a dict.
    """
    fig, (ax,) = figure(row=2.8)
    rows = _labelled(features_by_label)
    for label, features, line in rows:
        note = "" if (features.f0 > 0).any() else " (no pitch)"
        hz = np.where(features.f0 > 0, features.f0, np.nan)
        ax.plot(features.times, hz, label=label + note, **line)
    hz_axis(ax)
    ax.set_ylim(f0_limits([features.f0 for _, features, _ in rows]))
    ax.set(xlabel="Time [s]", xlim=(0, max(features.times[-1] for _, features, _ in rows)))
    ax.grid(True)
    fig.legend(loc="outside upper left", ncols=4)
    return fig


@matplotlib.rc_context(STYLE)
def plot_envelope(features_by_label: Mapping[str, Features], time_s: float | None = None) -> Figure:
    """Draw spectral envelopes into one panel, each relative to its mean level.

    Parameters
    ----------
    features_by_label : dict of label to Features
    time_s : float, optional [s]
        Time of the envelope. By default the log envelope is averaged over the active frames: the
        timbre of the voice.

    Returns
    -------
    Figure
        Level [dB] over frequency [kHz].

    Raises
    ------
    ParameterError
        If `features_by_label` is not such a dict, `time_s` is outside of a sound, or a sound is silent.
    """
    fig, (ax,) = figure(row=2.8)
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
    """The envelope at `time_s`, or its average over active frames [dB]."""
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
def plot_scores(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw scores of `evaluate`: a panel for each metric, a bar for each row.

    Parameters
    ----------
    rows : dict of label to dict of key of `evaluate.METRICS` to float
        As in {"source": evaluate(...), "converted": evaluate(...)}. A missing or nan score has no
        bar. Keys that are not in METRICS are left out.

    Returns
    -------
    Figure
        The arrow in a title points to the better value.

    Raises
    ------
    ParameterError
        If `rows` is not such a dict, or holds no metric.
    """
    if not isinstance(rows, Mapping) or not all(isinstance(r, Mapping) for r in rows.values()):
        raise ParameterError('rows must be a dict of dicts, as in {"source": evaluate(...)}')
    keys = [k for k in METRICS if any(np.isfinite(r.get(k, np.nan)) for r in rows.values())]
    if not keys:
        raise ParameterError(
            "rows hold no score of evaluate.METRICS; give the results of evaluate(...)"
        )
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
        ax.bar_label(bars, [rounded(v) for v in values], padding=2, fontsize=9)
        unit = f" [{metric.unit}]" if metric.unit in ("dB", "cents") else ""
        ax.set(title=f"{metric.label}{unit} {metric.arrow}", yticks=range(len(values)))
        ax.set_yticklabels(labels)
        ax.margins(x=0.25)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(3))
    axs[0].invert_yaxis()  # the y axis is shared by all panels
    return fig
