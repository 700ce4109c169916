"""What kind a column is, and why: inferred from all rows, or as requested.

The rules, in the order in which they are tried:

1. Nothing but missing cells: ignored.
2. At least 99 % of the cells are numbers: numeric; the rest are bad rows. Numbers written with
   leading zeros are codes, hence categories.
3. true and false: boolean.
4. At least 99 % are dates in one format: datetime.
5. Otherwise text: if every value is different, an identifier (ignored), unless it reads like
   sentences; if more than half of the values are different, or they are sentences, text; all else
   is categorical.

A column with one value is ignored, and so are whole numbers that number the rows.

Columns that come as numbers, truth values or moments are handled here, an integer column in
`_from_numbers`; columns of texts in `text_kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import KINDS, Column, Kind, Values, traits_of
from sightline.errors import DataError, OptionError, did_you_mean, shorten
from sightline.load import values as v
from sightline.load.text_kinds import IDENTIFIER_ROWS, PLAIN, Writing, type_text
from sightline.load.typed import (
    TypedColumn,
    is_whole,
    make_typed,
    typed_numbers,
    whole_numbers_reason,
)

_ID_NAME = re.compile(
    r"(^|[_\s-])(id|uuid|guid|key|index|rowid)$|[a-z]I[dD]$|^unnamed|^column_1$", re.I
)
_STORAGE_TYPE = {
    "numbers": pa.float64(), "flags": pa.bool_(), "moments": pa.timestamp("us"), "words": pa.string(),
}  # fmt: skip
_FIRST_MOMENT = v.parse_date("0001-01-01", "iso")
_LAST_MOMENT = v.parse_date("9999-12-31T23:59:59.999999", "iso")


def type_column(
    name: str,
    data: pa.ChunkedArray,
    *,
    kind: Kind | None = None,
    known: Column | None = None,
    missing: tuple[str, ...] | None = None,
    note: str | None = None,
    categories: bool = False,
    writing: Writing = PLAIN,
) -> TypedColumn:
    """Give a raw column its kind.

    Args:
        name: The column's name.
        data: Values of any Arrow type.
        kind: The requested kind, or None to infer it.
        known: The column as it was at training; its kind is used.
        missing: Texts that mean missing; None is the default rule.
        note: What the reader changed about the column, added to the reason.
        categories: Whether the source itself says that these are categories, whatever they look like.
        writing: How a column of texts writes its numbers; of `known`, its own way.

    Raises:
        DataError: The values cannot be of the requested kind.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.kinds import type_column
        >>> type_column("age", pa.chunked_array([["12", "", "30"]])).column.kind
        'numeric'
    """
    wanted = known.kind if known is not None else kind
    if known is not None:
        writing = writing._replace(number_format=known.number_format)
    if isinstance(data.type, pa.BaseExtensionType):
        data = pa.chunked_array([chunk.storage for chunk in data.chunks], data.type.storage_type)
    inner = data.type.value_type if pa.types.is_dictionary(data.type) else None
    if inner is not None and (categories or not _is_text(inner)):
        if not _is_text(inner):
            data = data.cast(inner)
        if wanted is None:  # categories that are numbers, dates, ...: they stay categories
            typed = type_column(name, data, kind="categorical", missing=missing)
            column = replace(typed.column, reason="categories in the source")
            return replace(typed, column=_role(replace(typed, column=column), writing.rules))
    if pa.types.is_null(data.type):  # the values are all missing: the kind decides their type
        storage = "words" if wanted is None else traits_of(wanted).storage
        data = data.cast(_STORAGE_TYPE[storage])
    data = _simplify(name, data, missing)
    arrow = data.type
    if not _is_plain(arrow):
        if wanted is not None:
            raise DataError(
                f"Column {name!r} holds {_unsupported(arrow)}, which cannot be read as {wanted}.",
                "Turn it into columns of numbers or text, or drop it (drop=, --drop).",
            )
        typed = _ignored(name, data)
    elif pa.types.is_dictionary(arrow):
        words = v.as_dictionary(data)
        typed = type_text(
            name, words, kind=wanted, known=known, missing=missing, writing=writing
        )  # fmt: skip
    elif pa.types.is_boolean(arrow):
        typed = _from_flags(name, data, wanted)
    elif pa.types.is_timestamp(arrow):
        typed = _from_moments(name, data, wanted)
    else:
        typed = _from_numbers(name, data, wanted)
    if known is not None:
        return replace(typed, column=known)
    if kind is not None:
        column = replace(typed.column, reason=f"{kind}, as requested", role="feature")
    else:
        typed = _codes(typed, writing.rules)
        column = _role(typed, writing.rules)
    if note:
        column = replace(column, reason=f"{column.reason} ({note})")
    return replace(typed, column=column)


def check_kinds(kinds: object) -> None:
    """Refuse kinds that do not exist.

    Raises:
        OptionError: An unknown kind, or no dict of kinds.
    """
    if not isinstance(kinds, Mapping):
        raise OptionError(f"kinds is {kinds!r}.", "Give a dict such as {'zip': 'categorical'}.")
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise OptionError(
                f"Column {name!r} cannot be of kind {kind!r}.",
                did_you_mean(str(kind), KINDS, "kinds"),
            )


# ------------------------------------------------------------- by Arrow type


def _simplify(name: str, data: pa.ChunkedArray, missing: tuple[str, ...] | None) -> pa.ChunkedArray:
    """Reduce the many Arrow types to a few."""
    arrow = data.type
    if _is_text(arrow):
        return data.cast(pa.string()).dictionary_encode()
    if pa.types.is_decimal(arrow) or pa.types.is_float16(arrow):
        return data.cast(pa.float64())
    if pa.types.is_date(arrow) or (pa.types.is_timestamp(arrow)):
        fine = getattr(arrow, "unit", "s") == "ns"  # anything finer than a microsecond is cut off
        try:
            return data.cast(pa.timestamp("us", getattr(arrow, "tz", None)), safe=not fine)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"Column {name!r}: {error}.", "Correct the date, or drop the column."
            ) from error
    if pa.types.is_duration(arrow):
        return _seconds(data.cast(pa.duration("us"), safe=False))
    if pa.types.is_time(arrow):
        return _seconds(data.cast(pa.time64("us"), safe=False))
    if missing and (pa.types.is_integer(arrow) or pa.types.is_floating(arrow)):
        is_missing = np.isin(v.to_floats(data), list(v.missing_numbers(missing)))
        if is_missing.any():
            return pc.if_else(pa.array(is_missing), pa.scalar(None, arrow), data)
    return data


def _seconds(data: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(data.cast(pa.int64()).cast(pa.float64()), 1e6)


def _is_plain(arrow: pa.DataType) -> bool:
    """Tell numbers, texts, truth values and moments from lists, bytes, or calendar intervals."""
    types = pa.types
    plain = (
        types.is_dictionary, types.is_integer, types.is_floating, types.is_boolean,
        types.is_timestamp,
    )  # fmt: skip
    return any(is_plain(arrow) for is_plain in plain)


def _is_text(arrow: pa.DataType) -> bool:
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_text(arrow) for is_text in text)


def _unsupported(arrow: pa.DataType) -> str:
    """Name an Arrow type that a model cannot use, in words and in Arrow's notation."""
    types = pa.types
    if types.is_struct(arrow):
        return f"structs ({arrow})"
    if types.is_map(arrow):
        return f"maps ({arrow})"
    if types.is_nested(arrow):
        return f"lists ({arrow})"
    if "binary" in str(arrow):
        return f"bytes ({arrow})"
    return f"values of the Arrow type {arrow}"


