"""The stages of training: a Learner for each, and one `fit` that trains it and can be called again.

    generator_learner   the generator alone, towards the recordings (NoGAN's pretraining)
    save_generated      what it makes of the training crops, kept as arrays
    critic_learner      the critic alone, on those against the recordings
    gan_learner         both, in turns

A run is a folder `models/<run>/`: config.json, history.csv, a checkpoint per stage while it trains,
and the voice itself, generator.safetensors and card.md, renewed after every epoch. What is saved is
the running average of the weights.
"""

import csv
import io
import json
import os
import pickle
import warnings
import zipfile
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fastprogress.fastprogress import progress_bar
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from . import compat  # noqa: F401
from .config import Config
from .dataset import SetEpoch
from .errors import MissingInput, ParameterError
from .files import atomically, only_process
from .losses import ConditionalGANLoss, GeneratorLoss, lsd_db
from .models import Critic, Generator
from .voices import HISTORY, read_voice, save_voice, trained_until

from fastai.vision.all import (
    Adam,
    AvgMetric,
    Callback,
    CancelFitException,
    DataLoaders,
    Learner,
    TfmdLists,
    Transform,
    default_device,
    distrib_barrier,
    num_distrib,
    rank_distrib,
    to_device,
)
from fastai.vision.gan import AdaptiveGANSwitcher, GANLearner, GANTrainer

# GANTrainer's `generator` is also an attribute of the learner's model, which fastai warns of each time
warnings.filterwarnings("ignore", message="You are shadowing an attribute")

