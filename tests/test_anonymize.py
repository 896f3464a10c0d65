"""WORLD there and back, every dial as a property, every preset, and what `neutral` promises."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import (
    Features,
    SpeakerPerturbation,
    active_frames,
    analyze,
    anonymize,
    cepstrum,
    envelope_from_cepstrum,
    speaker_stats,
    synthesize,
    transform,
    world,
)
from vc_lib.anonymize.acoustic_classes import map_adapt_means
from vc_lib.anonymize.dials import (
    average_aperiodicity,
    blur_envelope,
    constant_f0,
    gaussian_f0,
    highpass_envelope,
    jitter_f0,
    power_db,
    recentre_f0,
    scale_formants,
    shift_f0,
    vtl_ratio,
)
from vc_lib.anonymize.statistics import loud_voiced_frames, optimal_transport
from vc_lib.config import F0_METHODS, PRESETS, AnonymizeConfig, Config
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import envelope_distance_db
from vc_lib.speaker import SpeakerStats

SR = 16_000
LENGTHS = (1, 2, 79, 1_000, 16_001)  # [samples]
FAST = dict(f0_method="dio")
SURE = AnonymizeConfig(f0_method="harvest")

each_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(scope="module")
def speech(voice):
    return voice(seconds=1.1)


@pytest.fixture(scope="module")
def features(speech):
    return analyze(speech, SR, SURE)


@pytest.fixture(scope="module")
def target(voice):
    """Statistics of a higher voice with a shorter vocal tract."""
    return speaker_stats([analyze(voice(seconds=2.0, f0=220.0, seed=3), SR, SURE)])


@pytest.fixture(scope="module")
def source(features):
    return speaker_stats([features])


@pytest.fixture(scope="module")
def neutral(target):
    return Config(target=target, f0_method=SURE.f0_method)


@pytest.fixture(scope="module")
def matching(neutral):
    """What `neutral` does to envelopes, but frame by frame and at all frequencies."""
    return replace(neutral, match_smooth_ms=0.0, highpass_db_per_octave=0.0)


@pytest.fixture(scope="module")
def disguised(speech, neutral):
    """The speech as `neutral` says it, without chance and with."""
    return anonymize(speech, SR, neutral), anonymize(speech, SR, neutral, rng())


def rng(seed=0):
    return np.random.default_rng(seed)


def contour():
    """A pitch contour with pauses [Hz]."""
    f0 = 120 * 2 ** (np.sin(np.arange(60) / 5) / 6)
    f0[[0, 10, 11, 40, 59]] = 0
    return f0


def bump(at, n_bins=257, width=6.0):
    """An envelope of one frame with one formant, at bin `at`."""
    return 1e-6 * np.exp(8 * np.exp(-0.5 * ((np.arange(n_bins) - at) / width) ** 2))[None]


def correlation_of_log_f0(a, b, edge=0):
    """Over frames voiced in both and at least `edge` frames inside such a passage."""
    both = (a > 0) & (b > 0)
    inside = np.convolve(both, np.ones(2 * edge + 1), "same") > 2 * edge
    return np.corrcoef(np.log(a[inside]), np.log(b[inside]))[0, 1]


# Analysis and synthesis


def test_features_have_a_row_per_frame(speech, features):
    n_frames = len(speech) / SR / 0.005 + 1
    assert features.f0.shape == (int(n_frames),)
    assert features.sp.shape == features.ap.shape == (int(n_frames), 513)
    assert (features.sp > 0).all() and (features.ap >= 0).all() and (features.ap <= 1).all()
    assert features.times[-1] == pytest.approx(1.1, abs=0.005)
    part = features[10:30]
    assert len(part.f0) == len(part.sp) == len(part.ap) == 20 and part.sr == SR
    assert (part.f0 == features.f0[10:30]).all()


def test_analysis_and_synthesis_give_the_same_speech(speech, features):
    back = synthesize(features)
    assert back.dtype == np.float32 and 0 <= len(back) - len(speech) <= 0.005 * SR
    again = analyze(back[: len(speech)], SR, SURE)
    both = features.voiced & again.voiced
    assert both.sum() > 0.95 * features.voiced.sum()
    off = np.abs(again.f0[both] / features.f0[both] - 1)
    assert np.median(off) < 0.005 and (off < 0.03).mean() > 0.95
    level = power_db(again.sp) - power_db(features.sp)
    assert abs(level[active_frames(features)].mean()) < 1
    assert envelope_distance_db(again, features, SR) < 1.0


def test_synthesis_gives_the_same_bytes_every_time(features):
    assert (synthesize(features) == synthesize(features)).all()


@pytest.mark.parametrize("f0_method", F0_METHODS)
@pytest.mark.parametrize("true_f0", [90.0, 240.0])
def test_every_f0_method_finds_a_known_pitch(voice, voice_f0, f0_method, true_f0):
    if f0_method == "swift-f0":
        pytest.importorskip("swift_f0")
    found = analyze(voice(1.0, true_f0), SR, AnonymizeConfig(f0_method=f0_method))
    true = voice_f0(1.0, true_f0)[np.minimum((found.times * SR).astype(int), SR - 1)]
    both = found.voiced & (true > 0)
    assert both.sum() > 0.95 * (true > 0).sum() and found.voiced.sum() < 1.3 * (true > 0).sum()
    off = np.abs(found.f0[both] / true[both] - 1)
    assert np.median(off) < 0.01 and (off < 0.03).mean() > 0.9


@pytest.mark.parametrize("f0_method", F0_METHODS)
@pytest.mark.parametrize("sr, frame_period_ms", [(16_000, 10.0), (44_100, 5.0), (48_000, 2.5)])
def test_every_f0_method_fits_every_rate_and_frame_period(f0_method, sr, frame_period_ms):
    if f0_method == "swift-f0":
        pytest.importorskip("swift_f0")
    cfg = AnonymizeConfig(f0_method=f0_method, frame_period_ms=frame_period_ms)
    wav = 0.2 * np.sign(np.sin(2 * np.pi * 150 * np.arange(sr // 4) / sr))
    features = analyze(wav, sr, cfg)
    assert len(features.f0) == len(features.sp) == len(features.ap) == len(features.times)
    assert len(features.f0) == 250 // frame_period_ms + 1
    assert np.median(features.f0[features.voiced]) == pytest.approx(150, rel=0.01)


@pytest.mark.parametrize("f0_method", F0_METHODS)
def test_silence_has_no_pitch(f0_method):
    if f0_method == "swift-f0":
        pytest.importorskip("swift_f0")
    assert not analyze(np.zeros(4_000), SR, AnonymizeConfig(f0_method=f0_method)).voiced.any()


def test_a_missing_package_says_how_to_get_it(speech, monkeypatch):
    monkeypatch.setitem(sys.modules, "swift_f0", None)
    with pytest.raises(MissingInput, match=r"pip install swift-f0; or use 'harvest' or 'dio'"):
        analyze(speech, SR, AnonymizeConfig(f0_method="swift-f0"))


@pytest.mark.parametrize(
    "wav, message",
    [
        (np.zeros(0), "empty"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
        (np.zeros(100, np.int16), "dtype int16"),
        (np.array([0.0, np.nan]), "NaN"),
    ],
    ids=["empty", "stereo", "integers", "nan"],
)
def test_what_is_no_wav_is_refused(wav, message):
    for call in (analyze, lambda wav, sr: anonymize(wav, sr, AnonymizeConfig())):
        with pytest.raises(ParameterError, match=message):
            call(wav, SR)


@pytest.mark.parametrize("sr", [0, -16_000, 100, 7_999, 400_000, "16000", None, True])
def test_what_is_no_rate_is_refused(speech, monkeypatch, sr):
    """Before WORLD sees it, which at 100 Hz writes past its arrays and at 1 Hz never returns."""
    monkeypatch.setattr(world, "pyworld", None)
    with pytest.raises(ParameterError, match="sr="):
        analyze(speech, sr)


# F0


def test_shift_f0_counts_in_semitones():
    f0 = contour()
    for n_semitones in (-12, 0, 7):
        out = shift_f0(f0, n_semitones)
        assert ((out == 0) == (f0 == 0)).all()
        np.testing.assert_allclose(out, f0 * 2 ** (n_semitones / 12))


def test_constant_f0_is_constant():
    out = constant_f0(contour(), 150)
    assert set(out) == {0.0, 150.0} and ((out == 0) == (contour() == 0)).all()


def test_recentre_f0_moves_the_register_and_keeps_the_intonation():
    f0 = contour()
    voiced = f0 > 0
    out = recentre_f0(f0, from_hz=np.median(f0[voiced]), to_hz=200)
    assert np.median(out[voiced]) == pytest.approx(200) and not out[~voiced].any()
    np.testing.assert_allclose(np.diff(np.log(out[voiced])), np.diff(np.log(f0[voiced])))
    assert (recentre_f0(f0, from_hz=0, to_hz=200) == f0).all(), "nothing is known of the register"


def test_jitter_f0_spreads_by_so_many_semitones():
    f0 = np.tile(contour(), 100)
    out = jitter_f0(f0, 2.0, rng())
    assert ((out == 0) == (f0 == 0)).all() and (out >= 0).all()
    semitones = 12 * np.log2(out[f0 > 0] / f0[f0 > 0])
    assert semitones.std() == pytest.approx(2, rel=0.05) and abs(semitones.mean()) < 0.1
    assert (jitter_f0(f0, 2.0, rng()) == out).all() and (jitter_f0(f0, 2.0, rng(1)) != out).any()


# Envelope


@pytest.mark.parametrize("ratio", [0.7, 0.85, 1.18, 1.5])
def test_warp_moves_a_formant_by_the_ratio(ratio):
    sp = bump(100)
    warped = scale_formants(sp, ratio)
    assert warped.shape == sp.shape and warped.argmax() == pytest.approx(100 * ratio, abs=1)
    assert warped.max() == pytest.approx(sp.max(), rel=0.02)


def test_warp_there_and_back():
    sp = bump(100)
    assert (scale_formants(sp, 1) == sp).all()
    back = scale_formants(scale_formants(sp, 1.25), 0.8)
    np.testing.assert_allclose(np.log(back), np.log(sp), atol=0.2)


@pytest.mark.parametrize("width_hz", [50, 200, 2_000])
def test_blur_widens_and_keeps_the_level(features, width_hz):
    sp = bump(256, n_bins=513)
    blurred = blur_envelope(sp, SR, width_hz)
    assert blurred.shape == sp.shape and blurred.argmax() == pytest.approx(256, abs=1)
    assert blurred.max() < sp.max() and (blurred > 0).all()
    speech = blur_envelope(features.sp, SR, width_hz)
    assert np.abs(power_db(speech) - power_db(features.sp)).max() < 0.5


def test_blur_of_nothing_and_of_a_flat_envelope(features):
    assert (blur_envelope(features.sp, SR, 0) == features.sp).all()
    flat = np.full((3, 513), 0.25)
    np.testing.assert_allclose(blur_envelope(flat, SR, 300), flat)


def test_blur_has_the_width_that_it_says():
    """A single bin becomes a Gaussian of that standard deviation."""
    sp = np.zeros((1, 513))
    sp[0, 256] = 1
    blurred = blur_envelope(sp, SR, 200)[0]
    hz = np.arange(513) * 8_000 / 512
    assert np.sqrt((blurred * (hz - hz[256]) ** 2).sum()) == pytest.approx(200, rel=0.02)


def test_what_the_match_adds_is_smoothed_over_time(features, source, matching):
    """A frame's own quick changes stay as they were said; the sum of what is added hardly changes."""

    def added(match_smooth_ms):
        cfg = replace(matching, match_smooth_ms=match_smooth_ms)
        return (cepstrum(transform(features, cfg, source)) - cepstrum(features))[:, 1:]

    frame_by_frame, smooth, none = added(0.0), added(10.0), added(0.01)
    np.testing.assert_allclose(none, frame_by_frame, atol=1e-9)
    unrest, less = (np.diff(a, axis=0).std() for a in (frame_by_frame, smooth))
    assert less < 0.6 * unrest
    np.testing.assert_allclose(smooth.mean(0), frame_by_frame.mean(0), atol=0.05)


