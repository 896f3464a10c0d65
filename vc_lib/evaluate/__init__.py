"""Measure a conversion: words, likeness to the target, privacy of the source, naturalness.

clips           `Clip` and `TargetClips`, waveforms that are measured once
metrics         distances of envelopes, spectra and pitch
signal_metrics  metrics of waveforms: SI-SNR, level in pauses, PESQ, ESTOI
judges          pretrained models: words, speaker, naturalness
scores          `METRICS` and `evaluate`, all scores of one clip
score_tables    `evaluate_set` and `summary`, tables of many clips with confidence intervals
verdict         what the scores of a voice mean, in words
baselines       conversions without a network, for comparison
privacy         `privacy_scores`, how well a verifier still recognizes anonymized speakers
privacy_attack  `attack`, the same with strong attackers, and the cost of a system
embeddings      `embed` and `cepstral_statistics`, by which they recognize speakers
attackers       `TrainedScorer`, a verifier that was trained on anonymized speech
linkability     linkability, and how distinct anonymized voices stay
monitor         `EvaluateCallback`, the scores of a few clips while a voice is trained

This package hands on scores and metrics only; the other modules are imported by name.
"""

from .clips import Clip, TargetClips
from .metrics import envelope_distance_db, f0_register_cents, log_f0_correlation, mcd_db
from .score_tables import evaluate_set, summary
from .scores import METRICS, evaluate

__all__ = [
    "METRICS",
    "Clip",
    "TargetClips",
    "envelope_distance_db",
    "evaluate",
    "evaluate_set",
    "f0_register_cents",
    "log_f0_correlation",
    "mcd_db",
    "summary",
]
