"""Players: versions of one sentence, equally loud, that a key switches at the same moment.

`play` shows a `Player`, a widget with a spectrogram for each sound. Where widgets do not run (a preview,
a notebook that is not trusted), plain players with labels are shown instead.
"""

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path

import anywidget
import IPython.display as ipd
import matplotlib
import numpy as np
import soundfile
import traitlets
from PIL import Image

from ..anonymize import Features, find_f0
from ..audio import check_sr, check_wav, stft_magnitude
from ..config import AnonymizeConfig, AudioConfig
from ..errors import ParameterError

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
N_COLORS = 14  # colors of a spectrogram; more make large files
N_COLUMNS = 600  # width of a spectrogram [pixels]
CONTOUR_S = 0.01  # step of the drawn pitch contour [s]
QUICK = AnonymizeConfig(f0_method="dio")  # tracker of the drawn pitch; 10 times faster than Harvest


class Player(anywidget.AnyWidget):
    """A player to compare sounds: keys 1 to 9 switch at the same moment, the space bar plays.

    Parameters
    ----------
    wavs : dict of label to np.ndarray [shape=(n_samples,), -1..1]
        One row for each. Labels are text, not HTML.
    sr : int [Hz]
        Sampling rate of all waveforms.
    exact : bool
        True: lossless 16-bit FLAC, also used at rates without MP3. False: MP3, which is small.
    f0 : bool or dict of label to Features
        Pitch drawn over the spectrograms. True: measured here. Features: taken from them; labels
        without features have no pitch.

    Attributes
    ----------
    active : int
        Index of the row that is heard; follows the page, and can be set.
    """

    _esm = Path(__file__).with_name("player.js")
    tracks = traitlets.List().tag(sync=True)
    active = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        wavs: Mapping[str, np.ndarray],
        sr: int,
        exact: bool = False,
        f0: bool | Mapping[str, Features] = True,
    ):
        sounds = _sounds(wavs, sr, exact)
        super().__init__(tracks=_tracks(sounds, wavs, sr, f0))
        self._sounds = sounds

    def show(
        self,
        wavs: Mapping[str, np.ndarray],
        sr: int,
        exact: bool = False,
        f0: bool | Mapping[str, Features] = True,
    ) -> None:
        """Replace the sounds and keep the position; parameters as of the class."""
        self._sounds = _sounds(wavs, sr, exact)
        self.tracks = _tracks(self._sounds, wavs, sr, f0)

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return data | {"text/html": _table(self._sounds), "text/plain": "players"}, metadata


def tracks_of(wavs: Mapping[str, np.ndarray], sr: int) -> list[dict]:
    """The rows of a `Player` of these waveforms for player.js, without a widget."""
    return _tracks(_sounds(wavs, sr, exact=False), wavs, sr, f0=True)


def _tracks(sounds: Mapping[str, dict], wavs: Mapping[str, np.ndarray], sr: int, f0) -> list[dict]:
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


def play(
    wavs: Mapping[str, np.ndarray],
    sr: int,
    exact: bool = False,
    f0: bool | Mapping[str, Features] = True,
) -> None:
    """Show a `Player`, which has the same parameters.

    All sounds get the same speech level: -23 dB of full scale, or lower if a peak would clip. The
    gain is shown beside each sound. The speech level is the RMS of the 50 ms blocks less than
    25 dB below the loudest, so pauses do not count.

    Raises
    ------
    ParameterError
        If there is no waveform, or an array is not a waveform.

    References
    ----------
    Gated levels: ITU-R BS.1770 (here without its frequency weighting).
    """
    ipd.display(Player(wavs, sr, exact, f0))


def same_loudness(wavs: Mapping[str, np.ndarray], sr: int) -> dict[str, np.ndarray]:
    """The waveforms at the speech level of `play`, to be saved; same parameters."""
    wavs = checked_wavs(wavs)
    gains_db = gains_to_level(wavs, sr)
    return {label: wav * 10 ** ((gains_db[label] or 0) / 20) for label, wav in wavs.items()}


def players_html(wavs: Mapping[str, np.ndarray], sr: int, exact: bool = False) -> str:
    """Plain players as self-contained HTML; parameters as of `play`."""
    return _table(_sounds(wavs, sr, exact))


def _sounds(wavs: Mapping[str, np.ndarray], sr: int, exact: bool) -> dict[str, dict]:
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


def _table(sounds: Mapping[str, dict]) -> str:
    """HTML table with a row for each sound: label, player, gain."""
    rows = []
    for label, sound in sounds.items():
        name = html.escape(str(label))
        source = data_url(sound["mime"], sound["data"])
        rows.append(
            f'<tr><th scope="row" style="text-align:left">{name}</th>'
            f'<td><audio controls preload="metadata" aria-label="{name}" src="{source}"></audio></td>'
            f"<td>{sound['note']}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _encoded(wav: np.ndarray, sr: int, exact: bool) -> tuple[str, bytes]:
    """MIME type and bytes of the sound file."""
    file = io.BytesIO()
    if exact or sr not in MP3_RATES:
        soundfile.write(file, np.clip(wav, -1, 1), sr, format="FLAC", subtype="PCM_16")
        return "audio/flac", file.getvalue()
    soundfile.write(file, np.clip(wav, -1, 1), sr, format="MP3")
    return "audio/mpeg", file.getvalue()


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
    levels = np.clip(1 + db[::-1] / RANGE_DB, 0, 1) * (N_COLORS - 1)
    image = Image.fromarray(levels.round().astype(np.uint8)).convert("P")
    palette = matplotlib.colormaps["magma"](np.linspace(0, 1, N_COLORS))[:, :3]
    image.putpalette((255 * palette).round().astype(np.uint8).tobytes())
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
