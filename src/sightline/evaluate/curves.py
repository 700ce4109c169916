"""How good predictions are at every threshold, and whether their probabilities can be believed.

ROC and precision-recall curves, reliability bins and the expected calibration error of classes;
for numbers the errors' histogram and a sample of true and predicted values.
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

MOST_POINTS = 60
MOST_CLASSES = 10
MOST_DOTS = 300
TOO_FEW = 0.05
"""The calibration error made by chance alone above which rows are too few to judge by."""
FLAT = 1e-9
"""A triangle under half of this area is a straight line: its point adds nothing."""
SHOWN_BINS = 10
ERROR_BINS = 15
QUANTILES = (5, 25, 50, 75, 95)


def measure_curves(target: Target, values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compare predictions with the truth in pictures: the body of `predict/curves`.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit; finite, N > 0.
        truth: int64 class numbers [N], or numbers [N].

    Returns:
        For classification `rows`, `roc` and `pr` (a curve for the positive class, or for each
        of the 10 most frequent classes against the rest: `class`, `area`, at most 60 points `x`,
        `y`; the area is that of all points, and for `pr` the average precision), `curves_note`
        (which classes have none, and why; or None) and `reliability`. For regression `rows`,
        `scatter` (at most 300 rows: `truth`, `predicted`), `residuals` (predicted - truth: `low`,
        `high`, `counts` of 20 bins), `quantiles` of the residuals.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.curves import measure_curves
        >>> target = Target("y", "classification", ("no", "yes"), "yes")
        >>> yes = np.array([0.1, 0.4, 0.8])
        >>> found = measure_curves(target, np.stack([1 - yes, yes], axis=1), np.array([0, 0, 1]))
        >>> found["roc"][0]["area"], found["roc"][0]["x"], found["roc"][0]["y"]
        (1.0, [0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    """
    if target.task == "regression":
        found = _numbers(values[:, 0], truth)
    else:
        found = _classes(target, values, truth)
    said: dict[str, Any] = rounded({"rows": len(truth), **found})
    return said


