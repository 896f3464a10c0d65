"""Privacy against words: how well each system hides the speaker from strong attackers.

    python benchmarks/privacy.py SOURCES --others OTHERS [--cache FOLDER] [--csv FILE]
    [--picture FILE] [--only NAME,NAME] [--half A|B|both] [--every 1] [--priced 48] [--jobs 2]

SOURCES and OTHERS are folders of clips, each of another speaker. Those in SOURCES are attacked,
those in OTHERS train the attackers. Clips under 3.2 s are skipped. Speakers of half A are those at
even places in the order of the files. Tune a system on half A and report both.

Of each system, the embeddings of all utterances and its cost go to FOLDER as soon as they are
measured. A run that was stopped goes on from there. Delete a system's files when it has changed, or
when VOICE or a folder is another.

Needs requirements-eval.txt; F0 is found by swift-f0. Prints a table in Markdown. FILE gets the
figures, which notebook 01 plots.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from mcadams import mcadams
from privacy_picture import draw

from vc_lib.anonymize import anonymize, resynthesize, transform
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import PRESETS, PRIVATE, AnonymizeConfig, Config
from vc_lib.evaluate import Clip
from vc_lib.evaluate.clips import spread
from vc_lib.evaluate.embeddings import System, embed
from vc_lib.evaluate.privacy import MIN_HALF_S, STRENGTHS
from vc_lib.evaluate.privacy_attack import (
    ATTACKERS,
    attack_scores,
    attack_trials,
    check_others,
    cost,
    unchanged,
)
from vc_lib.files import atomically
from vc_lib.notebook.style import DPI

F0_METHOD = "swift-f0"
N_KEYS = 2**31  # keys of `private_consistent` are drawn from 0 to this
SAME_KEY = "private_consistent same key"  # links on purpose: not in the picture
PERCENT = 100, 1  # factor and decimals of an EER
ATTACKS = {  # first table: heading, factor, decimals
    "eer": ("ignorant", *PERCENT),
    "eer_informed": ("lazy", *PERCENT),
    "eer_informed_many": ("lazy, many", *PERCENT),
    "speaker": ("trained: speaker", *PERCENT),
    "cepstra": ("cepstra", *PERCENT),
    "both": ("both", *PERCENT),
    "both_many": ("both, many", *PERCENT),
    "worst_case": ("worst case", *PERCENT),
    "eer_informed_A": ("lazy, A", *PERCENT),
    "eer_informed_B": ("lazy, B", *PERCENT),
    "worst_case_A": ("worst, A", *PERCENT),
    "worst_case_B": ("worst, B", *PERCENT),
}
WITH_INTERVAL = ("eer", "eer_informed", "speaker", "worst_case")
COSTS = {  # second table
    "linkability": ("linkability, lazy ↓", 1, 2),
    "worst_linkability": ("worst case ↓", 1, 2),
    "distinctiveness_gain_db": ("distinctiveness [dB]", 1, 1),
    "wer": ("WER ↓", 1, 3),
    "source_log_f0_corr": ("log-F0 corr. ↑", 1, 3),
    "distillmos": ("DistillMOS ↑", 1, 2),
    "rtf": ("RTF ↓", 1, 3),
}


@dataclass(frozen=True)
class Entry:
    """A system, and whether it draws random numbers."""

    system: System
    is_random: bool = False


def with_mcadams(clip: Clip, rng: np.random.Generator, alpha: float) -> np.ndarray:
    return mcadams(clip.wav, clip.sr, alpha)


def resynthesis(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return resynthesize(clip.features, len(clip.wav))


def transformed(clip: Clip, rng: np.random.Generator, cfg: AnonymizeConfig) -> np.ndarray:
    """WORLD's synthesis alone, since the recording says who speaks."""
    return resynthesize(transform(clip.features, cfg), len(clip.wav))


def private(clip: Clip, rng: np.random.Generator, cfg: AnonymizeConfig) -> np.ndarray:
    """A voice that is drawn for this utterance."""
    return anonymize(clip.wav, clip.sr, cfg, rng=rng)


