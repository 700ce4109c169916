"""The rows that a model gets most wrong, with their raw values: where to look first."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.contracts import Target
from sightline.load.table import Table
from sightline.trace.records import rounded

MOST_ROWS = 10
MOST_COLUMNS = 40
MOST_CHARACTERS = 100


def worst_rows(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    table: Table,
    numbers: np.ndarray,
    guessed: np.ndarray | None = None,
) -> dict[str, Any]:
    """Find the rows got most wrong, the worst first: the body of `predict/worst`.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit; N > 0.
        truth: int64 class numbers [N], or numbers [N].
        table: The N rows as they were read.
        numbers: What to call each row, [N].
        guessed: int64 class numbers [N] that rows are given; None for the likeliest ones.

    Returns:
        `rows`, 10 at most, and a `sentence`. Each row has `row`, `truth`, `prediction`,
        `probability` (given to the true class, the least of all rows; None for numbers), `error`
        (predicted - truth, the largest by size; None for classes) and `raw`: its features' values,
        40 columns at most, texts cut to 100 characters.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.worst import worst_rows
        >>> table = sl.read({"x": [1.5, 2.5, 4.0], "y": [1.0, 2.0, 3.0]})
        >>> found = worst_rows(Target("y", "regression"), np.array([[1.0], [9.0], [2.5]]),
        ...               np.array([1.0, 2.0, 3.0]), table, np.arange(3))
        >>> [(row["row"], row["error"]) for row in found["rows"]]
        [(1, 7.0), (2, -0.5), (0, 0.0)]
    """
    every = np.arange(len(truth))
    classes = target.task == "classification"
    size = values[every, truth] if classes else -np.abs(values[:, 0] - truth)
    guessed = values.argmax(axis=1) if guessed is None else guessed
    places = np.argsort(size, kind="stable")[:MOST_ROWS].tolist()
    names = [column.name for column in table.schema.features if column.name != target.name]
    rows = []
    for place in places:
        true, value = truth[place].item(), float(values[place, 0])
        rows.append({
            "row": int(numbers[place]),
            "truth": target.classes[true] if classes else true,
            "prediction": target.classes[int(guessed[place])] if classes else rounded(value, 7),
            "probability": rounded(float(values[place, true])) if classes else None,
            "error": None if classes else rounded(value - true),
            "raw": {name: _short(table.cells(name, place)) for name in names[:MOST_COLUMNS]},
        })  # fmt: skip
    count = f"The {len(rows)} rows" if len(rows) > 1 else "The row"
    if classes:
        wrong = int((guessed[places] != truth[places]).sum())
        said = f"{count} whose true class got the least probability, the worst first: "
        said += f"{wrong} of them got another class." if wrong else "all of them are right even so."
    else:
        middle = float(np.median(np.abs(size)))
        said = f"{count} whose predictions are farthest off, the worst first: by "
        said += f"{-float(size[places[0]]):,.4g}, where {middle:,.4g} is the middle of all rows."
    if len(names) > MOST_COLUMNS:
        said += f" The first {MOST_COLUMNS} of their {len(names):,} columns are shown."
    return {"rows": rows, "sentence": said}


# ------------------------------------------------------------- helpers


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return f"{value[: MOST_CHARACTERS - 3]}..."
    return value
