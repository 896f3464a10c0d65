"""Privacy against words: how well each preset hides the speaker, at several strengths.

    python benchmarks/privacy.py SOURCES [--voice VOICE] [--seconds 8] [--every 1] [--priced 24]
    [--csv FILE] [--jobs 2]

SOURCES is a folder of clips, each of another speaker; clips under 3.2 s are skipped. The preset
`neutral` moves all speakers to the statistics of VOICE's target. The cost (words, melody,
naturalness) takes most of the time, so it is measured on `--priced` clips only.

Needs requirements-eval.txt; F0 is found by swift-f0. Prints a table in Markdown. FILE gets the
figures, which notebook 01 plots.
"""

import argparse
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
from mcadams import mcadams

from vc_lib.anonymize import SpeakerPerturbation, resynthesize, transform
from vc_lib.anonymize.pipeline import between
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import PRESETS, AnonymizeConfig, Config
from vc_lib.evaluate import Clip
from vc_lib.evaluate.privacy import MIN_HALF_S, STRENGTHS, privacy_scores
from vc_lib.files import atomically

ALPHAS = (0.95, 0.9, 0.8, 0.7)  # McAdams coefficients; VoicePrivacy uses 0.8
HEADINGS = {
    "eer": "EER [%] ↑",
    "eer_informed": "EER, informed [%] ↑",
    "cosine_to_self": "cosine to self ↓",
    "linked": "linked [%] ↓",
    "wer": "WER ↓",
    "source_log_f0_corr": "log-F0 corr. ↑",
    "distillmos": "DistillMOS ↑",
}


def systems_of(cfg: AnonymizeConfig) -> dict:
    """The systems that are compared, by label; `cfg` holds the target's statistics."""

    def anonymized(clip, dials, strength, seed=None):
        draw = crc32(clip.wav.tobytes())  # differs for each speaker and each utterance
        changed = transform(clip.features, dials)
        if seed is not None:
            rng = np.random.default_rng([seed, draw])
            changed = SpeakerPerturbation.draw(dials, dials.target, rng).apply(changed)
        return resynthesize(between(clip.features, changed, strength), len(clip.wav))

    cfg = replace(cfg, voiced="vocoder", unvoiced="vocoder")  # the recording says who speaks
    systems = {"WORLD resynthesis": partial(anonymized, dials=cfg, strength=0.0)}
    for alpha in ALPHAS:
        systems[f"McAdams, {alpha}"] = lambda clip, a=alpha: mcadams(clip.wav, clip.sr, a)
    for preset in PRESETS:
        dials = replace(cfg, preset=preset)
        for strength in STRENGTHS:
            systems[f"{preset}, {strength}"] = partial(anonymized, dials=dials, strength=strength)
    systems["neutral and a random disguise"] = partial(anonymized, dials=cfg, strength=1.0, seed=0)
    return systems


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("sources")
    p.add_argument("--voice", default="models/ljspeech", type=Path)
    p.add_argument("--seconds", type=float, default=8.0)
    p.add_argument("--every", type=int, default=1, help="take every n-th clip")
    p.add_argument(
        "--priced", type=int, default=24, help="number of clips on which the cost is measured"
    )
    p.add_argument("--csv", type=Path)
    p.add_argument("--jobs", type=int, default=2)
    a = p.parse_args()
    warnings.simplefilter("ignore")
    config = Config.load(a.voice / "config.json")
    cfg = AnonymizeConfig(f0_method="swift-f0", target=config.target)
    sr = config.sr
    wavs = {
        f.stem: load_wav(f, sr)[: int(a.seconds * sr)] for f in list_audio(a.sources)[:: a.every]
    }
    long = {name: wav for name, wav in wavs.items() if len(wav) >= 2 * MIN_HALF_S * sr}
    clips = {name: Clip(wav, sr, "swift-f0") for name, wav in long.items()}
    with redirect_stdout(sys.stderr):  # progress
        table = privacy_scores(clips, systems_of(cfg), n_jobs=a.jobs, n_priced=a.priced)
    if a.csv:
        atomically(a.csv, lambda part: table.to_csv(part, float_format="%.4f"))
    print(
        f"{len(clips)} speakers, {a.seconds:g} s each; threshold {table.attrs['threshold']:.3f}\n"
    )
    print(f"| system | {' | '.join(HEADINGS.values())} |")
    print("|---" * (len(HEADINGS) + 1) + "|")
    for label, row in table[list(HEADINGS)].iterrows():
        percent = {k: 100 if "%" in heading else 1 for k, heading in HEADINGS.items()}
        cells = {
            k: "–" if np.isnan(v) else f"{v * percent[k]:.{1 if percent[k] > 1 else 3}f}"
            for k, v in row.items()
        }
        for k, low, high in (
            ("eer", "eer_low", "eer_high"),
            ("eer_informed", "informed_low", "informed_high"),
        ):
            cells[k] += " ({:.1f} to {:.1f})".format(*(100 * table.loc[label, [low, high]]))
        print(f"| {label} | {' | '.join(cells.values())} |")


if __name__ == "__main__":
    main()
