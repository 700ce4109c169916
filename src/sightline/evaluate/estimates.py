"""Estimates of metrics from some rows: values, 95 % intervals, and differences between groups of rows.

The standard errors are those of means (log loss, mean squared error), of shares (balanced accuracy) and of DeLong et al.
1988 (area under the ROC curve); the intervals are Student's. Losses are skewed: their intervals and tests are those of
their logarithm; those of shares are of their logit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A metric of some rows, and how uncertain it is.

    Attributes:
        value: NaN if it is not defined for these rows.
        at: The value on the scale of its standard error: of a loss its logarithm, because losses are skewed; of a share
            its logit, so that intervals stay between 0 and 1.
        parts: Independent parts of the variance on that scale: each the variance, and its degrees of freedom.
        loss: Whether it is a loss, and no share.
    """

    value: float
    at: float = math.nan
    parts: tuple[tuple[float, float], ...] = ()
    loss: bool = False

    @property
    def known(self) -> bool:
        """Whether the metric and its standard error are defined."""
        return math.isfinite(self.at) and bool(self.parts)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the value."""
        from scipy.special import stdtrit  # Student's t; scipy.stats takes long to import

        error, freedom = _error(self.parts)
        reach = float(stdtrit(freedom, 0.975)) * error
        if self.loss:
            return self.value * math.exp(-reach), self.value * math.exp(min(reach, 700.0))
        low, high = (
            1 / (1 + math.exp(-max(end, -700.0))) for end in (self.at - reach, self.at + reach)
        )
        return min(low, self.value), max(high, self.value)  # a share of 1 was moved towards 0.5

    def difference(self, other: Estimate) -> tuple[float, float, float]:
        """Return the difference to the value of other rows, and its 95 % interval from both (Zou and Donner 2008)."""
        value, (low, high), (other_low, other_high) = self.value - other.value, self.interval, other.interval  # fmt: skip
        below = math.hypot(self.value - low, other_high - other.value)
        above = math.hypot(high - self.value, other.value - other_low)
        return value, value - below, value + above

    def chance(self, other: Estimate) -> float:
        """Return the probability that chance alone takes two groups as far apart, to either side (Welch 1947)."""
        from scipy.special import stdtr

        error, freedom = _error(self.parts + other.parts)
        return float(2 * stdtr(freedom, -abs(self.at - other.at) / error)) if error else 1.0


def _error(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the standard error and its degrees of freedom."""
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0, 1.0
    return math.sqrt(total), 1 / sum(
        (variance / total) ** 2 / freedom for variance, freedom in parts
    )


def mean_loss(losses: np.ndarray, root: bool) -> Estimate:
    """Estimate a mean of losses, or its square root, on the scale of logarithms.

    Args:
        losses: At least 0, [N].
        root: Whether to take the square root, such as of squared errors.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.estimates import mean_loss
        >>> found = mean_loss(np.array([1.0, 4.0] * 50), root=False)
        >>> found.value, [round(end, 2) for end in found.interval]
        (2.5, [2.22, 2.82])
    """
    rows = len(losses)
    mean = float(losses.mean()) if rows else math.nan
    value = math.sqrt(mean) if root else mean
    if rows < 2 or not 0 < mean < math.inf:
        return Estimate(value)
    relative = losses / mean
    variance = float(relative.var(ddof=1)) / rows  # of the logarithm of the mean
    freedom = float(rows - 1)
    if variance:  # heavy tails make the variance itself uncertain (Satterthwaite 1946)
        kurtosis = float((((relative - 1) / relative.std()) ** 4).mean())
        freedom = min(freedom, max(2 * rows / max(kurtosis - 1, 1e-9), 1.0))
    variance = variance / 4 if root else variance
    return Estimate(value, math.log(value), ((variance, freedom),), loss=True)


def balanced_accuracy(right: np.ndarray, truth: np.ndarray) -> Estimate:
    """Estimate the mean share of rows that are predicted right over the classes that have rows.

    Args:
        right: Which rows are, bool [N].
        truth: Their classes, int64 [N].

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.estimates import balanced_accuracy
        >>> balanced_accuracy(np.array([True, True, True, False]), np.array([0, 0, 1, 1])).value
        0.75
    """
    rows = np.bincount(truth)
    present = rows > 0
    if not present.any():
        return Estimate(math.nan)
    counts, found = rows[present], np.bincount(truth, right)[present]
    share = (found + 1) / (counts + 2)  # no share of a few rows is certainly 0 or 1
    variances = share * (1 - share) / counts / present.sum() ** 2
    parts = list(zip(variances.tolist(), counts.tolist(), strict=True))
    return _share(float((found / counts).mean()), float(share.mean()), parts)


def _share(value: float, moved: float, parts: Sequence[tuple[float, float]]) -> Estimate:
    """Estimate a value from 0 to 1 on the scale of logits.

    Args:
        value: The value.
        moved: The same, moved towards 0.5 so that it is neither 0 nor 1.
        parts: Of the variance of the value.
    """
    slope = moved * (1 - moved)
    scaled = tuple((variance / slope**2, freedom) for variance, freedom in parts)
    return Estimate(value, math.log(moved / (1 - moved)), scaled)


def area(score: np.ndarray, positive: np.ndarray) -> Estimate:
    """Estimate the area under the ROC curve (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        score: [N].
        positive: Which rows are of the positive class, bool [N].

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.estimates import area
        >>> area(np.array([0.1, 0.4, 0.3, 0.8]), np.array([False, False, True, True])).value
        0.75
    """
    up, down = int(positive.sum()), int((~positive).sum())
    if not up or not down:
        return Estimate(math.nan)
    ranks = _ranks(score)
    above = (ranks[positive] - _ranks(score[positive])) / down  # the negative rows below each
    below = 1 - (ranks[~positive] - _ranks(score[~positive])) / up
    value, fewer = float(above.mean()), min(up, down)
    if fewer < 2:
        return Estimate(value)
    moved = (value * fewer + 0.5) / (fewer + 1)
    variances = float(above.var(ddof=1)) / up, float(below.var(ddof=1)) / down
    if not any(variances):  # all in order, or all equal: as uncertain as a share of the rarer class
        return _share(value, moved, [(moved * (1 - moved) / fewer, fewer)])
    return _share(value, moved, [(variances[0], up - 1), (variances[1], down - 1)])


def _ranks(score: np.ndarray) -> np.ndarray:
    """Return the rank of each score from 1 up; equal scores share the mean of theirs."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
