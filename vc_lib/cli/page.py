"""The command `app`."""

from importlib.util import find_spec

from ..errors import ParameterError
from .terminal import say

NEEDED = ("gradio", "websockets", "anywidget")


def app(args) -> None:
    """Serve the page until Ctrl+C; its address goes to standard output."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ParameterError(
            f"the page needs {' and '.join(missing)}, not installed here; pip install 'vc-lib[app]', or "
            "in the clone: pip install -e '.[app]'"
        )
    say("starting the page, which takes some seconds")
    from ..app.server import serve

    def ready(address: str) -> None:
        say("the page is open until Ctrl+C; its address:")
        print(address, file=args.stdout, flush=True)

    serve(args.host, args.port, args.voices, not args.no_browser, ready, say)