@pytest.mark.parametrize("db_per_octave", [6, 12, 48])
def test_highpass_falls_by_so_much_an_octave_below_f0_of_voiced_frames(db_per_octave):
    sp, f0 = np.ones((3, 513)), np.array([0.0, 250.0, 125.0])  # bins 15.625 Hz apart
    fall_db = -10 * np.log10(highpass_envelope(sp, f0, SR, db_per_octave))
    assert (fall_db[0] == 0).all()  # unvoiced
    assert (fall_db[1, 16:] == 0).all() and (fall_db[2, 8:] == 0).all()
    assert fall_db[1, [8, 4, 2]] == pytest.approx(db_per_octave * np.array([1, 2, 3]))
    assert fall_db[2, [4, 2]] == pytest.approx(db_per_octave * np.array([1, 2]))
    assert (np.diff(fall_db[1:, :17]) <= 0).all() and np.isfinite(fall_db).all()
    assert (sp == 1).all()


def test_highpass_of_nothing(features):
    assert (highpass_envelope(features.sp, features.f0, SR, 0) == features.sp).all()
    assert (highpass_envelope(features.sp, 0 * features.f0, SR, 12) == features.sp).all()


def test_neutral_has_less_below_the_new_f0_and_the_same_above(features, neutral):
    without = transform(features, replace(neutral, highpass_db_per_octave=0.0))
    cut = transform(features, neutral)
    hz = np.linspace(0, SR / 2, cut.sp.shape[1])
    below = cut.voiced[:, None] & (hz < 0.75 * cut.f0[:, None])
    assert below.any() and (cut.sp[below] < 0.4 * without.sp[below]).all()
    above = hz > cut.f0[:, None] + 20
    np.testing.assert_array_equal(cut.sp[above], without.sp[above])


