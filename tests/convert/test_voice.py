"""Any speech in, one voice out: lengths, levels, pieces and their seams, files, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from vc_lib import parallel
from vc_lib.anonymize import analyze, speaker_stats
from vc_lib.audio import chunks, load_wav, read_comment
from vc_lib.config import Config
from vc_lib.convert import Voice, convert_file, convert_folder, files, load_voice, long
from vc_lib.convert import voice as voice_module
from vc_lib.errors import MissingInput, NotWritten, ParameterError
from vc_lib.model.networks import Generator
from vc_lib.model.voice_folder import save_voice

SR = 16_000


@pytest.fixture(scope="module")
def target_cfg(tiny_cfg, voice):
    cfg = replace(tiny_cfg, f0_method="dio")
    return replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=220.0, seed=3), SR, cfg)]))


@pytest.fixture(scope="module")
def saved(target_cfg, tmp_path_factory):
    """The folder of a voice whose generator was only disturbed a little, never trained."""
    torch.manual_seed(0)
    generator = Generator(target_cfg)
    with torch.no_grad():
        for p in generator.parameters():
            p.add_(0.02 * torch.randn_like(p))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_voice(generator.state_dict(), target_cfg, folder)
    return folder


@pytest.fixture(scope="module")
def model(saved):
    return load_voice(saved, device="cpu")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the voice's folder, to be spoilt."""
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def envelope(wav):
    """Level in steps of 10 ms [dB]."""
    frames = wav[: len(wav) // 160 * 160].reshape(-1, 160).astype(np.float64)
    return 10 * np.log10((frames**2).mean(1) + 1e-6)


# Converting a waveform


@pytest.mark.parametrize("n_samples", [1, 2, 79, 1_000, 4_001])
@pytest.mark.parametrize("sr", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_the_duration_is_kept_to_the_sample(model, voice, sr, n_samples):
    out = model.convert(voice(0.6, sr=sr)[:n_samples], sr)
    assert out.shape == (round(n_samples * SR / sr),) and out.dtype == np.float32
    assert np.isfinite(out).all() and (np.abs(out) <= 1).all()


@pytest.mark.parametrize("sr", [22_050, 48_000])
def test_the_duration_is_kept_whatever_the_rate_of_the_voice(target_cfg, voice, sr):
    cfg = replace(target_cfg, sr=sr, n_fft=1024, hop_length=256)
    cfg = replace(cfg, target=speaker_stats([analyze(voice(1.0, f0=220.0, sr=sr), sr, cfg)]))
    model = Voice(Generator(cfg), cfg, torch.device("cpu"))
    assert model.sr == sr
    for n_samples in (1, 3_333):
        out = model.convert(voice(0.3, sr=SR)[:n_samples], SR)
        assert out.shape == (round(n_samples * sr / SR),)


def test_the_register_becomes_that_of_the_voice(model, voice):
    for f0 in (110.0, 260.0):
        said = analyze(model.convert(voice(1.0, f0=f0), SR), SR)
        assert np.median(said.f0[said.voiced]) == pytest.approx(model.config.target.f0_hz, rel=0.05)


def test_conversion_is_deterministic_and_leaves_its_input(model, voice):
    wav = voice(0.5)
    before = wav.copy()
    assert (model.convert(wav, SR) == model.convert(wav, SR)).all()
    assert (wav == before).all()
    assert np.abs(model.convert(wav.astype(np.float64), SR) - model.convert(wav, SR)).max() < 1e-3


def test_loud_input_stays_in_range(model, voice):
    out = model.convert(np.clip(20 * voice(0.5), -1, 1), SR)
    assert 0.1 < np.abs(out).max() <= 1


def test_silence_stays_silence(model):
    for wav in (np.zeros(5_000), np.zeros(1), np.full(3_000, 1e-9)):
        out = model.convert(wav, SR)
        assert out.shape == wav.shape and np.abs(out).max() < 1e-3


def test_an_untrained_generator_says_what_it_is_given(target_cfg, voice):
    cfg = replace(target_cfg, pause_depth_db=0.0)
    model = Voice(Generator(cfg), cfg, torch.device("cpu"))
    wav = voice(0.5, sr=22_050)
    given, out = model.anonymize(wav, 22_050), model.convert(wav, 22_050)
    assert given.shape == out.shape and np.abs(given - out).max() < 1e-4


def test_strength_is_how_much_of_the_change_is_made(model, voice):
    anonymized = model.anonymize(voice(1.0), SR)

    def moved(strength):  # how far from what the generator was given
        one = Voice(model.generator, replace(model.config, change_strength=strength), model.device)
        return np.sqrt(np.mean((one.generate(anonymized) - anonymized) ** 2))

    assert moved(0.0) < 1e-4 < moved(0.5) < moved(1.0) < moved(1.5)


def test_statistics_given_are_used_instead_of_measured(model, voice):
    wav = voice(0.5)
    measured = model.convert(wav, SR)
    source = model.source_stats([wav])
    assert (model.convert(wav, SR, source=source) == measured).all()
    other = model.convert(wav, SR, source=replace(source, f0_hz=2 * source.f0_hz))
    assert other.shape == measured.shape and np.abs(other - measured).max() > 0.01


def test_source_statistics_do_not_depend_on_blocks_or_silence(model, voice, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_S", 0.5)
    wav = voice(2.0)
    whole = model.source_stats([wav])
    blocks = model.source_stats(np.split(wav, [8_000, 16_000, 24_000]))
    assert blocks == whole and whole.f0_hz == pytest.approx(120, rel=0.03)
    assert model.source_stats([np.zeros(4_000)]) == model.config.target, "nothing is known"
    monkeypatch.setattr(long, "STATS_S", 1.0)
    other = np.concatenate([wav[:28_000], voice(2.0, f0=200.0)])
    assert model.source_stats([wav]) == model.source_stats([other]), "only the beginning counts"
    assert model.source_stats([wav]).f0_hz == pytest.approx(124, rel=0.03), "of a second"


@pytest.mark.parametrize(
    "wav, sr, message",
    [
        (np.zeros(0), SR, "empty"),
        (np.zeros((2, 100)), SR, "shape"),
        (np.array([0.0, np.nan]), SR, "NaN"),
        (np.zeros(100, np.int16), SR, "dtype int16"),
        (np.zeros(100), 0, "sr=0"),
        (np.zeros(100), "16000", "sr='16000'"),
        (np.zeros(100), True, "sr=True"),
        (np.zeros(100), 16_000.0, "sr=16000.0"),
        (np.zeros(100), None, "sr=None"),
        (np.full(100, 32_767.0), SR, "reaches .* divide it by 32768"),
        (np.array([0.0, np.inf]), SR, "infinite"),
        (np.zeros(100, complex), SR, "dtype complex"),
        ("text", SR, "dtype <U4"),
        (None, SR, "dtype object"),
    ],
    ids=str,
)
def test_what_cannot_be_converted_is_refused(model, wav, sr, message):
    with pytest.raises(ParameterError, match=message):
        model.convert(wav, sr)


# Pieces


def test_seams_are_exact_where_the_pieces_agree(model, voice, short_chunks, monkeypatch):
    monkeypatch.setattr(long, "convert_chunk", lambda _, chunk, *__: chunk.wav.copy())
    wav = voice(3.0)
    for n_block in (997, 8_000, 10**6):
        blocks = [wav[i : i + n_block] for i in range(0, len(wav), n_block)]
        out = list(long.convert_long(model, blocks, model.config.target))
        assert len(out) > 5 and np.abs(np.concatenate(out) - wav).max() < 1e-6


def test_seams_fade_from_piece_to_piece(model, short_chunks, monkeypatch):
    """Pieces that are 0 and 1 in turn: the change takes the length of the fade, and is even."""
    turns = iter(range(100))
    ones = np.ones(2 * SR, np.float32)
    monkeypatch.setattr(parallel, "n_cores", lambda: 1)
    monkeypatch.setattr(
        long, "convert_chunk", lambda _, chunk, *__: np.full_like(chunk.wav, next(turns) % 2)
    )
    out = np.concatenate(list(long.convert_long(model, [ones], model.config.target)))
    steps = np.abs(np.diff(out))
    assert out.shape == ones.shape and next(turns) >= 4
    assert steps.max() < 1.01 / (0.02 * SR - 1) and set(np.round(out[::500])) == {0.0, 1.0}


def test_speech_in_pieces_sounds_like_the_whole(model, voice, monkeypatch):
    wav = voice(2.5)
    source = model.source_stats([wav])
    whole = model.convert(wav, SR, source)
    monkeypatch.setattr(chunks, "CHUNK_S", 0.9)
    monkeypatch.setattr(chunks, "CONTEXT_S", 0.2)
    stitched = model.convert(wav, SR, source)
    assert stitched.shape == whole.shape and not np.array_equal(stitched, whole)
    off_db = np.abs(envelope(stitched) - envelope(whole))
    assert np.median(off_db) < 0.7 and np.mean(off_db < 3) > 0.9
    assert np.abs(np.diff(stitched)).max() < 2 * np.abs(np.diff(whole)).max(), "no click"


def sung(seconds):
    """A vowel of moving pitch, with no pause to cut in."""
    t = np.arange(int(seconds * SR)) / SR
    phase = 2 * np.pi * np.cumsum(180 * 2 ** (0.3 * np.sin(2.1 * t))) / SR
    harmonics = np.arange(1, 12)[:, None]
    wav = (np.sin(harmonics * phase) / harmonics**1.2).sum(0)
    return (0.15 * wav * (1 + 0.3 * np.sin(1.3 * t))).astype(np.float32)


@pytest.mark.parametrize("kind", ["spoken", "sung"])
def test_nobody_can_tell_where_the_seams_are(model, voice, monkeypatch, kind):
    """In pieces it is the whole to within -50 dB."""
    cfg = replace(model.config, f0_method="harvest_fast")
    model = Voice(model.generator, cfg, model.device)
    wav = voice(7.0) if kind == "spoken" else sung(7.0)
    wav = wav + 1e-3 * np.random.default_rng(7).normal(size=len(wav)).astype(np.float32)  # a room
    source = model.source_stats([wav])
    whole = model.convert(wav, SR, source)
    monkeypatch.setattr(chunks, "CHUNK_S", 2.0)
    seen = []
    convert_chunk = long.convert_chunk
    monkeypatch.setattr(
        long, "convert_chunk", lambda *args: seen.append(args[1]) or convert_chunk(*args)
    )
    stitched = model.convert(wav, SR, source)
    assert len(seen) >= 4 and stitched.shape == whole.shape
    assert any(chunk.phase for chunk in seen) or kind == "spoken"
    off = stitched.astype(float) - whole
    assert 10 * np.log10(np.mean(off**2) / np.mean(whole.astype(float) ** 2)) < -50


# Files


@pytest.mark.parametrize("sr", [SR, 22_050])
def test_a_file_becomes_what_its_samples_become(model, voice, short_chunks, tmp_path, sr):
    """Longer than one piece, and 16 bits in, 16 bits out."""
    soundfile.write(tmp_path / "source.wav", voice(1.7, sr=sr), sr)
    convert_file(model, tmp_path / "source.wav", str(tmp_path / "out" / "converted.wav"))
    made, made_sr = soundfile.read(tmp_path / "out" / "converted.wav", dtype="float32")
    wav = load_wav(tmp_path / "source.wav", SR)
    assert made_sr == SR and made.shape == (round(round(1.7 * sr) * SR / sr),)
    assert np.abs(made - model.convert(wav, SR)).max() < 2 / 32_768
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["converted.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_what_is_converted_says_that_it_is_synthetic(model, voice, tmp_path, suffix):
    soundfile.write(tmp_path / "source.wav", voice(0.3), SR)
    convert_file(model, tmp_path / "source.wav", tmp_path / f"a{suffix}")
    said = read_comment(tmp_path / f"a{suffix}")
    assert said.startswith("Synthetic speech: converted to the voice 'tiny' by vc_lib")
    assert "Disclose it" in said and said.isascii()
    odd = Voice(model.generator, model.config, model.device, "Zoë 'x'")
    assert "'Zo? 'x''" in odd.disclosure


def test_a_folder_goes_on_with_what_is_not_there_yet(model, takes, tmp_path):
    first = convert_folder(model, takes, tmp_path / "out")
    for path in list(first.values())[:2]:
        path.write_bytes(b"mine")
    list(first.values())[2].unlink()
    again = convert_folder(model, takes, tmp_path / "out", only_new=True)
    assert again == first
    assert [p.read_bytes() == b"mine" for p in first.values()] == [True, True, False, False]


def test_a_full_disk_ends_a_folder(model, takes, tmp_path, monkeypatch):
    def full(*args):
        raise NotWritten("the disk is full")

    monkeypatch.setattr(files, "convert_file", full)
    with pytest.raises(NotWritten, match="the disk is full"):
        convert_folder(model, takes, tmp_path / "out")


@pytest.mark.parametrize("sr", [4_000, 96_000, 192_000])
@pytest.mark.parametrize(
    "kind",
    ["one", "silence", "unvoiced", "clipped", "dc", "denormal", "loud", "impulse", "float16"],
)
def test_odd_sound_becomes_finite_mono_sound(model, voice, kind, sr):
    n, rng = int(0.4 * sr), np.random.default_rng(0)
    wav = dict(
        one=np.full(1, 0.5),
        silence=np.zeros(n),
        unvoiced=0.1 * rng.normal(size=n),
        clipped=np.sign(np.sin(np.arange(n) / sr * 900)),
        dc=np.full(n, 0.9),
        denormal=np.full(n, 1e-310),
        loud=10 * np.sin(np.arange(n) / sr * 900),
        impulse=np.eye(1, n, n // 2)[0],
        float16=voice(0.4, sr=sr).astype(np.float16) if sr > 4_000 else np.zeros(n, np.float16),
    )[kind]
    out = model.convert(wav, sr)
    assert out.ndim == 1 and out.dtype == np.float32 and len(out) == round(len(wav) * SR / sr)
    assert np.isfinite(out).all() and np.abs(out).max(initial=0) <= 1


def test_a_long_file_is_read_in_blocks(model, voice, short_chunks, tmp_path, monkeypatch):
    longest = []

    def watched(_, chunk, *__):
        longest.append(len(chunk.wav))
        return chunk.wav.copy()

    monkeypatch.setattr(long, "convert_chunk", watched)
    monkeypatch.setattr(long, "STATS_S", 1.0)
    soundfile.write(tmp_path / "source.flac", np.tile(voice(3.0), 15), SR)  # 45 s
    convert_file(model, tmp_path / "source.flac", tmp_path / "converted.flac")
    made, _ = soundfile.read(tmp_path / "converted.flac", dtype="float32")
    assert np.abs(made - soundfile.read(tmp_path / "source.flac")[0]).max() < 2 / 32_768
    assert len(longest) >= 90 and max(longest) <= 0.7 * SR


@pytest.fixture
def takes(voice, tmp_path):
    """A folder of four recordings, one of them in a folder of its own, and one that was converted before."""
    for i, name in enumerate(["a.wav", "b.flac", "more/a.wav", "c d.wav", "a_converted.wav"]):
        path = tmp_path / "takes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(0.6 + 0.1 * i, seed=i), SR)
    return tmp_path / "takes"


def test_a_folder_becomes_a_folder_like_it(model, takes, tmp_path):
    made = convert_folder(model, takes, tmp_path / "out")
    names = {"a_converted.wav", "b_converted.wav", "more/a_converted.wav", "c d_converted.wav"}
    assert {p.relative_to(tmp_path / "out").as_posix() for p in made.values()} == names
    for file, destination in made.items():
        convert_file(model, file, tmp_path / "alone.wav")
        of_folder, alone = (soundfile.read(p)[0] for p in (destination, tmp_path / "alone.wav"))
        assert np.abs(of_folder - alone).max() < 2 / 32_768


def test_broken_files_are_named_and_the_others_converted(model, takes, tmp_path):
    (takes / "b.flac").write_bytes(b"no sound")
    (takes / "empty.wav").write_bytes(b"")
    with pytest.warns(UserWarning, match="2 of 5 files were left out: b.flac: .*; empty.wav: "):
        made = convert_folder(model, takes, tmp_path / "out", suffix=".flac")
    assert len(made) == 3 and all(path.suffix == ".flac" for path in made.values())
    with pytest.raises(ParameterError, match="none of 1 files can be converted; first: empty.wav"):
        convert_folder(model, takes / "empty.wav", tmp_path / "out")


def test_files_that_would_become_one_are_refused(model, takes, tmp_path):
    with pytest.raises(ParameterError, match="2 recordings to convert, of which 1"):
        convert_folder(model, [takes / "a.wav", takes / "more" / "a.wav"], tmp_path / "out")
    with pytest.raises(ParameterError, match="0 recordings"):
        convert_folder(model, [], tmp_path / "out")
    with pytest.raises(MissingInput):
        convert_folder(model, takes / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pauses_of_the_source_become_quieter(model, voice):
    pause = 2e-3 * np.random.default_rng(0).normal(size=SR // 2)
    wav = np.concatenate([voice(0.6), pause, voice(0.6)])
    loud, quiet = (
        Voice(model.generator, replace(model.config, pause_depth_db=depth), model.device)
        for depth in (0.0, 30.0)
    )
    before, after = loud.convert(wav, SR), quiet.convert(wav, SR)
    middle = slice(int(0.75 * SR), int(0.95 * SR))
    assert 20 * np.log10(after[middle].std() / before[middle].std()) == pytest.approx(-30, abs=1)
    speech = np.abs(wav) > 0.05
    assert np.abs(after - before)[speech].max() < 0.02 * np.abs(before).max()
    given = model.convert(wav, SR, source=replace(model.config.target, level_db=0.0))
    assert given[speech].std() > 10 * given[middle].std(), (
        "another recording's level is not its own"
    )


def test_a_silent_file_becomes_a_silent_one(model, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(9_000), SR)
    convert_file(model, tmp_path / "silent.wav", tmp_path / "converted.wav")
    made, _ = soundfile.read(tmp_path / "converted.wav")
    assert made.shape == (9_000,) and np.abs(made).max() < 1e-3


def test_a_file_is_not_converted_onto_itself(model, voice, tmp_path):
    path = tmp_path / "me.wav"
    soundfile.write(path, voice(0.3), SR)
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="is the source itself"):
        convert_file(model, path, tmp_path / "." / "me.wav")
    (tmp_path / "linked.wav").symlink_to(path)
    with pytest.raises(ParameterError, match="is the source itself"):
        convert_file(model, path, tmp_path / "linked.wav")
    assert path.read_bytes() == before


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_half_written(model, voice, short_chunks, tmp_path, monkeypatch, old, error):
    calls = []

    def fails(_, chunk, *__):
        calls.append(len(chunk.wav))
        if len(calls) == 3:
            raise error("in the middle")
        return chunk.wav.copy()

    monkeypatch.setattr(long, "convert_chunk", fails)
    soundfile.write(tmp_path / "source.wav", voice(2.5), SR)
    (tmp_path / "out").mkdir()
    if old:
        (tmp_path / "out" / "converted.wav").write_bytes(old)
    with pytest.raises(error, match="in the middle"):
        convert_file(model, tmp_path / "source.wav", tmp_path / "out" / "converted.wav")
    left = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert left == ({"converted.wav": old} if old else {})


def test_a_bad_source_or_destination_is_refused(model, voice, tmp_path):
    soundfile.write(tmp_path / "source.wav", voice(0.5), SR)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(MissingInput, match="nowhere.wav does not exist"):
        convert_file(model, tmp_path / "nowhere.wav", tmp_path / "converted.wav")
    with pytest.raises(ParameterError, match="not readable as sound"):
        convert_file(model, tmp_path / "text.wav", tmp_path / "converted.wav")
    with pytest.raises(ParameterError, match=r"must end in one of \.wav"):
        convert_file(model, tmp_path / "source.wav", tmp_path / "converted.m4a")
    assert {file.name for file in tmp_path.iterdir()} == {"source.wav", "text.wav"}


def test_a_bad_destination_is_refused_before_the_slow_part(model, voice, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "source.wav", voice(0.5), SR)
    monkeypatch.setattr(long, "estimate_speaker", lambda *_: pytest.fail("analyzed first"))
    with pytest.raises(ParameterError, match=r"must end in one of \.wav"):
        convert_file(model, tmp_path / "source.wav", tmp_path / "converted.txt")


# Loading


def test_a_voice_is_rebuilt_from_its_folder(saved, model, target_cfg, voice):
    assert model.config == target_cfg and model.sr == SR and model.device.type == "cpu"
    assert not model.generator.training
    again = load_voice(str(saved), torch.device("cpu"))
    assert (again.convert(voice(0.3), SR) == model.convert(voice(0.3), SR)).all()
    assert load_voice(saved).device == voice_module.best_device()


@pytest.mark.parametrize("name", ["generator.safetensors", "config.json"])
def test_a_missing_file_says_what_to_do(folder, name):
    (folder / name).unlink()
    with pytest.raises(MissingInput, match=rf"{name} does not exist"):
        load_voice(folder)
    with pytest.raises(MissingInput, match=r"or train one with notebook 02-1 or 02-2"):
        load_voice(folder / "nowhere")


@pytest.mark.parametrize("n_bytes", [0, 4, 100, 5_000])
def test_damaged_weights_are_refused(folder, n_bytes):
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:n_bytes])
    with pytest.raises(ParameterError, match="or is damaged .* copy both again"):
        load_voice(folder)


def test_weights_that_are_something_else_are_refused(folder):
    torch.save({"a": torch.zeros(2)}, folder / "generator.safetensors")  # a pickle
    with pytest.raises(ParameterError, match="or is damaged"):
        load_voice(folder)


@pytest.mark.parametrize(
    "change", [dict(width=16), dict(depth=3), dict(filter_output=False)], ids=str
)
def test_a_config_of_another_voice_is_refused(folder, target_cfg, change):
    replace(target_cfg, **change).save(folder / "config.json")
    with pytest.raises(ParameterError, match=r"does not fit .*config\.json"):
        load_voice(folder)


def test_a_damaged_config_is_refused(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ParameterError, match="not valid JSON"):
        load_voice(folder)


def test_a_config_without_a_target_is_refused(folder):
    replace(Config.load(folder / "config.json"), target=None).save(folder / "config.json")
    with pytest.raises(ParameterError, match="has no target; it is not the config of a trained"):
        load_voice(folder)


def test_a_target_at_another_rate_is_refused_before_it_speaks(folder, voice):
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values |= dict(sr=22_050)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ParameterError):
        load_voice(folder, "cpu").convert(voice(0.3), SR)
