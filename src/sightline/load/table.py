"""Read any table into typed columns, each with a kind, a role and a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import BadRow, Column, Kind, Schema
from sightline.errors import DataError, OptionError, did_you_mean, shorten
from sightline.load.delimited import OnBadRows
from sightline.load.histograms import histogram, most_frequent, span, word_counts
from sightline.load.kinds import Typed, check_kinds, type_column
from sightline.load.parallel import each_column
from sightline.load.sources import Place, Raw, open_source
from sightline.load.values import (
    EPOCH,
    MICROSECOND,
    as_dictionary,
    map_codes,
    to_floats,
    to_microseconds,
)
from sightline.trace.records import rounded


@dataclass(frozen=True)
class Table:
    """Typed columns in memory.

    Attributes:
        schema: What each column is, and why.
        columns: Per name, Arrow data: numbers, booleans, int64 microseconds, or int32 codes of
            texts.
        rows: How many rows.
        name: The source in words.
        paths: The files it came from; empty for a table in memory.
        skipped: Rows left out because they could not be read.
        bad: Rows kept although they could not be read (prediction alone keeps such rows).
        extra: Columns that were not asked for (prediction alone leaves some out).
        options: How it was read, as JSON, so that it can be read again.

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
    place: Place | None = None

    def __len__(self) -> int:
        return self.rows

    def numbers(self, name: str) -> np.ndarray:
        """Return a numeric column as float64, NaN where missing."""
        return to_floats(self.columns[name])

    def flags(self, name: str) -> np.ndarray:
        """Return a boolean column as int8: 1, 0, and -1 where missing."""
        flags: np.ndarray = pc.fill_null(self.columns[name].cast(pa.int8()), -1).to_numpy()
        return flags

    def moments(self, name: str) -> np.ndarray:
        """Return a datetime column as int64 microseconds, the smallest int64 where missing."""
        return to_microseconds(self.columns[name])

    def words(self, name: str) -> pa.DictionaryArray:
        """Return a categorical or text column as codes and unique texts."""
        return self.columns[name].chunk(0)

    def cells(self, name: str, row: int) -> str | int | float | bool | None:
        """Return one raw value, a date as text."""
        value: str | int | float | bool | None = self.columns[name][row].as_py()
        column = self.schema[name]
        if isinstance(value, int) and column.kind == "datetime":
            return (EPOCH + value * MICROSECOND).replace(tzinfo=None).isoformat(sep=" ")
        if isinstance(value, float) and column.values == "integer":
            return int(value)
        return value

    def row(self, number: int) -> dict[str, str | int | float | bool | None]:
        """Return one row's raw values by column, as `Model.explain` takes them.

        Example:
            >>> import sightline as sl
            >>> sl.read("examples/penguins.csv").row(3)["bill_length_mm"] is None
            True
        """
        return {name: self.cells(name, number) for name in self.columns}

    def summary(self) -> list[dict[str, Any]]:
        """Say what each column is: name, kind, role, reason, missing, values, how they are spread."""
        return [_summary(self, column) for column in self.schema.columns]

    def row_hashes(self, names: Sequence[str]) -> np.ndarray:
        """Return a uint64 per row that depends on the named columns' values alone."""
        total = np.zeros(self.rows, np.uint64)
        for name in sorted(names):
            seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
            total = _mix(total ^ _mix(_value_hashes(self, name) + np.uint64(seed)))
        return total

    def fingerprint(self) -> str:
        """Return a sha256 over all values in row order: the same data gives the same text."""
        digest = hashlib.sha256()
        columns = sorted((c.name, c.kind, c.role) for c in self.schema.columns)
        digest.update(repr(columns).encode())
        digest.update(self.row_hashes([name for name, _, _ in columns]).tobytes())
        return digest.hexdigest()


