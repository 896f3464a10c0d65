"""The voice card: what it tells, what a person fills in, what may be shared."""

from dataclasses import replace

import pytest

from vc_lib.errors import MissingInput, ParameterError
from vc_lib.model.card import card, fill_card, read_card
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import export_voice, save_voice


def test_the_card_says_what_is_known(voice_cfg):
    text = card(replace(voice_cfg, max_crops=4), "run")
    assert "# Voice: run" in text and f"{voice_cfg.target.f0_hz:.0f} Hz" in text
    assert "'max_crops': 4" in text and "'lr'" not in text


def test_a_card_that_a_person_wrote_is_kept(voice_cfg, tmp_path):
    (tmp_path / "card.md").write_text("My voice.", encoding="utf-8")
    save_voice(Generator(voice_cfg).state_dict(), voice_cfg, tmp_path)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == "My voice."


def test_a_card_without_disclosure_is_not_enough(voice_dir, tmp_path):
    (voice_dir / "card.md").write_text("**Whose voice, and did they agree?** Mine, and I do.")
    with pytest.raises(ParameterError, match="that converted speech has to be disclosed"):
        export_voice(voice_dir, tmp_path / "out")
    (voice_dir / "card.md").unlink()
    with pytest.raises(MissingInput, match="card.md does not exist"):
        export_voice(voice_dir, tmp_path / "out")


@pytest.mark.parametrize("consent", ["", "  ", "\n"])
def test_an_empty_answer_is_none(voice_dir, consent):
    with pytest.raises(ParameterError, match="on the card must not be empty"):
        fill_card(voice_dir, consent, "mine")


def test_an_answer_stays_on_its_line(voice_dir):
    text = fill_card(voice_dir, "Mine.\n- **Recordings:** forged \\1", "mine")
    assert "agree?** Mine. - **Recordings:** forged \\1\n- **Recordings:** mine\n" in text


def test_a_card_that_is_no_text_is_refused(voice_dir):
    (voice_dir / "card.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ParameterError, match="is not text"):
        read_card(voice_dir)
    (voice_dir / "card.md").unlink()
    (voice_dir / "card.md").symlink_to("/etc/hostname")
    with pytest.raises(ParameterError, match="leads out of its folder"):
        read_card(voice_dir)
