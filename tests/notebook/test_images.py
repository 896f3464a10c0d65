"""The two-channel image: drawn, and heard with a wrong phase."""

import numpy as np
import pytest

from vc_lib.config import SECOND_CHANNELS, AudioConfig
from vc_lib.errors import ParameterError
from vc_lib.notebook import images
from vc_lib.spectrogram import wav_to_image

KB = 1_000


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_plot_image_shows_both_channels(voice, second_channel):
    cfg = AudioConfig(second_channel=second_channel)
    img = wav_to_image(voice(1.5, f0=200.0), cfg)
    fig = images.plot_image(img, cfg)
    panels = [ax for ax in fig.axes if ax.images]
    assert len(panels) == 2 and len(fig.axes) == 4  # each has its own scale
    for i, ax in enumerate(panels):
        assert ax.get_title("left").startswith(f"Channel {i}: ")
        assert ax.get_ylabel() == "Frequency [kHz]"
        assert ax.images[0].get_array().data == pytest.approx(img[i])
        low, high = ax.images[0].get_clim()
        assert low == -high
    assert panels[1].get_xlabel() == "Time [s]"
    assert len(fig._repr_png_()) < 60 * KB


def test_plot_image_refuses_another_shape_and_nan(voice):
    img = wav_to_image(voice(1.0), AudioConfig())
    with pytest.raises(ParameterError, match="n_fft=1024"):
        images.plot_image(img, AudioConfig(n_fft=1024))
    with pytest.raises(ParameterError, match="NaN"):
        images.plot_image(np.full_like(img, np.nan), AudioConfig())


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_a_wrong_phase_changes_the_sound_and_the_exact_one_does_not(voice, second_channel):
    wav, cfg = voice(1.0), AudioConfig(second_channel=second_channel)
    sounds = images.disturb_phase(wav, cfg)
    assert list(sounds) == ["exact phase", "zero phase", "random phase"]
    assert {len(sound) for sound in sounds.values()} == {len(wav)}
    assert np.abs(sounds["exact phase"] - wav).max() < 1e-4
    for label in ("zero phase", "random phase"):
        assert np.isfinite(sounds[label]).all()
        assert np.corrcoef(sounds[label], wav)[0, 1] < 0.5
    again = images.disturb_phase(wav, cfg)
    assert (again["random phase"] == sounds["random phase"]).all(), "drawn by the seed"
