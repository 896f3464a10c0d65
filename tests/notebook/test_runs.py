"""Curves of a run, and runs beside each other."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_plots import texts

from vc_lib.config import Config
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.notebook import runs

HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1, 2, 3],
        "train_loss": [3.0, 2.0, 1.0, 0.5],
        "valid_loss": [3.0, 2.0, 1.5, 1.8],
        "critic_loss": [np.nan, np.nan, 0.7, 0.6],
        "log_f0_corr": [0.1, 0.5, 0.9, 0.8],
        "mcd_db": [9.0, 6.0, 7.0, 8.0],
        "never": [np.nan] * 4,
        "time": ["00:01"] * 4,
    }
)


def name_of(ax):
    """What a panel shows, without the remark on its better direction."""
    return re.split("[ :]", ax.get_title("left"))[0]


def panels_of(fig):
    return {name_of(ax): ax for ax in fig.axes}


def test_losses_critic_and_metrics_have_their_own_panels(tmp_path):
    HISTORY.to_csv(tmp_path / "history.csv", index=False)
    for history in (HISTORY, tmp_path / "history.csv", str(tmp_path / "history.csv")):
        panels = panels_of(runs.plot_losses(history))
        assert list(panels) == ["losses", "critic", "log_f0_corr", "mcd_db"]
        names = [line.get_label() for line in panels["losses"].lines if len(line.get_xdata()) > 1]
        assert names == ["train_loss", "valid_loss"]
        assert list(panels["critic"].lines[0].get_xdata()) == [2, 3]
        assert panels["mcd_db"].get_xlabel() == "Epoch"


def test_the_best_epoch_is_marked():
    panels = panels_of(runs.plot_losses(HISTORY))
    marks = {
        title: [
            tuple(np.ravel(line.get_xydata())) for line in ax.lines if len(line.get_xdata()) == 1
        ]
        for title, ax in panels.items()
    }
    assert marks == {
        "losses": [(3, 0.5), (2, 1.5)],
        "critic": [],
        "log_f0_corr": [(2, 0.9)],
        "mcd_db": [(1, 6.0)],
    }
    assert "0.900" in [t.get_text() for t in panels["log_f0_corr"].texts]


def test_a_second_run_is_drawn_after_the_first():
    twice = pd.concat([HISTORY, HISTORY], ignore_index=True)
    fig = runs.plot_losses(twice)
    assert list(fig.axes[0].lines[0].get_xdata()) == list(range(8))
    assert fig.axes[-1].get_xlabel() == "Epoch, all stages"


def test_stages_are_parted_and_the_critic_s_losses_told_apart():
    """As training writes it; a stage that went on later has its rows at the end."""
    row = {"train_loss": 1.0, "valid_loss": 2.0}
    frame = pd.DataFrame(
        [
            {"stage": "generator", "epoch": 0, "lsd_db": 9.0} | row,
            {"stage": "critic", "epoch": 0, "train_loss": 0.7},
            {"stage": "gan", "epoch": 0, "lsd_db": 8.0, "critic_steps": 5, "capped": 1} | row,
            {"stage": "gan", "epoch": 1, "lsd_db": 8.5, "critic_steps": 4, "capped": 0} | row,
            {"stage": "generator", "epoch": 1, "lsd_db": 7.0} | row,
        ]
    )
    fig = runs.plot_losses(frame)
    panels = panels_of(fig)
    assert list(panels) == ["losses", "critic", "lsd_db", "turns"]
    x = [list(line.get_xdata()) for line in panels["lsd_db"].lines]
    assert [0, 1] in x and [3, 4] in x  # one line for each stage, none across
    (critic,) = [line for line in panels["critic"].lines if list(line.get_ydata()) == [0.7]]
    assert list(critic.get_xdata()) == [2]
    labels = [t.get_text() for t in panels["critic"].get_legend().get_texts()]
    assert labels == ["critic train_loss"]
    marked = [t.get_text() for t in panels["lsd_db"].texts]
    assert marked == ["7.00", "8.00"]
    assert {"critic", "gan"} <= set(texts(fig))
    assert "critic train_loss" not in frame


def test_epochs_are_drawn_in_the_order_of_training_however_they_were_written():
    stages = {"generator": 20, "critic": 2, "gan": 10}
    rows = [(s, e, float(i)) for i, s in enumerate(stages) for e in range(stages[s])]
    rows = rows[15:] + rows[:15]  # the generator was prolonged, and the history written anew
    frame = pd.DataFrame(rows, columns=["stage", "epoch", "lsd_db"])
    frame["lsd_db"] = frame["lsd_db"] * 100 + frame["epoch"]
    (ax,) = [a for a in runs.plot_losses(frame).axes if name_of(a) == "lsd_db"]
    drawn = np.concatenate([line.get_ydata() for line in ax.lines if len(line.get_ydata()) > 1])
    expected = [100 * i + e for i, s in enumerate(stages) for e in range(stages[s])]
    assert [v for v in drawn if v > 1] == [v for v in expected if v > 1]


def test_one_epoch_is_enough():
    assert list(panels_of(runs.plot_losses(HISTORY[:1]))) == ["losses", "log_f0_corr", "mcd_db"]


def test_plot_losses_refuses_what_is_no_history(tmp_path):
    with pytest.raises(MissingInput, match="02 notebooks"):
        runs.plot_losses(tmp_path / "history.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ParameterError, match="no table"):
        runs.plot_losses(tmp_path / "empty.csv")
    for wrong in (HISTORY[:0], HISTORY.drop(columns="epoch"), HISTORY[["epoch", "time"]]):
        with pytest.raises(ParameterError, match="epoch column"):
            runs.plot_losses(wrong)


# Runs beside each other


@pytest.fixture
def models(tmp_path):
    """Two runs that differ in two settings and one metric, and a folder that is none."""
    for name, changed, mcd in (("soft", {}, 3.0), ("sharp", {"gan_weight": 1.0, "bs": 4}, 4.0)):
        run = tmp_path / name
        run.mkdir()
        replace(Config(), **changed).save(run / "config.json")
        frame = HISTORY.assign(stage="generator", own_mcd_db=mcd)
        frame.to_csv(run / "history.csv", index=False)
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_runs_are_compared_by_what_differs_and_how_they_came_out(models):
    table = runs.compare_runs(models)
    assert list(table.index) == ["sharp", "soft"]
    assert table["gan_weight"].to_dict() == {"sharp": "1", "soft": "0.5"}
    assert table["bs"].to_dict() == {"sharp": "4", "soft": str(Config().bs)}
    assert "lr" not in table and "seed" not in table, "they are the same"
    assert list(table["epochs"]) == [f"generator {len(HISTORY)}"] * 2
    assert table["own_mcd_db"].to_dict() == {"sharp": "4.00", "soft": "3.00"}
    assert "train_loss" not in table


def test_an_unknown_stage_is_counted_last(models):
    stages = HISTORY.assign(stage="finish"), HISTORY.assign(stage="generator")
    pd.concat(stages).to_csv(models / "soft" / "history.csv", index=False)
    n = len(HISTORY)
    assert runs.compare_runs(models)["epochs"]["soft"] == f"generator {n}, finish {n}"


def test_the_base_is_no_run(models):
    (models / "base").mkdir()
    (models / "base" / "history.csv").write_bytes((models / "soft" / "history.csv").read_bytes())
    assert list(runs.find_runs(models)) == ["sharp", "soft"]


def test_a_run_whose_config_is_broken_is_still_compared(models):
    (models / "soft" / "config.json").write_text("{", encoding="utf-8")
    table = runs.compare_runs(models)
    assert table.loc["soft", "own_mcd_db"] == "3.00"
    assert "bs" not in table, "of one config nothing differs"
    (models / "soft" / "history.csv").write_bytes(b"")
    table = runs.compare_runs(models)
    assert table.loc["soft", "epochs"] == "history.csv cannot be read"
    assert table.loc["sharp", "own_mcd_db"] == "4.00"
    assert len(runs.plot_runs(models, ["own_mcd_db"]).axes[0].get_legend().get_texts()) == 1


def test_runs_are_drawn_over_each_other(models):
    fig = runs.plot_runs(models)
    titles = [name_of(ax) for ax in fig.axes]
    assert "own_mcd_db" in titles and "train_loss" not in titles
    ax = fig.axes[titles.index("own_mcd_db")]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["sharp", "soft"]
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert (drawn["sharp"] == 4.0).all() and (drawn["soft"] == 3.0).all()
    assert [name_of(a) for a in runs.plot_runs(models, ["own_mcd_db"]).axes] == ["own_mcd_db"]


def test_titles_say_which_direction_is_better_and_that_losses_of_two_networks_are_a_game():
    frame = pd.DataFrame(dict(stage=["generator", "gan"], epoch=[0, 0], train_loss=[2.0, 1.0]))
    frame = frame.assign(own_lsd_db=1.0, others_cosine_to_target=0.5, crit_loss=[np.nan, 0.7])
    titles = {k: ax.get_title("left") for k, ax in panels_of(runs.plot_losses(frame)).items()}
    assert "↓" in titles["own_lsd_db"] and "others_ gets better" in titles["own_lsd_db"]
    assert "↑" in titles["others_cosine_to_target"] and "neither" in titles["critic"]
    assert "a game" in titles["losses"]
    alone = panels_of(runs.plot_losses(frame[:1]))["losses"].get_title("left")
    assert alone == "losses ↓ lower is better"


def test_no_runs_and_no_such_metric_are_refused(models, tmp_path):
    (tmp_path / "empty").mkdir()
    for function in (runs.compare_runs, runs.plot_runs):
        with pytest.raises(MissingInput, match="holds no run"):
            function(tmp_path / "empty")
    with pytest.raises(ParameterError, match="must be among .*own_mcd_db"):
        runs.plot_runs(models, ["beauty"])
