"""The installed package: all rooms and the shipped voices are in the wheel, and it speaks from any folder."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from vc_lib import __version__
from vc_lib.convert import voice

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VOICES = ("kathleen", "ljspeech")  # that ship
BASE = "base"  # ships too, and is no voice
SPEAK = """
import sys, numpy as np
from importlib.machinery import PathFinder
there = PathFinder.find_spec
missing = "torch fastai librosa sklearn matplotlib pandas joblib fastprogress IPython anywidget".split()
PathFinder.find_spec = lambda name, *args: None if name in missing else there(name, *args)
import vc_lib
from vc_lib.convert import load_voice
wav = 0.1 * np.random.default_rng(0).normal(size=8_000).astype(np.float32)
for name in sys.argv[1:]:
    voice = load_voice(name)
    assert len(voice.convert(wav, voice.sr)) == len(wav) and voice.name == name
print(vc_lib.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built without an index."""
    try:
        tools = int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        tools = 0
    if tools < 77:
        pytest.skip("needs setuptools>=77, as in pyproject.toml")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"  # a build leaves folders behind
    junk = shutil.ignore_patterns("__pycache__", "*.pt", "*.npy")
    for name in ("vc_lib", "models/base", "models/kathleen", "models/ljspeech", "tests"):
        shutil.copytree(REPO / name, tree / name, ignore=junk)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, tree)
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with nothing but the package."""
    folder = tmp_path_factory.mktemp("installed")
    run_pip("install", "--no-deps", "--target", folder, wheel)
    return folder


def run_pip(*args) -> None:
    run = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, args)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("pip is not installed")
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


def test_wheel_holds_the_package_and_the_voice(installed, wheel):
    assert wheel.name.startswith(f"vc_lib-{__version__}-")
    packed = {str(f.relative_to(installed)) for f in installed.rglob("*") if f.is_file()}
    packed = {name for name in packed if not re.search(r"__pycache__|dist-info|^bin.vc$", name)}
    ours = [f for f in (REPO / "vc_lib").rglob("*") if f.suffix in (".py", ".js", ".html")]
    shipped = ("card.md", "config.json", "generator.safetensors")
    expected = {str(f.relative_to(REPO)) for f in ours}
    expected |= {f"vc_lib/anonymize/strangers.{kind}" for kind in ("npz", "md")}
    expected |= {f"vc_lib/voices/{voice}/{name}" for voice in (BASE, *VOICES) for name in shipped}
    assert {name.replace(os.sep, "/") for name in packed} == expected


def test_installed_voice_speaks_from_any_folder(installed, tmp_path):
    env = os.environ | {"PYTHONPATH": str(installed)}
    run = [sys.executable, "-W", "ignore", "-c", SPEAK, *VOICES]
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_voice_of_the_clone_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (BASE, *VOICES):
        assert voice.find_voice(name).resolve() == REPO / "models" / name


@pytest.mark.parametrize("name", ["requirements", "requirements-eval", "requirements-dev"])
def test_requirements_name_extras_only(name):
    lines = (REPO / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#")]
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", line)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    if name == "requirements-dev":
        assert set(extras) == set(PROJECT["optional-dependencies"])
