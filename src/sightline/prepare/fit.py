"""Fit the preparation on the training rows: encoding, range or vocabulary, and scaling statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, NumericFeature, Scaling, traits_of
from sightline.errors import DataError
from sightline.load.facts import ColumnFacts
from sightline.load.parallel import each_column
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.load.values import MISSING_DATE
from sightline.prepare.encode import (
    DATE_PARTS,
    ColumnEncoding,
    Encoder,
    date_numbers,
    find_words,
)
from sightline.prepare.transform import Statistics, Transform

MOST_WORDS = 64


@dataclass(frozen=True)
class ColumnFit:
    """What was fitted on one column's training values.

    Attributes:
        encoding: How the column is encoded; None if it cannot be.
        span: The smallest and largest value, of a column of numbers or dates.
        vocabulary: The known texts or n-grams, of a column of codes or words.
        statistics: The scaling statistics of each number that it becomes.
        flagged: Whether the first of these numbers gets a missing-value flag.
    """

    encoding: ColumnEncoding | None
    span: tuple[float, float] | None = None
    vocabulary: tuple[str, ...] | None = None
    statistics: tuple[Statistics, ...] = ()
    flagged: bool = False


def fit(splits: Splits, scaling: Scaling) -> tuple[Encoder, Transform, list[NumericFeature]]:
    """Fit the preparation on the training rows.

    Returns:
        The encoder, the transform, and the numeric features in order, missing-value flags last.

    Raises:
        DataError: No feature can be prepared.
    """
    table, rows = splits.table, splits.train
    facts = (None if splits.large is None else splits.large.facts) or {}
    fits = each_column(
        lambda column: _fit_column(table, column, rows, scaling, facts.get(column.name)),
        table.schema.features, len(rows),
    )  # fmt: skip
    used = [column_fit for column_fit in fits if column_fit.encoding is not None]
    if not used:
        raise DataError(
            f"{table.name} has no usable feature: all are text in which no word occurs in two rows "
            f"({', '.join(repr(column.name) for column in table.schema.features[:5])}).",
            "Add another column, or read these as another kind with kinds= (--kind).",
        )
    encodings = tuple(column_fit.encoding for column_fit in used if column_fit.encoding is not None)
    ranges = {
        column_fit.encoding.column: column_fit.span
        for column_fit in used
        if column_fit.encoding and column_fit.span is not None
    }
    words = {
        column_fit.encoding.column: column_fit.vocabulary
        for column_fit in used
        if column_fit.encoding and column_fit.vocabulary is not None
    }
    absent = {
        name: fact.missing / fact.rows if (fact := facts.get(name)) is not None
        else 1 - float(table.columns[name].is_valid().to_numpy()[rows].mean())
        for name in (encoding.column for encoding in encodings)
    }  # fmt: skip
    schema = replace(table.schema, ranges=ranges, vocabularies=words, absent=absent)
    encoder = Encoder(schema, encodings)
    flags: list[int] = []
    statistics: list[Statistics] = []
    for column_fit in used:
        flags += [len(statistics)] if column_fit.flagged else []
        statistics += column_fit.statistics
    transform = Transform(scaling, len(statistics), flags)
    for index, scaling_of_column in enumerate(statistics):
        transform.set_column(index, scaling_of_column)
    names = encoder.numbers
    features = [NumericFeature(name, column) for name, column in names]
    features += [NumericFeature(f"{names[i][0]} is missing", names[i][1]) for i in flags]
    return encoder, transform, features


def _fit_column(
    table: Table, column: Column, rows: np.ndarray, scaling: Scaling, facts: ColumnFacts | None
) -> ColumnFit:
    """Fit one column to some rows, and to the facts of all rows where these are a sample."""
    name, encoding = column.name, traits_of(column.kind).encoding
    match encoding:
        case "number":
            return _fit_numbers(name, table.numbers(name)[rows], scaling, facts)
        case "date":
            return _fit_dates(name, table.moments(name)[rows], scaling, facts)
        case "words":
            return _fit_words(table, name, rows, scaling)
        case "codes":
            words = (
                vocabulary_of(table, column, rows) if facts is None else _known_texts(column, facts)
            )
            return ColumnFit(ColumnEncoding(name, "codes"), vocabulary=words)
        case _:
            assert_never(encoding)


def _fit_numbers(
    name: str, values: np.ndarray, scaling: Scaling, facts: ColumnFacts | None
) -> ColumnFit:
    flagged = bool(np.isnan(values).any())
    if facts is not None:
        flagged = facts.missing > 0
        values = np.append(values, (facts.low, facts.high))
    statistics = Statistics.of(values, scaling)
    if facts is not None and scaling == "standard":
        statistics = Statistics.standard(facts.mean, facts.deviation)
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    span = (0.0, 0.0) if np.isnan(low) else (low, high)  # NaN: no training row has a value
    return ColumnFit(ColumnEncoding(name, "number"), span, None, (statistics,), flagged)


def _fit_dates(
    name: str, moments: np.ndarray, scaling: Scaling, facts: ColumnFacts | None
) -> ColumnFit:
    empty = moments == MISSING_DATE
    if facts is not None and facts.low == facts.low:
        moments = np.append(moments, np.array((facts.low, facts.high), np.int64))
        empty = np.append(empty, (facts.missing > 0, False))
    kept = moments[moments != MISSING_DATE]
    first, last = (int(kept.min()), int(kept.max())) if len(kept) else (0, 0)
    elapsed, *calendar = date_numbers(moments, first, DATE_PARTS)
    varying = [(p, v) for p, v in zip(DATE_PARTS, calendar, strict=True) if _varies(v)]
    encoding = ColumnEncoding(name, "date", tuple(part for part, _ in varying))
    columns = [elapsed, *(values for _, values in varying)]
    statistics = tuple(Statistics.of(values, scaling) for values in columns)
    return ColumnFit(encoding, (first, last), None, statistics, bool(empty.any()))


def _fit_words(table: Table, name: str, rows: np.ndarray, scaling: Scaling) -> ColumnFit:
    texts, counts = _counted(table, name, rows)
    ngrams = find_words(texts, counts, MOST_WORDS)
    if not ngrams:
        return ColumnFit(None)  # `Prepared.describe` tells the user
    # 0 and 1 are not scaled; a missing text has none of the n-grams.
    ends = np.array([0.0, 1.0])
    identity = Statistics(knots=ends, scores=ends) if scaling == "quantile" else Statistics()
    return ColumnFit(ColumnEncoding(name, "words"), None, ngrams, (identity,) * len(ngrams))


def _counted(table: Table, name: str, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the unique texts of some rows, and the number of rows with each."""
    words = table.words(name)
    codes = words.indices.take(pa.array(rows)).drop_null().to_numpy()
    counts = np.bincount(codes, minlength=len(words.dictionary))
    seen = np.flatnonzero(counts)
    return words.dictionary.take(pa.array(seen)).to_pylist(), counts[seen]


