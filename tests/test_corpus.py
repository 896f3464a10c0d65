"""Corpus: recordings analyzed once and cached, split, and the statistics of their speaker."""

import os
import resource
import sys
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import soundfile
from cloudpickle import register_pickle_by_value
from joblib import parallel_config

from vc_lib import anonymize, corpus
from vc_lib.anonymize import analyze
from vc_lib.audio import load_wav
from vc_lib.corpus import CorpusItem, learn_target, prepare, split
from vc_lib.errors import MissingInput, NotWritten, ParameterError

SR = 16_000


@pytest.fixture
def analyzed(monkeypatch):
    """Lengths of the waveforms that were analyzed."""
    calls = []

    def counted(wav, *args):
        calls.append(len(wav))
        return analyze(wav, *args)

    monkeypatch.setattr(corpus, "analyze", counted)
    return calls


# Analyzed once, cached on disk


def test_prepare_gives_the_files_in_order(prepared):
    assert [r.path.name for r in prepared] == [f"{i}.wav" for i in range(6)]
    assert [r.seconds for r in prepared] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.4])
    assert [r.n_frames for r in prepared] == [81, 161, 241, 321, 401, 481]


def test_cached_features_are_close_to_the_analysis(prepared, plain_cfg):
    recording = prepared[2]
    wav, cached = recording.load()
    source = load_wav(recording.path, SR)
    true = analyze(source, SR, plain_cfg)
    assert wav.dtype == np.float32 and (wav == source).all()
    assert (cached.sr, cached.frame_period_ms) == (true.sr, true.frame_period_ms)
    np.testing.assert_allclose(cached.f0, true.f0, rtol=1e-6)
    assert (np.abs(10 * np.log10(cached.sp / true.sp)) < 0.05).all()
    assert (np.abs(20 * np.log10(cached.ap / true.ap.clip(1e-4))) < 0.05).all()
    assert cached.sp.dtype == cached.ap.dtype == np.float64 and (cached.ap <= 1).all()


def test_some_frames_can_be_loaded(prepared):
    frames = np.array([7, 3, 3, 80, 0])
    _, some = prepared[1].load(frames)
    _, whole = prepared[1].load()
    for name in ("f0", "sp", "ap"):
        assert (getattr(some, name) == getattr(whole, name)[frames]).all()


def test_second_call_analyzes_nothing(folder, tmp_path, plain_cfg, analyzed):
    first = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    assert len(analyzed) == 2
    assert prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1) == first
    assert prepare(str(folder), plain_cfg, str(tmp_path / "cache"), n_jobs=1) == first
    assert prepare(sorted(folder.iterdir()), plain_cfg, tmp_path / "cache", n_jobs=1) == first
    assert len(analyzed) == 2
    assert {r.cache for r in first} == set((tmp_path / "cache").iterdir()), "no partial file stays"


