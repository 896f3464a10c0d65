"""The fastai dataset: pairs of images (anonymized, original), cut out of analyzed recordings.

WORLD's analysis is slow and never changes, so `corpus` runs it once, and `add_strangers` makes
pseudo-strangers once. Only without these is each crop a new random speaker. The loader's processes
only cut crops; images are made of whole batches, on the device of the networks.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..anonymize import SpeakerPerturbation, render, speaker_stats, transform
from ..config import Config
from ..corpus import CorpusItem, check_target
from ..errors import ParameterError
from ..model import compat  # noqa: F401
from ..parallel import one_blas_thread
from ..spectrogram import image_to_wav, stft, to_image
from .strangers import load_pair

from fastai.vision.all import (
    Callback,
    DataLoader,
    DataLoaders,
    TensorBase,
    TensorImageBase,
    TfmdLists,
    Transform,
)

# statistics that perturbation does not change
KNOWN = ("f0_hz", "f0_std_semitones", "level_db", "noise_db")
# Step between the WORLD frames on which the source of a crop is measured. Fewer frames weigh less
# against the prior: the envelope is known less well than that of a converted source, and more of
# the perturbation is left to learn from.
STATS_STEP = 4
# Share of the crops of a recording with pseudo-strangers that are not changed at all. Without them the
# target's own speech is moved, too.
OWN_SHARE = 0.2
MARGIN = 10  # run-in of the synthesis before and after a crop, cut off afterwards [WORLD frames]


# Pairs of images


class Waveform(TensorBase):
    """Waveforms (..., n_samples) of crops, of which `ToImage` makes images."""


class ToImage(Transform):
    """Turn `Waveform` (..., n_samples) into `SpecImage` (..., 2, n_freqs, n_frames)."""

    def __init__(self, cfg: Config):
        self.cfg = cfg

    def encodes(self, wavs: Waveform):
        D = stft(wavs.as_subclass(torch.Tensor), self.cfg)
        return SpecImage(to_image(D, self.cfg), cfg=self.cfg)


class SpecImage(TensorImageBase):
    """Images (..., 2, n_freqs, n_frames) with their config as `cfg`; `notebook.batches` shows them."""

    def wav(self) -> np.ndarray:
        """The waveform of one image [shape=(n_samples,), -1..1]."""
        return np.clip(image_to_wav(self.detach().cpu().float().numpy(), self.cfg), -1, 1)


def crop_pair(
    recording: CorpusItem, cfg: Config, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a crop of a recording: the anonymized and the original waveform of one image.

    Parameters
    ----------
    recording : CorpusItem
    cfg : Config
        With its `target` set; the image is `cfg.n_frames` wide. If the recording has a `speaker`,
        that is the target.
    rng : np.random.Generator, optional
        Given, for training: place and speaker are random. With pseudo-strangers: one of these, or
        in 20 % of the crops the target, unchanged. Without: a perturbation, normalized by
        statistics of the whole recording, as a source is at conversion.
        Not given, for validation: the middle of the first pseudo-stranger, or of the recording,
        not perturbed, if it has none.

    Returns
    -------
    anonymized, original : np.ndarray [shape=((n_frames - 1) * hop_length,), float32]
    """
    n_samples = (cfg.n_frames - 1) * cfg.hop_length
    if recording.strangers:
        return _cached_crop(recording, n_samples, rng)
    if recording.speaker:
        cfg = replace(cfg, target=recording.speaker)
    hop = cfg.sr * cfg.frame_period_ms / 1000
    n_world = int(np.ceil(n_samples / hop)) + 1
    n_recorded = recording.n_frames
    last = max(n_recorded - n_world, 0)
    first = int(rng.integers(0, last + 1)) if rng else last // 2
    # a recording shorter than the crop is repeated; margins wrap around at its ends
    frames = np.arange(first - MARGIN, first + n_world + MARGIN) % n_recorded
    wav, own = recording.load(frames)
    features, source = own, cfg.target
    if rng is not None:
        # measure the perturbed envelope, as that of a converted source
        perturbation = SpeakerPerturbation.draw(cfg, cfg.target, rng)
        whole = perturbation.apply(recording.load(slice(None, None, STATS_STEP))[1])
        features = perturbation.apply(own)
        measured = speaker_stats([whole], prior=cfg.target)
        source = replace(measured, **{name: getattr(cfg.target, name) for name in KNOWN})
        if cfg.dials["voiced"] == "auto":  # speakers of both kinds of registers
            cfg = replace(cfg, voiced=("vocoder", "recorded")[rng.integers(2)])
    transformed = transform(features, cfg, source, rng)
    period = round(n_recorded * hop)
    start, skip = round((first - MARGIN) * hop), round(MARGIN * hop)
    samples = np.arange(start, start + round(len(frames) * hop)) % period
    original = np.pad(wav, (0, max(0, period - len(wav))))[samples]
    anonymized = render(original, own, transformed, cfg, source)
    crop = slice(skip, skip + n_samples)
    return anonymized[crop], original[crop]


