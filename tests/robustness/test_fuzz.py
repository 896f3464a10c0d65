"""Changed recordings and voices: taken or refused, never a crash; `tests/robustness/fuzz.py` does it for hours."""

from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("target, n", [("audio", 300), ("voice", 200)])
def test_changed_files_are_taken_or_refused(monkeypatch, target, n):
    pytest.importorskip("resource")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # of the process that forks
    from fuzz import fuzz

    counts, crashes = fuzz(target, seed=7, n=n)
    assert not crashes
    assert counts.total() == n and counts["taken"] and counts["refused"]
