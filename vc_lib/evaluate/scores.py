"""All that can be said in numbers about a conversion, of one clip or of a set.

`evaluate` asks every metric and listener that its arguments and the installed packages allow;
METRICS lists them with unit and direction. `evaluate_set` does so for many clips with a progress
bar, `summary` draws the table with its confidence intervals.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..audio import check_sr
from ..errors import ParameterError
from ..speaker import SpeakerStats
from . import judges, metrics, signal_metrics
from .clips import Clip, Given, TargetClips

ROLES = ("converted", "source", "target", "reference", "text")


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
    return judges.word_error_rate(given.converted.words, said)


def _voiced_share(given: Given) -> float:
    converted, source, _ = given.features("source")
    n = min(len(converted.f0), len(source.f0))
    there = source.voiced[:n]
    return float(converted.voiced[:n][there].mean()) if there.any() else float("nan")


# Every metric by its key. Definitions, references and ranges: the functions that are called here.
METRICS = {
    "wer": Metric("WER", "", "lower", ("source or text",), _words, judges.WORDS),
    "cosine_to_target": Metric(
        "cosine to target",
        "",
        "higher",
        ("recordings of target",),
        lambda g: judges.speaker_cosine(g.converted.embedding, g.target.centroid),
        judges.SPEAKER,
    ),
    "cosine_to_source": Metric(
        "cosine to source",
        "",
        "lower",
        ("source",),
        lambda g: judges.speaker_cosine(g.converted.embedding, g.source.embedding),
        judges.SPEAKER,
    ),
    "distillmos": Metric(
        "DistillMOS",
        "1..5",
        "higher",
        (),
        lambda g: judges.distillmos(g.converted.wav, g.sr),
        judges.NATURALNESS,
    ),
    "dnsmos": Metric(
        "DNSMOS",
        "1..5",
        "higher",
        (),
        lambda g: judges.dnsmos(g.converted.wav, g.sr),
        judges.NOISE,
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
        lambda g: signal_metrics.pause_level_db(g.converted.wav, g.sr, g.source.wav),
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
        lambda g: signal_metrics.si_snr_db(*g.wavs("reference")),
        samplewise=True,
    ),
    "pesq_wb": Metric(
        "PESQ-wb",
        "1..4.6",
        "higher",
        ("reference",),
        lambda g: signal_metrics.pesq_wb(*g.wavs("reference")),
        ("pesq",),
        samplewise=True,
    ),
    "estoi": Metric(
        "ESTOI",
        "0..1",
        "higher",
        ("reference",),
        lambda g: signal_metrics.estoi(*g.wavs("reference")),
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
        return [key for key in possible if judges.installed(METRICS[key].packages)]
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
