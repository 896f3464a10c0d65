"""The four notebooks run top to bottom in a copy of the tree: with `smoke = True`, and with their defaults.

A cell that fails is not the only way to be broken: an error inside a widget's callback stays in the
widget, a player can be silent, a slider can fail at its second position. All of that counts here.
"""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import soundfile
import zmq
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.output_widget import OutputWidget
from nbformat.v4 import new_code_cell, new_notebook
from test_repo import NOTEBOOKS, REPO

NEEDED = (
    "vc_lib",
    "data/sample",
    "models/ljspeech",
    "readme",
    "benchmarks",
)  # besides the notebooks
SMOKE = "smoke = True"
# All defaults, on the whole sample; of a notebook that trains, one epoch of each stage.
ONE_EPOCH = {
    "02-1_train-with-pretraining.ipynb": "epochs, critic_epochs, gan_epochs = 1, 1, 1",
    "02-2_train-without-pretrain.ipynb": "gan_epochs = 1",
}
TIMEOUT_S = 900  # for one notebook
DATA_URI = re.compile(r"data:audio/[^,]+;base64,([A-Za-z0-9+/=]+)")
SOUND_FILES = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3")  # how they begin

# A callback's error is shown in its widget until the next redraw, so it is kept from the start ...
KEEP_ERRORS = """
import sys
def _keep_errors(shell):
    show, shell.kept_errors = shell.showtraceback, []
    def showtraceback(exc_tuple=None, *args, **kwargs):
        shell.kept_errors.append(repr((exc_tuple or sys.exc_info())[1]))
        show(exc_tuple, *args, **kwargs)
    shell.showtraceback = showtraceback
_keep_errors(get_ipython())
"""
# ... until every slider and menu was moved one step and every button pressed, as a person might.
POKE = """
def _poke():
    import ipywidgets as w
    from ipywidgets.widgets.widget import _instances
    moved = 0
    for widget in list(_instances.values()):
        if getattr(widget, "disabled", False):
            continue
        if isinstance(widget, (w.IntSlider, w.FloatSlider)):
            step = widget.step if widget.value + widget.step <= widget.max else -widget.step
            widget.value += step
        elif isinstance(getattr(widget, "index", None), int) and hasattr(widget, "options"):
            widget.index = (widget.index + 1) % len(widget.options)
        elif isinstance(widget, w.Checkbox):
            widget.value = not widget.value
        elif isinstance(widget, w.Button):
            widget.click()
        else:
            continue
        moved += 1
    print(f"moved {moved} widgets")
    kept = get_ipython().kept_errors
    assert not kept, f"callbacks failed: {kept}"
_poke()
"""


def set_parameters(nb, source: str) -> None:
    """Override parameters of a notebook by a cell after the one that is tagged `parameters`."""
    at = [i for i, c in enumerate(nb.cells) if "parameters" in c.metadata.get("tags", [])]
    for i in at:
        nb.cells.insert(i + 1, new_code_cell(source))


def run(nb, folder: Path, parameters: str = SMOKE, poke: str | None = None):
    """Run a notebook in `folder`, its outputs and the state of its widgets kept."""
    nb = nbformat.from_dict(nb)
    set_parameters(nb, parameters)
    nb.cells = [
        new_code_cell(KEEP_ERRORS),
        *nb.cells,
        new_code_cell(POKE if poke is None else poke),
    ]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.metadata.pop("widgets", None)
    end = time.monotonic() + TIMEOUT_S
    NotebookClient(
        nb,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        timeout_func=lambda cell: max(1, int(end - time.monotonic())),
        store_widget_state=True,
    ).execute()
    return nb


def widget_models(nb) -> list:
    """The widgets as a browser would get them: model_name, state and binary buffers."""
    saved = nb.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    return list(saved.get("state", {}).values())


def widget_outputs(nb) -> list:
    """What stands inside Output widgets, `interact`'s included."""
    models = [m for m in widget_models(nb) if m["model_name"] == "OutputModel"]
    return [output for model in models for output in model["state"].get("outputs", [])]


def all_outputs(nb) -> list:
    """Every output of a notebook, of cells and of widgets."""
    cells = [output for cell in nb.cells for output in cell.get("outputs", [])]
    return cells + widget_outputs(nb)


