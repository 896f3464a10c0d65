"""Processes killed at random moments; `benchmarks/kills.py` does it hundreds of times."""

import signal
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills otherwise")
@pytest.mark.parametrize("number, n_kills", [("SIGKILL", 4), ("SIGINT", 2)])
def test_every_stage_resumes_after_kills_bit_for_bit(monkeypatch, number, n_kills):
    monkeypatch.syspath_prepend(str(REPO))
    from benchmarks import kills

    results = dict(kills.measure(kills.STAGES, n_kills, 0, getattr(signal, number)))
    assert list(results) == list(kills.STAGES)
    for stage, result in results.items():
        assert result["kills"] == n_kills, stage
        assert result["loss_difference"] == 0, stage
