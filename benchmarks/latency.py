"""What a short latency of live conversion costs: likeness, pitch, words and time.

    python benchmarks/latency.py SOURCES --target RECORDINGS --names NAMES
    [--latencies 0.3 0.2 0.1] [--clips 8] [--seconds 5]

SOURCES is a folder of clips of other speakers with speakers.tsv, RECORDINGS one of the target's, NAMES
a text file with the stems of those that the voice was not trained on. Prints two tables in Markdown:
clips of half A, on which the budgets were chosen, and of half B; then the load, which is the time of a
block over its length: of the processor, and on the clock. *Loaded*: another process keeps one core
busy. With --clips 0 it prints the load alone. Needs requirements-eval.txt.
"""

import argparse
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from speed import table

from vc_lib.audio import list_audio, load_wav
from vc_lib.audio.level import block_power, speech_level_db
from vc_lib.convert import Stream, load_voice
from vc_lib.evaluate import Clip, TargetClips, evaluate
from vc_lib.evaluate.score_tables import bootstrap

METRICS = "lsd_db", "log_f0_corr", "cosine_to_target", "wer"
F0_METHOD = "swift-f0"  # of what is measured
GROSS = 1.2  # least ratio of two pitches that counts as a gross error
N_TURNS, N_TIMED = 2, 2  # turns of idle and loaded, clips in each
HEADER = (
    "latency [ms]",
    "LSD [dB] ↓",
    "log-F0 corr. ↑",
    "gross pitch errors [%] ↓",
    "cosine to target ↑",
    "WER ↓",
    "bend at seams ↓",
)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("sources", type=Path)
    p.add_argument("--target", required=True)
    p.add_argument("--names", type=Path, required=True)
    p.add_argument("--latencies", type=float, nargs="*", default=[0.3, 0.2, 0.1])
    p.add_argument("--clips", type=int, default=8, help="of each half")
    p.add_argument("--seconds", type=float, default=5)
    a = p.parse_args()
    warnings.simplefilter("ignore")

    voice = load_voice("ljspeech")
    names = set(a.names.read_text().split())
    target = TargetClips(
        Clip(load_wav(file, voice.sr)[: 8 * voice.sr], voice.sr, F0_METHOD)
        for file in list_audio(a.target)
        if file.stem in names
    )
    chosen = halves(a.sources, a.clips)
    for half, files in chosen.items() if a.clips else ():
        wavs = [load_wav(file, voice.sr)[: int(a.seconds * voice.sr)] for file in files]
        scored = [scores(voice, wav, target, a.latencies) for wav in wavs]
        rows = [
            ["whole" if key == "whole" else f"{1000 * key:.0f}", *cells([s[key] for s in scored])]
            for key in ["whole", *a.latencies]
        ]
        print(
            table([f"half {half}, {len(wavs)} clips: {HEADER[0]}", *HEADER[1:]], rows),
            "\n",
            flush=True,
        )
    files = halves(a.sources, N_TIMED)["A"]
    wavs = [load_wav(file, voice.sr)[: int(a.seconds * voice.sr)] for file in files]
    header = (
        "latency [ms]",
        "block [ms]",
        "processor",
        "clock",
        "clock, loaded",
        "slowest block [ms]",
    )
    print(table(list(header), [times(voice, wavs, s) for s in a.latencies]))


