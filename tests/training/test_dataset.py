"""Pairs of images: aligned crops, fresh perturbations and epochs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import convolve, correlate
from threadpoolctl import threadpool_info

from vc_lib.config import SECOND_CHANNELS, Config
from vc_lib.corpus import learn_target, prepare
from vc_lib.errors import ParameterError
from vc_lib.evaluate import envelope_distance_db
from vc_lib.spectrogram import wav_to_image
from vc_lib.training import dataset
from vc_lib.training.dataset import PerturbedPairs, SetEpoch, SpecImage, crop_pair, make_dls

SR = 16_000
HOP = 128


@pytest.fixture
def dls(prepared, target_cfg):
    return make_dls(prepared[1:], prepared[:1], target_cfg, num_workers=0)


def rng(seed=0):
    return np.random.default_rng(seed)


def lag(a, b, sr=SR):
    """Delay of the energy of `a` against that of `b`, both smoothed over 30 ms [samples]."""
    smooth = np.hanning(round(0.03 * sr))
    a, b = (np.sqrt(convolve(x.astype(float) ** 2, smooth, "same").clip(0)) for x in (a, b))
    return int(correlate(a - a.mean(), b - b.mean(), "full").argmax()) - (len(b) - 1)


def epoch_of(dls, epoch):
    """All training batches of an epoch, as a Learner would see them."""
    callback = SetEpoch()
    callback.learn = SimpleNamespace(dls=dls, epoch=epoch)
    callback.before_epoch()
    return [torch.stack(batch).as_subclass(torch.Tensor) for batch in dls.train]


# Crops


@pytest.mark.parametrize("n_frames", [16, 64, 200])
@pytest.mark.parametrize("chance", [None, 1, 2])
def test_crops_are_aligned_pairs_of_equal_length(prepared, target_cfg, n_frames, chance):
    """The shortest of the recordings is half as long as the longest of these crops."""
    wide = replace(target_cfg, n_frames=n_frames)
    for recording in (prepared[0], prepared[3]):
        pair = crop_pair(recording, wide, None if chance is None else rng(chance))
        for wav in pair:
            assert wav.shape == ((n_frames - 1) * HOP,) and wav.dtype == np.float32
            assert np.isfinite(wav).all() and np.abs(wav).max() <= 1
        if n_frames > 16:
            assert abs(lag(*pair)) <= HOP


@pytest.mark.parametrize(
    "settings",
    [
        dict(sr=22_050, n_fft=1024, hop_length=256),
        dict(sr=24_000, n_fft=600, hop_length=150, frame_period_ms=3.3),
        dict(hop_length=200, frame_period_ms=10.0),
    ],
    ids=["22050", "24000", "10 ms"],
)
def test_crops_are_aligned_at_every_rate(folder, tmp_path, voice, plain_cfg, settings):
    soundfile.write(folder / "1.wav", voice(3.0, seed=5), SR)
    cfg = replace(plain_cfg, **settings)
    recording = prepare(folder, cfg, tmp_path / "cache", n_jobs=1)[1]
    cfg = learn_target([recording], cfg)
    for chance in (None, rng(0), rng(1), rng(2)):
        pair = crop_pair(recording, cfg, chance)
        assert {len(wav) for wav in pair} == {63 * cfg.hop_length}
        assert abs(lag(*pair, cfg.sr)) <= cfg.hop_length


def test_original_is_a_part_of_the_recording(prepared, target_cfg):
    recording = prepared[3]
    wav, _ = recording.load()
    for chance in (None, rng(3)):
        original = crop_pair(recording, target_cfg, chance)[1]
        places = [i for i in np.flatnonzero(wav == original[0]) if len(wav) - i >= len(original)]
        assert any((wav[i : i + len(original)] == original).all() for i in places)


def test_a_short_recording_is_repeated(prepared, target_cfg):
    wav, _ = prepared[0].load()
    original = crop_pair(prepared[0], replace(target_cfg, n_frames=200))[1]
    period = 81 * 80  # 81 WORLD frames of 80 samples
    assert len(wav) < len(original) and (original[:6_400] == wav[:6_400]).all()
    assert (original[period : 2 * period] == original[:period]).all()


def test_without_rng_a_crop_is_the_unperturbed_middle(prepared, target_cfg):
    pairs = [crop_pair(prepared[4], replace(target_cfg, seed=seed)) for seed in (1, 2)]
    for a, b in zip(*pairs, strict=True):
        assert a.tobytes() == b.tobytes()
    wav, _ = prepared[4].load()
    start = (len(wav) - len(pairs[0][1])) // 2
    assert abs(lag(np.pad(pairs[0][1], (start, 0)), wav[: start + len(pairs[0][1])])) <= HOP


def test_a_crop_depends_on_its_rng_alone(prepared, target_cfg):
    first, again, other = (crop_pair(prepared[4], target_cfg, rng(seed)) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert a.tobytes() == b.tobytes() and a.tobytes() != c.tobytes()


def test_perturbation_is_new_where_the_place_is_the_same(prepared, target_cfg):
    """A recording that is shorter than the crop has only one place."""
    wide = replace(target_cfg, n_frames=200)
    (a, x), (b, y) = (crop_pair(prepared[0], wide, rng(seed)) for seed in (1, 2))
    assert (x == y).all() and np.abs(a - b).max() > 0.01


def test_a_crop_is_normalized_as_a_source_is(prepared, target_cfg):
    """Statistics of the perturbed recording are moved to the target's, which undoes a part of the perturbation."""
    wide = replace(target_cfg, n_frames=200, perturb_ap_db=0.0)
    left, right = [], []
    for seed in range(4):
        for cfg, distances in ((wide, left), (replace(wide, match_target=0.0), right)):
            anonymized, original = crop_pair(prepared[4], cfg, rng(seed))
            distances.append(envelope_distance_db(anonymized, original, SR))
    assert np.mean(left) < 0.8 * np.mean(right)


