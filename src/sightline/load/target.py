"""The target: classification or regression, its classes, and its values as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.contracts import Column, Label, Target, TaskName
from sightline.errors import DataError, OptionError, did_you_mean, shorten
from sightline.load.table import Table
from sightline.load.values import map_codes, to_text

MOST_INTEGER_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a quantity: regression."""


def find_task(
    table: Table, name: str, task: TaskName | None, positive: Label | None
) -> tuple[Target, str]:
    """Decide between classification and regression, and list the classes.

    Raises:
        DataError: One class, text where numbers are due, or dates.
        OptionError: A positive class that does not exist.
    """
    column = table.schema[name]
    if task not in (None, "classification", "regression"):
        raise OptionError(f"task is {task!r}.", "Use 'classification' or 'regression'.")
    if column.kind == "datetime":
        raise DataError(
            f"The target {name!r} holds dates.", "Turn it into a number, such as days until then."
        )
    labels = class_labels(table, name) if task != "regression" else []
    if task is None:
        task, reason = _infer_task(column, labels, table.rows)
    else:
        reason = f"{task}, as asked"
    if task == "regression":
        if column.kind not in ("numeric", "boolean"):
            raise DataError(
                f"The target {name!r} is {column.kind}, which regression cannot predict ({column.reason}).",
                "Write its values as numbers, or use task='classification' (--task classification).",
            )
        if positive is not None:
            raise OptionError("A regression has no positive class.", "Leave positive out.")
        values = target_values(table, Target(name, "regression"))
        if values.min() == values.max():
            raise DataError(
                f"The target {name!r} is {values[0]:g} in every row: there is nothing to learn.",
                "Choose another target.",
            )
        return Target(name, "regression"), reason
    if len(labels) < 2:
        only = shorten(repr(labels[0]))
        raise DataError(
            f"The target {name!r} has one class alone, {only}: there is nothing to tell apart.",
            "Choose another target, or give rows of another class.",
        )
    if len(labels) > 0.5 * table.rows and table.rows >= 20:
        raise DataError(
            f"The target {name!r} has {len(labels):,} classes in {table.rows:,} rows ({column.reason}).",
            "Choose another target, or use task='regression' (--task regression) if it is a quantity.",
        )
    return Target(name, "classification", tuple(labels), _positive(name, labels, positive)), reason


def class_labels(table: Table, name: str) -> list[Label]:
    """Return the target's different values, sorted, in the type they came in."""
    column = table.schema[name]
    if column.kind == "boolean":
        found = {bool(flag) for flag in np.unique(table.flags(name)) if flag >= 0}
        return sorted(found)
    if column.kind == "numeric":
        unique = np.unique(table.numbers(name))
        return [int(x) if column.values != "float" else float(x) for x in unique[~np.isnan(unique)]]
    words = table.words(name)
    used = np.unique(words.indices.drop_null().to_numpy())
    texts = [words.dictionary[int(code)].as_py() for code in used]
    if column.values == "integer":
        return sorted(int(text) for text in texts)
    if column.values == "float":
        return sorted(float(text) for text in texts)
    return sorted(texts)


def target_values(table: Table, target: Target) -> np.ndarray:
    """Return the target as int64 class numbers (-1 unknown) or float64 numbers (NaN unknown)."""
    column = table.schema[target.name]
    if target.task == "regression":
        if column.kind == "boolean":
            flags = table.flags(target.name).astype(np.float64)
            return np.where(flags < 0, np.nan, flags)
        return table.numbers(target.name)
    if column.kind == "boolean":
        place = {bool(label): number for number, label in enumerate(target.classes)}
        lookup = np.array([place.get(False, -1), place.get(True, -1), -1], np.int64)
        places: np.ndarray = lookup[table.flags(target.name)]
        return places
    if column.kind == "numeric":
        known = np.array(target.classes, np.float64)
        values = table.numbers(target.name)
        place_ = np.searchsorted(known, values).clip(max=len(known) - 1)
        return np.where(known[place_] == values, place_, -1)
    numbers = {to_text(label): number for number, label in enumerate(target.classes)}
    words = table.words(target.name)
    codes = [numbers.get(word, -1) for word in words.dictionary.to_pylist()]
    return map_codes(words.indices, np.array(codes, np.int64), -1)


# ------------------------------------------------------------- helpers


def _infer_task(column: Column, labels: Sequence[Label], rows: int) -> tuple[TaskName, str]:
    if column.kind != "numeric":
        return "classification", f"classification, because the values are {column.kind}"
    if len(labels) <= 2:
        return "classification", f"classification, because there are {len(labels)} different values"
    if (
        column.values != "float"
        and len(labels) <= MOST_INTEGER_CLASSES
        and len(labels) <= 0.5 * rows
    ):
        return "classification", (
            f"classification, because there are {len(labels)} different whole numbers "
            "(task 'regression' would predict a quantity)"
        )
    return "regression", f"regression, because there are {len(labels):,} different numbers"


def _positive(name: str, labels: Sequence[Label], positive: Label | None) -> Label | None:
    if positive is None:
        return labels[-1] if len(labels) == 2 else None
    if len(labels) != 2:
        raise OptionError(
            f"The target {name!r} has {len(labels)} classes; a positive class is for two.",
            "Leave positive out.",
        )
    for label in labels:  # the command line gives text
        if label == positive or str(label) == str(positive):
            return label
    raise OptionError(
        f"The target {name!r} has no class {positive!r}.",
        did_you_mean(str(positive), map(str, labels), "classes"),
    )
