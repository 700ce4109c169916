"""Predicts single rows fast: dicts in, values out, without a table. Letters: B rows, K outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sightline.load.table import Table
from sightline.predict.rows import RowEncoder
from sightline.prepare.encode import Encoder

Engine = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From encoded numbers [B, A] and codes [B, C] to probabilities [B, K] or numbers [B, 1]."""
Row = Mapping[str, Any]


class RowPredictor:
    """Made by `Model.predictor`. Threads may share one.

    Args:
        encoder: The fitted encoder.
        read: Reads a dict of one row as a table, as `Model.read` does.
        engine: Computes the values of encoded rows.
        decode: From values to labels or numbers.
        outputs: K; 1 for regression.

    Attributes:
        encode: From a dict to the encoder's numbers and codes; None where a row cannot be predicted.
    """

    def __init__(
        self, encoder: Encoder, read: Callable[[Any], Table], engine: Engine,
        decode: Callable[[np.ndarray], np.ndarray], outputs: int,
    ) -> None:  # fmt: skip
        self.encode = RowEncoder(encoder, read)
        self._engine, self._decode = engine, decode
        self._widths = len(encoder.numbers), len(encoder.codes)
        self._outputs = outputs

    def values(self, rows: Row | Sequence[Row]) -> np.ndarray:
        """Return probabilities [B, K], or numbers [B, 1]; NaN for a row that cannot be read.

        Args:
            rows: A dict with a value per column, or a list of such dicts.

        Raises:
            DataError: A column that the model needs is missing.
        """
        given = [rows] if isinstance(rows, Mapping) else rows
        encoded = [self.encode(row) for row in given]
        good = [row for row in encoded if row is not None]
        numbers = np.array([row[0] for row in good], np.float64).reshape(len(good), self._widths[0])
        codes = np.array([row[1] for row in good], np.int32).reshape(len(good), self._widths[1])
        values = self._engine(numbers, codes)
        if len(good) == len(encoded):
            return values
        whole = np.full((len(encoded), self._outputs), np.nan, values.dtype)
        whole[[index for index, row in enumerate(encoded) if row is not None]] = values
        return whole

    def predict_proba(self, rows: Row | Sequence[Row]) -> np.ndarray:
        """Return each class's probability, [B, K]; of a regression the numbers, [B, 1]. See `values`."""
        return self.values(rows)

    def predict(self, rows: Row | Sequence[Row]) -> np.ndarray:
        """Return a label or number for each row, as `Model.predict`: None where a row cannot be read."""
        values = self.values(rows)
        bad = np.isnan(values).any(axis=1)
        if not bad.any():
            return self._decode(values)
        labels = self._decode(np.nan_to_num(values)).astype(object)
        labels[bad] = None
        return labels
