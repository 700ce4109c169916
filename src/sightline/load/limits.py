"""Whether a table fits into memory: its estimated size, the limit, and what of the limit goes where."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sightline.contracts.rules import check_bytes
from sightline.errors import OptionError
from sightline.load.delimited import Delimited
from sightline.load.excel import ENDINGS as WORKBOOKS
from sightline.load.excel import split_sheet
from sightline.load.formats import CODECS, format_of
from sightline.load.pieces import PIECE_ROWS, can_be_pieces
from sightline.load.raw import RawRequest
from sightline.load.sources import find_files
from sightline.load.text_files import bytes_of

SHARE_OF_MACHINE = 0.5
"""The default limit, as a share of the memory of the machine or of the cgroup."""
VALUE_BYTES = 44
"""What a fit in memory is taken to need for a value: as it was read, as a float64, as a float32 of a tensor, and copies."""
ROW_BYTES = 250
"""What it needs for a row besides: targets, folds, weights of the members, predictions, hashes."""
LEAST_BYTES = 120_000_000
LEAST_ROW_BYTES = 24
"""What a fit out of core needs in memory: for buffers, and for a row: the order of the split, its part and its fold."""
TEXTS_SHARE = 0.1
"""The share of the limit for the different values of a column while they are counted."""
CATEGORIES_SHARE = 0.2
CATEGORY_BYTES = 1_000
"""What a value of a column needs at most that the network tells apart: 50 numbers with gradient and two moments; its text."""
SAMPLE_SHARE = 0.25
"""The share of the limit for the sample of rows that is in memory."""
BUFFER_SHARE = 0.1
"""The share of the limit for rows on their way to their segments."""
PIECE_SHARE = 0.1
"""The share of the limit for a piece, of which there are a few at a time."""
LEAST_PIECE_ROWS = 128
TEXT_COPIES = 4
"""How often a text is in memory while a table is read."""
NUMBER_BYTES = 20
"""A number in a text file has at most about this many characters."""
M_ARENA_MAX = -8
"""The number of this option in malloc.h."""
TEXT_PROBE = 1 << 20
COMPRESSION = 8
"""How much smaller a compressed text file is taken to be."""


class Estimate(NamedTuple):
    """The size of a table that was not read yet.

    Attributes:
        rows: The number of rows; of text files an estimate.
        columns: The number of columns.
        texts: Bytes of the texts in them; of a text file, of all that numbers would not fill.
    """

    rows: int
    columns: int
    texts: int = 0

    @property
    def row_bytes(self) -> float:
        """The memory that a fit needs for a row."""
        return self.columns * VALUE_BYTES + ROW_BYTES + TEXT_COPIES * self.texts / max(self.rows, 1)

    @property
    def bytes(self) -> int:
        """The memory that a fit of all these rows needs.

        Example:
            >>> from sightline.load.limits import Estimate
            >>> Estimate(1_000_000, 10).bytes
            690000000
        """
        return int(self.rows * self.row_bytes)


@dataclass(frozen=True)
class Budget:
    """How the memory limit of a fit out of core is divided.

    Attributes:
        limit: In bytes.

    Example:
        >>> from sightline.load.limits import Budget
        >>> Budget(10**9).sample_rows(row_bytes=2_000)
        125000
    """

    limit: int

    def sample_rows(self, row_bytes: float) -> int:
        """Return how many training rows are in memory, for all but the network's training.

        Args:
            row_bytes: What a fit needs for a row, from `Estimate`.
        """
        return int(self.limit * SAMPLE_SHARE / row_bytes)

    def piece_rows(self, row_bytes: float) -> int:
        """Return how many rows are read at once."""
        return min(max(int(self.limit * PIECE_SHARE / row_bytes), LEAST_PIECE_ROWS), PIECE_ROWS)

    @property
    def text_bytes(self) -> int:
        """The bytes of the different texts of a column, while they are counted."""
        return int(self.limit * TEXTS_SHARE)

    @property
    def most_values(self) -> int:
        """Return how many different values of a column the network tells apart."""
        return int(self.limit * CATEGORIES_SHARE / CATEGORY_BYTES)

    @property
    def buffer_bytes(self) -> int:
        """The bytes of rows that wait to be written."""
        return int(self.limit * BUFFER_SHARE)

    def check(self, estimate: Estimate) -> None:
        """Refuse a limit that is too small for the number of rows.

        Raises:
            OptionError: It says how much is needed.
        """
        least = LEAST_BYTES + LEAST_ROW_BYTES * estimate.rows
        if self.limit < least:
            raise OptionError(
                f"memory_limit is {in_units(self.limit)}, too small for {estimate.rows:,} rows: at least "
                f"{in_units(least)} are needed.",
                f"Give memory_limit={-(-least // 10**6)}MB or more (--memory-limit).",
            )


def estimate(source: Any, request: RawRequest) -> Estimate | None:
    """Estimate the size of a table from its Parquet footers, or from the first rows of its text files.

    Args:
        source: As in `sightline.read`.
        request: How it is read.

    Returns:
        None for a source that cannot be read piece by piece, or of which no row can be found.

    Raises:
        DataError: It cannot be read.

    Example:
        >>> from sightline.load.limits import estimate
        >>> from sightline.load.raw import RawRequest
        >>> size = estimate("examples/penguins.csv", RawRequest())
        >>> abs(size.rows - 344) < 20, size.columns, size.texts
        (True, 8, 0)
    """
    if not isinstance(source, str | Path) or "://" in str(source):
        return None  # rows of an address are copied first
    if split_sheet(source)[0].suffix.lower() in WORKBOOKS:
        return None
    if not can_be_pieces(source):
        return None
    files = find_files(source)
    if format_of(files[0]) == "parquet":
        return _of_parquet(files)
    return _of_text(files, request)


def _of_parquet(files: Sequence[Path]) -> Estimate | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = columns = texts = 0
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                rows += opened.metadata.num_rows
                columns = max(columns, len(opened.schema_arrow))
                texts += _text_bytes(opened.metadata)
        except (pa.ArrowInvalid, OSError):
            return None  # the reader explains what is wrong with it
    return Estimate(rows, columns, texts)


def _text_bytes(metadata: Any) -> int:
    """Add up the sizes of columns of bytes in a Parquet footer; repeated texts count once for each row group."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(one.total_uncompressed_size for one in columns if one.physical_type == "BYTE_ARRAY")