def errors(nb) -> list[str]:
    """Error outputs, and tracebacks that something printed instead of raising."""
    outputs = all_outputs(nb)
    raised = [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]
    texts = [o["text"] for o in outputs if o["output_type"] == "stream"]
    return raised + [text for text in texts if "Traceback (most recent call last)" in text]


def players(nb) -> list[np.ndarray]:
    """The sound of every <audio>, and of every widget that holds some."""
    pages = [output.get("data", {}).get("text/html", "") for output in all_outputs(nb)]
    tags = [tag for page in pages for tag in re.findall(r"<audio.*?</audio>", page, re.DOTALL)]
    assert all(DATA_URI.search(tag) for tag in tags), "a player holds no sound of its own"
    widgets = [m for m in widget_models(nb) if m["model_name"] != "OutputModel"]
    found = DATA_URI.findall("\n".join(tags) + json.dumps([m["state"] for m in widgets]))
    buffers = [buffer["data"] for m in widgets for buffer in m.get("buffers", [])]
    found += [data for data in buffers if base64.b64decode(data[:8]).startswith(SOUND_FILES)]
    return [soundfile.read(io.BytesIO(base64.b64decode(data)))[0] for data in found]


def pictures(nb) -> list[str]:
    """The kinds of all pictures."""
    kinds = [kind for output in all_outputs(nb) for kind in output.get("data", {})]
    return [kind for kind in kinds if kind.startswith("image/")]


def send_and_look_again(self, *args, plain_send=OutputWidget.send, **kwargs):
    """Answer an Output widget, then wake whoever waits at the same socket.

    Sending uses up the sign that a reply has come, and nbclient then waits for it until its
    timeout: one cell in twenty with an Output widget, see nbclient issue 312.
    """
    plain_send(self, *args, **kwargs)
    self.kernel_client.shell_channel.socket.get(zmq.EVENTS)


@pytest.fixture
def kernel_env(monkeypatch, tmp_path):
    """Kernels start as a person's would: pictures inline, and nobody's own Jupyter settings."""
    monkeypatch.setattr(OutputWidget, "send", send_and_look_again)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what a clone holds, so that whatever notebooks write lands outside the checkout."""
    return copied_tree(tmp_path_factory.mktemp("clone"))


def copied_tree(copy: Path) -> Path:
    """What a clone holds, in another folder."""
    for name in NEEDED:
        if (REPO / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(REPO / name, copy / name, ignore=ignore)
    for name in NOTEBOOKS:
        if (REPO / name).is_file():
            shutil.copy(REPO / name, copy)
    return copy


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("how", ["smoke", "defaults"])
def test_notebook_runs_is_heard_and_seen(name, how, tree, kernel_env):
    settings = (SMOKE,) if how == "smoke" else (ONE_EPOCH.get(name, ""), "")
    nb = run(nbformat.read(tree / name, as_version=4), tree, *settings)

    assert not errors(nb), "\n".join(errors(nb))
    sounds = players(nb)
    assert len(sounds) >= 2, "nothing to compare by ear"
    for i, sound in enumerate(sounds):
        assert np.abs(sound).max(initial=0) > 1e-3, f"player {i} of {len(sounds)} is silent"
    assert pictures(nb), "nothing to look at"


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
    assert pictures(nb) == ["image/png"]


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


def test_harness_reads_the_state_of_widgets(tmp_path, kernel_env, monkeypatch):
    monkeypatch.setitem(run.__globals__, "POKE", "")
    broken = "from ipywidgets import interact\ninteract(lambda x: 1 / 0, x=(0, 3))"
    printed = "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()"
    nb = run(cells(broken, printed), tmp_path)
    assert [o["ename"] for o in widget_outputs(nb)] == ["ZeroDivisionError"]
    assert len(errors(nb)) == 2


def test_harness_refuses_an_empty_player(tmp_path, kernel_env):
    empty = "import IPython.display as ipd\nipd.HTML('<audio controls src=\"away.wav\"></audio>')"
    with pytest.raises(AssertionError, match="no sound of its own"):
        players(run(cells(empty), tmp_path))
