"""Contract of public functions: any input gives finite output or is rejected with a reason."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_voice
from vc_lib import anonymize as anon
from vc_lib.anonymize import dials, f0_tracker
from vc_lib.audio import chunks, level, write
from vc_lib.audio import read as read_module
from vc_lib.audio import wav as wav_module
from vc_lib.config import Config
from vc_lib.convert import Stream, Voice
from vc_lib.corpus import CorpusItem, learn_target, split
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import metrics, scores, signal_metrics
from vc_lib.listen.tracks import same_loudness
from vc_lib.model.networks import Generator, OnArrays
from vc_lib.notebook import players, plots, runs, tables
from vc_lib.spectrogram import image_to_wav, wav_to_image
from vc_lib.training.dataset import make_dls

SR, N = 16_000, 8_000
CFG = Config(f0_method="dio", width=4, depth=2, n_classes=4)
TARGET = anon.speaker_stats([anon.analyze(make_voice(1.0, f0=210.0), SR, CFG)], n_classes=4)
TCFG = replace(CFG, target=TARGET)
REFUSED = (ParameterError, MissingInput)

# Functions of a waveform and its rate
OF_SOUND = {
    "analyze": anon.analyze,
    "find_f0": lambda wav, sr: anon.find_f0(wav, sr, CFG),
    "find_pitch": lambda wav, sr: f0_tracker.find_pitch(wav, sr, 71.0, 600.0, 5.0),
    "anonymize": lambda wav, sr: anon.anonymize(wav, sr, TCFG if sr == SR else CFG),
    "resample": lambda wav, sr: wav_module.resample(wav, sr, SR),
    "block_power": level.block_power,
    "pause_gain": lambda wav, sr: level.pause_gain(wav, sr, -20.0, 30.0),
    "quietest": chunks.quietest,
    "mcd_db": lambda wav, sr: metrics.mcd_db(wav, wav, sr),
    "log_spectral_distance_db": lambda wav, sr: metrics.log_spectral_distance_db(wav, wav, sr),
    "envelope_distance_db": lambda wav, sr: metrics.envelope_distance_db(wav, wav, sr),
    "voicing_error": lambda wav, sr: metrics.voicing_error(wav, wav, sr),
    "same_loudness": lambda wav, sr: same_loudness({"a": wav}, sr)["a"],
    "players_html": lambda wav, sr: players.players_html({"a": wav}, sr),
}
# Functions of a waveform and its rate that return nan if there is nothing to measure
OF_SOUND_OR_NAN = {
    "f0_rmse_cents": lambda wav, sr: metrics.f0_rmse_cents(wav, wav, sr),
    "log_f0_correlation": lambda wav, sr: metrics.log_f0_correlation(wav, wav, sr),
    "f0_register_cents": lambda wav, sr: metrics.f0_register_cents(wav, wav, sr),
    "si_snr_db": lambda wav, sr: signal_metrics.si_snr_db(wav, wav, sr),
    "pause_level_db": lambda wav, sr: signal_metrics.pause_level_db(wav, sr, wav),
    "evaluate": lambda wav, sr: scores.evaluate(wav, sr, source=wav, only=["source_log_f0_corr"]),
}
OF_WAV = {
    "wav_to_image": lambda wav: wav_to_image(wav, CFG),
    "stft_magnitude": lambda wav: wav_module.stft_magnitude(wav, CFG),
    "there and back": lambda wav: image_to_wav(wav_to_image(wav, CFG), CFG, len(wav)),
}
NOT_WAVS = {
    "empty": np.zeros(0),
    "nan": np.array([0.0, np.nan] * 500),
    "inf": np.full(N, np.inf),
    "int": np.zeros(N, np.int16),
    "bool": np.zeros(N, bool),
    "complex": np.zeros(N, complex),
    "stereo": np.zeros((N, 2)),
    "channels first": np.zeros((2, N)),
    "text": "speech.wav",
    "nothing": None,
    "a number": 0.5,
    "integers": [1, 2, 3],
    "absurd": np.full(N, 1e30),
}
NOT_RATES = ["16000", 16_000.0, True, None, 0, -1, float("nan"), [16_000], 10**9]


def is_finite(result) -> bool:
    """Whether all numbers in a result are finite."""
    if isinstance(result, anon.Features):
        return all(np.isfinite(part).all() for part in (result.f0, result.sp, result.ap))
    if isinstance(result, dict):
        return all(map(is_finite, result.values()))
    return isinstance(result, str) or bool(np.isfinite(result).all())


# Input that is no waveform, or no sampling rate


def in_turn(names, values, n_each):
    """Each name with `n_each` of the values, so that together they meet all of them."""
    step = len(values) // n_each
    return [
        (name, [values[(i + k * step) % len(values)] for k in range(n_each)])
        for i, name in enumerate(names)
    ]


@pytest.mark.parametrize("kind", NOT_WAVS)
def test_check_wav_rejects_non_waveforms(kind):
    with pytest.raises(ParameterError, match="^source "):
        wav_module.check_wav(NOT_WAVS[kind], "source")


@pytest.mark.parametrize("sr", NOT_RATES, ids=str)
def test_check_sr_rejects_non_rates(sr):
    with pytest.raises(ParameterError, match=r"^from_sr=.* must be an int in 4000..384000 Hz"):
        wav_module.check_sr(sr, "from_sr")


def test_check_level_clips_overshoot_and_rejects_other_scales():
    quiet, loud = np.array([0.5, -1.0]), np.array([0.5, -16.0])
    assert wav_module.check_level(quiet) is quiet
    assert wav_module.check_level(loud).tolist() == [0.5, -1.0] and loud[1] == -16
    for wav in (np.array([0.5, 16.1]), np.array([-32_768.0, 0.0])):
        with pytest.raises(ParameterError, match="source reaches .* where full scale is 1"):
            wav_module.check_level(wav, "source")


@pytest.mark.parametrize(
    "name, kinds", in_turn([*OF_SOUND, *OF_SOUND_OR_NAN, *OF_WAV], list(NOT_WAVS), 2)
)
def test_public_functions_reject_non_waveforms(name, kinds):
    for kind in kinds:
        if (name, kind) == ("block_power", "empty"):
            continue
        with pytest.raises(ParameterError):
            if name in OF_WAV:
                OF_WAV[name](NOT_WAVS[kind])
            else:
                (OF_SOUND | OF_SOUND_OR_NAN)[name](NOT_WAVS[kind], SR)


@pytest.mark.parametrize("name, rates", in_turn([*OF_SOUND, *OF_SOUND_OR_NAN], NOT_RATES, 2))
def test_public_functions_reject_non_rates(name, rates):
    for sr in rates:
        with pytest.raises(ParameterError, match=r"sr="):
            (OF_SOUND | OF_SOUND_OR_NAN)[name](make_voice(0.2), sr)


def test_block_power_of_an_empty_waveform_is_empty():
    assert level.block_power(NOT_WAVS["empty"], SR).shape == (0,)


# Any sound


@st.composite
def sounds(draw, rates=(4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)):
    """A waveform of some kind, level, length and type, and its rate."""
    sr = draw(st.sampled_from(rates))
    n = draw(st.sampled_from([1, 2, 3, 79, 80, 511, 1_000, 4_001, int(0.3 * sr)]))
    t, rng = np.arange(n) / sr, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["silence", "noise", "tone", "dc", "impulse", "spoken", "clipped"]))
    wav = dict(
        silence=np.zeros(n),
        noise=rng.normal(size=n),
        tone=np.sin(2 * np.pi * draw(st.floats(0.1, sr / 2)) * t),
        dc=np.ones(n),
        impulse=np.eye(1, n, draw(st.integers(0, n - 1)))[0],
        spoken=make_voice(max(0.3, n / 16_000), seed=3)[:n],
        clipped=np.sign(np.sin(900 * t)),
    )[kind]
    level = draw(st.sampled_from([1e-310, 1e-30, 1e-7, 1e-3, 0.1, 1.0, 10.0, 1e5]))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.float16]))
    wav = np.clip(level * wav, -6e4, 6e4).astype(dtype)  # float16 ends there
    return (wav.tolist() if draw(st.integers(0, 9)) == 0 else wav), sr


@pytest.mark.parametrize("name", [*OF_SOUND, *OF_SOUND_OR_NAN])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(sound=sounds())
def test_any_sound_gives_finite_numbers_or_a_reason(name, sound):
    wav, sr = sound
    before = np.array(wav)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            made = (OF_SOUND | OF_SOUND_OR_NAN)[name](wav, sr)
        except REFUSED:
            return
    assert name in OF_SOUND_OR_NAN or is_finite(made)
    assert np.array_equal(before, np.array(wav)), "what is given stays as it is"


@pytest.mark.parametrize("name", OF_WAV)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(sound=sounds())
def test_any_sound_becomes_an_image(name, sound):
    wav = np.asarray(sound[0])
    made = OF_WAV[name](wav)
    assert np.isfinite(made).all()
    if name == "there and back" and 1e-3 < np.abs(wav).max() <= 1:
        assert made.shape == wav.shape and np.abs(made - wav).max() < 1e-3


@pytest.fixture(scope="module")
def model():
    return Voice(OnArrays(Generator(TCFG), "cpu"), TCFG)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sound=sounds())
def test_any_sound_is_converted_or_refused(model, sound):
    wav, sr = sound
    if np.abs(wav).max() > wav_module.MAX_PEAK:
        with pytest.raises(ParameterError, match="full scale is 1"):
            model.convert(wav, sr)
        return
    for made in (model.convert(wav, sr), model.anonymize(wav, sr)) if len(wav) * SR > sr else ():
        assert made.dtype == np.float32 and made.shape == (round(len(wav) * SR / sr),)
        assert np.isfinite(made).all() and np.abs(made).max(initial=0) <= 1


@settings(max_examples=10, deadline=None, derandomize=True)
@given(parts=st.lists(sounds(rates=(SR,)), min_size=1, max_size=4))
def test_any_blocks_can_be_streamed(model, parts):
    stream = Stream(model)
    for wav, _ in parts:
        if np.abs(wav).max() > wav_module.MAX_PEAK:
            with pytest.raises(ParameterError, match="full scale is 1"):
                stream(wav)
            continue
        made = stream(wav)
        assert len(made) == len(wav) and np.isfinite(made).all() and np.abs(made).max() <= 1
    rest = stream.rest()
    assert len(rest) == stream.latency and np.isfinite(rest).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(0, 12), min_size=0, max_size=3),
    dtype=st.sampled_from(["f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "?", "c8", "U3"]),
    value=st.sampled_from([0, 1, -1, 100, 1e9, np.nan, np.inf]),
)
def test_any_array_becomes_mono_or_is_refused(shape, dtype, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy's, about what does not fit the type
        try:
            array = np.full(shape, value).astype(dtype)
        except (OverflowError, ValueError, TypeError):
            return
    try:
        mono = wav_module.to_mono(array)
    except ParameterError:
        return
    assert mono.ndim == 1 and mono.dtype.kind == "f" and np.isfinite(mono).all()
    assert dtype[0] == "f" or np.abs(mono).max() <= 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sound=sounds(), suffix=st.sampled_from([".wav", ".flac", ".ogg", ".mp3"]))
def test_any_sound_is_saved_whole_or_not_at_all(tmp_path_factory, sound, suffix):
    path = tmp_path_factory.mktemp("saved") / f"a b é{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it was clipped
        try:
            write.save_wav(path, *sound)
        except ParameterError:
            assert not list(path.parent.iterdir())
            return
    wav = read_module.load_wav(path, sound[1])
    assert abs(len(wav) - len(sound[0])) <= (0 if suffix in (".wav", ".flac") else 4_000)
    assert np.isfinite(wav).all() and np.abs(wav).max() <= 1


# Bad features and images


def features(**changes):
    good = anon.analyze(make_voice(0.3), SR, CFG)
    return replace(good, **{k: f(getattr(good, k)) for k, f in changes.items()})


def with_value(value):
    def changed(array):
        array = array.copy()
        array.flat[3] = value
        return array

    return changed


@pytest.mark.parametrize(
    "changes",
    [
        dict(f0=lambda x: x[:-1]),
        dict(sp=lambda x: x[:, :-1]),
        dict(ap=lambda x: x[0]),
        dict(sp=with_value(np.nan)),
        dict(ap=with_value(np.inf)),
        dict(f0=with_value(np.nan)),
        dict(f0=with_value(-100.0)),
        dict(sp=with_value(-1.0)),
    ],
    ids=range(8),
)
def test_rejects_bad_features(changes):
    bad = features(**changes)
    for use in (
        anon.synthesize,
        lambda f: anon.resynthesize(f, 100),
        lambda f: anon.transform(f, CFG),
    ):
        with pytest.raises(ParameterError, match="take them from analyze"):
            use(bad)
    with pytest.raises(ParameterError, match="n_samples=-1 must be at least 0"):
        anon.resynthesize(features(), -1)


@pytest.mark.parametrize("n_bins", [1, 2, 16, 100, 256, 258, 600, 2.0])
def test_rejects_sizes_with_which_world_writes_past_its_memory(n_bins):
    """Any of these sizes would damage the heap, and crash the process later."""
    with pytest.raises(ParameterError, match="must be a power of two plus 1"):
        anon.envelope_from_cepstrum(np.zeros((4, 24)), SR, n_bins)
    if isinstance(n_bins, int):
        sp = np.ones((4, n_bins))
        with pytest.raises(ParameterError, match="must be a power of two plus 1"):
            anon.cepstrum(anon.Features(np.zeros(4), sp, sp, SR, 5.0), 24)


@pytest.mark.parametrize("n_cepstra", [0, -1, 257, 10**6, 2.5, None])
def test_rejects_bad_numbers_of_coefficients(n_cepstra):
    with pytest.raises(ParameterError, match=r"n_cepstra=.* in 1..256"):
        anon.cepstrum(anon.Features(np.zeros(4), *2 * [np.ones((4, 257))], SR, 5.0), n_cepstra)
    if n_cepstra in (257, 10**6):
        with pytest.raises(ParameterError, match=r"n_cepstra=.* in 1..256"):
            anon.envelope_from_cepstrum(np.zeros((1, n_cepstra)), SR, 257)


@pytest.mark.parametrize(
    "f0",
    [np.full(9, np.nan), np.full(9, -1.0), np.full(9, 9e3), np.zeros((2, 3)), np.zeros(9, int)],
    ids=range(5),
)
def test_analyze_rejects_bad_f0(f0):
    with pytest.raises(ParameterError, match="take it from find_f0"):
        anon.analyze(make_voice(0.2), SR, CFG, f0=f0)


def test_analyze_rejects_an_empty_selection_of_frames():
    with pytest.raises(ParameterError, match="selects none of"):
        anon.analyze(make_voice(0.2), SR, CFG, frames=slice(500, None))
    with pytest.raises(ParameterError, match=r"n_bands=300 must be in 0..257"):
        dials.average_aperiodicity(np.ones((2, 257)), 300)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                "f0_hz",
                "f0_std_semitones",
                "level_db",
                "cepstrum_mean",
                "cepstrum_std",
                "voiced_mean",
                "voiced_cov",
                "weights",
                "means",
                "variances",
            ]
        ),
        st.tuples(
            st.sampled_from(["times", "plus", "one"]),
            st.sampled_from([-1.0, 1.0]),
            st.integers(-320, 300),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_a_voice_says_of_its_target_what_it_speaks_is_sound(model, changes):
    """A stranger could write such statistics into a config."""
    stats, own = {}, {}
    for name, (how, sign, power) in changes.items():
        of_sounds = name in ("weights", "means", "variances")
        values = np.array(getattr(TARGET.classes if of_sounds else TARGET, name), float)
        with np.errstate(all="ignore"):
            if how == "one":
                values.flat[-1] = sign * 10.0**power
            else:
                values = (
                    values * sign * 10.0**power if how == "times" else values + sign * 10.0**power
                )
        (own if of_sounds else stats)[name] = float(values) if values.ndim == 0 else values
    try:
        target = replace(TARGET, **stats, classes=replace(TARGET.classes, **own))
        voice = Voice(model.generator, replace(CFG, target=target))
        made = voice.convert(make_voice(0.5), SR)
    except ParameterError:
        return
    assert np.isfinite(made).all() and np.abs(made).max() <= 1


def test_features_without_frames_hold_no_speech():
    none = features()[:0]
    assert len(anon.synthesize(none)) == 0
    assert anon.speaker_stats([none], prior=TARGET) == TARGET
    with pytest.raises(ParameterError, match="no frame"):
        anon.transform(none, CFG)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(0, 3), st.sampled_from([0, 256, 257]), st.integers(0, 4)),
    value=st.sampled_from([0.0, 1.0, -3.0, 1e9, np.nan, np.inf]),
    n_samples=st.sampled_from([None, 0, 1, 300, -1, 10**9]),
)
def test_any_image_becomes_sound_or_is_refused(shape, value, n_samples):
    try:
        wav = image_to_wav(np.full(shape, value, np.float32), CFG, n_samples)
    except ParameterError:
        return
    assert wav.ndim == 1 and (value > 100 or np.isfinite(wav).all())


# Settings


NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.sampled_from([10**400, -(10**400)]),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(Config.__dataclass_fields__)), value=NUMBERS)
def test_any_setting_is_taken_or_refused(name, value):
    try:
        cfg = replace(Config(), **{name: value})
    except ParameterError as e:
        assert str(e)
        return
    assert json.dumps(cfg.values(), allow_nan=False)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    data=st.binary(max_size=80)
    | st.text(max_size=80).map(lambda text: text.encode("utf-8", "ignore"))
)
def test_any_file_is_a_config_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_bytes(data)
    with pytest.raises(REFUSED):
        Config.load(path)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    value=st.recursive(
        NUMBERS, lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=4)
    )
)
def test_any_json_is_a_config_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(REFUSED):
        Config.load(path)


def test_corpus_and_dataset_reject_missing_recordings():
    with pytest.raises(ParameterError, match="0 recording cannot be split"):
        split([], CFG)
    with pytest.raises(ParameterError, match="no speech"):
        learn_target([], CFG)
    with pytest.raises(ParameterError, match=r"cfg.target is not set"):
        make_dls([], [], CFG)
    with pytest.raises(ParameterError, match="no recordings"):
        make_dls([], [], TCFG)
    with pytest.raises(MissingInput, match="call prepare again"):
        CorpusItem(None, "nowhere.npz", 1.0, 10).load()


# Names and histories from strangers


NAMES = [
    "$x$ $",
    "<script>alert(1)</script>",
    '"><img src=x onerror=y>',
    "a_b^c\\d",
    "日本 語",
    "&amp;",
    "x" * 300,
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_escaped(name):
    wav = make_voice(0.3)
    html = players.players_html({name: wav}, SR)
    assert "<script>" not in html and "<img" not in html
    found = anon.analyze(wav, SR, CFG)
    warnings.simplefilter(
        "ignore", UserWarning
    )  # that a font has no such sign, or a picture no room
    for picture in (
        plots.plot_spectrograms({name: wav}, SR),
        plots.plot_f0({name: found}),
        plots.plot_envelope({name: found}),
        plots.plot_scores({name: {"mcd_db": 1.0}}),
    ):
        assert picture._repr_png_() if hasattr(picture, "_repr_png_") else picture
    shown = tables.table({name: {"mcd_db": 1.0}})
    html = shown.to_html() if isinstance(shown, pd.DataFrame) else shown._repr_html_()
    assert "<script>" not in html and "<img" not in html


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stage,epoch\n",
        "a",
        "stage,epoch,lsd_db\ngenerator,0,<b>\n",
        "\0\0",
        "stage,epoch\n1,2,3,4\n",
        "x" * 9_999,
        "stage,x\na,1\n",
        "stage,epoch,x\n$a$,one,2\n$b,2,3\n",
        "stage,epoch,lsd_db,$y$_{\n$a$_{,0,1,2\n$b$,1,2,3\n",
    ],
    ids=range(10),
)
def test_broken_histories_are_rejected_or_left_out(tmp_path, text):
    run = tmp_path / "models" / "<b>run"
    run.mkdir(parents=True)
    (run / "history.csv").write_text(text, encoding="utf-8")
    (run / "config.json").write_text("[]", encoding="utf-8")
    try:
        shown = runs.compare_runs(tmp_path / "models")
        assert "<b>run" not in shown.to_html()
    except REFUSED:
        pass
    for draw in (runs.plot_runs, lambda folder: runs.plot_losses(run / "history.csv")):
        try:
            draw(tmp_path / "models").canvas.draw()
        except REFUSED:
            pass
