"""Columns of pandas that Arrow does not take, or takes for something else, as columns that it does.

pandas is imported where one of its objects is found: then somebody else uses it already.
"""

from __future__ import annotations

import datetime
import importlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from sightline.errors import DataError, shorten
from sightline.load.values import to_text


def pandas_of(value: Any) -> Any:
    """Return the module pandas if a value is one of its objects, else None.

    `sys.modules` would also have it while another thread is importing it, without its names.

    Example:
        >>> from sightline.load.pandas_columns import pandas_of
        >>> pandas_of([1, 2]) is None
        True
    """
    if type(value).__module__.partition(".")[0] != "pandas":
        return None
    return importlib.import_module("pandas")


def frame_columns(frame: Any) -> dict[str, Any] | None:
    """Return the columns of a pandas DataFrame by their names as text; None for anything else.

    Raises:
        DataError: Two columns have one name.
    """
    pandas = pandas_of(frame)
    if pandas is None or not isinstance(frame, pandas.DataFrame):
        return None
    names = [column_name(name) for name in frame.columns]
    refuse_doubled(names)
    return {name: frame.iloc[:, index] for index, name in enumerate(names)}


def column_name(name: Any) -> str:
    """Return a column's name as text; the levels of a tuple are joined by "_".

    Example:
        >>> from sightline.load.pandas_columns import column_name
        >>> column_name(7), column_name(("price", "mean")), column_name(("city", ""))
        ('7', 'price_mean', 'city')
    """
    if isinstance(name, tuple):
        return "_".join(str(level) for level in name if level != "")
    return str(name)


def refuse_doubled(names: Iterable[str]) -> None:
    """Raise a `DataError` that lists the names that occur more than once.

    Example:
        >>> from sightline.load.pandas_columns import refuse_doubled
        >>> refuse_doubled(["a", "b"])
    """
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        listing = ", ".join(repr(shorten(name, 40)) for name in doubled[:10])
        raise DataError(
            f"The table has more than one column of the name {listing}.",
            "Rename them, or leave all but one of them out.",
        )


def plain_series(column: Any) -> Any:
    """Return a pandas Series as one that Arrow can take; anything else as it is.

    Sparse columns become dense, intervals texts, periods the dates at which they begin. A column that mixes numbers
    and words becomes text, as in a text file.
    """
    pandas = pandas_of(column)
    if pandas is None or not isinstance(column, pandas.Series):
        return column
    dtype = column.dtype
    if isinstance(dtype, pandas.SparseDtype):
        return column.sparse.to_dense()
    if isinstance(dtype, pandas.IntervalDtype):
        return column.astype(str).where(column.notna(), None)
    if isinstance(dtype, pandas.PeriodDtype):
        return column.dt.to_timestamp()
    if isinstance(dtype, pandas.CategoricalDtype):
        levels = dtype.categories.dtype
        if isinstance(levels, pandas.IntervalDtype | pandas.PeriodDtype):
            return column.cat.rename_categories([str(level) for level in dtype.categories])
        return column
    if dtype != np.dtype(object):
        return column
    if (values := plain_objects(column.where(column.notna(), None))) is None:
        return column
    return pandas.Series(values, index=column.index, name=column.name, dtype=object)


def plain_objects(values: Iterable[Any]) -> list[Any] | None:
    """Return objects that Arrow cannot put into one column as objects that it can; None if it needs no help.

    Numpy's numbers become Python's, periods dates, intervals texts. Numbers and words become texts.

    Example:
        >>> import numpy as np
        >>> from sightline.load.pandas_columns import plain_objects
        >>> plain_objects([np.int64(3), "n/a", 2.0]), plain_objects(["a", None]), plain_objects([[1], [2]])
        (['3', 'n/a', '2'], None, None)
    """
    items = list(values)
    pandas = next((module for item in items if (module := pandas_of(item)) is not None), None)
    plain = [item.item() if isinstance(item, np.generic) else item for item in items]
    changed = any(isinstance(item, np.generic) for item in items)
    if pandas is not None:
        special = pandas.Period, pandas.Interval
        changed = changed or any(isinstance(item, special) for item in plain)
        plain = [item.to_timestamp() if isinstance(item, pandas.Period) else item for item in plain]
        plain = [str(item) if isinstance(item, pandas.Interval) else item for item in plain]
        plain = [None if item is pandas.NaT or item is pandas.NA else item for item in plain]
    kinds = {_kind(item) for item in plain if item is not None}
    if len(kinds) > 1 and "other" not in kinds:
        return [to_text(item) for item in plain]
    return plain if changed else None


def _kind(value: Any) -> str:
    """Name a type of values that a column of one type can hold."""
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, datetime.date | datetime.datetime):
        return "date"
    return "other"
