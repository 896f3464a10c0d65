"""Seconds of speech trained per second: both encoders, float32 and bfloat16, in one run; and how long training waits
for data.

    python benchmarks/training_speed.py [--steps 5]

One step is the generator forward, its loss, backward and Adam on a batch of `cfg.bs` crops of noise; loading
data is measured by itself, in an epoch on the sample. Figures of one machine at one time: compare the rows
with each other.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.config import Config
from vc_lib.dataset import make_dls
from vc_lib.losses import GeneratorLoss
from vc_lib.models import Generator, has_bf16_units
from vc_lib.recordings import learn_target, prepare


def speech_per_second(cfg: Config, bf16: bool, n_steps: int) -> float:
    torch.manual_seed(0)
    generator, loss = Generator(cfg).to(memory_format=torch.channels_last), GeneratorLoss(cfg)
    generator.bf16 = bf16
    opt = torch.optim.Adam(generator.parameters())
    img, original = 0.3 * torch.randn(2, cfg.bs, 2, cfg.n_freqs, cfg.n_frames)
    for step in range(n_steps + 1):
        if step == 1:
            start = time.perf_counter()  # after a step to warm up
        loss(generator(img), original).backward()
        opt.step()
        opt.zero_grad()
    seconds = cfg.bs * (cfg.n_frames - 1) * cfg.hop_length / cfg.sr
    return n_steps * seconds / (time.perf_counter() - start)


def data_wait(folder, cache, n_steps: int = 8) -> tuple[float, float]:
    """The share of its time that training waits for crops, and seconds of speech trained a second meanwhile."""
    cfg = Config()
    recordings = prepare(folder, cfg, cache)
    cfg = learn_target(recordings, replace(cfg, max_crops=cfg.bs * (n_steps + 3)))
    generator, loss = Generator(cfg).to(memory_format=torch.channels_last), GeneratorLoss(cfg)
    opt = torch.optim.Adam(generator.equalises(True).parameters())
    train = make_dls(recordings, recordings[:1], cfg).train
    batches, waited, began, n = iter(train), 0.0, None, 0
    while True:
        if n == 2:
            waited, began = 0.0, time.perf_counter()  # after steps to warm up
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            break
        n += 1
        loss(generator(batch[0]), batch[1]).backward()
        opt.step()
        opt.zero_grad()
    took = time.perf_counter() - began
    seconds = (n - 2) * cfg.bs * (cfg.n_frames - 1) * cfg.hop_length / cfg.sr
    return waited / took, seconds / took


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--steps", type=int, default=5)
    a = p.parse_args()
    print(f"{torch.get_num_threads()} threads, bfloat16 matrix units: {has_bf16_units()}\n")
    print("| encoder | weights [M] | float32 | bfloat16 |\n|---|---|---|---|")
    for encoder in ("compact", "resnet18"):
        cfg = replace(Config(), encoder=encoder)
        millions = sum(p.numel() for p in Generator(cfg).parameters()) / 1e6
        speeds = [speech_per_second(cfg, bf16, a.steps) for bf16 in (False, True)]
        print(f"| {encoder} | {millions:.1f} | {speeds[0]:.2f} | {speeds[1]:.2f} |")
    sample = Path(__file__).resolve().parents[1] / "data" / "sample" / "target"
    wait, speed = data_wait(sample, "data/cache")
    print(f"\ncompact with its data: {speed:.2f}, of which {100 * wait:.1f} % is waiting for crops")
