"""Tables and the card of a voice."""

import numpy as np
import pytest

from vc_lib.errors import ParameterError
from vc_lib.notebook import tables


def test_table_rounds_and_marks_what_is_missing():
    rows = {
        "whisper": {"mcd_db": 7.7749, "f0_rmse_cents": float("nan"), "n": 12},
        "<neutral>": {"mcd_db": np.float32(12.34), "voicing_error": 0.12345, "si_snr_db": -120.0},
    }
    frame = tables.table(rows)
    assert list(frame) == ["mcd_db", "f0_rmse_cents", "n", "voicing_error", "si_snr_db"]
    assert list(frame.loc["whisper"]) == ["7.77", "–", "12", "–", "–"]
    assert list(frame.loc["<neutral>"]) == ["12.3", "–", "–", "0.123", "−120"]
    page = frame._repr_html_()
    assert "&lt;neutral&gt;" in page and "<neutral>" not in page


def test_table_of_nothing_and_of_the_wrong_thing():
    assert tables.table({}).empty
    with pytest.raises(ParameterError, match="dict of dicts"):
        tables.table({"mcd_db": 7.0})


def test_a_card_cannot_run_fetch_or_link(tmp_path):
    (tmp_path / "card.md").write_text(
        "# Voice\n<script>alert(1)</script> ![x](http://a/b.png) [y](javascript:z) $x$ \\(y\\)\n| a | b |\n"
        "<img src=x onerror=y>\n[1]: http://c\n&lt;b>",
        encoding="utf-8",
    )
    shown = tables.show_card(tmp_path)._repr_markdown_()
    assert shown.startswith("### Voice\n&lt;script&gt;alert(1)") and "| a | b |" in shown
    for sign in ("<", "[", "]", "![", "$", "\\"):
        assert sign not in shown
    assert "&amp;lt;b" in shown, "what is escaped stays so"


def test_a_card_that_cannot_be_shown_says_why(tmp_path):
    assert "card.md does not exist; ask who made" in tables.show_card(tmp_path)._repr_markdown_()
    (tmp_path / "card.md").write_bytes(b"\xff")
    assert "is not text" in tables.show_card(tmp_path)._repr_markdown_()
