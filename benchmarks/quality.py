"""Quality of the signal path and of a voice on its own speaker; what the metrics cost.

    python benchmarks/quality.py round-trip
    python benchmarks/quality.py presets FOLDER [--clips 20]
    python benchmarks/quality.py reconstruct VOICE WAVS NAMES
    python benchmarks/quality.py meters WAVS METADATA [--names NAMES] [--clips 40]

round-trip: worst error of the two-channel image and back, on white noise. presets: what each preset
keeps of the voicing, intonation and envelope of one speaker's recordings in FOLDER. reconstruct:
recordings of a voice's own speaker, anonymized and converted, against the originals; NAMES is a text
file with the stems of those that the voice was not trained on. meters: word error rate of the
recognizer on natural speech, and the time of each metric; METADATA holds lines of
id|text|normalized text, as LJSpeech's. Tables are printed in Markdown; "±" is half of the 95 %
bootstrap interval over the clips.
"""

import argparse
import csv
import time
import warnings
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch

from vc_lib.anonymize import (
    active_frames,
    analyze,
    resynthesize,
    speaker_stats,
    synthesize,
    transform,
)
from vc_lib.audio import list_audio, load_wav
from vc_lib.config import PRESETS, PRIVATE, SECOND_CHANNELS, AudioConfig, Config
from vc_lib.convert import load_voice
from vc_lib.evaluate import METRICS, Clip, evaluate, judges, log_f0_correlation, summary
from vc_lib.evaluate.score_tables import bootstrap
from vc_lib.evaluate.signal_metrics import si_snr_db
from vc_lib.spectrogram import image_to_wav, wav_to_image

