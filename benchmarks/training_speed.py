"""Seconds of speech trained per second by both encoders, and the cost of their data.

    python benchmarks/training_speed.py [--steps 3] [--compile]

One step is the generator forward, its loss, backward and Adam on a batch of `cfg.bs` crops of noise. Steps of all
rows are taken in turns and the shortest of each counts, since other programs only ever add time. Crops are of the
sample with one pseudo-stranger a recording. The loader cuts them, in another process; their images are made between
two steps. One crop is also made from a recording without strangers, with NumPy's own number of threads and with
one, in turns.
Figures of one machine at one time: compare the rows with each other. --compile adds torch.compile, which needs
a C++ compiler.
"""

import argparse
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from vc_lib.config import Config
from vc_lib.corpus import learn_target, prepare
from vc_lib.model.compat import has_bf16_units
from vc_lib.model.losses import GeneratorLoss
from vc_lib.model.networks import Generator
from vc_lib.training.dataset import crop_pair, make_dls
from vc_lib.training.strangers import add_strangers

from fastai.data.load import DataLoader
from fastai.layers import ToTensorBase

N_BATCHES = 12  # of the sample's crops
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "target"


def speech_per_second(cfg: Config, bf16: bool, n_steps: int) -> float:
    """Seconds of speech that a generator of such a config is trained on a second."""
    step = Step(cfg, bf16)
    step()  # to warm up
    start = time.perf_counter()
    for _ in range(n_steps):
        step()
    return n_steps * step.seconds / (time.perf_counter() - start)


class Step:
    """A training step of a generator alone on noise: call it, and it tells how long it took [s]."""

    def __init__(self, cfg: Config, bf16: bool, laid_out: bool = True, compiled: bool = False):
        torch.manual_seed(0)
        self.generator, self.loss = Generator(cfg), GeneratorLoss(cfg)
        self.generator.bf16 = bf16
        if laid_out:
            self.generator.laid_out_for(torch.device("cpu"))
        if compiled:
            compile_net(self.generator)
        self.opt = torch.optim.Adam(self.generator.parameters())
        self.images = 0.3 * torch.randn(2, cfg.bs, 2, cfg.n_freqs, cfg.n_frames)
        self.seconds = cfg.bs * (cfg.n_frames - 1) * cfg.hop_length / cfg.sr  # of speech

    def __call__(self) -> float:
        began = time.perf_counter()
        img, original = self.images
        self.loss(self.generator(img), original).backward()
        self.opt.step()
        self.opt.zero_grad()
        return time.perf_counter() - began


def compile_net(generator: Generator) -> None:
    """Have torch compile a generator's U-Net, less the layer that makes a tensor fastai's, at which that fails."""
    for parent in list(generator.net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ToTensorBase):
                setattr(parent, name, nn.Identity())
    generator.net = torch.compile(generator.net)


def measure(n_steps: int = 3, compiled: bool = False) -> list[dict]:
    """Speed of training of the compact generator, of variants of it, of convnext, and of resnet18 in float32.

    Parameters
    ----------
    n_steps : int
        Of each row, after one to warm up; the shortest counts.
    compiled : bool
        Whether to try torch.compile, too.

    Returns
    -------
    rows : list of dict
        `generator`, `weights` [M], `first` (the first step) [s], `speed` [seconds of speech a second] and `ratio`
        to the last row.
    """
    compact, resnet = Config(), replace(Config(), encoder="resnet18")
    steps = {"compact, float32": Step(compact, False)}
    steps["compact, float32, weights not laid out"] = Step(compact, False, laid_out=False)
    if has_bf16_units():
        steps["compact, bfloat16"] = Step(compact, True)
    if compiled:
        steps["compact, float32, torch.compile"] = Step(compact, False, compiled=True)
    steps["convnext, float32"] = Step(replace(compact, encoder="convnext"), False)
    steps["resnet18, float32"] = Step(resnet, False)
    took = {name: [step()] for name, step in steps.items()}
    for _ in range(n_steps):
        for name, step in steps.items():
            took[name].append(step())
    rows = [
        dict(
            generator=name,
            weights=sum(p.numel() for p in step.generator.parameters()) / 1e6,
            first=took[name][0],
            speed=step.seconds / min(took[name][1:]),
        )
        for name, step in steps.items()
    ]
    return [row | dict(ratio=row["speed"] / rows[-1]["speed"]) for row in rows]