@pytest.mark.parametrize(
    "change, again",
    [
        (dict(f0_method="harvest"), True),
        (dict(f0_floor=80.0), True),
        (dict(f0_ceil=500.0), True),
        (dict(frame_period_ms=10.0), True),
        (dict(sr=22_050), True),
        (dict(preset="whisper"), False),
        (dict(n_cepstra=30, formant_ratio=1.1, perturb_formants=0.3), False),
        (dict(n_fft=1024, hop_length=256, second_channel="real_imag"), False),
        (dict(n_frames=128, lr=0.1, seed=7), False),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_only_settings_of_the_analysis_invalidate_the_cache(
    folder, tmp_path, plain_cfg, analyzed, change, again
):
    before = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    after = prepare(folder, replace(plain_cfg, **change), tmp_path / "cache", n_jobs=1)
    assert len(analyzed) == (4 if again else 2)
    assert (before == after) is not again


def test_changed_content_is_analyzed_again(folder, tmp_path, voice, plain_cfg, analyzed):
    before = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    soundfile.write(folder / "0.wav", voice(0.5, seed=9), SR)
    after = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    assert len(analyzed) == 3
    assert after[1] == before[1] and after[0].seconds == 0.5


def test_only_new_files_are_analyzed(folder, tmp_path, voice, plain_cfg, analyzed):
    before = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    soundfile.write(folder / "2.wav", voice(0.5, seed=2), SR)
    after = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    assert analyzed[2:] == [0.5 * SR]
    assert after[:2] == before and after[2].path.name == "2.wav"


@pytest.mark.parametrize("damage", [b"", b"PK no archive", None], ids=["empty", "wrong", "cut"])
def test_only_damaged_caches_are_analyzed_again(folder, tmp_path, plain_cfg, analyzed, damage):
    recordings = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    cache = recordings[0].cache
    whole = recordings[1].cache.stat().st_mtime_ns
    cache.write_bytes(cache.read_bytes()[:5_000] if damage is None else damage)
    assert prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1) == recordings
    recordings[0].load()
    assert len(analyzed) == 3 and recordings[1].cache.stat().st_mtime_ns == whole


def test_load_detects_damage_by_checksum(folder, tmp_path, plain_cfg):
    one, _ = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    data = bytearray(one.cache.read_bytes())
    data[len(data) // 2] ^= 1
    one.cache.write_bytes(bytes(data))
    with pytest.raises(ParameterError, match=r"is damaged .*; remove it and call prepare again"):
        one.load()
    one.cache.unlink()
    with pytest.raises(MissingInput, match="is gone; call prepare again"):
        one.load()


def test_full_disk_raises_not_written_in_prepare(folder, tmp_path, plain_cfg):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(NotWritten, match="the disk is full"):
            prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "cache").iterdir())
    assert len(prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)) == 2


def test_recordings_at_another_rate_are_resampled(folder, tmp_path, voice, plain_cfg):
    soundfile.write(folder / "0.wav", voice(0.4, sr=44_100), 44_100)
    recording = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)[0]
    wav, features = recording.load()
    assert len(wav) == 0.4 * SR and features.sr == SR and recording.seconds == 0.4


def test_joblib_parallel_config_decides_where_prepare_runs(
    folder, tmp_path, plain_cfg, monkeypatch
):
    threads = set()

    def noted(wav, *args):
        threads.add(threading.get_ident())
        return analyze(wav, *args)

    one = prepare(folder, plain_cfg, tmp_path / "one", n_jobs=1)
    monkeypatch.setattr(corpus, "analyze", noted)
    with parallel_config("threading"):
        two = prepare(folder, plain_cfg, tmp_path / "two", n_jobs=2)
    assert threads and threading.get_ident() not in threads
    for a, b in zip(one, two, strict=True):
        assert a.path == b.path
        for x, y in zip(vars(a.load()[1]).values(), vars(b.load()[1]).values(), strict=True):
            assert np.array_equal(x, y)


def test_backends_without_generators_are_supported(folder, tmp_path, plain_cfg):
    one = prepare(folder, plain_cfg, tmp_path / "one", n_jobs=1)
    with parallel_config("multiprocessing"):
        two = prepare(folder, plain_cfg, tmp_path / "two", n_jobs=2)
    assert content(two) == content(one)


def content(recordings):
    """Cached content of each item, by the recording's name."""
    return {
        r.path.name: [
            part.tobytes() for part in (r.load()[0], *vars(r.load()[1]).values()) if np.ndim(part)
        ]
        for r in recordings
    }


@pytest.fixture(scope="module")
def cluster():
    """Client of a Dask cluster of two processes."""
    distributed = pytest.importorskip("distributed", reason="pip install distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


def test_dask_cluster_gives_the_same_corpus(cluster, recordings, tmp_path, plain_cfg, monkeypatch):
    """The same call on two worker processes, with relative paths and a broken file."""
    (recordings / "broken.wav").write_bytes(b"no sound")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="broken.wav"):
        here = prepare("recordings", plain_cfg, "here", n_jobs=1)
    with (
        pytest.warns(UserWarning, match="1 of 7 files were left out: broken.wav"),
        parallel_config("dask"),
    ):
        there = prepare("recordings", plain_cfg, "there")
    jobs = cluster.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(jobs) == 2 and all(jobs.values()), "both have worked"
    assert len(there) == 6 and content(there) == content(here)
    kept = {r.cache: r.cache.stat().st_mtime_ns for r in there}
    with pytest.warns(UserWarning, match="broken.wav"), parallel_config("dask"):
        assert prepare("recordings", plain_cfg, "there") == there
    assert kept == {r.cache: r.cache.stat().st_mtime_ns for r in there}, "nothing was done twice"


