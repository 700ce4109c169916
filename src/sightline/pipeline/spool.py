"""The rows of a database or an object store in the run folder: read once, since they may change and a query has no order."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sightline.contracts import FitOptions
from sightline.contracts.options import ReadOptions
from sightline.errors import OptionError
from sightline.load.databases import Query, spool_query
from sightline.load.large import LargeTable, read_within
from sightline.load.object_stores import Copied, Stored, is_stored
from sightline.load.table import Table

DATA = "data.parquet"
"""The file in a run folder that holds the rows of a query."""
FILES = "data"
"""The folder in a run folder that holds the files of an object store."""


@dataclass(frozen=True)
class Spooled:
    """Rows that were read from a database, or files of an object store.

    Attributes:
        name: Where from.
        source: What to read, until there is a run folder.
        path: The file or folder of it.
        home: The file or folder in the run folder.
        later: The path or pattern of what is read again, in the run folder.
        address: Where the rows are found again without those files; None for a query.
        notes: What was changed in the values, in sentences.
    """

    name: str
    source: Path | Copied
    path: Path
    home: Path
    later: str
    address: str | None = None
    notes: tuple[str, ...] = ()

    def table(self, options: ReadOptions, limit: int) -> Table | LargeTable:
        """Read the rows; the table says that they are in the run folder, where later readers find them.

        Args:
            options: The arguments of `sightline.read`.
            limit: Bytes of memory; a larger table stays on the disk.
        """
        read = read_within(self.source, replace(options, query=None), limit, self.path.parent)
        table = read.sample if isinstance(read, LargeTable) else read
        paths = tuple(str(self.home / Path(path).relative_to(self.path)) for path in table.paths)
        table = replace(table, name=self.name, paths=paths, said=(*self.notes, *table.said))
        return replace(read, sample=table) if isinstance(read, LargeTable) else table

    def move(self) -> None:
        """Put the rows into the run folder."""
        self.path.replace(self.home)


def saying(quiet: bool) -> Callable[[str], None]:
    """Return a function that writes a sentence to standard error, or drops it."""

    def say(sentence: str) -> None:
        if not quiet:
            sys.stderr.write(f"{sentence}\n")

    return say


@contextmanager
def spooled(source: Any, folder: Path, quiet: bool) -> Iterator[Any]:
    """Read a query into a file beside the run folder, which does not exist yet, or copy files of an object store there.

    Other sources are yielded as they are. What was not moved at the end is removed: the fit was refused.

    Args:
        source: As in `fit`; a database is a `Query`, an object store a `Stored`.
        folder: The run folder.
        quiet: Whether to say nothing of the size before it is read.

    Raises:
        OptionError, DataError: As `sightline.load.databases.spool_query` and `sightline.load.object_stores.Listing.copy`.
    """
    if not isinstance(source, Query | Stored):
        yield source
        return

    folder.parent.mkdir(parents=True, exist_ok=True)
    name = DATA if isinstance(source, Query) else FILES
    path, home = folder.with_name(f"{folder.name}.{name}"), folder / name
    try:
        if isinstance(source, Query):
            notes = spool_query(source, path, home, saying(quiet))
            yield Spooled(source.name, path, path, home, str(home), notes=notes)
        else:
            copied = _copied(source, path, home, quiet)
            later = copied.moved(home).source
            yield Spooled(source.name, copied, path, home, later, source.again)
    finally:
        remove(path)


def refuse_secrets(options: FitOptions) -> None:
    """Refuse credentials in the addresses of validation and test rows: options are kept as they were given.

    Raises:
        OptionError: There are some.
    """
    for name, part in (("valid", options.split.valid), ("test", options.split.test)):
        if is_stored(part) and Stored(part).has_secret:
            raise OptionError(
                f"The address of {name}= (--{name}) holds credentials, which the run would keep.",
                "Leave them to the usual place of the store, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )


def kept_files(stored: Stored, folder: Path, quiet: bool) -> str:
    """Copy files of an object store into a folder, unless they are there; return the path or pattern of the copies.

    Args:
        stored: The files.
        folder: Where to make the folder `FILES`, which exists only if all files are in it.
        quiet: Whether to say nothing of the size before.

    Raises:
        OptionError, DataError: As `sightline.load.object_stores.Listing.copy`.
    """
    home, part = folder / FILES, folder / f"{FILES}.part"
    if not home.exists():
        _copied(stored, part, home, quiet)
        part.replace(home)
    return Copied(stored.name, home, {str(path): "" for path in home.glob("*/*")}).source


def _copied(stored: Stored, path: Path, home: Path, quiet: bool) -> Copied:
    """Copy files; what is in the way was left by a process that was killed."""
    listing = stored.files()
    saying(quiet)(f"Reading {stored.name}: {listing}, into {home}.")
    remove(path)
    return listing.copy(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
