"""Anonymize a recording by its WORLD features: analyze -> transform -> render.

`anonymize`, at the end of this file, is the whole anonymizer:

1. `world.analyze` splits the recording into F0, spectral envelope and aperiodicity.
2. `transform` changes each of the three, towards the statistics of a target speaker if there is
   one. The changes are pure functions in `dials`; a preset of `AnonymizeConfig` sets how far each
   dial is turned.
3. `render` makes a waveform of the same length from the result. Sound that is not voiced is the
   recording itself, filtered (`recorded`). Voiced sound is WORLD's synthesis, or made of grains of
   the recording (`psola`) where the pitch moves little.

The envelope needs the most steps (`_transform_envelope`): formants are scaled to the target's
register, and the mean and covariance of the cepstrum are moved to the target's (`statistics`).
Then one affine map (fMLLR) and a shift of each acoustic class move it further
(`acoustic_classes`). The private presets go to a `pseudo_speaker` in place of a target.

WORLD: Morise et al., IEICE Trans. E99-D(7), 2016.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..config import AnonymizeConfig
from ..errors import ParameterError
from ..parallel import one_blas_thread
from ..speaker import SpeakerStats
from .dials import (
    MAX_GAIN_DB,
    average_aperiodicity,
    blur_envelope,
    constant_f0,
    gaussian_f0,
    highpass_envelope,
    jitter_f0,
    power_db,
    recentre_f0,
    scale_formants,
    shift_f0,
    with_power,
)
from .hybrid import hybrid
from .perturb import SpeakerPerturbation
from .pseudo_speaker import PseudoSpeaker, canonical
from .psola import Grains, find_grains
from .statistics import match_target, speaker_stats, voice_threshold_db
from .world import FLOOR_POWER, N_CEPSTRA, Features, analyze, cepstrum, envelope_from_cepstrum

GRAIN_RATIOS = (0.7, 1.2)  # ratios of new to old register at which grains sound better than WORLD


def transform(
    features: Features,
    cfg: AnonymizeConfig,
    source: SpeakerStats | None = None,
    rng: np.random.Generator | None = None,
) -> Features:
    """Change F0, envelope and aperiodicity as `cfg` says.

    Parameters
    ----------
    features : Features
    cfg : AnonymizeConfig
        The presets `private` and `private_consistent` do not use its `target`.
    source : SpeakerStats, optional
        Statistics of the speaker. By default they are measured on `features`; the less speech there
        is, the nearer they are to the target's.
    rng : np.random.Generator, optional
        Source of the noise that some dials add; by default the noise is the same every time. The
        preset `private` draws a pseudo-speaker from it, by default a new one every time;
        `private_consistent` draws from `cfg.private_key` alone.

    Returns
    -------
    Features
        The same number of frames; unvoiced frames stay unvoiced.

    Raises
    ------
    ParameterError
        If `cfg.target` or `source` was measured at another sampling rate, if `features` are
        empty or invalid, or if a private preset is asked for at another rate than 16 kHz.
    """
    if not len(features.checked().f0):
        raise ParameterError("features have no frame; analyze at least one sample")
    for stats in (cfg.target, source):
        if stats and stats.sr != features.sr:
            raise ParameterError(
                f"sr={features.sr} must equal the statistics' sr={stats.sr} Hz; "
                f"resample with load_wav(path, sr={stats.sr})"
            )
    source = source or measured_source(features, cfg)
    if cfg.is_private:
        return _of_a_pseudo_speaker(features, cfg, source, rng)
    return _turned(features, cfg, source, rng or np.random.default_rng(0))


def _turned(features, cfg, source, rng) -> Features:
    """Features after all dials."""
    dials = cfg.dials
    f0 = _transform_f0(features, cfg, dials, source, rng)
    sp = _transform_envelope(features, cfg, dials, source)
    return replace(
        features,
        f0=f0,
        sp=highpass_envelope(sp, f0, features.sr, dials["highpass_db_per_octave"]),
        ap=_transform_aperiodicity(features.ap, dials, rng),
    )


def _of_a_pseudo_speaker(features, cfg, source, rng) -> Features:
    """Features of a pseudo-speaker, after the dials that need no target."""
    if cfg.preset == "private_consistent":
        rng = np.random.default_rng([cfg.private_key])
    speaker = PseudoSpeaker.draw(cfg, features.sr, rng or np.random.default_rng())
    f0_mode = "keep" if cfg.dials["f0_mode"] == "match" else cfg.dials["f0_mode"]  # matched there
    rest = replace(cfg, target=None, f0_mode=f0_mode)
    changed = _turned(speaker.speak(features, source), rest, source, np.random.default_rng(0))
    return between(features, changed, min(1.0, 2 * cfg.private_strength))


def between(features: Features, changed: Features, strength: float) -> Features:
    """Interpolate between untouched (0) and anonymized (1) features.

    Log-F0, log envelope and aperiodicity in dB are interpolated linearly. A frame that is voiced in
    `features` only keeps its F0 until `strength` is 1, while its aperiodicity rises towards 1.

    Raises
    ------
    ParameterError
        If `strength` is not in 0..1.
    """
    if not 0 <= strength <= 1:
        raise ParameterError(f"strength={strength} must be in 0..1 (1: fully anonymized)")
    if strength == 1:
        return changed
    both = features.voiced & changed.voiced
    f0 = np.where(both, features.f0, 1.0) ** (1 - strength)
    f0 = f0 * np.where(both, changed.f0, 1.0) ** strength
    end_ap = np.where((features.voiced & ~changed.voiced)[:, None], 1.0, changed.ap)
    sp, end_sp = (np.maximum(f.sp, FLOOR_POWER) for f in (features, changed))
    ap = np.maximum(features.ap, 1e-3) ** (1 - strength) * np.maximum(end_ap, 1e-3) ** strength
    return replace(
        features,
        f0=np.where(both, f0, features.f0),
        sp=sp ** (1 - strength) * end_sp**strength,
        ap=np.clip(ap, 1e-3, 1),
    )


def measured_source(features: Features, cfg: AnonymizeConfig) -> SpeakerStats:
    """Statistics of the speaker, measured on these features alone."""
    prior = canonical(features.sr).voiced if cfg.is_private else cfg.target
    return speaker_stats([features], prior=prior or _own_mean(features))


def _own_mean(features: Features) -> SpeakerStats:
    """Statistics to fall back on if a clip holds no speech: its own, so that it stays unchanged."""
    mc = cepstrum(features)
    level_db = float(power_db(features.sp).max())
    return SpeakerStats(features.sr, 0.0, 0.0, level_db, tuple(mc.mean(0)), tuple(mc.std(0)))


def transform_f0(features: Features, cfg: AnonymizeConfig, source: SpeakerStats) -> np.ndarray:
    """F0 as `transform` gives it without an `rng` [shape=(n_frames,), Hz]."""
    return _transform_f0(features, cfg, cfg.dials, source, np.random.default_rng(0))


def _transform_f0(features, cfg, dials, source, rng) -> np.ndarray:
    f0 = features.f0
    if dials["unvoiced"] == "recorded":  # the end of a word in a room is no voice any more
        f0 = np.where(power_db(features.sp) > voice_threshold_db(source, features), f0, 0.0)
    return _moved_f0(f0, cfg, dials, source, rng)


def _moved_f0(f0, cfg, dials, source, rng) -> np.ndarray:
    register = cfg.target.f0_hz if cfg.target and cfg.target.f0_hz > 0 else cfg.f0_register_hz
    mode = dials["f0_mode"]
    if mode == "zero":
        f0 = np.zeros_like(f0)
    elif mode == "constant":
        f0 = constant_f0(f0, register)
    elif mode == "recentre":
        f0 = recentre_f0(f0, source.f0_hz, register)
    elif mode == "match":
        to = cfg.target or replace(source, f0_std_semitones=0.0)
        if to.f0_hz != register:
            to = replace(to, f0_hz=register)
        f0 = gaussian_f0(f0, source, to)
    elif mode == "noise":
        f0 = jitter_f0(f0, cfg.f0_noise_semitones, rng)
    return shift_f0(f0, cfg.f0_shift_semitones)


def _transform_envelope(features, cfg, dials, source) -> np.ndarray:
    strength = dials["match_target"] if cfg.target else 0.0
    sp = scale_formants(features.sp, cfg.formant_ratio * source.formant_ratio**strength)
    sp = blur_envelope(sp, features.sr, dials["blur_hz"])
    if dials["n_cepstra"] or strength:
        sp = _move_cepstrum(replace(features, sp=sp), cfg, dials["n_cepstra"], strength, source)
    gain_db = strength * (cfg.target.level_db - source.level_db) if cfg.target else 0.0
    gain_db = np.clip(gain_db, -MAX_GAIN_DB, MAX_GAIN_DB)
    # each frame keeps its energy, apart from one gain for the whole clip
    return with_power(sp, power_db(features.sp) + gain_db)


def _move_cepstrum(features, cfg, n_cepstra, strength, source) -> np.ndarray:
    """Move the cepstra of the envelope towards the target's statistics, and cut them to `n_cepstra`."""
    mc = cepstrum(features, max(N_CEPSTRA, n_cepstra))
    moved = mc.copy()
    if strength:  # coefficient 0 is the level, which stays
        own, period_ms = mc[:, 1:N_CEPSTRA], features.frame_period_ms
        change = match_target(own, source, cfg.target, period_ms / 1000) - own
        if cfg.match_smooth_ms:  # unsmoothed, the map amplifies differences between frames
            sigma = cfg.match_smooth_ms / period_ms
            change = gaussian_filter1d(change, sigma, axis=0, mode="nearest")
        moved[:, 1:N_CEPSTRA] += strength * change
    n_bins = features.sp.shape[1]
    if n_cepstra:
        return envelope_from_cepstrum(moved[:, :n_cepstra], features.sr, n_bins)
    return features.sp * envelope_from_cepstrum(moved - mc, features.sr, n_bins)


