"""The log of a server: one JSON object a line, on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO


class Log:
    """Writes lines.

    Args:
        stream: Where to.

    Example:
        >>> import io, json
        >>> from sightline.serve.log import Log
        >>> stream = io.StringIO()
        >>> Log(stream).write("draining", {"seconds": 5})
        >>> list(json.loads(stream.getvalue()))
        ['time', 'event', 'pid', 'seconds']
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line: the time, the event, the process, and the fields."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, "pid": os.getpid(), **fields
        }  # fmt: skip
        stream = self.stream or sys.stderr
        stream.write(json.dumps(line, ensure_ascii=True) + "\n")
        stream.flush()

    def request(
        self, scope: Mapping[str, Any], endpoint: str, status: int, seconds: float, kind: str | None,
        sentence: str | None,
    ) -> None:  # fmt: skip
        """Write one line about a request; `sentence` may quote values of rows and is None unless that is wanted."""
        client = scope.get("client")
        fields: dict[str, Any] = {
            "method": scope["method"], "path": scope["path"], "endpoint": endpoint, "status": status,
            "milliseconds": round(1000 * seconds, 3), "client": client[0] if client else None,
        }  # fmt: skip
        if kind is not None:
            fields["error"] = kind
        if sentence is not None and sentence:
            fields["sentence"] = sentence
        self.write("request", fields)
