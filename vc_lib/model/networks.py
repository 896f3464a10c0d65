"""The networks: a U-Net generator that changes images, and a critic that judges patches.

They are those of pix2pix (Isola et al., CVPR 2017) with fastai's DynamicUnet. No weights
come from elsewhere.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..config import Config
from ..errors import ParameterError
from ..spectrogram import (
    filtered,
    from_image,
    istft,
    log_of_magnitude,
    stft,
)
from .compat import autocast, store_skips_by_thread
from .frame_network import FrameNetwork
from .numpy_generator import LOUD, band, frame_level, gate, n_quefrencies, smoothing

from fastai.layers import ConvLayer, NormType, ResBlock
from fastai.vision.models.unet import DynamicUnet

CONTRAST = 5.0  # gain of the critic's input: a difference of 10 dB becomes 1
LOUD_SHARE = 0.95  # quantile of the frame levels that is the level of loud frames
STEP_SHARE = 0.02  # weight of the newest step in the limiter's running averages
CONVNEXT_WIDTHS = 6  # channels of convolutions over frames for each of `cfg.width`


class Fold(nn.Module):
    """Fold `n` neighboring frequency rows into channels: (B, C, F, T) to (B, C*n, F/n, T)."""

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x):  # (B, C, F, T)
        B, C, n_freqs, n_frames = x.shape
        x = x.reshape(B, C, n_freqs // self.n, self.n, n_frames)
        return x.movedim(3, 2).reshape(B, C * self.n, n_freqs // self.n, n_frames)


class Unfold(nn.Module):
    """Inverse of `Fold`: (B, C*n, F/n, T) to (B, C, F, T)."""

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x):  # (B, C*n, F/n, T)
        B, C, n_freqs, n_frames = x.shape
        x = x.reshape(B, C // self.n, self.n, n_freqs, n_frames)
        return x.movedim(2, 3).reshape(B, C // self.n, n_freqs * self.n, n_frames)


def compact_encoder(n_in: int, width: int, depth: int) -> nn.Sequential:
    """A small encoder of `depth` stages; each stage but the first halves the image."""
    channels = [min(width * 2**i, width * 4) for i in range(depth)]
    stages = [nn.Sequential(ConvLayer(n_in, width), ResBlock(1, width, width))]
    for n_from, n_to in pairwise(channels):
        stages.append(nn.Sequential(ConvLayer(n_from, n_to, stride=2), ResBlock(1, n_to, n_to)))
    return nn.Sequential(*stages)


class ChangeLimiter(nn.Module):
    """Limit the generator's change to what transfers to other speakers.

    The change is removed above `cfg.change_below_hz`, fades out below 60 Hz, and is smoothed over
    `cfg.change_smooth_ms`. It fades out in frames that are 25 to 35 dB under the loud ones.

    The mean change over loud frames acts as a fixed equalizer. It suits the training crops, but
    moves other speakers away from the target. So it is subtracted: the mean of the batch in
    training, a running average later.
    """

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        kernel = torch.from_numpy(smoothing(cfg))[None, None, None]
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("band", torch.from_numpy(band(cfg)), persistent=False)
        # Running sums that `counted` divides: unlike their quotients, AverageWeights can average them.
        self.register_buffer("mean", torch.zeros(cfg.n_freqs, 1))
        self.register_buffer("loud", torch.tensor(0.0))  # level of loud frames [50 dB]
        self.register_buffer("counted", torch.tensor(0.0))  # sum of the weights of all steps

    def forward(self, change, img):  # (B, 1, n_freqs, n_frames), (B, 2, n_freqs, n_frames)
        reach = self.kernel.shape[-1] // 2
        change = F.conv2d(F.pad(change, (reach, reach, 0, 0), mode="replicate"), self.kernel)
        level = frame_level(img, self.cfg)[:, None, None]  # (B, 1, 1, n_frames)
        loud, mean = self._average(self.loud, LOUD), self._average(self.mean, 0.0)
        if self.training:
            loud = torch.quantile(level.detach().flatten(), LOUD_SHARE)
        kept = gate(level, loud)
        if self.training:
            mean = (change * kept / kept.sum().clamp(min=1)).sum((0, 1, 3))[:, None]
            with torch.no_grad():
                one = torch.ones_like(self.counted)
                for total, new in ((self.mean, mean), (self.loud, loud), (self.counted, one)):
                    total.lerp_(new, STEP_SHARE)
        return (change - mean) * kept * self.band

    def _average(self, total: torch.Tensor, default: float) -> torch.Tensor:
        """Running average of a buffer; `default` before the first step of training."""
        return total / self.counted if self.counted > 0 else torch.full_like(total, default)


class Generator(nn.Module):
    """Change an anonymized image into one of the target's voice.

    The U-Net gets the image without its Nyquist row, padded to a size that can be halved evenly.
    The Nyquist row gets the change of the row below. The last layer starts at zero, so an untrained
    generator returns its input. With the encoder "convnext" there is no U-Net, but a
    `FrameNetwork`.

    With `cfg.filter_output` the change is a filter of the anonymized sound: a gain that is as
    smooth along frequency as a filter of `cfg.lifter_ms`. Harmonics and noise stay those of the
    anonymized sound. Where channel 0 is a logarithm, the filter's minimum phase is added to the
    phase. With `cfg.limit_change`, `ChangeLimiter` limits the change first.

    Parameters
    ----------
    cfg : Config
    """

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        # compute in bfloat16: True, False, or None for where the device gains by it
        self.bf16 = None
        n_out = 1 if cfg.filter_output else 2
        unet: nn.Module | None = None
        if cfg.encoder == "convnext":
            if not cfg.filter_output:
                raise ParameterError(
                    "encoder='convnext' gives gains only; set filter_output=True, or "
                    "encoder='compact'"
                )
            self.net = FrameNetwork(cfg, CONVNEXT_WIDTHS * cfg.width, cfg.depth)
            self.step_f = self.step_t = 1
        elif cfg.encoder == "compact":
            fold, self.step_t = cfg.fold, 2 ** (cfg.depth - 1)
            encoder = compact_encoder(2 * fold, cfg.width, cfg.depth)
            unet = DynamicUnet(encoder, n_out * fold, (64, 64), last_cross=False)
            self.net = nn.Sequential(Fold(fold), unet, Unfold(fold))
            self.step_f = fold * self.step_t
        else:
            # imported here: it is slow to import, and few voices use it
            from fastai.vision.learner import create_body
            from torchvision.models import resnet18

            body = create_body(resnet18(weights=None), n_in=2, pretrained=False)
            unet = DynamicUnet(body, n_out, (128, 128))
            self.net, self.step_f, self.step_t = unet, 32, 32
        limited = cfg.limit_change and cfg.filter_output
        self.limiter = ChangeLimiter(cfg) if limited else None
        self.skips = store_skips_by_thread(unet) if unet else []
        if not unet:
            return
        last = [m for m in unet.modules() if isinstance(m, nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def laid_out_for(self, device: torch.device) -> "Generator":
        """On a CPU, store weights with channels last, as the input is; returns the generator.

        This saves copies, and rounds differently.
        """
        if device.type == "cpu":
            self.net.to(memory_format=torch.channels_last)
        return self

    def forward(self, img, strength: float = 1.0):  # (B, 2, n_freqs, n_frames)
        img = img.as_subclass(torch.Tensor)
        below = img[:, :, :-1]
        n_freqs, n_frames = below.shape[-2:]
        padded = F.pad(
            below, (0, -n_frames % self.step_t, 0, -n_freqs % self.step_f), mode="replicate"
        )
        if padded.is_cpu:
            padded = padded.contiguous(memory_format=torch.channels_last)
        with autocast(img.device, self.bf16, padded.shape[-1] / self.step_t):
            change = self.net(padded)
        for hook in self.skips:
            hook.forget()
        change = change.as_subclass(torch.Tensor).float()[:, :, :n_freqs, :n_frames]
        change = torch.cat([change, change[:, :, -1:]], 2)  # (B, 1 or 2, n_freqs, n_frames)
        if not self.cfg.filter_output:
            return img + strength * change
        if self.limiter:
            change = self.limiter(change, img)
        return filtered(img, strength * change, self.cfg, n_quefrencies(self.cfg))


def with_weights(cfg: Config, weights: dict[str, np.ndarray]) -> Generator:
    """A generator with the weights that `voice_folder.read_voice` returned."""
    generator = Generator(cfg)
    generator.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return generator


class OnArrays:
    """A generator for conversion on a device: images are NumPy arrays, as for `NumpyGenerator`.

    Parameters
    ----------
    network : Generator
        It moves to the device and into `eval` mode.
    device : torch.device or str
    """

    def __init__(self, network: Generator, device: torch.device | str):
        self.device, self.step_t = torch.device(device), network.step_t
        self.network = network.to(self.device).eval().laid_out_for(self.device)

    def __call__(self, img: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Change an image (2, n_freqs, n_frames); a share of the change by `strength`."""
        with torch.inference_mode():
            out = self.network(torch.from_numpy(img)[None].to(self.device), strength)
        return out[0].float().cpu().numpy()


