"""What models that compare rows have in common: numbers in standard deviations from their mean, and relative weights.

Letters: N rows, D numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

FARTHEST = 5.0
"""Numbers count as at most so many standard deviations from their mean."""
LEAST_SCALE = 0.05
"""The least standard deviation of a number: of one that hardly varies, differences say little."""


class Scales(NamedTuple):
    """The mean and the standard deviation of each number: [D], float64."""

    center: Tensor
    scale: Tensor


def scales_of(numeric_ND: Tensor) -> Scales:
    """Return the mean and the standard deviation of each number over some rows; 0 and 1 without rows.

    Every row counts alike, whatever its weight: weights may come from the classes, and so from the targets of rows that
    are held out.

    Example:
        >>> import torch
        >>> from sightline.build.standard import scales_of
        >>> center, scale = scales_of(torch.tensor([[1.0], [3.0]]))
        >>> float(center), float(scale)
        (2.0, 1.0)
    """
    rows, width = numeric_ND.shape
    if not rows:
        return Scales(
            torch.zeros(width, dtype=torch.float64), torch.ones(width, dtype=torch.float64)
        )
    center, scale = torch.empty(2, width, dtype=torch.float64)
    for column in range(width):  # one after another: float64 copies of all would take much memory
        values = numeric_ND[:, column].double()
        center[column] = values.mean()
        scale[column] = (values - center[column]).square().mean().sqrt()
    return Scales(center, scale.clamp(min=LEAST_SCALE))


def standardised(numeric_BD: Tensor, center: Tensor, scale: Tensor) -> Tensor:
    """Return numbers in standard deviations from their mean, at most `FARTHEST`, in the type of the scales."""
    return ((numeric_BD.to(scale.dtype) - center) / scale).clamp_(-FARTHEST, FARTHEST)


def relative_weights(weight_N: np.ndarray | None, rows: int) -> np.ndarray:
    """Return rows' weights so that the mean of those above 0 is 1, float64 [N]; 1 without weights, 0 if all are 0.

    Example:
        >>> import numpy as np
        >>> from sightline.build.standard import relative_weights
        >>> relative_weights(np.array([0, 2, 6]), 3).tolist(), relative_weights(None, 2).tolist()
        ([0.0, 0.5, 1.5], [1.0, 1.0])
    """
    weight = np.ones(rows) if weight_N is None else weight_N.astype(np.float64)
    if weight.any():
        weight = weight / weight.max()  # a sum of large weights may overflow
        weight /= weight[weight > 0].mean()
    return weight
