"""Cross-validation folds: how many a table allows, and which fold holds out each training row."""

from __future__ import annotations

import numpy as np

from sightline.contracts import Target
from sightline.errors import DataError
from sightline.load.divide import Groups, few_bits, permutation, sorted_by_class
from sightline.load.table import Table
from sightline.load.target import target_values


def possible_folds(wanted: int, min_rows: int, rows: int, groups: Groups | None = None) -> int:
    """Lower a number of folds to what the training rows allow; never below 2.

    Args:
        wanted: The number of folds, 2 or more.
        min_rows: How many training rows each fold needs.
        rows: The number of training rows.
        groups: The groups of the training rows; each fold then needs one of them, whatever its size.
            All rows without a group count as one.

    Example:
        >>> from sightline.load.folds import possible_folds
        >>> possible_folds(5, min_rows=3, rows=100), possible_folds(5, min_rows=3, rows=11)
        (5, 3)
    """
    most = rows // min_rows if groups is None else groups.distinct
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
