"""Convert a file, or a folder of files."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Event, Lock

import numpy as np

from ..audio import WavWriter, blocks, check_sr, chunks, list_audio
from ..audio.loudness import Loudness
from ..errors import NotWritten, ParameterError
from ..files import check_not_source
from ..parallel import give_memory_back, in_order
from .full_band import full_band
from .gain import check_target_level, metered, with_loudness
from .long import convert_long
from .voice import Voice


def convert_file(
    voice: Voice,
    source_path,
    destination_path,
    progress: Callable[[float], object] | None = None,
    *,
    sr: int | None = None,
    level: str | float = "keep",
) -> Path:
    """Convert a recording of any length, at constant memory.

    Parameters
    ----------
    voice : Voice
    source_path : str or Path
        Any audio file, speech of one speaker.
    destination_path : str or Path
        WAV, FLAC, OGG or MP3 by its suffix. The file appears only when it is complete.
    progress : callable, optional
        Called after each chunk with the seconds of speech that are converted so far.
    sr : int, optional [Hz]
        Rate of the output; that of the voice by default. At a higher rate the band above half the
        voice's rate is the source's own, with a gain: it keeps traces of the speaker.
    level : str or float
        "keep": the integrated loudness of the source (ITU-R BS.1770). A number: that loudness
        [LUFS]. "voice": as the voice makes it, which is also what silence and recordings under
        0.4 s get. A gain leaves the true peak under -1 dBFS; a warning says if that costs over 3 LU.

    Returns
    -------
    Path
        The destination.

    Raises
    ------
    MissingInput, ParameterError
        If the source does not exist or is not readable, or if the destination is the source or has
        another suffix; or if `sr` is under the voice's rate, or `level` is out of range.
    NotWritten
        If the disk is full or the folder is not writable.
    """
    destination = Path(destination_path)
    check_not_source(Path(source_path), destination)
    sr, level = _check_rate(sr, voice), check_target_level(level)
    give_memory_back()
    with WavWriter(destination_path, sr, voice.disclosure) as out:
        meter = Loudness(sr)  # of the source
        wavs = _reported(_converted(voice, source_path, sr, meter), sr, progress)
        if level != "voice":
            wavs = with_loudness(wavs, sr, meter if level == "keep" else float(level), destination)
        for wav in wavs:
            out.write(wav)
    return destination


def _check_rate(sr: int | None, voice: Voice) -> int:
    """The rate of the output."""
    sr = voice.sr if sr is None else check_sr(sr)
    if sr < voice.sr:
        raise ParameterError(
            f"sr={sr} must be {voice.sr} Hz, the rate of {voice.name}, or higher; "
            "resample the converted file for a lower one"
        )
    return sr


def _converted(voice: Voice, path, sr: int, meter: Loudness) -> Iterator[np.ndarray]:
    """The converted recording at `sr`, piece by piece; `meter` measures its source."""
    narrow, wide = (blocks(path, rate, int(chunks.CHUNK_S * rate)) for rate in (voice.sr, sr))
    if sr == voice.sr:
        return convert_long(voice, metered(narrow, meter))
    return full_band(partial(convert_long, voice), narrow, metered(wide, meter), voice.sr, sr)


def _reported(
    wavs: Iterable[np.ndarray], sr: int, progress: Callable[[float], object] | None
) -> Iterator[np.ndarray]:
    """The pieces, with a call of `progress` after each."""
    n_done = 0
    for wav in wavs:
        yield wav
        n_done += len(wav)
        if progress:
            progress(n_done / sr)


def convert_folder(
    voice: Voice,
    source,
    destination_dir,
    suffix: str = ".wav",
    only_new: bool = False,
    progress: Callable[[float], object] | None = None,
    *,
    sr: int | None = None,
    level: str | float = "keep",
) -> dict[Path, Path]:
    """Convert recordings on all cores, several at a time.

    Parameters
    ----------
    voice : Voice
    source : str, Path or sequence of them
        A folder, its subfolders included, or the files themselves; one speaker a file. Files whose
        name ends in `_converted` are skipped.
    destination_dir : str or Path
        Folder of the output, `<name>_converted<suffix>` for each file, in subfolders like those of
        `source`.
    suffix : str
        .wav, .flac, .ogg or .mp3.
    only_new : bool
        Keep outputs that exist, to resume after an interruption. Existing outputs are always
        complete.
    progress : callable, optional
        Called after each chunk, by one thread at a time, with the seconds of speech of all files that
        are converted so far. By default a bar counts the files.
    sr, level
        As for `convert_file`.

    Returns
    -------
    dict of Path to Path
        Output of each file. Files that cannot be converted are left out, with a warning that names
        them.

    Raises
    ------
    MissingInput, ParameterError
        If the folder does not exist, two files would get the same output, no file can be
        converted, or `suffix`, `sr` or `level` is not one of those above.
    NotWritten
        If the disk is full or the folder is not writable.
    """
    _check_rate(sr, voice), check_target_level(level)  # else each file would say so
    one_folder = isinstance(source, str | Path) and Path(source).is_dir()
    if isinstance(source, str | Path) and Path(source).is_file():
        source = [source]
    files = list_audio(source) if isinstance(source, str | Path) else [Path(f) for f in source]
    files = [file for file in files if not file.stem.endswith("_converted")]
    destinations = {}
    for file in files:
        relative = file.relative_to(source) if one_folder else Path(file.name)
        name = f"{file.stem}_converted{suffix}"
        destinations[file] = Path(destination_dir) / relative.with_name(name)
    if not files:
        raise ParameterError(f"{source} holds no recording to convert; give at least one")
    n_different = len(set(destinations.values()))
    if n_different < len(files):
        raise ParameterError(
            f"{source} has {len(files)} recordings but only {n_different} different names; "
            "rename those that share one"
        )

    stopped, told, seconds = Event(), Lock(), dict.fromkeys(files, 0.0)

    def tell(file: Path, n_seconds: float) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        with told:
            seconds[file] = n_seconds
            if progress:
                progress(sum(seconds.values()))

    def convert(file: Path) -> str | None:
        if only_new and destinations[file].is_file():
            return None
        try:
            convert_file(voice, file, destinations[file], partial(tell, file), sr=sr, level=level)
        except NotWritten:
            raise  # the other files would fail, too
        except (OSError, ValueError) as e:  # ParameterError and MissingInput are among these
            return f"{file.name}: {e}"
        return None

    made = in_order(convert, files, at_end=stopped.set)
    reasons = list(made if progress else _with_bar(made, len(files)))
    failed = [reason for reason in reasons if reason]
    if len(failed) == len(files):
        raise ParameterError(f"none of {len(files)} files can be converted; first: {failed[0]}")
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(files)} files were left out: {'; '.join(failed)}", stacklevel=2
        )
    results = zip(files, reasons, strict=True)
    return {file: destinations[file] for file, reason in results if reason is None}


def _with_bar(items: Iterable, total: int) -> Iterable:
    """The items, with a bar of progress where fastprogress is installed."""
    try:
        from fastprogress.fastprogress import progress_bar  # here: slow to import
    except ImportError:
        return items
    return progress_bar(items, total=total, leave=False)