STFTS = (  # sr [Hz], n_fft, hop_length [samples]
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
SYSTEMS = ("WORLD resynthesis", "anonymized", "converted")
RECONSTRUCTION = (
    "mcd_db",
    "lsd_db",
    "log_f0_corr",
    "voicing_error",
    "pesq_wb",
    "estoi",
    "distillmos",
)
SR = 16_000  # of meters [Hz]


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = p.add_subparsers(required=True)
    part = parts.add_parser("round-trip")
    part.set_defaults(run=round_trip)
    part = parts.add_parser("presets")
    part.add_argument("folder")
    part.add_argument("--clips", type=int, default=20)
    part.set_defaults(run=presets)
    part = parts.add_parser("reconstruct")
    part.add_argument("voice")
    part.add_argument("wavs")
    part.add_argument("names", type=Path)
    part.set_defaults(run=reconstruct)
    part = parts.add_parser("meters")
    part.add_argument("wavs")
    part.add_argument("metadata", type=Path)
    part.add_argument("--names", type=Path)
    part.add_argument("--clips", type=int, default=40)
    part.set_defaults(run=meters)
    arguments = vars(p.parse_args())
    arguments.pop("run")(**arguments)


def print_table(header, rows) -> None:
    """Print a Markdown table."""
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")


def round_trip() -> None:
    """Worst SI-SNR over white noise of every length; one sample is compared by its relative error."""
    rng, rows = np.random.default_rng(0), []
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
        rows.append([second_channel, f"{worst[0]:.1f}", worst[1]])
    print_table(["second channel", "worst SI-SNR [dB]", "at"], rows)


def presets(folder: str, clips: int) -> None:
    """What each preset, with the speaker as target, keeps of voicing, intonation and envelope."""
    cfg = Config()
    files = list_audio(folder)
    files = files[:: max(1, len(files) // clips)][:clips]
    originals = [analyze(load_wav(file, cfg.sr), cfg.sr, cfg) for file in files]
    cfg = replace(cfg, target=speaker_stats(originals))
    presets = [preset for preset in PRESETS if preset not in PRIVATE]
    found = {name: [] for name in ("WORLD resynthesis", *presets)}
    for original in originals:
        resynthesis = analyze(synthesize(original), cfg.sr, cfg)
        for name, scores in found.items():
            if name == "WORLD resynthesis":
                changed, again = original, resynthesis
            else:
                changed = transform(original, replace(cfg, preset=name))
                again = analyze(synthesize(changed), cfg.sr, cfg)
            scores.append(compare(original, resynthesis, changed, again))
    rows = []
    for name, scores in found.items():
        voiced, f0, envelope, shape = np.array(scores).T
        f0 = f"{np.nanmean(f0):.3f}" if np.isfinite(f0).any() else "–"
        rows.append(
            [
                name,
                f"{100 * voiced.mean():.1f}",
                f0,
                f"{envelope.mean():.3f}",
                f"{shape.mean():.3f}",
            ]
        )
    header = ["preset", "voiced frames kept [%]", "log-F0 corr.", "log-envelope corr."]
    print_table([*header, "its shape's"], rows)


def compare(original, resynthesis, changed, again) -> tuple[float, float, float, float]:
    """Voiced share against resynthesis, log-F0 correlation, correlation of log envelopes over
    active frames.

    The last is the same with each frame's level and the clip's mean spectrum removed: only the
    movement of the shape remains.
    """
    n = min(len(f.f0) for f in (original, resynthesis, again))
    both = resynthesis.voiced[:n] & again.voiced[:n]
    voiced = both.sum() / max(resynthesis.voiced[:n].sum(), 1)
    f0 = log_f0_correlation(again[:n], original[:n], original.sr) if both.sum() > 10 else np.nan
    active = active_frames(original)
    logs = [np.log(f.sp[active]) for f in (original, changed)]
    shapes = [log - log.mean(1, keepdims=True) for log in logs]
    shapes = [shape - shape.mean(0) for shape in shapes]
    return voiced, f0, *(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in (logs, shapes))


def reconstruct(voice: str, wavs: str, names: Path) -> None:
    """Scores of anonymized and converted recordings of the voice's own speaker.

    The speaker's statistics are the voice's own, since one sentence's register is not a speaker's.
    """
    stems = set(names.read_text().split())
    files = [file for file in list_audio(wavs) if file.stem in stems]
    assert len(files) == len(stems), f"{len(stems)} names, {len(files)} files"
    n_jobs = joblib.cpu_count()
    parts = joblib.Parallel(n_jobs)(
        joblib.delayed(score_files)(voice, files[i::n_jobs]) for i in range(n_jobs)
    )
    rows = pd.DataFrame([row for part in parts for row in part])
    table = summary({s: rows[rows.system == s] for s in SYSTEMS}, RECONSTRUCTION)
    print_table([f"{len(files)} clips", *table], [[s, *cells] for s, cells in table.iterrows()])


def score_files(voice_dir: str, files: list[Path]) -> list[dict]:
    """Scores of each file and system, as rows of a table."""
    voice, rows = load_voice(voice_dir, device="cpu"), []
    for file in files:
        original = Clip(load_wav(file, voice.sr), voice.sr)
        target, n = voice.config.target, len(original.wav)
        features = analyze(original.wav, voice.sr, voice.config)
        sounds = (
            resynthesize(features, n),
            voice.anonymize(original.wav, voice.sr, source=target),
            voice.convert(original.wav, voice.sr, source=target),
        )
        for system, wav in zip(SYSTEMS, sounds, strict=True):
            scores = evaluate(wav, voice.sr, reference=original, only=RECONSTRUCTION)
            rows.append({"clip": file.stem, "system": system} | scores)
    return rows


def meters(wavs: str, metadata: Path, names: Path | None, clips: int) -> None:
    """Word error rate on natural speech; seconds of each metric, in one thread."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with metadata.open(encoding="utf-8", newline="") as f:
        texts = {row[0]: row[-1] for row in csv.reader(f, delimiter="|", quoting=csv.QUOTE_NONE)}
    files = {f.stem: f for f in list_audio(wavs)}
    stems = (names.read_text().split() if names else list(texts))[:clips]
    speech = {stem: load_wav(files[stem], SR) for stem in stems}
    rates = [
        judges.word_error_rate(judges.transcribe(wav, SR), texts[stem])
        for stem, wav in speech.items()
    ]
    mean, low, high = bootstrap(rates)
    print(f"WER on natural speech, {len(rates)} clips: {mean:.3f} ({low:.3f} to {high:.3f})\n")

    wav, rows = np.concatenate(list(speech.values()))[: 8 * SR], []
    noisy = np.clip(wav + 0.01 * np.random.default_rng(0).normal(size=len(wav)), -1, 1)
    for key in METRICS:
        known = Clip(wav, SR)
        given = dict(source=known, target=[known], reference=known, only=[key])
        evaluate(noisy, SR, **given)  # loads the model; measures `known`
        start = time.perf_counter()
        evaluate(noisy, SR, **given)
        seconds = (time.perf_counter() - start) / 8
        rows.append([f"{METRICS[key].label} (`{key}`)", f"{seconds:.3f}"])
    print_table(["metric", "s per s of speech"], rows)


if __name__ == "__main__":
    main()
