"""The decision threshold of a binary target: chosen by a metric on held-out rows, or by hand from the counts of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self, get_args

import numpy as np

from sightline.contracts import Target
from sightline.contracts.options import ThresholdRule
from sightline.errors import OptionError, counted, did_you_mean, readable, shorten

THRESHOLDS: tuple[str, ...] = get_args(ThresholdRule)
MOST_THRESHOLDS = 200
"""So many thresholds are counted at most."""
FEWEST_ROWS_OF_A_CLASS = 20
"""With fewer rows of either class, the choice of the threshold is mostly chance."""


@dataclass(frozen=True)
class Threshold:
    """The probability from which a row is predicted as the positive class.

    Attributes:
        value: The threshold.
        by: The metric that it maximises, or "given".
        score, score_at_half: That metric with the threshold and with 0.5, on the rows that it was
            chosen on; None where it was given.
        rows: How many rows these are.
        positives: How many of them are of the positive class; None in old bundles.
    """

    value: float
    by: str
    score: float | None
    score_at_half: float | None
    rows: int
    positives: int | None = None

    @classmethod
    def given(cls, value: float) -> Self:
        """Make a threshold that somebody has chosen.

        Raises:
            OptionError: It is not between 0 and 1.

        Example:
            >>> from sightline.predict.threshold import Threshold
            >>> Threshold.given(0.37).by
            'given'
        """
        if not 0 < value < 1:
            raise OptionError(f"threshold is {value!r}.", "Give a number between 0 and 1.")
        return cls(float(value), "given", None, None, 0)

    def words(self, target: Target) -> str:
        """Return in words which class it is for, how it was chosen, and how reliable it is.

        Args:
            target: Of two classes.

        Example:
            >>> from sightline.contracts import Target
            >>> from sightline.predict.threshold import Threshold
            >>> print(Threshold(0.25, "given", None, None, 0).words(
            ...     Target("y", "classification", ("no", "yes"), "yes")))
            A row is predicted as yes, the positive class, if its probability is at least 0.25, as requested.
        """
        names = {
            label: shorten(text, 40)
            for label, text in zip(target.classes, target.texts, strict=True)
        }
        positive = target.positive
        assert positive is not None
        other = next(label for label in target.classes if label != positive)
        words = (
            f"A row is predicted as {names[positive]}, the positive class, if its probability is at "
            f"least {self.value:.4g}"
        )
        if self.by == "given" or self.score is None or self.score_at_half is None:
            return f"{words}, as requested."
        words += (
            f": {self.by} is {readable(self.score, 3)} with this threshold and "
            f"{readable(self.score_at_half, 3)} with 0.5, on {counted(self.rows, 'held-out row')}."
        )
        if self.positives is None:
            return words
        fewest = min(self.positives, self.rows - self.positives)
        if fewest < FEWEST_ROWS_OF_A_CLASS:
            rare = positive if 2 * self.positives <= self.rows else other
            words += (
                f" Only {counted(fewest, 'of them is', 'of them are')} {names[rare]}: with so few the "
                "best threshold is mostly chance."
            )
        if self.by == "f1" and 2 * self.positives > self.rows:
            words += (
                f" {names[positive]} is the more frequent class, for which even a poor model has a high F1: to "
                f"find the other class give positive={other!r} (--positive)."
            )
        return words

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**data)


def find_threshold(
    probability: np.ndarray, positive: np.ndarray, by: str | float, weight: np.ndarray | None = None
) -> Threshold:
    """Choose the threshold that maximises a metric on held-out rows.

    All midpoints between neighbouring probabilities are tried, and 0.5; of equally good ones the one
    nearest to 0.5 is chosen.

    Args:
        probability: Of the positive class, [N].
        positive: Which rows are of the positive class, bool [N].
        by: The metric, one of `THRESHOLDS`, or the threshold itself.
        weight: The weight of each row, [N]; None gives equal weights.

    Raises:
        OptionError: An unknown metric, or a threshold that is not between 0 and 1.

    Example:
        >>> import numpy as np
        >>> from sightline.predict.threshold import find_threshold
        >>> threshold = find_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1]) > 0, "f1")
        >>> threshold.value, threshold.score
        (0.25, 1.0)
    """
    if isinstance(by, int | float) and not isinstance(by, bool):
        return Threshold.given(by)
    if by not in THRESHOLDS:
        raise OptionError(
            f"threshold is {by!r}.",
            did_you_mean(str(by), THRESHOLDS, "metrics that choose a threshold"),
        )
    values, counts = probability.astype(np.float64), np.ones(len(probability))
    if weight is not None:
        counts = np.asarray(weight, np.float64)
    order = np.argsort(-values, kind="stable")
    distinct = np.unique(values)
    tried = np.append((distinct[1:] + distinct[:-1]) / 2, 0.5)
    above = np.searchsorted(-values[order], -tried, side="right")  # rows at or above each
    true_positives = np.append(0.0, np.cumsum((counts * positive)[order]))[above]
    false_positives = np.append(0.0, np.cumsum((counts * ~positive)[order]))[above]
    all_positive, all_negative = float(counts[positive].sum()), float(counts[~positive].sum())
    tiny = 1e-300
    if by == "f1":
        scores = (
            2 * true_positives / np.maximum(true_positives + false_positives + all_positive, tiny)
        )
    elif by == "accuracy":
        scores = (true_positives + all_negative - false_positives) / max(
            all_positive + all_negative, tiny
        )
    else:
        scores = (
            true_positives / max(all_positive, tiny) + 1 - false_positives / max(all_negative, tiny)
        ) / 2
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    chosen = int(best[np.abs(tried[best] - 0.5).argmin()])
    return Threshold(
        float(tried[chosen]),
        by,
        float(scores[chosen]),
        float(scores[-1]),
        len(probability),
        int(positive.sum()),
    )


def possible_thresholds(
    probability: np.ndarray, positive: np.ndarray, also: Collection[float] = (), most: int = MOST_THRESHOLDS
) -> np.ndarray:  # fmt: skip
    """Return thresholds that decide differently about some rows, from all rows positive to none.

    Between two neighbouring probabilities all thresholds decide alike; the shortest decimal number there is taken.
    Where there are too many, half of them follow the quantiles of all rows, and half those of the positive ones, which may
    be rare.

    Args:
        probability: Of the positive class, [N].
        positive: Which rows are of the positive class, bool [N].
        also: Thresholds that are among them in any case.
        most: The largest number of thresholds.

    Returns:
        Increasing thresholds between 0 and 1, [T].

    Example:
        >>> import numpy as np
        >>> from sightline.predict.threshold import possible_thresholds
        >>> possible_thresholds(np.array([0.1, 0.12, 0.8]), np.array([0, 0, 1]) > 0).tolist()
        [0.05, 0.11, 0.5, 0.9]
    """
    values = np.unique(probability.astype(np.float64))
    room = most - len(also)
    if len(values) + 1 > room:
        shares = np.linspace(0, 1, (room - 1) // 2)
        drawn = [
            np.quantile(p, shares, method="nearest")
            for p in (probability, probability[positive])
            if len(p)
        ]
        values = np.unique(np.concatenate(drawn).astype(np.float64))
    edges = np.concatenate([[0.0], values, [1.0]])
    between = {_shortest(low, high) for low, high in pairwise(edges.tolist())}
    return np.array(sorted({value for value in between if 0 < value < 1} | set(also)))


def count_decisions(
    probability: np.ndarray, positive: np.ndarray, thresholds: np.ndarray
) -> dict[str, list[Any]]:
    """Count the right and wrong decisions with each threshold, and measure them.

    Args:
        probability: Of the positive class, [N].
        positive: Which rows are of the positive class, bool [N].
        thresholds: [T].

    Returns:
        Lists of T values: the counts `true_positives`, `false_positives`, `false_negatives` and `true_negatives`;
        `precision`, `recall` and `f1`, None where they are not defined; `flagged`, the share of rows that are predicted
        as positive.

    Example:
        >>> import numpy as np
        >>> from sightline.predict.threshold import count_decisions
        >>> counts = count_decisions(np.array([0.1, 0.6, 0.8]), np.array([0, 0, 1]) > 0, np.array([0.5, 0.9]))
        >>> counts["true_positives"], counts["false_positives"], counts["precision"], counts["recall"]
        ([1, 0], [1, 0], [0.5, None], [1.0, 0.0])
    """
    of_positive, of_negative = np.sort(probability[positive]), np.sort(probability[~positive])
    found = len(of_positive) - np.searchsorted(of_positive, thresholds)
    wrong = len(of_negative) - np.searchsorted(of_negative, thresholds)
    missed, left = len(of_positive) - found, len(of_negative) - wrong

    def shares(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
        pairs = zip(part.tolist(), whole.tolist(), strict=True)
        return [a / b if b else None for a, b in pairs]

    return {
        "true_positives": found.tolist(), "false_positives": wrong.tolist(), "false_negatives": missed.tolist(),
        "true_negatives": left.tolist(), "precision": shares(found, found + wrong), "recall": shares(found, found + missed),
        "f1": shares(2 * found, 2 * found + wrong + missed), "flagged": shares(found + wrong, found + wrong + missed + left),
    }  # fmt: skip


def _shortest(low: float, high: float) -> float:
    """Return the decimal number with the fewest digits that is between two numbers."""
    middle = (low + high) / 2
    for digits in range(1, 17):
        number = round(middle, digits)
        if low < number < high:
            return number
    return high  # neighbouring float64 numbers
