"""Run a notebook in a kernel and read what a person would see and hear.

A notebook fails by a cell that raises, by an error inside a widget's callback (it stays in the
widget), by a silent player, or by a slider that fails at its second position.
"""

import base64
import io
import json
import re
import shutil
import time
from pathlib import Path

import nbformat
import numpy as np
import soundfile
import zmq
from nbclient import NotebookClient
from nbclient.output_widget import OutputWidget
from nbformat.v4 import new_code_cell
from test_repo import NOTEBOOKS, REPO

NEEDED = (
    "vc_lib",
    "data/sample",
    "models/base",
    "models/ljspeech",
    "readme",
    "benchmarks",
)  # besides the notebooks
SMOKE = "smoke = True"
TIMEOUT_S = 1_500  # for one notebook, of two that run at once on a slow machine
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


def poked(nb):
    """The notebook with its widgets moved at the end, which fails if a callback ever failed."""
    nb.cells = [new_code_cell(KEEP_ERRORS), *nb.cells, new_code_cell(POKE)]
    return nb


def run(nb, folder: Path, parameters: str = SMOKE, poke: bool = True):
    """Run a notebook in `folder`, its outputs and the state of its widgets kept."""
    nb = nbformat.from_dict(nb)
    set_parameters(nb, parameters)
    if poke:
        poked(nb)
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


def images(nb) -> list[str]:
    """MIME types of all images."""
    kinds = [kind for output in all_outputs(nb) for kind in output.get("data", {})]
    return [kind for kind in kinds if kind.startswith("image/")]


def send_and_look_again(self, *args, plain_send=OutputWidget.send, **kwargs):
    """Answer an Output widget, then wake whoever waits at the same socket.

    Sending uses up the sign that a reply has come, and nbclient then waits for it until its
    timeout: one cell in twenty with an Output widget, see nbclient issue 312.
    """
    plain_send(self, *args, **kwargs)
    self.kernel_client.shell_channel.socket.get(zmq.EVENTS)


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
