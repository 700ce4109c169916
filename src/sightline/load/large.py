"""A table larger than memory: its rows stay in their files, and are read piece by piece.

Its schema comes from a random sample of its rows. Parquet files are read where they are; text files are turned into
one Parquet file first, which has no name and is gone when the process ends, however it ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from sightline.contracts import READING_RULES, Column, ReadOptions, Schema, traits_of
from sightline.errors import DataError, counted, shorten
from sightline.load.formats import format_of
from sightline.load.hashes import mix
from sightline.load.kinds import type_column
from sightline.load.limits import Budget, Estimate, estimate, in_units, use_one_arena
from sightline.load.object_stores import Copied
from sightline.load.parallel import each_column, each_piece
from sightline.load.pieces import Part, groups_of, parts_of, pieces
from sightline.load.places import Places
from sightline.load.raw import Raw, RawRequest
from sightline.load.sources import concatenated, find_files
from sightline.load.table import (
    Table,
    join_column,
    read_by_rules,
    request_for,
    typed_table,
    valid_value,
)
from sightline.load.text_kinds import Writing
from sightline.load.typed import TypedColumn
from sightline.load.values import as_dictionary, has_long, to_floats

Result = TypeVar("Result")
SCHEMA_ROWS = 200_000
"""About this many rows, drawn at random, decide the kinds of the columns."""
SPARE_BYTES = 100_000_000
"""Bytes that stay free on the disk."""


class NamelessFile:
    """A temporary file without a name: it is gone when nobody uses it any more, or the process ends, however it ends.

    Args:
        folder: On whose disk it is.

    Example:
        >>> from pathlib import Path
        >>> from sightline.load.large import NamelessFile
        >>> temporary = NamelessFile(Path("."))
        >>> temporary.file.write(b"abc")
        3
    """

    def __init__(self, folder: Path) -> None:
        self.file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with its last user

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


class NamedFile(NamelessFile):
    """A temporary file that processes on other machines can open; whoever made its folder removes it.

    Args:
        path: The file to make.

    Example:
        >>> import pickle
        >>> from pathlib import Path
        >>> from sightline.load.large import NamedFile
        >>> temporary = NamedFile(Path("named.rows"))
        >>> _ = temporary.file.write(b"abc")
        >>> there = pickle.loads(pickle.dumps(temporary))
        >>> there.file.read()
        b'abc'
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path.absolute()
        self.file = path.open("w+b")

    def __getstate__(self) -> dict[str, Any]:
        self.file.flush()
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self.file = self.path.open("rb")


class Spread(Protocol):
    """Applies a function to the pieces of a large table in other processes, such as those of a Ray cluster."""

    folder: Path
    """Where temporary files are, which all processes can read."""

    def __call__(
        self, table: LargeTable, function: Callable[[Places, Table], Result], names: Collection[str], places: Places
    ) -> Iterator[Result]:  # fmt: skip
        """Do what `LargeTable.each` does."""


