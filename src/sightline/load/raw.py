"""A source's columns before their kinds are known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from sightline.contracts import MISSING_NUMBERS, READING_RULES, BadRow
from sightline.errors import DataError
from sightline.load.names import unique_names

OnBadRows = Literal["error", "skip", "keep"]
Locate = Callable[[int, str], tuple[str, str | None]]


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """How a source is read into raw columns.

    Attributes:
        text: Columns whose text must be kept as it is written.
        missing: Texts that mean missing; None is the default rule.
        encoding: The encoding of text files; None is UTF-8.
        fallback: The encoding of text files that are not UTF-8, where `encoding` is None.
        header: The line of a delimited file that holds the names, from 1; None guesses it.
        sheet: The sheet of a workbook; with `needed` it is only used if there is one of that name.
        needed: Names that the header must have; then `header` is only used if the guessed one lacks some.
        on_bad_rows: "error", "skip", or "keep" (as a row of missing values).
        wanted: Read only these columns; the others keep their names but hold no values. None reads all.
        rules: The version of the reading rules.
    """

    text: frozenset[str] = frozenset()
    missing: tuple[str, ...] | None = None
    encoding: str | None = None
    fallback: str | None = None
    header: int | None = None
    sheet: str | None = None
    needed: frozenset[str] = frozenset()
    on_bad_rows: OnBadRows = "error"
    wanted: frozenset[str] | None = None
    rules: int = READING_RULES

    @property
    def tokens(self) -> tuple[str, ...]:
        """The texts that mean missing among numbers."""
        return MISSING_NUMBERS if self.missing is None else self.missing


DEFAULT_REQUEST = RawRequest()


@dataclass(frozen=True)
class Raw:
    """A source's columns before their kinds are known.

    Attributes:
        table: Raw Arrow columns under unique names.
        notes: By column, what the reader changed about its name.
        bad: Rows that could not be parsed, kept as rows of missing values.
        skipped: The number of rows that could not be parsed and were left out.
        name: The source in words.
        paths: The files read; empty for a table in memory.
        locate: (row, column) -> where that cell is, in words, and its text if it is only in the file.
        said: What was guessed about the files, in sentences.
        delimiter: Of a delimited text file; else None.
        first: (columns) -> the first cells of each, as a text file writes them.
        whole: (columns) -> all cells of each, as a text file writes them.
        categories: Columns that the source itself says are categories.
    """

    table: pa.Table
    notes: dict[str, str]
    bad: list[BadRow]
    skipped: int
    name: str
    paths: tuple[str, ...]
    locate: Locate
    said: tuple[str, ...] = ()
    delimiter: str | None = None
    first: Callable[[Collection[str]], Mapping[str, list[str]]] = lambda _: {}
    whole: Callable[[Collection[str]], Mapping[str, pa.ChunkedArray]] = lambda _: {}
    categories: frozenset[str] = frozenset()


def raw_table(table: pa.Table, name: str, paths: tuple[str, ...]) -> Raw:
    """Wrap an Arrow table that has no bad rows; the index columns of pandas are left out.

    Raises:
        DataError: A column of texts holds bytes that are no UTF-8.
    """
    for field, column in zip(table.schema, table.columns, strict=True):
        if not (pa.types.is_dictionary(field.type) or "string" in str(field.type)):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{name}, column {field.name!r}: {str(error).splitlines()[0]}.",
                "Write its texts as UTF-8, or leave the column out before the file is written.",
            ) from None
    kept = [column for column in table.column_names if not column.startswith("__index_level_")]
    table = (
        table.select([table.column_names.index(column) for column in kept])
        if len(kept) < table.num_columns
        else table
    )
    names, notes = unique_names(table.column_names)
    table = table.rename_columns(names)

    def locate(row: int, column: str) -> tuple[str, None]:
        return f"{name}, row {row:,}", None

    categories = (field.name for field in table.schema if pa.types.is_dictionary(field.type))
    return Raw(
        table, notes, [], 0, name, paths, locate, categories=frozenset(categories)
    )  # fmt: skip