@pytest.mark.parametrize("n_cepstra", [8, 24, 60])
def test_fewer_cepstra_are_coarser_and_keep_the_level(features, n_cepstra):
    coarse = envelope_from_cepstrum(cepstrum(features, n_cepstra), SR, features.sp.shape[1])
    assert coarse.shape == features.sp.shape
    active = active_frames(features)
    off_db = (10 * np.log10(coarse / features.sp))[active]
    assert np.abs(off_db.mean()) < 0.5, "mean level"
    roughness = [
        np.abs(np.diff(np.log(sp[active]), 2, axis=1)).mean() for sp in (coarse, features.sp)
    ]
    assert roughness[0] < roughness[1]


def test_cepstra_of_a_coarse_envelope_are_those_it_was_made_of(features):
    mc = cepstrum(features, 24)
    back = envelope_from_cepstrum(mc, SR, features.sp.shape[1])
    np.testing.assert_allclose(cepstrum(replace(features, sp=back), 24), mc, atol=0.05)


@pytest.mark.parametrize(
    "dials",
    [dict(n_cepstra=8), dict(blur_hz=200.0), dict(formant_ratio=1.2)],
    ids=lambda d: next(iter(d)),
)
def test_each_frame_keeps_its_energy(features, dials):
    cfg = AnonymizeConfig(**(dict(preset="whisper", f0_mode="keep") | dials))
    out = transform(features, cfg)
    assert not np.allclose(out.sp, features.sp)
    np.testing.assert_allclose(power_db(out.sp), power_db(features.sp), atol=1e-6)
    assert (out.f0 == features.f0).all() and (out.ap == features.ap).all()


