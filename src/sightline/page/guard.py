"""Access to the live page: which requests are refused, and the security headers of every answer.

The page can change a training, so no other web page may reach it. The URL holds a secret token. The
Host header must be the server's own, which stops DNS rebinding (a foreign name that points at this
machine). Commands must have the page's own Origin, which stops cross-site requests. Headers tell
browsers to load nothing else and not to show the page in a frame.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Hosts:
    """The Host headers that are accepted.

    Args:
        host: The name or address the server listens on.
        port: The port it listens on.

    Example:
        >>> from sightline.page.guard import Hosts
        >>> hosts = Hosts("127.0.0.1", 8000)
        >>> "localhost:8000" in hosts, "localhost:8001" in hosts, "evil.example:8000" in hosts
        (True, False, False)
        >>> "192.168.1.7:8000" in Hosts("0.0.0.0", 8000)
        True
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self.names = {"127.0.0.1", "localhost", "[::1]", bracketed(host.lower())}
        self.any_address = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        if self.any_address:
            self.names.add(socket.gethostname().lower())

    def __contains__(self, header: str) -> bool:
        name, port = _split(header.lower())
        if port != str(self.port) and not (port == "" and self.port == 80):
            return False
        return name in self.names or (self.any_address and _is_address(name))


class Guard:
    """Refuses requests without the token or with a foreign Host, and commands with a foreign Origin.

    Args:
        app: The application it protects; it gets paths without the token.
        token: The first part of every path.
        hosts: The Host headers that are accepted.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts
        self.token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                replaced = {name for name, _ in _RAW_HEADERS}
                kept = [pair for pair in message["headers"] if pair[0].lower() not in replaced]
                message = {**message, "headers": [*kept, *_RAW_HEADERS]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        inside = {**scope, "root_path": f"/{self.token.decode()}"}
        await self.app(inside, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return PlainTextResponse("The Host header is not an address of this server.", 403)
        first = scope["path"].encode("utf-8", "surrogatepass").split(b"/", 2)
        if len(first) != 3 or not secrets.compare_digest(first[1], self.token):
            return PlainTextResponse("Not Found", 404)
        if scope["method"] == "POST" and _values(scope, b"origin") != [f"http://{hosts[0]}"]:
            return PlainTextResponse("Commands are accepted from the page itself only.", 403)
        return None


def bracketed(host: str) -> str:
    """Return a host as a URL writes it: IPv6 in brackets.

    Example:
        >>> from sightline.page.guard import bracketed
        >>> bracketed("::1"), bracketed("localhost")
        ('[::1]', 'localhost')
    """
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def reachable(host: str) -> str:
    """Return the host of a server's URL on this machine; one that listens on every address is reached on loopback.

    Example:
        >>> from sightline.page.guard import reachable
        >>> reachable("0.0.0.0"), reachable("::1")
        ('127.0.0.1', '[::1]')
    """
    return bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104 - compared, not bound


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _split(header: str) -> tuple[str, str]:
    """Split a Host header into name and port."""
    name, colon, port = header.rpartition(":")
    return (name, port) if colon and not header.endswith("]") else (header, "")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
