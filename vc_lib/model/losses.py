"""Losses of the generator and of the critic.

Distances compare magnitudes only, of images or of their waveforms. Phases are not compared: two
phases that are almost equal can differ by 2 pi as numbers.
"""

import math

import librosa
import torch
from torch import nn
from torch.nn import functional as F

from ..config import Config
from ..spectrogram import from_image, istft, log_magnitude
from . import compat  # noqa: F401

from fastai.vision.gan import GANLoss

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # n_fft, hop, window [samples]
MEL_RESOLUTIONS = ((512, 40),)  # n_fft = window [samples], bands
N_CEPSTRA = 48  # number of cepstral coefficients whose variance is compared, 0 included
DB_PER_UNIT = 50  # a log-magnitude of -1..1 spans 100 dB


def image_l1(pred: torch.Tensor, original: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Mean absolute difference of log-magnitudes [50 dB] of images (B, 2, n_freqs, n_frames)."""
    return F.l1_loss(log_magnitude(pred, cfg), log_magnitude(original, cfg))


def lsd_db(pred: torch.Tensor, original: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Log-spectral distance [dB] of images (B, 2, n_freqs, n_frames).

    It is the root mean square over frequency, and the mean over frames.
    """
    db = (log_magnitude(pred, cfg) - log_magnitude(original, cfg)) * DB_PER_UNIT
    return db.square().mean(-2).sqrt().mean()


def global_variance(pred: torch.Tensor, original: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Difference of the standard deviations of cepstra over time [nepers].

    A network that minimizes a distance predicts the mean where it is unsure. Its spectra vary less
    than those of speech, and sound muffled.

    Parameters
    ----------
    pred, original : torch.Tensor [shape=(B, 2, n_freqs, n_frames)]
        Images. Cepstral coefficients 1 to 47 of their log-magnitudes are compared, over the frames
        that are loud in `original`.
    cfg : Config

    Returns
    -------
    difference : torch.Tensor [shape=(), nepers]

    References
    ----------
    Toda and Tokuda, IEICE Trans. E90-D(5), 2007.
    """
    n_freqs = pred.shape[-2]
    row = torch.arange(n_freqs, device=pred.device) + 0.5
    order = torch.arange(1, min(N_CEPSTRA, n_freqs), device=pred.device)
    cosines = torch.cos(torch.pi / n_freqs * order[:, None] * row) * (2 / n_freqs) ** 0.5
    a, b = (log_magnitude(img, cfg).transpose(-2, -1) for img in (pred, original))
    level_db = torch.logsumexp(b * DB_PER_UNIT / 10 * math.log(10), -1) * 10 / math.log(10)
    loud = level_db > level_db.quantile(0.95) - 25  # (B, n_frames)
    a, b = (torch.log((image[loud] @ cosines.T).var(0) + 1e-6) / 2 for image in (a, b))
    return F.l1_loss(a, b)


class MultiResolutionSTFT(nn.Module):
    """Spectral convergence plus log-magnitude L1 of waveforms (B, n_samples), at three resolutions.

    References
    ----------
    Yamamoto et al., Parallel WaveGAN, ICASSP 2020.
    """

    def __init__(self, resolutions=RESOLUTIONS):
        super().__init__()
        self.resolutions = resolutions
        for i, (_, _, width) in enumerate(resolutions):
            self.register_buffer(f"window{i}", torch.hann_window(width), persistent=False)

    def forward(self, pred, original):
        total = 0.0
        for i, (n_fft, hop, width) in enumerate(self.resolutions):
            window = getattr(self, f"window{i}")
            kw = dict(
                hop_length=hop,
                win_length=width,
                window=window,
                pad_mode="constant",
                return_complex=True,
            )
            a, b = (
                torch.view_as_real(torch.stft(wav, n_fft, **kw)).square().sum(-1)
                for wav in (pred, original)
            )
            # the floor keeps the logarithm and the slope of the root finite
            a, b = (a + 1e-7).sqrt(), (b + 1e-7).sqrt()
            total = (
                total
                + torch.linalg.vector_norm(b - a) / torch.linalg.vector_norm(b)
                + F.l1_loss(a.log(), b.log())
            )
        return total / len(self.resolutions)


class MultiResolutionMel(nn.Module):
    """Log-mel L1 of waveforms (B, n_samples), at several resolutions [nepers].

    A mel band sums over bins that the ear does not separate, such as those of a noise. With an L1
    of single bins the network would smooth noise, as the best prediction of a random bin is its
    median.
    """

    def __init__(self, sr: int, resolutions=MEL_RESOLUTIONS):
        super().__init__()
        self.resolutions = resolutions
        for i, (n_fft, n_mels) in enumerate(resolutions):
            bands = torch.from_numpy(librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels))
            self.register_buffer(f"bands{i}", bands, persistent=False)
            self.register_buffer(f"window{i}", torch.hann_window(n_fft), persistent=False)

    def forward(self, pred, original):
        total = 0.0
        for i, (n_fft, _) in enumerate(self.resolutions):
            window, bands = getattr(self, f"window{i}"), getattr(self, f"bands{i}")
            kw = dict(
                hop_length=n_fft // 4, window=window, pad_mode="constant", return_complex=True
            )
            a, b = (
                torch.log(
                    bands @ torch.view_as_real(torch.stft(wav, n_fft, **kw)).square().sum(-1) + 1e-6
                )
                for wav in (pred, original)
            )
            total = total + F.l1_loss(a, b) / 2  # half: logarithms of powers to those of magnitudes
        return total / len(self.resolutions)


class GeneratorLoss(nn.Module):
    """Distance of an image to the original: a weighted sum, in which terms of weight 0 are not computed.

    Parameters
    ----------
    cfg : Config
        Its weights: `image_weight` of `image_l1` and `variance_weight` of `global_variance`;
        `mr_stft_weight` of `MultiResolutionSTFT` and `mel_weight` of `MultiResolutionMel`, both
        of the images' waveforms.
    """

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg, self.mr_stft = cfg, MultiResolutionSTFT()
        self.mel = MultiResolutionMel(cfg.sr)

    def forward(self, pred, original, *_):  # both (B, 2, n_freqs, n_frames)
        pred, original = pred.as_subclass(torch.Tensor), original.as_subclass(torch.Tensor)
        cfg, loss = self.cfg, 0.0
        if cfg.image_weight:
            loss = loss + cfg.image_weight * image_l1(pred, original, cfg)
        if cfg.variance_weight:
            loss = loss + cfg.variance_weight * global_variance(pred, original, cfg)
        if cfg.mr_stft_weight or cfg.mel_weight:
            n_samples = (pred.shape[-1] - 1) * cfg.hop_length
            wavs = [istft(from_image(img, cfg), cfg, n_samples) for img in (pred, original)]
            if cfg.mr_stft_weight:
                loss = loss + cfg.mr_stft_weight * self.mr_stft(*wavs)
            if cfg.mel_weight:
                loss = loss + cfg.mel_weight * self.mel(*wavs)
        return loss


def judged(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Binary cross-entropy of patch logits with the label `real` for all patches."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class ConditionalGANLoss(GANLoss):
    """fastai's GANLoss for a critic that also sees the anonymized image.

    One half of the critic's loss is about recorded images. The other half is about fakes: generated
    images and, with the share `cfg.mismatch_weight`, mismatched pairs. In a mismatched pair the
    recorded image stands beside the anonymized image of another clip, so the critic must compare
    content too.

    References
    ----------
    Mismatched pairs are also used in WSEGAN (Pascual et al.).
    """

    def __init__(self, cfg: Config, gan_model: nn.Module):
        super().__init__(GeneratorLoss(cfg), judged, gan_model)
        self.cfg = cfg

    def generator(self, output, original, anonymized):
        """Loss of the generator: distance to the original plus `gan_weight` of the adversarial loss."""
        self.gen_loss = self.gen_loss_func(output, original)
        return self.gen_loss + self.cfg.gan_weight * judged(
            self.gan_model.critic(output, anonymized), True
        )

    def critic(self, real_pred, anonymized, original):
        """Loss of the critic; `real_fake_loss` is the same without mismatched pairs."""
        with torch.no_grad():
            fake = self.gan_model.generator(anonymized)
        fake_loss = judged(self.gan_model.critic(fake, anonymized), False)
        real_loss = judged(real_pred, True)
        self.real_fake_loss = ((real_loss + fake_loss) / 2).detach()
        refused_loss = fake_loss
        if len(original) > 1 and self.cfg.mismatch_weight:
            mismatched = self.gan_model.critic(original.roll(1, 0), anonymized)
            share = self.cfg.mismatch_weight
            refused_loss = (1 - share) * fake_loss + share * judged(mismatched, False)
        self.crit_loss = (real_loss + refused_loss) / 2
        return self.crit_loss
