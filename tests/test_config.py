"""Configs: frozen, checked, varied by replace, saved and loaded."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from vc_lib.config import (
    ADDED,
    CONFIG_VERSION,
    ENCODERS,
    PRESETS,
    PRIVATE,
    SECOND_CHANNELS,
    AnonymizeConfig,
    AudioConfig,
    Config,
    ModelConfig,
    TrainConfig,
)
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.speaker import AcousticClasses, SpeakerStats

STATS = dict(
    sr=16_000,
    f0_hz=203.5,
    f0_std_semitones=3.25,
    level_db=-31.0,
    cepstrum_mean=(-1.5, 0.25, 1 / 3),
    cepstrum_std=(0.5, 0.0, 0.1),
)
VOICED = dict(voiced_mean=(0.0, 1.0, 0.5), voiced_cov=np.eye(3))
CLASSES = dict(
    weights=(0.25, 0.75), means=((1.0, -1 / 3), (0.0, 2.0)), variances=((0.5, 0.1), (0.2, 0.3))
)


@pytest.fixture
def saved(tmp_path):
    """Function that saves a config with some values changed or left out, and returns its path."""

    def save(without=(), target=None, **changes):
        path = tmp_path / "config.json"
        Config(target=SpeakerStats(**STATS)).save(path)
        values = json.loads(path.read_text(encoding="utf-8"))
        values["target"] |= target or {}
        values = {k: v for k, v in (values | changes).items() if k not in without}
        path.write_text(json.dumps(values), encoding="utf-8")
        return path

    return save


# Frozen, flat, varied by replace


def test_config_is_each_of_its_parts(cfg):
    parts = (AudioConfig, AnonymizeConfig, ModelConfig, TrainConfig)
    assert all(isinstance(cfg, part) for part in parts)
    names = [field.name for part in parts for field in dataclasses.fields(part)]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(Config))
    assert len(names) == len(set(names)), "two parts hold the same setting"


@pytest.mark.parametrize("name", ["sr", "preset", "width", "lr", "brand_new"])
def test_config_is_frozen(cfg, name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(cfg, name, 1)


def test_replace_gives_a_checked_copy_and_derived_numbers_follow(cfg):
    wide = replace(cfg, n_fft=1024, hop_length=256)
    assert (wide.n_freqs, cfg.n_freqs) == (513, 257)
    assert replace(wide, n_fft=cfg.n_fft, hop_length=cfg.hop_length) == cfg
    with pytest.raises(ParameterError, match="n_fft=1023 must be even"):
        replace(cfg, n_fft=1023)


def test_equal_configs_hash_alike():
    a, b = (Config(target=SpeakerStats(**STATS)) for _ in range(2))
    assert a == b and hash(a) == hash(b)


@pytest.mark.parametrize("sr", [16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("second_channel", SECOND_CHANNELS)
def test_usual_rates_and_channels_are_allowed(sr, second_channel):
    assert Config(sr=sr, n_fft=1024, hop_length=256, second_channel=second_channel).sr == sr


# Presets and dials


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_every_dial(preset):
    cfg = AnonymizeConfig(preset=preset, private_key=0)
    assert cfg.dials == PRESETS[preset]
    assert set(cfg.dials) == set(PRESETS["neutral"]), "each preset sets the same dials"
    assert all(getattr(cfg, name) is None for name in cfg.dials)


def test_presets_do_what_their_names_say():
    modes = {preset: dials["f0_mode"] for preset, dials in PRESETS.items()}
    private = dict.fromkeys(PRIVATE, "match")
    assert modes == private | dict(whisper="zero", robot="constant", noise="noise", neutral="match")
    for preset in PRIVATE:
        dials = AnonymizeConfig(preset=preset, private_key=0, unvoiced="recorded").dials
        assert dials["voiced"] == dials["unvoiced"] == "vocoder", "the recording says who speaks"


def test_a_file_without_the_settings_that_came_later_is_read(tmp_path):
    values = Config(seed=7).values()
    for name in ADDED:
        del values[name]
    assert Config.from_values(values, tmp_path / "config.json") == Config(seed=7)


@pytest.mark.parametrize(
    "dial, value",
    [("f0_mode", "keep"), ("n_cepstra", 0), ("match_target", 0.0), ("n_ap_bands", 1)],
)
def test_dials_override_the_preset_even_at_zero(dial, value):
    dials = Config(preset="neutral", **{dial: value}).dials
    assert dials == PRESETS["neutral"] | {dial: value}


def test_dials_are_a_copy(cfg):
    cfg.dials["f0_mode"] = "zero"
    assert cfg.dials["f0_mode"] == "match"


# Rejected values: the message names the value and the rule


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(sr=4_000), r"sr=4000 must be .* 8000\.\.192000 Hz"),
        (dict(sr=16_000.0), r"sr=16000\.0 must be an int"),
        (dict(sr="16000"), r"sr='16000' must be an int"),
        (dict(n_fft=511), "n_fft=511 must be even"),
        (dict(hop_length=0), r"hop_length=0 must be .* 1\.\.256 samples \(half of n_fft\)"),
        (dict(hop_length=300), r"hop_length=300 must be .* 1\.\.256"),
        (dict(second_channel="mel"), "second_channel='mel' must be one of phase, cos_sin"),
        (dict(preset="alien"), "preset='alien' must be one of whisper, robot, noise, neutral"),
        (dict(f0_method="crepe"), "f0_method='crepe' must be one of dio"),
        (dict(f0_mode="up"), "f0_mode='up' must be one of keep, zero"),
        (dict(f0_floor=10), r"f0_floor=10 must be .* 40\.\.400 Hz"),
        (dict(f0_floor=100.0, f0_ceil=110.0), r"f0_ceil=110\.0 must be .* 120\.0\.\."),
        (dict(f0_register_hz=50.0), r"f0_register_hz=50\.0 must be .* 71\.0\.\.600\.0 Hz"),
        (dict(frame_period_ms=0.0), r"frame_period_ms=0\.0 must be .* 1\.\.20 ms"),
        (dict(formant_ratio=float("nan")), r"formant_ratio=nan must be a number in 0\.5\.\.2"),
        (dict(n_cepstra=2), r"n_cepstra=2 must be 0 \(all\) or 4\.\.80"),
        (dict(match_target=1.5), r"match_target=1\.5 must be .* 0\.\.1"),
        (dict(match_smooth_ms=-1.0), r"match_smooth_ms=-1\.0 must be .* 0\.\.100 ms"),
        (dict(highpass_db_per_octave=-6.0), r"highpass_db_per_octave=-6\.0 must be .* 0\.\.96 dB"),
        (dict(n_ap_bands=33), r"n_ap_bands=33 must be an int in 0\.\.32"),
        (dict(blur_hz=-1.0), r"blur_hz=-1\.0 must be .* Hz"),
        (dict(perturb_formants=True), "perturb_formants=True must be a number"),
        (dict(encoder="vgg"), "encoder='vgg' must be one of " + ", ".join(ENCODERS)),
        (dict(width=2), r"width=2 must be an int in 4\.\.512"),
        (dict(fold=4.0), r"fold=4\.0 must be an int in 1\.\.128"),
        (dict(n_frames=8), r"n_frames=8 must be an int in 16\.\.8192"),
        (dict(bs=0), r"bs=0 must be an int in 1\.\."),
        (dict(lr=0), r"lr=0 must be a number in 1e-08\.\.1"),
        (dict(valid_share=1.0), r"valid_share=1\.0 must be .* 0\.0\.\.0\.9"),
        (dict(ema_decay=1.0), r"ema_decay=1\.0 must be"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_rejects_bad_values(settings, message):
    with pytest.raises(ParameterError, match=message):
        Config(**settings)


@pytest.mark.parametrize("part", [AudioConfig, AnonymizeConfig, ModelConfig, TrainConfig])
def test_each_part_stands_alone(part):
    assert part() == part()
    wrong = dict(sr=1) if part is AudioConfig else {dataclasses.fields(part)[0].name: "wrong"}
    with pytest.raises(ParameterError):
        part(**wrong)


# Saved and loaded


@pytest.mark.parametrize(
    "target",
    [
        None,
        SpeakerStats(**STATS),
        SpeakerStats(**STATS | VOICED, classes=AcousticClasses(**CLASSES)),
    ],
    ids=["untrained", "trained", "with classes"],
)
def test_config_survives_the_file(tmp_path, target):
    cfg = Config(sr=22_050, preset="robot", n_cepstra=0, blur_hz=12.5, lr=1 / 3, target=target)
    path = tmp_path / "models" / "new" / "config.json"
    cfg.save(path)
    assert Config.load(path) == cfg
    assert Config.load(str(path)) == cfg
    assert [file.name for file in path.parent.iterdir()] == ["config.json"], "no partial file stays"


def test_saving_again_replaces_and_gives_the_same_bytes(tmp_path, cfg):
    path = tmp_path / "config.json"
    replace(cfg, sr=48_000).save(path)
    cfg.save(path)
    first = path.read_bytes()
    Config.load(path).save(path)
    assert Config.load(path) == cfg and path.read_bytes() == first


def test_missing_file_raises_missing_input(tmp_path):
    with pytest.raises(
        MissingInput, match=r"config\.json does not exist; .* generator\.safetensors"
    ):
        Config.load(tmp_path / "config.json")


@pytest.mark.parametrize("text", ["", "{", "not json", '{"sr": }', "\ufeff{}", "\0"])
def test_rejects_broken_json(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=r"not valid JSON .* copy the voice's folder again"):
        Config.load(path)


def test_rejects_bytes_that_are_not_text(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ParameterError, match="not valid JSON"):
        Config.load(tmp_path / "config.json")


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null"])
def test_rejects_json_that_is_no_object(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ParameterError, match="must hold a JSON object, got"):
        Config.load(tmp_path / "config.json")


@pytest.mark.parametrize("version", [CONFIG_VERSION + 1, CONFIG_VERSION - 1, 99, 0, None, "1"])
def test_rejects_other_versions(saved, version):
    with pytest.raises(ParameterError, match=rf"config version {version!r}.* update vc_lib"):
        Config.load(saved(version=version, from_the_future=1))


def test_rejects_a_file_without_version(saved):
    with pytest.raises(ParameterError, match="config version None"):
        Config.load(saved(without=["version"]))


def test_unknown_settings_are_named(saved):
    with pytest.raises(ParameterError, match="unknown settings: colour, taste; .* later version"):
        Config.load(saved(taste=1, colour="red"))


@pytest.mark.parametrize(
    "changes",
    [
        dict(sr=1),
        dict(sr=None),
        dict(n_fft=512.5),
        dict(preset=[]),
        dict(encoder={"compact": 1}),
        dict(lr=float("nan")),
        dict(target="alto"),
        dict(target=[1, 2]),
        dict(target={"f0_hz": 200.0}),
        dict(target=STATS | {"age": 40}),
        dict(target=STATS | {"f0_hz": "high"}),
        dict(target=STATS | {"cepstrum_mean": None}),
    ],
    ids=str,
)
def test_rejects_invalid_values_in_a_file(saved, changes):
    path = saved()
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ParameterError):
        Config.load(path)


@pytest.mark.parametrize("seed", [-1, 1.5, "42", None])
def test_rejects_bad_seeds(seed):
    with pytest.raises(ParameterError, match="seed="):
        Config(seed=seed)


@pytest.mark.parametrize(
    "settings", [dict(n_cepstra=24.0), dict(n_cepstra=False), dict(n_ap_bands=4.0), dict(bs=True)]
)
def test_rejects_counts_that_are_not_ints(settings):
    with pytest.raises(ParameterError):
        Config(**settings)


@pytest.mark.parametrize("name", ["sr", "width", "target"])
def test_rejects_a_file_without_a_setting(saved, name):
    with pytest.raises(ParameterError, match=name):
        Config.load(saved(without=[name]))


def test_rejects_cepstra_that_are_not_numbers(saved):
    with pytest.raises(ParameterError):
        Config.load(saved(target=dict(cepstrum_mean=["a", "b", "c"])))


def test_float32_statistics_can_be_saved(tmp_path):
    stats = SpeakerStats(**STATS | dict(f0_hz=np.float32(200), level_db=np.float32(-30)))
    Config(target=stats).save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json").target == stats


def test_rejects_a_target_that_is_no_speaker_stats():
    with pytest.raises(ParameterError, match="target"):
        Config(target=STATS)


def test_load_of_a_folder_names_the_file_in_it(tmp_path):
    with pytest.raises((MissingInput, ParameterError)) as refusal:
        Config.load(tmp_path)
    assert f"{tmp_path} does not exist" not in str(refusal.value)


def test_a_failed_save_leaves_nothing_behind(tmp_path, cfg):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(OSError):
        cfg.save(tmp_path / "config.json")
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
