"""What the signal path keeps, without any network: the image's round trip, and what each preset
does to speech.

    python benchmarks/signal_path.py FOLDER [--clips 20]

FOLDER holds recordings of one speaker. Prints two tables in Markdown.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vc_lib.anonymize import active_frames, analyze, speaker_stats, synthesize, transform
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import PRESETS, SECOND_CHANNELS, AudioConfig, Config
from vc_lib.evaluate import log_f0_correlation
from vc_lib.evaluate.signal_metrics import si_snr_db
from vc_lib.spectrogram import image_to_wav, wav_to_image

STFTS = (
    (16_000, 512, 128),
    (16_000, 1024, 256),
    (22_050, 1024, 256),
    (24_000, 600, 150),
    (24_000, 1200, 300),
    (44_100, 2048, 512),
    (48_000, 2048, 1024),
    (48_000, 1024, 200),
)
LENGTHS = (1, 2, 3, 100, 127, 128, 129, 511, 512, 513, 1_000, 8_191, 16_000, 160_000)


def round_trips() -> None:
    """Worst SI-SNR over white noise of every length; one sample is compared by its relative error."""
    rng = np.random.default_rng(0)
    print("| second channel | worst SI-SNR [dB] | at |\n|---|---|---|")
    for second_channel in SECOND_CHANNELS:
        worst = (np.inf, "")
        for sr, n_fft, hop in STFTS:
            cfg = AudioConfig(sr, n_fft, hop, second_channel)
            for n in LENGTHS:
                wav = rng.normal(0, 0.1, n).astype(np.float32)
                back = image_to_wav(wav_to_image(wav, cfg), cfg, n)
                assert back.shape == wav.shape
                error = np.sum((back - wav) ** 2.0) / np.sum(wav.astype(float) ** 2)
                snr = si_snr_db(back, wav, sr) if n > 1 else -10 * np.log10(error + 1e-15)
                worst = min(worst, (snr, f"{sr} Hz, n_fft {n_fft}, hop {hop}, {n} samples"))
        print(f"| {second_channel} | {worst[0]:.1f} | {worst[1]} |")


def presets(folder: str, n_clips: int) -> None:
    """What is left of voicing, intonation and envelope after each preset, its target the speaker."""
    cfg = Config()
    files = list_audio(folder)
    files = files[:: max(1, len(files) // n_clips)][:n_clips]
    originals = [analyze(load_wav(file, cfg.sr), cfg.sr, cfg) for file in files]
    cfg = replace(cfg, target=speaker_stats(originals))
    rows = {name: [] for name in ("WORLD resynthesis", *PRESETS)}
    for original in originals:
        resynthesis = analyze(synthesize(original), cfg.sr, cfg)
        for name, row in rows.items():
            if name == "WORLD resynthesis":
                changed, again = original, resynthesis
            else:
                changed = transform(original, replace(cfg, preset=name))
                again = analyze(synthesize(changed), cfg.sr, cfg)
            row.append(measure(original, resynthesis, changed, again))
    print("\n| preset | voiced frames kept [%] | log-F0 corr. | log-envelope corr. | its shape's |")
    print("|---|---|---|---|---|")
    for name, row in rows.items():
        kept, f0, envelope, shape = np.array(row).T
        f0 = f"{np.nanmean(f0):.3f}" if np.isfinite(f0).any() else "–"
        print(
            f"| {name} | {100 * kept.mean():.1f} | {f0} | {envelope.mean():.3f} | {shape.mean():.3f} |"
        )


def measure(original, resynthesis, changed, again) -> tuple[float, float, float, float]:
    """Voiced share against resynthesis, log-F0 correlation, correlation of log envelopes over
    active frames.

    The last is the same with each frame's level and the clip's mean spectrum taken out: what is
    left is how the shape moves.
    """
    n = min(len(f.f0) for f in (original, resynthesis, again))
    both = resynthesis.voiced[:n] & again.voiced[:n]
    kept = both.sum() / max(resynthesis.voiced[:n].sum(), 1)
    f0 = log_f0_correlation(again[:n], original[:n], original.sr) if both.sum() > 10 else np.nan
    active = active_frames(original)
    logs = [np.log(f.sp[active]) for f in (original, changed)]
    shapes = [log - log.mean(1, keepdims=True) for log in logs]
    shapes = [shape - shape.mean(0) for shape in shapes]
    return kept, f0, *(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in (logs, shapes))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folder")
    p.add_argument("--clips", type=int, default=20)
    a = p.parse_args()
    round_trips()
    presets(a.folder, a.clips)
