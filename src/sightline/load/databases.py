"""Rows of a database: PostgreSQL, SQLite and DuckDB, streamed as Arrow batches (extra `sql`).

A query is read in one read-only transaction. If the connection is lost, the whole read begins again: what two
transactions see is never joined.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow as pa

from sightline.errors import DataError, OptionError, counted, did_you_mean, readable, shorten
from sightline.load.database_types import Plan, plan
from sightline.load.names import unique_names

T = TypeVar("T")
SCHEMES = {
    "postgresql": "adbc_driver_postgresql", "postgres": "adbc_driver_postgresql", "sqlite": "adbc_driver_sqlite",
    "duckdb": "duckdb",
}  # fmt: skip
"""The package that reads each kind of address."""
ADDRESS = re.compile(r"([a-z][a-z0-9+]*)://", re.IGNORECASE)
TABLE_NAME = re.compile(r"\s*[\w$]+(\.[\w$]+)?\s*")
TRIES = 4
"""How often a read begins, if the connection is lost."""
WAIT = 1.0
"""Seconds before the second try; then twice as long each time."""
RESERVE = 256 << 20
"""Bytes that stay free on the disk."""
INFERRED_ROWS = 100_000
"""SQLite's columns have no types: those of this many rows decide."""
LOST = ("08", "57P01", "57P02", "57P03", "XX000")
"""SQLSTATE classes and codes of a connection that is gone or a server that is going down."""
SQLSTATE = re.compile(r"SQLSTATE:? ?([0-9A-Z]{5})")
"""Errors while rows are fetched have it only in their message."""
SELECTS = re.compile(
    r"(\s|\(|--[^\n]*\n|/\*.*?\*/)*(SELECT|WITH|VALUES)\b", re.IGNORECASE | re.DOTALL
)
"""What a query of SQLite begins with, after comments."""
READS = "A query only reads: give a SELECT."


@dataclass(frozen=True)
class Query:
    """Rows of a database, a source of a table like a file.

    Attributes:
        address: "postgresql://user@host:5432/database", "sqlite:///relative.db", "sqlite:////absolute.db", or
            "duckdb:///file.duckdb". A password in it appears in no record, error or model; without one, PostgreSQL's usual
            places are used (PGPASSWORD, ~/.pgpass).
        sql: A SELECT, or the name of a table.

    Raises:
        OptionError: The address is none of these.

    Example:
        >>> import sightline as sl
        >>> sl.Query("postgresql://me:secret@host/shop", "orders")
        Query('postgresql://me@host/shop', 'orders')
    """

    address: str = field(repr=False)
    sql: str

    def __post_init__(self) -> None:
        scheme = self.scheme
        if scheme not in SCHEMES:
            raise OptionError(
                f"There is no database {scheme}://.",
                did_you_mean(scheme, list(SCHEMES), "databases"),
            )
        if not self.sql.strip():
            raise OptionError("The query is empty.", "Give a SELECT or a table's name (query=, --query).")  # fmt: skip
        if scheme in ("sqlite", "duckdb") and not self.path:
            raise OptionError(f"{scheme}:// names no file.", f"Give {scheme}:///FILE.")

    @property
    def _parts(self) -> SplitResult:
        try:
            parts = urlsplit(self.address)
            parts.port  # noqa: B018 - it is read when it is asked for
        except ValueError:  # its message may hold a part of the password
            raise _unreadable() from None
        behind = parts.path + parts.query + parts.fragment
        if "@" in behind or parts.fragment or parts.netloc.count("@") > 1:
            raise _unreadable()  # a sign in the password: drivers and we would read another one
        return parts

    @property
    def scheme(self) -> str:
        """The kind of database, a key of `SCHEMES`."""
        return self._parts.scheme.lower()

    @property
    def path(self) -> str:
        """The file of SQLite and DuckDB."""
        parts = self._parts
        return unquote(parts.path[1:] if not parts.netloc else f"{parts.netloc}{parts.path}")

    @property
    def shown(self) -> str:
        """The address without password and options."""
        parts = self._parts
        host = parts.netloc.rpartition("@")[2]
        user = parts.username
        return f"{parts.scheme}://{user + '@' if user else ''}{host}{parts.path}"

    @property
    def stem(self) -> str:
        """The name of the database or of its file, for folders."""
        return (
            Path(self.path if self.scheme in ("sqlite", "duckdb") else self._parts.path).stem
            or "database"
        )

    @property
    def name(self) -> str:
        """The address and the query, for records and errors."""
        return f"{self.shown}: {shorten(' '.join(self.sql.split()), 100)}"

    @property
    def select(self) -> str:
        """The query; of a table's name, all its columns."""
        if not TABLE_NAME.fullmatch(self.sql):
            return f"{self.sql.strip().rstrip(';')}\n"  # it may end with a comment
        return f"SELECT * FROM {'.'.join(map(quoted, self.sql.strip().split('.')))}"

    def hidden(self, message: str) -> str:
        """Return a message of a driver as a sentence, without the password."""
        parts = self._parts
        secrets = {value for name, value in parse_qsl(parts.query) if "password" in name}
        secrets |= {self.address, parts.query, parts.password or "", unquote(parts.password or "")}
        return hide(message, secrets)

    def __repr__(self) -> str:
        return f"Query({self.shown!r}, {self.sql!r})"

    def __str__(self) -> str:
        return self.name