@dataclass(frozen=True)
class LargeTable:
    """A table whose rows are read piece by piece.

    Attributes:
        sample: A table of some rows, drawn at random; its schema, name, paths and options are those of the whole table.
        rows: How many rows the whole table has.
        source: Where it is.
        size: Its estimated size.
        budget: How much memory there is.
        converted: The rows of text files, as Parquet; None for Parquet files.
        folder: Where temporary files are made.
        spread: What applies functions to pieces; None takes threads of this process.

    Example:
        >>> from sightline.contracts import ReadOptions
        >>> from sightline.load.large import LargeTable
        >>> from sightline.load.limits import Budget
        >>> large = LargeTable.open("examples/penguins.csv", ReadOptions(), Budget(10**9))
        >>> large.rows, [piece.rows for piece in large.pieces(["species"])]
        (344, [344])
    """

    sample: Table
    rows: int
    source: str | Path
    size: Estimate
    budget: Budget
    folder: Path
    converted: NamelessFile | None = None
    spread: Spread | None = None

    @classmethod
    def open(
        cls,
        source: str | Path,
        options: ReadOptions,
        budget: Budget,
        folder: Path | None = None,
        rules: int = READING_RULES,
        size: Estimate | None = None,
        spread: Spread | None = None,
    ) -> LargeTable:
        """Read a table once: draw the sample that decides its schema; turn text files into Parquet.

        Args:
            source: A CSV or Parquet file, or a folder or glob of such files.
            options: The arguments of `sightline.read`.
            budget: How much memory there is.
            folder: Where temporary files are made; None takes that of the system.
            rules: The version of the reading rules.
            size: Its estimated size, if that is known.
            spread: What applies functions to pieces; None takes threads of this process.

        Raises:
            DataError: The table cannot be read; or there is not enough space on the disk.
            OptionError: An option that does not fit the table, or a limit that is too small.
        """
        folder = Path(tempfile.gettempdir()) if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
        request = request_for(options, rules)
        size = size or estimate(source, request)
        if size is None:
            raise DataError(
                f"{source} cannot be read piece by piece.",
                "Give Parquet or CSV files, or leave memory_limit out (--memory-limit).",
            )
        budget.check(size)
        use_one_arena()
        files = find_files(source)
        parquet = format_of(files[0]) == "parquet"
        if parquet:
            _check_types(files)
        raw, rows = _draw(source, request, size, not parquet, budget)
        sample = typed_table(replace(raw, paths=()), options, rules)
        sample = replace(sample, paths=raw.paths, name=str(source), skipped=0)
        large = cls(sample, rows, source, size, budget, folder, spread=spread)
        if parquet and options.on_bad_rows == "error":
            return large
        return large._turned_into_parquet(request, files, options.on_bad_rows == "skip")

    @property
    def schema(self) -> Schema:
        """The schema of the whole table."""
        return self.sample.schema

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process has."""
        converted = self.converted if isinstance(self.converted, NamedFile) else None
        return {**self.__dict__, "converted": converted, "spread": None}

    def parts(self) -> list[Part]:
        """Divide the files into parts that can be read side by side."""
        rows = self.budget.piece_rows(self.size.row_bytes)
        if self.converted is not None:
            path = self.converted.path if isinstance(self.converted, NamedFile) else Path()
            return groups_of(path, rows, self.converted.file)
        return parts_of(self.source, rows)

    def temporary(self, name: str) -> NamelessFile:
        """Make a temporary file: without a name, or named for other processes.

        Args:
            name: The name, if it has one.
        """
        if self.spread is None:
            return NamelessFile(self.folder)
        return NamedFile(self.spread.folder / name)

    def pieces(self, names: Collection[str], part: Part | None = None) -> Iterator[Table]:
        """Read some columns piece by piece, in the order of the rows.

        Args:
            names: The columns.
            part: Which part to read; None reads all.

        Yields:
            Tables with these columns, and the schema of the whole table.

        Raises:
            DataError: A file cannot be read any more, or a value does not fit the kind of its column.
        """
        rows = self.budget.piece_rows(self.size.row_bytes)
        if self.converted is not None:
            yield from self._converted_pieces(names, rows, part)
            return
        tokens, rules = self.schema.missing, self.schema.rules
        request = RawRequest(missing=tokens, wanted=frozenset(names), rules=rules)
        path, start = "", 0
        source, groups = (self.source, None) if part is None else (part.source, part.groups)
        for raw in pieces(source, request, rows=rows, groups=groups):
            if raw.paths[0] != path:
                path, start = raw.paths[0], 0 if part is None else part.first
            typed = self._typed(raw, names)
            for column in typed:
                if column.bad:
                    raise _bad_value(column, f"{path}, row {start + min(column.bad):,}")
            start += raw.table.num_rows
            yield self._piece({one.column.name: one.data for one in typed}, raw.table.num_rows)

    def each(
        self, function: Callable[[Places, Table], Result], names: Collection[str], places: Places
    ) -> Iterator[Result]:
        """Apply a function to some columns of each piece, in threads or as `spread` does.

        Args:
            function: Takes the places of a piece's rows, and the piece.
            names: The columns.
            places: Of all rows.

        Yields:
            What it returns, in the order of the rows.

        Raises:
            DataError: As `pieces`; or the files have another number of rows than when they were opened.
        """
        if self.spread is not None:
            yield from self.spread(self, function, names, places)
            return
        pieces = self.placed(names, places)
        for _, result in each_piece(lambda one: function(*one), pieces):
            yield result

    def placed(
        self, names: Collection[str], places: Places, part: Part | None = None
    ) -> Iterator[tuple[Places, Table]]:
        """Read some columns as `pieces` does, each piece with the places of its rows.

        Args:
            names: The columns.
            places: Of all rows that are read.
            part: Which part to read; None reads all.

        Raises:
            DataError: As `pieces`; or the files have another number of rows than when they were opened.
        """
        start = trained = 0
        # The same pieces whoever reads them: sums of their facts are then the same to the last bit.
        for one in self.parts() if part is None else [part]:
            for piece in self.pieces(names, one):
                own = places.cut(start, piece.rows, trained)
                yield own, piece
                start, trained = start + piece.rows, trained + len(own.train)
        self.check_rows(self.rows - places.rows + start)

    def columns_of(self, names: Collection[str]) -> Table:
        """Read some columns of all rows into memory."""
        read: dict[str, list[pa.ChunkedArray]] = {name: [] for name in names}
        rows = 0
        for piece in self.pieces(names):
            rows += piece.rows
            for name in names:
                read[name].append(piece.columns[name])
        self.check_rows(rows)
        columns = {name: join_column(parts) for name, parts in read.items()}
        return replace(self.sample, columns=columns, rows=self.rows, locate=None)

    def check_rows(self, rows: int) -> None:
        """Refuse files that have another number of rows than when they were opened.

        Raises:
            DataError: They have.
        """
        if rows != self.rows:
            raise DataError(
                f"{self.sample.name} had {counted(self.rows, 'row')}, and now has {rows:,}.",
                "Fit again, when no other program writes to it.",
            )

    # ------------------------------------------------------------- helpers

    def _piece(self, columns: dict[str, pa.ChunkedArray], rows: int) -> Table:
        return replace(self.sample, columns=columns, rows=rows, locate=None)

    def _typed(self, raw: Raw, names: Collection[str]) -> list[TypedColumn]:
        def type_(name: str) -> TypedColumn:
            column = self.schema[name]
            typed = type_column(
                name, raw.table.column(name), known=None if column.values == "unsupported" else column,
                missing=self.schema.missing, writing=Writing(rules=self.schema.rules),
            )  # fmt: skip
            return replace(typed, column=column)

        return each_column(type_, names, raw.table.num_rows)

    def _turned_into_parquet(
        self, request: RawRequest, files: Sequence[Path], skip: bool
    ) -> LargeTable:
        """Write the typed rows into a Parquet file without a name; leave rows out that cannot be read, if asked to."""
        import pyarrow.parquet as pq

        names = [column.name for column in self.schema.columns]
        types = {name: _stored(self.schema[name], self.sample.columns[name]) for name in names}
        needed = sum(os.path.getsize(file) for file in files)
        check_space(self.folder, needed, "the rows as Parquet")
        text = frozenset(
            c.name for c in self.schema.columns if c.kind != "numeric" or c.number_format
        )
        request = replace(request, text=request.text | text, missing=self.schema.missing)
        converted = self.temporary("converted.parquet")
        schema = pa.schema(list(types.items()))
        rows = skipped = 0
        with pq.ParquetWriter(converted.file, schema, compression="lz4") as writer:
            for raw in pieces(self.source, request):
                typed = self._typed(raw, names)
                bad = sorted({row for column in typed for row in column.bad})
                if bad and not skip:
                    column = next(column for column in typed if bad[0] in column.bad)
                    raise _bad_value(column, raw.locate(bad[0], column.column.name)[0])
                columns = [
                    one.data.cast(types[one.column.name], safe=False).combine_chunks()
                    for one in typed
                ]
                table = pa.table(columns, schema=schema)
                if bad:
                    table = table.take(pa.array(np.setdiff1d(np.arange(table.num_rows), bad)))
                writer.write_table(table)
                rows, skipped = rows + table.num_rows, skipped + len(bad) + raw.skipped
        sample = replace(self.sample, skipped=skipped)
        return replace(self, sample=sample, rows=rows, converted=converted)

    def _converted_pieces(
        self, names: Collection[str], rows: int, part: Part | None
    ) -> Iterator[Table]:
        import pyarrow.parquet as pq

        words = [n for n in names if traits_of(self.schema[n].kind).storage == "words"]
        assert self.converted is not None
        opened = pq.ParquetFile(self.converted.file, read_dictionary=words)
        groups = None if part is None else part.groups
        for batch in opened.iter_batches(rows, groups, columns=list(names)):
            columns = {}
            for name in names:
                data = pa.chunked_array([batch.column(name)])
                columns[name] = pa.chunked_array([as_dictionary(data)]) if name in words else data
            yield self._piece(columns, batch.num_rows)


def drawn(seed: int, start: int, rows: int, share: float) -> np.ndarray:
    """Return which of some rows are drawn, bool [rows]: a function of the seed and the row's number alone.

    Args:
        seed: Of the draw.
        start: The number of the first row.
        rows: How many rows.
        share: The share that is drawn, from 0 to 1.

    Example:
        >>> from sightline.load.large import drawn
        >>> int(drawn(0, 0, 10_000, 0.1).sum()), bool(drawn(0, 5, 100, 1.0).all())
        (992, True)
    """
    if share >= 1:
        return np.ones(rows, bool)
    return row_keys(seed, start, rows) < np.uint64(share * 2**64)


def row_keys(seed: int, start: int, rows: int) -> np.ndarray:
    """Return a random uint64 for each row: a hash of the seed and the row's number (splitmix64, Steele et al. 2014).

    Example:
        >>> from sightline.load.large import row_keys
        >>> bool((row_keys(1, 0, 5)[3:] == row_keys(1, 3, 2)).all())
        True
    """
    stream = mix(np.array([seed + 1], np.uint64))
    counter = np.arange(start + 1, start + rows + 1, dtype=np.uint64)
    return mix(counter * np.uint64(0x9E3779B97F4A7C15) + stream)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to write a temporary file for which there is no space.

    Raises:
        DataError: It says how much is needed, and where.

    Example:
        >>> from pathlib import Path
        >>> from sightline.load.large import check_space
        >>> check_space(Path("."), 1000, "a test")
    """
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if needed > free:
        raise DataError(
            f"{what[0].upper()}{what[1:]} need {in_units(needed)} of disk in {folder}, where {in_units(max(free, 0))} "
            "are free.",
            "Make space, or choose a run folder on another disk (run=, --run).",
        )


