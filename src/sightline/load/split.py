"""Split a table into training, validation and test rows before anything is fitted.

`split` follows these steps: `roles` (what each column is for), the rows that were given as separate
tables, `target` (classification or regression), `divide` (which rows go where), `folds`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.contracts import Label, Target, TaskName
from sightline.contracts.arguments import names_checked
from sightline.errors import DataError, DataWarning, OptionError, counted, did_you_mean, listed
from sightline.load.classes import absent_classes
from sightline.load.divide import divide, group_rows, time_values
from sightline.load.facts import ColumnFacts
from sightline.load.folds import Block, assign_blocks, assign_folds, blocks_of, possible_folds
from sightline.load.known import CALIBRATION, NEW, TEST, TRAINING, VALIDATION, Earlier
from sightline.load.large import LargeTable
from sightline.load.limits import in_units
from sightline.load.places import Places
from sightline.load.remarks import Remarks, remarks
from sightline.load.roles import row_weights, with_roles
from sightline.load.table import Table, join, read_like, subset
from sightline.load.target import find_task, target_values
from sightline.views.format import plain

MOST_HELD_OUT = 10_000
"""A share of the rows gives no more validation or test rows than this."""
NEWEST_ROWS = 100
"""With fewer rows in the newest fold, all folds stand for the time to come: 90 % sets that are fitted on 100 rows contain the
truth in 84 to 96 % of new rows, by chance alone."""


@dataclass(frozen=True)
class LargeRows:
    """The rows of a table larger than memory, beside the sample of them that `Splits` holds.

    Attributes:
        table: The rows, read piece by piece.
        places: Where each row in the files belongs.
        rows: How many rows have a known target.
        train_rows: How many training rows there are.
        numbers: int64 [rows of the sample], their numbers in the files.
        facts: What all training rows say of each column; None if the sample holds all of them.
        fingerprint: The SHA-256 of the values of all rows with a known target.
    """

    table: LargeTable
    places: Places
    rows: int
    train_rows: int
    numbers: np.ndarray
    facts: Mapping[str, ColumnFacts] | None
    fingerprint: str

    @property
    def said(self) -> str:
        """Say that the rows stay on the disk, and what is done with a sample of them."""
        limit, sample = in_units(self.table.budget.limit), len(self.numbers)
        used = "all" if self.facts is None else f"a random sample of {sample:,}"
        return (
            f"{self.table.rows:,} rows do not fit within memory_limit={limit} and stay on the disk: the network trains on "
            f"all {self.train_rows:,} training rows; columns are described by {used} of the rows, which trees, calibration "
            "and simple models use too"
        )


@dataclass(frozen=True)
class Splits:
    """A table with a target, and which of its rows are for what.

    Attributes:
        table: Every row with a known target.
        target: What is predicted; its classes are those of all rows.
        target_reason: Why it is classification or regression.
        train, valid, test: int64 row numbers of `table`, in file order.
        how: How the rows were divided, in words.
        dropped: How many rows were left out because their target is missing.
        options: The arguments of `split`, as JSON, so that the split can be repeated; `folds` is
            the number that was used.
        folds: int64 [training rows], the fold that holds out each training row, from 0; None
            without folds.
        blocks: Of folds that follow each other in time, from when to when each goes, the oldest first; empty
            otherwise, and for a warm start, whose folds have a stretch of the earlier rows and one of the new rows each.
        notes: What to know about this split, one sentence each, such as that few rows are left for
            training.
        earlier: Of a warm start, what it keeps of the earlier model; else None.
        places: Of a warm start, int16 [rows of `table`], where each row was (`load/known.py`); else None.
        large: Of a table larger than memory, its rows on the disk; `table`, `train` and `folds` are then those of a
            random sample of the training rows, with all validation and test rows.

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
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()
    earlier: Earlier | None = None
    places: np.ndarray | None = None
    large: LargeRows | None = None

    def __repr__(self) -> str:
        """Name the table, the target and the sizes of the parts in a few lines."""
        classes = (
            f": {listed([plain(text, 30) for text in self.target.texts], 8)}"
            if self.target.classes
            else ""
        )
        lines = [
            f"Splits of {plain(self.table.name, 80)}",
            f"  target {plain(self.target.name, 40)}, {self.target.task}{classes}",
            f"  {self.describe()}",
            *(
                [f"  {counted(self.dropped, 'row')} without a target left out"]
                if self.dropped
                else []
            ),
            *(f"  {plain(note, 300)}" for note in self.notes[:4]),
        ]
        return "\n".join(lines)

    @property
    def train_rows(self) -> int:
        """The number of training rows; of a table larger than memory, of all of them."""
        return len(self.train) if self.large is None else self.large.train_rows

    @property
    def table_rows(self) -> int:
        """The number of rows of the whole table with a known target."""
        return self.table.rows if self.large is None else self.large.rows

    def row_numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of some rows of `table` in the whole table, int64 [N]."""
        return rows if self.large is None else self.large.numbers[rows]

    @cached_property
    def remarks(self) -> Remarks:
        """Outliers and sentinels among the numbers of `table`."""
        return remarks(self.table, self.target)

    def remarked(self) -> list[str]:
        """Say what is odd about the table's numbers; rows are named by their numbers in the whole table."""
        numbers = self.row_numbers(np.arange(self.table.rows))
        return self.remarks.sentences(numbers, self.target.name)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all values of the whole table; see `Table.fingerprint`."""
        return self.table.fingerprint() if self.large is None else self.large.fingerprint

    @property
    def fold_count(self) -> int:
        """The number of folds; 0 without folds."""
        return 0 if self.folds is None else int(self.options["folds"])  # one may have no rows

    @property
    def folds_by_time(self) -> bool:
        """Whether the folds follow each other in time."""
        return self.folds is not None and self.options["time"] is not None

    @cached_property
    def newest(self) -> np.ndarray | None:
        """Which training rows stand for the time to come, bool [training rows]; None where all do.

        With folds that follow each other in time, these are the rows of the newest fold that are newer than every row
        of the other folds: what predicts them has learned from the past alone, as after the fit. Where groups or a warm
        start leave fewer than `NEWEST_ROWS` of them, it is the whole newest fold, and where that has fewer, None.

        Example:
            >>> import sightline as sl
            >>> table = sl.read({"t": list(range(600)), "x": [1.5, 2.5] * 300, "y": ["a", "b"] * 300})
            >>> int(sl.split(table, "y", time="t", valid=0, test=0.1, folds=5).newest.sum())
            108
        """
        if self.folds is None or not self.folds_by_time:
            return None
        newest = self.folds == self.folds.max()
        return next((rows for rows in (self._newer, newest) if rows.sum() >= NEWEST_ROWS), None)

    @property
    def newest_from_older(self) -> bool:
        """Whether what predicts the newest rows has learned from older rows alone; groups and a warm start may overlap."""
        return self.newest is not None and not (self.newest & ~self._newer).any()

    @cached_property
    def _newer(self) -> np.ndarray:
        """Which rows of the newest fold are newer than every row of the other folds, bool [training rows]."""
        assert self.folds is not None
        times = time_values(self.table, self.options["time"])[0][self.train]
        newest = self.folds == self.folds.max()
        newer: np.ndarray = newest & (times > times[~newest].max())
        return newer

    def labels(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the target of some rows (None: all): int64 class numbers, or float64 numbers."""
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

    def target_facts(self) -> dict[str, Any]:
        """Return what a fit would predict: the task and why, classes with their rows or the range, rows left out.

        Example:
            >>> import sightline as sl
            >>> facts = sl.split(sl.read("examples/penguins.csv"), target="species").target_facts()
            >>> facts["task"], facts["classes"][0], facts["dropped"]
            ('classification', {'class': 'Adelie', 'rows': 152}, 0)
        """
        values = self.labels()
        facts: dict[str, Any] = {
            "name": self.target.name, "task": self.target.task, "reason": self.target_reason,
            "rows": self.table_rows, "dropped": self.dropped, "split": self.describe(),
            "notes": [*self.notes, *self.remarked()],
        }  # fmt: skip
        if self.target.task == "regression":
            ends = {"low": values.min(), "mean": values.mean(), "high": values.max()}
            return {**facts, **{name: float(value) for name, value in ends.items()}}
        counts = np.bincount(values, minlength=len(self.target.classes)).tolist()
        classes = zip(self.target.shown, counts, strict=True)
        return {
            **facts, "positive": self.target.shown_positive,
            "classes": [{"class": label, "rows": rows} for label, rows in classes],
        }  # fmt: skip

    def describe(self) -> str:
        """Describe the sizes of the parts in one sentence.

        Example:
            >>> import sightline as sl
            >>> sl.split(sl.read("examples/penguins.csv"), target="species").describe()
            '276 training rows (80 %), 34 validation rows (10 %), 34 test rows (10 %), stratified by species, seed 0'
        """
        total = self.train_rows + len(self.valid) + len(self.test)
        folds = f" in {self.fold_count} folds" if self.folds is not None else ""
        parts = [
            f"{counted(rows, f'{name} row')} ({round(100 * rows / total)} %){folds if name == 'training' else ''}"
            for name, rows in (
                ("training", self.train_rows),
                ("validation", len(self.valid)),
                ("test", len(self.test)),
            )
            if rows or not folds or name != "validation"
        ]
        return f"{', '.join(parts)}, {self.how}"


