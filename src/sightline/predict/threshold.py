"""The decision threshold of a binary target: chosen by what it is to be good at, never silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from sightline.contracts import Target
from sightline.errors import OptionError, counted, did_you_mean, readable, shorten

THRESHOLDS = ("f1", "balanced_accuracy", "accuracy")
FEW_ROWS = 20
"""With fewer rows of either class, which threshold is best is mostly chance."""


@dataclass(frozen=True)
class Threshold:
    """From which probability on a row is the positive class.

    Attributes:
        value: The threshold.
        by: What it was chosen by, or "given".
        score, score_at_half: What that is with it, and with 0.5, on the rows it was chosen on.
        rows: How many these are.
        positives: How many of them are of the positive class; None where a bundle does not say.
    """

    value: float
    by: str
    score: float | None
    score_at_half: float | None
    rows: int
    positives: int | None = None

    def words(self, target: Target) -> str:
        """Say which class it is for, how it was chosen, what it gives, and what to doubt.

        Args:
            target: Of two classes.

        Example:
            >>> from sightline.contracts import Target
            >>> from sightline.predict.threshold import Threshold
            >>> print(Threshold(0.25, "given", None, None, 0).words(
            ...     Target("y", "classification", ("no", "yes"), "yes")))
            A row is predicted as yes, the positive class, from a probability of 0.25 on, as asked.
        """
        names = {label: shorten(str(label), 40) for label in target.classes}
        positive = target.positive
        assert positive is not None
        other = next(label for label in target.classes if label != positive)
        said = (
            f"A row is predicted as {names[positive]}, the positive class, from a probability of "
        )
        said += f"{self.value:.4g} on"
        if self.by == "given" or self.score is None or self.score_at_half is None:
            return f"{said}, as asked."
        said += (
            f": {self.by} is {readable(self.score, 3)} there and {readable(self.score_at_half, 3)} at 0.5, "
            f"on {counted(self.rows, 'held-out row')}."
        )
        if self.positives is None:
            return said
        fewest = min(self.positives, self.rows - self.positives)
        if fewest < FEW_ROWS:
            rare = positive if 2 * self.positives <= self.rows else other
            said += (
                f" Only {counted(fewest, 'of them is', 'of them are')} {names[rare]}: what is best for so "
                "few is mostly chance."
            )
        if self.by == "f1" and 2 * self.positives > self.rows:
            said += (
                f" {names[positive]} is the more frequent class, which F1 flatters: for the other give "
                f"positive={other!r} (--positive)."
            )
        return said

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
    """Choose the threshold with the best score on rows that were not learned from.

    All middles between neighbouring probabilities are tried, and 0.5; of equal scores the one
    nearest 0.5 wins.

    Args:
        probability: Of the positive class, [N].
        positive: Which rows are of it, bool [N].
        by: One of `THRESHOLDS`, or the threshold itself.
        weight: How much each row counts, [N].

    Raises:
        OptionError: An unknown way, or a threshold that is not between 0 and 1.

    Example:
        >>> import numpy as np
        >>> from sightline.predict.threshold import find_threshold
        >>> found = find_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1]) > 0, "f1")
        >>> found.value, found.score
        (0.25, 1.0)
    """
    if isinstance(by, int | float) and not isinstance(by, bool):
        if not 0 < by < 1:
            raise OptionError(f"threshold is {by!r}.", "Give a number between 0 and 1.")
        return Threshold(float(by), "given", None, None, len(probability))
    if by not in THRESHOLDS:
        raise OptionError(
            f"threshold is {by!r}.", did_you_mean(str(by), THRESHOLDS, "ways to choose a threshold")
        )
    values, counts = probability.astype(np.float64), np.ones(len(probability))
    if weight is not None:
        counts = np.asarray(weight, np.float64)
    order = np.argsort(-values, kind="stable")
    different = np.unique(values)
    tried = np.append((different[1:] + different[:-1]) / 2, 0.5)
    above = np.searchsorted(-values[order], -tried, side="right")  # rows at or above each
    hits = np.append(0.0, np.cumsum((counts * positive)[order]))[above]
    alarms = np.append(0.0, np.cumsum((counts * ~positive)[order]))[above]
    all_positive, all_negative = float(counts[positive].sum()), float(counts[~positive].sum())
    tiny = 1e-300
    if by == "f1":
        scores = 2 * hits / np.maximum(hits + alarms + all_positive, tiny)
    elif by == "accuracy":
        scores = (hits + all_negative - alarms) / max(all_positive + all_negative, tiny)
    else:
        scores = (hits / max(all_positive, tiny) + 1 - alarms / max(all_negative, tiny)) / 2
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