STAGES = ("generator", "critic", "gan")  # in the order they are trained
GENERATED = "generated.npy"
LR_FIND, LR_RANGE = "lr_find.json", (1e-5, 1e-2)
TOLERATED = 4 / 3  # of the best distance to the recordings: adversarial training is lost beyond


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a person; what follows it in a notebook does not run. All whole epochs are kept."""

    def _render_traceback_(self) -> list[str]:
        """All that a notebook shows of it."""
        return [str(self)]


# Callbacks, one per concern


class StopAtNaN(Callback):
    "Stop with a clear error where a loss, a gradient or a weight is not finite any more; the last checkpoint stays."

    order = -9

    def after_loss(self):
        if self.training and not torch.isfinite(self.learn.loss_grad):
            self.lost(f"the loss became {self.learn.loss_grad.item()}")

    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        if grads and not torch.isfinite(torch.nn.utils.get_total_norm(grads)):
            self.lost("a gradient became infinite")

    def after_train(self):
        state = self.learn.model.state_dict()
        if not all(torch.isfinite(v).all() for v in state.values()):
            self.lost("a weight became infinite")  # in the last step, or in what batch norm counts

    def lost(self, what: str):
        if hasattr(self.learn, "lr_finder"):
            raise CancelFitException  # it raises the rate until the loss is lost: here it ends
        of = sorted(self.recordings())
        raise FloatingPointError(
            f"{what} in epoch {self.epoch}, batch {self.iter}; "
            "the last checkpoint is kept: lower lr in a new run, or look at the recordings"
            + (f" that this batch was made of: {', '.join(of)}" if of else "")
        )

    def recordings(self) -> set[str]:
        """Names of the files that the crops of this batch were cut from, where that is known."""
        pairs = getattr(self.dls, "pairs", None)
        loader = getattr(self.dls.train, "dl", self.dls.train)
        order = getattr(loader, "_DataLoader__idxs", None)  # fastai does not tell it otherwise
        if pairs is None or order is None or num_distrib() > 1:
            return set()
        batch = order[self.iter * loader.bs : (self.iter + 1) * loader.bs]
        return {pairs.recording(item).path.name for item in batch}


class AverageWeights(Callback):
    "Keep a running average of a network's weights, validate with it, and give it to whoever saves."

    def __init__(self, network, decay: float):
        self.network, self.update = network, get_ema_multi_avg_fn(decay)
        self.reset()

    def reset(self):
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def before_fit(self):
        self.reset()

    def after_step(self):
        if hasattr(self.learn, "lr_finder"):
            return  # a rehearsal, whose weights are thrown away
        if hasattr(self.learn, "gan_trainer") and not self.learn.gan_trainer.gen_mode:
            return
        state = self.network.state_dict()
        floats = [k for k, v in state.items() if v.is_floating_point()]
        with torch.no_grad():
            self.update([self.average[k] for k in floats], [state[k] for k in floats], 0)
        for k in state.keys() - set(floats):
            self.average[k].copy_(state[k])

    def before_validate(self):
        self.raw = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)

    def after_validate(self):
        self.network.load_state_dict(self.raw)


class Checkpoint(Callback):
    "After every epoch keep all that is needed to go on as if nothing had happened; at the start take it up."

    order = 65

    def __init__(self, path: Path, before: dict[str, int]):
        self.path, self.earlier_stages = path, before

    def before_fit(self):
        kept = load_checkpoint(self.path)
        self.start_epoch = kept["epoch"] + 1 if kept else 0
        self.learn.train_iter = self.start_epoch * len(self.dls.train)  # steps count on
        if not kept:
            return
        unwrapped(self.model).load_state_dict(kept["model"])
        self.opt.load_state_dict(to_device(kept["opt"], self.dls.device))
        if "smooth" in kept:  # the loss that is shown goes on, too
            smooth = self.learn.recorder.smooth_loss
            smooth.count, smooth.val = kept["smooth"]["count"], kept["smooth"]["val"]
        if hasattr(self.learn, "early_stopping"):
            self.learn.early_stopping.best = kept.get("best")
        if hasattr(self.learn, "average_weights"):
            self.learn.average_weights.average = {
                k: v.to(self.dls.device) for k, v in kept["average"].items()
            }

    def after_epoch(self):
        if self.epoch >= self.start_epoch and not rank_distrib():
            self.keep()
        distrib_barrier()  # nobody goes on, or looks at it, before it is written

    def keep(self):
        opt = self.opt.state_dict()
        state = dict(
            epoch=self.epoch,
            n_epoch=self.n_epoch,
            earlier_stages=self.earlier_stages,
            settings=settings(self.dls.cfg),
            model=unwrapped(self.model).state_dict(),
            smooth=dict(
                count=self.learn.recorder.smooth_loss.count,
                val=self.learn.recorder.smooth_loss.val,
            ),
            opt=dict(
                state=list(opt["state"]),
                hypers=[{k: float(v) for k, v in h.items()} for h in opt["hypers"]],
            ),
        )
        if hasattr(self.learn, "average_weights"):
            state["average"] = self.learn.average_weights.average
        if hasattr(self.learn, "early_stopping"):
            state["best"] = self.learn.early_stopping.best
        data = io.BytesIO()  # torch's own writing tells nobody that a disk is full
        torch.save(state, data)
        atomically(self.path, lambda part: part.write_bytes(data.getbuffer()))


class History(Callback):
    "Add a row per epoch to history.csv: the stage, the losses, the metrics; a repeated epoch replaces its own row."

    order = 62

    def __init__(self, path: Path, stage: str):
        self.path, self.stage = path, stage

    def before_epoch(self):
        self.learn.scores = {}  # see monitor.EvaluateCallback

    def after_epoch(self):
        values = epoch_values(self.learn)
        if not values:
            return  # skipped: it was trained before
        row = {"stage": self.stage, "epoch": str(self.epoch)} | {
            k: f"{v:.5g}" for k, v in values.items()
        }
        if hasattr(self.learn, "capped_gan_switcher"):
            row |= self.learn.capped_gan_switcher.turns()
        row |= {k: f"{v:.5g}" for k, v in self.learn.scores.items()}
        rows = [
            r
            for r in read_history(self.path)
            if (r["stage"], r["epoch"]) != (row["stage"], row["epoch"])
        ]
        write_history(self.path, [*rows, row])


class SaveVoice(Callback):
    "Renew the voice in the run's folder after every epoch, from the averaged weights."

    order = 66

    def __init__(self, run_dir: Path, stage: str):
        self.run_dir, self.stage = run_dir, stage

    def after_epoch(self):
        if epoch_values(self.learn):
            trained = (self.stage, self.epoch)
            save_voice(self.learn.average_weights.average, self.dls.cfg, self.run_dir, trained)


class EarlyStopping(Callback):
    """Stop the adversarial stage once validation is stopped; the voice is the best of it before.

    Spoilt is what passes `limit_db`; if that is not given, what is a third worse than the best epoch, of this stage or
    of the pretraining (`reference_db`). Every adversarial stage has one.
    """

    order = 61

    def __init__(self, limit_db: float | None = None, reference_db: float = float("inf")):
        self.limit_db, self.reference_db = limit_db, reference_db
        self.best, self.stopped = None, False

    def before_fit(self):
        self.best, self.stopped = None, False

    def limit(self) -> float:
        """What validation may not pass [dB]."""
        if self.limit_db is not None:
            return self.limit_db
        best_db = self.best["lsd_db"] if self.best else float("inf")
        return TOLERATED * min(best_db, self.reference_db)

    def after_epoch(self):
        now, limit = epoch_values(self.learn).get("lsd_db"), self.limit()
        if now is None:
            return  # skipped: it was trained before
        if now <= limit:
            if not self.best or now < self.best["lsd_db"]:
                average = {k: v.clone() for k, v in self.learn.average_weights.average.items()}
                self.best = dict(epoch=self.epoch, lsd_db=now, average=average)
            return
        self.stopped = True
        print(
            f"epoch {self.epoch}: {now:.2f} dB from the recordings is over the limit of {limit:.2f} dB: stopped; "
            + (
                f"the voice is that of epoch {self.best['epoch']}"
                if self.best
                else "the voice is what it was before"
            )
        )
        raise CancelFitException


def epoch_values(learn: Learner) -> dict[str, float]:
    """Losses and metrics of the epoch that has just ended; nothing if it was skipped because it was trained before."""
    names = [name for name in learn.recorder.metric_names[1:] if name != "time"]
    values = [v for v in learn.recorder.log[1:] if isinstance(v, float)]
    return dict(zip(names, values, strict=False)) if len(values) >= len(names) else {}


class CappedGANSwitcher(AdaptiveGANSwitcher):
    "Train the critic until it tells recorded from made, or `max_steps`; then the generator, one step."

    run_after = GANTrainer

    def __init__(self, critic_thresh: float, max_steps: int):
        super().__init__(critic_thresh=critic_thresh)
        self.max_steps = max_steps

    def before_validate(self):
        self.model.eval()  # GANTrainer, just before, has put the generator into training mode

    def before_train(self):
        # Said anew, since TrainEvalCallback has just put both networks into training mode: the
        # critic begins the first epoch, the generator, whose turn validation leaves, the others.
        self.gan_trainer.switch(gen_mode=self.epoch > 0)
        self.steps = self.n_critic = self.n_generator = self.n_capped = 0

    def after_batch(self):
        if not self.training:
            return
        if self.gan_trainer.gen_mode:
            self.n_generator += 1
            self.gan_trainer.switch()
            return
        self.steps += 1
        self.n_critic += 1
        convinced = self.loss_func.real_fake_loss < self.critic_thresh
        if convinced or self.steps >= self.max_steps:
            self.n_capped += not convinced
            self.steps = 0
            self.gan_trainer.switch()

    def turns(self) -> dict[str, int]:
        """Steps of either side in the last epoch, and how often the cap ended the critic's turn."""
        return dict(
            critic_steps=self.n_critic, generator_steps=self.n_generator, capped=self.n_capped
        )


