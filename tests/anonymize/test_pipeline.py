"""Anonymization as a whole: properties of every preset, and of `neutral` in particular."""

from dataclasses import replace

import numpy as np
import pytest

from vc_lib.anonymize import (
    SpeakerPerturbation,
    analyze,
    anonymize,
    cepstrum,
    render,
    resynthesize,
    speaker_stats,
    synthesize,
    transform,
)
from vc_lib.anonymize.acoustic_classes import map_adapt_means
from vc_lib.anonymize.dials import (
    power_db,
    scale_formants,
)
from vc_lib.anonymize.pipeline import (
    GRAIN_RATIOS,
    choose_grains,
    grains_fit,
    measured_source,
)
from vc_lib.anonymize.statistics import QUIET_DB, loud_voiced_frames, voice_threshold_db
from vc_lib.config import NO_CHANGE, PRESETS, UNVOICED, VOICED, AnonymizeConfig, Config
from vc_lib.errors import ParameterError
from vc_lib.evaluate import envelope_distance_db
from vc_lib.evaluate.signal_metrics import si_snr_db
from vc_lib.speaker import SpeakerStats

SR = 16_000
LENGTHS = (1, 2, 79, 1_000, 16_001)  # [samples]
FAST = dict(f0_method="dio")
SURE = AnonymizeConfig(f0_method="harvest")
UNCHANGED = AnonymizeConfig(**NO_CHANGE | dict(voiced="recorded", unvoiced="recorded"))
each_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(scope="module")
def neutral(target):
    return Config(target=target, f0_method=SURE.f0_method)


@pytest.fixture(scope="module")
def matching(neutral):
    """`neutral` without smoothing over time and without highpass."""
    return replace(neutral, match_smooth_ms=0.0, highpass_db_per_octave=0.0)


@pytest.fixture(scope="module")
def anonymized(speech, neutral):
    """Speech after `neutral`, without and with a random perturbation."""
    return anonymize(speech, SR, neutral), anonymize(speech, SR, neutral, rng())


def with_preset(preset, **of):
    """Settings of a preset, with a key where it needs one."""
    key = 0 if preset == "private_consistent" else None
    return AnonymizeConfig(preset=preset, private_key=key, **of)


def rng(seed=0):
    return np.random.default_rng(seed)


def quiet(features, source):
    """Mask of the frames that are too quiet for a voice, if the recording is kept there."""
    return power_db(features.sp) <= voice_threshold_db(source)


def correlation_of_log_f0(a, b, edge=0):
    """Correlation over frames that are voiced in both, at least `edge` frames from the ends of runs."""
    both = (a > 0) & (b > 0)
    inside = np.convolve(both, np.ones(2 * edge + 1), "same") > 2 * edge
    return np.corrcoef(np.log(a[inside]), np.log(b[inside]))[0, 1]


def test_change_of_the_match_is_smoothed_over_time(features, source, matching):
    """Smoothing reduces the differences between frames and keeps the mean change."""

    def added(match_smooth_ms):
        cfg = replace(matching, match_smooth_ms=match_smooth_ms)
        return (cepstrum(transform(features, cfg, source)) - cepstrum(features))[:, 1:]

    frame_by_frame, smooth, none = added(0.0), added(10.0), added(0.01)
    np.testing.assert_allclose(none, frame_by_frame, atol=1e-9)
    unrest, less = (np.diff(a, axis=0).std() for a in (frame_by_frame, smooth))
    assert less < 0.6 * unrest
    np.testing.assert_allclose(smooth.mean(0), frame_by_frame.mean(0), atol=0.05)


def test_neutral_attenuates_below_the_new_f0_only(features, neutral):
    without = transform(features, replace(neutral, highpass_db_per_octave=0.0))
    cut = transform(features, neutral)
    hz = np.linspace(0, SR / 2, cut.sp.shape[1])
    below = cut.voiced[:, None] & (hz < 0.75 * cut.f0[:, None])
    assert below.any() and (cut.sp[below] < 0.4 * without.sp[below]).all()
    above = hz > cut.f0[:, None] + 20
    np.testing.assert_array_equal(cut.sp[above], without.sp[above])