def _draw(
    source: str | Path, request: RawRequest, size: Estimate, as_text: bool, budget: Budget
) -> tuple[Raw, int]:
    """Read a table once, and return a random sample of its raw rows, with the number of all rows."""
    rows = min(SCHEMA_ROWS, budget.sample_rows(size.row_bytes))
    piece_rows = budget.piece_rows(size.row_bytes)
    if as_text:  # every piece of a column then has the same type, and the sample decides what it is
        first = next(iter(pieces(source, request)))
        request = replace(request, text=frozenset(first.table.column_names))
    share = rows / max(size.rows, 1)
    tables, numbers, start = [], [], 0
    raw: Raw | None = None
    for piece in pieces(source, request, rows=piece_rows):
        raw = raw or piece
        chosen = np.flatnonzero(drawn(0, start, piece.table.num_rows, share))
        tables.append(piece.table.take(pa.array(chosen)))
        numbers.append(chosen + start)
        start += piece.table.num_rows
    assert raw is not None  # there is a piece, if an empty one
    table = concatenated(tables, source)
    number_of = np.concatenate(numbers)

    def locate(row: int, column: str) -> tuple[str, str | None]:
        first = 0
        for piece in pieces(source, request, rows=piece_rows):  # only to say where a bad value is
            if int(number_of[row]) < first + piece.table.num_rows:
                return piece.locate(int(number_of[row]) - first, column)
            first += piece.table.num_rows
        raise DataError(f"{source} has changed while it was read.", "Fit again.")

    names = tuple(str(file) for file in find_files(source))
    return replace(raw, table=table, locate=locate, bad=[], skipped=0, paths=names), start