class Condition(Callback):
    "Hand the critic the anonymized image, and leave no stale gradient on the side that does not train."

    run_after = GANTrainer

    def before_batch(self):
        gan = self.learn.gan_trainer
        if gan.gen_mode:
            self.learn.yb = (
                *self.yb,
                *self.xb,
            )  # generator(anonymized); loss(made, original, anonymized)
        else:
            self.learn.xb, self.learn.yb = (
                (*self.xb, *self.yb),
                (*self.yb, *self.xb),
            )  # critic(original, anonymized)
        for p in (gan.critic if gan.gen_mode else gan.generator).parameters():
            p.grad = None


class CriticRate(Callback):
    "Give the critic the schedule's learning rate times `ratio`; fastai's own fails under a schedule."

    order = 61  # after ParamScheduler has set the rate of this batch

    def __init__(self, ratio: float):
        self.ratio = ratio

    def before_batch(self):
        if self.training and not self.learn.gan_trainer.gen_mode:
            self.opt.set_hyper("lr", float(self.opt.hypers[0]["lr"]) * self.ratio)


# Files of a run


def load_checkpoint(path: Path) -> dict | None:
    """What `Checkpoint` kept, or None; holds tensors and numbers only, nothing that can run.

    Raises
    ------
    ParameterError
        If it is damaged: its checksums are looked at first.
    """
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as e:
        raise ParameterError(
            f"{path} is damaged ({e}); remove it to train this stage from its beginning, or bring a copy of it back"
        ) from e


