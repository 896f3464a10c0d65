"""A network over frames: one-dimensional convolutions, whose steps are matrix products."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..config import Config
from ..spectrogram import NEPERS, log_magnitude
from .numpy_generator import n_quefrencies

KERNEL = 7  # frames that a block sees


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

    It sees the log-magnitudes, and draws the gain as a cosine series along frequency. An untrained
    network gives no gain.

    Parameters
    ----------
    cfg : Config
    width : int
        Number of channels.
    depth : int
        Number of blocks.
    """

    def __init__(self, cfg: Config, width: int, depth: int):
        super().__init__()
        self.cfg = cfg
        n_bins = cfg.n_freqs - 1  # the Nyquist row is left out, as for a U-Net
        n = min(max(2, n_quefrencies(cfg) or n_bins), n_bins)
        order = torch.arange(n)[:, None]
        cosines = torch.cos(math.pi / n_bins * order * torch.arange(n_bins))
        cosines[1:] *= 2
        self.register_buffer("cosines", cosines / NEPERS, persistent=False)
        self.first = nn.Conv1d(n_bins, width, 5, padding=2)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.last = nn.Conv1d(width, n, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, img):  # (B, 2, n_freqs - 1, n_frames) to (B, 1, n_freqs - 1, n_frames)
        level = 1 + 2 * log_magnitude(img, self.cfg)  # speech is about -1..1
        quefrencies = self.last(self.blocks(self.first(level)))
        return (self.cosines.T @ quefrencies)[:, None]
