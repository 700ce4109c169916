"""Rows on the disk as batches: each row once an epoch, in an order that only seed and epoch decide."""

import collections
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.contracts import Batch
from sightline.errors import DataError
from sightline.load import large, shuffled
from sightline.load.batches import TensorSource, loader
from sightline.load.large import NamedFile, NamelessFile
from sightline.load.shuffled import ShuffledRows, ShuffledSource


def rows_of(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(count, 3, generator=random), torch.randint(0, 9, (count, 2), generator=random, dtype=torch.int32),
        torch.randint(0, 2, (count,), generator=random), torch.rand(count, generator=random), torch.arange(count) * 2,
    )  # fmt: skip


def stored(folder, rows, *, piece=97, buffer_bytes=2_000, folds=None, seed=0):
    made = ShuffledRows(
        NamelessFile(folder), folder, rows=len(rows.row), numeric=3, categorical=2, classes=2, weighted=True, folds=folds is not None,
        seed=seed, buffer_bytes=buffer_bytes,
    )  # fmt: skip
    for start in range(0, len(rows.row), piece):
        part = Batch(*(x[start : start + piece] for x in rows))
        made.add(part, None if folds is None else folds[start : start + piece])
    return made


@pytest.fixture
def small_pools(monkeypatch):
    monkeypatch.setattr(shuffled, "POOL_BYTES", 1)
    monkeypatch.setattr(shuffled, "LEAST_POOL_ROWS", 200)


def order(source, epoch, start=0):
    return [row for block in source.blocks(epoch, start) for row in block.row.tolist()]


def test_one_pool_has_the_batches_of_a_table_in_memory(tmp_path):
    rows = rows_of(500)
    source, memory = ShuffledSource(stored(tmp_path, rows), 32, seed=3), TensorSource(rows, 32, 3)
    for epoch in (1, 2):
        for mine, other in zip(loader(source, epoch), loader(memory, epoch), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


def test_every_row_once_with_its_values(tmp_path, small_pools):
    rows, folds = rows_of(2_003), torch.arange(2_003) % 5
    made = stored(tmp_path, rows, folds=folds)
    assert len(made.pools(0, 1)) > 5
    seen = collections.Counter()

    def weigh(batch, of_fold):
        at = batch.row // 2
        for mine, all_ in zip(batch, rows, strict=True):
            assert torch.equal(mine, all_[at])
        assert torch.equal(of_fold, folds[at])
        return batch

    for batch in loader(ShuffledSource(made, 64, weigh=weigh), 1):
        assert len(batch.row) in (64, 2_003 % 64)
        seen.update(batch.row.tolist())
    assert set(seen.values()) == {1}
    assert len(seen) == 2_003


def test_the_order_is_that_of_seed_and_epoch_alone(tmp_path, small_pools):
    rows = rows_of(1_500)
    first = ShuffledSource(stored(tmp_path, rows), 50, seed=1)
    other = ShuffledSource(stored(tmp_path, rows, piece=11, buffer_bytes=10**9), 50, seed=1)
    assert order(first, 1) == order(other, 1) != order(first, 2)
    assert order(first, 1) != order(ShuffledSource(stored(tmp_path, rows, seed=2), 50, seed=2), 1)
    same = Batch(*(x[:1].expand(1_500, *x.shape[1:]).contiguous() for x in rows[:4]), rows.row)
    assert order(ShuffledSource(stored(tmp_path, same), 50, seed=1), 1) == order(first, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 700), st.integers(1, 90), st.data())
def test_an_epoch_continues_at_any_batch(tmp_path_factory, rows, size, data):
    folder = tmp_path_factory.mktemp("rows")
    before = shuffled.POOL_BYTES, shuffled.LEAST_POOL_ROWS
    shuffled.POOL_BYTES, shuffled.LEAST_POOL_ROWS = 1, 40
    try:
        source = ShuffledSource(stored(folder, rows_of(rows)), size, seed=4)
        whole = order(source, 3)
        sizes = [len(batch.row) for batch in loader(source, 3)]
        start = sum(sizes[: data.draw(st.integers(0, len(sizes)))])
        assert order(source, 3, start) == whole[start:]
        assert sizes == [len(batch.row) for batch in TensorSource(rows_of(rows), size).batches(3)]
        assert sorted(whole) == list(range(0, 2 * rows, 2))
    finally:
        shuffled.POOL_BYTES, shuffled.LEAST_POOL_ROWS = before


def test_segments_are_even_and_neighbours_part(tmp_path, small_pools, monkeypatch):
    monkeypatch.setattr(shuffled, "LEAST_POOL_ROWS", 4_000)
    made = stored(tmp_path, rows_of(20_000), piece=5_000)
    sizes = np.array([made.size(np.array([s])) for s in range(made.segments)])
    assert sizes.sum() == 20_000
    assert sizes.max() < 2 * sizes.mean()
    # In a file that is sorted, each pool has rows of all of it.
    for pool in made.pools(seed=0, epoch=1):
        rows = made.read(pool)[0].row.numpy() // 2
        shares = np.bincount(rows // 5_000, minlength=4) / len(rows)
        assert shares.min() > 0.1


def test_an_epoch_that_is_left_stops_reading(tmp_path, small_pools):
    source = ShuffledSource(stored(tmp_path, rows_of(3_000)), 32)
    blocks = source.blocks(1)
    next(blocks)
    blocks.close()
    assert len(order(source, 1)) == 3_000


def test_the_file_has_no_name_and_its_space_is_reserved(tmp_path):
    made = stored(tmp_path, rows_of(5_000))
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(made._file.fileno()).st_size == made.bytes == 5_000 * made.record.itemsize


def test_a_disk_without_space_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(large.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**8))
    with pytest.raises(DataError, match="need 40 kB of disk"):
        stored(tmp_path, rows_of(1_000))


def test_a_disk_that_fills_up_while_space_is_reserved_is_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shuffled.os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match="No space left on device"):
        stored(tmp_path, rows_of(100))


def test_fewer_rows_than_announced_are_an_error(tmp_path):
    made = ShuffledRows(
        NamelessFile(tmp_path),
        tmp_path,
        rows=10,
        numeric=3,
        categorical=2,
        classes=2,
        weighted=True,
    )
    made.add(rows_of(9))
    with pytest.raises(DataError, match="had 10 training rows, and now has 9"):
        order(ShuffledSource(made, 4), 1)


def test_a_file_that_was_cut_short_is_an_error(tmp_path):
    made = stored(tmp_path, rows_of(100))
    made.flush()
    made._file.truncate(10)
    with pytest.raises(DataError, match="cut short"):
        order(ShuffledSource(made, 4), 1)


def test_class_counts_are_those_of_all_rows(tmp_path):
    rows = rows_of(333)
    assert torch.equal(stored(tmp_path, rows).class_counts, torch.bincount(rows.target))


def test_another_process_reads_a_file_with_a_name(tmp_path):
    rows = rows_of(300)
    made = ShuffledRows(
        NamedFile(tmp_path / "sent" / "rows"), tmp_path, rows=300, numeric=3, categorical=2, classes=2, weighted=True
    )  # fmt: skip
    made.add(rows)
    sent = pickle.dumps(made)
    assert len(sent) < 5_000
    there = pickle.loads(sent)
    assert torch.equal(there.class_counts, made.class_counts)
    assert order(ShuffledSource(there, 7), 3) == order(ShuffledSource(made, 7), 3)
    with pytest.raises(TypeError):
        pickle.dumps(stored(tmp_path, rows))
