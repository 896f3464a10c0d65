"""Train the voice that ships, with nothing but what the notebooks call: the generator alone, then
against a critic.

    python benchmarks/train_ljspeech.py LJSPEECH_WAVS RUN_DIR [--epochs 30] [--critic-epochs 1]
    [--gan-epochs 8]

LJSPEECH_WAVS is a folder of LJSpeech recordings. 40 of them are held out: they are validated on and
never trained on; their names are printed and kept in RUN_DIR/held_out.txt. Interrupted at any time,
the same command goes on.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.audio import list_audio
from vc_lib.config import Config
from vc_lib.dataset import make_dls
from vc_lib.recordings import learn_target, prepare, split
from vc_lib.training import (
    critic_learner,
    fit,
    gan_learner,
    generator_learner,
    read_history,
    save_generated,
)

N_HELD_OUT = 40


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("wavs")
    p.add_argument("run_dir", type=Path)
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--critic-epochs", type=int, default=1)
    p.add_argument("--gan-epochs", type=int, default=8)
    p.add_argument("--cache", default="data/cache")
    a = p.parse_args()

    files = list_audio(a.wavs)
    cfg = Config(valid_share=N_HELD_OUT / len(files))
    train, valid = split(prepare(files, cfg, a.cache), cfg)
    a.run_dir.mkdir(parents=True, exist_ok=True)
    (a.run_dir / "held_out.txt").write_text("".join(f"{r.path.stem}\n" for r in valid))
    cfg = learn_target(train, cfg)
    dls = make_dls(train, valid, cfg)
    print(
        f"{len(train)} recordings to train on, {len(valid)} held out, {dls.disguise.n_crops} crops an epoch",
        flush=True,
    )

    learn = generator_learner(dls)
    with learn.no_mbar():
        fit(learn, a.run_dir, "generator", a.epochs)
    if a.gan_epochs:
        save_generated(learn.model, dls, a.run_dir)
        critic = critic_learner(a.run_dir, cfg)
        with critic.no_mbar():
            fit(critic, a.run_dir, "critic", a.critic_epochs)
        gan = gan_learner(dls, learn.model, critic.model)
        with gan.no_mbar():
            fit(gan, a.run_dir, "gan", a.gan_epochs)
    print(read_history(a.run_dir / "history.csv")[-1])


if __name__ == "__main__":
    main()