def halves(sources: Path, n: int) -> dict[str, list[Path]]:
    """`n` clips of each half; every second clip of each sex is in half A."""
    sex = pd.read_csv(sources / "speakers.tsv", sep="\t").set_index("file").sex.sort_index()
    half = (sex.groupby(sex).cumcount() % 2).map({0: "A", 1: "B"})
    files = {name: [sources / file for file in half[half == name].index] for name in "AB"}
    return {name: all_[:: len(all_) // max(1, n)][:n] for name, all_ in files.items()}


def streamed(voice, wav: np.ndarray, latency: float) -> tuple[np.ndarray, Stream, np.ndarray]:
    """Output without its delay, the stream, and times of its blocks (n, 2): processor, clock [s]."""
    source, level_db = voice.source_stats([wav]), speech_level_db(block_power(wav, voice.sr))
    stream = Stream(voice, source, level_db, latency=latency)
    parts, took = [], []
    for i in range(0, len(wav), stream.n_block):
        began = time.process_time(), time.perf_counter()
        parts.append(stream(wav[i : i + stream.n_block]))
        took.append((time.process_time() - began[0], time.perf_counter() - began[1]))
    took = np.array(took[5:-1])  # the first fill caches
    return np.concatenate([*parts, stream.rest()])[stream.latency :], stream, took


def scores(voice, wav: np.ndarray, target: TargetClips, latencies: list[float]) -> dict:
    """Scores of the conversion of the whole, and of each latency, by latency."""
    sr = voice.sr
    source = Clip(wav, sr, F0_METHOD)
    whole = Clip(voice.convert(wav, sr, voice.source_stats([wav])), sr, F0_METHOD)
    how = dict(sr=sr, source=source, target=target, f0_method=F0_METHOD)
    found = {"whole": evaluate(whole, only=("cosine_to_target", "wer"), **how)}
    for latency in latencies:
        out, stream, _ = streamed(voice, wav, latency)
        clip = Clip(out, sr, F0_METHOD)
        found[latency] = evaluate(clip, reference=whole, only=METRICS, **how)
        f0, whole_f0 = clip.features.f0, whole.features.f0
        both = (f0 > 0) & (whole_f0 > 0)
        far = np.abs(np.log(f0[both] / whole_f0[both])) > np.log(GROSS)
        found[latency]["gross"] = 100 * far.mean()
        found[latency]["seams"] = bend_at_seams(out, stream.n_block, stream.latency)
    return found


def bend_at_seams(out: np.ndarray, n_block: int, latency: int) -> float:
    """RMS second difference around block edges, relative to the middles of blocks; 1: no clicks."""
    bends = np.square(np.diff(out, 2))
    place = (np.arange(len(bends)) + 1 + latency) % n_block
    at_seam = (place <= 1) | (place >= n_block - 2)
    inside = (place > n_block // 4) & (place < 3 * n_block // 4)
    return float(np.sqrt(bends[at_seam].mean() / bends[inside].mean()))


def cells(scored: list[dict]) -> list[str]:
    """Means of clips, and half of their 95 % intervals."""
    out = []
    for key in ("lsd_db", "log_f0_corr", "gross", "cosine_to_target", "wer", "seams"):
        mean, low, high = bootstrap([s.get(key, float("nan")) for s in scored])
        digits = 3 if key in ("log_f0_corr", "cosine_to_target", "wer") else 2
        out.append(f"{mean:.{digits}f} ± {(high - low) / 2:.{digits}f}" if mean == mean else "–")
    return out


def times(voice, wavs: list[np.ndarray], latency: float) -> list[str]:
    """Load, idle and loaded in turns (the least of the turns), and the slowest block of the best turn."""
    means, slowest = ([], []), []
    for turn in range(2 * N_TURNS):
        busy = turn % 2
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
        try:
            runs = [streamed(voice, wav, latency)[1:] for wav in wavs]
        finally:
            if other:
                other.kill()
                other.wait()
        took = np.concatenate([t for _, t in runs])
        block_s = runs[0][0].n_block / voice.sr
        means[busy].append(took.mean(0) / block_s)
        slowest.append(took[:, 1].max())
    (processor, clock), (_, loaded) = (np.min(m, 0) for m in means)
    ms = f"{1000 * latency:.0f}", f"{1000 * block_s:.0f}"
    loads = (f"{x:.2f}" for x in (processor, clock, loaded))
    return [*ms, *loads, f"{1000 * min(slowest):.0f}"]


if __name__ == "__main__":
    main()
