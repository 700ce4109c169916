"""Which rows are for training, validation and test: at random, stratified, by group or by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.contracts import Target, traits_of
from sightline.errors import DataError, counted
from sightline.load.table import Table
from sightline.load.target import target_values
from sightline.load.values import MISSING_DATE

FEW_CLASSES = 16


@dataclass(frozen=True)
class Groups:
    """The groups of some rows. Each row without a group forms its own group.

    Attributes:
        name: The column.
        of_row: int64 [rows], each row's group number, from 0.
        sizes: int64 [groups], the rows of each group.
        distinct: How many different values the column has in these rows, a missing one counted once.
    """

    name: str
    of_row: np.ndarray
    sizes: np.ndarray
    distinct: int


def group_rows(table: Table, name: str, rows: np.ndarray) -> Groups:
    """Find the groups of some rows by the equal values of a column."""
    keys = table.row_hashes([name])[rows]
    missing = ~table.columns[name].is_valid().to_numpy()[rows]
    # A row without a value is a group by itself: it gets its own key.
    keys[missing] = np.arange(int(missing.sum()), dtype=np.uint64)
    unique, of_row, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    without = int(missing.sum())
    return Groups(name, of_row, sizes, len(unique) - without + min(without, 1))


def by_last_time(groups: Groups, times: np.ndarray) -> np.ndarray:
    """Order groups by their last rows, among equals by their first: int64 [groups], the oldest first.

    Args:
        groups: The groups of some rows.
        times: [rows], the times of these rows.
    """
    by_group = np.argsort(groups.of_row, kind="stable")
    starts = np.cumsum(groups.sizes) - groups.sizes
    last = np.maximum.reduceat(times[by_group], starts)
    first = np.minimum.reduceat(times[by_group], starts)
    order: np.ndarray = np.lexsort((np.arange(len(groups.sizes)), first, last))
    return order


def divide(
    table: Table,
    target: Target,
    rows: np.ndarray,
    sizes: Mapping[str, int],
    seed: int,
    group: str | None,
    time: str | None,
) -> tuple[dict[str, np.ndarray], str]:
    """Divide rows into training, validation and test.

    Args:
        table: The table with its target.
        target: What is predicted; classes are spread evenly over the parts.
        rows: int64 row numbers to divide.
        sizes: How many rows "valid" and "test" get; the others are for training.
        seed: Of the random order.
        group: A column whose equal values stay in one part.
        time: A column whose newest rows are for test, those before them for validation. With `group`, whole groups are
            held out, those whose last row is the newest first.

    Returns:
        The sorted row numbers of "train" and of each part in `sizes`, and how they were divided,
        in words.

    Raises:
        DataError: No training row would be left, or a time is missing.
    """
    held_out = sum(sizes.values())
    if held_out >= len(rows):
        raise DataError(
            f"{table.name} has {counted(len(rows), 'row')}; validation and test together would take "
            f"{held_out:,}, which leaves none to train on.",
            "Give more rows, or smaller parts (valid=, test=).",
        )
    wanted = [("test", sizes.get("test", 0)), ("valid", sizes.get("valid", 0))]
    if time and group:
        values = _sortable(table, time, rows)
        parts = _cut_groups_by_time(group_rows(table, group, rows), rows, values[rows], wanted)
        how = (
            f"by time, in whole groups of {group}: those whose last {time} is the newest are held out"
            f"{_overlap(parts, values)}"
        )
    elif time:
        values = _sortable(table, time, rows)
        newest_first = rows[np.argsort(values[rows], kind="stable")[::-1]]
        parts = _cut_by_value(newest_first, values, wanted)
        how = f"by time: the newest rows of {time} are held out"
    elif group:
        parts = _cut_groups(group_rows(table, group, rows), rows, wanted, seed)
        how = f"whole groups of {group}, seed {seed}"
    elif target.task == "classification":
        classes = few_bits(target_values(table, target))[rows]
        parts = _cut(rows, stratified_order(classes, seed, held_out), wanted)
        how = f"stratified by {target.name}, seed {seed}"
    else:
        parts = _cut(rows, permutation(np.random.default_rng(seed), len(rows)), wanted)
        how = f"at random, seed {seed}"
    return {name: np.sort(numbers) for name, numbers in parts.items()}, how


def stratified_order(classes: np.ndarray, seed: int, first: int | None = None) -> np.ndarray:
    """Order rows at random so that any stretch has about the classes' shares.

    One row of each class comes last, so that rows cut from the front leave at least one training
    row of every class.

    Args:
        classes: [rows], class numbers.
        seed: Of the random order.
        first: How many indices to return; None returns all. Fewer need less memory.

    Returns:
        [first] or [rows], indices into `classes`.

    Example:
        >>> import numpy as np
        >>> from sightline.load.divide import stratified_order
        >>> order = stratified_order(np.array([0] * 90 + [1] * 10), seed=0)
        >>> int((order[:10] >= 90).sum())
        1
    """
    random = np.random.default_rng(seed)
    classes = few_bits(classes)
    by_class = sorted_by_class(permutation(random, len(classes)), classes)
    counts = np.unique(classes, return_counts=True)[1]
    keys, places, start = [], [], 0
    for count, share in zip(counts.tolist(), random.random(len(counts)), strict=True):
        some = (
            count if first is None else min(first, count)
        )  # of each class, no more can come first
        key = (np.arange(some) + share) / count
        if some == count:
            key[-1:] = 2.0
        keys.append(key)
        places.append(by_class[start : start + some])
        start += count
    order: np.ndarray = np.concatenate(places)[np.argsort(np.concatenate(keys), kind="stable")]
    return order[:first]


def sorted_by_class(order: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return indices sorted by their class; those of one class stay in their order.

    Example:
        >>> import numpy as np
        >>> from sightline.load.divide import sorted_by_class
        >>> sorted_by_class(np.array([3, 0, 2, 1]), np.array([1, 0, 1, 0])).tolist()
        [3, 1, 0, 2]
    """
    of_order = classes[order]
    if len(classes) and classes.max() >= FEW_CLASSES:
        return order[np.argsort(of_order, kind="stable")]
    # A pass for each class needs a tenth of the memory of sorting.
    return np.concatenate([order[of_order == number] for number in np.unique(classes)] or [order])


