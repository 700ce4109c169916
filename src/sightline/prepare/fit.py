"""What the training rows teach the preparation: a way, a range or vocabulary, and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, NumericFeature, Scaling, Schema
from sightline.errors import DataError
from sightline.load.parallel import each_column
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.prepare.encode import NOTHING, PARTS, Encoder, Way, date_numbers, find_words
from sightline.prepare.transform import Statistics, Transform

MOST_WORDS = 64


@dataclass(frozen=True)
class ColumnFit:
    """What one column's training values teach.

    Attributes:
        way: How it becomes numbers or codes; None if it cannot.
        span: The smallest and largest value of a number or date.
        vocabulary: The known texts or n-grams.
        statistics: For each number that it becomes.
        flagged: Whether the first of them gets a flag for missing values.
    """

    way: Way | None
    span: tuple[float, float] | None = None
    vocabulary: tuple[str, ...] | None = None
    statistics: tuple[Statistics, ...] = ()
    flagged: bool = False


def fit(splits: Splits, scaling: Scaling) -> tuple[Encoder, Transform, list[NumericFeature]]:
    """Fit the preparation on the training rows.

    Returns:
        The encoder, the transform, and the numeric features in order, flags last.

    Raises:
        DataError: No feature can be prepared.
    """
    table, rows = splits.table, splits.train
    fits = each_column(
        lambda column: _fit_column(table, column, rows, scaling), table.schema.features, len(rows)
    )
    used = [one for one in fits if one.way is not None]
    if not used:
        raise DataError(
            f"{table.name} has no feature that can be prepared: every one is text in which no word "
            f"comes twice ({', '.join(repr(column.name) for column in table.schema.features[:5])}).",
            "Give another column, or read these as another kind with kinds= (--kind).",
        )
    ways = tuple(one.way for one in used if one.way is not None)
    ranges = {one.way.column: one.span for one in used if one.way and one.span is not None}
    words = {
        one.way.column: one.vocabulary for one in used if one.way and one.vocabulary is not None
    }
    encoder = Encoder(Schema(table.schema.columns, table.schema.missing, ranges, words), ways)
    flags: list[int] = []
    statistics: list[Statistics] = []
    for one in used:
        flags += [len(statistics)] if one.flagged else []
        statistics += one.statistics
    transform = Transform(scaling, len(statistics), flags)
    for place, found in enumerate(statistics):
        transform.set_column(place, found)
    names = encoder.numbers
    features = [NumericFeature(name, column) for name, column in names]
    features += [NumericFeature(f"{names[i][0]} is missing", names[i][1]) for i in flags]
    return encoder, transform, features


def _fit_column(table: Table, column: Column, rows: np.ndarray, scaling: Scaling) -> ColumnFit:
    if column.kind == "numeric":
        return _fit_numbers(column.name, table.numbers(column.name)[rows], scaling)
    if column.kind == "datetime":
        return _fit_dates(column.name, table.moments(column.name)[rows], scaling)
    if column.kind == "text":
        return _fit_words(table, column.name, rows, scaling)
    return ColumnFit(Way(column.name, "codes"), vocabulary=_vocabulary(table, column, rows))


def _fit_numbers(name: str, values: np.ndarray, scaling: Scaling) -> ColumnFit:
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    span = (0.0, 0.0) if np.isnan(low) else (low, high)  # NaN: no training row has a value
    flagged = bool(np.isnan(values).any())
    return ColumnFit(Way(name, "number"), span, None, (Statistics.of(values, scaling),), flagged)


def _fit_dates(name: str, moments: np.ndarray, scaling: Scaling) -> ColumnFit:
    empty = moments == NOTHING
    kept = moments[~empty]
    first, last = (int(kept.min()), int(kept.max())) if len(kept) else (0, 0)
    elapsed, *found = date_numbers(moments, first, PARTS)
    varying = [(p, v) for p, v in zip(PARTS, found, strict=True) if _varies(v)]
    way = Way(name, "date", tuple(part for part, _ in varying))
    columns = [elapsed, *(values for _, values in varying)]
    statistics = tuple(Statistics.of(values, scaling) for values in columns)
    return ColumnFit(way, (first, last), None, statistics, bool(empty.any()))


def _fit_words(table: Table, name: str, rows: np.ndarray, scaling: Scaling) -> ColumnFit:
    texts, counts = _counted(table, name, rows)
    ngrams = find_words(texts, counts, MOST_WORDS)
    if not ngrams:
        return ColumnFit(None)  # `describe` says so
    # 0 and 1 stay what they are; a missing text has none of the words.
    ends = np.array([0.0, 1.0])
    plain = Statistics(knots=ends, scores=ends) if scaling == "quantile" else Statistics()
    return ColumnFit(Way(name, "words"), None, ngrams, (plain,) * len(ngrams))


def _vocabulary(table: Table, column: Column, rows: np.ndarray) -> tuple[str, ...]:
    """The training values, most frequent first; ties in alphabetical order."""
    if column.kind == "boolean":
        flags = table.flags(column.name)[rows]
        return tuple(text for flag, text in enumerate(("false", "true")) if (flags == flag).any())
    texts, counts = _counted(table, column.name, rows)
    order = sorted(range(len(texts)), key=lambda i: (-counts[i], texts[i]))
    return tuple(texts[i] for i in order)


def _counted(table: Table, name: str, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The different texts of some rows, and how many rows have each."""
    words = table.words(name)
    codes = words.indices.take(pa.array(rows)).drop_null().to_numpy()
    counts = np.bincount(codes, minlength=len(words.dictionary))
    seen = np.flatnonzero(counts)
    return words.dictionary.take(pa.array(seen)).to_pylist(), counts[seen]


def _varies(values: np.ndarray) -> bool:
    given = values[~np.isnan(values)]
    return bool(len(given)) and bool(given.min() != given.max())


def distinct(names: Sequence[str]) -> list[str]:
    """Tell apart what has one name: a column "day.year" beside the year of a date "day".

    Example:
        >>> from sightline.prepare.fit import distinct
        >>> distinct(["day.year", "day.year"])
        ['day.year', 'day.year (2)']
    """
    taken: dict[str, None] = {}
    for name in names:
        other, number = name, 2
        while other in taken:
            other, number = f"{name} ({number})", number + 1
        taken[other] = None
    return list(taken)
