"""Convert a file or a folder."""

import warnings
from pathlib import Path

from fastprogress.fastprogress import progress_bar

from ..audio import WavWriter, blocks, chunks, list_audio
from ..errors import NotWritten, ParameterError
from ..parallel import give_memory_back, in_order
from .long import convert_long
from .voice import Voice


def convert_file(voice: Voice, source_path, destination_path) -> None:
    """Convert a recording of any length, at constant memory.

    Parameters
    ----------
    voice : Voice
    source_path : str or Path
        Any audio file, speech of one speaker.
    destination_path : str or Path
        WAV, FLAC, OGG or MP3 by its suffix; appears only when it is whole.

    Raises
    ------
    MissingInput, ParameterError
        If the source is not there or cannot be read, or the destination is the source or has another
        suffix than these.
    NotWritten
        If the disk is full, or the folder may not be written to.
    """
    source, destination = Path(source_path), Path(destination_path)
    if source.exists() and destination.exists() and source.samefile(destination):
        raise ParameterError(
            f"{destination_path} is the source itself, which would be lost; give the result another name"
        )
    give_memory_back()
    with WavWriter(destination_path, voice.sr, voice.disclosure) as out:
        block = int(chunks.CHUNK_S * voice.sr)
        for wav in convert_long(voice, blocks(source_path, voice.sr, block)):
            out.write(wav)


def convert_folder(
    voice: Voice, source, destination_dir, suffix: str = ".wav", only_new: bool = False
) -> dict[Path, Path]:
    """Convert recordings, several at once, on all cores.

    Parameters
    ----------
    voice : Voice
    source : str, Path or sequence of them
        A folder, with the folders in it, or the files themselves; one speaker a file. What ends in `_converted` is
        left out.
    destination_dir : str or Path
        `<name>_converted` with `suffix` for each, in folders like those of `source`.
    suffix : str
        .wav, .flac, .ogg or .mp3.
    only_new : bool
        Leave what is there already as it is: to go on after an interruption. All that is there is whole.

    Returns
    -------
    dict of Path to Path
        Where each recording's conversion is. Those that cannot be used are left out with a warning that names them.

    Raises
    ------
    MissingInput, ParameterError
        If the folder is not there, two files would become one, or nothing can be used.
    NotWritten
        If the disk is full, or the folder may not be written to.
    """
    one_folder = isinstance(source, str | Path) and Path(source).is_dir()
    if isinstance(source, str | Path) and Path(source).is_file():
        source = [source]
    files = list_audio(source) if isinstance(source, str | Path) else [Path(f) for f in source]
    files = [file for file in files if not file.stem.endswith("_converted")]
    destinations = {}
    for file in files:
        within = file.relative_to(source) if one_folder else Path(file.name)
        destinations[file] = Path(destination_dir) / within.with_name(
            f"{file.stem}_converted{suffix}"
        )
    if not files or len(set(destinations.values())) < len(files):
        raise ParameterError(
            f"{source} has {len(files)} recordings to convert, of which "
            f"{len(set(destinations.values()))} have names of their own; rename those of one name"
        )

    def convert(file: Path) -> str | None:
        if only_new and destinations[file].is_file():
            return None
        try:
            convert_file(voice, file, destinations[file])
        except NotWritten:
            raise  # the others would not be either
        except (OSError, ValueError) as e:  # ParameterError and MissingInput are among these
            return f"{file.name}: {e}"

    failed = list(progress_bar(in_order(convert, files), total=len(files), leave=False))
    broken = [reason for reason in failed if reason]
    if len(broken) == len(files):
        raise ParameterError(f"none of {len(files)} files can be converted; first: {broken[0]}")
    if broken:
        warnings.warn(
            f"{len(broken)} of {len(files)} files were left out: {'; '.join(broken)}", stacklevel=2
        )
    return {
        file: destinations[file]
        for file, reason in zip(files, failed, strict=True)
        if reason is None
    }