@names_checked
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
    time_feature: bool = False,
    weight: str | None = None,
    folds: int = 0,
    min_rows_per_fold: int | None = None,
    earlier: Earlier | None = None,
) -> Splits:
    """Divide a table's rows into training, validation and test.

    Args:
        table: From `sightline.read`.
        target: The column to predict.
        task: "classification" or "regression"; None infers it from the target's values.
        positive: For two classes, the one that metrics are about; None takes the one that says
            yes of a known pair (yes and no, ja and nein, true and false, 1 and 0), else the last in sorted order.
        valid: A share of the rows (below 1), a number of rows, or a table (path or DataFrame)
            that holds the validation rows. A share gives at most 10,000 rows. 0 gives no validation
            rows, so no early stopping.
        test: Likewise for test rows; 0 gives them to training.
        seed: Seed of the random division.
        group: A column whose equal values stay in one part (patients, customers).
        time: A date or number column: the newest rows become the test rows, those before them
            validation. With `group` whole groups do, those whose last row is the newest first; the split says how many
            of their rows are older than the newest training row.
        time_feature: Whether the time column is a feature, too.
        weight: A number column: how much each row counts in the loss. Rows of weight 0 are left out
            of training.
        folds: The number of cross-validation folds of the training rows, 2 or more; 0 for none. The
            members of an ensemble hold out different folds, so that all rows are trained on and each
            row still gets an out-of-fold prediction. With `time` they follow each other in time, from the oldest rows
            to the newest; rows of equal time, and groups, stay in one fold.
        min_rows_per_fold: Lowers `folds`, though not below 2, until each fold has this many training
            rows (with `group`: one group) and, with `time`, a time of its own. None keeps `folds` as it is.
        earlier: For a warm start, `WarmStart(model).earlier`: rows that the model has seen keep their part and fold,
            and only new rows are divided. Then `folds` is that of the model.

    Raises:
        DataError: The target has only one class, a part has no rows, a column does not fit its role,
            or there are fewer training rows (or groups, or different times) than folds. Of a warm start: the target has
            a class that the model does not know.
        OptionError: A column that does not exist, or options that contradict each other.

    Example:
        >>> import sightline as sl
        >>> table = sl.read({"x": list(range(100)), "y": ["a", "b"] * 50}, kinds={"x": "numeric"})
        >>> splits = sl.split(table, target="y", test=0)
        >>> len(splits.train), len(splits.valid), len(splits.test)
        (90, 10, 0)
    """
    if group and time and earlier is not None:
        raise OptionError(
            "A warm start cannot divide rows by group and by time: rows that the model has learned from stay in training, "
            "and their groups would be torn apart.",
            "Fit without warm_start (--warm-start), or give group or time alone.",
        )
    if time_feature and not time:
        raise OptionError(
            "time_feature is given without a time column.",
            "Give time= (--time) as well, or leave it out.",
        )
    _check_roles(table, {"target": target, "group": group, "time": time, "weight": weight})
    shares, given = _shares_and_given(valid, test, group)
    _check_numbers(seed, folds, min_rows_per_fold)
    table = with_roles(table, target, group, time, weight, time_feature)
    given_tables = {
        name: source if isinstance(source, Table) else read_given(source, table)
        for name, source in given.items()
    }
    table, part_of_row, dropped = _with_known_target(table, target, list(given_tables.values()))
    if earlier is None:
        described, reason = find_task(table, target, task, positive)
    else:
        described, reason = earlier.target, f"{earlier.target.task}, as in the earlier model"
        _refuse_new_classes(table, described)
    column = replace(table.schema[target], reason=f"the target: {reason}")
    table = replace(table, schema=table.schema.with_column(column))

    own_rows = np.flatnonzero(part_of_row == 0)
    places = None
    if earlier is None:
        sizes = {name: _size(share, len(own_rows), name) for name, share in shares.items()}
        parts, how = divide(table, described, own_rows, sizes, seed, group, time)
        del own_rows  # as large as the table
    else:
        places = np.full(table.rows, NEW, np.int16)
        places[own_rows] = earlier.places(subset(table, own_rows))
        _warn_of_learned(list(given_tables.values()), earlier)
        folds, sizes = earlier.folds, {}
        parts, how = _divide_new(table, described, own_rows, shares, seed, group, time, places)
    for number, (name, given_table) in enumerate(given_tables.items(), start=1):
        known = parts.get(name, np.empty(0, np.int64))
        parts[name] = np.union1d(known, np.flatnonzero(part_of_row == number))
        how += f"; {name} rows from {given_table.name}"
    _refuse_empty(parts, {**sizes, **dict.fromkeys(given, 1)}, table)
    how += _leave_out_weightless(table, parts)
    fold_of_row = None
    blocks: tuple[Block, ...] = ()
    if folds and places is not None:
        fold_of_row = _keep_folds(
            table, described, parts["train"], folds, seed, group, time, places
        )
    elif folds:
        groups = None if group is None else group_rows(table, group, parts["train"])
        times = None if time is None else time_values(table, time)[0][parts["train"]]
        if min_rows_per_fold is not None:
            folds = possible_folds(folds, min_rows_per_fold, len(parts["train"]), groups, times)
        if time is None or times is None:
            fold_of_row = assign_folds(table, described, parts["train"], folds, seed, groups)
        else:
            fold_of_row = assign_blocks(time, times, folds, groups)
            blocks = blocks_of(table, time, parts["train"], fold_of_row)
            how += f"; the folds follow each other in time{_overlap(times, fold_of_row, group)}"
    options = {
        "target": target, "task": described.task, "positive": described.positive, "seed": seed,
        "group": group, "time": time, "weight": weight, "folds": folds, **shares,
        **({"time_feature": True} if time_feature else {}),
    }  # fmt: skip
    return Splits(
        table, described, reason, parts["train"], parts["valid"], parts["test"], how, dropped,
        options, fold_of_row, blocks,
        (
            *_notes(len(parts["train"]), sum(sizes.values())),
            *absent_classes(described, target_values(table, described), parts, fold_of_row),
        ),
        earlier, places,
    )  # fmt: skip


