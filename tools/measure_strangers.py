"""Measure real speakers, of whom pseudo-strangers are made: how vc_lib/training/strangers.npz was made.

    python tools/measure_strangers.py RECORDINGS [--out vc_lib/training/strangers.npz]

RECORDINGS is a folder with one recording of each speaker. Shipped are 203 speakers of LibriSpeech
train-clean-100; vc_lib/training/strangers.md names its licence. None of the speakers on whom voices
are evaluated may be among them.
"""

import argparse
from dataclasses import fields
from pathlib import Path

import joblib
import numpy as np

from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import Config
from vc_lib.files import atomically
from vc_lib.speaker import SpeakerStats
from vc_lib.training.strangers import STRANGERS

LEFT_OUT = ("sr", "formant_ratio", "classes", "fmllr", "class_means")  # not measured here


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("recordings")
    p.add_argument("--out", default=STRANGERS, type=Path)
    a = p.parse_args()
    cfg = Config()
    jobs = (joblib.delayed(measured)(file, cfg) for file in list_audio(a.recordings))
    speakers = [stats for stats in joblib.Parallel(n_jobs=-1)(jobs) if stats.voiced_cov]
    names = [f.name for f in fields(SpeakerStats) if f.name not in LEFT_OUT]
    table = {name: np.array([getattr(s, name) for s in speakers], np.float32) for name in names}

    def write(part: Path) -> None:
        with part.open("wb") as f:
            np.savez_compressed(f, sr=cfg.sr, **table)

    atomically(a.out, write)
    print(f"{len(speakers)} speakers, {a.out.stat().st_size / 1000:.0f} kB in {a.out}")


def measured(file: Path, cfg: Config) -> SpeakerStats:
    """Statistics of the speaker of one recording."""
    return speaker_stats([analyze(load_wav(file, cfg.sr), cfg.sr, cfg).compact()])


if __name__ == "__main__":
    main()
