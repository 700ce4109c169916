"""Metrics of predictions, beside those of a baseline that uses no features.

Letters: N rows, K classes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sightline.contracts import Target
from sightline.errors import counted, listed, shorten

FEWEST_ROWS_FOR_NOTES = 20
"""With fewer rows, a class that is never predicted is not worth a note."""


def measure(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    baseline: np.ndarray,
    predicted: np.ndarray | None = None,
    threshold: bool = False,
) -> dict[str, Any]:
    """Measure predictions against the truth.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit.
        truth: int64 class numbers [N], or numbers [N].
        baseline: Training class shares [K], or the training mean [1].
        predicted: The predicted classes, int64 [N]; None for the likeliest ones.
        threshold: Whether a decision threshold chose them.

    Returns:
        For classification `rows`, `accuracy`, `log_loss`, `roc_auc` (None when all rows are of one
        class; the mean of one class against the rest for three or more), for two classes `average_precision` (of
        the positive class; None when all rows are of one class), `positive`, `baseline`,
        `classes` (precision, recall, F1 and rows of each), `confusion` (a row for each true class, a column for each predicted one) and `notes` in
        words; for regression `rows`, `rmse`, `mae`, `r2` (None for fewer than 2 different values),
        `baseline` and `notes`.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.metrics.measure import measure
        >>> target = Target("y", "regression")
        >>> metrics = measure(target, np.array([[1.0], [3.0]]), np.array([1.0, 2.0]), np.array([0.0]))
        >>> metrics["mae"], metrics["baseline"]["mae"]
        (0.5, 1.5)
    """
    if target.task == "regression":
        return _regression(values[:, 0], truth, baseline)
    predicted = values.argmax(axis=1) if predicted is None else predicted
    return _classification(target, values, truth, baseline, predicted, threshold)


def _regression(values: np.ndarray, truth: np.ndarray, baseline: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    def errors(predicted: np.ndarray) -> dict[str, Any]:
        several = len(truth) > 1 and truth.min() != truth.max()
        return {
            "rmse": float(mean_squared_error(truth, predicted) ** 0.5),
            "mae": float(mean_absolute_error(truth, predicted)),
            "r2": float(r2_score(truth, predicted)) if several else None,
        }

    constant = np.full(len(truth), float(baseline[0]))
    below = int((values < 0).sum())
    notes = []
    measured, without = errors(values), errors(constant)
    # Of a model that learned nothing, negative predictions are not what is wrong.
    if below and (truth >= 0).all() and measured["rmse"] <= without["rmse"]:
        notes.append(
            f"{below:,} of {counted(len(truth), 'prediction')} "
            f"{'is' if below == 1 else 'are'} below 0, and no true number is: if "
            "the target cannot be negative, predict its logarithm instead."
        )
    return {
        "rows": len(truth), **measured, "notes": notes,
        "baseline": {"what": "the training rows' mean for every row", **without},
    }  # fmt: skip


def _classification(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    baseline: np.ndarray,
    predicted: np.ndarray,
    threshold: bool,
) -> dict[str, Any]:
    from sklearn.metrics import (
        average_precision_score,
        confusion_matrix,
        precision_recall_fscore_support,
    )

    numbers = list(range(len(target.classes)))
    precision, recall, f1, rows = precision_recall_fscore_support(
        truth, predicted, labels=numbers, zero_division=0.0
    )
    shares = np.tile(baseline, (len(truth), 1))
    majority = int(baseline.argmax())
    area = _auc(target, values, truth)
    of_positive: dict[str, Any] = {}
    share: dict[str, Any] = {}
    if target.positive is not None:
        index = target.classes.index(target.positive)
        positive = truth == index
        both = positive.any() and not positive.all()
        of_positive["average_precision"] = (
            float(average_precision_score(positive, values[:, index])) if both else None
        )
        share["average_precision"] = float(positive.mean()) if both else None
    return {
        "rows": len(truth),
        "accuracy": float((predicted == truth).mean()),
        "log_loss": log_loss(values, truth),
        "roc_auc": area,
        **of_positive,
        "positive": target.shown_positive,
        "baseline": {
            "what": f"the training rows' majority class, {target.texts[majority]}, for every row; its "
            "log loss and AUC with the training rows' class shares",
            "accuracy": float((truth == majority).mean()),
            "log_loss": log_loss(shares, truth),
            "roc_auc": None if area is None else 0.5,
            **share,
        },
        "classes": [
            {
                "class": label, "precision": float(precision[i]), "recall": float(recall[i]),
                "f1": float(f1[i]), "rows": int(rows[i]),
            }
            for i, label in enumerate(target.shown)
        ],
        "confusion": confusion_matrix(truth, predicted, labels=numbers).tolist(),
        "notes": _never_predicted(target, rows.tolist(), set(predicted.tolist()), threshold, baseline),
    }  # fmt: skip


def _never_predicted(
    target: Target, rows: list[int], predicted: set[int], threshold: bool, shares: np.ndarray
) -> list[str]:
    """Return a note on classes that have rows but are never predicted, and what to do.

    `shares` [K] are those of the classes among the training rows.
    """
    left = [index for index, count in enumerate(rows) if count and index not in predicted]
    if not left or sum(rows) < FEWEST_ROWS_FOR_NOTES:
        return []
    names = listed(
        [f"{shorten(target.texts[index], 40)} ({counted(rows[index], 'row')})" for index in left], 3
    )
    if not any(shares[index] for index in left):
        return [
            f"No row is predicted as {names}: no training row is of {'this class' if len(left) == 1 else 'these classes'}, so the "
            "model cannot learn to predict it. Give training rows of it, or another split."
        ]
    note = f"No row is predicted as {names}: its probability is never large enough."
    if threshold:
        return [f"{note} Give another threshold (--threshold)."]
    if target.positive is None:
        return [f"{note} class_weights='balanced' (--balanced) predicts rare classes more often."]
    label = target.classes[left[0]]
    positive = (
        "" if label == target.positive else f" with positive={target.shown[left[0]]!r} (--positive)"
    )
    return [
        f"{note} threshold='f1' (--threshold f1){positive} moves the decision threshold; class_weights='balanced' "
        "(--balanced) trains as if both classes were equally frequent."
    ]


def log_loss(values: np.ndarray, truth: np.ndarray) -> float:
    """Return the log loss: the mean of -ln of the probability of the true class.

    Args:
        values: Probabilities [N, K].
        truth: int64 class numbers [N].

    Example:
        >>> import numpy as np
        >>> from sightline.metrics.measure import log_loss
        >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([0])), 4)
        0.6931
    """
    given = values[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(given.clip(np.finfo(np.float32).tiny)).mean())


def _auc(target: Target, values: np.ndarray, truth: np.ndarray) -> float | None:
    """Return the area under the ROC curve, averaged over the classes that it is defined for."""
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import roc_auc_score

    columns = range(len(target.classes))
    if target.positive is not None:
        columns = range(index := target.classes.index(target.positive), index + 1)
    areas = []
    for column in columns:
        is_class = truth == column
        if is_class.all() or not is_class.any():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", UndefinedMetricWarning)
            areas.append(float(roc_auc_score(is_class, values[:, column])))
    return float(np.mean(areas)) if areas else None