# ------------------------------------------------------------- helpers


def _check_roles(table: Table, roles: dict[str, str | None]) -> None:
    """Refuse roles of columns that do not exist, and two roles of one column."""
    for role, name in roles.items():
        if name and name not in table.schema:
            if name in table.options.get("drop", ()):
                raise OptionError(
                    f"The column {name!r} is the {role}, but it is also dropped.",
                    "Leave it out of drop (--drop).",
                )
            names = [column.name for column in table.schema.columns]
            raise OptionError(f"{table.name} has no column {name!r}.", did_you_mean(name, names))
    used = [name for name in roles.values() if name is not None]
    if len(set(used)) < len(used):
        listing = ", ".join(f"{role} {name!r}" for role, name in roles.items() if name is not None)
        raise OptionError(f"One column has two roles: {listing}.", "Give each role its own column.")


def _shares_and_given(
    valid: Any, test: Any, group: str | None
) -> tuple[dict[str, float], dict[str, Any]]:
    """Tell validation and test rows to be drawn (a share or a count) from those that are given."""
    shares: dict[str, float] = {}
    given: dict[str, Any] = {}
    for name, part in (("valid", valid), ("test", test)):
        if not isinstance(part, int | float):
            given[name] = part
        elif isinstance(part, bool) or not 0 <= part < math.inf:
            raise OptionError(
                f"{name} is {part}.", "Give a share such as 0.1, or a number of rows."
            )
        else:
            shares[name] = part
    if group and given:
        raise OptionError(
            f"group={group!r} cannot keep groups together across separately given tables "
            f"({', '.join(given)}).",
            "Split all rows yourself, or give shares such as valid=0.1.",
        )
    return shares, given


