"""The page: its three tabs, and the menu of voices."""

from pathlib import Path

import gradio as gr

from .convert_tab import convert_tab, examples
from .look import OLD_S, QUIET, SWEEP_S
from .train_tab import train_tab
from .training import Training
from .voices import VoiceCache

RENEW_S = 2.0  # between two looks at the list of voices and at the training [s]
LIVE = (
    '<iframe class="vc-live" title="live conversion" src="live/" allow="microphone; autoplay" scrolling="no">'
    "</iframe>"
)
LIVE_NOTICE = (
    "The sound is converted on the computer that this page runs on, and is not stored. **Tell whoever "
    "hears you that the voice is synthetic.**"
)


def build(voice_cache: VoiceCache, training: Training, folder: Path) -> gr.Blocks:
    """The page.

    Parameters
    ----------
    voice_cache : VoiceCache
    training : Training
    folder : Path
        Temporary; named on the page.
    """
    with gr.Blocks(
        title="Voice conversion", analytics_enabled=False, delete_cache=(SWEEP_S, OLD_S)
    ) as page:
        gr.Markdown(
            "# Voice conversion\n"
            "Everything stays on the computer that this page runs on. Uploads and results lie in "
            f"`{folder}`, until the server stops.",
            elem_id="title",
        )
        timer = gr.Timer(RENEW_S)
        with gr.Tabs(selected="convert") as tabs:
            with gr.Tab("Convert", id="convert"):
                voice = convert_tab(voice_cache, folder)
            with gr.Tab("Live", id="live"):
                gr.HTML(LIVE, elem_classes="vc-flush")
                gr.Markdown(LIVE_NOTICE, elem_classes="vc-notice")
            with gr.Tab("Train", id="train"):
                try_button = train_tab(training, timer)
        _keep_menu(page, voice_cache, voice, timer)
        try_button.click(
            lambda: (gr.Tabs(selected="convert"), _menu(voice_cache, training.progress.name)),
            None,
            [tabs, voice],
            **QUIET,
        )
    return page


def _menu(voice_cache: VoiceCache, value: str | None = None) -> gr.Dropdown:
    names = voice_cache.names()
    return gr.Dropdown(names, value=value) if value in names else gr.Dropdown(names)


def _keep_menu(
    page: gr.Blocks, voice_cache: VoiceCache, voice: gr.Dropdown, timer: gr.Timer
) -> None:
    """Renew the menu when the list of voices changes, and whenever the page is opened."""
    listed = gr.State()

    def renew(seen):
        names = voice_cache.names()
        return (gr.skip(), gr.skip()) if names == seen else (_menu(voice_cache), names)

    timer.tick(renew, listed, [voice, listed], **QUIET)
    page.load(renew, listed, [voice, listed], **QUIET)


def first_example() -> Path | None:
    """A clip for the live tab; None where there is no clone."""
    return next(iter(examples().values()), None)
