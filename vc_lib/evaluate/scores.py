"""All scores of one conversion.

`evaluate` computes every metric that its arguments and the installed packages allow. `METRICS`
lists them, with unit and direction. `score_tables` does the same for many clips.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..audio import check_sr
from ..errors import ParameterError
from ..speaker import SpeakerStats
from . import judges, metrics, signal_metrics
from .clips import Clip, Inputs, TargetClips

ROLES = ("converted", "source", "target", "reference", "text")


@dataclass(frozen=True)
class Metric:
    """One score of `evaluate`: its label, the arguments it needs, and how it is computed."""

    label: str  # heading in tables
    unit: str  # unit or range
    better: str  # direction: "higher", "lower" or "zero"
    needs: tuple[str, ...]  # arguments of `evaluate` that it needs beside `converted`
    compute: Callable[[Inputs], float]
    packages: tuple[str, ...] = ()  # import names of the optional packages that it needs
    samplewise: bool = False  # compares sample by sample, so it needs align="frames"

    @property
    def arrow(self) -> str:
        """The direction, as an arrow for headings."""
        return {"higher": "↑", "lower": "↓", "zero": "→ 0"}[self.better]


def _word_error_rate(inputs: Inputs) -> float:
    """WER against `text`, or else against the transcript of `source`."""
    text = inputs.text if inputs.text is not None else inputs.source.words
    return judges.word_error_rate(inputs.converted.words, text)


def _voiced_share(inputs: Inputs) -> float:
    """Share of the source's voiced frames that are voiced in `converted`, too [0..1]."""
    converted, source, _ = inputs.features("source")
    n = min(len(converted.f0), len(source.f0))
    voiced = source.voiced[:n]
    return float(converted.voiced[:n][voiced].mean()) if voiced.any() else float("nan")