def read(
    source: Any,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[str] | None = None,
    encoding: str | None = None,
    on_bad_rows: OnBadRows = "error",
) -> Table:
    """Read a table and find out what each column is.

    Args:
        source: A CSV, TSV (also .gz, .zst), Parquet, JSON lines or Arrow IPC file; a folder or
            a glob of such files; anything with `__arrow_c_stream__` (pandas, polars, pyarrow, a
            DuckDB relation); a numpy array [rows, columns]; or a dict of columns.
        kinds: Kinds by column, for columns whose inferred kind is not the one you want.
        drop: Columns to leave out.
        missing: Texts that mean "missing" in every column, instead of the default rule.
        encoding: Of text files that are not UTF-8, by Python's name.
        on_bad_rows: "error" stops at the first row that cannot be read; "skip" leaves such rows
            out and counts them.

    Returns:
        The table, its `schema` telling each column's kind, role and reason.

    Raises:
        DataError: The source cannot be read; names the file, line, column and value.
        OptionError: A kind or a column that does not exist.

    Example:
        >>> import sightline as sl
        >>> table = sl.read({"age": [31, 54, None], "city": ["Oslo", "Rome", "Oslo"]})
        >>> [(column.name, column.kind) for column in table.schema.columns]
        [('age', 'numeric'), ('city', 'categorical')]
    """
    kinds = {} if kinds is None else kinds
    check_kinds(kinds)
    kinds = dict(kinds)
    if on_bad_rows not in ("error", "skip"):
        raise OptionError(f"on_bad_rows is {on_bad_rows!r}.", "Use 'error' or 'skip'.")
    if isinstance(drop, str):
        drop = [drop]
    if isinstance(missing, str):
        missing = [missing]
    tokens = None if missing is None else tuple(missing)
    as_text = frozenset(name for name, kind in kinds.items() if kind != "numeric")
    raw = open_source(
        source, text=as_text, missing=tokens, encoding=encoding, on_bad_rows=on_bad_rows
    )
    for name in [*kinds, *drop]:
        if name not in raw.table.column_names:
            raise OptionError(
                f"{raw.name} has no column {name!r}.", did_you_mean(name, raw.table.column_names)
            )

    def type_(name: str) -> Typed:
        return type_column(
            name,
            raw.table.column(name),
            kind=kinds.get(name),
            missing=tokens,
            note=raw.notes.get(name),
        )

    kept = [name for name in raw.table.column_names if name not in set(drop)]
    typed = each_column(type_, kept, raw.table.num_rows)
    if not raw.table.num_columns:
        raise DataError(f"{raw.name} has no columns.", "Give a table with columns and rows.")
    if not typed:
        raise DataError(f"{raw.name} has no columns left.", "Drop fewer columns.")
    rows = raw.table.num_rows
    if rows == 0:
        raise DataError(f"{raw.name} has a header and no rows.", "Give a table with rows.")
    bad = sorted({row for column in typed for row in column.bad})
    if bad and on_bad_rows == "error":
        raise _bad_value(raw, typed, bad)
    keep = np.setdiff1d(np.arange(rows), bad) if bad else None
    columns = {
        column.column.name: column.data if keep is None else take(column.data, keep)
        for column in typed
    }
    if keep is not None and not len(keep):
        raise DataError(f"{raw.name} has no row that can be read.", "Look at its columns' kinds.")
    return Table(
        schema=Schema(tuple(column.column for column in typed), tokens),
        columns=columns,
        rows=rows - len(bad),
        name=raw.name,
        paths=raw.paths,
        skipped=raw.skipped + len(bad),
        options={
            "kinds": kinds, "drop": list(drop), "missing": None if tokens is None else list(tokens),
            "encoding": encoding, "on_bad_rows": on_bad_rows,
        },
        place=raw.place,
    )  # fmt: skip


