"""Large CSV and Parquet files, and queries, piece by piece, each read as a file of its own would be.

A piece of a CSV file is a number of whole rows: it ends at a line end that is not inside quotes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

import numpy as np
import pyarrow as pa

from sightline.errors import DataError
from sightline.load.databases import Query, running
from sightline.load.delimited import Delimited
from sightline.load.formats import format_of
from sightline.load.object_stores import Stored
from sightline.load.raw import Raw, RawRequest, raw_table
from sightline.load.sources import as_source, find_files, raw_delimited, same_names, unreadable
from sightline.load.text_files import (
    Transcoded,
    bytes_of,
    is_stream,
    is_utf8,
    readable,
    unlimited_fields,
)

PIECE_BYTES = 16 << 20
PIECE_ROWS = 131_072
COLUMN_BUFFER = 1 << 18
QUOTE, NEWLINE, RETURN = ord('"'), ord("\n"), ord("\r")


def can_be_pieces(source: Any) -> bool:
    """Tell whether a source is a query, a CSV or Parquet file, or a folder or glob of such files, also in an object store.

    Example:
        >>> from sightline.load.pieces import can_be_pieces
        >>> can_be_pieces("examples/penguins.csv"), can_be_pieces({"x": [1]})
        (True, False)
    """
    source = as_source(source)
    if isinstance(source, Query):
        return True
    if isinstance(source, Stored):
        return _in_pieces(map(PurePosixPath, source.files().files))
    if not isinstance(source, str | Path) or is_stream(Path(source)):
        return False
    return _in_pieces(find_files(source))


def _in_pieces(files: Iterable[PurePath]) -> bool:
    return {format_of(file) or "delimited" for file in files} in ({"delimited"}, {"parquet"})


@dataclass(frozen=True)
class Part:
    """A part of a table's files that is read by itself.

    Attributes:
        source: A file; or a whole query, which is read by one process.
        groups: Which row groups of a Parquet file; None is the whole file.
        rows: How many rows it has; 0 where that is not known before it is read.
        first: The number of its first row in the file.
    """

    source: str | Path | Query | Stored
    groups: tuple[int, ...] | None = None
    rows: int = 0
    first: int = 0


def parts_of(source: str | Path | Stored, rows: int = PIECE_ROWS) -> list[Part]:
    """Divide files into parts that can be read side by side, in the order of the rows.

    Args:
        source: For which `can_be_pieces` is true; no query.
        rows: Row groups of a Parquet file with fewer rows than this are put together.

    Returns:
        Row groups of Parquet files on the disk; else whole files.

    Raises:
        DataError: A file cannot be read, or files of a folder have different columns.

    Example:
        >>> from sightline.load.pieces import parts_of
        >>> parts_of("examples/penguins.csv")
        [Part(source='examples/penguins.csv', groups=None, rows=0, first=0)]
    """
    if isinstance(source, Stored):
        return [Part(one) for one in source.each()]
    files = find_files(source)
    if format_of(files[0]) != "parquet":
        return [Part(str(file)) for file in files]
    _same_columns(files)
    return [part for file in files for part in groups_of(file, rows)]


def groups_of(file: Path, rows: int, opened: Any = None) -> list[Part]:
    """Divide a Parquet file into parts of whole row groups.

    Args:
        file: The file.
        opened: The file, if it is open and has no name.
        rows: Row groups with fewer rows than this are put together.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(opened or file)
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    parts: list[Part] = []
    groups: list[int] = []
    held = first = 0
    for number, size in enumerate(sizes):
        if groups and held + size > rows:
            parts.append(Part(str(file), tuple(groups), held, first))
            groups, held, first = [], 0, first + held
        groups.append(number)
        held += size
    return [*parts, Part(str(file), tuple(groups), held, first)]


def pieces(
    source: str | Path | Query | Stored,
    request: RawRequest,
    size: int = PIECE_BYTES,
    rows: int = PIECE_ROWS,
    groups: Sequence[int] | None = None,
) -> Iterator[Raw]:
    """Read files or a query piece by piece.

    Args:
        source: For which `can_be_pieces` is true.
        request: How to read it.
        size: Bytes of text in a piece.
        rows: Rows in a piece of a Parquet file.
        groups: Which row groups of a Parquet file to read; None reads all of them.

    Yields:
        The raw columns of each piece; rows and bad rows are counted from its start.

    Raises:
        DataError: A file cannot be read.

    Example:
        >>> from sightline.load.pieces import pieces
        >>> from sightline.load.raw import RawRequest
        >>> [piece.table.num_rows for piece in pieces("examples/penguins.csv", RawRequest(), size=6000)]
        [132, 137, 75]
    """
    source = as_source(source)
    if isinstance(source, Query):
        yield from _query(source, rows)
        return
    if isinstance(source, Stored):
        yield from _stored(source, request, size, rows)
        return
    files = find_files(source)
    try:
        if format_of(files[0]) == "parquet":
            yield from _parquet(files, str(source), request, rows, groups)
        else:
            opened = [Delimited.open(file, request) for file in files]
            same_names(files, [one.names for one in opened])
            for one in opened:
                for part in _parts(one, size):
                    yield raw_delimited([part.path], [part], str(source), request)
    except PermissionError as error:
        raise DataError(
            f"There is no permission to read {error.filename}.", "Check the file's permissions."
        ) from error