def read_history(path) -> list[dict[str, str]]:
    """Rows of a history.csv; none if there is no such file yet."""
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def write_history(path: Path, rows: list[dict]) -> None:
    """Write rows, whose columns may differ, as one table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    atomically(path, write)


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


def fit(learn: Learner, run_dir, stage: str, n_epochs: int, cbs=()) -> None:
    """Train a stage, or go on training it: by the one-cycle policy, with a checkpoint after every
    epoch.

    Parameters
    ----------
    learn : Learner
        From `generator_learner`, `critic_learner` or `gan_learner`. Afterwards its network holds
        what was saved.
    run_dir : str or Path
        The run's folder, `models/<run>`.
    stage : str
        Names the checkpoint and the rows of history.csv: "generator", "critic" or "gan".
    n_epochs : int
        Of the whole stage, those trained before included.

    Raises
    ------
    Interrupted
        After an interrupt (the stop button); called again with the same number it goes on from the last
        whole epoch.
    ParameterError
        If the stage was begun with another `n_epochs` or other settings, a stage before it was trained on since, its
        checkpoint is damaged, or another process trains into the same folder.
    FloatingPointError
        If the loss is not finite any more.
    NotWritten
        If the disk is full, or the folder may not be written to.

    However it ends, the networks are left as they were kept last.
    """
    with nullcontext() if rank_distrib() else only_process(run_dir):
        _fit(learn, Path(run_dir), stage, n_epochs, list(cbs))


def _fit(learn: Learner, run_dir: Path, stage: str, n_epochs: int, cbs: list[Callback]) -> None:
    cfg, first = learn.dls.cfg, not rank_distrib()
    if num_distrib() > 1 and hasattr(learn, "gan_trainer"):
        raise ParameterError(
            f"num_processes={num_distrib()} must be 1 for generator and critic in turns, which change what is trained "
            "from step to step; train the generator alone on several, and this stage on one"
        )
    checkpoint = run_dir / f"{stage}.checkpoint.pt"
    kept = load_checkpoint(checkpoint)
    if n_epochs < 1:
        raise ParameterError(f"n_epochs={n_epochs} must be at least 1")
    if first and kept and kept["settings"] != settings(cfg):
        changed = [k for k, v in settings(cfg).items() if kept["settings"].get(k) != v]
        raise ParameterError(
            f"{checkpoint} was trained with other settings ({', '.join(changed)}); use a new run folder, or remove "
            f"that file{'; another target means other recordings' * ('target' in changed)}"
        )
    if kept and kept["epoch"] + 1 < kept["n_epoch"] != n_epochs:
        raise ParameterError(
            f"{checkpoint} is from a schedule of {kept['n_epoch']} epochs, not n_epochs={n_epochs}; keep that number, "
            "or use a new run folder"
        )
    before = epochs_before(run_dir, stage)
    if kept and kept.get("earlier_stages", before) != before:
        raise ParameterError(
            f"{checkpoint} was begun after {kept['earlier_stages']} epochs of the stages before it, "
            f"which have come to {before}; remove it (and the critic's) to train this stage on those"
        )
    untrained = deepcopy(learn.model.state_dict())
    start = kept["epoch"] + 1 if kept else 0
    if start >= n_epochs:
        if first:
            print(
                f"{stage}: all {n_epochs} epochs are done; remove {checkpoint} to train them again"
            )
            renew_voice(run_dir, stage, kept, cfg)
        return leave_as_kept(learn, checkpoint, untrained)
    keep = Checkpoint(checkpoint, before)
    if hasattr(learn, "gan_trainer") and not any(isinstance(cb, EarlyStopping) for cb in cbs):
        cbs = [*cbs, EarlyStopping(reference_db=last_lsd_db(run_dir / HISTORY))]
    if not first:
        cbs = [keep]  # one process writes and listens for all
    else:
        forget_epochs(run_dir / HISTORY, stage, start)
        cbs = [keep, History(run_dir / HISTORY, stage), *cbs]
        if hasattr(learn, "average_weights"):
            cbs.append(SaveVoice(run_dir, stage))
    try:
        learn.fit_one_cycle(n_epochs, learn.lr, cbs=cbs, start_epoch=start)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped. Run this again with the same number of epochs ({n_epochs}): "
            "it goes on after the last whole one."
        ) from None
    finally:
        leave_as_kept(learn, checkpoint, untrained)
    stopped = [cb.best for cb in cbs if isinstance(cb, EarlyStopping) and cb.stopped and cb.best]
    if stopped:
        learn.average_weights.network.load_state_dict(stopped[0]["average"])
        learn.average_weights.reset()
        save_voice(stopped[0]["average"], cfg, run_dir, (stage, stopped[0]["epoch"]))


@contextmanager
def distributed(learn: Learner):
    """A context in which `fit` trains on all GPUs or machines for which `accelerate launch` has started a process.

    It is fastai's `distrib_ctx`: each process makes its own share of the crops, and gradients are averaged, so
    `cfg.bs` crops of each make a step. With a single process it changes nothing.

    Raises
    ------
    MissingInput
        If there are several processes, and Accelerate is not installed.
    """
    if num_distrib() < 2:
        yield learn
        return
    try:
        from fastai.distributed import DistributedDL
    except (ImportError, NameError) as e:  # fastai takes its absence for a name it has not got
        raise MissingInput(
            "training in several processes needs a package: pip install accelerate"
        ) from e
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        learn.dls.to(device)
    # fastai sends the order of crops by CUDA; it is the same in all processes anyway, see SetEpoch
    DistributedDL._broadcast = lambda self, order, rank: order
    # batch norm over all processes is a thing of GPUs
    with learn.distrib_ctx(sync_bn=on_gpus, cpu=not on_gpus):
        yield learn


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The network itself, not what shares it between processes."""
    return getattr(model, "module", model)


