"""How much of a recording comes back: anonymized, converted to its own speaker's voice, compared
with the original.

    python benchmarks/reconstruct.py VOICE WAVS NAMES

VOICE is a voice's folder, WAVS a folder of recordings of its speaker, NAMES a text file with the
stems of those that the voice was not trained on. Prints a table in Markdown: means and half of
their 95 % bootstrap intervals over the clips. The speaker's statistics are the voice's own, since
one sentence's register is not a speaker's.
"""

import argparse
import sys
from pathlib import Path

import joblib
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.anonymize import analyze, resynthesize, transform
from vc_lib.audio import list_audio, load_wav
from vc_lib.convert import load_voice
from vc_lib.evaluate import Clip, evaluate, summary

METRICS = ("mcd_db", "lsd_db", "log_f0_corr", "voicing_error", "pesq_wb", "estoi")


def judged(voice_dir: str, files: list[Path]) -> list[tuple[str, str, dict]]:
    """File, system and scores of some files."""
    voice = load_voice(voice_dir, device="cpu")
    rows = []
    for file in files:
        original = Clip(load_wav(file, voice.sr), voice.sr)
        target, n = voice.config.target, len(original.wav)
        found = analyze(original.wav, voice.sr, voice.config)
        sounds = {
            "WORLD resynthesis": resynthesize(found, n),
            "anonymized": resynthesize(transform(found, voice.config, source=target), n),
            "converted": voice.convert(original.wav, voice.sr, source=target),
        }
        for system, wav in sounds.items():
            scores = evaluate(wav, voice.sr, reference=original, only=METRICS)
            rows.append((file.stem, system, scores))
    return rows


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("voice")
    p.add_argument("wavs")
    p.add_argument("names", type=Path)
    a = p.parse_args()
    names = set(a.names.read_text().split())
    files = [file for file in list_audio(a.wavs) if file.stem in names]
    assert len(files) == len(names), f"{len(names)} names, {len(files)} files"
    n_jobs = joblib.cpu_count()
    parallel = joblib.Parallel(n_jobs=n_jobs)
    parts = parallel(joblib.delayed(judged)(a.voice, files[i::n_jobs]) for i in range(n_jobs))
    rows = pd.DataFrame(
        [
            {"clip": clip, "system": system} | scores
            for part in parts
            for clip, system, scores in part
        ]
    )
    systems = {s: rows[rows.system == s] for s in ("WORLD resynthesis", "anonymized", "converted")}
    drawn = summary(systems, METRICS)
    print(f"| {len(files)} clips | {' | '.join(drawn)} |")
    print("|---" * (len(drawn.columns) + 1) + "|")
    for system, cells in drawn.iterrows():
        print(f"| {system} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
