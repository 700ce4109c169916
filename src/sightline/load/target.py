"""The target: classification or regression, its classes, and its values as numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, Label, Target, TaskName, traits_of
from sightline.errors import DataError, DataWarning, OptionError, did_you_mean, shorten
from sightline.load.table import Table
from sightline.load.values import Spellings, has_long, map_codes, to_text

LAST_NAMED_ROW = 20_000
"""The file is read again up to here to see how it writes a class, and further only if it writes another class
in a way of its own."""
MOST_INTEGER_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a quantity: regression."""


def find_task(
    table: Table, name: str, task: TaskName | None, positive: Label | None
) -> tuple[Target, str]:
    """Decide between classification and regression, and list the classes.

    Args:
        table: The table, its rows without a target left out.
        name: The target's column.
        task: "classification" or "regression"; None infers it.
        positive: The class that binary metrics are about; None takes the one that says
            yes of a known pair (yes and no, ja and nein), else the last of two.

    Returns:
        The target, and why it is classification or regression.

    Raises:
        DataError: The target has one class or too many, is text in a regression, or holds dates.
        OptionError: An unknown task, or a positive class that does not exist.
    """
    column = table.schema[name]
    if task not in (None, "classification", "regression"):
        raise OptionError(f"task is {task!r}.", "Use 'classification' or 'regression'.")
    if column.kind == "datetime":
        raise _no_dates(name)
    labels = class_labels(table, name) if task != "regression" else []
    if task is None:
        task, reason = _infer_task(column, labels, table.rows)
    else:
        reason = f"{task}, as requested"
    if task == "regression":
        if traits_of(column.kind).storage not in ("numbers", "flags"):
            raise DataError(
                f"The target {name!r} is {column.kind}, which regression cannot predict ({column.reason}).",
                _advice(
                    column,
                    "Write its values as numbers, or use task='classification' (--task classification).",
                ),
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
            f"The target {name!r} has only one class, {only}: there is nothing to predict.",
            "Choose another target, or give rows of another class.",
        )
    if len(labels) > 0.5 * table.rows and table.rows >= 20:
        raise DataError(
            f"The target {name!r} has {len(labels):,} classes in {table.rows:,} rows ({column.reason}).",
            "Choose another target, or use task='regression' (--task regression) if it is a quantity."
            if traits_of(column.kind).storage == "numbers"
            else _advice(column, "Choose another target."),
        )
    described = Target(name, "classification", tuple(labels), names=_names(table, name, labels))
    _warn_of_twins(name, described.texts)
    return replace(described, positive=_positive(described, positive)), reason


def class_labels(table: Table, name: str) -> list[Label]:
    """Return the target's different values, sorted, in the type they came in."""
    column = table.schema[name]
    match column.kind:
        case "boolean":
            return sorted({bool(flag) for flag in np.unique(table.flags(name)) if flag >= 0})
        case "numeric":
            if (exact := _exact(table, name)) is not None:
                return sorted(set(exact.drop_null().to_pylist()))
            unique = np.unique(table.numbers(name))
            known = unique[~np.isnan(unique)]
            return [float(x) if column.values == "float" else int(x) for x in known]
        case "categorical" | "text":
            words = table.words(name)
            used = np.unique(words.indices.drop_null().to_numpy())
            texts = [words.dictionary[int(code)].as_py() for code in used]
            if column.values == "integer":
                return sorted(int(text) for text in texts)
            if column.values == "float":
                return sorted(float(text) for text in texts)
            return sorted(texts)
        case "datetime":
            raise _no_dates(name)
        case _:
            assert_never(column.kind)


