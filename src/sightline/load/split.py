"""Training, validation and test rows: who is in which part, decided before anything is fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, Label, Role, Target, TaskName
from sightline.errors import DataError, OptionError, counted, did_you_mean, shorten
from sightline.load.table import Table, join, read_like, take
from sightline.load.values import map_codes, to_text

MOST_HELD_OUT = 10_000
MOST_CLASSES = 20


@dataclass(frozen=True)
class Splits:
    """A table with a target, and which of its rows are for what.

    Attributes:
        table: Every row with a known target.
        target: What is predicted; its classes are those of all rows.
        target_reason: Why it is classification or regression.
        train, valid, test: int64 row numbers of `table`, in file order.
        how: How the rows were divided, in words.
        dropped: Rows left out because their target is missing.
        options: How it was split, as JSON.
        folds: int64 [training rows], the fold that each training row is held out in, from 0; None
            without folds.

    Example:
        >>> import sightline as sl
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species")
        >>> len(splits.train), len(splits.valid), len(splits.test)
        (276, 34, 34)
    """

    table: Table
    target: Target
    target_reason: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    how: str
    dropped: int
    options: dict[str, Any]
    folds: np.ndarray | None = None

    @property
    def fold_count(self) -> int:
        """How many folds the training rows are in; 0 without folds."""
        return 0 if self.folds is None else int(self.folds.max()) + 1

    def labels(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the target: int64 class numbers, or float64 numbers."""
        values = target_values(self.table, self.target)
        return values if rows is None else values[rows]

    def twice(self) -> int:
        """Count the validation and test rows that are equal to a training row in every value.

        Example:
            >>> import sightline as sl
            >>> table = sl.read({"x": [1.0, 2.0] * 50, "y": ["a", "b"] * 50})
            >>> sl.split(table, target="y").twice()
            20
        """
        held = np.concatenate([self.valid, self.test])
        if not len(held):
            return 0
        names = [c.name for c in self.table.schema.columns if c.role in ("feature", "target")]
        hashes = self.table.row_hashes(names)
        return int(np.isin(hashes[held], hashes[self.train]).sum())

    def describe(self) -> str:
        """Say the shares in one sentence.

        Example:
            >>> import sightline as sl
            >>> sl.split(sl.read("examples/penguins.csv"), target="species").describe()
            '276 training rows (80 %), 34 validation rows (10 %), 34 test rows (10 %), stratified by species, seed 0'
        """
        total = len(self.train) + len(self.valid) + len(self.test)
        folds = f" in {self.fold_count} folds" if self.folds is not None else ""
        parts = [
            f"{counted(len(rows), f'{name} row')} "
            f"({round(100 * len(rows) / total)} %){folds if name == 'training' else ''}"
            for name, rows in (
                ("training", self.train),
                ("validation", self.valid),
                ("test", self.test),
            )
            if len(rows) or not folds or name != "validation"
        ]
        return f"{', '.join(parts)}, {self.how}"


