"""Any speech in, one voice out: load a voice, convert a waveform or a file of any length.

Long speech is cut at its quietest moments into pieces of at most 8 s, each converted with half a
second of context on either side, in phase with the one before, so that memory does not grow with length
and nobody can tell where the seams are.
"""

import math
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from fastprogress.fastprogress import progress_bar

from . import __version__, cutting
from .anonymize import (
    AP_PERIOD_MS,
    analyze,
    anonymize,
    resynthesize,
    speaker_stats,
    transform,
    transform_f0,
)
from .audio import WavWriter, blocks, check_level, check_wav, list_audio, resample
from .config import Config, SpeakerStats
from .cutting import Chunk
from .errors import NotWritten, ParameterError
from .live import Stream
from .models import Generator
from .parallel import give_memory_back, in_order
from .pauses import BLOCK_S, block_power, pause_gain, speech_level_db
from .spectrogram import image_to_wav, wav_to_image
from .synthesis import phases
from .voices import read_voice

FADE_S = 0.02  # cross-fade between pieces [s]
WIDTH = 64  # frames; the images of long pieces are as wide as a multiple of it
MAX_GRID_S = 0.1  # a coarser grid is none: context would be longer by it [s]
STATS_S = 60.0  # how much of a source's beginning tells its register and envelope [s]


