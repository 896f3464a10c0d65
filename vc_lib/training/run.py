"""Train a stage: one-cycle schedule, a checkpoint after each epoch, and resume from it."""

import os
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path

import torch

from ..config import Config
from ..errors import MissingInput, ParameterError
from ..files import only_process
from ..model import compat
from ..model.voice_folder import HISTORY, read_voice, save_voice, trained_until
from .callbacks import Checkpoint, EarlyStopping, History, SaveVoice
from .run_folder import (
    STAGES,
    epochs_before,
    forget_epochs,
    last_lsd_db,
    load_checkpoint,
    settings,
    unwrapped,
)

from fastai.vision.all import (
    Callback,
    Learner,
    num_distrib,
    rank_distrib,
)


class Interrupted(KeyboardInterrupt):
    """Training was interrupted; all whole epochs are saved.

    It is a KeyboardInterrupt, so that a notebook does not run the cells after it.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in place of a traceback."""
        return [str(self)]


def fit(learn: Learner, run_dir, stage: str, n_epochs: int, cbs=()) -> None:
    """Train a stage, or resume it: one-cycle schedule, with a checkpoint after every epoch.

    However it ends, the networks are left with the weights of the last whole epoch.

    Parameters
    ----------
    learn : Learner
        From `generator_learner`, `critic_learner` or `gan_learner`.
    run_dir : str or Path
        The run's folder, `models/<run>`.
    stage : str
        "generator", "critic" or "gan": the name of the checkpoint and of the rows in history.csv.
    n_epochs : int
        Number of epochs of the whole stage, epochs trained before included.
    cbs : sequence of Callback
        More callbacks.

    Raises
    ------
    Interrupted
        After an interrupt (the stop button). Called again with the same `n_epochs`, it resumes
        after the last whole epoch.
    ParameterError
        If the stage was begun with another `n_epochs` or other settings, if an earlier stage was
        trained on since, if the checkpoint is damaged, or if another process trains into the same
        folder.
    FloatingPointError
        If a loss, a gradient or a weight is not finite.
    NotWritten
        If the disk is full, or the folder is read-only.
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
    saved = load_checkpoint(checkpoint)
    if n_epochs < 1:
        raise ParameterError(f"n_epochs={n_epochs} must be at least 1")
    if first and saved and saved["settings"] != settings(cfg):
        changed = [k for k, v in settings(cfg).items() if saved["settings"].get(k) != v]
        raise ParameterError(
            f"{checkpoint} was trained with other settings ({', '.join(changed)}); use a new run folder, or remove "
            f"that file{'; another target means other recordings' * ('target' in changed)}"
        )
    if saved and saved["epoch"] + 1 < saved["n_epoch"] != n_epochs:
        raise ParameterError(
            f"{checkpoint} is from a schedule of {saved['n_epoch']} epochs, not n_epochs={n_epochs}; keep that number, "
            "or use a new run folder"
        )
    before = epochs_before(run_dir, stage)
    if saved and saved["earlier_stages"] != before:
        raise ParameterError(
            f"{checkpoint} was begun after {saved['earlier_stages']} epochs of the earlier stages, which now have "
            f"{before}; remove it (and those of later stages) to train this stage from those"
        )
    untrained = deepcopy(learn.model.state_dict())
    start = saved["epoch"] + 1 if saved else 0
    if start >= n_epochs:
        if first:
            print(
                f"{stage}: all {n_epochs} epochs are trained; remove {checkpoint} to train them again"
            )
            save_missing_voice(run_dir, stage, saved, cfg)
        return restore(learn, checkpoint, untrained)
    checkpoints = Checkpoint(checkpoint, before)
    if hasattr(learn, "gan_trainer") and not any(isinstance(cb, EarlyStopping) for cb in cbs):
        cbs = [*cbs, EarlyStopping(reference_db=last_lsd_db(run_dir / HISTORY))]
    if not first:
        cbs = [checkpoints]  # only the first process writes and evaluates
    else:
        forget_epochs(run_dir / HISTORY, stage, start)
        cbs = [checkpoints, History(run_dir / HISTORY, stage), *cbs]
        if hasattr(learn, "average_weights"):
            cbs.append(SaveVoice(run_dir, stage))
    try:
        learn.fit_one_cycle(n_epochs, learn.lr, cbs=cbs, start_epoch=start)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped. Run this again with the same number of epochs ({n_epochs}): "
            "it resumes after the last whole epoch."
        ) from None
    finally:
        restore(learn, checkpoint, untrained)
    stopped = [cb.best for cb in cbs if isinstance(cb, EarlyStopping) and cb.stopped and cb.best]
    if stopped:
        learn.average_weights.network.load_state_dict(stopped[0]["average"])
        learn.average_weights.reset()
        save_voice(stopped[0]["average"], cfg, run_dir, (stage, stopped[0]["epoch"]))


@contextmanager
def distributed(learn: Learner):
    """A context in which `fit` trains in all processes that `accelerate launch` has started.

    It is fastai's `distrib_ctx`. Each process makes a share of the crops, and gradients are
    averaged: a step takes `cfg.bs` crops of each process. In a single process the context does
    nothing.

    Parameters
    ----------
    learn : Learner
        From `generator_learner` or `critic_learner`.

    Yields
    ------
    learn : Learner

    Raises
    ------
    MissingInput
        If there are several processes and Accelerate is not installed.
    """
    if num_distrib() < 2:
        yield learn
        return
    try:
        compat.distribute_without_cuda()
        import accelerate  # noqa: F401
    except (ImportError, NameError) as e:  # NameError: of fastai, without Accelerate
        raise MissingInput(
            "training in several processes needs a package: pip install accelerate"
        ) from e
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        learn.dls.to(device)
    # SyncBatchNorm needs CUDA
    with learn.distrib_ctx(sync_bn=on_gpus, cpu=not on_gpus):
        yield learn


def restore(learn: Learner, checkpoint: Path, untrained: dict) -> None:
    """Give the networks the weights of the last whole epoch; the state `untrained` if there is none."""
    saved, has_voice = load_checkpoint(checkpoint), hasattr(learn, "average_weights")
    learn.model = unwrapped(learn.model)
    for part in (learn.model, learn.loss_func):
        if isinstance(part, torch.nn.Module):
            part.to(learn.dls.device)
    learn.model.load_state_dict(saved["model"] if saved else untrained)
    learn.model.requires_grad_(True)  # GAN training freezes one network
    if not saved:
        learn.opt = None  # its state is of an unfinished epoch
    elif has_voice:
        learn.average_weights.network.load_state_dict(saved["average"])
    if has_voice:
        learn.average_weights.reset()


def save_missing_voice(run_dir: Path, stage: str, checkpoint: dict, cfg: Config) -> None:
    """Save the voice of a finished stage if training was killed between the last checkpoint and the voice."""
    later = STAGES[STAGES.index(stage) + 1 :] if stage in STAGES else STAGES
    if "average" not in checkpoint or any(
        (run_dir / f"{s}.checkpoint.pt").is_file() for s in later
    ):
        return
    try:
        read_voice(run_dir)
        whole = trained_until(run_dir) in (None, (stage, checkpoint["epoch"]))
    except (MissingInput, ParameterError):
        whole = False
    if not whole:
        save_voice(checkpoint["average"], cfg, run_dir, (stage, checkpoint["epoch"]))
