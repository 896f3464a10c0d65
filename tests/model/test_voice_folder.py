"""The folder of a voice: what is written, what is refused, and what can be exported."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from vc_lib import errors, files
from vc_lib.audio import load_wav
from vc_lib.config import Config
from vc_lib.convert import load_voice
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import envelope_distance_db, mcd_db
from vc_lib.model import networks, voice_folder
from vc_lib.model.card import card_gaps, fill_card, read_card
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import export_voice, read_voice, save_voice, trained_until

SR = 16_000
REPO = Path(__file__).parents[2]


def header_of(path):
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def write(path, header, numbers):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


# Save and read


def test_save_and_read_are_inverse(voice_dir, voice_cfg):
    weights, cfg = read_voice(voice_dir)
    assert cfg == voice_cfg and Generator(cfg).state_dict().keys() == weights.keys()
    assert trained_until(voice_dir) == ("gan", 3)
    plain = load_file(voice_dir / "generator.safetensors")
    assert all(np.array_equal(weights[k], v) for k, v in plain.items()), (
        "other readers of safetensors can read it"
    )


def test_the_same_weights_give_the_same_bytes(voice_dir, voice_cfg, tmp_path):
    for i in range(4):  # safetensors writes several keys of metadata in random order
        save_voice(read_voice(voice_dir)[0], voice_cfg, tmp_path / f"{i}" / "anna", ("gan", 3))
        for name in ("generator.safetensors", "config.json", "card.md"):
            assert (tmp_path / f"{i}" / "anna" / name).read_bytes() == (
                voice_dir / name
            ).read_bytes()


def test_save_voice_rejects_weights_that_are_not_finite(voice_dir, voice_cfg):
    before = {f.name: f.read_bytes() for f in voice_dir.iterdir()}
    spoilt = dict(read_voice(voice_dir)[0])
    name = next(k for k in spoilt if k.endswith("weight"))
    spoilt[name] = np.full_like(spoilt[name], np.nan)
    with pytest.raises(ParameterError, match=f"{name} holds NaN or infinity and is not saved"):
        save_voice(spoilt, voice_cfg, voice_dir)
    assert {f.name: f.read_bytes() for f in voice_dir.iterdir()} == before


def test_weights_without_metadata_are_read(voice_dir, tmp_path):
    header, numbers = header_of(voice_dir / "generator.safetensors")
    del header["__metadata__"]
    write(voice_dir / "generator.safetensors", header, numbers)
    assert trained_until(voice_dir) is None and trained_until(tmp_path / "nowhere") is None
    read_voice(voice_dir)


# What is refused


def test_read_voice_finds_any_flipped_bit(voice_dir):
    path = voice_dir / "generator.safetensors"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [8, 9, *rng.integers(10, len(data), 30)]:
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        with pytest.raises(ParameterError):
            read_voice(voice_dir)


def test_read_voice_finds_edited_settings_whatever_their_layout(voice_dir):
    path = voice_dir / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values, indent=4).replace("\n", "\r\n"), encoding="utf-8")
    read_voice(voice_dir)
    path.write_text(json.dumps(values | dict(pause_depth_db=20.0)), encoding="utf-8")
    with pytest.raises(ParameterError, match=r"config.json was changed after .* call save_voice"):
        read_voice(voice_dir)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w, k: w.pop(k), "is None, must be"),
        (lambda w, k: w.update(more=w[k]), "'more' is .* must be None"),
        (lambda w, k: w.update({k: w[k][:1].copy()}), r"\[1, .* must be"),
        (lambda w, k: w.update({k: w[k].astype(float)}), "F64"),
    ],
    ids=["lacks", "more", "shape", "dtype"],
)
def test_read_voice_names_tensors_that_do_not_fit(voice_dir, change, message):
    weights = dict(read_voice(voice_dir)[0])
    change(weights, next(k for k in weights if k.endswith("weight")))
    save_file(weights, voice_dir / "generator.safetensors")  # without a checksum
    with pytest.raises(ParameterError, match=message):
        read_voice(voice_dir)


@pytest.mark.parametrize(
    "change",
    [
        lambda h, k: h.pop(k),
        lambda h, k: h[k].update(data_offsets=[0, 2**60]),
        lambda h, k: h[k].update(shape=[2**40, 2**40]),
        lambda h, k: h.update({k: 3}),
    ],
    ids=["hole", "offsets", "huge", "kind"],
)
def test_read_voice_rejects_a_wrong_header(voice_dir, change):
    path = voice_dir / "generator.safetensors"
    header, numbers = header_of(path)
    del header["__metadata__"]  # so that no checksum finds it
    change(header, next(k for k in header if k.endswith("weight")))
    write(path, header, numbers)
    with pytest.raises(ParameterError, match=r"does not fit .* or is damaged"):
        read_voice(voice_dir)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("weight", float("nan"), "holds NaN"),
        ("weight", float("inf"), "holds NaN or infinity"),
        ("weight", 1e6, "reaches 1e"),
        ("running_var", -1.0, "is negative"),
    ],
)
def test_read_voice_rejects_impossible_weights(voice_dir, name, value, message):
    path = voice_dir / "generator.safetensors"
    header, numbers = header_of(path)
    del header["__metadata__"]
    key = next(k for k in header if k.endswith(name))
    at = header[key]["data_offsets"][0]
    write(path, header, numbers[:at] + struct.pack("<f", value) + numbers[at + 4 :])
    with pytest.raises(ParameterError, match=message):
        read_voice(voice_dir)


@pytest.mark.parametrize("n_header", [0, 1, 10**6, 2**40, 2**63, 2**64 - 1])
def test_read_voice_rejects_a_wrong_header_length(voice_dir, n_header):
    path = voice_dir / "generator.safetensors"
    path.write_bytes(struct.pack("<Q", n_header) + path.read_bytes()[8:])
    with pytest.raises(ParameterError, match=r"does not fit .* or is damaged"):
        read_voice(voice_dir)


@pytest.mark.parametrize("text", [b"[" * 5_000, b"{" * 5_000, b"[]", b"nul", b"\xff" * 50])
def test_read_voice_rejects_a_header_that_is_not_an_object(voice_dir, text):
    path = voice_dir / "generator.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(100))
    with pytest.raises(ParameterError, match="is damaged"):
        read_voice(voice_dir)


def test_read_voice_rejects_a_large_file_before_reading_it(voice_dir, monkeypatch):
    with (voice_dir / "generator.safetensors").open("r+b") as f:
        f.truncate(voice_folder.MAX_WEIGHTS_BYTES + 1)  # a sparse file
    monkeypatch.setattr(voice_folder, "safe_open", None)
    with pytest.raises(ParameterError, match="it has 1000 MB, must have under 1000"):
        read_voice(voice_dir)


def resaved(voice_dir, **changes):
    """Edit config.json, as an attacker could."""
    values = json.loads((voice_dir / "config.json").read_text(encoding="utf-8")) | changes
    (voice_dir / "config.json").write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("changes", [dict(width=512, depth=6), dict(encoder="convnext", width=512)])
def test_a_small_file_does_not_make_a_large_network(voice_dir, monkeypatch, changes):
    devices = []

    def build(cfg):
        devices.append(torch.get_default_device().type)
        return Generator(cfg)

    monkeypatch.setattr(networks, "Generator", build)
    resaved(voice_dir, **changes)
    with pytest.raises(ParameterError, match="does not fit"):
        read_voice(voice_dir)
    assert set(devices) <= {"meta"}, "1.6 billion weights would be 6 GB"


def test_a_network_that_needs_torch_says_so_where_it_is_missing(voice_dir, monkeypatch):
    resaved(voice_dir, encoder="resnet18")
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(MissingInput, match=r"'resnet18' needs torch and fastai.*vc-lib\[train\]"):
        read_voice(voice_dir)


def test_read_voice_rejects_settings_that_need_too_much_memory(voice_dir):
    resaved(voice_dir, sr=192_000, n_fft=16_384, hop_length=1)
    with pytest.raises(ParameterError, match="target measured at 16000 Hz for a voice of 192000"):
        read_voice(voice_dir)
    resaved(voice_dir, sr=16_000)
    with pytest.raises(ParameterError, match=r"n_fft=16384, hop_length=1.* take about \d+ GB"):
        read_voice(voice_dir)


def test_read_voice_rejects_a_huge_config_before_parsing_it(voice_dir):
    (voice_dir / "config.json").write_bytes(b" " * 17_000_000 + b"{}")
    with pytest.raises(ParameterError, match="over 16 MB"):
        read_voice(voice_dir)


@pytest.mark.parametrize("name", ["generator.safetensors", "config.json"])
def test_read_voice_rejects_links_out_of_the_folder(voice_dir, name, tmp_path):
    (voice_dir / name).rename(tmp_path / name)
    (voice_dir / name).symlink_to(tmp_path / name)
    with pytest.raises(ParameterError, match="is a link that leads out of its folder"):
        load_voice(voice_dir)
    (tmp_path / "linked").symlink_to(voice_dir)
    (voice_dir / name).unlink()
    (tmp_path / name).rename(voice_dir / name)
    load_voice(tmp_path / "linked", "cpu")  # the folder itself may be a link


# A voice saved earlier


def test_a_saved_voice_still_sounds_the_same(voice):
    """tests/voices/4 and its conversion of this sound, made when it was saved."""
    folder = REPO / "tests" / "voices" / "4"
    model = load_voice(folder, "cpu")
    expected = load_wav(folder / "said.flac", model.sr)
    converted = model.convert(voice(1.0, seed=9), SR)
    assert len(converted) == len(expected)
    # its 16 bits make 0.16 dB, where it is almost silent
    assert mcd_db(converted, expected, SR) < 0.3
    assert envelope_distance_db(converted, expected, SR) < 0.1


def test_a_voice_of_an_earlier_version_is_refused(voice_dir):
    resaved(voice_dir, version=1)
    with pytest.raises(
        ParameterError, match=r"config version 1, this code reads 4; .* train the voice again"
    ):
        load_voice(voice_dir, "cpu")


# Export


def test_export_requires_consent_on_the_card(voice_dir, tmp_path):
    for _ in range(2):
        with pytest.raises(ParameterError, match="does not say whose voice it is, and that they"):
            export_voice(voice_dir, tmp_path / "out" / "anna")
    assert not (tmp_path / "out").exists()
    text = fill_card(
        voice_dir, "Anna Schmidt; she agreed in writing.", "20 minutes, read by her; CC0"
    )
    assert "agree?** Anna Schmidt; she agreed in writing.\n" in text == read_card(voice_dir)
    (voice_dir / "gan.checkpoint.pt").write_bytes(b"x")
    (voice_dir / "history.csv").write_text("stage,epoch\n")
    made = export_voice(voice_dir, tmp_path / "out" / "anna")
    assert {f.name for f in made.iterdir()} == {
        "generator.safetensors",
        "config.json",
        "card.md",
        "history.csv",
    }
    assert [f.name for f in made.parent.iterdir()] == ["anna"]
    assert load_voice(made, "cpu").name == "anna"
    with pytest.raises(ParameterError, match="exists already"):
        export_voice(voice_dir, made)


def test_export_rejects_a_damaged_voice(voice_dir, tmp_path):
    fill_card(voice_dir, "Mine, A. Smith; I agree.", "mine")
    data = bytearray((voice_dir / "generator.safetensors").read_bytes())
    data[-1] ^= 1
    (voice_dir / "generator.safetensors").write_bytes(bytes(data))
    with pytest.raises(ParameterError, match="its checksum is wrong"):
        export_voice(voice_dir, tmp_path / "out")


@pytest.mark.parametrize("name", ["kathleen", "ljspeech"])
def test_a_shipped_voice_can_be_exported(name):
    assert card_gaps(read_card(REPO / "models" / name)) == []
    read_voice(REPO / "models" / name)


def test_config_checksum_is_of_the_saved_file(voice_dir):
    raw = json.loads((voice_dir / "config.json").read_text(encoding="utf-8"))
    header, _ = header_of(voice_dir / "generator.safetensors")
    assert json.loads(header["__metadata__"]["voice"])["config_sha256"] == files.sha256(
        json.dumps(raw, sort_keys=True).encode()
    )
    assert Config.load(voice_dir / "config.json").values() == raw
