"""How the columns of the training rows, and the predictions of held-out rows, are distributed: kept with a model.

New rows are compared with it (`sightline check`). Letters: B bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from sightline.contracts import Target
from sightline.prepare.encode import FIRST_KNOWN, MISSING, Encoded, Encoder

QUANTILES = 20
"""Bins of a column of many numbers, each with about as many training rows."""
FEW_VALUES = 20
"""Numbers with at most this many distinct values have a bin for each."""
MOST_CATEGORIES = 50
"""Categories with bins of their own."""
LEAST_ROWS = 20
"""Of a value or a category with a bin of its own. The others share one with what was never seen: whether a rare value is
seen at all is chance."""


@dataclass(frozen=True)
class Distribution:
    """Counts of values in bins. The last bin is that of missing values.

    Attributes:
        how: "values": a bin for each of some numbers, and one for all others; "ranges": bins between edges, the outer
            ones open; "codes": a bin for each of some codes, and one for all others.
        bins: The numbers, the edges, or the codes, in increasing order.
        counts: Rows in each bin, [B].
    """

    how: Literal["values", "ranges", "codes"]
    bins: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of_numbers(cls, values: np.ndarray) -> Self:
        """Choose bins for numbers, NaN where missing, and count them.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.reference import Distribution
            >>> Distribution.of_numbers(np.array([1.0] * 30 + [2.0] * 25 + [3.0, np.nan]))
            Distribution(how='values', bins=(1.0, 2.0), counts=(30, 25, 1, 1))
        """
        known = values[~np.isnan(values)]
        distinct, times = np.unique(known, return_counts=True)
        if len(distinct) <= FEW_VALUES:
            return cls("values", tuple(distinct[times >= LEAST_ROWS].tolist()), ()).counted(values)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, QUANTILES + 1), method="nearest"))
        return cls("ranges", tuple(edges.tolist()), ()).counted(values)

    @classmethod
    def of_codes(cls, codes: np.ndarray) -> Self:
        """Choose bins for codes of categories, and count them."""
        known, times = np.unique(codes[codes >= FIRST_KNOWN], return_counts=True)
        chosen = np.argsort(-times, kind="stable")[:MOST_CATEGORIES]
        frequent = np.sort(known[chosen[times[chosen] >= LEAST_ROWS]])
        return cls("codes", tuple(frequent.astype(float).tolist()), ()).counted(codes)

    def counted(self, values: np.ndarray) -> Self:
        """Count other values in the same bins.

        Args:
            values: Numbers, NaN where missing; or codes.
        """
        bins = np.array(self.bins)
        missing = values == MISSING if self.how == "codes" else np.isnan(values)
        given = values[~missing]
        if self.how == "ranges":  # the upper edge belongs to the bin
            size = max(len(bins) - 1, 1)
            place = (np.searchsorted(bins, given, side="left") - 1).clip(0, size - 1)
        else:
            size = len(bins) + 1
            place = np.searchsorted(bins, given)
            listed = place < len(bins)
            listed[listed] = bins[place[listed]] == given[listed]
            place[~listed] = len(bins)
        counts = np.bincount(place, minlength=size).tolist()
        return type(self)(self.how, self.bins, (*counts, int(missing.sum())))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return {"how": self.how, "bins": list(self.bins), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(data["how"], tuple(data["bins"]), tuple(data["counts"]))


@dataclass(frozen=True)
class Reference:
    """What new rows are compared with.

    Attributes:
        columns: Of the training rows, by column.
        predictions: Of rows that the model did not learn from, by what is predicted: the class and a probability, or
            the number. Empty where there were no such rows.
        source: Which rows the predictions are of, in words.
    """

    columns: Mapping[str, Distribution]
    predictions: Mapping[str, Distribution]
    source: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return {
            "columns": {name: one.to_json() for name, one in self.columns.items()},
            "predictions": {name: one.to_json() for name, one in self.predictions.items()},
            "source": self.source,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        columns = {name: Distribution.from_json(one) for name, one in data["columns"].items()}
        predictions = {
            name: Distribution.from_json(one) for name, one in data["predictions"].items()
        }
        return cls(columns, predictions, data["source"])


def column_values(encoder: Encoder, encoded: Encoded) -> dict[str, np.ndarray]:
    """Return one array of values for each column: numbers, days since the first date, codes, or counts of n-grams.

    Args:
        encoder: Of the model.
        encoded: Rows that it has encoded.
    """
    found: dict[str, np.ndarray] = {}
    codes = dict(zip(encoder.codes, encoded.categorical.T, strict=True))
    for encoding, span in zip(encoder.encodings, encoder.spans, strict=True):
        name = encoding.column
        if encoding.how == "codes":
            found[name] = codes[name]
        elif span.stop > span.start:
            block = encoded.numeric[:, span]
            found[name] = block.sum(axis=1) if encoding.how == "words" else block[:, 0]
    return found


def predicted_values(target: Target, values: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    """Return what is compared of predictions: the number; or the class, and the probability that decides.

    Args:
        target: Of the model.
        values: Probabilities [N, K] or numbers [N, 1] of rows that have a prediction.
        chosen: Class numbers [N]; ignored for numbers.
    """
    if target.task == "regression":
        return {"predicted number": values[:, 0].astype(np.float64)}
    decided = values.max(axis=1)
    name = "largest probability"
    if target.positive is not None:
        name = f"probability of {target.texts[target.classes.index(target.positive)]}"
        decided = values[:, target.classes.index(target.positive)]
    return {"predicted class": chosen + FIRST_KNOWN, name: decided.astype(np.float64)}
