"""Live conversion between two ends: in order, at a bounded delay, and what happens when ends fail."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from vc_lib.audio import WavWriter
from vc_lib.convert import Stream, live, sound_card
from vc_lib.convert.live import FileInput, FileOutput, Live, run
from vc_lib.errors import MissingInput, ParameterError

SR, BLOCK = 16_000, 320


class Echo:
    """A stream that gives back what it hears, 0.1 s later; it may take its time."""

    sr, latency, n_block = SR, 1_600, 1_600

    def __init__(self, takes_s=0.0):
        self.takes_s, self.held = takes_s, np.zeros(self.latency, np.float32)

    def __call__(self, block):
        time.sleep(self.takes_s)
        self.held = np.concatenate([self.held, block])
        out, self.held = self.held[: len(block)], self.held[len(block) :]
        return out

    def rest(self):
        return self(np.zeros(self.latency, np.float32))


def in_lockstep(between, wav, n=BLOCK):
    """Input and output take turns with the worker, until all is out."""
    parts = []
    for start in range(0, len(wav), n):
        between.hear(wav[start : start + n])
        between.step()
        parts.append(between.speak(round(n * between.out_sr / between.in_sr)))
    between.end()
    while not between.finished:
        between.step()
        parts.append(between.speak(BLOCK))
    return np.concatenate(parts)


def test_gives_what_the_stream_gives_after_the_cushion(model, voice):
    wav, stream = voice(1.5)[: 75 * BLOCK], Stream(model)
    between = Live(Stream(model), SR, SR)
    out = in_lockstep(between, wav)
    expected = np.concatenate([stream(wav), stream.rest()])
    cushion = between.cushion - BLOCK
    assert not out[:cushion].any() and between.n_dropouts == 0
    assert np.array_equal(out[cushion:][: len(expected)], np.clip(expected, -1, 1))
    assert between.delay_s == pytest.approx((cushion + stream.latency) / SR)


@pytest.mark.parametrize("in_sr, out_sr", [(48_000, 44_100), (44_100, SR), (SR, 48_000)])
def test_ends_of_other_rates_are_resampled(in_sr, out_sr):
    t = np.arange(2 * in_sr) / in_sr
    wav = (0.3 * np.sin(2 * np.pi * 440 * t) * np.hanning(len(t))).astype(np.float32)
    between = Live(Echo(), in_sr, out_sr)
    out = in_lockstep(between, wav, in_sr // 50)
    at = np.arange(len(out)) / out_sr
    lag_s = (np.argmax(np.convolve(np.abs(out), np.hanning(out_sr // 10), "same"))) / out_sr - 1
    assert between.n_dropouts == 0 and lag_s == pytest.approx(between.delay_s, abs=0.02)
    inside = (at > lag_s + 0.5) & (at < lag_s + 1.5)
    assert np.abs(out[inside]).max() == pytest.approx(0.3, abs=0.01)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert np.argmax(spectrum) * out_sr / len(out) == pytest.approx(440, abs=1)


def test_input_that_waits_too_long_is_dropped_and_the_delay_stays(voice):
    between = Live(Echo(), SR, SR)
    for wav in np.split(voice(2.0), 100):
        between.hear(wav)  # nobody converts
    assert sum(map(len, between.waiting)) <= live.WAITING_S * SR
    assert between.n_dropouts == 88
    assert between.delay_s <= live.WAITING_S + 0.1 + 1e-6


@pytest.mark.parametrize("block_s", [0.005, 0.2])
def test_blocks_of_any_length_pass_without_dropouts(voice, block_s):
    between, n = Live(Echo(), SR, SR, block_s), round(block_s * SR)
    wav = voice(2.0)
    out = in_lockstep(between, wav, n)
    assert between.n_dropouts == 0
    first = between.cushion - n + Echo.latency
    assert np.abs(out[first : first + len(wav)] - wav).max() < 1e-6
    for _ in range(2):  # the worker is busy for a while
        between.hear(wav[:n])
    assert between.n_dropouts == 0


def test_output_that_waits_too_long_is_dropped_and_the_delay_stays(voice):
    between = Live(Echo(), SR, SR)
    for wav in np.split(voice(2.0), 100):
        between.hear(wav)
        between.step()  # nobody plays
    assert len(between.ready) <= between.n_max and between.n_dropouts > 50
    assert between.delay_s == pytest.approx(len(between.ready) / SR + 0.1)


def test_output_that_comes_late_is_one_dropout_until_the_cushion_is_full(voice):
    between, blocks = Live(Echo(), SR, SR), np.split(voice(1.0), 50)
    for wav in blocks[:6]:
        between.hear(wav)
        between.step()
    while between.playing or not between.n_dropouts:
        between.speak(BLOCK)
    for wav in blocks[6:10]:
        between.hear(wav)
        between.step()
        assert not between.speak(BLOCK).any() and between.n_dropouts == 1
    between.hear(blocks[10])
    between.step()
    between.speak(BLOCK)
    assert between.playing and between.n_dropouts == 1


def test_the_state_tells_that_it_cannot_keep_up(voice):
    between = Live(Echo(takes_s=0.025), SR, SR)
    for wav in np.split(voice(2.0), 100):
        between.hear(wav)
        between.step()
    assert "cannot keep up" in str(between) and "dropouts" in str(between)
    assert between.in_db == pytest.approx(between.out_db, abs=6) and -60 < between.in_db < 0


def paced(tmp_path, wav, stream):
    """A file through the ends that keep pace."""
    soundfile.write(tmp_path / "in.wav", wav, SR)
    between = Live(stream, SR, SR)
    source = FileInput(tmp_path / "in.wav", SR, 0.02)
    seen, started = [], time.monotonic()
    with WavWriter(tmp_path / "out.wav", SR) as out:
        run(between, source, FileOutput(out, 0.02), seen.append)
    return between, soundfile.read(tmp_path / "out.wav")[0], time.monotonic() - started, seen


def test_files_keep_the_pace_of_speech(voice, tmp_path):
    wav = voice(1.0)
    between, out, took, seen = paced(tmp_path, wav, Echo())
    assert between.finished and took > 0.95 and between in seen
    if not between.n_dropouts:  # the machine was not held up
        first = np.flatnonzero(np.abs(out) > 1e-3)[0] - np.flatnonzero(np.abs(wav) > 1e-3)[0]
        assert np.abs(out[first : first + len(wav)] - wav).max() < 3 / 32_768
    assert len(out) >= len(wav) + 1_600


def test_a_slow_worker_costs_sound_but_no_delay(voice, tmp_path):
    between, *_ = paced(tmp_path, voice(2.0), Echo(takes_s=0.04))
    assert between.n_dropouts > 10
    assert between.delay_s < live.WAITING_S + 0.1 + live.SPARE_S + 0.1 + 0.1


def test_an_error_of_the_conversion_or_a_file_ends_it(voice, tmp_path):
    def broken(_):
        raise FloatingPointError("not a number")

    broken.sr, broken.latency, broken.n_block, broken.rest = SR, 0, 1_600, lambda: None
    with pytest.raises(FloatingPointError, match="not a number"):
        paced(tmp_path, voice(0.5), broken)
    with pytest.raises(MissingInput, match="none.wav does not exist"):
        run(Live(Echo(), SR, SR), FileInput(tmp_path / "none.wav", SR, 0.02), Deaf(), None)
    assert {path.name for path in tmp_path.iterdir()} == {"in.wav"}


class Deaf:
    """An end that never calls."""

    name, sr, latency, error, active, stopped = "the thing", SR, 0.0, None, True, False

    def start(self, _):
        pass

    def stop(self):
        self.stopped = True


def test_an_end_that_never_calls_is_lost(monkeypatch):
    monkeypatch.setattr(live, "LOST_S", 0.1)
    source, sink = Deaf(), Deaf()
    with pytest.raises(MissingInput, match="the thing has stopped; plug it in"):
        run(Live(Echo(), SR, SR), source, sink)
    assert source.stopped and sink.stopped


# The sound card


class PortAudioError(Exception):
    pass


class FakeStream:
    """A stream of the sound card whose callbacks the test calls."""

    latency, active, overflow = 0.01, False, False

    def __init__(self, callback, **how):
        self.callback, self.how = callback, how

    def start(self):
        self.active = True

    def stop(self, ignore_errors=True):
        self.active = False

    close = stop

    def call(self, wav):
        flags = SimpleNamespace(input_overflow=self.overflow, output_underflow=self.overflow)
        self.callback(wav, len(wav), None, flags)


@pytest.fixture
def card(monkeypatch):
    """A card with a microphone of 48 kHz only and a loudspeaker of any rate."""
    devices = [
        dict(index=0, name="Mic", max_input_channels=1, max_output_channels=0),
        dict(index=1, name="Phones", max_input_channels=0, max_output_channels=2),
    ]
    for device in devices:
        device["default_samplerate"] = 48_000.0

    def query_devices(name=None, kind=None):
        if kind is None:
            return devices
        fit = [d for d in devices if d[f"max_{kind}_channels"]]
        if isinstance(name, int):
            if not any(d["index"] == name for d in devices):
                raise PortAudioError(f"Error querying device {name}")
            fit = [d for d in fit if d["index"] == name]
        elif name is not None:
            fit = [d for d in fit if name.lower() in d["name"].lower()]
        if not fit:
            raise ValueError(f"No {kind} device matching {name!r}")
        return fit[0]

    def only_48_khz(samplerate, **_):
        if samplerate != 48_000:
            raise PortAudioError("Invalid sample rate")

    fake = SimpleNamespace(
        PortAudioError=PortAudioError,
        InputStream=FakeStream,
        OutputStream=FakeStream,
        query_devices=query_devices,
        check_input_settings=only_48_khz,
        check_output_settings=lambda **_: None,
        default=SimpleNamespace(device=[0, 1]),
        devices=devices,
    )
    monkeypatch.setattr(sound_card, "sounddevice", lambda: fake)
    return fake


def test_lists_devices(card):
    assert sound_card.list_devices().splitlines() == [
        "  0  Mic (input, default)",
        "  1  Phones (output, default)",
    ]
    card.devices.clear()
    with pytest.raises(MissingInput, match="no sound device is there; plug one in, or .* --from"):
        sound_card.list_devices()
    with pytest.raises(MissingInput, match="no sound input is there"):
        sound_card.find_device(None, "input")


@pytest.mark.parametrize("name", ["Phones", "nobody", "7", ""])
def test_refuses_unknown_devices_and_those_of_the_other_kind(card, name):
    with pytest.raises(ParameterError, match="--input .* must be one device of `vc live --list"):
        sound_card.find_device(name or "nobody", "input")


def test_opens_devices_at_a_rate_that_they_know(card):
    mic = sound_card.Microphone("mic", SR, 0.02)
    phones = sound_card.Loudspeaker("1", SR, 0.02)
    assert (mic.sr, phones.sr) == (48_000, SR) and mic.name == "the input 'Mic'"
    assert (mic.stream.how["blocksize"], phones.stream.how["blocksize"]) == (960, 320)
    assert (mic.stream.how["channels"], phones.stream.how["channels"]) == (1, 2)


def test_a_card_passes_samples_and_counts_its_own_dropouts(card, voice):
    mic, phones = sound_card.Microphone(None, SR, 0.02), sound_card.Loudspeaker(None, SR, 0.02)
    between = Live(Echo(), mic.sr, phones.sr)
    mic.start(between)
    phones.start(between)
    heard = []
    for wav in np.split(voice(1.0, sr=48_000), 50):
        mic.stream.call(wav[:, None])
        between.step()
        out = np.zeros((320, 2), np.float32)
        phones.stream.call(out)
        heard.append(out)
    heard = np.concatenate(heard)
    assert np.array_equal(heard[:, 0], heard[:, 1]) and np.abs(heard).max() > 0.2
    assert between.n_dropouts == 0
    mic.stream.overflow = True
    mic.stream.call(np.zeros((960, 1), np.float32))
    assert between.n_dropouts == 1


def test_a_microphone_that_is_unplugged_ends_it(card, tmp_path):
    mic = sound_card.Microphone(None, SR, 0.02)

    class Unplugged(FileOutput):
        def once(self, between):
            mic.stream.active = False
            return super().once(between)

    with pytest.raises(MissingInput, match="the input 'Mic' has stopped; plug it in again"):
        with WavWriter(tmp_path / "out.wav", SR) as out:
            run(Live(Echo(), mic.sr, SR), mic, Unplugged(out, 0.02))
    assert not list(tmp_path.iterdir())


def test_says_how_to_install_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    with pytest.raises(MissingInput, match="pip install sounddevice, or replace .* --from FILE"):
        sound_card.find_device(None, "input")
