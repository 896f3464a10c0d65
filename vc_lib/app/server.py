"""The server of the page: it listens on this machine, and leaves nothing behind."""

import logging
import os
import signal
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

# before Gradio is imported: it asks no other host for anything
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ..errors import MissingInput, ParameterError
from .conversion import SIZE
from .live import add_live
from .look import CSS, theme
from .page import build, first_example
from .same_origin import LOOPBACK, SameOrigin
from .temporary import temporary_folder
from .training import MODELS, Training
from .voices import VoiceCache

PORT = 7860  # tried first, and the next ones if it is taken
N_PORTS = 20  # how many are tried
ANY = ("0.0.0.0", "::")  # addresses that mean all networks
# what asks a program to end beside Ctrl+C: `kill`, and a terminal that is closed
ENDING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


def make_app(folder: Path, voices="models", hosts=LOOPBACK, max_file_size: int = SIZE) -> FastAPI:
    """The application that a server runs; `app.state.training` is its training.

    Parameters
    ----------
    folder : Path
        Temporary; all that users give and get lies in it.
    voices : str or Path
        A folder of voices.
    hosts : collection of str
        Names by which the server may be called, beside IP addresses.
    max_file_size : int [bytes]
        Largest upload.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SameOrigin, hosts=hosts)
    voice_cache, app.state.training = VoiceCache(voices), Training(folder)
    add_live(app, voice_cache, first_example())
    page = build(voice_cache, app.state.training, folder)
    app.state.voice_cache = voice_cache
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=max_file_size,
        theme=theme(),
        css=CSS,
        app_kwargs=dict(docs_url=None, redoc_url=None, openapi_url=None),
    )


def serve(
    host: str = "127.0.0.1",
    port: int | None = None,
    voices="models",
    open_browser: bool = True,
    ready: Callable[[str], object] = print,
    warn: Callable[[str], object] = print,
) -> None:
    """Serve the page until Ctrl+C.

    Parameters
    ----------
    host : str
        Address to listen on; by default this machine alone.
    port : int, optional
        By default the first free one from 7860 on.
    voices : str or Path
        A folder of voices.
    open_browser : bool
    ready : callable
        Called with the address when the page can be opened.
    warn : callable
        Called with warnings.

    Raises
    ------
    MissingInput
        If the folder does not exist; `models` need not.
    ParameterError
        If the port is taken, or the host is not an address of this machine.
    """
    if Path(voices) != MODELS and not Path(voices).is_dir():
        raise MissingInput(f"{voices} does not exist; give a folder whose subfolders are voices")
    listening = _listen(host, port)
    local = host in LOOPBACK
    if not local:
        warn(
            f"warning: anyone in the network of {host} can use this page, train voices here, and "
            "overhear what is uploaded, as it is not encrypted"
        )
    shown = "127.0.0.1" if host in ANY else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"
    with _ended_like_ctrl_c(), temporary_folder() as folder:
        app = make_app(folder, voices, LOOPBACK if local else own_names(host))
        names = app.state.voice_cache.names()
        warm_up = Thread(target=app.state.voice_cache.chosen, args=names[:1])
        warm_up.start()
        server = _Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        server.at_start = lambda: _opened(address, open_browser, ready)
        try:
            server.run(sockets=[listening])
        finally:
            app.state.training.close()
            warm_up.join()  # Python must not end while a library is imported in a thread


class _Server(uvicorn.Server):
    """A server that says when it listens, and ends in silence."""

    at_start: Callable[[], object]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in order at each of these signals; uvicorn does so at SIGINT and SIGTERM."""
        with super().capture_signals(), _at_signals(self.handle_exit):
            yield

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        if self.started:
            self.at_start()

    async def shutdown(self, sockets=None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # pages are still open
        await super().shutdown(sockets)


def _opened(address: str, open_browser: bool, ready: Callable[[str], object]) -> None:
    ready(address)
    if open_browser:
        Thread(target=webbrowser.open, args=[address], daemon=True).start()


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens on the host."""
    if port is not None and not 0 <= port <= 65_535:
        raise ParameterError(f"--port {port} must be in 0..65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reason: OSError | None = None
    for number in [port] if port is not None else range(PORT, PORT + N_PORTS):
        listening = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would share the port with another program
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen(128)
            return listening
        except OSError as e:
            listening.close()
            reason = e
    tried = f"port {port}" if port is not None else f"ports {PORT} to {PORT + N_PORTS - 1}"
    raise ParameterError(
        f"cannot listen on {host}, {tried} ({reason.strerror or reason}); choose another --port or --host"
    )


def own_names(host: str) -> set[str]:
    """Names of this machine, by which its network may call it, and that of `--host`."""
    name = socket.gethostname()
    found = {*LOOPBACK, host, name, f"{name}.local", socket.getfqdn()}  # .local: mDNS
    return {name.lower() for name in found}


def _ended_like_ctrl_c():
    """Let other signals end this block as Ctrl+C does, so that the temporary folder is removed."""

    def interrupt(*_):
        raise KeyboardInterrupt

    return _at_signals(interrupt)


@contextmanager
def _at_signals(handler: Callable) -> Iterator[None]:
    """Call a handler at the signals of `ENDING`, those left out that `nohup` has ignored."""
    with ExitStack() as stack:
        for number in ENDING:
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:
                stack.callback(signal.signal, number, before)
                signal.signal(number, handler)
        yield
