"""Train a voice as the one that ships was, with nothing but what the notebooks call: the generator
alone, the critic alone, both, then the refiner.

    python tools/train_voice.py RECORDINGS RUN_DIR [--epochs 5] [--critic-epochs 1] [--gan-epochs 5]
    [--refiner-epochs 20] [--held-out 40] [--base FOLDER] [--set FIELD=VALUE ...] [--cache data/cache]

RECORDINGS is a folder of recordings of one speaker. So many of them are held out: they are
validated on and never trained on; their names are kept in RUN_DIR/held_out.txt. With --epochs 0
both networks begin from nothing, as in notebook 02-2; with --gan-epochs 0 there is no critic; with
neither only the refiner changes anything. A third of the refiner's crops are spoken by
pseudo-strangers, see vc_lib/training/strangers.py. With --base the networks begin as those of a
base, see tools/train_base.py. FIELD is one of `Config`'s. Interrupted at any time, the same command
goes on.

On several GPUs or machines (`pip install accelerate`), generator and refiner. For a critic, first
the generator alone; the same command without `accelerate launch` and --refiner-epochs 0 then trains
the rest, in one process:

    accelerate launch --num_processes 4 tools/train_voice.py RECORDINGS RUN_DIR --gan-epochs 0 --refiner-epochs 0

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
from vc_lib.model.voice_folder import save_voice
from vc_lib.training.base import from_base
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import distributed, fit
from vc_lib.training.run_folder import read_history
from vc_lib.training.stages import (
    critic_learner,
    gan_learner,
    generator_learner,
    refiner_learner,
    save_generated,
)
from vc_lib.training.strangers import add_strangers, strangers

from fastai.torch_core import num_distrib, rank_distrib


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("recordings")
    p.add_argument("run_dir", type=Path)
    p.add_argument("--held-out", type=int, default=40)
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--critic-epochs", type=int, default=1)
    p.add_argument("--gan-epochs", type=int, default=5)
    p.add_argument("--refiner-epochs", type=int, default=20)
    p.add_argument("--base", type=Path)
    p.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    p.add_argument("--cache", default="data/cache")
    a = p.parse_args()
    epochs = a.epochs, a.critic_epochs, a.gan_epochs, a.refiner_epochs
    train(a.recordings, a.run_dir, epochs, a.held_out, settings(a.set), a.cache, a.base)
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
    epochs: tuple[int, int, int, int],
    n_held_out: int,
    changes: dict,
    cache,
    base: Path | None = None,
) -> None:
    """Train a voice for so many `epochs` of generator, critic, both, and the refiner."""
    n_generator, n_critic, n_gan, n_refiner = epochs
    if n_gan and num_distrib() > 1:
        raise ParameterError(
            f"--gan-epochs {n_gan} must be 0 with {num_distrib()} processes; train the generator alone on several, "
            "with --refiner-epochs 0: then the same command in one process goes on with the rest"
        )
    files = list_audio(folder)
    cfg = replace(Config(valid_share=n_held_out / len(files)), **changes)
    if n_refiner and not (cfg.refiner_depth and strangers(cfg.sr)):
        raise ParameterError(
            f"--refiner-epochs {n_refiner} must be 0 with refiner_depth={cfg.refiner_depth} and sr={cfg.sr} Hz: "
            "a refiner needs a depth of at least 1, and 16000 Hz"
        )
    first = not rank_distrib()  # it writes and speaks for all
    known, held_out = split(prepare(files, cfg, cache), cfg)
    if first:
        run.mkdir(parents=True, exist_ok=True)
        (run / "held_out.txt").write_text("".join(f"{r.path.stem}\n" for r in held_out))
    cfg = learn_target(known, cfg)
    if not n_generator:
        cfg = replace(cfg, lr_gan=cfg.lr)  # the rate that it would have had before
    dls = make_dls(known, held_out, cfg)
    if first:
        print(f"{len(known)} recordings to train on, {len(held_out)} held out", flush=True)

    generator, critic = from_base(cfg, base) if base else None, None
    if n_generator:
        learn = generator_learner(dls, generator)
        with distributed(learn), learn.no_mbar():
            fit(learn, run, "generator", n_generator)
        generator = learn.model
    elif not n_gan:
        torch.manual_seed(cfg.seed)
        generator = generator or Generator(cfg)
        if first and not n_refiner:
            save_voice(generator.state_dict(), cfg, run)
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
        generator = learn.model.generator
    if n_refiner:
        dls = make_dls([*known, *add_strangers(known, cfg, cache_dir=cache)], held_out, cfg)
        learn = refiner_learner(dls, generator)
        with distributed(learn), learn.no_mbar():
            fit(learn, run, "refiner", n_refiner)


if __name__ == "__main__":
    main()