@pytest.mark.parametrize(
    "dials",
    [dict(n_cepstra=8), dict(blur_hz=200.0), dict(formant_ratio=1.2)],
    ids=lambda d: next(iter(d)),
)
def test_each_frame_keeps_its_energy(features, dials):
    cfg = AnonymizeConfig(**(dict(preset="whisper", f0_mode="keep") | dials))
    out = transform(features, cfg)
    assert not np.allclose(out.sp, features.sp)
    np.testing.assert_allclose(power_db(out.sp), power_db(features.sp), atol=1e-5)
    assert (out.f0 == features.f0).all() and (out.ap == features.ap).all()


# Every preset


@each_preset
@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.parametrize("trained", [False, True])
def test_a_preset_keeps_the_length_to_the_sample(speech, target, preset, n_samples, trained):
    start = 0 if n_samples > 1_000 else 3_000
    wav = speech[start : start + n_samples]
    cfg = with_preset(preset, target=target if trained else None, **FAST)
    for chance in (None, rng()):
        out = anonymize(wav, SR, cfg, chance)
        assert out.shape == (n_samples,) and out.dtype == np.float32
        assert np.isfinite(out).all() and np.abs(out).max() <= 1


@each_preset
def test_a_loud_input_stays_in_range(speech, preset):
    out = anonymize(np.clip(20 * speech[:8_000], -1, 1), SR, with_preset(preset, **FAST))
    assert 0.1 < np.abs(out).max() <= 1


