"""Steps that the 02 notebooks share."""

from pathlib import Path

import numpy as np
import torch

from vc_lib.config import Config
from vc_lib.convert import Voice, load_voice
from vc_lib.model.networks import Generator, OnArrays
from vc_lib.notebook import recipe


def test_a_tiny_run_has_its_own_folder_and_the_smallest_files(recordings):
    files = sorted(recordings.iterdir(), reverse=True)
    cfg, smallest, run_dir = recipe.tiny_run(Config(seed=3), [*files, files[0]], Path("models/run"))
    assert run_dir == Path("models/run-smoke") and cfg.seed == 3 and cfg.width == 8
    assert smallest == files[::-1][: recipe.N_TINY_FILES]


def test_the_summary_counts_files_and_chunks(prepared, target_cfg):
    text = recipe.corpus_summary([*prepared[2:], prepared[2]], prepared[:2], target_cfg)
    assert "training: 4 recordings in 5 chunks" in text
    assert "validation: 2 recordings in 2 chunks" in text
    assert f"register: {target_cfg.target.f0_hz:.0f} Hz" in text


def test_clips_are_cut_and_spread_over_the_speakers(prepared, target_cfg, recordings):
    own, others = recipe.evaluation_clips(prepared, recordings, target_cfg, n=2, max_seconds=1.0)
    assert [len(wav) for wav in own] == [len(prepared[0].load()[0]), len(prepared[1].load()[0])]
    assert [len(wav) for wav in others] == [target_cfg.sr, target_cfg.sr]
    assert (others[0] != others[1]).any()


def test_a_voice_is_saved_before_training_and_never_over_a_trained_one(
    target_cfg, voice, tmp_path, capsys
):
    torch.manual_seed(0)
    run_dir, generator = tmp_path / "models" / "anna", Generator(target_cfg)
    recipe.save_untrained(generator, target_cfg, run_dir)
    assert "anna" in capsys.readouterr().out
    wav, saved = voice(0.5), load_voice(run_dir)
    converted = recipe.convert(generator, target_cfg, wav)
    np.testing.assert_allclose(saved.convert(wav, target_cfg.sr), converted, atol=1e-3)
    (run_dir / "history.csv").write_text("stage,epoch\n")
    before = (run_dir / "generator.safetensors").read_bytes()
    torch.manual_seed(1)
    recipe.save_untrained(Generator(target_cfg), target_cfg, run_dir)
    assert (run_dir / "generator.safetensors").read_bytes() == before


def test_a_generator_in_training_converts_as_its_voice_does(target_cfg, voice):
    torch.manual_seed(0)
    generator = Generator(target_cfg).train()
    wav = voice(0.5, f0=120.0)
    converted = recipe.convert(generator, target_cfg, wav)
    of_voice = Voice(OnArrays(generator, "cpu"), target_cfg).convert(wav, target_cfg.sr)
    np.testing.assert_array_equal(converted, of_voice)
    assert converted.shape == wav.shape and converted.std() > 0.01
