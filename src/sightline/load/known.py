"""Rows that an earlier model has seen: recognised by keyed hashes, so that they keep their fold or part.

A warm start begins with weights that have learned from the earlier training rows. A row that moved from training to
test, or to another fold, would then be predicted by a network that knows its answer.

Letters: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

from sightline.contracts import Target, traits_of
from sightline.load.hashes import column_hashes, mix, row_hashes
from sightline.load.table import Table
from sightline.load.target import target_values
from sightline.load.values import Spellings, from_floats

TRAINING, VALIDATION, CALIBRATION, TEST, NEW = -1, -2, -3, -4, -5
"""Places of rows. Training rows with folds have the number of their fold, from 0, in place of -1. Of validation rows,
some are for early stopping and some for calibration."""
FEATURES = np.uint64(0xFFFFFFFF00000000)
"""The bits of a key that depend on the features alone; the others depend on the target too."""


def _none(kind: type) -> np.ndarray:
    return np.empty(0, kind)


@dataclass(frozen=True)
class KnownRows:
    """Keys of rows and of groups, and where each was.

    Attributes:
        salt: What the hashes are keyed with.
        keys, places: uint64 and int16 [N], of each row: the upper half of a key hashes its features, the lower half
            the target too.
        group_keys, group_places: The same of each group, where the rows were split by groups.

    Example:
        >>> import numpy as np
        >>> from sightline.load.known import NEW, TEST, KnownRows
        >>> rows = KnownRows(0, np.array([5 << 32, 6 << 32], np.uint64), np.array([0, TEST], np.int16))
        >>> rows.places_of(np.array([6 << 32, 7 << 32, 5 << 32], np.uint64)).tolist() == [TEST, NEW, 0]
        True
    """

    salt: int
    keys: np.ndarray
    places: np.ndarray
    group_keys: np.ndarray = field(default_factory=lambda: _none(np.uint64))
    group_places: np.ndarray = field(default_factory=lambda: _none(np.int16))

    def places_of(self, keys: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """Return the place of each row, int16 [N]: `NEW` of those that are not known.

        A row that has a group has the place of its group, and is new where that is. Another row is known by its features
        and its target; then by its features alone, since a target may have been corrected. Of equal rows, as many are
        known as there were; more copies of a training row are training rows too.

        Args:
            keys: uint64 [N], the keys of the rows.
            groups: uint64 [N], the keys of their groups; 0 where there is none.
        """
        places = np.full(len(keys), NEW, np.int16)
        alone = np.ones(len(keys), bool)
        if groups is not None:
            alone = groups == 0
            order = np.argsort(self.group_keys)
            found = np.isin(groups, self.group_keys) & ~alone
            at = np.searchsorted(self.group_keys[order], groups[found])
            places[found] = self.group_places[order[at]]
        free = np.ones(len(self.keys), bool)
        for mask in (~np.uint64(0), FEATURES):
            rows = np.flatnonzero((places == NEW) & alone)
            entries = np.flatnonzero(free)
            paired = _paired(keys[rows] & mask, self.keys[entries] & mask, self.places[entries])
            known = paired >= 0
            places[rows[known]] = self.places[entries[paired[known]]]
            free[entries[paired[known]]] = False
        copies = np.flatnonzero((places == NEW) & alone)
        learned = self.places >= TRAINING
        places[copies] = _dealt(keys[copies], self.keys[learned], self.places[learned])
        return places

    def and_before(self, earlier: Self) -> Self:
        """Return these rows and those of an earlier model that are not among them: weights may have learned from them."""
        paired = _paired(self.keys, earlier.keys, earlier.places)
        gone = np.ones(len(earlier.keys), bool)
        gone[paired[paired >= 0]] = False
        gone_groups = ~np.isin(earlier.group_keys, self.group_keys)
        return type(self)(
            self.salt,
            np.concatenate([self.keys, earlier.keys[gone]]),
            np.concatenate([self.places, earlier.places[gone]]),
            np.concatenate([self.group_keys, earlier.group_keys[gone_groups]]),
            np.concatenate([self.group_places, earlier.group_places[gone_groups]]),
        )


def _dealt(keys: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return for each key a place that an equal known one has, one after the other; `NEW` where there is none."""
    order = np.argsort(known, kind="stable")
    first = np.searchsorted(known[order], keys, "left")
    count = np.searchsorted(known[order], keys, "right") - first
    dealt = np.full(len(keys), NEW, np.int16)
    has = count > 0
    turn = _occurrences(keys)[has] % count[has]
    dealt[has] = places[order[first[has] + turn]]
    return dealt


