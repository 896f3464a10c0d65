"""Batches of images in a notebook: import this module, and fastai's `show_batch` and `show_results` show players."""

import IPython.display as ipd
from plum import dispatch

from ..model import compat  # noqa: F401
from ..training.dataset import SpecImage
from .players import Player

from fastai.vision.all import show_batch, show_results


def _show_rows(columns: dict, max_n: int) -> None:
    """Display a player for each item of a batch; its rows are the columns, by label."""
    # fastai decodes fewer predictions than the batch holds
    for images in list(zip(*columns.values(), strict=False))[:max_n]:
        wavs = {label: image.wav() for label, image in zip(columns, images, strict=True)}
        ipd.display(Player(wavs, images[0].cfg.sr))


@dispatch
def show_batch(x: SpecImage, y: SpecImage, samples, ctxs=None, max_n=4, **kwargs):  # noqa: F811
    _show_rows({"anonymized": x, "original": y}, max_n)


@dispatch
def show_results(x: SpecImage, y: SpecImage, samples, outs, ctxs=None, max_n=4, **kwargs):  # noqa: F811
    generated = [SpecImage(out[0], cfg=x.cfg) for out in outs]
    _show_rows({"anonymized": x, "generated": generated, "original": y}, max_n)
