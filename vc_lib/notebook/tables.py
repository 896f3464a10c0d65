"""Tables of numbers, and the card of a voice."""

import html
import re
from collections.abc import Mapping

import IPython.display as ipd
import pandas as pd

from ..errors import MissingInput, ParameterError
from ..evaluate import METRICS
from ..model.card import read_card
from .style import rounded


def table(rows: Mapping[str, Mapping[str, float | str]]) -> pd.DataFrame:
    """Round numbers to about three digits and put them into a table.

    Parameters
    ----------
    rows : dict of label to dict of name to float
        Rows as from `evaluate`. They may hold different names.

    Returns
    -------
    pd.DataFrame
        Text. A row for each label, a column for each name in order of appearance. An en dash stands
        for a value that is missing or nan.

    Raises
    ------
    ParameterError
        If `rows` is not a dict of dicts.

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


def score_table(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """`table` of scores of `evaluate`; headings are labels, with an arrow towards the better value.

    Examples
    --------
    >>> score_table({"converted": {"wer": 0.25, "cosine_to_target": 0.81}})
              WER ↓ cosine to target ↑
    converted 0.250              0.810
    """
    return table(rows).rename(columns=lambda key: f"{METRICS[key].label} {METRICS[key].arrow}")


def show_card(folder) -> ipd.Markdown:
    """The card of a voice as Markdown without HTML, links, images and formulas.

    Whoever made the voice wrote the card, so nothing in it may run or be fetched.
    """
    try:
        text = read_card(folder)
    except (MissingInput, ParameterError) as e:
        text = str(e)
    text = html.escape(text, quote=False)
    for sign in "[]!$\\":  # links, images, formulas
        text = text.replace(sign, f"&#{ord(sign)};")
    return ipd.Markdown(re.sub("(?m)^#", "###", text))
