"""Pseudo-strangers: real speakers' statistics, rooms, cached pairs, and what training makes of them."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from vc_lib.anonymize import analyze, render, speaker_stats, transform
from vc_lib.corpus import CorpusItem
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate.metrics import log_spectral_distance_db
from vc_lib.training import dataset
from vc_lib.training import strangers as module
from vc_lib.training.dataset import crop_pair, make_dls
from vc_lib.training.strangers import (
    add_room,
    add_strangers,
    anonymize_stranger,
    load_pair,
    speak_as,
    strangers,
)

SR = 16_000


@pytest.fixture(scope="module")
def low_voice():
    """The speaker with the lowest register."""
    return min(strangers(SR), key=lambda stats: stats.f0_hz)


@pytest.fixture(scope="module")
def made(prepared, target_cfg, tmp_path_factory):
    """The recordings with two pseudo-strangers each."""
    folder = tmp_path_factory.mktemp("strangers")
    return add_strangers(prepared, target_cfg, 2, folder, n_jobs=1), target_cfg


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_pseudo_stranger_has_the_register_and_envelope_of_the_stranger(
    prepared, target_cfg, low_voice
):
    wav, features = prepared[-1].load()
    ratio = module._ratio(target_cfg.target, low_voice)
    own = module._own_by_ratio(prepared, [ratio])[ratio]
    spoken = speak_as(wav, features, low_voice, own, target_cfg)
    assert spoken.shape == wav.shape and np.abs(spoken).max() <= 1
    before, after = (speaker_stats([analyze(w, SR, target_cfg)]) for w in (wav, spoken))

    def distance(stats):
        difference = np.subtract(stats.voiced_mean, low_voice.voiced_mean)
        return np.linalg.norm(difference[1:])  # coefficient 0 is the level

    assert after.f0_hz == pytest.approx(low_voice.f0_hz, rel=0.08)
    assert distance(after) < 0.6 * distance(before)


def test_a_room_reverberates_and_is_noisy():
    click = np.zeros(SR, np.float32)
    click[4_000] = 0.5
    room = add_room(click, SR, rng(3))
    energy = np.cumsum(room[::-1].astype(float) ** 2)[::-1]
    direct = energy[4_000] - energy[4_001]
    late_db = 10 * np.log10((energy[4_032] - energy[12_000]) / direct)
    noise_db = 10 * np.log10(np.mean(room[:3_900].astype(float) ** 2) / np.mean(room**2))
    assert room[4_000] == pytest.approx(0.5, abs=0.05) and room.dtype == np.float32
    assert -21 < late_db < -5
    assert -46 < noise_db < -24
    assert np.array_equal(room, add_room(click, SR, rng(3)))


def test_silence_in_a_room_stays_silent():
    assert not add_room(np.zeros(1_000, np.float32), SR, rng()).any()


def test_the_pair_has_the_pitch_of_the_original(prepared, target_cfg, low_voice):
    wav, features = prepared[-1].load()
    ratio = module._ratio(target_cfg.target, low_voice)
    own = module._own_by_ratio(prepared, [ratio])[ratio]
    spoken = speak_as(wav, features, low_voice, own, target_cfg)
    f0 = analyze(anonymize_stranger(spoken, features.f0, target_cfg), SR, target_cfg).f0
    both = (f0 > 0) & (features.f0 > 0)
    semitones = 12 * np.abs(np.log2(f0[both] / features.f0[both]))
    assert both.mean() > 0.3 and np.median(semitones) < 0.1


def test_training_crops_come_from_the_pairs(made):
    items, cfg = made
    pairs = [load_pair(path) for path in items[-1].strangers]
    anonymized, original = crop_pair(items[-1], cfg, rng(1))
    assert anonymized.shape == original.shape == ((cfg.n_frames - 1) * cfg.hop_length,)
    found = [
        first
        for wav, reference in pairs
        for first in range(len(reference) - len(original) + 1)
        if np.array_equal(reference[first : first + len(original)], original)
        and np.array_equal(wav[first : first + len(original)], anonymized)
    ]
    assert len(found) == 1
    assert not np.array_equal(crop_pair(items[-1], cfg, rng(4))[0], anonymized)
    recording, _ = items[-1].load()
    assert np.abs(pairs[0][1] - recording).max() < 1 / 32_000


def test_some_training_crops_are_the_target_unchanged(made):
    items, cfg = made
    _, original = crop_pair(items[-1], cfg, rng(3))  # draws .09, under OWN_SHARE
    anonymized, recording = load_pair(items[-1].own)
    starts = range(len(recording) - len(original) + 1)
    assert any(np.array_equal(recording[i : i + len(original)], original) for i in starts)
    _, features = items[-1].load()
    transformed = transform(features, cfg, cfg.target)
    rendered = render(recording, features, transformed, cfg, cfg.target)
    assert np.abs(anonymized - rendered).max() < 1e-3
    own, strange = (
        log_spectral_distance_db(*crop_pair(items[-1], cfg, rng(seed)), SR) for seed in (3, 1)
    )
    assert own < strange / 2


def test_nothing_is_synthesized_while_a_network_trains(made, monkeypatch):
    items, cfg = made
    used = Mock(side_effect=AssertionError)
    for name in ("transform", "render"):
        monkeypatch.setattr(dataset, name, used)
    crops = [crop_pair(items[-1], cfg, rng(seed)) for seed in range(30)]  # some are unchanged
    assert not used.called
    assert len({original.tobytes() for _, original in crops}) > 20


def test_short_recordings_are_repeated(made):
    items, cfg = made
    wide = replace(cfg, n_frames=200)
    anonymized, original = crop_pair(items[0], wide, rng())
    n = len(load_pair(items[0].strangers[0])[1])
    assert len(original) == 199 * cfg.hop_length > 2 * n
    assert np.array_equal(original[:n], original[n : 2 * n])
    assert np.array_equal(anonymized[:n], anonymized[n : 2 * n])


def test_validation_is_on_the_middle_of_the_first_stranger(made):
    items, cfg = made
    for wav, whole in zip(
        crop_pair(items[-1], cfg), load_pair(items[-1].strangers[0]), strict=True
    ):
        first = (len(whole) - len(wav)) // 2
        np.testing.assert_array_equal(wav, whole[first : first + len(wav)])


def test_strangers_differ_between_versions_and_are_made_once(made, prepared):
    items, cfg = made
    first, second = (load_pair(path)[0] for path in items[-1].strangers)
    assert np.sqrt(np.mean((first - second) ** 2)) > 0.1 * np.sqrt(np.mean(first**2))
    folder = items[0].strangers[0].parent
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == (2 + 1) * len(prepared)  # the recording itself, too
    again = add_strangers(prepared, cfg, 2, folder, n_jobs=1)
    assert again == items
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_target_or_dial_makes_other_pairs(made, prepared, tmp_path):
    items, cfg = made
    louder = replace(cfg, ap_gain_db=0.0)
    (other,) = add_strangers(prepared[-1:], louder, 1, tmp_path, n_jobs=1)
    assert {path.name for path in other.strangers}.isdisjoint(p.name for p in items[-1].strangers)


def test_damaged_pairs_are_made_again(made, prepared, tmp_path):
    cfg = made[1]
    (item,) = add_strangers(prepared[-1:], cfg, 1, tmp_path, n_jobs=1)
    (path,) = item.strangers
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ParameterError, match=r"is damaged .* call add_strangers again"):
        load_pair(path)
    add_strangers(prepared[-1:], cfg, 1, tmp_path, n_jobs=1)
    assert path.read_bytes() == whole


def test_pairs_that_are_gone_say_so(made, tmp_path):
    gone = replace(made[0][0], strangers=(tmp_path / "gone.npz",))
    with pytest.raises(MissingInput, match=r"gone\.npz is gone; call add_strangers again"):
        crop_pair(gone, made[1], rng())


@pytest.mark.parametrize(
    ("settings", "n", "message"),
    [
        (dict(target=None), 1, r"cfg\.target is not set; call cfg = learn_target"),
        (dict(sr=22_050), 1, r"sr=22050 Hz must be 16000 Hz, .* or without add_strangers"),
        ({}, 0, r"n_strangers=0 must be an int in 1\.\.100"),
        ({}, 1.5, r"n_strangers=1\.5 must be"),
    ],
)
def test_bad_input_says_the_rule(prepared, target_cfg, tmp_path, settings, n, message):
    with pytest.raises(ParameterError, match=message):
        add_strangers(prepared, replace(target_cfg, **settings), n, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_whispering_target_has_no_strangers(prepared, target_cfg, tmp_path):
    whispers = replace(target_cfg.target, voiced_mean=(), voiced_cov=(), classes=None)
    with pytest.raises(ParameterError, match=r"a quarter of a second of voiced speech"):
        add_strangers(prepared, replace(target_cfg, target=whispers), 1, tmp_path)


def test_dls_take_them(made):
    items, cfg = made
    dls = make_dls(items[1:], items[:1], cfg, num_workers=0)
    assert isinstance(dls.pairs.recording(0), CorpusItem) and dls.pairs.recording(0).strangers
    anonymized, original = dls.one_batch()
    assert anonymized.isfinite().all() and (anonymized != original).any()


@pytest.mark.parametrize("preset", ["whisper", "robot", "noise"])
def test_every_preset_makes_pairs(prepared, target_cfg, tmp_path, preset):
    cfg = replace(target_cfg, preset=preset)
    (item,) = add_strangers(prepared[-1:], cfg, 1, tmp_path, n_jobs=1)
    anonymized, original = load_pair(item.strangers[0])
    assert np.abs(anonymized).max() > 0.01 and anonymized.shape == original.shape
    wanted = transform(item.load()[1], cfg, cfg.target).f0
    assert (wanted > 0).any() == (preset != "whisper")