def prepare_or_die(file, cfg, cache_dir):
    """Stand-in of `_prepare_file`, for one recording of which no worker survives."""
    if file.name == "2.wav":
        os._exit(1)
    return [CorpusItem(file, cache_dir / file.name, 1.0, 200)]


def prepare_or_fill_the_disk(file, cfg, cache_dir):
    raise NotWritten("the disk is full")


@pytest.fixture
def run_on_workers(cluster):
    """Replace `_prepare_file` on all workers, also on those started later."""
    distributed = pytest.importorskip("distributed")

    class Replace(distributed.WorkerPlugin):
        def __init__(self, function):
            self.function = function

        def setup(self, worker):
            self.before, corpus._prepare_file = corpus._prepare_file, self.function

        def teardown(self, worker):
            corpus._prepare_file = self.before

    for function in (prepare_or_die, prepare_or_fill_the_disk):
        register_pickle_by_value(sys.modules[function.__module__])
    yield lambda function: cluster.register_plugin(Replace(function), name="replace")
    cluster.unregister_worker_plugin("replace")


def test_a_recording_that_kills_dask_workers_is_left_out(
    run_on_workers, recordings, tmp_path, plain_cfg
):
    run_on_workers(prepare_or_die)
    with (
        pytest.warns(UserWarning, match="1 of 6 files were left out: 2.wav: .* killed several"),
        parallel_config("dask"),
    ):
        items = prepare(recordings, plain_cfg, tmp_path / "cache")
    assert [item.path.name for item in items] == [f"{i}.wav" for i in (0, 1, 3, 4, 5)]


def test_errors_of_dask_workers_are_raised(run_on_workers, recordings, tmp_path, plain_cfg):
    run_on_workers(prepare_or_fill_the_disk)
    with pytest.raises(NotWritten, match="the disk is full"), parallel_config("dask"):
        prepare(recordings, plain_cfg, tmp_path / "cache")


def test_dask_holds_few_batches_at_a_time(tmp_path, plain_cfg, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="pip install distributed")
    files = [tmp_path / f"{i}.wav" for i in range(2_000)]
    n_tasks = []

    def counted(file, cfg, cache_dir):
        n_tasks.append(len(workers.scheduler.tasks))
        return [CorpusItem(file, cache_dir / file.name, 1.0, 200)]

    monkeypatch.setattr(corpus, "_prepare_file", counted)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as workers,
        distributed.Client(workers),
        parallel_config("dask"),
    ):
        items = prepare(files, plain_cfg, tmp_path / "cache")
    assert [item.path for item in items] == files
    assert len(n_tasks) == 2_000 and max(n_tasks) <= 10, "two for each worker, and a few that end"


def test_long_recordings_are_cached_in_chunks(
    folder, tmp_path, voice, plain_cfg, analyzed, short_chunks
):
    wav = np.concatenate([voice(2.0), np.zeros(SR, np.float32), voice(0.5)])
    soundfile.write(folder / "0.wav", wav, SR, subtype="FLOAT")
    recordings = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    chunks = [r for r in recordings if r.path.name == "0.wav"]
    assert len(chunks) > 4 and recordings[-1].path.name == "1.wav"
    assert all(0 < r.seconds <= 0.61 for r in chunks), (
        "0.5 s, and the context that the last may take"
    )
    kept = np.concatenate([r.load()[0] for r in chunks])
    assert 2.2 * SR < len(kept) < len(wav) - 0.4 * SR, "but not the silence"
    n = len(analyzed)
    assert prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1) == recordings
    assert len(analyzed) == n
    chunks[1].cache.unlink()
    assert prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1) == recordings
    chunks[1].load()


