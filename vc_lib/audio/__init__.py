"""Waveforms and sound files: wav (checks, mono, resampling), read, write, level (speech level, pauses),
loudness (ITU-R BS.1770), chunks (cuts at pauses).
"""

from .read import blocks, list_audio, load_wav, read_comment
from .wav import check_level, check_sr, check_wav, resample, stft_magnitude, to_mono
from .write import WavWriter, save_wav

__all__ = [
    "WavWriter",
    "blocks",
    "check_level",
    "check_sr",
    "check_wav",
    "list_audio",
    "load_wav",
    "read_comment",
    "resample",
    "save_wav",
    "stft_magnitude",
    "to_mono",
]
