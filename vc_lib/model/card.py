"""The card of a voice: whose voice it is, that the owner agreed, and what it was trained on."""

import re
from dataclasses import asdict
from pathlib import Path

from ..config import Config
from ..errors import ParameterError
from ..files import atomically, read_limited, within

CARD = "card.md"
MAX_CARD_BYTES = 1_000_000  # size from which a card is refused [bytes]
CONSENT, DATA = "Whose voice, and did they agree?", "Recordings:"  # lines that a person fills in
DISCLOSE = "Speech converted with this voice has to be disclosed as such wherever it is heard."
# the attribution that the licence of vc_lib/anonymize/strangers.npz asks for
STATISTICS = """- **Other speakers:** unless it was trained without them, training used statistics of 203 speakers of
  LibriSpeech (Vassil Panayotov, 2014; CC BY 4.0), and began from a base trained on 195 of them
"""


def card(cfg: Config, name: str) -> str:
    """Text of a new card [Markdown], with blanks for what only a person knows."""
    target = cfg.target
    changed = {k: v for k, v in asdict(cfg).items() if k != "target" and v != getattr(Config(), k)}
    return f"""# Voice: {name}

- **{CONSENT}** (write it here; do not share a voice without its owner's consent)
- **{DATA}** (where they come from, how many minutes, their licence)
- **Register:** {target.f0_hz:.0f} Hz, spread {target.f0_std_semitones:.1f} semitones
- **Settings that differ from the defaults:** {changed or "none"}
- **How it was trained:** see history.csv
{STATISTICS if cfg.sr == 16_000 else ""}
{DISCLOSE}
"""


def read_card(folder) -> str:
    """Read the card of a voice. Its text is untrusted: escape it before showing it.

    Parameters
    ----------
    folder : str or Path
        The voice's folder.

    Returns
    -------
    text : str [Markdown]

    Raises
    ------
    MissingInput
        If there is no card.
    ParameterError
        If the card is not text, is over 1 MB, or links to a place outside the folder.
    """
    path = within(folder, CARD)
    data = read_limited(path, MAX_CARD_BYTES, "ask who made the voice for its card")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ParameterError(f"{path} is not text ({e}); ask who made the voice for it") from e


def fill_card(folder, consent: str, recordings: str) -> str:
    """Fill in the blanks of a voice's card.

    Parameters
    ----------
    folder : str or Path
        The voice's folder.
    consent : str
        Whose voice it is, and how the owner agreed to its use, and to sharing it if you share it.
    recordings : str
        Source, minutes and licence of the recordings.

    Returns
    -------
    text : str [Markdown]
        The card as it was written.

    Raises
    ------
    MissingInput, ParameterError
        If an answer is empty, or the card cannot be read or lacks the lines to fill in.
    NotWritten
        If the disk is full, or the folder is read-only.
    """
    text = read_card(folder)
    for blank, value in ((CONSENT, consent), (DATA, recordings)):
        value = " ".join(str(value).split())
        if not value:
            raise ParameterError(
                f"the answer to '{blank}' on the card must not be empty; write it in words"
            )
        text, n = re.subn(
            rf"(?m)^(- \*\*{re.escape(blank)}\*\*).*$", lambda m, v=value: f"{m[1]} {v}", text
        )
        if not n:
            raise ParameterError(
                f"{Path(folder) / CARD} has no line '- **{blank}**'; add the line by hand"
            )
    atomically(Path(folder) / CARD, lambda part: part.write_text(text, encoding="utf-8"))
    return text


def card_gaps(text: str) -> list[str]:
    """List what a card lacks before its voice may be shared.

    Examples
    --------
    >>> card_gaps("- **Whose voice, and did they agree?** (write it here)")
    ['whose voice it is, and that they agreed', 'that converted speech has to be disclosed']
    >>> card_gaps(f"- **{CONSENT}** Mine, A. Smith; I agree.\\n\\n{DISCLOSE}")
    []
    """
    consent = re.search(rf"{re.escape(CONSENT)}[*_:\s]*([^\n]*)", text)
    gaps = []
    if not consent or len(consent[1].strip()) < 10 or consent[1].startswith("(write"):
        gaps.append("whose voice it is, and that they agreed")
    if not re.search(r"disclos", text, re.IGNORECASE):
        gaps.append("that converted speech has to be disclosed")
    return gaps
