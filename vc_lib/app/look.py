"""What the tabs share: colors, how a problem is shown, quiet events, and how long files are kept."""

import html
from typing import Any

import gradio as gr

# arguments of events that are quick, do not wait for a conversion, and are no API
QUIET: dict[str, Any] = dict(queue=False, show_progress="hidden", api_visibility="private")
OLD_S = 4 * 3600  # age at which uploads and results are removed [s]
SWEEP_S = 600  # between two looks for such [s]
SYSTEM_FONT = ("system-ui", "sans-serif")  # no font is loaded from anywhere
MONO_FONT = ("ui-monospace", "monospace")
CSS = """
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
.gradio-container > main, .gradio-container .wrap { width: 100%; }
.vc-flush, .vc-flush .html-container { padding: 0 !important; }
.vc-problem { margin: 0; padding: 8px 12px; border-radius: 8px; overflow-wrap: anywhere;
  background: color-mix(in srgb, #D55E00 18%, transparent); }
.vc-note { margin: 0; overflow-wrap: anywhere; }
#title h1 { margin: 0; font-size: 1.35rem; }
#title p, .vc-notice { font-size: .9rem; opacity: .9; }
.vc-frame { width: 100%; height: 360px; border: 0; display: block; }
.vc-live { width: 100%; height: 330px; border: 0; display: block; }
.vc-empty { margin: 0; min-height: 7.5rem; padding: 2.5rem 1rem; text-align: center; border-radius: 8px;
  border: 1px dashed var(--border-color-primary); }
.vc-bar { display: block; width: min(100%, 22rem); height: .6rem; margin: 0 auto .7rem; border-radius: .3rem;
  background: var(--border-color-primary); overflow: hidden; }
.vc-bar i { display: block; width: 0; height: 100%; background: #0072B2; transition: width .3s; }
.vc-curves { max-width: 100%; height: auto; border-radius: 6px; }
:is(#training, #curves, #voice, #message) [data-testid="status-tracker"] { display: none; }
footer { display: none !important; }
"""


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
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_400",
    )


def problem(message: str) -> str:
    """HTML of a sentence that says what is wrong, given as text without a full stop."""
    if message.partition(" ")[0].isalpha():  # otherwise it is the name of a file
        message = message[:1].upper() + message[1:]
    return f'<p class="vc-problem" role="alert">{html.escape(message)}.</p>'
