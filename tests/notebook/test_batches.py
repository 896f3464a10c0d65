"""Batches in a notebook: a player for each item."""

import io
import warnings

import IPython.display as ipd
import numpy as np
import pytest
import soundfile
import torch

from vc_lib.config import Config
from vc_lib.notebook import batches
from vc_lib.spectrogram import wav_to_image
from vc_lib.training.dataset import SpecImage

CFG = Config()


@pytest.fixture
def shown(monkeypatch):
    """The list of what was displayed."""
    things = []
    monkeypatch.setattr(ipd, "display", lambda *args, **kwargs: things.extend(args))
    return things


@pytest.fixture
def images(voice):
    """A batch of two images."""

    def make(f0):
        wavs = [voice(0.6, f0=f0, seed=seed) for seed in range(2)]
        return SpecImage(torch.from_numpy(np.stack([wav_to_image(w, CFG) for w in wavs])), cfg=CFG)

    return make


def test_show_batch_shows_a_player_for_each_pair(images, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        batches.show_batch(images(100.0), images(200.0), None, max_n=9)
    assert len(shown) == 2, "as many as the batch holds"
    for player in shown:
        assert [track["label"] for track in player.tracks] == ["anonymized", "original"]
        for track in player.tracks:
            wav, sr = soundfile.read(io.BytesIO(track["sound"]))
            assert sr == CFG.sr and np.abs(wav).max() > 0.05
        low, high = (np.median([hz for hz in t["f0"] if hz]) for t in player.tracks)
        assert abs(high / low - 2) < 0.2, "each row plays its own image"


def test_show_results_shows_what_was_generated(images, shown):
    x, y = images(100.0), images(200.0)
    batches.show_results(x, y, None, [(y[0],)], max_n=3)  # fewer predictions than items
    (player,) = shown
    assert [track["label"] for track in player.tracks] == ["anonymized", "generated", "original"]
    assert player.tracks[1]["picture"] == player.tracks[2]["picture"] != player.tracks[0]["picture"]