def _transform_aperiodicity(ap, dials, rng) -> np.ndarray:
    ap = average_aperiodicity(ap, dials["n_ap_bands"])
    if dials["ap_gain_db"]:
        ap = np.clip(ap * 10 ** (dials["ap_gain_db"] / 20), 0, 1)
    if dials["ap_noise"]:
        ap = np.clip(ap + rng.normal(0, dials["ap_noise"], ap.shape), 1e-3, 1.0)
    return ap


def choose_grains(
    wav: np.ndarray,
    features: Features,
    to_f0: np.ndarray,
    cfg: AnonymizeConfig,
    source: SpeakerStats,
    known: tuple[int, float] | None = None,
) -> list[Grains] | None:
    """The grains of which voiced sound is made, or None if WORLD makes it.

    The dial `voiced` decides. "auto" decides once for a speaker, by the ratio of new to old
    register.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
    features : Features
        Of `wav`.
    to_f0 : np.ndarray [shape=(n_frames,), Hz]
        F0 after `transform`.
    cfg : AnonymizeConfig
    source : SpeakerStats
    known : (int, float), optional
        As for `psola.find_grains`.
    """
    if not grains_fit(cfg, source):
        return None
    hop = features.frame_period_ms / 1000 * features.sr
    return find_grains(wav, features.f0, to_f0, features.sr, hop, known)


