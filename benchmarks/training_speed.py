"""Seconds of speech trained per second: both encoders, float32 and bfloat16, in one run.

    python benchmarks/training_speed.py [--steps 5]

One step is the generator forward, its loss, backward and Adam on a batch of `cfg.bs` crops of
noise; loading data is not part of it. Figures of one machine at one time: compare the rows with
each other.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.config import Config
from vc_lib.losses import GeneratorLoss
from vc_lib.models import Generator, has_bf16_units


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
