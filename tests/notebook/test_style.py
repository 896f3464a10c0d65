"""Figures: how they are shown and saved."""

import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from test_plots import pixels

from vc_lib.anonymize import analyze
from vc_lib.notebook import plots

SR = 16_000


@pytest.fixture(scope="module")
def features(voice):
    return {"source": analyze(voice(1.0), SR), "converted": analyze(voice(1.5, f0=200.0), SR)}


def test_a_figure_is_saved_as_it_is_shown(features, tmp_path):
    fig = plots.plot_f0(features)
    fig.save(tmp_path / "new" / "f0.png")
    assert (pixels(fig) == np.asarray(Image.open(tmp_path / "new" / "f0.png").convert("RGB"))).all()


def test_a_figure_shows_itself_and_leaves_none_open_in_pyplot(features):
    before = plt.get_fignums()
    fig = plots.plot_f0(features)
    assert isinstance(fig, matplotlib.figure.Figure)
    formats, _ = DisplayFormatter().format(fig)
    assert formats["image/png"].startswith(b"\x89PNG")
    assert plt.get_fignums() == before


def test_figures_are_readable_on_any_theme(features):
    dark = {"text.color": "white", "axes.facecolor": "black", "figure.facecolor": "black"}
    with matplotlib.rc_context(dark | {"savefig.transparent": True, "xtick.color": "white"}):
        fig = plots.plot_f0(features)
        image = Image.open(io.BytesIO(fig._repr_png_()))
        assert "transparency" not in image.info and image.mode in ("P", "RGB")
        colors = pixels(fig)
    assert (colors[0, 0] == 255).all()
    assert (colors == 255).all(-1).mean() > 0.7
    assert (colors.max(-1) < 60).any()  # the words