def hide(message: str, secrets: Iterable[str]) -> str:
    """Return a message of a driver as a sentence, without secrets.

    Example:
        >>> from sightline.load.databases import hide
        >>> hide("me:s3cr3t is not allowed", ["s3cr3t"])
        'me:*** is not allowed.'
    """
    for secret in sorted(set(secrets) - {""}, key=len, reverse=True):
        message = message.replace(secret, "***")
    return shorten(" ".join(message.split()), 300).rstrip(" .") + "."


def quoted(name: str) -> str:
    """Write a name for SQL.

    Example:
        >>> from sightline.load.databases import quoted
        >>> quoted("order")
        '"order"'
    """
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _unreadable() -> OptionError:
    return OptionError(
        "The address of the database cannot be read.",
        "Write it as postgresql://user@host:5432/database, with %40 for @, %3A for :, %2F for /, %23 for # and %3F for ? in a password.",
    )


def is_address(source: Any) -> bool:
    """Tell whether a source is the address of a database.

    Example:
        >>> from sightline.load.databases import is_address
        >>> is_address("postgresql://host/shop"), is_address("shop.csv")
        (True, False)
    """
    found = ADDRESS.match(source) if isinstance(source, str) else None
    return found is not None and found[1].lower() in SCHEMES


# ------------------------------------------------------------- reading


class Estimate(NamedTuple):
    """What a query returns, about: rows (None if not known) and bytes."""

    rows: int | None
    size: int

    def __str__(self) -> str:
        rows = "" if self.rows is None else f"about {counted(self.rows, 'row')}, "
        return f"{rows}about {readable(max(self.size / 1e6, 0.1), 2)} MB"