def _check_types(files: Sequence[Path]) -> None:
    """Refuse a Parquet file in which a column has another type than in the first one."""
    import pyarrow.parquet as pq

    first: dict[str, pa.DataType] = {}
    for file in files:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowInvalid, OSError):
            return  # the reader explains what is wrong with it
        if len(set(schema.names)) < len(schema.names):
            twice = next(name for name in schema.names if schema.names.count(name) > 1)
            raise DataError(
                f"{file} has two columns of the name {twice!r}.",
                "Give each column a name of its own.",
            )
        for field in schema:
            before = first.setdefault(field.name, field.type)
            if _sort(field.type) != _sort(before):
                raise DataError(
                    f"{file}, column {field.name!r}: it holds {field.type}, where {files[0]} has {before}.",
                    "Give each column the same type in every file.",
                )


def _sort(arrow: pa.DataType) -> str:
    """Return what values of an Arrow type are, whatever their width."""
    types = pa.types
    if types.is_dictionary(arrow):
        return _sort(arrow.value_type)
    if types.is_integer(arrow) or types.is_floating(arrow) or types.is_decimal(arrow):
        return "numbers"
    if "string" in str(arrow):
        return "texts"
    if types.is_timestamp(arrow) or types.is_date(arrow):
        return "moments"
    return str(arrow)


