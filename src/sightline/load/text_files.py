"""Open text files: compression, encodings, and files that are not text at all."""

from __future__ import annotations

import codecs
import csv
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from sightline.errors import DataError
from sightline.load.formats import CODECS
from sightline.load.raw import RawRequest

STANDARD_INPUT = "-"


def is_stream(path: Path) -> bool:
    """Tell a pipe, which can be read once, from a file: "-", /dev/stdin, <(...) or a named pipe."""
    if str(path) == STANDARD_INPUT:
        return True
    return str(path).startswith("/dev/") or (os.path.exists(path) and path.is_fifo())


def spool(path: Path) -> Path:
    """Read a pipe to its end into a temporary file, which is removed when Python ends.

    Raises:
        DataError: Nothing came.
    """
    if _SPOOLED.folder is None:
        _SPOOLED.folder = tempfile.TemporaryDirectory(prefix="sightline-")
    number = len(list(Path(_SPOOLED.folder.name).iterdir()))
    with ExitStack() as stack:
        if str(path) == STANDARD_INPUT:
            source: Any = sys.stdin.buffer
        else:
            source = stack.enter_context(path.open("rb"))
        start = source.read(8)
        form = {
            b"PAR1": ".parquet",
            b"ARRO": ".arrow",
            b"\x1f\x8b\x08": ".csv.gz",
            b"(\xb5/\xfd": ".csv.zst",
        }
        ending = next((e for magic, e in form.items() if start.startswith(magic)), "")
        if start.lstrip()[:1] in (b"[", b"{"):
            ending = ".json"
        copied = Path(_SPOOLED.folder.name) / f"input-{number}{ending}"
        with copied.open("wb") as file:
            file.write(start)
            shutil.copyfileobj(source, file)
    if not copied.stat().st_size:
        raise DataError(f"Nothing came through {path}.", "Write the table into the pipe.")
    return copied


class _Spooled:
    folder: tempfile.TemporaryDirectory[str] | None = None


_SPOOLED = _Spooled()


def is_utf8(encoding: str) -> bool:
    """Tell whether a file in this encoding is UTF-8 as it stands.

    Example:
        >>> from sightline.load.delimited import is_utf8
        >>> is_utf8("UTF_8"), is_utf8("cp1252")
        (True, False)
    """
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii", "us-ascii", "utf-8-sig"}


def encoding_of(path: Path, request: RawRequest) -> str | None:
    """Return the encoding to read a file with: the one that was asked for, or the fallback if it needs one.

    A text in another encoding is hardly ever valid UTF-8 by chance.
    """
    if request.encoding is not None or request.fallback is None or is_utf8(request.fallback):
        return request.encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    with bytes_of(path) as stream:
        try:
            while block := stream.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return request.fallback
    return None


class CountingQuotes(io.RawIOBase):
    """A binary file that counts the quotes read from it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.quotes = 0

    def readable(self) -> bool:
        """Tell Arrow that this stream can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read bytes, and count the quotes in them."""
        data: bytes = self._stream.read(size)
        self.quotes += data.count(b'"')
        return data


class Transcoded(io.RawIOBase):
    """A file in any encoding that Python knows, converted to UTF-8 for Arrow."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, newline="")
        self._pending = b""

    def readable(self) -> bool:
        """Tell Arrow that this stream can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read bytes of UTF-8."""
        while size < 0 or len(self._pending) < size:
            text = self._text.read(1 << 20)
            if not text:
                break
            self._pending += text.encode()
        size = len(self._pending) if size < 0 else size
        data, self._pending = self._pending[:size], self._pending[size:]
        return data


def refuse_binary(path: Path, encoding: str | None) -> None:
    """Raise a `DataError` if a file's first bytes are not those of a text file."""
    with path.open("rb") as file:
        head = file.read(4)
    known = {
        b"PK\x03\x04": (
            "a zip archive or an Excel workbook",
            "Give a workbook a name that ends in .xlsx; save others as CSV.",
        ),
        b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Give it a name that ends in .xls."),
        b"%PDF": ("a PDF document", "Give the table itself, as CSV or Parquet."),
        b"PAR1": ("a Parquet file", "Give it a name that ends in .parquet."),
        b"ARRO": ("an Arrow file", "Give it a name that ends in .arrow."),
        b"SQLi": (
            "an SQLite database",
            "Give its address and a query: sqlite:///FILE, query= (--query).",
        ),
    }
    if head in known:
        what, fix = known[head]
        raise DataError(f"{path} is {what}, not a text file.", fix)
    if encoding is not None:
        return
    with bytes_of(path) as stream:
        start = stream.read(8192)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path} is written in UTF-16.", "Read it with encoding='utf-16' (--encoding utf-16)."
        )
    if b"\x00" in start:
        raise DataError(
            f"{path} is a binary file, not text: it holds zero bytes.",
            "Give a CSV, TSV, Parquet, JSON lines or Arrow file.",
        )


@contextmanager
def bytes_of(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, and decompress .gz and .zst."""
    codec = CODECS.get(path.suffix.lower())
    try:
        with pa.input_stream(str(path), compression=codec) as stream:
            yield stream
    except OSError as error:
        if codec is None:
            raise
        raise DataError(
            f"{path} cannot be decompressed: {error}.", f"Check that it is a complete {codec} file."
        ) from error


@contextmanager
def text_of(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file for reading as text, with line ends unchanged and without a byte order mark."""
    with bytes_of(path) as stream, text_in(stream, encoding) as text:
        yield text


@contextmanager
def text_in(stream: IO[bytes], encoding: str) -> Iterator[IO[str]]:
    """Read the bytes of a stream as `text_of` reads a file."""
    plain = encoding.lower().replace("_", "-") in {"utf-8", "utf8"}
    try:
        wrapper = io.TextIOWrapper(stream, "utf-8-sig" if plain else encoding, newline="")
    except LookupError:
        raise DataError(
            f"There is no encoding called {encoding!r}.",
            "Use one of Python's names (encoding=, --encoding), such as 'latin-1', 'cp1252' or 'utf-16'.",
        ) from None
    with wrapper:
        yield wrapper


@contextmanager
def readable(path: Path, encoding: str, line: int | None = None) -> Iterator[None]:
    """Turn a decoding error into a `DataError`."""
    try:
        yield
    except UnicodeError as error:
        near = f" near line {line:,}" if line else ""
        value = ""
        if isinstance(error, UnicodeDecodeError):
            value = f": the byte 0x{error.object[error.start]:02x} is not valid there"
        raise DataError(
            f"{path} is not {encoding} text{near}{value}.",
            "Give its encoding, for example encoding='cp1252' or 'latin-1' (--encoding cp1252).",
        ) from None


@contextmanager
def unlimited_fields() -> Iterator[None]:
    """Let Python's CSV reader accept cells of any size inside the `with` block."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
