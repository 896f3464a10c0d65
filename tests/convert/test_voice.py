"""Voice: lengths, levels, statistics of the source, loading, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.audio import chunks
from vc_lib.config import Config
from vc_lib.convert import Voice, load_voice, long
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.model.networks import Generator, OnArrays
from vc_lib.model.numpy_generator import NumpyGenerator

SR = 16_000


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the voice's folder, to be spoilt."""
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_dials_are_those_of_a_copy_and_the_voices_own_by_default(model, voice):
    own = model.config
    changed = model.with_dials(3, 0.5)
    assert (changed.config.f0_shift_semitones, changed.config.change_strength) == (3.0, 0.5)
    assert changed.generator is model.generator and model.config is own
    assert changed.with_dials(strength=1.5).config == replace(changed.config, change_strength=1.5)
    assert changed.with_dials().config == changed.config
    model.stream(voice(0.2))
    assert model.with_dials().live is None, "a stream of its own"
    model.stream(None)
    with pytest.raises(ParameterError, match=r"f0_shift_semitones=25\.0 must be"):
        model.with_dials(semitones=25)


@pytest.mark.parametrize("n_samples", [1, 2, 79, 1_000, 4_001])
@pytest.mark.parametrize("sr", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_the_duration_is_kept_to_the_sample(model, voice, sr, n_samples):
    out = model.convert(voice(0.6, sr=sr)[:n_samples], sr)
    assert out.shape == (round(n_samples * SR / sr),) and out.dtype == np.float32
    assert np.isfinite(out).all() and (np.abs(out) <= 1).all()


@pytest.mark.parametrize("sr", [22_050, 48_000])
def test_the_duration_is_kept_whatever_the_rate_of_the_voice(target_cfg, voice, sr):
    cfg = replace(target_cfg, sr=sr, n_fft=1024, hop_length=256)
    cfg = replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=220.0, sr=sr), sr, cfg)]))
    model = Voice(OnArrays(Generator(cfg), "cpu"), cfg)
    assert model.sr == sr
    for n_samples in (1, 3_333):
        out = model.convert(voice(0.3, sr=SR)[:n_samples], SR)
        assert out.shape == (round(n_samples * sr / SR),)


def test_the_register_becomes_that_of_the_voice(model, voice):
    for f0 in (110.0, 260.0):
        features = analyze(model.convert(voice(1.0, f0=f0), SR), SR)
        assert np.median(features.f0[features.voiced]) == pytest.approx(
            model.config.target.f0_hz, rel=0.05
        )


def test_conversion_is_deterministic_and_leaves_its_input(model, voice):
    wav = voice(0.5)
    before = wav.copy()
    assert (model.convert(wav, SR) == model.convert(wav, SR)).all()
    assert (wav == before).all()
    assert np.abs(model.convert(wav.astype(np.float64), SR) - model.convert(wav, SR)).max() < 1e-3


def test_loud_input_stays_in_range(model, voice):
    out = model.convert(np.clip(20 * voice(0.5), -1, 1), SR)
    assert 0.1 < np.abs(out).max() <= 1


def test_silence_stays_silence(model):
    for wav in (np.zeros(5_000), np.zeros(1), np.full(3_000, 1e-9)):
        out = model.convert(wav, SR)
        assert out.shape == wav.shape and np.abs(out).max() < 1e-3


def test_an_untrained_generator_changes_nothing(target_cfg, voice):
    cfg = replace(target_cfg, pause_depth_db=0.0)
    model = Voice(OnArrays(Generator(cfg), "cpu"), cfg)
    wav = voice(0.5, sr=22_050)
    given, out = model.anonymize(wav, 22_050), model.convert(wav, 22_050)
    assert given.shape == out.shape and np.abs(given - out).max() < 1e-4


def test_change_strength_scales_the_change(model, voice):
    anonymized = model.anonymize(voice(1.0), SR)

    def moved(strength):  # how far from what the generator was given
        one = Voice(model.generator, replace(model.config, change_strength=strength))
        return np.sqrt(np.mean((one.generate(anonymized) - anonymized) ** 2))

    assert moved(0.0) < 1e-4 < moved(0.5) < moved(1.0) < moved(1.5)


def test_given_statistics_replace_measured_ones(model, voice):
    wav = voice(0.5)
    measured = model.convert(wav, SR)
    source = model.source_stats([wav])
    assert (model.convert(wav, SR, source=source) == measured).all()
    other = model.convert(wav, SR, source=replace(source, f0_hz=2 * source.f0_hz))
    assert other.shape == measured.shape and np.abs(other - measured).max() > 0.01


