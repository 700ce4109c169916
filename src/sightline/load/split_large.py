"""Split a table larger than memory: by its role columns as in memory, with a random sample of the training rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, Schema
from sightline.errors import OptionError
from sightline.load.facts import ColumnFacts
from sightline.load.large import LargeTable, drawn, joined
from sightline.load.limits import in_units
from sightline.load.parallel import each_piece
from sightline.load.roles import row_weights
from sightline.load.split import PARTS, LargeRows, Splits, read_given, split
from sightline.load.table import Table, join
from sightline.load.text_kinds import IDENTIFIER_ROWS

TRAIN, VALID, TEST, NONE = range(len(PARTS))
MOST_FOLDS = 255
NEARLY = 1.5
"""The training rows of a column that numbers all rows span at most this many times their number."""


def split_large(
    large: LargeTable,
    target: str,
    *,
    valid: Any = 0.1,
    test: Any = 0.1,
    seed: int = 0,
    **options: Any,
) -> Splits:
    """Divide the rows of a table larger than memory, by the same rules as in memory.

    The columns that decide (target, group, time, weight) are read into memory, and `sightline.split` divides them. Then
    all columns are read once: for facts of the training rows, and for a random sample of them, which stands for the
    table wherever all rows would not fit.

    Args:
        large: The table.
        target: The column to predict.
        valid, test: As in `sightline.split`.
        seed: As in `sightline.split`; it also draws the sample.
        options: The other arguments of `sightline.split`.

    Returns:
        The split, whose table is the sample with all validation and test rows.

    Raises:
        DataError, OptionError: As `sightline.split`; or the validation and test rows do not fit into memory.

    Example:
        >>> from sightline.contracts import ReadOptions
        >>> from sightline.load.large import LargeTable
        >>> from sightline.load.limits import Budget
        >>> from sightline.load.split_large import split_large
        >>> large = LargeTable.open("examples/penguins.csv", ReadOptions(), Budget(10**9))
        >>> split_large(large, "species").describe()
        '276 training rows (80 %), 34 validation rows (10 %), 34 test rows (10 %), stratified by species, seed 0'
    """
    if options.pop("earlier", None) is not None:
        raise OptionError(
            f"{large.sample.name} does not fit within the memory limit, and a warm start needs all rows in memory.",
            "Give a larger memory_limit (--memory-limit), or fit without warm_start (--warm-start).",
        )
    given = {
        name: rows
        for name, rows in (("valid", valid), ("test", test))
        if not isinstance(rows, int | float)
    }
    shares = {"valid": valid, "test": test} | dict.fromkeys(given, 0)
    roles = [target, *(options.get(name) for name in ("group", "time", "weight"))]
    # A name that is no column is left to `split`, which says so.
    narrow = large.columns_of([str(name) for name in dict.fromkeys(roles) if name in large.schema])
    splits = split(narrow, target, seed=seed, **shares, **options)
    part, fold, known = _placed(narrow, splits, target)
    weights = row_weights(splits.table)
    if weights is not None and known is not None:
        whole = np.zeros(large.rows, np.float32)
        whole[known] = weights
        weights = whole
    del narrow, known

    train_rows = len(splits.train)
    wanted = large.budget.sample_rows(len(large.sample.schema.columns))
    held_out = len(splits.valid) + len(splits.test)
    if held_out > wanted:
        raise OptionError(
            f"{held_out:,} validation and test rows do not fit within memory_limit={in_units(large.budget.limit)}, which "
            f"allows {wanted:,}.",
            "Give fewer of them (valid=, test=), or a larger memory_limit (--memory-limit).",
        )
    share = wanted / train_rows
    sample, numbers, facts, fingerprint = _read_all(large, splits, part, share, seed)
    schema = splits.table.schema
    if facts is not None:
        schema = _corrected(sample, schema, facts)
    rows = LargeRows(
        large, part, fold, weights, splits.table.rows, train_rows, numbers, facts, fingerprint
    )
    sample = replace(sample, schema=schema)
    place = part[numbers]
    train, valid, test = (np.flatnonzero(place == number) for number in (TRAIN, VALID, TEST))
    splits = replace(
        splits, table=sample, train=train, valid=valid, test=test, large=rows,
        folds=None if fold is None else fold[numbers[train]].astype(np.int64),
        options={name: value for name, value in splits.options.items() if name not in given},
    )  # fmt: skip
    return _with_given(splits, given)


def _placed(
    narrow: Table, splits: Splits, target: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the part and the fold of each row in the files, and the rows with a known target if some have none."""
    known = None
    if splits.dropped:
        known = np.flatnonzero(narrow.columns[target].is_valid().to_numpy())
    part = np.full(narrow.rows, NONE, np.uint8)
    for number, name in enumerate(PARTS[:NONE]):
        rows = getattr(splits, name)
        part[rows if known is None else known[rows]] = number
    if splits.folds is None:
        return part, None, known
    if splits.fold_count > MOST_FOLDS:
        raise OptionError(f"There are {splits.fold_count} folds.", f"Give at most {MOST_FOLDS}.")
    fold = np.zeros(narrow.rows, np.uint8)
    fold[splits.train if known is None else known[splits.train]] = splits.folds
    return part, fold, known


