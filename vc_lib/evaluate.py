"""All that can be said in numbers about a conversion, of one clip or of a set.

`evaluate` asks every metric and listener that its arguments and the installed packages allow;
METRICS lists them with unit and direction. `evaluate_set` does so for many clips with a progress
bar, `summary` draws the table with its confidence intervals.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from fastprogress.fastprogress import progress_bar

from . import listeners, metrics
from .anonymize import Features, analyze
from .audio import check_sr, check_wav
from .config import AnonymizeConfig, SpeakerStats
from .errors import ParameterError
from .files import atomically

N_RESAMPLES = 2_000  # of the bootstrap
ROLES = ("converted", "source", "target", "reference", "text")


class kept:
    """What a property gives, found when first asked for; `functools.cached_property`, but without its
    lock, which until Python 3.12 is one for all instances and lets only one thread work."""

    def __init__(self, find: Callable):
        self.find, self.__doc__ = find, find.__doc__

    def __set_name__(self, owner, name: str):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.find(instance)
        return value


class Clip:
    """A waveform and what is measured on it alone, found when first asked for and kept.

    Give one instead of an array to `evaluate` where the same sound is compared many times.

    Attributes
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    features : Features
        WORLD's.
    words : str
        What `listeners.transcribe` hears.
    embedding : np.ndarray or None
        Who speaks, see `listeners.speaker_embedding`.
    """

    def __init__(self, wav: np.ndarray, sr: int, f0_method: str = "harvest", name: str = "wav"):
        self.wav, self.sr, self.name = check_wav(wav, name), check_sr(sr), name
        self.cfg = AnonymizeConfig(f0_method=f0_method)

    @kept
    def features(self) -> Features:
        return analyze(self.wav, self.sr, self.cfg)

    @kept
    def words(self) -> str:
        return listeners.transcribe(self.wav, self.sr)

    @kept
    def embedding(self) -> np.ndarray | None:
        return listeners.speaker_embedding(self.wav, self.sr)


class TargetClips(list):
    """Several clips of one speaker, whose middle is found once, and what else is known of that speaker."""

    def __init__(self, clips: Iterable[Clip], stats: SpeakerStats | None = None):
        super().__init__(clips)
        self.stats = stats

    @kept
    def centroid(self) -> np.ndarray:
        return listeners.centroid([clip.embedding for clip in self])

    @property
    def features(self) -> list[Features] | SpeakerStats:
        return self.stats or [clip.features for clip in self]


@dataclass(frozen=True)
class Given:
    """What `evaluate` was given, as clips."""

    converted: Clip
    source: Clip | None = None
    target: TargetClips | None = None
    reference: Clip | None = None
    text: str | None = None
    align: str = "frames"

    @property
    def sr(self) -> int:
        return self.converted.sr

    def wavs(self, role: str) -> tuple:
        """Arguments of a metric that compares waveforms."""
        return self.converted.wav, getattr(self, role).wav, self.sr

    def features(self, role: str) -> tuple:
        """Arguments of a metric that compares features."""
        return self.converted.features, getattr(self, role).features, self.sr

    def aligned(self) -> tuple:
        return *self.features("reference"), self.align


@dataclass(frozen=True)
class Metric:
    """One number of `evaluate`: what it is called, what it needs, how it is computed."""

    label: str  # heading in tables
    unit: str
    better: str  # "higher", "lower" or "zero"
    needs: tuple[str, ...]  # arguments of evaluate beside `converted`
    compute: Callable[[Given], float]
    packages: tuple[str, ...] = ()  # extras, by the name they are imported by
    samplewise: bool = False  # says nothing about another reading of a sentence

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "zero": "→ 0"}[self.better]


def _words(given: Given) -> float:
    said = given.text if given.text is not None else given.source.words
    return listeners.word_error_rate(given.converted.words, said)


def _voiced_share(given: Given) -> float:
    converted, source, _ = given.features("source")
    n = min(len(converted.f0), len(source.f0))
    there = source.voiced[:n]
    return float(converted.voiced[:n][there].mean()) if there.any() else float("nan")


# Every metric by its key. Definitions, references and ranges: the functions that are called here.
METRICS = {
    "wer": Metric("WER", "", "lower", ("source or text",), _words, listeners.WORDS),
    "cosine_to_target": Metric(
        "cosine to target",
        "",
        "higher",
        ("recordings of target",),
        lambda g: listeners.speaker_cosine(g.converted.embedding, g.target.centroid),
        listeners.SPEAKER,
    ),
    "cosine_to_source": Metric(
        "cosine to source",
        "",
        "lower",
        ("source",),
        lambda g: listeners.speaker_cosine(g.converted.embedding, g.source.embedding),
        listeners.SPEAKER,
    ),
    "distillmos": Metric(
        "DistillMOS",
        "1..5",
        "higher",
        (),
        lambda g: listeners.distillmos(g.converted.wav, g.sr),
        listeners.NATURALNESS,
    ),
    "dnsmos": Metric(
        "DNSMOS",
        "1..5",
        "higher",
        (),
        lambda g: listeners.dnsmos(g.converted.wav, g.sr),
        listeners.NOISE,
    ),
    "source_log_f0_corr": Metric(
        "log-F0 corr. with source",
        "",
        "higher",
        ("source",),
        lambda g: metrics.log_f0_correlation(*g.features("source")),
    ),
    "source_voiced_share": Metric(
        "voiced share kept", "0..1", "higher", ("source",), _voiced_share
    ),
    "source_voicing_error": Metric(
        "voicing error against source",
        "0..1",
        "lower",
        ("source",),
        lambda g: metrics.voicing_error(*g.features("source")),
    ),
    "source_envelope_distance_db": Metric(
        "envelope from source",
        "dB",
        "higher",
        ("source",),
        lambda g: metrics.envelope_distance_db(*g.features("source")),
    ),
    "pause_level_db": Metric(
        "level in pauses",
        "dB",
        "lower",
        ("source",),
        lambda g: metrics.pause_level_db(g.converted.wav, g.sr, g.source.wav),
    ),
    "f0_register_cents": Metric(
        "register from target",
        "cents",
        "zero",
        ("target",),
        lambda g: metrics.f0_register_cents(*g.features("target")),
    ),
    "envelope_distance_db": Metric(
        "envelope from target",
        "dB",
        "lower",
        ("target",),
        lambda g: metrics.envelope_distance_db(*g.features("target")),
    ),
    "mcd_db": Metric("MCD", "dB", "lower", ("reference",), lambda g: metrics.mcd_db(*g.aligned())),
    "f0_rmse_cents": Metric(
        "F0 RMSE",
        "cents",
        "lower",
        ("reference",),
        lambda g: metrics.f0_rmse_cents(*g.aligned()),
    ),
    "log_f0_corr": Metric(
        "log-F0 corr.",
        "",
        "higher",
        ("reference",),
        lambda g: metrics.log_f0_correlation(*g.aligned()),
    ),
    "voicing_error": Metric(
        "voicing error",
        "0..1",
        "lower",
        ("reference",),
        lambda g: metrics.voicing_error(*g.aligned()),
    ),
    "lsd_db": Metric(
        "LSD",
        "dB",
        "lower",
        ("reference",),
        lambda g: metrics.log_spectral_distance_db(*g.wavs("reference")),
        samplewise=True,
    ),
    "si_snr_db": Metric(
        "SI-SNR",
        "dB",
        "higher",
        ("reference",),
        lambda g: metrics.si_snr_db(*g.wavs("reference")),
        samplewise=True,
    ),
    "pesq_wb": Metric(
        "PESQ-wb",
        "1..4.6",
        "higher",
        ("reference",),
        lambda g: metrics.pesq_wb(*g.wavs("reference")),
        ("pesq",),
        samplewise=True,
    ),
    "estoi": Metric(
        "ESTOI",
        "0..1",
        "higher",
        ("reference",),
        lambda g: metrics.estoi(*g.wavs("reference")),
        ("pystoi",),
        samplewise=True,
    ),
}


def evaluate(
    converted: np.ndarray | Clip,
    sr: int,
    source: np.ndarray | Clip | None = None,
    target: np.ndarray | Clip | SpeakerStats | Sequence | None = None,
    reference: np.ndarray | Clip | None = None,
    text: str | None = None,
    align: str = "frames",
    only: Iterable[str] | None = None,
    f0_method: str = "harvest",
) -> dict[str, float]:
    """Do the words survive, is it the target's voice, is the source gone, does it sound natural, is
    the intonation kept: all that there are arguments and packages for.

    Parameters
    ----------
    converted : np.ndarray [shape=(n_samples,), -1..1] or Clip
    sr : int [Hz]
        Of everything here; `audio.resample` brings the rest to it.
    source : the same, optional
        The speech that was converted; as long, within 5 ms.
    target : the same or a list of them, optional
        TargetClips of the target's voice, any sentence. SpeakerStats, such as a voice's
        `config.target`, may stand for them or beside them: register and envelope are then compared
        with these.
    reference : the same, optional
        The target saying the same thing.
    text : str, optional
        What is said; otherwise what the recogniser hears in `source` is taken for it.
    align : str
        "frames": `reference` is in time with `converted` and as long. "dtw": it is another reading
        of the sentence; what goes sample by sample (*) is left out.
    only : names of metrics, optional
        To compute these and no others; one whose package is missing is then MissingInput.
    f0_method : str
        How pitch is found, see `config.F0_METHODS`. Figures by one method are not comparable with
        those by another, so a Clip of another is refused.

    Returns
    -------
    dict of str to float
        =========================== ============== ========= ==================================
        key                         needs          unit      better
        =========================== ============== ========= ==================================
        wer (+)                     source or text 0..       lower: the words survive (English)
        cosine_to_target (+)        target         -1..1     higher: it is this voice
        cosine_to_source (+)        source         -1..1     lower: the speaker is gone
        distillmos (+)                             1..5      higher: natural
        dnsmos (+)                                 1..5      higher: clean
        source_log_f0_corr          source         -1..1     higher: intonation is kept
        source_voiced_share         source         0..1      higher: voiced frames stay voiced
        source_voicing_error        source         0..1      lower
        source_envelope_distance_db source         dB        higher: the speaker is left behind
        pause_level_db              source         dB        lower: pauses are silent
        f0_register_cents           target         cents     nearer to 0; above it is too high
        envelope_distance_db        target         dB        lower
        mcd_db                      reference      dB        lower
        f0_rmse_cents               reference      cents     lower
        log_f0_corr                 reference      -1..1     higher
        voicing_error               reference      0..1      lower
        lsd_db (*)                  reference      dB        lower
        si_snr_db (*)               reference      dB        higher
        pesq_wb (*, +)              reference      1..4.6    higher
        estoi (*, +)                reference      0..1      higher
        =========================== ============== ========= ==================================

        (+) if the package is installed: requirements-eval.txt. A value is nan only where its
        function says so: too few voiced frames for a pitch, no pause in `source`, a silent
        `converted`, too short for a listener.

    Raises
    ------
    ParameterError
        If something to compare with is silent or of another length, an array is no waveform, or
        `only` names what there is not.
    MissingInput
        If `only` asks for a metric whose package is not installed.

    Examples
    --------
    >>> wav = 0.1 * np.random.default_rng(0).normal(size=16000)
    >>> {k: round(v, 1) for k, v in evaluate(0.5 * wav, 16000, reference=wav, only=["lsd_db"]).items()}
    {'lsd_db': 6.0}
    """
    given = _given(converted, sr, source, target, reference, text, align, f0_method)
    return {key: METRICS[key].compute(given) for key in _wanted(given, only)}


def _given(converted, sr, source, target, reference, text, align, f0_method) -> Given:
    """The arguments of `evaluate` as clips, checked before the slow part."""
    check_sr(sr)

    def clip(wav, name):
        if wav is None:
            return None
        if not isinstance(wav, Clip):
            return Clip(wav, sr, f0_method, name)
        if wav.sr != sr:
            raise ParameterError(f"{name} is of {wav.sr} Hz, must be of sr={sr} Hz; resample it")
        if wav.cfg.f0_method != f0_method:
            raise ParameterError(
                f"{name} is a Clip with f0_method={wav.cfg.f0_method!r}, must be of "
                f"f0_method={f0_method!r}, by which all the others are measured"
            )
        return wav

    given = Given(
        clip(converted, "converted"),
        clip(source, "source"),
        _recordings(target, clip),
        clip(reference, "reference"),
        text,
        align,
    )
    in_time = [] if source is None else ["source"]
    if reference is not None and align == "frames":
        in_time.append("reference")
    for role in in_time:
        metrics.check_same_length(*given.wavs(role), ("converted", role))
    for clip in (given.source, given.reference, *(given.target or ())):
        if clip and np.ptp(clip.wav) == 0:
            raise ParameterError(metrics.silent_message(clip.name))
    return given


def _recordings(target, clip: Callable[..., Clip]) -> TargetClips | None:
    """What is known of the target; `clip` makes clips of arrays and checks those that are clips."""
    if target is None or isinstance(target, TargetClips):
        return target
    several = target if isinstance(target, list | tuple) else [target]
    stats = next((t for t in several if isinstance(t, SpeakerStats)), None)
    clips = [clip(t, "target") for t in several if not isinstance(t, SpeakerStats)]
    if not clips and not stats:
        raise ParameterError("target=[] must hold a recording; leave it out to skip its numbers")
    return TargetClips(clips, stats)


def _wanted(given: Given, only: Iterable[str] | None) -> list[str]:
    """Keys of METRICS that can be computed, or those asked for."""
    roles = {role for role in ROLES if getattr(given, role) is not None}
    roles |= {"source or text"} if roles & {"source", "text"} else set()
    roles |= {"recordings of target"} if given.target else set()
    possible = [
        key
        for key, metric in METRICS.items()
        if roles.issuperset(metric.needs) and not (metric.samplewise and given.align != "frames")
    ]
    if only is None:
        return [key for key in possible if listeners.installed(METRICS[key].packages)]
    only = list(only)
    for key in only:
        if key not in METRICS:
            raise ParameterError(f"only={key!r} must be one of {', '.join(METRICS)}")
        if key not in possible:
            needs = " and ".join(METRICS[key].needs)
            raise ParameterError(
                f"{key} needs {needs}" + (', and align="frames"' if METRICS[key].samplewise else "")
            )
    return only


# Sets


def evaluate_set(
    clips: Iterable[tuple[str, Mapping]],
    sr: int,
    target: np.ndarray | Clip | SpeakerStats | Sequence | None = None,
    csv: str | Path | None = None,
    total: int | None = None,
    n_jobs: int = 1,
    **settings,
) -> pd.DataFrame:
    """`evaluate` for many clips, with a progress bar.

    Parameters
    ----------
    clips : iterable of (name, arguments)
        Arguments of `evaluate`: `converted` and any of `source`, `reference`, `text`. May be a
        generator that converts each clip as it comes.
    sr : int [Hz]
    target : as in `evaluate`, optional
        For all clips.
    csv : str or Path, optional
        Where the table goes, a row for each clip, written when whole.
    total : int, optional
        How many clips, for the progress bar; known where `clips` has a length.
    n_jobs : int
        Clips evaluated at a time, in threads.
    **settings
        `align`, `only` and `f0_method` of `evaluate`.

    Returns
    -------
    pd.DataFrame
        A row for each clip, by name; a column for each metric, nan where there is none.

    Raises
    ------
    ParameterError, MissingInput
        As `evaluate`, naming the clip; or if there is no clip.
    """
    target = _recordings(
        target,
        lambda wav, name: (
            wav
            if isinstance(wav, Clip)
            else Clip(wav, sr, settings.get("f0_method", "harvest"), name)
        ),
    )
    total = len(clips) if hasattr(clips, "__len__") else total

    def one(name: str, arguments: Mapping) -> tuple[str, dict]:
        try:
            return name, evaluate(sr=sr, target=target, **arguments, **settings)
        except ParameterError as e:
            raise ParameterError(f"{name}: {e}") from e

    parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    done = parallel(joblib.delayed(one)(*clip) for clip in clips)
    rows = dict(progress_bar(done, total=total, leave=False))
    if not rows:
        raise ParameterError("clips is empty; give at least one to evaluate")
    scores = pd.DataFrame.from_dict(rows, orient="index")
    scores = scores[[key for key in METRICS if key in scores]].rename_axis("clip")
    if csv is not None:
        atomically(csv, lambda part: scores.to_csv(part, float_format="%.5g"))
    return scores


def bootstrap(values: Iterable[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of a sample and its 95 % confidence interval, by resampling it; nan values do not count.

    Returns
    -------
    mean, low, high : float
        All nan if nothing counts.

    References
    ----------
    The percentile interval of Efron and Tibshirani, An introduction to the bootstrap, 1993.

    Examples
    --------
    >>> bootstrap([2.0, 2.0, float("nan")])
    (2.0, 2.0, 2.0)
    """
    values = np.array([v for v in values if not math.isnan(v)], dtype=float)
    if not len(values):
        return (float("nan"),) * 3
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (N_RESAMPLES, len(values)))].mean(1)
    return float(values.mean()), *(float(v) for v in np.percentile(means, (2.5, 97.5)))