@each_preset
@pytest.mark.parametrize("chance", [None, 0])
def test_unvoiced_frames_stay_unvoiced(features, target, preset, chance):
    for cfg in (with_preset(preset), with_preset(preset, target=target)):
        out = transform(features, cfg, rng=None if chance is None else rng(chance))
        voiced = features.voiced
        if cfg.dials["unvoiced"] == "recorded":
            voiced = voiced & ~quiet(features, measured_source(features, cfg))
        assert (out.f0 >= 0).all() and not out.f0[~voiced].any()
        assert (out.voiced == voiced).all() or preset == "whisper"
        assert out.sp.shape == features.sp.shape and out.ap.shape == features.ap.shape
        assert (out.sp > 0).all() and (out.ap > 0).all() and (out.ap <= 1).all()


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "private"])
def test_without_rng_a_preset_is_deterministic(speech, target, preset):
    cfg = with_preset(preset, target=target, **FAST)
    wav = speech[:6_000]
    first = anonymize(wav, SR, cfg)
    np.random.seed(1)  # noqa: NPY002  (as a user's own code might)
    assert (anonymize(wav, SR, cfg) == first).all()


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "private_consistent"])
def test_same_seed_gives_the_same_bytes(speech, target, preset):
    cfg = with_preset(preset, target=target, **FAST)
    wav = speech[:6_000]
    first, again, other = (anonymize(wav, SR, cfg, rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - anonymize(wav, SR, cfg)).max() > 0.01


@each_preset
def test_inputs_are_not_modified(speech, features, target, preset):
    cfg, wav = with_preset(preset, target=target), speech[:6_000].astype(np.float64)
    kept = [a.copy() for a in (wav, features.f0, features.sp, features.ap)]
    anonymize(wav, SR, cfg, rng())
    synthesize(transform(features, cfg, rng=rng()))
    speaker_stats([features])
    for now, before in zip((wav, features.f0, features.sp, features.ap), kept, strict=True):
        assert (now == before).all()


@each_preset
@pytest.mark.parametrize("chance", [None, 0])
@pytest.mark.parametrize("trained", [False, True])
def test_silence_stays_silence(target, preset, chance, trained):
    cfg = with_preset(preset, target=target if trained else None)
    out = anonymize(np.zeros(4_001), SR, cfg, None if chance is None else rng(chance))
    assert out.shape == (4_001,) and np.abs(out).max() < 1e-5  # -100 dB


def test_pauses_stay_pauses(anonymized):
    """The last 60 ms of the fixture's phrase are a pause."""
    pause = slice(int(0.96 * 1.1 * SR), int(1.1 * SR) - 200)
    for out in anonymized:
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


def test_robot_is_monotone(features, target):
    for cfg, hz in (
        (AnonymizeConfig(preset="robot", f0_register_hz=140.0), 140),
        (Config(preset="robot", target=target), target.f0_hz),
    ):
        out = transform(features, cfg)
        assert set(out.f0) == {0.0, float(hz)}
        result = analyze(synthesize(out), SR, AnonymizeConfig(**FAST))
        result = result.f0[result.voiced]
        assert np.median(result) == pytest.approx(hz, rel=0.01)


def test_f0_shift_is_added_to_the_preset(features):
    for preset in ("robot", "neutral"):
        plain, shifted = (
            transform(features, AnonymizeConfig(preset=preset, f0_shift_semitones=n)).f0
            for n in (0, 12)
        )
        np.testing.assert_allclose(shifted, 2 * plain)


# Where the sound comes from


@pytest.mark.parametrize(
    "sr, frame_period_ms", [(16_000, 5.0), (22_050, 5.0), (48_000, 5.0), (16_000, 3.7)]
)
def test_without_a_change_the_recording_comes_back(voice, sr, frame_period_ms):
    wav = voice(1.1, sr=sr)
    cfg = replace(UNCHANGED, frame_period_ms=frame_period_ms)
    assert si_snr_db(anonymize(wav, sr, cfg), wav, sr) > 60
    features = analyze(wav, sr, cfg).compact()
    source = measured_source(features, cfg)
    assert choose_grains(wav, features, features.f0, cfg, source)
    out = render(wav, features, transform(features, cfg, source), cfg, source)
    np.testing.assert_allclose(out, anonymize(wav, sr, cfg), atol=1e-5)  # BLAS rounds by threads


def test_quiet_frames_are_not_voiced_where_the_recording_is_kept(features, source):
    """The end of a word in a room."""
    sp = features.sp.copy()
    sp[150:] *= 10 ** (-(QUIET_DB + 10) / 10)
    fading = replace(features, sp=sp)
    f0 = transform(fading, UNCHANGED, source).f0
    off = quiet(fading, source)
    assert off[fading.voiced].any() and not f0[off].any()
    assert (f0[~off] == fading.f0[~off]).all()
    vocoder = replace(UNCHANGED, unvoiced="vocoder")
    assert (transform(fading, vocoder, source).f0 == fading.f0).all()


def test_a_whisper_does_not_keep_the_pitch_of_the_recording():
    """Where F0 is taken away nothing is voiced, and the recording would be."""
    assert AnonymizeConfig(f0_mode="zero").dials["unvoiced"] == "vocoder"
    assert AnonymizeConfig(preset="whisper", unvoiced="recorded").dials["unvoiced"] == "vocoder"


@pytest.mark.parametrize("quieter_db", [0, 15, 40])
def test_a_speaker_farther_away_is_still_anonymized(features, source, quieter_db):
    """The statistics may be those of louder speech."""
    long = replace(
        features,
        f0=np.tile(features.f0, 3),
        sp=np.tile(features.sp, (3, 1)) * 10 ** (-quieter_db / 10),
        ap=np.tile(features.ap, (3, 1)),
    )
    cfg = replace(UNCHANGED, f0_shift_semitones=12.0)
    f0 = transform(long, cfg, source).f0
    assert (f0 > 0).sum() > 0.8 * long.voiced.sum()


def test_render_needs_features_of_one_recording(voice, features, source):
    with pytest.raises(ParameterError, match="both must be of the same recording"):
        render(voice(1.1), features, features[:-1], UNCHANGED, source)


def test_grains_hold_no_random_melody(source):
    assert not grains_fit(AnonymizeConfig(f0_mode="noise"), source)


def test_grains_where_the_register_moves_little(source, target):
    low, high = GRAIN_RATIOS
    for ratio in (0.9 * low, 1.01 * low, 1.0, 0.99 * high, 1.1 * high):
        to = replace(target, f0_hz=ratio * source.f0_hz)
        fits = {kind: grains_fit(Config(target=to, voiced=kind), source) for kind in VOICED}
        assert fits == dict(vocoder=False, recorded=True, auto=low <= ratio <= high)
    unknown = replace(source, f0_hz=0.0)  # a whisper has nothing to move
    assert grains_fit(Config(target=target), unknown)
    an_octave = AnonymizeConfig(f0_mode="keep", f0_shift_semitones=12)
    assert not grains_fit(an_octave, source)


@pytest.mark.parametrize("preset", ["whisper", "robot", "noise"])
def test_presets_for_effects_are_worlds_synthesis(speech, preset):
    cfg = AnonymizeConfig(preset=preset, **FAST)
    features = analyze(speech, SR, cfg).compact()
    out = transform(features, cfg)
    assert not grains_fit(cfg, measured_source(features, cfg))
    np.testing.assert_allclose(
        anonymize(speech, SR, cfg), resynthesize(out, len(speech)), atol=1e-5
    )


def test_ap_gain_db_makes_voiced_sound_clearer(features, source):
    plain = replace(UNCHANGED, ap_gain_db=0.0)
    out = transform(features, replace(plain, ap_gain_db=-6.0), source)
    voiced = out.voiced
    np.testing.assert_allclose(out.ap[voiced], features.ap[voiced] * 10 ** (-6 / 20))
    louder = transform(features, replace(plain, ap_gain_db=40.0), source).ap
    assert louder.max() == 1 and (louder >= features.ap).all()


@pytest.mark.parametrize("voiced", VOICED)
@pytest.mark.parametrize("unvoiced", UNVOICED)
def test_any_sound_can_be_made_of_any_clip(speech, voiced, unvoiced):
    noise = 0.1 * rng().normal(size=3_000)
    square = 0.3 * np.sign(np.sin(2 * np.pi * 150 * np.arange(3_000) / SR))
    clips = (np.zeros(3_000), noise, square, speech[3_000:3_001], square[:200], np.zeros(1))
    for n_semitones in (0, 5, 24):
        cfg = AnonymizeConfig(voiced=voiced, unvoiced=unvoiced, f0_shift_semitones=n_semitones)
        for wav in clips:
            out = anonymize(wav, SR, cfg)
            assert out.shape == wav.shape and out.dtype == np.float32
            assert np.isfinite(out).all() and np.abs(out).max() <= 1
            assert wav.any() or np.abs(out).max() < 1e-5


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_recording_may_be_of_any_float_type(speech):
    loud = 6e4 * np.sign(np.sin(900 * np.arange(4_000) / SR))  # float16 ends there
    assert np.isfinite(anonymize(loud.astype(np.float16), SR, UNCHANGED)).all()
    wav = speech[:4_000].astype(np.float16)
    out = anonymize(wav, SR, UNCHANGED)
    for same in (wav.astype(np.float64), wav.tolist()):
        np.testing.assert_allclose(anonymize(same, SR, UNCHANGED), out, atol=1e-6)


# Neutral: towards the target's register and envelope


def test_neutral_reaches_the_register_of_the_target(anonymized, neutral):
    for out in anonymized:
        result = analyze(out, SR, AnonymizeConfig(**FAST))
        assert np.median(result.f0[result.voiced]) == pytest.approx(neutral.target.f0_hz, rel=0.03)


def test_neutral_without_a_target_uses_f0_register_hz(speech):
    cfg = AnonymizeConfig(f0_register_hz=180.0)
    result = analyze(anonymize(speech, SR, cfg), SR)
    assert np.median(result.f0[result.voiced]) == pytest.approx(180, rel=0.03)


def test_neutral_keeps_the_intonation(speech, features, neutral, anonymized):
    out = transform(features, neutral)
    assert correlation_of_log_f0(out.f0, features.f0) > 0.999
    result = analyze(anonymized[0], SR, AnonymizeConfig(**FAST))
    source = analyze(speech, SR, AnonymizeConfig(**FAST))
    assert correlation_of_log_f0(result.f0, source.f0, edge=4) > 0.98  # DIO slips at the edges


def test_neutral_moves_cepstral_mean_and_covariance_to_the_target(features, source, matching):
    out = speaker_stats([transform(features, matching, source=source)])
    to = matching.target
    np.testing.assert_allclose(out.voiced_mean[1:], to.voiced_mean[1:], atol=0.02)
    cov, to_cov, before = (np.array(s.voiced_cov)[1:, 1:] for s in (out, to, source))
    # but where it would have to be stretched by more than 3
    assert np.abs(cov - to_cov).max() < 0.25 * np.abs(before - to_cov).max()


def test_neutral_moves_each_class_towards_the_targets(voice):
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

        by_class, at_once = (
            transform(other, replace(fast, target=replace(to, classes=classes)), own)
            for classes in (to.classes, None)
        )
        off = []  # mean distance of the class means from the target's
        for out in (by_class, at_once):
            means = map_adapt_means(cepstrum(out[loud_voiced_frames(out)])[:, 1:], to.classes)
            off.append(np.linalg.norm(means - to.classes.means, axis=1).mean())
        nearer.append(off[0] / off[1])
    assert np.mean(nearer) < 0.6 and max(nearer) < 1


def test_formants_of_a_low_voice_are_scaled_up(voice, target):
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
        power_db(moved.sp) - power_db(man.sp), target.level_db - own.level_db, atol=1e-4
    )
    untouched = transform(man, replace(fast, match_target=0.0, n_cepstra=0), own)
    np.testing.assert_allclose(untouched.sp, man.sp)


def test_neutral_keeps_the_classes_of_the_target_itself(features, source):
    known = speaker_stats([features], n_classes=4)
    cfg = Config(target=known)
    same = transform(features, cfg, source=known)
    plain = transform(features, replace(cfg, target=replace(known, classes=None)), source=known)
    np.testing.assert_array_equal(same.sp, plain.sp)


def test_without_a_covariance_deviations_are_matched(features, source, matching):
    to = replace(matching.target, voiced_mean=(), voiced_cov=())
    out = speaker_stats([transform(features, replace(matching, target=to), source=source)])
    np.testing.assert_allclose(out.cepstrum_mean[1:], to.cepstrum_mean[1:], atol=0.02)
    ratio = np.array(to.cepstrum_std[1:]) / source.cepstrum_std[1:]
    within = (ratio > 0.5) & (ratio < 2)  # further apart is not followed
    assert within.sum() > 18
    np.testing.assert_allclose(
        np.array(out.cepstrum_std[1:])[within], np.array(to.cepstrum_std[1:])[within], rtol=0.05
    )


def test_neutral_output_is_nearer_to_the_target(voice, matching):
    speech = voice(6.6)  # what a second has for a covariance is chance
    source = speaker_stats([analyze(speech, SR, SURE)])
    result = speaker_stats([analyze(anonymize(speech, SR, matching, source=source), SR, SURE)])

    def distance(stats, name):
        a, b = (np.array(getattr(s, name)) for s in (stats, matching.target))
        return np.abs(a - b)[..., 1:].sum()

    for name in ("voiced_mean", "voiced_cov"):
        assert distance(result, name) < 0.6 * distance(source, name)
    assert result.level_db == pytest.approx(matching.target.level_db, abs=2)


