"""Whatever holds a table, as raw Arrow columns: files by their ending, tables by their protocol."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import MISSING_NUMBERS, BadRow
from sightline.errors import DataError, shorten
from sightline.load.delimited import (
    CODECS,
    Delimited,
    OnBadRows,
    RawFile,
    bytes_of,
    count_bad,
    readable,
    text_of,
    unique_names,
)
from sightline.load.text_kinds import NUMBER_SHARE
from sightline.load.values import to_floats, to_text

ENDINGS = {
    ".csv": "delimited", ".tsv": "delimited", ".txt": "delimited", ".data": "delimited",
    ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".arrow": "ipc", ".ipc": "ipc", ".feather": "ipc", ".arrows": "ipc",
}  # fmt: skip
# What pyarrow says of values that no column can hold.
UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError)
Place = Callable[[int, str], tuple[str, str | None]]


@dataclass(frozen=True)
class Raw:
    """A whole source's columns before their kinds are known.

    Attributes:
        table: Raw Arrow columns under unique names.
        notes: Per column, what the reader changed.
        bad: Rows without a usable shape, kept as empty rows.
        skipped: Rows without a usable shape, left out.
        name: The source in words.
        paths: The files read; empty for a table in memory.
        place: (row, column) -> where that cell is, and its text if only the file still knows.
    """

    table: pa.Table
    notes: dict[str, str]
    bad: list[BadRow]
    skipped: int
    name: str
    paths: tuple[str, ...]
    place: Place


def open_source(
    source: Any,
    *,
    text: frozenset[str] = frozenset(),
    missing: tuple[str, ...] | None = None,
    encoding: str | None = None,
    on_bad_rows: OnBadRows = "error",
    wanted: frozenset[str] | None = None,
) -> Raw:
    """Read any source into raw columns.

    Args:
        source: A path, a glob, a folder, a table, an array or a dict; see `sightline.read`.
        text: Columns whose text must be kept as it is written.
        missing: Texts that mean missing; None is the default rule.
        encoding: Of text files; None is UTF-8.
        on_bad_rows: "error", "skip", or "keep" (an empty row in its place).
        wanted: Read only these columns; the others stay named but empty of meaning.
    """
    if isinstance(source, str | Path):
        return _open_files(source, text, missing, encoding, on_bad_rows, wanted)
    table = _in_memory(source)
    name = f"a {type(source).__module__.split('.')[0]} {type(source).__name__}"
    if isinstance(source, dict):
        name = "a dict of columns"
    return _in_raw(table, name, ())


def _in_raw(table: pa.Table, name: str, paths: tuple[str, ...]) -> Raw:
    kept = [column for column in table.column_names if not column.startswith("__index_level_")]
    table = (
        table.select([table.column_names.index(column) for column in kept])
        if len(kept) < table.num_columns
        else table
    )
    names, notes = unique_names(table.column_names)
    table = table.rename_columns(names)

    def place(row: int, column: str) -> tuple[str, None]:
        return f"{name}, row {row:,}", None

    return Raw(table, notes, [], 0, name, paths, place)


# ------------------------------------------------------------- tables in memory


def _in_memory(source: Any) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, pa.RecordBatch):
        return pa.Table.from_batches([source])
    try:
        if isinstance(source, Mapping):
            return _from_mapping(source)
        if hasattr(source, "__arrow_c_stream__"):
            return pa.table(_mixed_as_text(source))
    except DataError:  # a ValueError as well
        raise
    except UNFIT as error:
        raise DataError(
            f"The table cannot be read: {shorten(str(error), 300)}.",
            "Give each column values of one type and each column a name of its own.",
        ) from error
    if isinstance(source, np.ma.MaskedArray):  # asarray would show what the mask hides
        return _from_array(source)
    if hasattr(source, "__array__"):
        return _from_array(np.asarray(source))
    raise DataError(
        f"A table cannot be read from a {type(source).__name__}.",
        "Give a path, a DataFrame (pandas, polars, pyarrow, DuckDB), a numpy array or a dict of "
        "columns.",
    )


def _mixed_as_text(frame: Any) -> Any:
    """Write columns of a pandas frame that mix numbers and words as a text file would hold them."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(frame, pandas.DataFrame) or not frame.columns.is_unique:
        return frame
    found = frame
    for name, dtype in frame.dtypes.items():
        if dtype != np.dtype(object):
            continue
        column = frame[name]
        if pandas.api.types.infer_dtype(column, skipna=True) not in ("mixed", "mixed-integer"):
            continue
        if texts := _as_texts(column.where(column.notna(), None)):
            found = frame.copy(deep=False) if found is frame else found
            found[name] = texts
    return found


def _as_texts(values: Iterable[Any]) -> list[str | None] | None:
    """Write plain values as texts; None where one of them is anything else, such as a list."""
    plain = list(values)
    if not all(isinstance(value, str | int | float | None) for value in plain):
        return None
    return [to_text(value) for value in plain]


