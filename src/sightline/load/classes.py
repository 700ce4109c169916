"""What is said of the classes of a target: how many rows each has, which is the positive one, and where one is absent."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import numpy as np

from sightline.contracts import Target
from sightline.errors import counted, listed, shorten

ABSENT = {
    "train": ("training", "the model cannot learn to predict it", "or another split"),
    "valid": ("validation", "early stopping and calibration do not see it", "a larger valid (--valid), or join rare classes into one"),
    "test": ("test", "no metric says how well it is predicted", "a larger test (--test), or join rare classes into one"),
}  # fmt: skip
"""By part, its name, what it means that a class has no row there, and what to do."""
NAMED_CLASSES = 5
"""A note names this many classes, and counts the others."""


def class_notes(
    target: Target, values: np.ndarray, asked: bool, sampled: bool = False
) -> list[str]:
    """Say how many rows the classes have, and which of two is the positive one and why.

    Args:
        target: What is predicted.
        values: int64 [rows], the class of each row.
        asked: Whether the positive class was asked for.
        sampled: Whether the rows are a sample of the table.

    Returns:
        Sentences; none for a regression.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.load.classes import class_notes
        >>> target = Target("paid", "classification", ("ja", "nein"), "ja")
        >>> for sentence in class_notes(target, np.array([0] * 40 + [1] * 20), asked=False):
        ...     print(sentence)
        The target paid has 2 classes: ja 40 rows and nein 20 rows; the positive class is ja, the affirmative one of a known pair.
        The positive class, ja, is the commoner one: precision, recall and the threshold are about it. Where nein is what you look for, give positive='nein' (--positive nein).
    """
    if target.task == "regression":
        return []
    rows = np.bincount(values, minlength=len(target.classes))
    texts = [shorten(text, 40) for text in target.texts]
    row = "sampled row" if sampled else "row"
    each = [f"{text} {counted(int(n), row)}" for text, n in zip(texts, rows, strict=True)]
    start = f"The target {target.name} has {len(texts):,} classes"
    if target.positive is None:
        return [f"{start}: {listed(each, NAMED_CLASSES)}."]
    index = target.classes.index(target.positive)
    reason = (
        "the affirmative one of a known pair"
        if target.affirmative is not None
        else "the last in sorted order"
    )
    reason = "as requested" if asked or target.positive != target.usual_positive else reason
    notes = [f"{start}: {' and '.join(each)}; the positive class is {texts[index]}, {reason}."]
    if not asked and rows[index] > rows[1 - index]:
        rare = target.texts[1 - index]
        notes.append(
            f"The positive class, {texts[index]}, is the commoner one: precision, recall and the threshold are about it. "
            f"Where {texts[1 - index]} is what you look for, give positive={rare!r} (--positive {shlex.quote(rare)})."
        )
    return notes


def absent_classes(
    target: Target,
    values: np.ndarray,
    parts: Mapping[str, np.ndarray],
    fold_of_row: np.ndarray | None,
) -> Iterator[str]:
    """Name the classes of which a part of a split, or a fold, has no row.

    Args:
        target: What is predicted; nothing is said of a regression.
        values: int64 [rows of the table], the class of each row.
        parts: The row numbers of "train", "valid" and "test".
        fold_of_row: int64 [training rows], the fold that holds out each; None without folds.

    Yields:
        Sentences without a full stop, as the notes of a split are.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.load.classes import absent_classes
        >>> target, values = Target("y", "classification", ("a", "b")), np.array([0, 0, 1, 0])
        >>> next(absent_classes(target, values, {"train": np.arange(3), "test": np.array([3])}, None))
        'No test row is of the class b (1 row): no metric says how well it is predicted. Give more rows of this class, a larger test (--test), or join rare classes into one'
    """
    if target.task == "regression":
        return
    count = len(target.classes)
    of_class = {
        part: np.bincount(values[rows], minlength=count)
        for part, rows in parts.items()
        if len(rows)
    }
    total = sum(of_class.values(), np.zeros(count, np.int64))
    for part, rows in of_class.items():
        if len(absent := np.flatnonzero((rows == 0) & (total > 0))):
            name, follows, advice = ABSENT[part]
            yield (
                f"No {name} row is of {_named_classes(target, absent, total)}: {follows}. Give more rows of "
                f"{'this class' if len(absent) == 1 else 'these classes'}, {advice}"
            )
    if fold_of_row is None:
        return
    folds = int(fold_of_row.max()) + 1
    labels = values[parts["train"]]
    cells = np.bincount(labels * folds + fold_of_row, minlength=count * folds).reshape(count, folds)
    train = cells.sum(axis=1)
    if len(absent := np.flatnonzero((cells == 0).any(axis=1) & (train > 0))):
        yield (
            f"Not every fold has a row of {_named_classes(target, absent, train, 'training ')}: what the folds say of "
            f"{'this class' if len(absent) == 1 else 'these classes'} rests on few rows. Give more rows of "
            f"{'it' if len(absent) == 1 else 'them'}, or join rare classes into one"
        )


# ------------------------------------------------------------- helpers


def _named_classes(target: Target, classes: np.ndarray, rows: np.ndarray, of: str = "") -> str:
    """Name classes, the rarest first, with their numbers of rows."""
    rarest = classes[np.argsort(rows[classes], kind="stable")].tolist()
    names = [
        f"{shorten(target.texts[k], 40)} ({counted(int(rows[k]), f'{of}row')})" for k in rarest
    ]
    start = (
        "the class"
        if len(names) == 1
        else f"{len(names):,} of the {len(target.classes):,} classes:"
    )
    return f"{start} {listed(names, NAMED_CLASSES)}"
