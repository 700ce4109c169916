"""What a run leaves behind: events, epochs, and the lines of its trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

EventType = Literal[
    "edit", "refused", "skipped", "rollback", "plateau", "memory", "layers", "warning"
]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something that happened in a training besides its steps and epochs.

    Attributes:
        type: "edit" and "refused" (edits), "skipped" and "rollback" (losses that are not finite),
            "plateau" (a lower learning rate, from the best weights again),
            "memory", "layers" (what the doctor saw), "warning".
        step: How many steps were done.
        epoch: In which epoch.
        said: What happened, in a sentence.
        details: The same as data.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
        >>> training.edit(learning_rate=0.01); history = list(training)
        >>> training.events[0].type, training.events[0].said
        ('edit', 'learning rate 0.001 -> 0.01')
    """

    type: EventType
    step: int
    epoch: int
    said: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training rows, in numbers and in words.

    Attributes:
        number: 0 is the untrained network; then 1, 2, ...
        train_loss: Mean over the epoch's own batches, while the weights were moving.
        valid_loss: Mean over the validation rows after the epoch; None without such rows.
        metrics: train_accuracy, valid_accuracy (or train_rmse, ... in the target's unit),
            learning_rate, gradient_norm, seconds, rows_per_second.
        observation: What these numbers and those before them say, in words.

    Example:
        >>> from sightline.contracts import EpochRecord
        >>> EpochRecord(0, 1.1, None, {"train_accuracy": 0.3}, "starting").to_json()["train_loss"]
        1.1
    """

    number: int
    train_loss: float
    valid_loss: float | None
    metrics: Mapping[str, float]
    observation: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Record:
    """One line of `trace.jsonl`; `docs/trace.md` lists the types and their bodies.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=1, quiet=True)
        >>> run.records[0].stage, run.records[0].type
        ('run', 'start')
    """

    v: int
    seq: int
    attempt: int
    time: str
    stage: str
    type: str
    body: Mapping[str, Any]
