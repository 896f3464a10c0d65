"""Sounds to listen to, and pages that play them; without matplotlib and Jupyter.

tracks     sounds at one speech level, with spectrogram and pitch
page       an index.html that plays converted recordings from a disk
player.js  the player of these pages and of notebooks
"""

from .page import excerpt, write_listening_page

__all__ = ["excerpt", "write_listening_page"]
