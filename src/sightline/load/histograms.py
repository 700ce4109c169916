"""How a column's values are distributed: a histogram of 20 bins, or the most frequent names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import Column
from sightline.load.values import map_codes, to_floats

HISTOGRAM_BINS = 20
MOST_NAMES = 10
MOST_CHARACTERS = 60
HISTOGRAM_ROWS = 100_000
"""A larger column is sampled: its histogram would look the same."""
_DAY = 86_400_000_000
_LONG = 10**12


def histogram(column: Column, data: pa.ChunkedArray) -> dict[str, Any] | None:
    """Count how a column's values are distributed; missing values and infinities are left out.

    Args:
        column: The column's description.
        data: Its typed values [rows], as `Table.columns` holds them.

    Returns:
        None for a column without values. For numbers and dates: `kind` "bins", `low` and `high`
        (the smallest and the largest value, as text) and the `counts` of 20 bins of equal width
        between them; equal values are all in the first bin. For text: the same for its length in
        characters, `kind` "lengths". For categories and truth values: `kind` "names", the 10 most
        frequent `names` (cut to 60 characters), their `counts`, and `rest`, the number of rows with
        another value. `sampled` is present if not all rows were counted: the number of evenly
        spaced rows that were.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.contracts import Column
        >>> from sightline.load.histograms import histogram
        >>> column = Column("age", "numeric", "feature", "", "integer")
        >>> result = histogram(column, pa.chunked_array([[1, 2, 21]]))
        >>> result["low"], result["high"], result["counts"][:3], sum(result["counts"])
        ('1', '21', [1, 1, 0], 3)
    """
    if data.null_count == len(data):
        return None
    match column.kind:
        case "numeric":
            return bins(data, readable=_whole if column.values == "integer" else _number)
        case "boolean":
            true = pc.sum(data).as_py()
            counts = np.array([true, len(data) - data.null_count - true])
            return _names(pa.array(["true", "false"]), counts)
        case "categorical":
            words = data.chunk(0)
            return _names(words.dictionary, word_counts(words))
        case "text":
            words = data.chunk(0)
            lengths = map_codes(words.indices, pc.utf8_length(words.dictionary).to_numpy(), -1)
            return bins(pa.chunked_array([pa.array(lengths, mask=lengths < 0)]), "lengths")
        case "datetime":
            return bins(data.cast(pa.int64()), readable=_date)
        case _:
            assert_never(column.kind)


def bins(
    data: pa.ChunkedArray,
    kind: str = "bins",
    readable: Callable[[Any, Any], str] | None = None,
) -> dict[str, Any] | None:
    """Count numbers of any type in 20 bins of equal width from the smallest to the largest.

    Args:
        data: Numbers [rows]; those that are null or not finite are left out.
        kind: The `kind` of the result.
        readable: Writes one end of the scale, given that end and the other one; None writes it as a
            number.

    Returns:
        As in `histogram`; None if no number is left.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.histograms import bins
        >>> result = bins(pa.chunked_array([[0.5, 2.5, None]]))
        >>> result["low"], result["high"], result["counts"][0], result["counts"][-1]
        ('0.5', '2.5', 1, 1)
    """
    if data.null_count == len(data):
        return None
    low, high = span(data)
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = pc.if_else(pc.is_finite(data), data, pa.scalar(None, data.type))
        return bins(finite, kind, readable)
    write = readable or _number
    result: dict[str, Any] = {"kind": kind, "low": write(low, high), "high": write(high, low)}
    rows = len(data)
    if rows > HISTOGRAM_ROWS:
        data = data.take(pa.array(np.arange(HISTOGRAM_ROWS) * rows // HISTOGRAM_ROWS))
        result["sampled"] = HISTOGRAM_ROWS
    shares = _shares(data.drop_null().to_numpy(), low, high)
    bin_of = np.minimum((shares * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    return {**result, "counts": np.bincount(bin_of, minlength=HISTOGRAM_BINS).tolist()}


def word_counts(words: pa.DictionaryArray) -> np.ndarray:
    """Count the rows of each unique text: int64 [texts]."""
    return np.bincount(words.indices.drop_null().to_numpy(), minlength=len(words.dictionary))


def most_frequent(counts: np.ndarray, most: int) -> np.ndarray:
    """Return the indices of the largest counts, the largest first; none of a count of 0.

    Example:
        >>> import numpy as np
        >>> from sightline.load.histograms import most_frequent
        >>> most_frequent(np.array([3, 0, 7, 3]), 2).tolist()
        [2, 0]
    """
    least = 1
    if len(counts) > most:  # faster than sorting half a million counts to show ten
        least = max(1, int(np.partition(counts, len(counts) - most)[len(counts) - most]))
    indices = np.flatnonzero(counts >= least)
    largest: np.ndarray = indices[np.argsort(-counts[indices], kind="stable")][:most]
    return largest


def span(data: pa.ChunkedArray) -> tuple[Any, Any]:
    """Return the smallest and the largest number of a column that has at least one.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.histograms import span
        >>> span(pa.chunked_array([[3, None, -1]]))
        (-1, 3)
    """
    if pa.types.is_float64(data.type):  # many times faster than Arrow's min_max
        floats = to_floats(data)
        return float(np.fmin.reduce(floats)), float(np.fmax.reduce(floats))
    ends = pc.min_max(data).as_py()
    return ends["min"], ends["max"]


# ------------------------------------------------------------- helpers


def _names(texts: pa.Array, counts: np.ndarray) -> dict[str, Any]:
    top = most_frequent(counts, MOST_NAMES)
    names = [texts[int(index)].as_py() for index in top]
    return {
        "kind": "names",
        "names": [
            name if len(name) <= MOST_CHARACTERS else f"{name[: MOST_CHARACTERS - 3]}..."
            for name in names
        ],
        "counts": counts[top].tolist(),
        "rest": int(counts.sum() - counts[top].sum()),
    }


def _shares(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale numbers to 0..1 between the smallest and the largest."""
    if low == high:
        return np.zeros(len(numbers))
    if numbers.dtype.kind in "iu":  # exact for any size: 64 bits hold any difference
        wide = numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64).view(np.uint64)
        offsets = wide - np.array(low, np.int64 if low < 0 else np.uint64).astype(np.uint64)
        return offsets / float(high - low)
    numbers = numbers.astype(np.float64, copy=False)
    if not np.isfinite(high - low):  # the difference overflows float64
        numbers, low, high = numbers / 2, low / 2, high / 2
    return (numbers - low) / (high - low)


def _number(value: float, _: float) -> str:
    """Write one end of the scale."""
    if isinstance(value, int) and abs(value) < _LONG:
        return f"{value:,}"
    return f"{value:,.6g}" if abs(value) < _LONG else f"{value:.6g}"


def _whole(value: float, other: float) -> str:
    return _number(int(value), other)


def _date(value: int, other: int) -> str:
    """Write microseconds as a date, with the time of day if the scale is short."""
    days = value % _DAY == other % _DAY == 0 or abs(value - other) > HISTOGRAM_BINS * _DAY
    return str(np.datetime64(value, "us").astype(f"datetime64[{'D' if days else 's'}]")).replace(
        "T", " "
    )
