"""Open any source of a table as raw Arrow columns: files by their ending, or tables in memory."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import BadRow
from sightline.contracts.options import OBJECT_STORES
from sightline.errors import DataError, OptionError, UserError, did_you_mean, shorten
from sightline.load.databases import ADDRESS, Query, is_address, read_query
from sightline.load.databases import SCHEMES as DATABASES
from sightline.load.delimited import Delimited, RawFile, count_bad
from sightline.load.excel import ENDINGS as WORKBOOKS
from sightline.load.excel import open_workbook, split_sheet
from sightline.load.formats import format_of, is_table
from sightline.load.json_rows import open_json
from sightline.load.memory import table_in_memory
from sightline.load.numbers import NUMBER_SHARE
from sightline.load.object_stores import Copied, Stored, is_stored
from sightline.load.raw import DEFAULT_REQUEST, Raw, RawRequest, raw_table
from sightline.load.text_files import STANDARD_INPUT, bytes_of, is_stream, spool
from sightline.load.values import to_floats


def as_source(source: Any, query: str | None = None) -> Any:
    """Return what an address names, rows of a database or files in an object store, and any other source as it is.

    Args:
        source: As in `sightline.read`.
        query: Of a database.

    Raises:
        OptionError: A query without a database, a database without a query, or an address of a kind that is not known.

    Example:
        >>> from sightline.load.sources import as_source
        >>> as_source("sqlite:///shop.db", "orders"), as_source("s3://shop/orders.csv"), as_source("orders.csv")
        (Query('sqlite:///shop.db', 'orders'), Stored('s3://shop/orders.csv'), 'orders.csv')
    """
    if is_address(source):
        if query is None:
            shown = Query(source, "t").shown
            raise OptionError(f"{shown} is a database.", "Give a SELECT or a table's name: query= (--query).")  # fmt: skip
        return Query(source, query)
    found = ADDRESS.match(source) if isinstance(source, str) else None
    if found and not is_stored(source) and not os.path.exists(source):
        known = [*OBJECT_STORES, *DATABASES]
        raise OptionError(
            f"There is no source {found[1]}://.", did_you_mean(found[1].lower(), known, "addresses")
        )
    if query is not None and not isinstance(source, Query):
        raise OptionError(
            "query= (--query) is for a database.", "Give an address such as postgresql://user@host/database."
        )  # fmt: skip
    return Stored(source) if is_stored(source) else source


def open_source(source: Any, request: RawRequest = DEFAULT_REQUEST) -> Raw:
    """Read any source into raw columns.

    Args:
        source: A path, a glob, a folder, a query, a table, an array or a dict; see `sightline.read`. Also files of an
            object store that were copied.
        request: How to read it.

    Raises:
        DataError: The source cannot be read.
        OptionError: There is no line `header`.
    """
    source = as_source(source)
    if isinstance(source, Stored):
        copied = source.files().copy()
        return replace(open_source(copied, request), paths=tuple(copied.origins.values()))
    if isinstance(source, Copied):
        with source.naming():
            return source.named(_open_files(source.source, request))
    if isinstance(source, Query):
        table, notes = read_query(source)
        return replace(raw_table(table, source.name, ()), said=notes)
    if isinstance(source, str | Path):
        return _open_files(source, request)
    table = table_in_memory(source, request.rules)
    name = f"a {type(source).__module__.split('.')[0]} {type(source).__name__}"
    if isinstance(source, dict):
        name = "a dict of columns"
    elif isinstance(source, list | tuple):
        name = "a list of rows"
    return raw_table(table, name, ())


# ------------------------------------------------------------- files


def find_files(source: str | Path) -> list[Path]:
    """List the files of a path, a glob pattern or a folder, sorted.

    Raises:
        DataError: There is no such file, or the folder holds no table.
    """
    path = Path(source)
    if os.path.isdir(path):  # unlike Path.is_dir, it accepts a name of any length
        files = sorted(file for file in path.iterdir() if file.is_file() and is_table(file))
        if not files:
            raise DataError(
                f"{path} is a folder with no CSV, TSV, Parquet, JSON or Arrow file in it.",
                "Give a file, or a folder that holds such files.",
            )
        return files
    if os.path.exists(path):
        return [path]
    if glob.has_magic(str(source)):
        files = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
        files = [file for file in files if file.is_file()]
        if files:
            return files
        raise DataError(f"No file matches {str(source)!r}.", "Check the pattern.")
    if os.path.islink(path):
        raise DataError(f"{path} is a link to a file that does not exist.", "Correct the link.")
    here = [file.name for file in path.parent.iterdir()] if os.path.isdir(path.parent) else []
    close = next(iter(difflib.get_close_matches(path.name, here, n=1, cutoff=0.7)), None)
    raise DataError(
        f"{path} does not exist.",
        f"Did you mean {path.parent / close}?" if close else "Check the path.",
    )


def _open_files(source: str | Path, request: RawRequest) -> Raw:
    if is_stream(path := Path(source)):
        # A pipe can be read once, and a text file is read several times.
        name = "standard input" if str(path) == STANDARD_INPUT else str(path)
        copied = str(spool(path))
        try:
            raw = _open_files(copied, request)
        except UserError as error:
            raise type(error)(error.problem.replace(copied, name), error.fix) from None
        locate = raw.locate

        def where(row: int, column: str) -> tuple[str, str | None]:
            place, cell = locate(row, column)
            return place.replace(copied, name), cell

        return replace(raw, name=name, paths=(), locate=where)
    path, sheet = split_sheet(source)
    if path.suffix.lower() in WORKBOOKS and os.path.isfile(path):
        return open_workbook(path, sheet, request)
    files = find_files(source)
    formats = {format_of(file) or "delimited" for file in files}
    if len(formats) > 1:
        raise DataError(
            f"{source} holds files of different formats: {', '.join(sorted(formats))}.",
            "Give files of one format, for example with a pattern such as 'folder/*.csv'.",
        )
    form = formats.pop()
    name = str(source)
    paths = tuple(str(file) for file in files)
    try:
        if form == "delimited":
            return _open_delimited(files, name, request)
        if form == "json":
            return open_json(files, name, request)
        readers = {"parquet": _read_parquet, "ipc": _read_ipc}
        tables = [readers[form](file) for file in files]
    except PermissionError as error:
        raise DataError(
            f"There is no permission to read {error.filename}.", "Check the file's permissions."
        ) from error
    if len(tables) == 1:
        return raw_table(tables[0], name, paths)
    same_names(files, [table.column_names for table in tables])
    return raw_table(concatenated(tables, source), name, paths)


def concatenated(tables: Sequence[pa.Table], source: str | Path) -> pa.Table:
    """Append tables of the same columns, whose numbers may have other types.

    Raises:
        DataError: A column holds other values in one of them.
    """
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"The files of {source} do not fit together: {error}.",
            "Give each column the same type in every file.",
        ) from error


def same_names(files: Sequence[Path | str], names: Sequence[Sequence[str]]) -> None:
    """Raise a `DataError` if files have different columns."""
    for file, other in zip(files[1:], names[1:], strict=True):
        if set(other) != set(names[0]):
            odd = sorted(set(other) ^ set(names[0]))
            raise DataError(
                f"{file} and {files[0]} have different columns: {', '.join(map(repr, odd[:5]))}.",
                "Give files with the same header.",
            )


def _open_delimited(files: list[Path], name: str, request: RawRequest) -> Raw:
    opened = [Delimited.open(file, request) for file in files]
    same_names(files, [source.names for source in opened])
    return raw_delimited(files, opened, name, request)


def raw_delimited(
    files: Sequence[Path], opened: Sequence[Delimited], name: str, request: RawRequest
) -> Raw:
    """Read delimited files, whose layouts are known and whose names are the same, into raw columns."""
    while True:
        read = [source.read(request) for source in opened]
        not_numbers = _not_numbers(read) - request.text
        if not not_numbers:
            break
        request = replace(
            request, text=request.text | not_numbers
        )  # numbers in the first rows, words further on: read them as text
    parts = [part.columns for part in read]
    starts = np.cumsum([0, *(part.num_rows for part in parts)])
    # A file without rows has no types, and could not be appended to the others.
    parts = [part for part in parts if part.num_rows] or parts[:1]
    parts = [parts[0], *(part.select(parts[0].column_names) for part in parts[1:])]
    bad = [
        BadRow(row + int(start), error)
        for start, part in zip(starts[:-1], read, strict=True)
        for row, error in part.bad
    ]
    skipped = sum(part.skipped for part in read)

    def locate(row: int, column: str) -> tuple[str, str]:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        line, cell = opened[number].locate(row - int(starts[number]), column)
        return f"{files[number]}, line {line:,}", cell

    def whole(columns: Collection[str]) -> dict[str, pa.ChunkedArray]:
        cells = [file.texts(columns) for file in opened]
        return {
            name: pa.chunked_array([chunk for file in cells for chunk in file[name].chunks])
            for name in cells[0]
        }

    table = pa.concat_tables(parts)
    if request.wanted is not None:  # keep the names of the others, to report them as ignored
        others = [column for column in opened[0].names if column not in table.column_names]
        nulls = pa.chunked_array([pa.nulls(table.num_rows)])
        for column in others:
            table = table.append_column(column, nulls)
        table = table.select(list(opened[0].names))
    kept_bad = bad if request.on_bad_rows == "keep" else []
    said = tuple(
        f"{sentence} ({file.path.name})" if len(opened) > 1 else sentence
        for file in opened for sentence in file.said
    )  # fmt: skip
    return Raw(
        table, opened[0].notes, kept_bad, skipped, name, tuple(map(str, files)), locate, said,
        opened[0].delimiter, opened[0].first_texts, whole,
    )  # fmt: skip


def _not_numbers(files: Sequence[RawFile]) -> frozenset[str]:
    """Find columns read as numbers that are text: over 1 % are no numbers, or they are in another file."""
    not_numbers = set()
    for name in files[0].columns.column_names:
        columns = [file.columns.column(name) for file in files if file.columns.num_rows]
        numeric = [pa.types.is_floating(column.type) for column in columns]
        if any(numeric) and not all(numeric):
            not_numbers.add(name)
        elif any(numeric):
            bad = sum(count_bad(to_floats(column)) for column in columns)
            given = sum(len(column) - column.null_count for column in columns)
            if bad > (1 - NUMBER_SHARE) * given:
                not_numbers.add(name)
    return frozenset(not_numbers)


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read()
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, "Parquet", error) from error


def _read_ipc(path: Path) -> pa.Table:
    try:
        with bytes_of(path) as stream:
            data = pa.py_buffer(stream.read())
        if data.size >= 6 and data.to_pybytes()[:6] == b"ARROW1":
            return pa.ipc.open_file(data).read_all()
        return pa.ipc.open_stream(data).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, "Arrow IPC", error) from error


def unreadable(path: Path, form: str, error: Exception) -> DataError:
    """Return the error of a file that is not in the format of its ending."""
    return DataError(
        f"{path} cannot be read as {form}: {shorten(str(error), 200)}.",
        "Check that the file is complete and that its ending matches its format.",
    )
