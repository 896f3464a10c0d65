"""Rooms import from their left only, only notebooks draw, and what notebook 01 needs is light."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "vc_lib"
# A room (folder) or module imports from its left; rooms joined by a comma do not import each other.
ARROW = (
    "errors < files, fields, parallel < speaker < config < audio < anonymize < corpus, spectrogram < model"
    " < training, convert < evaluate, listen < notebook < app < cli < __main__"
)
LEVELS = [level.split(", ") for level in ARROW.split(" < ")]
LEVEL = {room: i for i, rooms in enumerate(LEVELS) for room in rooms}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem != "__init__"
)
HEAVY = (
    *("torch", "torchvision", "fastai", "librosa", "matplotlib", "IPython", "ipywidgets", "pandas"),
    *("sklearn", "scipy.signal", "scipy.stats", "pyloudnorm"),
)


def imported(source: str, module: str = "") -> set[str]:
    """The vc_lib modules that a file imports, inside functions too, as dotted names under vc_lib.

    Examples
    --------
    >>> sorted(imported("from ..config import Config; from .wav import resample", "audio.read"))
    ['audio.wav', 'config']
    >>> sorted(imported("from . import judges; import numpy as np", "evaluate.clips"))
    ['evaluate.judges']
    >>> sorted(imported("import vc_lib.notebook.plots; from vc_lib.audio import load_wav"))
    ['audio', 'notebook.plots']
    """
    package, found = module.split(".")[:-1], set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [name.name.split(".") for name in node.names]
            found |= {".".join(parts[1:]) for parts in names if parts[0] == "vc_lib"}
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if node.level:
                parts = package[: len(package) - node.level + 1] + parts
            elif parts[:1] != ["vc_lib"]:
                continue
            else:
                parts = parts[1:]
            for name in node.names:
                path = PACKAGE.joinpath(*parts, name.name)
                is_module = path.is_dir() or path.with_suffix(".py").is_file()
                found.add(".".join([*parts, name.name] if is_module else parts))
    return {name for name in found if name and not name.startswith("__")}


def imports_of_module(name: str) -> set[str]:
    return imported((PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"), name)


def test_every_module_is_in_a_room_of_the_arrow():
    unknown = [name for name in MODULES if name.split(".")[0] not in LEVEL]
    assert not unknown, f"{unknown} must be put into a room, or a room into the arrow"
    for page in ("docs/how-it-works.md", "vc_lib/__init__.py"):
        text = (REPO / page).read_text(encoding="utf-8")
        missing = [room for room in LEVEL if room not in text]
        assert not missing, f"{page} does not name {missing}"


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_from_its_left(name):
    own = name.split(".")[0]
    rooms = {other.split(".")[0] for other in imports_of_module(name)} - {own}
    wrong = sorted(room for room in rooms if LEVEL[room] >= LEVEL[own])
    assert not wrong, f"{name} imports {wrong}, which are not on its left: {ARROW}"


def test_no_module_imports_itself_around_a_corner():
    graph = {name: imports_of_module(name) & set(MODULES) for name in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_only_notebooks_draw():
    files = [*REPO.glob("benchmarks/**/*.py"), *REPO.glob("tools/**/*.py")]
    drawing = {"notebook.plots", "notebook.widgets", "notebook.board"}
    wrong = [f.name for f in files if imported(f.read_text(encoding="utf-8")) & drawing]
    assert not wrong, f"{wrong} import what only notebooks show"


@pytest.mark.parametrize(
    "name",
    [
        "vc_lib",
        "vc_lib.config",
        "vc_lib.corpus",
        "vc_lib.spectrogram",
        "vc_lib.convert",
        "vc_lib.listen",
    ],
)
def test_what_conversion_imports_is_light(name):
    code = f"import sys, {name}; print(*sorted(set(sys.modules) & set({HEAVY})))"
    run = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(run, cwd=REPO, capture_output=True, text=True, check=True)
    assert not done.stdout.split(), f"import {name} also imports {done.stdout.strip()}"


# Run before anything else, this makes a process one where torch is not installed
WITHOUT_TORCH = """
from importlib.machinery import PathFinder
_find = PathFinder.find_spec
def find_spec(name, *args):
    return None if name.split(".")[0] == "torch" else _find(name, *args)
PathFinder.find_spec = find_spec
"""


def imports_of(notebook: Path) -> str:
    """The import statements of a notebook, as a program."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = []
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).splitlines()
            plain = "\n".join(line for line in source if not line.lstrip().startswith(("!", "%")))
            found = [n for n in ast.parse(plain).body if isinstance(n, ast.Import | ast.ImportFrom)]
            lines += [ast.unparse(node) for node in found]
    return "\n".join(lines)


def run_without_torch(code: str) -> subprocess.CompletedProcess:
    run = [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH + code]
    return subprocess.run(run, cwd=REPO, capture_output=True, text=True)


def test_the_first_notebook_opens_and_draws_where_torch_is_not_installed():
    assert "No module named 'torch'" in run_without_torch("import torch").stderr
    draw = """
from vc_lib.evaluate import judges
from vc_lib.evaluate.metrics import log_spectral_distance_db
from vc_lib.notebook import Player
wav = np.random.default_rng(0).normal(size=16_000).astype(np.float32) / 10
Player({"a": wav, "b": wav / 2}, 16_000)
plot_spectrograms({"a": wav}, 16_000)
assert log_spectral_distance_db(wav, wav, 16_000) == 0
assert not judges.installed(judges.SPEAKER)
"""
    code = imports_of(REPO / "01_prestudy_convert-by-pyworld.ipynb")
    assert "from vc_lib.notebook import" in code
    done = run_without_torch(code + draw)
    assert done.returncode == 0, done.stderr[-2000:]
