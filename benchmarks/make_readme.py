"""The clips and pictures of README.md: the same sentences as source, anonymized, by the best that
needs no network and of the target nothing but statistics, and converted.

    python benchmarks/make_readme.py [--voice models/ljspeech] [--out readme]

Sources are the sample clips. The target's own clip, readme/target.mp3, is LJSpeech's and stays.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.anonymize import analyze, resynthesize
from vc_lib.audio import load_wav, save_wav
from vc_lib.baselines import world_statistics
from vc_lib.convert import load_voice
from vc_lib.show import plot_spectrograms, same_loudness

REPO = Path(__file__).resolve().parents[1]
CLIPS = ("it_man_carlo_1", "fr_woman_june_1", "ru_woman_ivrvoice_1")
DPI = 60


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--voice", type=Path, default=REPO / "models/ljspeech")
    p.add_argument("--out", type=Path, default=REPO / "readme")
    a = p.parse_args()
    voice = load_voice(a.voice, device="cpu")
    sr = voice.sr
    for name in CLIPS:
        wav = load_wav(REPO / f"data/sample/sources/{name}.flac", sr)
        moved = world_statistics(analyze(wav, sr, voice.config), voice.config.target)
        sounds = {
            "source": wav,
            "anonymized": voice.anonymize(wav, sr),
            "baseline": resynthesize(moved, len(wav)),
            "converted": voice.convert(wav, sr),
        }
        for label, sound in same_loudness(sounds, sr).items():
            save_wav(a.out / f"{name}_{label}.mp3", sound, sr)
        plot_spectrograms(sounds, sr).savefig(a.out / f"{name}.png", dpi=DPI)


if __name__ == "__main__":
    main()
