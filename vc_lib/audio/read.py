"""Read sound files of any common format, as mono float32 at a given sampling rate.

soundfile reads WAV, FLAC, OGG and MP3, recognized by their content. The ffmpeg of the package
imageio-ffmpeg decodes all other formats.
"""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from ..errors import MissingInput, NotWritten, ParameterError
from .wav import MAX_PEAK, _fit, check_sr, n_resampled

CHUNK = 65_536  # frames that are read or written at once
FFMPEG_TIMEOUT_S = 900  # longest decoding; a day of speech takes less [s]
MAX_DECODED_S = 172_800  # longest decoded recording; a small file can claim to be endless [s]
MAX_LOADED_S = 43_200  # longest recording for load_wav; 12 h take 2.8 GB at 16 kHz [s]
# ffmpeg's input options for headerless formats, by suffix
HEADERLESS = {
    ".g722": ["-f", "g722"],
    ".sln": ["-f", "s16le", "-ar", "8000"],
    ".sln16": ["-f", "s16le", "-ar", "16000"],
    ".ulaw": ["-f", "mulaw", "-ar", "8000"],
    ".alaw": ["-f", "alaw", "-ar", "8000"],
}
AUDIO_SUFFIXES = frozenset(
    """
    .wav .wave .w64 .rf64 .bwf .flac .ogg .oga .opus .mp3 .mp2 .m4a .m4b .aac .mp4 .3gp .mka .webm
    .wma .asf .aif .aiff .aifc .caf .au .snd .ac3 .amr .ape .wv .tta .gsm .g722 .sln .sln16 .ulaw
    .alaw
    """.split()
)
# Containers that ffmpeg may open; a playlist (m3u8, concat, ...) could name any file of the machine.
FFMPEG_FORMATS = """
    aac ac3 eac3 aiff alaw amr ape asf au avi caf dts flac flv g722 gsm matroska mov mp3 mpc mpc8
    mpeg mpegts mulaw nut ogg rm s16le spdif tak truehd tta voc w64 wav wv
""".split()


def load_wav(path, sr: int) -> np.ndarray:
    """Read a recording as mono at sampling rate `sr`.

    Parameters
    ----------
    path : str or Path
        WAV, FLAC, OGG, MP3, M4A, AAC, Opus, WMA, AIFF, G.722, ..., or the sound track of a film.
    sr : int [Hz, 4000..384000]

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32, -1..1]
        Mean of the channels. A file of n samples at from_sr gives `round(n * sr / from_sr)`.

    Raises
    ------
    MissingInput
        If the file does not exist.
    ParameterError
        If it is a folder or playlist, is not sound, is empty or over 12 hours long, or holds
        non-finite samples; or if `sr` is out of range.
    """
    parts, left = [], MAX_LOADED_S * check_sr(sr)
    for wav in _stream(Path(path), check_sr(sr)):
        parts.append(wav)
        left -= len(wav)
        if left < 0:
            raise ParameterError(
                f"{path} is longer than {MAX_LOADED_S / 3600:g} h, too much for the memory; "
                "read it with vc_lib.audio.blocks or convert it with convert_file, which take any length"
            )
    return np.concatenate(parts)


