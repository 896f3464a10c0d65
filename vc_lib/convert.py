"""Any speech in, one voice out: load a voice, convert a waveform or a file of any length.

Long speech is cut at its quietest moments into pieces of at most 20 s, each converted with half a
second of context on either side and joined by a short cross-fade, so memory does not grow with
length and nothing is cut inside a word.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .anonymize import analyze, anonymize, speaker_stats
from .audio import WavWriter, blocks, check_wav, resample
from .config import Config, SpeakerStats
from .errors import MissingInput, ParameterError
from .models import WEIGHTS, Generator
from .spectrogram import image_to_wav, wav_to_image

PIECE_S = 20.0  # longest piece converted at once [s]
CONTEXT_S = 0.5  # heard on either side of a piece, not kept [s]
FADE_S = 0.02  # cross-fade between pieces [s]
STATS_S = 600.0  # how much of a source's beginning tells its register and envelope [s]


class Voice:
    """A trained voice; from `load_voice`.

    Attributes
    ----------
    config : Config
        What it was trained with, its `target` included.
    sr : int [Hz]
        Rate of what `convert` gives.
    """

    def __init__(self, generator: Generator, config: Config, device: torch.device):
        self.generator, self.config, self.device = generator.to(device).eval(), config, device
        if device.type == "cpu":
            self.generator.to(memory_format=torch.channels_last)

    @property
    def sr(self) -> int:
        return self.config.sr

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
            If `wav` is not a finite 1-D array or `sr` not a rate.
        """
        wav = resample(check_wav(wav), sr, self.sr).astype(np.float32)
        source = source or self.source_stats([wav])
        return np.concatenate([np.zeros(0, np.float32), *self.convert_blocks([wav], source)])

    def anonymize(self, wav: np.ndarray, sr: int, source: SpeakerStats | None = None) -> np.ndarray:
        """What the generator is given for `wav`: the speaker taken out, at `self.sr`, as long as `convert`'s."""
        wav = resample(check_wav(wav), sr, self.sr).astype(np.float32)
        return anonymize(wav, self.sr, self.config, source=source)

    def source_stats(self, wavs: Iterable[np.ndarray]) -> SpeakerStats:
        """Register and envelope of whoever speaks in `wavs`, waveforms at `self.sr`; the first ten minutes count."""

        def features():
            left = int(STATS_S * self.sr)
            for wav in wavs:
                for start in range(0, min(len(wav), left), int(PIECE_S * self.sr)):
                    yield analyze(
                        wav[start : min(start + int(PIECE_S * self.sr), left)], self.sr, self.config
                    )
                left -= len(wav)
                if left <= 0:
                    return

        return speaker_stats(features(), prior=self.config.target)

    def convert_blocks(
        self, wavs: Iterable[np.ndarray], source: SpeakerStats
    ) -> Iterator[np.ndarray]:
        """Convert a recording that comes in blocks at `self.sr`; as many samples come out."""
        fade = round(FADE_S * self.sr)
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        tail = None  # what the last piece says of the first samples of this one
        for wav, skip, n, last in pieces(wavs, self.sr, fade):
            out = self._convert_piece(wav, source)[skip:]
            if tail is not None:
                overlap = min(len(tail), len(out))
                out[:overlap] = (
                    tail[:overlap] * (1 - ramp[:overlap]) + out[:overlap] * ramp[:overlap]
                )
            tail = None if last else out[n : n + fade].copy()
            yield out[:n]

    def _convert_piece(self, wav: np.ndarray, source: SpeakerStats) -> np.ndarray:
        img = wav_to_image(anonymize(wav, self.sr, self.config, source=source), self.config)
        with torch.inference_mode():
            made = self.generator(torch.from_numpy(img)[None].to(self.device))[0]
        return np.clip(image_to_wav(made.float().cpu().numpy(), self.config, len(wav)), -1, 1)


def pieces(
    wavs: Iterable[np.ndarray], sr: int, fade: int
) -> Iterator[tuple[np.ndarray, int, int, bool]]:
    """Cut a recording at its quietest moments.

    Parameters
    ----------
    wavs : iterable of np.ndarray
        Consecutive blocks of it, of any lengths.
    sr : int [Hz]
    fade : int [samples]
        How much of the next piece a piece must at least hear.

    Yields
    ------
    wav, n_before, n, last
        A piece with its context, where in it the piece itself begins, how long it is, and whether
        nothing follows.
    """
    longest, context = int(PIECE_S * sr), max(int(CONTEXT_S * sr), fade)
    held, before = (
        np.zeros(0, np.float32),
        0,
    )  # what is not yet given out, after `before` samples of context
    for wav in wavs:
        held = np.concatenate([held, wav])
        while len(held) - before > longest + context:
            n = quietest(held[before : before + longest], sr)
            yield held[: before + n + context], before, n, False
            start = max(0, before + n - context)
            held, before = held[start:], before + n - start
    if len(held) > before:
        yield held, before, len(held) - before, True


def quietest(wav: np.ndarray, sr: int) -> int:
    """Where in the second half of `wav` 50 ms are the quietest [samples]."""
    width = max(1, int(0.05 * sr))
    power = np.convolve(wav.astype(np.float64) ** 2, np.ones(width), "same")
    half = len(wav) // 2
    return half + int(power[half:].argmin())


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
        If the files are damaged or do not belong together.

    Examples
    --------
    >>> voice = load_voice("models/ljspeech")  # doctest: +SKIP
    >>> converted = voice.convert(wav, sr)  # doctest: +SKIP
    """
    folder = Path(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise MissingInput(
            f"{weights} does not exist; train a voice with notebook 02-1 or 02-2, or use models/ljspeech"
        )
    config = Config.load(folder / "config.json")
    if config.target is None:
        raise ParameterError(
            f"{folder / 'config.json'} has no target; it is not the config of a trained voice"
        )
    generator = Generator(config)
    try:
        generator.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as e:
        raise ParameterError(
            f"{weights} does not fit {folder / 'config.json'} or is damaged ({e}); copy both again"
        ) from e
    return Voice(generator, config, torch.device(device) if device else best_device())


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
        If the source is not there or cannot be read, or the destination's suffix is none of these.
    """
    block = int(PIECE_S * voice.sr)
    with WavWriter(destination_path, voice.sr) as out:
        source = voice.source_stats(blocks(source_path, voice.sr, block))
        for wav in voice.convert_blocks(blocks(source_path, voice.sr, block), source):
            out.write(wav)
