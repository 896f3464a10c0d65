"""Anonymous Voice Conversion: any speaker in, one target voice out.

Packages and modules in pipeline order; each imports only from those before it:

    errors      exceptions that callers may catch
    files       atomic writes, locks, limits
    fields      fields of a config with range and unit
    parallel    threads in order, limits of thread pools
    speaker     statistics of a speaker
    config      all settings of a voice
    audio       waveforms: read, write, level, chunks
    anonymize   WORLD analysis, transforms, synthesis
    corpus      recordings of a target, analyzed once
    spectrogram the two-channel image and back
    model       networks, losses, a voice's folder
    training    dataset, stages, callbacks, run
    convert     a voice: waveforms, files, live speech
    evaluate    scores, judges, privacy
    listen      sounds to compare, pages that play them
    notebook    players, plots, widgets
    app         a page in the browser
    cli         what the commands of `vc` do
    __main__    the command line

Nothing heavy is imported here, so that `import vc_lib` is instant.
"""

import os

# OpenMP threads wait for work by spinning. Beside any other program a training step then takes four times as long.
# The library reads this variable once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
