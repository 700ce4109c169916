"""Metrics by name, fast enough for every epoch: early stopping can watch them instead of the loss.

Letters: N rows, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sightline.contracts import Batch, Target
from sightline.contracts.metrics import METRICS, check_metric

SMALLEST_FLOAT32 = float(np.finfo(np.float32).tiny)
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray, Target], float]


@dataclass(frozen=True)
class Score:
    """A metric.

    Attributes:
        name: Such as "roc_auc".
        task: "classification" or "regression".
        greater_is_better: Whether a higher value is better.
        measure: From values [N, K], truth [N], weights [N] and the target to the metric; NaN where it
            is not defined.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.metrics.scores import SCORES
        >>> target = Target("y", "classification", ("no", "yes"), "yes")
        >>> values = np.array([[0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        >>> SCORES["roc_auc"].measure(values, np.array([0, 1, 1]), np.ones(3), target)
        1.0
    """

    name: str
    task: str
    greater_is_better: bool
    measure: Measure

    def of(self, values: Tensor, batch: Batch, target: Target) -> float:
        """Measure the output of `Task.head`, [N, K], against a batch's target and row weights."""
        weight = batch.weight
        if weight is not None and weight.dim() == 2:  # 0 for the members that hold a row out
            weight = weight.amax(dim=1)
        counts = np.ones(len(values)) if weight is None else weight.double().cpu().numpy()
        return self.measure(
            values.double().cpu().numpy(), batch.target.cpu().numpy(), counts, target
        )

    def as_loss(self, value: float) -> float:
        """Return the metric with the sign that makes lower better."""
        return -value if self.greater_is_better else value


def check_eval_metric(name: object, target: Target) -> Score:
    """Return the metric of a name.

    Args:
        name: Such as "roc_auc": a key of `SCORES`.
        target: What is predicted.

    Raises:
        OptionError: There is no such metric, or it is for the other task.

    Example:
        >>> from sightline.contracts import Target
        >>> from sightline.metrics.scores import check_eval_metric
        >>> check_eval_metric("mae", Target("price", "regression")).greater_is_better
        False
    """
    check_metric(name, target.task, target.name)
    return SCORES[str(name)]


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    total = float(weight.sum())
    return float((values * weight).sum() / total) if total else float("nan")


def _log_loss(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, _: Target) -> float:
    return _mean(-np.log(values[np.arange(len(truth)), truth].clip(SMALLEST_FLOAT32)), weight)


def _brier(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, target: Target) -> float:
    """Return the Brier score: the mean squared error of probabilities.

    For two classes that of one class; for more the sum over classes.
    """
    off = values.copy()
    off[np.arange(len(truth)), truth] -= 1
    if len(target.classes) == 2:
        return _mean(np.square(off[:, 0]), weight)
    return _mean(np.square(off).sum(axis=1), weight)


def _accuracy(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, _: Target) -> float:
    return _mean((values.argmax(axis=1) == truth).astype(float), weight)


def _counts(
    values: np.ndarray, truth: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by class the weight of its rows, of rows predicted as it, and of those that are right."""
    classes = values.shape[1]
    predicted = values.argmax(axis=1)
    return (
        np.bincount(truth, weight, classes), np.bincount(predicted, weight, classes),
        np.bincount(truth, weight * (predicted == truth), classes),
    )  # fmt: skip


def _balanced(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, _: Target) -> float:
    return balanced_accuracy(values.argmax(axis=1) == truth, truth, weight)


def balanced_accuracy(right: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Return the mean over classes of the share of their rows that are predicted right.

    Args:
        right: Which rows are, bool [N].
        truth: Their true classes, int64 [N].
        weight: How much each row counts, [N].

    Returns:
        The mean over the classes that have rows; NaN if no row counts.

    Example:
        >>> import numpy as np
        >>> from sightline.metrics.scores import balanced_accuracy
        >>> balanced_accuracy(np.array([True, True, False, True]), np.array([0, 0, 0, 1]), np.ones(4)) > 0.83
        True
    """
    rows = np.bincount(truth, weight)
    if not rows.any():
        return float("nan")
    return float((np.bincount(truth, weight * right)[rows > 0] / rows[rows > 0]).mean())


def _f1(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, target: Target) -> float:
    """Return F1 of the positive class; for more than two classes the mean over classes."""
    actual, predicted, right = _counts(values, truth, weight)
    if not actual.any():
        return float("nan")
    sums = actual + predicted
    scores = np.divide(2 * right, sums, out=np.zeros_like(sums), where=sums > 0)
    if target.positive is not None:
        return float(scores[target.classes.index(target.positive)])
    return float(scores[sums > 0].mean())


def _auc(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, target: Target) -> float:
    """Return the area under the ROC curve; for more classes the mean of one against the rest."""
    return _against_the_rest(_area, values, truth, weight, target)


def _average_precision(
    values: np.ndarray, truth: np.ndarray, weight: np.ndarray, target: Target
) -> float:
    """Return the average precision; for more classes the mean of one against the rest."""
    return _against_the_rest(average_precision, values, truth, weight, target)


def _against_the_rest(
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    values: np.ndarray, truth: np.ndarray, weight: np.ndarray, target: Target,
) -> float:  # fmt: skip
    columns = range(values.shape[1])
    if target.positive is not None:
        columns = range(index := target.classes.index(target.positive), index + 1)
    found = [measure(values[:, column], truth == column, weight) for column in columns]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _area(score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    """Return the probability that a positive row scores above a negative one; ties count half."""
    return area_of_ranks(np.unique(score, return_inverse=True)[1], positive, weight)


def average_precision(score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    """Return the average precision: the mean of the precision at each score, weighted by the recall that it adds.

    Args:
        score: [N], higher for rows that are more likely positive.
        positive: Which rows are of the positive class, bool [N].
        weight: How much each row counts, [N].

    Returns:
        The average, as scikit-learn's `average_precision_score`; NaN if all rows that count are of one class.

    Example:
        >>> import numpy as np
        >>> from sightline.metrics.scores import average_precision
        >>> average_precision(np.array([0.1, 0.9, 0.5]), np.array([False, False, True]), np.ones(3))
        0.5
    """
    rank = np.unique(-score, return_inverse=True)[1]  # 0 is the highest score
    positives, all_rows = np.bincount(rank, weight * positive), np.bincount(rank, weight)
    found, chosen = np.cumsum(positives), np.cumsum(all_rows)
    if not 0 < found[-1] < chosen[-1]:
        return float("nan")
    counted = chosen > 0  # rows of weight 0 may stand alone
    return float((positives[counted] * found[counted] / chosen[counted]).sum() / found[-1])


def area_of_ranks(rank: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    """Return the area under the ROC curve from the rank of each row's score.

    Args:
        rank: int64 [N] from 0 up; equal for equal scores.
        positive: Which rows are of the positive class, bool [N].
        weight: How much each row counts, [N].

    Returns:
        The area (ties count half); NaN if all rows that count are of one class.

    Example:
        >>> import numpy as np
        >>> from sightline.metrics.scores import area_of_ranks
        >>> area_of_ranks(np.array([0, 1, 1]), np.array([False, False, True]), np.ones(3))
        0.75
    """
    positives = np.bincount(rank, weight * positive)
    negatives = np.bincount(rank, weight * ~positive)
    if not positives.any() or not negatives.any():
        return float("nan")
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum()))


def _rmse(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, _: Target) -> float:
    return math.sqrt(_mean(np.square(values[:, 0] - truth), weight))


def _mae(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, _: Target) -> float:
    return _mean(np.abs(values[:, 0] - truth), weight)


def _r2(values: np.ndarray, truth: np.ndarray, weight: np.ndarray, _: Target) -> float:
    spread = _mean(np.square(truth - _mean(truth, weight)), weight)
    return 1 - _mean(np.square(values[:, 0] - truth), weight) / spread if spread else float("nan")


MEASURES: dict[str, Measure] = {
    "log_loss": _log_loss, "roc_auc": _auc, "average_precision": _average_precision, "accuracy": _accuracy,
    "balanced_accuracy": _balanced, "f1": _f1, "brier": _brier, "rmse": _rmse, "mae": _mae, "r2": _r2,
}  # fmt: skip
SCORES: dict[str, Score] = {
    name: Score(name, metric.task, metric.greater_is_better, MEASURES[name])
    for name, metric in METRICS.items()
}
"""What `eval_metric` may be, by name."""