def _check_numbers(seed: int, folds: int, min_rows_per_fold: int | None) -> None:
    if seed < 0:
        raise OptionError(f"seed is {seed}.", "Give 0 or a positive whole number.")
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 0 or folds == 1:
        raise OptionError(f"folds is {folds!r}.", "Give 2 or more, or 0 for none.")
    if min_rows_per_fold is not None and min_rows_per_fold < 1:
        raise OptionError(
            f"min_rows_per_fold is {min_rows_per_fold!r}.", "Give 1 or more, or None."
        )


def _with_known_target(
    table: Table, target: str, given: Sequence[Table]
) -> tuple[Table, np.ndarray, int]:
    """Append the given tables and leave out the rows without a target.

    Returns:
        The table; for each of its rows 0 for the table's own, 1.. for the given ones; and how many
        rows were left out.
    """
    own_rows = table.rows
    table = join(table, *given)
    numbers = np.arange(len(given) + 1, dtype=np.uint8)
    part_of_row = np.repeat(numbers, [own_rows, *(part.rows for part in given)])
    known = table.columns[target].is_valid().to_numpy()
    dropped = int((~known).sum())
    if dropped == table.rows:
        raise DataError(
            f"The target {target!r} is missing in every row of {table.name}.",
            "Choose another target.",
        )
    if dropped:
        part_of_row = part_of_row[known]
        table = subset(table, np.flatnonzero(known))
    return table, part_of_row, dropped


