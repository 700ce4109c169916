"""Rows to predict, read as the training table was read: from a file, a frame, a dict or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from sightline.contracts import BadRow, Role, Schema, traits_of
from sightline.load.memory import columns_of_rows
from sightline.load.pandas_columns import column_name
from sightline.load.table import Table, read_like


def read_rows(
    data: Any,
    schema: Schema,
    *,
    keep: tuple[str, ...] = (),
    roles: tuple[Role, ...] = (),
    encoding: str | None = None,
    like: Mapping[str, Any] = MappingProxyType({}),
) -> Table:
    """Read rows with the column types of the training table.

    Args:
        data: Anything `sl.read` takes, such as a list of dicts; for one row also a dict with a value per column, or a
            Series of pandas.
        schema: Of the training table.
        keep: Further columns to carry along.
        roles: Columns of these roles are read too, as in `read_like`.
        encoding: Of a text file that is not UTF-8.
        like: The options by which the training table was read, as in `read_like`.

    Raises:
        DataError: A column the model needs is missing, or the source cannot be read.
    """
    bad: dict[int, str] = {}
    if isinstance(data, Table):
        bad = dict(data.bad)  # their unreadable cells are missing values in the columns below
        data = pa.table({name: plain_column(data, name) for name in data.columns})
    if type(data).__name__ == "Series" and hasattr(data, "to_dict"):
        cells = data.to_dict() if hasattr(data, "index") else {}
        row = {column_name(name): value for name, value in cells.items()}
        if schema.rules > 1 and {column.name for column in schema.features} <= row.keys():
            data = row  # one row of a DataFrame
    if isinstance(data, list | tuple):
        data = columns_of_rows(data, [column.name for column in schema.features])
    if isinstance(data, Mapping) and is_one_row(data):
        data = {name: [value] for name, value in data.items()}
    table = read_like(data, schema, keep=keep, roles=roles, encoding=encoding, like=like)
    if not bad:
        return table
    rows = sorted({**dict(table.bad), **bad}.items())
    return replace(table, bad=tuple(BadRow(row, error) for row, error in rows))


def is_one_row(data: Mapping[Any, Any]) -> bool:
    """Tell a dict with one value per column from one with a list of values per column."""
    return not any(map(_has_many, data.values()))


def _has_many(value: Any) -> bool:
    """Tell a column of values from one value; a text is one value."""
    return isinstance(value, Sized) and not isinstance(value, str | bytes)


def plain_column(table: Table, name: str) -> pa.ChunkedArray:
    """Return a typed column as plain Arrow values again, dates as timestamps."""
    data = table.columns[name]
    if name in table.schema and traits_of(table.schema[name].kind).storage == "moments":
        return data.cast(pa.timestamp("us"))
    if pa.types.is_dictionary(data.type):
        return data.cast(pa.string())
    whole = name in table.schema and table.schema[name].values == "integer"
    if whole and pa.types.is_floating(data.type):
        try:
            return data.cast(pa.int64())
        except pa.ArrowInvalid:  # rows to predict may hold 48.5 where training rows held integers
            return data
    return data