def _query(query: Query, rows: int) -> Iterator[Raw]:
    """Yield the batches of a query, cut to `rows`; an empty one where there are no rows."""
    with running(query) as batches:
        empty = True
        for batch in batches:
            for start in range(0, batch.num_rows, rows):
                empty = False
                yield raw_table(_table(batch.slice(start, rows)), query.name, ())
        if empty:
            yield raw_table(batches.schema.empty_table(), query.name, ())


def _stored(stored: Stored, request: RawRequest, size: int, rows: int) -> Iterator[Raw]:
    """Copy one file at a time, and yield its pieces."""
    first: tuple[str, list[str]] | None = None
    for one in stored.files().each():
        copied = one.copy()
        with copied.naming():
            for raw in pieces(copied.source, request, size, rows):
                first = first or (copied.name, raw.table.column_names)
                same_names([first[0], copied.name], [first[1], raw.table.column_names])
                yield copied.named(raw)


def _same_columns(files: Sequence[Path]) -> None:
    """Refuse Parquet files with different columns, or that cannot be read."""
    import pyarrow.parquet as pq

    names: list[list[str]] = []
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                names.append(opened.schema_arrow.names)
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(file, "Parquet", error) from error
    same_names(files, names)


def _parquet(
    files: list[Path], name: str, request: RawRequest, rows: int, groups: Sequence[int] | None
) -> Iterator[Raw]:
    import pyarrow.parquet as pq

    _same_columns(files)
    for file in files:
        try:
            # A buffer of each column, not the whole row group, which may be as large as the file.
            with pq.ParquetFile(file, buffer_size=COLUMN_BUFFER, pre_buffer=False) as opened:
                wanted = request.wanted
                kept = [one for one in opened.schema_arrow.names if wanted is None or one in wanted]
                others = [one for one in opened.schema_arrow.names if one not in kept]
                empty = [] if opened.metadata.num_rows else [opened.schema_arrow.empty_table()]
                batches = map(_table, opened.iter_batches(rows, groups, columns=kept))
                for table in chain(empty, batches):
                    whole = table.select(kept)
                    for other in others:  # their names are kept, to report them as ignored
                        whole = whole.append_column(other, pa.nulls(table.num_rows))
                    yield raw_table(whole.select(opened.schema_arrow.names), name, (str(file),))
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(file, "Parquet", error) from error


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


# ------------------------------------------------------------- text


def _parts(file: Delimited, size: int) -> Iterator[Delimited]:
    """Cut a file into parts of whole rows, each with the header's names before it."""
    names = [f"c{i}" for i in range(len(file.names) + file.trailing)]
    header = (file.delimiter.join(names) + "\n").encode()
    with ExitStack() as stack:
        plain: IO[bytes] = stack.enter_context(bytes_of(file.path))
        utf8 = is_utf8(file.encoding)
        stream: Any = plain if utf8 else Transcoded(plain, file.encoding)
        encoding = file.encoding if utf8 else "utf-8"
        rest, before, lines = b"", 0, 0
        while True:
            with readable(file.path, file.encoding, lines + 1):
                block = stream.read(max(size - len(rest), 16))
            content = rest + block
            if not content:
                return
            end = len(content) if not block else last_row_end(content, file.delimiter)
            if end:
                part, rest = content[:end], content[end:]
                if before == 0:
                    yield replace(file, encoding=encoding, content=part)
                else:
                    yield replace(
                        file, encoding=encoding, content=header + part, skip=0, lines_before=lines - 1
                    )  # fmt: skip
                before += end
                lines += part.count(b"\n") + part.count(b"\r") - part.count(b"\r\n")
            else:
                rest = content
                size *= 2  # one row is longer than a piece
            if not block:
                return


def last_row_end(content: bytes, delimiter: str) -> int:
    """Return where the last row ends that is complete in some bytes, which begin with a row; 0 if none is.

    Args:
        content: Bytes of UTF-8.
        delimiter: The separator of cells.

    Example:
        >>> from sightline.load.pieces import last_row_end
        >>> last_row_end(b'1,"a' + b"\\n" + b'b"' + b"\\n" + b'2,"c' + b"\\n", ",")
        8
    """
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data == NEWLINE)
    if not len(ends):  # an old file whose lines end with a carriage return alone
        ends = np.flatnonzero(data == RETURN)[:-1]  # after the last one, a line feed may come
    quotes = np.flatnonzero(data == QUOTE)
    if not len(quotes):
        return int(ends[-1]) + 1 if len(ends) else 0
    if not _as_usual(data, quotes, ord(delimiter)):
        return _by_reader(content, delimiter)
    outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def _as_usual(data: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Tell whether every quote opens or closes a cell, or is doubled inside one, so that counting them is enough."""
    around = np.array([delimiter, NEWLINE, RETURN, QUOTE], np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before = data[opening[opening > 0] - 1]
    after = data[closing[closing < len(data) - 1] + 1]
    return bool(np.isin(before, around).all() and np.isin(after, around).all())


def _by_reader(content: bytes, delimiter: str) -> int:
    """Find the end of the last complete row with Python's reader, which knows where a quote is only a character."""
    text = content.decode("utf-8", "surrogateescape")
    lines = io.StringIO(text, newline="")
    used: list[int] = []

    def counted() -> Iterator[str]:
        for line in lines:
            used.append(len(line))
            yield line

    ends = [0]
    with unlimited_fields():
        for _ in csv.reader(counted(), delimiter=delimiter):
            ends.append(len(used))
    # The last row may go on behind these bytes.
    complete = sum(used[: ends[-2]]) if len(ends) > 1 else 0
    return len(text[:complete].encode("utf-8", "surrogateescape"))
