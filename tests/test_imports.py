"""A module imports only from its left, what draws is imported by notebooks alone, the first ones are light."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
ARROW = (
    "errors < files < config < cards < audio < cutting < pauses < parallel < sounds < pitch < synthesis < anonymize"
    " < recordings < spectrogram < compat < dataset < models < voices < losses < training < live < convert < baselines"
    " < metrics < listeners < evaluate < leakage < monitor < players < inputs"
    " < pictures < show < curves < board"
).split(" < ")
MODULES = sorted(path.stem for path in (REPO / "vc_lib").glob("*.py") if path.stem != "__init__")
HEAVY = ("torch", "torchvision", "fastai", "librosa", "matplotlib", "IPython", "ipywidgets")


def imported(source: str) -> set[str]:
    """The vc_lib modules that a file imports, inside functions too.

    Examples
    --------
    >>> sorted(imported("from .config import Config; from . import audio; import numpy as np"))
    ['audio', 'config']
    >>> sorted(imported("import vc_lib.show; from vc_lib import audio, losses"))
    ['audio', 'losses', 'show']
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name.split(".") for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["vc_lib"] * (node.level > 0) + (node.module or "").split(".")
            package = [part for part in package if part]
            found += [package] if len(package) > 1 else [[*package, n.name] for n in node.names]
    modules = {parts[1] for parts in found if parts[0] == "vc_lib" and len(parts) > 1}
    return {name for name in modules if not name.startswith("__")}


def test_every_module_has_its_place_in_the_arrow():
    unknown = [name for name in MODULES if name not in ARROW]
    assert not unknown, f"{unknown} must be put in the arrow (DESIGN, STYLE, README and here) or go"
    folders = [path.parent.name for path in (REPO / "vc_lib").glob("*/*.py")]
    assert not folders, f"vc_lib is flat, but holds {folders}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_from_its_left(name):
    left = ARROW[: ARROW.index(name)]
    wrong = imported((REPO / "vc_lib" / f"{name}.py").read_text(encoding="utf-8")) - set(left)
    assert not wrong, (
        f"{name} imports {sorted(wrong)}; it may import {', '.join(left) or 'nothing'}"
    )


def test_only_notebooks_import_show():
    files = [REPO / "vc_lib" / "__init__.py", *REPO.glob("*.py"), *REPO.glob("benchmarks/**/*.py")]
    wrong = [f.name for f in files if "show" in imported(f.read_text(encoding="utf-8"))]
    assert not wrong, f"{wrong} import vc_lib.show"


@pytest.mark.parametrize(
    "name", ["vc_lib", "vc_lib.config", "vc_lib.audio", "vc_lib.anonymize", "vc_lib.recordings"]
)
def test_the_first_modules_are_light(name):
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
import numpy as np
wav = np.random.default_rng(0).normal(size=16_000).astype(np.float32) / 10
Player({"a": wav, "b": wav / 2}, 16_000)
plot_spectrograms({"a": wav}, 16_000)
assert log_spectral_distance_db(wav, wav, 16_000) == 0
assert not listeners.installed(listeners.SPEAKER)
"""
    code = imports_of(REPO / "01_prestudy_convert-by-pyworld.ipynb")
    assert "from vc_lib.players import" in code
    done = run_without_torch(code + draw)
    assert done.returncode == 0, done.stderr[-2000:]