def _stored(column: Column, sample: pa.ChunkedArray) -> pa.DataType:
    """Return the Arrow type in which a column is written to Parquet."""
    match traits_of(column.kind).storage:
        case "numbers":
            exact = pa.types.is_integer(sample.type) and has_long(to_floats(sample))
            return pa.int64() if exact else pa.float64()
        case "flags":
            return pa.bool_()
        case "moments":
            return pa.int64()
        case "words":
            return pa.string()


def _bad_value(typed: TypedColumn, where: str) -> DataError:
    column, row = typed.column, min(typed.bad)
    value = shorten(typed.bad[row])
    others = (
        f" {counted(len(typed.bad) - 1, 'more value')} near it cannot be read."
        if len(typed.bad) > 1
        else ""
    )
    return DataError(
        f"{where}, column {column.name!r}: {value!r} is not a {valid_value(column)}, and the column is {column.kind}, "
        f"as a sample of the rows decided.{others}",
        f"Correct the value, leave such rows out with on_bad_rows='skip' (--on-bad-rows skip), declare it as missing "
        f"with missing=[{value!r}] (--missing), or read the column as another kind with "
        f"kinds={{{column.name!r}: 'categorical'}} (--kind).",
    )


def read_within(
    source: Any,
    options: ReadOptions,
    limit: int,
    folder: Path | None = None,
    rules: int = READING_RULES,
    spread: Spread | None = None,
) -> Table | LargeTable:
    """Read a table into memory if it fits within a limit; else open it to be read piece by piece.

    Args:
        source: As in `sightline.read`, or a table that it has read, or copies of files of an object store.
        options: Its other arguments.
        limit: In bytes.
        folder: Where temporary files are made; None takes that of the system.
        rules: The version of the reading rules.
        spread: As in `LargeTable.open`.

    Raises:
        DataError, OptionError: As `sightline.read` and `LargeTable.open`.

    Example:
        >>> from sightline.contracts import ReadOptions
        >>> from sightline.load.large import read_within
        >>> type(read_within("examples/penguins.csv", ReadOptions(), 10**9)).__name__
        'Table'
    """
    if isinstance(source, Table):
        return source
    files = source.source if isinstance(source, Copied) else source
    size = estimate(files, request_for(options, rules))
    if size is None or size.bytes <= limit:
        return read_by_rules(source, options, rules)
    return LargeTable.open(files, options, Budget(limit), folder, rules, size, spread)
