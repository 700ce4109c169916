"""Progress: the counts and records of a training, and the sums of the current epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from sightline.contracts import Batch, EpochRecord, Event, Step
from sightline.predict.task import Task
from sightline.train.observations import EpochNumbers

STEPS_TOGETHER = 16
"""This many steps are scored, or read from a device, together."""


@dataclass
class Progress:
    """The counts and records of a training so far; a checkpoint keeps it as JSON.

    Attributes:
        weight_decay: The weight decay of all parameters but biases and norms.
        steps: Steps done, including those that were skipped.
        epoch: The current epoch, counted from 1.
        rows: Rows of this epoch that are done.
        seconds: Seconds that the steps of this epoch took.
        elapsed: Seconds of training in all, including validation.
        history: The records of the epochs done, the untrained network's first.
        numbers: The numbers that `observe` looks at, one item per epoch.
        events: Other events, such as edits.
        edits: The edits applied, as (steps done before it, JSON).
        best_epoch: The epoch with the lowest validation loss, or the best `eval_metric`.
        best_edits: How many edits had been applied at that epoch.
        good_epoch: The last epoch with a finite loss; a rollback returns to its weights.
        stopped: Why training ended; None while it can go on.
        bad_in_a_row: Consecutive steps without a finite loss, up to now.
        skipped: All steps without a finite loss; they changed no weight.
        rollbacks: How often training was rolled back.
        doctor_at: The step that the doctor looked at last.
        drops: How often the schedule "plateau" lowered the learning rate.
        dropped_at: The epoch after which it last did.
        detailed_steps: One step in full, of the first epoch and of the latest one, by epoch.

    Example:
        >>> from sightline.train.progress import Progress
        >>> progress = Progress(weight_decay=0.01)
        >>> Progress.from_json(progress.to_json()) == progress
        True
    """

    weight_decay: float
    steps: int = 0
    epoch: int = 1
    rows: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)
    numbers: list[EpochNumbers] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    edits: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    best_epoch: int = 0
    best_edits: int = 0
    good_epoch: int = 0
    stopped: str | None = None
    bad_in_a_row: int = 0
    skipped: int = 0
    rollbacks: int = 0
    doctor_at: int | None = None
    drops: int = 0
    dropped_at: int = 0
    detailed_steps: dict[int, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; numbers may be infinite or NaN."""
        values = asdict(self)
        values["glasses"] = values.pop("detailed_steps")  # the name in checkpoints
        return values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, after it has been through JSON."""
        values = dict(data)
        values["history"] = [EpochRecord(**record) for record in values["history"]]
        values["numbers"] = [EpochNumbers.from_json(numbers) for numbers in values["numbers"]]
        values["events"] = [Event(**event) for event in values["events"]]
        values["edits"] = [(step, edit) for step, edit in values["edits"]]
        steps = values.pop("glasses")
        values["detailed_steps"] = {int(epoch): step for epoch, step in steps.items()}
        return cls(**values)


class Sums:
    """The sums of loss and score over an epoch's steps.

    Several steps are scored together: a few large operations take less time than many small ones.
    Which steps go together depends only on their position in the epoch, so a checkpoint between
    them changes no bit. Steps without a finite loss do not count.

    Attributes:
        task: Loss, head and metric.
        loss: Sum of the losses over rows.
        rows: The number of rows that count.
        score: Sum of the scores over rows, of the steps scored so far.
        waiting: Logits and targets of steps that are to be scored together.
        late: Steps whose losses have not been read from the device yet.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.progress import Sums
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> sums = Sums(training.task)
        >>> step = next(training.steps())
        >>> sums.add(step, step.loss.item())
        >>> loss, accuracy = sums.means()
        >>> loss == step.loss.item(), 0 <= accuracy <= 1
        (True, True)
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.loss = 0.0
        self.rows = 0
        self.score: Tensor | float = 0.0
        self.waiting: list[tuple[Tensor, Tensor]] = []
        self.late: list[Step] = []

    def add(self, step: Step, loss: float | None) -> None:
        """Add a step; `loss` is None if it is still on the device."""
        if loss is None:
            self.late.append(step)
        elif math.isfinite(loss):
            self.loss += loss * step.rows
            self.rows += step.rows
            if step.score is not None:
                self.score = self.score + step.score
                return
            self.waiting.append((step.logits, step.batch.target))
            if len(self.waiting) >= STEPS_TOGETHER:
                self.fold()

    def read_late(self) -> list[tuple[Step, bool]]:
        """Read the losses of the late steps, and add these; return which of them are finite."""
        steps, self.late = self.late, []
        losses = torch.stack([step.loss for step in steps]).tolist() if steps else []
        for step, loss in zip(steps, losses, strict=True):
            self.add(step, loss)
        return [(step, math.isfinite(loss)) for step, loss in zip(steps, losses, strict=True)]

    def fold(self) -> None:
        """Score the waiting steps."""
        if self.waiting:
            logits = torch.cat([logits for logits, _ in self.waiting]).float()
            target = torch.cat([target for _, target in self.waiting])
            self.score = self.score + self.task.score(self.task.head(logits), target).double()
            self.waiting = []

    def means(self) -> tuple[float, float]:
        """Return the mean loss and the metric over the rows so far; NaN without rows."""
        self.fold()
        if not self.rows:
            return math.nan, math.nan
        return self.loss / self.rows, self.task.mean_score(float(self.score), self.rows)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors."""
        sums = [self.loss, float(self.rows), float(self.score)]
        named = {"sums": torch.tensor(sums, dtype=torch.float64)}
        for index, (logits, target) in enumerate(self.waiting):
            named |= {f"waiting.{index}.logits": logits, f"waiting.{index}.target": target}
        for index, step in enumerate(self.late):
            named |= {
                f"late.{index}.number": torch.tensor([step.number, step.epoch, step.rows]),
                f"late.{index}.loss": step.loss, f"late.{index}.logits": step.logits,
                **({} if step.score is None else {f"late.{index}.score": step.score}),
            }  # fmt: skip
            named |= {
                f"late.{index}.batch.{name}": tensor
                for name, tensor in step.batch._asdict().items() if tensor is not None
            }  # fmt: skip
        return named

    def from_tensors(self, named: Mapping[str, Tensor], device: torch.device) -> None:
        """Read what `to_tensors` wrote."""
        named = {name: tensor.to(device) for name, tensor in named.items()}
        loss, rows, score = named["sums"].tolist()
        self.loss, self.rows, self.score = loss, int(rows), score
        self.waiting = [
            (named[f"waiting.{index}.logits"], named[f"waiting.{index}.target"])
            for index in range(sum(name.startswith("waiting") for name in named) // 2)
        ]
        self.late = [
            Step(
                number=int(named[f"late.{index}.number"][0]),
                epoch=int(named[f"late.{index}.number"][1]),
                rows=int(named[f"late.{index}.number"][2]),
                loss=named[f"late.{index}.loss"],
                batch=Batch(**{name: named.get(f"late.{index}.batch.{name}") for name in Batch._fields}),  # type: ignore[arg-type]
                logits=named[f"late.{index}.logits"],
                score=named.get(f"late.{index}.score"),
            )
            for index in range(sum(name.endswith(".number") for name in named))
        ]  # fmt: skip
