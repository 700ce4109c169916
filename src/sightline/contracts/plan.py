"""The plan: what the machine and the time limit decide before the first step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What the machine and the time limit decide: once, before the first step, and recorded.

    Hardware and sizes decide by rule; only the number of epochs within a time limit is timed. Resume and
    replay take the plan from the record, so that the same plan, versions and machine give the same bits.

    Attributes:
        device: Where tensors live, and `device_reason` why.
        precision: "float32" or "bfloat16" (of the matrix products), and `precision_reason` why.
        threads: Number of PyTorch threads, and `threads_reason` why.
        epochs: The largest number of epochs; fewer than requested if `time_limit` allows no more.
        batch_size: Rows of a weight update.
        micro_batch: Rows that go through the network at once; fewer than `batch_size` where
            gradients are accumulated or memory is scarce.
        steps_per_epoch: Weight updates of an epoch.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> plan = sl.Training(sl.MLP(prepared.spec), prepared, device="cpu").plan
        >>> plan.device, plan.device_reason, plan.batch_size, plan.steps_per_epoch
        ('cpu', 'as requested', 32, 9)
    """

    device: str
    device_reason: str
    precision: str
    precision_reason: str
    threads: int
    threads_reason: str
    epochs: int
    batch_size: int
    micro_batch: int
    steps_per_epoch: int
