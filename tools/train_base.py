"""Train a base, from which the training of voices begins.

    python tools/train_base.py RUN_DIR --one-each FOLDER --speaker FOLDER [NAMES] [--speaker ...]
    [--epochs 100] [--strangers 2] [--held-out 8] [--set FIELD=VALUE ...] [--cache data/cache]

Of --one-each FOLDER each file is another speaker. Of --speaker FOLDER all files are of one speaker;
those whose stems the text file NAMES holds are left out, since that speaker's voice is evaluated on
them. --held-out is the number of speakers of --one-each that are held out for validation. FIELD is
one of `Config`'s. See vc_lib/training/base.py. Interrupted at any time, the same command goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from train_voice import settings

from vc_lib.audio import list_audio
from vc_lib.config import Config
from vc_lib.corpus import learn_target
from vc_lib.training.base import many_speakers
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import fit
from vc_lib.training.run_folder import read_history
from vc_lib.training.stages import generator_learner

N_AVERAGE = 200  # recordings, at most, whose statistics are those of the base itself


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("run_dir", type=Path)
    p.add_argument("--one-each", required=True)
    p.add_argument("--speaker", nargs="+", action="append", default=[], metavar=("FOLDER", "NAMES"))
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--strangers", type=int, default=2)
    p.add_argument("--held-out", type=int, default=8)
    p.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    p.add_argument("--cache", default="data/cache")
    a = p.parse_args()

    cfg = replace(Config(), **settings(a.set))
    singles = [[file] for file in list_audio(a.one_each)]
    order = np.random.default_rng(cfg.seed).permutation(len(singles))
    held_out = [singles[i] for i in sorted(order[: a.held_out])]
    speakers = [singles[i] for i in sorted(order[a.held_out :])]
    for folder, *names in a.speaker:
        left_out = set(Path(names[0]).read_text().split()) if names else set()
        speakers.append([file for file in list_audio(folder) if file.stem not in left_out])

    train, valid = (many_speakers(some, cfg, a.strangers, a.cache) for some in (speakers, held_out))
    cfg = learn_target(train[:: -(-len(train) // N_AVERAGE)], cfg)
    print(f"{len(speakers)} speakers, {sum(r.seconds for r in train) / 60:.0f} min", flush=True)
    learn = generator_learner(make_dls(train, valid, cfg))
    with learn.no_mbar():
        fit(learn, a.run_dir, "generator", a.epochs)
    print(read_history(a.run_dir / "history.csv")[-1:])


if __name__ == "__main__":
    main()
