"""What `sightline serve` was asked for, as one value that is handed to every process."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sightline.errors import OptionError
from sightline.predict.loading import Engine

Log = Literal["all", "errors", "none"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and manners of a server.

    Attributes:
        host, port: Where it listens; port 0 is any free one.
        workers: The number of processes.
        engine: What computes: "onnx" or "torch"; "auto" is ONNX Runtime where the file holds the model as ONNX.
        network: For a network of your own, computed with PyTorch: "file.py:Class"; else None.
        batch_rows: Rows that are computed together, at most, unless one request has more.
        queue: Requests that wait in a process, at most; a further one is answered with 503.
        timeout: Seconds from a request's arrival to its answer; then it is answered with 504.
        max_body: Bytes of a request's body, also once it is decompressed.
        max_rows: Rows of a request.
        drain: Seconds between SIGTERM, from which on `/v2/health/ready` answers 503, and the end of listening.
        keys: Digests of the API keys, from `digest`; empty needs none.
        log: Which requests are logged.
        log_rows: Whether error messages, which may quote values of rows, are logged.

    Example:
        >>> from sightline.serve.settings import Settings
        >>> Settings(workers=2).timeout
        10.0
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    engine: Engine = "auto"
    network: str | None = None
    batch_rows: int = 1024
    queue: int = 1000
    timeout: float = 10.0
    max_body: int = 16 << 20
    max_rows: int = 10_000
    drain: float = 5.0
    keys: tuple[bytes, ...] = ()
    log: Log = "errors"
    log_rows: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "batch_rows", "queue", "max_body", "max_rows"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise OptionError(
                    f"{option} is {getattr(self, name):,}.", "Give a whole number from 1."
                )
        if not self.timeout > 0:
            raise OptionError(
                f"--timeout is {self.timeout:g} s.", "Give a number of seconds above 0."
            )
        if not self.drain >= 0:
            raise OptionError(f"--drain is {self.drain:g} s.", "Give a number of seconds from 0.")
        if not 0 <= self.port <= 65535:
            raise OptionError(
                f"--port is {self.port}.", "Give a port from 1 to 65535, or 0 for any free one."
            )

    def is_key(self, given: str) -> bool:
        """Tell whether a text is one of the API keys, in a time that does not depend on which."""
        mine = digest(given)
        return any([hmac.compare_digest(mine, key) for key in self.keys])  # noqa: C419 - no early end


def digest(key: str) -> bytes:
    """Return the digest under which an API key is kept.

    Example:
        >>> from sightline.serve.settings import Settings, digest
        >>> settings = Settings(keys=(digest("open sesame"),))
        >>> settings.is_key("open sesame"), settings.is_key("open barley")
        (True, False)
    """
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def keys_of(lines: Iterable[str]) -> tuple[bytes, ...]:
    """Return the digests of the API keys in some lines; blank lines and those that start with # are left out.

    Example:
        >>> from sightline.serve.settings import keys_of
        >>> len(keys_of(["# the shop", "abc", ""]))
        1
    """
    keys = (line.strip() for line in lines)
    return tuple(digest(key) for key in keys if key and not key.startswith("#"))
