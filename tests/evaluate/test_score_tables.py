"""Sets of clips, their table and its confidence intervals."""

import math

import numpy as np
import pandas as pd
import pytest

from vc_lib.errors import ParameterError
from vc_lib.evaluate import evaluate, evaluate_set, summary
from vc_lib.evaluate.score_tables import bootstrap

SR = 16_000
pytestmark = pytest.mark.usefixtures("no_judges")
KEYS = ["lsd_db", "si_snr_db"]
TARGET_KEYS = ["f0_register_cents", "envelope_distance_db"]


def test_a_set_scores_each_clip(speech, tmp_path):
    clips = [(f"{k}", dict(converted=k * speech, reference=speech)) for k in (1.0, 0.5)]
    scores = evaluate_set(iter(clips), SR, csv=tmp_path / "scores.csv", total=2, only=KEYS)
    assert list(scores.index) == ["1.0", "0.5"] and list(scores) == KEYS
    for name, arguments in clips:
        assert scores.loc[name].to_dict() == evaluate(sr=SR, **arguments, only=KEYS)
    written = pd.read_csv(tmp_path / "scores.csv", index_col="clip", dtype={"clip": str})
    np.testing.assert_allclose(written, scores, rtol=1e-4)


def test_names_the_clip_that_fails_and_writes_nothing(speech, tmp_path):
    clips = [("good", dict(converted=speech, source=speech))]
    clips.append(("bad", dict(converted=speech, source=0 * speech)))
    with pytest.raises(ParameterError, match="bad: source is silent"):
        evaluate_set(clips, SR, csv=tmp_path / "scores.csv", only=["pause_level_db"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ParameterError, match="clips is empty"):
        evaluate_set([], SR)


def test_a_set_takes_one_recording_and_several_threads(speech):
    clips = [(f"{i}", dict(converted=speech)) for i in range(3)]
    alone = evaluate_set(clips, SR, target=speech, only=TARGET_KEYS)
    assert (alone["envelope_distance_db"] < 1e-6).all()
    assert evaluate_set(clips, SR, target=speech, only=TARGET_KEYS, n_jobs=2).equals(alone)


def test_the_interval_covers_the_mean_of_its_distribution():
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        mean, low, high = bootstrap(rng.normal(3, 1, 40), seed)
        assert low < mean < high
        covered += low < 3 < high
    assert 0.88 < covered / 200 < 0.99


@pytest.mark.parametrize("values", [[0.25], [0.25] * 5, [0.25, float("nan")]])
def test_an_interval_of_equal_values_has_no_width(values):
    assert bootstrap(values) == (0.25, 0.25, 0.25)


def test_an_interval_of_no_value_is_nan():
    assert all(math.isnan(v) for v in bootstrap([float("nan")]))


def test_the_summary_has_a_row_for_each_system():
    a = pd.DataFrame({"wer": [0.1, 0.3], "pause_level_db": [-60.0, -40.0]})
    b = pd.DataFrame({"wer": [float("nan")] * 2})
    drawn = summary({"a": a, "b": b})
    assert list(drawn.index) == ["a", "b"]
    assert list(drawn) == ["WER ↓", "level in pauses [dB] ↓"]
    assert drawn.loc["a"].tolist() == ["0.200 ± 0.100", "-50.0 ± 10.0"]
    assert drawn.loc["b"].tolist() == ["–", "–"]
    assert list(summary({"a": a}, ["pause_level_db"])) == ["level in pauses [dB] ↓"]
    with pytest.raises(ParameterError, match="scores is empty"):
        summary({})


def test_the_summary_gives_the_number_of_clips():
    a = pd.DataFrame({"wer": [0.1, 0.3, float("nan")], "dnsmos": [float("nan")] * 2 + [3.0]})
    assert summary({"a": a}).loc["a"].tolist() == ["0.200 ± 0.100 (n = 2)", "3.00 (n = 1)"]


def test_systems_are_compared_clip_by_clip():
    """Clips differ far more than systems do: side by side chance, clip by clip none."""
    level = np.linspace(0, 1, 30)
    a = pd.DataFrame({"wer": level}, index=[f"{i}" for i in range(30)])
    b = (a + 0.02).iloc[::-1]
    assert summary({"a": a, "b": b}, against="a").loc["b"].tolist() == ["+0.020 [+0.020, +0.020]"]
    few = summary({"a": a, "b": b.iloc[:10]}, against="b")
    assert few.loc["a"].tolist() == ["-0.020 [-0.020, -0.020]"]
    with pytest.raises(ParameterError, match="against='c'"):
        summary({"a": a}, against="c")
