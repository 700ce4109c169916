"""Where a run's page is served, kept as RUN/live.json, so that the next server takes the same place.

An open tab then finds the page again after a restart. The file holds the page's secret: nobody but
its owner may read it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

PLACE = "live.json"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True)
class Place:
    """Where a page is.

    Attributes:
        host: As it is written in an address.
        port: Where it listens.
        token: The secret part of the address.
        pid: The server's process.

    Example:
        >>> from sightline.page.place import Place
        >>> Place("127.0.0.1", 8000, "secret", 1).address
        'http://127.0.0.1:8000/secret/'
    """

    host: str
    port: int
    token: str
    pid: int

    @property
    def address(self) -> str:
        """The page's address, with its secret."""
        return f"http://{self.host}:{self.port}/{self.token}/"


def write_place(run: Path, place: Place) -> None:
    """Write down where a run's page is, for its owner alone.

    Example:
        >>> from pathlib import Path
        >>> from sightline.page.place import Place, read_place, write_place
        >>> write_place(Path("."), Place("127.0.0.1", 8000, "a" * 22, 1))
        >>> read_place(Path(".")).port
        8000
    """
    temporary = run / f".{PLACE}.{secrets.token_hex(8)}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(vars(place), file)
        temporary.replace(run / PLACE)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_place(run: Path) -> Place | None:
    """Read where the last page of a run was; None if that is not known, or not a secret any more."""
    path = run / PLACE
    try:
        found = path.stat()
        said = json.loads(path.read_text("utf-8"))
        place = Place(said["host"], said["port"], said["token"], said["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if os.name != "nt" and (stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.getuid()):
        return None  # a copy that others can read
    whole = all(isinstance(n, int) and n > 0 for n in (place.port, place.pid))
    if not whole or place.port > 65535 or not isinstance(place.host, str):
        return None
    if not isinstance(place.token, str) or not _TOKEN.fullmatch(place.token):
        return None
    return place
