"""Sounds that are compared: brought to one speech level, with a spectrogram and pitch for each.

A track is what player.js is told of one sound. Nothing here needs matplotlib or Jupyter.
"""

import base64
import errno
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from ..anonymize import find_f0
from ..audio import check_sr, check_wav, stft_magnitude
from ..config import AnonymizeConfig, AudioConfig
from ..errors import NotWritten, ParameterError

PLAYER = Path(__file__).with_name("player.js")  # code of the player
LISTENING_DB = -23.0  # speech level of all players [dB of full scale]
PEAK_DB = -1.0  # highest peak, since MP3 overshoots a little; the level is lowered if needed
SILENT_DB = -80.0  # sounds below this level are labelled silent and not amplified
GATE_DB = 25.0  # the speech level ignores blocks this far below the loudest
MP3_RATES = (
    8_000,
    11_025,
    12_000,
    16_000,
    22_050,
    24_000,
    32_000,
    44_100,
    48_000,
)  # rates of MP3 [Hz]
RANGE_DB = 70.0  # range of a spectrogram below the loudest bin
# colors of a spectrogram, few, to make small files: the map "magma" of matplotlib, CC0
MAGMA = (
    "000004",
    "0d0a29",
    "271258",
    "491078",
    "671b80",
    "862781",
    "a6317d",
    "c53c74",
    "e34e65",
    "f66c5c",
    "fc9065",
    "feb67c",
    "fdda9c",
    "fcfdbf",
)
N_COLUMNS = 600  # width of a spectrogram [pixels]
CONTOUR_S = 0.01  # step of the drawn pitch contour [s]
QUICK = AnonymizeConfig(f0_method="dio")  # tracker of the drawn pitch; 10 times faster than Harvest


def tracks_of(wavs: Mapping[str, np.ndarray], sr: int) -> list[dict]:
    """The rows of a `Player` of these waveforms for player.js, without a widget."""
    return tracks_of_sounds(encoded_sounds(wavs, sr, exact=False), wavs, sr, f0=True)


def tracks_of_sounds(
    sounds: Mapping[str, dict], wavs: Mapping[str, np.ndarray], sr: int, f0
) -> list[dict]:
    """Data of each row for player.js."""
    gains_db = {label: sound["gain_db"] for label, sound in sounds.items()}
    _, levels_db = levels_under_loudest(wavs, sr, gains_db, N_COLUMNS)
    tracks = []
    for label, wav in wavs.items():
        hz, period = _contour(label, wav, sr, f0)
        tracks.append(
            dict(
                label=str(label),
                note=sounds[label]["note"],
                sound=sounds[label]["data"],
                mime=sounds[label]["mime"],
                seconds=len(wav) / sr,
                picture=_png(levels_db[label]),
                f0=hz,
                period=period,
            )
        )
    return tracks


def same_loudness(wavs: Mapping[str, np.ndarray], sr: int) -> dict[str, np.ndarray]:
    """The waveforms at the speech level of `play`, to be saved; same parameters."""
    wavs = checked_wavs(wavs)
    gains_db = gains_to_level(wavs, sr)
    return {label: wav * 10 ** ((gains_db[label] or 0) / 20) for label, wav in wavs.items()}


def encoded_sounds(wavs: Mapping[str, np.ndarray], sr: int, exact: bool) -> dict[str, dict]:
    """Sound file, MIME type, gain [dB] and gain as text, for each waveform."""
    sounds, wavs = {}, checked_wavs(wavs)
    for label, gain_db in gains_to_level(wavs, sr).items():
        note = "silent" if gain_db is None else f"{gain_db:+.1f} dB".replace("-", "−")
        mime, data = _encoded(wavs[label] * 10 ** ((gain_db or 0) / 20), sr, exact)
        sounds[label] = dict(mime=mime, data=data, gain_db=gain_db, note=note)
    return sounds


