"""What all training rows of a large table say of a column, added up piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

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
        self._merge()
        if self.texts is None:
            return pa.table({"text": pa.array([], pa.string()), "n": pa.array([], pa.int64())})
        return self.texts.sort_by([("n", "descending"), ("text", "ascending")])

    # ------------------------------------------------------------- helpers

    def _add_range(self, given: np.ndarray) -> None:
        if len(given):
            self.low = float(np.fmin(self.low, float(given.min())))
            self.high = float(np.fmax(self.high, float(given.max())))

    def _add_moments(self, given: np.ndarray) -> None:
        """Combine means and squared distances (Chan, Golub and LeVeque 1979)."""
        if not len(given):
            return
        before = self._given
        count = before + len(given)
        mean = float(given.mean())
        difference = mean - self.mean
        self.spread += (
            float(np.square(given - mean).sum()) + difference**2 * before * len(given) / count
        )
        self.mean += difference * len(given) / count
        self._given = count

    def _add_hashes(self, hashes: np.ndarray) -> None:
        self._hashes = np.unique(np.concatenate([self._hashes, hashes]))[:KEPT_HASHES]

    def _add_texts(self, texts: pa.Array, counts: np.ndarray) -> None:
        seen = np.flatnonzero(counts)
        if not len(seen):
            return
        found = {
            "text": texts.take(pa.array(seen)).cast(pa.string()),
            "n": pa.array(counts[seen], pa.int64()),
        }
        self._waiting.append(pa.table(found))
        known = 0 if self.texts is None else self.texts.num_rows
        if sum(part.num_rows for part in self._waiting) > max(FEW_TEXTS, 2 * known):
            self._merge()

    @property
    def _tables(self) -> list[pa.Table]:
        return [*([] if self.texts is None else [self.texts]), *self._waiting]

    def _merge(self) -> None:
        if self._waiting:
            grouped = pa.concat_tables(self._tables).group_by("text").aggregate([("n", "sum")])
            self.texts = grouped.rename_columns({"text": "text", "n_sum": "n"})
            self._waiting.clear()
