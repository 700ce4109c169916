"""Network side: numbers become features. An `nn.Module`, so that it ships with the network.

float64 in, float32 out; the shapes depend on nothing in the data.
Letters: N rows, A numbers from the encoder, F flags, D = A + F features.
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
"""Between knots that are next to each other in float64 a line has no finite slope."""
QUANTILE_ROWS = 100_000
"""Quantiles are taken of so many training rows at most, drawn at random."""
LARGEST = 1e100
"""Training values count as no larger than this: their squares would overflow."""
SMALLEST = 1e-300
"""A spread below this is none: the column is constant."""
FARTHEST = 1e6
"""No scaled number is farther from 0: layers multiply and add in float32."""


@dataclass(frozen=True)
class Statistics:
    """What scaling one column of numbers takes.

    Attributes:
        center, scale: Subtracted, and divided by.
        fill: In place of what is missing.
        knots, scores: For "quantile", increasing float64 values and the scores they map to.
    """

    center: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    knots: np.ndarray | None = None
    scores: np.ndarray | None = None

    @classmethod
    def of(cls, values: np.ndarray, scaling: Scaling) -> Self:
        """Compute them from training values, NaN where missing.

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
            center, scale = float(given.mean()), float(given.std())
            return cls(center, scale if scale >= SMALLEST else 1.0, center)
        fill = float(np.median(given))
        if scaling == "minmax":
            center = float(given.min())
            scale = float(given.max()) - center
        elif scaling == "robust":
            low, center, high = (float(q) for q in np.quantile(given, (0.25, 0.5, 0.75)))
            # Most values equal: the quartiles say nothing, the whole range does.
            scale = high - low or float(given.max() - given.min()) / 2
        else:
            return cls(0.0, 1.0, fill, *_knots(given))
        return cls(center, scale if scale >= SMALLEST else 1.0, fill)


def _sample(given: np.ndarray) -> np.ndarray:
    """Some values at random, the smallest and the largest among them; always the same ones."""
    if len(given) <= QUANTILE_ROWS:
        return given
    rows = np.random.default_rng(0).integers(0, len(given), QUANTILE_ROWS)
    return np.append(given[rows], (given.min(), given.max()))


def _knots(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different quantiles, and the normal score of each one's mean rank."""
    ranks = np.linspace(0, 1, QUANTILES)
    # Interpolated quantiles of equal values may differ in their last bit, either way.
    quantiles = np.maximum.accumulate(np.quantile(given, ranks))
    knots, which = np.unique(quantiles, return_inverse=True)
    mean = np.bincount(which, ranks) / np.bincount(which)
    edge = 0.5 / QUANTILES
    scores = torch.special.ndtri(torch.from_numpy(mean.clip(edge, 1 - edge)))
    return knots, scores.numpy()


class Transform(nn.Module):
    """Fill what is missing, scale, and flag what was missing.

    Four ways to scale, by the column's training values:

    - "standard": minus the mean, divided by the standard deviation.
    - "minmax": to 0..1 between the smallest and the largest.
    - "robust": minus the median, divided by the interquartile range, then bent softly so that
      no value passes 3: z / sqrt(1 + (z / 3)^2) (Holzmueller et al. 2024, RealMLP).
    - "quantile": by rank to a normal distribution (as scikit-learn's QuantileTransformer does):
      straight lines between knots, the training quantiles and their normal scores; equal
      quantiles are one knot with their mean rank. Values outside the training range get the
      scores of its ends.

    Args:
        scaling: One of these.
        numbers: A, how many numbers come in.
        flags: Which of them get a flag column.

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

    def fit_column(self, place: int, values: np.ndarray) -> None:
        """Learn one column's statistics from its training values (NaN is missing)."""
        self.set_column(place, Statistics.of(values, self.scaling))

    def set_column(self, place: int, found: Statistics) -> None:
        """Take one column's statistics."""
        self.center[place], self.scale[place] = found.center, found.scale
        self.fill[place] = found.fill
        if found.knots is not None and found.scores is not None:
            knots, scores = torch.from_numpy(found.knots), torch.from_numpy(found.scores)
            slopes = torch.diff(scores) / torch.diff(knots)
            self.knots[place] = knots[-1]  # what is left over repeats the last knot, flat
            self.scores[place] = scores[-1]
            self.knots[place, : len(knots)] = knots
            self.scores[place, : len(knots)] = scores
            self.slopes[place, : len(slopes)] = slopes.clamp(max=STEEPEST)

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
        """Read each value off its column's lines between knots."""
        x_AN = torch.clamp(x_NA, self.knots[:, 0], self.knots[:, -1]).T.contiguous()
        left_AN = (torch.searchsorted(self.knots, x_AN, right=True) - 1).clamp_(min=0)
        above_AN = x_AN.sub_(torch.gather(self.knots, 1, left_AN))
        rise_AN = above_AN.mul_(torch.gather(self.slopes, 1, left_AN))
        score_AN = rise_AN.add_(torch.gather(self.scores, 1, left_AN))
        # Rounding must not lift a value over the next knot's score: order is kept, to the bit.
        right_AN = left_AN.add_(1).clamp_(max=QUANTILES - 1)
        return torch.minimum(score_AN, torch.gather(self.scores, 1, right_AN)).T

    def config(self) -> dict[str, Any]:
        """Return the arguments that build an empty copy; the buffers hold the rest."""
        return {"scaling": self.scaling, "numbers": len(self.center), "flags": self.flags.tolist()}