def grains_fit(cfg: AnonymizeConfig, source: SpeakerStats) -> bool:
    """Whether voiced sound of this speaker is made of grains; see `choose_grains`."""
    dials, ratio = cfg.dials, 1.0
    if dials["voiced"] == "auto" and dials["f0_mode"] == "noise":
        return False  # F0 jumps from frame to frame
    if dials["voiced"] == "auto" and source.f0_hz > 0:
        register = np.array([source.f0_hz])
        moved = _moved_f0(register, cfg, dials, source, np.random.default_rng(0))[0]
        ratio = moved / source.f0_hz
    return dials["voiced"] != "vocoder" and GRAIN_RATIOS[0] <= ratio <= GRAIN_RATIOS[1]


def needs_aperiodicity(cfg: AnonymizeConfig, source: SpeakerStats) -> bool:
    """Whether `render` makes any sound of this speaker by WORLD's synthesis."""
    return cfg.dials["unvoiced"] != "recorded" or not grains_fit(cfg, source)


def render(
    wav: np.ndarray,
    features: Features,
    transformed: Features,
    cfg: AnonymizeConfig,
    source: SpeakerStats,
) -> np.ndarray:
    """Make a waveform of transformed features.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,)]
        The recording that `features` were analyzed from.
    features, transformed : Features
        Before and after `transform`.
    cfg : AnonymizeConfig
        The dials `voiced` and `unvoiced` say what comes from the recording and what from WORLD.
    source : SpeakerStats
        Statistics of the speaker, as for `transform`.

    Returns
    -------
    np.ndarray [shape=(n_samples,), float32, -1..1]

    Raises
    ------
    ParameterError
        If the two features have other shapes, or hold negative or infinite values.
    """
    if features.checked().sp.shape != transformed.checked().sp.shape:
        raise ParameterError(
            f"features have {features.sp.shape} frames and bins, transformed ones "
            f"{transformed.sp.shape}; both must be of the same recording"
        )
    wav = np.asarray(wav, np.float32)  # sums overflow in float16
    grains = choose_grains(wav, features, transformed.f0, cfg, source)
    return hybrid(wav, features, transformed, grains, cfg.dials["unvoiced"] == "recorded")


@one_blas_thread()
def anonymize(
    wav: np.ndarray,
    sr: int,
    cfg: AnonymizeConfig,
    rng: np.random.Generator | None = None,
    source: SpeakerStats | None = None,
) -> np.ndarray:
    """Anonymize a recording: analyze, transform, render.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    cfg : AnonymizeConfig
        May be a whole `Config`. Its `target`, if set, gives the register and envelope to match.
    rng : np.random.Generator, optional
        Draws a `SpeakerPerturbation`, which is applied first, as in training. By default the
        output has the same bytes every time. The preset `private` draws the pseudo-speaker from
        it, by default another one every time.
    source : SpeakerStats, optional
        Statistics of this speaker over more speech than `wav`; by default measured on `wav`. For a
        private preset, measure them with `pseudo_speaker.canonical(sr).voiced` as the prior.

    Returns
    -------
    anonymized : np.ndarray [shape=(n_samples,), float32, -1..1]

    Raises
    ------
    ParameterError
        If `wav` is not a finite 1-D array, `cfg.target` was measured at another rate than `sr`, or
        a private preset is asked for at another rate than 16 kHz.

    Examples
    --------
    >>> wav = 0.1 * np.sin(2 * np.pi * 150 * np.arange(8000) / 16000)
    >>> anonymize(wav, 16000, AnonymizeConfig(preset="robot")).shape
    (8000,)
    """
    features = analyze(wav, sr, cfg).compact()
    if rng is not None and not cfg.is_private:
        usual = cfg.target or measured_source(features, cfg)
        perturbed = SpeakerPerturbation.draw(cfg, usual, rng).apply(features)
    else:
        perturbed = features
    source = source or measured_source(perturbed, cfg)
    return render(wav, features, transform(perturbed, cfg, source, rng), cfg, source)
