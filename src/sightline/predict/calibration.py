"""Calibration: the weights of a model's parts and the temperature, fitted on held-out rows.

Letters: N rows, K classes, P parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

PRIOR_ROWS = 30.0
"""The strength of the prior (equal weights that sum to 1), in rows."""
LEAST_TOTAL_WEIGHT = 1e-12
"""The least sum of row weights to divide by."""
CONFIDENCE_BINS = 15
"""Bins of the expected calibration error."""


@dataclass(frozen=True)
class Blend:
    """The weight of each part of a model.

    The logits are the sum of the parts' log-probabilities, each times its weight; their softmax is the
    probabilities. The weights need not sum to 1: one over their sum is the temperature (temperature
    scaling, Guo, Pleiss, Sun and Weinberger 2017), which softens overconfident parts together. For
    numbers the weights sum to 1, and the prediction is the weighted mean.

    Attributes:
        weights: By part, such as "network" and "trees", from 0.

    Example:
        >>> from sightline.predict.calibration import Blend
        >>> blend = Blend({"network": 0.5, "trees": 0.75})
        >>> blend.temperature, blend.shares
        (0.8, {'network': 0.4, 'trees': 0.6})
    """

    weights: Mapping[str, float]

    @property
    def temperature(self) -> float:
        """What the parts' mean logits are divided by: above 1 softens, below 1 sharpens probabilities."""
        return 1 / sum(self.weights.values())

    @property
    def shares(self) -> dict[str, float]:
        """Each part's share of the weights; the shares sum to 1."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}

    @classmethod
    def fit(
        cls, parts: Mapping[str, np.ndarray], truth: np.ndarray, weight: np.ndarray | None = None
    ) -> Self:
        """Fit the weights that minimise the log loss.

        The problem is convex. A prior favours equal weights that sum to 1, which matters only with few
        rows; its strength was chosen by measurement (docs/decisions.md).

        Args:
            parts: Log-probabilities [N, K] by part, of held-out rows.
            truth: The rows' classes, int64 [N].
            weight: The weight of each row, [N]; None gives equal weights.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.calibration import Blend
            >>> sure = np.log(np.array([[0.99, 0.01]] * 9000))  # but right in 3 of 4 rows only
            >>> blend = Blend.fit({"network": sure}, np.arange(9000) % 4 // 3)
            >>> float(np.round(blend.combine({"network": sure})["probabilities"][0, 0], 2))
            0.75
        """
        from scipy.optimize import minimize

        logs_PNK = np.stack([np.asarray(part, np.float64) for part in parts.values()])
        rows = np.arange(len(truth))
        counts = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
        counts = counts / max(counts.sum(), LEAST_TOTAL_WEIGHT)
        given_PN = logs_PNK[:, rows, truth]
        equal = np.full(len(logs_PNK), 1 / len(logs_PNK))
        prior = PRIOR_ROWS / max(len(truth), 1)

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            logits_NK = np.tensordot(weights, logs_PNK, 1)
            logits_NK -= logits_NK.max(axis=1, keepdims=True)
            odds_NK = np.exp(logits_NK)
            sums_N = odds_NK.sum(axis=1)
            losses = np.log(sums_N) - logits_NK[rows, truth]
            expected_PN = np.einsum("pnk,nk->pn", logs_PNK, odds_NK / sums_N[:, None])
            gradient = ((expected_PN - given_PN) * counts).sum(axis=1)
            off = weights - equal
            return float((losses * counts).sum() + prior * off @ off), gradient + 2 * prior * off

        fitted = minimize(
            loss, equal, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(equal)
        ).x
        if not fitted.sum() > 0.01:  # parts worse than guessing: nearly uniform probabilities
            fitted = equal * 0.01
        return cls(dict(zip(parts, fitted.tolist(), strict=True)))

    @classmethod
    def fit_values(
        cls, parts: Mapping[str, np.ndarray], truth: np.ndarray, weight: np.ndarray | None = None
    ) -> Self:
        """Fit the weights, from 0 and summing to 1, that minimise the squared error.

        Args:
            parts: Numbers [N] by part, of held-out rows.
            truth: The rows' true numbers, [N].
            weight: The weight of each row, [N]; None gives equal weights.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.calibration import Blend
            >>> truth = np.arange(8.0)
            >>> Blend.fit_values({"network": truth + 1, "trees": truth - 3}, truth).weights
            {'network': 0.75, 'trees': 0.25}
        """
        names = list(parts)
        if len(names) == 1:
            return cls({names[0]: 1.0})
        numbers = [np.asarray(part, np.float64) for part in parts.values()]
        counts = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
        if len(names) > 2:
            errors_NP = np.stack(numbers, axis=1) - truth[:, None]
            fitted = _simplex_weights(errors_NP * np.sqrt(counts)[:, None])
            return cls(dict(zip(names, fitted.tolist(), strict=True)))
        first, second = numbers
        apart, off = first - second, truth - second
        size = float((counts * apart * apart).sum())
        share = float((counts * apart * off).sum()) / size if size else 0.5
        share = float(np.round(min(max(share, 0.0), 1.0), 12))
        return cls({names[0]: share, names[1]: 1 - share})

    def combine(self, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Blend the parts' log-probabilities.

        Args:
            parts: Log-probabilities [N, K] by part.

        Returns:
            `shares` (by part, what it adds to each logit, [N, K]), `logits` and `probabilities`
            [N, K].
        """
        shares = {
            name: self.weights[name] * np.asarray(part, np.float64) for name, part in parts.items()
        }
        logits = np.sum(list(shares.values()), axis=0)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {
            "shares": shares, "logits": logits, "probabilities": odds / odds.sum(axis=1, keepdims=True)
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"weights": dict(self.weights)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(dict(data["weights"]))


def _simplex_weights(errors_NP: np.ndarray) -> np.ndarray:
    """Return the weights [P], from 0 and summing to 1, of the smallest squared weighted error.

    For u from 0 with sum s, |E u|^2 + (s - 1)^2 is s^2 |E u/s|^2 + (s - 1)^2, whose minimum over u/s
    does not depend on s: so non-negative least squares gives the weights up to their sum.
    """
    from scipy.optimize import nnls

    scale = np.sqrt(np.square(errors_NP).sum(axis=0).max()) or 1.0
    rows = np.vstack([errors_NP / scale, np.ones(errors_NP.shape[1])])
    fitted, _ = nnls(rows, np.append(np.zeros(len(errors_NP)), 1.0))
    weights: np.ndarray = fitted / fitted.sum()
    return weights


def perfect_ece(
    probabilities: np.ndarray, draws: int = 200, share: float = 0.95, seed: int = 0
) -> float:
    """Return a bound on the expected calibration error of perfectly calibrated probabilities.

    Classes are drawn from the probabilities themselves. With few rows, even their frequencies differ
    from the probabilities by chance.

    Args:
        probabilities: [N, K].
        draws: How often classes are drawn.
        share: The share of the draws whose error is below the returned bound.
        seed: Decides the draws.

    Example:
        >>> import numpy as np
        >>> from sightline.predict.calibration import perfect_ece
        >>> even = np.full((100, 2), 0.5)
        >>> perfect_ece(even) > perfect_ece(np.repeat(even, 100, axis=0))
        True
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = (np.ceil(confidence * CONFIDENCE_BINS).astype(np.int64) - 1).clip(0, CONFIDENCE_BINS - 1)
    claimed = np.bincount(bins, confidence, minlength=CONFIDENCE_BINS)
    random = np.random.default_rng(seed)
    errors = np.empty(draws)
    for draw in range(draws):
        right = random.random(len(confidence)) < confidence
        errors[draw] = np.abs(np.bincount(bins, right, minlength=CONFIDENCE_BINS) - claimed).sum()
    return float(np.quantile(errors, share) / max(len(confidence), 1))
