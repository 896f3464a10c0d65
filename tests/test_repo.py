"""What a clone must be: tidy code, stripped notebooks, nothing large, links that lead somewhere."""

import ast
import os
import posixpath
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

import nbformat
import pytest

REPO = Path(__file__).parents[1]
TOOL = run_path(str(REPO / "tools" / "keep_outputs.py"))
KINDS, is_kept = TOOL["KINDS"], TOOL["is_kept"]
NOTEBOOKS = (
    "01_prestudy_convert-by-pyworld.ipynb",
    "02-1_train-with-pretraining.ipynb",
    "02-2_train-without-pretrain.ipynb",
    "03_output-without-pretrain.ipynb",
)
TEST_COMMAND = (
    "pip install -r requirements-dev.txt"
    " && pip install --no-deps -r requirements-eval-nodeps.txt && pytest"
)
MAIN_COMMAND = "pip install -r requirements-convert.txt && vc convert data/sample/sources converted"
MB = 1_000_000

MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(work|tmp|root|home|opt|Users)/\w|\b[A-Z]:\\Users")
REGISTRY_HOST = re.compile(
    r"pypi\.org|pythonhosted\.org|deb\.debian\.org|npmjs\.(com|org)|download\.pytorch\.org|anaconda\.(com|org)"
)


@cache
def files_in_git() -> tuple[str, ...]:
    """Tracked files, and those that the next `git add` would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    return tuple(name for name in done.stdout.split("\0") if name and (REPO / name).is_file())


def texts():
    """(name, text) of every text file in git."""
    for name in files_in_git():
        data = (REPO / name).read_bytes()
        if b"\0" not in data:
            yield name, data.decode("utf-8", errors="replace")


def run_tool(*args) -> None:
    """Run a tool that must have nothing to complain about."""
    if find_spec(args[0]) is None:
        pytest.skip(f"{args[0]} is not installed: pip install -r requirements-dev.txt")
    run = [sys.executable, "-m", *args]
    done = subprocess.run(run, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_has_nothing_to_say(command):
    run_tool("ruff", *command.split(), "--output-format=concise")


@pytest.mark.slow
def test_mypy_has_nothing_to_say():
    run_tool("mypy", "--no-error-summary")


def test_docstrings_have_the_sections_they_name():
    run_tool("numpydoc", "lint", *[n for n in files_in_git() if re.match(r"vc_lib/.*\.py", n)])


def test_words_are_spelt():
    run_tool("codespell_lib")


def test_notebooks_are_stripped():
    """Only cells tagged `keep_output` keep their outputs; `nbstripout *.ipynb` sees to it."""
    run_tool("nbstripout", "--verify", *[n for n in files_in_git() if n.endswith(".ipynb")])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_has_one_parameters_cell(name):
    cells = nbformat.read(REPO / name, as_version=4).cells
    tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1, f"{len(tagged)} cells are tagged `parameters`"
    values = {
        target.id: node.value
        for node in ast.parse(tagged[0].source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "smoke" in values and ast.literal_eval(values["smoke"]) is False


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_a_notebook_keeps_stands_by_itself(name):
    """Pictures and tables for those who only look; no sound, no widget, and not much of it."""
    cells = nbformat.read(REPO / name, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert all(is_kept(output) for output in outputs)
    kinds = {kind for output in outputs for kind in output.get("data", ())}
    assert "image/png" in kinds and kinds <= set(KINDS), "python tools/keep_outputs.py"
    text = (REPO / name).read_text(encoding="utf-8")
    assert "data:audio" not in text and "application/vnd.jupyter.widget" not in text
    assert len(text) < 0.6 * MB, f"{name} takes {len(text) / MB:.2f} MB"


def test_data_and_weights_are_small():
    sizes = {name: (REPO / name).stat().st_size for name in files_in_git()}
    sample = sum(size for name, size in sizes.items() if name.startswith("data/sample/"))
    assert sample <= 15 * MB, f"data/sample takes {sample / MB:.1f} MB"
    for name, size in sizes.items():
        limit = 20 if name.endswith(".safetensors") else 15
        assert size <= limit * MB, f"{name} takes {size / MB:.1f} MB"


def test_data_and_models_hold_only_what_ships():
    allowed = ("data/sample/", "models/base/", "models/kathleen/", "models/ljspeech/")
    wrong = [n for n in files_in_git() if n.startswith(("data/", "models/"))]
    wrong = [n for n in wrong if not n.startswith(allowed)]
    assert not wrong


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["path", "registry"])
def test_nothing_ties_it_to_one_machine(pattern):
    found = [
        f"{name}:{i}: {line.strip()[:100]}"
        for name, text in texts()
        for i, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def links(markdown: str) -> list[str]:
    """Where a page's links and pictures lead, code left out.

    Examples
    --------
    >>> links('[a](b.md#c) ![p](<d e.png> "title") <img src="f.png"> [o](https://x.y) `[n](o)`')
    ['b.md#c', 'd e.png', 'https://x.y', 'f.png']
    """
    text = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)
    inline = re.findall(r"\]\(\s*(?:<([^>]+)>|([^)\s]+))[^)]*\)", text)
    references = re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, flags=re.MULTILINE)
    html = re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']+)["']""", text)
    return [a or b for a, b in inline] + references + html


