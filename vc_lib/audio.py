"""Read and write sound: any common format in, mono float32 at the sampling rate asked for out.

WAV, FLAC, OGG and MP3 go through soundfile, which looks at the content and not at the name;
everything else goes through the ffmpeg that the imageio-ffmpeg wheel carries. No torch, no librosa.
"""

import errno
import math
import os
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from .config import AudioConfig
from .errors import MissingInput, NotWritten, ParameterError
from .files import put_in_place, sweep, writing

SR_MIN, SR_MAX = 4_000, 384_000  # sampling rates taken [Hz]
CHUNK = 65_536  # frames read or written at once: fast, in little memory
FFMPEG_TIMEOUT_S = 900  # a day of speech decodes in less
MAX_DECODED_S = 172_800  # ffmpeg writes no more: a small file can say that it is endless [s]
MAX_LOADED_S = 43_200  # what is read as a whole: 12 h are 2.8 GB at 16 kHz [s]
ABSURD = 1e6  # where even what is no sound any more ends: its power must be a number
MAX_WAV_BYTES = 2**32 - 65_536  # a WAV counts its bytes in 32 bits
MAX_OGG_SR = 200_000  # above it libsndfile crashes [Hz]
MAX_COMMENT = 1_000  # characters; a WAV of libsndfile has no room for 2048
MAX_PEAK = 16  # of what is taken for sound in -1..1: 24 dB over full scale is no overshoot

# What save_wav writes, by suffix: soundfile's format and subtype.
WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
# Headerless files, which only their suffix explains: ffmpeg's input options.
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
# The containers ffmpeg may open; a playlist (m3u8, concat, ...) could name any file of the machine.
FFMPEG_FORMATS = """
    aac ac3 eac3 aiff alaw amr ape asf au avi caf dts flac flv g722 gsm matroska mov mp3 mpc mpc8
    mpeg mpegts mulaw nut ogg rm s16le spdif tak truehd tta voc w64 wav wv
""".split()


def n_resampled(n_samples: int, from_sr: int, to_sr: int) -> int:
    """How many samples `n_samples` at `from_sr` [Hz] become at `to_sr` [Hz]."""
    return round(n_samples * to_sr / from_sr)


def check_wav(wav, name: str = "wav") -> np.ndarray:
    """Return `wav` as a waveform this code can work on, or say what is wrong with it.

    Parameters
    ----------
    wav : array_like [shape=(n_samples,), float, nominally -1..1]
    name : str
        What the error message calls it.

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32 or float64]
        The array itself where it is one of those types, else converted.

    Raises
    ------
    ParameterError
        If it is not floating point, not 1-D, empty, or holds NaN, infinity or what passes a million.
    """
    wav = np.asarray(wav)
    if wav.dtype.kind != "f":
        raise ParameterError(
            f"{name} has dtype {wav.dtype}, must be floating point in -1..1; "
            f"convert integers with to_mono({name})"
        )
    if wav.ndim != 1:
        raise ParameterError(
            f"{name} has shape {wav.shape}, must be (n_samples,); mix down with to_mono({name})"
        )
    if wav.size == 0:
        raise ParameterError(f"{name} is empty; it must hold at least one sample")
    if not np.isfinite(wav).all():
        n_bad = int(np.count_nonzero(~np.isfinite(wav)))
        raise ParameterError(f"{name} holds {n_bad} NaN or infinite samples; check what made it")
    wav = wav if wav.dtype in (np.float32, np.float64) else wav.astype(np.float32)
    if max(wav.max(), -wav.min()) > ABSURD:
        raise ParameterError(
            f"{name} reaches {np.abs(wav).max():.3g} where full scale is 1; check what made it"
        )
    return wav


def check_level(wav: np.ndarray, name: str = "wav") -> np.ndarray:
    """Return a waveform within -1..1, what overshoots clipped, or raise ParameterError if that is not its scale."""
    peak = float(max(wav.max(), -wav.min()))
    if peak > MAX_PEAK:
        raise ParameterError(
            f"{name} reaches {peak:.4g} where full scale is 1; divide it by 32768 if it was made of 16-bit integers"
        )
    return np.clip(wav, -1, 1) if peak > 1 else wav


def check_sr(sr, name: str = "sr") -> int:
    """Return a sampling rate [Hz] as int, or raise ParameterError if it is none in 4000..384000."""
    ok = isinstance(sr, int | np.integer) and not isinstance(sr, bool) and SR_MIN <= sr <= SR_MAX
    if not ok:
        raise ParameterError(
            f"{name}={sr!r} must be an int in {SR_MIN}..{SR_MAX} Hz; for speech try 16000 or 22050"
        )
    return int(sr)


