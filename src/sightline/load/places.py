"""Where each row of a table larger than memory belongs: its part, its fold and its weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTS = ("train", "valid", "test", "none")
"""By the numbers in `Places.part`; "none" are rows without a target, or of weight 0."""
TRAIN, VALID, TEST, NONE = range(len(PARTS))


@dataclass(frozen=True)
class Places:
    """Where some rows belong that follow each other in the files.

    Attributes:
        part: uint8 [rows], where each row belongs: one of `PARTS`.
        fold: uint8 [rows], the fold that holds out each training row; None without folds.
        weights: float32 [rows], each row's weight in the loss; None without a weight column.
        start: The number of the first row in the files.
        trained: How many training rows come before.

    Example:
        >>> import numpy as np
        >>> from sightline.load.places import TEST, TRAIN, Places
        >>> places = Places(np.array([TRAIN, TEST, TRAIN, TRAIN], np.uint8))
        >>> last = places.cut(2, 2, trained=1)
        >>> last.train.tolist(), last.start, last.trained
        ([0, 1], 2, 1)
    """

    part: np.ndarray
    fold: np.ndarray | None = None
    weights: np.ndarray | None = None
    start: int = 0
    trained: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.part)

    @property
    def train(self) -> np.ndarray:
        """Which rows are training rows, int64, counted from the first one here."""
        return np.flatnonzero(self.part == TRAIN)

    def cut(self, first: int, rows: int, trained: int) -> Places:
        """Return the places of some of the rows.

        Args:
            first: The first one, counted from the first one here.
            rows: How many.
            trained: How many of the rows before it, from the first one here on, are training rows.
        """
        some = slice(first, first + rows)
        return Places(
            self.part[some], None if self.fold is None else self.fold[some],
            None if self.weights is None else self.weights[some], self.start + first, self.trained + trained,
        )  # fmt: skip
