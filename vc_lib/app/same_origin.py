"""Refuse requests that another website makes a browser send to this page."""

import re
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# what a browser says of a request by a page of this server, or by its user (Sec-Fetch-Site)
OWN_SITES = ("same-origin", "none")
# paths at which Gradio fetches what another host has
FETCHES = re.compile(r"/proxy=|/file=\s*https?:", re.IGNORECASE)
FRAMES = "frame-ancestors 'self'"  # no other website may show the page in a frame
REFUSED = "Another website may not use this page; type its address into the browser."


class SameOrigin:
    """Middleware that lets only pages of this server make requests and open sockets.

    Parameters
    ----------
    app : ASGI application
    hosts : collection of str
        Names by which the server may be called, in lower case; an IP address is always accepted. A
        website whose name leads to this machine (DNS rebinding) calls it by another name.
    """

    def __init__(self, app, hosts: Collection[str] = LOOPBACK):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope, receive, send) -> None:
        """Pass the request on, or answer it by 403."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        if self._is_own(Headers(scope=scope), scope) and not FETCHES.search(scope["path"]):
            return await self.app(scope, receive, _without_frames(send))
        if scope["type"] == "websocket":
            await receive()  # the request to connect
            return await send({"type": "websocket.close", "code": 1008})
        await PlainTextResponse(REFUSED, status_code=403)(scope, receive, send)

    def _is_own(self, headers: Headers, scope) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(f"//{host}")
        if name not in self.hosts and not _is_address(name):
            return False
        if headers.get("sec-fetch-site", "none") not in OWN_SITES:  # programs do not send it
            return False
        if origin is None:  # a browser names it for each socket
            return scope["type"] == "http"
        return urlsplit(origin).netloc == host


def _without_frames(send):
    """`send`, which forbids other websites to show the answer in a frame."""

    async def sending(message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["content-security-policy"] = FRAMES
        await send(message)

    return sending


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _is_address(name: str | None) -> bool:
    try:
        return bool(ip_address(name or ""))
    except ValueError:
        return False