def _known_texts(column: Column, facts: ColumnFacts) -> tuple[str, ...]:
    """Return the vocabulary of all rows, as `vocabulary_of` orders it."""
    texts = facts.counted()["text"].to_pylist()
    return tuple(sorted(texts) if traits_of(column.kind).storage == "flags" else texts)


def _varies(values: np.ndarray) -> bool:
    given = values[~np.isnan(values)]
    return bool(len(given)) and bool(given.min() != given.max())


def vocabulary_of(table: Table, column: Column, rows: np.ndarray) -> tuple[str, ...]:
    """Return the training values, most frequent first; ties in alphabetical order."""
    if traits_of(column.kind).storage == "flags":
        flags = table.flags(column.name)[rows]
        return tuple(text for flag, text in enumerate(("false", "true")) if (flags == flag).any())
    texts, counts = _counted(table, column.name, rows)
    order = sorted(range(len(texts)), key=lambda i: (-counts[i], texts[i]))
    return tuple(texts[i] for i in order)


def distinct(names: Sequence[str]) -> list[str]:
    """Make feature names unique, such as a column "day.year" beside the year of a date "day".

    Example:
        >>> from sightline.prepare.fit import distinct
        >>> distinct(["day.year", "day.year"])
        ['day.year', 'day.year (2)']
    """
    taken: dict[str, None] = {}
    for name in names:
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name} ({number})", number + 1
        taken[unique] = None
    return list(taken)
