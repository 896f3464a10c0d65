"""The two-channel image that the network sees: drawn, and heard with a wrong phase."""

from dataclasses import replace

import matplotlib
import numpy as np

from ..config import AudioConfig
from ..spectrogram import check_image, image_to_wav, wav_to_image
from .plots import LEVELS
from .style import STYLE, Figure, figure, image_axes

# Colours of signed values and of angles, which must not be averaged into a pixel
SIGNED = {"cmap": matplotlib.colormaps["RdBu"].resampled(9), "interpolation": "nearest"}
ANGLES = {"cmap": matplotlib.colormaps["twilight"].resampled(8), "interpolation": "nearest"}


@matplotlib.rc_context(STYLE)
def plot_image(img: np.ndarray, cfg: AudioConfig) -> Figure:
    """Draw both channels of a two-channel image, one under the other.

    Parameters
    ----------
    img : np.ndarray [shape=(2, n_freqs, n_frames)]
    cfg : AudioConfig
        The settings that the image was made with, or a whole `Config`.

    Returns
    -------
    Figure
        Both channels over time [s] and frequency [kHz], each with its own color scale.

    Raises
    ------
    ParameterError
        If the shape does not fit `cfg`, or a value is not finite.
    """
    img = check_image(img, cfg)
    fig, axs = figure(2, sharex=True, sharey=True)
    for i, (name, colors, top) in enumerate(_channels(img, cfg)):
        shown = axs[i].imshow(img[i], vmin=-top, vmax=top, **image_axes(img[i], cfg), **colors)
        axs[i].set(title=f"Channel {i}: {name}", ylabel="Frequency [kHz]")
        fig.colorbar(shown, ax=axs[i], pad=0.01)
    axs[-1].set_xlabel("Time [s]")
    return fig


def _channels(img: np.ndarray, cfg: AudioConfig) -> list[tuple[str, dict, float]]:
    """Name, colors and upper limit of each channel; the lower limit is the negative one."""
    log_mag = ("log-magnitude (−1: −100 dB, 1: 0 dB)", LEVELS, 1.0)
    top = float(np.abs(img).max()) or 1.0
    return {
        "phase": [log_mag, ("phase / π", ANGLES, 1.0)],
        "instantaneous_frequency": [log_mag, ("phase advance per frame / π", SIGNED, 1.0)],
        "cos_sin": [(f"log-magnitude × {f}(phase)", SIGNED, top) for f in ("cos", "sin")],
        "real_imag": [(f"compressed magnitude × {f}(phase)", SIGNED, top) for f in ("cos", "sin")],
    }[cfg.second_channel]


def disturb_phase(wav: np.ndarray, cfg: AudioConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Send a waveform through its image and back, with the exact phase and with two wrong ones.

    The magnitude is the same in all of them.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    cfg : AudioConfig
        Settings of the STFT. The second channel is the phase, whatever `cfg` says.
    seed : int
        Seed of the random phase.

    Returns
    -------
    dict of label to np.ndarray [shape=(n_samples,), float32]
        "exact phase" (`wav` again), "zero phase" and "random phase".
    """
    cfg = replace(cfg, second_channel="phase")
    img = wav_to_image(wav, cfg)
    random = np.random.default_rng(seed).uniform(-1, 1, img[1].shape)
    phases = {"exact phase": img[1], "zero phase": 0 * img[1], "random phase": random}
    return {
        label: image_to_wav(np.stack([img[0], phase]), cfg, len(wav))
        for label, phase in phases.items()
    }
