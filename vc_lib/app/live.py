"""Live conversion over a WebSocket: blocks of a microphone in, converted blocks out.

The browser first sends {"voice": name, "semitones": number}, then blocks of float32. Without
semitones the pitch is the voice's own. It gets
{"ready": ...}, and a block for each of its own. A later {"semitones": number} changes the pitch.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse

from ..convert import Stream
from ..convert.live import warm_up
from ..convert.streaming import LATENCY_S
from ..errors import ParameterError
from .voices import VoiceCache

MAX_USERS = 2  # live connections at a time; each takes about half a core
LONGEST_S = 1.0  # longest block that is accepted [s]
SETTINGS_S = 10.0  # time in which a browser must send its settings [s]
LATE_S = 1.0  # input that waits for its conversion; more is dropped [s]
KEPT_S = 0.2  # newest input that is kept after a drop [s]
PAGE = {name: Path(__file__).with_name(name) for name in ("live.html", "live.js", "worklet.js")}
BUSY = (
    f"{MAX_USERS} people speak live already, which is all this computer can do; try again when one "
    "has stopped."
)
TOO_LATE = "the connection waited too long; press Start again"


class ConnectionLimit:
    """How many connections are open, up to a limit."""

    def __init__(self, n_max: int):
        self.n_max, self.n_open, self._lock = n_max, 0, Lock()

    def open(self) -> bool:
        """Count one more if the limit allows it."""
        with self._lock:
            allowed = self.n_open < self.n_max
            self.n_open += allowed
            return allowed

    def close(self) -> None:
        """Count one less."""
        with self._lock:
            self.n_open -= 1


def add_live(app: FastAPI, voice_cache: VoiceCache, example: Path | None) -> None:
    """Add the page of live conversion under /live/ to a server.

    Parameters
    ----------
    app : FastAPI
    voice_cache : VoiceCache
    example : Path or None
        A clip to try it without a microphone.
    """
    limit = ConnectionLimit(MAX_USERS)

    @app.get("/live/")
    def page() -> FileResponse:
        return FileResponse(PAGE["live.html"])

    @app.get("/live/{name}.js")
    def script(name: str) -> FileResponse:
        return FileResponse(PAGE["live.js" if name == "live" else "worklet.js"])

    @app.get("/live/voices")
    def voices() -> dict:
        return {"voices": _described(voice_cache), "example": bool(example)}

    if example:

        @app.get("/live/example")
        def clip() -> FileResponse:
            return FileResponse(example)

    @app.websocket("/live/socket")
    async def socket(ws: WebSocket) -> None:
        await ws.accept()
        if not limit.open():
            await _end(ws, BUSY)
            return
        try:
            await _serve(ws, voice_cache)
        except (ParameterError, OSError, ValueError, KeyError, TypeError) as e:
            await _end(ws, str(e) or TOO_LATE)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the browser is gone
        finally:
            limit.close()


def _described(voice_cache: VoiceCache) -> list[dict]:
    """Name, sampling rate and pitch of each voice, for the browser; damaged ones are left out."""
    found = []
    for name in voice_cache.names():
        with suppress(ParameterError, OSError):
            cfg = voice_cache.config(name)
            found.append(dict(name=name, sr=cfg.sr, semitones=cfg.f0_shift_semitones))
    return found


async def _end(ws: WebSocket, message: str) -> None:
    """Say why, then close."""
    try:
        await ws.send_json({"error": message})
        await ws.close(1013)
    except (WebSocketDisconnect, RuntimeError):
        pass  # the browser is gone


async def _serve(ws: WebSocket, voice_cache: VoiceCache) -> None:
    """Convert until the browser leaves."""
    settings = _settings(await asyncio.wait_for(ws.receive_text(), SETTINGS_S))
    semitones = settings.get("semitones")
    voice = await asyncio.to_thread(voice_cache.chosen, str(settings.get("voice")), semitones)
    latency = float(settings.get("latency", LATENCY_S[1]))
    await asyncio.to_thread(warm_up, voice, latency)
    stream, inbox = Stream(voice, background=True, latency=latency), asyncio.Queue()
    await ws.send_json({"ready": {"sr": voice.sr, "latency_s": stream.latency / voice.sr}})
    reader = asyncio.create_task(_read(ws, stream, inbox))
    try:
        while (wav := await _next(ws, inbox, voice.sr)) is not None:
            start = perf_counter()
            out = await asyncio.to_thread(stream, wav)
            await ws.send_bytes(out.astype("<f4").tobytes())
            busy = (perf_counter() - start) / (len(wav) / voice.sr)
            await ws.send_json({"load": round(busy, 3), "samples": len(wav)})
        await reader  # tells why it ended
    finally:
        reader.cancel()


def _settings(text: str) -> dict:
    """What the browser asks for, from its JSON."""
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ParameterError(
            f'the message {text[:40]!r} must be JSON such as {{"voice": "ljspeech"}}; reload the page'
        )
    return settings


async def _read(ws: WebSocket, stream: Stream, inbox: asyncio.Queue) -> None:
    """Put blocks into the inbox as they come; None at the end."""
    try:
        while True:
            message = await ws.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                inbox.put_nowait(_block(message["bytes"], stream.sr))
            else:
                shift = float(_settings(message["text"])["semitones"])
                stream.cfg = replace(stream.cfg, f0_shift_semitones=shift)
    finally:
        inbox.put_nowait(None)


def _block(data: bytes, sr: int) -> np.ndarray:
    """The samples of a message, within -1..1."""
    if len(data) % 4 or not 0 < len(data) / 4 <= LONGEST_S * sr:
        raise ParameterError(
            f"a block of {len(data)} bytes must be float32, {LONGEST_S:g} s or less"
        )
    return np.clip(np.frombuffer(data, "<f4"), -1, 1)


async def _next(ws: WebSocket, inbox: asyncio.Queue, sr: int) -> np.ndarray | None:
    """All samples that wait, the newest only if they are too many; None at the end."""
    blocks = [await inbox.get()]
    while not inbox.empty():
        blocks.append(inbox.get_nowait())
    if blocks[-1] is None:
        return None
    wav = np.concatenate(blocks)
    if len(wav) > LATE_S * sr:
        n_dropped = len(wav) - round(KEPT_S * sr)
        await ws.send_json({"dropped": n_dropped})
        wav = wav[n_dropped:]
    return wav
