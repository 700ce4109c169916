"""Prepared training rows on the disk, in random segments, as a source of batches.

Each row belongs to a segment by a hash of the seed and its number. An epoch takes the segments in a random order, some
at a time (a pool), and the rows of a pool in a random order. So batches are drawn nearly as from a shuffle of all
rows, and the disk is read in long stretches. The order is a function of (seed, epoch) and of the size of a row; the
memory limit does not change it. A table that is one pool has the very order of `TensorSource`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.contracts import Batch
from sightline.errors import DataError
from sightline.load.batches import BLOCK_ROWS, block_bounds, join_batches, map_tensors
from sightline.load.large import NamelessFile, check_space, row_keys

POOL_BYTES = 48_000_000
"""Rows of about this size are shuffled together; three such pools are in memory."""
LEAST_POOL_ROWS = 4_096
POOL_SEGMENTS = 16
SEGMENT_STREAM = 1_000_003
"""Added to the seed, so that segments do not follow the draw of the sample."""

Weigh = Callable[[Batch, Tensor | None], Batch]


class ShuffledRows:
    """Rows on the disk, in random segments of a temporary file.

    Args:
        file: The temporary file. One without a name is gone when the process ends, however it ends.
        folder: On whose disk it is.
        rows: N, the number of rows that `add` will be given.
        numeric, categorical: D and C, how many features a row has.
        classes: How many classes the target has; 0 for a number.
        weighted: Whether rows have weights.
        folds: Whether rows have folds.
        seed: Decides the segments.
        buffer_bytes: Bytes of rows that wait in memory to be written.

    Raises:
        DataError: There is not enough space on the disk.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from sightline.contracts import Batch
        >>> from sightline.load.large import NamelessFile
        >>> from sightline.load.shuffled import ShuffledRows
        >>> rows = Batch(torch.randn(10, 3), torch.zeros(10, 0, dtype=torch.int32),
        ...              torch.zeros(10, dtype=torch.float64), None, torch.arange(10))
        >>> folder = Path(tempfile.gettempdir())
        >>> stored = ShuffledRows(NamelessFile(folder), folder, rows=10, numeric=3, categorical=0)
        >>> stored.add(rows)
        >>> batch, folds = stored.read(stored.pools(seed=0, epoch=1)[0])
        >>> batch.row.tolist(), bool((batch.numeric == rows.numeric).all())
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], True)
    """

    def __init__(
        self, file: NamelessFile, folder: Path, *, rows: int, numeric: int, categorical: int, classes: int = 0, weighted: bool = False,
        folds: bool = False, seed: int = 0, buffer_bytes: int = POOL_BYTES,
    ) -> None:  # fmt: skip
        fields = [
            ("row", "<i8"), ("target", "<i8" if classes else "<f8"), ("numeric", "<f4", (numeric,)),
            ("categorical", "<i4", (categorical,)), *([("weight", "<f4")] if weighted else []),
            *([("fold", "<i4")] if folds else []),
        ]  # fmt: skip
        self.record = np.dtype(fields)
        self.rows, self.seed = rows, seed
        self.class_counts = torch.zeros(classes, dtype=torch.int64)
        pool_rows = max(POOL_BYTES // self.record.itemsize, LEAST_POOL_ROWS)
        self.segments = max(-(-rows * POOL_SEGMENTS // pool_rows), 1)
        self.bytes = rows * self.record.itemsize
        check_space(folder, self.bytes, "the prepared rows")
        self._lock = threading.Lock()  # an epoch that was left may still be reading ahead
        self._temporary = file
        self._file = file.file
        if hasattr(os, "posix_fallocate") and self.bytes:
            self._reserve(folder)
        counts = np.zeros(self.segments, np.int64)
        for start in range(0, rows, BLOCK_ROWS * 64):
            counts += np.bincount(
                self._segment_of(start, min(BLOCK_ROWS * 64, rows - start)), minlength=self.segments
            )
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._filled = self._starts[:-1].copy()
        self._added = self._written = 0
        self._buffer_rows = min(max(buffer_bytes // self.record.itemsize, 1), max(rows, 1))
        self._buffer: np.ndarray | None = None  # of the rows from `_written` to `_added`

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to read the rows; the file must have a name."""
        self.flush()
        return {**self.__dict__, "_lock": None, "_file": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._file = threading.Lock(), self._temporary.file

    def add(self, batch: Batch, folds: Tensor | None = None) -> None:
        """Add the next rows, in the order of the table.

        Args:
            batch: The rows, on the CPU.
            folds: int64 [rows], their folds, if rows have folds.
        """
        if len(self.class_counts):
            self.class_counts += torch.bincount(batch.target, minlength=len(self.class_counts))
        fields = zip((*Batch._fields, "fold"), (*batch, folds), strict=True)
        given = {name: values.numpy() for name, values in fields if values is not None}
        if self._buffer is None:
            self._buffer = np.empty(self._buffer_rows, self.record)
        start, rows = 0, len(batch.row)
        while start < rows:
            at = self._added - self._written
            count = min(rows - start, self._buffer_rows - at)
            for name, values in given.items():
                self._buffer[name][at : at + count] = values[start : start + count]
            start += count
            self._added += count
            if at + count == self._buffer_rows:
                self._write()

    def flush(self) -> None:
        """Write the rows that wait into their segments, and free their memory."""
        if self._buffer is not None:
            self._write()
        self._buffer = None

    def _write(self) -> None:
        assert self._buffer is not None
        segment = self._segment_of(self._written, self._added - self._written)
        # numpy sorts integers of 16 bits by counting, 20 times as fast.
        order = np.argsort(segment.astype(np.min_scalar_type(self.segments)), kind="stable")
        records = _take(self._buffer, order)
        ends = np.cumsum(np.bincount(segment, minlength=self.segments))
        size, start = self.record.itemsize, 0
        data = records.view(np.uint8).data
        for number, end in enumerate(ends.tolist()):
            if end > start:
                self._file.seek(int(self._filled[number]) * size)
                self._file.write(data[start * size : end * size])
                self._filled[number] += end - start
                start = end
        self._written = self._added

    def pools(self, seed: int, epoch: int) -> list[np.ndarray]:
        """Return the numbers of the segments of each pool of an epoch."""
        if self.segments <= POOL_SEGMENTS:
            return [np.arange(self.segments)]
        order = np.argsort(row_keys(seed + SEGMENT_STREAM, epoch * self.segments, self.segments))
        return np.split(order, range(POOL_SEGMENTS, self.segments, POOL_SEGMENTS))

    def size(self, segments: np.ndarray) -> int:
        """Return how many rows some segments have."""
        return int((self._starts[segments + 1] - self._starts[segments]).sum())

    def read(
        self, segments: np.ndarray, order: np.ndarray | None = None
    ) -> tuple[Batch, Tensor | None]:
        """Read the rows of some segments.

        Args:
            segments: Their numbers.
            order: int64 [rows], the order in which to return the rows; None is that of the table.

        Returns:
            The rows and their folds.

        Raises:
            DataError: Not all rows were added, or the file was cut short.
        """
        self.flush()
        if self._added != self.rows:
            raise DataError(
                f"The table had {self.rows:,} training rows, and now has {self._added:,}.",
                "Fit again, when no other program writes to it.",
            )
        records = np.empty(self.size(segments), self.record)
        data, size, at = records.view(np.uint8).data, self.record.itemsize, 0
        with self._lock:
            for number in segments.tolist():
                start, end = self._starts[number], self._starts[number + 1]
                length = int(end - start) * size
                self._file.seek(int(start) * size)
                if self._file.readinto(data[at : at + length]) != length:
                    raise DataError("The file of the prepared rows was cut short.", "Fit again.")
                at += length
        by_row = np.argsort(records["row"], kind="stable")
        records = _take(records, by_row if order is None else by_row[order])
        fields = [
            torch.from_numpy(np.ascontiguousarray(records[name]))
            if name in (self.record.names or ())
            else None
            for name in (*Batch._fields, "fold")
        ]
        folds = fields.pop()
        return Batch(*fields), None if folds is None else folds.long()  # type: ignore[arg-type]

    # ------------------------------------------------------------- helpers

    def _reserve(self, folder: Path) -> None:
        """Reserve the space at once, so that the disk cannot become full half way."""
        try:
            os.posix_fallocate(self._file.fileno(), 0, self.bytes)
        except OSError as error:
            raise DataError(
                f"The prepared rows need {self.bytes:,} bytes of disk in {folder}: {error.strerror}.",
                "Make space, or choose a run folder on another disk (run=, --run).",
            ) from error

    def _segment_of(self, start: int, rows: int) -> np.ndarray:
        """Return the segment of each row, int64 [rows]: a function of the seed and the row's number."""
        keys = row_keys(self.seed + SEGMENT_STREAM, start, rows) >> np.uint64(32)
        return ((keys * np.uint64(self.segments)) >> np.uint64(32)).astype(np.int64)


def _take(records: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some records, each copied as one piece of memory: numpy would copy field by field."""
    pieces = records.view(np.dtype((np.void, records.dtype.itemsize)))
    taken: np.ndarray = pieces[rows].view(records.dtype)
    return taken


class ShuffledSource:
    """Batches of rows on the disk, in a new random order each epoch; the next pool is read ahead.

    Args:
        stored: The rows.
        batch_size: The number of rows per batch; the last batch of an epoch has the remaining ones.
        seed: Together with the epoch's number, it determines the order.
        weigh: Gives rows their weights by class and fold, and brings them to the device; None leaves them as they are.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from sightline.contracts import Batch
        >>> from sightline.load.batches import TensorSource
        >>> from sightline.load.large import NamelessFile
        >>> from sightline.load.shuffled import ShuffledRows, ShuffledSource
        >>> rows = Batch(torch.randn(10, 3), torch.zeros(10, 0, dtype=torch.int32),
        ...              torch.zeros(10, dtype=torch.float64), None, torch.arange(10))
        >>> folder = Path(tempfile.gettempdir())
        >>> stored = ShuffledRows(NamelessFile(folder), folder, rows=10, numeric=3, categorical=0)
        >>> stored.add(rows)
        >>> [block.row.tolist() for block in ShuffledSource(stored, batch_size=4).blocks(epoch=1)] == [
        ...     block.row.tolist() for block in TensorSource(rows, batch_size=4).blocks(epoch=1)]
        True
    """

    def __init__(
        self,
        stored: ShuffledRows,
        batch_size: int,
        seed: int = 0,
        weigh: Weigh | None = None,
    ) -> None:
        self.stored, self.batch_size, self.seed = stored, batch_size, seed
        self.weigh = weigh
        self.rows = stored.rows

    def blocks(self, epoch: int, start_row: int = 0) -> Iterator[Batch]:
        """Yield an epoch's rows in blocks, from a row on; the same (seed, epoch) gives the same order."""
        pools = self.stored.pools(self.seed, epoch)
        ends = np.cumsum([self.stored.size(pool) for pool in pools])
        first = int(np.searchsorted(ends, start_row, side="right"))
        with ThreadPoolExecutor(1) as reader:
            following = (
                reader.submit(self._pool, epoch, first, pools) if first < len(pools) else None
            )
            kept: Batch | None = None
            for number in range(first, len(pools)):
                assert following is not None
                rows = following.result()
                last = number + 1 == len(pools)
                following = None if last else reader.submit(self._pool, epoch, number + 1, pools)
                begin = int(ends[number]) - len(rows.row)
                if begin < start_row:
                    rows = map_tensors(rows, lambda x, a=start_row - begin: x[a:])  # type: ignore[misc]
                if kept is not None:
                    rows = join_batches(kept, rows)
                # Batches go across pools: what does not fill one waits for the next pool.
                whole = len(rows.row)
                if not last:
                    whole = max(whole - 1, 0) // self.batch_size * self.batch_size
                for start, stop in block_bounds(0, whole, self.batch_size):
                    yield map_tensors(rows, lambda x, a=start, b=stop: x[a:b])  # type: ignore[misc]
                kept = map_tensors(rows, lambda x, a=whole: x[a:].clone())  # type: ignore[misc]

    def _pool(self, epoch: int, number: int, pools: Sequence[np.ndarray]) -> Batch:
        """Read a pool in its random order, weighted, on the device."""
        seed = self.seed * 1_000_003 + epoch if len(pools) == 1 else int(
            row_keys(self.seed * 1_000_003 + epoch, number, 1)[0] >> np.uint64(1)
        )  # fmt: skip
        order = torch.randperm(
            self.stored.size(pools[number]), generator=torch.Generator().manual_seed(seed)
        )
        batch, folds = self.stored.read(pools[number], order.numpy())
        return batch if self.weigh is None else self.weigh(batch, folds)