def test_presets_draw_anew_in_every_crop(prepared, target_cfg):
    off = dict(perturb_formants=0.0, perturb_cepstrum=0.0, perturb_ap_db=0.0)
    noise = replace(target_cfg, n_frames=200, preset="noise", **off)
    (a, x), (b, y) = (crop_pair(prepared[0], noise, rng(seed)) for seed in (1, 2))
    assert (x == y).all() and np.abs(a - b).max() > 0.01


# The dataset


def test_batches_are_pairs_of_images(dls, target_cfg):
    assert dls.cfg == target_cfg
    for loader, n in ((dls.train, 2), (dls.valid, 1)):
        x, y = next(iter(loader))
        for img in (x, y):
            assert type(img) is SpecImage and img.dtype == torch.float32
            assert (
                img.shape == (n, 2, target_cfg.n_freqs, target_cfg.n_frames)
                and torch.isfinite(img).all()
            )
            assert img.cfg == target_cfg


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_images_are_those_of_the_crops(prepared, target_cfg, second_channel):
    cfg = replace(target_cfg, second_channel=second_channel)
    dls = make_dls(prepared[1:], prepared[:1], cfg, num_workers=0)
    x, y = next(iter(dls.valid))
    for img, wav in zip((x, y), crop_pair(prepared[0], cfg), strict=True):
        expected = wav_to_image(wav, cfg)
        distance = np.abs(img[0].numpy() - expected)
        if second_channel in ("phase", "instantaneous_frequency"):
            distance[1] = np.minimum(distance[1], 2 - distance[1])  # angles wrap around
            distance[1, expected[0] < -0.6] = 0  # and mean nothing where it is quiet
        assert distance.max() < 1e-2, "those that a source has at conversion"
        assert np.abs(img[0].wav() - wav).max() < 1e-4, "its exact inverse"


def test_make_dls_needs_a_target(prepared, plain_cfg):
    with pytest.raises(ParameterError, match=r"cfg\.target is not set; .* learn_target"):
        make_dls(prepared[1:], prepared[:1], plain_cfg)


