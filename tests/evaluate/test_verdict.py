"""The verdict on a voice: its numbers, its advice, and what it does not claim."""

import numpy as np
import pandas as pd
import pytest

from vc_lib.convert import load_voice
from vc_lib.errors import ParameterError
from vc_lib.evaluate.verdict import by_version, score_versions, verdict


def scores(anonymized, converted, n=8, key="cosine_to_target"):
    """Scores of `n` clips around these means, the same scatter in each version."""
    scatter = np.linspace(-0.05, 0.05, n)
    means = dict(source=0.6, anonymized=anonymized, converted=converted)
    return {v: pd.DataFrame({key: m + scatter}) for v, m in means.items()}


def test_a_network_that_helps_is_to_be_used():
    said = verdict(scores(0.80, 0.83))
    assert "use the voice" in said and "0.600 to 0.830" in said and "+0.030" in said
    assert "8 clips" in said and "not counted" in said


def test_a_network_that_harms_is_to_be_switched_off():
    said = verdict(scores(0.83, 0.80))
    assert "strength to 0" in said and "−0.030" in said


def test_lower_is_better_for_a_distance():
    key = "envelope_distance_db"
    assert "use the voice" in verdict(scores(3.0, 2.5, key=key))
    assert "does harm" in verdict(scores(2.5, 3.0, key=key))


def test_nothing_is_claimed_where_nothing_can_be_told():
    frames = scores(0.80, 0.80)
    frames["converted"]["cosine_to_target"] += np.tile([0.02, -0.02], 4)
    assert "changes little" in verdict(frames)
    assert "changes little" in verdict(scores(0.800, 0.805)), "surely, but nobody would hear it"
    assert "too few" in verdict(scores(0.80, 0.90, n=3))


def test_lost_words_come_before_likeness():
    frames = scores(0.80, 0.83)
    frames["anonymized"]["wer"], frames["converted"]["wer"] = 0.05, 0.15
    said = verdict(frames)
    assert "15 are heard wrongly, 10 more" in said and "fewer epochs" in said


def test_scores_without_likeness_or_version_are_refused():
    with pytest.raises(ParameterError, match="no likeness"):
        verdict(scores(0.8, 0.8, key="distillmos"))
    with pytest.raises(ParameterError, match="lack converted"):
        verdict({k: v for k, v in scores(0.8, 0.8).items() if k != "converted"})


def test_scores_of_the_comparison_are_sorted_by_version():
    rows = {"a, b, source": {"wer": 1.0}, "a, b, converted": {"wer": 2.0}}
    rows |= {"a, b, anonymized": {"wer": 3.0}, "a, b, WORLD statistics": {"wer": 4.0}}
    frames = by_version(rows)
    assert {k: f.loc["a, b", "wer"] for k, f in frames.items()} == dict(
        source=1.0, anonymized=3.0, converted=2.0
    )


def test_clips_are_converted_and_scored(voice, pytestconfig):
    trained = load_voice(pytestconfig.rootpath / "models" / "ljspeech")
    clips = {f"{f0:.0f} Hz": voice(1.5, f0=f0) for f0 in (110.0, 150.0)}
    frames = score_versions(trained, clips)
    assert all(list(frame.index) == list(clips) for frame in frames.values())
    distance = {v: frame["envelope_distance_db"].mean() for v, frame in frames.items()}
    assert distance["converted"] < distance["source"]
    assert "too few" in verdict(frames)
