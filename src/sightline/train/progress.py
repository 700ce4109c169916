"""How far a training has come: everything besides tensors that a checkpoint must keep."""

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


@dataclass
class Progress:
    """What has happened so far.

    Attributes:
        steps: Weight updates done, skipped ones counted.
        epoch: The epoch under way.
        rows: Rows of it that are done.
        seconds: Of this epoch's steps.
        elapsed: Seconds of training in all, validation included.
        history: The records of the epochs done, the untrained network's first.
        numbers: What the observations look at, an item an epoch.
        events: What else happened.
        edits: The edits that were applied, as (steps done then, JSON).
        best_epoch: The epoch with the lowest validation loss.
        best_edits: How many edits its network had.
        stopped: Why training ended; None while it can go on.
        weight_decay: Of the parameters that have one.
        good_epoch: The last epoch with a finite loss, whose weights are kept too.
        bad_in_a_row, skipped, rollbacks: Steps without a finite loss, and what came of them.
        doctor_at: The step that the doctor saw last.
        drops: How often a plateau has lowered the learning rate, and `dropped_at` after which epoch.
        glasses: One step whole, of the first epoch and of the latest, by epoch.
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
    glasses: dict[int, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; numbers may be infinite or NaN."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, after it has been through JSON."""
        said = dict(data)
        said["history"] = [EpochRecord(**record) for record in said["history"]]
        said["numbers"] = [EpochNumbers.from_json(numbers) for numbers in said["numbers"]]
        said["events"] = [Event(**event) for event in said["events"]]
        said["edits"] = [(step, edit) for step, edit in said["edits"]]
        said["glasses"] = {int(epoch): seen for epoch, seen in said["glasses"].items()}
        return cls(**said)


class Sums:
    """What an epoch's steps add up to.

    Scores are made of some steps at a time: a few large operations cost less than many small ones.
    Which steps go together depends on their place in the epoch alone, so that a checkpoint between
    them changes no bit. Steps without a finite loss do not count.

    Attributes:
        loss: Sum over rows.
        rows: How many rows count.
        score: Sum over rows, of the steps that do not wait.
        waiting: Logits and targets that are to be scored together.
        late: Steps on a device that was not asked for their losses yet.

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
        """Add a step; `loss` is None where asking a device for it would make it wait."""
        if loss is None:
            self.late.append(step)
        elif math.isfinite(loss):
            self.loss += loss * step.rows
            self.rows += step.rows
            self.waiting.append((step.logits, step.batch.target))
            if len(self.waiting) >= STEPS_TOGETHER:
                self.fold()

    def read_late(self) -> list[tuple[Step, bool]]:
        """Ask for the losses of the late steps; tell which are finite numbers."""
        steps, self.late = self.late, []
        losses = torch.stack([step.loss for step in steps]).tolist() if steps else []
        for step, loss in zip(steps, losses, strict=True):
            self.add(step, loss)
        return [(step, math.isfinite(loss)) for step, loss in zip(steps, losses, strict=True)]

    def fold(self) -> None:
        """Bring the score up to date."""
        if self.waiting:
            logits = torch.cat([logits for logits, _ in self.waiting]).float()
            target = torch.cat([target for _, target in self.waiting])
            self.score = self.score + self.task.score(self.task.head(logits), target).double()
            self.waiting = []

    def means(self) -> tuple[float, float]:
        """Return the mean loss and the metric over the rows so far; NaN without any."""
        self.fold()
        if not self.rows:
            return math.nan, math.nan
        return self.loss / self.rows, self.task.mean_score(float(self.score), self.rows)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors."""
        sums = [self.loss, float(self.rows), float(self.score)]
        named = {"sums": torch.tensor(sums, dtype=torch.float64)}
        for place, (logits, target) in enumerate(self.waiting):
            named |= {f"waiting.{place}.logits": logits, f"waiting.{place}.target": target}
        for place, step in enumerate(self.late):
            named |= {
                f"late.{place}.number": torch.tensor([step.number, step.epoch, step.rows]),
                f"late.{place}.loss": step.loss, f"late.{place}.logits": step.logits,
            }  # fmt: skip
            named |= {
                f"late.{place}.batch.{name}": tensor
                for name, tensor in step.batch._asdict().items() if tensor is not None
            }  # fmt: skip
        return named

    def from_tensors(self, named: Mapping[str, Tensor], device: torch.device) -> None:
        """Read what `to_tensors` wrote."""
        named = {name: tensor.to(device) for name, tensor in named.items()}
        loss, rows, score = named["sums"].tolist()
        self.loss, self.rows, self.score = loss, int(rows), score
        self.waiting = [
            (named[f"waiting.{place}.logits"], named[f"waiting.{place}.target"])
            for place in range(sum(name.startswith("waiting") for name in named) // 2)
        ]
        self.late = [
            Step(
                number=int(named[f"late.{place}.number"][0]),
                epoch=int(named[f"late.{place}.number"][1]),
                rows=int(named[f"late.{place}.number"][2]),
                loss=named[f"late.{place}.loss"],
                batch=Batch(**{name: named.get(f"late.{place}.batch.{name}") for name in Batch._fields}),  # type: ignore[arg-type]
                logits=named[f"late.{place}.logits"],
            )
            for place in range(sum(name.endswith(".number") for name in named))
        ]  # fmt: skip
