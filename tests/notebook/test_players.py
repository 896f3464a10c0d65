"""What people hear: players that play, equally loud, at the same moment of the same sentence."""

import base64
import html.parser
import io

import IPython.display as ipd
import numpy as np
import pytest
import soundfile
from PIL import Image

from vc_lib.anonymize import analyze
from vc_lib.errors import ParameterError
from vc_lib.listen.tracks import same_loudness
from vc_lib.notebook import Player, players

SR = 16_000


@pytest.fixture(scope="module")
def wavs(voice):
    return {"source": voice(1.0), "converted": 0.1 * voice(1.5, f0=200.0)}


@pytest.fixture
def shown(monkeypatch):
    """What was displayed."""
    things = []
    monkeypatch.setattr(ipd, "display", lambda *args: things.extend(args))
    return things


class Page(html.parser.HTMLParser):
    """The players of a page and its text."""

    def __init__(self, page):
        super().__init__()
        self.sources, self.labels, self.tags, self.text = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "audio":
            self.sources.append(dict(attrs)["src"])
            self.labels.append(dict(attrs)["aria-label"])
            assert "controls" in dict(attrs)

    def handle_data(self, data):
        self.text.append(data)


def sounds(page):
    """(MIME type, samples, sampling rate) of each player."""
    for source in Page(page).sources:
        kind, _, data = source.removeprefix("data:").partition(";base64,")
        yield kind, *soundfile.read(io.BytesIO(base64.b64decode(data)))


def rms_db(wav):
    return 10 * np.log10(np.mean(wav**2))


def test_a_player_holds_every_sound_its_picture_and_its_pitch(wavs, shown):
    players.play(wavs, SR)
    (player,) = shown
    assert [track["label"] for track in player.tracks] == list(wavs)
    for track, original in zip(player.tracks, wavs.values(), strict=True):
        wav, sr = soundfile.read(io.BytesIO(track["sound"]))
        assert track["mime"] == "audio/mpeg" and sr == SR and len(wav) == len(original)
        assert np.abs(wav).max() > 0.1
        picture = np.asarray(Image.open(io.BytesIO(track["picture"])))
        assert picture.shape[0] == 257 and len(np.unique(picture)) > 5
    voiced = [np.median([hz for hz in track["f0"] if hz]) for track in player.tracks]
    assert voiced[1] == pytest.approx(200, rel=0.1) and voiced[0] < 150
    drawn_s = [len(track["f0"]) * track["period"] for track in player.tracks]
    assert drawn_s == pytest.approx([1.0, 1.5], abs=0.05)


def test_low_frequencies_are_at_the_bottom(voice):
    hum = 0.1 * np.sin(2 * np.pi * 300 * np.arange(SR) / SR)
    (track,) = Player({"hum": hum}, SR).tracks
    brightness = np.asarray(Image.open(io.BytesIO(track["picture"]))).mean(1)
    assert brightness.argmax() > 0.9 * len(brightness)


def test_the_pitch_is_found_taken_or_left_out(wavs):
    features = {"source": analyze(wavs["source"], SR)}
    source, converted = Player(wavs, SR, f0=features).tracks
    assert source["f0"] == features["source"].f0[::2].round().tolist() and converted["f0"] is None
    assert all(track["f0"] is None for track in Player(wavs, SR, f0=False).tracks)


def test_where_widgets_do_not_run_plain_players_stand_in(wavs):
    data, _ = Player(wavs, SR)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"] == players.players_html(wavs, SR)
    assert Page(data["text/html"]).labels == list(wavs)


@pytest.mark.parametrize("exact", [False, True])
def test_players_are_equally_loud_and_never_clip(wavs, exact):
    same = {"loud": wavs["source"], "quiet": 0.01 * wavs["source"], "over": 3 * wavs["source"]}
    decoded = [wav for _, wav, _ in sounds(players.players_html(same, SR, exact))]
    levels = [rms_db(wav) for wav in decoded]
    assert max(levels) - min(levels) < 0.1
    assert all(0.05 < np.abs(wav).max() < 1 for wav in decoded)


