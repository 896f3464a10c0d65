"""Are the meters sane, and what do they cost: the recogniser on natural speech whose text is known,
and the time that each metric takes.

    python benchmarks/meters.py WAVS METADATA [--names NAMES] [--clips 40]

METADATA holds lines of id|text|normalised text, as LJSpeech's; NAMES is a text file of ids, by
default all. Prints a line and a table in Markdown. Seconds are of one thread and of one machine:
compare the rows with each other.
"""

import argparse
import csv
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.audio import list_audio, load_wav
from vc_lib.evaluate import METRICS, Clip, evaluate, judges
from vc_lib.evaluate.summary import bootstrap

SR = 16_000


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("wavs")
    p.add_argument("metadata", type=Path)
    p.add_argument("--names", type=Path)
    p.add_argument("--clips", type=int, default=40)
    a = p.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)

    with a.metadata.open(encoding="utf-8", newline="") as f:
        said = {row[0]: row[-1] for row in csv.reader(f, delimiter="|", quoting=csv.QUOTE_NONE)}
    names = a.names.read_text().split() if a.names else list(said)
    files = {f.stem: f for f in list_audio(a.wavs)}
    files = {name: files[name] for name in names[: a.clips]}
    wavs = {name: load_wav(file, SR) for name, file in files.items()}
    rates = [
        judges.word_error_rate(judges.transcribe(wav, SR), said[name]) for name, wav in wavs.items()
    ]
    mean, low, high = bootstrap(rates)
    print(f"WER on natural speech, {len(rates)} clips: {mean:.3f} ({low:.3f} to {high:.3f})\n")

    wav = np.concatenate(list(wavs.values()))[: 8 * SR]
    noisy = np.clip(wav + 0.01 * np.random.default_rng(0).normal(size=len(wav)), -1, 1)
    print("| metric | s per s of speech |\n|---|---|")
    for key in METRICS:
        known = Clip(wav, SR)
        given = dict(source=known, target=[known], reference=known, only=[key])
        evaluate(noisy, SR, **given)  # loads the model; measures `known`
        start = time.perf_counter()
        evaluate(noisy, SR, **given)
        print(f"| {METRICS[key].label} (`{key}`) | {(time.perf_counter() - start) / 8:.3f} |")


if __name__ == "__main__":
    main()
