"""Pseudo-speakers: people who do not exist, for the presets `private` and `private_consistent`.

`PseudoSpeaker.draw` takes the register of a real stranger, a part of the way to their envelope, a
random length of the vocal tract and a random tilt. `PseudoSpeaker.speak` moves a recording there:

1. What is known of the source is normalized away. Voiced frames are moved to the statistics and
   acoustic classes of one canonical voice, unvoiced frames to the mean and deviation of all
   strangers. What is left of the voice is the error of these estimates. Melody, timing, and
   aperiodicity in four bands stay.
2. The canonical voice becomes the pseudo-speaker. The random part hides what was left.
3. The noise between words, which tells the room, becomes the same noise for everybody, and the
   speech gets the same level.

The idea of a pseudo-speaker for each utterance: Fang et al., Speaker anonymization using x-vector and
neural waveform models, SSW 2019.
"""

from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter1d

from ..config import AnonymizeConfig
from ..errors import ParameterError
from ..speaker import AcousticClasses, SpeakerStats
from .dials import MAX_GAIN_DB, gaussian_f0, power_db, scale_formants, vtl_ratio, with_power
from .statistics import (
    ABOVE_NOISE_DB,
    NEAR_SPEECH_DB,
    active_frames,
    match_target,
    transported,
)
from .world import FLOOR_POWER, N_CEPSTRA, Features, cepstrum, envelope_from_cepstrum

STRANGERS = Path(__file__).with_name("strangers.npz")  # made by tools/measure_strangers.py
FULL_SHARE = 0.4  # strength 1: share of the way from the canonical envelope to the stranger's
FULL_TRACT = 0.4  # strength 1: formants times up to 1.4 or 1 / 1.4
FULL_TILT = 0.6  # strength 1: standard deviation of the offsets of cepstral coefficients 1 to 3
PRIOR_FRAMES = 30  # weight of the strangers' mean in the statistics of unvoiced frames [frames]
STRETCH = (0.5, 2.0)  # range of the factor for the deviation of unvoiced frames
FADE_MS = 10.0  # smoothing of the border between voiced and unvoiced, standard deviation [ms]
PAUSE_DB = -45.0  # level of the noise in pauses, relative to the mean level of speech [dB]
PAUSE_BORDER_MS = 30.0  # speech that is kept around active frames [ms]
PAUSE_FADE_MS = 15.0  # smoothing of the border of a pause, standard deviation [ms]
PAUSE_CORNER = 1 / 8  # frequency above which the noise in pauses falls, as a share of Nyquist


@cache
def strangers(sr: int) -> tuple[SpeakerStats, ...]:
    """Statistics of real speakers; none at sampling rates at which they were not measured.

    Parameters
    ----------
    sr : int [Hz]
    """
    with np.load(STRANGERS, allow_pickle=False) as table:
        if int(table["sr"]) != sr:
            return ()
        names = [f.name for f in fields(SpeakerStats) if f.name in table and f.name != "sr"]
        columns = [table[name] for name in names]
    return tuple(
        SpeakerStats(sr=sr, **dict(zip(names, row, strict=True)))
        for row in zip(*columns, strict=True)
    )


@dataclass(frozen=True)
class Canonical:
    """The voice to which every source is normalized, before it becomes a pseudo-speaker."""

    voiced: SpeakerStats  # with acoustic classes
    unvoiced: np.ndarray  # (2, N_CEPSTRA) mean and deviation of unvoiced frames, of all strangers
    strangers_unvoiced: np.ndarray  # (n_strangers, 2, N_CEPSTRA) the same of each


@cache
def canonical(sr: int) -> Canonical:
    """The canonical voice.

    Parameters
    ----------
    sr : int [Hz]

    Raises
    ------
    ParameterError
        If `sr` is not 16 kHz, the rate at which it was measured.
    """
    with np.load(STRANGERS, allow_pickle=False) as table:
        own = int(table["sr"])
        if own != sr:
            raise ParameterError(
                f"sr={sr} Hz must be {own} Hz for the presets private and private_consistent; "
                f"resample with load_wav(path, sr={own})"
            )
        arrays = {key: table[key] for key in table.files}
    classes = AcousticClasses(
        *(arrays[f"canonical_{name}"] for name in ("weights", "means", "variances"))
    )
    names = [f.name for f in fields(SpeakerStats) if f"canonical_{f.name}" in arrays]
    stats: dict[str, Any] = {name: arrays[f"canonical_{name}"] for name in names}
    each = arrays["unvoiced"].astype(float)
    return Canonical(SpeakerStats(sr=sr, **stats, classes=classes), each.mean(0), each)


def speech_frames(features: Features, source: SpeakerStats) -> np.ndarray:
    """Mask of the frames of speech, apart from loud noise between words [shape=(n_frames,)].

    They are less than 35 dB under the loud ones, and above the noise of `source`.
    """
    above_noise = min(source.noise_db + ABOVE_NOISE_DB, source.level_db - NEAR_SPEECH_DB)
    sigma = FADE_MS / features.frame_period_ms  # the level of noise fluctuates
    smooth_db = 10 * np.log10(gaussian_filter1d(features.sp.mean(1), sigma) + FLOOR_POWER)
    return active_frames(features) & (smooth_db > above_noise)


def unvoiced_stats(mc: np.ndarray) -> np.ndarray:
    """Mean and deviation of the cepstra of unvoiced frames [shape=(2, n_coefficients)]."""
    return np.array([mc.mean(0), mc.std(0)])


