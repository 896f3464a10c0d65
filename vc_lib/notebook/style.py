"""What figures and tables have in common: their style, their size in a file, and how numbers are rounded.

Figures are made without pyplot, so that they work in callbacks and leave nothing
open; a notebook shows them as small PNGs on white, readable in light and dark themes.
"""

import io
from pathlib import Path

import matplotlib.figure
import numpy as np
from IPython import get_ipython
from PIL import Image

WIDTH, ROW, DPI = 7.5, 1.7, 80  # of a figure and of its panels [inches, pixels an inch]
N_COLORS = 40  # of a whole figure; fewer: smaller files
# Told apart by every kind of eye: Okabe and Ito, Color Universal Design, 2008; dashes help in print
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "axes.grid": False}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "white"}
STYLE |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), "black")
STYLE |= dict.fromkeys(("xtick.color", "ytick.color", "legend.labelcolor"), "black")
STYLE |= {"legend.frameon": False, "grid.color": "#D0D0D0", "image.interpolation": "auto"}


class Figure(matplotlib.figure.Figure):
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


if (
    get_ipython()
):  # or else `%matplotlib inline`, which knows matplotlib's Figure only, would show a larger one
    get_ipython().display_formatter.formatters["image/png"].for_type(Figure, Figure._repr_png_)


def figure(n_panels: int = 1, row: float = ROW, **axes) -> tuple[Figure, list]:
    """A figure with panels under each other, and the panels."""
    fig = Figure(figsize=(WIDTH, 0.5 + n_panels * row), layout="constrained", facecolor="white")
    return fig, list(fig.subplots(n_panels, squeeze=False, **axes)[:, 0])


def plain(label) -> str:
    """A label as it is: matplotlib takes $...$ for mathematics and a leading _ for "no legend"."""
    text = str(label).replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text


def line_style(i: int, dashed: bool = False) -> dict:
    """Colour and dashes of the i-th line."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": DASHES[i % len(DASHES)] if dashed else "-",
        "linewidth": 1.5,
    }


def rounded(value) -> str:
    """A number to three digits or so, text as it is, an en dash for nothing."""
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
