"""The command `app`."""

from ..errors import check_installed
from .terminal import say

NEEDED = ("gradio", "websockets")


def app(args) -> None:
    """Serve the page until Ctrl+C; its address goes to standard output."""
    check_installed("the page", "app", *NEEDED)
    say("starting the page, which takes some seconds")
    from ..app.server import serve

    def ready(address: str) -> None:
        say("the page is open until Ctrl+C; its address:")
        print(address, file=args.stdout, flush=True)

    serve(args.host, args.port, args.voices, not args.no_browser, ready, say)
