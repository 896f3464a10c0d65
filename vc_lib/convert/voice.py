"""A trained voice: load it, convert a waveform, convert live speech.

`Voice.convert` is the whole conversion, one call for each step. Recordings over 8.5 s go through
`long`, files through `files`, live speech through `streaming`.
"""

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from .. import __version__
from ..anonymize import analyze, anonymize, render, speaker_stats, transform
from ..anonymize.pipeline import needs_aperiodicity
from ..anonymize.world import with_aperiodicity
from ..audio import check_level, check_sr, check_wav, chunks
from ..audio.level import attenuate_pauses
from ..audio.wav import _resample
from ..config import Config
from ..errors import ParameterError, check_installed
from ..model.numpy_generator import NumpyGenerator
from ..model.voice_folder import find_voice, read_voice
from ..parallel import one_blas_thread
from ..speaker import SpeakerStats
from ..spectrogram import image_to_wav, wav_to_image
from .long import convert_long, estimate_speaker
from .streaming import Stream

Network = Callable[[np.ndarray, float], np.ndarray]  # an image and a strength to an image
WIDTH = 64  # image widths are padded to a multiple, so that the network sees few sizes [frames]


class Voice:
    """A trained voice; from `load_voice`.

    Parameters
    ----------
    generator : NumpyGenerator or networks.OnArrays
    config : Config
        What it was trained with, its `target` included.
    name : str
        Name of its folder.

    Attributes
    ----------
    sr : int [Hz]
        Sampling rate of the output of `convert`.
    live : streaming.Stream or None
        The conversion that `stream` continues.
    """

    def __init__(self, generator: Network, config: Config, name: str = "unnamed"):
        self.generator, self.config, self.name = generator, config, name
        self.live: Stream | None = None

    @property
    def sr(self) -> int:
        return self.config.sr

    @property
    def disclosure(self) -> str:
        """Text for the metadata of files of converted speech, in ASCII."""
        name = self.name.encode("ascii", "replace").decode()[:100]
        return (
            f"Synthetic speech: converted to the voice '{name}' by vc_lib {__version__} "
            "(Anonymous Voice Conversion). The person whose voice it is did not say this. "
            "Disclose it as synthetic wherever it is heard."
        )

    @one_blas_thread()
    def convert(self, wav: np.ndarray, sr: int, source: SpeakerStats | None = None) -> np.ndarray:
        """Convert speech to this voice.

        Parameters
        ----------
        wav : np.ndarray [shape=(n_samples,), -1..1]
            Speech of one speaker.
        sr : int [Hz]
            Sampling rate of `wav`; any.
        source : SpeakerStats, optional
            Statistics of the speaker over more speech than `wav`, from `source_stats`. By default
            they are measured on `wav`.

        Returns
        -------
        converted : np.ndarray [shape=(round(n_samples * self.sr / sr),), float32, -1..1]

        Raises
        ------
        ParameterError
            If `wav` is not a finite 1-D array, its scale is not -1..1, or `sr` is not a sampling
            rate.
        """
        wav = self._accept(wav, sr, source)
        if not len(wav):
            return wav
        if len(wav) > chunks.longest(self.sr):
            return np.concatenate(list(convert_long(self, [wav], source)))
        features = analyze(wav, self.sr, self.config, aperiodic=False)
        source = source or speaker_stats([features], prior=self.config.target)
        if needs_aperiodicity(self.config, source):
            features = with_aperiodicity(features, wav).compact()
        transformed = transform(features, self.config, source)
        anonymized = render(wav, features, transformed, self.config, source)
        return attenuate_pauses(self.generate(anonymized), wav, self.sr, self.config.pause_depth_db)

    def anonymize(self, wav: np.ndarray, sr: int, source: SpeakerStats | None = None) -> np.ndarray:
        """Anonymize speech as `convert` does before the generator.

        Parameters as in `convert`; the output has the rate `self.sr` and the length of `convert`'s.
        Long speech is anonymized as a whole, not in chunks.
        """
        wav = self._accept(wav, sr, source)
        return anonymize(wav, self.sr, self.config, source=source)

    def generate(self, anonymized: np.ndarray) -> np.ndarray:
        """Apply the generator to anonymized speech at `self.sr`, at most half a minute of it."""
        padding = -len(anonymized) % (WIDTH * self.config.hop_length)
        # no padding where it would be over a quarter of the input
        wav = np.pad(anonymized, (0, padding if len(anonymized) > 4 * padding else 0))
        out = self.generator(wav_to_image(wav, self.config), self.config.change_strength)
        return np.clip(image_to_wav(out, self.config, len(anonymized)), -1, 1)

    def stream(
        self, block: np.ndarray | None, source: SpeakerStats | None = None, latency: float = 0.3
    ) -> np.ndarray:
        """Convert live speech, block by block; the output lags `latency` behind the input.

        Parameters
        ----------
        block : np.ndarray [shape=(n_samples,), -1..1] or None
            The next samples at `self.sr`, any number. None ends the stream and returns its last
            `self.live.latency` samples; the next block starts another stream.
        source : SpeakerStats, optional
            Statistics of the speaker, from `source_stats`; read with the first block only. By
            default they are measured on the input. For several speakers at once, make a `Stream`
            for each.
        latency : float [s, 0.1..0.3]
            As for `Stream`; read with the first block only.

        Returns
        -------
        converted : np.ndarray [shape=(n_samples,), float32, -1..1]

        Raises
        ------
        ParameterError
            If `block` is not a finite 1-D array of floats, or `latency` is out of range.
        """
        if self.live is None:
            self.live = Stream(self, source, latency=latency)
        if block is not None:
            return self.live(block)
        rest, self.live = self.live.rest(), None
        return rest

    def with_dials(self, semitones: float | None = None, strength: float | None = None) -> "Voice":
        """A copy with other dials, which shares the network.

        Parameters
        ----------
        semitones : float, optional [-24..24]
            Added to the pitch; by default the voice's own.
        strength : float, optional [0..2]
            Share of the network's change; by default the voice's own.

        Raises
        ------
        ParameterError
            If a dial is out of range.
        """
        dials = dict(f0_shift_semitones=semitones, change_strength=strength)
        given: dict[str, Any] = {
            name: float(value) for name, value in dials.items() if value is not None
        }
        voice = copy(self)
        voice.config, voice.live = replace(self.config, **given), None
        return voice

    def source_stats(self, wavs: Iterable[np.ndarray]) -> SpeakerStats:
        """Statistics of the speaker of `wavs`, waveforms at `self.sr`, over the first minute."""
        return estimate_speaker(self.config, chunks.split_at_pauses(wavs, self.sr, 0))[1]

    def _accept(self, wav: np.ndarray, sr: int, source: SpeakerStats | None) -> np.ndarray:
        """The waveform, checked, at the rate of the voice, within -1..1."""
        wav = check_level(check_wav(wav))
        if not isinstance(source, SpeakerStats | None):
            raise ParameterError(
                f"source={type(source).__name__} must be SpeakerStats or None; "
                "measure it with voice.source_stats"
            )
        wav = _resample(wav, check_sr(sr), self.sr)
        return np.clip(wav, -1, 1).astype(np.float32)


