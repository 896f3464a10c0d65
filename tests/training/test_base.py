"""The base: a corpus of many speakers, and networks that begin from it."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from vc_lib.audio import list_audio
from vc_lib.corpus import learn_target
from vc_lib.errors import ParameterError
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import save_voice
from vc_lib.training.base import SHARED, from_base, many_speakers
from vc_lib.training.dataset import crop_pair, make_dls
from vc_lib.training.run import fit
from vc_lib.training.stages import generator_learner
from vc_lib.training.strangers import load_pair

SR = 16_000


@pytest.fixture(scope="module")
def speakers(tmp_path_factory, voice):
    """Files of a low voice, of a high one, and of a whisper."""
    folders = [tmp_path_factory.mktemp(name) for name in ("low", "high", "whisper")]
    for folder, f0 in zip(folders, (110.0, 220.0), strict=False):
        for i in range(2):
            soundfile.write(folder / f"{i}.wav", voice(0.7 + 0.3 * i, f0=f0, seed=i), SR)
    spoken = voice(0.12, f0=150.0)
    soundfile.write(folders[2] / "0.wav", np.pad(spoken, (0, 8_000)), SR)
    return [list_audio(folder) for folder in folders]


@pytest.fixture(scope="module")
def many(speakers, tiny_cfg, tmp_path_factory):
    cfg = replace(tiny_cfg, f0_method="dio", n_frames=32, max_crops=4, ema_decay=0.5)
    items = many_speakers(speakers, cfg, 2, tmp_path_factory.mktemp("cache"), n_jobs=1)
    return items, learn_target(items, cfg)


def rng():
    return np.random.default_rng(0)


def test_each_recording_knows_its_speaker(many):
    items, _ = many
    registers = [item.speaker.f0_hz for item in items]
    assert registers[:2] == pytest.approx([110, 110], rel=0.05)
    assert registers[2:] == pytest.approx([220, 220], rel=0.05)
    assert all(len(item.strangers) == 2 for item in items)


def test_a_speaker_of_no_voiced_speech_is_left_out(many, speakers):
    assert {item.path.parent for item in many[0]} == {s[0].parent for s in speakers[:2]}


def test_a_crop_is_normalized_to_its_own_speaker(many):
    items, cfg = many
    low = replace(items[1], strangers=())
    anonymized, original = crop_pair(low, cfg, rng())
    alone = crop_pair(replace(low, speaker=None), replace(cfg, target=low.speaker), rng())
    of_another = crop_pair(replace(low, speaker=items[2].speaker), cfg, rng())
    np.testing.assert_array_equal(anonymized, alone[0])
    assert not np.allclose(anonymized, of_another[0], atol=1e-2)
    np.testing.assert_array_equal(original, of_another[1])


def test_validation_is_on_the_middle_of_the_first_stranger(many):
    items, cfg = many
    crop = crop_pair(items[1], cfg)
    for wav, whole in zip(crop, load_pair(items[1].strangers[0]), strict=True):
        first = (len(whole) - len(wav)) // 2
        np.testing.assert_array_equal(wav, whole[first : first + len(wav)])


def test_a_base_trains_and_a_voice_begins_from_it(many, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items, cfg = many
    dls = make_dls(items[1:], items[:1], cfg, num_workers=0)
    learn = generator_learner(dls)
    fit(learn, "base", "generator", 2)
    voice_cfg = replace(cfg, target=items[0].speaker, lr=1e-4, seed=7)
    generator = from_base(voice_cfg, "base")
    assert generator.cfg is voice_cfg
    average = learn.average_weights.network.state_dict()
    for name, weight in generator.state_dict().items():
        assert torch.equal(weight, average[name]), name


@pytest.mark.parametrize("name", SHARED)
def test_a_base_of_other_networks_is_refused(name, many, tmp_path):
    _, cfg = many
    save_voice(Generator(cfg).state_dict(), cfg, tmp_path / "base")
    values = dict(second_channel="real_imag", encoder="convnext", sr=22_050)
    old = getattr(cfg, name)
    if name == "filter_output" or name == "limit_change":
        other = not old
    else:
        other = values.get(name, old * 2 if isinstance(old, int | float) else None)
    with pytest.raises(ParameterError, match=f"{name}={other!r} must be {old!r}, as in the base"):
        from_base(replace(cfg, **{name: other}), tmp_path / "base")