def to_mono(wav) -> np.ndarray:
    """Mix channels down to their mean and scale integers to -1..1.

    Parameters
    ----------
    wav : array_like [shape=(n_samples,), (n_samples, n_channels) or (n_channels, n_samples)]
        Float, int16, int32, int8 or uint8. The channels are the shorter axis, of 8 at most.

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32; float64 if it came so]

    Raises
    ------
    ParameterError
        For another type or shape, nothing in it, or non-finite values.

    Examples
    --------
    >>> to_mono(np.array([[0, 16384], [16384, 16384], [-32768, 0]], dtype=np.int16))
    array([ 0.25,  0.5 , -0.5 ], dtype=float32)
    """
    wav = np.asarray(wav)
    if wav.dtype in (np.int8, np.int16, np.int32):
        wav = (wav / -float(np.iinfo(wav.dtype).min)).astype(np.float32)
    elif wav.dtype == np.uint8:
        wav = ((wav - 128.0) / 128).astype(np.float32)
    elif wav.dtype.kind != "f":
        raise ParameterError(
            f"wav has dtype {wav.dtype}, must be float, int16, int32, int8 or uint8; "
            "scale it to float in -1..1"
        )
    if wav.ndim == 2:
        n_channels, axis = min((n, axis) for axis, n in enumerate(wav.shape))
        if n_channels > 8 or wav.shape[0] == wav.shape[1] > 1:
            raise ParameterError(
                f"wav has shape {wav.shape}, which axis holds the channels? Pass (n_samples,)"
            )
        if n_channels:
            wav = wav.mean(axis=axis)
    return check_wav(wav)


def resample(wav, from_sr: int, to_sr: int) -> np.ndarray:
    """Change the sampling rate, with soxr's HQ filter.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), float]
    from_sr, to_sr : int [Hz]

    Returns
    -------
    wav : np.ndarray [shape=(round(n_samples * to_sr / from_sr),), same type]
        A copy, also where the rates agree. Not clipped: the filter may overshoot a loud input.

    Raises
    ------
    ParameterError
        For anything but a finite 1-D waveform, or a rate out of range.
    """
    wav, from_sr, to_sr = check_wav(wav), check_sr(from_sr, "from_sr"), check_sr(to_sr, "to_sr")
    if from_sr == to_sr:
        return wav.copy()
    return _fit(
        soxr.resample(wav, from_sr, to_sr, quality="HQ"), n_resampled(len(wav), from_sr, to_sr)
    )


def stft_magnitude(wav: np.ndarray, cfg: AudioConfig) -> np.ndarray:
    """Magnitude of the STFT that `spectrogram.stft` gives, without torch.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    cfg : AudioConfig

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, n_frames), float32; 1 is a full-scale sine]
        With n_frames = 1 + ceil(n_samples / hop_length).

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    >>> mag = stft_magnitude(tone, AudioConfig(sr=16_000, n_fft=512, hop_length=128))
    >>> mag.shape, float(mag[32, 60].round(3))
    ((257, 126), 1.0)
    """
    wav = check_wav(wav)
    n_frames = 1 + math.ceil(len(wav) / cfg.hop_length)
    before = cfg.n_fft // 2
    after = (n_frames - 1) * cfg.hop_length - len(wav) + before
    padded = np.pad(np.asarray(wav, np.float32), (before, after))
    frames = sliding_window_view(padded, cfg.n_fft)[:: cfg.hop_length]
    window = np.hanning(cfg.n_fft + 1)[:-1].astype(np.float32)
    return np.abs(np.fft.rfft(frames * window)).T / np.float32(cfg.n_fft / 4)


def load_wav(path, sr: int) -> np.ndarray:
    """Read a recording as mono at the sampling rate asked for.

    Parameters
    ----------
    path : str or Path
        WAV, FLAC, OGG, MP3, M4A, AAC, Opus, WMA, AIFF, G.722, ...; of a film its sound track.
    sr : int [Hz, 4000..384000]

    Returns
    -------
    wav : np.ndarray [shape=(n_samples,), float32, -1..1]
        The mean of the channels. Of n samples at from_sr, `round(n * sr / from_sr)` are returned.

    Raises
    ------
    MissingInput
        If there is no such file.
    ParameterError
        If it is a folder, a playlist, not sound, empty, over 12 hours long, or holds non-finite samples, or if
        `sr` is out of range.
    """
    parts, left = [], MAX_LOADED_S * check_sr(sr)
    for wav in _stream(Path(path), check_sr(sr)):
        parts.append(wav)
        left -= len(wav)
        if left < 0:
            raise ParameterError(
                f"{path} is longer than {MAX_LOADED_S / 3600:g} h, too much for the memory; read it with "
                "vc_lib.audio.blocks, or convert it with convert_file, which take any length"
            )
    return np.concatenate(parts)