def load_voice(folder, device=None) -> Voice:
    """Load a voice that training saved, or a voice that ships by its name.

    Parameters
    ----------
    folder : str or Path
        A folder with generator.safetensors and config.json, such as models/ljspeech. Or a name,
        such as "ljspeech", of a voice in `models/` or of one that ships with the package.
    device : str or torch.device, optional
        Run the network by torch there: "cpu", "cuda", "mps". By default the compact network
        runs by NumPy; it takes a sixth of the time, so a GPU saves little. Others need torch, and take
        CUDA or MPS if there is one.

    Raises
    ------
    MissingInput
        If the folder or one of the two files does not exist.
    ParameterError
        If the files are damaged, too large or not of one voice, or if they link out of the folder.

    Examples
    --------
    >>> voice = load_voice("ljspeech")  # doctest: +SKIP
    >>> converted = voice.convert(wav, sr)  # doctest: +SKIP
    """
    folder = find_voice(folder)
    weights, config = read_voice(folder)
    name = folder.resolve().name
    if device is None and config.encoder == "compact":
        return Voice(NumpyGenerator(config, weights), config, name)
    return Voice(_by_torch(config, weights, device), config, name)


def _by_torch(config: Config, weights: dict[str, np.ndarray], device) -> Network:
    """The network on a device: by default CUDA or MPS where available, else the CPU."""
    check_installed("conversion by torch", "train", "torch", "fastai")
    import torch

    from ..model.networks import OnArrays, with_weights

    if device is None:
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    return OnArrays(with_weights(config, weights), device)
