"""The rows with the largest errors, with their raw values: where to look first."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.contracts import Target
from sightline.load.table import Table
from sightline.trace.records import rounded

WORST_ROWS = 10
"""How many rows are listed, at most."""
RAW_COLUMNS = 40
"""How many columns of such a row are shown, at most."""
RAW_CHARACTERS = 100
"""How long a text value of it may be."""


def worst_rows(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    table: Table,
    numbers: np.ndarray,
    guessed: np.ndarray | None = None,
) -> dict[str, Any]:
    """List the rows with the largest errors, the largest first: the body of `predict/worst`.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit; N > 0.
        truth: int64 class numbers [N], or numbers [N].
        table: The N rows as they were read.
        numbers: Each row's number in the whole table, [N].
        guessed: The predicted class, int64 [N]; None takes the most probable one.

    Returns:
        `rows`, 10 at most, and a `sentence`. Each row has `row` (its number), `truth`, `prediction`,
        `probability` (of the true class, by which classes are ordered; None for regression), `error`
        (predicted - truth, in the target's unit; None for classes) and `raw`: its features' values,
        40 columns at most, texts cut to 100 characters.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.worst import worst_rows
        >>> table = sl.read({"x": [1.5, 2.5, 4.0], "y": [1.0, 2.0, 3.0]})
        >>> body = worst_rows(Target("y", "regression"), np.array([[1.0], [9.0], [2.5]]),
        ...                   np.array([1.0, 2.0, 3.0]), table, np.arange(3))
        >>> [(row["row"], row["error"]) for row in body["rows"]]
        [(1, 7.0), (2, -0.5), (0, 0.0)]
    """
    classes = target.task == "classification"
    # Ascending order puts the worst row first: the least probability, or the largest error.
    quality = values[np.arange(len(truth)), truth] if classes else -np.abs(values[:, 0] - truth)
    guessed = values.argmax(axis=1) if guessed is None else guessed
    worst = np.argsort(quality, kind="stable")[:WORST_ROWS].tolist()
    names = [column.name for column in table.schema.features if column.name != target.name]
    rows = []
    for index in worst:
        true, value = truth[index].item(), float(values[index, 0])
        rows.append({
            "row": int(numbers[index]),
            "truth": target.shown[true] if classes else true,
            "prediction": target.shown[int(guessed[index])] if classes else rounded(value, 7),
            "probability": rounded(float(values[index, true])) if classes else None,
            "error": None if classes else rounded(value - true),
            "raw": {name: _short(table.cells(name, index)) for name in names[:RAW_COLUMNS]},
        })  # fmt: skip
    single = len(rows) == 1
    if classes:
        wrong = int((guessed[worst] != truth[worst]).sum())
        which = "with the lowest probability of the true class"
        result = f"{wrong} of them {'is' if wrong == 1 else 'are'} misclassified" if wrong else "none is misclassified"  # fmt: skip
    else:
        median = float(np.median(np.abs(quality)))
        which = f"with the largest error{'' if single else 's'}"
        result = (
            f"up to {-float(quality[worst[0]]):,.4g}, where the median of all rows is {median:,.4g}"
        )
    sentence = f"The {'row' if single else f'{len(rows)} rows'} {which}: {result}."
    if len(names) > RAW_COLUMNS:
        sentence += f" The first {RAW_COLUMNS} of their {len(names):,} columns are shown."
    return {"rows": rows, "sentence": sentence}


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > RAW_CHARACTERS:
        return f"{value[: RAW_CHARACTERS - 3]}..."
    return value
