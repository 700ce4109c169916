"""Groups of rows by the value of one column, to measure a model on each of them.

Letters: N rows, G groups.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, assert_never

import numpy as np

from sightline.contracts import Kind, Target, traits_of
from sightline.contracts.kinds import Storage
from sightline.errors import DataError, OptionError, counted, did_you_mean, shorten
from sightline.load.histograms import most_frequent
from sightline.load.table import Table
from sightline.load.target import target_values
from sightline.load.values import MISSING_DATE, Spellings, date_text, map_codes

MOST_GROUPS = 20
"""A column has at most this many groups, besides those of missing and of unseen values."""
RANGES = 5
"""Ranges that numbers and dates are cut into, at most; each has about as many rows."""
FEW_VALUES = 12
"""Whole numbers with at most this many distinct values have a group for each; so have the years of dates."""
OWN_VALUES = 0.9
"""A column in which a larger share of the rows has a value of its own has no groups."""
NAME_CHARACTERS = 60
YEAR = "datetime64[Y]"

Cut = Literal["values", "frequent", "ranges", "years"]
"""How a column is cut into groups: by all its values, its most frequent ones, ranges, or years."""


@dataclass(frozen=True)
class Groups:
    """Rows by the value of one column.

    Attributes:
        column: Its name.
        kind: Its kind.
        names: Of the groups, [G].
        of_row: The group of each row, int64 [N].
        cut: How the values were cut into groups.
        how: The same in words.
        is_target: Whether the column is the target, so that rows are in the group of their true class.
    """

    column: str
    kind: Kind
    names: tuple[str, ...]
    of_row: np.ndarray
    cut: Cut
    how: str
    is_target: bool = False


def group_by(
    table: Table,
    column: str,
    *,
    target: Target | None = None,
    known: Collection[str] | None = None,
    most: int = MOST_GROUPS,
) -> Groups:
    """Group the rows of a table by the value of a column.

    Texts, truth values and whole numbers of at most 12 values have a group for each value; of more than `most` texts
    the most frequent ones have one, and all others share one. Other numbers are cut into 5 ranges with about equally
    many rows, dates into years, or into ranges where there are more than 12. Missing values are a group, and so are
    texts that are not `known`.

    Args:
        table: The rows to measure.
        column: Any column of it.
        target: What is predicted; its classes may be groups, its numbers may not.
        known: The column's texts in the training rows; None if any text may be.
        most: The largest number of groups with a value of their own.

    Raises:
        OptionError: There is no such column, or it is a target of numbers.
        DataError: The column has one value, or nearly every row has its own.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.groups import group_by
        >>> groups = group_by(sl.read("examples/penguins.csv"), "sex")
        >>> groups.names, groups.how
        (('male', 'female', 'missing'), '2 values')
    """
    if column not in table.columns:
        raise OptionError(
            f"{table.name} has no column {column!r}.", did_you_mean(column, table.columns)
        )
    described = table.schema[column]
    is_target = target is not None and column == target.name
    if is_target and target is not None and target.task == "regression":
        raise OptionError(
            f"{column!r} is the target, a number: rows that are grouped by their true number have one-sided errors in "
            "any model, because large numbers are mostly predicted too small and small ones too large.",
            "Group by another column, such as a feature.",
        )
    if described.values == "unsupported":
        raise DataError(
            f"The rows cannot be grouped by {column!r}: it {described.reason}.",
            "Choose another column.",
        )
    storage: Storage | Literal["classes"] = traits_of(described.kind).storage
    if is_target:
        storage = "classes"
    match storage:
        case "classes":
            assert target is not None
            parts = _of_values(target_values(table, target), target.texts, most)
        case "flags":
            flags = table.flags(column)
            parts = _of_values(flags.astype(np.int64), ["false", "true"], most)
        case "words":
            words = table.words(column)
            texts = words.dictionary.to_pylist()
            codes = map_codes(words.indices, np.arange(len(texts)), -1)
            _refuse_own_values(table, column, codes)
            parts = _of_values(codes, texts, most, known)
        case "numbers":
            parts = _of_numbers(table.numbers(column), most)
        case "moments":
            parts = _of_moments(table.moments(column))
        case _:
            assert_never(storage)
    names, of_row, cut, how = parts
    used = np.unique(of_row)
    if len(used) < 2:
        value = f": {shorten(names[used[0]])}" if len(used) else ""
        raise DataError(
            f"{table.name}: {column!r} has one value in all {counted(len(of_row), 'measured row')}{value}. "
            "There are no groups to compare.",
            "Choose another column.",
        )
    return Groups(
        column, described.kind, tuple(_short(names[number]) for number in used),
        np.searchsorted(used, of_row), cut, how, is_target,
    )  # fmt: skip


Parts = tuple[list[str], np.ndarray, Cut, str]
"""Names of groups, the group of each row, how the values were cut, and the same in words."""


def _of_values(
    codes: np.ndarray, texts: Sequence[str], most: int, known: Collection[str] | None = None
) -> Parts:
    """Give each value a group: codes are indices into texts, -1 where missing."""
    names: list[str] = []
    of_code = np.zeros(len(texts) + 1, np.int64)  # the last one is that of -1
    unseen = np.zeros(len(texts), bool)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    if known is not None:
        spellings = Spellings(known)
        unseen = np.array(
            [bool(n) and spellings.find(t) is None for t, n in zip(texts, counts, strict=True)],
            bool,
        )
    of_value = np.where(unseen, 0, counts)
    distinct = int((of_value > 0).sum())
    shown = most_frequent(of_value, most if distinct <= most else most - 1)
    for index in np.sort(shown).tolist():
        of_code[index] = len(names)
        names.append(texts[index])
    cut: Cut = "values"
    how = counted(distinct, "value")
    if distinct > most:
        cut, how = "frequent", f"the {len(shown)} most frequent of {distinct:,} values, and all others"  # fmt: skip
        others = (of_value > 0) & ~np.isin(np.arange(len(texts)), shown)
        of_code[:-1][others] = len(names)
        names.append("all others")
    if unseen.any():
        of_code[:-1][unseen] = len(names)
        names.append("never seen in training")
    of_code[-1] = len(names)
    names.append("missing")
    return names, of_code[codes], cut, how


def _of_numbers(values: np.ndarray, most: int) -> Parts:
    missing = np.isnan(values)
    known = values[~missing]
    distinct = np.unique(known)
    whole = bool((distinct == np.floor(distinct)).all())
    if len(distinct) <= (min(FEW_VALUES, most) if whole else RANGES):
        names = _numbers(distinct.tolist(), whole)
        of_row = np.searchsorted(distinct, values)
        of_row[missing] = len(names)
        return [*names, "missing"], of_row, "values", counted(len(distinct), "value")
    edges = _edges(known)
    texts = _numbers(edges.tolist(), whole)
    starts = _numbers((edges + 1).tolist(), whole) if whole else [f"above {text}" for text in texts]
    last = f"{starts[-1]} or more" if whole else starts[-1]
    between = [_range(low, high, whole) for low, high in zip(starts, texts[1:], strict=False)]
    names = [f"up to {texts[0]}", *between, last]
    return _ranges(values, missing, edges, names)


def _range(low: str, high: str, whole: bool) -> str:
    return high if low == high else f"{low} to {high}" if whole else f"{low}, up to {high}"


def _of_moments(moments: np.ndarray) -> Parts:
    missing = moments == MISSING_DATE
    known = moments[~missing]
    years = moments.astype("datetime64[us]").astype(YEAR)
    distinct = np.unique(years[~missing])
    if 2 <= len(distinct) <= FEW_VALUES:
        of_row = np.searchsorted(distinct, years)
        of_row[missing] = len(distinct)
        names = [str(year) for year in distinct]
        return [*names, "missing"], of_row, "years", f"by year, {len(distinct)} years"
    if not len(known):
        return ["missing"], np.zeros(len(moments), np.int64), "years", "no dates"
    edges = _edges(known)
    texts = [date_text(int(edge)) for edge in edges]
    if len({text[:10] for text in texts}) == len(texts):
        texts = [text[:10] for text in texts]
    names = [
        f"until {texts[0]}",
        *(f"after {low}, until {high}" for low, high in pairwise(texts)),
        f"after {texts[-1]}",
    ]
    return _ranges(moments, missing, edges, names)


def _edges(known: np.ndarray) -> np.ndarray:
    """Return the upper ends of all ranges but the last one, which has none; each is a value of a row."""
    shares = np.arange(1, RANGES) / RANGES
    edges = np.unique(np.quantile(known, shares, method="inverted_cdf"))
    highest = known.max()
    below: np.ndarray = edges[edges < highest]
    return below if len(below) else known[known < highest].max(keepdims=True)


def _ranges(
    values: np.ndarray, missing: np.ndarray, edges: np.ndarray, names: list[str]
) -> Parts:  # fmt: skip
    of_row = np.searchsorted(edges, values)  # the upper end belongs to the range
    of_row[missing] = len(names)
    count = len(np.unique(of_row[~missing]))
    return [*names, "missing"], of_row, "ranges", f"{count} ranges with about equally many rows"


def _numbers(values: Sequence[float], whole: bool) -> list[str]:
    """Write increasing numbers with as few digits as tell them apart."""
    if whole:
        return [f"{value:.0f}" for value in values]
    for digits in (4, 6, 9):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(value) for value in values]


def _refuse_own_values(table: Table, column: str, codes: np.ndarray) -> None:
    """Refuse texts such as names and identifiers, of which nearly every row has its own."""
    rows = int((codes >= 0).sum())
    distinct = len(np.unique(codes[codes >= 0]))
    if distinct > FEW_VALUES and distinct > OWN_VALUES * rows:
        raise DataError(
            f"{table.name}: {column!r} has {distinct:,} different values in {counted(rows, 'measured row')}: nearly "
            "every row has its own, so there are no groups.",
            "Choose a column whose values are shared by many rows.",
        )


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 3]}..."
