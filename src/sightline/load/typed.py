"""A typed column: its description, its Arrow data, and the rows whose values do not fit its kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import Column, Kind, Role, Values
from sightline.load import values as v
from sightline.load.histograms import word_counts
from sightline.load.numbers import Words

FEW_VALUES = 20
"""Whole numbers with at most this many distinct values could be categories: the reason says so."""


@dataclass(frozen=True)
class TypedColumn:
    """A column with its kind, and the rows whose values do not fit it.

    Attributes:
        column: The column's description.
        data: Arrow values [rows]: float64 or an integer type (numeric), booleans (boolean), int64
            microseconds (datetime) or int32 codes of texts (categorical, text). Bad values are null.
        bad: By row number, the text of each value that does not fit.
    """

    column: Column
    data: pa.ChunkedArray
    bad: dict[int, str]


def make_typed(
    name: str,
    kind: Kind,
    data: pa.Array | pa.ChunkedArray,
    values: Values,
    reason: str = "",
    role: Role = "feature",
    bad: dict[int, str] | None = None,
    date_format: str | None = None,
) -> TypedColumn:
    """Put a column's description and its data together."""
    if not isinstance(data, pa.ChunkedArray):
        data = pa.chunked_array([data])
    return TypedColumn(Column(name, kind, role, reason, values, date_format), data, bad or {})


def typed_numbers(name: str, data: pa.ChunkedArray, bad: dict[int, str]) -> TypedColumn:
    """Make a numeric column from float64 values, and tell whether they are whole numbers."""
    if is_whole(v.to_floats(data)):
        return make_typed(name, "numeric", data, "integer", whole_numbers_reason(data), bad=bad)
    return make_typed(name, "numeric", data, "float", "numbers", bad=bad)


def is_whole(floats: np.ndarray) -> bool:
    """Tell whether all numbers are whole and exact in float64. Looks at the first 1,000 before all."""
    for part in (floats[:1000], floats):
        given = part[~np.isnan(part)]
        if not (given == np.rint(given)).all():
            return False
    return bool(len(given)) and float(np.abs(given).max()) < 2**53


def whole_numbers_reason(data: pa.ChunkedArray) -> str:
    """Explain why whole numbers are numeric; say so where they could also be categories."""
    if data.null_count == len(data):
        return "numbers"
    span = pc.min_max(data).as_py()
    low, high = span["min"], span["max"]
    if low is not None and high - low < 1000:
        distinct = _count_distinct(data, int(low))
        if distinct <= FEW_VALUES:
            return (
                f"whole numbers with {distinct} different values, taken as quantities because their "
                "order may matter (kind 'categorical' would ignore it)"
            )
    return "whole numbers"


def _count_distinct(data: pa.ChunkedArray, low: int) -> int:
    """Count the distinct whole numbers of a column whose values lie within 1,000 of `low`."""
    if len(data) <= 100_000:
        return int(pc.count_distinct(data, mode="only_valid").as_py())
    floats = v.to_floats(data)
    return int(np.count_nonzero(np.bincount((floats[~np.isnan(floats)] - low).astype(np.int64))))


def encode_texts(data: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column of texts as codes and unique texts, in one chunk; None for any other column."""
    arrow = data.type.value_type if pa.types.is_dictionary(data.type) else data.type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(is_text(arrow) for is_text in text):
        return None
    if not pa.types.is_dictionary(data.type):
        data = data.cast(pa.string()).dictionary_encode()
    return pa.chunked_array([v.as_dictionary(data)])


def words_of(data: pa.ChunkedArray) -> Words:
    """Count the rows of each text of a column from `encode_texts`."""
    words = data.chunk(0)
    return Words(words.dictionary, lambda: word_counts(words))
