"""What a training crop costs: with NumPy's own number of threads against one.

    python benchmarks/crop_speed.py [RECORDINGS] [--crops 40] [--cache data/cache]

RECORDINGS is a folder of recordings of one speaker, by default the sample. Prints seconds on the clock and of
the processor for a crop either way, and the ratios.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.config import Config
from vc_lib.corpus import learn_target, prepare
from vc_lib.training.dataset import crop_pair


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sample = Path(__file__).resolve().parents[1] / "data" / "sample" / "target"
    p.add_argument("recordings", nargs="?", default=sample)
    p.add_argument("--crops", type=int, default=40)
    p.add_argument("--cache", default="data/cache")
    a = p.parse_args()
    recordings = prepare(a.recordings, Config(), a.cache)
    cfg = learn_target(recordings, Config())

    def cost(n: int) -> np.ndarray:
        """Clock and processor [s a crop]."""
        began = np.array([time.perf_counter(), time.process_time()])
        for i in range(n):
            crop_pair(recordings[i % len(recordings)], cfg, np.random.default_rng(i))
        return (np.array([time.perf_counter(), time.process_time()]) - began) / n

    cost(2)  # files and libraries are read
    own, one = np.zeros(2), np.zeros(2)
    for _ in range(4):  # in turns, so that what else runs here is shared
        own += cost(a.crops // 4) / 4
        with threadpool_limits(1, user_api="blas"):
            one += cost(a.crops // 4) / 4
    print("| threads | clock [s a crop] | processor [s a crop] |\n|---|---|---|")
    for label, numbers in (("NumPy's own", own), ("one", one), ("ratio", own / one)):
        print(f"| {label} | {' | '.join(f'{x:.3f}' for x in numbers)} |")


if __name__ == "__main__":
    main()
