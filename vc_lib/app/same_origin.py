"""Refuse requests that another website makes a browser send to this page."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SameOrigin:
    """Middleware that lets only pages of this server make requests and open sockets.

    Parameters
    ----------
    app : ASGI application
    hosts : collection of str
        Names by which the server may be called; empty: any. A website whose name leads to this
        machine (DNS rebinding) calls it by another one.
    """

    def __init__(self, app, hosts: Collection[str] = LOOPBACK):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope, receive, send) -> None:
        """Pass the request on, or answer it by 403."""
        if scope["type"] not in ("http", "websocket") or self._is_own(Headers(scope=scope), scope):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            await receive()  # the request to connect
            return await send({"type": "websocket.close", "code": 1008})
        answer = PlainTextResponse("Another website may not use this page.", status_code=403)
        await answer(scope, receive, send)

    def _is_own(self, headers: Headers, scope) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts and _name(f"//{host}") not in self.hosts:
            return False
        if origin is None:  # a browser names it for each socket
            return scope["type"] == "http"
        return urlsplit(origin).netloc == host


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
