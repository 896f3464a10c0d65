"""A network over frames: one-dimensional convolutions, whose steps are matrix products."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..config import Config
from ..spectrogram import DECADES, FLOOR, NEPERS, log_magnitude

N_MELS = 64  # bands of the input at most; a quarter of the bins, so that none is empty
WIDTHS = 6  # channels for each of `cfg.width`
KERNEL = 7  # frames that a block sees
LOWEST_HZ = 60.0  # the gain fades out at and below this frequency; no voice is lower


class Block(nn.Module):
    """A ConvNeXt block over frames: (B, width, n_frames) to the same.

    References
    ----------
    Liu et al., A ConvNet for the 2020s, CVPR 2022; for speech: Siuzdak, Vocos, 2023.
    """

    def __init__(self, width: int):
        super().__init__()
        self.mix_frames = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-2))

    def forward(self, x):
        y = self.norm(self.mix_frames(x).transpose(1, 2))
        return x + (self.scale * self.narrow(F.gelu(self.widen(y)))).transpose(1, 2)


class FrameNetwork(nn.Module):
    """Give each frame of an image a gain, as smooth as a filter of `cfg.lifter_ms`.

    It sees a log-mel spectrum, and draws the gain as a cosine series along frequency. An untrained
    network gives no gain.

    Parameters
    ----------
    cfg : Config
        `width` sets the channels, `depth` the number of blocks.
    """

    def __init__(self, cfg: Config):
        super().__init__()
        import librosa  # here, because importing it takes seconds, and few voices need it

        self.cfg, width = cfg, WIDTHS * cfg.width
        n_bins = cfg.n_freqs - 1  # the Nyquist row is left out, as for a U-Net
        n_mels = min(N_MELS, max(2, n_bins // 4))
        mel = librosa.filters.mel(sr=cfg.sr, n_fft=cfg.n_fft, n_mels=n_mels)[:, :n_bins]
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)
        n = (
            min(max(2, math.ceil(cfg.lifter_ms / 1000 * cfg.sr)), n_bins)
            if cfg.lifter_ms
            else n_bins
        )
        row = torch.arange(n_bins)
        cosines = torch.cos(math.pi / n_bins * torch.arange(n)[:, None] * row)
        cosines[1:] *= 2
        fade = torch.sigmoid((row * cfg.sr / cfg.n_fft - LOWEST_HZ) / 20)
        self.register_buffer("cosines", cosines * fade / NEPERS, persistent=False)
        self.first = nn.Conv1d(n_mels, width, 5, padding=2)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(cfg.depth)))
        self.last = nn.Conv1d(width, n, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, img):  # (B, 2, n_freqs - 1, n_frames) to (B, 1, n_freqs - 1, n_frames)
        magnitude = 10 ** ((log_magnitude(img, self.cfg) - 1) * DECADES / 2)
        bands = 2 * (1 + 2 / DECADES * torch.log10(self.mel @ magnitude + FLOOR))
        quefrencies = self.last(self.blocks(self.first(bands)))
        return (self.cosines.T @ quefrencies)[:, None]
