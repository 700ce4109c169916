"""Batches from tensors in memory, through PyTorch's `DataLoader`.

A `DataLoader` is slow when it gathers one row at a time. Gathering a batch with `x[index]` is faster;
fastest is one `index_select` for a block of several batches, followed by views of that block (see
`benchmarks/loader_speed.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from sightline.contracts import Batch, BatchSource

BLOCK_ROWS = 8192


class TensorSource:
    """Rows held as tensors, in a new random order each epoch.

    Args:
        batch: All rows: numeric [N, D], categorical [N, C], target [N], row [N].
        batch_size: The number of rows per batch; the last batch of an epoch has the remaining ones.
        seed: Together with the epoch's number, it determines the order.
        shuffle: False keeps the order of the rows, as for validation.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.load.batches import TensorSource
        >>> rows = Batch(torch.randn(10, 3), torch.zeros(10, 0, dtype=torch.int32),
        ...              torch.zeros(10), None, torch.arange(10))
        >>> [len(batch.row) for batch in TensorSource(rows, batch_size=4).batches(epoch=1)]
        [4, 4, 2]
    """

    def __init__(self, batch: Batch, batch_size: int, seed: int = 0, shuffle: bool = True) -> None:
        self.batch = batch
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rows = len(batch.row)

    def blocks(self, epoch: int, start_row: int = 0) -> Iterator[Batch]:
        """Yield an epoch's rows in blocks, from a row on; the same (seed, epoch) gives the same order."""
        order = self._order(epoch)
        for start, stop in block_bounds(start_row, self.rows, self.batch_size):
            if order is None:
                yield map_tensors(self.batch, lambda x, a=start, b=stop: x[a:b])  # type: ignore[misc]
            else:
                yield gather(self.batch, order[start:stop])

    def batches(self, epoch: int, start_row: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches from a row on, without a `DataLoader`."""
        for block in self.blocks(epoch, start_row):
            yield from cut(block, self.batch_size)

    def _order(self, epoch: int) -> torch.Tensor | None:
        if not self.shuffle:
            return None
        # The multiplier keeps (seed, epoch) pairs distinct: (0, 1) is not (1, 0).
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.rows, generator=generator)
        return order.to(self.batch.row.device)


class _Epoch(IterableDataset[Batch]):
    def __init__(self, source: BatchSource, epoch: int, start_row: int) -> None:
        self.source, self.epoch, self.start_row = source, epoch, start_row

    def __iter__(self) -> Iterator[Batch]:
        return self.source.blocks(self.epoch, self.start_row)


class _Loader(DataLoader[Batch]):
    """PyTorch's `DataLoader` over blocks: its overhead of 20 microseconds occurs once per block."""

    def __iter__(self) -> Any:
        assert isinstance(self.dataset, _Epoch)
        for block in super().__iter__():
            yield from cut(block, self.dataset.source.batch_size)


def loader(source: BatchSource, epoch: int, start_row: int = 0) -> DataLoader[Batch]:
    """Wrap one epoch of a source in PyTorch's `DataLoader`.

    Example:
        >>> import sightline as sl
        >>> from sightline.load.batches import loader
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> batch = next(iter(loader(prepared.source(batch_size=32), epoch=1)))
        >>> list(batch.numeric.shape), list(batch.categorical.shape)
        ([32, 9], [32, 2])
    """
    # A DataLoader draws from the global generator when it starts, which would change dropout in an
    # epoch that is resumed in the middle. So it gets its own generator.
    return _Loader(
        _Epoch(source, epoch, start_row), batch_size=None, collate_fn=_same,
        generator=torch.Generator(),
    )  # fmt: skip


def block_bounds(start: int, rows: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each block of whole batches from `start` to `rows`, and the row after its last.

    A single last row joins the batch before it.

    Example:
        >>> from sightline.load.batches import block_bounds
        >>> list(block_bounds(0, 8193, 8192)), list(block_bounds(0, 8194, 8192))
        ([(0, 8193)], [(0, 8192), (8192, 8194)])
    """
    size = max(BLOCK_ROWS // batch_size, 1) * batch_size
    while start < rows:
        stop = min(start + size, rows)
        if rows - stop == 1 < batch_size:
            stop = rows
        yield start, stop
        start = stop


def cut(block: Batch, size: int) -> Iterator[Batch]:
    """Cut a block into batches, which are views of it.

    One call of `split` makes all the views of a tensor, faster than slicing batch by batch. A single
    last row joins the batch before it, because a BatchNorm cannot be trained on one row.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.load.batches import cut
        >>> block = Batch(*[torch.zeros(5, 1)] * 3, None, torch.arange(5))
        >>> [batch.row.tolist() for batch in cut(block, 2)]
        [[0, 1], [2, 3, 4]]
    """
    rows = len(block.row)
    sizes: int | list[int] = size
    if rows > size > 1 == rows % size:
        sizes = [size] * (rows // size)
        sizes[-1] += 1
    views = (repeat(None) if x is None else torch.split(x, sizes) for x in block)
    return map(Batch._make, zip(*views, strict=False))


def count_batches(rows: int, size: int) -> int:
    """Count the batches of an epoch.

    Example:
        >>> from sightline.load.batches import count_batches
        >>> count_batches(10, 4), count_batches(9, 4), count_batches(8, 4)
        (3, 2, 2)
    """
    return rows // size + (rows % size > (1 if rows > size > 1 else 0))


def map_tensors(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """Apply a function to every tensor of a batch.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.load.batches import map_tensors
        >>> batch = Batch(*[torch.zeros(4, 1)] * 3, None, torch.arange(4))
        >>> map_tensors(batch, lambda x: x[:2]).row.tolist()
        [0, 1]
    """
    return Batch(
        change(batch.numeric),
        change(batch.categorical),
        change(batch.target),
        None if batch.weight is None else change(batch.weight),
        change(batch.row),
    )


def join_batches(*batches: Batch) -> Batch:
    """Put the rows of some batches one after another; without weights in one of them, the result has none.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.load.batches import join_batches
        >>> batch = Batch(*[torch.zeros(2, 1)] * 3, None, torch.arange(2))
        >>> join_batches(batch, batch).row.tolist()
        [0, 1, 0, 1]
    """
    joined = [
        None if any(part is None for part in parts) else torch.cat(parts)
        for parts in zip(*batches, strict=True)
    ]
    return Batch(*joined)  # type: ignore[arg-type]


def gather(batch: Batch, rows: torch.Tensor) -> Batch:
    """Copy some rows in the given order."""
    return map_tensors(batch, lambda x: torch.index_select(x, 0, rows))


def _same(batch: Any) -> Any:
    return batch
