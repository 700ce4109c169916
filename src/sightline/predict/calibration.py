"""The weights of a model's parts, and with them the temperature: fitted on rows not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

PRIOR = 30.0
"""Rows that say that all parts count the same, and the probabilities are neither too sure nor too unsure."""
TINY = 1e-12
BINS = 15


@dataclass(frozen=True)
class Blend:
    """How much each part of a model counts.

    The logits are the parts' log-probabilities, each times its weight; their softmax is the
    probabilities. The weights need not sum to 1: one over their sum is the temperature (Guo, Pleiss,
    Sun and Weinberger 2017), so that parts which are too sure together are softened together. For
    numbers the weights do sum to 1, and the prediction is the weighted mean.

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
        """What the mean of the parts' logits is divided by: above 1 softens, below 1 sharpens."""
        return 1 / sum(self.weights.values())

    @property
    def shares(self) -> dict[str, float]:
        """Each part's share, 1 in all."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}

    @classmethod
    def fit(
        cls, parts: Mapping[str, np.ndarray], truth: np.ndarray, weight: np.ndarray | None = None
    ) -> Self:
        """Find the weights of the lowest log loss.

        The problem is convex. A prior pulls to equal weights that sum to 1, which matters for few
        rows alone; it was chosen by measurement (docs/decisions.md).

        Args:
            parts: Log-probabilities [N, K] by part, of rows that the parts did not learn from.
            truth: int64 [N], the rows' classes.
            weight: [N], how much each row counts.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.calibration import Blend
            >>> sure = np.log(np.array([[0.99, 0.01]] * 9000))  # and right in three of four rows
            >>> blend = Blend.fit({"network": sure}, np.arange(9000) % 4 // 3)
            >>> float(np.round(blend.combine({"network": sure})["probabilities"][0, 0], 2))
            0.75
        """
        from scipy.optimize import minimize

        logs_PNK = np.stack([np.asarray(part, np.float64) for part in parts.values()])
        rows = np.arange(len(truth))
        counts = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
        counts = counts / max(counts.sum(), TINY)
        given_PN = logs_PNK[:, rows, truth]
        equal = np.full(len(logs_PNK), 1 / len(logs_PNK))
        pull = PRIOR / max(len(truth), 1)

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            logits_NK = np.tensordot(weights, logs_PNK, 1)
            logits_NK -= logits_NK.max(axis=1, keepdims=True)
            odds_NK = np.exp(logits_NK)
            sums_N = odds_NK.sum(axis=1)
            losses = np.log(sums_N) - logits_NK[rows, truth]
            expected_PN = np.einsum("pnk,nk->pn", logs_PNK, odds_NK / sums_N[:, None])
            slope = ((expected_PN - given_PN) * counts).sum(axis=1)
            off = weights - equal
            return float((losses * counts).sum() + pull * off @ off), slope + 2 * pull * off

        found = minimize(
            loss, equal, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(equal)
        ).x
        if not found.sum() > 0.01:  # worse than knowing nothing: as flat as can be
            found = equal * 0.01
        return cls(dict(zip(parts, found.tolist(), strict=True)))

    @classmethod
    def fit_values(
        cls, parts: Mapping[str, np.ndarray], truth: np.ndarray, weight: np.ndarray | None = None
    ) -> Self:
        """Find the weights, from 0 and 1 in all, of the lowest squared error.

        Args:
            parts: Numbers [N] by part.
            truth: [N].
            weight: [N], how much each row counts.

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
        if len(names) != 2:
            raise ValueError(f"one part or two, not {len(names)}")
        first, second = (np.asarray(part, np.float64) for part in parts.values())
        counts = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
        apart, off = first - second, truth - second
        size = float((counts * apart * apart).sum())
        share = float((counts * apart * off).sum()) / size if size else 0.5
        share = float(np.round(min(max(share, 0.0), 1.0), 12))
        return cls({names[0]: share, names[1]: 1 - share})

    def combine(self, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Put log-probabilities together.

        Args:
            parts: [N, K] by part.

        Returns:
            `shares` (each part's share of each logit, [N, K]; they add up to the logits), `logits`
            and `probabilities` [N, K].
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


def perfect_ece(
    probabilities: np.ndarray, draws: int = 200, share: float = 0.95, seed: int = 0
) -> float:
    """Say what expected calibration error perfectly calibrated probabilities stay below.

    Truths are drawn from the probabilities themselves; with few rows even those differ from the
    shares that come true.

    Args:
        probabilities: [N, K].
        draws: How often truths are drawn.
        share: Of the draws that stay below.
        seed: Decides them.

    Example:
        >>> import numpy as np
        >>> from sightline.predict.calibration import perfect_ece
        >>> even = np.full((100, 2), 0.5)
        >>> perfect_ece(even) > perfect_ece(np.repeat(even, 100, axis=0))
        True
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    places = (np.ceil(confidence * BINS).astype(np.int64) - 1).clip(0, BINS - 1)
    claimed = np.bincount(places, confidence, minlength=BINS)
    random = np.random.default_rng(seed)
    errors = np.empty(draws)
    for draw in range(draws):
        right = random.random(len(confidence)) < confidence
        errors[draw] = np.abs(np.bincount(places, right, minlength=BINS) - claimed).sum()
    return float(np.quantile(errors, share) / max(len(confidence), 1))
