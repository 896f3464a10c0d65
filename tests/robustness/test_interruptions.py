"""Processes that are really killed, at random moments; `tests/robustness/kills.py` does it hundreds of times."""

import signal
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills otherwise")
@pytest.mark.parametrize("number, n_kills", [("SIGKILL", 4), ("SIGINT", 2)])
def test_killed_stages_resume_bit_for_bit(monkeypatch, number, n_kills):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # of the process that forks
    import kills

    results = dict(kills.measure(kills.STAGES, n_kills, 0, getattr(signal, number)))
    assert list(results) == list(kills.STAGES)
    for stage, result in results.items():
        assert result["kills"] == n_kills, stage
        assert result["loss_difference"] == 0, stage
