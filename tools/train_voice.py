"""Train a voice with nothing but what the notebooks call: the generator alone, the critic alone, both.

    python tools/train_voice.py RECORDINGS RUN_DIR [--epochs 16] [--critic-epochs 1] [--gan-epochs 0]
    [--base FOLDER | --from-nothing] [--held-out 40] [--strangers 2] [--statistics VOICE]
    [--set FIELD=VALUE ...] [--cache data/cache]

RECORDINGS is a folder of recordings of one speaker. So many of them are held out: they are
validated on and never trained on; their names are kept in RUN_DIR/held_out.txt. The generator
begins as the base that ships, as another one, or from nothing; see tools/train_base.py. With
--gan-epochs 0 there is no critic. With --epochs 0 the generator is not trained alone; with
--from-nothing too, generator and critic train against each other from the start, as in notebook
02-2. --strangers is the number of pseudo-strangers that speak each recording, see
vc_lib/training/strangers.py; with 0 each crop is a random perturbation instead. With --statistics
the target's statistics are not measured, but those of VOICE, the folder or name of a voice. FIELD is
one of `Config`'s. Interrupted at any time, the same command goes on.

On several GPUs or machines (`pip install accelerate`), the generator alone. The same command with
--gan-epochs and without `accelerate launch` then trains the rest, in one process:

    accelerate launch --num_processes 4 tools/train_voice.py RECORDINGS RUN_DIR

Without GPUs that starts a single process; `torchrun --nproc_per_node 2` in its place starts two.
"""

import argparse
import ast
from dataclasses import replace
from pathlib import Path

import torch

from vc_lib.audio import list_audio
from vc_lib.config import Config
from vc_lib.corpus import learn_target, prepare, split
from vc_lib.errors import ParameterError
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import BASE, find_voice, read_voice, save_voice
from vc_lib.speaker import SpeakerStats
from vc_lib.training.base import from_base
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import distributed, fit
from vc_lib.training.run_folder import read_history
from vc_lib.training.stages import (
    critic_learner,
    gan_learner,
    generator_learner,
    save_generated,
)
from vc_lib.training.strangers import add_strangers

from fastai.torch_core import num_distrib, rank_distrib


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("recordings")
    p.add_argument("run_dir", type=Path)
    p.add_argument("--held-out", type=int, default=40)
    p.add_argument("--epochs", type=int, default=16)
    p.add_argument("--critic-epochs", type=int, default=1)
    p.add_argument("--gan-epochs", type=int, default=0)
    begin = p.add_mutually_exclusive_group()
    begin.add_argument("--base", default=BASE)
    begin.add_argument("--from-nothing", dest="base", action="store_const", const=None)
    p.add_argument("--strangers", type=int, default=2)
    p.add_argument("--statistics")
    p.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    p.add_argument("--cache", default="data/cache")
    a = p.parse_args()
    epochs = a.epochs, a.critic_epochs, a.gan_epochs
    changes = settings(a.set)
    target = a.statistics and read_voice(find_voice(a.statistics))[1].target
    train(
        a.recordings, a.run_dir, epochs, a.held_out, a.strangers, changes, a.cache, a.base, target
    )
    if not rank_distrib():
        print(read_history(a.run_dir / "history.csv")[-1:])


def settings(texts: list[str]) -> dict:
    """FIELD=VALUE as Python would read the value; a bare word is a word."""

    def literal(text: str):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text

    return {name: literal(value) for name, value in (text.split("=", 1) for text in texts)}


def train(
    folder,
    run: Path,
    epochs: tuple[int, int, int],
    n_held_out: int,
    n_strangers: int,
    changes: dict,
    cache,
    base: str | None,
    target: SpeakerStats | None = None,
) -> None:
    """Train a voice for so many `epochs` of generator, critic, and both."""
    n_generator, n_critic, n_gan = epochs
    if n_gan and num_distrib() > 1:
        raise ParameterError(
            f"--gan-epochs {n_gan} must be 0 with {num_distrib()} processes; train the generator alone on several: "
            "then the same command in one process goes on with the rest"
        )
    files = list_audio(folder)
    cfg = replace(Config(valid_share=n_held_out / len(files)), **changes)
    first = not rank_distrib()  # it writes and speaks for all
    known, held_out = split(prepare(files, cfg, cache), cfg)
    if first:
        run.mkdir(parents=True, exist_ok=True)
        names = dict.fromkeys(r.path.stem for r in held_out)  # a long file has several chunks
        (run / "held_out.txt").write_text("".join(f"{name}\n" for name in names))
    cfg = replace(cfg, target=target) if target else learn_target(known, cfg)
    generator, critic = from_base(cfg, base) if base else None, None
    if n_strangers and (n_generator or n_gan):
        known = add_strangers(known, cfg, n_strangers, cache)
        held_out = add_strangers(held_out, cfg, 1, cache)
    if not n_generator:
        cfg = replace(cfg, lr_gan=cfg.lr)  # the rate that it would have had before
    dls = make_dls(known, held_out, cfg)
    if first:
        print(f"{len(known)} recordings to train on, {len(held_out)} held out", flush=True)

    if n_generator:
        learn = generator_learner(dls, generator)
        with distributed(learn), learn.no_mbar():
            fit(learn, run, "generator", n_generator)
        generator = learn.model
    elif first and not n_gan:
        torch.manual_seed(cfg.seed)
        save_voice((generator or Generator(cfg)).state_dict(), cfg, run)
    if n_gan and generator and n_critic:
        save_generated(generator, dls, run)
        learn = critic_learner(run, cfg)
        with learn.no_mbar():
            fit(learn, run, "critic", n_critic)
        critic = learn.model
    if n_gan:
        learn = gan_learner(dls, generator, critic)
        with learn.no_mbar():
            fit(learn, run, "gan", n_gan)


if __name__ == "__main__":
    main()