def _from_mapping(columns: Mapping[Any, Any]) -> pa.Table:
    names, arrays = [], []  # two keys may be written alike: 0 and "0"
    for name, values in columns.items():
        if isinstance(values, str | bytes) or not (
            isinstance(values, Sequence | pa.Array | pa.ChunkedArray)
            or hasattr(values, "__array__")
        ):
            raise DataError(
                f"Column {str(name)!r} is {shorten(repr(values))}, not a list of values.",
                "Give a list or an array for each column.",
            )
        names.append(str(name))
        if isinstance(values, pa.Array | pa.ChunkedArray):
            arrays.append(values)
            continue
        try:
            plain = values if isinstance(values, Sequence) else np.asanyarray(values)
            arrays.append(pa.array(plain, from_pandas=True))
        except UNFIT as error:
            if texts := _as_texts(values):  # as a text file would hold them
                arrays.append(pa.array(texts, pa.string()))
                continue
            raise DataError(
                f"Column {str(name)!r} cannot be read: {shorten(str(error), 200)}.",
                "Give it values of one type, whole numbers below 2**63.",
            ) from error
    lengths = [len(values) for values in arrays]
    if len(set(lengths)) > 1:
        said = ", ".join(
            f"{shorten(name)!r} {n:,}" for name, n in list(zip(names, lengths, strict=True))[:5]
        )
        raise DataError(f"The columns have different lengths: {said}.", "Give them the same.")
    return pa.Table.from_arrays(arrays, names)


def _from_array(array: np.ndarray) -> pa.Table:
    if array.dtype.names:
        return _from_mapping({name: array[name] for name in array.dtype.names})
    if array.ndim != 2:
        raise DataError(
            f"A numpy array of shape {array.shape} is not a table.", "Give shape [rows, columns]."
        )
    return _from_mapping({f"x{j}": array[:, j] for j in range(array.shape[1])})


# ------------------------------------------------------------- files


def find_files(source: str | Path) -> list[Path]:
    """List the files that a path, a glob or a folder stands for, sorted.

    Raises:
        DataError: There is none, or the folder holds no table.
    """
    path = Path(source)
    if os.path.isdir(path):  # unlike Path.is_dir, it takes a name of any length
        files = sorted(
            file
            for file in path.iterdir()
            if file.is_file() and not file.name.startswith((".", "_")) and format_of(file)
        )
        if not files:
            raise DataError(
                f"{path} is a folder with no CSV, TSV, Parquet, JSON lines or Arrow file in it.",
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
        raise DataError(f"{path} is a link to a file that does not exist.", "Mend the link.")
    here = [file.name for file in path.parent.iterdir()] if os.path.isdir(path.parent) else []
    close = _close(path.name, here)
    raise DataError(
        f"{path} does not exist.",
        f"Did you mean {path.parent / close}?" if close else "Check the path.",
    )


def _close(name: str, names: Sequence[str]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.7)), None)


