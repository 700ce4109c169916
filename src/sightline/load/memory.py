"""Tables in memory: data frames, Arrow tables, arrays and dicts of columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import READING_RULES
from sightline.errors import DataError, listed, shorten
from sightline.load.pandas_columns import (
    column_name,
    frame_columns,
    pandas_of,
    plain_objects,
    plain_series,
)
from sightline.load.values import to_text

# What pyarrow raises for values that no column can hold.
ARROW_ERRORS = (pa.ArrowException, ValueError, TypeError, OverflowError)


def table_in_memory(source: Any, rules: int = READING_RULES) -> pa.Table:
    """Turn anything but a path into an Arrow table.

    Args:
        source: Anything with `__arrow_c_stream__` (pandas, polars, pyarrow, a DuckDB relation), a dict
            of columns, a list of rows (see `columns_of_rows`), or a numpy array [rows, columns].
        rules: The version of the reading rules; by version 1 periods are numbers, for example.

    Raises:
        DataError: It is no table, or its columns cannot be read.
    """
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, pa.RecordBatch):
        return pa.Table.from_batches([source])
    try:
        if isinstance(source, list | tuple):
            source = columns_of_rows(source)
        if isinstance(source, Mapping):
            return _from_mapping(source, rules)
        if _is_series(source):
            raise DataError(
                f"A table cannot be read from one {type(source).__name__}, which is one column or one row.",
                "Give a DataFrame: data[[name]] for a column, data.iloc[[number]] for a row.",
            )
        if hasattr(source, "__arrow_c_stream__"):
            columns = None if rules == 1 else frame_columns(source)
            return (
                pa.table(_mixed_as_text(source))
                if columns is None
                else _from_mapping(columns, rules)
            )
    except DataError:  # a ValueError as well
        raise
    except ARROW_ERRORS as error:
        raise DataError(
            f"The table cannot be read: {shorten(str(error), 300)}.",
            "Give each column values of one type and each column a unique name.",
        ) from error
    if isinstance(source, np.ma.MaskedArray):  # np.asarray would drop the mask
        return _from_array(source)
    if hasattr(source, "__array__"):
        return _from_array(np.asarray(source))
    raise DataError(
        f"A table cannot be read from {_article(source)}.",
        "Give a path, a DataFrame (pandas, polars, pyarrow, DuckDB), a numpy array, a dict of columns or a list of "
        "dicts, one a row.",
    )


def columns_of_rows(rows: Sequence[Any], names: Sequence[str] = ()) -> dict[Any, list[Any]]:
    """Turn rows with column names into columns; what a row does not have is missing.

    Args:
        rows: Dicts, Series of pandas or named tuples, one a row.
        names: The columns that are needed, for the message; without rows they are the columns.

    Raises:
        DataError: There are no rows and no names, or a row is something else, such as a list of values.

    Example:
        >>> from sightline.load.memory import columns_of_rows
        >>> columns_of_rows([{"age": 31, "city": "Oslo"}, {"age": 54}])
        {'age': [31, 54], 'city': ['Oslo', None]}
    """
    if not rows and not names:
        raise DataError("The list of rows is empty.", "Give one row or more, each a dict.")
    named = [_named_values(row, number, names) for number, row in enumerate(rows)]
    columns = dict.fromkeys(name for row in named for name in row) or dict.fromkeys(names)
    return {name: [row.get(name) for row in named] for name in columns}


def _named_values(row: Any, number: int, names: Sequence[str]) -> Mapping[Any, Any]:
    if isinstance(row, Mapping):
        return row
    if _is_series(row) and hasattr(row, "index"):  # of pandas; a Series of polars has no names
        return {column_name(name): value for name, value in row.to_dict().items()}
    if hasattr(row, "_asdict"):
        return row._asdict()  # type: ignore[no-any-return]
    needed = (
        f" The columns are: {listed([shorten(repr(name), 40) for name in names], 12)}."
        if names
        else ""
    )
    raise DataError(
        f"Row {number:,} of the list is {_article(row)}, which names no columns.{needed}",
        "Give each row as a dict with a value for each column, or a DataFrame.",
    )


def _article(value: Any) -> str:
    """Name a value's type with its article.

    Example:
        >>> from sightline.load.memory import _article
        >>> _article(3), _article(None), _article([1])
        ('an int', 'None', 'a list')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _mixed_as_text(frame: Any) -> Any:
    """Turn columns of a pandas frame that mix numbers and words into text, as in a text file."""
    pandas = pandas_of(frame)
    if pandas is None or not isinstance(frame, pandas.DataFrame) or not frame.columns.is_unique:
        return frame
    result = frame
    for name, dtype in frame.dtypes.items():
        if dtype != np.dtype(object):
            continue
        column = frame[name]
        if pandas.api.types.infer_dtype(column, skipna=True) not in ("mixed", "mixed-integer"):
            continue
        if texts := _as_texts(column.where(column.notna(), None)):
            result = frame.copy(deep=False) if result is frame else result
            result[name] = texts
    return result


