"""The body of a request: read within a time, within a size, decompressed."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from sightline.serve.errors import Refused, bad

WINDOW = {"gzip": 31, "deflate": 15}
"""How zlib reads each encoding: with gzip's header, or its own."""


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Return a request's body.

    Args:
        request: The request.
        most: Bytes, also once it is decompressed.
        seconds: Until all of it must be here.

    Raises:
        Refused: It is too large (413), too slow (408), badly compressed (400) or compressed in another way (415).
    """
    length = request.headers.get("content-length")
    if length is not None and length.isdigit() and int(length[:20]) > most:
        raise too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large(most)
                parts.append(part)
    except TimeoutError as error:
        raise Refused(
            408, f"The request was not received within {seconds:g} s.", "slow request", {"Connection": "close"}
        ) from error  # fmt: skip
    except ClientDisconnect as error:
        raise Refused(400, "The connection ended within the request.", "disconnected") from error
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return body
    if encoding not in WINDOW:
        raise Refused(
            415, "Content-Encoding must be gzip or deflate.", "bad request", {"Accept-Encoding": "gzip, deflate"}
        )  # fmt: skip
    return decompress(body, encoding, most)


def decompress(body: bytes, encoding: str, most: int) -> bytes:
    """Decompress a body, and stop where it becomes too large.

    Raises:
        Refused: As `read_body`.

    Example:
        >>> import gzip
        >>> from sightline.serve.body import decompress
        >>> decompress(gzip.compress(b"[1]"), "gzip", 100)
        b'[1]'
    """
    reader = zlib.decompressobj(WINDOW[encoding])
    try:
        found = reader.decompress(body, most + 1)
    except zlib.error as error:
        raise bad(f"The body is not {encoding}: {error}.") from error
    if len(found) > most:
        raise too_large(most)
    if not reader.eof or reader.unused_data:
        raise bad(f"The body is not {encoding}: it is cut off, or something follows it.")
    return found


def too_large(most: int) -> Refused:
    """Return the answer to a body that is too large."""
    return Refused(
        413, f"The request has more than {most:,} bytes, which the server takes (--max-body).", "too large",
        {"Connection": "close"},
    )  # fmt: skip
