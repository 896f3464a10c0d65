"""How preparation scales to 1 000 hours on a Dask cluster and to 100 voices, by simulation from measured parts.

    python benchmarks/big.py [--hours 1000] [--parts workers size kills voices] [--costs PER_S EACH CACHED]

Prints tables. WORLD is measured here on recordings of 2 to 20 s. Then `prepare` runs on a real local Dask cluster
whose workers sleep that time divided by a factor, and write an empty file for each recording. All workers share one
process with the scheduler and the client, so overhead is that of all of them on the cores given.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask
import joblib
import numpy as np
import soundfile
from distributed import Client, LocalCluster, WorkerPlugin

from vc_lib import corpus
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import Config
from vc_lib.corpus import CorpusItem, prepare

REPO = Path(__file__).resolve().parents[1]
MEAN_S = 10.0  # mean length of a recording [s]
PARTS = ("workers", "size", "kills", "voices")
# Dask's own logs grow for up to 10 000 entries, which would look as if `prepare` kept memory
SHORT_LOGS = {
    "distributed.admin.log-length": 10,
    "distributed.admin.low-level-log-length": 10,
    "distributed.admin.system-monitor.log-length": 10,
    "distributed.worker.profile.enabled": False,
}
RUN_S = 8.0  # how long an ideal run takes, compressed [s]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--hours", type=int, default=1_000)
    p.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    p.add_argument("--simulate", nargs=4, metavar=("N", "WORKERS", "FACTOR", "CACHE"))
    p.add_argument("--costs", nargs=3, type=float, metavar=("PER_S", "EACH", "CACHED"))
    a = p.parse_args()
    corpus.progress_bar = lambda jobs, **_: jobs
    if a.simulate:
        n, workers, factor, cache = a.simulate
        print(*simulate(int(n), int(workers), float(factor), Path(cache), a.costs), flush=True)
        return
    sys.stdout.reconfigure(line_buffering=True)
    print(f"{platform.processor() or platform.machine()}, one core for all processes\n")
    costs = a.costs or measure()
    n = round(a.hours * 3600 / MEAN_S)
    parts = {
        "workers": lambda: scale(n, costs),
        "size": lambda: grow(n, costs),
        "kills": lambda: interrupt(costs),
        "voices": lambda: voices(costs),
    }
    for part in a.parts:
        parts[part]()


def table(header: list[str], rows: list[list]) -> None:
    lines = [header, ["---"] * len(header), *rows]
    print("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n")


def measure() -> tuple[float, float, float]:
    """Seconds for a second of recording, for each recording, and for a cached one; prints them."""
    sr, rows, points = 16_000, [], []
    speech = [load_wav(file, sr) for file in list_audio(REPO / "data" / "sample" / "target")]
    speech = np.concatenate(speech)
    for length in (2, 5, 10, 20):
        with tempfile.TemporaryDirectory() as folder:
            for i in range(4):
                part = speech[i * length * sr :][: length * sr]
                soundfile.write(f"{folder}/{i}.wav", part, sr)
            files = list_audio(folder)
            times = []
            for file in (*files, *files):
                began = time.perf_counter()
                corpus._prepare_file(file, Config(), Path(folder))
                times.append(time.perf_counter() - began)
        new, cached = min(times[:4]), min(times[4:])
        points.append((length, new, cached))
        rows.append([length, f"{new:.3f}", f"{new / length:.4f}", f"{1000 * cached:.1f}"])
    lengths, new, cached = np.array(points).T
    per_s, each = np.polyfit(lengths, new, 1)
    table(["recording [s]", "prepare [s]", "of a second [s]", "again, cached [ms]"], rows)
    print(f"Fit: {per_s:.4f} s a second and {1000 * each:.0f} ms a recording.\n")
    return float(per_s), max(float(each), 0.0), float(cached.mean())


def lengths(n: int) -> np.ndarray:
    """Lengths of recordings, log-normal within 2 to 20 s, with a mean of `MEAN_S` [s]."""
    drawn = np.clip(np.random.default_rng(0).lognormal(np.log(MEAN_S), 0.5, n), 2, 20)
    return drawn * MEAN_S / drawn.mean()


def stand_in(seconds: dict, factor: float, cached_s: float):
    """In place of `_prepare_file`: sleeps, and leaves a file, and a line when it begins."""

    def prepare_file(file: Path, cfg: Config, cache_dir: Path) -> list[CorpusItem]:
        cache = cache_dir / f"{file.stem}.npz"
        if cache.exists():
            time.sleep(cached_s / factor)
        else:
            with (cache_dir / "begun.log").open("a") as log:
                log.write(f"{file.stem}\n")
            time.sleep(seconds[file] / factor)
            cache.touch()
        return [CorpusItem(file, cache, 10.0, 2_000)]

    return prepare_file


def memory_mb(field: str) -> float:
    """VmRSS or VmHWM, the peak, of this process [MB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def simulate(n: int, workers: int, factor: float, cache: Path, costs) -> list[float]:
    """Wall, ideal and CPU time [s], memory before and at the peak [MB], and tasks of the scheduler at most."""
    per_s, each, cached = costs
    files = [cache / "recordings" / f"{i:07}.wav" for i in range(n)]
    seconds = dict(zip(files, per_s * lengths(n) + each, strict=True))
    corpus._prepare_file = stand_in(seconds, factor, cached)
    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None
    )
    most = 0

    def watched(jobs, **_):
        nonlocal most
        for job in jobs:
            most = max(most, len(cluster.scheduler.tasks))
            yield job

    corpus.progress_bar = watched
    with cluster, Client(cluster), joblib.parallel_config("dask"):
        before = memory_mb("VmRSS")
        began, cpu = time.perf_counter(), time.process_time()
        items = prepare(files, Config(), cache)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert [item.path for item in items] == files
    ideal = sum(seconds.values()) / factor / workers
    return [wall, ideal, cpu, before, memory_mb("VmHWM"), most]