def _ignored(name: str, data: pa.ChunkedArray) -> TypedColumn:
    """Ignore a column of lists, structs or bytes; its values are kept as one placeholder text."""
    codes = pa.array(np.zeros(len(data), np.int32), mask=~data.is_valid().to_numpy())
    what = _unsupported(data.type)
    placeholder = f"({what.partition(' (')[0]})"
    words = pa.DictionaryArray.from_arrays(codes, pa.array([placeholder], pa.string()))
    reason = f"holds {shorten(what)}, which a model cannot use: turn them into columns of numbers or text"
    return make_typed(name, "categorical", words, "unsupported", reason, "ignored")


def _from_numbers(name: str, data: pa.ChunkedArray, kind: Kind | None) -> TypedColumn:
    match kind:
        case "categorical" | "text":
            return make_typed(name, kind, v.as_dictionary(data), _number_type(data))
        case "boolean":
            return _flags_from_numbers(name, data)
        case "datetime":
            raise DataError(
                f"Column {name!r} holds plain numbers: it cannot be read as dates.",
                "Turn it into dates first, or read it as numeric.",
            )
        case None | "numeric":
            pass
        case _:
            assert_never(kind)
    if pa.types.is_integer(data.type):
        return make_typed(name, "numeric", data, "integer", whole_numbers_reason(data))
    floats = v.to_floats(data)
    infinite = np.isinf(floats)
    bad = {int(row): f"{floats[row]:g}" for row in np.flatnonzero(infinite)}
    if bad:
        data = v.from_floats(np.where(infinite, np.nan, floats))
    elif np.isnan(floats).sum() > data.null_count:  # a NaN is a missing value too
        data = v.from_floats(floats)
    return typed_numbers(name, data, bad)


def _flags_from_numbers(name: str, data: pa.ChunkedArray) -> TypedColumn:
    numbers = v.to_floats(data)
    missing = np.isnan(numbers)
    unreadable = ~missing & (numbers != 0) & (numbers != 1)
    bad = {int(row): f"{numbers[row]:g}" for row in np.flatnonzero(unreadable)}
    array = pa.array(numbers == 1, mask=missing | unreadable)
    return make_typed(name, "boolean", array, _number_type(data), bad=bad)


