"""What the networks are trained towards.

No angle is ever regressed: two phases a hair apart can differ by 2 pi as numbers. What an image
should sound like is compared as magnitudes, of its waveform at several resolutions, or of the image
itself.
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
N_VARIED = 48  # cepstral coefficients whose variance is compared
MEL_RESOLUTIONS = ((512, 40), (1024, 80), (2048, 128))  # n_fft = window [samples], bands


def image_l1(pred: torch.Tensor, original: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Mean absolute difference of the log-magnitudes (0.02 is 1 dB) of two images (B, 2, n_freqs, n_frames)."""
    return F.l1_loss(log_magnitude(pred, cfg), log_magnitude(original, cfg))


def lsd_db(pred: torch.Tensor, original: torch.Tensor, cfg: Config) -> torch.Tensor:
    """Log-spectral distance of two batches of images [dB]: root mean square over frequency, mean over frames."""
    db = (log_magnitude(pred, cfg) - log_magnitude(original, cfg)) * 50
    return db.square().mean(-2).sqrt().mean()


def global_variance(pred: torch.Tensor, original: torch.Tensor, cfg: Config) -> torch.Tensor:
    """How far the cepstra of two batches of images vary differently [nepers of the deviation].

    A network that is trained to be close is careful where it is not sure: its spectra move less than
    speech does, and sound muffled. Coefficients 1 to 47 of the log-magnitudes count, over frames that
    are loud in the original.

    Toda and Tokuda, IEICE Trans. E90-D(5), 2007.
    """
    n_freqs = pred.shape[-2]
    row = torch.arange(n_freqs, device=pred.device) + 0.5
    order = torch.arange(1, min(N_VARIED, n_freqs), device=pred.device)
    cosines = torch.cos(torch.pi / n_freqs * order[:, None] * row) * (2 / n_freqs) ** 0.5
    a, b = (log_magnitude(img, cfg).transpose(-2, -1) for img in (pred, original))
    level_db = torch.logsumexp(b * 50 / 10 * math.log(10), -1) * 10 / math.log(10)
    loud = level_db > level_db.quantile(0.95) - 25  # (B, n_frames)
    a, b = (torch.log((image[loud] @ cosines.T).var(0) + 1e-6) / 2 for image in (a, b))
    return F.l1_loss(a, b)


class MultiResolutionSTFT(nn.Module):
    """Spectral convergence and log-magnitude L1 of two waveforms (B, n_samples) at three
    resolutions.

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
            a, b = (
                (a + 1e-7).sqrt(),
                (b + 1e-7).sqrt(),
            )  # the floor keeps both the logarithm and the root's slope finite
            total = (
                total
                + torch.linalg.vector_norm(b - a) / torch.linalg.vector_norm(b)
                + F.l1_loss(a.log(), b.log())
            )
        return total / len(self.resolutions)


class MultiResolutionMel(nn.Module):
    """Log-mel L1 of two waveforms (B, n_samples) at three resolutions [nepers].

    Bands are as wide as hearing is coarse: what they sum over, such as the single bins of a noise,
    can be left as it is. An L1 of every bin would have a network smooth it, since its best guess at
    noise is the middle.
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
            total = total + F.l1_loss(a, b) / 2  # of powers; half of it of magnitudes
        return total / len(self.resolutions)


class GeneratorLoss(nn.Module):
    """How far an image is from the original: a sum of distances, each weighted by the config; those at 0 cost nothing.

    `image_weight`: log-magnitude L1 of the images; `variance_weight`: `global_variance` of them.
    `mr_stft_weight` and `mel_weight`: of their waveforms, by `MultiResolutionSTFT` and
    `MultiResolutionMel`.
    """

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg, self.mr_stft, self.mel = cfg, MultiResolutionSTFT(), MultiResolutionMel(cfg.sr)

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
    """Binary cross-entropy of patch logits against one answer for all."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class ConditionalGANLoss(GANLoss):
    """fastai's GANLoss with a critic that also sees the anonymized image, and refuses the right
    sound for other speech.

    The critic's loss counts recorded images for one half, and for the other what the generator made
    and, `mismatch_weight` of it, recorded images beside the anonymized image of another clip (as in
    WSEGAN), so that content matters too.
    """

    def __init__(self, cfg: Config, gan_model: nn.Module):
        super().__init__(GeneratorLoss(cfg), judged, gan_model)
        self.cfg = cfg

    def generator(self, output, original, anonymized):
        """Distance to the original plus how well the critic was fooled."""
        self.gen_loss = self.gen_loss_func(output, original)
        return self.gen_loss + self.cfg.gan_weight * judged(
            self.gan_model.critic(output, anonymized), True
        )

    def critic(self, real_pred, anonymized, original):
        """How badly the critic tells recorded from made and from wrong; `real_fake_loss` keeps the first part."""
        with torch.no_grad():
            fake = self.gan_model.generator(anonymized)
        fake_loss = judged(self.gan_model.critic(fake, anonymized), False)
        real_loss = judged(real_pred, True)
        self.real_fake_loss = ((real_loss + fake_loss) / 2).detach()
        refuse = fake_loss
        if len(original) > 1 and self.cfg.mismatch_weight:
            wrong_loss = judged(self.gan_model.critic(original.roll(1, 0), anonymized), False)
            refuse = (
                1 - self.cfg.mismatch_weight
            ) * fake_loss + self.cfg.mismatch_weight * wrong_loss
        self.crit_loss = (real_loss + refuse) / 2
        return self.crit_loss