def start(n, workers, factor, cache, costs) -> subprocess.Popen:
    """Start `simulate` in a new process."""
    run = [sys.executable, __file__, "--simulate", n, workers, factor, cache, "--costs", *costs]
    return subprocess.Popen(list(map(str, run)), stdout=subprocess.PIPE, text=True)


def simulated(*args) -> list[float]:
    """What `simulate` returns, in a new process."""
    out, _ = start(*args).communicate()
    return [float(number) for number in out.split()]


def scale(n_all: int, costs) -> None:
    """Workers: time is not compressed beyond what keeps the overhead visible."""
    rows = []
    each = costs[0] * MEAN_S + costs[1]
    for workers, n in ((1, 1_000), (8, 1_500), (64, 3_000)):
        factor = max(1.0, n * each / workers / RUN_S)
        with tempfile.TemporaryDirectory() as cache:
            wall, ideal, cpu, *_ = simulated(n, workers, factor, cache, costs)
        overhead = (wall - ideal) * workers / n  # of a worker's time; is not compressed
        total = n_all * (each + overhead) / workers / 3600
        measured = [f"{factor:.0f}", f"{wall:.1f}", f"{ideal:.1f}", f"{1000 * cpu / n:.2f}"]
        share = f"{100 * each / (each + overhead):.0f} %"
        rows.append([workers, n, *measured, f"{1000 * overhead:.1f}", share, f"{total:.1f}"])
    header = ["workers", "recordings", "time divided by", "took [s]", "ideal [s]"]
    header += ["CPU each, of all processes [ms]", "lost each [ms of a worker]", "efficiency"]
    table([*header, f"{n_all} recordings [h]"], rows)


def grow(n_all: int, costs) -> None:
    """Size: memory of client, scheduler and workers, which are one process."""
    rows = []
    for n in (1_000, 10_000, 100_000, n_all):
        with tempfile.TemporaryDirectory() as cache:
            wall, _, cpu, before, peak, most = simulated(n, 8, 1000, cache, costs)
        cells = [f"{wall:.1f}", f"{1000 * cpu / n:.2f}", f"{peak:.0f}"]
        rows.append([n, *cells, f"{1000 * (peak - before) / n:.2f}", f"{most:.0f}"])
    header = ["recordings", "took [s]", "CPU each [ms]", "peak of all [MB]"]
    table([*header, "growth each [kB]", "tasks in the scheduler at most"], rows)


def interrupt(costs, n: int = 3_000, workers: int = 64) -> None:
    """Kill client, scheduler and workers at once in the middle, then do it again."""
    rows = []
    for share in (0.25, 0.75):
        with tempfile.TemporaryDirectory() as cache:
            process, log = start(n, workers, 2, cache, costs), Path(cache) / "begun.log"
            while not log.exists() or log.read_text().count("\n") < share * n:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done = log.read_text().count("\n")
            simulated(n, workers, 100, cache, costs)
            lines = log.read_text().split()
        assert len(set(lines)) == n
        rows.append(["all processes", n, workers, done, len(lines) - n])
    rows.append(lose_workers(costs))
    table(["killed", "recordings", "workers", "begun when killed", "begun again"], rows)


class Replace(WorkerPlugin):
    """Let a worker process, and each that is started for a lost one, use a stand-in."""

    def __init__(self, function):
        self.function = function

    def setup(self, worker):
        corpus._prepare_file = self.function


def lose_workers(costs, n: int = 600) -> list:
    """Kill one of two worker processes three times; the scheduler gives its recordings to others."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        cache = Path(folder)
        files = [cache / f"{i}.wav" for i in range(n)]
        client.register_plugin(Replace(stand_in(dict.fromkeys(files, 0.03), 1.0, costs[2])))
        killed_at = []

        def killing(jobs, **_):
            for i, job in enumerate(jobs):
                if i in (n // 4, n // 2, 3 * n // 4):
                    killed_at.append((cache / "begun.log").read_text().count("\n"))
                    os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
                yield job

        corpus.progress_bar = killing
        assert len(prepare(files, Config(), cache)) == n
        corpus.progress_bar = lambda jobs, **_: jobs
        lines = (cache / "begun.log").read_text().split()
    return ["one worker, three times", n, 2, ", ".join(map(str, killed_at)), len(lines) - n]


def voices(costs, n_voices: int = 100, minutes: int = 20) -> None:
    """Prepare one corpus after the other in one process, on 8 workers that keep short logs."""
    n, rows = round(minutes * 60 / MEAN_S), []
    with (
        dask.config.set(SHORT_LOGS),
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=8, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        for voice in range(1, n_voices + 1):
            cache = Path(folder) / str(voice)
            files = [cache / f"{i}.wav" for i in range(n)]
            corpus._prepare_file = stand_in(dict.fromkeys(files, 0.002), 1.0, costs[2])
            assert len(prepare(files, Config(), cache)) == n
            if voice in (1, 10, 25, 50, n_voices):
                now, peak = (f"{memory_mb(field):.0f}" for field in ("VmRSS", "VmHWM"))
                rows.append([voice, now, peak, len(cluster.scheduler.tasks)])
    table(["voices so far", "memory [MB]", "peak [MB]", "tasks left in the scheduler"], rows)


if __name__ == "__main__":
    os.chdir(REPO)
    main()