# Aperiodicity


@pytest.mark.parametrize("n_bands", [1, 2, 4, 32])
def test_average_aperiodicity_stays_in_range_and_keeps_the_mean(features, n_bands):
    out = average_aperiodicity(features.ap, n_bands)
    assert out.shape == features.ap.shape and (out > 0).all() and (out <= 1).all()
    db, out_db = 20 * np.log10(features.ap.clip(1e-3)), 20 * np.log10(out)
    assert np.abs(out_db.mean(1) - db.mean(1)).max() < 3
    assert (np.ptp(out_db, axis=1) <= np.ptp(db, axis=1) + 1e-9).all()
    if n_bands == 1:
        np.testing.assert_allclose(out_db, np.broadcast_to(db.mean(1)[:, None], db.shape))


def test_average_aperiodicity_of_no_bands_and_of_extremes(features):
    assert (average_aperiodicity(features.ap, 0) == features.ap).all()
    for value in (0.0, 1.0):
        out = average_aperiodicity(np.full((2, 513), value), 4)
        np.testing.assert_allclose(out, max(value, 1e-3))


# Speaker statistics


def test_speaker_stats_of_known_speech(features, source):
    assert source.f0_hz == pytest.approx(120, rel=0.03)
    assert len(source.cepstrum_mean) == len(source.cepstrum_std) == 24
    active = features[active_frames(features)]
    assert source.level_db == pytest.approx(10 * np.log10(active.sp.mean()))
    np.testing.assert_allclose(source.cepstrum_mean, cepstrum(active).mean(0))


def test_speaker_stats_pool_recordings(features):
    parts = [features[:100], features[100:]]
    pooled, whole = speaker_stats(parts), speaker_stats([features])
    assert pooled.f0_hz == whole.f0_hz
    np.testing.assert_allclose(pooled.cepstrum_mean, whole.cepstrum_mean, atol=0.3)
    assert speaker_stats(iter(parts)) == pooled, "a generator will do"


def test_gain_moves_the_level_only(features, source):
    louder = speaker_stats([replace(features, sp=100 * features.sp)])
    assert louder.level_db == pytest.approx(source.level_db + 20)
    np.testing.assert_allclose(louder.cepstrum_mean[1:], source.cepstrum_mean[1:], atol=1e-6)


def test_a_prior_counts_less_the_more_there_is(features, source, target):
    def share_of_prior(stats, own):
        """1: the prior's cepstral means, 0: the speaker's own."""
        own, prior = np.array(own.cepstrum_mean[1:]), np.array(target.cepstrum_mean[1:])
        return float(((stats.cepstrum_mean[1:] - own) / (prior - own)).mean())

    clip = features[60:80]  # 0.1 s
    prior = replace(target, f0_hz=source.f0_hz)  # so that no formant is moved
    shares = [
        share_of_prior(speaker_stats(recordings, prior=prior), speaker_stats(recordings))
        for recordings in ([clip], [features], [features] * 20)
    ]
    assert shares[0] == pytest.approx(100 / 120, abs=0.02)
    assert 1 > shares[0] > shares[1] > shares[2] > 0 and shares[2] < 0.05
    assert speaker_stats([features], prior=target).f0_hz == source.f0_hz, "the register is its own"


def test_silence_has_no_statistics_but_its_prior(target):
    silent = analyze(np.zeros(4_000), SR)
    for recordings in ([silent], [silent, silent], []):
        with pytest.raises(ParameterError, match="hold no speech: every frame is silent"):
            speaker_stats(recordings)
        assert speaker_stats(recordings, prior=target) == target


def test_unvoiced_speech_has_no_register(features):
    assert speaker_stats([replace(features, f0=np.zeros_like(features.f0))]).f0_hz == 0


# Every preset


@each_preset
@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.parametrize("trained", [False, True])
def test_a_preset_keeps_the_length_to_the_sample(speech, target, preset, n_samples, trained):
    start = 0 if n_samples > 1_000 else 3_000
    wav = speech[start : start + n_samples]
    cfg = Config(preset=preset, target=target if trained else None, **FAST)
    for chance in (None, rng()):
        out = anonymize(wav, SR, cfg, chance)
        assert out.shape == (n_samples,) and out.dtype == np.float32
        assert np.isfinite(out).all() and np.abs(out).max() <= 1


@each_preset
def test_a_loud_input_stays_in_range(speech, preset):
    out = anonymize(np.clip(20 * speech[:8_000], -1, 1), SR, AnonymizeConfig(preset=preset, **FAST))
    assert 0.1 < np.abs(out).max() <= 1


@each_preset
@pytest.mark.parametrize("chance", [None, 0])
def test_unvoiced_frames_stay_unvoiced(features, target, preset, chance):
    for cfg in (AnonymizeConfig(preset=preset), Config(preset=preset, target=target)):
        out = transform(features, cfg, rng=None if chance is None else rng(chance))
        assert (out.f0 >= 0).all() and not out.f0[~features.voiced].any()
        assert (out.voiced == features.voiced).all() or preset == "whisper"
        assert out.sp.shape == features.sp.shape and out.ap.shape == features.ap.shape
        assert (out.sp > 0).all() and (out.ap > 0).all() and (out.ap <= 1).all()


