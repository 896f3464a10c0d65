"""Players: versions of one sentence, equally loud, that a key switches at the same moment.

`play` shows a `Player`, a widget with a spectrogram for each sound. Where widgets do not run (a preview,
a notebook that is not trusted), plain players with labels are shown instead.
"""

import html
from collections.abc import Mapping

import anywidget
import IPython.display as ipd
import numpy as np
import traitlets

from ..anonymize import Features
from ..listen.tracks import PLAYER, data_url, encoded_sounds, tracks_of_sounds


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

    _esm = PLAYER
    tracks = traitlets.List().tag(sync=True)
    active = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        wavs: Mapping[str, np.ndarray],
        sr: int,
        exact: bool = False,
        f0: bool | Mapping[str, Features] = True,
    ):
        sounds = encoded_sounds(wavs, sr, exact)
        super().__init__(tracks=tracks_of_sounds(sounds, wavs, sr, f0))
        self._sounds = sounds

    def show(
        self,
        wavs: Mapping[str, np.ndarray],
        sr: int,
        exact: bool = False,
        f0: bool | Mapping[str, Features] = True,
    ) -> None:
        """Replace the sounds and keep the position; parameters as of the class."""
        self._sounds = encoded_sounds(wavs, sr, exact)
        self.tracks = tracks_of_sounds(self._sounds, wavs, sr, f0)

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return data | {"text/html": _table(self._sounds), "text/plain": "players"}, metadata


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


def players_html(wavs: Mapping[str, np.ndarray], sr: int, exact: bool = False) -> str:
    """Plain players as self-contained HTML; parameters as of `play`."""
    return _table(encoded_sounds(wavs, sr, exact))


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