def summary(
    scores: Mapping[str, pd.DataFrame],
    keys: Iterable[str] | None = None,
    against: str | None = None,
) -> pd.DataFrame:
    """Means with their 95 % intervals, a row for each system, a column for each metric.

    Parameters
    ----------
    scores : mapping of system to what `evaluate_set` gave
    keys : names of metrics, optional
        Which, and in which order; all by default.
    against : name of a system, optional
        Given: not the systems themselves but what each has more than this one, clip by clip, which
        tells far smaller differences from chance than two intervals side by side.

    Returns
    -------
    pd.DataFrame of str
        Such as "0.731 ± 0.012" (half the interval's width), or "+0.061 [+0.044, +0.078]" against a
        system, under headings with unit and direction; "n = 32" where that many clips only have a
        number; "–" where nothing was measured.
    """
    if not scores:
        raise ParameterError("scores is empty; give at least one system")
    if against is not None and against not in scores:
        raise ParameterError(f"against={against!r} must be one of {', '.join(scores)}")
    found = {key for frame in scores.values() for key in frame}
    keys = [key for key in METRICS if key in found] if keys is None else list(keys)
    rows = {}
    for system, frame in scores.items():
        if against is None:
            rows[system] = {k: _mean_and_half(frame[k]) if k in frame else "–" for k in keys}
        elif system != against:
            more = frame - scores[against]
            more = more.loc[frame.index.intersection(scores[against].index)]
            rows[system] = {k: _difference(more[k]) if k in more else "–" for k in keys}
    return pd.DataFrame.from_dict(rows, orient="index").rename(columns=_heading)


def _heading(key: str) -> str:
    metric = METRICS[key]
    unit = f" [{metric.unit}]" if metric.unit in ("dB", "cents") else ""
    return f"{metric.label}{unit} {metric.arrow}"


def _mean_and_half(values: pd.Series) -> str:
    mean, low, high = bootstrap(values)
    if math.isnan(mean):
        return "–"
    digits = 1 if abs(mean) >= 20 else 2 if abs(mean) >= 2 else 3
    half = f" ± {(high - low) / 2:.{digits}f}" if values.count() > 1 else ""
    return f"{mean:.{digits}f}{half}{_how_many(values)}"


def _difference(values: pd.Series) -> str:
    mean, low, high = bootstrap(values)
    if values.count() < 2:
        return "–"
    digits = 1 if max(map(abs, (low, high))) >= 2 else 3
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{_how_many(values)}"


def _how_many(values: pd.Series) -> str:
    """How many clips count, if not all do."""
    return "" if values.count() == len(values) else f" (n = {values.count()})"
