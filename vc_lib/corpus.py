"""Recordings of one speaker, analysed with WORLD once and kept on disk.

Nothing heavy is imported here, so that the processes that share the analysis start at once.
"""

import hashlib
import json
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
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

CACHE_VERSION = 2
# What reading a damaged cache ends with; NotImplementedError is zipfile's, of a compression that it does not know
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
AP_STEP = 8  # bins; D4C's aperiodicity is straight over far more [dB against Hz]


@dataclass(frozen=True)
class CorpusItem:
    """One analysed file: where it came from, where its analysis is kept, how long it is."""

    path: Path  # of the recording, or of the one that it is a piece of
    cache: Path
    seconds: float
    n_frames: int  # of WORLD's analysis

    def load(self, frames: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, Features]:
        """The waveform [shape=(n_samples,), float32] and its WORLD features, all of them or those of some `frames`.

        Raises
        ------
        MissingInput, ParameterError
            If what was kept of it is gone, or damaged: its checksums are looked at.
        """
        try:
            with np.load(self.cache, allow_pickle=False) as kept:
                names = ("log_sp", "ap_db", "f0", "wav", "sr", "frame_period_ms")
                log_sp, ap_db, f0, wav, sr, frame_period_ms = (kept[name] for name in names)
        except FileNotFoundError as e:
            raise MissingInput(f"{self.cache} is gone; call prepare again") from e
        except DAMAGED as e:
            raise ParameterError(
                f"{self.cache} is damaged ({e}); remove it and call prepare again"
            ) from e
        sp = np.exp(log_sp[frames].astype(np.float64))
        ap = 10 ** (_spread(ap_db[frames].astype(np.float64), sp.shape[1]) / 20)
        f0 = f0[frames].astype(np.float64)
        return wav, Features(f0, sp, ap, int(sr), float(frame_period_ms))


def _thin(ap_db: np.ndarray) -> np.ndarray:
    """Every AP_STEP-th bin and the last."""
    return ap_db[:, np.r_[0 : ap_db.shape[1] - 1 : AP_STEP, ap_db.shape[1] - 1]]


def _spread(ap_db: np.ndarray, n_bins: int) -> np.ndarray:
    """Straight lines between every AP_STEP-th bin and the last: what D4C's aperiodicity is made of."""
    kept = np.r_[0 : n_bins - 1 : AP_STEP, n_bins - 1]
    return between_columns(ap_db, np.interp(np.arange(n_bins), kept, np.arange(len(kept))))


