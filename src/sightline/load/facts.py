"""What all training rows of a large table say of a column, added up piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import Column, traits_of
from sightline.load.hashes import column_hashes
from sightline.load.values import MISSING_DATE, to_flags, to_floats, to_microseconds

FEW_TEXTS = 200_000
KEPT_HASHES = 4_096


@dataclass
class ColumnFacts:
    """Facts of a column that need no more memory than its different texts.

    Attributes:
        rows: How many rows were added.
        missing: How many of them have no value.
        low, high: The smallest and largest number, or date in microseconds; NaN without values.
        mean, spread: Of numbers, the mean and the sum of squared distances from it.
        keeps_texts: Whether the different texts are kept, as the vocabulary of categories; else only their number is
            estimated.
        texts: Of categories, each text with the number of its rows; truth values are "false" and "true".
        forgotten: Whether there are rarer texts, which `keep` has left out; the numbers of rows may be too low then.

    Example:
        >>> import numpy as np, pyarrow as pa
        >>> from sightline.contracts import Column
        >>> from sightline.load.facts import ColumnFacts
        >>> column, facts = Column("x", "numeric", "feature", "", "float"), ColumnFacts()
        >>> for part in ([1.0, None], [3.0, 5.0]):
        ...     facts.add(column, pa.chunked_array([part]), np.arange(2))
        >>> facts.missing, facts.low, facts.high, facts.mean, round(facts.deviation, 3)
        (1, 1.0, 5.0, 3.0, 1.633)
    """

    keeps_texts: bool = True
    rows: int = 0
    missing: int = 0
    low: float = math.nan
    high: float = math.nan
    mean: float = 0.0
    spread: float = 0.0
    texts: pa.Table | None = None
    forgotten: bool = False
    _given: int = 0
    _hashes: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    _waiting: list[pa.Table] = field(default_factory=list)

    def add(self, column: Column, data: pa.ChunkedArray, rows: np.ndarray) -> None:
        """Add some rows of a piece.

        Args:
            column: The column's description.
            data: Its typed values in the piece, as `Table.columns` holds them.
            rows: Which rows of the piece to add, int64.
        """
        self.rows += len(rows)
        match traits_of(column.kind).storage:
            case "numbers":
                values = to_floats(data)[rows]
                given = values[~np.isnan(values)]
                self._add_range(given)
                self._add_moments(given)
                self.missing += len(rows) - len(given)
            case "moments":
                moments = to_microseconds(data)[rows]
                known = moments[moments != MISSING_DATE]
                self._add_range(known)
                self.missing += len(rows) - len(known)
            case "flags":
                flags = to_flags(data)[rows]
                counts = np.bincount(flags + 1, minlength=3)
                self.missing += int(counts[0])
                self._add_texts(pa.array(["false", "true"]), counts[1:])
            case "words":
                words = data.chunk(0)
                codes = words.indices.take(pa.array(rows))
                self.missing += codes.null_count
                if self.keeps_texts:
                    known = codes.drop_null().to_numpy()
                    self._add_texts(
                        words.dictionary, np.bincount(known, minlength=len(words.dictionary))
                    )
                else:
                    valid = codes.is_valid().to_numpy(zero_copy_only=False)
                    self._add_hashes(column_hashes(column, data)[rows[valid]])

    def merge(self, other: ColumnFacts) -> None:
        """Add the facts of the rows that follow."""
        self.rows += other.rows
        self.missing += other.missing
        self.low, self.high = (
            float(np.fmin(self.low, other.low)),
            float(np.fmax(self.high, other.high)),
        )
        self._merge_moments(other._given, other.mean, other.spread)
        self._add_hashes(other._hashes)
        for part in other._tables:
            self._add_table(part)
        self.forgotten = self.forgotten or other.forgotten

    def keep(self, most_bytes: float, most: int | None = None) -> None:
        """Forget the rarest texts where there is no memory for all.

        A text may come again after it was forgotten, and counts from there on (lossy counting, Manku and Motwani 2002).

        Args:
            most_bytes: If the texts need more, those are kept that need half of it.
            most: How many texts are kept at most.
        """
        if most is not None or self.text_bytes > most_bytes:
            self._merge_texts()
        rows = known = 0 if self.texts is None else self.texts.num_rows
        if self.text_bytes > most_bytes:
            rows = int(known * most_bytes / 2 / self.text_bytes)
        rows = rows if most is None else min(rows, most)
        if self.texts is not None and rows < known:
            best = [("n", "descending"), ("text", "ascending")]
            self.texts = self.texts.take(pc.sort_indices(self.texts, best).slice(0, rows))
            self.forgotten = True

    @property
    def deviation(self) -> float:
        """The standard deviation of the numbers; 0 without values."""
        given = self.rows - self.missing
        return math.sqrt(self.spread / given) if given else 0.0

    @property
    def text_bytes(self) -> int:
        """The size of the texts that are kept."""
        return sum(part.nbytes for part in self._tables)

    @property
    def distinct(self) -> int:
        """How many different texts there are; where they are not kept, from 4,096 hashes on an estimate, off by some 2 %.

        The estimate is that of the k smallest hashes (Bar-Yossef et al. 2002).
        """
        if self.keeps_texts:
            return int(self.counted().num_rows)
        if len(self._hashes) < KEPT_HASHES:
            return len(self._hashes)
        share = float(self._hashes[-1]) / 2**64
        return min(round((KEPT_HASHES - 1) / share), self.rows - self.missing)

    @property
    def varies(self) -> bool:
        """Whether the rows have at least two different values; missing is one."""
        values = self.distinct
        if not math.isnan(self.low):
            values = 1 if self.low == self.high else 2
        return bool(values + bool(self.missing) > 1)

    def counted(self) -> pa.Table:
        """Return each text with the number of its rows, columns "text" and "n", the most frequent first."""
        self._merge_texts()
        if self.texts is None:
            return pa.table({"text": pa.array([], pa.string()), "n": pa.array([], pa.int64())})
        return self.texts.sort_by([("n", "descending"), ("text", "ascending")])

    # ------------------------------------------------------------- helpers

    def _add_range(self, given: np.ndarray) -> None:
        if len(given):
            self.low = float(np.fmin(self.low, float(given.min())))
            self.high = float(np.fmax(self.high, float(given.max())))

    def _add_moments(self, given: np.ndarray) -> None:
        if len(given):
            mean = float(given.mean())
            self._merge_moments(len(given), mean, float(np.square(given - mean).sum()))

    def _merge_moments(self, given: int, mean: float, spread: float) -> None:
        """Combine means and squared distances (Chan, Golub and LeVeque 1979)."""
        if not given:
            return
        before = self._given
        if not before:
            self.mean, self.spread, self._given = mean, spread, given
            return
        count = before + given
        difference = mean - self.mean
        self.spread += spread + difference**2 * before * given / count
        self.mean += difference * given / count
        self._given = count

    def _add_hashes(self, hashes: np.ndarray) -> None:
        if len(hashes):
            self._hashes = np.unique(np.concatenate([self._hashes, hashes]))[:KEPT_HASHES]

    def _add_texts(self, texts: pa.Array, counts: np.ndarray) -> None:
        seen = np.flatnonzero(counts)
        if not len(seen):
            return
        found = {
            "text": texts.take(pa.array(seen)).cast(pa.string()),
            "n": pa.array(counts[seen], pa.int64()),
        }
        self._add_table(pa.table(found))

    def _add_table(self, found: pa.Table) -> None:
        self._waiting.append(found)
        known = 0 if self.texts is None else self.texts.num_rows
        if sum(part.num_rows for part in self._waiting) > max(FEW_TEXTS, 2 * known):
            self._merge_texts()

    @property
    def _tables(self) -> list[pa.Table]:
        return [*([] if self.texts is None else [self.texts]), *self._waiting]

    def _merge_texts(self) -> None:
        if self._waiting:
            grouped = pa.concat_tables(self._tables).group_by("text").aggregate([("n", "sum")])
            self.texts = grouped.rename_columns({"text": "text", "n_sum": "n"})
            self._waiting.clear()