def target_values(table: Table, target: Target) -> np.ndarray:
    """Return the target's values.

    Returns:
        [rows]: int64 class numbers, -1 where missing or not among the classes; for regression
        float64 numbers, NaN where missing.
    """
    name, column = target.name, table.schema[target.name]
    match column.kind:
        case "boolean":
            flags = table.flags(name)
            if target.task == "regression":
                return np.where(flags < 0, np.nan, flags.astype(np.float64))
            numbers = {bool(label): number for number, label in enumerate(target.classes)}
            lookup = np.array([numbers.get(False, -1), numbers.get(True, -1), -1], np.int64)
            labels: np.ndarray = lookup[flags]
            return labels
        case "numeric":
            values = table.numbers(name)
            if target.task == "regression":
                return values
            if (exact := _exact(table, name)) is not None:
                number_of_int = {int(label): number for number, label in enumerate(target.classes)}
                found = [number_of_int.get(value, -1) for value in exact.to_pylist()]
                return np.array(found, np.int64)
            known = np.array(target.classes, np.float64)
            nearest = np.searchsorted(known, values).clip(max=len(known) - 1)
            return np.where(known[nearest] == values, nearest, -1)
        case "categorical" | "text":
            number_of = {to_text(label): number for number, label in enumerate(target.classes)}
            words = table.words(name)
            codes = [number_of.get(word, -1) for word in words.dictionary.to_pylist()]
            if table.schema.rules > 1 and -1 in codes:
                spellings = Spellings([text for text in number_of if text is not None])
                texts = map(spellings.find, words.dictionary.to_pylist())
                codes = [number_of.get(text, -1) for text in texts]
            return map_codes(words.indices, np.array(codes, np.int64), -1)
        case "datetime":
            raise _no_dates(name)
        case _:
            assert_never(column.kind)


# ------------------------------------------------------------- helpers


def _exact(table: Table, name: str) -> pa.ChunkedArray | None:
    """Return a column of whole numbers that float64 cannot tell apart, as integers; else None."""
    data = table.columns[name]
    if table.schema.rules == 1 or not pa.types.is_integer(data.type):
        return None
    return data if has_long(table.numbers(name)) else None


def _names(table: Table, name: str, labels: Sequence[Label]) -> tuple[str, ...]:
    """Return how a text file writes classes that are truth values or numbers; () if as usual, or not known."""
    usual = Target(name, "classification", tuple(labels)).texts
    storage = traits_of(table.schema[name].kind).storage
    if table.schema.rules == 1 or table.locate is None or storage not in ("flags", "numbers"):
        return ()
    values = table.flags(name) if storage == "flags" else table.numbers(name)
    first_rows = [int(np.flatnonzero(values == label)[0]) for label in labels]
    names = list(usual)
    for row, number in sorted(zip(first_rows, range(len(labels)), strict=True)):
        if row >= LAST_NAMED_ROW and names == list(usual):
            break
        cell = table.locate(row, name)[1]
        if cell is not None and Spellings([usual[number]]).find(cell.strip()) == usual[number]:
            names[number] = cell.strip()
    return tuple(names) if names != list(usual) else ()


def _warn_of_twins(name: str, texts: Sequence[str]) -> None:
    """Warn of classes that differ only by blanks or case: they are often one class."""
    first: dict[str, str] = {}
    for text in texts:
        key = " ".join(text.split()).casefold()
        if key in first:
            warnings.warn(
                DataWarning(
                    f"The classes {first[key]!r} and {text!r} of {name!r} differ only by blanks or case; they are "
                    "taken for two classes."
                ),
                stacklevel=6,
            )
        first.setdefault(key, text)


def _no_dates(name: str) -> DataError:
    return DataError(
        f"The target {name!r} holds dates, which cannot be predicted.",
        "Turn it into a number, such as the days until then.",
    )


def _advice(column: Column, usual: str) -> str:
    """Return what to do about a target of texts; where they look like numbers, no other task helps."""
    if "numbers, but" not in column.reason:
        return usual
    return "Write its values as that says, so that they can be read as numbers, or choose another target."


def _infer_task(column: Column, labels: Sequence[Label], rows: int) -> tuple[TaskName, str]:
    if traits_of(column.kind).storage != "numbers":
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


def _positive(target: Target, positive: Label | None) -> Label | None:
    labels = target.classes
    if positive is None:
        return target.usual_positive
    if len(labels) != 2:
        raise OptionError(
            f"The target {target.name!r} has {len(labels)} classes; only a target with two classes has a positive class.",
            "Leave positive out.",
        )
    number = target.find(positive)
    if number is None:
        raise OptionError(
            f"The target {target.name!r} has no class {positive!r}.",
            did_you_mean(str(positive), target.texts, "classes"),
        )
    return labels[number]