def split(
    table: Table,
    target: str,
    *,
    task: TaskName | None = None,
    positive: Label | None = None,
    valid: Any = 0.1,
    test: Any = 0.1,
    seed: int = 0,
    group: str | None = None,
    time: str | None = None,
    weight: str | None = None,
    folds: int = 0,
) -> Splits:
    """Divide a table's rows into training, validation and test.

    Args:
        table: From `sightline.read`.
        target: The column to predict.
        task: "classification" or "regression"; None infers it from the target's values.
        positive: For two classes, the one that metrics are about; None takes the last in sorted
            order, as scikit-learn does.
        valid: A share of the rows (below 1), a number of rows, or a table (path or DataFrame)
            that holds the validation rows. Shares give at most 10,000 rows. 0 gives no
            validation rows: training then cannot stop early.
        test: Likewise for test rows; 0 gives them to training.
        seed: Of the random division.
        group: A column whose equal values stay in one part (patients, customers).
        time: A date or number column: the newest rows become the test rows, those before them
            validation.
        weight: A number column: how much each row counts in the loss.
        folds: Puts each training row into one of so many folds, which are held out in turn: a
            network of several members learns from all rows and is still measured on rows that a
            member has not seen. 0 makes none.

    Raises:
        DataError: The target has one class, a part has no rows, or a column does not fit.
        OptionError: A column that does not exist, or options that contradict each other.

    Example:
        >>> import sightline as sl
        >>> table = sl.read({"x": list(range(100)), "y": ["a", "b"] * 50}, kinds={"x": "numeric"})
        >>> splits = sl.split(table, target="y", test=0)
        >>> len(splits.train), len(splits.valid), len(splits.test)
        (90, 10, 0)
    """
    columns_of = {"target": target, "group": group, "time": time, "weight": weight}
    for role, name in columns_of.items():
        if name and name not in table.schema:
            names = [column.name for column in table.schema.columns]
            if name in table.options.get("drop", ()):
                raise OptionError(
                    f"The column {name!r} is to be dropped, and is the {role} as well.",
                    "Leave it out of drop (--drop).",
                )
            raise OptionError(f"{table.name} has no column {name!r}.", did_you_mean(name, names))
    if group and time:
        raise OptionError("group and time cannot both decide the split.", "Give one of them.")
    roles = [name for name in (target, group, time, weight) if name is not None]
    if len(set(roles)) < len(roles):
        raise OptionError(
            f"A column has two roles among target {target!r}, group {group!r}, time {time!r} and weight "
            f"{weight!r}.",
            "Give each role its own column.",
        )
    parts = [("valid", valid), ("test", test)]
    files = {name: part for name, part in parts if not isinstance(part, int | float)}
    if group and files:
        raise OptionError(
            f"group={group!r} cannot keep groups apart in rows that are given ({', '.join(files)}).",
            "Divide all rows yourself, or give shares.",
        )
    shares: dict[str, float] = {name: part for name, part in parts if name not in files}
    for name, share in shares.items():
        if isinstance(share, bool) or not 0 <= share < math.inf:
            raise OptionError(
                f"{name} is {share}.", "Give a share such as 0.1, or a number of rows."
            )

    if seed < 0:
        raise OptionError(f"seed is {seed}.", "Give 0 or a positive whole number.")
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 0 or folds == 1:
        raise OptionError(f"folds is {folds!r}.", "Give 2 or more, or 0 for none.")
    if folds and time:
        raise OptionError(
            "Folds would predict the past from the future, where time decides.",
            "Give validation rows instead: valid=0.1.",
        )

    table = _with_roles(table, target, group, time, weight)
    first_rows = table.rows
    extra = {name: _read_part(part, table, name) for name, part in files.items()}
    table = join(table, *extra.values())
    known = table.columns[target].is_valid().to_numpy()
    dropped = int((~known).sum())
    origin = np.repeat(
        [0, *(1 + i for i in range(len(extra)))], [first_rows, *(t.rows for t in extra.values())]
    )
    if dropped:
        keep = np.flatnonzero(known)
        origin = origin[keep]
        columns = {name: take(data, keep) for name, data in table.columns.items()}
        table = replace(table, columns=columns, rows=len(keep))
    if not table.rows:
        raise DataError(
            f"The target {target!r} is missing in every row of {table.name}.",
            "Choose another target.",
        )
    described, reason = find_task(table, target, task, positive)
    table = replace(
        table,
        schema=table.schema.with_column(
            replace(table.schema[target], role="target", reason=f"the target: {reason}")
        ),
    )
    mine = np.flatnonzero(origin == 0)
    sizes = {name: _size(share, len(mine), name) for name, share in shares.items()}
    divided, how = _divide(table, described, mine, sizes, seed, group, time)
    for number, name in enumerate(extra, start=1):
        divided[name] = np.flatnonzero(origin == number)
        how += f"; {name} rows from {extra[name].name}"
    _refuse_empty(divided, {**sizes, **dict.fromkeys(files, 1)}, table)
    how += _leave_out_weightless(table, divided)
    options = {
        "target": target, "task": described.task, "positive": described.positive, "seed": seed,
        "group": group, "time": time, "weight": weight, "folds": folds, **shares,
    }  # fmt: skip
    held_out = _folds(table, described, divided["train"], folds, seed, group) if folds else None
    return Splits(
        table,
        described,
        reason,
        divided["train"],
        divided["valid"],
        divided["test"],
        how,
        dropped,
        options,
        held_out,
    )


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