def spoil(folder, kind):
    """Make a file of the folder unusable."""
    file = folder / "1.wav"
    if kind == "text":
        file.write_text("no sound")
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        soundfile.write(file, np.zeros(SR // 2), SR)


@pytest.mark.parametrize("kind", ["text", "empty", "silent"])
def test_unusable_files_are_left_out_with_a_warning(folder, tmp_path, plain_cfg, kind):
    spoil(folder, kind)
    with pytest.warns(UserWarning, match=r"1 of 2 files were left out: 1\.wav: .") as warned:
        recordings = prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)
    assert [r.path.name for r in recordings] == ["0.wav"] and len(warned) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1, "nothing of the broken file stays"


def test_rejects_a_folder_of_unusable_files(folder, tmp_path, plain_cfg):
    for file in folder.iterdir():
        file.write_text("no sound")
    with pytest.raises(ParameterError, match=r"none of 2 files can be used; first: 0\.wav: "):
        prepare(folder, plain_cfg, tmp_path / "cache", n_jobs=1)


def test_rejects_missing_and_empty_folders(tmp_path, plain_cfg):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match="nowhere does not exist"):
        prepare(tmp_path / "nowhere", plain_cfg, tmp_path / "cache")
    with pytest.raises(ParameterError, match="holds no recording"):
        prepare(tmp_path / "empty", plain_cfg, tmp_path / "cache")
    with pytest.raises(ParameterError, match="no recordings were given"):
        prepare([], plain_cfg, tmp_path / "cache")


# Split and target


@pytest.mark.parametrize(
    "n, share, n_valid", [(2, 0.0, 1), (2, 0.9, 1), (6, 0.1, 1), (6, 0.5, 3), (6, 0.9, 5)]
)
def test_split_holds_out_whole_recordings(prepared, target_cfg, n, share, n_valid):
    train, valid = split(prepared[:n], replace(target_cfg, valid_share=share))
    assert len(valid) == n_valid and len(train) == n - n_valid
    assert sorted(r.path for r in train + valid) == [r.path for r in prepared[:n]]


def test_split_depends_on_the_seed(prepared, target_cfg):
    draws = [split(prepared, replace(target_cfg, seed=seed))[1][0].path.name for seed in range(20)]
    assert draws == [
        split(prepared, replace(target_cfg, seed=seed))[1][0].path.name for seed in range(20)
    ]
    assert len(set(draws)) > 2


def test_split_rejects_a_single_recording(prepared, target_cfg):
    for n in (0, 1):
        with pytest.raises(ParameterError, match=f"{n} recording cannot be split"):
            split(prepared[:n], target_cfg)


@pytest.fixture
def long_files(tmp_path, voice, plain_cfg, short_chunks):
    """Three recordings of several chunks each."""
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", voice(2.0, f0=200.0, seed=i), 16_000)
    return prepare(tmp_path, plain_cfg, tmp_path / "cache", n_jobs=1)


def test_split_keeps_chunks_of_a_file_together(long_files, plain_cfg):
    assert len(long_files) > 6
    for seed in range(5):
        train, valid = split(long_files, replace(plain_cfg, seed=seed, valid_share=0.3))
        assert len({r.path for r in valid}) == 1 and len({r.path for r in train}) == 2
        assert not {r.path for r in train} & {r.path for r in valid}
        assert len(train) + len(valid) == len(long_files)


def test_split_holds_out_the_end_of_a_single_file(long_files, plain_cfg):
    one = [r for r in long_files if r.path == long_files[0].path]
    with pytest.warns(UserWarning, match="is the only file: its last .* s are held out"):
        train, valid = split(one, plain_cfg)
    assert train + valid == one and len(valid) == 1


def test_learn_target_finds_register_and_envelope(prepared, plain_cfg, target_cfg):
    assert target_cfg == replace(plain_cfg, target=target_cfg.target)
    assert target_cfg.target.f0_hz == pytest.approx(200, rel=0.03)
    n_classes = target_cfg.n_classes
    whole = anonymize.speaker_stats((r.load()[1] for r in prepared), n_classes=n_classes)
    assert target_cfg.target == whole and whole.classes
    assert learn_target(prepared, replace(plain_cfg, n_classes=0)).target.classes is None


def test_learn_target_needs_speech(target_cfg):
    @dataclass(frozen=True)
    class Silent(CorpusItem):
        def load(self, frames=slice(None)):
            return np.zeros(4_000), analyze(np.zeros(4_000), SR)

    for recordings in ([], [Silent(None, None, 0.25, 51)]):
        with pytest.raises(ParameterError, match="hold no speech"):
            learn_target(recordings, target_cfg)