def leave_as_kept(learn: Learner, checkpoint: Path, untrained: dict) -> None:
    """Put the networks where the last whole epoch left them; `untrained` if there is none."""
    kept, has_voice = load_checkpoint(checkpoint), hasattr(learn, "average_weights")
    learn.model = unwrapped(learn.model)
    for part in (learn.model, learn.loss_func):
        if isinstance(part, torch.nn.Module):
            part.to(learn.dls.device)
    learn.model.load_state_dict(kept["model"] if kept else untrained)
    learn.model.requires_grad_(True)  # GAN training has left one of the two frozen
    if not kept:
        learn.opt = None  # what it remembers is of an epoch that does not count
    elif has_voice:
        learn.average_weights.network.load_state_dict(kept["average"])
    if has_voice:
        learn.average_weights.reset()


def renew_voice(run_dir: Path, stage: str, kept: dict, cfg: Config) -> None:
    """Save the voice of a finished stage again if a kill came between its last checkpoint and the voice."""
    later = STAGES[STAGES.index(stage) + 1 :] if stage in STAGES else STAGES
    if "average" not in kept or any((run_dir / f"{s}.checkpoint.pt").is_file() for s in later):
        return
    try:
        read_voice(run_dir)
        whole = trained_until(run_dir) in (None, (stage, kept["epoch"]))
    except (MissingInput, ParameterError):
        whole = False
    if not whole:
        save_voice(kept["average"], cfg, run_dir, (stage, kept["epoch"]))


def last_lsd_db(path: Path) -> float:
    """Where the pretraining of a run has got to, by its history [dB]; infinity if there was none."""
    rows = [row for row in read_history(path) if row["stage"] == "generator" and row.get("lsd_db")]
    return float(rows[-1]["lsd_db"]) if rows else float("inf")


def forget_epochs(path: Path, stage: str, start: int) -> None:
    """Drop the rows of a stage from epoch `start` on: they are of an earlier training, and are trained anew."""
    rows = read_history(path)
    left = [r for r in rows if r["stage"] != stage or int(r["epoch"]) < start]
    if len(left) < len(rows):
        write_history(path, left)


def epochs_before(run_dir, stage: str) -> dict[str, int]:
    """How many epochs the stages before `stage` were trained in a run."""
    earlier = STAGES[: STAGES.index(stage)] if stage in STAGES else ()
    kept = {name: load_checkpoint(Path(run_dir) / f"{name}.checkpoint.pt") for name in earlier}
    return {name: state["epoch"] + 1 for name, state in kept.items() if state}


def settings(cfg: Config) -> dict:
    """The config as plain numbers and words, to compare and to keep in a checkpoint."""
    return json.loads(json.dumps(asdict(cfg)))