@each_preset
def test_without_rng_a_preset_is_deterministic(speech, neutral, preset):
    cfg = replace(neutral, preset=preset, **FAST)
    wav = speech[:6_000]
    first = anonymize(wav, SR, cfg)
    np.random.seed(1)  # noqa: NPY002  (as a user's own code might)
    assert (anonymize(wav, SR, cfg) == first).all()


@each_preset
def test_the_same_seed_gives_the_same_bytes_and_another_another_disguise(speech, neutral, preset):
    cfg = replace(neutral, preset=preset, **FAST)
    wav = speech[:6_000]
    first, again, other = (anonymize(wav, SR, cfg, rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - anonymize(wav, SR, cfg)).max() > 0.01


@each_preset
def test_inputs_are_not_modified(speech, features, neutral, preset):
    cfg, wav = replace(neutral, preset=preset), speech[:6_000].astype(np.float64)
    kept = [a.copy() for a in (wav, features.f0, features.sp, features.ap)]
    anonymize(wav, SR, cfg, rng())
    synthesize(transform(features, cfg, rng=rng()))
    speaker_stats([features])
    for now, before in zip((wav, features.f0, features.sp, features.ap), kept, strict=True):
        assert (now == before).all()


def test_arrays_that_must_not_be_written_to_are_taken(speech, features):
    """As memory-mapped arrays are."""
    wav = speech[:6_000].astype(np.float64)
    parts = [part.copy() for part in (features.f0, features.sp, features.ap)]
    for array in (wav, *parts):
        array.flags.writeable = False
    analyze(wav, SR, AnonymizeConfig(**FAST))
    frozen = Features(*parts, SR, features.frame_period_ms)
    assert (synthesize(frozen) == synthesize(features)).all()
    assert (cepstrum(frozen) == cepstrum(features)).all()


@each_preset
@pytest.mark.parametrize("chance", [None, 0])
@pytest.mark.parametrize("trained", [False, True])
def test_silence_stays_silence(target, preset, chance, trained):
    cfg = Config(preset=preset, target=target if trained else None)
    out = anonymize(np.zeros(4_001), SR, cfg, None if chance is None else rng(chance))
    assert out.shape == (4_001,) and np.abs(out).max() < 1e-5  # -100 dB


def test_pauses_stay_pauses(disguised):
    """The last 60 ms of the fixture's phrase are a pause."""
    pause = slice(int(0.96 * 1.1 * SR), int(1.1 * SR) - 200)
    for out in disguised:
        rms = np.sqrt((out[pause] ** 2).mean()) / np.sqrt((out**2).mean())
        assert 20 * np.log10(rms) < -45


def test_whisper_has_no_pitch(speech, features):
    cfg = AnonymizeConfig(preset="whisper")
    assert not transform(features, cfg).voiced.any()

    def periodicity(wav):
        """Highest autocorrelation between 2.5 and 14 ms, of 50 ms in the first voiced part."""
        x = wav[3_000:3_800] - wav[3_000:3_800].mean()
        lags = np.correlate(x, x, "full")[len(x) - 1 :] / (x @ x)
        return lags[40:224].max()

    assert periodicity(speech) > 0.7 > 0.5 > periodicity(anonymize(speech, SR, cfg))


def test_robot_is_monotonous(features, target):
    for cfg, hz in (
        (AnonymizeConfig(preset="robot", f0_register_hz=140.0), 140),
        (Config(preset="robot", target=target), target.f0_hz),
    ):
        out = transform(features, cfg)
        assert set(out.f0) == {0.0, float(hz)}
        said = analyze(synthesize(out), SR, AnonymizeConfig(**FAST))
        said = said.f0[said.voiced]
        assert np.median(said) == pytest.approx(hz, rel=0.01)


def test_f0_shift_comes_on_top(features):
    for preset in ("robot", "neutral"):
        plain, shifted = (
            transform(features, AnonymizeConfig(preset=preset, f0_shift_semitones=n)).f0
            for n in (0, 12)
        )
        np.testing.assert_allclose(shifted, 2 * plain)


# Neutral: towards the target's register and envelope


def test_neutral_lands_on_the_register_of_the_target(disguised, neutral):
    for out in disguised:
        said = analyze(out, SR, AnonymizeConfig(**FAST))
        assert np.median(said.f0[said.voiced]) == pytest.approx(neutral.target.f0_hz, rel=0.03)


def test_neutral_without_a_target_goes_to_its_own_register(speech):
    cfg = AnonymizeConfig(f0_register_hz=180.0)
    said = analyze(anonymize(speech, SR, cfg), SR)
    assert np.median(said.f0[said.voiced]) == pytest.approx(180, rel=0.03)


def test_neutral_keeps_the_intonation(speech, features, neutral, disguised):
    out = transform(features, neutral)
    assert correlation_of_log_f0(out.f0, features.f0) > 0.999
    said = analyze(disguised[0], SR, AnonymizeConfig(**FAST))
    source = analyze(speech, SR, AnonymizeConfig(**FAST))
    assert correlation_of_log_f0(said.f0, source.f0, edge=4) > 0.98  # DIO slips at the edges


def test_neutral_moves_cepstral_mean_and_covariance_to_the_target(features, source, matching):
    out = speaker_stats([transform(features, matching, source=source)])
    to = matching.target
    np.testing.assert_allclose(out.voiced_mean[1:], to.voiced_mean[1:], atol=0.02)
    cov, to_cov, before = (np.array(s.voiced_cov)[1:, 1:] for s in (out, to, source))
    # but where it would have to be stretched by more than 3
    assert np.abs(cov - to_cov).max() < 0.25 * np.abs(before - to_cov).max()


def test_neutral_moves_each_sound_to_where_the_target_has_it(voice):
    fast = Config(f0_method="dio", match_smooth_ms=0.0, highpass_db_per_octave=0.0)
    nearer = []
    for seed, to_seed in ((0, 3), (1, 4), (2, 5), (7, 6)):
        said, other = (
            analyze(voice(8.0, f0, seed=s), SR, fast) for f0, s in ((220.0, to_seed), (120.0, seed))
        )
        to = speaker_stats([said], n_classes=8)
        assert to.classes and not to.class_means
        own = speaker_stats([other], prior=to)
        assert np.shape(own.class_means) == np.shape(to.classes.means)

        told_apart, as_one = (
            transform(other, replace(fast, target=replace(to, classes=sounds)), own)
            for sounds in (to.classes, None)
        )
        off = []  # how far the sounds are from the target's, on average
        for out in (told_apart, as_one):
            means = map_adapt_means(cepstrum(out[loud_voiced_frames(out)])[:, 1:], to.classes)
            off.append(np.linalg.norm(means - to.classes.means, axis=1).mean())
        nearer.append(off[0] / off[1])
    assert np.mean(nearer) < 0.6 and max(nearer) < 1


@pytest.mark.parametrize(
    "f0, to_f0, ratio",
    [(100, 200, 2**0.25), (200, 100, 2**-0.25), (150, 150, 1), (0, 200, 1), (200, 0, 1)],
)
def test_formants_follow_the_register_from_afar(f0, to_f0, ratio):
    assert vtl_ratio(f0, to_f0) == pytest.approx(ratio)
    assert 0.8 <= vtl_ratio(40, 2_000) <= 1.25


def test_a_low_voice_is_measured_and_changed_with_a_shorter_tract(voice, target):
    man = analyze(voice(seconds=1.5, f0=110.0, seed=1), SR, AnonymizeConfig(**FAST))
    own = speaker_stats([man], prior=target)
    assert own.formant_ratio == pytest.approx((target.f0_hz / own.f0_hz) ** 0.25)
    warped = replace(man, sp=scale_formants(man.sp, own.formant_ratio))
    same = speaker_stats([warped], prior=replace(target, f0_hz=own.f0_hz))
    assert same.formant_ratio == 1 and own.voiced_mean == pytest.approx(same.voiced_mean, abs=1e-9)

    fast = Config(target=target, match_smooth_ms=0.0, highpass_db_per_octave=0.0, **FAST)
    moved = transform(man, fast, own)
    by_hand = transform(warped, fast, replace(own, formant_ratio=1.0))
    np.testing.assert_allclose(
        moved.sp / moved.sp.mean(1)[:, None], by_hand.sp / by_hand.sp.mean(1)[:, None], rtol=1e-6
    )
    np.testing.assert_allclose(
        power_db(moved.sp) - power_db(man.sp), target.level_db - own.level_db
    )
    untouched = transform(man, replace(fast, match_target=0.0, n_cepstra=0), own)
    np.testing.assert_allclose(untouched.sp, man.sp)


def test_without_a_known_covariance_no_formant_is_moved(features, target):
    """As for voices of the first version."""
    assert speaker_stats([features], prior=target).formant_ratio != 1
    assert (
        speaker_stats(
            [features], prior=replace(target, voiced_mean=(), voiced_cov=())
        ).formant_ratio
        == 1
    )


def test_sounds_of_the_target_stay_where_they_are(features, source):
    known = speaker_stats([features], n_classes=4)
    cfg = Config(target=known)
    same = transform(features, cfg, source=known)
    plain = transform(features, replace(cfg, target=replace(known, classes=None)), source=known)
    np.testing.assert_array_equal(same.sp, plain.sp)


def test_where_the_covariance_is_not_known_deviations_are_moved(features, source, matching):
    """As for voices of the first version."""
    to = replace(matching.target, voiced_mean=(), voiced_cov=())
    out = speaker_stats([transform(features, replace(matching, target=to), source=source)])
    np.testing.assert_allclose(out.cepstrum_mean[1:], to.cepstrum_mean[1:], atol=0.02)
    ratio = np.array(to.cepstrum_std[1:]) / source.cepstrum_std[1:]
    within = (ratio > 0.5) & (ratio < 2)  # further apart is not followed
    assert within.sum() > 18
    np.testing.assert_allclose(
        np.array(out.cepstrum_std[1:])[within], np.array(to.cepstrum_std[1:])[within], rtol=0.05
    )


def test_neutral_sounds_nearer_to_the_target_when_analysed_again(voice, matching):
    speech = voice(6.6)  # what a second has for a covariance is chance
    source = speaker_stats([analyze(speech, SR, SURE)])
    said = speaker_stats([analyze(anonymize(speech, SR, matching, source=source), SR, SURE)])

    def distance(stats, name):
        a, b = (np.array(getattr(s, name)) for s in (stats, matching.target))
        return np.abs(a - b)[..., 1:].sum()

    for name in ("voiced_mean", "voiced_cov"):
        assert distance(said, name) < 0.6 * distance(source, name)
    assert said.level_db == pytest.approx(matching.target.level_db, abs=2)


@pytest.mark.parametrize("match_target", [0.0, 0.5])
def test_match_target_goes_part_of_the_way(features, source, matching, match_target):
    cfg = replace(matching, match_target=match_target)
    out = speaker_stats([transform(features, cfg, source=source)])
    own, to = (np.array(stats.voiced_mean[1:]) for stats in (source, matching.target))
    half = own + match_target * (to - own)
    np.testing.assert_allclose(out.voiced_mean[1:], half, atol=0.02)


def test_neutral_moves_the_spread_of_the_melody_too(features, source, neutral):
    wide = replace(neutral.target, f0_std_semitones=1.5 * source.f0_std_semitones)
    out = transform(features, replace(neutral, target=wide), source=source).f0
    voiced = features.voiced
    spread = np.std(np.log2(out[voiced])) / np.std(np.log2(features.f0[voiced]))
    assert spread == pytest.approx(1.5) and (out[~voiced] == 0).all()
    monotonous = replace(neutral.target, f0_std_semitones=0.0)
    out = transform(features, replace(neutral, target=monotonous), source=source).f0
    assert correlation_of_log_f0(out, features.f0) > 0.999, "a spread of nothing is not copied"


def test_neutral_keeps_the_energy_of_each_frame_up_to_one_gain(features, source, matching):
    for given in (features, SpeakerPerturbation.draw(matching, source, rng()).apply(features)):
        out = transform(given, matching, source=source)
        gain = power_db(out.sp) - power_db(features.sp)
        np.testing.assert_allclose(gain, matching.target.level_db - source.level_db, atol=1e-6)


def test_two_speakers_come_nearer_to_each_other(voice):
    fast = AnonymizeConfig(**FAST)
    to = speaker_stats([analyze(voice(seconds=1.0, f0=170.0, seed=3), SR, fast)])
    cfg = Config(target=to, **FAST)
    man = analyze(voice(seconds=1.0, f0=110.0, seed=1), SR, fast)
    woman = analyze(voice(seconds=1.0, f0=250.0, seed=2), SR, fast)
    child = replace(woman, sp=scale_formants(woman.sp, 1.1))
    before = envelope_distance_db(man, child, SR)
    said = [anonymize(synthesize(speaker), SR, cfg) for speaker in (man, child)]
    assert envelope_distance_db(*said, SR) < 0.5 * before
    assert envelope_distance_db(transform(man, cfg), transform(child, cfg), SR) < 0.5 * before
    registers = [transform(speaker, cfg) for speaker in (man, child)]
    registers = [np.median(speaker.f0[speaker.voiced]) for speaker in registers]
    np.testing.assert_allclose(registers, to.f0_hz, rtol=0.03)


def test_a_random_disguise_is_one_for_the_whole_clip_and_two_sided(features, source):
    """Its formant_ratio, of up to 10 % either way, is what a training crop sees from beginning to end."""
    cfg = AnonymizeConfig(perturb_cepstrum=0)
    flat = replace(features, sp=np.repeat(bump(150, n_bins=513), len(features.f0), 0))
    peaks = []
    for seed in range(12):
        out = SpeakerPerturbation.draw(cfg, source, rng(seed)).apply(flat)
        assert len(set(out.sp.argmax(1))) == 1
        peaks.append(out.sp[0].argmax() / 150)
    assert 1 / 1.11 < min(peaks) < 0.97 and 1.03 < max(peaks) < 1.11


def test_a_disguise_leaves_melody_and_energy(features, source):
    perturbation = SpeakerPerturbation.draw(AnonymizeConfig(), source, rng())
    out = perturbation.apply(features)
    assert (out.f0 == features.f0).all()
    np.testing.assert_allclose(power_db(out.sp), power_db(features.sp), atol=1e-6)
    moved = speaker_stats([out])
    far = np.abs(np.subtract(moved.voiced_mean, source.voiced_mean)) / source.cepstrum_std
    assert far[1:].max() > 0.1
    parts = [perturbation.apply(features[:50]).sp, perturbation.apply(features[50:]).sp]
    np.testing.assert_allclose(np.concatenate(parts), out.sp, err_msg="the same for every frame")


def test_no_disguise_at_all_changes_nothing(features, source):
    off = AnonymizeConfig(perturb_formants=0, perturb_cepstrum=0, perturb_ap_db=0)
    out = SpeakerPerturbation.draw(off, source, rng()).apply(features)
    np.testing.assert_allclose(out.sp, features.sp, rtol=1e-6)
    np.testing.assert_allclose(out.ap, np.clip(features.ap, 1e-3, 1))


def test_what_is_drawn_by_the_dials_is_drawn_by_rng(features):
    noise = AnonymizeConfig(preset="noise")
    a, again, b = (transform(features, noise, rng=rng(seed)) for seed in (1, 1, 2))
    assert (a.f0 == again.f0).all() and (a.f0 != b.f0)[features.voiced].all()


def test_a_whisper_is_moved_too(features, target, neutral):
    """Its voiced frames say nothing; all that speak count, coefficient by coefficient."""
    whisper = replace(features, f0=np.zeros_like(features.f0))
    own = speaker_stats([whisper])
    assert own.voiced_cov == () and target.voiced_cov
    assert speaker_stats([whisper], prior=target).voiced_cov == ()
    there = speaker_stats([transform(whisper, neutral, source=own)])

    def distance(stats):
        return np.abs(np.subtract(stats.cepstrum_mean, target.cepstrum_mean))[1:].sum()

    assert distance(there) < 0.5 * distance(own)


@pytest.mark.parametrize("n_frames", [1, 5, 20, 30, 60])
def test_hardly_any_speech_is_not_taken_for_a_whole_voice(features, neutral, n_frames):
    voiced = np.flatnonzero(features.voiced)[0]
    few = features[voiced : voiced + n_frames]
    out = transform(few, neutral, source=speaker_stats([few]))
    moved = np.log(out.sp) - np.log(few.sp)
    assert np.isfinite(out.f0).all() and np.abs(moved).max() < 30


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-9])
def test_optimal_transport_to_where_one_is_does_nothing(scale):
    cov = scale * np.diag([3.0, 1.0, 0.1])
    np.testing.assert_allclose(optimal_transport(cov, cov), np.eye(3), atol=1e-6)


