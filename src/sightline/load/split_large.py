"""Split a table larger than memory: by its role columns as in memory, with a random sample of the training rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, Schema, traits_of
from sightline.errors import OptionError
from sightline.load.facts import ColumnFacts
from sightline.load.large import LargeTable, drawn
from sightline.load.limits import in_units
from sightline.load.places import NONE, TEST, TRAIN, VALID, Places
from sightline.load.roles import row_weights, with_roles
from sightline.load.split import LargeRows, Splits, read_given, split
from sightline.load.table import Table, join, join_column, subset
from sightline.load.text_kinds import IDENTIFIER, IDENTIFIER_ROWS, role_of_texts

MOST_FOLDS = 255
CONSTANT = ("one value in every row", "all values are missing")
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
    group, time, weight = (options.get(name) for name in ("group", "time", "weight"))
    roles = (target, group, time, weight)
    # A name that is no column is left to `split`, which says so.
    names = [str(name) for name in dict.fromkeys(roles) if name in large.schema]
    parts = {"valid": valid, "test": test}
    given = {}
    if len(names) == len(set(roles) - {None}):
        kept = options.get("time_feature", False)
        like = with_roles(large.sample, target, group, time, weight, kept)
        given = {
            name: read_given(rows, like)
            for name, rows in parts.items()
            if not isinstance(rows, int | float)
        }
    splits, placed = _divided(large, names, target, {**parts, **given, "seed": seed, **options})
    wanted = large.budget.sample_rows(large.size.row_bytes)
    if placed.held_out > wanted:
        raise OptionError(
            f"{placed.held_out:,} validation and test rows do not fit within memory_limit={in_units(large.budget.limit)}, "
            f"which allows {wanted:,}.",
            "Give fewer of them (valid=, test=), or a larger memory_limit (--memory-limit).",
        )
    added = [_known(table, target) for table in given.values()]
    share = wanted / placed.train
    read = _read_all(large, splits, placed.places, share, seed, added)
    schema, facts = _corrected(large, read, splits.table.schema, placed.places)
    for fact in facts.values():
        fact.keep(large.budget.text_bytes, large.budget.most_values)
    numbers, sample = read.numbers, replace(read.sample, schema=schema)
    place, fold = placed.places.part[numbers], placed.places.fold
    train, valid_rows, test_rows = (
        np.flatnonzero(place == number) for number in (TRAIN, VALID, TEST)
    )
    folds = None if fold is None else fold[numbers[train]].astype(np.int64)
    for name, table in zip(given, added, strict=True):
        new = np.arange(sample.rows, sample.rows + table.rows)
        if name == "valid":
            valid_rows = np.concatenate([valid_rows, new])
        else:
            test_rows = np.concatenate([test_rows, new])
        sample = join(sample, replace(table, schema=schema))
        numbers = np.concatenate([numbers, np.arange(table.rows)])
    rows = LargeRows(
        large, placed.places, placed.known, placed.train, numbers,
        facts if share < 1 else None, read.fingerprint,
    )  # fmt: skip
    return replace(
        splits, table=sample, train=train, valid=valid_rows, test=test_rows, folds=folds, large=rows
    )


class _Placed(NamedTuple):
    """Where each row in the files belongs.

    Attributes:
        places: Of all rows.
        known: How many rows have a target.
        train: How many training rows there are.
        held_out: How many validation and test rows there are.
    """

    places: Places
    known: int
    train: int
    held_out: int


def _divided(
    large: LargeTable, names: Sequence[str], target: str, options: Mapping[str, Any]
) -> tuple[Splits, _Placed]:
    """Divide the rows by the columns that decide; the split that is returned holds no rows any more."""
    narrow = large.columns_of(names)
    splits = split(narrow, target, **options)
    if splits.fold_count > MOST_FOLDS:
        raise OptionError(f"There are {splits.fold_count} folds.", f"Give at most {MOST_FOLDS}.")
    own: Any = slice(None)  # the rows with a target
    count = narrow.rows
    if splits.dropped:
        own = np.flatnonzero(narrow.columns[target].is_valid().to_numpy())
        count = len(own)
    of_known = np.full(count, NONE, np.uint8)
    for number, rows in ((TRAIN, splits.train), (VALID, splits.valid), (TEST, splits.test)):
        of_known[rows[rows < count]] = number  # rows that were given come after those of the files
    part = np.full(narrow.rows, NONE, np.uint8)
    part[own] = of_known
    fold = weights = None
    if splits.folds is not None:
        fold_of_known = np.zeros(count, np.uint8)
        fold_of_known[splits.train] = splits.folds
        fold = np.zeros(narrow.rows, np.uint8)
        fold[own] = fold_of_known
    if (of_rows := row_weights(splits.table)) is not None:
        weights = np.zeros(narrow.rows, np.float32)
        weights[own] = of_rows[:count]
    placed = _Placed(
        Places(part, fold, weights), splits.table.rows, len(splits.train),
        len(splits.valid) + len(splits.test),
    )  # fmt: skip
    empty = np.empty(0, np.int64)
    table = replace(splits.table, columns={})
    return replace(splits, table=table, train=empty, valid=empty, test=empty, folds=None), placed


def _known(table: Table, target: str) -> Table:
    """Return the rows of a table that have a target."""
    return subset(table, np.flatnonzero(table.columns[target].is_valid().to_numpy()))


class _Read(NamedTuple):
    """What a pass over all columns finds.

    Attributes:
        sample: Some training rows, and all validation and test rows.
        numbers: Their numbers in the files.
        facts: Of all training rows, by column.
        fingerprint: Of all rows with a target, and of rows given for a part.
    """

    sample: Table
    numbers: np.ndarray
    facts: dict[str, ColumnFacts]
    fingerprint: str


class _Looked(NamedTuple):
    """What `_read_all` finds in a piece: as in `_Read`, with the hashes of the rows with a target."""

    hashes: np.ndarray
    numbers: np.ndarray
    columns: dict[str, pa.ChunkedArray]
    facts: dict[str, ColumnFacts]


def _facts_of(
    piece: Table, columns: Sequence[Column], rows: np.ndarray, texts: bool = False
) -> dict[str, ColumnFacts]:
    """Return what some rows of a piece say of some columns; all different texts are kept if `texts` is true."""
    facts = {}
    for column in columns:
        fact = ColumnFacts(keeps_texts=texts or _has_codes(column))
        fact.add(column, piece.columns[column.name], rows)
        facts[column.name] = fact
    return facts


def _read_all(
    large: LargeTable,
    splits: Splits,
    places: Places,
    share: float,
    seed: int,
    given: Sequence[Table],
) -> _Read:
    """Read every column once."""
    schema = splits.table.schema
    names = [column.name for column in schema.columns]
    described: list[Column] = []
    if share < 1 or large.sample.rows < large.rows:
        described = [column for column in schema.columns if _has_facts(column)]
    facts = {c.name: ColumnFacts(keeps_texts=_has_codes(c)) for c in described}
    target = splits.target.name
    read: dict[str, list[pa.ChunkedArray]] = {name: [] for name in names}
    numbers: list[np.ndarray] = []
    digest = hashlib.sha256()
    columns = sorted((c.name, c.kind, c.role) for c in schema.columns)
    digest.update(repr(columns).encode())

    def hashed(piece: Table) -> np.ndarray:
        hashes = replace(piece, schema=schema).row_hashes(names)
        known: np.ndarray = hashes[piece.columns[target].is_valid().to_numpy()]
        return known

    def look(own: Places, piece: Table) -> _Looked:
        train = own.train
        chosen = np.isin(own.part, (VALID, TEST))
        chosen[train[drawn(seed, own.trained, len(train), share)]] = True
        rows = np.flatnonzero(chosen)
        columns = {name: _plain(piece.columns[name]).take(pa.array(rows)) for name in names}
        return _Looked(hashed(piece), rows + own.start, columns, _facts_of(piece, described, train))

    for looked in large.each(look, names, places):
        digest.update(looked.hashes.tobytes())
        numbers.append(looked.numbers)
        for name, column in looked.columns.items():
            read[name].append(column)
        for name, fact in looked.facts.items():
            facts[name].merge(fact)
        _keep_texts(large, facts)
    for table in given:
        digest.update(hashed(table).tobytes())
    number_of = np.concatenate(numbers)
    whole = {name: join_column([_words(part_) for part_ in parts]) for name, parts in read.items()}
    sample = replace(large.sample, columns=whole, rows=len(number_of), locate=None)
    return _Read(sample, number_of, facts, digest.hexdigest())


def _keep_texts(large: LargeTable, facts: Mapping[str, ColumnFacts]) -> None:
    """Forget the rarest categories that do not fit into memory."""
    for fact in facts.values():
        fact.keep(large.budget.text_bytes)


def _plain(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without their dictionary: some rows of a piece do not need that of all its rows."""
    return data.cast(pa.string()) if pa.types.is_dictionary(data.type) else data


