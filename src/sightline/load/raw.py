"""A source's columns before their kinds are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from sightline.contracts import BadRow
from sightline.load.names import unique_names

Locate = Callable[[int, str], tuple[str, str | None]]


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
    """

    table: pa.Table
    notes: dict[str, str]
    bad: list[BadRow]
    skipped: int
    name: str
    paths: tuple[str, ...]
    locate: Locate


def raw_table(table: pa.Table, name: str, paths: tuple[str, ...]) -> Raw:
    """Wrap an Arrow table that has no bad rows; the index columns of pandas are left out."""
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

    return Raw(table, notes, [], 0, name, paths, locate)
