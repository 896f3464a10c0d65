"""The static page readme/index.html: a player for each of a dozen sentences, the results, the pipeline drawn.

    python tools/make_page.py [--voice models/ljspeech] [--out readme]

Converts the clips of data/sample with the voice and writes them as MP3 into OUT/clips, and OUT/index.html,
which plays them from a disk as well as from a server, and asks nobody else for anything. The tables are
those of docs/measurements.md.
"""

import argparse
import html
import re
from pathlib import Path
from string import Template

import numpy as np

from vc_lib.anonymize import resynthesize
from vc_lib.audio import list_audio, load_wav
from vc_lib.convert import Voice, load_voice
from vc_lib.evaluate import Clip
from vc_lib.evaluate.baselines import world_statistics
from vc_lib.notebook import Player
from vc_lib.notebook.listening import DESCRIBED, players_of

REPO = Path(__file__).resolve().parents[1]
SPEAKERS = {  # of data/sample: what stands over their sentences, in the order of the page
    "it_man_carlo": "a man, Italian",
    "fr_woman_june": "a woman, French",
    "ru_woman_ivrvoice": "a woman, Russian",
    "en_man_librivox": "a man with a low voice, English",
    "cs_man_fillets": "a man, Czech, acting (3: in a noisy room)",
    "en_woman_allison": "a woman, English",
}
ENGLISH = ("demo-instruct-8", "dir-intro-1", "followme-sorry", "queue-periodic-announce")
TARGET = "target, another sentence"
SECONDS = 10.0  # of each sentence at most


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--voice", default=REPO / "models" / "ljspeech", type=Path)
    p.add_argument("--out", default=REPO / "readme", type=Path)
    a = p.parse_args()
    voice = load_voice(a.voice)
    target = load_wav(a.out / "target.mp3", voice.sr)
    clips = {path.stem: path for path in list_audio(REPO / "data" / "sample" / "sources")}
    spoken = REPO / "data" / "sample" / "target"
    clips |= {f"en_woman_allison_{i}": spoken / f"{name}.flac" for i, name in enumerate(ENGLISH, 1)}
    sections = []
    for speaker, title in SPEAKERS.items():
        for name, path in clips.items():
            if name.rpartition("_")[0] == speaker:
                tracks = made(voice, path, target, a.out, name)
                sections.append((f"{title}, {name.rpartition('_')[2]}", tracks))
                print(name, flush=True)
    measurements = (REPO / "docs" / "measurements.md").read_text(encoding="utf-8")
    text = page(sections, measurements)
    (a.out / "index.html").write_text(text, encoding="utf-8")


def made(voice: Voice, path: Path, target: np.ndarray, out: Path, name: str) -> list[dict]:
    """Convert one clip, keep its sounds and pictures in OUT/clips, and describe them to the player."""
    clip = Clip(load_wav(path, voice.sr)[: int(SECONDS * voice.sr)], voice.sr)
    baseline = resynthesize(world_statistics(clip.features, voice.config.target), len(clip.wav))
    wavs = {
        "source": clip.wav,
        "anonymized": voice.anonymize(clip.wav, voice.sr),
        "baseline": baseline,
        "converted": voice.convert(clip.wav, voice.sr),
        TARGET: target[: int(SECONDS * voice.sr)],
    }
    tracks = []
    (out / "clips").mkdir(parents=True, exist_ok=True)
    for track in Player(wavs, voice.sr).tracks:
        stem = "target" if track["label"] == TARGET else f"{name}_{track['label']}"
        (out / "clips" / f"{stem}.mp3").write_bytes(track["sound"])
        (out / "clips" / f"{stem}.png").write_bytes(track["picture"])
        kept = {key: track[key] for key in DESCRIBED}
        tracks.append(kept | {"src": f"clips/{stem}.mp3", "picture": f"clips/{stem}.png"})
    return tracks


def page(sections: list[tuple[str, list[dict]]], measurements: str) -> str:
    """The page as HTML."""
    tables = "\n".join(f'<div class="wide">{table}</div>' for table in tables_of(measurements))
    template = Template((REPO / "tools" / "page.html").read_text(encoding="utf-8"))
    return template.substitute(tables=tables, **players_of(sections, "h3"))


def tables_of(measurements: str) -> list[str]:
    """The tables with intervals ("±") of the section on quality, as HTML."""
    section = re.search(r"^## How good is it\n(.*?)^## ", measurements, re.DOTALL | re.MULTILINE)[1]
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        if "±" not in block:
            continue
        rows = [[c.strip() for c in line.strip("|\n").split("|")] for line in block.splitlines()]
        head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in rows[0])
        body = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{html.escape(c)}</td>" for c in row[1:])
            + "</tr>"
            for row in rows[2:]
        )
        found.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return found


if __name__ == "__main__":
    main()
