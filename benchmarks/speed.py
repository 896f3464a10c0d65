"""How fast everything is and how much memory it takes, as ratios measured in one run.

    python benchmarks/speed.py [--speech FOLDER] [--target FOLDER] [--minutes 1 10 60] [--parts conversion memory ...]
    [--out benchmarks/speed]

FOLDER is speech to convert and recordings of one speaker to prepare and train on, by default the sample's. Writes
OUT.md, tables that name this machine, and OUT.png, what takes how long as things get larger. Close everything
else first: a ratio is of two things that were measured one after the other.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyworld
import soundfile
import torch
from threadpoolctl import threadpool_limits
from training_speed import Step, data_share, processor, sample_crops, speech_per_second

from vc_lib.audio import list_audio, load_wav
from vc_lib.audio.level import near_loud
from vc_lib.config import Config
from vc_lib.convert import Stream, load_voice
from vc_lib.convert.streaming import LATENCY_S
from vc_lib.corpus import prepare
from vc_lib.model.compat import has_bf16_units
from vc_lib.parallel import n_cores
from vc_lib.spectrogram import wav_to_image

REPO = Path(__file__).resolve().parents[1]
PARTS = ("start", "conversion", "live", "preparing", "training", "load", "memory")
INK, LINES = "#333333", ("#4c72b0", "#dd8452", "#55a868", "#c44e52")


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--speech", type=Path, default=REPO / "data" / "sample" / "sources")
    p.add_argument("--target", type=Path, default=REPO / "data" / "sample" / "target")
    p.add_argument("--minutes", type=float, nargs="*", default=[1, 10, 60])
    p.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    p.add_argument("--out", type=Path, default=REPO / "benchmarks" / "speed")
    a = p.parse_args()
    os.chdir(REPO)
    curves, text = (
        {},
        [f"# Speed\n\n{machine()}\n\n`{' '.join(['python', *sys.argv])}`".replace(f"{REPO}/", "")],
    )
    done = {
        "start": start,
        "conversion": lambda c: conversion(a.speech, c),
        "live": lambda c: live(a.speech),
        "preparing": lambda c: preparing(a.target, c),
        "training": lambda c: training(a.target, c),
        "load": lambda c: load(a.speech),
        "memory": lambda c: memory(a.speech, a.minutes, c),
    }
    for part in a.parts:
        with redirect_stdout(sys.stderr):  # progress
            text.append(done[part](curves))
        print(text[-1], flush=True)
    if curves:
        text.append(growth(curves))
        draw(curves, a.out.with_suffix(".png"))
        print(text[-1])
    a.out.with_suffix(".md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


def machine() -> str:
    """This computer and what runs on it, in a line."""
    units = "with" if has_bf16_units() else "without"
    return (
        f"{processor()}, {n_cores()} cores, {units} bfloat16 units; Python {platform.python_version()}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads."
    )


def table(header: list[str], rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def best(function, n: int = 3) -> float:
    """The shortest time that it took [s]: what else runs here only ever adds."""
    return min(timed(function) for _ in range(n))


def timed(function) -> float:
    """How long one call takes [s]."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def spoken(folder: Path, seconds: float, sr: int) -> np.ndarray:
    """So much of the speech in a folder, over again if there is less."""
    wavs = [load_wav(file, sr) for file in list_audio(folder)]
    return np.resize(np.concatenate(wavs), int(seconds * sr))


# Start


def start(curves: dict) -> str:
    """From nothing to a voice or a converted clip, each time in a new process."""
    statements = {
        "NumPy and SciPy alone": "import numpy, scipy.fft, scipy.ndimage",
        "`import vc_lib.convert` and `load_voice`": "from vc_lib.convert import load_voice; load_voice('ljspeech')",
        "the same, by torch": "from vc_lib.convert import load_voice; load_voice('ljspeech', 'cpu')",
        "what notebook 01 imports": "import vc_lib.notebook.plots, vc_lib.notebook.widgets, vc_lib.evaluate.privacy",
        "fastai's vision part alone": "import vc_lib.model.compat, fastai.vision.all",
    }
    commands = {name: ["-c", code] for name, code in statements.items()}
    times = {}
    with tempfile.TemporaryDirectory() as place:
        clip, out = "data/sample/sources/it_man_carlo_1.flac", f"{place}/out.wav"
        commands["`vc convert` of a clip of 4.8 s"] = ["-m", "vc_lib", "convert", clip, out]
        for name, command in commands.items():
            run = [sys.executable, "-W", "ignore", *command]
            times[name] = best(lambda run=run: subprocess.check_output(run, cwd=REPO))
    shortest = min(times.values())
    rows = [[name, f"{s:.1f}", f"{s / shortest:.1f}"] for name, s in times.items()]
    return "## Start\n\n" + table(["a whole process", "s", "of the shortest"], rows)