class Voice:
    """A trained voice; from `load_voice`.

    Attributes
    ----------
    config : Config
        What it was trained with, its `target` included.
    sr : int [Hz]
        Rate of what `convert` gives.
    name : str
        Of the folder that it was loaded from.
    """

    def __init__(
        self, generator: Generator, config: Config, device: torch.device, name: str = "unnamed"
    ):
        self.name = name
        self.generator, self.config, self.device = generator.to(device).eval(), config, device
        self.generator.train_equalizer(False)
        self.live = None  # the conversion that `stream` goes on with
        if device.type == "cpu":
            self.generator.to(memory_format=torch.channels_last)

    @property
    def sr(self) -> int:
        return self.config.sr

    @property
    def disclosure(self) -> str:
        """What files of converted speech say of themselves, in ASCII."""
        name = self.name.encode("ascii", "replace").decode()[:100]
        return (
            f"Synthetic speech: converted to the voice '{name}' by vc_lib {__version__} (Anonymous Voice Conversion). "
            "The person whose voice it is did not say this. Disclose it as synthetic wherever it is heard."
        )

    def convert(self, wav: np.ndarray, sr: int, source: SpeakerStats | None = None) -> np.ndarray:
        """Say in this voice what `wav` says.

        Parameters
        ----------
        wav : np.ndarray [shape=(n_samples,), -1..1]
            Speech of one speaker.
        sr : int [Hz]
            Its rate; any.
        source : SpeakerStats, optional
            Register and envelope of the speaker, from more of their speech than `wav`
            (`vc_lib.anonymize.speaker_stats` at `self.sr`); measured on `wav` if not given.

        Returns
        -------
        converted : np.ndarray [shape=(round(n_samples * self.sr / sr),), float32, -1..1]

        Raises
        ------
        ParameterError
            If `wav` is not a finite 1-D array, its scale not -1..1, or `sr` not a rate.
        """
        wav = self._taken(wav, sr, source)
        return np.concatenate([np.zeros(0, np.float32), *self.convert_blocks([wav], source)])

    def anonymize(self, wav: np.ndarray, sr: int, source: SpeakerStats | None = None) -> np.ndarray:
        """What the generator is given for `wav`: the speaker taken out, at `self.sr`, as long as `convert`'s."""
        wav = self._taken(wav, sr, source)
        return anonymize(wav, self.sr, self.config, source=source)

    def _taken(self, wav: np.ndarray, sr: int, source: SpeakerStats | None) -> np.ndarray:
        """A waveform as conversion wants it: at the voice's rate, within -1..1."""
        wav = check_level(check_wav(wav))
        if not isinstance(source, SpeakerStats | None):
            raise ParameterError(
                f"source={type(source).__name__} must be SpeakerStats or None; measure it with voice.source_stats"
            )
        return np.clip(resample(wav, sr, self.sr), -1, 1).astype(np.float32)

    def stream(self, block: np.ndarray | None, source: SpeakerStats | None = None) -> np.ndarray:
        """Convert speech while it comes in: a block in, a block as long out, said 0.3 s before.

        Parameters
        ----------
        block : np.ndarray [shape=(n_samples,), -1..1] or None
            What comes next, at `self.sr`, of any length. None ends the speech and gives what is still to come
            (`self.live.latency` samples); the next block begins another.
        source : SpeakerStats, optional
            Who begins to speak, from `source_stats`; measured while they speak if not given. To convert several
            speakers at once make a `live.Stream` for each.

        Returns
        -------
        converted : np.ndarray [shape=(n_samples,), float32, -1..1]

        Raises
        ------
        ParameterError
            If `block` is not a finite 1-D array of floats.
        """
        if self.live is None:
            self.live = Stream(self, source)
        if block is not None:
            return self.live(block)
        rest, self.live = self.live.rest(), None
        return rest

    def source_stats(self, wavs: Iterable[np.ndarray]) -> SpeakerStats:
        """Register and envelope of whoever speaks in `wavs`, waveforms at `self.sr`; the first minute count."""
        return self._estimate_speaker(cutting.pieces(wavs, self.sr, 0))[1]

    def convert_blocks(
        self, wavs: Iterable[np.ndarray], source: SpeakerStats | None = None
    ) -> Iterator[np.ndarray]:
        """Convert a recording that comes in blocks at `self.sr`; as many samples come out, on all cores.

        The level of its speech, and the speaker's statistics if `source` does not give them, are measured on the
        first minute.
        """
        fade = round(FADE_S * self.sr)
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        tail = None  # what the last piece says of the first samples of this one
        pieces = cutting.pieces(wavs, self.sr, fade, self.grid())
        heard, stats, level_db = self._estimate_speaker(pieces)
        source = source or stats

        def converted(linked: tuple[Chunk, Future, Future]) -> tuple[Chunk, np.ndarray]:
            piece, before, after = linked
            try:
                piece = self._in_phase(piece, source, before, after)
                return piece, self._convert_chunk(piece, source, level_db)
            except BaseException as e:
                if not after.done():
                    after.set_exception(e)  # nobody waits for ever
                raise

        for piece, out in in_order(converted, _linked(_emptied(heard, pieces))):
            out = out[piece.start :]
            if tail is not None:
                overlap = min(len(tail), len(out))
                out[:overlap] = (
                    tail[:overlap] * (1 - ramp[:overlap]) + out[:overlap] * ramp[:overlap]
                )
            tail = None if piece.last else out[piece.n : piece.n + fade].copy()
            yield out[: piece.n]

    def grid(self) -> int:
        """Where pieces may begin, so that they are analysed as the whole is [samples]: with a frame, and a block of
        `pauses` if those meet."""
        frame = Fraction(self.config.frame_period_ms / 1000).limit_denominator(10**6) * self.sr
        frames = (frame * max(1, round(AP_PERIOD_MS / self.config.frame_period_ms))).numerator
        both = math.lcm(frames, round(BLOCK_S * self.sr))
        return both if both < MAX_GRID_S * self.sr else frames

    def _in_phase(self, piece: Chunk, source: SpeakerStats, before: Future, after: Future) -> Chunk:
        """The piece, analysed, with the phase that goes on where the one before it ends; tells the next one where
        it ends itself [periods; None where it is not voiced]."""
        if piece.features is None:
            piece = self._analyzed(piece)
        f0 = transform_f0(piece.features.f0, self.config, source)
        reached = before.result()
        if reached is not None:
            piece = replace(piece, phase=(piece.start, reached))
        if not piece.last:
            counted, _ = phases(f0, self.sr, self.config.frame_period_ms, piece.phase)
            end = counted[piece.start + piece.n]
            after.set_result(float(end % 1) if np.isfinite(end) else None)
        return piece

    def _estimate_speaker(
        self, pieces: Iterator[Chunk]
    ) -> tuple[deque[Chunk], SpeakerStats, float]:
        """Take pieces until they make a minute and analyse them: they, their speaker, the level of the speech."""
        own, powers = [], []

        def some():
            left = STATS_S * self.sr
            for piece in pieces:
                yield piece
                left -= piece.n
                if left <= 0:
                    return

        heard = deque(in_order(self._analyzed, some()))
        for piece in heard:
            own.append(piece.features[self._frames(piece)])
            powers.append(block_power(piece.wav[piece.start : piece.start + piece.n], self.sr))
        level_db = speech_level_db(np.concatenate([np.empty(0), *powers]))
        return heard, speaker_stats(own, prior=self.config.target), level_db

    def _analyzed(self, piece: Chunk) -> Chunk:
        """The piece with its features and half of its context: what WORLD finds near the ends is not what it would
        find in the whole."""
        features = analyze(piece.wav, self.sr, self.config).compact()
        frame = self.config.frame_period_ms / 1000 * self.sr  # [samples]
        margin = round(cutting.CONTEXT_S * self.sr / 2) // self.grid() * self.grid()
        first = margin if piece.at else 0
        end = len(piece.wav) if piece.last else len(piece.wav) - margin
        return replace(
            piece,
            wav=piece.wav[first:end],
            at=piece.at + first,
            start=piece.start - first,
            features=features[round(first / frame) : math.ceil(end / frame) + 1],
        )

    def _frames(self, piece: Chunk) -> slice:
        """Of a piece's features, those without its context."""
        frames_a_sample = 1000 / self.config.frame_period_ms / self.sr
        ends = (piece.start, piece.start + piece.n)
        first, last = (round(n * frames_a_sample) for n in ends)
        return slice(first, last + piece.last)

    def _convert_chunk(self, piece: Chunk, source: SpeakerStats, level_db: float) -> np.ndarray:
        features = transform(piece.features, self.config, source)
        out = resynthesize(features, len(piece.wav), piece.at, piece.phase)
        skipped = -piece.at % (self.config.hop_length * self.generator.step_t)  # images on one grid
        if skipped < len(out):
            out[skipped:] = self.generate(out[skipped:])
        return self.quieten_pauses(out, piece.wav, level_db)

    def quieten_pauses(
        self, converted: np.ndarray, wav: np.ndarray, level_db: float | None = None
    ) -> np.ndarray:
        """Make `converted` quieter where its source `wav`, both at `self.sr`, pauses.

        `level_db` is the level of the speech in all of the recording; measured on `wav` if not
        given.
        """
        if level_db is None:
            level_db = speech_level_db(block_power(wav, self.sr))
        return converted * pause_gain(wav, self.sr, level_db, self.config.pause_depth_db)

    def generate(self, anonymized: np.ndarray) -> np.ndarray:
        """The generator's part alone: anonymized speech at `self.sr`, half a minute at most, to the voice's."""
        # widths come again, as what is made ready for each width is kept
        more = -len(anonymized) % (WIDTH * self.config.hop_length)
        wav = np.pad(anonymized, (0, more if len(anonymized) > 4 * more else 0))
        img = torch.from_numpy(wav_to_image(wav, self.config))[None].to(self.device)
        with torch.inference_mode():
            made = self.generator(img, self.config.change_strength)[0].float().cpu().numpy()
        return np.clip(image_to_wav(made, self.config, len(anonymized)), -1, 1)


