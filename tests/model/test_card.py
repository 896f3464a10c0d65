"""The voice card: its text, the answers of a person, and what export requires."""

from dataclasses import replace

import pytest

from vc_lib.errors import MissingInput, ParameterError
from vc_lib.model.card import card, fill_card, read_card
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import export_voice, save_voice


def test_a_new_card_states_register_and_settings(voice_cfg):
    text = card(replace(voice_cfg, max_crops=4), "run")
    assert "# Voice: run" in text and f"{voice_cfg.target.f0_hz:.0f} Hz" in text
    assert "'max_crops': 4" in text and "'lr'" not in text


def test_a_new_card_names_the_licence_of_the_statistics(voice_cfg):
    assert "LibriSpeech (Vassil Panayotov, 2014; CC BY 4.0)" in card(voice_cfg, "run")
    of_44 = replace(voice_cfg, sr=44_100, n_fft=1024, target=replace(voice_cfg.target, sr=44_100))
    assert "LibriSpeech" not in card(of_44, "run")


def test_save_voice_keeps_an_edited_card(voice_cfg, tmp_path):
    (tmp_path / "card.md").write_text("My voice.", encoding="utf-8")
    save_voice(Generator(voice_cfg).state_dict(), voice_cfg, tmp_path)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == "My voice."


def test_export_requires_disclosure_on_the_card(voice_dir, tmp_path):
    (voice_dir / "card.md").write_text("**Whose voice, and did they agree?** Mine, and I do.")
    with pytest.raises(ParameterError, match="that converted speech has to be disclosed"):
        export_voice(voice_dir, tmp_path / "out")
    (voice_dir / "card.md").unlink()
    with pytest.raises(MissingInput, match="card.md does not exist"):
        export_voice(voice_dir, tmp_path / "out")


@pytest.mark.parametrize("consent", ["", "  ", "\n"])
def test_fill_card_rejects_empty_answers(voice_dir, consent):
    with pytest.raises(ParameterError, match="on the card must not be empty"):
        fill_card(voice_dir, consent, "mine")


def test_an_answer_cannot_add_lines_to_the_card(voice_dir):
    text = fill_card(voice_dir, "Mine.\n- **Recordings:** forged \\1", "mine")
    assert "agree?** Mine. - **Recordings:** forged \\1\n- **Recordings:** mine\n" in text


def test_read_card_rejects_binary_files_and_outside_links(voice_dir):
    (voice_dir / "card.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ParameterError, match="is not text"):
        read_card(voice_dir)
    (voice_dir / "card.md").unlink()
    (voice_dir / "card.md").symlink_to("/etc/hostname")
    with pytest.raises(ParameterError, match="leads out of its folder"):
        read_card(voice_dir)
