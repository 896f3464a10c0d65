"""Kill every stage at random moments, go on, and compare with what an undisturbed run gives.

    python tests/robustness/kills.py [--kills 100] [--seed 0] [--stages prepare generator ...] [--interrupt]

Each stage runs in a process of its own on synthetic speech, with networks that train in a second. It is killed
(SIGKILL, or with --interrupt SIGINT, Jupyter's stop button) after a random part of the time that it takes, begun again,
killed again, and in the end let through. After every kill each file under its own name must be whole; in the end
losses, weights and sound must be the undisturbed run's, bit for bit. A table is printed; any difference is an error.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch

from vc_lib.audio import load_wav
from vc_lib.config import Config
from vc_lib.convert import convert_folder, load_voice
from vc_lib.corpus import learn_target, prepare
from vc_lib.model.voice_folder import CONFIG, HISTORY, WEIGHTS, read_voice, save_voice
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import fit
from vc_lib.training.run_folder import load_checkpoint, read_history
from vc_lib.training.stages import critic_learner, gan_learner, generator_learner, save_generated

from fastai.torch_core import default_device

SR = 16_000
N_EPOCHS = 3
N_SAVED = 40  # times that the stage "save" saves a voice
STAGES = ("prepare", "generator", "critic", "gan", "save", "convert")
DONE = "done"  # what a stage leaves when it has ended


def sound(seconds: float, f0: float, seed: int) -> np.ndarray:
    """A buzz through a moving resonance, with pauses: voiced enough to be analysed."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SR)) / SR
    phase = 2 * np.pi * np.cumsum(f0 * (1 + 0.1 * np.sin(2 * np.pi * 2 * t + seed))) / SR
    harmonics = np.arange(1, 20)[:, None]
    level = np.exp(-(((harmonics * f0 - 700 - 300 * np.sin(5 * t)) / 600) ** 2)) + 0.05
    wav = (level * np.sin(harmonics * phase)).sum(0) * (np.sin(2 * np.pi * 1.5 * t) > -0.5)
    return (0.1 * wav + 1e-4 * rng.normal(size=len(t))).astype(np.float32)


def settings() -> Config:
    """Tiny, and fast."""
    small = dict(width=8, depth=2, critic_width=8, critic_depth=2, n_classes=4)
    train = dict(n_frames=32, bs=2, max_crops=4, ema_decay=0.5, critic_threshold=100.0)
    return replace(Config(f0_method="dio"), **small, **train)


def set_up(place: Path) -> None:
    """What all stages start from: recordings of the target, and of others to convert."""
    for name, f0, n in (("target", 200.0, 4), ("others", 120.0, 3)):
        (place / name).mkdir(parents=True)
        for i in range(n):
            wav = sound(0.6 + 0.3 * i, f0, i)
            soundfile.write(place / name / f"{i}.wav", wav, SR)


# Stages: each goes on with what it finds


def learn_data(place: Path):
    recordings = prepare(place / "target", settings(), place / "cache", n_jobs=1)
    cfg = learn_target(recordings, settings())
    return make_dls(recordings[1:], recordings[:1], cfg, num_workers=0)


def run_stage(stage: str, place: Path) -> None:
    """A stage from wherever it was left to its end, as a notebook would run it."""
    # what runs in the background ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(place)
    torch.set_num_threads(1)
    default_device(False)
    sys.stdout = open(os.devnull, "w")
    sys.stderr = sys.stdout
    run = place / "models" / "run"
    if stage == "prepare":
        learn_data(place)
    elif stage == "save":
        voices, cfg = both_voices(place)
        for i in range(N_SAVED):
            save_voice(voices[i % 2], cfg, place / "models" / "saved", ("generator", i))
    elif stage == "convert":
        voice = load_voice(run, "cpu")
        convert_folder(voice, place / "others", place / "converted", only_new=True)
    else:
        generator = generator_learner(learn_data(place))
        fit(generator, run, "generator", N_EPOCHS)
        if stage != "generator":
            if not (run / "critic.checkpoint.pt").is_file():
                save_generated(generator.model, generator.dls, run)
            critic = critic_learner(run, generator.dls.cfg, num_workers=0)
            fit(critic, run, "critic", N_EPOCHS)
        if stage == "gan":
            gan = gan_learner(generator.dls, generator.model, critic.model)
            fit(gan, run, "gan", N_EPOCHS)
    (place / DONE).write_text(stage)


def both_voices(place: Path) -> tuple[list[dict], Config]:
    """Two voices of one config, to be saved in turns."""
    weights, cfg = read_voice(place / "models" / "run")
    moved = {k: v + np.float32(0.01) if v.dtype == np.float32 else v for k, v in weights.items()}
    return [weights, moved], cfg


# What has to hold


