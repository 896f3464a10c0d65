"""fastai callbacks of training; each does one thing."""

import io
import time
from pathlib import Path

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..files import atomically
from ..model import compat
from ..model.voice_folder import save_voice
from .dataset import train_loader
from .run_folder import load_checkpoint, read_history, settings, unwrapped, write_history

from fastai.vision.all import (
    Callback,
    CancelFitException,
    Learner,
    distrib_barrier,
    num_distrib,
    rank_distrib,
    to_device,
)
from fastai.vision.gan import AdaptiveGANSwitcher, GANTrainer

TOLERATED = 4 / 3  # ratio to the best distance above which adversarial training has failed


class StopAtNaN(Callback):
    "Stop with an error that names the cause when a loss, a gradient or a weight is not finite."

    order = -9

    def after_loss(self):
        if self.training and not torch.isfinite(self.learn.loss_grad):
            self.stop(f"the loss became {self.learn.loss_grad.item()}")

    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        if grads and not torch.isfinite(torch.nn.utils.get_total_norm(grads)):
            self.stop("a gradient became infinite")

    def after_train(self):
        state = self.learn.model.state_dict()
        if not all(torch.isfinite(v).all() for v in state.values()):
            self.stop("a weight became infinite")  # in the last step, or a statistic of batch norm

    def stop(self, cause: str):
        if hasattr(self.learn, "lr_finder"):
            raise CancelFitException  # lr_find raises the rate until this happens
        names = sorted(self.recordings())
        raise FloatingPointError(
            f"{cause} in epoch {self.epoch}, batch {self.iter}; the last checkpoint is unchanged. "
            "Lower lr in a new run, or check the recordings"
            + (f" of this batch: {', '.join(names)}" if names else "")
        )

    def recordings(self) -> set[str]:
        """File names of the recordings in this batch; empty where they are unknown."""
        pairs = getattr(self.dls, "pairs", None)
        loader = train_loader(self.dls)
        order = compat.item_order(loader)
        if pairs is None or order is None or num_distrib() > 1:
            return set()
        batch = order[self.iter * loader.bs : (self.iter + 1) * loader.bs]
        return {pairs.recording(item).path.name for item in batch}


class AverageWeights(Callback):
    "Keep a running average of a network's weights, and validate with it."

    def __init__(self, network, decay: float):
        self.network, self.update = network, get_ema_multi_avg_fn(decay)
        self.reset()

    def reset(self):
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def before_fit(self):
        self.reset()

    def after_step(self):
        if hasattr(self.learn, "lr_finder"):
            return  # the weights of lr_find are thrown away
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
    "Save the state of training after every epoch; load it before the first one."

    order = 65

    def __init__(self, path: Path, earlier_stages: dict[str, int]):
        self.path, self.earlier_stages = path, earlier_stages

    def before_fit(self):
        checkpoint = load_checkpoint(self.path)
        self.start_epoch = checkpoint["epoch"] + 1 if checkpoint else 0
        self.learn.train_iter = self.start_epoch * len(self.dls.train)  # steps so far
        if not checkpoint:
            return
        unwrapped(self.model).load_state_dict(checkpoint["model"])
        self.opt.load_state_dict(to_device(checkpoint["opt"], self.dls.device))
        smooth_loss = self.learn.recorder.smooth_loss  # the loss of the progress bar
        smooth_loss.count, smooth_loss.val = (
            checkpoint["smooth"]["count"],
            checkpoint["smooth"]["val"],
        )
        if hasattr(self.learn, "early_stopping"):
            self.learn.early_stopping.best = checkpoint.get("best")
        if hasattr(self.learn, "average_weights"):
            self.learn.average_weights.average = {
                k: v.to(self.dls.device) for k, v in checkpoint["average"].items()
            }

    def after_epoch(self):
        if self.epoch >= self.start_epoch and not rank_distrib():
            self.save()
        distrib_barrier()  # no process reads the file, or goes on, before it is written

    def save(self):
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
        data = io.BytesIO()  # torch.save does not report a full disk as such
        torch.save(state, data)
        atomically(self.path, lambda part: part.write_bytes(data.getbuffer()))


class History(Callback):
    "Write a row of losses and metrics to history.csv after every epoch; a repeated epoch replaces its row."

    order = 62

    def __init__(self, path: Path, stage: str):
        self.path, self.stage = path, stage

    def before_epoch(self):
        self.learn.scores = {}  # filled by evaluate.monitor.EvaluateCallback

    def after_epoch(self):
        values = epoch_values(self.learn)
        if not values:
            return  # a skipped epoch, trained before
        row = {"stage": self.stage, "epoch": str(self.epoch)} | {
            k: f"{v:.5g}" for k, v in values.items()
        }
        if hasattr(self.learn, "capped_gan_switcher"):
            row |= self.learn.capped_gan_switcher.turns()
        row |= {k: f"{v:.5g}" for k, v in self.learn.scores.items()}
        place = (row["stage"], row["epoch"])
        rows = [r for r in read_history(self.path) if (r["stage"], r["epoch"]) != place]
        write_history(self.path, [*rows, row])


