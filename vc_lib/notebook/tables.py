"""Tables of numbers and the card of a voice, for notebooks."""

import html
import re
from collections.abc import Mapping

import IPython.display as ipd
import pandas as pd

from ..errors import MissingInput, ParameterError
from ..model.card import read_card
from .style import rounded


def table(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Numbers side by side, rounded to what matters, as text.

    Parameters
    ----------
    rows : dict of label to dict of name to float
        Rows as `evaluate` gives them; they may differ in what they hold.

    Returns
    -------
    pd.DataFrame
        A row for each label, a column for each name in order of appearance; three digits or so. An
        en dash stands for what is missing or nan.

    Raises
    ------
    ParameterError
        If it is no such dict.

    Examples
    --------
    >>> table({"whisper": {"mcd_db": 7.7712}, "neutral": {"mcd_db": 5.2, "f0_rmse_cents": 212.6}})
            mcd_db f0_rmse_cents
    whisper   7.77             –
    neutral   5.20           213
    """
    if not isinstance(rows, Mapping) or not all(isinstance(r, Mapping) for r in rows.values()):
        raise ParameterError('rows must be a dict of dicts, as in {"source": evaluate(...)}')
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [[rounded(row.get(name)) for name in names] for row in rows.values()]
    return pd.DataFrame(cells, index=[str(label) for label in rows], columns=names, dtype=object)


def show_card(folder) -> ipd.Markdown:
    """A voice's card, of which nothing can run or be fetched: what its maker wrote is text, tables and lists."""
    try:
        text = read_card(folder)
    except (MissingInput, ParameterError) as e:
        text = str(e)
    text = html.escape(text, quote=False)
    for sign in "[]!$\\":  # links, pictures, formulas
        text = text.replace(sign, f"&#{ord(sign)};")
    return ipd.Markdown(re.sub("(?m)^#", "###", text))