def another_key(clip: Clip, rng: np.random.Generator, cfg: AnonymizeConfig) -> np.ndarray:
    """The voice of a key that is drawn: each utterance is of another conversation."""
    return anonymize(clip.wav, clip.sr, replace(cfg, private_key=int(rng.integers(N_KEYS))))


def same_key(clip: Clip, rng: np.random.Generator, cfg: AnonymizeConfig) -> np.ndarray:
    """The voice of the speaker's own key: both halves are of one conversation."""
    key = crc32(clip.name.encode()) % N_KEYS
    return anonymize(clip.wav, clip.sr, replace(cfg, private_key=key))


def entries(target_cfg: AnonymizeConfig) -> dict[str, Entry]:
    """The systems that are compared, by label; `target_cfg` holds the target's statistics."""
    cfg = AnonymizeConfig(f0_method=F0_METHOD)
    vocoder = replace(target_cfg, voiced="vocoder", unvoiced="vocoder")
    consistent = replace(cfg, preset="private_consistent", private_key=0)
    found = {
        "untouched": Entry(unchanged),
        "WORLD resynthesis": Entry(resynthesis),
        "McAdams, 0.8": Entry(partial(with_mcadams, alpha=0.8)),
    }
    for preset in PRESETS:
        if preset not in PRIVATE:
            settings = replace(vocoder, preset=preset)
            found[preset] = Entry(partial(transformed, cfg=settings))
    for strength in STRENGTHS:
        settings = replace(cfg, preset="private", private_strength=strength)
        found[f"private, {strength:g}"] = Entry(partial(private, cfg=settings), is_random=True)
    found["private_consistent"] = Entry(partial(another_key, cfg=consistent), is_random=True)
    found[SAME_KEY] = Entry(partial(same_key, cfg=consistent))
    return found


def slug(label: str) -> str:
    """The name of a system in file names and for --only: "McAdams, 0.8" is mcadams_0.8."""
    return label.lower().replace(", ", "_").replace(" ", "_")


def chosen(found: dict[str, Entry], only: str | None) -> dict[str, Entry]:
    """The systems whose names are listed, or all."""
    names = {slug(label): label for label in found}
    wanted = only.split(",") if only else list(names)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        sys.exit(f"--only {','.join(unknown)}: must be of {', '.join(names)}")
    return {names[name]: found[names[name]] for name in wanted}


def load_clips(folder, sr: int, seconds: float, every: int) -> dict[str, Clip]:
    """The beginnings of every n-th clip that is long enough, by name."""
    files = list_audio(folder)[::every]
    wavs = {f.stem: load_wav(f, sr)[: int(seconds * sr)] for f in files}
    long = {name: wav for name, wav in wavs.items() if len(wav) >= 2 * MIN_HALF_S * sr}
    return {name: Clip(wav, sr, F0_METHOD, name) for name, wav in long.items()}


def cached(path: Path | None, measure: Callable[[], dict]) -> dict:
    """The arrays in a file, or else what `measure` returns, which is then kept there."""
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    found = measure()
    if path is not None:
        atomically(path, lambda part: _save(part, found))
    return found


def _save(part: Path, arrays: dict) -> None:
    with part.open("wb") as file:
        np.savez(file, **arrays)


@dataclass(frozen=True)
class Stages:
    """The measurements of all systems, each of which is cached and reported."""

    clips: dict[str, Clip]
    others: dict[str, Clip]
    priced: dict[str, Clip]
    a: argparse.Namespace

    def embedded(self, label: str, entry: Entry, part: str, n_draws: int) -> dict:
        """Embeddings of the attacked speakers, part "clips", or of the "others"."""
        clips, n = getattr(self, part), n_draws if entry.is_random else 1
        measure = partial(embed, clips, entry.system, n, self.a.jobs)
        return self._step(label, part, (n, *clips), measure)

    def price(self, label: str, entry: Entry) -> dict:
        """What the system costs."""
        measure = partial(cost, self.priced, entry.system, n_jobs=self.a.jobs)
        found = self._step(label, "priced", tuple(self.priced), measure)
        return {name: float(value) for name, value in found.items()}

    def _step(self, label: str, part: str, inputs: tuple, measure: Callable[[], dict]) -> dict:
        key = crc32(repr((self.a.seconds, inputs)).encode())
        path = self.a.cache and self.a.cache / f"{slug(label)}-{part}-{key:08x}.npz"
        start = time.monotonic()
        found = cached(path, measure)
        seconds = time.monotonic() - start
        print(f"{label}: {part}, {seconds:.0f} s", file=sys.stderr, flush=True)
        return found


