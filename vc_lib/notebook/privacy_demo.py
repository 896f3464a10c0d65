"""Privacy against its price: measured for the presets on a few speakers, and drawn."""

from collections.abc import Mapping
from dataclasses import replace
from zlib import crc32

import matplotlib
import numpy as np
import pandas as pd

from ..anonymize import render, transform
from ..anonymize.pipeline import measured_source
from ..anonymize.pseudo_speaker import strangers
from ..audio import list_audio, load_wav
from ..config import PRESETS, PRIVATE, AnonymizeConfig
from ..errors import ParameterError
from ..evaluate import Clip, judges
from ..evaluate.privacy import MIN_HALF_S, privacy_scores
from .style import COLORS, STYLE, Figure, figure, plain

MARKERS = "osD^vPX*"


def load_speakers(
    folder, target_dir, sr: int, max_seconds: float = 8.0, n_max: int | None = None
) -> dict[str, Clip]:
    """Load one clip of each speaker, long enough for a trial of the speaker verifier.

    Parameters
    ----------
    folder : str or Path
        Files `<speaker>_<n>`; the last one of each speaker is used.
    target_dir : str or Path
        Recordings of one more speaker, "target"; the first one is used.
    sr : int [Hz]
    max_seconds : float [s]
        Longest part of a clip that is used, from its beginning; 3.5 s is the least.
    n_max : int, optional
        Number of speakers; all by default.

    Returns
    -------
    dict of speaker to Clip
        Clips that are too short for a trial are left out.
    """
    paths = {path.stem.rpartition("_")[0]: path for path in list_audio(folder)}
    paths["target"] = list_audio(target_dir)[0]
    n_samples = int(max(max_seconds, 3.5) * sr)
    clips = {
        speaker: Clip(load_wav(path, sr)[:n_samples], sr, "dio")
        for speaker, path in list(paths.items())[:n_max]
    }
    return {name: clip for name, clip in clips.items() if len(clip.wav) >= 2 * MIN_HALF_S * sr}


def presets_privacy(speakers: Mapping[str, Clip], cfg: AnonymizeConfig) -> pd.DataFrame:
    """Measure the privacy of every preset, and what it costs, on a few speakers.

    Parameters
    ----------
    speakers : dict of speaker to Clip
    cfg : AnonymizeConfig
        Its `target` is used by presets that move speech to a target.

    Returns
    -------
    pd.DataFrame
        A row for each preset, and "untouched"; not for `private_consistent`, whose key links on
        purpose, and for `private` at 16 kHz only. The columns of `privacy_scores` without intervals. Words
        are not counted, as the sample clips are not English. It is empty, and a line is printed,
        where the speaker verifier is not installed or there are fewer than two speakers.
    """
    if not judges.installed(judges.SPEAKER):
        print(f"The speaker verifier is not installed: {judges.INSTALL}")
        return pd.DataFrame()
    if len(speakers) < 2:
        print(f"This needs clips of {2 * MIN_HALF_S} s or more by two speakers.")
        return pd.DataFrame()
    prices = ["source_log_f0_corr"] + ["distillmos"] * judges.installed(judges.NATURALNESS)
    presets = [preset for preset in PRESETS if preset not in PRIVATE]
    if all(strangers(clip.sr) for clip in speakers.values()):
        presets.append("private")
    systems = {preset: _system(replace(cfg, preset=preset)) for preset in presets}
    return privacy_scores(speakers, systems, only=prices, intervals=False)


def _system(cfg: AnonymizeConfig):
    """A function from a Clip to its anonymized waveform, which is the same every time."""

    def anonymized(clip: Clip) -> np.ndarray:
        seed = crc32(clip.wav.tobytes())  # differs for each half of a clip
        rng = np.random.default_rng(seed) if cfg.is_private else None
        features, source = clip.features, measured_source(clip.features, cfg)
        return render(clip.wav, features, transform(features, cfg, source, rng), cfg, source)

    return anonymized


@matplotlib.rc_context(STYLE)
def plot_tradeoff(
    table: pd.DataFrame, x: str, y: str, labels: Mapping[str, str] | None = None
) -> Figure:
    """Draw privacy against its price: a dot for each system, a line through its strengths.

    Parameters
    ----------
    table : pd.DataFrame
        A row for each system, as from `privacy_scores`. Rows named "name, number" are one system at several
        strengths.
    x, y : str
        Columns.
    labels : dict of column to str, optional
        Labels of the axes; by default the columns.

    Returns
    -------
    Figure

    Raises
    ------
    ParameterError
        If `table` has no such column.
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
        color = COLORS[i % len(COLORS)]
        rows = table.loc[[name for name, _ in members]]
        line = dict(color=color, marker=MARKERS[i % len(MARKERS)], linewidth=1)
        ax.plot(rows[x], rows[y], label=plain(family), **line)
        for (_, strength), at in zip(members, zip(rows[x], rows[y], strict=True), strict=True):
            ax.annotate(strength, at, (3, 3), textcoords="offset points", fontsize=9, color=color)
    ax.set(xlabel=plain(labels.get(x, x)), ylabel=plain(labels.get(y, y)))
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig
