"""Pseudo-speakers: who they are, what stays of a recording, and what goes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from vc_lib.anonymize import PseudoSpeaker, analyze, anonymize, speaker_stats, transform
from vc_lib.anonymize.dials import power_db
from vc_lib.anonymize.pipeline import measured_source
from vc_lib.anonymize.pseudo_speaker import (
    PAUSE_DB,
    canonical,
    speech_frames,
    strangers,
)
from vc_lib.anonymize.statistics import active_frames
from vc_lib.config import AnonymizeConfig, Config
from vc_lib.errors import ParameterError
from vc_lib.evaluate import log_f0_correlation

SR = 16_000
SURE = AnonymizeConfig(preset="private", f0_method="harvest")
CONSISTENT = replace(SURE, preset="private_consistent", private_key=0)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def features(speech):
    return analyze(speech, SR, SURE)


@pytest.fixture(scope="module")
def spoken(features):
    """What three pseudo-speakers make of the speech."""
    return [transform(features, SURE, rng=rng(seed)) for seed in range(3)]


def test_strangers_are_many_men_and_women():
    registers = np.array([stats.f0_hz for stats in strangers(SR)])
    assert len(registers) > 150
    assert 60 < registers.min() < 100 and 200 < registers.max() < 300
    assert 0.3 < np.mean(registers < 160) < 0.7
    assert all(stats.voiced_cov for stats in strangers(SR))
    assert strangers(22_050) == ()
    assert canonical(SR).strangers_unvoiced.shape[0] == len(registers)


def test_a_pseudo_speaker_has_the_register_of_a_stranger(features, spoken):
    registers = {round(stats.f0_hz, 3) for stats in strangers(SR)}
    for seed, changed in enumerate(spoken):
        speaker = PseudoSpeaker.draw(SURE, SR, rng(seed))
        assert round(speaker.stranger.f0_hz, 3) in registers
        median = np.median(changed.f0[changed.voiced])
        assert median == pytest.approx(speaker.stranger.f0_hz, rel=0.06)
    assert len({PseudoSpeaker.draw(SURE, SR, rng(i)).stranger.f0_hz for i in range(20)}) > 10


def test_melody_and_level_stay(features, spoken):
    source, active = measured_source(features, SURE), active_frames(features)
    for seed, changed in enumerate(spoken):
        assert log_f0_correlation(changed, features, SR) > 0.95
        before_highpass = PseudoSpeaker.draw(SURE, SR, rng(seed)).speak(features, source)
        gain_db = power_db(before_highpass.sp)[active] - power_db(features.sp)[active]
        assert np.ptp(gain_db) < 0.5


def test_the_level_does_not_tell_who_speaks(speech):
    levels = []
    for gain in (0.1, 1.0):
        out = anonymize(gain * speech, SR, SURE, rng())
        levels.append(20 * np.log10(np.sqrt(np.mean(out**2))))
    assert levels[0] == pytest.approx(levels[1], abs=0.5)


def test_two_speakers_become_alike_in_the_statistics_that_are_normalized(features, voice):
    """The same pseudo-speaker of two voices: registers and average envelopes that differ by little."""
    other = analyze(voice(3.0, f0=220.0), SR, SURE)
    before, after = [], []
    for part in (features, other):
        before.append(speaker_stats([part]))
        after.append(speaker_stats([transform(part, CONSISTENT)]))

    def apart(pair):
        means = np.array([stats.voiced_mean for stats in pair])[:, 1:]
        return np.linalg.norm(means[0] - means[1])

    assert apart(after) < 0.5 * apart(before)
    assert after[0].f0_hz == pytest.approx(after[1].f0_hz, rel=0.1)
    assert before[0].f0_hz != pytest.approx(before[1].f0_hz, rel=0.1)


def test_a_key_gives_one_pseudo_speaker_and_another_key_another(features):
    by_key = [
        transform(features, replace(CONSISTENT, private_key=key), rng=rng(seed))
        for key, seed in ((1, 0), (1, 1), (2, 0))
    ]
    np.testing.assert_array_equal(by_key[0].sp, by_key[1].sp)
    assert np.abs(np.log(by_key[0].sp / by_key[2].sp)).max() > 1


def test_without_an_rng_private_is_someone_else_every_time(features):
    drawn = [transform(features, SURE) for _ in range(2)]
    assert np.abs(np.log(drawn[0].sp / drawn[1].sp)).max() > 0.5


def test_strength_goes_from_nothing_to_far(features):
    def moved(strength):
        cfg = replace(SURE, private_strength=strength)
        changed = transform(features, cfg, rng=rng(3))
        db = 10 * np.log10(changed.sp / features.sp)[features.voiced]
        return np.sqrt(np.mean((db - db.mean(1, keepdims=True)) ** 2))

    at = [moved(strength) for strength in (0.0, 0.25, 0.5, 1.0)]
    assert at[0] < 1e-6 and at == sorted(at) and at[1] < 0.7 * at[2] < 0.95 * at[3]


@pytest.mark.parametrize("snr_db", [20, 40])
def test_the_noise_between_words_is_the_same_for_all(voice, snr_db):
    """Two rooms: nobody can tell them by the noise between words."""
    spoken, spectra = voice(2.0), []
    for colour in (0.0, 0.9):
        noise = lfilter([1], [1, -colour], rng(1).normal(size=3 * len(spoken)))
        noise *= spoken.std() / noise.std() * 10 ** (-snr_db / 20)
        noise[len(spoken) : 2 * len(spoken)] += spoken
        out = transform(analyze(noise, SR, SURE), CONSISTENT)
        assert out.voiced[:380].mean() < 0.06
        spectra.append(np.median(10 * np.log10(out.sp[20:380]), axis=0))
        speech_db = power_db(out.sp)[active_frames(out)].mean()
        assert spectra[-1].mean() - speech_db < PAUSE_DB + 6
    shapes = [spectrum - spectrum.mean() for spectrum in spectra]
    np.testing.assert_allclose(shapes[0], shapes[1], atol=1.5)


def test_silence_and_whispers_are_anonymized_too(speech, features):
    for wav in (np.zeros(8_000), np.zeros(1), 1e-3 * rng().standard_normal(16_000)):
        out = anonymize(wav, SR, SURE, rng())
        assert out.shape == wav.shape and np.isfinite(out).all() and np.abs(out).max() <= 1
    whisper = anonymize(speech, SR, AnonymizeConfig(preset="whisper"))
    assert np.abs(anonymize(whisper, SR, SURE, rng())).max() > 0.01


def test_the_other_dials_still_turn(features):
    plain = transform(features, SURE, rng=rng())
    higher = transform(features, replace(SURE, f0_shift_semitones=2.0), rng=rng())
    voiced = plain.voiced
    np.testing.assert_allclose(higher.f0[voiced] / plain.f0[voiced], 2 ** (2 / 12))
    assert not transform(features, replace(SURE, f0_mode="zero"), rng=rng()).voiced.any()


def test_a_target_is_not_used(features, target):
    expected = transform(features, SURE, rng=rng())
    out = transform(features, replace(SURE, target=target), rng=rng())
    np.testing.assert_array_equal(out.sp, expected.sp)


def test_frames_of_noise_are_no_speech(features):
    source = measured_source(features, SURE)
    assert (speech_frames(features, source) == active_frames(features)).mean() > 0.9
    noisy = replace(source, noise_db=source.level_db)
    fewer = speech_frames(features, noisy)
    assert fewer.any() and fewer.sum() < speech_frames(features, source).sum()


def test_the_recording_is_never_kept(features, speech):
    cfg = replace(SURE, voiced="recorded", unvoiced="recorded")
    expected = anonymize(speech, SR, SURE, rng())
    np.testing.assert_array_equal(anonymize(speech, SR, cfg, rng()), expected)


def test_a_private_preset_is_for_no_voice():
    for cfg in (SURE, CONSISTENT):
        with pytest.raises(ParameterError, match="a voice needs a preset that moves"):
            Config(preset=cfg.preset, private_key=cfg.private_key)
    with pytest.raises(ParameterError, match="needs a private_key"):
        AnonymizeConfig(preset="private_consistent")


@pytest.mark.parametrize("frame_period_ms", [1.0, 20.0])
def test_other_steps_between_frames(speech, frame_period_ms):
    cfg = replace(SURE, frame_period_ms=frame_period_ms, f0_method="dio")
    out = anonymize(speech, SR, cfg, rng())
    assert out.shape == speech.shape and 0.01 < np.abs(out).max() <= 1


def test_other_rates_are_refused_with_the_way_out(speech):
    with pytest.raises(ParameterError, match=r"sr=22050 Hz must be 16000 Hz .* load_wav"):
        anonymize(speech, 22_050, SURE)


def test_source_is_measured_against_the_canonical_voice(features):
    source = measured_source(features, SURE)
    assert len(source.class_means) == len(canonical(SR).voiced.classes.means)