def test_optimal_transport_does_not_believe_what_hardly_varies():
    flat = np.diag([1.0, 1.0, 0.0])
    values = np.linalg.eigvalsh(optimal_transport(flat, np.eye(3)))
    np.testing.assert_allclose(values, [1, 1, 3], atol=1e-6)
    assert np.isfinite(optimal_transport(np.zeros((3, 3)), np.eye(3))).all()


def test_slips_of_the_pitch_tracker_are_not_spread_further(source):
    f0 = source.f0_hz * 2 ** np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    to = replace(source, f0_hz=200.0, f0_std_semitones=2 * source.f0_std_semitones)
    octaves = np.log2(gaussian_f0(f0, source, to) / 200)
    np.testing.assert_allclose(octaves, [-2, -1, 0, 1, 2])


def test_optimal_transport_gives_the_other_covariance_by_the_least_change():
    mixed, also_mixed = (np.eye(5) + 0.2 * rng(seed).normal(size=(5, 5)) for seed in (1, 3))
    data = rng(0).normal(size=(2_000, 5)) @ mixed
    other = np.cov((rng(2).normal(size=(2_000, 5)) @ also_mixed).T)
    move = optimal_transport(np.cov(data.T), other)
    np.testing.assert_allclose(np.cov((data @ move).T), other, atol=1e-6)
    np.testing.assert_allclose(move, move.T, atol=1e-9)
    assert np.linalg.eigvalsh(move).min() > 0, "symmetric and positive: what makes it the least"
    np.testing.assert_allclose(optimal_transport(other, other), np.eye(5), atol=1e-6)


