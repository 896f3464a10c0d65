"""The page: its three tabs, its look, and what they share."""

import tempfile
from pathlib import Path

import gradio as gr

from .convert_tab import convert_tab, examples
from .train_tab import train_tab
from .training import Training
from .voices import Shelf

RENEW_S = 2.0  # between two looks at the list of voices and at the training [s]
OLD_S = 4 * 3600  # age at which uploads and results are removed [s]
SYSTEM_FONT = ("system-ui", "sans-serif")  # no font is loaded from anywhere
MONO_FONT = ("ui-monospace", "monospace")
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#title h1 { margin: 0; font-size: 1.35rem; }
#title p, .vc-notice { font-size: .9rem; opacity: .9; }
.vc-frame { width: 100%; height: 360px; border: 0; display: block; }
.vc-live { width: 100%; height: 330px; border: 0; display: block; }
.vc-empty { padding: 2.5rem 1rem; text-align: center; border-radius: 8px;
  border: 1px dashed var(--border-color-primary); }
.vc-curves { max-width: 100%; height: auto; border-radius: 6px; }
footer { display: none !important; }
"""
LIVE = (
    '<iframe class="vc-live" title="live conversion" src="live/" allow="microphone; autoplay" scrolling="no">'
    "</iframe>"
)
LIVE_NOTICE = (
    "The sound is converted on the computer that this page runs on, and is not stored. **Tell whoever "
    "hears you that the voice is synthetic.**"
)


def theme() -> gr.themes.Base:
    """Colors of the figures, and fonts of the system."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.gray,
        font=SYSTEM_FONT,
        font_mono=MONO_FONT,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_sm,
    ).set(
        button_primary_background_fill="#0072B2",
        button_primary_background_fill_hover="#005a8c",
        button_primary_background_fill_dark="#0072B2",
        button_primary_background_fill_hover_dark="#2a8cc4",
        button_primary_text_color="white",
    )


def build(shelf: Shelf, training: Training, folder: Path) -> gr.Blocks:
    """The page.

    Parameters
    ----------
    shelf : Shelf
    training : Training
    folder : Path
        Temporary; for results, and named on the page.
    """
    with gr.Blocks(
        title="Voice conversion", analytics_enabled=False, delete_cache=(600, OLD_S)
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
                results = Path(tempfile.mkdtemp(prefix="results-", dir=folder))
                voice = convert_tab(shelf, results)
            with gr.Tab("Live", id="live"):
                gr.HTML(LIVE)
                gr.Markdown(LIVE_NOTICE, elem_classes="vc-notice")
            with gr.Tab("Train", id="train"):
                attempt = train_tab(training, timer)
        _keep_menu(page, shelf, voice, timer)
        attempt.click(
            lambda: (gr.Tabs(selected="convert"), _menu(shelf, training.progress.name)),
            None,
            [tabs, voice],
            queue=False,
            api_visibility="private",
        )
    return page


def _menu(shelf: Shelf, value: str | None = None) -> gr.Dropdown:
    names = shelf.names()
    chosen = dict(value=value) if value in names else {}
    return gr.Dropdown(choices=names, **chosen)


def _keep_menu(page: gr.Blocks, shelf: Shelf, voice: gr.Dropdown, timer: gr.Timer) -> None:
    """Renew the menu when the list of voices changes, and whenever the page is opened."""
    listed = gr.State()

    def renew(seen):
        names = shelf.names()
        return (gr.skip(), gr.skip()) if names == seen else (_menu(shelf), names)

    quiet = dict(queue=False, show_progress="hidden", api_visibility="private")
    timer.tick(renew, listed, [voice, listed], **quiet)
    page.load(renew, listed, [voice, listed], **quiet)


def first_example() -> Path | None:
    """A clip for the live tab; None where there is no clone."""
    return next(iter(examples().values()), None)