def prepare(source, cfg: Config, cache_dir="data/cache", n_jobs: int = -1) -> list[CorpusItem]:
    """Analyse recordings with WORLD, on all cores, keeping the result on disk.

    Parameters
    ----------
    source : str, Path or sequence of them
        A folder of recordings of one speaker, or the files themselves.
    cfg : Config
        `sr` and the analysis settings count; a change in any other leaves the cache valid.
    cache_dir : str or Path
        Files are named by a hash of the recording's content and the settings.
    n_jobs : int
        Processes; -1 is all cores. A `joblib.parallel_config` around the call decides where they run:
        with "dask" on the machines of a cluster, which must see recordings and cache under the same paths.

    Returns
    -------
    list of CorpusItem
        In the order of the files, those over 8 s in chunks, cut where they are quiet; chunks
        without voiced speech do not appear. Files that cannot be used are left out with a warning
        that names them.

    Raises
    ------
    MissingInput, ParameterError
        If the folder is not there, or nothing in it can be used.
    """
    files = list_audio(source) if isinstance(source, str | Path) else [Path(f) for f in source]
    files = [file.absolute() for file in files]  # another process may run in another folder
    if not files:
        raise ParameterError(
            "no recordings were given; pass a folder of audio files of one speaker"
        )
    cache_dir = Path(cache_dir).absolute()
    with writing(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
    sweep(cache_dir)
    jobs = _parallel(n_jobs)(joblib.delayed(_prepare_file)(file, cfg, cache_dir) for file in files)
    done = list(progress_bar(jobs, total=len(files), leave=False))
    broken = [
        f"{file.name}: {result}"
        for file, result in zip(files, done, strict=True)
        if isinstance(result, str)
    ]
    good = [piece for result in done if not isinstance(result, str) for piece in result]
    if not good:
        raise ParameterError(f"none of {len(files)} files can be used; first: {broken[0]}")
    if broken:
        warnings.warn(
            f"{len(broken)} of {len(files)} files were left out: {'; '.join(broken)}", stacklevel=2
        )
    return good


def _parallel(n_jobs: int) -> joblib.Parallel:
    """Results one by one as they come, for the progress bar; all at the end where a backend can only do that."""
    try:
        return joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # multiprocessing, for one
        return joblib.Parallel(n_jobs=n_jobs)


def _prepare_file(file: Path, cfg: Config, cache_dir: Path) -> list[CorpusItem] | str:
    """Analyse one file unless that was done before; a file that cannot be used gives the reason."""
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
            return _kept(file, cache_dir, key)
        except DAMAGED:  # or not there
            _analyse(file, cache_dir, key, cfg)
            return _kept(file, cache_dir, key)
    except NotWritten:
        raise  # that is not the recording's fault
    except (OSError, ValueError) as e:  # ParameterError and MissingInput are among these
        return str(e)


def _kept(file: Path, cache_dir: Path, key: str) -> list[CorpusItem]:
    """What was analysed of a file before: one recording, or the chunks that its list names."""
    listed = cache_dir / f"{key}.json"
    names = json.loads(listed.read_text()) if listed.is_file() else [f"{key}.npz"]
    return [_recording(file, cache_dir / Path(name).name) for name in names]


def _recording(file: Path, cache: Path) -> CorpusItem:
    with np.load(cache, allow_pickle=False) as kept:
        return CorpusItem(file, cache, float(kept["seconds"]), len(kept["f0"]))


def _analyse(file: Path, cache_dir: Path, key: str, cfg: Config) -> None:
    """Analyse a file piece by piece; of more than one piece a list is written last."""
    wavs = blocks(file, cfg.sr, int(chunks.CHUNK_S * cfg.sr))
    names = []
    for i, chunk in enumerate(chunks.split_at_pauses(wavs, cfg.sr, fade=0)):
        name = f"{key}.npz" if i == 0 and chunk.last else f"{key}-{i}.npz"
        if _analyse_to(cache_dir / name, chunk.wav[chunk.start : chunk.start + chunk.n], cfg):
            names.append(name)
    if not names:
        raise ParameterError("no voiced speech was found in it")
    if names != [f"{key}.npz"]:
        atomically(cache_dir / f"{key}.json", lambda part: part.write_text(json.dumps(names)))


def _analyse_to(cache: Path, wav: np.ndarray, cfg: Config) -> bool:
    """Keep the analysis of a waveform, unless nothing in it is voiced; whether it was kept."""
    features = analyze(wav, cfg.sr, cfg)
    if not features.voiced.any():
        return False
    kept = dict(
        wav=wav,
        f0=features.f0.astype(np.float32),
        log_sp=np.log(np.maximum(features.sp, FLOOR_POWER)).astype(np.float16),
        ap_db=_thin(20 * np.log10(np.clip(features.ap, 1e-4, 1))).astype(np.float16),
        sr=cfg.sr,
        frame_period_ms=features.frame_period_ms,
        seconds=len(wav) / cfg.sr,
    )

    def write(part: Path) -> None:
        with part.open("wb") as f:
            np.savez(f, **kept)

    atomically(cache, write)
    return True


def split(
    recordings: Sequence[CorpusItem], cfg: Config
) -> tuple[list[CorpusItem], list[CorpusItem]]:
    """Hold out whole files for validation, drawn by `cfg.seed`.

    Parameters
    ----------
    recordings : sequence of CorpusItem
        From `prepare`; chunks of one file stay together.
    cfg : Config
        `valid_share` is the share of the files that is held out; at least one file is on each side.

    Returns
    -------
    train, valid : lists of CorpusItem
        With a single file, `valid` is its last chunks, and a warning says so.

    Raises
    ------
    ParameterError
        If there are not two chunks to share out.
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
            f"{files[0].name} is the only file: its last {sum(r.seconds for r in valid):.0f} s are held out "
            "for validation; with several files whole ones are",
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
    return min(max(1, round(cfg.valid_share * n)), n - 1)


def learn_target(recordings: Sequence[CorpusItem], cfg: Config) -> Config:
    """The same config with register, long-term envelope and sounds of the speaker of `recordings` as its target."""
    features = (recording.load()[1] for recording in recordings)
    return replace(cfg, target=speaker_stats(features, n_classes=cfg.n_classes))