def _occurrences(keys: np.ndarray) -> np.ndarray:
    """Return for each key how many equal ones stand above it."""
    by_key = np.argsort(keys, kind="stable")
    sorted_keys = keys[by_key]
    above = np.empty(len(keys), np.int64)
    above[by_key] = np.arange(len(keys)) - np.searchsorted(sorted_keys, sorted_keys, "left")
    return above


def _paired(keys: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return for each key the index of the known one it is paired with, each used once; -1 where there is none left.

    Of equal known keys, those of training rows are used first: what weights have learned must be found again.
    """
    order = np.lexsort((places < TRAINING, known))
    sorted_known = known[order]
    first = np.searchsorted(sorted_known, keys, "left")
    end = np.searchsorted(sorted_known, keys, "right")
    at = first + _occurrences(keys)
    found = np.full(len(keys), -1)
    known_at = at < end
    found[known_at] = order[at[known_at]]
    return found


@dataclass(frozen=True)
class Earlier:
    """What the split of a warm start needs of the earlier model.

    Attributes:
        target: Its target.
        columns: The columns that it encodes.
        vocabularies: The known values of its categorical columns.
        rows: The rows that it has seen.
        folds: How many folds it had; 0 if it had none.
    """

    target: Target
    columns: tuple[str, ...]
    vocabularies: Mapping[str, tuple[str, ...]]
    rows: KnownRows
    folds: int

    def places(self, table: Table) -> np.ndarray:
        """Return the place of each row of a table, int16 [N]."""
        return self.rows.places_of(self._keys(table), group_keys(table, self.rows.salt))

    def learned(self, table: Table) -> np.ndarray:
        """Return which rows of a table are equal to a row that the model has learned from, bool [N]."""
        return np.isin(self._keys(table), self.rows.keys[self.rows.places >= TRAINING])

    def _keys(self, table: Table) -> np.ndarray:
        return row_keys(table, self.columns, self.vocabularies, self.target, self.rows.salt)


def row_keys(
    table: Table,
    columns: tuple[str, ...],
    vocabularies: Mapping[str, tuple[str, ...]],
    target: Target,
    salt: int,
) -> np.ndarray:
    """Hash each row: uint64 [N].

    Args:
        table: The table.
        columns: The features.
        vocabularies: The known values of categorical columns. A value that is spelled in another way, such as 3.0 for
            3, has the hash of the known one.
        target: The target; its class or number is in the lower half.
        salt: What the hashes are keyed with.
    """
    named = []
    for name in columns:
        column, data = table.schema[name], table.columns[name]
        storage = traits_of(column.kind).storage
        if name in vocabularies and storage == "words":
            data = _respelled(table.words(name), vocabularies[name])
        elif storage == "numbers":
            data = from_floats(_rounded(table.numbers(name)))
        named.append((column, data))
    key = np.uint64(salt)
    features = mix(row_hashes(named, table.rows, table.schema.rules) ^ key)
    values = target_values(table, target)
    bits = (_rounded(values) + 0.0).view(np.uint64)
    with_target = mix(mix(bits + key) ^ features)
    keys: np.ndarray = (features & FEATURES) | (with_target >> np.uint64(32))
    return keys


def group_keys(table: Table, salt: int) -> np.ndarray | None:
    """Hash each row's group: uint64 [N], 0 where it has none; None of a table without a group column."""
    column = next((c for c in table.schema.columns if c.role == "group"), None)
    if column is None:
        return None
    data = table.columns[column.name]
    keys = mix(column_hashes(column, data, table.schema.rules) ^ np.uint64(salt))
    keys[~data.is_valid().to_numpy()] = 0
    return keys


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round numbers to float32: a file of float32 has the rows of a text file."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def _respelled(words: pa.DictionaryArray, vocabulary: tuple[str, ...]) -> pa.ChunkedArray:
    """Write each word as the vocabulary does; words that it lacks stay as they are."""
    known = Spellings(vocabulary)
    texts = [known.find(text) or text for text in words.dictionary.to_pylist()]
    respelled = pa.DictionaryArray.from_arrays(words.indices, pa.array(texts, pa.string()))
    return pa.chunked_array([respelled])