def row_weights(table: Table) -> np.ndarray | None:
    """Return each row's weight as float32, or None without a weight column.

    Raises:
        DataError: A weight is missing, negative or not finite.
    """
    name = next((c.name for c in table.schema.columns if c.role == "weight"), None)
    if name is None:
        return None
    boolean = table.schema[name].kind == "boolean"
    values = table.flags(name).astype(np.float64) if boolean else table.numbers(name)
    bad = np.flatnonzero(~((values >= 0) & (values <= np.finfo(np.float32).max)))
    if len(bad):
        said = "missing" if boolean or np.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise DataError(
            f"The weight {name!r} of row {bad[0]:,} is {said} ({counted(len(bad), 'such row')}): a weight "
            "is a number from 0 up.",
            "Fill or drop these rows, or choose another column.",
        )
    if not values.any():
        raise DataError(f"The weight {name!r} is 0 in every row.", "Choose another column.")
    return values.astype(np.float32)


# ------------------------------------------------------------- helpers


def _infer_task(column: Column, labels: Sequence[Label], rows: int) -> tuple[TaskName, str]:
    if column.kind != "numeric":
        return "classification", f"classification, because the values are {column.kind}"
    if len(labels) <= 2:
        return "classification", f"classification, because there are {len(labels)} different values"
    if column.values != "float" and len(labels) <= MOST_CLASSES and len(labels) <= 0.5 * rows:
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


def _with_roles(
    table: Table, target: str, group: str | None, time: str | None, weight: str | None
) -> Table:
    schema = table.schema
    changed: list[tuple[str, Role, str]] = [(target, "target", schema[target].reason)]
    if group:
        changed.append((group, "group", "groups of rows that stay in one part"))
    if time:
        if schema[time].kind not in ("datetime", "numeric"):
            raise DataError(
                f"The time column {time!r} is {schema[time].kind}: {schema[time].reason}.",
                "Give a column of dates or numbers.",
            )
        changed.append((time, "time", "orders the rows: the newest are held out"))
    if weight:
        if schema[weight].kind not in ("numeric", "boolean"):
            raise DataError(
                f"The column {weight!r} is {schema[weight].kind}; a weight is a number.",
                "Choose a number column, or set its kind.",
            )
        changed.append((weight, "weight", "how much a row counts in the loss"))
    for name, role, reason in changed:
        schema = schema.with_column(replace(schema[name], role=role, reason=reason))
    if not schema.features:
        raise DataError(
            f"{table.name} has no feature beside the target: every other column is ignored.",
            "Look at the reasons with `sightline inspect`, and set kinds= for columns to use.",
        )
    return replace(table, schema=schema)


def _read_part(part: Any, table: Table, name: str) -> Table:
    """Read validation or test rows given as a file, as the training file was read."""
    encoding = table.options.get("encoding")
    schema = table.schema
    for column in schema.columns:
        if column.role == "weight":  # a model needs none, rows to learn from do
            schema = schema.with_column(replace(column, role="feature"))
    other = read_like(part, schema, encoding=encoding, target_counts=True)
    target = next(c.name for c in table.schema.columns if c.role == "target")
    if target not in other.columns:
        raise DataError(
            f"{other.name} has no column {target!r}, the target.",
            did_you_mean(target, [*other.columns, *other.extra]),
        )
    bad = {row for row, _ in other.bad}
    if bad and table.options.get("on_bad_rows") != "skip":
        row, error = other.bad[0]
        raise DataError(
            f"{other.name}, row {row:,}: {error}.",
            "Mend the row, or leave such rows out with on_bad_rows='skip' (--on-bad-rows skip).",
        )
    keep = np.setdiff1d(np.arange(other.rows), sorted(bad))
    columns = {}
    for column in table.schema.columns:
        if column.name in other.columns:
            columns[column.name] = (
                take(other.columns[column.name], keep) if bad else other.columns[column.name]
            )
        else:  # an ignored or grouping column: nothing is learned from it
            data = table.columns[column.name]
            columns[column.name] = pa.chunked_array([pa.nulls(len(keep), data.type)])
    return replace(other, schema=table.schema, columns=columns, rows=len(keep), skipped=len(bad))