# All metrics by key. Definitions, ranges and sources are in the functions that are called here.
METRICS = {
    "wer": Metric("WER", "", "lower", ("source or text",), _word_error_rate, judges.WORDS),
    "cosine_to_target": Metric(
        "cosine to target",
        "",
        "higher",
        ("recordings of target",),
        lambda i: judges.speaker_cosine(i.converted.embedding, i.target.centroid),
        judges.SPEAKER,
    ),
    "cosine_to_source": Metric(
        "cosine to source",
        "",
        "lower",
        ("source",),
        lambda i: judges.speaker_cosine(i.converted.embedding, i.source.embedding),
        judges.SPEAKER,
    ),
    "distillmos": Metric(
        "DistillMOS",
        "1..5",
        "higher",
        (),
        lambda i: judges.distillmos(i.converted.wav, i.sr),
        judges.NATURALNESS,
    ),
    "dnsmos": Metric(
        "DNSMOS",
        "1..5",
        "higher",
        (),
        lambda i: judges.dnsmos(i.converted.wav, i.sr),
        judges.NOISE,
    ),
    "source_log_f0_corr": Metric(
        "log-F0 corr. with source",
        "",
        "higher",
        ("source",),
        lambda i: metrics.log_f0_correlation(*i.features("source")),
    ),
    "source_voiced_share": Metric(
        "voiced share kept", "0..1", "higher", ("source",), _voiced_share
    ),
    "source_voicing_error": Metric(
        "voicing error against source",
        "0..1",
        "lower",
        ("source",),
        lambda i: metrics.voicing_error(*i.features("source")),
    ),
    "source_envelope_distance_db": Metric(
        "envelope from source",
        "dB",
        "higher",
        ("source",),
        lambda i: metrics.envelope_distance_db(*i.features("source")),
    ),
    "pause_level_db": Metric(
        "level in pauses",
        "dB",
        "lower",
        ("source",),
        lambda i: signal_metrics.pause_level_db(i.converted.wav, i.sr, i.source.wav),
    ),
    "f0_register_cents": Metric(
        "register from target",
        "cents",
        "zero",
        ("target",),
        lambda i: metrics.f0_register_cents(*i.features("target")),
    ),
    "envelope_distance_db": Metric(
        "envelope from target",
        "dB",
        "lower",
        ("target",),
        lambda i: metrics.envelope_distance_db(*i.features("target")),
    ),
    "mcd_db": Metric("MCD", "dB", "lower", ("reference",), lambda i: metrics.mcd_db(*i.aligned())),
    "f0_rmse_cents": Metric(
        "F0 RMSE",
        "cents",
        "lower",
        ("reference",),
        lambda i: metrics.f0_rmse_cents(*i.aligned()),
    ),
    "log_f0_corr": Metric(
        "log-F0 corr.",
        "",
        "higher",
        ("reference",),
        lambda i: metrics.log_f0_correlation(*i.aligned()),
    ),
    "voicing_error": Metric(
        "voicing error",
        "0..1",
        "lower",
        ("reference",),
        lambda i: metrics.voicing_error(*i.aligned()),
    ),
    "lsd_db": Metric(
        "LSD",
        "dB",
        "lower",
        ("reference",),
        lambda i: metrics.log_spectral_distance_db(*i.wavs("reference")),
        samplewise=True,
    ),
    "si_snr_db": Metric(
        "SI-SNR",
        "dB",
        "higher",
        ("reference",),
        lambda i: signal_metrics.si_snr_db(*i.wavs("reference")),
        samplewise=True,
    ),
    "pesq_wb": Metric(
        "PESQ-wb",
        "1..4.6",
        "higher",
        ("reference",),
        lambda i: signal_metrics.pesq_wb(*i.wavs("reference")),
        ("pesq",),
        samplewise=True,
    ),
    "estoi": Metric(
        "ESTOI",
        "0..1",
        "higher",
        ("reference",),
        lambda i: signal_metrics.estoi(*i.wavs("reference")),
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
    """Score a conversion: words, likeness to target and source, naturalness, intonation.

    All metrics are computed for which there are arguments and packages.

    Parameters
    ----------
    converted : np.ndarray [shape=(n_samples,), -1..1] or Clip
    sr : int [Hz]
        Sampling rate of all waveforms; see `audio.resample`.
    source : np.ndarray or Clip, optional
        The speech that was converted, of the same length within 5 ms.
    target : np.ndarray, Clip, SpeakerStats, or a list of them, optional
        Recordings of the target speaker, any sentences. Where SpeakerStats, such as a voice's
        `config.target`, are among them, register and envelope are compared with these.
    reference : np.ndarray or Clip, optional
        The target speaker's recording of the same sentence.
    text : str, optional
        Transcript of the sentence. By default the speech recognizer transcribes `source`.
    align : str
        "frames": `reference` is in time with `converted`, and as long. "dtw": `reference` is
        another reading of the sentence; samplewise metrics (*) are left out.
    only : names of metrics, optional
        Compute these metrics only, and raise MissingInput if the package of one is missing.
    f0_method : str
        F0 estimator, one of `config.F0_METHODS`. Scores by different estimators are not comparable,
        so every Clip must have been made with this one.

    Returns
    -------
    dict of str to float
        =========================== ============== ========= ==================================
        key                         needs          unit      better
        =========================== ============== ========= ==================================
        wer (+)                     source or text 0..       lower: words are kept (English)
        cosine_to_target (+)        target         -1..1     higher: the voice is the target's
        cosine_to_source (+)        source         -1..1     lower: the source is hidden
        distillmos (+)                             1..5      higher: natural
        dnsmos (+)                                 1..5      higher: clean
        source_log_f0_corr          source         -1..1     higher: intonation is kept
        source_voiced_share         source         0..1      higher: voiced frames stay voiced
        source_voicing_error        source         0..1      lower
        source_envelope_distance_db source         dB        higher: the source is hidden
        pause_level_db              source         dB        lower: pauses are silent
        f0_register_cents           target         cents     nearer to 0; positive is too high
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

        (*) samplewise: needs align="frames". (+) needs a package of requirements-eval.txt. A score
        is nan only where its function says so: too few voiced frames, no pause in `source`, silent
        `converted`, or too little sound for a judge.

    Raises
    ------
    ParameterError
        If a waveform is invalid, if `source`, `target` or `reference` is silent, if lengths differ,
        or if `only` names an unknown metric or one whose arguments are missing.
    MissingInput
        If `only` asks for a metric whose package is not installed.

    Examples
    --------
    >>> wav = 0.1 * np.random.default_rng(0).normal(size=16000)
    >>> scores = evaluate(0.5 * wav, 16000, reference=wav, only=["lsd_db"])
    >>> round(scores["lsd_db"], 1)
    6.0
    """
    inputs = _checked(converted, sr, source, target, reference, text, align, f0_method)
    return {key: METRICS[key].compute(inputs) for key in _selected(inputs, only)}


def _checked(converted, sr, source, target, reference, text, align, f0_method) -> Inputs:
    """The arguments of `evaluate` as clips, checked before the slow part."""
    check_sr(sr)

    def clip(wav, name):
        if wav is None:
            return None
        if not isinstance(wav, Clip):
            return Clip(wav, sr, f0_method, name)
        if wav.sr != sr:
            raise ParameterError(f"{name} has sr={wav.sr} Hz, must have sr={sr} Hz; resample it")
        if wav.cfg.f0_method != f0_method:
            raise ParameterError(
                f"{name} is a Clip with f0_method={wav.cfg.f0_method!r}, must have "
                f"f0_method={f0_method!r} like the other arguments"
            )
        return wav

    inputs = Inputs(
        clip(converted, "converted"),
        clip(source, "source"),
        target_clips(target, clip),
        clip(reference, "reference"),
        text,
        align,
    )
    if source is not None:
        metrics.check_same_length(*inputs.wavs("source"), ("converted", "source"))
    if reference is not None and align == "frames":
        metrics.check_same_length(*inputs.wavs("reference"), ("converted", "reference"))
    for compared in (inputs.source, inputs.reference, *(inputs.target or ())):
        if compared and np.ptp(compared.wav) == 0:
            raise ParameterError(metrics.silent_message(compared.name))
    return inputs


def target_clips(target, clip: Callable[..., Clip]) -> TargetClips | None:
    """The target's recordings and statistics.

    `clip(wav, name)` makes a Clip of an array, and checks a Clip.
    """
    if target is None or isinstance(target, TargetClips):
        return target
    items = target if isinstance(target, list | tuple) else [target]
    stats = next((item for item in items if isinstance(item, SpeakerStats)), None)
    clips = [clip(item, "target") for item in items if not isinstance(item, SpeakerStats)]
    if not clips and not stats:
        raise ParameterError("target=[] must hold a recording; leave it out to skip its metrics")
    return TargetClips(clips, stats)


def _selected(inputs: Inputs, only: Iterable[str] | None) -> list[str]:
    """Keys of the metrics in `only`, or of all that can be computed."""
    roles = {role for role in ROLES if getattr(inputs, role) is not None}
    roles |= {"source or text"} if roles & {"source", "text"} else set()
    roles |= {"recordings of target"} if inputs.target else set()
    possible = [
        key
        for key, metric in METRICS.items()
        if roles.issuperset(metric.needs) and not (metric.samplewise and inputs.align != "frames")
    ]
    if only is None:
        return [key for key in possible if judges.installed(METRICS[key].packages)]
    only = list(only)
    for key in only:
        if key not in METRICS:
            raise ParameterError(f"only={key!r} must be one of {', '.join(METRICS)}")
        if key not in possible:
            needs = " and ".join(METRICS[key].needs)
            aligned = ', and align="frames"' if METRICS[key].samplewise else ""
            raise ParameterError(f"{key} needs {needs}{aligned}")
    return only
