"""Anonymous Voice Conversion: any speaker in, one target voice out.

Modules, in pipeline order (each imports only from those before it):
errors, files, config, cards, audio, cutting, pauses, parallel, sounds, pitch, synthesis, anonymize, recordings,
spectrogram, compat, dataset, models, voices, losses, training, live, convert, baselines, metrics, listeners, evaluate,
leakage, monitor, players, inputs, pictures, show, curves, board. Nothing heavy is imported here, so that
`import vc_lib` is instant.
"""

import os

# Threads of OpenMP wait for work by spinning. Beside any other program a training step then takes four times as long.
# The library reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
