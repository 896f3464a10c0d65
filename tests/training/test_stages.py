"""The learners of the three stages, the images saved for the critic, and the learning rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_helpers import (
    N_EPOCHS,
    At,
    assert_as_undisturbed,
    interrupt,
    same,
    spoil,
    state_of,
)

from vc_lib.errors import MissingInput, ParameterError
from vc_lib.model import compat
from vc_lib.model.losses import GeneratorLoss
from vc_lib.model.networks import Critic, Generator
from vc_lib.notebook import batches  # noqa: F401
from vc_lib.spectrogram import wav_to_image
from vc_lib.training.dataset import ToImage, crop_pair, make_dls
from vc_lib.training.run import Interrupted, fit
from vc_lib.training.stages import (
    JudgedPair,
    critic_learner,
    gan_learner,
    patch_accuracy,
    patch_loss,
    save_generated,
    suggest_lr,
)

from fastai.callback.core import Callback
from fastai.learner import Learner

# Learning


def test_one_batch_can_be_overfitted(corpus):
    recordings, cfg = corpus
    cfg = replace(cfg, n_frames=16, image_weight=10.0, mel_weight=0.0, limit_change=False)
    cfg = replace(
        cfg, fold=8, variance_weight=3.0
    )  # eight rows leave a tiny network enough weights
    pair = crop_pair(recordings[2], cfg, np.random.default_rng(0))
    anonymized, original = (torch.from_numpy(wav_to_image(wav, cfg))[None] for wav in pair)
    torch.manual_seed(0)
    generator, loss = Generator(cfg), GeneratorLoss(cfg)
    opt = torch.optim.Adam(generator.parameters(), 1e-2)
    values = []
    for _ in range(90):
        value = loss(generator(anonymized), original)
        opt.zero_grad()
        value.backward()
        opt.step()
        values.append(value.item())
    assert min(values[-5:]) < values[0] / 2


def test_critic_learns_to_classify_a_batch(whole_run):
    """The batch holds recorded, generated and mismatched images."""
    run, learn = whole_run
    pairs = JudgedPair(run / "generated.npy")
    image, anonymized, is_recorded = (
        torch.stack(part) for part in zip(*map(pairs.encodes, range(6)), strict=True)
    )
    torch.manual_seed(0)
    critic = Critic(learn["critic"].dls.cfg)
    opt = torch.optim.Adam(critic.parameters(), 5e-3)
    values = []
    for _ in range(200):
        logits = critic(image, anonymized)
        value = patch_loss(logits, is_recorded)
        opt.zero_grad()
        value.backward()
        opt.step()
        values.append(value.item())
    assert values[-1] < 0.75 * values[0] and patch_accuracy(logits, is_recorded) > 0.75


def test_patch_loss_and_accuracy_of_known_logits():
    logits = torch.tensor([2.0, -2.0, 2.0, 2.0])[:, None, None, None].expand(4, 1, 3, 5)
    is_recorded = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert patch_accuracy(logits, is_recorded) == 0.75
    expected = (3 * np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 4
    assert patch_loss(logits, is_recorded).item() == pytest.approx(expected)


def test_a_fitted_learner_shows_its_results(whole_run, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    whole_run[1]["generator"].show_results(max_n=1)
    assert [track["label"] for track in shown[0].tracks] == ["anonymized", "generated", "original"]


@pytest.mark.parametrize("stage", ["generator", "gan"])
def test_validation_runs_in_evaluation_mode(make, tmp_path, stage):
    """As conversion does: batch norm uses its running statistics."""
    modes = []

    class Modes(Callback):
        order = 100

        def before_batch(self):
            if not self.training:
                modes.extend(m.training for m in self.model.modules())

    fit(make(stage), tmp_path / "run", stage, 2, cbs=[Modes()])
    assert modes and not any(modes)


def test_gan_learner_copies_its_networks(make, tmp_path):
    first, critic = make(), make("critic")
    before = state_of(first.model), state_of(critic.model)
    fit(gan_learner(first.dls, first.model, critic.model), tmp_path / "run", "gan", 1)
    assert same(first.model.state_dict(), before[0])
    assert same(critic.model.state_dict(), before[1])


# Generated images, for the critic


def test_save_generated_saves_each_crop_in_order(whole_run):
    run, learn = whole_run
    dls, generator = learn["generator"].dls, learn["generator"].model.eval()
    saved = np.load(run / "generated.npy", allow_pickle=False)
    assert saved.shape == (4, 3, 2, 257, 32) and saved.dtype == np.float16
    dls.pairs.epoch, to_image = 0, ToImage(dls.cfg)
    for i, (anonymized, made, original) in enumerate(saved.astype(np.float32)):
        x, y = (to_image(wav).as_subclass(torch.Tensor) for wav in dls.pairs.encodes(i))
        with torch.no_grad():
            expected = generator(x[None])[0]
        np.testing.assert_allclose(anonymized, x, atol=2e-3)
        np.testing.assert_allclose(original, y, atol=2e-3)
        np.testing.assert_allclose(made, expected, atol=5e-2 if compat.has_bf16_units() else 2e-3)


def test_judged_pairs_come_in_threes(whole_run):
    pairs = JudgedPair(whole_run[0] / "generated.npy")
    saved = torch.from_numpy(np.array(pairs.triples).astype(np.float32))
    for number in range(12):
        image, anonymized, is_recorded = pairs.encodes(number)
        i, kind = divmod(number, 3)
        assert torch.equal(anonymized, saved[i, 0])
        assert torch.equal(image, (saved[i, 2], saved[i, 1], saved[(i + 1) % 4, 2])[kind])
        assert is_recorded == (kind == 0)


def test_critic_learner_requires_save_generated(corpus, tmp_path):
    with pytest.raises(MissingInput, match=r"generated\.npy does not exist; call save_generated"):
        critic_learner(tmp_path, corpus[1])


def test_a_failed_save_generated_leaves_no_file(make, tmp_path):
    class Broken(nn.Module):
        def forward(self, img):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        save_generated(Broken(), make().dls, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


# Learning rate


def test_suggest_lr_measures_once_in_a_run(corpus, tmp_path, monkeypatch):
    (recordings, cfg), calls = corpus, []
    dls = make_dls(recordings[1:], recordings[:1], cfg, num_workers=0)
    find = Learner.lr_find
    monkeypatch.setattr(
        Learner, "lr_find", lambda *a, **kw: calls.append(1) or find(*a, num_it=12, **kw)
    )
    generator = Generator(cfg)
    before = state_of(generator)
    lr = suggest_lr(dls, tmp_path / "run", generator)
    assert same(generator.state_dict(), before)
    assert 1e-5 <= lr <= 1e-2 and suggest_lr(dls, tmp_path / "run") == lr and len(calls) == 1
    (tmp_path / "run" / "lr_find.json").write_text("{")
    with pytest.raises(ParameterError, match="is damaged .* remove it to measure"):
        suggest_lr(dls, tmp_path / "run")


def test_lr_find_leaves_everything_unchanged(make, whole_run, tmp_path):
    learn = make()
    before = state_of(learn.model)
    learn.lr_find(num_it=6, show_plot=False)
    assert same(learn.model.state_dict(), before)
    if hasattr(learn.average_weights, "average"):
        assert same(learn.average_weights.average, before)
    assert not [f for f in tmp_path.rglob("*") if f.is_file()], "no file stays"
    fit(learn, tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")


def test_lr_find_ends_where_the_loss_is_not_finite(make):
    learn = make()
    before = state_of(learn.model)
    with learn.added_cbs(At(1, spoil)):  # in the second of its epochs
        learn.lr_find(num_it=6, show_plot=False, suggest_funcs=None)
    n_good = len(learn.dls.train) + 1
    assert len(learn.recorder.losses) == n_good and np.isfinite(learn.recorder.losses).all()
    assert same(learn.model.state_dict(), before)


def test_an_interrupted_lr_find_does_not_change_later_training(make, whole_run, tmp_path):
    class Stop(Callback):
        def after_batch(self):
            if self.iter == 1:
                raise KeyboardInterrupt

    learn = make()
    before = state_of(learn.model)
    with learn.added_cbs(Stop()), pytest.raises(KeyboardInterrupt):
        learn.lr_find(num_it=6, show_plot=False)
    fit(make(), tmp_path / "run", "generator", N_EPOCHS)
    assert_as_undisturbed(whole_run, tmp_path / "run", "generator")
    fit(learn, tmp_path / "other", "generator", 1)
    assert not same(load_file(tmp_path / "other" / "generator.safetensors"), before), "averaged"


# bfloat16


@pytest.mark.parametrize("act", [interrupt, spoil])
def test_autocast_ends_with_the_batch_even_after_errors(make, tmp_path, monkeypatch, act):
    monkeypatch.setattr(compat, "has_bf16_units", lambda: True)
    try:
        fit(make(), tmp_path / "run", "generator", 1, cbs=[At(0, act)])
    except (FloatingPointError, Interrupted) as e:
        assert isinstance(e, FloatingPointError) == (act is spoil)
    try:
        assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_autocast_enabled("cpu", False)
        torch.clear_autocast_cache()


def test_training_in_bfloat16_stays_finite(make, tmp_path, monkeypatch):
    monkeypatch.setattr(compat, "has_bf16_units", lambda: True)
    fit(make("gan"), tmp_path / "run", "gan", 1)
    saved = load_file(tmp_path / "run" / "generator.safetensors")
    assert all(torch.isfinite(v).all() for v in saved.values())
    assert {v.dtype for v in saved.values()} <= {torch.float32, torch.int64}
    assert not torch.is_autocast_enabled("cpu")