def pages() -> list[str]:
    """The pages of the documentation."""
    return [name for name in files_in_git() if name.endswith(".md")]


@pytest.mark.parametrize("page", pages())
def test_links_of_a_page_resolve(page):
    for link in links((REPO / page).read_text(encoding="utf-8")):
        path = link.partition("#")[0].partition("?")[0].rstrip("/")
        if not path or re.match(r"[a-z]+:", link):
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        found = any(name == path or name.startswith(f"{path}/") for name in files_in_git())
        assert found, f"{page} links to {link}, which is not in git"


@pytest.mark.parametrize("name, limit", [("benchmarks/RESULTS.md", 300), ("vc_lib/**/*.py", 450)])
def test_files_are_short(name, limit):
    lengths = {f.name: len(f.read_text(encoding="utf-8").splitlines()) for f in REPO.glob(name)}
    assert lengths and {f: n for f, n in lengths.items() if n > limit} == {}


def test_lines_are_short():
    """Of code; prose in tables and notebooks may be longer."""
    found = [
        f"{name}:{i}: {len(line)} characters"
        for name, text in texts()
        if Path(name).suffix in (".py", ".toml", ".txt") and not name.startswith("data/")
        for i, line in enumerate(text.splitlines(), 1)
        if len(line) > 120
    ]
    assert not found, "\n".join(found)


def test_the_package_is_imported_as_installed():
    """A script that bends its search path hides that it needs `pip install -e .`."""
    line = re.compile(r"^\s*sys\.path\b", re.MULTILINE)
    assert not [name for name, text in texts() if name.endswith(".py") and line.search(text)]


def test_the_top_of_the_package_is_surveyed_at_a_glance():
    modules = [f.stem for f in (REPO / "vc_lib").glob("*.py") if f.stem != "__init__"]
    assert len(modules) <= 12, f"put one of {sorted(modules)} into a room"


def test_readme_is_short():
    text = (REPO / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 1_300
    assert MAIN_COMMAND in text


def test_readme_and_ci_run_the_same_tests():
    for name in ("README.md", ".ci/run"):
        assert TEST_COMMAND in (REPO / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_scripts_import_what_exists(tmp_path, folder):
    files = sorted(str(f) for f in (REPO / folder).glob("*.py"))
    assert files
    code = f"import runpy\nfor file in {files}:\n    runpy.run_path(file, run_name='imported')"
    run = [sys.executable, "-W", "ignore", "-c", code]
    # vc_lib where it is not installed; scripts beside each other; the tests' helpers, for browser_times
    places = (REPO, REPO / folder, REPO / "tests", REPO / "tests" / "notebook")
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_the_static_page_is_of_this_player_and_these_figures():
    page = (REPO / "readme" / "index.html").read_text(encoding="utf-8")
    code = (REPO / "vc_lib" / "listen" / "player.js").read_text(encoding="utf-8").strip()
    assert code in page, "run python tools/make_page.py"
    rows = [
        line.strip("| ").split(" | ")
        for line in (REPO / "docs" / "measurements.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and "±" in line
    ]
    missing = [cell for row in rows for cell in row if f">{cell.strip(' |')}<" not in page]
    assert rows and not missing, f"run python tools/make_page.py: {missing}"


def test_both_readmes_have_the_same_figures():
    """Row by row the numbers of their tables, links included; the words differ."""
    english, japanese = (
        [
            re.findall(r"\d*\.?\d+|–|\]\([^)]*\)", line)
            for line in (REPO / name).read_text(encoding="utf-8").splitlines()
            if line.startswith("|")
        ]
        for name in ("README.md", "README.ja.md")
    )
    assert english == japanese and sum(map(len, english)) > 50
