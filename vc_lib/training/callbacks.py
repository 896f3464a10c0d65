"""fastai callbacks of training, one concern each."""

import io
from pathlib import Path

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..files import atomically
from ..model import compat
from ..model.voice_folder import save_voice
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

TOLERATED = 4 / 3  # of the best distance to the recordings: adversarial training is lost beyond


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
        order = compat.item_order(loader)
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
