"""Batches, which training consumes, and steps, which it yields.

Shapes use these letters: B rows of a batch, D numeric features, C categorical features,
M members of an ensemble, K outputs (classes, or 1 for regression).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch


class Batch(NamedTuple):
    """Some rows, ready for a network.

    Attributes:
        numeric: float32 [B, D]; D may be 0.
        categorical: int32 [B, C] codes: 0 missing, 1 unseen, 2.. known; C may be 0.
        target: [B], int64 class indices, or float64 numbers in the target's own unit; or [B, K], float32
            probabilities of the classes that another model gives (knowledge distillation).
        weight: [B] or [B, M] weights in the loss; None when every row counts the same.
        row: int64 [B], row numbers in the table.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> codes = torch.zeros(4, 0, dtype=torch.int32)
        >>> batch = Batch(torch.randn(4, 2), codes, torch.zeros(4), None, torch.arange(4))
        >>> list(batch.numeric.shape), list(batch.categorical.shape)
        ([4, 2], [4, 0])
    """

    numeric: torch.Tensor
    categorical: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None
    row: torch.Tensor


class BatchSource(Protocol):
    """A source of batches: all that the training loop needs of the data.

    Rows come in blocks of several whole batches: a `DataLoader` spends more time on one item than
    it takes to cut a block into batches.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> source = prepared.source(batch_size=32)
        >>> source.rows, sum(len(block.row) for block in source.blocks(epoch=1, start_row=64))
        (276, 212)
    """

    rows: int
    batch_size: int

    def blocks(self, epoch: int, start_row: int = 0) -> Iterator[Batch]:
        """Yield one epoch's rows from `start_row` on, in an order fixed by (seed, epoch)."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One weight update. Tensors stay on the device until they are read.

    Attributes:
        number: Counts from 1 over the whole training.
        epoch: Counts from 1; epoch 0 is the untrained network.
        rows: The number of rows in the batch.
        loss: Scalar tensor, the batch's mean loss before the update; if it is not a finite
            number, there was no update.
        batch: The batch.
        logits: [B, K] or [B, M, K], the network's logits before the update. Where several processes train
            together, those of this one's rows, which for process 0 are the batch's first.
        score: Where several processes train together, the batch's sum for the metric; else None.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> step = next(sl.Training(sl.MLP(prepared.spec), prepared).steps())
        >>> step.number, step.rows, list(step.logits.shape)
        (1, 32, [32, 3])
    """

    number: int
    epoch: int
    rows: int
    loss: torch.Tensor
    batch: Batch
    logits: torch.Tensor
    score: torch.Tensor | None = None