def thin(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Choose points that keep a curve's shape: the first and the last, then those farthest off.

    Each next one makes the largest triangle with its neighbours among the chosen ones (Douglas
    and Peucker 1973, by area and up to a number of points), so that the area under the curve
    hardly changes.

    Args:
        x, y: The curve's points in order, [N] each.
        most: How many to choose at most, 2 or more.

    Returns:
        Places in x and y, ascending.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.curves import thin
        >>> thin(np.arange(5.0), np.array([0.0, 0.1, 5.0, 0.1, 0.0]), 3).tolist()
        [0, 2, 4]
    """
    chosen = {0, len(x) - 1}
    gaps: list[tuple[float, int, int, int]] = []

    def look(first: int, last: int) -> None:
        between = slice(first + 1, last)
        if last - first > 1:
            twice = np.abs(
                (x[last] - x[first]) * (y[between] - y[first])
                - (y[last] - y[first]) * (x[between] - x[first])
            )
            place = int(twice.argmax())
            if twice[place] > FLAT:
                heapq.heappush(gaps, (-float(twice[place]), first, first + 1 + place, last))

    look(0, len(x) - 1)
    while gaps and len(chosen) < most:
        _, first, place, last = heapq.heappop(gaps)
        chosen.add(place)
        look(first, place)
        look(place, last)
    return np.array(sorted(chosen))


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, count: int = ERROR_BINS
) -> tuple[float, float]:
    """Return the expected calibration error, and what chance alone would make of it.

    In bins of equal width, how far the mean confidence is from the share of right answers, on
    the average over all rows (Naeini et al. 2015; Guo et al. 2017). Answers that are right
    exactly as often as they claim have an error too, because few rows fall into a bin: the
    second number is about its mean, sqrt(2 / pi) of each bin's standard deviation.

    Args:
        confidence: The largest probability of each row, [N].
        right: Whether the answer is right, [N].
        count: How many bins.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.curves import calibration_error
        >>> error, chance = calibration_error(np.full(100, 0.9), np.arange(100) < 80)
        >>> round(error, 3), round(chance, 3)
        (0.1, 0.024)
    """
    places = _places(confidence, count)
    gaps = np.bincount(places, confidence - right, count)
    spread = np.sqrt(np.bincount(places, (confidence * (1 - confidence)).clip(0), count))
    total = len(confidence)
    return (
        float(np.abs(gaps).sum() / total),
        float(np.sqrt(2 / np.pi) * spread.sum() / total),
    )


# ------------------------------------------------------------- helpers


def _classes(target: Target, values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    counts = np.bincount(truth, minlength=len(target.classes))
    wanted = range(len(target.classes))
    if target.positive is not None:
        wanted = range(place := target.classes.index(target.positive), place + 1)
    absent = [place for place in wanted if not counts[place]]
    alone = [place for place in wanted if counts[place] == len(truth)]
    drawn = [
        place for place in most_frequent(counts, len(counts)).tolist()
        if place in wanted and place not in alone
    ]  # fmt: skip
    roc, pr = [], []
    for place in drawn[:MOST_CLASSES]:
        is_class, scores = truth == place, values[:, place]
        label = target.classes[place]
        x, y, _ = roc_curve(is_class, scores)
        roc.append({"class": label, "area": float(auc(x, y)), **_points(x, y)})
        precision, recall, _ = precision_recall_curve(is_class, scores)
        area = float(average_precision_score(is_class, scores))
        pr.append({"class": label, "area": area, **_points(recall[::-1], precision[::-1])})
    notes = []
    if len(drawn) > MOST_CLASSES:
        notes.append(f"The {MOST_CLASSES} most frequent of {len(drawn)} classes have curves.")
    for places, what in ((absent, "none"), (alone, "every one")):
        if places:
            names = listed([shorten(str(target.classes[place]), 30) for place in places], 10)
            notes.append(f"No curve for {names}: {what} of these rows is of that class.")
    return {
        "roc": roc, "pr": pr, "curves_note": " ".join(notes) or None,
        "reliability": reliability(values, truth),
    }  # fmt: skip


def _points(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    kept = thin(x, y)
    return {"x": x[kept].tolist(), "y": y[kept].tolist()}


def reliability(values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compare how sure a model is with how often it is right, bin by bin.

    Args:
        values: Probabilities [N, K].
        truth: int64 [N], the classes.

    Returns:
        `bins` (those with rows), `ece`, `chance` and a `sentence`, as in `curves`.
    """
    confidence = values.max(axis=1).astype(np.float64)
    right = values.argmax(axis=1) == truth
    places = _places(confidence, SHOWN_BINS)
    shown = []
    for place in np.unique(places).tolist():
        here = places == place
        shown.append({
            "low": place / SHOWN_BINS, "high": (place + 1) / SHOWN_BINS,
            "confidence": float(confidence[here].mean()), "accuracy": float(right[here].mean()),
            "rows": int(here.sum()),
        })  # fmt: skip
    error, chance = calibration_error(confidence, right)
    claimed, true = float(confidence.mean()), float(right.mean())
    if chance > TOO_FEW:
        verdict = "too few rows to tell whether its probabilities can be believed"
    elif error <= 1.5 * chance:
        verdict = (
            "no more than chance does with so many rows: nothing speaks against its probabilities"
        )
    elif abs(claimed - true) < error / 2:
        verdict = "it is too sure of some answers and not sure enough of others"
    else:
        verdict = "it is too sure" if claimed > true else "it could be surer"
    return {
        "bins": shown, "ece": error, "chance": chance,
        "sentence": f"Over {counted(len(truth), 'row')} the model is {100 * claimed:.1f} % sure of its answers on "
        f"average and {100 * true:.1f} % of them are right. Bin by bin the two differ by "
        f"{100 * error:.1f} points on average (the expected calibration error), where chance alone "
        f"makes about {100 * chance:.1f}: {verdict}.",
    }  # fmt: skip


def _places(confidence: np.ndarray, count: int) -> np.ndarray:
    """Return each row's bin: the first is [0, 1/count], the others leave their low end out."""
    places: np.ndarray = (np.ceil(confidence * count).astype(np.int64) - 1).clip(0, count - 1)
    return places


def _numbers(predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    rows = len(truth)
    dots = min(rows, MOST_DOTS)
    places = np.arange(dots) * rows // dots
    residuals = predicted - truth
    marks = np.quantile(residuals, np.array(QUANTILES) / 100).tolist()
    which = f"All {rows:,} rows" if dots == rows else f"{dots} of the {rows:,} rows, evenly spaced"
    low, high = readable(marks[0]), readable(marks[-1])
    return {
        "scatter": {
            "truth": truth[places].tolist(), "predicted": predicted[places].tolist(),
            "sentence": f"{which}: a perfect model would put every one on the line where predicted and "
            "true are equal.",
        },
        "residuals": {
            **(bins(pa.chunked_array([pa.array(residuals)])) or {}),
            "sentence": f"Nine errors in ten (predicted less true) lie between {low} and {high}; half of "
            f"them are above {readable(marks[2])}.",
        },
        "quantiles": {f"{share} %": mark for share, mark in zip(QUANTILES, marks, strict=True)},
    }  # fmt: skip