def read_given(source: Any, table: Table) -> Table:
    """Read validation or test rows from a separate table, as the training table was read.

    Raises:
        DataError: It cannot be read, or has no target.
    """
    schema = table.schema
    for column in schema.columns:
        if column.role == "weight":  # `read_like` reads features and the target alone
            schema = schema.with_column(replace(column, role="feature"))
    other = read_like(source, schema, like=table.options, target_counts=True)
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
            "Correct the row, or leave such rows out with on_bad_rows='skip' (--on-bad-rows skip).",
        )
    if bad:
        other = subset(other, np.setdiff1d(np.arange(other.rows), sorted(bad)))
    columns = {}
    for column in table.schema.columns:
        if column.name in other.columns:
            columns[column.name] = other.columns[column.name]
        else:  # an ignored or group column, which is not an input
            data = table.columns[column.name]
            columns[column.name] = pa.chunked_array([pa.nulls(other.rows, data.type)])
    return replace(other, schema=table.schema, columns=columns, skipped=len(bad))


def _refuse_new_classes(table: Table, target: Target) -> None:
    """Refuse classes that the earlier model does not know: its output layer has no logit for them."""
    values = target_values(table, target)
    if target.task == "regression" or not (values < 0).any():
        return
    row = int(np.flatnonzero(values < 0)[0])
    raise DataError(
        f"{table.name}, row {row:,}: the target {target.name!r} is {table.cells(target.name, row)!r}, a class that the "
        f"earlier model does not know ({counted(int((values < 0).sum()), 'such row')}).",
        "Leave those rows out, or fit without warm_start (--warm-start).",
    )