class Batches:
    """The batches of a query that runs, all of one schema.

    Attributes:
        schema: Arrow's, after the types that Arrow lacks were turned into some that it has.
        estimate: The database's own estimate of the result.
        notes: What was changed in the values, in sentences; complete when all batches are read.
    """

    def __init__(
        self, query: Query, schema: pa.Schema, batches: Iterator[pa.RecordBatch], estimate: Estimate
    ) -> None:
        self._query, self._batches, self.estimate = query, batches, estimate
        plans = [plan(query.shown, one) for one in schema]
        names, self._notes_of_names = unique_names(schema.names)
        self.schema = pa.schema(
            [pa.field(name, one.type) for name, one in zip(names, plans, strict=True)]
        )
        self._plans = plans
        self._infinite: dict[str, int] = {}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            columns = [
                self._converted(made, name, column)
                for made, name, column in zip(
                    self._plans, self.schema.names, batch.columns, strict=True
                )
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _converted(self, made: Plan, name: str, column: pa.Array) -> pa.Array:
        values = made.convert(column)
        more = values.null_count - column.null_count
        if more and pa.types.is_temporal(made.type):
            self._infinite[name] = self._infinite.get(name, 0) + more
        return values

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed in the values."""
        return tuple(
            f"{counted(number, 'value')} of {name!r} {'is' if number == 1 else 'are'} infinite and read as missing"
            for name, number in self._infinite.items()
        )


@contextlib.contextmanager
def running(query: Query) -> Iterator[Batches]:
    """Run a query in a read-only transaction, and stream its rows.

    Raises:
        OptionError: The extra `sql` is not installed.
        DataError: The database cannot be reached, refuses the query, or is lost while the rows are read.

    Example:
        >>> import duckdb
        >>> from sightline.load.databases import Query, running
        >>> with duckdb.connect("shop.duckdb") as shop:
        ...     _ = shop.execute("CREATE TABLE orders AS SELECT 1 AS id, 2.5::DECIMAL(6, 2) AS price")
        >>> with running(Query("duckdb:///shop.duckdb", "orders")) as batches:
        ...     sum(batch.num_rows for batch in batches)
        1
    """
    need(query)
    open_ = {"sqlite": _sqlite, "duckdb": _duckdb}.get(query.scheme, _postgresql)
    with open_(query) as batches:
        yield batches


def need(query: Query) -> None:
    """Refuse a database whose package is not installed."""
    package = SCHEMES[query.scheme]
    try:
        importlib.import_module(package)
    except ImportError:
        raise OptionError(
            f"{query.shown} is a database, and that needs {package.replace('_', '-')}, which is not installed.",
            'Install it: pip install "sightline[sql]".',
        ) from None


def read_query(query: Query) -> tuple[pa.Table, tuple[str, ...]]:
    """Read all rows of a query into memory; also notes on what was changed.

    Raises:
        OptionError, DataError: As `running`.
    """

    def read() -> tuple[pa.Table, tuple[str, ...]]:
        with running(query) as batches:
            table = pa.Table.from_batches(batches, batches.schema)
            return table, batches.notes

    return again_if_lost(query, read)


def spool_query(
    query: Query, path: Path, home: Path, say: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """Write the rows of a query to a Parquet file, and return notes on what was changed.

    Args:
        query: The query.
        path: The file; it exists only if all rows are in it.
        home: Where it will be, for the sentence.
        say: Gets a sentence with the size before the first row is read.

    Raises:
        OptionError, DataError: As `running`; or there is not enough space on the disk.
    """
    import pyarrow.parquet as pq

    part = path.with_name(f"{path.name}.part")

    def write() -> tuple[str, ...]:
        with running(query) as batches:
            say(f"Reading {query.name}: {batches.estimate}, into {home}.")
            refuse_without_space(query.name, path.parent, batches.estimate.size)
            with pq.ParquetWriter(part, batches.schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    refuse_without_space(query.name, path.parent, 0)
            return batches.notes

    try:
        notes = again_if_lost(query, write)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return notes


def again_if_lost(query: Query, read: Callable[[], T]) -> T:
    """Call a function that reads a query; if the connection is lost, call it again from the start.

    Raises:
        DataError: It was lost each time; or what `read` raises.
    """
    for number in range(1, TRIES + 1):
        try:
            return read()
        except LostError as error:
            if number == TRIES:
                raise DataError(
                    f"{query.shown}: the connection was lost in each of {TRIES} reads; the last time: {error.problem}",
                    "Try again when the database is there; none of the rows were kept.",
                ) from error
            time.sleep(WAIT * 2 ** (number - 1))
    raise AssertionError("the last try returns or raises")


class LostError(DataError):
    """The connection was lost while rows were read."""


def refuse_without_space(name: str, folder: Path, size: int) -> None:
    """Refuse to write more bytes into a folder than there is space for, and some to spare.

    Raises:
        DataError: There is not enough space.
    """
    free = shutil.disk_usage(folder).free
    if free < size + RESERVE:
        raise DataError(
            f"There is not enough space in {folder} for the rows of {name}: {readable(free / 1e6, 3)} MB are "
            f"free, {readable((size + RESERVE) / 1e6, 3)} MB are needed.",
            "Free some space, choose another folder with run= (--run), or read fewer rows.",
        )


# ------------------------------------------------------------- databases

Translate = Callable[[Exception, bool], DataError]
"""(what a driver raised, whether rows were read already) -> our error."""


@contextlib.contextmanager
def _translated(translate: Translate, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a driver raises when a query begins into our error."""
    try:
        yield
    except kinds as error:
        raise translate(error, False) from None


def _each(
    reader: Any, translate: Translate, kinds: tuple[type[Exception], ...]
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a reader, its exceptions turned into our errors."""
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except kinds as error:
            raise translate(error, True) from None
        yield batch


def driver_errors(scheme: str) -> tuple[type[Exception], ...]:
    """Return what the driver of a database raises; its package is installed."""
    package = importlib.import_module("duckdb" if scheme == "duckdb" else "adbc_driver_manager")
    return package.Error, OSError, pa.ArrowException


@contextlib.contextmanager
def _postgresql(query: Query) -> Iterator[Batches]:
    import adbc_driver_postgresql.dbapi as driver

    kinds = driver_errors("postgresql")

    def translate(error: Exception, reading: bool) -> DataError:
        found = getattr(error, "sqlstate", None) or SQLSTATE.search(str(error))
        state = found if isinstance(found, str | None) else found[1]
        message = query.hidden(str(error))
        failed = "ERROR:" in message and "FATAL:" not in message  # the query, not the connection
        if (reading and state is None and not failed) or (state or "").startswith(LOST):
            return LostError(f"{query.shown}: {message}", "Try again.")
        if state is None and not reading:
            return DataError(
                f"{query.shown} cannot be reached: {message}",
                "Check the address, the user and the password, and that the server runs.",
            )
        return DataError(
            f"{query.shown} refuses the query: {message}",
            READS if state == "25006" else "Correct the query (query=, --query).",
        )

    with contextlib.ExitStack() as stack:
        with _translated(translate, kinds):
            connection = stack.enter_context(driver.connect(query.address))
            cursor = stack.enter_context(connection.cursor())
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            estimate = _planned(connection, query)
            cursor.execute(query.select)
            reader = cursor.fetch_record_batch()
        yield Batches(query, reader.schema, _each(reader, translate, kinds), estimate)


def _planned(connection: Any, query: Query) -> Estimate:
    """Return the planner's estimate."""
    with connection.cursor() as cursor:
        # Plans cannot be copied out in binary form, as rows are.
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        cursor.execute(f"EXPLAIN (FORMAT JSON) {query.select}")
        chosen = json.loads(cursor.fetchone()[0])[0]["Plan"]
    return Estimate(int(chosen["Plan Rows"]), int(chosen["Plan Rows"] * chosen["Plan Width"]))


def _file_of(query: Query) -> Path:
    path = Path(query.path)
    if not path.is_file():
        raise DataError(f"{path}, the file of {query.shown}, does not exist.", "Check the path.")
    return path


@contextlib.contextmanager
def _sqlite(query: Query) -> Iterator[Batches]:
    import adbc_driver_sqlite.dbapi as driver

    path, kinds = _file_of(query), driver_errors("sqlite")
    address = f"{path.absolute().as_uri()}?mode=ro"
    _check_sqlite(query, address)

    def translate(error: Exception, reading: bool) -> DataError:
        message = query.hidden(str(error))
        fix = READS if "readonly" in message else "Correct the query (query=, --query)."
        if "Type mismatch" in message:
            fix = f"Its first {INFERRED_ROWS:,} rows have another type: write CAST(column AS TEXT) in the query."
        return DataError(f"{query.shown}: {message}", fix)

    with contextlib.ExitStack() as stack:
        with _translated(translate, kinds):
            connection = stack.enter_context(driver.connect(address))
            cursor = stack.enter_context(connection.cursor())
            cursor.adbc_statement.set_options(
                **{"adbc.sqlite.query.batch_rows": str(INFERRED_ROWS)}
            )
            cursor.execute(query.select)
            reader = cursor.fetch_record_batch()
        size = Estimate(None, path.stat().st_size)
        yield Batches(query, reader.schema, _each(reader, translate, kinds), size)


def _check_sqlite(query: Query, address: str) -> None:
    """Refuse what is not one SELECT: ATTACH would make a file, and of several statements only the first would run."""
    if not SELECTS.match(query.select):
        raise DataError(f"{query.shown}: the query is no SELECT.", READS)
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            connection.execute(f"EXPLAIN {query.select}")
    except sqlite3.Error as error:
        raise DataError(
            f"{query.shown}: {query.hidden(str(error))}", "Correct the query (query=, --query)."
        ) from None


@contextlib.contextmanager
def _duckdb(query: Query) -> Iterator[Batches]:
    import duckdb

    path, kinds = _file_of(query), driver_errors("duckdb")

    def translate(error: Exception, reading: bool) -> DataError:
        message = query.hidden(str(error))
        fix = READS if "read-only" in message else "Correct the query (query=, --query)."
        return DataError(f"{query.shown}: {message}", fix)

    with contextlib.ExitStack() as stack:
        with _translated(translate, kinds):
            connection = stack.enter_context(duckdb.connect(str(path), read_only=True))
            statements = connection.extract_statements(query.select)
            if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                raise DataError(f"{query.shown}: the query is not one SELECT.", READS)
            reader = connection.sql(query.select).to_arrow_reader(131_072)
        size = Estimate(None, path.stat().st_size)
        yield Batches(query, reader.schema, _each(reader, translate, kinds), size)
