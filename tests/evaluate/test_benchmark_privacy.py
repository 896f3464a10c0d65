"""The benchmark of privacy: what it keeps, and what it prints and draws."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from vc_lib.evaluate import privacy as scores
from vc_lib.evaluate.privacy_attack import ATTACKERS

SR = 16_000
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(scores, "N_DRAWS", 25)
    from benchmarks import privacy

    return privacy


@pytest.fixture
def trials():
    """Speakers at even places are recognized, the others are not."""
    rng = np.random.default_rng(0)
    open_ = 3 * np.diag(np.arange(12) % 2 == 0)
    return {name: open_ + 0.1 * rng.normal(size=(2, 12, 12)) for name in ("untouched", *ATTACKERS)}


def test_a_measurement_is_made_once(benchmark, tmp_path):
    path, calls = tmp_path / "cache" / "neutral.npz", []

    def measure():
        calls.append(1)
        return {"speaker": np.arange(3.0), "wer": 0.25}

    for _ in range(2):
        found = benchmark.cached(path, measure)
        assert found["speaker"].tolist() == [0, 1, 2] and float(found["wer"]) == 0.25
    assert len(calls) == 1
    benchmark.cached(None, measure)
    assert len(calls) == 2, "without a cache"


def test_clips_have_the_names_of_their_files_and_are_long_enough(benchmark, tmp_path, voice):
    for name, seconds in (("a", 4), ("b", 1), ("c", 4)):
        soundfile.write(tmp_path / f"{name}.wav", voice(seconds), SR)
    clips = benchmark.load_clips(tmp_path, SR, seconds=3.5, every=1)
    assert {name: len(clip.wav) / SR for name, clip in clips.items()} == {"a": 3.5, "c": 3.5}
    assert [clip.name for clip in clips.values()] == ["a", "c"]
    assert list(benchmark.load_clips(tmp_path, SR, seconds=3.5, every=2)) == ["a", "c"]


def test_systems_are_chosen_by_name(benchmark):
    found = {label: benchmark.Entry(None) for label in ("McAdams, 0.8", "private, 1")}
    assert list(benchmark.chosen(found, None)) == ["McAdams, 0.8", "private, 1"]
    assert list(benchmark.chosen(found, "private_1")) == ["private, 1"]
    with pytest.raises(SystemExit, match="--only robot: must be of mcadams_0.8, private_1"):
        benchmark.chosen(found, "robot,private_1")


def test_a_row_says_which_half_is_hidden(benchmark, trials):
    row = benchmark.row_of(trials, {"wer": 0.1}, "both")
    assert row["worst_case_A"] == 0 and row["worst_case_B"] > 0.2 and row["wer"] == 0.1
    assert 0 < row["worst_case"] < row["worst_case_B"]
    assert benchmark.row_of(trials, {}, "A")["worst_case"] == 0
    assert benchmark.row_of(trials, {}, "B")["worst_case"] == row["worst_case_B"]


def test_the_table_has_intervals_and_a_dash_for_what_is_unknown(benchmark, trials):
    price = {"wer": 0.0625, "source_log_f0_corr": float("nan"), "distillmos": 3.0, "rtf": 0.05}
    row = benchmark.row_of(trials, price, "both")
    table = pd.DataFrame.from_dict({"private, 1": row}, orient="index")
    of_attacks, of_costs = (
        [line.split(" | ") for line in benchmark.markdown(table, columns).splitlines()]
        for columns in (benchmark.ATTACKS, benchmark.COSTS)
    )
    for (heading, line, cells), columns in (
        (of_attacks, benchmark.ATTACKS),
        (of_costs, benchmark.COSTS),
    ):
        assert len(heading) == len(cells) == 1 + len(columns) and line[0].startswith("|---")
        assert cells[0] == "| private, 1"
    attacks, costs = (dict(zip(rows[0], rows[2], strict=True)) for rows in (of_attacks, of_costs))
    assert costs["WER ↓"] == "0.062" and costs["log-F0 corr. ↑"] == "–"
    assert attacks["worst, A"] == "0.0"
    low, high = (100 * row[f"worst_case_{end}"] for end in ("low", "high"))
    expected = f"{100 * row['worst_case']:.1f} ({low:.0f} to {high:.0f})"
    assert attacks["worst case"] == expected


def test_the_picture_joins_strengths_and_marks_published_systems(benchmark):
    names = ["untouched", "private, 0.5", "private, 1", "McAdams, 0.8"]
    table = pd.DataFrame(
        {"worst_case": [0, 0.1, 0.3, 0.05], "wer": [0, 0.02, 0.04, 0.08]}, index=names
    )
    (ax,) = benchmark.draw(table).axes
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines)[:3] == ["untouched", "private", "McAdams, 0.8"]
    np.testing.assert_allclose(lines["private"].get_xydata(), [[10, 2], [30, 4]])
    published = lines["VoicePrivacy 2024,\nother data"]
    assert published.get_markerfacecolor() == "none" and len(published.get_xdata()) == 4
    assert {"0.5", "1", "B5"} <= {text.get_text() for text in ax.texts}


def test_every_system_anonymizes_a_clip_and_may_be_sent_to_a_process(benchmark, voice):
    target = benchmark.AnonymizeConfig(f0_method="dio")
    clip = benchmark.Clip(voice(1.0), SR, "dio", "somebody")
    systems = benchmark.entries(target)
    assert len({benchmark.slug(label) for label in systems}) == len(systems)
    for label, entry in systems.items():
        system = pickle.loads(pickle.dumps(entry.system))
        first, again, other = (system(clip, np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert first.shape == clip.wav.shape and np.isfinite(first).all(), label
        assert (first == again).all(), f"{label}: the same numbers give the same sound"
        assert (first == other).all() != entry.is_random, label
