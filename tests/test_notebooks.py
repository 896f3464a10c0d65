"""The four notebooks run top to bottom in a copy of the repository, with their defaults."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import CellExecutionError
from nbclient.output_widget import OutputWidget
from nbformat.v4 import new_code_cell, new_notebook
from notebook_runner import (
    copied_tree,
    errors,
    images,
    players,
    run,
    send_and_look_again,
    widget_outputs,
)
from test_repo import NOTEBOOKS, REPO

# All defaults, on the whole sample; of a notebook that trains, one epoch of each stage.
ONE_EPOCH = {
    "02-1_train-with-pretraining.ipynb": "epochs, critic_epochs, gan_epochs = 1, 1, 1",
    "02-2_train-without-pretrain.ipynb": "gan_epochs = 1",
}


@pytest.fixture(scope="module")
def kernel_env(tmp_path_factory):
    """Kernels start as a person's would: pictures inline, and nobody's own Jupyter settings."""
    own = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutputWidget, "send", send_and_look_again)
        patch.delenv("MPLBACKEND", raising=False)
        patch.setenv("JUPYTER_CONFIG_DIR", str(own / "jupyter"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(own / "runtime"))
        patch.setenv("IPYTHONDIR", str(own / "ipython"))
        patch.setenv("OMP_NUM_THREADS", "1")  # two notebooks run at once
        yield


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory, kernel_env):
    """Runs to wait for, two at once, each in a copy of what a clone holds; trainings first."""

    def run_in_a_copy(name):
        tree = copied_tree(tmp_path_factory.mktemp("clone"))
        nb = nbformat.read(tree / name, as_version=4)
        return run(nb, tree, ONE_EPOCH.get(name, ""), poke=False)

    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if getattr(item, "function", None) is test_notebook_runs_is_heard_and_seen
    ]
    names.sort(key=lambda name: name not in ONE_EPOCH)
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run_in_a_copy, name) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_is_heard_and_seen(name, runs):
    """With `smoke`, and all widgets moved, the browser runs them: tests/notebook/test_browser.py."""
    nb = runs[name].result()

    assert not errors(nb), "\n".join(errors(nb))
    sounds = players(nb)
    assert len(sounds) >= 2, "nothing to compare by ear"
    for i, sound in enumerate(sounds):
        assert np.abs(sound).max(initial=0) > 1e-3, f"player {i} of {len(sounds)} is silent"
    assert images(nb), "nothing to look at"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_papermill_knows_the_parameters_and_sets_them(name, tmp_path):
    papermill = pytest.importorskip("papermill", reason="pip install -r requirements-dev.txt")
    known = papermill.inspect_notebook(str(REPO / name))
    assert known["smoke"]["default"] == "False" and known["smoke"]["help"], "each says what it does"
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(REPO / name), str(out), {"smoke": True}, prepare_only=True, progress_bar=False
    )
    sources = [cell.source for cell in nbformat.read(out, as_version=4).cells]
    (at,) = [i for i, source in enumerate(sources) if source.startswith("# Parameters")]
    assert "smoke = True" in sources[at] and "smoke = False" in sources[at - 1]


def test_the_first_cell_fetches_the_project_on_colab_and_does_nothing_elsewhere(monkeypatch):
    cells = [nbformat.read(REPO / name, as_version=4).cells[1] for name in NOTEBOOKS]
    (source,) = {cell.source for cell in cells}
    code, done = TransformerManager().transform_cell(source), []
    shell = SimpleNamespace(
        system=done.append, run_line_magic=lambda *words, **_: done.append(" ".join(words))
    )
    scope = dict(get_ipython=lambda: shell, input=lambda _: "https://example.org/vc")
    exec(code, dict(scope))
    assert done == []
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    exec(code, dict(scope))
    assert any("git clone" in line for line in done) and "cd /content/vc" in done
    assert [line for line in done if line.startswith("pip install")] == [
        "pip install --quiet -r colab.txt"
    ]
    (choose,) = [line for line in done if "> colab.txt" in line]
    chosen = subprocess.run(
        choose.partition(">")[0], shell=True, cwd=REPO, capture_output=True, text=True, check=True
    ).stdout
    assert "fastai" in chosen and "pyworld==" in chosen
    assert not re.search(r"^torch", chosen, re.MULTILINE), "Colab's own torch stays"
    for script in re.findall(r"python (\S+)", " ".join(done)):
        assert (REPO / script).is_file()


# The harness itself: it must see what a person would


def cells(*sources):
    return new_notebook(cells=[new_code_cell(source) for source in sources])


GOOD = """
import IPython.display as ipd, numpy as np
from ipywidgets import interact
import matplotlib.pyplot as plt
@interact(hz=(100.0, 400.0, 100.0))
def hear(hz=400.0):
    ipd.display(ipd.Audio(np.sin(2 * np.pi * hz * np.arange(8000) / 16000), rate=16000))
    plt.plot([hz]); plt.show()
"""


SOUND_WIDGET = """
import io, soundfile
from ipywidgets import Audio
file = io.BytesIO()
soundfile.write(file, 0.5 * np.ones(4000), 16000, format="FLAC")
Audio(value=file.getvalue(), format="flac")
"""


def test_harness_hears_and_sees_inside_widgets(tmp_path, kernel_env):
    nb = cells("smoke = False", GOOD, "assert smoke", SOUND_WIDGET)
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb = run(nb, tmp_path)
    assert not errors(nb)
    tone, constant = players(nb)
    assert len(tone) == 8000 and np.abs(np.fft.rfft(tone)).argmax() == 150, "moved to 300 Hz"
    assert len(constant) == 4000 and np.allclose(constant, 0.5, atol=1e-3)
    assert images(nb) == ["image/png"]


def test_harness_catches_what_would_stay_in_a_widget(tmp_path, kernel_env):
    broken = (
        "from ipywidgets import Button, Output, interact",
        "interact(lambda x: 1 / x, x=(0, 1, 1)).widget.children[0].value = 0",
        "interact(lambda x: {'a': 1}[x], x=['a', 'b'])",
        "b = Button(); b.on_click(lambda b: b.nonsense); b",
        "o = Output()\nwith o: [][1]\no.clear_output()",
    )
    with pytest.raises(CellExecutionError) as failure:
        run(cells(*broken), tmp_path)
    for name in ("ZeroDivisionError", "KeyError", "AttributeError", "IndexError"):
        assert name in failure.value.evalue


def test_harness_reads_the_state_of_widgets(tmp_path, kernel_env):
    broken = "from ipywidgets import interact\ninteract(lambda x: 1 / 0, x=(0, 3))"
    printed = "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()"
    nb = run(cells(broken, printed), tmp_path, poke=False)
    assert [o["ename"] for o in widget_outputs(nb)] == ["ZeroDivisionError"]
    assert len(errors(nb)) == 2


def test_harness_refuses_an_empty_player(tmp_path, kernel_env):
    empty = "import IPython.display as ipd\nipd.HTML('<audio controls src=\"away.wav\"></audio>')"
    with pytest.raises(AssertionError, match="no sound of its own"):
        players(run(cells(empty), tmp_path))
