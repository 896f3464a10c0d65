"""Corpus: recordings of one speaker, analyzed with WORLD once and cached on disk.

Nothing heavy is imported here, so that the worker processes of the analysis start at once.
"""

import hashlib
import json
import warnings
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

import joblib
import numpy as np
from fastprogress.fastprogress import progress_bar

from .anonymize import Features, analyze, speaker_stats
from .anonymize.dials import between_columns
from .anonymize.world import FLOOR_POWER
from .audio import blocks, chunks, list_audio
from .config import Config
from .errors import MissingInput, NotWritten, ParameterError
from .files import atomically, sweep, writing
from .parallel import one_thread
from .speaker import SpeakerStats

CACHE_VERSION = 2  # version of the cache's format; part of the names of its files
# Errors when a damaged cache is read; zipfile raises NotImplementedError for unknown compressions
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    NotImplementedError,
    BadZipFile,
    zlib.error,
)
AP_STEP = 8  # step between stored bins of aperiodicity; D4C's is linear in dB over many more [bins]
BATCH = 16  # number of recordings, at most, that a Dask worker is given at once


@dataclass(frozen=True)
class CorpusItem:
    """An analyzed recording, or a chunk of one."""

    path: Path  # file of the recording
    cache: Path  # file of the cached analysis
    seconds: float  # length [s]
    n_frames: int  # number of WORLD frames
    strangers: tuple[Path, ...] = ()  # files of its pseudo-strangers, see training.strangers
    own: Path | None = None  # with strangers: file of the recording itself, anonymized
    speaker: SpeakerStats | None = None  # who speaks, in a corpus of many speakers

    def load(self, frames: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, Features]:
        """Load the waveform and its WORLD features from the cache.

        Parameters
        ----------
        frames : np.ndarray or slice
            Frames of the features to load; all by default.

        Returns
        -------
        wav : np.ndarray [shape=(n_samples,), float32]
        features : Features

        Raises
        ------
        MissingInput
            If the cached file is gone.
        ParameterError
            If the cached file is damaged; its checksums are verified.
        """
        names = ("log_sp", "ap_db", "f0", "wav", "sr", "frame_period_ms")
        arrays = load_arrays(self.cache, names, "prepare")
        log_sp, ap_db, f0, wav, sr, frame_period_ms = arrays
        sp = np.exp(log_sp[frames].astype(np.float64))
        ap = 10 ** (_spread(ap_db[frames].astype(np.float64), sp.shape[1]) / 20)
        f0 = f0[frames].astype(np.float64)
        return wav, Features(f0, sp, ap, int(sr), float(frame_period_ms))


def load_arrays(path: Path, names: Sequence[str], maker: str) -> list[np.ndarray]:
    """Load arrays of a file of the cache; errors name the function that makes it, see `CorpusItem.load`."""
    try:
        with np.load(path, allow_pickle=False) as cached:
            return [cached[name] for name in names]
    except FileNotFoundError as e:
        raise MissingInput(f"{path} is gone; call {maker} again") from e
    except DAMAGED as e:
        raise ParameterError(f"{path} is damaged ({e}); remove it and call {maker} again") from e


def save_arrays(path: Path, **arrays) -> None:
    """Write arrays to a file of the cache, atomically."""

    def write(part: Path) -> None:
        with part.open("wb") as f:
            np.savez(f, **arrays)

    atomically(path, write)


def _stored_bins(n_bins: int) -> np.ndarray:
    """Every AP_STEP-th bin, and the last."""
    return np.r_[0 : n_bins - 1 : AP_STEP, n_bins - 1]


def _thin(ap_db: np.ndarray) -> np.ndarray:
    """The stored bins of aperiodicity."""
    return ap_db[:, _stored_bins(ap_db.shape[1])]


def _spread(ap_db: np.ndarray, n_bins: int) -> np.ndarray:
    """Inverse of `_thin`: all `n_bins` bins, by linear interpolation."""
    bins = _stored_bins(n_bins)
    return between_columns(ap_db, np.interp(np.arange(n_bins), bins, np.arange(len(bins))))