def _size(share: float, rows: int, name: str) -> int:
    if isinstance(share, float) and share == 1:
        raise OptionError(
            f"{name} is 1.0, all rows or one.", "Give a share below 1, or 1 for a single row."
        )
    if share >= 1:
        if share != int(share):
            raise OptionError(
                f"{name} is {share}.", "Give a share below 1, or a whole number of rows."
            )
        return int(share)
    size = min(round(share * rows), MOST_HELD_OUT)
    return max(size, 1) if share > 0 else 0


def _refuse_empty(parts: dict[str, np.ndarray], asked: dict[str, int], table: Table) -> None:
    names = {"train": "training", "valid": "validation", "test": "test"}
    for part, rows in parts.items():
        if len(rows) == 0 and (part == "train" or asked.get(part, 0) > 0):
            raise DataError(
                f"The split of {table.name} ({table.rows:,} rows) leaves no {names[part]} rows.",
                "Give more rows, other shares (valid=, test=), or 0 for a part that you can do without.",
            )


def _divide(
    table: Table,
    target: Target,
    mine: np.ndarray,
    sizes: dict[str, int],
    seed: int,
    group: str | None,
    time: str | None,
) -> tuple[dict[str, np.ndarray], str]:
    held_out = sum(sizes.values())
    if held_out >= len(mine):
        raise DataError(
            f"{table.name} has {len(mine):,} rows, and {held_out:,} of them would be held out.",
            "Give more rows, or smaller parts (valid=, test=).",
        )
    wanted = [("test", sizes.get("test", 0)), ("valid", sizes.get("valid", 0))]
    if time:
        order, how = (
            _newest_first(table, time, mine),
            f"by time: the newest rows of {time} are held out",
        )
        parts = _cut_by_value(order, _sortable(table, time, mine), wanted)
    elif group:
        how = f"whole groups of {group}, seed {seed}"
        parts = _cut_groups(table, group, mine, wanted, seed)
    else:
        values = target_values(table, target)[mine]
        if target.task == "classification":
            order, how = (
                mine[stratified_order(values, seed)],
                f"stratified by {target.name}, seed {seed}",
            )
        else:
            order, how = (
                mine[np.random.default_rng(seed).permutation(len(mine))],
                f"at random, seed {seed}",
            )
        parts, start = {}, 0
        for name, size in wanted:
            parts[name] = order[start : start + size]
            start += size
        parts["train"] = order[start:]
    return {name: np.sort(rows) for name, rows in parts.items()}, how


def _leave_out_weightless(table: Table, divided: dict[str, np.ndarray]) -> str:
    """Take rows of weight 0 out of the training rows, where they would still count in statistics."""
    weights = row_weights(table)
    if weights is None:
        return ""
    counts = weights[divided["train"]] > 0
    if counts.all():
        return ""
    if not counts.any():
        raise DataError("Every training row has a weight of 0.", "Choose another weight column.")
    divided["train"] = divided["train"][counts]
    left = int((~counts).sum())
    return f"; {counted(left, 'row')} of weight 0 left out of training"


def _folds(
    table: Table, target: Target, train: np.ndarray, folds: int, seed: int, group: str | None
) -> np.ndarray:
    """Put training rows into folds of equal size and equal class shares; groups stay whole."""
    found = np.empty(len(train), np.int64)
    if group:
        _, numbers, counts = _grouped(table, group, train)
        if len(counts) < folds:
            raise DataError(
                f"The column {group!r} has {len(counts)} groups in the training rows, for {folds} folds.",
                "Give fewer folds, or validation rows instead.",
            )
        order = np.random.default_rng(seed).permutation(len(counts))
        filled, fold_of = np.zeros(folds, np.int64), np.empty(len(counts), np.int64)
        for number in order[np.argsort(-counts[order], kind="stable")]:  # the largest first
            fold_of[number] = filled.argmin()
            filled[fold_of[number]] += counts[number]
        found[:] = fold_of[numbers]
        return found
    if len(train) < folds:
        raise DataError(
            f"{len(train)} training rows are too few for {folds} folds.",
            "Give more rows or fewer folds.",
        )
    order = np.random.default_rng(seed).permutation(len(train))
    if target.task == "classification":  # class after class, so that each is dealt out evenly
        order = order[np.argsort(target_values(table, target)[train][order], kind="stable")]
    found[order] = np.arange(len(train)) % folds
    return found