def sample_crops(folder, cache, n_steps: int) -> DataLoader:
    """The loader of training crops of a folder, with one pseudo-stranger a recording."""
    cfg = Config()
    recordings = prepare(folder, cfg, cache)
    cfg = learn_target(recordings, replace(cfg, max_crops=cfg.bs * n_steps))
    return make_dls(add_strangers(recordings, cfg, 1, cache), recordings[:1], cfg).train


def crops_per_second(loader: DataLoader, n_steps: int) -> float:
    """Crops that a loader's process cuts a second, while nothing is trained and no image is made."""
    took, batches = [], iter(loader.new(after_batch=[]))
    next(batches)  # its process is started
    for _ in range(n_steps):
        asked = time.perf_counter()
        next(batches)
        took.append(time.perf_counter() - asked)
    list(batches)  # ends the process
    return loader.bs * n_steps / sum(took)


def data_share(loader: DataLoader) -> tuple[float, float]:
    """Share of the training time that goes to crops and their images, and steps a second."""
    step = Step(Config(), has_bf16_units())
    batches, waited, began, n = iter(loader), 0.0, None, 0
    while True:
        if n == 2:
            waited, began = 0.0, time.perf_counter()  # after steps to warm up
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            break
        n += 1
        step.images = batch
        step()
    took = time.perf_counter() - began
    return waited / took, (n - 2) / took


def crop_cost(folder, cache, n_crops: int = 40) -> dict[str, np.ndarray]:
    """Seconds on the clock and of the processor for a training crop, by threads of NumPy."""
    recordings = prepare(folder, Config(), cache)
    cfg = learn_target(recordings, Config())

    def cost(n: int) -> np.ndarray:
        began = np.array([time.perf_counter(), time.process_time()])
        for i in range(n):
            crop_pair(recordings[i % len(recordings)], cfg, np.random.default_rng(i))
        return (np.array([time.perf_counter(), time.process_time()]) - began) / n

    cost(2)  # files and libraries are read
    own, one = np.zeros(2), np.zeros(2)
    for _ in range(4):
        own += cost(n_crops // 4) / 4
        with threadpool_limits(1, user_api="blas"):
            one += cost(n_crops // 4) / 4
    return {"NumPy's own": own, "one": one, "ratio": own / one}


def processor() -> str:
    """What /proc/cpuinfo calls this processor, or else what Python does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    units = "with" if has_bf16_units() else "without"
    print(
        f"{processor()}, {torch.get_num_threads()} threads, {units} bfloat16 units, torch {torch.__version__}\n\n"
        "| generator | weights [M] | first step [s] | speech a second [s] | ratio |\n|---|---|---|---|---|"
    )
    for row in measure(a.steps, a.compile):
        print(
            f"| {row['generator']} | {row['weights']:.1f} | {row['first']:.1f} | {row['speed']:.2f} "
            f"| {row['ratio']:.1f} |"
        )
    loader = sample_crops(SAMPLE, "data/cache", N_BATCHES)
    alone = crops_per_second(loader, N_BATCHES // 2)
    share, steps = data_share(loader)
    print(
        "\n| compact, with the sample | a second |\n|---|---|\n"
        f"| crops, the loader alone (one process) | {alone:.0f} |\n"
        f"| steps that these crops would suffice for | {alone / loader.bs:.1f} |\n"
        f"| steps, with their crops | {steps:.2f} |\n\n"
        f"Crops and their images take {100 * share:.1f} % of the time of these steps."
    )
    print("\n| threads | clock [s a crop] | processor [s a crop] |\n|---|---|---|")
    for label, (clock, cpu) in crop_cost(SAMPLE, "data/cache").items():
        print(f"| {label} | {clock:.3f} | {cpu:.3f} |")


if __name__ == "__main__":
    main()