def permutation(random: np.random.Generator, rows: int) -> np.ndarray:
    """Return a random order of row numbers, as int32 where they fit: the order of `random.permutation(rows)`.

    Example:
        >>> import numpy as np
        >>> from sightline.load.divide import permutation
        >>> (permutation(np.random.default_rng(1), 5) == np.random.default_rng(1).permutation(5)).all()
        np.True_
    """
    return random.permutation(np.arange(rows, dtype=np.int32 if rows < 2**31 else np.int64))


def few_bits(classes: np.ndarray) -> np.ndarray:
    """Return class numbers as int16 where they fit: a quarter of the memory, and numpy sorts them ten times faster."""
    if len(classes) and classes.max() < 2**15:
        return classes.astype(np.int16)
    return classes


def time_values(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a time column's values [rows], microseconds or numbers, and which rows have none.

    Example:
        >>> import sightline as sl
        >>> from sightline.load.divide import time_values
        >>> time_values(sl.read({"t": [1.5, None, 2.5], "x": [1, 2, 3]}), "t")[1].tolist()
        [False, True, False]
    """
    if traits_of(table.schema[name].kind).storage == "moments":
        moments = table.moments(name)
        return moments, moments == MISSING_DATE
    values = table.numbers(name)
    return values, np.isnan(values)


# ------------------------------------------------------------- helpers


def _sortable(table: Table, name: str, rows: np.ndarray) -> np.ndarray:
    """Return a time column's values for the whole table; none of `rows` may lack one."""
    values, missing = time_values(table, name)
    if missing[rows].any():
        raise DataError(
            f"The time column {name!r} is missing in {counted(int(missing[rows].sum()), 'row')}.",
            "Fill in the values, or leave those rows out.",
        )
    return values


def _cut(
    rows: np.ndarray, order: np.ndarray, wanted: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Give parts the rows at the front of an order of indices; the rest is for training."""
    parts, start = {}, 0
    rest = np.ones(len(rows), bool)
    for name, size in wanted:
        parts[name] = rows[order[start : start + size]]
        start += size
    rest[order[:start]] = False
    parts["train"] = rows[rest]
    return parts


def _cut_by_value(
    order: np.ndarray, values: np.ndarray, wanted: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Cut parts off the front of an ordered list of rows; rows of equal value stay together."""
    parts, start = {}, 0
    for name, size in wanted:
        end = start + size
        if size:
            while start < end < len(order) and values[order[end]] == values[order[end - 1]]:
                end -= 1
            if end == start:  # every row has the same time: take all rows of that time
                end = start + size
                while end < len(order) and values[order[end]] == values[order[end - 1]]:
                    end += 1
        parts[name] = order[start:end]
        start = end
    parts["train"] = order[start:]
    return parts


def _cut_groups_by_time(
    groups: Groups, rows: np.ndarray, times: np.ndarray, wanted: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Take whole groups, the one with the newest last row first, until a part has about the rows it should have.

    So every training row is at most as new as the last row of each held-out group: nothing is learned of the time after.
    """
    count = len(groups.sizes)
    order = by_last_time(groups, times)[::-1]
    filled = np.cumsum(groups.sizes[order])
    parts: dict[str, np.ndarray] = {}
    taken = np.zeros(count, bool)
    start = rows_before = 0
    for number, (part, size) in enumerate(wanted):
        end = start
        if size:
            # As many groups as come nearest to the size: at least one, and one is left for each part to come.
            most = count - start - 1 - sum(later > 0 for _, later in wanted[number + 1 :])
            gaps = np.abs(filled[start : start + max(most, 1)] - rows_before - size)
            end = start + (int(gaps.argmin()) + 1 if len(gaps) else 0)
        chosen = order[start:end]
        parts[part] = rows[np.isin(groups.of_row, chosen)]
        taken[chosen] = True
        start, rows_before = end, int(filled[end - 1]) if end else 0
    parts["train"] = rows[~taken[groups.of_row]]
    return parts


def _overlap(parts: Mapping[str, np.ndarray], values: np.ndarray) -> str:
    """Say how many held-out rows are older than the newest training row, for the end of a sentence."""
    if not len(parts["train"]):
        return ""
    newest = values[parts["train"]].max()
    held_out = {"validation": parts["valid"], "test": parts["test"]}
    older = {
        name: int((values[rows] < newest).sum()) for name, rows in held_out.items() if len(rows)
    }
    each = [
        f"{older[name]:,} of {counted(len(held_out[name]), f'{name} row')}"
        for name in older
        if older[name]
    ]
    return f"; older than the newest training row: {' and '.join(each)}" if each else ""


def _cut_groups(
    groups: Groups, rows: np.ndarray, wanted: Sequence[tuple[str, int]], seed: int
) -> dict[str, np.ndarray]:
    """Take whole groups, in random order, until a part has about the rows it should have."""
    parts: dict[str, np.ndarray] = {}
    sizes = groups.sizes
    order = np.random.default_rng(seed).permutation(len(sizes))
    taken = np.zeros(len(sizes), bool)
    for part, size in wanted:
        chosen: list[int] = []
        filled = 0
        for number in order:
            if taken[number] or filled >= size:
                continue
            # A group that overshoots by more than it fills is left for another part.
            if filled + sizes[number] - size > size - filled:
                continue
            chosen.append(int(number))
            filled += int(sizes[number])
        free = order[~taken[order]]
        if size and not chosen and len(free):  # each is too large: take the smallest
            chosen.append(int(free[sizes[free].argmin()]))
        taken[chosen] = True
        parts[part] = rows[np.isin(groups.of_row, chosen)]
    parts["train"] = rows[~taken[groups.of_row]]
    return parts