def read_comment(path) -> str:
    """Comment in the metadata of a WAV, FLAC, OGG or MP3 file; empty if it has none.

    Raises
    ------
    MissingInput
        If the file does not exist.
    ParameterError
        If it has another format.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInput(f"{path} does not exist; correct the path")
    file = _open_directly(path) if path.is_file() else None
    if file is None:
        raise ParameterError(
            f"{path} is no WAV, FLAC, OGG or MP3; only these formats have a comment"
        )
    with file:
        return file.comment


def blocks(path, sr: int, n_samples: int) -> Iterator[np.ndarray]:
    """Read a recording of any length in constant memory, block by block.

    Parameters
    ----------
    path, sr
        As for `load_wav`.
    n_samples : int
        Length of a block at `sr` [samples].

    Yields
    ------
    wav : np.ndarray [shape=(n_samples,), float32, -1..1]
        The last block may be shorter. Concatenated, the blocks equal the output of `load_wav`.

    Raises
    ------
    MissingInput, ParameterError
        As for `load_wav`, with the first block; damage later in the file raises at that block.
    """
    sr = check_sr(sr)
    if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ParameterError(
            f"n_samples={n_samples!r} must be an int >= 1, the length of a block in samples"
        )
    buffer, n_buffered = [], 0
    for wav in _stream(Path(path), sr):
        buffer.append(wav)
        n_buffered += len(wav)
        if n_buffered < n_samples:
            continue
        wav = np.concatenate(buffer)
        n_whole = n_buffered - n_buffered % n_samples
        for start in range(0, n_whole, n_samples):
            yield wav[start : start + n_samples].copy()
        buffer, n_buffered = [wav[n_whole:]], n_buffered - n_whole
    if n_buffered:
        yield np.concatenate(buffer)


def list_audio(folder) -> list[Path]:
    """Recordings in a folder and its subfolders, sorted by path, without hidden files.

    Raises
    ------
    MissingInput
        If the folder does not exist.
    ParameterError
        If it is a file, or holds no recording.
    """
    folder = Path(folder)
    if not folder.exists():
        raise MissingInput(
            f"{folder} does not exist; make it and copy recordings there, or correct the path"
        )
    if not folder.is_dir():
        raise ParameterError(
            f"{folder} is a file, must be a folder of recordings; pass {folder.parent}"
        )
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()]
    paths = sorted(
        p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
    if not paths:
        raise ParameterError(
            f"{folder} holds no recording (.wav, .flac, .mp3, .m4a, ...); "
            "copy some there, or give another folder"
        )
    return paths


def _check_samples(path: Path, wav: np.ndarray) -> None:
    """Raise ParameterError if samples read from `path` are not finite, or not in -1..1."""
    if not np.isfinite(wav).all():
        raise ParameterError(f"{path} holds NaN or infinite samples; export it again as 16-bit WAV")
    if len(wav) and np.abs(wav).max() > MAX_PEAK:
        raise ParameterError(
            f"{path} reaches {np.abs(wav).max():.0f} where full scale is 1; "
            "divide by 32768 before saving it as float"
        )


def _stream(path: Path, sr: int) -> Iterator[np.ndarray]:
    """Mono float32 parts of a recording at `sr`, of varying length, none of them empty."""
    n_in = n_out = 0
    with _open(path) as file:
        from_sr = check_sr(file.samplerate, f"{path} cannot be used: its sr")
        resampler = soxr.ResampleStream(from_sr, sr, 1, dtype="float32", quality="HQ")
        last = False
        while not last:
            try:
                wav = file.read(CHUNK, dtype="float32", always_2d=True).mean(axis=1)
            except sf.LibsndfileError as e:
                at = n_in / from_sr
                raise ParameterError(
                    f"{path} is damaged after {at:.1f} s ({e}); copy it again"
                ) from e
            _check_samples(path, wav)
            n_in += len(wav)
            last = len(wav) == 0
            if from_sr != sr:  # the resampler keeps samples back that its filter still needs
                wav = resampler.resample_chunk(wav, last=last)
            if last:
                wav = _fit(wav, n_resampled(n_in, from_sr, sr) - n_out)
            n_out += len(wav)
            if len(wav):
                yield np.clip(wav, -1, 1)
    if not n_out:
        raise ParameterError(f"{path} is empty ({n_in} samples); record it again or remove it")


@contextmanager
def _open(path: Path) -> Iterator[sf.SoundFile]:
    """Open a recording as a SoundFile, after decoding it to a temporary file if necessary."""
    try:
        if not path.exists():
            raise MissingInput(f"{path} does not exist; correct the path or record it first")
        if not path.is_file():
            raise ParameterError(
                f"{path} is not a file; list a folder's recordings with list_audio"
            )
        if not os.access(path, os.R_OK):
            raise PermissionError("you have no right to read it")
        if path.stat().st_size == 0:
            raise ParameterError(f"{path} is empty (0 bytes); record it again or remove it")
        file = _open_directly(path)
    except (MissingInput, ParameterError):
        raise
    except PermissionError as e:
        raise ParameterError(f"{path} may not be read ({e}); change its permissions") from e
    except (OSError, ValueError) as e:  # the path is too long, or has a NUL
        raise ParameterError(f"{str(path)!r} cannot be a file ({e}); correct the path") from e
    if file is not None:
        with file:
            yield file
        return
    with tempfile.TemporaryDirectory(prefix="decoded-") as folder:
        decoded = Path(folder) / "decoded.w64"
        _decode(path, decoded)
        with sf.SoundFile(decoded) as file:
            if file.frames / file.samplerate > MAX_DECODED_S - 1:
                raise ParameterError(
                    f"{path} claims to be longer than {MAX_DECODED_S / 3600:g} h; cut it into parts"
                )
            yield file


class _FromTheBeginning(sf.SoundFile):
    """A file that is read in order. Soundfile else seeks after each read, where MP3s print errors."""

    def seekable(self) -> bool:
        return False


def _for_libsndfile(path: Path, flags: int) -> Path | int:
    """The path, or a file descriptor if the name is not valid UTF-8, as on old disks."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return os.open(path, flags)
    return path


def _open_directly(path: Path) -> sf.SoundFile | None:
    """Open a recording with soundfile; None if it needs ffmpeg."""
    if path.suffix.lower() in HEADERLESS:
        return None
    try:
        file = _FromTheBeginning(_for_libsndfile(path.absolute(), os.O_RDONLY))
    except (sf.LibsndfileError, TypeError):  # TypeError: the name ends in .raw
        return None
    # RAW is guessed from the suffix alone; a FLAC written through a pipe has no length
    if file.format != "RAW" and 0 < file.frames < 2**48:
        return file
    file.close()
    return None


def _decode(path: Path, destination: Path) -> None:
    """Decode the first sound track of `path` with ffmpeg to float Wave64, which has no size limit."""
    try:
        import imageio_ffmpeg

        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as e:
        raise MissingInput(
            f"{path} needs ffmpeg, which is not installed ({e}); pip install imageio-ffmpeg, "
            "or convert the file to WAV"
        ) from e
    command = [
        *(ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-y"),
        *("-protocol_whitelist", "file", "-format_whitelist", ",".join(FFMPEG_FORMATS)),
        *HEADERLESS.get(path.suffix.lower(), []),
        *("-i", f"file:{path.absolute()}", "-map", "0:a:0", "-t", str(MAX_DECODED_S)),
        *("-c:a", "pcm_f32le", "-f", "w64", f"file:{destination}"),
    ]
    try:
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=FFMPEG_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as e:
        raise ParameterError(
            f"{path} took longer than {FFMPEG_TIMEOUT_S} s to decode; cut it into parts"
        ) from e
    if run.returncode or not destination.is_file():
        log = run.stderr.decode(errors="replace")
        if "No space left on device" in log or run.returncode == -25:  # SIGXFSZ
            raise NotWritten(
                f"{destination.parent}, where {path} is decoded, is full; free some space there, "
                "or set TMPDIR to another folder",
                errno.ENOSPC,
            )
        reason = (log.strip().splitlines() or ["no reason given"])[-1]
        if "whitelist" in log:
            reason = "a playlist, a picture or another kind of file that is not read"
        raise ParameterError(
            f"{path} is not readable as sound ({reason}); "
            "check that it plays, then convert it to WAV or FLAC"
        )