def data_url(mime: str, data: bytes) -> str:
    """The data as a URL, which a page can hold in its own text."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _encoded(wav: np.ndarray, sr: int, exact: bool) -> tuple[str, bytes]:
    """MIME type and bytes of the sound file."""
    mime, suffix = ("flac", "flac") if exact or sr not in MP3_RATES else ("mpeg", "mp3")
    with tempfile.TemporaryDirectory(prefix="sound-") as folder:
        # not written to memory: Ctrl+C would be lost in soundfile's callback
        file = Path(folder, f"sound.{suffix}")
        try:
            soundfile.write(file, np.clip(wav, -1, 1), sr)
        except soundfile.LibsndfileError as e:
            raise NotWritten(
                f"{folder} cannot be written ({e}); free some space there, "
                "or set TMPDIR to another folder",
                errno.ENOSPC,
            ) from e
        return f"audio/{mime}", file.read_bytes()


# Levels


def checked_wavs(wavs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The waveforms, checked."""
    if not isinstance(wavs, Mapping) or not wavs:
        raise ParameterError(
            'wavs must be a dict of label to waveform with at least one, as in {"source": wav}, '
            f"got {'an empty one' if isinstance(wavs, Mapping) else type(wavs).__name__}"
        )
    return {label: check_wav(wav, str(label)) for label, wav in wavs.items()}


def gains_to_level(wavs: Mapping[str, np.ndarray], sr: int) -> dict[str, float | None]:
    """Gains to one speech level without a peak above PEAK_DB [dB]; None where silent."""
    wavs, sr = checked_wavs(wavs), check_sr(sr)
    levels = {label: _speech_level_db(wav, sr) for label, wav in wavs.items()}
    audible = {label: level for label, level in levels.items() if level > SILENT_DB}
    peaks = {label: 20 * np.log10(np.abs(wavs[label]).max()) for label in audible}
    common = min(
        [LISTENING_DB, *(PEAK_DB - peaks[label] + level for label, level in audible.items())]
    )
    return {label: common - level if label in audible else None for label, level in levels.items()}


def _speech_level_db(wav: np.ndarray, sr: int) -> float:
    """RMS level of the loud 50 ms blocks [dB of full scale; -200 for digital silence]."""
    size = min(len(wav), round(0.05 * sr))
    power = (wav[: len(wav) // size * size].astype(np.float64).reshape(-1, size) ** 2).mean(1)
    loud = power >= power.max() * 10 ** (-GATE_DB / 10)
    return float(10 * np.log10(max(power[loud].mean(), 1e-20)))


# Spectrograms of players


def levels_under_loudest(
    wavs: Mapping[str, np.ndarray], sr: int, gains_db: Mapping[str, float | None], n_frames: float
) -> tuple[AudioConfig, dict[str, np.ndarray]]:
    """Settings of the STFT and spectrograms [dB below the loudest bin of all] after `gains_db`.

    The window is 32 ms. The hop makes the longest spectrogram about `n_frames` wide.
    """
    n_fft = 2 * round(0.016 * sr)
    per_frame = max(map(len, wavs.values())) / n_frames
    hop_length = min(round(np.clip(per_frame, 0.002 * sr, n_fft / 2)), n_fft // 2)
    cfg = AudioConfig(sr=sr, n_fft=n_fft, hop_length=hop_length)
    levels_db = {}
    for label, wav in wavs.items():
        mag = stft_magnitude(wav, cfg)
        levels_db[label] = 20 * np.log10(np.maximum(mag, 1e-8)) + (gains_db[label] or 0)
    top_db = max(level_db.max() for level_db in levels_db.values())
    return cfg, {label: level_db - top_db for label, level_db in levels_db.items()}


def _png(db: np.ndarray) -> bytes:
    """A spectrogram as PNG, low frequencies at the bottom; 0 dB is brightest."""
    levels = np.clip(1 + db[::-1] / RANGE_DB, 0, 1) * (len(MAGMA) - 1)
    image = Image.fromarray(levels.round().astype(np.uint8)).convert("P")
    image.putpalette(bytes.fromhex("".join(MAGMA)))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _contour(label, wav: np.ndarray, sr: int, f0) -> tuple[list[int] | None, float]:
    """Pitch contour to draw [Hz, integers; 0 where unvoiced], and its step [s]."""
    if f0 is True:
        hz = find_f0(wav, sr, QUICK)
        step = QUICK.frame_period_ms / 1000
    elif f0 and label in f0:
        hz, step = f0[label].f0, f0[label].frame_period_ms / 1000
    else:
        return None, 0.0
    every = max(1, round(CONTOUR_S / step))
    return hz[::every].round().astype(int).tolist(), step * every