def _number_type(data: pa.ChunkedArray) -> Values:
    if pa.types.is_integer(data.type):
        return "integer"
    return "integer" if is_whole(v.to_floats(data)) else "float"


def _from_flags(name: str, data: pa.ChunkedArray, kind: Kind | None) -> TypedColumn:
    match kind:
        case "categorical" | "text":
            return make_typed(name, kind, v.as_dictionary(data), "boolean")
        case "numeric":
            return make_typed(name, "numeric", data.cast(pa.int8()), "boolean")
        case "datetime":
            raise DataError(
                f"Column {name!r} holds true and false: it cannot be read as dates.",
                "Read it as boolean.",
            )
        case None | "boolean":
            return make_typed(name, "boolean", data, "boolean", "true or false")
        case _:
            assert_never(kind)


def _from_moments(name: str, data: pa.ChunkedArray, kind: Kind | None) -> TypedColumn:
    match kind:
        case "categorical" | "text":
            return make_typed(name, kind, v.as_dictionary(data), "datetime")
        case "numeric" | "boolean":
            raise DataError(
                f"Column {name!r} holds dates: it cannot be read as {kind}.",
                "Read it as datetime, or as categorical.",
            )
        case None | "datetime":
            pass
        case _:
            assert_never(kind)
    data = data.cast(pa.int64())
    moments = v.to_microseconds(data)
    outside = data.is_valid().to_numpy() & ((moments < _FIRST_MOMENT) | (moments > _LAST_MOMENT))
    bad = {int(row): f"{moments[row]} microseconds since 1970" for row in np.flatnonzero(outside)}
    if bad:  # years that the calendar does not have, such as a database's 'infinity'
        data = pc.if_else(pa.array(outside), pa.scalar(None, pa.int64()), data)
    return make_typed(name, "datetime", data, "datetime", "dates", bad=bad)


def _codes(typed: TypedColumn, rules: int) -> TypedColumn:
    """Take whole numbers as categories if float64, in which networks compute, cannot tell them apart."""
    data, name = typed.data, typed.column.name
    if rules == 1 or typed.column.kind != "numeric" or not pa.types.is_integer(data.type):
        return typed
    floats = v.to_floats(data)
    if not v.has_long(floats):
        return typed
    known = floats[~np.isnan(floats)]
    distinct = pc.count_distinct(data, mode="only_valid").as_py()
    if len(np.unique(known)) == distinct or _identifier_reason(name, data, rules) is not None:
        return typed
    words = v.as_dictionary(data)
    if distinct == len(known) and distinct >= IDENTIFIER_ROWS:
        reason = "every value is different: an identifier"
        return make_typed(name, "categorical", words, "integer", reason, "ignored")
    reason = f"codes of many digits, {distinct:,} different values"
    return make_typed(name, "categorical", words, "integer", reason, bad=typed.bad)


# ------------------------------------------------------------- roles


def _role(typed: TypedColumn, rules: int) -> Column:
    """Ignore a column that cannot help: no values, one value, or an identifier of the rows."""
    column, data = typed.column, typed.data
    if column.role == "ignored":
        return column
    rows = len(data) - data.null_count
    if rows == 0:
        return replace(column, role="ignored", reason="all values are missing")
    if data.null_count == 0 and len(data) > 1 and _is_constant(data):
        value = shorten(str(data[0].as_py()), 30)
        return replace(column, role="ignored", reason=f"one value in every row: {value}")
    if column.kind == "numeric" and column.values == "integer" and rows >= IDENTIFIER_ROWS:
        reason = _identifier_reason(column.name, data, rules)
        if reason:
            return replace(column, role="ignored", reason=reason)
    return column


def _is_constant(data: pa.ChunkedArray) -> bool:
    """Tell whether every row has the same value. Looks at the first 100 rows before all."""
    if pa.types.is_dictionary(data.type):
        data = pa.chunked_array([data.chunk(0).indices])
    return all(len(pc.unique(part)) == 1 for part in (data[:100], data))


def _identifier_reason(name: str, data: pa.ChunkedArray, rules: int) -> str | None:
    """Explain why whole numbers are an identifier of the rows; None if they are not."""
    floats = v.to_floats(data)
    if np.isnan(floats).any():
        return None
    exact = rules > 1 and pa.types.is_integer(data.type) and v.has_long(floats)
    span = pc.min_max(data).as_py() if exact else {"min": floats.min(), "max": floats.max()}
    consecutive = span["max"] - span["min"] + 1 == len(floats)
    if not consecutive and not _ID_NAME.search(name):
        return None
    values = data.to_numpy() if exact else floats
    distinct = len(np.unique(values)) == len(floats)
    if consecutive and distinct:
        return "numbers the rows consecutively: an identifier"
    if distinct:
        return "whole numbers, all different, in a column named like an identifier"
    return None