@dataclass(frozen=True)
class PseudoSpeaker:
    """A speaker who does not exist."""

    stranger: SpeakerStats  # register and spread of F0 are theirs
    unvoiced: np.ndarray  # (2, N_CEPSTRA) mean and deviation of unvoiced frames
    share: float  # share of the way from the canonical envelope to the stranger's
    formant_ratio: float  # factor for the canonical voice's formants
    tilt: np.ndarray  # (3,) offsets of cepstral coefficients 1 to 3

    @classmethod
    def draw(cls, cfg: AnonymizeConfig, sr: int, rng: np.random.Generator) -> "PseudoSpeaker":
        """Draw a pseudo-speaker as far from the canonical voice as `cfg.private_strength` says.

        Parameters
        ----------
        cfg : AnonymizeConfig
            A strength under 0.5 draws as 0.5 does; `transform` then goes a part of the way.
        sr : int [Hz]
        rng : np.random.Generator

        Raises
        ------
        ParameterError
            If `sr` is not 16 kHz.
        """
        of, strength = canonical(sr), max(cfg.private_strength, 0.5)
        number = rng.integers(len(strangers(sr)))
        stranger, share = strangers(sr)[number], FULL_SHARE * strength
        unvoiced = of.unvoiced + share * (of.strangers_unvoiced[number] - of.unvoiced)
        tract = vtl_ratio(of.voiced.f0_hz, stranger.f0_hz) ** (1 - share)
        ratio = tract * (1 + FULL_TRACT * strength) ** rng.uniform(-1, 1)
        return cls(stranger, unvoiced, share, ratio, rng.normal(0, FULL_TILT * strength, 3))

    def speak(self, features: Features, source: SpeakerStats) -> Features:
        """Make the pseudo-speaker say a recording.

        Parameters
        ----------
        features : Features
        source : SpeakerStats
            Statistics of the speaker, measured with the canonical voice as the prior.

        Returns
        -------
        Features
            F0 and envelope are changed. All frames get one gain, and keep their power otherwise,
            except in pauses.
        """
        of, period_ms = canonical(features.sr), features.frame_period_ms
        sp = scale_formants(features.sp, source.formant_ratio)
        mc = cepstrum(replace(features, sp=sp))
        own = mc[:, 1:N_CEPSTRA]
        voiced = match_target(own, source, of.voiced, period_ms / 1000)
        voiced += self.share * (transported(voiced, of.voiced, self.stranger) - voiced)
        speech = speech_frames(features, source)
        unvoiced = self._unvoiced(own, own[speech & ~features.voiced], of)
        share = gaussian_filter1d(features.voiced.astype(float), FADE_MS / period_ms)[:, None]
        change = np.zeros_like(mc)
        change[:, 1:N_CEPSTRA] = gaussian_filter1d(
            share * voiced + (1 - share) * unvoiced - own,
            FADE_MS / period_ms,
            axis=0,
            mode="nearest",
        )
        change[:, 1:4] += self.tilt
        sp = sp * envelope_from_cepstrum(change, features.sr, sp.shape[1])
        sp = scale_formants(sp, self.formant_ratio)
        gain_db = np.clip(of.voiced.level_db - source.level_db, -MAX_GAIN_DB, MAX_GAIN_DB)
        sp = with_power(sp, power_db(features.sp) + gain_db)
        f0 = gaussian_f0(features.f0, source, self.stranger)
        return same_pauses(replace(features, f0=f0, sp=sp), speech)

    def _unvoiced(self, mc: np.ndarray, measured: np.ndarray, of: Canonical) -> np.ndarray:
        """Cepstra with the pseudo-speaker's mean and deviation of unvoiced frames."""
        own, to = of.unvoiced[:, 1:], self.unvoiced[:, 1:]
        if n := len(measured):
            own = (n * unvoiced_stats(measured) + PRIOR_FRAMES * own) / (n + PRIOR_FRAMES)
        return (mc - own[0]) * np.clip(to[1] / own[1], *STRETCH) + to[0]


def same_pauses(features: Features, speech: np.ndarray) -> Features:
    """Replace the noise between words by noise of one spectrum, 45 dB under the speech.

    Parameters
    ----------
    features : Features
    speech : np.ndarray [shape=(n_frames,), bool]
        Frames of speech; those up to 30 ms away from one stay, too.
    """
    if not speech.any():
        return features
    period_ms = features.frame_period_ms
    near = binary_dilation(speech, iterations=max(1, round(PAUSE_BORDER_MS / period_ms)))
    share = gaussian_filter1d(near.astype(float), PAUSE_FADE_MS / period_ms)
    level_db = power_db(features.sp)[speech].mean() + PAUSE_DB
    frequency = np.linspace(0, 1, features.sp.shape[1]) / PAUSE_CORNER
    noise_db = -10 * np.log10(1 + frequency**2)
    noise_db += level_db - 10 * np.log10(np.mean(10 ** (noise_db / 10)))
    noise = 10 ** (noise_db / 10)
    sp, pause = features.sp.copy(), share < 1 - 1e-6
    weight = share[pause, None].astype(sp.dtype)
    sp[pause] = np.maximum(sp[pause], FLOOR_POWER) ** weight * noise.astype(sp.dtype) ** (
        1 - weight
    )
    return replace(features, f0=np.where(share > 0.5, features.f0, 0.0), sp=sp)