@pytest.mark.parametrize("match_target", [0.0, 0.5])
def test_match_target_goes_part_of_the_way(features, source, matching, match_target):
    cfg = replace(matching, match_target=match_target)
    out = speaker_stats([transform(features, cfg, source=source)])
    own, to = (np.array(stats.voiced_mean[1:]) for stats in (source, matching.target))
    half = own + match_target * (to - own)
    np.testing.assert_allclose(out.voiced_mean[1:], half, atol=0.02)


def test_neutral_matches_the_spread_of_log_f0(features, source, neutral):
    wide = replace(neutral.target, f0_std_semitones=1.5 * source.f0_std_semitones)
    out = transform(features, replace(neutral, target=wide), source=source).f0
    voiced = features.voiced & ~quiet(features, source)
    spread = np.std(np.log2(out[voiced])) / np.std(np.log2(features.f0[voiced]))
    assert spread == pytest.approx(1.5) and (out[~voiced] == 0).all()
    monotonous = replace(neutral.target, f0_std_semitones=0.0)
    out = transform(features, replace(neutral, target=monotonous), source=source).f0
    assert correlation_of_log_f0(out, features.f0) > 0.999, "a spread of nothing is not copied"


def test_neutral_keeps_the_energy_of_each_frame_up_to_one_gain(features, source, matching):
    for given in (features, SpeakerPerturbation.draw(matching, source, rng()).apply(features)):
        out = transform(given, matching, source=source)
        gain = power_db(out.sp) - power_db(features.sp)
        np.testing.assert_allclose(gain, matching.target.level_db - source.level_db, atol=1e-4)


