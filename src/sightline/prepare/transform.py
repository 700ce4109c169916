"""The transform: encoded numbers become scaled features. An `nn.Module`, so that it is saved with the network.

float64 in, float32 out; no shape depends on the data.
Letters: N rows, A numbers from the encoder, F missing-value flags, D = A + F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sightline.contracts import Scaling

QUANTILES = 256
STEEPEST = 1e300
"""The largest slope between two knots: between neighbouring float64 values it would be infinite."""
QUANTILE_ROWS = 100_000
"""Quantiles of more training rows than this are estimated from a random sample of this size."""
LARGEST = 1e100
"""Training values are clipped to this size, because the squares of larger ones would overflow."""
SMALLEST = 1e-300
"""A column whose spread is below this counts as constant."""
FARTHEST = 1e6
"""Scaled numbers are clipped to this distance from 0, because layers compute in float32."""


@dataclass(frozen=True)
class Statistics:
    """The scaling statistics of one column of numbers.

    Attributes:
        center, scale: What is subtracted, and what the result is divided by.
        fill: The value that replaces missing ones.
        knots, scores: For "quantile", increasing float64 values and the normal scores they map to.
    """

    center: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    knots: np.ndarray | None = None
    scores: np.ndarray | None = None

    @classmethod
    def of(cls, values: np.ndarray, scaling: Scaling) -> Self:
        """Compute the statistics of training values, NaN where missing.

        Example:
            >>> import numpy as np
            >>> from sightline.prepare.transform import Statistics
            >>> Statistics.of(np.array([1.0, 3.0, np.nan]), "standard").center
            2.0
        """
        given = values[~np.isnan(values)]
        if not len(given):
            return cls()  # all missing in the training rows: the column stays 0, its flag 1
        if scaling == "quantile":
            given = _sample(given)
        given = given.clip(-LARGEST, LARGEST)
        if scaling == "standard":
            return cls.standard(float(given.mean()), float(given.std()))
        fill = float(np.median(given))
        if scaling == "none":
            return cls(0.0, 1.0, fill)
        if scaling == "minmax":
            center = float(given.min())
            scale = float(given.max()) - center
        elif scaling == "robust":
            low, center, high = (float(q) for q in np.quantile(given, (0.25, 0.5, 0.75)))
            # If most values are equal, the quartiles are too: half the range is used instead.
            scale = high - low or float(given.max() - given.min()) / 2
        else:
            return cls(0.0, 1.0, fill, *_knots(given))
        return cls(center, scale if scale >= SMALLEST else 1.0, fill)

    @classmethod
    def standard(cls, mean: float, deviation: float) -> Self:
        """Make the statistics of the scaling "standard"."""
        return cls(mean, deviation if deviation >= SMALLEST else 1.0, mean)


def _sample(given: np.ndarray) -> np.ndarray:
    """Draw values at random, always the same ones, and add the smallest and the largest."""
    if len(given) <= QUANTILE_ROWS:
        return given
    rows = np.random.default_rng(0).integers(0, len(given), QUANTILE_ROWS)
    return np.append(given[rows], (given.min(), given.max()))


def _knots(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct quantiles, and the normal score of each one's mean rank."""
    ranks = np.linspace(0, 1, QUANTILES)
    # Rounding may make interpolated quantiles of equal values decrease in their last bit.
    quantiles = np.maximum.accumulate(np.quantile(given, ranks))
    knots, which = np.unique(quantiles, return_inverse=True)
    mean = np.bincount(which, ranks) / np.bincount(which)
    edge = 0.5 / QUANTILES
    scores = torch.special.ndtri(torch.from_numpy(mean.clip(edge, 1 - edge)))
    return knots, scores.numpy()


