"""The page to listen that several commands leave beside their results."""

from pathlib import Path

from ..errors import ParameterError
from .terminal import say


def page_to_hear(voice, made: dict[Path, Path], folder: Path) -> str:
    """Write a page to listen; end of the last line that names it, empty if there is none."""
    from ..listen import write_listening_page

    try:
        return f"; listen: {write_listening_page(voice, made, folder)}"
    except (ParameterError, OSError) as e:
        say(f"warning: no page to listen: {e}")
        return ""
