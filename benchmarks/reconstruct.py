"""How much of a recording comes back: anonymized, converted to its own speaker's voice, compared
with the original.

    python benchmarks/reconstruct.py VOICE WAVS NAMES

VOICE is a voice's folder, WAVS a folder of recordings of its speaker, NAMES a text file with the
stems of those that the voice was not trained on. Prints a table in Markdown: means and 95 %
bootstrap intervals over the clips. The speaker's statistics are the voice's own, since one
sentence's register is not a speaker's.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.anonymize import analyze, synthesize
from vc_lib.audio import list_audio, load_wav
from vc_lib.convert import load_voice
from vc_lib.evaluate import evaluate

METRICS = {
    "mcd_db": "MCD [dB]",
    "lsd_db": "LSD [dB]",
    "log_f0_corr": "log-F0 corr.",
    "voicing_error": "voicing error",
    "pesq_wb": "PESQ-wb",
    "estoi": "ESTOI",
}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("voice")
    p.add_argument("wavs")
    p.add_argument("names", type=Path)
    a = p.parse_args()
    voice, names = load_voice(a.voice), set(a.names.read_text().split())
    files = [file for file in list_audio(a.wavs) if file.stem in names]
    assert len(files) == len(names), f"{len(names)} names, {len(files)} files"
    rows = {"WORLD resynthesis": [], "anonymized": [], "converted": []}
    for file in files:
        wav = load_wav(file, voice.sr)
        known = dict(source=voice.config.target)
        resynthesis = np.clip(synthesize(analyze(wav, voice.sr, voice.config))[: len(wav)], -1, 1)
        sounds = {
            "WORLD resynthesis": resynthesis,
            "anonymized": voice.anonymize(wav, voice.sr, **known),
            "converted": voice.convert(wav, voice.sr, **known),
        }
        for name, sound in sounds.items():
            values = evaluate(sound, voice.sr, reference=wav)
            rows[name].append([values[metric] for metric in METRICS])
    print(f"| {len(files)} clips | " + " | ".join(METRICS.values()) + " |")
    print("|---" * (len(METRICS) + 1) + "|")
    rng = np.random.default_rng(0)
    for name, values in rows.items():
        values = np.array(values)
        draws = np.nanmean(values[rng.integers(0, len(values), (2000, len(values)))], 1)
        half = (np.percentile(draws, 97.5, 0) - np.percentile(draws, 2.5, 0)) / 2
        cells = (f"{m:.3f} ± {h:.3f}" for m, h in zip(np.nanmean(values, 0), half, strict=True))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
