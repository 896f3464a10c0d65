"""The stages of training: a Learner for each, and one `fit` that trains it and can be called again.

    generator_learner   the generator alone, towards the recordings (NoGAN's pretraining)
    save_generated      what it makes of the training crops, kept as arrays
    critic_learner      the critic alone, on those against the recordings
    gan_learner         both, in turns

A run is a folder `models/<run>/`: config.json, history.csv, a checkpoint per stage while it trains,
and the voice itself, generator.safetensors and card.md, renewed after every epoch. What is saved is
the running average of the weights.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fastprogress.fastprogress import progress_bar
from torch.nn import functional as F

from ..config import Config
from ..errors import MissingInput, ParameterError
from ..files import atomically, only_process
from ..model import compat  # noqa: F401
from ..model.losses import ConditionalGANLoss, GeneratorLoss, lsd_db
from ..model.networks import Critic, Generator
from .callbacks import AverageWeights, CappedGANSwitcher, Condition, CriticRate, StopAtNaN
from .dataset import SetEpoch

from fastai.vision.all import (
    Adam,
    AvgMetric,
    DataLoaders,
    Learner,
    TfmdLists,
    Transform,
    default_device,
)
from fastai.vision.gan import GANLearner

GENERATED = "generated.npy"
LR_FIND, LR_RANGE = "lr_find.json", (1e-5, 1e-2)


# Stages: a Learner for each, and one `fit` that trains it


class LogSpectralDistance(AvgMetric):
    "Log-spectral distance to the recordings [dB], as a fastai metric."

    name = "lsd_db"

    def __init__(self, cfg: Config):
        super().__init__(lambda pred, original, *_: lsd_db(pred, original, cfg))


def generator_learner(dls: DataLoaders, generator: Generator | None = None) -> Learner:
    """A Learner that trains the generator alone, towards the recordings.

    Parameters
    ----------
    dls : DataLoaders
        From `dataset.make_dls`; `dls.cfg` says what is built.
    generator : Generator, optional
        One to go on with; a new one by default, drawn by `cfg.seed`.
    """
    cfg = dls.cfg
    if generator is None:
        torch.manual_seed(cfg.seed)
        generator = Generator(cfg)
    cbs = [SetEpoch(), StopAtNaN(), AverageWeights(generator, cfg.ema_decay)]
    return Learner(
        dls,
        generator.train_equalizer(True).laid_out_for(dls.device),
        GeneratorLoss(cfg),
        lr=cfg.lr,
        wd=0.0,
        metrics=LogSpectralDistance(cfg),
        cbs=cbs,
    )


def suggest_lr(dls: DataLoaders, run_dir) -> float:
    """Learning rate for the generator alone, by fastai's `lr_find`, measured once a run and kept in lr_find.json.

    Parameters
    ----------
    dls : DataLoaders
        From `dataset.make_dls`.
    run_dir : str or Path
        The run's folder; a rate that it holds already is taken, so that a resumed run has the same.

    Returns
    -------
    lr : float
        The valley of the curve, within 1e-5..1e-2.

    Raises
    ------
    ParameterError
        If the file is damaged.
    """
    path = Path(run_dir) / LR_FIND
    if not path.is_file():
        learn = generator_learner(dls)
        valley = learn.lr_find(show_plot=False).valley
        found = dict(
            valley=float(np.clip(valley, *LR_RANGE)),
            lrs=[float(lr) for lr in learn.recorder.lrs],
            losses=[float(loss) for loss in learn.recorder.losses],
        )
        atomically(path, lambda part: part.write_text(json.dumps(found), encoding="utf-8"))
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["valley"])
    except (ValueError, KeyError, TypeError) as e:
        raise ParameterError(f"{path} is damaged ({e}); remove it to measure the rate again") from e


def save_generated(generator: Generator, dls: DataLoaders, run_dir) -> Path:
    """Keep what the generator makes of an epoch of training crops, for the critic to learn from.

    Returns
    -------
    path : Path
        `generated.npy` [shape=(n_crops, 3, 2, n_freqs, n_frames), float16]: anonymized, generated,
        original. A plain array, read without pickle.
    """
    path, cfg, device = Path(run_dir) / GENERATED, dls.cfg, dls.device
    generator = generator.to(device).eval()
    train = dls.train.new(shuffle=False, drop_last=False)

    def write(part: Path) -> None:
        shape = (dls.pairs.n_crops, 3, 2, cfg.n_freqs, cfg.n_frames)
        kind = dict(descr=np.dtype(np.float16).str, fortran_order=False, shape=shape)
        # not by memory map: where the disk is full that ends the process
        with part.open("wb") as f:
            np.lib.format.write_array_header_2_0(f, kind)
            for anonymized, original in progress_bar(train, leave=False):
                with torch.no_grad():
                    made = generator(anonymized)
                batch = torch.stack(
                    [t.as_subclass(torch.Tensor).float() for t in (anonymized, made, original)], 1
                )
                f.write(batch.cpu().numpy().astype(np.float16).tobytes())

    dls.pairs.epoch = 0
    with only_process(run_dir):
        atomically(path, write)
    return path


class JudgedPair(Transform):
    """Turn a number into (image, anonymized, whether the image is the recording of it) from
    `save_generated`'s array.

    Numbers go round in three: the recording, what the generator made, and the recording of another
    crop.
    """

    def __init__(self, path: Path):
        self.triples = np.load(path, mmap_mode="r", allow_pickle=False)

    def encodes(self, number):
        i, kind = divmod(number, 3)
        anonymized, generated, original = self.triples[i].astype(np.float32)
        other = self.triples[(i + 1) % len(self.triples), 2].astype(np.float32)
        image = (original, generated, other)[kind]
        return torch.from_numpy(image), torch.from_numpy(anonymized), torch.tensor(float(kind == 0))


def critic_learner(run_dir, cfg: Config, num_workers: int = 1) -> Learner:
    """A Learner that trains the critic alone, on what `save_generated` kept against the recordings.

    Raises
    ------
    MissingInput
        If nothing was kept in `run_dir` yet.
    """
    path = Path(run_dir) / GENERATED
    if not path.is_file():
        raise MissingInput(
            f"{path} is not there; call save_generated(generator, dls, run_dir) first"
        )
    judged_pair = JudgedPair(path)
    numbers = np.random.default_rng(cfg.seed).permutation(3 * len(judged_pair.triples)).tolist()
    n_valid = max(1, len(numbers) // 10)
    splits = [range(n_valid, len(numbers)), range(n_valid)]
    bs = min(cfg.bs, len(splits[0]))
    dls = TfmdLists(numbers, judged_pair, splits=splits).dataloaders(
        bs=bs, val_bs=bs, num_workers=num_workers, n_inp=2, device=default_device()
    )
    dls.cfg = cfg
    torch.manual_seed(cfg.seed)
    cbs = [SetEpoch(), StopAtNaN()]
    return Learner(
        dls, Critic(cfg), patch_loss, lr=cfg.lr_critic, wd=0.0, metrics=patch_accuracy, cbs=cbs
    )


def patch_loss(logits, is_recorded):
    """Binary cross-entropy of patch logits (B, 1, F', T') against one answer per image (B,)."""
    return F.binary_cross_entropy_with_logits(
        logits, is_recorded.float()[:, None, None, None].expand_as(logits)
    )


def patch_accuracy(logits, is_recorded):
    """Share of patches judged rightly."""
    return ((logits > 0) == (is_recorded > 0.5)[:, None, None, None]).float().mean()


def gan_learner(
    dls: DataLoaders, generator: Generator | None = None, critic: Critic | None = None
) -> GANLearner:
    """A Learner that trains generator and critic in turns: copies of those given, else new ones.

    The critic's turn ends when it tells recorded from made (`cfg.critic_threshold`) or after
    `cfg.max_critic_steps`; the generator's after one step. Both counts are in history.csv.
    """
    cfg = dls.cfg
    torch.manual_seed(cfg.seed)
    generator, critic = (
        _copied(given, new) for given, new in ((generator, Generator(cfg)), (critic, Critic(cfg)))
    )
    generator.train_equalizer(True).laid_out_for(dls.device)
    switcher = CappedGANSwitcher(cfg.critic_threshold, cfg.max_critic_steps)
    cbs = [SetEpoch(), StopAtNaN(), Condition(), CriticRate(cfg.lr_critic / cfg.lr_gan)]
    cbs.append(AverageWeights(generator, cfg.ema_decay))
    learn = GANLearner(
        dls,
        generator,
        critic,
        None,
        None,
        switcher=switcher,
        switch_eval=True,
        lr=cfg.lr_gan,
        wd=0.0,
        moms=(0.0, 0.0, 0.0),
        opt_func=partial(Adam, sqr_mom=0.99),
        metrics=LogSpectralDistance(cfg),
        cbs=cbs,
    )
    learn.loss_func = ConditionalGANLoss(cfg, learn.model)
    return learn


def _copied(given: torch.nn.Module | None, new: torch.nn.Module) -> torch.nn.Module:
    """`new` with the weights of what was given, if anything was; the hooks of a U-Net cannot be copied."""
    if given is not None:
        new.load_state_dict(given.state_dict())
    return new
