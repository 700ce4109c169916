"""Whether the newest rows, which a split by time holds out, are as the rows before: bias, trend and coverage.

A model that was right about the past is wrong about a future that differs. Errors that follow each other are alike, so
the tests compare means of stretches of rows, not single rows (batch means, Law and Carson 1979).

Letters: N rows in the order of their times, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sightline.contracts import Target
from sightline.errors import counted, readable, shorten
from sightline.load.divide import time_values

if TYPE_CHECKING:
    from sightline.load.split import Splits

FEWEST_ROWS = 60
STRETCH, MOST_STRETCHES = 10, 20
"""Rows are cut into at most 20 stretches of at least 10 rows."""
CHANCE = 0.001
"""How often a stable series may be warned of by chance; shared among the tests of all classes."""
BIAS, TREND = 0.2, 0.5
"""A bias, or a change of the errors from the oldest to the newest row, is worth a warning from this many standard
deviations of the errors on."""
DEVIATIONS = 3.5
"""Coverage is too low from this many standard deviations below what was promised."""
WHAT_TO_DO = "Expect more of it: fit again with newer rows, or predict a change instead of a level."


def times_of(splits: Splits, rows: np.ndarray) -> np.ndarray | None:
    """Return the times of some rows [N] of a table that was split by time; None for another split.

    Rows that were given as a table of their own may have none: then it is None, too.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.evaluate.over_time import times_of
        >>> table = sl.read({"t": [5.5, 2.5, 1.5, 9.5] * 25, "x": [1.5, 2.5] * 50, "y": ["a", "b"] * 50})
        >>> times_of(sl.split(table, "y", time="t"), np.arange(3)).tolist()
        [5.5, 2.5, 1.5]
        >>> times_of(sl.split(table, "y"), np.arange(3))
    """
    name = splits.options.get("time")
    if name is None:
        return None
    values, missing = time_values(splits.table, name)
    return None if missing[rows].any() else values[rows]


def time_warnings(
    target: Target, values: np.ndarray, truth: np.ndarray, times: np.ndarray, name: str, part: str, groups: bool = False
) -> list[str]:  # fmt: skip
    """Warn of errors that have a bias, or a trend over time.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1].
        truth: int64 classes [N], or numbers [N].
        times: The rows' times [N].
        name: The time column.
        part: Which rows these are, such as "test".
        groups: Whether whole groups were held out, whose rows may be older than training rows.

    Returns:
        Sentences that begin with "Warning:"; none for fewer than 60 rows.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.over_time import time_warnings
        >>> truth, times = np.tile([2.0, 4.0], 100), np.arange(200)
        >>> (said,) = time_warnings(Target("y", "regression"), np.zeros((200, 1)), truth, times, "day", "test")
        >>> print(said[:149])
        Warning: the future differs from the past, which the model learned from. On 200 test rows, the newest by 'day', predictions are 3 too low on average,
    """
    if len(truth) < FEWEST_ROWS:
        return []
    order = np.argsort(times, kind="stable")
    newest = (
        f"those of the groups that are the newest by {name!r},"
        if groups
        else f"the newest by {name!r},"
    )
    about = f"On {counted(len(truth), f'{part} row')}, {newest}"
    if target.task == "regression":
        found = list(_of_numbers(truth[order] - values[order, 0], about))
    else:
        found = list(_of_classes(target, values[order], truth[order], about))
    return [
        f"Warning: the future differs from the past, which the model learned from. {said}"
        for said in found
    ]


def coverage_warning(
    inside: np.ndarray, alpha: float, times: np.ndarray, fitted_rows: int
) -> str | None:
    """Warn of sets or intervals that contain the truth less often than they promise.

    Args:
        inside: Which rows' sets contain the truth, bool [N].
        alpha: The share of rows that may be missed.
        times: The rows' times [N].
        fitted_rows: The rows that the sets were fitted on: their number limits how exact the promise is.

    Returns:
        A sentence that begins with "Warning:", or None.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.over_time import coverage_warning
        >>> inside = np.arange(500) % 10 < 6
        >>> coverage_warning(inside, 0.1, np.arange(500), 500)[:95]
        'Warning: the future differs from the past. That is 30 points less than the 90 % promised, and c'
    """
    if len(inside) < FEWEST_ROWS:
        return None
    means = _stretches(inside[np.argsort(times, kind="stable")].astype(np.float64))
    single = alpha * (1 - alpha)
    variance = max(single / len(inside), float(means.var(ddof=1)) / len(means)) + single / max(
        fitted_rows, 1
    )
    missed, chance = 1 - alpha - float(inside.mean()), DEVIATIONS * variance**0.5
    if missed <= chance:
        return None
    return (
        f"Warning: the future differs from the past. That is {readable(100 * missed, 3)} points less than the "
        f"{100 * (1 - alpha):g} % promised, and chance explains at most {readable(100 * chance, 3)}: do not rely on them "
        "for newer rows."
    )


# ------------------------------------------------------------- helpers


def _of_numbers(errors: np.ndarray, about: str) -> Iterator[str]:
    biased, moves = _tested(errors, CHANCE / 2)
    spread = readable(float(errors.std()), 3)
    if moves:
        first, last = _ends(errors)
        yield (
            f"{about} the errors have a trend: predictions are {_off(first)} for the oldest of them and {_off(last)} for "
            f"the newest (standard deviation of the errors {spread}). {WHAT_TO_DO}"
        )
    elif biased:
        yield (
            f"{about} predictions are {_off(float(errors.mean()))} on average, while a typical error around that is "
            f"{spread}: the level has moved. {WHAT_TO_DO}"
        )


def _of_classes(
    target: Target, values_NK: np.ndarray, truth: np.ndarray, about: str
) -> Iterator[str]:
    """Yield at most one sentence: of the class whose share differs most from its probabilities."""
    two = target.positive is not None
    numbers = [target.classes.index(target.positive)] if two else range(len(target.classes))
    limit = CHANCE / (2 * len(numbers))
    worst: tuple[float, str] | None = None
    for number in numbers:
        is_class, share = truth == number, values_NK[:, number].astype(np.float64)
        errors = is_class - share
        biased, moves = _tested(errors, limit)
        if not (biased or moves):
            continue
        class_ = shorten(target.texts[number], 40)
        gap = abs(float(errors.mean()))
        said = (
            f"{about} the class {class_} has {100 * is_class.mean():.1f} % of the rows, and the model expects "
            f"{100 * share.mean():.1f} %"
        )
        if moves:
            first, last = _ends(errors)
            gap = max(gap, abs(first), abs(last))
            said += f"; the difference is {100 * first:+.1f} points for the oldest of them and {100 * last:+.1f} for the newest"
        if worst is None or gap > worst[0]:
            worst = (
                gap,
                f"{said}: its probabilities are no longer right. Fit again with newer rows.",
            )
    if worst is not None:
        yield worst[1]


def _tested(errors: np.ndarray, chance: float) -> tuple[bool, bool]:
    """Tell whether errors in the order of time have a bias, and whether they have a trend, beyond chance."""
    from scipy.stats import linregress, ttest_1samp

    means, spread = _stretches(errors), float(errors.std())
    if spread == 0:
        return bool(errors[0] != 0), False
    if means.std() == 0:
        return abs(float(means[0])) >= BIAS * spread, False
    biased = ttest_1samp(means, 0).pvalue < chance and abs(float(errors.mean())) >= BIAS * spread
    fitted = linregress(np.arange(len(means)), means)
    change = abs(float(fitted.slope)) * (len(means) - 1)
    return bool(biased), bool(fitted.pvalue < chance and change >= TREND * spread)


def _stretches(values: np.ndarray) -> np.ndarray:
    """Return the means of stretches of rows."""
    count = min(len(values) // STRETCH, MOST_STRETCHES)
    return np.array([part.mean() for part in np.array_split(values, count)])


def _ends(errors: np.ndarray) -> tuple[float, float]:
    """Return the mean errors of the oldest and of the newest fifth."""
    fifth = len(errors) // 5
    return float(errors[:fifth].mean()), float(errors[-fifth:].mean())


def _off(error: float) -> str:
    """Say how far predictions are off, by the mean of truth minus prediction."""
    return f"{readable(abs(error), 3)} too {'low' if error > 0 else 'high'}"