def test_pauses_do_not_make_a_player_louder(wavs):
    wav = wavs["source"]
    paused = np.concatenate([wav, np.zeros(5 * SR, np.float32)])
    page = players.players_html({"one": wav, "paused": paused}, SR, exact=True)
    one, long = (decoded for _, decoded, _ in sounds(page))
    assert rms_db(long[: len(wav)]) == pytest.approx(rms_db(one), abs=0.1)


def test_a_peaky_sound_turns_all_down(wavs):
    click = 1e-3 * np.random.default_rng(0).normal(size=SR)
    click[100] = 0.9
    page = players.players_html({"click": click, "source": wavs["source"]}, SR, exact=True)
    decoded = [wav for _, wav, _ in sounds(page)]
    assert np.abs(decoded[0]).max() < 1
    assert rms_db(decoded[1]) < -25


def test_the_gain_is_told(wavs):
    wav = wavs["source"]
    text = Page(players.players_html({"a": wav, "b": wav / 10}, SR)).text
    gains = [float(t.removesuffix(" dB").replace("−", "-")) for t in text if t.endswith(" dB")]
    assert gains[1] - gains[0] == pytest.approx(20, abs=0.11)


def test_exact_players_hold_the_samples(wavs):
    page = players.players_html({"source": wavs["source"]}, SR, exact=True)
    ((kind, wav, sr),) = sounds(page)
    gain = np.sqrt(np.mean(wav**2) / np.mean(wavs["source"] ** 2))
    assert kind == "audio/flac" and sr == SR
    assert np.abs(wav - gain * wavs["source"]).max() < 1e-4


def test_rates_that_mp3_has_not_are_flac(voice):
    ((kind, wav, sr),) = sounds(players.players_html({"a": voice(0.5, sr=96_000)}, 96_000))
    assert kind == "audio/flac" and sr == 96_000 and len(wav) == 48_000


@pytest.mark.parametrize("level", [0, 1e-6])
def test_silence_stays_silent_and_is_called_so(wavs, level):
    silence = np.full(SR, level, np.float32)
    page = players.players_html({"nothing": silence, "source": wavs["source"]}, SR, exact=True)
    nothing, source = (wav for _, wav, _ in sounds(page))
    assert np.abs(nothing).max() <= 2e-5
    assert np.abs(source).max() > 0.1
    assert "silent" in Page(page).text


def test_labels_are_text(wavs):
    label = '<script>alert("&")</script>'
    page = Page(players.players_html({label: wavs["source"]}, SR))
    assert "script" not in page.tags
    assert page.labels == [label] and label in "".join(page.text)


def test_players_refuse_what_cannot_be_heard(wavs):
    broken = wavs["source"].copy()
    broken[5] = np.nan
    with pytest.raises(ParameterError, match=r"converted holds 1 NaN"):
        players.play({"source": wavs["source"], "converted": broken}, SR)
    for nothing in ({}, [wavs["source"]], wavs["source"]):
        with pytest.raises(ParameterError, match="dict of label to waveform"):
            players.play(nothing, SR)
    with pytest.raises(ParameterError, match="sr="):
        players.play(wavs, 16.0)


def test_playing_changes_nothing(wavs, shown):
    before = wavs["source"].copy()
    players.play(wavs, SR)
    assert (wavs["source"] == before).all()


def test_same_loudness_is_what_players_play(wavs):
    matched = same_loudness(wavs | {"nothing": np.zeros(SR)}, SR)
    played = [wav for _, wav, _ in sounds(players.players_html(wavs, SR, exact=True))]
    for wav, heard in zip(list(matched.values())[:2], played, strict=True):
        assert np.abs(wav - heard).max() < 1e-4
    assert not matched["nothing"].any()
    with pytest.raises(ParameterError, match="dict of label to waveform"):
        same_loudness({}, SR)