def _of_text(files: Sequence[Path], request: RawRequest) -> Estimate | None:
    rows = columns = size_of_all = 0
    for file in files:
        with bytes_of(file) as stream:
            probe = stream.read(TEXT_PROBE)
        lines = probe.count(b"\n")
        if not lines:
            continue
        size = os.path.getsize(file)
        if file.suffix.lower() in CODECS:
            size *= COMPRESSION
        rows += lines if len(probe) < TEXT_PROBE else round(size * lines / len(probe))
        size_of_all += max(size, len(probe))
        if not columns:
            columns = len(Delimited.open(file, request).names)
    texts = max(size_of_all - NUMBER_BYTES * columns * rows, 0)
    return Estimate(rows, columns, texts) if rows else None


def settle_limit(limit: int | str | None, processes: int = 1) -> int:
    """Return the memory limit in bytes; None means half of the memory of the machine, or of the cgroup if that has less.

    Args:
        limit: As it was given.
        processes: How many processes on this machine share what is chosen for None.

    Example:
        >>> from sightline.load.limits import settle_limit
        >>> settle_limit("1GB"), settle_limit(None) > 10**8
        (1000000000, True)
    """
    if limit is None:
        return int(machine_memory() * SHARE_OF_MACHINE) // processes
    return check_bytes("memory_limit", limit)


def use_one_arena() -> None:
    """Let all threads take memory from one pool: glibc keeps one for each, which rows that come and go never give back.

    It does nothing where there is no glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, 1)


def machine_memory() -> int:
    """Return the memory of the machine in bytes, or of the cgroup if that has less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # Windows
        return 8 << 30
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            total = min(total, int(text))
    return total


def in_units(size: float) -> str:
    """Write a number of bytes with a unit.

    Example:
        >>> from sightline.load.limits import in_units
        >>> in_units(1_500_000_000), in_units(2_000_000)
        ('1.5 GB', '2 MB')
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} bytes"
