"""Backward passes: a batch in parts, and a direct call of the autograd engine."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sightline.contracts import Batch
from sightline.load.batches import cut, map_tensors
from sightline.predict.task import LEAST_TOTAL_WEIGHT


def backward(loss: Tensor, unit_gradient: Tensor) -> None:
    """Compute gradients as `loss.backward()` does, by a direct call of the autograd engine.

    The Python in `Tensor.backward` (a new tensor of ones, checks of arguments that are right here)
    takes a seventh of a small network's step.

    Args:
        loss: A scalar.
        unit_gradient: The gradient of the loss with respect to itself, a scalar 1 on the same device.

    Example:
        >>> import torch
        >>> from sightline.train.gradients import backward
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> backward(x * x, torch.ones(()))
        >>> x.grad.item()
        6.0
    """
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (unit_gradient,), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def parts_of(
    batch: Batch, rows: int, own: slice | None = None
) -> Iterable[tuple[Batch, Tensor | float | None]]:
    """Cut a batch into parts of at most `rows` rows, each with its share of the batch's mean loss.

    Args:
        batch: The batch.
        rows: The largest number of rows of a part.
        own: The rows that this process computes; None for all. If there are none, the only part is a row with
            share 0, because a network may not take a batch without rows.

    Returns:
        Pairs of a part and its share; a batch that is small enough is one part with share None.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.train.gradients import parts_of
        >>> batch = Batch(*[torch.zeros(5, 1)] * 3, None, torch.arange(5))
        >>> [(len(part.row), share) for part, share in parts_of(batch, 3)]
        [(3, 0.6), (2, 0.4)]
    """
    count = len(batch.row)
    if own is None or own == slice(0, count):
        if count <= rows:
            return ((batch, None),)
        parts = cut(batch, rows)
    elif own.start == own.stop:
        return ((map_tensors(batch, lambda x: x[:1]), 0.0),)
    else:
        parts = cut(map_tensors(batch, lambda x: x[own]), rows)
    if batch.weight is None:
        return ((part, len(part.row) / len(batch.row)) for part in parts)
    total = batch.weight.sum().clamp(min=LEAST_TOTAL_WEIGHT)
    return ((part, part.weight.sum() / total) for part in parts if part.weight is not None)