def _words(data: pa.ChunkedArray) -> pa.ChunkedArray:
    return data.dictionary_encode() if pa.types.is_string(data.type) else data


def _has_facts(column: Column) -> bool:
    """Tell whether a column is a feature, or may be one that looks constant, or like an identifier, in a sample."""
    return column.values != "unsupported" and column.role in ("feature", "ignored")


def _has_codes(column: Column) -> bool:
    """Tell whether a column's different values are a vocabulary."""
    return column.role == "feature" and traits_of(column.kind).encoding == "codes"


def _corrected(
    large: LargeTable, read: _Read, schema: Schema, places: Places
) -> tuple[Schema, dict[str, ColumnFacts]]:
    """Correct what the sample that decided the kinds did not show; return the facts of what is used now, too.

    A column that numbers the rows is ignored. A column that only that sample has constant is used, and so is one whose
    values are all different there, but not in the table. All rules are those of a table in memory.
    """
    facts = dict(read.facts)
    for column in schema.columns:
        fact = facts.get(column.name)
        if fact is None or column.reason.endswith("as requested"):
            continue
        if (
            column.role == "feature"
            and column.values == "integer"
            and _numbers_rows(read.sample, column, fact)
        ):
            reason = "numbers the rows consecutively: an identifier"
            schema = schema.with_column(replace(column, role="ignored", reason=reason))
        elif column.reason.startswith(CONSTANT) and column.kind != "text" and fact.varies:
            reason = f"{column.kind}; nearly every row has the same value"
            schema = schema.with_column(replace(column, role="feature", reason=reason))
        elif column.values == "string" and (
            column.kind == "text" or column.reason.startswith(IDENTIFIER)
        ):
            words = read.sample.words(column.name).dictionary.slice(0, 1000).to_pylist()
            kind, reason, role = role_of_texts(fact.rows - fact.missing, fact.distinct, words)
            schema = schema.with_column(replace(column, kind=kind, reason=reason, role=role))
    late = [
        c.name
        for c in schema.columns
        if _has_codes(c) and c.name in facts and not facts[c.name].keeps_texts
    ]
    if late:
        facts |= _vocabularies(large, schema, places, late)
    return schema, facts


def _vocabularies(
    large: LargeTable, schema: Schema, places: Places, names: Sequence[str]
) -> dict[str, ColumnFacts]:
    """Read columns once more whose different values turned out to be a vocabulary."""
    facts = {name: ColumnFacts() for name in names}
    columns = [schema[name] for name in names]

    def look(own: Places, piece: Table) -> dict[str, ColumnFacts]:
        return _facts_of(piece, columns, own.train, texts=True)

    for found in large.each(look, names, places):
        for name, fact in found.items():
            facts[name].merge(fact)
        _keep_texts(large, facts)
    return facts


def _numbers_rows(sample: Table, column: Column, fact: ColumnFacts) -> bool:
    """Tell whether whole numbers are about as many as the training rows, and all different in the sample."""
    if column.kind != "numeric" or fact.missing or sample.rows < IDENTIFIER_ROWS:
        return False
    numbers = sample.numbers(column.name)
    span = fact.high - fact.low + 1
    return fact.rows <= span <= fact.rows * NEARLY + IDENTIFIER_ROWS and len(
        np.unique(numbers)
    ) == len(numbers)
