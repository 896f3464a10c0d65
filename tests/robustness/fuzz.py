"""Feed mutated recordings and voices to what reads them, and count what comes of it.

    python tests/robustness/fuzz.py [--targets audio voice] [--seconds 600] [--seed 0] [--keep FOLDER]

Each execution changes a good file at random: bits, runs of bytes, its length, numbers in its header, a part of another
file, and of a voice also single values of its JSON. It has to end in sound (finite, mono, -1..1) or a voice that
speaks, or be refused by `ParameterError` or `MissingInput`. Anything else counts as a crash: another exception, a
signal, over 4 GB of memory, more than 30 s. What crashed is kept in FOLDER. A number of execution and a seed name the
same file again.
"""

import argparse
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import imageio_ffmpeg
import kills
import numpy as np
import soundfile
import torch

from vc_lib.audio import load_wav
from vc_lib.convert import load_voice
from vc_lib.corpus import learn_target, prepare
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import CONFIG, save_voice

SR = 16_000
MAX_BYTES = 4_000_000_000  # of memory that one execution may take
MAX_S = 30.0  # that it may take [s]
# What soundfile writes: suffix, format, subtype
WRITTEN = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAVEX", "PCM_24"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("wav", "WAV", "ULAW"),
    ("w64", "W64", "DOUBLE"),
    ("rf64", "RF64", "PCM_16"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "ALAC_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]
ENCODED = ["m4a", "wma", "mka", "ac3", "g722"]  # what ffmpeg writes
LENGTHS = [0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]
ODD = [
    None,
    True,
    -1,
    0,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "x" * 10_000,
    [],
    [[]],
    {},
    [None],
]


# Good files, and what must come of a changed one


def recordings_in(folder: Path) -> list[Path]:
    """A second of sound in each format."""
    wav = kills.sound(1.0, 150.0, 0)
    for i, (suffix, container, subtype) in enumerate(WRITTEN):
        sound = np.stack([wav, wav], 1) if i % 3 == 1 else wav
        soundfile.write(folder / f"{i}.{suffix}", sound, SR, subtype, format=container)
    for suffix in ENCODED:
        run = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", folder / "0.wav"]
        subprocess.run([*run, folder / f"e.{suffix}"], check=True, stdin=subprocess.DEVNULL)
    return sorted(folder.iterdir())


def is_sound(path: Path) -> None:
    wav = load_wav(path, SR)
    assert wav.ndim == 1 and wav.dtype == np.float32 and len(wav)
    assert np.isfinite(wav).all() and np.abs(wav).max() <= 1


def voice_in(folder: Path) -> list[Path]:
    """A tiny voice's folder, as this code and as version 0.1 leave it: with checksums and without."""
    kills.set_up(folder / "data")
    with redirect_stdout(io.StringIO()):  # its progress bar
        recordings = prepare(
            folder / "data" / "target", kills.settings(), folder / "cache", n_jobs=1
        )
    cfg = learn_target(recordings, kills.settings())
    torch.manual_seed(0)
    save_voice(Generator(cfg).state_dict(), cfg, folder / "new")
    shutil.copytree(folder / "new", folder / "old")
    path = folder / "old" / "generator.safetensors"
    header, numbers = parts_of(path.read_bytes())
    del header["__metadata__"]
    path.write_bytes(joined(header, numbers))
    return [folder / "new", folder / "old"]


def is_voice(folder: Path) -> None:
    voice = load_voice(folder, "cpu")
    if voice.sr <= 48_000:
        out = voice.convert(kills.sound(0.1, 150.0, 0), SR)
        assert np.isfinite(out).all() and np.abs(out).max(initial=0) <= 1


def parts_of(data: bytes) -> tuple[dict, bytes]:
    n = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def joined(header, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


# Changes


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A few random changes, most of them near the beginning, where headers are."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        reach = rng.choice((16, 64, 512, len(data)))
        at = rng.randrange(min(reach, len(data)))
        n = rng.choice((1, 2, 4, 64, 1024))
        match rng.randrange(9):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + n] = rng.randbytes(n)
            case 2:
                data[at : at + n] = bytes([rng.choice((0, 0xFF, 0x20, 0x7F))]) * n
            case 3:
                del data[at : at + n]
            case 4:
                data[at:at] = data[at : at + n]
            case 5:
                del data[rng.randrange(len(data)) :]
            case 6:
                order = rng.choice("<>")
                kind = rng.choice("HIQ")
                size = struct.calcsize(kind)
                value = min(rng.choice(LENGTHS), 2 ** (8 * size) - 1)
                data[at : at + size] = struct.pack(order + kind, value)
            case 7:
                start = rng.randrange(max(1, len(other)))
                data[at : at + n] = other[start : start + n]
            case 8:
                data[at : at + 4] = rng.choice(
                    (b"RIFF", b"data", b"fmt ", b"OggS", b"fLaC", b"ftyp", b"#EXT")
                )
    return bytes(data)


def with_an_odd_value(values, rng: random.Random):
    """JSON of which one value, anywhere in it, is another, missing, or there twice as often."""
    place = values
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return values
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        match rng.randrange(5):
            case 0:
                del place[key]
            case 1 if isinstance(place, list):
                place.insert(key, place[key])
            case 2 if isinstance(place[key], int | float):
                place[key] *= rng.choice((-1, 0, 2, 1e3, 1e9))
            case _:
                place[key] = rng.choice(ODD)
        return values


def changed_recording(good: list[Path], place: Path, rng: random.Random) -> Path:
    one, other = rng.choice(good), rng.choice(good)
    path = place / f"a{rng.choice((one, one, other)).suffix}"
    path.write_bytes(mutated(one.read_bytes(), other.read_bytes(), rng))
    return path


def changed_voice(good: list[Path], place: Path, rng: random.Random) -> Path:
    folder = place / "voice"
    shutil.copytree(rng.choice(good), folder)
    weights, config = folder / "generator.safetensors", folder / CONFIG
    for _ in range(rng.choice((1, 1, 2))):
        match rng.randrange(4):
            case 0:
                weights.write_bytes(mutated(weights.read_bytes(), config.read_bytes(), rng))
            case 1:
                config.write_bytes(mutated(config.read_bytes(), weights.read_bytes(), rng))
            case 2:
                try:
                    config.write_text(
                        json.dumps(with_an_odd_value(json.loads(config.read_bytes()), rng))
                    )
                except (ValueError, OverflowError):
                    pass  # it is no JSON any more
            case 3:
                try:
                    header, numbers = parts_of(weights.read_bytes())
                    weights.write_bytes(joined(with_an_odd_value(header, rng), numbers))
                except (ValueError, TypeError, OverflowError):
                    pass
    return folder


@dataclass(frozen=True)
class Target:
    """What is fuzzed: good files, one of them changed, and what must come of it."""

    good: Callable[[Path], list[Path]]
    changed: Callable[[list[Path], Path, random.Random], Path]
    check: Callable[[Path], None]


TARGETS = {
    "audio": Target(recordings_in, changed_recording, is_sound),
    "voice": Target(voice_in, changed_voice, is_voice),
}


# Executions


def execute(
    name: str, good: list[Path], place: Path, seed: int, first: int, last: int, tell, go_on
) -> None:
    """Executions `first` to `last` in a process of its own; says before each what it is about to do."""
    import resource  # not on Windows

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders have much to say
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    target = TARGETS[name]
    for i in range(first, last):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        path = target.changed(good, place, random.Random(f"{seed} {i}"))
        tell.send((i, "begun", ""))
        try:
            target.check(path)
            tell.send((i, "taken", ""))
        except (ParameterError, MissingInput):
            tell.send((i, "refused", ""))
        except BaseException:
            tell.send((i, "crashed", traceback.format_exc(limit=-6)))
            go_on.recv()  # once it is kept
    tell.send((last, "end", ""))


def fuzz(
    name: str, seed: int, seconds: float = float("inf"), n: int = 10**9, keep: Path | None = None
):
    """Execute for some time, or `n` times.

    Returns
    -------
    counts : Counter
        "taken", "refused", "crashed".
    crashes : list of (int, str)
        Number of execution, and how it ended.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    counts, crashes = Counter(), []
    with tempfile.TemporaryDirectory() as scratch:
        good_dir, place = Path(scratch) / "good", Path(scratch) / "place"
        good_dir.mkdir()
        good = TARGETS[name].good(good_dir)
        for path in good:
            TARGETS[name].check(path)
        end, at = time.perf_counter() + seconds, 0
        while at < n and time.perf_counter() < end:
            ours, theirs = context.Pipe(duplex=False)
            go_on, say = context.Pipe(duplex=False)
            last = min(n, at + 500)
            run = partial(execute, name, good, place, seed, at, last)
            process = context.Process(target=run, args=(theirs, go_on))
            process.start()
            theirs.close()
            how = None
            while how != "end" and time.perf_counter() < end:
                try:
                    at, how, why = ours.recv() if ours.poll(MAX_S) else (at, "crashed", "hangs")
                except EOFError:
                    process.join()
                    at, how, why = at, "crashed", f"ended with {process.exitcode}"
                if how in ("taken", "refused", "crashed"):
                    counts[how] += 1
                    if how == "crashed":
                        crashes.append((at, why))
                        if keep and place.exists():
                            shutil.copytree(
                                place, Path(keep) / f"{name}-{seed}-{at}", dirs_exist_ok=True
                            )
                        say.send("go on")
                    at += 1
                    if why == "hangs" or why.startswith("ended with"):
                        break
            process.kill()
            process.join()
    return counts, crashes


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--keep", type=Path)
    a = p.parse_args()
    print("| target | executions | taken | refused | crashed |\n|---|---|---|---|---|")
    for name in a.targets:
        counts, crashes = fuzz(name, a.seed, a.seconds, keep=a.keep)
        row = (name, counts.total(), *(counts[how] for how in ("taken", "refused", "crashed")))
        print(f"| {' | '.join(map(str, row))} |", flush=True)
        for number, why in crashes:
            print(f"{name} {number}: {why}", file=sys.stderr)


if __name__ == "__main__":
    main()
