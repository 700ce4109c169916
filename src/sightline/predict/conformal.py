"""Conformal prediction: sets and intervals that contain the truth with a guaranteed probability.

Letters: N held-out rows, B rows, K classes, S scores that are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from sightline.errors import OptionError, counted, readable

KEPT_SCORES = 10_000
"""The most scores that are kept; of more rows, evenly spaced quantiles."""

BINS = 20
"""In how many bins of predicted numbers the errors are averaged, at most."""
BIN_ROWS = 50
"""The fewest held-out rows of a bin."""
PRIOR_ROWS = 10.0
"""How many rows the mean error of all rows counts as in each bin."""

TENTHS = 10
"""Into how many groups rows are put by their predictions, to see whether intervals fit all of them."""

ALPHA = 0.1
"""The share of rows that prediction sets and intervals may miss where nobody says otherwise."""


@dataclass(frozen=True)
class Conformal:
    """Nonconformity scores of the truth in held-out rows.

    The score of a class is one minus its probability (LAC: Sadinle, Lei and Wasserman 2019, "Least
    ambiguous set-valued classifiers"); that of a number is the truth minus the prediction, divided by how large
    errors of such predictions usually are (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman 2018, "Distribution-free
    predictive inference for regression", section 5.2). So the interval of a row fits its prediction: where errors are
    large, as often those of large numbers are, it is wide. A set contains
    the classes whose score is no higher than that of the truth in a share 1 - alpha of the held-out
    rows. On average over rows from the same distribution, it contains the true class with at least that
    probability (Vovk, Gammerman and Shafer 2005). A set is empty where every class scores higher.

    Attributes:
        scores: Increasing, float64 [S]; of more than 10,000 rows their quantiles.
        shares: The (weighted) share of the rows with no higher score, increasing to 1, [S].
        rows: How many rows the scores come from.
        source: Which rows these are, in words.
        knots, sizes: Of numbers, increasing predictions and the usual size of the errors there, [Q]; between
            two it is interpolated, and beyond them it is that of the nearest. Without knots it is 1 everywhere.
    """

    scores: np.ndarray
    shares: np.ndarray
    rows: int
    source: str
    knots: np.ndarray = field(default_factory=lambda: np.empty(0))
    sizes: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def fit_classes(
        cls,
        probabilities: np.ndarray,
        truth: np.ndarray,
        weight: np.ndarray | None = None,
        *,
        source: str,
    ) -> Self:
        """Compute the scores of held-out rows with known classes.

        Args:
            probabilities: [N, K], of models that did not learn from the rows.
            truth: The rows' classes, int64 [N].
            weight: The weight of each row, [N]; rows of weight 0 are left out.
            source: Which rows these are, in words.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.conformal import Conformal
            >>> random = np.random.default_rng(0)
            >>> values = random.dirichlet([1, 1, 1], 2000)
            >>> truth = np.array([random.choice(3, p=p) for p in values])
            >>> conformal = Conformal.fit_classes(values[:1000], truth[:1000], source="half of them")
            >>> sets = conformal.sets(values[1000:], alpha=0.1)
            >>> bool(0.87 < sets[np.arange(1000), truth[1000:]].mean() < 0.93)
            True
        """
        given = probabilities[np.arange(len(truth)), truth].astype(np.float64)
        return cls._of(1 - given, weight, source)

    @classmethod
    def fit_numbers(
        cls, values: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None, *, source: str
    ) -> Self:
        """Compute the scores of held-out rows with known numbers.

        Args:
            values: Predictions [N], of models that did not learn from the rows.
            truth: The rows' numbers, [N].
            weight, source: As in `fit_classes`.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.conformal import Conformal
            >>> random = np.random.default_rng(0)
            >>> values = random.uniform(1, 10, 2000)
            >>> truth = values * (1 + 0.1 * random.normal(size=2000))  # errors grow with the number
            >>> conformal = Conformal.fit_numbers(values, truth, source="all of them")
            >>> low, high = conformal.interval(np.array([2.0, 9.0]), alpha=0.1).T
            >>> (high - low).round().tolist()
            [1.0, 3.0]
        """
        values = np.asarray(values, np.float64)
        errors = np.asarray(truth, np.float64) - values
        knots, sizes = _sizes(values, np.abs(errors), _counts(errors, weight))
        return cls._of(errors / _at(values, knots, sizes), weight, source, knots, sizes)

    @classmethod
    def _of(
        cls, scores: np.ndarray, weight: np.ndarray | None, source: str, *sizes: np.ndarray
    ) -> Self:
        counts = _counts(scores, weight)
        scores, counts = scores[counts > 0], counts[counts > 0]
        order = np.argsort(scores, kind="stable")
        scores, shares = scores[order], np.cumsum(counts[order]) / max(counts.sum(), 1e-300)
        rows = len(scores)
        if rows > KEPT_SCORES:
            kept = np.linspace(0, rows - 1, KEPT_SCORES).round().astype(int)
            scores, shares = scores[kept], shares[kept]
        return cls(scores, shares, rows, source, *sizes)

    def wider(
        self,
        values: np.ndarray,
        truth: np.ndarray,
        weight: np.ndarray | None = None,
        *,
        source: str,
    ) -> Self:
        """Return scores for another model: each quantile is this one, or that of its own scores if that is wider.

        For a model that was made to predict what this one's model predicts. Its own errors in rows that the first
        model learned from are too small; scores of rows that the first model held out do not have this fault, but would
        ignore that the other model is worse.

        Args:
            values: The other model's probabilities [N, K], or numbers [N, 1].
            truth: The rows' classes, int64 [N], or numbers [N].
            weight: As in `fit_classes`.
            source: Which rows all these are, in words.

        Example:
            >>> import numpy as np
            >>> from sightline.predict.conformal import Conformal
            >>> truth = np.arange(-50.0, 51.0)
            >>> first = Conformal.fit_numbers(np.zeros(101), truth, source="held out")
            >>> worse = first.wider(np.zeros((101, 1)), 2 * truth, source="both")
            >>> better = first.wider(np.zeros((101, 1)), truth / 2, source="both")
            >>> [one.interval(np.zeros(1), 0.1)[0].tolist() for one in (first, worse, better)]
            [[-46.0, 46.0], [-92.0, 92.0], [-46.0, 46.0]]
        """
        classes = values.shape[1] > 1
        if classes:
            scores = 1 - values[np.arange(len(truth)), truth].astype(np.float64)
        else:
            scores = (truth - values[:, 0].astype(np.float64)) / self.sizes_at(values[:, 0])
        other = self._of(scores, weight, source)
        count = max(len(self.scores), len(other.scores))
        shares = (1 + np.arange(count)) / count
        mine, its = (
            one.scores[np.searchsorted(one.shares, shares - 1e-9).clip(max=len(one.scores) - 1)]
            for one in (self, other)
        )
        upper = np.ones(count, bool) if classes else shares > 0.5
        wider = np.where(upper, np.maximum(mine, its), np.minimum(mine, its))
        return replace(self, scores=wider, shares=shares, source=source)

    @property
    def smallest_alpha(self) -> float:
        """The smallest alpha that the number of rows allows."""
        return 1 / (self.rows + 1)

    def allows(self, alpha: float, classification: bool) -> bool:
        """Tell whether the number of rows allows sets, or intervals (which may miss the truth on either side)."""
        return alpha >= (1 if classification else 2) * self.smallest_alpha

    def sets(self, probabilities: np.ndarray, alpha: float) -> np.ndarray:
        """Return which classes are in each row's set: bool [B, K].

        Args:
            probabilities: [B, K].
            alpha: The share of rows whose set may miss the true class, between 0 and 1.

        Raises:
            OptionError: alpha is not between 0 and 1, or too small for the number of rows.
        """
        sets: np.ndarray = 1 - probabilities.astype(np.float64) <= self.set_limit(alpha)
        return sets

    def set_limit(self, alpha: float) -> float:
        """Return the largest score, one minus a probability, of a class that is in a set; see `sets`."""
        return self._quantile(1 - check_alpha(alpha, self.smallest_alpha)) + 1e-12

    def interval(self, values: np.ndarray, alpha: float) -> np.ndarray:
        """Return each row's interval: float64 [B, 2].

        Args:
            values: Predictions [B].
            alpha: The share of rows whose interval may miss the truth, half of it on each side.

        Raises:
            OptionError: alpha is not between 0 and 1, or too small for the number of rows.
        """
        low, high = self.ends(alpha)
        sizes = self.sizes_at(values)
        return np.stack([values + low * sizes, values + high * sizes], axis=1)

    def ends(self, alpha: float) -> tuple[float, float]:
        """Return the ends of an interval as multiples of `sizes_at`, counted from the prediction; see `interval`."""
        alpha = check_alpha(alpha, 2 * self.smallest_alpha)
        high = self._quantile(1 - alpha / 2)
        mirrored = Conformal(
            -self.scores[::-1], np.append(1 - self.shares[::-1][1:], 1.0), self.rows, self.source
        )
        return -mirrored._quantile(1 - alpha / 2), high

    def sizes_at(self, values: np.ndarray) -> np.ndarray:
        """Return the usual size of the errors of predictions [B], or 1."""
        return _at(values, self.knots, self.sizes)

    def _quantile(self, share: float) -> float:
        """Return the score that ceil((n + 1) share) of the n rows do not exceed."""
        wanted = min(math.ceil((self.rows + 1) * share - 1e-9) / self.rows, 1.0)
        index = int(np.searchsorted(self.shares, wanted - 1e-9))
        return float(self.scores[min(index, len(self.scores) - 1)])

    def coverage(self, values: np.ndarray, truth: np.ndarray, alpha: float) -> dict[str, Any]:
        """Measure how often sets or intervals contain the truth, and how large they are.

        Args:
            values: Probabilities [N, K], or numbers [N, 1].
            truth: int64 classes [N], or numbers [N].
            alpha: As in `sets`.

        Returns:
            `alpha`, `rows`, `coverage` (the share of rows whose set contains the truth), `said` (the same
            in words), and for classes `mean_size`, `empty` (share), `sizes` (rows by size) and `by_class` (rows
            of the class, share), for numbers `mean_width`, `median_width` and `by_tenth` (of the rows in order of
            their predictions: largest prediction, rows, share, mean width).
        """
        about = {"alpha": alpha, "rows": len(truth)}
        level = f"{100 * (1 - alpha):g} %"
        inside_N = self.inside(values, truth, alpha)
        inside = float(inside_N.mean())
        if values.shape[1] == 1:
            low, high = self.interval(values[:, 0], alpha).T
            width = high - low
            return {
                **about, "coverage": inside, "mean_width": float(width.mean()),
                "median_width": float(np.median(width)),
                "by_tenth": _by_tenth(values[:, 0], inside_N, width),
                "said": f"{level} intervals contain the true number in {100 * inside:.1f} % of {len(truth):,} "
                f"rows; they are {readable(float(width.mean()), 3)} wide on average.",
            }  # fmt: skip
        chosen = self.sets(values, alpha)
        sizes = np.bincount(chosen.sum(axis=1), minlength=values.shape[1] + 1)
        mean = float(chosen.sum(axis=1).mean())
        return {
            **about, "coverage": inside, "mean_size": mean, "empty": float(sizes[0] / len(truth)),
            "sizes": sizes.tolist(),
            "by_class": [
                (int(own.sum()), float(inside_N[own].mean()) if own.any() else None)
                for own in (truth == np.arange(values.shape[1])[:, None])
            ],
            "said": f"{level} sets contain the true class in {100 * inside:.1f} % of {counted(len(truth), 'row')}; "
            f"they have {mean:.2f} classes on average, {100 * sizes[0] / len(truth):.1f} % have none.",
        }  # fmt: skip

    def inside(self, values: np.ndarray, truth: np.ndarray, alpha: float) -> np.ndarray:
        """Return which rows' sets or intervals contain the truth, bool [N]; the arguments are those of `coverage`."""
        if values.shape[1] == 1:
            low, high = self.interval(values[:, 0], alpha).T
            inside: np.ndarray = (low <= truth) & (truth <= high)
            return inside
        contained: np.ndarray = self.sets(values, alpha)[np.arange(len(truth)), truth]
        return contained

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays, as plain JSON values."""
        return {"rows": self.rows, "source": self.source}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        arrays = {"scores": self.scores, "shares": self.shares}
        return arrays | ({"knots": self.knots, "sizes": self.sizes} if len(self.knots) else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Read what `to_json` and `arrays` wrote."""
        none = np.empty(0)
        return cls(
            arrays["scores"], arrays["shares"], data["rows"], data["source"],
            arrays.get("knots", none), arrays.get("sizes", none),
        )  # fmt: skip


def _by_tenth(
    values: np.ndarray, inside: np.ndarray, width: np.ndarray
) -> list[tuple[float, int, float, float]]:
    """Return the largest prediction, rows, coverage and mean width in each tenth of the predictions."""
    order = np.argsort(values, kind="stable")
    return [
        (
            float(values[rows].max()),
            len(rows),
            float(inside[rows].mean()),
            float(width[rows].mean()),
        )
        for rows in np.array_split(order, TENTHS)
        if len(rows)
    ]


def _counts(scores: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return np.ones(len(scores)) if weight is None else np.asarray(weight, np.float64)


def _sizes(
    values: np.ndarray, errors: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average absolute errors in bins of the predictions, each with as many rows.

    Returns:
        The bins' mean predictions, increasing, and the mean error of each, moved a little towards that of
        all rows; two empty arrays if there are too few rows or no errors.
    """
    kept = weight > 0
    values, errors, weight = values[kept], errors[kept], weight[kept]
    bins = min(BINS, len(values) // BIN_ROWS)
    overall = float(errors @ weight / weight.sum()) if len(errors) else 0.0
    if bins < 2 or not 0 < overall < np.inf:
        return np.empty(0), np.empty(0)
    weight = weight / weight.mean()
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, bins)
    knots = np.array([np.average(values[rows], weights=weight[rows]) for rows in parts])
    sums = np.array([errors[rows] @ weight[rows] for rows in parts])
    counts = np.array([weight[rows].sum() for rows in parts])
    knots, bin_of = np.unique(knots, return_inverse=True)  # many rows may have one prediction
    sums, counts = np.bincount(bin_of, sums), np.bincount(bin_of, counts)
    if len(knots) < 2:
        return np.empty(0), np.empty(0)
    return knots, (sums + PRIOR_ROWS * overall) / (counts + PRIOR_ROWS)


def _at(values: np.ndarray, knots: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    if not len(knots):
        return np.ones(len(values))
    found: np.ndarray = np.interp(values, knots, sizes)
    return found


def required(conformal: Conformal | None) -> Conformal:
    """Return the scores of a model.

    Raises:
        OptionError: It has none: it was not calibrated on held-out rows.
    """
    if conformal is None:
        raise OptionError(
            "This model was not calibrated on held-out rows, which sets and intervals need.",
            "Fit with calibrate=True (--calibrate), or without a network of your own.",
        )
    return conformal


def check_alpha(alpha: float, smallest: float) -> float:
    """Check alpha and return it as a float.

    Raises:
        OptionError: It is not a number between 0 and 1, or smaller than the held-out rows allow.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise OptionError(f"alpha is {alpha!r}.", "Give a share between 0 and 1, such as 0.1.")
    if alpha < smallest:
        raise OptionError(
            f"alpha is {alpha:g}; the held-out rows of this model allow no alpha below {smallest:.2g}.",
            "Give a larger alpha, or fit on more rows.",
        )
    return float(alpha)
