"""A voice's card: whose voice it is, that they agreed, what it was made of."""

import re
from dataclasses import asdict
from pathlib import Path

from ..config import Config
from ..errors import ParameterError
from ..files import atomically, read_limited, within

CARD = "card.md"
MAX_CARD_BYTES = 1_000_000
CONSENT, DATA = "Whose voice, and did they agree?", "Recordings:"
DISCLOSE = "Speech converted with this voice has to be disclosed as such wherever it is heard."


def card(cfg: Config, name: str) -> str:
    """A voice card with what is known and blanks for what only a person knows."""
    target = cfg.target
    changed = {k: v for k, v in asdict(cfg).items() if k != "target" and v != getattr(Config(), k)}
    return f"""# Voice: {name}

- **{CONSENT}** (write it here; do not share a voice without its owner's consent)
- **{DATA}** (where they come from, how many minutes, their licence)
- **Register:** {target.f0_hz:.0f} Hz, spread {target.f0_std_semitones:.1f} semitones
- **Settings that differ from the defaults:** {changed or "none"}
- **How it was trained:** see history.csv

{DISCLOSE}
"""


def read_card(folder) -> str:
    """The text of a voice's card, as its maker wrote it: show it escaped.

    Raises
    ------
    MissingInput, ParameterError
        If there is none, or it is no text, or a link out of the folder.
    """
    path = within(folder, CARD)
    data = read_limited(path, MAX_CARD_BYTES, "ask who made the voice for its card")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ParameterError(f"{path} is not text ({e}); ask who made the voice for it") from e


def fill_card(folder, consent: str, recordings: str) -> str:
    """Write into a voice's card what only a person knows, and give the text.

    Parameters
    ----------
    folder : str or Path
    consent : str
        Whose voice it is, and how they agreed that it may be used, and shared if it is to be.
    recordings : str
        Where they come from, how many minutes, their licence.
    """
    text = read_card(folder)
    for blank, value in ((CONSENT, consent), (DATA, recordings)):
        value = " ".join(str(value).split())
        if not value:
            raise ParameterError(
                f"the card asks '{blank}'; an empty answer is none: say it in words"
            )
        text, n = re.subn(
            rf"(?m)^(- \*\*{re.escape(blank)}\*\*).*$", lambda m, v=value: f"{m[1]} {v}", text
        )
        if not n:
            raise ParameterError(
                f"{Path(folder) / CARD} has no line '- **{blank}**'; write the answer into it by hand"
            )
    atomically(Path(folder) / CARD, lambda part: part.write_text(text, encoding="utf-8"))
    return text


def card_gaps(text: str) -> list[str]:
    """What a card has to say before its voice may be shared, and does not.

    Examples
    --------
    >>> card_gaps("- **Whose voice, and did they agree?** (write it here)")
    ['whose voice it is, and that they agreed', 'that converted speech has to be disclosed']
    >>> card_gaps(f"- **{CONSENT}** Mine, A. Smith; I agree.\\n\\n{DISCLOSE}")
    []
    """
    said = re.search(rf"{re.escape(CONSENT)}[*_:\s]*([^\n]*)", text)
    gaps = []
    if not said or len(said[1].strip()) < 10 or said[1].startswith("(write"):
        gaps.append("whose voice it is, and that they agreed")
    if not re.search(r"disclos", text, re.IGNORECASE):
        gaps.append("that converted speech has to be disclosed")
    return gaps