# Conversion


def world_calls(wav: np.ndarray, sr: int) -> dict[str, float]:
    """Seconds that WORLD's own four calls take on a recording, in one thread."""
    x = wav.astype(np.float64)
    f0, t = pyworld.dio(x, sr)
    f0 = pyworld.stonemask(x, f0, t, sr)
    sp, ap = pyworld.cheaptrick(x, f0, t, sr), pyworld.d4c(x, f0, t, sr)
    return {
        "DIO + StoneMask": best(lambda: pyworld.stonemask(x, pyworld.dio(x, sr)[0], t, sr)),
        "CheapTrick": best(lambda: pyworld.cheaptrick(x, f0, t, sr)),
        "D4C": best(lambda: pyworld.d4c(x, f0, t, sr)),
        "synthesis": best(lambda: pyworld.synthesize(f0, sp, ap, sr)),
    }


def conversion(folder: Path, curves: dict) -> str:
    voice = load_voice("models/ljspeech")
    sr, seconds = voice.sr, 90
    wav = spoken(folder, seconds, sr)
    voice.convert(wav[: 30 * sr], sr)  # libraries are ready
    calls = world_calls(wav[: 50 * sr], sr)
    of_world = sum(calls.values()) / 50
    harvest = best(lambda: pyworld.harvest(wav[: 20 * sr].astype(np.float64), sr), 1) / 20
    rows = [[f"WORLD: {name}", f"{s / 50:.4f}", ""] for name, s in calls.items()]
    rows.append(["WORLD: the four, one thread", f"{of_world:.4f}", "1"])
    rows.append(["(WORLD: Harvest)", f"{harvest:.4f}", f"{harvest / of_world:.2f}"])
    cores, lengths = n_cores(), (5, 20, 90, 300)
    for length in lengths:
        part = np.resize(wav, length * sr)
        s = best(lambda part=part: voice.convert(part, sr), 3 if length < 300 else 1) / length
        curves.setdefault("convert, by seconds of speech", []).append((length, s * length))
        rows.append(
            [f"convert, {length} s of speech, {cores} cores", f"{s:.4f}", f"{s / of_world:.2f}"]
        )
    alone = f"import os; os.sched_setaffinity(0, {{0}}); {TIMED}"
    one = float(in_process(alone, wav[: 50 * sr], sr)) / 50
    rows.append(["convert, 50 s, one core", f"{one:.4f}", f"{one / of_world:.2f}"])
    return "## Conversion\n\nPer second of speech.\n\n" + table(
        ["", "s", "of the four calls"], rows
    )


TIMED = """
import sys, time, soundfile
from vc_lib.convert import load_voice
wav, sr = soundfile.read(sys.argv[1], dtype="float32")
voice = load_voice("models/ljspeech")
voice.convert(wav, sr)
t = time.perf_counter()
voice.convert(wav, sr)
print(time.perf_counter() - t)
"""


def in_process(code: str, wav: np.ndarray, sr: int) -> str:
    """The last word that code prints in a new process that is given a recording."""
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/speech.wav", wav, sr)
        return last_word(code, f"{folder}/speech.wav", f"{folder}/out.wav")


def last_word(code: str, *args: str) -> str:
    """The last word that code prints in a new process."""
    run = [sys.executable, "-W", "ignore", "-c", code, *args]
    return subprocess.check_output(run, cwd=REPO, text=True).split()[-1]


# Live


def live(folder: Path) -> str:
    """One core of a live conversion, by latency, idle and beside a program that keeps a core busy."""
    voice, rows = load_voice("models/ljspeech"), []
    sr = voice.sr
    wavs = [np.resize(load_wav(file, sr), 10 * sr) for file in list_audio(folder)[:4]]
    for latency in reversed(LATENCY_S):
        loads, slowest, distances = ([], []), [], []
        for wav in wavs:
            source = voice.source_stats([wav])
            whole = voice.convert(wav, sr, source)
            for loaded in (False, True):
                stream = Stream(voice, source, latency=latency)
                with beside_another(loaded):
                    times, out = block_times(stream, wav)
                loads[loaded].append(np.mean(times[5:]) * sr / stream.n_block)
                slowest.append(np.max(times[5:]) * sr / stream.n_block)
            distances.append(lsd_db(out, whole, voice.config))
        rows.append(
            [
                f"{1000 * latency:.0f}",
                f"{1000 * stream.n_block / sr:.0f}",
                *(f"{np.mean(x):.2f}" for x in (*loads, slowest, distances)),
            ]
        )
    header = [
        "latency [ms]",
        "block [ms]",
        "idle",
        "loaded",
        "slowest block",
        "from the whole [dB LSD]",
    ]
    return (
        "## While somebody speaks\n\nTime over duration, on one core. *Loaded*: another process keeps a core "
        "busy.\n\n" + table(header, rows)
    )


