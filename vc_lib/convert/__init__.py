"""Convert speech to a trained voice.

voice      `Voice`, the whole method as calls one under the other, and `load_voice`
long       recordings of any length, in chunks, at constant memory
files      files and folders
streaming  `Stream`, live speech at a fixed latency
"""

from .files import convert_file, convert_folder
from .streaming import Stream
from .voice import Voice, load_voice

__all__ = ["Stream", "Voice", "convert_file", "convert_folder", "load_voice"]