def _warn_of_learned(given_tables: Sequence[Table], earlier: Earlier) -> None:
    """Warn of rows given for validation or test that the earlier model has learned from."""
    for table in given_tables:
        learned = earlier.learned(table)
        if learned.any():
            warnings.warn(
                DataWarning(
                    f"{table.name}, row {int(np.flatnonzero(learned)[0]):,}: it is equal to a row that the earlier model "
                    f"has learned from ({counted(int(learned.sum()), 'such row')} of {table.rows:,}, given for "
                    "validation or test): the metrics are too good."
                ),
                stacklevel=4,
            )


def _divide_new(
    table: Table,
    target: Target,
    rows: np.ndarray,
    shares: dict[str, float],
    seed: int,
    group: str | None,
    time: str | None,
    places: np.ndarray,
) -> tuple[dict[str, np.ndarray], str]:
    """Divide the new rows of a warm start; known rows stay where they were.

    By time, all rows are divided, and known ones move towards training only: no row that weights have learned from, or
    that an epoch or a temperature was chosen by, is measured.
    """
    known = places[rows] != NEW
    told = f"{counted(int(known.sum()), 'known row')} in the same parts as before"
    if time:
        sizes = {name: _size(share, len(rows), name) for name, share in shares.items()}
        parts, how = divide(table, target, rows, sizes, seed, group, time)
        trained = rows[places[rows] >= TRAINING]
        tuned = rows[np.isin(places[rows], (VALIDATION, CALIBRATION))]
        moved = np.intersect1d(parts.get("test", tuned[:0]), tuned)
        held = {
            name: np.setdiff1d(part, trained) for name, part in parts.items() if name != "train"
        }
        held["test"] = np.setdiff1d(held.get("test", tuned[:0]), moved)
        held["valid"] = np.union1d(held.get("valid", tuned[:0]), np.setdiff1d(moved, trained))
        train = np.setdiff1d(rows, np.concatenate(list(held.values())))
        return {
            **held,
            "train": train,
        }, f"{how}; rows that the model has learned from stay in training"
    were = {"train": places[rows] >= TRAINING, "test": places[rows] == TEST}
    were["valid"] = known & ~were["train"] & ~were["test"]
    new = rows[~known]
    sizes = {
        name: _further(share, len(new), int(were[name].sum()), name)
        for name, share in shares.items()
    }
    parts, how = {}, "no new rows"
    if len(new):
        parts, how = divide(table, target, new, sizes, seed, group, None)
        how = f"{counted(len(new), 'new row')} {how}"
    empty = np.empty(0, np.int64)
    return {
        name: np.union1d(parts.get(name, empty), rows[mask]) for name, mask in were.items()
    }, f"{told}, {how}"  # fmt: skip


def _further(share: float, rows: int, known: int, name: str) -> int:
    """Return how many of the new rows a part gets, beside those that it has."""
    if 0 < share < 1:
        return max(min(round(share * rows), MOST_HELD_OUT - known), 0)
    return max(_size(share, rows, name) - known, 0)