def load_voice(folder, device=None) -> Voice:
    """Load a voice that training saved.

    Parameters
    ----------
    folder : str or Path
        Holds generator.safetensors and config.json, such as models/ljspeech.
    device : str or torch.device, optional
        By default CUDA or MPS where there is one, else the CPU.

    Raises
    ------
    MissingInput
        If the folder or one of the two files is not there.
    ParameterError
        If the files are damaged, do not belong together, are too large, or are links out of the folder.

    Examples
    --------
    >>> voice = load_voice("models/ljspeech")  # doctest: +SKIP
    >>> converted = voice.convert(wav, sr)  # doctest: +SKIP
    """
    weights, config, generator = read_voice(folder)
    generator.load_state_dict(weights)
    device = torch.device(device) if device else best_device()
    return Voice(generator, config, device, Path(folder).resolve().name)


def best_device() -> torch.device:
    """CUDA or MPS where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


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
        block = int(cutting.CHUNK_S * voice.sr)
        for wav in voice.convert_blocks(blocks(source_path, voice.sr, block)):
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


def _linked(pieces: Iterable[Chunk]) -> Iterator[tuple[Chunk, Future, Future]]:
    """Each piece with what the one before it will say, and where it says the same for the next."""
    after = Future()
    after.set_result(None)
    for piece in pieces:
        before, after = after, Future()
        yield piece, before, after


def _emptied(held: deque, more: Iterable) -> Iterator:
    """What is held, let go of as it is taken, and then more."""
    while held:
        yield held.popleft()
    yield from more
