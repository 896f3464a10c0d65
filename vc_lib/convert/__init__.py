"""Convert speech to a trained voice.

voice      `Voice`, the whole method as calls one under the other, and `load_voice`
long       recordings of any length, in chunks, at constant memory
files      files and folders
gain       loudness of a result
full_band  44.1 and 48 kHz, with the recording's own band above
streaming  `Stream`, live speech at a fixed latency
live       from a microphone or file to a loudspeaker or file, by a `Stream`
sound_card microphones and loudspeakers
"""

from .files import convert_file, convert_folder
from .streaming import Stream
from .voice import Voice, load_voice

__all__ = ["Stream", "Voice", "convert_file", "convert_folder", "load_voice"]
