"""Scores of fixed clips while a voice is trained."""

import numpy as np
import pytest
import torch

from vc_lib.errors import ParameterError
from vc_lib.evaluate import METRICS, judges
from vc_lib.evaluate.monitor import OTHERS, OWN, EvaluateCallback
from vc_lib.training.dataset import make_dls
from vc_lib.training.run import fit
from vc_lib.training.run_folder import read_history
from vc_lib.training.stages import generator_learner

from fastai.torch_core import default_device

SR = 16_000


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    default_device(False)
    yield
    default_device(None)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leave out the judges, which take seconds."""
    monkeypatch.setattr(judges, "installed", lambda packages: not packages)
    monkeypatch.setattr("vc_lib.evaluate.monitor.installed", lambda packages: not packages)


@pytest.fixture
def learn(prepared, target_cfg):
    dls = make_dls(prepared[1:], prepared[:1], target_cfg, num_workers=0)
    dls.pairs.n_crops = 4
    return generator_learner(dls)


@pytest.fixture
def evaluation(prepared, target_cfg, voice):
    own = [prepared[2].load()[0]]
    return EvaluateCallback(target_cfg, own, [voice(1.0, f0=110.0)], every=2)


def test_scores_are_in_the_history(learn, evaluation, tmp_path):
    fit(learn, tmp_path / "run", "generator", 4, cbs=[evaluation])
    rows = read_history(tmp_path / "run" / "history.csv")
    columns = [f"own_{k}" for k in OWN if not METRICS[k].packages]
    columns += [f"others_{k}" for k in OTHERS if not METRICS[k].packages]
    assert columns == ["own_mcd_db", "others_envelope_distance_db"]
    for row in rows:
        scored = [row[c] != "" for c in columns]
        assert scored == [row["epoch"] in ("0", "2", "3")] * 2, "every second epoch and the last"
    assert all(np.isfinite(float(rows[-1][c])) and float(rows[-1][c]) > 0 for c in columns)


def test_scoring_does_not_change_training(learn, evaluation, tmp_path, prepared, target_cfg):
    fit(learn, tmp_path / "run", "generator", 2, cbs=[evaluation])
    dls = make_dls(prepared[1:], prepared[:1], target_cfg, num_workers=0)
    dls.pairs.n_crops = 4
    alone = generator_learner(dls)
    fit(alone, tmp_path / "alone", "generator", 2)
    for a, b in zip(learn.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert learn.model.training == alone.model.training


def test_scores_the_averaged_weights(learn, evaluation, tmp_path):
    fit(learn, tmp_path / "run", "generator", 2, cbs=[evaluation])
    rows = read_history(tmp_path / "run" / "history.csv")
    evaluation.learn = learn  # whose network now holds the average
    again = evaluation.score()
    assert float(rows[-1]["own_mcd_db"]) == pytest.approx(again["own_mcd_db"], rel=1e-3)


def test_rejects_wrong_arguments(target_cfg, voice):
    with pytest.raises(ParameterError, match="own=\\[\\] must hold"):
        EvaluateCallback(target_cfg, [], [voice(0.5)])
    with pytest.raises(ParameterError, match="every=0"):
        EvaluateCallback(target_cfg, [voice(0.5)], [], every=0)
    assert EvaluateCallback(target_cfg, [voice(0.5)], []).others == []
