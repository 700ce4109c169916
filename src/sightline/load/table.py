"""Read any table into typed columns, each with a kind, a role and a reason."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from sightline.contracts import (
    READING_RULES,
    BadRow,
    BadRows,
    Column,
    DateOrder,
    Kind,
    ReadOptions,
    Role,
    Schema,
    Target,
    traits_of,
)
from sightline.contracts.arguments import names_checked
from sightline.errors import (
    DataError,
    DataWarning,
    OptionError,
    counted,
    did_you_mean,
    listed,
    shorten,
)
from sightline.load.databases import Query
from sightline.load.hashes import row_hashes
from sightline.load.kinds import check_kinds, type_column
from sightline.load.layout import footer
from sightline.load.object_stores import Stored
from sightline.load.parallel import each_column
from sightline.load.pieces import PIECE_BYTES, PIECE_ROWS, can_be_pieces, pieces
from sightline.load.raw import Locate, Raw, RawRequest
from sightline.load.sources import as_source, open_source
from sightline.load.summary import summarise
from sightline.load.text_kinds import Writing
from sightline.load.typed import TypedColumn
from sightline.load.values import (
    as_dictionary,
    date_example,
    date_text,
    to_flags,
    to_floats,
    to_microseconds,
)
from sightline.load.writing import find_writings
from sightline.views.format import plain


@dataclass(frozen=True)
class Table:
    """TypedColumn columns in memory.

    Attributes:
        schema: Each column's kind and role, and the reason for them.
        columns: By name, Arrow data: numbers, booleans, int64 microseconds, or int32 codes of
            texts.
        rows: The number of rows.
        name: The source in words.
        paths: The files it came from; empty for a table in memory.
        skipped: The number of rows left out because they could not be read.
        bad: Rows kept although they could not be read; only rows to predict are kept.
        extra: Columns that the model does not use; only tables to predict leave some out.
        options: The arguments of `read`, as JSON, so that the table can be read again.
        locate: (row, column) -> where that cell is in the source, in words, and its text if it is only
            in the file.
        said: What was guessed about the source, in sentences.
        remark: What to know about the table beside the verdict on simple models; "" for most tables.

    Example:
        >>> import sightline as sl
        >>> table = sl.read("examples/penguins.csv")
        >>> table.rows, table.schema["island"].kind
        (344, 'categorical')
    """

    schema: Schema
    columns: Mapping[str, pa.ChunkedArray]
    rows: int
    name: str
    paths: tuple[str, ...] = ()
    skipped: int = 0
    bad: tuple[BadRow, ...] = ()
    extra: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    locate: Locate | None = None
    said: tuple[str, ...] = ()
    remark: str = ""

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        """Name the rows, the columns and their kinds in a few lines."""
        kinds = [
            f"{plain(column.name, 30)} ({column.kind}{_role(column)})"
            for column in self.schema.columns
        ]
        return (
            f"Table {plain(self.name, 80)}: {counted(self.rows, 'row')} x {counted(len(self.columns), 'column')}\n"
            f"  {listed(kinds, 10)}"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what finds cells in the source again: other processes have it not open."""
        return {**self.__dict__, "locate": None}

    def numbers(self, name: str) -> np.ndarray:
        """Return a numeric column as float64, NaN where missing."""
        return to_floats(self.columns[name])

    def flags(self, name: str) -> np.ndarray:
        """Return a boolean column as int8: 1, 0, and -1 where missing."""
        return to_flags(self.columns[name])

    def moments(self, name: str) -> np.ndarray:
        """Return a datetime column as int64 microseconds, the smallest int64 where missing."""
        return to_microseconds(self.columns[name])

    def words(self, name: str) -> pa.DictionaryArray:
        """Return a categorical or text column as codes and unique texts."""
        return self.columns[name].chunk(0)

    def cells(self, name: str, row: int) -> str | int | float | bool | None:
        """Return the value in one row, a date as text, None where missing or unsupported."""
        value: str | int | float | bool | None = self.columns[name][row].as_py()
        column = self.schema[name]
        if value is None or column.values == "unsupported":
            return None
        if traits_of(column.kind).storage == "moments":
            return date_text(int(value))
        if isinstance(value, float) and column.values == "integer":
            return int(value)
        return value

    def row(self, number: int) -> dict[str, str | int | float | bool | None]:
        """Return one row's values by column name, in the form that `Model.explain` takes.

        Example:
            >>> import sightline as sl
            >>> sl.read("examples/penguins.csv").row(3)["bill_length_mm"] is None
            True
        """
        return {name: self.cells(name, number) for name in self.columns}

    def summary(self, target: Target | None = None) -> list[dict[str, Any]]:
        """Describe each column: name, kind, role, reason, missing, values and their distribution.

        Args:
            target: The target, once it is known: its classes are then written as the file writes them.
        """
        return [
            summarise(column, self.columns[column.name], target) for column in self.schema.columns
        ]

    def row_hashes(self, names: Sequence[str]) -> np.ndarray:
        """Hash each row's values in the named columns: uint64 [rows], equal for equal values."""
        return row_hashes(
            [(self.schema[name], self.columns[name]) for name in names],
            self.rows,
            self.schema.rules,
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of all values in row order, as hexadecimal text."""
        digest = hashlib.sha256()
        columns = sorted((c.name, c.kind, c.role) for c in self.schema.columns)
        digest.update(repr(columns).encode())
        digest.update(self.row_hashes([name for name, _, _ in columns]).tobytes())
        return digest.hexdigest()


@names_checked
def read(
    source: Any,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[str] | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
    thousands: Literal[".", ",", "'", " "] | None = None,
    dates: DateOrder | None = None,
    header: int | None = None,
    sheet: str | None = None,
    query: str | None = None,
    on_bad_rows: BadRows = "error",
) -> Table:
    """Read a table and infer each column's kind and role.

    Args:
        source: A CSV, TSV (also .gz, .zst), Parquet, JSON, JSON lines or Arrow IPC file; a folder or
            a glob of such files, also in an object store (s3://bucket/folder, gs://, abfs://); a workbook (.xlsx, .xls, .ods; extra "excel"), also data.xlsx#Sheet2; "-"
            or a pipe; the address of a database (postgresql://, sqlite://, duckdb://; extra "sql"), or
            a `Query`; anything with `__arrow_c_stream__` (pandas, polars, pyarrow, a
            DuckDB relation); a numpy array [rows, columns]; a dict of columns; or a list of dicts, one a row.
        kinds: By column name, the kind to use instead of the inferred one: "numeric",
            "categorical", "boolean", "datetime" or "text".
        drop: Columns to leave out.
        missing: Texts that mean "missing" in every column, instead of the default rule: the empty
            cell everywhere, and NA, N/A, NaN, null and ? in numeric and date columns.
        encoding: The encoding of text files that are not UTF-8, by Python's name ("cp1252").
        decimal: The decimal sign, "." or ",", of numbers that may be read in two ways, such as 1.234;
            None decides by the values of all columns.
        thousands: The sign between groups of three digits: ".", ",", "'" or " "; None decides as above.
        dates: Whether 04/01/2026 is 4 January ("day-first") or 1 April ("month-first"); None decides by the
            values of all columns.
        header: The line of a text file that holds the column names, counted from 1; None takes the first
            line that is no title.
        sheet: The sheet of a workbook; None takes the first one with rows.
        query: Of a database, a SELECT or the name of a table.
        on_bad_rows: "error" stops at the first row that cannot be read; "skip" leaves such rows
            out and counts them.

    Returns:
        The table; its `schema` holds each column's kind and role, and the reason for them.

    Raises:
        DataError: The source cannot be read; names the file, line, column and value.
        OptionError: A kind, a column or a value of another option that does not exist.

    Warns:
        DataWarning: The values of a column that is not used, or used as text, look like numbers.

    Example:
        >>> import sightline as sl
        >>> table = sl.read({"age": [31, 54, None], "city": ["Oslo", "Rome", "Oslo"]})
        >>> [(column.name, column.kind) for column in table.schema.columns]
        [('age', 'numeric'), ('city', 'categorical')]
    """
    options = ReadOptions(
        kinds={} if kinds is None else kinds, drop=drop, missing=missing, encoding=encoding,
        decimal=decimal, thousands=thousands, dates=dates, header=header, sheet=sheet, query=query, on_bad_rows=on_bad_rows,
    )  # fmt: skip
    return read_by_rules(source, options, READING_RULES)


def read_by_rules(source: Any, options: ReadOptions, rules: int) -> Table:
    """Read a table by a version of the reading rules; else as `read`.

    Args:
        source: As in `read`.
        options: The arguments of `read`.
        rules: The version: of a model or run made before, the one that it was made with.

    Raises:
        DataError, OptionError: As `read`.

    Example:
        >>> from sightline.contracts import ReadOptions
        >>> from sightline.load.table import read_by_rules
        >>> table = {"x": ["0,5", "1,5"]}
        >>> [read_by_rules(table, ReadOptions(), rules).schema["x"].kind for rules in (1, 2)]
        ['categorical', 'numeric']
    """
    request = request_for(options, rules)
    return typed_table(open_source(as_source(source, options.query), request), options, rules)


def column_names(source: Any, options: ReadOptions) -> list[str]:
    """Return the names of a table's columns, those of `drop` left out; of large files one piece is read.

    Args:
        source: As in `read`.
        options: The arguments of `read`.

    Raises:
        DataError, OptionError: As `read`.

    Example:
        >>> from sightline.contracts import ReadOptions
        >>> from sightline.load.table import column_names
        >>> column_names("examples/penguins.csv", ReadOptions(drop=["year"]))[-2:]
        ['sex', 'species']
    """
    request, source = request_for(options, READING_RULES), as_source(source, options.query)
    raw = next(pieces(source, request)) if can_be_pieces(source) else open_source(source, request)
    return [name for name in raw.table.column_names if name not in options.drop]


def request_for(options: ReadOptions, rules: int) -> RawRequest:
    """Return how a source is read into raw columns.

    Raises:
        OptionError: A kind that does not exist.
    """
    check_kinds(options.kinds)
    return RawRequest(
        text=frozenset(name for name, kind in options.kinds.items() if kind != "numeric"),
        missing=None if options.missing is None else tuple(options.missing), encoding=options.encoding,
        header=options.header, sheet=options.sheet, on_bad_rows=options.on_bad_rows, rules=rules,
    )  # fmt: skip


def typed_table(raw: Raw, options: ReadOptions, rules: int) -> Table:
    """Infer the kind and role of each raw column; see `read`.

    Raises:
        DataError, OptionError: As `read`.
    """
    wanted = dict(options.kinds)
    tokens = None if options.missing is None else tuple(options.missing)
    for name in [*wanted, *options.drop]:
        if name not in raw.table.column_names:
            raise OptionError(
                f"{raw.name} has no column {name!r}.", did_you_mean(name, raw.table.column_names)
            )
    kept = [name for name in raw.table.column_names if name not in set(options.drop)]
    raw, writings = find_writings(raw, kept, options, rules)

    def type_(name: str) -> TypedColumn:
        return type_column(
            name, raw.table.column(name), kind=wanted.get(name), missing=tokens, note=raw.notes.get(name),
            categories=name in raw.categories and rules > 1, writing=writings[name],
        )  # fmt: skip

    typed = each_column(type_, kept, raw.table.num_rows)
    if not raw.table.num_columns:
        raise DataError(f"{raw.name} has no columns.", "Give a table with columns and rows.")
    if not typed:
        raise DataError(
            f"{raw.name} has no columns left: all are in drop.", "Drop fewer columns (--drop)."
        )
    rows = raw.table.num_rows
    if rows == 0 and raw.skipped:
        raise DataError(
            f"No row of {raw.name} can be read: all {raw.skipped:,} were left out.",
            "Read it without on_bad_rows='skip' (--on-bad-rows) to see what is wrong with the first one.",
        )
    if rows == 0:
        raise DataError(f"{raw.name} has a header but no rows.", "Give a table with rows.")
    bad = sorted({row for column in typed for row in column.bad})
    if bad and options.on_bad_rows == "error":
        raise _bad_value(raw, typed, bad)
    if len(bad) == rows:
        raise DataError(
            f"Every row of {raw.name} has a value that does not fit its column's kind.",
            "Correct the kinds (kinds=, --kind).",
        )
    for column in typed:
        if writings[column.column.name].odd:
            _warn_of_numbers(raw.name, column)
    table = Table(
        schema=Schema(tuple(column.column for column in typed), tokens, rules=rules),
        columns={column.column.name: column.data for column in typed},
        rows=rows,
        name=raw.name,
        paths=raw.paths,
        skipped=raw.skipped + len(bad),
        options={
            "kinds": wanted, "drop": list(options.drop), "missing": None if tokens is None else list(tokens),
            "encoding": options.encoding, "decimal": options.decimal, "thousands": options.thousands,
            "dates": options.dates, "header": options.header, "sheet": options.sheet, "query": options.query,
            "on_bad_rows": options.on_bad_rows,
        },
        locate=raw.locate,
        said=(*raw.said, *_footer(raw)),
    )  # fmt: skip
    return subset(table, np.setdiff1d(np.arange(rows), bad)) if bad else table


def read_like(
    source: Any,
    schema: Schema,
    *,
    keep: Sequence[str] = (),
    roles: Sequence[Role] = (),
    encoding: str | None = None,
    like: Mapping[str, Any] = MappingProxyType({}),
    target_counts: bool = False,
) -> Table:
    """Read rows for a model: its features, and its target if there is one. No row is left out.

    The columns may come in any order. `extra` names those that the model does not use. `bad` lists
    the rows that cannot be read; their unreadable cells are missing.

    Args:
        source: As in `read`.
        schema: The schema of the training table.
        keep: Further columns to keep as they are.
        roles: Columns of these roles, such as "group", are read too, with their kinds, where the source has them. A
            cell of theirs that cannot be read is missing and makes no row bad.
        encoding: The encoding of text files that are not UTF-8.
        like: The options by which the training table was read. Its encoding is used for a text file that is
            not UTF-8, its header's line where the guessed one lacks a feature.
        target_counts: Whether a target that cannot be read makes a row bad, as it does in training
            data; otherwise it counts as missing.

    Raises:
        DataError: A feature is missing, or the source cannot be read.
        OptionError: A column of `keep` does not exist.
    """
    known = _known(schema, roles)
    request = _request_like(schema, known, keep, encoding, like)
    return _like(open_source(source, request), schema, known, keep, target_counts)


def pieces_like(
    source: str | Path | Query | Stored,
    schema: Schema,
    *,
    keep: Sequence[str] = (),
    encoding: str | None = None,
    like: Mapping[str, Any] = MappingProxyType({}),
    size: int = PIECE_BYTES,
    rows: int = PIECE_ROWS,
    groups: Sequence[int] | None = None,
) -> Iterator[Table]:
    """Read a query, or CSV or Parquet files of any size, for a model, piece by piece; else as `read_like`.

    Args:
        source: A query, or files that can be read in pieces, see `sightline.load.pieces.can_be_pieces`.
        schema, keep, encoding, like: As in `read_like`.
        size: Bytes of text in a piece.
        rows: Rows in a piece of a Parquet file.
        groups: Which row groups of a Parquet file to read; None reads all of them.

    Yields:
        Tables; their rows, and the rows in `bad`, are counted from the start of the piece.

    Raises:
        DataError, OptionError: As `read_like`.
    """
    known = _known(schema)
    request = _request_like(schema, known, keep, encoding, like)
    for raw in pieces(source, request, size, rows, groups):
        yield _like(raw, schema, known, keep, target_counts=False)


def _request_like(
    schema: Schema,
    known: Mapping[str, Column],
    keep: Sequence[str],
    encoding: str | None,
    like: Mapping[str, Any],
) -> RawRequest:
    text = frozenset(
        name for name, column in known.items() if column.kind != "numeric" or column.number_format
    )
    needed = frozenset(column.name for column in schema.features)
    return RawRequest(
        text=text | frozenset(keep), missing=schema.missing, encoding=encoding,
        fallback=like.get("encoding"), header=like.get("header"), sheet=like.get("sheet"), needed=needed, on_bad_rows="keep",
        wanted=frozenset(known) | frozenset(keep), rules=schema.rules,
    )  # fmt: skip


def _known(schema: Schema, roles: Sequence[Role] = ()) -> dict[str, Column]:
    wanted = ("feature", "target", *roles)
    return {column.name: column for column in schema.columns if column.role in wanted}


def _like(
    raw: Raw, schema: Schema, known: Mapping[str, Column], keep: Sequence[str], target_counts: bool
) -> Table:
    """Type raw columns for a model; see `read_like`."""
    names = raw.table.column_names
    absent = [column.name for column in schema.features if column.name not in names]
    if absent:
        many = len(absent) > 1
        raise DataError(
            f"{raw.name} has no column{'s' * many} {listed([repr(name) for name in absent], 20)}, which the model "
            "needs.",
            f"Its columns are: {listed([repr(name) for name in names], 20)}."
            if many
            else did_you_mean(absent[0], names),
        )
    for name in keep:
        if name not in names:
            raise OptionError(f"{raw.name} has no column {name!r}.", did_you_mean(name, names))
    errors = {row: [error] for row, error in raw.bad}
    columns: dict[str, pa.ChunkedArray] = {}
    for name, column in known.items():
        if name in names:
            typed = type_column(
                name, raw.table.column(name), known=column, missing=schema.missing,
                writing=Writing(rules=schema.rules),
            )  # fmt: skip
            columns[name] = typed.data
            if column.role != "feature" and not (column.role == "target" and target_counts):
                continue  # it is not an input of the model
            for row, text_ in typed.bad.items():
                cell = _bad_cell(raw, row, name, text_)
                errors.setdefault(row, []).append(
                    f"column {name!r}: {shorten(cell)!r} is not a {valid_value(column)}"
                )
    for name in keep:
        columns.setdefault(name, raw.table.column(name))
    return Table(
        schema=replace(
            schema,
            columns=tuple(c for c in schema.columns if c.name in columns),
            ranges={},
            vocabularies={},
            absent={},
        ),
        columns=columns,
        rows=raw.table.num_rows,
        name=raw.name,
        paths=raw.paths,
        bad=tuple(BadRow(row, "; ".join(texts)) for row, texts in sorted(errors.items())),
        extra=tuple(name for name in names if name not in columns),
        locate=raw.locate,
    )


def join(first: Table, *others: Table) -> Table:
    """Append the rows of tables that have the same schema."""
    if not others:
        return first
    columns = {
        name: join_column([table.columns[name] for table in (first, *others)])
        for name in first.columns
    }
    return Table(
        schema=first.schema, columns=columns, rows=sum(t.rows for t in (first, *others)),
        name=first.name, paths=first.paths, skipped=first.skipped, options=first.options,
    )  # fmt: skip


def join_column(parts: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Append the parts of a column of one kind; texts become one chunk."""
    same = all(part.type == parts[0].type for part in parts)
    # Types differ only for numbers: whole ones in one file, others in the next.
    target = parts[0].type if same else pa.float64()
    data = pa.chunked_array([chunk for part in parts for chunk in part.cast(target).chunks], target)
    return pa.chunked_array([as_dictionary(data)]) if pa.types.is_dictionary(target) else data


def take(data: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """Return some rows of a column in the given order."""
    whole = data.chunk(0) if data.num_chunks == 1 else data.combine_chunks()
    return pa.chunked_array([whole.take(pa.array(rows))], data.type)


def subset(table: Table, rows: np.ndarray) -> Table:
    """Return some rows of a table as a new table, in which `bad` and `locate` count the rows anew.

    Args:
        table: Any.
        rows: Row numbers of it, int64 [N], in the order wanted; a row may be there more than once.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.load.table import subset
        >>> table = sl.read("examples/penguins.csv")
        >>> subset(table, np.array([5, 2])).cells("body_mass_g", 0) == table.cells("body_mass_g", 5)
        True
    """
    columns = {name: take(data, rows) for name, data in table.columns.items()}
    bad, locate = table.bad, table.locate
    if bad:
        errors = dict(bad)
        found = np.flatnonzero(np.isin(rows, list(errors)))
        bad = tuple(BadRow(int(at), errors[int(rows[at])]) for at in found)
    return replace(
        table, columns=columns, rows=len(rows), bad=bad,
        locate=None if locate is None else lambda row, column: locate(int(rows[row]), column),
    )  # fmt: skip


def absolute_paths(paths: Sequence[str]) -> list[str]:
    """Make file paths absolute, so that the files can be read again from another folder."""
    return [str(Path(path).absolute()) for path in paths]


# ------------------------------------------------------------- helpers


def _role(column: Column) -> str:
    return "" if column.role == "feature" else f", {column.role}"


def valid_value(column: Column) -> str:
    """Say what a value of a column is, with an example where it is written in a special way.

    Example:
        >>> from sightline.contracts import Column
        >>> from sightline.load.table import valid_value
        >>> valid_value(Column("day", "datetime", "feature", "", "datetime", "%d.%m.%Y"))
        'date written like 31.01.2026'
    """
    valid = traits_of(column.kind).valid
    if column.kind == "datetime" and column.format is not None:
        return f"{valid} written like {date_example(column.format)}"
    if column.number_format is not None:
        return f"{valid} written like {column.number_format.example}"
    return valid


def _bad_cell(raw: Raw, row: int, column: str, text: str) -> str:
    """Return a bad cell's text, from the file if the column was read as numbers."""
    if text in ("inf", "-inf") and raw.paths:
        _, cell = raw.locate(row, column)
        return cell if cell is not None else text
    return text


def _footer(raw: Raw) -> list[str]:
    """Say that a file seems to end with totals or remarks, which are no rows of the table."""
    if not raw.paths or raw.table.num_rows < 10:
        return []
    last = raw.table.slice(raw.table.num_rows - 5).to_pylist()
    found = [
        (number, text)
        for number, row in enumerate(last)
        if (text := footer(["" if cell is None else str(cell) for cell in row.values()]))
    ]
    if not found:
        return []
    number, text = found[0]
    rows = len(last) - number
    which = f"the last {rows} rows" if rows > 1 else "the last row"
    return [f"{which} may be totals or remarks, such as {text}: take them out of the file if so"]


def _warn_of_numbers(name: str, typed: TypedColumn) -> None:
    """Warn of a column whose values look like numbers and that is not used, or used as text."""
    column = typed.column
    if column.role == "ignored" or column.kind == "text":
        what = "not used" if column.role == "ignored" else "used as text"
        sentence = f"{name}: the column {column.name!r} is {what}: {column.reason}."
        warnings.warn(DataWarning(sentence), stacklevel=4)


def _bad_value(raw: Raw, typed: Sequence[TypedColumn], bad: Sequence[int]) -> DataError:
    row = bad[0]
    column = next(column for column in typed if row in column.bad)
    name, kind, valid = column.column.name, column.column.kind, valid_value(column.column)
    where, cell = raw.locate(row, name)
    value = shorten(cell if cell is not None else column.bad[row])
    others = f" {counted(len(bad) - 1, 'more row')} cannot be read." if len(bad) > 1 else ""
    return DataError(
        f"{where}, column {name!r}: {value!r} is not a {valid}, and the column is {kind}.{others}",
        f"Correct the value, leave such rows out with on_bad_rows='skip' (--on-bad-rows skip), declare "
        f"it as missing with missing=[{value!r}] (--missing), or read the column as another kind with "
        f"kinds={{{name!r}: 'categorical'}} (--kind).",
    )