def read_like(
    source: Any,
    schema: Schema,
    *,
    keep: Sequence[str] = (),
    encoding: str | None = None,
    target_counts: bool = False,
) -> Table:
    """Read rows for a model: its features, its target when there is one, and no row left out.

    Columns may come in any order; those the model does not know are named in `extra`. Rows that
    cannot be read are in `bad`, their bad cells empty.

    Args:
        source: As in `read`.
        schema: The table's as it was at training.
        keep: Further columns to carry along as they are.
        encoding: Of text files that are not UTF-8.
        target_counts: Whether a target that cannot be read makes a row bad, as it does in rows to
            learn from; otherwise it is a missing one.

    Raises:
        DataError: A feature is missing, or the source cannot be read.
    """
    known = {
        column.name: column for column in schema.columns if column.role in ("feature", "target")
    }
    text = frozenset(name for name, column in known.items() if column.kind != "numeric")
    raw = open_source(
        source, text=text | frozenset(keep), missing=schema.missing, encoding=encoding,
        on_bad_rows="keep", wanted=frozenset(known) | frozenset(keep),
    )  # fmt: skip
    names = raw.table.column_names
    for column in schema.features:
        if column.name not in names:
            raise DataError(
                f"{raw.name} has no column {column.name!r}, which the model needs.",
                did_you_mean(column.name, names),
            )
    for name in keep:
        if name not in names:
            raise OptionError(
                f"{raw.name} has no column {name!r} to keep.", did_you_mean(name, names)
            )
    errors = {row: [error] for row, error in raw.bad}
    columns: dict[str, pa.ChunkedArray] = {}
    for name, column in known.items():
        if name in names:
            typed = type_column(name, raw.table.column(name), known=column, missing=schema.missing)
            columns[name] = typed.data
            if column.role == "target" and not target_counts:
                continue  # nothing is predicted from it
            for row, text_ in typed.bad.items():
                cell = _cell(raw, row, name, text_)
                what = {"numeric": "number", "datetime": "date", "boolean": "truth value"}[
                    column.kind
                ]
                errors.setdefault(row, []).append(
                    f"column {name!r}: {shorten(cell)!r} is not a {'finite ' * (what == 'number')}{what}"
                )
    for name in keep:
        columns.setdefault(name, raw.table.column(name))
    return Table(
        schema=Schema(tuple(c for c in schema.columns if c.name in columns), schema.missing),
        columns=columns,
        rows=raw.table.num_rows,
        name=raw.name,
        paths=raw.paths,
        bad=tuple(BadRow(row, "; ".join(texts)) for row, texts in sorted(errors.items())),
        extra=tuple(name for name in names if name not in columns),
        place=raw.place,
    )


def join(first: Table, *others: Table) -> Table:
    """Put tables with the same schema one below the other."""
    if not others:
        return first
    columns: dict[str, pa.ChunkedArray] = {}
    for column in first.schema.columns:
        parts = [table.columns[column.name] for table in (first, *others)]
        same = all(part.type == parts[0].type for part in parts)
        # Types differ for numbers alone: whole ones in one file, others in the next.
        target = parts[0].type if same else pa.float64()
        chunks = [chunk for part in parts for chunk in part.cast(target).chunks]
        data = pa.chunked_array(chunks, target)
        if pa.types.is_dictionary(target):
            data = pa.chunked_array([as_dictionary(data)])
        columns[column.name] = data
    return Table(
        schema=first.schema, columns=columns, rows=sum(t.rows for t in (first, *others)),
        name=first.name, paths=first.paths, skipped=first.skipped, options=first.options,
    )  # fmt: skip


