from .files import convert_file, convert_folder
from .streaming import Stream
from .voice import Voice, load_voice

__all__ = ["Stream", "Voice", "convert_file", "convert_folder", "load_voice"]
