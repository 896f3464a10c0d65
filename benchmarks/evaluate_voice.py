"""What a listener would say of a voice: sources, baselines and the voice itself in one table.

    python benchmarks/evaluate_voice.py VOICE SOURCES --target RECORDINGS [--names NAMES]
    [--seconds 8] [--csv FOLDER] [--jobs 2] [--without SYSTEM ...]

VOICE is a voice's folder, SOURCES a folder of clips of other speakers, RECORDINGS one of the
target: her centroid, and what the baselines know of her; with NAMES, a text file with the stems of
those that the voice was not trained on, these make the centroid and the row of the target herself.
Needs requirements-eval.txt. Prints a table in Markdown: means and half of their 95 % bootstrap
intervals; FOLDER gets a table of the clips for each system, and one that is there already is not
measured again. Pitch is found by swift-f0.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.anonymize import synthesize
from vc_lib.audio import list_audio, load_wav
from vc_lib.baselines import BASELINES, TargetFrames, griffin_lim
from vc_lib.convert import load_voice
from vc_lib.evaluate import Clip, evaluate_set, summary

METRICS = (
    "cosine_to_target",
    "cosine_to_source",
    "wer",
    "distillmos",
    "dnsmos",
    "source_log_f0_corr",
    "source_voiced_share",
    "pause_level_db",
)
N_CENTROID, N_BASELINE = 40, 120  # recordings of the target for the centroid and for the baselines


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("voice")
    p.add_argument("sources")
    p.add_argument("--target", required=True)
    p.add_argument("--names", type=Path)
    p.add_argument("--seconds", type=float, default=8.0)
    p.add_argument("--csv", type=Path)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--without", nargs="*", default=[])
    a = p.parse_args()
    warnings.simplefilter("ignore")

    voice = load_voice(a.voice)
    sr, n = voice.sr, int(a.seconds * voice.sr)
    recordings = list_audio(a.target)
    names = set(a.names.read_text().split()) if a.names else {f.stem for f in recordings}
    held_out = [Clip(load_wav(f, sr)[:n], sr, "swift-f0") for f in recordings if f.stem in names]
    held_out = held_out[:N_CENTROID]
    known = [f for f in recordings if f.stem not in names or not a.names]
    known = known[:: max(1, len(known) // N_BASELINE)][:N_BASELINE]
    frames = TargetFrames.of([Clip(load_wav(f, sr), sr, "dio").features for f in known])

    files = list_audio(a.sources)
    sources = {f.stem: Clip(load_wav(f, sr)[:n], sr, "swift-f0") for f in files}
    analyzed = {name: Clip(c.wav, sr, voice.config.f0_method) for name, c in sources.items()}

    def baseline(change):
        return lambda name: synthesize(change(analyzed[name].features, frames))

    systems = {
        "source": lambda name: sources[name].wav,
        **{label: baseline(change) for label, change in BASELINES.items()},
        "anonymized": lambda name: voice.anonymize(sources[name].wav, sr),
        "converted, Griffin-Lim phase": lambda name: griffin_lim(voice, sources[name].wav, sr),
        "converted": lambda name: voice.convert(sources[name].wav, sr),
    }
    settings = dict(target=held_out, n_jobs=a.jobs, f0_method="swift-f0")
    scores = {}
    for label, system in systems.items():
        if label in a.without:
            continue
        clips = (
            (name, dict(converted=fitted(system(name), len(clip.wav)), source=clip))
            for name, clip in sources.items()
        )
        csv = a.csv / f"{label.replace(' ', '_').replace(',', '')}.csv" if a.csv else None
        if csv and csv.is_file():
            scores[label] = pd.read_csv(csv, index_col="clip")
            continue
        total = len(sources)
        scores[label] = evaluate_set(clips, sr, csv=csv, total=total, only=METRICS, **settings)
        print(label, dict(scores[label].mean().round(3)), file=sys.stderr, flush=True)
    if a.names:
        clips = [(f"{i}", dict(converted=clip.wav)) for i, clip in enumerate(held_out)]
        alone = ("cosine_to_target", "distillmos", "dnsmos")
        scores["the target herself"] = evaluate_set(clips, sr, only=alone, **settings)

    drawn = summary(scores, METRICS)
    print(f"| {len(sources)} clips | {' | '.join(drawn)} |")
    print("|---" * (len(drawn.columns) + 1) + "|")
    for label, cells in drawn.iterrows():
        print(f"| {label} | {' | '.join(cells)} |")


def fitted(wav: np.ndarray, n_samples: int) -> np.ndarray:
    """As many samples, within -1..1."""
    return np.clip(np.pad(wav[:n_samples], (0, max(0, n_samples - len(wav)))), -1, 1)


if __name__ == "__main__":
    main()