def read_comment(path) -> str:
    """What a WAV, FLAC, OGG or MP3 file says of itself in its metadata; empty if nothing.

    Raises
    ------
    MissingInput, ParameterError
        If there is no such file, or it is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInput(f"{path} does not exist; correct the path")
    file = _open_directly(path) if path.is_file() else None
    if file is None:
        raise ParameterError(
            f"{path} is no WAV, FLAC, OGG or MP3; only those say something of themselves"
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
        The last one may be shorter. Put together they are what `load_wav` returns, to the sample.

    Raises
    ------
    MissingInput, ParameterError
        As `load_wav`, when the first block is asked for; damage in the middle shows there.
    """
    sr = check_sr(sr)
    if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ParameterError(
            f"n_samples={n_samples!r} must be an int of at least 1, the length of a block"
        )
    held, n_held = [], 0
    for wav in _stream(Path(path), sr):
        held.append(wav)
        n_held += len(wav)
        if n_held < n_samples:
            continue
        wav = np.concatenate(held)
        n_whole = n_held - n_held % n_samples
        for start in range(0, n_whole, n_samples):
            yield wav[start : start + n_samples].copy()
        held, n_held = [wav[n_whole:]], n_held - n_whole
    if n_held:
        yield np.concatenate(held)


def list_audio(folder) -> list[Path]:
    """The recordings in a folder and its subfolders, sorted by path; hidden files are left out.

    Raises
    ------
    MissingInput
        If there is no such folder.
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
            "record or copy some there (see README, 'Your own voice')"
        )
    return paths


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
        out.write(wav)


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
        wav = check_wav(wav)
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


def _fit(wav: np.ndarray, n_samples: int) -> np.ndarray:
    """Cut or zero-pad to exactly `n_samples`: a resampler may be one off."""
    return np.pad(wav[:n_samples], (0, max(0, n_samples - len(wav))))


def _check_samples(path: Path, wav: np.ndarray) -> None:
    if not np.isfinite(wav).all():
        raise ParameterError(f"{path} holds NaN or infinite samples; export it again as 16-bit WAV")
    if len(wav) and np.abs(wav).max() > MAX_PEAK:
        raise ParameterError(
            f"{path} reaches {np.abs(wav).max():.0f} where full scale is 1; "
            "divide by 32768 before saving it as float"
        )


def _stream(path: Path, sr: int) -> Iterator[np.ndarray]:
    """Mono float32 pieces of a recording at `sr`, of whatever length comes, none empty."""
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
            if from_sr != sr:  # the resampler holds back what its filter still needs
                wav = resampler.resample_chunk(wav, last=last)
            if last:
                wav = _fit(wav, n_resampled(n_in, from_sr, sr) - n_out)
            n_out += len(wav)
            if len(wav):
                yield np.clip(wav, -1, 1)
    if not n_out:
        raise ParameterError(f"{path} is empty ({n_in} samples); record it again or take it out")


@contextmanager
def _open(path: Path) -> Iterator[sf.SoundFile]:
    """A recording as an open SoundFile: itself, or what ffmpeg makes of it, for a while."""
    try:
        if not path.exists():
            raise MissingInput(f"{path} does not exist; correct the path or record it first")
        if not path.is_file():
            raise ParameterError(
                f"{path} is not a file; list a folder's recordings with list_audio"
            )
        if path.stat().st_size == 0:
            raise ParameterError(f"{path} is empty (0 bytes); record it again or take it out")
        file = _open_directly(path)
    except (MissingInput, ParameterError):
        raise
    except PermissionError as e:
        raise ParameterError(f"{path} may not be read ({e}); change its permissions") from e
    except (OSError, ValueError) as e:  # too long, or a NUL in it
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
                    f"{path} says that it is longer than {MAX_DECODED_S / 3600:g} h; cut it into parts"
                )
            yield file


def _for_libsndfile(path: Path, flags: int) -> Path | int:
    """A path, or the number of the open file where its name is in no encoding, as on old disks."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return os.open(path, flags)
    return path


def _open_directly(path: Path) -> sf.SoundFile | None:
    """A recording as soundfile sees it, or None where that is a job for ffmpeg."""
    if path.suffix.lower() in HEADERLESS:
        return None
    try:
        file = sf.SoundFile(_for_libsndfile(path.absolute(), os.O_RDONLY))
    except (sf.LibsndfileError, TypeError):  # TypeError: its name ends in .raw
        return None
    # RAW was guessed from the suffix alone; no length: a FLAC that came through a pipe
    if file.format != "RAW" and 0 < file.frames < 2**48:
        return file
    file.close()
    return None


def _decode(path: Path, destination: Path) -> None:
    """Have ffmpeg write the first sound track of `path` as float Wave64 (no size limit)."""
    try:
        import imageio_ffmpeg

        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as e:
        raise MissingInput(
            f"{path} needs ffmpeg, which is not there ({e}); pip install imageio-ffmpeg, "
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
                f"{destination.parent}, where {path} is decoded, is full; free some space there, or let TMPDIR name "
                "another folder",
                errno.ENOSPC,
            )
        reason = (log.strip().splitlines() or ["no reason given"])[-1]
        if "whitelist" in log:
            reason = "a playlist, a picture or another kind of file that is not read"
        raise ParameterError(
            f"{path} is not readable as sound ({reason}); convert it to WAV or FLAC"
        )