class SaveVoice(Callback):
    "Save the voice from the averaged weights after every epoch."

    order = 66

    def __init__(self, run_dir: Path, stage: str):
        self.run_dir, self.stage = run_dir, stage

    def after_epoch(self):
        if epoch_values(self.learn):
            trained = (self.stage, self.epoch)
            save_voice(self.learn.average_weights.average, self.dls.cfg, self.run_dir, trained)


class EpochBar(Callback):
    "Say beside the progress bar which epoch it is of, and how many steps are trained a second."

    order = 61  # after fastai's bar has written its own comment

    def before_train(self):
        self.began = time.perf_counter()

    def after_batch(self):
        if not hasattr(self.learn, "progress"):
            return
        comment = f"epoch {self.epoch + 1} of {self.n_epoch}"
        if self.training:
            speed = (self.iter + 1) / (time.perf_counter() - self.began)
            comment += f", {speed:.1f} steps a second"
        self.learn.progress.pbar.comment = comment


class EarlyStopping(Callback):
    """Stop the adversarial stage when its validation distance passes a limit; its best epoch is the voice.

    `fit` adds one to every adversarial stage that has none.

    Parameters
    ----------
    limit_db : float, optional [dB]
        Largest `lsd_db` of an epoch. By default 4/3 of the best, of this stage or of the
        pretraining.
    reference_db : float [dB]
        The `lsd_db` at the end of the pretraining; infinity without pretraining.
    """

    order = 61

    def __init__(self, limit_db: float | None = None, reference_db: float = float("inf")):
        self.limit_db, self.reference_db = limit_db, reference_db
        self.best, self.stopped = None, False

    def before_fit(self):
        self.best, self.stopped = None, False

    def limit(self) -> float:
        """Largest distance at validation that does not stop the stage [dB]."""
        if self.limit_db is not None:
            return self.limit_db
        best_db = self.best["lsd_db"] if self.best else float("inf")
        return TOLERATED * min(best_db, self.reference_db)

    def after_epoch(self):
        lsd_db, limit = epoch_values(self.learn).get("lsd_db"), self.limit()
        if lsd_db is None:
            return  # a skipped epoch, trained before
        if lsd_db <= limit:
            if not self.best or lsd_db < self.best["lsd_db"]:
                average = {k: v.clone() for k, v in self.learn.average_weights.average.items()}
                self.best = dict(epoch=self.epoch, lsd_db=lsd_db, average=average)
            return
        self.stopped = True
        voice = f"that of epoch {self.best['epoch']}" if self.best else "unchanged"
        print(
            f"epoch {self.epoch}: {lsd_db:.2f} dB from the recordings is over the limit of {limit:.2f} dB: "
            f"stopped; the voice is {voice}"
        )
        raise CancelFitException


def epoch_values(learn: Learner) -> dict[str, float]:
    """Losses and metrics of the epoch that has just ended; empty for a skipped epoch, trained before."""
    names = [name for name in learn.recorder.metric_names[1:] if name != "time"]
    values = [v for v in learn.recorder.log[1:] if isinstance(v, float)]
    return dict(zip(names, values, strict=False)) if len(values) >= len(names) else {}


class CappedGANSwitcher(AdaptiveGANSwitcher):
    "Train the critic until its loss is low, for at most `max_steps`; then the generator for one step."

    run_after = GANTrainer

    def __init__(self, critic_thresh: float, max_steps: int):
        super().__init__(critic_thresh=critic_thresh)
        self.max_steps = max_steps

    def before_validate(self):
        self.model.eval()  # GANTrainer has just put the generator into training mode

    def before_train(self):
        # TrainEvalCallback has just put both networks into training mode: set the turn again. The
        # critic begins the first epoch. The generator begins the others, as validation leaves its turn.
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
        trained = self.loss_func.real_fake_loss < self.critic_thresh
        if trained or self.steps >= self.max_steps:
            self.n_capped += not trained
            self.steps = 0
            self.gan_trainer.switch()

    def turns(self) -> dict[str, int]:
        """Steps of critic and generator in the last epoch, and turns of the critic that `max_steps` ended."""
        return dict(
            critic_steps=self.n_critic, generator_steps=self.n_generator, capped=self.n_capped
        )


class Condition(Callback):
    "Pass the anonymized image to the critic, and clear gradients of the network that does not train."

    run_after = GANTrainer

    def before_batch(self):
        gan = self.learn.gan_trainer
        anonymized, original = (self.xb, self.yb) if gan.gen_mode else (self.yb, self.xb)
        if gan.gen_mode:  # generator(anonymized), loss(generated, original, anonymized)
            self.learn.yb = (*original, *anonymized)
        else:  # critic(original, anonymized), loss(logits, anonymized, original)
            self.learn.xb, self.learn.yb = (*original, *anonymized), (*anonymized, *original)
        for p in (gan.critic if gan.gen_mode else gan.generator).parameters():
            p.grad = None


class CriticRate(Callback):
    "Multiply the schedule's learning rate by `ratio` for the critic; fastai's GANDiscriminativeLR fails under one."

    order = 61  # after ParamScheduler, which sets the rate of each batch

    def __init__(self, ratio: float):
        self.ratio = ratio

    def before_batch(self):
        if self.training and not self.learn.gan_trainer.gen_mode:
            self.opt.set_hyper("lr", float(self.opt.hypers[0]["lr"]) * self.ratio)