def test_statistics_given_are_used_instead_of_measured(features, source, neutral):
    higher = replace(source, f0_hz=2 * source.f0_hz)
    cfg = replace(neutral, f0_mode="recentre")
    plain, halved = (transform(features, cfg, source=s) for s in (source, higher))
    np.testing.assert_allclose(halved.f0, plain.f0 / 2)


def test_a_rate_that_the_statistics_were_not_measured_at_is_refused(speech, source, neutral):
    for cfg, given in ((neutral, None), (Config(**FAST), source), (neutral, source)):
        with pytest.raises(
            ParameterError, match=r"sr=22050 .* sr=16000 Hz; resample with load_wav"
        ):
            anonymize(speech, 22_050, cfg, source=given)
    for cfg in (AnonymizeConfig(**FAST), Config(**FAST)):
        assert len(anonymize(speech[:2_000], 22_050, cfg)) == 2_000


def test_speaker_stats_of_a_changed_rate_fit_that_rate(voice):
    sr = 22_050
    target = speaker_stats([analyze(voice(seconds=1.0, f0=220.0, sr=sr), sr)])
    assert isinstance(target, SpeakerStats)
    wav = voice(seconds=0.5, sr=sr)
    assert anonymize(wav, sr, Config(sr=sr, target=target)).shape == wav.shape


def test_where_nobody_speaks_the_room_is_not_made_loud(voice):
    target = speaker_stats([analyze(voice(1.0), SR)])
    room = 1e-3 * np.random.default_rng(0).normal(size=SR)
    out = anonymize(room, SR, AnonymizeConfig(target=target))
    assert 20 * np.log10(out.std() / room.std()) < 21


def test_low_voices_get_the_window_that_they_need(voice):
    cfg = AnonymizeConfig(f0_floor=45.0)
    deep, usual = analyze(voice(0.5), 24_000, cfg), analyze(voice(0.5), 24_000)
    assert deep.sp.shape[1] == deep.ap.shape[1] == 2 * (usual.sp.shape[1] - 1) + 1
    assert np.isfinite(anonymize(voice(0.5), 24_000, cfg)).all()