def _keep_folds(
    table: Table,
    target: Target,
    train: np.ndarray,
    folds: int,
    seed: int,
    group: str | None,
    time: str | None,
    places: np.ndarray,
) -> np.ndarray:
    """Return the fold of each training row: of known rows the one before, of new ones such that folds are even.

    By time, the new rows are cut into as many stretches as there are folds, and the newest joins the newest fold.
    """
    fold_of_row: np.ndarray = places[train].astype(np.int64)
    new = fold_of_row < 0
    filled = np.bincount(fold_of_row[~new], minlength=folds)
    if new.any() and time is not None:
        times = time_values(table, time)[0][train[new]]
        stretches = min(folds, len(np.unique(times)))
        fold_of_row[new] = folds - stretches + assign_blocks(time, times, stretches)
    elif new.any():
        groups = None if group is None else group_rows(table, group, train[new])
        fold_of_row[new] = assign_folds(table, target, train[new], folds, seed, groups, filled)
    if len(np.unique(fold_of_row)) < 2:
        raise DataError(
            f"All training rows of {table.name} are in one fold of the earlier model: nothing is left to learn from.",
            "Give more rows, or fit without warm_start (--warm-start).",
        )
    return fold_of_row


def _overlap(times: np.ndarray, fold_of_row: np.ndarray, group: str | None) -> str:
    """Say how far whole groups reach into another fold's time, for the end of a sentence; nothing without groups."""
    if group is None:
        return ""
    newest = fold_of_row == fold_of_row.max()
    older = int((times[newest] < times[~newest].max()).sum())
    each = f"; {older:,} of the {counted(int(newest.sum()), 'row')} of the newest fold are older than some rows of the others"
    return f", in whole groups of {group}{each if older else ''}"


def _size(share: float, rows: int, name: str) -> int:
    """Turn a share of the rows, or a number of rows, into a number of rows."""
    if isinstance(share, float) and share == 1:
        raise OptionError(
            f"{name} is 1.0, which could mean all rows or a single row.",
            "Give a share below 1 such as 0.2, or the integer 1 for a single row.",
        )
    if share >= 1:
        if share != int(share):
            raise OptionError(
                f"{name} is {share}.", "Give a share below 1, or a whole number of rows."
            )
        return int(share)
    size = min(round(share * rows), MOST_HELD_OUT)
    return max(size, 1) if share > 0 else 0


def _notes(train: int, held_out: int) -> Iterator[str]:
    if train < held_out:
        yield (
            f"Only {counted(train, 'row')} of {train + held_out:,} "
            f"({100 * train / (train + held_out):.2g} %) {'is' if train == 1 else 'are'} for training, "
            f"fewer than the {held_out:,} for validation and test: lower valid (--valid) or test (--test)"
        )


def _refuse_empty(parts: dict[str, np.ndarray], sizes: dict[str, int], table: Table) -> None:
    names = {"train": "training", "valid": "validation", "test": "test"}
    for part, rows in parts.items():
        if len(rows) == 0 and (part == "train" or sizes.get(part, 0) > 0):
            raise DataError(
                f"The split of {table.name} ({table.rows:,} rows) leaves no {names[part]} rows.",
                "Give more rows, other sizes (valid=, test=), or 0 for a part that you do not need.",
            )


def _leave_out_weightless(table: Table, parts: dict[str, np.ndarray]) -> str:
    """Remove rows of weight 0 from `parts["train"]`, where they would still count in statistics.

    Returns:
        What was left out, to be added to a sentence; "" if nothing was.
    """
    weights = row_weights(table)
    if weights is None:
        return ""
    positive = weights[parts["train"]] > 0
    if positive.all():
        return ""
    if not positive.any():
        raise DataError("Every training row has a weight of 0.", "Choose another weight column.")
    parts["train"] = parts["train"][positive]
    return f"; {counted(int((~positive).sum()), 'row')} of weight 0 left out of training"