def format_of(path: Path) -> str | None:
    """Tell a file's format by its ending, `.gz` and `.zst` set aside; None if unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in CODECS:
        suffixes.pop()
    return ENDINGS.get(suffixes[-1]) if suffixes else None


def _open_files(
    source: str | Path,
    text: frozenset[str],
    missing: tuple[str, ...] | None,
    encoding: str | None,
    on_bad_rows: OnBadRows,
    wanted: frozenset[str] | None,
) -> Raw:
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
            return _open_delimited(files, name, text, missing, encoding, on_bad_rows, wanted)
        if form == "jsonl":
            return _open_json(files, name, encoding, on_bad_rows)
        readers = {"parquet": _read_parquet, "ipc": _read_ipc}
        tables = [readers[form](file) for file in files]
    except PermissionError as error:
        raise DataError(f"{error.filename} may not be read.", "Check its permissions.") from error
    if len(tables) == 1:
        return _in_raw(tables[0], name, paths)
    _same_names(files, [table.column_names for table in tables])
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"The files of {source} do not fit together: {error}.",
            "Give each column the same type in every file.",
        ) from error
    return _in_raw(table, name, paths)


def _same_names(files: Sequence[Path], names: Sequence[Sequence[str]]) -> None:
    for file, other in zip(files[1:], names[1:], strict=True):
        if set(other) != set(names[0]):
            odd = sorted(set(other) ^ set(names[0]))
            raise DataError(
                f"{file} and {files[0]} have different columns: {', '.join(map(repr, odd[:5]))}.",
                "Give files with the same header.",
            )


def _open_delimited(
    files: list[Path],
    name: str,
    text: frozenset[str],
    missing: tuple[str, ...] | None,
    encoding: str | None,
    on_bad_rows: OnBadRows,
    wanted: frozenset[str] | None,
) -> Raw:
    tokens = MISSING_NUMBERS if missing is None else missing
    opened = [Delimited.open(file, encoding) for file in files]
    _same_names(files, [one.names for one in opened])
    while True:
        read = [one.read(text, tokens, on_bad_rows, wanted) for one in opened]
        wrong = _not_numbers(read) - text
        if not wrong:
            break
        text |= wrong  # numbers in the sample, words further on: keep what is written
    parts = [part.columns for part in read]
    starts = np.cumsum([0, *(part.num_rows for part in parts)])
    # A file without rows has no types either: it would not fit the others.
    parts = [part for part in parts if part.num_rows] or parts[:1]
    parts = [parts[0], *(part.select(parts[0].column_names) for part in parts[1:])]
    bad = [
        BadRow(row + int(start), error)
        for start, part in zip(starts[:-1], read, strict=True)
        for row, error in part.bad
    ]
    skipped = sum(part.skipped for part in read)

    def place(row: int, column: str) -> tuple[str, str]:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        line, cell = opened[number].locate(row - int(starts[number]), column)
        return f"{files[number]}, line {line:,}", cell

    table = pa.concat_tables(parts)
    if wanted is not None:  # the others are named, so that they can be reported as ignored
        others = [column for column in opened[0].names if column not in table.column_names]
        nothing = pa.chunked_array([pa.nulls(table.num_rows)])
        for column in others:
            table = table.append_column(column, nothing)
        table = table.select(list(opened[0].names))
    kept_bad = bad if on_bad_rows == "keep" else []
    return Raw(table, opened[0].notes, kept_bad, skipped, name, tuple(map(str, files)), place)


def _not_numbers(files: Sequence[RawFile]) -> frozenset[str]:
    """Columns read as numbers in which more than 1 % are none, or that differ between files."""
    wrong = set()
    for name in files[0].columns.column_names:
        columns = [file.columns.column(name) for file in files if file.columns.num_rows]
        numeric = [pa.types.is_floating(column.type) for column in columns]
        if any(numeric) and not all(numeric):
            wrong.add(name)
        elif any(numeric):
            bad = sum(count_bad(to_floats(column)) for column in columns)
            given = sum(len(column) - column.null_count for column in columns)
            if bad > (1 - NUMBER_SHARE) * given:
                wrong.add(name)
    return frozenset(wrong)


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read()
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, "Parquet", error) from error


def _read_ipc(path: Path) -> pa.Table:
    try:
        with bytes_of(path) as stream:
            data = pa.py_buffer(stream.read())
        if data.size >= 6 and data.to_pybytes()[:6] == b"ARROW1":
            return pa.ipc.open_file(data).read_all()
        return pa.ipc.open_stream(data).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, "Arrow IPC", error) from error


def _unreadable(path: Path, form: str, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as {form}: {shorten(str(error), 200)}.",
        "Check that the file is whole and that its ending tells its format.",
    )


def _open_json(files: list[Path], name: str, encoding: str | None, on_bad_rows: OnBadRows) -> Raw:
    """One JSON object a line. Python's reader: it names the line of a fault."""
    rows: list[dict[str, Any]] = []
    lines: list[tuple[Path, int]] = []
    bad: list[BadRow] = []
    skipped = 0
    for file in files:
        for line, content in _json_lines(file, encoding):
            row, fault = _json_row(content)
            if fault and on_bad_rows == "error":
                raise DataError(
                    f"{file}, line {line:,}: {fault}.",
                    "Mend the line, or leave such rows out with on_bad_rows='skip' "
                    "(--on-bad-rows skip).",
                )
            if fault and on_bad_rows == "skip":
                skipped += 1
                continue
            if fault:
                bad.append(BadRow(len(rows), f"{file.name}, line {line:,}: {fault}"))
            rows.append(row)
            lines.append((file, line))
    if not rows:
        left = f" but the {skipped:,} that could not be read" if skipped else ""
        raise DataError(f"{name} holds no rows{left}.", "Give one JSON object a line.")
    names = list(dict.fromkeys(key for row in rows for key in row))
    if not names:
        raise DataError(f"{name} holds no names, only empty objects.", "Give objects with values.")
    table = pa.table({key: _json_column([row.get(key) for row in rows]) for key in names})
    raw = _in_raw(table, name, tuple(map(str, files)))

    def place(row: int, column: str) -> tuple[str, str]:
        file, line = lines[row]
        return f"{file}, line {line:,}", str(rows[row].get(names[table_names.index(column)]))

    table_names = raw.table.column_names
    return replace(raw, bad=bad, skipped=skipped, place=place)


def _json_lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    form = encoding or "utf-8"
    with text_of(path, form) as lines, readable(path, form):
        for line, content in enumerate(lines, start=1):
            if content.strip():
                yield line, content


def _json_row(content: str) -> tuple[dict[str, Any], str]:
    """Return a line's object, or an empty one and what is wrong."""
    try:
        value = json.loads(content)
        # "\ud800" is half a character: JSON can write it, no text can hold it.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return {}, f"no valid JSON ({error.msg} at character {error.pos + 1:,})"
    except (ValueError, RecursionError) as error:
        return {}, f"no valid JSON ({error})"
    if not isinstance(value, dict):
        return {}, f"a JSON {type(value).__name__} where an object is due"
    return value, ""


def _json_column(values: list[Any]) -> pa.Array:
    """Values of one JSON type keep it; mixed ones become text, as in a CSV file."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, OverflowError):  # a number too large for 64 bits
            return pa.array([None if value is None else str(value) for value in values])
    return pa.array([None if value is None else _plain(value) for value in values], pa.string())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
