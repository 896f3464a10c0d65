"""Style shared by figures and tables: colors, sizes, small PNG files, rounded numbers.

Figures are made without pyplot, so they work in callbacks and leave nothing open. A notebook shows
them as small PNGs on white, which are readable in light and dark themes.
"""

import io
from pathlib import Path

import matplotlib.figure
import numpy as np
from IPython import get_ipython
from matplotlib.ticker import NullLocator, ScalarFormatter
from PIL import Image

from ..config import AudioConfig

# Figure width, panel height [inches]; resolution [pixels an inch]. A figure is as wide as a notebook's page, and its
# text as large as the page's.
WIDTH, ROW, DPI = 10.5, 2.0, 96
N_COLORS = 40  # colors in a PNG; fewer make smaller files
# Palette safe for color blindness: Okabe and Ito, Color Universal Design, 2008. Dashes help in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
STYLE = {
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.grid": False,
}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "white"}
STYLE |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), "black")
STYLE |= dict.fromkeys(("xtick.color", "ytick.color", "legend.labelcolor"), "black")
STYLE |= {"legend.frameon": False, "grid.color": "#D0D0D0", "image.interpolation": "auto"}


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that a notebook shows as a small PNG."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", facecolor="white", transparent=False, dpi=DPI)
        image = _with_few_colors(np.asarray(Image.open(file).convert("RGB")))
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        return file.getvalue()

    def save(self, path) -> None:
        """Write the same PNG that a notebook shows, and make its folder if needed."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._repr_png_())


def _with_few_colors(rgb: np.ndarray) -> Image.Image:
    """Palette image of the N_COLORS most frequent colors; each pixel (height, width, 3) gets the nearest."""
    packed = rgb.astype(np.int32) @ [65536, 256, 1]
    codes, which, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)
    palette = colors[np.argsort(-counts)[:N_COLORS]]
    nearest = ((colors[:, None] - palette) ** 2).sum(2).argmin(1)
    image = Image.fromarray(nearest[which].reshape(packed.shape).astype(np.uint8)).convert("P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    return image


if (
    get_ipython()
):  # or else `%matplotlib inline`, which knows matplotlib's Figure only, would show a larger one
    get_ipython().display_formatter.formatters["image/png"].for_type(Figure, Figure._repr_png_)


def figure(n_panels: int = 1, row: float = ROW, **axes) -> tuple[Figure, list]:
    """A figure and its panels, one under the other."""
    fig = Figure(figsize=(WIDTH, 0.5 + n_panels * row), layout="constrained", facecolor="white")
    return fig, list(fig.subplots(n_panels, squeeze=False, **axes)[:, 0])


def hz_axis(ax, label: str = "F0 [Hz]") -> None:
    """Make a logarithmic pitch axis with ticks in Hz."""
    ax.set_yscale("log")
    ax.set_yticks([50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600])
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel(label)


def f0_limits(contours) -> tuple[float, float]:
    """Common limits of pitch axes, at least half an octave [Hz]."""
    f0 = np.concatenate([*contours, np.zeros(0)])
    f0 = f0[f0 > 0]
    low, high = (f0.min(), f0.max()) if len(f0) else (100.0, 200.0)
    widen = max(1.06, np.sqrt(np.sqrt(2) / (high / low)))
    return low / widen, high * widen


def image_axes(level: np.ndarray, cfg: AudioConfig) -> dict:
    """Arguments of imshow that put an array (n_freqs, n_frames) on axes in seconds and kHz."""
    half_frame, half_bin = cfg.hop_length / cfg.sr / 2, cfg.sr / cfg.n_fft / 2000
    right = (level.shape[1] - 1) * cfg.hop_length / cfg.sr + half_frame
    extent = (-half_frame, right, -half_bin, cfg.sr / 2000 + half_bin)
    return {"extent": extent, "origin": "lower", "aspect": "auto"}


def plain(label) -> str:
    """Escape a label: matplotlib reads $...$ as mathematics and hides labels that start with _."""
    text = str(label).replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text


def line_style(i: int, dashed: bool = False) -> dict:
    """Colour, dashes and width of line `i`."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": DASHES[i % len(DASHES)] if dashed else "-",
        "linewidth": 1.5,
    }


def rounded(value) -> str:
    """A number with about three digits; text unchanged; an en dash for None and nan."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "–"
    if not isinstance(value, int | float | np.number):
        return str(value)
    if isinstance(value, int | np.integer):
        return str(value).replace("-", "−")
    n_decimals = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{n_decimals}f}".replace("-", "−")
