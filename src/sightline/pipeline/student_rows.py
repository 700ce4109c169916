"""What a student learns from: the rows of a table, divided, and perturbed copies, with its teacher's predictions.

Letters: N rows, A encoded numbers, C codes, G columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from sightline.contracts import Batch
from sightline.errors import DataError, counted
from sightline.load.batches import join_batches, map_tensors
from sightline.load.known import TEST, TRAINING
from sightline.load.roles import row_weights
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.pipeline.warm_start import earlier_of
from sightline.predict.model import Model
from sightline.predict.tables import ENCODED_AT_ONCE
from sightline.prepare.encode import Encoded, Encoder
from sightline.prepare.prepared import Prepared

ROWS_LEARNED = 50_000
"""About how many rows the student learns from, perturbed copies included; of few rows at most `MOST_COPIES` each."""
MOST_COPIES = 20
MOST_ROWS = 100_000
"""Of a larger table, so many rows are drawn."""
MOST_VALUES = 100_000_000
"""The most prepared numbers of all rows together, perturbed copies included; they are held in memory. Of a table with more,
fewer rows are drawn, though not fewer than can be learned from."""
REPLACED = 0.5
"""Up to this share of a copy's values, drawn anew for each, comes from another row."""
STOPPING_SHARE, MOST_STOPPING = 0.1, 10_000
"""Rows whose predictions decide when training ends."""
HELD_OUT_SHARE, MOST_HELD_OUT = 0.2, 20_000
"""Of the rows that the teacher did not learn from, so many (as a share of all rows) are kept for calibration."""
LEAST_HELD_OUT = 100
"""With fewer of these, none is kept: sets and intervals from so few rows vary much."""
LEAST_ROWS = 20
"""The fewest rows that a student can learn from."""
LEAST_DRAWN = LEAST_ROWS + 3
"""With `STOPPING_SHARE` of so many rows for early stopping, `LEAST_ROWS` are left."""


@dataclass(frozen=True)
class Parts:
    """Which rows of a table are for what, int64 row numbers.

    Attributes:
        learned: The student learns what the teacher predicts for them.
        stopping: They decide when its training ends.
        calibration: Rows with a target that neither learns from; there may be none.
        measured: Rows with a target that both are measured on.
        truth: The target of each row of the table, [N]; None if no row has one that can be used.
        known: Which rows have a target, a weight above 0 and can be read, bool [N].
        weight: The weight of each row, float32 [N]; None if the teacher was fitted without weights or the table has none.
        seen: How many of `measured` the teacher has, or may have, learned from.
        told: Whether it is known which rows it has learned from.
        no_groups: The column of the teacher's groups, if that is not known because the table lacks it.
        test: Whether `measured` are its test rows.
    """

    learned: np.ndarray
    stopping: np.ndarray
    calibration: np.ndarray
    measured: np.ndarray
    truth: np.ndarray | None
    known: np.ndarray
    weight: np.ndarray | None
    seen: int
    told: bool
    no_groups: str | None
    test: bool

    @property
    def apart(self) -> np.ndarray:
        """All rows that the student does not learn from."""
        return np.unique(np.concatenate([self.stopping, self.calibration, self.measured]))

    @property
    def held_out(self) -> bool:
        """Whether neither the student nor its teacher has learned from the rows that both are measured on."""
        return len(self.measured) > 0 and not self.seen

    @property
    def measured_on(self) -> str:
        """The rows that both are measured on, in words."""
        rows = counted(len(self.measured), "row")
        if not len(self.measured):
            needed = "target" if self.weight is None else "target and a weight above 0"
            return f"no row: none has a {needed}, so that only their agreement is known"
        if not self.seen:
            which = ": the teacher's test rows" if self.test else ""
            return f"{rows} that neither has learned from{which}"
        learned = f"has learned from {self.seen:,} of them" if self.told else "may have"
        if self.no_groups is not None:
            learned += f" (it knows its own by the column {self.no_groups!r}, which is missing)"
        return f"{rows} that the student did not learn from, but the teacher {learned}: both losses are too good"

    @classmethod
    def of(cls, teacher: Model, table: Table, random: np.random.Generator) -> Parts:
        """Divide the rows of a table that the teacher has read, with the columns of its groups and weights if there are any.

        Raises:
            DataError: A class is none of the teacher's, a row with a target has no valid weight, or too few rows can be
                learned from.
        """
        truth, known = _truth(teacher, table)
        weight = None if truth is None else row_weights(table, known)
        if weight is not None:
            known &= weight > 0
        can_be_read = np.ones(table.rows, bool)
        can_be_read[[row for row, _ in table.bad]] = False
        # Unless it is known better, the teacher may have learned from a row.
        told, no_groups, places = False, None, np.full(table.rows, TRAINING)
        if truth is not None and "known_keys" in teacher.rows:
            no_groups = _missing_groups(teacher, table)
            told = no_groups is None
        if told:
            places = earlier_of(teacher.spec, teacher.encoder, teacher.rows).places(table)
        is_test, is_new = places == TEST, places < TRAINING
        test = np.flatnonzero(can_be_read & known & is_test)
        new = random.permutation(np.flatnonzero(can_be_read & known & is_new & ~is_test))
        kept = new[: min(int(HELD_OUT_SHARE * can_be_read.sum()), MOST_HELD_OUT)]
        if len(kept) < LEAST_HELD_OUT:
            kept = kept[:0]
        half = len(kept) if len(test) else len(kept) // 2
        calibration, measured = kept[:half], test if len(test) else kept[half:]

        free = can_be_read & ~is_test
        free[kept] = False
        most = max(min(MOST_ROWS, _most_prepared(teacher)), LEAST_DRAWN)
        rows = random.permutation(np.flatnonzero(free))[:most]
        count = min(math.ceil(STOPPING_SHARE * len(rows)), MOST_STOPPING)
        if len(rows) - count < LEAST_ROWS:
            raise DataError(
                f"{table.name} has {counted(len(rows), 'row')} to learn from, test rows of the model and unreadable rows "
                "apart: too few.",
                f"Give at least {LEAST_DRAWN}; many more are better, and they need no target.",
            )
        stopping, learned = np.sort(rows[:count]), np.sort(rows[count:])
        if not len(measured):
            measured = stopping[known[stopping]]
        return cls(
            learned=learned, stopping=stopping, calibration=np.sort(calibration), measured=np.sort(measured), truth=truth,
            known=known, weight=weight, seen=int((~is_new[measured]).sum()), told=told, no_groups=no_groups,
            test=bool(len(test)),
        )  # fmt: skip