def row_of(trials: dict, price: dict, half: str) -> dict:
    """One row of the table: of all speakers and EERs of each half, or of one half alone."""
    n = trials["eer"].shape[1]
    places = {"A": range(0, n, 2), "B": range(1, n, 2)}
    if half != "both":
        return attack_scores(trials, places[half]) | price
    row = attack_scores(trials) | price
    for name, speakers in places.items():
        scores = attack_scores(trials, speakers)
        row |= {f"{key}_{name}": scores[key] for key in (*ATTACKERS, "worst_case")}
    return row


def markdown(table: pd.DataFrame, of: dict[str, tuple[str, int, int]]) -> str:
    """A table of some columns, with intervals where they are asked for."""
    columns = {k: v for k, v in of.items() if k in table}
    headings = [heading for heading, *_ in columns.values()]
    lines = [f"| system | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
    for label, row in table.iterrows():
        cells = []
        for name, (_, factor, decimals) in columns.items():
            cell = "–" if np.isnan(row[name]) else f"{factor * row[name]:.{decimals}f}"
            if name in WITH_INTERVAL:
                low, high = (factor * row[f"{name}_{end}"] for end in ("low", "high"))
                cell += f" ({low:.0f} to {high:.0f})"
            cells.append(cell)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("sources")
    p.add_argument("--others", required=True)
    p.add_argument("--voice", default="models/ljspeech", type=Path, help="target of `neutral`")
    p.add_argument("--only", help="names of systems, such as private_0.5,neutral")
    p.add_argument("--half", choices=("A", "B", "both"), default="both")
    p.add_argument("--seconds", type=float, default=20.0, help="beginning of a clip that is used")
    p.add_argument("--every", type=int, default=1, help="take every n-th clip of both folders")
    p.add_argument("--priced", type=int, default=48, help="number of clips for the cost")
    p.add_argument("--draws", type=int, default=5, help="enrolled versions of each half")
    p.add_argument("--train-draws", type=int, default=1, help="versions of each training half")
    p.add_argument("--cache", type=Path)
    p.add_argument("--csv", type=Path)
    p.add_argument("--picture", type=Path)
    p.add_argument("--jobs", type=int, default=2)
    return p.parse_args()


def main():
    a = arguments()
    warnings.simplefilter("ignore")
    config = Config.load(a.voice / "config.json")
    systems = chosen(entries(AnonymizeConfig(f0_method=F0_METHOD, target=config.target)), a.only)
    clips, others = (load_clips(f, config.sr, a.seconds, a.every) for f in (a.sources, a.others))
    if len(clips) < 4 or len(others) < 3:
        sys.exit(f"{len(clips)} sources and {len(others)} others: give 4 and 3 long clips or more")
    check_others(clips, others)
    priced = {name: clips[name] for name in spread(list(clips), a.priced)}
    stages = Stages(clips, others, priced, a)
    untouched = stages.embedded("untouched", Entry(unchanged), "clips", 1)
    rows = {}
    for label, entry in systems.items():
        hidden = stages.embedded(label, entry, "clips", a.draws + 1)
        training = stages.embedded(label, entry, "others", a.train_draws)
        price = stages.price(label, entry)
        rows[label] = row_of(attack_trials(untouched, hidden, training), price, a.half)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    if a.csv:
        atomically(a.csv, lambda part: table.to_csv(part, float_format="%.4f"))
    if a.picture:
        drawn = draw(table.drop(index=SAME_KEY, errors="ignore"))
        atomically(a.picture, lambda part: drawn.savefig(part, format="png", dpi=DPI))
    print(f"{len(clips)} speakers, {a.seconds:g} s each; attackers trained on {len(others)}\n")
    print(
        f"EER [%], higher is more private\n\n{markdown(table, ATTACKS)}\n\n{markdown(table, COSTS)}"
    )


if __name__ == "__main__":
    main()
