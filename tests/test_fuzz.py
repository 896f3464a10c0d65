"""Changed recordings and voices: taken or refused, never a crash; `benchmarks/fuzz.py` does it for hours."""

from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("target, n", [("audio", 300), ("voice", 200)])
def test_what_is_changed_at_random_is_taken_or_refused(monkeypatch, target, n):
    pytest.importorskip("resource")
    monkeypatch.syspath_prepend(str(REPO))
    from benchmarks.fuzz import fuzz

    counts, crashes = fuzz(target, seed=7, n=n)
    assert not crashes
    assert counts.total() == n and counts["taken"] and counts["refused"]
