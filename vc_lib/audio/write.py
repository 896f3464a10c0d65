"""Write sound files atomically: a reader sees the old file or the complete new one."""

import errno
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf

from ..errors import NotWritten, ParameterError
from ..files import put_in_place, sweep, writing
from .read import CHUNK, _for_libsndfile
from .wav import check_sr, check_wav

MAX_WAV_BYTES = 2**32 - 65_536  # largest WAV, whose header has 32 bits for its size [bytes]
MAX_OGG_SR = 200_000  # highest rate of an OGG; libsndfile crashes above [Hz]
MAX_COMMENT = 1_000  # longest comment; libsndfile has no room for 2048 in a WAV [characters]
# Formats by suffix: soundfile's format and subtype
WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def save_wav(path, wav, sr: int, comment: str = "") -> None:
    """Write a waveform as 16-bit WAV or FLAC, OGG or MP3, chosen by the suffix.

    Parameters
    ----------
    path : str or Path
        Its folder is created if missing. An existing file is replaced once the new one is complete.
    wav : np.ndarray [shape=(n_samples,), float, -1..1]
        Samples beyond -1..1 are clipped, with a warning.
    sr : int [Hz, 4000..384000; fewer rates for MP3 and OGG]
    comment : str [ASCII]
        Comment for the metadata of the file; `read_comment` reads it.

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D waveform, the suffix is unknown, the format does not support
        the rate, the path is a folder, or the comment is not ASCII.
    NotWritten
        If the disk is full, or the folder is not writable.
    """
    wav = check_wav(wav)
    with WavWriter(path, sr, comment) as out:
        out._append(wav)


class WavWriter:
    """Write a recording block by block: `with WavWriter(path, sr) as out: out.write(wav)`.

    The file appears under its name when the `with` block ends without an exception. After an
    exception, or if nothing was written, an older file stays as it was and no partial file is
    left. Formats, checks and errors are those of `save_wav`.

    Attributes
    ----------
    n_samples : int
        Number of samples written so far.
    """

    def __init__(self, path, sr: int, comment: str = ""):
        self.path, self.sr, self.n_samples, self._peak = Path(path), check_sr(sr), 0, 0.0
        if not isinstance(comment, str) or not comment.isascii() or "\0" in comment:
            raise ParameterError(
                f"comment={comment!r} must be ASCII text; not all formats support more"
            )
        if len(comment) > MAX_COMMENT:
            raise ParameterError(
                f"comment has {len(comment)} characters, must have {MAX_COMMENT} at most; shorten it"
            )
        self.comment = comment
        if self.path.suffix.lower() not in WRITABLE:
            raise ParameterError(
                f"{self.path} must end in one of {', '.join(WRITABLE)}; rename the destination"
            )
        if self.path.is_dir():
            raise ParameterError(f"{self.path} is a folder; add a file name to it")
        if os.path.lexists(self.path) and not self.path.is_file():
            raise ParameterError(f"{self.path} is not a file; choose another name")
        if self.path.suffix.lower() == ".flac" and self.sr > 65_535 and self.sr % 10:
            raise ParameterError(
                f"{self.path} cannot be written at sr={self.sr} Hz; "
                "above 65535 FLAC takes multiples of 10, .wav any"
            )
        if self.path.suffix.lower() == ".ogg" and self.sr > MAX_OGG_SR:
            raise ParameterError(
                f"{self.path} cannot be written at sr={self.sr} Hz; "
                f"OGG takes {MAX_OGG_SR} at most, .wav and .flac more"
            )
        self._part = self.path.with_name(f".{uuid.uuid4().hex[:16]}.part")

    def __enter__(self) -> "WavWriter":
        file_format, subtype = WRITABLE[self.path.suffix.lower()]
        try:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                _sweep_once(self.path.parent.absolute())
                self._part.touch()
        except (FileExistsError, NotADirectoryError) as e:
            raise ParameterError(
                f"{self.path.parent} is not a folder; choose another place for {self.path.name}"
            ) from e
        try:
            part = _for_libsndfile(self._part, os.O_RDWR)
            self._file = sf.SoundFile(part, "w", self.sr, 1, subtype, None, file_format)
            if self.comment:
                self._file.comment = self.comment
        except sf.LibsndfileError as e:
            self._part.unlink(missing_ok=True)
            raise ParameterError(
                f"{self.path} cannot be written at sr={self.sr} Hz ({e}); "
                f"if {file_format} does not support this rate, use .wav"
            ) from e
        return self

    def write(self, wav) -> None:
        """Append `wav` [shape=(n_samples,), float, -1..1], which may be empty."""
        if np.size(wav) == 0:
            return
        self._append(check_wav(wav))

    def _append(self, wav: np.ndarray) -> None:
        """`write` for input that was checked before."""
        if self.path.suffix.lower() == ".wav" and 2 * (self.n_samples + len(wav)) > MAX_WAV_BYTES:
            raise ParameterError(
                f"{self.path} would pass 4 GB, the limit of WAV; use a name that ends in .flac"
            )
        self._peak = max(self._peak, float(np.abs(wav).max()))
        with self._disk():
            for start in range(0, len(wav), CHUNK):  # a huge block overruns libvorbis' stack
                self._file.write(np.clip(wav[start : start + CHUNK], -1, 1))
        self.n_samples += len(wav)

    def _n_on_disk(self) -> int:
        """Number of samples in the finished file."""
        with sf.SoundFile(_for_libsndfile(self._part, os.O_RDONLY)) as file:
            return file.frames

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn errors of libsndfile into `NotWritten`: it gives no reason, and input was checked."""
        try:
            with writing(self.path):
                yield
        except (sf.LibsndfileError, AssertionError) as e:  # soundfile asserts that writes are whole
            raise self._not_written(e) from e

    def _not_written(self, reason) -> NotWritten:
        return NotWritten(
            f"{self.path} cannot be written ({reason}): the disk is full or was removed; "
            "an older file is unchanged. Free some space, then try again",
            errno.ENOSPC,
        )

    def __exit__(self, kind, error, trace) -> None:
        try:
            with self._disk():
                self._file.close()
            if kind is None:
                if not self.n_samples:
                    raise ParameterError(
                        f"nothing was written to {self.path}; it must hold at least one sample"
                    )
                with self._disk():
                    n_on_disk = self._n_on_disk()  # closing raises nothing on a full disk
                    if n_on_disk < self.n_samples:
                        raise self._not_written(f"{n_on_disk} of {self.n_samples} samples")
                    put_in_place(self._part, self.path)
        finally:
            self._part.unlink(missing_ok=True)
        if kind is None and self._peak > 1:
            over_db = 20 * np.log10(self._peak)
            warnings.warn(
                f"{self.path.name} was clipped: its peak was {self._peak:.4g}, "
                f"{over_db:.2f} dB over full scale; lower the level before saving",
                stacklevel=2,
            )


@cache
def _sweep_once(folder: Path) -> None:
    """Sweep a folder once in a process, since listing a folder of many files is slow."""
    sweep(folder)
