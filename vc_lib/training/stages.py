"""The stages of training, a Learner for each; `run.fit` trains them.

    generator_learner   the generator alone, to come near the recordings (the pretraining of NoGAN)
    save_generated      save the images it generates, for the critic
    critic_learner      the critic alone, to tell these images from recordings
    gan_learner         both in turns

A run is a folder `models/<run>/`. It holds a checkpoint of each stage, history.csv, and the voice:
generator.safetensors, config.json and card.md. The voice is saved after every epoch, from the
running average of the weights.
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

GENERATED = "generated.npy"  # file name in a run's folder, as is LR_FIND
LR_FIND = "lr_find.json"
LR_RANGE = (1e-5, 1e-2)  # limits of the suggested learning rate


# The generator alone


class LogSpectralDistance(AvgMetric):
    "Log-spectral distance to the recordings [dB], as a fastai metric."

    name = "lsd_db"

    def __init__(self, cfg: Config):
        super().__init__(lambda pred, original, *_: lsd_db(pred, original, cfg))


def generator_learner(dls: DataLoaders, generator: Generator | None = None) -> Learner:
    """Make a Learner that trains the generator alone, to come near the recordings.

    Parameters
    ----------
    dls : DataLoaders
        From `dataset.make_dls`, with its config as `dls.cfg`.
    generator : Generator, optional
        The generator to train. By default a new one, initialized with `cfg.seed`.

    Returns
    -------
    learn : Learner
    """
    cfg = dls.cfg
    if generator is None:
        torch.manual_seed(cfg.seed)
        generator = Generator(cfg)
    cbs = [SetEpoch(), StopAtNaN(), AverageWeights(generator, cfg.ema_decay)]
    return Learner(
        dls,
        generator.laid_out_for(dls.device),
        GeneratorLoss(cfg),
        lr=cfg.lr,
        wd=0.0,
        metrics=LogSpectralDistance(cfg),
        cbs=cbs,
    )


def suggest_lr(dls: DataLoaders, run_dir, generator: Generator | None = None) -> float:
    """Suggest a learning rate for the generator alone, by fastai's `lr_find`.

    It is measured once in a run, and saved in lr_find.json: a resumed run gets the same rate.

    Parameters
    ----------
    dls : DataLoaders
        From `dataset.make_dls`.
    run_dir : str or Path
        The run's folder.
    generator : Generator, optional
        The generator to train, which is not changed. By default a new one.

    Returns
    -------
    lr : float
        The valley of the loss curve, limited to 1e-5..1e-2.

    Raises
    ------
    ParameterError
        If lr_find.json is damaged.
    """
    path = Path(run_dir) / LR_FIND
    if not path.is_file():
        torch.manual_seed(dls.cfg.seed)
        learn = generator_learner(dls, _with_weights_of(generator, Generator(dls.cfg)))
        valley = learn.lr_find(show_plot=False).valley
        measured = dict(
            valley=float(np.clip(valley, *LR_RANGE)),
            lrs=[float(lr) for lr in learn.recorder.lrs],
            losses=[float(loss) for loss in learn.recorder.losses],
        )
        atomically(path, lambda part: part.write_text(json.dumps(measured), encoding="utf-8"))
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["valley"])
    except (ValueError, KeyError, TypeError) as e:
        raise ParameterError(f"{path} is damaged ({e}); remove it to measure the rate again") from e


# The critic alone


def save_generated(generator: Generator, dls: DataLoaders, run_dir) -> Path:
    """Generate images of one epoch of training crops, and save them for the critic.

    Parameters
    ----------
    generator : Generator
    dls : DataLoaders
        From `dataset.make_dls`.
    run_dir : str or Path
        The run's folder.

    Returns
    -------
    path : Path
        The file generated.npy [shape=(n_crops, 3, 2, n_freqs, n_frames), float16]: the anonymized,
        generated and original image of each crop.

    Raises
    ------
    ParameterError
        If another process trains into the same folder.
    NotWritten
        If the disk is full, or the folder is read-only.
    """
    path, cfg, device = Path(run_dir) / GENERATED, dls.cfg, dls.device
    generator = generator.to(device).eval()
    train = dls.train.new(shuffle=False, drop_last=False)

    def write(part: Path) -> None:
        shape = (dls.pairs.n_crops, 3, 2, cfg.n_freqs, cfg.n_frames)
        header = dict(descr=np.dtype(np.float16).str, fortran_order=False, shape=shape)
        # not a memory map: on a full disk that would kill the process
        with part.open("wb") as f:
            np.lib.format.write_array_header_2_0(f, header)
            for anonymized, original in progress_bar(train, leave=False):
                with torch.no_grad():
                    generated = generator(anonymized)
                images = (anonymized, generated, original)
                batch = torch.stack([img.as_subclass(torch.Tensor).float() for img in images], 1)
                f.write(batch.cpu().numpy().astype(np.float16).tobytes())

    dls.pairs.epoch = 0
    with only_process(run_dir):
        atomically(path, write)
    return path


class JudgedPair(Transform):
    """Turn an item number into (image, anonymized image, label), read from `save_generated`'s file.

    Number 3 * i gives the recorded image of crop i (label 1), 3 * i + 1 the generated one (label
    0), and 3 * i + 2 the recorded image of another crop (label 0).
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
    """Make a Learner that trains the critic alone, to tell generated images from recorded ones.

    Parameters
    ----------
    run_dir : str or Path
        The run's folder, with the file of `save_generated`.
    cfg : Config
    num_workers : int
        Number of processes that load images while the critic trains; 0 uses this process.

    Returns
    -------
    learn : Learner

    Raises
    ------
    MissingInput
        If `save_generated` has not been called for `run_dir`.
    """
    path = Path(run_dir) / GENERATED
    if not path.is_file():
        raise MissingInput(
            f"{path} does not exist; call save_generated(generator, dls, run_dir) first"
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
    """Binary cross-entropy of patch logits (B, 1, F', T') with one label for each image (B,)."""
    return F.binary_cross_entropy_with_logits(
        logits, is_recorded.float()[:, None, None, None].expand_as(logits)
    )


def patch_accuracy(logits, is_recorded):
    """Share of patches that are classified correctly [0..1]."""
    return ((logits > 0) == (is_recorded > 0.5)[:, None, None, None]).float().mean()


# Generator and critic in turns


def gan_learner(
    dls: DataLoaders, generator: Generator | None = None, critic: Critic | None = None
) -> GANLearner:
    """Make a Learner that trains generator and critic in turns.

    `CappedGANSwitcher` ends a turn of the critic when its loss on recorded and generated images
    (without mismatched pairs) is below `cfg.critic_threshold`, or after `cfg.max_critic_steps`.
    A turn of the generator is one step. Both counts are in history.csv. The loss of both is
    `losses.ConditionalGANLoss`.

    Parameters
    ----------
    dls : DataLoaders
        From `dataset.make_dls`, with its config as `dls.cfg`.
    generator : Generator, optional
    critic : Critic, optional
        Networks whose weights are copied; they are not changed. By default the weights are new.

    Returns
    -------
    learn : GANLearner
    """
    cfg = dls.cfg
    torch.manual_seed(cfg.seed)
    generator, critic = (
        _with_weights_of(given, new)
        for given, new in ((generator, Generator(cfg)), (critic, Critic(cfg)))
    )
    generator.laid_out_for(dls.device)
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


def _with_weights_of(given: torch.nn.Module | None, new: torch.nn.Module) -> torch.nn.Module:
    """`new` with the weights of `given`, if that is not None; a deepcopy would share the hooks of the U-Net."""
    if given is not None:
        new.load_state_dict(given.state_dict())
    return new
