"""One change, one row: train a voice briefly with some settings changed, and score it.

    python benchmarks/ablation.py NAME LJSPEECH SOURCES FOLDER [OPTIONS OF TRAINING ...]

LJSPEECH is a folder of LJSpeech recordings, of which 40 are held out, SOURCES one of clips of other
speakers. `tools/train_voice.py` trains the voice into FOLDER/NAME, with its options. With --epochs 0
--from-nothing the generator changes nothing: the row is that of the anonymized speech. Scored on the
first 8 s of every third source and every fourth held-out recording; the row is printed and added to
FOLDER/ablation.md. Needs the judges (requirements-eval.txt).
"""

import argparse
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import joblib
import pandas as pd

from vc_lib.audio import list_audio, load_wav
from vc_lib.convert import load_voice
from vc_lib.evaluate import Clip, TargetClips, evaluate

REPO = Path(__file__).resolve().parents[1]
SECONDS = 8  # of each clip
OF_STRANGERS = (
    "cosine_to_target",
    "cosine_to_source",
    "wer",
    "distillmos",
    "source_log_f0_corr",
    "pause_level_db",
)
OF_HERSELF = ("mcd_db", "lsd_db", "pesq_wb", "estoi")
F0_METHOD = "swift-f0"  # of what is measured


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("name")
    p.add_argument("ljspeech")
    p.add_argument("sources")
    p.add_argument("folder", type=Path)
    a, options = p.parse_known_args()
    warnings.simplefilter("ignore")

    run, began = a.folder / a.name, time.monotonic()
    train = [
        sys.executable,
        REPO / "tools" / "train_voice.py",
        a.ljspeech,
        run,
    ]
    subprocess.run([*train, *options], check=True, stdout=sys.stderr)
    minutes = (time.monotonic() - began) / 60
    names = set((run / "held_out.txt").read_text().split())
    held_out = [file for file in list_audio(a.ljspeech) if file.stem in names]
    with redirect_stdout(sys.stderr):  # progress
        row = score(run, list_audio(a.sources)[::3], held_out)
    cells = [f"{row[name]:.3f}" for name in (*OF_STRANGERS, *OF_HERSELF)]
    line = f"| {a.name} | {' '.join(options)} | {minutes:.0f} | {' | '.join(cells)} |"
    print(line)
    with (a.folder / "ablation.md").open("a", encoding="utf-8") as f:
        f.write(line + "\n")


def score(run: Path, sources: list[Path], held_out: list[Path]) -> pd.Series:
    """Means of what the voice makes of strangers, and of recordings of the target that it does not know."""
    voice = load_voice(run)

    def clips(paths):
        wavs = (load_wav(path, voice.sr)[: SECONDS * voice.sr] for path in paths)
        return TargetClips(Clip(wav, voice.sr, F0_METHOD) for wav in wavs)

    herself = clips(held_out)
    kw = dict(sr=voice.sr, f0_method=F0_METHOD)

    def of_stranger(clip):
        converted = voice.convert(clip.wav, voice.sr)
        return evaluate(converted, source=clip, target=herself, only=OF_STRANGERS, **kw)

    def of_herself(clip):
        converted = voice.convert(clip.wav, voice.sr, source=voice.config.target)
        return evaluate(converted, reference=clip, only=OF_HERSELF, **kw)

    with joblib.Parallel(2, prefer="threads") as parallel:
        strangers = parallel(joblib.delayed(of_stranger)(clip) for clip in clips(sources))
        own = parallel(joblib.delayed(of_herself)(clip) for clip in herself[::4])
    return pd.concat([pd.DataFrame(strangers).mean(), pd.DataFrame(own).mean()])


if __name__ == "__main__":
    main()
