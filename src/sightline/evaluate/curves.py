"""Curves of predictions against the truth: ROC, precision-recall, reliability; residuals of numbers.

For classification also the expected calibration error; for regression the histogram of the residuals
and a sample of true and predicted values.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import Target
from sightline.errors import counted, listed, readable, shorten
from sightline.load.histograms import bins, most_frequent
from sightline.trace.records import rounded

CURVE_POINTS = 60
"""Points of a curve, at most."""
CURVE_CLASSES = 10
"""Classes that have a curve, at most: the most frequent ones."""
SCATTER_ROWS = 300
"""Rows in the sample of true and predicted numbers, at most."""
LARGEST_CHANCE_ECE = 0.05
"""If chance alone gives a larger calibration error than this, the rows are too few to judge."""
FLAT_AREA = 1e-9
"""Three points whose triangle has less than half of this area lie on a straight line."""
RELIABILITY_BINS = 10
"""Bins of the reliability curve that is drawn."""
ECE_BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017."""
QUANTILES = (5, 25, 50, 75, 95)
"""Percentiles of the residuals that are recorded."""


def measure_curves(target: Target, values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compute the curves of predictions against the truth: the body of `predict/curves`.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit; finite, N > 0.
        truth: int64 class numbers [N], or numbers [N].

    Returns:
        For classification `rows`, `roc` and `pr` (a curve for the positive class, or for each
        of the 10 most frequent classes against the rest: `class`, `area`, at most 60 points `x`,
        `y`; the area is that of all points, and for `pr` the average precision), `curves_note`
        (which classes have none, and why; or None) and `reliability`. For regression `rows`,
        `scatter` (at most 300 rows: `truth`, `predicted`), `residuals` (predicted - truth, in the
        target's unit: `low`, `high`, `counts` of 20 bins), `quantiles` of the residuals. Numbers
        have 5 significant digits.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.curves import measure_curves
        >>> target = Target("y", "classification", ("no", "yes"), "yes")
        >>> yes = np.array([0.1, 0.4, 0.8])
        >>> body = measure_curves(target, np.stack([1 - yes, yes], axis=1), np.array([0, 0, 1]))
        >>> body["roc"][0]["area"], body["roc"][0]["x"], body["roc"][0]["y"]
        (1.0, [0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    """
    if target.task == "regression":
        body = _residuals(values[:, 0], truth)
    else:
        body = _class_curves(target, values, truth)
    shortened: dict[str, Any] = rounded({"rows": len(truth), **body})
    return shortened


def thin(x: np.ndarray, y: np.ndarray, most: int = CURVE_POINTS) -> np.ndarray:
    """Choose the points that keep a curve's shape: its two ends, then the most distant ones.

    Each next point is the one that makes the largest triangle with its two neighbours among the
    chosen points (Douglas and Peucker 1973, by area and up to a number of points), so that the area
    under the curve hardly changes.

    Args:
        x, y: The curve's points in order, [N] each.
        most: How many points to keep at most, 2 or more.

    Returns:
        Indices into x and y, ascending.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.curves import thin
        >>> thin(np.arange(5.0), np.array([0.0, 0.1, 5.0, 0.1, 0.0]), 3).tolist()
        [0, 2, 4]
    """
    chosen = {0, len(x) - 1}
    gaps: list[tuple[float, int, int, int]] = []

    def add_gap(first: int, last: int) -> None:
        """Remember the most distant point between two chosen ones."""
        between = slice(first + 1, last)
        if last - first > 1:
            twice = np.abs(
                (x[last] - x[first]) * (y[between] - y[first])
                - (y[last] - y[first]) * (x[between] - x[first])
            )
            farthest = int(twice.argmax())
            if twice[farthest] > FLAT_AREA:
                gap = (-float(twice[farthest]), first, first + 1 + farthest, last)
                heapq.heappush(gaps, gap)

    add_gap(0, len(x) - 1)
    while gaps and len(chosen) < most:
        _, first, point, last = heapq.heappop(gaps)
        chosen.add(point)
        add_gap(first, point)
        add_gap(point, last)
    return np.array(sorted(chosen))


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, count: int = ECE_BINS
) -> tuple[float, float]:
    """Return the expected calibration error (ECE), and the error that chance alone would give.

    The ECE is the difference between mean confidence and accuracy in bins of equal width, averaged
    over all rows (Naeini et al. 2015; Guo et al. 2017). It is not 0 for perfectly calibrated
    probabilities either, because each bin has few rows. The second number is about its mean then:
    sqrt(2 / pi) of each bin's standard deviation.

    Args:
        confidence: The largest probability of each row, [N].
        right: Whether the predicted class is the true one, bool [N].
        count: How many bins.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.curves import calibration_error
        >>> error, chance = calibration_error(np.full(100, 0.9), np.arange(100) < 80)
        >>> round(error, 3), round(chance, 3)
        (0.1, 0.024)
    """
    bin_N = _bin_numbers(confidence, count)
    gaps = np.bincount(bin_N, confidence - right, count)
    spread = np.sqrt(np.bincount(bin_N, (confidence * (1 - confidence)).clip(0), count))
    total = len(confidence)
    return (
        float(np.abs(gaps).sum() / total),
        float(np.sqrt(2 / np.pi) * spread.sum() / total),
    )


# ------------------------------------------------------------- helpers


def _class_curves(target: Target, values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    counts = np.bincount(truth, minlength=len(target.classes))
    wanted = range(len(target.classes))
    if target.positive is not None:
        wanted = range(positive := target.classes.index(target.positive), positive + 1)
    absent = [number for number in wanted if not counts[number]]
    only = [number for number in wanted if counts[number] == len(truth)]
    drawn = [
        number for number in most_frequent(counts, len(counts)).tolist()
        if number in wanted and number not in only
    ]  # fmt: skip
    roc, pr = [], []
    for number in drawn[:CURVE_CLASSES]:
        is_class, scores = truth == number, values[:, number]
        label = target.shown[number]
        x, y, _ = roc_curve(is_class, scores)
        roc.append({"class": label, "area": float(auc(x, y)), **_points(x, y)})
        precision, recall, _ = precision_recall_curve(is_class, scores)
        area = float(average_precision_score(is_class, scores))
        pr.append({"class": label, "area": area, **_points(recall[::-1], precision[::-1])})
    notes = []
    if len(drawn) > CURVE_CLASSES:
        notes.append(f"The {CURVE_CLASSES} most frequent of {len(drawn)} classes have curves.")
    for numbers, what in ((absent, "none"), (only, "every one")):
        if numbers:
            names = listed([shorten(target.texts[number], 30) for number in numbers], 10)
            notes.append(f"No curve for {names}: {what} of these rows is of that class.")
    return {
        "roc": roc, "pr": pr, "curves_note": " ".join(notes) or None,
        "reliability": reliability(values, truth),
    }  # fmt: skip


def _points(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    kept = thin(x, y)
    return {"x": x[kept].tolist(), "y": y[kept].tolist()}


def reliability(values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compare a model's confidence with its accuracy, bin by bin: the reliability curve.

    Args:
        values: Probabilities [N, K].
        truth: int64 class numbers [N].

    Returns:
        `bins` (those that have rows: `low`, `high`, mean `confidence`, `accuracy`, `rows`), `ece`,
        `chance` (both as `calibration_error` gives them) and a `sentence`.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.curves import reliability
        >>> body = reliability(np.tile([0.75, 0.25], (4, 1)), np.array([0, 0, 0, 1]))
        >>> body["bins"][0]["confidence"], body["bins"][0]["accuracy"], body["ece"]
        (0.75, 0.75, 0.0)
    """
    confidence = values.max(axis=1).astype(np.float64)
    right = values.argmax(axis=1) == truth
    bin_N = _bin_numbers(confidence, RELIABILITY_BINS)
    curve = []
    for number in np.unique(bin_N).tolist():
        inside = bin_N == number
        curve.append({
            "low": number / RELIABILITY_BINS, "high": (number + 1) / RELIABILITY_BINS,
            "confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean()),
            "rows": int(inside.sum()),
        })  # fmt: skip
    error, chance = calibration_error(confidence, right)
    mean, accuracy = float(confidence.mean()), float(right.mean())
    if chance > LARGEST_CHANCE_ECE:
        verdict = "too few rows to tell whether the probabilities are calibrated"
    elif error <= 1.5 * chance:
        verdict = "no sign that the probabilities are miscalibrated"
    elif abs(mean - accuracy) < error / 2:
        verdict = "the model is overconfident in some answers and underconfident in others"
    else:
        verdict = f"the model is {'over' if mean > accuracy else 'under'}confident"
    return {
        "bins": curve, "ece": error, "chance": chance,
        "sentence": f"On {counted(len(truth), 'row')} the model's mean confidence is {100 * mean:.1f} % and its "
        f"accuracy {100 * accuracy:.1f} %. Bin by bin the two differ by {100 * error:.1f} percentage points "
        f"on average (the expected calibration error); chance alone makes about {100 * chance:.1f}: "
        f"{verdict}.",
    }  # fmt: skip


def _bin_numbers(confidence: np.ndarray, count: int) -> np.ndarray:
    """Return each row's bin: the first is [0, 1/count], the others exclude their lower end."""
    bin_N: np.ndarray = (np.ceil(confidence * count).astype(np.int64) - 1).clip(0, count - 1)
    return bin_N


def _residuals(predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    rows = len(truth)
    count = min(rows, SCATTER_ROWS)
    sample = np.arange(count) * rows // count
    residuals = predicted - truth
    quantiles = np.quantile(residuals, np.array(QUANTILES) / 100).tolist()
    which = (
        f"All {rows:,} rows" if count == rows else f"{count} of the {rows:,} rows, evenly spaced"
    )
    low, high = readable(quantiles[0]), readable(quantiles[-1])
    return {
        "scatter": {
            "truth": truth[sample].tolist(), "predicted": predicted[sample].tolist(),
            "sentence": f"{which}. A perfect model has them all on the diagonal, where the prediction equals "
            "the true value.",
        },
        "residuals": {
            **(bins(pa.chunked_array([pa.array(residuals)])) or {}),
            "sentence": f"90 % of the residuals (predicted minus true) lie between {low} and {high}; their "
            f"median is {readable(quantiles[2])}.",
        },
        "quantiles": {f"{q} %": value for q, value in zip(QUANTILES, quantiles, strict=True)},
    }  # fmt: skip
