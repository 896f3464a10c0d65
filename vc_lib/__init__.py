"""Anonymous Voice Conversion: any speaker in, one target voice out.

Modules, in pipeline order (each imports only from those before it):
errors, config, audio, anonymize, spectrogram, dataset, models, losses, training, convert, evaluate,
show. Nothing heavy is imported here, so that `import vc_lib` is instant.
"""

__version__ = "0.1.0"