def _grouped(
    table: Table, name: str, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the groups of some rows: their keys, each row's group number, each group's rows."""
    keys = table.row_hashes([name])[rows]
    known = table.columns[name].is_valid().to_numpy()[rows]
    # Rows without a group belong to nobody: each is a group of its own.
    keys[~known] = np.arange(int((~known).sum()), dtype=np.uint64)
    return np.unique(keys, return_inverse=True, return_counts=True)


def stratified_order(classes: np.ndarray, seed: int) -> np.ndarray:
    """Order rows at random so that any stretch has about the classes' shares.

    One row of each class comes last, so that whatever is cut from the front leaves every class,
    however tiny, a row for training.

    Example:
        >>> import numpy as np
        >>> from sightline.load.split import stratified_order
        >>> order = stratified_order(np.array([0] * 90 + [1] * 10), seed=0)
        >>> int((order[:10] >= 90).sum())
        1
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(classes))
    if len(classes) and classes.max() < 2**15:
        classes = classes.astype(np.int16)  # numpy sorts these by radix, ten times faster
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    _, starts, counts = np.unique(classes[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(classes)) - np.repeat(starts, counts)
    share = np.repeat(random.random(len(counts)), counts)
    key = (rank + share) / np.repeat(counts, counts)
    key[starts + counts - 1] = 2.0
    return by_class[np.argsort(key, kind="stable")]


def _sortable(table: Table, name: str, mine: np.ndarray) -> np.ndarray:
    if table.schema[name].kind == "datetime":
        values = table.moments(name)
        missing = values == np.iinfo(np.int64).min
    else:
        values = table.numbers(name)
        missing = np.isnan(values)
    if missing[mine].any():
        raise DataError(
            f"The time column {name!r} is missing in {int(missing[mine].sum()):,} rows.",
            "Fill them in, or leave those rows out.",
        )
    return values


def _newest_first(table: Table, name: str, mine: np.ndarray) -> np.ndarray:
    return mine[np.argsort(_sortable(table, name, mine)[mine], kind="stable")[::-1]]


def _cut_by_value(
    order: np.ndarray, values: np.ndarray, wanted: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Cut an ordered list of rows without parting rows of equal value."""
    parts, start = {}, 0
    for name, size in wanted:
        end = start + size
        if size:
            while start < end < len(order) and values[order[end]] == values[order[end - 1]]:
                end -= 1
            if end == start:  # all of one moment: take that moment whole
                end = start + size
                while end < len(order) and values[order[end]] == values[order[end - 1]]:
                    end += 1
        parts[name] = order[start:end]
        start = end
    parts["train"] = order[start:]
    return parts


def _cut_groups(
    table: Table, name: str, mine: np.ndarray, wanted: Sequence[tuple[str, int]], seed: int
) -> dict[str, np.ndarray]:
    _, numbers, counts = _grouped(table, name, mine)
    parts: dict[str, np.ndarray] = {}
    order = np.random.default_rng(seed).permutation(len(counts))
    taken = np.zeros(len(counts), bool)
    for part, size in wanted:
        chosen: list[int] = []
        filled = 0
        for number in order:
            if taken[number] or filled >= size:
                continue
            # A group that overshoots by more than it fills waits for another part.
            if filled + counts[number] - size > size - filled:
                continue
            chosen.append(int(number))
            filled += int(counts[number])
        free = order[~taken[order]]
        if size and not chosen and len(free):  # each is too large: the smallest is it the least
            chosen.append(int(free[counts[free].argmin()]))
        taken[chosen] = True
        parts[part] = mine[np.isin(numbers, chosen)]
    parts["train"] = mine[~taken[numbers]]
    return parts
