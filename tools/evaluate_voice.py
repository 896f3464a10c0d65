"""What a listener would say of a voice: sources, baselines and the voice itself in one table.

    python tools/evaluate_voice.py VOICE SOURCES --target RECORDINGS [--names NAMES]
    [--seconds 8] [--every 1] [--csv FOLDER] [--jobs 2] [--without SYSTEM ...] [--set FIELD=VALUE ...]

VOICE is a voice's folder, SOURCES a folder of clips of other speakers, RECORDINGS one of the
target: her centroid, and what the baselines know of her; with NAMES, a text file with the stems of
those that the voice was not trained on, these make the centroid and the row of the target herself,
each of them against the centroid of the others. Needs requirements-eval.txt. Prints two tables in
Markdown: means and half of their 95 % bootstrap intervals, and what the converted clips have more
than each other system's, clip by clip. If SOURCES holds speakers.tsv (columns file and sex), a third
table has women and men apart, and two halves: every second clip of each sex is in half A. FOLDER
gets a table of the clips for each system; one that is there already is not measured again. FIELD is
one of `Config`'s, such as unvoiced=vocoder, and changes how the voice converts. Pitch is found by
swift-f0.
"""

import argparse
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from baselines import ALL_BASELINES as BASELINES
from baselines import griffin_lim
from train_voice import settings

from vc_lib.anonymize import analyze, resynthesize
from vc_lib.audio import list_audio, load_wav
from vc_lib.convert import load_voice
from vc_lib.evaluate import Clip, TargetClips, evaluate, evaluate_set, summary
from vc_lib.evaluate.baselines import TargetFrames

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
F0_METHOD = "swift-f0"  # of what is measured
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
    p.add_argument("--every", type=int, default=1, help="take every n-th source")
    p.add_argument("--csv", type=Path)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--without", nargs="*", default=[])
    p.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    a = p.parse_args()
    warnings.simplefilter("ignore")

    if a.set and a.csv:  # other dials, other tables
        a.csv = a.csv / "_".join(sorted(a.set))
    voice = load_voice(a.voice)
    voice.config = replace(voice.config, **settings(a.set))
    sr, n = voice.sr, int(a.seconds * voice.sr)
    recordings = list_audio(a.target)
    names = set(a.names.read_text().split()) if a.names else {f.stem for f in recordings}
    held_out = [f for f in recordings if f.stem in names][:N_CENTROID]
    herself = TargetClips(Clip(load_wav(f, sr)[:n], sr, F0_METHOD) for f in held_out)
    known = [f for f in recordings if f not in held_out]
    known = known[:: max(1, len(known) // N_BASELINE)][:N_BASELINE]
    there = {label for label in BASELINES if a.csv and csv_of(a.csv, label).is_file()}
    frames = None  # minutes, for baselines that are still to be measured
    if set(BASELINES) - there - set(a.without):
        frames = TargetFrames.of([Clip(load_wav(f, sr), sr, "dio").features for f in known])
    files = list_audio(a.sources)[:: a.every]
    sources = {f.stem: Clip(load_wav(f, sr)[:n], sr, F0_METHOD) for f in files}

    def baseline(change, clip):
        features = analyze(clip.wav, sr, voice.config)
        return resynthesize(change(features, frames), len(clip.wav))

    systems = {
        "source": lambda clip: clip.wav,
        **{label: partial(baseline, change) for label, change in BASELINES.items()},
        "anonymized": lambda clip: voice.anonymize(clip.wav, sr),
        "converted, Griffin-Lim phase": lambda clip: griffin_lim(voice, clip.wav, sr),
        "converted": lambda clip: voice.convert(clip.wav, sr),
    }
    how = dict(n_jobs=a.jobs, f0_method=F0_METHOD)
    scores = {}
    for label, system in systems.items():
        if label in a.without:
            continue
        csv = csv_of(a.csv, label)
        if csv and csv.is_file():
            scores[label] = pd.read_csv(csv, index_col="clip")
            if list(scores[label].index) != list(sources):
                sys.exit(f"{csv} is of other clips than {a.sources}; name another folder")
            continue
        clips = [
            (name, dict(converted=wav, source=sources[name]))
            for name, wav in zip(sources, made(system, sources.values(), a.jobs), strict=True)
        ]
        with redirect_stdout(sys.stderr):  # progress
            scores[label] = evaluate_set(clips, sr, herself, csv=csv, only=METRICS, **how)
        print(label, dict(scores[label].mean().round(3)), file=sys.stderr, flush=True)

    all_scores = scores | ({"the target herself": of_herself(herself, sr)} if a.names else {})
    print(markdown(summary(all_scores, METRICS), f"{len(sources)} clips"))
    if len(scores) > 1 and "converted" in scores:
        more = summary(scores, METRICS, against="converted")
        print(f"\n{markdown(more, 'what it has more than converted')}")
    speakers = Path(a.sources) / "speakers.tsv"
    if speakers.is_file() and "converted" in scores:
        print(f"\n{markdown(of_groups(scores, speakers), 'converted')}")


def of_groups(scores: dict[str, pd.DataFrame], speakers: Path) -> pd.DataFrame:
    """Scores of the converted clips of women, of men, and of both halves; and of the anonymized."""
    sex = pd.read_csv(speakers, sep="\t").set_index("file").sex
    sex = sex.rename(lambda file: Path(file).stem).sort_index()
    half = (sex.groupby(sex).cumcount() % 2).map({0: "half A", 1: "half B"})
    groups = {"women": sex == "F", "men": sex == "M"}
    groups |= {
        f"{name}, {sex_}": (half == name) & groups[sex_]
        for name in ("half A", "half B")
        for sex_ in ("women", "men")
    }
    groups |= {name: half == name for name in ("half A", "half B")}
    table = {}
    for system in ("anonymized", "converted"):
        for name, members in groups.items():
            if system in scores:
                clips = scores[system].index.intersection(members[members].index)
                table[f"{system}: {name}"] = scores[system].loc[clips]
    return summary(table, METRICS)


def csv_of(folder: Path | None, label: str) -> Path | None:
    """Where a system's scores are kept, if they are."""
    return folder and folder / f"{label.replace(' ', '_').replace(',', '')}.csv"


def made(system, clips, n_jobs: int) -> list[np.ndarray]:
    """What a system makes of clips, in processes, each with its own copy of the networks."""
    return joblib.Parallel(n_jobs)(joblib.delayed(system)(clip) for clip in clips)


def of_herself(herself: TargetClips, sr: int) -> pd.DataFrame:
    """Scores of the target's own recordings, each against the centroid of the others."""
    rows = [
        evaluate(
            clip,
            sr,
            target=TargetClips(other for other in herself if other is not clip),
            only=("cosine_to_target", "distillmos", "dnsmos"),
            f0_method=F0_METHOD,
        )
        for clip in herself
    ]
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, corner: str) -> str:
    """A table of text in Markdown."""
    lines = [f"| {corner} | {' | '.join(table)} |", "|---" * (len(table.columns) + 1) + "|"]
    lines += [f"| {label} | {' | '.join(cells)} |" for label, cells in table.iterrows()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
