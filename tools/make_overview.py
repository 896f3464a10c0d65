"""Draw the two pictures of the documentation: readme/overview.png and docs/two-channel-image.png.

    python tools/make_overview.py

The overview shows spectrograms of three clips in readme/: a source, the same sentence converted,
and the target speaker. The second picture shows both channels of the image that the network sees.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.signal import medfilt

from vc_lib.anonymize import Features, analyze
from vc_lib.audio import load_wav
from vc_lib.config import Config
from vc_lib.spectrogram import wav_to_image

REPO = Path(__file__).resolve().parents[1]
CLIP = "it_man_carlo_1"
WORDS = [  # (start [s], text): where the phrases of CLIP begin
    (0.05, "La sua chiamata è ora la prima in lista"),
    (2.38, "e verrà risposta appena si libera un operatore."),
]
ROWS = [  # (file in readme/, title, style of its lines)
    (f"clips/sources/{CLIP}.mp3", "SOURCE: a man, speaking Italian", {"color": "#0072B2"}),
    (
        f"clips/ljspeech/{CLIP}_converted.mp3",
        "CONVERTED: the same words, another voice",
        {"color": "#D55E00"},
    ),
    ("target.mp3", "TARGET: her own voice, saying something else", {"color": "#555555"}),
]
for (_, _, style), label in zip(ROWS, ("source", "converted", "target"), strict=True):
    style.update(label=label, linewidth=2.6)
SECONDS = 4.8  # shown of each clip
FONTS = {"font.size": 11, "axes.titlesize": 13, "axes.titlelocation": "left"}
LEVELS = {"cmap": matplotlib.colormaps["magma"].resampled(16), "vmin": -80, "vmax": -12}


def main():
    cfg = Config()
    with matplotlib.rc_context(FONTS):
        save(overview(cfg), REPO / "readme" / "overview.png")
        save(two_channels(cfg), REPO / "docs" / "two-channel-image.png")


def overview(cfg: Config) -> Figure:
    """Three spectrograms under each other; below them the pitch and the average spectrum of each."""
    fig = Figure(figsize=(10, 9), layout="constrained")
    mosaic = [["0", "0"], ["1", "1"], ["2", "2"], ["pitch", "spectrum"]]
    ratios = {"width_ratios": [1.6, 1], "height_ratios": [1, 1, 1, 1.15]}
    axes = fig.subplot_mosaic(mosaic, gridspec_kw=ratios)
    for i, (file, title, style) in enumerate(ROWS):
        wav = load_wav(REPO / "readme" / file, cfg.sr)
        axes[str(i)].set_title(title, weight="bold")
        spectrogram(axes[str(i)], wav[: int(SECONDS * cfg.sr)], cfg)
        if CLIP in file:
            phrases(axes[str(i)])
        features = analyze(wav, cfg.sr)
        pitch(axes["pitch"], features, style, is_target=i == 2)
        average_spectrum(axes["spectrum"], features, style, is_target=i == 2)
    axes["2"].set_xlabel("time [s]")
    return fig


def spectrogram(ax, wav: np.ndarray, cfg: Config) -> None:
    """Draw the levels of the image that the network sees, up to 4 kHz."""
    db = (wav_to_image(wav, cfg)[0] - 1) * 50
    extent = (0, len(wav) / cfg.sr, 0, cfg.sr / 2000)
    ax.imshow(db, origin="lower", aspect="auto", extent=extent, **LEVELS)
    ax.set(ylim=(0, 4), xlim=(0, SECONDS), ylabel="kHz")
    ax.set_yticks(range(5))


def phrases(ax) -> None:
    """Mark where each phrase begins and write what is said."""
    for start, text in WORDS:
        ax.axvline(start, color="white", linestyle=(0, (4, 3)), linewidth=1.5)
        outline = [Stroke(linewidth=2.5, foreground="black"), Normal()]
        ax.text(start + 0.05, 3.8, text, color="white", va="top", size=12, path_effects=outline)


def pitch(ax, features: Features, style: dict, is_target: bool) -> None:
    """The pitch of one clip over time; of the target only the range."""
    loud = is_loud(features)
    if is_target:
        low, high = np.percentile(features.f0[loud], (10, 90))
        ax.axhspan(low, high, color=style["color"], alpha=0.25, linewidth=0)
        ax.text(SECONDS - 0.05, high + 4, "her range", color=style["color"], ha="right")
        return
    f0 = medfilt(np.where(loud, features.f0, 0), 9)
    ax.plot(features.times, np.where(f0 > 0, f0, np.nan), **style)
    ax.set(xlim=(0, SECONDS), ylim=(70, 350), xlabel="time [s]", ylabel="pitch [Hz]")
    ax.set_title("Pitch: the same melody, moved towards her range", weight="bold")


def average_spectrum(ax, features: Features, style: dict, is_target: bool) -> None:
    """The mean envelope of loud voiced frames [dB], its own mean below 4 kHz taken off."""
    khz = np.linspace(0, features.sr / 2000, features.sp.shape[1])
    db = 10 * np.log10(features.sp[is_loud(features)]).mean(0)
    db = gaussian_filter1d(db, 4)
    ax.plot(khz, db - db[khz < 4].mean(), **style, zorder=1 if is_target else 2)
    ax.set(xlim=(0, 4), ylim=(-20, 30), xlabel="frequency [kHz]", ylabel="mean level [dB]")
    ax.set_title("Timbre: nearer to hers", weight="bold")
    ax.legend(frameon=False)


def is_loud(features: Features) -> np.ndarray:
    """Voiced frames at most 20 dB below the loud ones [shape=(n_frames,), bool]."""
    power = features.sp.mean(1)
    return features.voiced & (power > 1e-2 * np.percentile(power, 95))


def two_channels(cfg: Config) -> Figure:
    """Log-magnitude and phase of half a second of the converted clip, side by side."""
    wav = load_wav(REPO / "readme" / f"clips/ljspeech/{CLIP}_converted.mp3", cfg.sr)
    wav = wav[int(0.85 * cfg.sr) : int(1.35 * cfg.sr)]
    img = wav_to_image(wav, cfg)
    fig = Figure(figsize=(9.5, 4.3), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    seconds = len(wav) / cfg.sr
    extent = (0, seconds, 0, cfg.sr / 2000)
    shared = {"origin": "lower", "aspect": "auto", "extent": extent, "interpolation": "nearest"}
    shown = left.imshow((img[0] - 1) * 50, **shared, **LEVELS)
    fig.colorbar(shown, ax=left, label="level [dB]")
    shown = right.imshow(img[1], **shared, cmap="twilight", vmin=-1, vmax=1)
    fig.colorbar(shown, ax=right, label="angle [π]")
    left.set(
        title="channel 0: log-magnitude (how loud)", xlabel="time [s]", ylabel="frequency [kHz]"
    )
    right.set(title="channel 1: phase (timing of waves)", xlabel="time [s]", ylim=(0, 4))
    return fig


def save(fig: Figure, path: Path) -> None:
    """Write a PNG with a palette of 128 colours, so that the file stays small."""
    fig.savefig(path, dpi=100, facecolor="white")
    Image.open(path).convert("RGB").quantize(128, kmeans=1, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(f"{path.relative_to(REPO)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
