"""Test metrics, with the baseline that knows no features beside them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sightline.contracts import Label, Target
from sightline.errors import counted, listed, shorten

LEAST_ROWS = 20
"""Of fewer rows it is no news that a class is never predicted."""


def measure(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    baseline: np.ndarray,
    guessed: np.ndarray | None = None,
    threshold: bool = False,
) -> dict[str, Any]:
    """Measure predictions against the truth.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit.
        truth: int64 class numbers [N], or numbers [N].
        baseline: Training class shares [K], or the training mean [1].
        guessed: int64 class numbers [N] that rows are given; None for the likeliest ones.
        threshold: Whether a threshold gave them.

    Returns:
        For classification `rows`, `accuracy`, `log_loss`, `roc_auc` (None when one class alone
        is there; the mean of one against the rest for three or more), `baseline`, `classes` (precision,
        recall, F1, rows of each), `confusion` [truth][predicted] and `notes` in words; for regression `rows`,
        `rmse`, `mae`, `r2` (None for fewer than 2 different values), `baseline` and `notes`.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.metrics.measure import measure
        >>> target = Target("y", "regression")
        >>> found = measure(target, np.array([[1.0], [3.0]]), np.array([1.0, 2.0]), np.array([0.0]))
        >>> found["mae"], found["baseline"]["mae"]
        (0.5, 1.5)
    """
    if target.task == "regression":
        return _regression(values[:, 0], truth, baseline)
    guessed = values.argmax(axis=1) if guessed is None else guessed
    return _classification(target, values, truth, baseline, guessed, threshold)


def _regression(values: np.ndarray, truth: np.ndarray, baseline: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    def numbers(predicted: np.ndarray) -> dict[str, Any]:
        different = len(truth) > 1 and truth.min() != truth.max()
        return {
            "rmse": float(mean_squared_error(truth, predicted) ** 0.5),
            "mae": float(mean_absolute_error(truth, predicted)),
            "r2": float(r2_score(truth, predicted)) if different else None,
        }

    constant = np.full(len(truth), float(baseline[0]))
    below = int((values < 0).sum())
    notes = []
    if below and (truth >= 0).all():
        notes.append(
            f"{below:,} of {counted(len(truth), 'prediction')} lie below 0, and no true number does: if "
            "there can be none, another target, such as its logarithm, may serve you better."
        )
    return {
        "rows": len(truth), **numbers(values), "notes": notes,
        "baseline": {"what": "the training rows' mean for every row", **numbers(constant)},
    }  # fmt: skip


def _classification(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    baseline: np.ndarray,
    guessed: np.ndarray,
    threshold: bool,
) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    numbers = list(range(len(target.classes)))
    precision, recall, f1, rows = precision_recall_fscore_support(
        truth, guessed, labels=numbers, zero_division=0.0
    )
    shares = np.tile(baseline, (len(truth), 1))
    most = int(baseline.argmax())
    area = _auc(target, values, truth)
    said: dict[str, Any] = {
        "rows": len(truth),
        "accuracy": float((guessed == truth).mean()),
        "log_loss": log_loss(values, truth),
        "roc_auc": area,
        "positive": target.positive,
        "baseline": {
            "what": f"the training rows' majority class, {target.classes[most]}, for every row; its "
            "log loss and AUC with the training rows' class shares",
            "accuracy": float((truth == most).mean()),
            "log_loss": log_loss(shares, truth),
            "roc_auc": None if area is None else 0.5,
        },
        "classes": [
            {
                "class": label, "precision": float(precision[i]), "recall": float(recall[i]),
                "f1": float(f1[i]), "rows": int(rows[i]),
            }
            for i, label in enumerate(target.classes)
        ],
        "confusion": confusion_matrix(truth, guessed, labels=numbers).tolist(),
        "notes": _never_predicted(target, rows.tolist(), set(guessed.tolist()), threshold),
    }  # fmt: skip
    return said


def _never_predicted(
    target: Target, rows: list[int], guessed: set[int], threshold: bool
) -> list[str]:
    """Say which classes of these rows no row is given, and what finds them."""
    left: list[tuple[int, Label]] = [
        (count, label)
        for place, (count, label) in enumerate(zip(rows, target.classes, strict=True))
        if count and place not in guessed
    ]
    if not left or sum(rows) < LEAST_ROWS:
        return []
    names = listed(
        [f"{shorten(str(label), 40)} ({counted(count, 'row')})" for count, label in left], 3
    )
    said = f"No row is predicted as {names}: its probability is never large enough."
    if threshold:
        return [f"{said} The threshold may be another (--threshold)."]
    if target.positive is None:
        return [f"{said} class_weights='balanced' (--balanced) predicts rare classes more often."]
    about = "" if left[0][1] == target.positive else f" with positive={left[0][1]!r} (--positive)"
    return [
        f"{said} threshold='f1' (--threshold f1){about} moves the decision; class_weights='balanced' "
        "(--balanced) learns as if both were as frequent."
    ]


def log_loss(values: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean of -ln of the probability given to the true class.

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
    """Area under the ROC curve; over those classes alone that have rows of both kinds."""
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import roc_auc_score

    columns = range(len(target.classes))
    if target.positive is not None:
        columns = range(place := target.classes.index(target.positive), place + 1)
    areas = []
    for column in columns:
        is_class = truth == column
        if is_class.all() or not is_class.any():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", UndefinedMetricWarning)
            areas.append(float(roc_auc_score(is_class, values[:, column])))
    return float(np.mean(areas)) if areas else None
