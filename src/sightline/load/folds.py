"""Cross-validation folds: how many a table allows, and which fold holds out each training row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.contracts import Target
from sightline.errors import DataError, counted
from sightline.load.divide import (
    Groups,
    by_last_time,
    few_bits,
    permutation,
    sorted_by_class,
    time_values,
)
from sightline.load.table import Table
from sightline.load.target import target_values

MIDNIGHT = " 00:00:00"
"""Left out of times that are days."""


@dataclass(frozen=True)
class Block:
    """One of the folds that follow each other in time.

    Attributes:
        rows: How many training rows it holds out.
        first, last: The times of its oldest and of its newest row, in words.
    """

    rows: int
    first: str
    last: str


def possible_folds(
    wanted: int,
    min_rows: int,
    rows: int,
    groups: Groups | None = None,
    times: np.ndarray | None = None,
) -> int:
    """Lower a number of folds to what the training rows allow; never below 2.

    Args:
        wanted: The number of folds, 2 or more.
        min_rows: How many training rows each fold needs.
        rows: The number of training rows.
        groups: The groups of the training rows; each fold then needs one of them, whatever its size.
            All rows without a group count as one.
        times: [rows], the times of the training rows, if the folds follow each other in time; each fold then needs a
            time of its own, or with groups a group.

    Example:
        >>> import numpy as np
        >>> from sightline.load.folds import possible_folds
        >>> possible_folds(5, min_rows=3, rows=100), possible_folds(5, min_rows=3, rows=11)
        (5, 3)
        >>> possible_folds(5, min_rows=3, rows=100, times=np.repeat([2021, 2022, 2023], [30, 30, 40]))
        3
    """
    most = rows // min_rows if groups is None else groups.distinct
    if times is not None and groups is None:
        most = min(most, len(np.unique(times)))
    return max(min(wanted, most), 2)


def assign_folds(
    table: Table,
    target: Target,
    train: np.ndarray,
    folds: int,
    seed: int,
    groups: Groups | None,
    filled: np.ndarray | None = None,
) -> np.ndarray:
    """Put training rows into folds of equal size and equal class shares; groups stay whole.

    Args:
        table: The table with its target.
        target: What is predicted; the folds are stratified by its classes.
        train: int64 row numbers of the training rows.
        folds: How many, 2 or more.
        seed: Of the random order.
        groups: The groups of the training rows, or None; with groups, folds are not stratified.
        filled: int64 [folds], how many other rows are in each fold already; None if the folds are empty, and each
            must get a row.

    Returns:
        int64 [training rows]: the fold that holds out each row, from 0.

    Raises:
        DataError: There are fewer rows or groups than folds.
    """
    if groups is not None:
        return _assign_groups(groups, folds, seed, filled)
    if len(train) < folds and filled is None:
        raise DataError(
            f"{len(train)} training rows are too few for {folds} folds.",
            "Give more rows or fewer folds.",
        )
    order = permutation(np.random.default_rng(seed), len(train))
    if target.task == "classification":  # class after class, so that each is dealt out evenly
        order = sorted_by_class(order, few_bits(target_values(table, target))[train])
    fold_of_row = np.empty(len(train), np.int32)
    emptiest_first = np.arange(folds) if filled is None else np.argsort(filled, kind="stable")
    for number, fold in enumerate(emptiest_first.tolist()):
        fold_of_row[order[number::folds]] = fold
    del order  # as large as the rows
    return fold_of_row.astype(np.int64)


def assign_blocks(
    name: str, times: np.ndarray, folds: int, groups: Groups | None = None
) -> np.ndarray:
    """Cut training rows into folds that follow each other in time and have about as many rows each.

    Rows of equal time stay in one fold. With groups, whole groups are in the order of their last rows; then folds
    overlap in time as far as groups do.

    Args:
        name: The time column.
        times: [training rows], microseconds or numbers.
        folds: How many, 2 or more.
        groups: The groups of the training rows, or None.

    Returns:
        int64 [training rows]: the fold that holds out each row; 0 has the oldest rows.

    Raises:
        DataError: There are fewer different times, or groups, than folds.

    Example:
        >>> import numpy as np
        >>> from sightline.load.folds import assign_blocks
        >>> assign_blocks("year", np.array([2021, 2019, 2020, 2019, 2020, 2022]), 3).tolist()
        [2, 0, 1, 0, 1, 2]
    """
    if groups is None:
        _, unit_of_row = np.unique(times, return_inverse=True)
    else:
        place = np.empty(len(groups.sizes), np.int64)
        place[by_last_time(groups, times)] = np.arange(len(groups.sizes))
        unit_of_row = place[groups.of_row]
    filled = np.cumsum(np.bincount(unit_of_row))
    if len(filled) < folds:
        column, units = (name, "time") if groups is None else (groups.name, "group")
        raise DataError(
            f"The column {column!r} has {counted(len(filled), f'different {units}')} in the training rows, too few for "
            f"{folds} folds that follow each other in time.",
            f"Give fewer folds, rows of more {units}s, or leave out time={name!r}.",
        )
    starts, start = [], 0
    for fold in range(1, folds):
        most = len(filled) - (folds - fold)  # each later fold needs a time, too
        gaps = np.abs(filled[start:most] - len(times) * fold / folds)
        start += int(gaps.argmin()) + 1
        starts.append(start)
    return np.searchsorted(starts, unit_of_row, side="right").astype(np.int64)


def blocks_of(
    table: Table, time: str, train: np.ndarray, fold_of_row: np.ndarray
) -> tuple[Block, ...]:
    """Say from when to when each fold goes, the oldest first.

    Args:
        table: The table.
        time: The time column.
        train: int64 row numbers of the training rows.
        fold_of_row: int64 [training rows], from `assign_blocks`.
    """
    times = time_values(table, time)[0][train]
    folds = [np.flatnonzero(fold_of_row == fold) for fold in range(int(fold_of_row.max()) + 1)]
    ends = [(rows[times[rows].argmin()], rows[times[rows].argmax()]) for rows in folds]
    texts = [[str(table.cells(time, int(train[row]))) for row in pair] for pair in ends]
    if all(text.endswith(MIDNIGHT) for pair in texts for text in pair):
        texts = [[text.removesuffix(MIDNIGHT) for text in pair] for pair in texts]
    return tuple(
        Block(len(rows), first, last) for rows, (first, last) in zip(folds, texts, strict=True)
    )


def _assign_groups(
    groups: Groups, folds: int, seed: int, filled: np.ndarray | None = None
) -> np.ndarray:
    """Put each group, the largest first, into the fold that has the fewest rows so far."""
    sizes = groups.sizes
    if len(sizes) < folds and filled is None:
        raise DataError(
            f"The column {groups.name!r} has {len(sizes)} groups in the training rows, too few for "
            f"{folds} folds.",
            "Give fewer folds, or validation rows instead.",
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    rows_in_fold = np.zeros(folds, np.int64) if filled is None else filled.copy()
    fold_of_group = np.empty(len(sizes), np.int64)
    for number in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[number] = rows_in_fold.argmin()
        rows_in_fold[fold_of_group[number]] += sizes[number]
    fold_of_row: np.ndarray = fold_of_group[groups.of_row]
    return fold_of_row
