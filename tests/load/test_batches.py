"""Batches: every row once, the same order for the same seed and epoch, resumable."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sightline.contracts import Batch
from sightline.load import batches as b


def rows_of(count: int, weight: bool = False) -> Batch:
    row = torch.arange(count)
    return Batch(
        row[:, None].float() * 2, row[:, None].int(), row.float() * 3,
        row.float() if weight else None, row,
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(1, 70), st.integers(0, 5), st.booleans())
def test_each_row_comes_once_and_whole(rows: int, size: int, epoch: int, shuffle: bool) -> None:
    source = b.TensorSource(rows_of(rows, weight=True), size, seed=1, shuffle=shuffle)
    found = list(source.batches(epoch))
    order = torch.cat([batch.row for batch in found]) if found else torch.arange(0)
    assert sorted(order.tolist()) == list(range(rows))
    assert shuffle or order.tolist() == list(range(rows))
    assert all(len(batch.row) == size for batch in found[:-1])
    assert len(found) == b.count_batches(rows, size)
    assert size == 1 or rows == 1 or all(len(batch.row) > 1 for batch in found)
    assert all(len(batch.row) <= size + (size > 1) for batch in found)
    for batch in found:
        assert torch.equal(batch.numeric[:, 0], batch.row.float() * 2)
        assert torch.equal(batch.categorical[:, 0], batch.row.int())
        assert torch.equal(batch.target, batch.row.float() * 3)
        assert batch.weight is not None
        assert torch.equal(batch.weight, batch.row.float())


def order_of(source: b.TensorSource, epoch: int, start: int = 0) -> list[list[int]]:
    return [batch.row.tolist() for batch in b.loader(source, epoch, start)]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    orders = {
        (seed, epoch): order_of(b.TensorSource(rows_of(50), 8, seed=seed), epoch)
        for seed in (0, 1) for epoch in (0, 1, 2)
    }  # fmt: skip
    assert len({str(order) for order in orders.values()}) == len(orders)
    assert order_of(b.TensorSource(rows_of(50), 8, seed=1), 2) == orders[1, 2]


@pytest.mark.parametrize("block", [8, 24, 8192])
def test_an_epoch_resumes_with_the_very_same_batches(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = order_of(b.TensorSource(rows_of(50), 8), 3)
    monkeypatch.setattr(b, "BLOCK_ROWS", block)
    for batch in range(8):
        assert order_of(b.TensorSource(rows_of(50), 8), 3, start=batch * 8) == whole[batch:]


def test_a_real_data_loader_hands_batches_on_unchanged() -> None:
    loader = b.loader(b.TensorSource(rows_of(5), batch_size=32), epoch=1)
    assert isinstance(loader, DataLoader)
    (batch,) = loader
    assert isinstance(batch, Batch)
    assert len(batch.row) == 5  # fewer rows than a batch
    assert batch.weight is None


def test_gather_copies_rows_in_the_order_given() -> None:
    picked = b.gather(rows_of(9), torch.tensor([7, 2]))
    assert picked.row.tolist() == [7, 2]
    assert picked.numeric.tolist() == [[14.0], [4.0]]


@pytest.mark.parametrize(
    ("rows", "size", "sizes"),
    [
        (9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (1, 4, [1]), (5, 4, [5]),
        (3, 1, [1, 1, 1]), (3, 2, [3]), (2, 2, [2]), (1, 1, [1]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [1, 4, 8, 8192])
def test_a_lone_last_row_goes_with_the_batch_before(
    rows: int, size: int, sizes: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(b, "BLOCK_ROWS", block)
    source = b.TensorSource(rows_of(rows), size)
    found = [len(batch.row) for batch in b.loader(source, epoch=1)]
    assert found == sizes
    assert b.count_batches(rows, size) == len(sizes)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 80), st.lists(st.integers(1, 30), min_size=2, max_size=6))
def test_the_batch_size_may_change_within_an_epoch(rows: int, sizes: list[int]) -> None:
    """A batch of each size, then the rest: no row is lost or comes twice."""
    seen: list[int] = []
    for size in sizes:
        source = b.TensorSource(rows_of(rows), size, seed=3)
        for batch in b.loader(source, epoch=2, start_row=len(seen)):
            seen += batch.row.tolist()
            break
    if len(seen) < rows:
        for batch in b.loader(source, epoch=2, start_row=len(seen)):
            seen += batch.row.tolist()
    assert seen == [row for batch in order_of(b.TensorSource(rows_of(rows), 7, seed=3), 2) for row in batch]  # fmt: skip
