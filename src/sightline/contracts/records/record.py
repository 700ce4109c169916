"""A record, which is one line of a run's trace; events and epochs, which training records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

EventType = Literal[
    "edit", "refused", "skipped", "rollback", "plateau", "memory", "layers", "warning"
]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something that happened during training besides its steps and epochs.

    Attributes:
        type: Which event: "edit" (an edit was applied), "refused" (an edit or a command was not),
            "skipped" (a step without a finite loss), "rollback" (back to the last good weights),
            "plateau" (back to the best weights, with a lower learning rate), "memory" (not enough
            for the batch), "layers" (statistics of each layer), "warning" (about a checkpoint).
        step: How many steps were done before it.
        epoch: The epoch in which it happened.
        said: What happened, in one sentence.
        details: The other fields of its record.

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
    """One pass over the training rows, in numbers and in words: the body of `train/epoch`.

    Attributes:
        number: 0 for the untrained network, then 1, 2, ...
        train_loss: Mean training loss over the epoch's batches, measured while the weights changed.
        valid_loss: Mean loss after the epoch, over the validation rows or, with folds, out-of-fold;
            None where there are neither.
        metrics: train_accuracy and valid_accuracy (or train_rmse, valid_rmse, valid_r2, in the
            target's unit), learning_rate, gradient_norm, seconds, rows_per_second, ...
        observation: What these numbers and those of earlier epochs mean, in words.

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
    """One line of `trace.jsonl`.

    `docs/trace.md` lists the types of records; `sightline.contracts.records.bodies` declares them.

    Attributes:
        v: Version of the format.
        seq: Number of the record in its run, from 0.
        attempt: 1 for the first process, one more for each resume.
        time: ISO 8601, in UTC.
        stage, type: Which record it is, such as "train" and "epoch".
        body: Its contents, as JSON values.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", epochs=1, quiet=True)
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
