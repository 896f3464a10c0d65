"""Live conversion: equal to offline conversion, at a fixed latency, for blocks of any length."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vc_lib.anonymize import analyze, speaker_stats, transform
from vc_lib.anonymize.hybrid import hybrid
from vc_lib.anonymize.pipeline import choose_grains
from vc_lib.audio.level import block_power, speech_level_db
from vc_lib.convert import Stream, Voice, streaming
from vc_lib.convert.streaming import BUDGET, LATENCY_S, LOW_BUDGET
from vc_lib.errors import ParameterError
from vc_lib.evaluate.signal_metrics import si_snr_db
from vc_lib.model.networks import Generator, OnArrays
from vc_lib.spectrogram import wav_to_image

SR = 16_000


@pytest.fixture(scope="module")
def model(tiny_cfg, voice):
    cfg = replace(tiny_cfg, f0_method="harvest_fast")
    cfg = replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=220.0, seed=3), SR, cfg)]))
    torch.manual_seed(0)
    generator = Generator(cfg)
    with torch.no_grad():
        for p in generator.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return Voice(OnArrays(generator, "cpu"), cfg)


@pytest.fixture(scope="module")
def near(model, voice):
    """A voice of a register so near that voiced sound is made of grains."""
    cfg = replace(model.config, pause_depth_db=0.0)
    cfg = replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=140.0, seed=3), SR, cfg)]))
    return Voice(model.generator, cfg)


@pytest.fixture(scope="module")
def speech(voice):
    wav = voice(3.0)
    return wav + 1e-3 * np.random.default_rng(7).normal(size=len(wav)).astype(np.float32)


@pytest.fixture(scope="module")
def known(model, speech):
    """Statistics and level of the speaker."""
    return model.source_stats([speech]), speech_level_db(block_power(speech, SR))


def streamed(stream, wav, n_block=1_000):
    """The whole output of a stream, without its latency."""
    parts = [stream(wav[i : i + n_block]) for i in range(0, len(wav), n_block)]
    return np.concatenate([*parts, stream.rest()])[stream.latency :]


def lsd_db(wav, other, cfg):
    """Log-spectral distance over frames that are not pauses [dB]."""
    a, b = (50 * wav_to_image(w, cfg)[0] for w in (wav, other))
    level_db = b.max(0)
    return np.sqrt(((a - b) ** 2).mean(0))[level_db > level_db.max() - 40].mean()


def test_the_latency_is_the_sum_of_the_budget_and_at_most_300_ms(model):
    stream = Stream(model)
    assert stream.latency / SR == pytest.approx(sum(BUDGET.values()), abs=0.001)
    assert stream.latency / SR <= 0.3


@pytest.mark.parametrize("latency", [0.1, 0.15, 0.2, 0.25])
def test_a_shorter_latency_is_kept(model, speech, known, latency):
    """The output begins in time, is never later than asked, and stays near the whole."""
    stream = Stream(model, *known, latency=latency)
    assert latency - 0.025 < stream.latency / SR <= latency + 1e-3
    out = streamed(stream, speech)
    whole = model.convert(speech, SR, known[0])
    assert out.shape == whole.shape and lsd_db(out, whole, model.config) < 3.5
    shifts = [np.dot(out[400:-400], np.roll(whole, shift)[400:-400]) for shift in range(-80, 81)]
    assert np.argmax(shifts) == 80, "neither sooner nor later"


def test_an_onset_comes_out_within_the_lowest_latency(model, speech, known):
    """Speech that begins at one second is heard at most 0.1 s later, and not sooner."""
    wav = np.concatenate([1e-5 * speech[:SR], speech[:SR]])
    stream = Stream(model, *known, latency=0.1)
    out = np.concatenate([stream(wav[i : i + 100]) for i in range(0, len(wav), 100)])
    onset = np.flatnonzero(np.abs(wav) > 0.2 * np.abs(wav).max())[0]
    came = np.flatnonzero(np.abs(out) > 0.2 * np.abs(out).max())[0]
    assert -0.01 < (came - onset) / SR - 0.1 < 0.01


@pytest.mark.parametrize("latency", [0.099, 0.31, float("nan"), "0.1", None])
def test_refuses_another_latency(model, latency):
    with pytest.raises(ParameterError, match="latency=.* must be in 0.1..0.3 s"):
        Stream(model, latency=latency)
    with pytest.raises(ParameterError, match="latency"):
        model.with_dials().stream(np.zeros(10), latency=latency)


def test_a_voice_streams_at_the_lowest_latency(model, speech, known):
    voice = model.with_dials()
    out = voice.stream(speech[:SR], known[0], latency=0.1)
    assert np.array_equal(out, Stream(model, known[0], latency=0.1)(speech[:SR]))
    assert len(voice.stream(None)) == 0.1 * SR


def test_streaming_equals_offline_conversion(model, speech, known):
    out = streamed(Stream(model, *known), speech)
    whole = model.convert(speech, SR, known[0])
    assert out.shape == whole.shape and out.dtype == np.float32
    assert lsd_db(out, whole, model.config) < 1.5
    shifts = [np.dot(out[400:-400], np.roll(whole, shift)[400:-400]) for shift in range(-80, 81)]
    assert np.argmax(shifts) == 80, "neither sooner nor later"


@pytest.mark.parametrize("n_block", [160, 1_023, 4_800, 48_000])
@pytest.mark.parametrize("latency", LATENCY_S)
def test_blocks_of_any_length_give_the_same(model, speech, known, n_block, latency):
    wav = speech[: 2 * SR]
    out = streamed(Stream(model, *known, latency=latency), wav, n_block)
    assert np.array_equal(out, streamed(Stream(model, *known, latency=latency), wav))


# Grains


def test_grains_go_on_over_blocks(near, speech, known):
    """What is synthesized block by block has no clicks, and equals the whole after a second."""
    stream = Stream(near, *known)
    parts, add = [], stream.vocoded.add
    stream.vocoded.add = lambda wav: parts.append(wav) or add(wav)
    streamed(stream, speech)
    assert stream.use_grains
    out = np.concatenate(parts)[: len(speech)]
    seams = np.cumsum([len(part) for part in parts])
    seams = seams[(seams > 100) & (seams < len(out) - 100)]
    assert len(seams) > 20

    cfg, source = near.config, known[0]
    features = analyze(speech, SR, cfg).compact()
    transformed = transform(features, cfg, source)
    grains = choose_grains(speech, features, transformed.f0, cfg, source)
    whole = hybrid(speech, features, transformed, grains, recorded=True, refine=False)
    late = slice(SR, len(out) - SR // 5)
    assert si_snr_db(out[late], whole[late], SR) > 25

    bends = np.abs(np.diff(out, 2))
    at_seams = np.max([bends[seam - 3 : seam + 2] for seam in seams], axis=1)
    assert at_seams.max() < np.quantile(bends, 0.999) < bends.max()


@pytest.mark.parametrize("n_block", [160, 4_800])
def test_blocks_of_grains_of_any_length_give_the_same(near, speech, known, n_block):
    wav = speech[:SR]
    out = streamed(Stream(near, *known), wav, n_block)
    assert np.array_equal(out, streamed(Stream(near, *known), wav))


def test_output_is_as_long_and_silent_during_the_latency(model, speech, known):
    stream = Stream(model, *known)
    outs = [stream(speech[i : i + 700]) for i in range(0, 14_000, 700)]
    assert {len(out) for out in outs} == {700}
    assert not np.concatenate(outs)[: stream.latency].any()


def test_later_input_does_not_change_earlier_output(model, speech, known):
    stream, other = Stream(model, *known), Stream(model, *known)
    a = np.concatenate([stream(speech[:SR]), stream(speech[SR : 2 * SR])])
    b = np.concatenate([other(speech[:SR]), other(speech[::-1][:SR])])
    assert np.array_equal(a[:SR], b[:SR]) and not np.array_equal(a[SR:], b[SR:])


def test_measures_an_unknown_speaker(model, voice, monkeypatch):
    """Two voices that speak an octave apart come out in the register of the target."""
    for f0 in (100.0, 200.0):
        stream = Stream(model)
        out = streamed(stream, voice(4.0, f0=f0))
        assert stream.source.f0_hz == pytest.approx(f0, rel=0.06)
        features = analyze(out[2 * SR :], SR, model.config)
        assert np.median(features.f0[features.voiced]) == pytest.approx(
            model.config.target.f0_hz, rel=0.06
        )


def test_measures_a_speaker_in_the_background(model, voice):
    wav, whole, stream = voice(4.0, f0=100.0), Stream(model), Stream(model, background=True)
    streamed(whole, wav)
    for start in range(0, len(wav), 1_600):
        stream(wav[start : start + 1_600])
        if stream.estimate:
            stream.estimate.result()  # the thread is done before the next block
    assert stream.source.f0_hz == pytest.approx(whole.source.f0_hz, rel=0.01)


@pytest.mark.parametrize("f0_method", ["dio", "harvest"])
def test_other_f0_methods_work(model, speech, known, f0_method):
    other = Voice(model.generator, replace(model.config, f0_method=f0_method))
    wav = speech[:SR]
    out = streamed(Stream(other, *known), wav)
    assert out.shape == wav.shape and 0.01 < out.std() < 0.5


def test_silence_stays_silence(model):
    out = streamed(Stream(model), np.zeros(SR, np.float32))
    assert out.shape == (SR,) and np.abs(out).max() < 1e-3


def test_a_voice_streams_until_none_ends_it(model, speech, known):
    source, _ = known
    parts = [model.stream(speech[:SR], source), model.stream(speech[SR : 2 * SR])]
    latency = model.live.latency
    out = np.concatenate([*parts, model.stream(None)])
    assert out.shape == (2 * SR + latency,) and model.live is None
    again = np.concatenate([model.stream(speech[: 2 * SR], source), model.stream(None)])
    assert np.array_equal(out, again)


def test_memory_does_not_grow(model, speech, known):
    stream = Stream(model, *known)
    sizes = set()
    for _ in range(6):
        stream(speech)
        sizes.add((len(stream.wav.buffer), len(stream.vocoded.buffer), len(stream.ready)))
    assert len(sizes) <= 2 and max(map(max, sizes)) < 2 * SR
    assert sum(len(part.f0) for part in (stream.features, *stream.past)) < 60


def test_memory_does_not_grow_while_nobody_speaks(model, monkeypatch):
    monkeypatch.setattr(streaming, "WAIT_S", 0.5)
    stream = Stream(model)
    for _ in range(6):
        stream(np.zeros(SR // 2, np.float32))
    assert len(stream.own) == len(stream.powers) <= 5


@pytest.mark.parametrize("block", [np.zeros((2, 10)), np.array([np.nan]), np.zeros(5, np.int16)])
def test_rejects_non_waveforms_and_streams_on(model, speech, known, block):
    stream, wav = Stream(model, *known), speech[:SR]
    before = stream(wav[:8_000])
    with pytest.raises(ParameterError):
        stream(block)
    out = np.concatenate([before, stream(wav[8_000:]), stream.rest()])
    assert np.array_equal(out[stream.latency :], streamed(Stream(model, *known), wav))


def test_the_budget_names_every_stage():
    assert list(BUDGET) == ["block", "pitch and envelope", "smoothing", "synthesis", "network"]
    for budget, seconds in ((LOW_BUDGET, LATENCY_S[0]), (BUDGET, LATENCY_S[1])):
        assert list(budget) == list(BUDGET) and min(budget.values()) > 0
        assert sum(budget.values()) == pytest.approx(seconds)
    assert min(streaming.CONTEXT_S.values()) > 0
