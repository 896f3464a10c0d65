"""Write sound files, whole or not at all."""

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

MAX_WAV_BYTES = 2**32 - 65_536  # a WAV counts its bytes in 32 bits
MAX_OGG_SR = 200_000  # above it libsndfile crashes [Hz]
MAX_COMMENT = 1_000  # characters; a WAV of libsndfile has no room for 2048
# What save_wav writes, by suffix: soundfile's format and subtype.
WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def save_wav(path, wav, sr: int, comment: str = "") -> None:
    """Write a waveform as 16-bit WAV or FLAC, OGG or MP3, by suffix; whole or not at all.

    Parameters
    ----------
    path : str or Path
        Its folder is made if need be. A file of this name is replaced once the new one is complete.
    wav : np.ndarray [shape=(n_samples,), float, -1..1]
        What exceeds -1..1 is clipped, with a warning.
    sr : int [Hz, 4000..384000; MP3 and OGG take fewer]
    comment : str [ASCII]
        What the file says of itself in its metadata; `read_comment` reads it.

    Raises
    ------
    ParameterError
        For NaN or infinity, not 1-D, empty, an unknown suffix, a rate that the format does not
        take, a path that is a folder, or a comment that is not ASCII.
    NotWritten
        If the disk is full, or the folder may not be written to.
    """
    wav = check_wav(wav)
    with WavWriter(path, sr, comment) as out:
        out._append(wav)


class WavWriter:
    """Write a recording block by block: `with WavWriter(path, sr) as out: out.write(wav)`.

    The file appears under its name when the `with` ends well. After an exception, or when nothing
    was written, what was there before is untouched and nothing is left behind. Formats, checks and
    errors are those of `save_wav`.

    Attributes
    ----------
    n_samples : int
        Written so far.
    """

    def __init__(self, path, sr: int, comment: str = ""):
        self.path, self.sr, self.n_samples, self._peak = Path(path), check_sr(sr), 0, 0.0
        if not isinstance(comment, str) or not comment.isascii() or "\0" in comment:
            raise ParameterError(
                f"comment={comment!r} must be ASCII text; not all formats know more"
            )
        if len(comment) > MAX_COMMENT:
            raise ParameterError(
                f"comment has {len(comment)} characters, must have {MAX_COMMENT} at most; say it shorter"
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
                f"{self.path} cannot be written at sr={self.sr} Hz; above 65535 FLAC takes multiples of 10, .wav any"
            )
        if self.path.suffix.lower() == ".ogg" and self.sr > MAX_OGG_SR:
            raise ParameterError(
                f"{self.path} cannot be written at sr={self.sr} Hz; OGG takes {MAX_OGG_SR} at most, .wav and .flac more"
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
                f"{self.path.parent} is not a folder, so {self.path.name} cannot go there"
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
                f"where {file_format} does not know this rate, use .wav"
            ) from e
        return self

    def write(self, wav) -> None:
        """Append `wav` [shape=(n_samples,), float, -1..1]; an empty block is fine."""
        if np.size(wav) == 0:
            return
        self._append(check_wav(wav))

    def _append(self, wav: np.ndarray) -> None:
        """`write` for input that was checked before."""
        if self.path.suffix.lower() == ".wav" and 2 * (self.n_samples + len(wav)) > MAX_WAV_BYTES:
            raise ParameterError(
                f"{self.path} would pass 4 GB, which no WAV can; let its name end in .flac"
            )
        self._peak = max(self._peak, float(np.abs(wav).max()))
        with self._disk():
            for start in range(0, len(wav), CHUNK):  # libvorbis overruns its stack on a huge block
                self._file.write(np.clip(wav[start : start + CHUNK], -1, 1))
        self.n_samples += len(wav)

    def _n_there(self) -> int:
        """How many samples the finished file has."""
        with sf.SoundFile(_for_libsndfile(self._part, os.O_RDONLY)) as file:
            return file.frames

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """What libsndfile cannot write, and does not say why: samples and rate were checked before."""
        try:
            with writing(self.path):
                yield
        except (
            sf.LibsndfileError,
            AssertionError,
        ) as e:  # AssertionError: soundfile's, of a short write
            raise self._not_written(e) from e

    def _not_written(self, reason) -> NotWritten:
        return NotWritten(
            f"{self.path} cannot be written ({reason}): the disk is full, or gone; what was there before is as it was. "
            "Free some space, then do this again",
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
                    n_there = self._n_there()  # closing is silent about a full disk
                    if n_there < self.n_samples:
                        raise self._not_written(f"{n_there} of {self.n_samples} samples")
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
    """Sweep a folder when this process first writes into it: one of many files takes long to look through."""
    sweep(folder)
