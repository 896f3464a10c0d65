"""The tab "Train": recordings of one speaker, a name, and the curves while it trains."""

import html
from functools import partial

import gradio as gr

from ..errors import ParameterError
from ..listen.tracks import data_url
from .look import OLD_S, QUIET, problem
from .training import MODELS, Training

INTRODUCTION = (
    "Train a voice from recordings of **one speaker who agrees**: five minutes of speech are a start, "
    "with little noise and no music. A quick training of five minutes takes a few minutes on two cores."
)
KEPT = (
    "The recordings of a training, and all that is computed from them, are removed when it has ended, "
    "so it cannot be resumed from this page. The uploads themselves are removed after about "
    f"{OLD_S // 3600} hours, or when the server stops. The voice is saved in `{MODELS}/NAME` on the "
    "computer that this page runs on. Closing the page does not stop the training; stopping the server "
    "does."
)
CONSENT = "The speaker agrees that this voice is made, and knows what it is for"


def train_tab(training: Training, timer: gr.Timer) -> gr.Button:
    """Lay out the tab, and return the button that tries the new voice.

    Parameters
    ----------
    training : Training
        Shared by all who open the page.
    timer : gr.Timer
        Renews what the tab shows.
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(INTRODUCTION)
            if missing := training.missing():
                gr.HTML(problem(missing))
            files = gr.File(
                label="Recordings of one speaker",
                file_count="multiple",
                height=130,
                elem_id="recordings",
            )
            name = gr.Textbox(label="Name of the voice", placeholder="anna", max_lines=1)
            agreed = gr.Checkbox(label=CONSENT, container=False)
            quick = gr.Checkbox(
                value=True,
                label="Quick: a third of the steps, for a first voice",
                container=False,
            )
            with gr.Row():
                start = gr.Button(
                    "Train",
                    variant="primary",
                    elem_id="train",
                    min_width=100,
                    interactive=not missing,
                )
                cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", min_width=100)
        with gr.Column(scale=3, min_width=300):
            state = gr.HTML(_text(training), elem_id="training", elem_classes="vc-flush")
            curves = gr.HTML(elem_id="curves", elem_classes="vc-flush")
            try_button = gr.Button("Try it in Convert", visible=False, elem_id="try")
            gr.Markdown(KEPT, elem_classes="vc-notice")

    seen = gr.State()
    shown = [state, curves, try_button, start, cancel, seen]
    start.click(partial(_start, training), [files, name, quick, agreed], shown, **QUIET)
    cancel.click(partial(_cancel, training), None, shown, **QUIET)
    timer.tick(partial(_renewed, training), seen, shown, **QUIET)
    return try_button


def _start(training: Training, files, name: str, quick: bool, agreed: bool) -> list:
    try:
        training.start(files or [], name, quick, agreed)
    except (ParameterError, OSError) as e:
        return [problem(str(e)), *[gr.skip()] * 4, "refused"]
    return _renewed(training, None)


def _cancel(training: Training) -> list:
    training.cancel()
    return _renewed(training, None)


def _renewed(training: Training, seen) -> list:
    """What the tab shows now; nothing is sent if it is as `seen`."""
    now = training.progress
    changed = now.history.stat().st_mtime if now.name and now.history.is_file() else 0
    state = (now, changed)
    if repr(state) == seen or (seen == "refused" and not now.running):
        return [gr.skip()] * 6
    return [
        _text(training),
        _curves(now.history) if changed else "",
        gr.Button(visible=now.has_voice),
        gr.Button(interactive=not now.running and not training.missing()),
        gr.Button(interactive=now.running),
        repr(state),
    ]


def _curves(history) -> str:
    """The losses so far, as a picture; empty while the table is too short to draw."""
    from ..notebook.runs import plot_losses  # here: conversion needs no matplotlib

    try:
        png = plot_losses(history)._repr_png_()
    except (ParameterError, OSError):
        return ""
    return f'<img class="vc-curves" alt="curves of the losses" src="{data_url("image/png", png)}">'


def _text(training: Training) -> str:
    """What the training does or did, as HTML."""
    now = training.progress
    if now.failed:
        return problem(now.result)
    done = f" ({now.done[0]} of {now.done[1]})" if now.done else ""
    stage = now.stage.partition(";")[0]  # what follows is for those who sit at a terminal
    said = now.result or f"{stage}{done}"
    name = f"<b>{'Training ' if now.running else ''}{html.escape(now.name)}</b>: " if said else ""
    return f'<p class="vc-note">{name}{html.escape(said) or "Nothing is being trained."}</p>'
