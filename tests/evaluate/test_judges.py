"""Pretrained judges against sounds whose answer is known; skipped where they are not installed."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vc_lib.audio import load_wav
from vc_lib.errors import MissingInput, ParameterError
from vc_lib.evaluate import judges
from vc_lib.evaluate.judges import (
    centroid,
    distillmos,
    dnsmos,
    plain_words,
    speaker_cosine,
    speaker_embedding,
    spoken_words,
    transcribe,
    word_error_rate,
)

SR = 16_000
SAMPLE = Path(__file__).parents[2] / "data" / "sample"
WEASELS = "weasels have eaten our phone system"  # what the clip of that name says


def need(packages):
    return pytest.mark.skipif(not judges.installed(packages), reason=f"needs {', '.join(packages)}")


@pytest.fixture(scope="module")
def speech():
    return load_wav(SAMPLE / "target" / "tt-weasels.flac", SR)


@pytest.fixture(scope="module")
def noisy(speech):
    return np.clip(speech + 0.03 * np.random.default_rng(0).normal(size=len(speech)), -1, 1)


# Words


def test_plain_words_drop_case_and_punctuation():
    assert plain_words("It\u2019s 5 o'clock -- 'NOW'!") == "it's 5 o'clock now"
    assert plain_words(" ... ") == ""


@need(judges.COUNTING)
@pytest.mark.parametrize(
    "written, spoken",
    [
        (
            "In 1963, Mr. Smith paid $20.",
            "in nineteen sixty three mister smith paid twenty dollars",
        ),
        ("1805 and 1900", "eighteen oh five and nineteen hundred"),
        ("2,500 or 2500 men", "two thousand five hundred or two thousand five hundred men"),
        ("the 21st, 50%", "the twenty first fifty per cent"),
        ("3.5 percent of 7", "three point five per cent of seven"),
        ("no number", "no number"),
    ],
)
def test_numbers_are_spelled_out(written, spoken):
    assert spoken_words(written) == spoken
    assert spoken_words(spoken) == spoken
    assert word_error_rate(written, spoken) == 0


@need(judges.COUNTING)
@pytest.mark.parametrize(
    "heard, said, rate",
    [
        ("A b, c.", "a B c", 0),
        ("a x c", "a b c", 1 / 3),
        ("a c", "a b c", 1 / 3),
        ("a b b c", "a b c", 1 / 3),
        ("", "a b", 1),
        ("x y z w", "a b", 2),
    ],
)
def test_word_errors_are_counted(heard, said, rate):
    assert word_error_rate(heard, said) == pytest.approx(rate)
    assert np.isnan(word_error_rate(heard, "..."))


@need(judges.WORDS)
def test_transcribes_at_any_rate(speech):
    assert word_error_rate(transcribe(speech, SR), WEASELS) <= 1 / 6
    doubled = np.repeat(speech, 2)  # 32 kHz
    assert word_error_rate(transcribe(doubled, 2 * SR), WEASELS) <= 1 / 6
    assert transcribe(speech, SR) == transcribe(speech, SR)


@need(judges.WORDS)
@pytest.mark.parametrize("seconds", [0.0001, 0.3, 2.0])
def test_silence_has_no_transcript(seconds):
    assert transcribe(np.zeros(max(1, int(seconds * SR))), SR) == ""


# Speaker


@need(judges.SPEAKER)
def test_a_speaker_is_like_herself_and_less_like_others():
    names = ("cs_man_fillets_1", "cs_man_fillets_2", "fr_woman_june_1", "fr_woman_june_2")
    man_1, man_2, woman_1, woman_2 = (
        speaker_embedding(load_wav(SAMPLE / "sources" / f"{name}.flac", SR), SR) for name in names
    )
    assert speaker_cosine(man_1, man_1) == pytest.approx(1)
    assert min(speaker_cosine(man_1, man_2), speaker_cosine(woman_1, woman_2)) > 0.75
    assert max(speaker_cosine(man_1, woman_1), speaker_cosine(man_2, woman_2)) < 0.7


@need(judges.SPEAKER)
@pytest.mark.parametrize("gain", [0.01, 0.1, 0.4])
def test_embedding_ignores_loudness(speech, gain):
    loud, quiet = (speaker_embedding(g * speech, SR) for g in (1, gain))
    assert speaker_cosine(loud, quiet) > 0.99


@need(judges.SPEAKER)
def test_silence_has_no_embedding(speech):
    assert speaker_embedding(np.zeros(SR), SR) is None
    assert speaker_embedding(speech[:1_000], SR) is None
    assert np.isnan(speaker_cosine(None, speaker_embedding(speech, SR)))


def test_a_centroid_lies_in_the_middle():
    a, b = np.eye(2)
    np.testing.assert_allclose(centroid([a, None, b]), np.full(2, 0.5**0.5))
    with pytest.raises(ParameterError, match="no recording holds half a second"):
        centroid([None])


# Naturalness


@need(judges.NATURALNESS)
def test_distillmos_prefers_clean_speech(speech, noisy):
    clean = distillmos(speech, SR)
    assert 3.5 < clean <= 5.1 and distillmos(noisy, SR) < clean - 0.5
    assert np.isnan(distillmos(np.zeros(SR), SR))
    assert "torchaudio" not in sys.modules or sys.modules["torchaudio"].__file__


@need(judges.NOISE)
def test_dnsmos_prefers_clean_speech(speech, noisy):
    clean = dnsmos(speech, SR)
    assert 2.7 < clean < 4 and dnsmos(noisy, SR) < clean - 0.3
    assert np.isnan(dnsmos(np.zeros(SR), SR))


@need(judges.NATURALNESS)
def test_a_short_clip_is_repeated(speech):
    """The model would pad with silence, and score that lower by half a point or more."""
    short = speech[: 2 * SR]
    assert distillmos(short, SR) == pytest.approx(distillmos(np.tile(short, 4), SR), abs=0.1)


@need(judges.NOISE)
def test_dnsmos_ignores_the_level(speech):
    assert dnsmos(0.1 * speech, SR) == pytest.approx(dnsmos(speech, SR), abs=0.02)


def test_models_are_loaded_in_one_thread_at_a_time():
    inside, most = [0], [0]

    @judges._loaded_once
    def load():
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1
        return object()

    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: load(), range(4)))
    assert most[0] == 1 and len(set(map(id, models))) == 1


# Where they are missing


@pytest.mark.parametrize(
    "ask, package",
    [
        (lambda wav: transcribe(wav, SR), "faster_whisper"),
        (lambda wav: word_error_rate("a", "a"), "jiwer"),
        (lambda wav: speaker_embedding(wav, SR), "resemblyzer"),
        (lambda wav: distillmos(wav, SR), "distillmos"),
        (lambda wav: dnsmos(wav, SR), "speechmos"),
    ],
)
def test_a_missing_judge_says_what_to_install(monkeypatch, ask, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingInput, match=rf"needs {package}.*requirements-eval\.txt"):
        ask(np.zeros(SR))


def test_rejects_non_waveforms():
    for judge, packages in (
        (transcribe, judges.WORDS),
        (speaker_embedding, judges.SPEAKER),
        (distillmos, judges.NATURALNESS),
        (dnsmos, judges.NOISE),
    ):
        if judges.installed(packages):
            with pytest.raises(ParameterError, match="wav"):
                judge(np.full(SR, np.nan), SR)
