"""The film readme/demo.mp4: a few sentences as they were spoken, then converted, with their spectrograms.

`tools/make_page.py` calls it. The sounds are those of OUT/clips, cut at a pause; the cursor shows what is heard.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import matplotlib
import numpy as np
import soundfile
from PIL import Image, ImageDraw, ImageFont

from vc_lib.audio import load_wav
from vc_lib.errors import NotWritten
from vc_lib.files import atomically
from vc_lib.listen.tracks import RANGE_DB, levels_under_loudest, same_loudness

VOICE = "ljspeech"
TITLE = "LJSpeech"
SCENES = {  # clips, and where they end [s]
    "it_man_carlo_1": ("a man, Italian", 2.32),
    "fr_woman_june_1": ("a woman, French", 2.22),
    "en_man_librivox_1": ("a low man's voice, English", 2.99),
}
SR = 16_000  # sampling rate of the clips [Hz]
SIZE = 1280, 720  # of the picture [pixels]
FPS = 25
LEAD_S, GAP_S, TAIL_S = 0.3, 0.4, 0.3  # silence before, between and after the sounds of a scene [s]
FADE_S = 0.02  # at both ends of a sound, since it is cut [s]
LEFT, WIDTH, HEIGHT = 40, 1200, 200  # of the spectrograms [pixels]
TOP_HZ = 5_000  # of the spectrograms; the pitch is in the lines below
TOPS = 176, 476  # of the spectrograms of source and converted [pixels]
CURSOR = 4  # its width [pixels]
BACKGROUND, TEXT, DIM, ACCENT = (16, 16, 20), (255, 255, 255), (150, 150, 160), (127, 227, 255)
POSTER_S = 1.2  # which moment the poster shows [s]


@dataclass(frozen=True)
class Scene:
    """A sentence: its two sounds, equally long, and when they begin in the scene."""

    title: str
    wavs: tuple[np.ndarray, np.ndarray]  # source and converted, each (n_samples,)

    @property
    def length_s(self) -> float:
        return len(self.wavs[0]) / SR

    @property
    def starts_s(self) -> tuple[float, float]:
        return LEAD_S, LEAD_S + self.length_s + GAP_S

    @property
    def seconds(self) -> float:
        """Length, of a whole number of frames of the film [s]."""
        return np.ceil((self.starts_s[1] + self.length_s + TAIL_S) * FPS) / FPS


def write_video(out: Path) -> None:
    """Write OUT/demo.mp4 and its poster, OUT/demo.png, from the clips in OUT/clips."""
    scenes = [scene(out / "clips", clip, *about) for clip, about in SCENES.items()]
    poster = next(picture for i, picture in enumerate(frames(scenes[:1])) if i == POSTER_S * FPS)
    small = Image.fromarray(poster).quantize(64, dither=Image.Dither.NONE)
    atomically(out / "demo.png", lambda part: small.save(part, "PNG", optimize=True))
    atomically(out / "demo.mp4", lambda part: encode(frames(scenes), sound(scenes), part))


def scene(clips: Path, clip: str, title: str, end_s: float) -> Scene:
    """A clip before and after conversion, cut and equally loud."""
    paths = clips / "sources" / f"{clip}.mp3", clips / VOICE / f"{clip}_converted.mp3"
    wavs = [load_wav(path, SR) for path in paths]
    n_samples = min(round(end_s * SR), *map(len, wavs))
    cut = {i: wav[:n_samples] * fade(n_samples) for i, wav in enumerate(wavs)}
    return Scene(title, tuple(same_loudness(cut, SR).values()))


def fade(n_samples: int) -> np.ndarray:
    """Gain that rises at the beginning and falls at the end."""
    distance = np.minimum(np.arange(n_samples), np.arange(n_samples)[::-1])
    return np.minimum(1, distance / (FADE_S * SR))


def sound(scenes: list[Scene]) -> np.ndarray:
    """What is heard, of the whole film [shape=(n_samples,)]."""
    parts = []
    for one in scenes:
        part = np.zeros(round(one.seconds * SR))
        for start, wav in zip(one.starts_s, one.wavs, strict=True):
            begin = round(start * SR)
            part[begin : begin + len(wav)] = wav
        parts.append(part)
    return np.concatenate(parts)


# Pictures


def frames(scenes: list[Scene]) -> Iterator[np.ndarray]:
    """The pictures of the film [shape=(720, 1280, 3), uint8]; each scene is drawn once for each of its sounds."""
    for one in scenes:
        stills = [still(one, active) for active in (0, 1)]
        for i in range(round(one.seconds * FPS)):
            active = int(i / FPS >= one.starts_s[1] - GAP_S / 2)
            picture = stills[active].copy()
            x, top = cursor_x(one, active, i / FPS), TOPS[active]
            picture[top : top + HEIGHT, x - CURSOR // 2 : x + CURSOR // 2] = 255
            yield picture


def cursor_x(one: Scene, active: int, t: float) -> int:
    """Where the cursor stands at time `t` of the scene [pixels]."""
    share = (t - one.starts_s[active]) / one.length_s
    return LEFT + round(float(np.clip(share, 0, 1)) * WIDTH)


def still(one: Scene, active: int) -> np.ndarray:
    """The scene without cursor; the sound that is heard is bright."""
    image = Image.new("RGB", SIZE, BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.text((LEFT, 28), one.title, TEXT, font(52, bold=True))
    draw.text((LEFT + WIDTH, 44), "same words, same moments", DIM, font(26), anchor="ra")
    names = "source", f"converted to {TITLE}"
    pictures = spectrograms(one)
    for i, (name, picture, top) in enumerate(zip(names, pictures, TOPS, strict=True)):
        color = ACCENT if i == active else DIM
        draw.text(
            (LEFT, top - 12), f"{'▶ ' if i == active else ''}{name}", color, font(38, True), "ls"
        )
        dimmed = (
            picture if i == active else Image.blend(Image.new("RGB", picture.size), picture, 0.55)
        )
        image.paste(dimmed, (LEFT, top))
    draw.text((LEFT + WIDTH, TOPS[1] - 12), "synthetic speech", color_of(active), font(30), "rs")
    return np.asarray(image)


def color_of(active: int) -> tuple[int, int, int]:
    """Color of what is said of the converted sound."""
    return ACCENT if active else DIM


def spectrograms(one: Scene) -> list[Image.Image]:
    """Spectrograms of the two sounds, low frequencies at the bottom."""
    wavs = dict(enumerate(one.wavs))
    cfg, levels_db = levels_under_loudest(wavs, SR, dict.fromkeys(wavs, 0.0), WIDTH / 2)
    n_rows = round(TOP_HZ * cfg.n_fft / SR)
    pictures = []
    for level_db in levels_db.values():
        rgba = matplotlib.colormaps["magma"](np.clip(1 + level_db[:n_rows][::-1] / RANGE_DB, 0, 1))
        picture = Image.fromarray((255 * rgba[..., :3]).round().astype(np.uint8))
        pictures.append(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return pictures


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


# The file


def encode(pictures: Iterator[np.ndarray], wav: np.ndarray, path: Path) -> None:
    """Write H.264 and AAC, with the index first, so that a browser begins before it has all."""
    with tempfile.TemporaryDirectory() as folder:
        heard = Path(folder) / "sound.wav"
        soundfile.write(heard, wav, SR, subtype="PCM_16")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE[0]}x{SIZE[1]}"]
        command += ["-r", str(FPS), "-i", "-", "-i", str(heard)]
        command += ["-c:v", "libx264", "-preset", "slow", "-crf", "25", "-tune", "stillimage"]
        command += ["-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "aac", "-b:a", "96k"]
        command += ["-ar", "48000", "-map_metadata", "-1", "-metadata", "comment=synthetic speech"]
        command += ["-fflags", "+bitexact", "-movflags", "+faststart", "-f", "mp4", str(path)]
        ffmpeg = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            for picture in pictures:
                ffmpeg.stdin.write(picture.tobytes())
        except BrokenPipeError:
            pass  # ffmpeg says below why it ended
        _, said = ffmpeg.communicate()
    if ffmpeg.returncode:
        raise NotWritten(f"ffmpeg wrote no {path.name}: {said.decode(errors='replace').strip()}")
