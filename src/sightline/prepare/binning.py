"""Bin edges of numeric features, for networks that bin numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from sightline.contracts import NumericFeature

BINS = 16
MOST_DISCRETE_VALUES = 255
ROWS_PER_VALUE = 100
"""A number is discrete if it has at most `MOST_DISCRETE_VALUES` distinct values and this many rows for each;
chosen by measurement (docs/decisions.md)."""
EDGE_ROWS = 20_000
"""Edges are computed from about this many evenly spaced training rows."""


def with_edges(
    features: list[NumericFeature], values_ND: torch.Tensor, numbers: int
) -> Iterator[NumericFeature]:
    """Add bin edges to numeric features.

    Args:
        features: The D numeric features, missing-value flags last.
        values_ND: Their training values.
        numbers: How many of the features are numbers; the flags after them get no edges.
    """
    sample_ND = values_ND[:: -(-len(values_ND) // EDGE_ROWS)]
    most = min(max(len(values_ND) // ROWS_PER_VALUE, BINS), MOST_DISCRETE_VALUES)
    for index, feature in enumerate(features):
        if index >= numbers:
            yield feature
        else:
            values = sample_ND[:, index].numpy()
            discrete = 1 < len(np.unique(values)) <= most
            edges = bin_edges(values, most if discrete else BINS)
            yield replace(feature, edges=tuple(float(x) for x in edges), discrete=discrete)


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Cut values into bins with about equally many rows; equal values stay together.

    A value that is as frequent as a whole bin gets a bin of its own, as in LightGBM (Ke et al.
    2017); the other values share the remaining bins.

    Args:
        values: [N], without NaN.
        bins: The number of bins; frequent values can increase it, at most to twice as many.

    Returns:
        Increasing float32 edges, one more than there are bins: the smallest value, the midpoints
        between neighbouring bins, the largest value; a single edge if all values are equal.

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.binning import bin_edges
        >>> bin_edges(np.array([0.0] * 90 + [1, 2, 3, 4]), bins=3).tolist()
        [0.0, 0.5, 2.5, 4.0]
    """
    distinct, counts = np.unique(values.astype(np.float32), return_counts=True)
    if len(distinct) == 1:
        return distinct
    between = (distinct[1:].astype(np.float64) + distinct[:-1]) / 2
    if len(distinct) > bins:
        frequent = counts >= len(values) / bins
        rows, left = int(counts[~frequent].sum()), max(bins - int(frequent.sum()), 1)
        size = max(rows / left, 1.0)
        cuts, filled = [], 0
        for index in range(len(distinct) - 1):
            filled += int(counts[index])
            if frequent[index] or frequent[index + 1] or filled >= size:
                cuts.append(index)
                if not frequent[index]:
                    rows, left = rows - filled, max(left - 1, 1)
                    size = max(rows / left, 1.0)
                filled = 0
        between = between[cuts]
    edges = np.concatenate([distinct[:1], between, distinct[-1:]]).astype(np.float32)
    return np.unique(edges)