def test_source_statistics_do_not_depend_on_blocks_or_silence(model, voice, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_S", 0.5)
    wav = voice(2.0)
    whole = model.source_stats([wav])
    blocks = model.source_stats(np.split(wav, [8_000, 16_000, 24_000]))
    assert blocks == whole and whole.f0_hz == pytest.approx(120, rel=0.03)
    assert model.source_stats([np.zeros(4_000)]) == model.config.target, "nothing is known"
    monkeypatch.setattr(long, "STATS_S", 1.0)
    other = np.concatenate([wav[:28_000], voice(2.0, f0=200.0)])
    own, same = (model.source_stats([x]) for x in (wav, other))
    assert own.f0_hz == same.f0_hz, "only the beginning counts"
    np.testing.assert_allclose(own.cepstrum_mean, same.cepstrum_mean, atol=1e-5)
    np.testing.assert_allclose(own.voiced_cov, same.voiced_cov, atol=1e-5)
    assert model.source_stats([wav]).f0_hz == pytest.approx(124, rel=0.03), "of a second"


@pytest.mark.parametrize(
    "wav, sr, message",
    [
        (np.zeros(0), SR, "empty"),
        (np.zeros((2, 100)), SR, "shape"),
        (np.array([0.0, np.nan]), SR, "NaN"),
        (np.zeros(100, np.int16), SR, "dtype int16"),
        (np.zeros(100), 0, "sr=0"),
        (np.zeros(100), "16000", "sr='16000'"),
        (np.zeros(100), True, "sr=True"),
        (np.zeros(100), 16_000.0, "sr=16000.0"),
        (np.zeros(100), None, "sr=None"),
        (np.full(100, 32_767.0), SR, "reaches .* divide it by 32768"),
        (np.array([0.0, np.inf]), SR, "infinite"),
        (np.zeros(100, complex), SR, "dtype complex"),
        ("text", SR, "dtype <U4"),
        (None, SR, "dtype object"),
    ],
    ids=str,
)
def test_rejects_non_waveforms(model, wav, sr, message):
    with pytest.raises(ParameterError, match=message):
        model.convert(wav, sr)


@pytest.mark.parametrize("sr", [4_000, 96_000, 192_000])
@pytest.mark.parametrize(
    "kind",
    ["one", "silence", "unvoiced", "clipped", "dc", "denormal", "loud", "impulse", "float16"],
)
def test_odd_input_gives_finite_mono_output(model, voice, kind, sr):
    n, rng = int(0.4 * sr), np.random.default_rng(0)
    wav = dict(
        one=np.full(1, 0.5),
        silence=np.zeros(n),
        unvoiced=0.1 * rng.normal(size=n),
        clipped=np.sign(np.sin(np.arange(n) / sr * 900)),
        dc=np.full(n, 0.9),
        denormal=np.full(n, 1e-310),
        loud=10 * np.sin(np.arange(n) / sr * 900),
        impulse=np.eye(1, n, n // 2)[0],
        float16=voice(0.4, sr=sr).astype(np.float16) if sr > 4_000 else np.zeros(n, np.float16),
    )[kind]
    out = model.convert(wav, sr)
    assert out.ndim == 1 and out.dtype == np.float32 and len(out) == round(len(wav) * SR / sr)
    assert np.isfinite(out).all() and np.abs(out).max(initial=0) <= 1


def test_pauses_of_the_source_become_quieter(model, voice):
    pause = 2e-3 * np.random.default_rng(0).normal(size=SR // 2)
    wav = np.concatenate([voice(0.6), pause, voice(0.6)])
    loud, quiet = (
        Voice(model.generator, replace(model.config, pause_depth_db=depth)) for depth in (0.0, 30.0)
    )
    before, after = loud.convert(wav, SR), quiet.convert(wav, SR)
    middle = slice(int(0.75 * SR), int(0.95 * SR))
    assert 20 * np.log10(after[middle].std() / before[middle].std()) == pytest.approx(-30, abs=1)
    speech = np.abs(wav) > 0.05
    assert np.abs(after - before)[speech].max() < 0.02 * np.abs(before).max()
    given = model.convert(wav, SR, source=replace(model.config.target, level_db=0.0))
    assert given[speech].std() > 10 * given[middle].std(), (
        "another recording's level is not its own"
    )


def test_loads_a_voice_from_its_folder(saved, model, target_cfg, voice):
    assert model.config == target_cfg and model.sr == SR and model.name == saved.name
    assert not model.generator.network.training
    again = load_voice(str(saved), torch.device("cpu"))
    assert (again.convert(voice(0.3), SR) == model.convert(voice(0.3), SR)).all()


def test_numpy_converts_as_torch_does(saved, model, voice, monkeypatch):
    by_numpy = load_voice(saved)
    assert isinstance(by_numpy.generator, NumpyGenerator)
    wav = voice(0.7)
    monkeypatch.setattr(model.generator.network, "bf16", False)
    expected = model.convert(wav, SR)
    error = np.linalg.norm(by_numpy.convert(wav, SR) - expected) / np.linalg.norm(expected)
    assert 20 * np.log10(error) < -60


@pytest.mark.parametrize("name", ["generator.safetensors", "config.json"])
def test_names_a_missing_file_and_what_to_do(folder, name):
    (folder / name).unlink()
    with pytest.raises(MissingInput, match=rf"{name} does not exist"):
        load_voice(folder)
    with pytest.raises(MissingInput, match=r"or train one with notebook 02-1 or 02-2"):
        load_voice(folder / "nowhere")


@pytest.mark.parametrize("n_bytes", [0, 4, 100, 5_000])
def test_rejects_damaged_weights(folder, n_bytes):
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:n_bytes])
    with pytest.raises(ParameterError, match="or is damaged .* copy both again"):
        load_voice(folder)


def test_rejects_weights_of_another_format(folder):
    torch.save({"a": torch.zeros(2)}, folder / "generator.safetensors")  # a pickle
    with pytest.raises(ParameterError, match="or is damaged"):
        load_voice(folder)


@pytest.mark.parametrize(
    "change", [dict(width=16), dict(depth=3), dict(filter_output=False)], ids=str
)
def test_rejects_a_config_of_another_voice(folder, target_cfg, change):
    replace(target_cfg, **change).save(folder / "config.json")
    with pytest.raises(ParameterError, match=r"does not fit .*config\.json"):
        load_voice(folder)


def test_rejects_a_damaged_config(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ParameterError, match="not valid JSON"):
        load_voice(folder)


def test_rejects_a_config_without_a_target(folder):
    replace(Config.load(folder / "config.json"), target=None).save(folder / "config.json")
    with pytest.raises(ParameterError, match="has no target; it is not the config of a trained"):
        load_voice(folder)


def test_rejects_a_target_at_another_rate(folder, voice):
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values |= dict(sr=22_050)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ParameterError):
        load_voice(folder, "cpu").convert(voice(0.3), SR)
