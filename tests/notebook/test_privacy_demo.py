"""Privacy of the presets on a few speakers, and its figure."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_plots import texts

from vc_lib.config import PRESETS, AnonymizeConfig
from vc_lib.errors import ParameterError
from vc_lib.evaluate import judges, privacy
from vc_lib.notebook import privacy_demo

SR = 16_000


@pytest.fixture
def folders(tmp_path, voice):
    """Two speakers, one of whom has a second clip, one with a clip that is too short; a target."""
    for name, seconds, f0 in (
        ("a_1", 4, 110),
        ("a_2", 5, 115),
        ("b_x_1", 4, 180),
        ("short_1", 1, 90),
    ):
        path = tmp_path / "speakers" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, voice(seconds, f0=f0), SR)
    (tmp_path / "target").mkdir()
    soundfile.write(tmp_path / "target" / "t.wav", voice(6, f0=220), SR)
    return tmp_path / "speakers", tmp_path / "target"


def test_one_clip_of_each_speaker_is_loaded(folders):
    speakers = privacy_demo.load_speakers(*folders, SR, max_seconds=4.5)
    seconds = {name: len(clip.wav) / SR for name, clip in speakers.items()}
    assert seconds == {"a": 4.5, "b_x": 4.0, "target": 4.5}
    assert list(privacy_demo.load_speakers(*folders, SR, n_max=1)) == ["a"]


def test_every_preset_has_a_row(folders, monkeypatch):
    monkeypatch.setattr(judges, "installed", lambda packages: packages == judges.SPEAKER)
    monkeypatch.setattr(
        judges, "speaker_embedding", lambda wav, sr: np.array([1.0, np.abs(wav).mean()])
    )
    speakers = privacy_demo.load_speakers(*folders, SR)
    measured = privacy_demo.presets_privacy(speakers, AnonymizeConfig(f0_method="dio"))
    assert list(measured.index) == ["untouched", *(p for p in PRESETS if p != "private_consistent")]
    assert {"eer", "cosine_to_self", "source_log_f0_corr"} <= set(measured)
    assert not any(name.endswith("_low") for name in measured)


def test_a_random_preset_draws_another_voice_for_each_utterance(folders, monkeypatch):
    drawn = {}

    def transform(features, cfg, source, rng):
        drawn.setdefault(cfg.preset, []).append(rng and rng.random())
        return features

    monkeypatch.setattr(privacy_demo, "transform", transform)
    monkeypatch.setattr(judges, "installed", lambda packages: packages == judges.SPEAKER)
    monkeypatch.setattr(
        judges, "speaker_embedding", lambda wav, sr: np.array([1.0, np.abs(wav).mean()])
    )
    monkeypatch.setattr(privacy, "evaluate", lambda *args, **kwargs: {})
    speakers = privacy_demo.load_speakers(*folders, SR)
    for _ in range(2):
        privacy_demo.presets_privacy(speakers, AnonymizeConfig(f0_method="dio"))
    n_halves_and_clips = 3 * len(speakers)
    first, again = np.split(np.array(drawn["private"]), 2)
    assert (first == again).all() and len(set(first)) == n_halves_and_clips
    assert set(drawn["neutral"]) == {None}


def test_it_says_what_is_missing(folders, monkeypatch, capsys):
    speakers = privacy_demo.load_speakers(*folders, SR)
    monkeypatch.setattr(judges, "installed", lambda packages: False)
    assert privacy_demo.presets_privacy(speakers, AnonymizeConfig()).empty
    assert judges.INSTALL in capsys.readouterr().out
    monkeypatch.setattr(judges, "installed", lambda packages: True)
    assert privacy_demo.presets_privacy({"a": speakers["a"]}, AnonymizeConfig()).empty
    assert "two speakers" in capsys.readouterr().out


def test_a_tradeoff_joins_the_strengths_of_a_system():
    names = ["untouched", "robot, 0.5", "robot, 1.0", "neutral, and more, 1.0"]
    table = pd.DataFrame({"eer": [0.0, 0.1, 0.3, 0.4], "wer": [0.0, 0.1, 0.2, 0.1]}, index=names)
    fig = privacy_demo.plot_tradeoff(table, "eer", "wer", {"eer": "how private"})
    (ax,) = fig.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert list(lines) == ["untouched", "robot", "neutral, and more"]
    assert lines["robot"] == [[0.1, 0.1], [0.3, 0.2]]
    assert ax.get_xlabel() == "how private" and ax.get_ylabel() == "wer"
    assert {"0.5", "1.0"} <= set(texts(fig))
    with pytest.raises(ParameterError, match="'mos' must be one of eer, wer"):
        privacy_demo.plot_tradeoff(table, "mos", "wer")
