"""Measure real speakers, of whom pseudo-strangers and pseudo-speakers are made.

    python tools/measure_strangers.py RECORDINGS [--voice models/ljspeech]
    [--out vc_lib/anonymize/strangers.npz]

RECORDINGS is a folder with one recording of each speaker. Shipped are 203 speakers of LibriSpeech
train-clean-100; vc_lib/anonymize/strangers.md names its licence. None of the speakers on whom voices
are evaluated may be among them. The target of VOICE becomes the canonical voice of the private
presets.
"""

import argparse
from dataclasses import fields
from pathlib import Path

import joblib
import numpy as np

from vc_lib.anonymize import analyze, cepstrum, speaker_stats
from vc_lib.anonymize.pseudo_speaker import STRANGERS, speech_frames, unvoiced_stats
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import Config
from vc_lib.files import atomically
from vc_lib.speaker import SpeakerStats

LEFT_OUT = ("sr", "formant_ratio", "classes", "fmllr", "class_means")  # not measured here
CANONICAL = (
    "f0_hz",
    "f0_std_semitones",
    "level_db",
    "cepstrum_mean",
    "cepstrum_std",
    "voiced_mean",
    "voiced_cov",
)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("recordings")
    p.add_argument("--voice", default="models/ljspeech", type=Path)
    p.add_argument("--out", default=STRANGERS, type=Path)
    a = p.parse_args()
    cfg = Config()
    jobs = (joblib.delayed(measured)(file, cfg) for file in list_audio(a.recordings))
    measured_all = [pair for pair in joblib.Parallel(n_jobs=-1)(jobs) if pair[0].voiced_cov]
    speakers, unvoiced = zip(*measured_all, strict=True)
    names = [f.name for f in fields(SpeakerStats) if f.name not in LEFT_OUT]
    table = {name: np.array([getattr(s, name) for s in speakers], np.float32) for name in names}
    table["unvoiced"] = np.array(unvoiced, np.float32)
    table |= canonical_arrays(Config.load(a.voice / "config.json").target)

    def write(part: Path) -> None:
        with part.open("wb") as f:
            np.savez_compressed(f, sr=cfg.sr, **table)

    atomically(a.out, write)
    print(f"{len(speakers)} speakers, {a.out.stat().st_size / 1000:.0f} kB in {a.out}")


def measured(file: Path, cfg: Config) -> tuple[SpeakerStats, np.ndarray]:
    """Statistics of the speaker of one recording, and those of the unvoiced frames."""
    features = analyze(load_wav(file, cfg.sr), cfg.sr, cfg).compact()
    stats = speaker_stats([features])
    consonants = speech_frames(features, stats) & ~features.voiced
    return stats, unvoiced_stats(cepstrum(features)[consonants])


def canonical_arrays(target: SpeakerStats) -> dict[str, np.ndarray]:
    """The canonical voice, by the names that `pseudo_speaker.canonical` reads."""
    arrays = {name: getattr(target, name) for name in CANONICAL}
    arrays |= {name: getattr(target.classes, name) for name in ("weights", "means", "variances")}
    return {f"canonical_{name}": np.array(value, np.float32) for name, value in arrays.items()}


if __name__ == "__main__":
    main()