class Transform(nn.Module):
    """Fill missing values, scale, and append missing-value flags.

    There are five scalings, each with statistics of the column's training values:

    - "standard": minus the mean, divided by the standard deviation.
    - "minmax": to 0..1 between the smallest and the largest.
    - "robust": minus the median, divided by the interquartile range, then smoothly clipped to
      -3..3: z / sqrt(1 + (z / 3)^2) (Holzmueller et al. 2024, RealMLP).
    - "quantile": by rank to a normal distribution (as scikit-learn's QuantileTransformer does), by
      linear interpolation between knots: the training quantiles and their normal scores. Equal
      quantiles are one knot with their mean rank. Values outside the training range get the scores
      of its ends.
    - "none": as they are, for a network that scales them itself; missing values become the median.

    Args:
        scaling: "standard", "minmax", "robust", "quantile" or "none".
        numbers: A, the number of input columns.
        flags: The indices of the input columns that get a missing-value flag.

    Example:
        >>> import numpy as np, torch
        >>> from sightline.prepare.transform import Transform
        >>> transform = Transform("minmax", numbers=1, flags=[0])
        >>> transform.fit_column(0, np.array([0.0, 5.0, 10.0, np.nan]))
        >>> transform(torch.tensor([[2.5], [float("nan")]], dtype=torch.float64)).tolist()
        [[0.25, 0.0], [0.5, 1.0]]
    """

    center: Tensor
    scale: Tensor
    fill: Tensor
    knots: Tensor
    scores: Tensor
    slopes: Tensor
    flags: Tensor

    def __init__(self, scaling: Scaling, numbers: int, flags: list[int]) -> None:
        super().__init__()
        self.scaling = scaling
        rows = QUANTILES if scaling == "quantile" else 0
        self.register_buffer("center", torch.zeros(numbers, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(numbers, dtype=torch.float64))
        self.register_buffer("fill", torch.zeros(numbers, dtype=torch.float64))
        self.register_buffer("knots", torch.zeros(numbers, rows, dtype=torch.float64))
        self.register_buffer("scores", torch.zeros(numbers, rows, dtype=torch.float64))
        self.register_buffer("slopes", torch.zeros(numbers, rows, dtype=torch.float64))
        self.register_buffer("flags", torch.tensor(flags, dtype=torch.int64))

    @property
    def numbers(self) -> int:
        """A, the number of input columns."""
        return len(self.center)

    @property
    def features(self) -> int:
        """D, the number of output columns."""
        return self.numbers + len(self.flags)

    def fit_column(self, index: int, values: np.ndarray) -> None:
        """Fit one column's statistics to its training values (NaN is missing)."""
        self.set_column(index, Statistics.of(values, self.scaling))

    def set_column(self, index: int, statistics: Statistics) -> None:
        """Set one column's statistics."""
        self.center[index], self.scale[index] = statistics.center, statistics.scale
        self.fill[index] = statistics.fill
        if statistics.knots is not None and statistics.scores is not None:
            knots, scores = torch.from_numpy(statistics.knots), torch.from_numpy(statistics.scores)
            slopes = torch.diff(scores) / torch.diff(knots)
            self.knots[index] = knots[-1]  # unused knots repeat the last one, with slope 0
            self.scores[index] = scores[-1]
            self.knots[index, : len(knots)] = knots
            self.scores[index, : len(knots)] = scores
            self.slopes[index, : len(slopes)] = slopes.clamp(max=STEEPEST)

    def forward(self, numbers_NA: Tensor) -> Tensor:
        """Map float64 [N, A] with NaN to float32 [N, D]."""
        missing_NA = torch.isnan(numbers_NA)
        x_NA = torch.where(missing_NA, self.fill, numbers_NA)
        if self.scaling == "quantile":
            x_NA = self._normal(x_NA)
        else:
            x_NA = ((x_NA - self.center) / self.scale).clamp(-FARTHEST, FARTHEST)
        if self.scaling == "robust":
            x_NA = x_NA / torch.sqrt(1 + (x_NA / 3) ** 2)
        flags_NF = torch.index_select(missing_NA, 1, self.flags)
        return torch.cat([x_NA, flags_NF.to(x_NA.dtype)], dim=1).to(torch.float32)

    def _normal(self, x_NA: Tensor) -> Tensor:
        """Interpolate each value's normal score between its column's knots."""
        x_AN = torch.clamp(x_NA, self.knots[:, 0], self.knots[:, -1]).T.contiguous()
        left_AN = (torch.searchsorted(self.knots, x_AN, right=True) - 1).clamp_(min=0)
        above_AN = x_AN.sub_(torch.gather(self.knots, 1, left_AN))
        rise_AN = above_AN.mul_(torch.gather(self.slopes, 1, left_AN))
        score_AN = rise_AN.add_(torch.gather(self.scores, 1, left_AN))
        # Rounding must not lift a value above the next knot's score, so that order is preserved.
        right_AN = left_AN.add_(1).clamp_(max=QUANTILES - 1)
        return torch.minimum(score_AN, torch.gather(self.scores, 1, right_AN)).T

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values; the buffers hold the statistics."""
        return {"scaling": self.scaling, "numbers": self.numbers, "flags": self.flags.tolist()}