def _truth(teacher: Model, table: Table) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the targets of the rows, None if there are none, and which rows have one.

    Raises:
        DataError: A class is none of the teacher's.
    """
    if teacher.spec.target.name not in table.columns:
        return None, np.zeros(table.rows, bool)
    truth, known = teacher.truth_of(table)
    return (truth, known) if known.any() else (None, known)


def _missing_groups(teacher: Model, table: Table) -> str | None:
    """Return the column of the teacher's groups, without which their rows are not recognised, if the table lacks it."""
    columns = teacher.encoder.schema.columns
    return next(
        (c.name for c in columns if c.role == "group" and c.name not in table.columns), None
    )


def _most_prepared(teacher: Model) -> int:
    """Return of how many rows `MOST_VALUES` holds the prepared numbers."""
    return MOST_VALUES // max(len(teacher.spec.numeric) + len(teacher.spec.categorical), 1)


# ------------------------------------------------------------- what the student learns from


def prepared_for(
    teacher: Model, table: Table, parts: Parts, random: np.random.Generator
) -> Prepared:
    """Return the rows that the student learns from, perturbed copies last, and those for early stopping.

    Their target is what the teacher predicts: probabilities [N, K], or numbers [N].
    """
    reader, rows = teacher.encoder.open(table), parts.learned
    room = min(_most_prepared(teacher) - len(parts.stopping), 2 * MOST_ROWS) - len(rows)
    copies = int(np.clip(round(ROWS_LEARNED / len(rows)) - 1, 1, MOST_COPIES))
    blocks = [_labelled(teacher, reader(some), some) for some in _blocks(rows)]
    numeric, codes = _columns_of(teacher.encoder)
    for some in _blocks(np.tile(rows, copies)[: max(room, 0)]):
        own, other = reader(some), reader(random.choice(rows, len(some)))
        replaced = _replaced(len(some), 1 + max([*numeric, *codes], default=0), random)
        perturbed = replace(
            own,
            numeric=np.where(replaced[:, numeric], other.numeric, own.numeric),
            categorical=np.where(replaced[:, codes], other.categorical, own.categorical),
        )
        blocks.append(_labelled(teacher, perturbed, some))
    valid = [_labelled(teacher, reader(some), some) for some in _blocks(parts.stopping)]
    splits = Splits(
        table, teacher.spec.target, "it is the teacher's", rows, parts.stopping, parts.measured,
        "for distillation", 0, {},
    )  # fmt: skip
    none = map_tensors(valid[0], lambda x: x[:0])
    return Prepared(
        teacher.spec, teacher.encoder, teacher.transform, join_batches(*blocks), join_batches(*valid), none, splits, ()
    )  # fmt: skip


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + ENCODED_AT_ONCE] for start in range(0, len(rows), ENCODED_AT_ONCE)]


def _labelled(teacher: Model, encoded: Encoded, rows: np.ndarray) -> Batch:
    """Return encoded rows as the networks take them, with the teacher's predictions as their target."""
    values = torch.from_numpy(teacher.values_of(encoded))
    target = values.float() if teacher.task.classification else values[:, 0].double()
    numeric, codes = (x.cpu() for x in teacher.inputs(encoded))
    return Batch(numeric, codes, target, None, torch.from_numpy(rows))


def _columns_of(encoder: Encoder) -> tuple[list[int], list[int]]:
    """Return the number of the column that each encoded number [A] and each code [C] comes from."""
    columns: dict[str, int] = {}
    numeric = [columns.setdefault(column, len(columns)) for _, column in encoder.numbers]
    return numeric, [columns.setdefault(column, len(columns)) for column in encoder.codes]


def _replaced(rows: int, columns: int, random: np.random.Generator) -> np.ndarray:
    """Draw which values of perturbed rows come from another row, bool [N, G]: of each row a share of its own."""
    share = random.uniform(0, REPLACED, rows)[:, None]
    drawn: np.ndarray = random.random((rows, columns)) < share
    return drawn