def block_times(stream: Stream, wav: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Time that each block of a stream takes [s], and the output in line with `wav`."""
    times, outs = [], []
    for i in range(0, len(wav) - stream.n_block + 1, stream.n_block):
        times.append(timed(lambda i=i: outs.append(stream(wav[i : i + stream.n_block]))))
    return times, np.concatenate([*outs, stream.rest()])[stream.latency :]


@contextmanager
def beside_another(really: bool) -> Iterator[None]:
    """Keep one core busy with another process, if it is really wanted."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if really else None
    try:
        yield
    finally:
        if other:
            other.kill()
            other.wait()


def lsd_db(wav: np.ndarray, other: np.ndarray, cfg: Config) -> float:
    """Log-spectral distance over frames less than 35 dB under the loud ones [dB]."""
    a, b = (50 * wav_to_image(w, cfg)[0] for w in (wav, other))
    level_db = 10 * np.log10((10 ** (b / 10)).mean(0))
    loud = near_loud(level_db)
    return float(np.sqrt(((a - b)[:, loud] ** 2).mean(0)).mean())


# Preparing


def preparing(folder: Path, curves: dict) -> str:
    cfg, files = Config(), list_audio(folder)
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        times = {}
        for n in range(1, n_cores() + 1):
            prepare(files[: 4 * n], cfg, f"{cache}/begun{n}", n_jobs=n)  # processes are there
            began = time.perf_counter()
            found = prepare(files, cfg, f"{cache}/{n}", n_jobs=n)
            times[n] = time.perf_counter() - began
            seconds = sum(r.seconds for r in found)
            rows.append(
                [f"{n} processes", f"{seconds / times[n]:.0f}", f"{times[1] / times[n]:.2f}"]
            )
        for share in (0.25, 0.5, 1.0):
            some = files[: max(1, int(share * len(files)))]
            began = time.perf_counter()
            found = prepare(some, cfg, f"{cache}/s{share}")
            took = time.perf_counter() - began
            curves.setdefault("prepare, by seconds of recordings", []).append(
                (sum(r.seconds for r in found), took)
            )
        again = best(lambda: prepare(files, cfg, f"{cache}/1"))
        rows.append(["again, from the cache", f"{seconds / again:.0f}", f"{times[1] / again:.0f}"])
    return "## Preparing\n\n" + table(
        ["", "seconds of recordings a second", "of one process"], rows
    )


# Training


def training(folder: Path, curves: dict) -> str:
    bf16 = has_bf16_units()
    compact = speech_per_second(Config(), bf16, 4)
    resnet = speech_per_second(replace(Config(), encoder="resnet18"), False, 2)
    with tempfile.TemporaryDirectory() as cache:
        loader = sample_crops(folder, cache, 11)
        share, steps = data_share(loader)
    beside = steps * loader.bs * 2.04  # seconds of speech
    rows = [
        ["resnet18 U-Net, float32", f"{resnet:.2f}", "1"],
        [
            f"compact, {'bfloat16' if bf16 else 'float32'}",
            f"{compact:.2f}",
            f"{compact / resnet:.1f}",
        ],
        ["compact, with its crops", f"{beside:.2f}", f"{beside / resnet:.1f}"],
    ]
    for bs in (1, 2, 4, 8, 16):
        speed = speech_per_second(replace(Config(), bs=bs), bf16, 2)
        curves.setdefault("a training step, by crops in it", []).append((bs, bs * 2.04 / speed))
    for n in range(1, n_cores() + 1):
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        with threadpool_limits(n, user_api="blas"):
            speed = speech_per_second(Config(), bf16, 2)
        torch.set_num_threads(before)
        rows.append([f"compact, {n} threads", f"{speed:.2f}", f"{speed / resnet:.1f}"])
    return (
        "## Training\n\n"
        + table(["generator alone", "seconds of speech a second", "of resnet18"], rows)
        + f"\n\nCrops and their images take {100 * share:.1f} % of the time of training."
    )


# Load


def load(folder: Path) -> str:
    """Training and conversion beside a program that keeps one core busy, as a video in a browser does."""
    times, before = {}, os.environ["OMP_WAIT_POLICY"]
    for policy in ("PASSIVE", "ACTIVE"):  # read once, when torch is imported: each in a new process
        os.environ["OMP_WAIT_POLICY"] = policy
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            for name, pair in pool.submit(load_times, folder).result().items():
                times[name, policy] = pair
    os.environ["OMP_WAIT_POLICY"] = before
    rows = []
    for (name, policy), (idle, busy) in sorted(times.items(), reverse=True):
        of_idle = times[name, "PASSIVE"][0]
        cells = [f"{1000 * idle:.0f}", f"{1000 * busy:.0f}", f"{idle / of_idle:.2f}"]
        rows.append([f"{name}, {policy}", *cells, f"{busy / of_idle:.2f}"])
    header = ["mean, by OMP_WAIT_POLICY", "idle [ms]", "loaded [ms]", "idle", "loaded"]
    return (
        "## Beside other programs\n\n*Loaded*: another process keeps one core busy. The last two columns are "
        "relative to PASSIVE, idle; `vc_lib` sets PASSIVE.\n\n" + table(header, rows)
    )


def load_times(folder: Path, n_turns: int = 3) -> dict[str, tuple[float, float]]:
    """Mean time of a training step and of a conversion [s], idle and loaded, in turns."""
    step, voice = Step(Config(), has_bf16_units()), load_voice("models/ljspeech")
    wav = spoken(folder, 20, voice.sr)
    measured = {
        "training step": lambda: [step() for _ in range(3)],
        "conversion of 5 s": lambda: [timed(lambda: voice.convert(wav[: 5 * voice.sr], voice.sr))],
        "conversion of 20 s": lambda: [timed(lambda: voice.convert(wav, voice.sr))],
    }
    times = {name: ([], []) for name in measured}
    for measure in measured.values():
        measure()  # to warm up
    for _ in range(n_turns):
        for i in (0, 1):
            with beside_another(bool(i)):
                for name, measure in measured.items():
                    times[name][i].extend(measure())
    return {name: tuple(float(np.mean(x)) for x in pair) for name, pair in times.items()}


# Memory


def memory(folder: Path, minutes: list[float], curves: dict) -> str:
    """Peak of a process that converts a file of so many minutes; on Linux."""
    code = """
import json, sys, time
from vc_lib.convert import convert_file, load_voice
voice = load_voice("models/ljspeech")
t = time.perf_counter()
if len(sys.argv) > 3:
    convert_file(voice, sys.argv[1], sys.argv[2])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # since this program began
print(json.dumps([int(peak.split()[1]) / 1024, time.perf_counter() - t]).replace(" ", ""))
"""
    sr, wav = 16_000, spoken(folder, 60, 16_000)
    rows = [["0 (the voice is loaded)", f"{json.loads(in_process(code, wav, sr))[0]:.0f}", ""]]
    for length in minutes:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "speech.wav"
            with soundfile.SoundFile(path, "w", sr, 1, "PCM_16") as out:
                for _ in range(round(length)):
                    out.write(wav)
            peak, took = json.loads(last_word(code, str(path), f"{place}/out.flac", "all"))
        rows.append([f"{length:g}", f"{peak:.0f}", f"{took / 60 / length:.4f}"])
        curves.setdefault("convert_file, by seconds of speech", []).append((60 * length, took))
    return "## Memory\n\n" + table(["minutes of speech", "peak [MB]", "s a second"], rows)


# Growth


def exponent(points: list[tuple[float, float]]) -> float:
    """By which power of its size the time grows: 1 is in proportion."""
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def growth(curves: dict) -> str:
    rows = [
        [name, f"{exponent(points):.2f}", f"{points[-1][1] / points[-1][0]:.4f}"]
        for name, points in curves.items()
        if len(points) > 1
    ]
    text = "## Growth\n\nTime grows by this power of the size: 1 is in proportion, less where each call costs.\n\n"
    return text + table(["", "exponent", "s each, at the largest"], rows)


def draw(curves: dict, path: Path) -> None:
    """What takes how long as things get larger, on logarithmic axes."""
    width = 3.4 * len(curves)
    fig, axes = plt.subplots(
        1, len(curves), squeeze=False, figsize=(width, 3.2), layout="constrained"
    )
    for ax, color, (name, points) in zip(axes[0], LINES * 2, curves.items(), strict=False):
        x, y = np.array(points).T
        ax.loglog(x, y, "o-", color=color)
        ax.loglog(x, y[-1] * x / x[-1], ":", color=INK, lw=1)
        what, by = name.split(", by ")
        ax.set(title=what, xlabel=by, ylabel="s")
        ax.grid(alpha=0.3)
    fig.supxlabel("dotted: in proportion", fontsize=9, color=INK)
    fig.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
