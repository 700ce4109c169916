"""Which encoded values are missing, were never seen in training, or lie outside its range.

Letters: B rows, A numbers, C codes, E columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sightline.prepare.encode import DAY, MISSING, UNSEEN, Encoder


class Marks(NamedTuple):
    """Bool arrays [B, E], a column for each of `Finder.columns`."""

    missing: np.ndarray
    unseen: np.ndarray
    out_of_range: np.ndarray


class Finder:
    """Marks unusual values of encoded rows, as an encoder counts them while it encodes a table.

    A text column of which no n-gram is known is left out: nothing of it is encoded.

    Attributes:
        columns: The E columns.

    Example:
        >>> import sightline as sl
        >>> from sightline.prepare.unusual import Finder
        >>> table = sl.read("examples/penguins.csv")
        >>> encoder = sl.prepare(sl.split(table, target="species")).encoder
        >>> encoded = encoder.open(table)(slice(3, 4))
        >>> finder = Finder(encoder)
        >>> finder.counts(finder.marks(encoded.numeric, encoded.categorical), slice(None))[0]["sex"]
        1
    """

    def __init__(self, encoder: Encoder) -> None:
        ranges = encoder.schema.ranges
        numbers, places, low, high = [], [], [], []
        for encoding, span in zip(encoder.encodings, encoder.spans, strict=True):
            if span.stop == span.start:
                continue
            numbers.append(encoding.column)
            places.append(span.start)
            first, last = ranges.get(encoding.column, (-np.inf, np.inf))
            if encoding.how == "date":  # its first number counts days
                first, last = 0.0, (int(last) - int(first)) / DAY
            elif encoding.how == "words":
                first, last = -np.inf, np.inf
            low.append(first)
            high.append(last)
        self.columns = (*numbers, *encoder.codes)
        self._places = np.array(places, np.intp)
        self._low, self._high = np.array(low, np.float64), np.array(high, np.float64)
        self._numbers = len(numbers)

    def marks(self, numbers_BA: np.ndarray, codes_BC: np.ndarray) -> Marks:
        """Mark the unusual values of rows that are encoded as numbers (NaN where missing) and codes."""
        first = numbers_BA[:, self._places]
        missing, unseen, outside = np.zeros((3, len(first), len(self.columns)), bool)
        missing[:, : self._numbers] = np.isnan(first)
        outside[:, : self._numbers] = (first < self._low) | (first > self._high)
        missing[:, self._numbers :] = codes_BC == MISSING
        unseen[:, self._numbers :] = codes_BC == UNSEEN
        return Marks(missing, unseen, outside)

    def counts(self, marks: Marks, rows: slice) -> tuple[dict[str, int], ...]:
        """Return how many of some rows are missing, unseen and out of range, by column; without zeros."""
        return tuple(self._by_column(mark[rows]) for mark in marks)

    def _by_column(self, mark: np.ndarray) -> dict[str, int]:
        if not mark.any():
            return {}
        found = mark.sum(axis=0)
        return {self.columns[place]: int(found[place]) for place in np.flatnonzero(found).tolist()}