def take(data: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """Return some rows of a column, in the order given."""
    whole = data.chunk(0) if data.num_chunks == 1 else data.combine_chunks()
    return pa.chunked_array([whole.take(pa.array(rows))], data.type)


def subset(table: Table, rows: np.ndarray) -> Table:
    """Return some rows of a table as a table of their own.

    Args:
        table: Any.
        rows: Row numbers of it, int64 [N], in the order wanted.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.load.table import subset
        >>> table = sl.read("examples/penguins.csv")
        >>> subset(table, np.array([5, 2])).cells("body_mass_g", 0) == table.cells("body_mass_g", 5)
        True
    """
    columns = {name: take(data, rows) for name, data in table.columns.items()}
    return replace(table, columns=columns, rows=len(rows))


def paths_again(paths: Sequence[str]) -> list[str]:
    """Make file paths absolute, so that they can be read again from another folder."""
    return [str(Path(path).absolute()) for path in paths]


# ------------------------------------------------------------- helpers


def _cell(raw: Raw, row: int, column: str, text: str) -> str:
    """A bad cell's text: the file still knows it when the column was read as numbers."""
    if text in ("inf", "-inf") and raw.paths:
        _, cell = raw.place(row, column)
        return cell if cell is not None else text
    return text


def _bad_value(raw: Raw, typed: Sequence[Typed], bad: Sequence[int]) -> DataError:
    row = bad[0]
    column = next(one for one in typed if row in one.bad)
    name, kind = column.column.name, column.column.kind
    where, cell = raw.place(row, name)
    value = shorten(cell if cell is not None else column.bad[row])
    rule = {
        "numeric": "numbers (finite ones)", "datetime": "dates", "boolean": "true and false",
    }[kind]  # fmt: skip
    more = f" {len(bad) - 1:,} more rows are bad." if len(bad) > 1 else ""
    return DataError(
        f"{where}, column {name!r}: {value!r} among {rule}.{more}",
        f"Mend the value, leave such rows out with on_bad_rows='skip' (--on-bad-rows skip), name it "
        f"as missing with missing=[{value!r}] (--missing), or read the column as another kind with "
        f"kinds={{{name!r}: 'categorical'}} (--kind).",
    )


def _summary(table: Table, column: Column) -> dict[str, Any]:
    data = table.columns[column.name]
    said: dict[str, Any] = {
        "name": column.name, "kind": column.kind, "role": column.role, "reason": column.reason,
        "missing": data.null_count, "share_missing": rounded(data.null_count / len(data)),
        "histogram": histogram(column, data),
    }  # fmt: skip
    if data.null_count == len(data):
        return {**said, "values": "none"}
    if column.kind == "numeric":
        low, high = span(data)
        values = f"{low:,.6g} to {high:,.6g}"
    elif column.kind == "datetime":
        rows = table.moments(column.name)
        given = np.flatnonzero(rows != np.iinfo(np.int64).min)
        low, high = given[rows[given].argmin()], given[rows[given].argmax()]
        values = f"{table.cells(column.name, int(low))} to {table.cells(column.name, int(high))}"
    elif column.kind == "boolean":
        yes = int((table.flags(column.name) == 1).sum())
        values = f"true {yes:,}, false {len(data) - data.null_count - yes:,}"
    else:
        words = table.words(column.name)
        counts = word_counts(words)
        top = most_frequent(counts, 3)
        names = ", ".join(
            f"{shorten(words.dictionary[int(i)].as_py(), 20)} {counts[i]:,}" for i in top
        )
        distinct = int((counts > 0).sum())
        values = f"{names}{', ...' if distinct > 3 else ''} ({distinct:,} different)"
    return {**said, "values": values}


def _mix(x: np.ndarray) -> np.ndarray:
    """Spread a uint64's bits (the finaliser of splitmix64, Steele et al. 2014)."""
    x = x.astype(np.uint64, copy=True)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _value_hashes(table: Table, name: str) -> np.ndarray:
    kind = table.schema[name].kind
    if kind == "numeric":
        floats = table.numbers(name) + 0.0  # -0.0 and 0.0 are the same number
        floats = np.where(np.isnan(floats), np.nan, floats)  # and there is one NaN
        return floats.view(np.uint64)
    if kind == "boolean":
        return table.flags(name).astype(np.int64).view(np.uint64)
    if kind == "datetime":
        return table.moments(name).view(np.uint64)
    words = table.words(name)
    sums = [
        int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        for word in words.dictionary.to_pylist()
    ]
    return map_codes(words.indices, np.array(sums, np.uint64), 0)