class Critic(nn.Module):
    """Judge patches of an image beside the anonymized image it should belong to.

    It returns one logit per patch: above 0 for "recorded, and of this speech", below 0 for
    "generated, or of other speech".

    With `cfg.filter_output` it sees the log-magnitudes of the image's waveform only. The phase
    would give every generated image away, as the generator keeps the anonymized phase. There is
    no spectral normalization: it limits the gain of a layer, and the difference of a few dB between
    generated and recorded images would be lost.

    Parameters
    ----------
    cfg : Config
    """

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        kw = dict(norm_type=NormType.Weight, act_cls=lambda: nn.LeakyReLU(0.2))
        n, n_in = cfg.critic_width, 2 if cfg.filter_output else 4
        layers = [ConvLayer(n_in, n, ks=4, stride=2, padding=1, **kw)]
        for _ in range(cfg.critic_depth - 1):
            layers.append(
                ConvLayer(n, min(n * 2, cfg.critic_width * 8), ks=4, stride=2, padding=1, **kw)
            )
            n = min(n * 2, cfg.critic_width * 8)
        layers += [
            ConvLayer(n, n, ks=3, **kw),
            ConvLayer(n, 1, ks=3, norm_type=NormType.Weight, act_cls=None),
        ]
        self.net = nn.Sequential(*layers)

    def seen(self, img):  # (B, 2, n_freqs, n_frames) to (B, 1 or 2, n_freqs, n_frames)
        """The part of an image that the critic may see."""
        img = img.as_subclass(torch.Tensor)
        if not self.cfg.filter_output:
            return img
        n_samples = (img.shape[-1] - 1) * self.cfg.hop_length
        return _waveform_log_magnitude(
            istft(from_image(img, self.cfg), self.cfg, n_samples), self.cfg
        )

    def forward(self, img, anonymized):  # both (B, 2, n_freqs, n_frames)
        img, anonymized = self.seen(img), self.seen(anonymized)
        pair = CONTRAST * torch.cat([img, img - anonymized], 1)
        with autocast(pair.device, narrowest=pair.shape[-1] / 2**self.cfg.critic_depth):
            logits = self.net(pair)  # (B, 1, n_freqs/2**depth, n_frames/2**depth)
        return logits.as_subclass(torch.Tensor).float()


def _waveform_log_magnitude(wav: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Log-magnitude image of waveforms.

    Parameters
    ----------
    wav : torch.Tensor [shape=(B, n_samples)]
    cfg : Config

    Returns
    -------
    img : torch.Tensor [shape=(B, 1, n_freqs, n_frames); -1 is -100 dB, 1 is 0 dB]
    """
    return log_of_magnitude(stft(wav, cfg))[:, None]