def _as_texts(values: Iterable[Any]) -> list[str | None] | None:
    """Turn numbers and texts into texts; return None if there is anything else, such as a list."""
    plain = list(values)
    if not all(isinstance(value, str | int | float | None) for value in plain):
        return None
    return [to_text(value) for value in plain]


def _is_series(source: Any) -> bool:
    """Tell a Series of pandas or polars from a table."""
    return type(source).__name__ == "Series" and hasattr(source, "__arrow_c_stream__")


def _from_mapping(columns: Mapping[Any, Any], rules: int = READING_RULES) -> pa.Table:
    names, arrays = [], []  # two keys may have the same text: 0 and "0"
    for name, values in columns.items():
        if isinstance(values, str | bytes) or not (
            isinstance(values, Sequence | pa.Array | pa.ChunkedArray)
            or hasattr(values, "__array__")
        ):
            raise DataError(
                f"Column {str(name)!r} is {shorten(repr(values))}, not a list of values.",
                "Give a list or an array for each column.",
            )
        names.append(str(name) if rules == 1 else column_name(name))
        if isinstance(values, pa.Array | pa.ChunkedArray):
            arrays.append(values)
            continue
        try:
            arrays.append(_to_arrow(values, rules))
        except ARROW_ERRORS as error:
            if texts := _as_texts(values):  # as a text file would hold them
                arrays.append(pa.array(texts, pa.string()))
                continue
            raise DataError(
                f"Column {names[-1]!r} cannot be read: {shorten(str(error), 200)}.",
                "Give it whole numbers below 2**63, or texts."
                if isinstance(error, OverflowError) or "too large" in str(error)
                else "Give it numbers, texts, truth values or dates, all of one type; or leave it out.",
            ) from error
    lengths = [len(values) for values in arrays]
    if len(set(lengths)) > 1:
        listing = ", ".join(
            f"{shorten(name)!r} {n:,}" for name, n in list(zip(names, lengths, strict=True))[:5]
        )
        raise DataError(
            f"The columns have different lengths: {listing}.", "Give them the same length."
        )
    return pa.Table.from_arrays(arrays, names)


def _to_arrow(values: Any, rules: int) -> pa.Array:
    """Turn one column into Arrow values."""
    if rules == 1:
        plain = values if isinstance(values, Sequence) else np.asanyarray(values)
        return pa.array(plain, from_pandas=True)
    values = plain_series(values)
    if isinstance(values, Sequence) or (isinstance(values, np.ndarray) and values.dtype == object):
        values = values if (objects := plain_objects(values)) is None else objects
    elif not hasattr(values, "__arrow_array__") and not hasattr(values, "dtype"):
        values = np.asanyarray(values)
    return pa.array(values, from_pandas=True)


def _from_array(array: np.ndarray) -> pa.Table:
    if array.dtype.names:
        return _from_mapping({name: array[name] for name in array.dtype.names})
    if array.ndim != 2:
        raise DataError(
            f"A numpy array of shape {array.shape} is not a table.", "Give shape [rows, columns]."
        )
    return _from_mapping({f"x{j}": array[:, j] for j in range(array.shape[1])})
