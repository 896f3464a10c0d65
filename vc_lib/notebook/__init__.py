"""What notebooks show. Modules that import torch are imported by name: notebook 01 runs without it."""

from .players import Player, play
from .plots import plot_envelope, plot_f0, plot_features, plot_scores, plot_spectrograms
from .tables import score_table, show_card, table
from .widgets import DialsPanel, SpeechInput

__all__ = [
    "DialsPanel",
    "Player",
    "SpeechInput",
    "play",
    "plot_envelope",
    "plot_f0",
    "plot_features",
    "plot_scores",
    "plot_spectrograms",
    "score_table",
    "show_card",
    "table",
]