def test_two_speakers_come_nearer_to_each_other(voice):
    fast = AnonymizeConfig(**FAST)
    to = speaker_stats([analyze(voice(seconds=1.0, f0=170.0, seed=3), SR, fast)])
    cfg = Config(target=to, **FAST)
    man = analyze(voice(seconds=1.0, f0=110.0, seed=1), SR, fast)
    woman = analyze(voice(seconds=1.0, f0=250.0, seed=2), SR, fast)
    child = replace(woman, sp=scale_formants(woman.sp, 1.1))
    before = envelope_distance_db(man, child, SR)
    result = [anonymize(synthesize(speaker), SR, cfg) for speaker in (man, child)]
    assert envelope_distance_db(*result, SR) < 0.5 * before
    assert envelope_distance_db(transform(man, cfg), transform(child, cfg), SR) < 0.5 * before
    registers = [transform(speaker, cfg) for speaker in (man, child)]
    registers = [np.median(speaker.f0[speaker.voiced]) for speaker in registers]
    np.testing.assert_allclose(registers, to.f0_hz, rtol=0.03)


def test_noise_of_the_dials_comes_from_rng(features):
    noise = AnonymizeConfig(preset="noise")
    a, again, b = (transform(features, noise, rng=rng(seed)) for seed in (1, 1, 2))
    assert (a.f0 == again.f0).all() and (a.f0 != b.f0)[features.voiced].all()


def test_whispers_are_matched_too(features, target, neutral):
    """Without voiced frames, mean and deviations of all active frames are matched."""
    whisper = replace(features, f0=np.zeros_like(features.f0))
    own = speaker_stats([whisper])
    assert own.voiced_cov == () and target.voiced_cov
    assert speaker_stats([whisper], prior=target).voiced_cov == ()
    there = speaker_stats([transform(whisper, neutral, source=own)])

    def distance(stats):
        return np.abs(np.subtract(stats.cepstrum_mean, target.cepstrum_mean))[1:].sum()

    assert distance(there) < 0.5 * distance(own)


@pytest.mark.parametrize("n_frames", [1, 5, 20, 30, 60])
def test_a_few_frames_change_the_envelope_within_bounds(features, neutral, n_frames):
    voiced = np.flatnonzero(features.voiced)[0]
    few = features[voiced : voiced + n_frames]
    out = transform(few, neutral, source=speaker_stats([few]))
    moved = np.log(out.sp) - np.log(few.sp)
    assert np.isfinite(out.f0).all() and np.abs(moved).max() < 30


def test_given_statistics_replace_measured_ones(features, source, neutral):
    higher = replace(source, f0_hz=2 * source.f0_hz)
    cfg = replace(neutral, f0_mode="recentre")
    plain, halved = (transform(features, cfg, source=s) for s in (source, higher))
    np.testing.assert_allclose(halved.f0, plain.f0 / 2)


def test_rejects_statistics_of_another_rate(speech, source, neutral):
    for cfg, given in ((neutral, None), (Config(**FAST), source), (neutral, source)):
        with pytest.raises(
            ParameterError, match=r"sr=22050 .* sr=16000 Hz; resample with load_wav"
        ):
            anonymize(speech, 22_050, cfg, source=given)
    for cfg in (AnonymizeConfig(**FAST), Config(**FAST)):
        assert len(anonymize(speech[:2_000], 22_050, cfg)) == 2_000


def test_anonymizes_at_the_rate_of_the_statistics(voice):
    sr = 22_050
    target = speaker_stats([analyze(voice(seconds=1.0, f0=220.0, sr=sr), sr)])
    assert isinstance(target, SpeakerStats)
    wav = voice(seconds=0.5, sr=sr)
    assert anonymize(wav, sr, Config(sr=sr, target=target)).shape == wav.shape


def test_noise_without_speech_is_not_amplified(voice):
    target = speaker_stats([analyze(voice(1.0), SR)])
    room = 1e-3 * np.random.default_rng(0).normal(size=SR)
    out = anonymize(room, SR, AnonymizeConfig(target=target))
    assert 20 * np.log10(out.std() / room.std()) < 21
