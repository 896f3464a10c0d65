"""Train a stage, or go on training it: one-cycle schedule, checkpoint after each epoch, resume."""

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
    """Training was stopped by a person; what follows it in a notebook does not run. All whole epochs are kept."""

    def _render_traceback_(self) -> list[str]:
        """All that a notebook shows of it."""
        return [str(self)]


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
        compat.distribute_without_cuda()
    except (ImportError, NameError) as e:  # fastai takes its absence for a name it has not got
        raise MissingInput(
            "training in several processes needs a package: pip install accelerate"
        ) from e
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        learn.dls.to(device)
    # batch norm over all processes is a thing of GPUs
    with learn.distrib_ctx(sync_bn=on_gpus, cpu=not on_gpus):
        yield learn


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
