"""Microphones and loudspeakers for `live`, through the optional package sounddevice (PortAudio)."""

from types import ModuleType
from typing import Any

import numpy as np

from ..errors import MissingInput, ParameterError
from .live import Live

WAY_OUT = "or replace microphone and loudspeaker with --from FILE and --to FILE"


def sounddevice() -> ModuleType:
    """The package; MissingInput if it or PortAudio is not installed."""
    try:
        import sounddevice
    except ImportError as e:
        raise MissingInput(
            f"a sound card needs the package sounddevice ({e}): pip install sounddevice, {WAY_OUT}"
        ) from e
    except OSError as e:
        raise MissingInput(
            f"sounddevice needs PortAudio ({e}): on Debian or Ubuntu apt-get install libportaudio2, "
            f"{WAY_OUT}"
        ) from e
    return sounddevice


def list_devices() -> str:
    """Numbers and names of all devices, one a line, as `find_device` takes them.

    Raises
    ------
    MissingInput
        If there is none, or sounddevice is not installed.
    """
    sd = sounddevice()
    devices, defaults = sd.query_devices(), set(sd.default.device)
    if not len(devices):
        raise MissingInput(f"no sound device is there; plug one in, {WAY_OUT}")
    lines = []
    for i, device in enumerate(devices):
        n_in, n_out = device["max_input_channels"], device["max_output_channels"]
        kinds = [kind for kind, n in (("input", n_in), ("output", n_out)) if n]
        default = ", default" if i in defaults else ""
        lines.append(f"{i:3d}  {device['name']} ({' and '.join(kinds)}{default})")
    return "\n".join(lines)


def find_device(name: str | None, kind: str) -> dict[str, Any]:
    """A device by its number or a part of its name; the system's default for None.

    Parameters
    ----------
    name : str, optional
    kind : str
        "input" or "output".

    Returns
    -------
    dict
        As `sounddevice.query_devices` describes it.

    Raises
    ------
    ParameterError
        If no device, or more than one, has that name, or it is not of that kind.
    MissingInput
        If there is no default device.
    """
    sd = sounddevice()
    known = int(name) if name is not None and name.strip().isdigit() else name
    try:
        return sd.query_devices(known, kind)
    except (ValueError, sd.PortAudioError) as e:
        reason = str(e).splitlines()[0]
        if name is None:
            raise MissingInput(
                f"no sound {kind} is there ({reason}); plug one in, {WAY_OUT}"
            ) from e
        raise ParameterError(
            f"--{kind} {name!r} must be one device of `vc live --list-devices` ({reason})"
        ) from e


class _Card:
    """A half of the sound card, at the voice's rate if it can, else at its own."""

    kind, stream_class = "", ""

    def __init__(self, name: str | None, sr: int, block_s: float):
        self.sd, device = sounddevice(), find_device(name, self.kind)
        self.name, self.error = f"the {self.kind} {device['name']!r}", None
        # some loudspeakers take two channels only
        n_channels = min(device[f"max_{self.kind}_channels"], 1 if self.kind == "input" else 2)
        how = dict(device=device["index"], channels=n_channels, dtype="float32")
        try:
            getattr(self.sd, f"check_{self.kind}_settings")(samplerate=sr, **how)
            self.sr = sr
        except self.sd.PortAudioError:
            self.sr = round(device["default_samplerate"])
        how |= dict(samplerate=self.sr, blocksize=round(block_s * self.sr), latency="low")
        try:
            self.stream = getattr(self.sd, self.stream_class)(callback=self._callback, **how)
        except self.sd.PortAudioError as e:
            raise self._refused(e) from e
        self.latency = float(self.stream.latency)

    def _callback(self, wav: np.ndarray, n_samples: int, times, status) -> None:
        raise NotImplementedError

    def _refused(self, error: Exception) -> MissingInput:
        return MissingInput(
            f"{self.name} cannot be opened ({error}); close other programs that use it, "
            "allow this one to use it, or choose another device"
        )

    def start(self, live: Live) -> None:
        self.live = live
        try:
            self.stream.start()
        except self.sd.PortAudioError as e:
            raise self._refused(e) from e

    def stop(self) -> None:
        self.stream.stop(ignore_errors=True)  # after what was handed over has been played
        self.stream.close(ignore_errors=True)

    @property
    def active(self) -> bool:
        return bool(self.stream.active)


class Microphone(_Card):
    """The microphone `name` (a number, a part of a name, or None for the default)."""

    kind, stream_class = "input", "InputStream"

    def _callback(self, wav: np.ndarray, n_samples: int, times, status) -> None:
        if status.input_overflow:
            self.live.n_dropouts += 1
        self.live.hear(wav[:, 0])


class Loudspeaker(_Card):
    """The loudspeaker or headphones `name`."""

    kind, stream_class = "output", "OutputStream"

    def _callback(self, wav: np.ndarray, n_samples: int, times, status) -> None:
        if status.output_underflow:
            self.live.n_dropouts += 1
        wav[:] = self.live.speak(n_samples)[:, None]