def _cached_crop(
    recording: CorpusItem, n_samples: int, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """A crop of one of a recording's pseudo-strangers, or of itself; a short one is repeated.

    Speaker and place are random; without `rng`, they are the first stranger and the middle.
    """
    path = recording.strangers[0]
    if rng and rng.random() < OWN_SHARE and recording.own:
        path = recording.own
    elif rng:
        path = recording.strangers[rng.integers(len(recording.strangers))]
    anonymized, original = load_pair(path)
    last = max(len(original) - n_samples, 0)
    first = int(rng.integers(0, last + 1)) if rng else last // 2
    samples = np.arange(first, first + n_samples) % len(original)
    return anonymized[samples], original[samples]


class PerturbedPairs(Transform):
    """Make pairs of waveforms (anonymized, original) of a `CorpusItem` (validation) or a number (training).

    A number is a position in an endless shuffled walk over the training recordings, which visits
    long ones more often. Each visit draws a new crop and a new perturbation, from a generator
    seeded by `cfg.seed`, the epoch and the number.

    Parameters
    ----------
    train : sequence of CorpusItem
        Recordings to train on.
    cfg : Config
        With its `target` set.
    """

    def __init__(self, train: Sequence[CorpusItem], cfg: Config):
        seconds = (cfg.n_frames - 1) * cfg.hop_length / cfg.sr
        self.slots = [r for r in train for _ in range(max(1, round(r.seconds / seconds)))]
        self.n_crops = min(cfg.max_crops, len(self.slots))  # in an epoch
        self.cfg, self.epoch = cfg, 0

    def recording(self, number: int) -> CorpusItem:
        """The recording that a number stands for in this epoch."""
        walk, step = divmod(self.epoch * self.n_crops + number, len(self.slots))
        order = np.random.default_rng([self.cfg.seed, walk]).permutation(len(self.slots))
        return self.slots[order[step]]

    def encodes(self, item):  # no annotation: fasttransform cannot read int | CorpusItem
        rng = None
        if not isinstance(item, CorpusItem):
            rng = np.random.default_rng([self.cfg.seed, self.epoch, item])
            item = self.recording(item)
        with one_blas_thread():
            pair = crop_pair(item, self.cfg, rng)
        return tuple(Waveform(torch.from_numpy(wav)) for wav in pair)


def make_dls(
    train: Sequence[CorpusItem], valid: Sequence[CorpusItem], cfg: Config, num_workers: int = 1
) -> DataLoaders:
    """Make the fastai DataLoaders of pairs of images (anonymized, original).

    Parameters
    ----------
    train, valid : sequences of CorpusItem
    cfg : Config
        With its `target` set, see `learn_target`.
    num_workers : int
        Number of processes that make crops while the networks train; 0 uses this process.

    Returns
    -------
    DataLoaders
        Batches of two `SpecImage` (bs, 2, n_freqs, n_frames). `dls.cfg` is the config, `dls.pairs`
        the `PerturbedPairs`.

    Raises
    ------
    ParameterError
        If `cfg` has no target, or `train` or `valid` is empty.
    """
    check_target(cfg)
    if not len(train) or not len(valid):
        raise ParameterError(
            f"{'valid' if len(train) else 'train'} holds no recordings; take train and valid from split"
        )
    pairs = PerturbedPairs(train, cfg)
    items = [*range(pairs.n_crops), *valid]
    splits = [range(pairs.n_crops), range(pairs.n_crops, len(items))]
    bs = min(cfg.bs, pairs.n_crops)
    dls = TfmdLists(items, pairs, splits=splits).dataloaders(
        bs=bs, val_bs=bs, num_workers=num_workers, after_batch=[ToImage(cfg)]
    )
    dls.cfg, dls.pairs = cfg, pairs
    return dls


class SetEpoch(Callback):
    "Set the dataset's epoch and seed the order of crops by it, so that a resumed run gets the same crops."

    order = -20

    def before_epoch(self):
        if hasattr(self.dls, "pairs"):
            self.dls.pairs.epoch = self.epoch
        train_loader(self.dls).rng.seed(self.dls.cfg.seed * 100_003 + self.epoch)


def train_loader(dls: DataLoaders) -> DataLoader:
    """The DataLoader of training crops itself; in several processes fastai wraps it in another."""
    return getattr(dls.train, "dl", dls.train)