def prepare(source, cfg: Config, cache_dir="data/cache", n_jobs: int = -1) -> list[CorpusItem]:
    """Analyze recordings with WORLD on all cores, and cache the result on disk.

    Parameters
    ----------
    source : str, Path or sequence of them
        A folder of recordings of one speaker, or the files.
    cfg : Config
        Only `sr` and the settings of the analysis matter; other changes leave the cache valid.
    cache_dir : str or Path
        Folder of the cache. File names are hashes of the recording's content and the settings.
    n_jobs : int
        Number of processes; -1: one a core. A `joblib.parallel_config` around the call decides
        where they run. With "dask" they run on a cluster, whose machines need recordings and cache
        under the same paths.

    Returns
    -------
    list of CorpusItem
        Items in the order of the files. Recordings over 8 s are split into chunks at quiet
        moments; chunks without voiced speech are left out. Unusable files are left out with a
        warning that names them.

    Raises
    ------
    MissingInput
        If the folder does not exist.
    ParameterError
        If no file can be used.
    """
    files = list_audio(source) if isinstance(source, str | Path) else [Path(f) for f in source]
    # worker processes may have another working directory
    files = [file.absolute() for file in files]
    if not files:
        raise ParameterError(
            "no recordings were given; pass a folder of audio files of one speaker"
        )
    cache_dir = Path(cache_dir).absolute()
    with writing(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
    sweep(cache_dir)
    backend, _ = joblib.parallel.get_active_backend()
    if hasattr(backend, "client"):
        jobs = _on_dask(backend, files, cfg, cache_dir)
    else:
        prepare_file = joblib.delayed(_prepare_file)
        jobs = parallel(n_jobs)(prepare_file(file, cfg, cache_dir) for file in files)
    results = list(progress_bar(jobs, total=len(files), leave=False))
    broken = [
        f"{file.name}: {result}"
        for file, result in zip(files, results, strict=True)
        if isinstance(result, str)
    ]
    items = [item for result in results if not isinstance(result, str) for item in result]
    if not items:
        raise ParameterError(f"none of {len(files)} files can be used; first: {broken[0]}")
    if broken:
        warnings.warn(
            f"{len(broken)} of {len(files)} files were left out: {'; '.join(broken)}", stacklevel=2
        )
    return items


def parallel(n_jobs: int) -> joblib.Parallel:
    """Parallel whose results come one by one, for the progress bar, if the backend supports it."""
    try:
        return joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # not supported, for example by multiprocessing
        return joblib.Parallel(n_jobs=n_jobs)


def _on_dask(
    backend, files: list[Path], cfg: Config, cache_dir: Path
) -> Iterator[list[CorpusItem] | str]:
    """Results of `_prepare_file` on a Dask cluster, in the order of the files.

    joblib's own backend waits forever for a recording that kills its workers, and collects only
    some 40 results a second. Here batches share that cost, and such a recording is left out. A dying
    worker takes others with it: each of them runs again by itself, and only what dies so is left out.
    """
    from distributed import KilledWorker, as_completed

    n_threads = backend.effective_n_jobs(-1)
    size = min(BATCH, -(-len(files) // (4 * n_threads)))
    waiting = (range(i, min(i + size, len(files))) for i in range(0, len(files), size))
    running = as_completed(loop=backend.client.loop, with_results=True, raise_errors=False)
    batches: dict = {}  # future to the indices of its files
    finished: dict = {}  # results before their turn
    suspects: deque = deque()  # indices of files whose worker died
    alone = None  # future of the suspect that runs by itself
    turn = 0

    def submit(batch: Sequence[int]):
        some = [files[i] for i in batch]
        future = backend.client.submit(_prepare_files, some, cfg, cache_dir, pure=False)
        batches[future] = batch
        running.add(future)
        return future

    try:
        for batch in islice(waiting, 2 * n_threads):
            submit(batch)
        for future, results in running:
            batch = batches.pop(future)
            if future.status != "finished":
                error = results[1] if isinstance(results, tuple) else results
                if not isinstance(error, KilledWorker):
                    raise error
                if future is not alone:
                    suspects.extend(batch)
                    batch = []
                results = ["its analysis killed several workers; remove it or copy it again"]
                results = results[: len(batch)]
            finished.update(zip(batch, results, strict=True))
            if suspects and not batches:
                alone = submit([suspects.popleft()])
            while not suspects and len(batches) < 2 * n_threads:
                if not (batch := next(waiting, None)):
                    break
                submit(batch)
            while turn in finished:
                yield finished.pop(turn)
                turn += 1
    finally:
        backend.client.cancel(list(batches))


def _prepare_files(files: list[Path], cfg: Config, cache_dir: Path) -> list:
    """`_prepare_file` of several files."""
    return [_prepare_file(file, cfg, cache_dir) for file in files]


@one_thread()
def _prepare_file(file: Path, cfg: Config, cache_dir: Path) -> list[CorpusItem] | str:
    """Items of one file, from the cache or analyzed now; a string with the reason if unusable."""
    settings = [
        CACHE_VERSION,
        cfg.sr,
        cfg.f0_method,
        cfg.f0_floor,
        cfg.f0_ceil,
        cfg.frame_period_ms,
    ]
    try:
        with file.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256")
        digest.update(json.dumps(settings).encode())
        key = digest.hexdigest()[:24]
        try:
            return _cached(file, cache_dir, key)
        except DAMAGED:  # or missing
            _analyze(file, cache_dir, key, cfg)
            return _cached(file, cache_dir, key)
    except NotWritten:
        raise  # an error of the disk, not of the recording
    except (OSError, ValueError) as e:  # ParameterError and MissingInput are among these
        return str(e)


def _cached(file: Path, cache_dir: Path, key: str) -> list[CorpusItem]:
    """Cached items of a file: the whole recording, or the chunks that its JSON list names."""
    chunk_list = cache_dir / f"{key}.json"
    names = json.loads(chunk_list.read_text()) if chunk_list.is_file() else [f"{key}.npz"]
    return [_item(file, cache_dir / Path(name).name) for name in names]


def _item(file: Path, cache: Path) -> CorpusItem:
    """Item of a cached file."""
    with np.load(cache, allow_pickle=False) as cached:
        return CorpusItem(file, cache, float(cached["seconds"]), len(cached["f0"]))


def _analyze(file: Path, cache_dir: Path, key: str, cfg: Config) -> None:
    """Analyze a file chunk by chunk; if there are several, a JSON list of them is written last."""
    wavs = blocks(file, cfg.sr, int(chunks.CHUNK_S * cfg.sr))
    names = []
    for i, chunk in enumerate(chunks.split_at_pauses(wavs, cfg.sr, fade=0)):
        name = f"{key}.npz" if i == 0 and chunk.last else f"{key}-{i}.npz"
        if _analyze_to(cache_dir / name, chunk.wav[chunk.start : chunk.start + chunk.n], cfg):
            names.append(name)
    if not names:
        raise ParameterError("it holds no voiced speech")
    if names != [f"{key}.npz"]:
        atomically(cache_dir / f"{key}.json", lambda part: part.write_text(json.dumps(names)))


def _analyze_to(cache: Path, wav: np.ndarray, cfg: Config) -> bool:
    """Write the analysis of a waveform to `cache`; return False if nothing in it is voiced."""
    features = analyze(wav, cfg.sr, cfg)
    if not features.voiced.any():
        return False
    save_arrays(
        cache,
        wav=wav,
        f0=features.f0.astype(np.float32),
        log_sp=np.log(np.maximum(features.sp, FLOOR_POWER)).astype(np.float16),
        ap_db=_thin(20 * np.log10(np.clip(features.ap, 1e-4, 1))).astype(np.float16),
        sr=cfg.sr,
        frame_period_ms=features.frame_period_ms,
        seconds=len(wav) / cfg.sr,
    )
    return True


def split(
    recordings: Sequence[CorpusItem], cfg: Config
) -> tuple[list[CorpusItem], list[CorpusItem]]:
    """Hold out whole files for validation, chosen at random with `cfg.seed`.

    Parameters
    ----------
    recordings : sequence of CorpusItem
        From `prepare`; chunks of one file stay together.
    cfg : Config
        `valid_share` is the share of the files to hold out; each side gets at least one.

    Returns
    -------
    train, valid : lists of CorpusItem
        With a single file, `valid` is its last chunks, with a warning.

    Raises
    ------
    ParameterError
        If there are less than two items.
    """
    if len(recordings) < 2:
        raise ParameterError(
            f"{len(recordings)} recording cannot be split into training and validation; add more files"
        )
    files = list(dict.fromkeys(r.path for r in recordings))
    if len(files) == 1:
        n_valid = _n_held_out(len(recordings), cfg)
        valid = list(recordings[-n_valid:])
        warnings.warn(
            f"{files[0].name} is the only file: its last {sum(r.seconds for r in valid):.0f} s "
            "are held out for validation; with several files whole ones are",
            stacklevel=2,
        )
        return list(recordings[:-n_valid]), valid
    order = np.random.default_rng(cfg.seed).permutation(len(files))
    held_out = {files[i] for i in order[: _n_held_out(len(files), cfg)]}
    return (
        [r for r in recordings if r.path not in held_out],
        [r for r in recordings if r.path in held_out],
    )


def _n_held_out(n: int, cfg: Config) -> int:
    """Number of files or chunks to hold out of `n`."""
    return min(max(1, round(cfg.valid_share * n)), n - 1)


def learn_target(recordings: Sequence[CorpusItem], cfg: Config) -> Config:
    """Config with the statistics of the speaker of `recordings` as its target.

    Parameters
    ----------
    recordings : sequence of CorpusItem
    cfg : Config
        `n_classes` sets the number of acoustic classes.

    Raises
    ------
    ParameterError
        If no recording holds speech.
    """
    features = (recording.load()[1] for recording in recordings)
    return replace(cfg, target=speaker_stats(features, n_classes=cfg.n_classes))


def check_target(cfg: Config) -> None:
    """Raise ParameterError if `cfg` has no target yet."""
    if cfg.target is None:
        raise ParameterError("cfg.target is not set; call cfg = learn_target(train, cfg) first")