def test_an_epoch_is_as_long_as_the_recordings_or_max_crops(prepared, target_cfg):
    seconds = 63 * HOP / SR
    n_slots = sum(max(1, round(r.seconds / seconds)) for r in prepared[1:])
    assert len(make_dls(prepared[1:], prepared[:1], target_cfg).pairs.slots) == n_slots
    for max_crops, n_crops in ((1, 1), (5, 5), (400, n_slots)):
        short = make_dls(prepared[1:], prepared[:1], replace(target_cfg, max_crops=max_crops), 0)
        assert short.pairs.n_crops == n_crops == len(short.train_ds)
        assert short.train.one_batch()[0].shape[0] == min(2, n_crops)


def test_epochs_differ_and_a_seed_repeats_them(prepared, target_cfg):
    cfg = replace(target_cfg, max_crops=6)
    one, two = (make_dls(prepared[1:], prepared[:1], cfg, num_workers=0) for _ in range(2))
    first, second = epoch_of(one, 0), epoch_of(one, 1)
    assert len(first) == one.pairs.n_crops // 2
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    for epoch, expected in ((1, second), (0, first)):  # in any order, as after a resume
        for a, b in zip(epoch_of(two, epoch), expected, strict=True):
            assert torch.equal(a, b)
    other = make_dls(prepared[1:], prepared[:1], replace(cfg, seed=1), num_workers=0)
    assert not any(torch.equal(a, b) for a, b in zip(epoch_of(other, 0), first, strict=True))


def test_worker_processes_make_the_same_crops(prepared, target_cfg):
    cfg = replace(target_cfg, max_crops=4)
    in_process, in_worker = (
        make_dls(prepared[1:], prepared[:1], cfg, num_workers=n) for n in (0, 1)
    )
    for epoch in (0, 1):
        for a, b in zip(epoch_of(in_process, epoch), epoch_of(in_worker, epoch), strict=True):
            assert torch.equal(a, b)


def test_validation_is_the_same_in_every_epoch(dls):
    images = []
    for epoch in (0, 1):
        dls.pairs.epoch = epoch
        images.append(torch.stack(next(iter(dls.valid))))
    assert torch.equal(*images)


def test_a_crop_is_made_in_one_blas_thread(prepared, target_cfg, monkeypatch):
    def n_threads():
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    def look(*args):
        seen.extend(n_threads())
        return np.zeros((2, 63 * HOP), np.float32)

    seen, before = [], n_threads()
    monkeypatch.setattr(dataset, "crop_pair", look)
    for item in (0, prepared[0]):  # of training and of validation
        PerturbedPairs(prepared, target_cfg).encodes(item)
    assert set(seen) <= {1} and len(seen) == 2 * len(before)
    assert n_threads() == before


@pytest.mark.parametrize("max_crops", [3, 7, 400])
def test_a_walk_visits_every_slot_once(prepared, target_cfg, monkeypatch, max_crops):
    visited = []

    def visit(recording, cfg, rng):
        visited.append(recording.path.name)
        return np.zeros((2, 63 * HOP), np.float32)

    monkeypatch.setattr(dataset, "crop_pair", visit)
    pairs = PerturbedPairs(prepared, replace(target_cfg, max_crops=max_crops))
    n = len(pairs.slots)
    for epoch in range(2 * n // pairs.n_crops + 1):
        pairs.epoch = epoch
        for item in range(pairs.n_crops):
            pairs.encodes(item)
    slots = sorted(r.path.name for r in pairs.slots)
    first, second = visited[:n], visited[n : 2 * n]
    assert sorted(first) == sorted(second) == slots and first != second
    assert slots.count("5.wav") > slots.count("1.wav") >= 1, "long ones more often"


@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_an_image_gives_its_waveform_back(voice, second_channel):
    wav, cfg = voice(0.5), Config(second_channel=second_channel)
    back = SpecImage(torch.from_numpy(wav_to_image(wav, cfg)), cfg=cfg).wav()
    assert np.abs(back[: len(wav)] - wav).max() < 1e-3, "not rescaled"