def _read_all(
    large: LargeTable, splits: Splits, part: np.ndarray, share: float, seed: int
) -> tuple[Table, np.ndarray, dict[str, ColumnFacts] | None, str]:
    """Read every column once: the sample, the numbers of its rows, facts of all training rows, the fingerprint."""
    schema = splits.table.schema
    names = [column.name for column in schema.columns]
    facts = {column.name: ColumnFacts() for column in schema.columns if _has_facts(column)}
    target = splits.target.name
    read: dict[str, list[pa.ChunkedArray]] = {name: [] for name in names}
    numbers: list[np.ndarray] = []
    digest = hashlib.sha256()
    columns = sorted((c.name, c.kind, c.role) for c in schema.columns)
    digest.update(repr(columns).encode())
    start = trained = 0

    def hashed(piece: Table) -> np.ndarray:
        hashes = replace(piece, schema=schema).row_hashes(names)
        known: np.ndarray = hashes[piece.columns[target].is_valid().to_numpy()]
        return known

    for piece, hashes in each_piece(hashed, large.pieces(names)):
        digest.update(hashes.tobytes())
        places = part[start : start + piece.rows]
        train = np.flatnonzero(places == TRAIN)
        chosen = np.isin(places, (VALID, TEST))
        chosen[train[drawn(seed, trained, len(train), share)]] = True
        rows = np.flatnonzero(chosen)
        if share < 1:
            for name, fact in facts.items():
                fact.add(schema[name], piece.columns[name], train)
        for name in names:
            read[name].append(_plain(piece.columns[name]).take(pa.array(rows)))
        numbers.append(rows + start)
        start, trained = start + piece.rows, trained + len(train)
    large.check_rows(start)
    number_of = np.concatenate(numbers)
    whole = {name: joined([_words(part_) for part_ in parts]) for name, parts in read.items()}
    sample = replace(large.sample, columns=whole, rows=len(number_of), locate=None)
    return sample, number_of, facts if share < 1 else None, digest.hexdigest()


def _plain(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without their dictionary: some rows of a piece do not need that of all its rows."""
    return data.cast(pa.string()) if pa.types.is_dictionary(data.type) else data


def _words(data: pa.ChunkedArray) -> pa.ChunkedArray:
    return data.dictionary_encode() if pa.types.is_string(data.type) else data


def _has_facts(column: Column) -> bool:
    """Tell whether a column is a feature, or may be one that looks constant in a sample."""
    return column.values != "unsupported" and column.role in ("feature", "ignored")


def _corrected(sample: Table, schema: Schema, facts: Mapping[str, ColumnFacts]) -> Schema:
    """Correct what the sample that decided the kinds did not show.

    A column that numbers the rows is ignored; a column that is constant in that sample only is used.
    """
    for column in schema.columns:
        fact = facts.get(column.name)
        if fact is None:
            continue
        constant = column.reason.startswith(("one value in every row", "all values are missing"))
        if (
            column.role == "feature"
            and column.values == "integer"
            and _numbers_rows(sample, column, fact)
        ):
            reason = "numbers the rows consecutively: an identifier"
            schema = schema.with_column(replace(column, role="ignored", reason=reason))
        elif column.role == "ignored" and constant and column.kind != "text" and fact.varies:
            reason = f"{column.kind}; nearly every row has the same value"
            schema = schema.with_column(replace(column, role="feature", reason=reason))
    return schema


def _numbers_rows(sample: Table, column: Column, fact: ColumnFacts) -> bool:
    """Tell whether whole numbers are about as many as the training rows, and all different in the sample."""
    if column.kind != "numeric" or fact.missing or sample.rows < IDENTIFIER_ROWS:
        return False
    numbers = sample.numbers(column.name)
    span = fact.high - fact.low + 1
    return fact.rows <= span <= fact.rows * NEARLY + IDENTIFIER_ROWS and len(
        np.unique(numbers)
    ) == len(numbers)


def _with_given(splits: Splits, given: Mapping[str, Any]) -> Splits:
    """Append validation or test rows that were given as tables to the sample."""
    for name, source in given.items():
        table = read_given(source, splits.table)
        added = np.arange(splits.table.rows, splits.table.rows + table.rows)
        assert splits.large is not None
        numbers = np.concatenate([splits.large.numbers, np.arange(table.rows)])
        splits = replace(
            splits, table=join(splits.table, table), large=replace(splits.large, numbers=numbers),
            how=f"{splits.how}; {name} rows from {table.name}",
            valid=added if name == "valid" else splits.valid, test=added if name == "test" else splits.test,
        )  # fmt: skip
    return splits
