"""The page readme/index.html and the film: what they name is there, and equally loud; tools/make_page.py makes them."""

import importlib
import json
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from PIL import Image
from test_repo import REPO, links

from vc_lib.audio import load_wav
from vc_lib.errors import MissingInput, ParameterError

README = REPO / "readme"
CLIPS = README / "clips"
SR = 16_000


@pytest.fixture
def tool(monkeypatch):
    """The tools, which import each other by their names."""
    monkeypatch.syspath_prepend(str(REPO / "tools"))
    return importlib.import_module("make_page")


@pytest.fixture
def film(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "tools"))
    return importlib.import_module("demo_video")


def index() -> str:
    return (README / "index.html").read_text(encoding="utf-8")


def named_tracks() -> list[dict]:
    """What the page is told of every row of its players."""
    tracks = []
    for script in re.findall(r'<script src="([^"]+)">', index()):
        lines = (README / script).read_text(encoding="utf-8").splitlines()
        tracks += [
            t for clip in json.loads("".join(["[", *lines[1:-1], "]"])) for t in clip["tracks"]
        ]
    return tracks


def level_db(wav: np.ndarray) -> float:
    """Level of the loud blocks of 50 ms [dB]."""
    power = (wav[: len(wav) // 800 * 800].reshape(-1, 800) ** 2).mean(1)
    return 10 * np.log10(power[power > power.max() / 10**2.5].mean())


# The page


def test_every_file_that_the_page_names_exists():
    static = re.sub(r"<script type=.module.*?</script>", "", index(), flags=re.DOTALL)
    paths = [link.partition("#")[0] for link in links(static)]
    paths += re.findall(r'poster="([^"]+)"', static)
    assert {p for p in paths if "creativecommons" not in p and ":" in p} == set(), "other hosts"
    named = [path for path in paths if path and ":" not in path]
    named += [track[key] for track in named_tracks() for key in ("src", "picture")]
    assert len(named) > 50
    assert [path for path in named if not (README / path).exists()] == []


def test_the_page_asks_no_other_host():
    assert not re.search(r"""src=["']?(https?:)?//""", index())
    assert not [t for t in named_tracks() if ":" in t["src"] + t["picture"]]


def test_nothing_else_lies_beside_the_clips():
    named = {track[key] for track in named_tracks() for key in ("src", "picture")}
    named |= set(re.findall(r'<script src="([^"]+)">', index()))
    there = {path.relative_to(README).as_posix() for path in CLIPS.rglob("*") if path.is_file()}
    assert there - named == set()


def test_every_player_ends_with_the_target_and_shares_its_source(tool):
    labels = ["source", "anonymized", "baseline", "converted", tool.OWN]
    sources = set()
    for name in ("ljspeech", "kathleen", "carlo"):
        for clip in tool.clips_of(name, README):
            assert [t["label"] for t in clip["tracks"]] == labels
            assert clip["tracks"][-1]["src"] == f"clips/{name}/target.mp3"
            sources.add(clip["tracks"][0]["src"])
    assert not [
        src for src in sources if not re.fullmatch(r"clips/(sources/.*|\w+/target)\.mp3", src)
    ]


def test_nobody_is_converted_to_himself(tool):
    carlo = [t["src"] for clip in tool.clips_of("carlo", README) for t in clip["tracks"]]
    assert carlo and not [src for src in carlo if "it_man_carlo" in src or "cs_man" in src]


def test_the_sounds_are_equally_loud_and_as_long_as_said():
    for track in {t["src"]: t for t in named_tracks()}.values():
        wav, sr = soundfile.read(README / track["src"])
        assert sr == SR and len(wav) / sr == pytest.approx(track["seconds"], abs=0.01)
        assert level_db(wav) == pytest.approx(-23, abs=0.5), track["src"]


# The command


def test_a_voice_that_is_not_described_is_refused(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["make_page.py", "--voice", str(tmp_path), "--out", str(tmp_path)]
    )
    with pytest.raises(ParameterError, match="must be named ljspeech or kathleen or carlo"):
        tool.main()
    assert not list(tmp_path.iterdir())


def test_a_shared_sound_is_kept_with_its_picture_and_no_other_takes_its_place(tool, tmp_path):
    (tmp_path / "clips" / "sources").mkdir(parents=True)
    track = dict(
        label="source", note="", seconds=1.0, f0=None, period=0.0, sound=b"a", picture=b"b"
    )
    described = tool.stored(track, tmp_path, "sources/one")
    assert described["src"] == "clips/sources/one.mp3" and "sound" not in described
    tool.stored(track | {"picture": b"c"}, tmp_path, "sources/one")
    assert (tmp_path / "clips" / "sources" / "one.png").read_bytes() == b"b"
    with pytest.raises(ParameterError, match="another level; remove it"):
        tool.stored(track | {"sound": b"d"}, tmp_path, "sources/one")


def test_a_page_holds_the_voices_that_were_made(tool, tmp_path):
    with pytest.raises(MissingInput, match="--voice FOLDER/kathleen"):
        tool.clips_of("kathleen", tmp_path)
    kathleen = tmp_path / "clips" / "kathleen"
    kathleen.mkdir(parents=True)
    (kathleen / "tracks.js").write_bytes((CLIPS / "kathleen" / "tracks.js").read_bytes())
    text = tool.page(tmp_path)
    assert 'id="kathleen"' in text and 'id="carlo"' not in text
    assert text.count('class="here"') == len(tool.clips_of("kathleen", tmp_path))


def test_the_page_is_as_the_command_makes_it(tool):
    assert tool.page(README) == index(), "run python tools/make_page.py"


# The film


def streams(path) -> str:
    """What ffmpeg says of a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_the_film_plays_where_browsers_play_films():
    path = README / "demo.mp4"
    said, data = streams(path), path.read_bytes()
    assert "h264" in said and "yuv420p" in said and "1280x720" in said and "Audio: aac" in said
    minutes, seconds = re.search(r"Duration: 00:(\d+):([\d.]+)", said).groups()
    assert 15 <= 60 * int(minutes) + float(seconds) <= 20
    assert len(data) <= 1_500_000
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first"
    assert Image.open(README / "demo.png").size == (1280, 720)


def test_the_film_is_as_loud_as_the_players(film):
    wav = load_wav(README / "demo.mp4", SR)
    scenes = [film.scene(CLIPS, clip, *about) for clip, about in film.SCENES.items()]
    made = film.sound(scenes)
    assert abs(len(wav) - len(made)) < 0.1 * SR
    assert level_db(wav) == pytest.approx(-23, abs=0.5) and np.abs(wav).max() < 1
    assert np.corrcoef(wav[: len(made)], made[: len(wav)])[0, 1] > 0.9


def test_the_cursor_is_where_the_sound_is(film):
    """In frames as they are decoded: a white column in the spectrogram of what is heard, and in no other."""
    scenes = [film.scene(CLIPS, clip, *about) for clip, about in film.SCENES.items()]
    ends_s = np.cumsum([one.seconds for one in scenes])
    for number, one in enumerate(scenes):
        for active, start in enumerate(one.starts_s):
            frame = round((start + 0.4 * one.length_s) * film.FPS)
            picture = decoded(ends_s[number] - one.seconds + frame / film.FPS, film.SIZE)
            share = (frame / film.FPS - start) / one.length_s
            rows = [picture[top : top + film.HEIGHT].min((0, 2)) for top in film.TOPS]
            white = np.flatnonzero(rows[active] > 150)
            assert white.mean() == pytest.approx(film.LEFT + share * film.WIDTH, abs=2)
            assert not (rows[1 - active] > 150).any()


def decoded(t: float, size: tuple[int, int]) -> np.ndarray:
    """The frame of the film at a time [shape=(height, width, 3), uint8]."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-ss", f"{t:.3f}"]
    command += ["-i", str(README / "demo.mp4"), "-frames:v", "1"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(size[1], size[0], 3)
