"""The address of a run's live page, kept in RUN/live.json, so that the next server uses it again.

An open browser tab then finds the page again after the server restarts. The file holds the page's
secret token, so only its owner may read it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

ADDRESS_FILE = "live.json"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True)
class Address:
    """Where a live page is served.

    Attributes:
        host: As it is written in a URL (IPv6 in brackets).
        port: The port of the server.
        token: The secret part of the URL.
        pid: The id of the server's process.

    Example:
        >>> from sightline.page.address import Address
        >>> Address("127.0.0.1", 8000, "secret", 1).url
        'http://127.0.0.1:8000/secret/'
    """

    host: str
    port: int
    token: str
    pid: int

    @property
    def url(self) -> str:
        """The page's URL, with its token."""
        return f"http://{self.host}:{self.port}/{self.token}/"


def write_address(run: Path, address: Address) -> None:
    """Write a page's address into the run folder, readable by its owner only.

    Raises:
        OSError: The file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from sightline.page.address import Address, read_address, write_address
        >>> write_address(Path("."), Address("127.0.0.1", 8000, "a" * 22, 1))
        >>> read_address(Path(".")).port
        8000
    """
    temporary = run / f".{ADDRESS_FILE}.{secrets.token_hex(8)}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(vars(address), file)
        temporary.replace(run / ADDRESS_FILE)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_address(run: Path) -> Address | None:
    """Read the address of a run's last page.

    Returns:
        The address; None if there is none, it is not valid, or others can read the file, so that
        the token is not a secret any more.
    """
    path = run / ADDRESS_FILE
    try:
        status = path.stat()
        body = json.loads(path.read_text("utf-8"))
        address = Address(body["host"], body["port"], body["token"], body["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if os.name != "nt" and (stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.getuid()):
        return None
    numbers = all(isinstance(n, int) and n > 0 for n in (address.port, address.pid))
    if not numbers or address.port > 65535 or not isinstance(address.host, str):
        return None
    if not isinstance(address.token, str) or not _TOKEN.fullmatch(address.token):
        return None
    return address


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        OSError: The address is taken, or is none of this machine.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind)
    try:
        if os.name != "nt":  # on Windows this would let two servers share one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening
