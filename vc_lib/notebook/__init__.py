from .players import Player, play
from .plots import plot_envelope, plot_f0, plot_spectrograms

__all__ = ["Player", "play", "plot_envelope", "plot_f0", "plot_spectrograms"]
