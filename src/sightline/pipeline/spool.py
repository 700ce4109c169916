"""The rows of a query in the run folder: read once, since a database has them in no stable order and changes them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sightline.contracts.options import ReadOptions
from sightline.load.databases import Query, spool_query
from sightline.load.large import LargeTable, read_within
from sightline.load.table import Table

DATA = "data.parquet"
"""The file in a run folder that holds the rows of a query."""


@dataclass(frozen=True)
class Spooled:
    """Rows that were read from a database.

    Attributes:
        query: Where from.
        path: The file, until there is a run folder.
        home: The file in the run folder.
        notes: What was changed in the values, in sentences.
    """

    query: Query
    path: Path
    home: Path
    notes: tuple[str, ...]

    def table(self, options: ReadOptions, limit: int) -> Table | LargeTable:
        """Read the rows; the table says that they are in the run folder, where later readers find them.

        Args:
            options: The arguments of `sightline.read`.
            limit: Bytes of memory; a larger table stays on the disk.
        """
        read = read_within(self.path, replace(options, query=None), limit, self.path.parent)
        table = read.sample if isinstance(read, LargeTable) else read
        paths, said = (str(self.home),), (*self.notes, *table.said)
        table = replace(table, name=self.query.name, paths=paths, said=said)
        return replace(read, sample=table) if isinstance(read, LargeTable) else table

    def move(self) -> None:
        """Put the file into the run folder."""
        self.path.replace(self.home)


def saying(quiet: bool) -> Callable[[str], None]:
    """Return a function that writes a sentence to standard error, or drops it."""

    def say(sentence: str) -> None:
        if not quiet:
            sys.stderr.write(f"{sentence}\n")

    return say


@contextmanager
def spooled(source: Any, folder: Path, quiet: bool) -> Iterator[Any]:
    """Read a query into a file beside the run folder, which does not exist yet; yield other sources as they are.

    A file that was not moved at the end is removed: the fit was refused.

    Args:
        source: As in `fit`; a database is a `Query`.
        folder: The run folder.
        quiet: Whether to say nothing of the size before it is read.

    Raises:
        OptionError, DataError: As `sightline.load.databases.spool_query`.
    """
    if not isinstance(source, Query):
        yield source
        return

    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.{DATA}")
    notes = spool_query(source, path, folder / DATA, saying(quiet))
    try:
        yield Spooled(source, path, folder / DATA, notes)
    finally:
        path.unlink(missing_ok=True)