def check_whole(place: Path) -> None:
    """Every file that has its own name is whole; what is not has a hidden one."""
    for path in (place / "cache").glob("[!.]*.npz"):
        with np.load(path, allow_pickle=False) as kept:
            assert all(np.isfinite(kept[name]).all() for name in kept), path
    for path in (place / "models").glob("*/[!.]*.pt"):
        load_checkpoint(path)
    for path in (place / "models").glob("*/[!.]*.npy"):
        assert np.load(path, allow_pickle=False).shape[0] == settings().max_crops, path
    for path in (place / "models").glob(f"*/{HISTORY}"):
        assert all(float(row["valid_loss"]) > 0 for row in read_history(path)), path
    for path in (place / "models").glob(f"*/{WEIGHTS}"):
        if (path.parent / CONFIG).is_file():  # before that nobody takes it for a voice
            read_voice(path.parent)
    for path in (place / "converted").glob("[!.]*"):
        source = place / "others" / path.name.replace("_converted", "")
        assert len(load_wav(path, SR)) == len(load_wav(source, SR)), path


def compare(place: Path, expected: Path, stage: str) -> float:
    """That all that a stage leaves is what the undisturbed one left; the largest difference of its losses."""
    off = 0.0
    if stage in ("generator", "critic", "gan"):
        run, other = (p / "models" / "run" for p in (place, expected))
        rows, wanted = (
            [row for row in read_history(p / HISTORY) if row["stage"] == stage]
            for p in (run, other)
        )
        assert len(rows) == len(wanted) == N_EPOCHS, (rows, wanted)
        for row, want in zip(rows, wanted, strict=True):
            assert row.keys() >= {k for k in want if want[k]}
            for name in ("train_loss", "valid_loss"):
                off = max(off, abs(float(row[name]) - float(want[name])))
            assert {k: v for k, v in row.items() if v} == {k: v for k, v in want.items() if v}
        a, b = (load_checkpoint(p / f"{stage}.checkpoint.pt") for p in (run, other))
        for part in ("model", "average"):
            for k, v in a.get(part, {}).items():
                assert torch.equal(v, b[part][k]), (part, k)
    folder = dict(prepare="cache", save="models/saved", convert="converted").get(
        stage, "models/run"
    )
    names = sorted(p.name for p in (expected / folder).glob("[!.]*"))
    assert sorted(p.name for p in (place / folder).glob("[!.]*")) == names, folder
    for name in names:
        if Path(name).suffix in (".safetensors", ".json", ".wav", ".npy") and stage != "prepare":
            same = (place / folder / name).read_bytes() == (expected / folder / name).read_bytes()
            assert same, f"{folder}/{name}"
        if Path(name).suffix == ".npz":
            with np.load(place / folder / name) as a, np.load(expected / folder / name) as b:
                assert all(np.array_equal(a[k], b[k]) for k in b), name
    return off


def lasts(
    context, stage: str, place: Path, seconds: float | None = None, number=signal.SIGKILL
) -> float:
    """Run a stage, or kill it after some seconds; how long it took, infinity if it was killed."""
    (place / DONE).unlink(missing_ok=True)
    process, start = context.Process(target=run_stage, args=(stage, place)), time.perf_counter()
    process.start()
    process.join(seconds)
    if process.is_alive():
        os.kill(process.pid, number)
        process.join(60)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"{stage} did not end when it was stopped")
    took = time.perf_counter() - start
    if (place / DONE).is_file():
        return took
    assert process.exitcode == -signal.SIGKILL or (seconds and number != signal.SIGKILL), (
        f"{stage} failed by itself: {process.exitcode}"
    )
    return float("inf")


def measure(stages, n_kills: int, seed: int, number=signal.SIGKILL) -> Iterator[tuple[str, dict]]:
    """Of each stage: kills made and survived, how often it was begun, the largest difference of losses."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        undisturbed, at = Path(scratch) / "undisturbed", Path(scratch) / "at"
        set_up(undisturbed)
        for stage in STAGES:
            before = Path(scratch) / f"before-{stage}"
            shutil.copytree(undisturbed, before)
            lasts(context, stage, undisturbed)  # the first one is slow
            shutil.rmtree(undisturbed)
            shutil.copytree(before, undisturbed)
            took = lasts(context, stage, undisturbed)
            if stage not in stages:
                continue
            made = begun = 0
            off = 0.0
            while made < n_kills:
                assert begun < 100 + 20 * n_kills, f"{stage} cannot be stopped"
                shutil.rmtree(at, ignore_errors=True)
                shutil.copytree(before, at)
                for _ in range(min(rng.randint(1, 4), n_kills - made)):
                    begun += 1
                    if lasts(context, stage, at, rng.uniform(0, took), number) < float("inf"):
                        break  # it was quicker
                    made += 1
                    check_whole(at)
                begun += 1
                assert lasts(context, stage, at) < float("inf")
                check_whole(at)
                off = max(off, compare(at, undisturbed, stage))
            yield stage, dict(kills=made, begun=begun, loss_difference=off)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--kills", type=int, default=100, help="of each stage")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    p.add_argument("--interrupt", action="store_true")
    a = p.parse_args()
    number = signal.SIGINT if a.interrupt else signal.SIGKILL
    print(
        "| stage | killed | survived | begun | largest difference of losses |\n|---|---|---|---|---|"
    )
    for stage, r in measure(a.stages, a.kills, a.seed, number):  # whatever is not survived raises
        row = (stage, r["kills"], r["kills"], r["begun"], f"{r['loss_difference']:g}")
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
