from .clips import Clip, TargetClips
from .metrics import envelope_distance_db, f0_register_cents, log_f0_correlation, mcd_db
from .scores import METRICS, evaluate
from .summary import evaluate_set, summary

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
