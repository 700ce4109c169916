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
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from sightline.errors import DataError, OptionError, counted, did_you_mean, readable, shorten
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
EXACT_DIGITS = 18
"""Integers of as many digits fit into 64 bits."""
LOST = ("08", "57P01", "57P02", "57P03", "XX000")
"""SQLSTATE classes and codes of a connection that is gone or a server that is going down."""
SQLSTATE = re.compile(r"SQLSTATE:? ?([0-9A-Z]{5})")
"""Errors while rows are fetched have it only in their message."""
INFINITE = {
    "timestamp": -(2**63) + 946_684_800_000_000, "timestamptz": -(2**63) + 946_684_800_000_000,
    "date": -(2**31) + 10_957,
}  # fmt: skip
"""By PostgreSQL's type, the largest number that its infinities become: ADBC adds the time between 1970 and 2000, where
PostgreSQL begins to count, to the largest and the smallest integer, and the sum overflows."""
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
        return f"SELECT * FROM {'.'.join(map(_quoted, self.sql.strip().split('.')))}"

    def hidden(self, message: str) -> str:
        """Return a message of a driver as a sentence, without the password."""
        parts = self._parts
        secrets = {value for name, value in parse_qsl(parts.query) if "password" in name}
        secrets |= {self.address, parts.query, parts.password or "", unquote(parts.password or "")}
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            message = message.replace(secret, "***")
        return shorten(" ".join(message.split()), 300).rstrip(" .") + "."

    def __repr__(self) -> str:
        return f"Query({self.shown!r}, {self.sql!r})"

    def __str__(self) -> str:
        return self.name


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


def with_query(source: Any, query: str | None) -> Any:
    """Return the source of a query, or any other source as it is.

    Raises:
        OptionError: A query without a database, or a database without a query.
    """
    if is_address(source):
        if query is None:
            shown = Query(source, "t").shown
            raise OptionError(f"{shown} is a database.", "Give a SELECT or a table's name: query= (--query).")  # fmt: skip
        return Query(source, query)
    if query is not None and not isinstance(source, Query):
        raise OptionError(
            "query= (--query) is for a database.", "Give an address such as postgresql://user@host/database."
        )  # fmt: skip
    return source


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
        plans = [_plan(query, one) for one in schema]
        names, self._notes_of_names = unique_names(schema.names)
        self.schema = pa.schema(
            [pa.field(name, plan.type) for name, plan in zip(names, plans, strict=True)]
        )
        self._plans = plans
        self._infinite: dict[str, int] = {}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            columns = [
                self._converted(plan, name, column)
                for plan, name, column in zip(
                    self._plans, self.schema.names, batch.columns, strict=True
                )
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _converted(self, plan: Plan, name: str, column: pa.Array) -> pa.Array:
        values = plan.convert(column)
        more = values.null_count - column.null_count
        if more and pa.types.is_temporal(plan.type):
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
    _need(query)
    open_ = {"sqlite": _sqlite, "duckdb": _duckdb}.get(query.scheme, _postgresql)
    with open_(query) as batches:
        yield batches


def _need(query: Query) -> None:
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
            _refuse_without_space(query, path, batches.estimate.size)
            with pq.ParquetWriter(part, batches.schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    _refuse_without_space(query, path, 0)
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


def _refuse_without_space(query: Query, path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < size + RESERVE:
        raise DataError(
            f"There is not enough space in {path.parent} for the rows of {query.name}: {readable(free / 1e6, 3)} MB are "
            f"free, {readable((size + RESERVE) / 1e6, 3)} MB are needed.",
            "Free some space, choose another folder with run= (--run), or query fewer rows.",
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


def _driver_errors(scheme: str) -> tuple[type[Exception], ...]:
    """Return what the driver of a database raises; its package is installed."""
    package = importlib.import_module("duckdb" if scheme == "duckdb" else "adbc_driver_manager")
    return package.Error, OSError, pa.ArrowException


@contextlib.contextmanager
def _postgresql(query: Query) -> Iterator[Batches]:
    import adbc_driver_postgresql.dbapi as driver

    kinds = _driver_errors("postgresql")

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
        plan = json.loads(cursor.fetchone()[0])[0]["Plan"]
    return Estimate(int(plan["Plan Rows"]), int(plan["Plan Rows"] * plan["Plan Width"]))


def _file_of(query: Query) -> Path:
    path = Path(query.path)
    if not path.is_file():
        raise DataError(f"{path}, the file of {query.shown}, does not exist.", "Check the path.")
    return path


@contextlib.contextmanager
def _sqlite(query: Query) -> Iterator[Batches]:
    import adbc_driver_sqlite.dbapi as driver

    path, kinds = _file_of(query), _driver_errors("sqlite")
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

    path, kinds = _file_of(query), _driver_errors("duckdb")

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


# ------------------------------------------------------------- types


class Plan(NamedTuple):
    """What becomes of a column: its type, and the function that converts a batch of it."""

    type: pa.DataType
    convert: Callable[[pa.Array], pa.Array]


def _plan(query: Query, column: pa.Field) -> Plan:
    """Decide how a column of a database is read.

    PostgreSQL's numeric is exact in the database: numeric(p, 0) of up to 18 digits becomes integers, one with more digits
    text, so that no digit is lost; every other one float64. JSON, UUIDs and enumerations are text. Lists, geometry and
    other types that no network input is made of stay as they are: the table ignores them, and says so. What could be
    read in two ways is refused: money, whose unit depends on the database, and intervals with months.
    """
    kind = (column.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    if kind in ("money", "interval"):
        cast = (
            f"{column.name}::numeric" if kind == "money" else f"EXTRACT(EPOCH FROM {column.name})"
        )
        what = (
            "whose unit depends on the database"
            if kind == "money"
            else "whose months have no length"
        )
        raise DataError(
            f"{query.shown}: the column {column.name!r} is of type {kind}, {what}.",
            f"Write {cast} in the query.",
        )
    if kind == "numeric":
        wanted = _numeric_type(column.metadata)
        return Plan(wanted, lambda values: _numbers(_storage(values), wanted))
    if getattr(column.type, "extension_name", None) == "arrow.uuid":
        return Plan(pa.string(), _uuid_texts)
    if isinstance(column.type, pa.BaseExtensionType):
        return Plan(column.type.storage_type, _storage)
    if kind in INFINITE:
        return Plan(column.type, lambda values: _finite(values, INFINITE[kind]))
    if pa.types.is_list(column.type) and isinstance(column.type.value_type, pa.BaseExtensionType):
        plain = pa.list_(column.type.value_type.storage_type)
        return Plan(plain, lambda values: values.cast(plain))
    return Plan(column.type, lambda values: values)


def _storage(values: pa.Array) -> pa.Array:
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def _numeric_type(metadata: Mapping[bytes, bytes]) -> pa.DataType:
    """Choose the type of numeric(p, s) by its type modifier, in which PostgreSQL packs p and s."""
    modifier = int(metadata.get(b"POSTGRESQL:typmod", b"-1"))
    if modifier < 0:
        return pa.float64()
    digits, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 0x400) - 0x400
    if scale > 0:
        return pa.float64()
    return pa.int64() if digits - scale <= EXACT_DIGITS else pa.string()


def _numbers(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_string(wanted):
        return texts
    if pa.types.is_integer(wanted):  # numeric has NaN, which integers lack
        texts = pc.if_else(
            pc.equal(pc.utf8_lower(texts), "nan"), pa.scalar(None, pa.string()), texts
        )
    return texts.cast(wanted)


def _uuid_texts(values: pa.Array) -> pa.Array:
    return pa.array(
        [None if one is None else str(one if isinstance(one, uuid.UUID) else uuid.UUID(bytes=one)) for one in values.to_pylist()],
        pa.string(),
    )  # fmt: skip


def _finite(values: pa.Array, largest: int) -> pa.Array:
    """Turn PostgreSQL's infinite dates into missing ones; those behind the year 290,000 too, which overflow alike."""
    whole = pa.int32() if pa.types.is_date(values.type) else pa.int64()
    infinite = pc.less_equal(values.cast(whole), pa.scalar(largest, whole))
    return pc.if_else(infinite, pa.scalar(None, values.type), values)


# ------------------------------------------------------------- writing


@dataclass(frozen=True)
class Destination:
    """A table of a database that rows are written to.

    Attributes:
        database: The database; its `sql` is the table's name.
        schema: The table's schema; None is the usual one.
        table: The table.

    Example:
        >>> from sightline.load.databases import Destination
        >>> str(Destination.parse("postgresql://me:secret@host/shop/scores"))
        'postgresql://me@host/shop, table scores'
        >>> str(Destination.parse("sqlite:///shop.db#scores"))
        'sqlite:///shop.db, table scores'
    """

    database: Query
    schema: str | None
    table: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address with a table behind it: postgresql://user@host/database/[schema.]table, or ADDRESS#table.

        Raises:
            OptionError: It names no database or no table.
        """
        address, sign, named = text.partition("#")
        if not is_address(address):
            raise OptionError(
                "The place to write to (--to) is no database.",
                "Give an address such as postgresql://user@host/database/table, or sqlite:///FILE#table.",
            )
        before, options = address.partition("?")[::2]
        if not sign and before.lower().startswith("postgres") and before.count("/") == 4:
            before, _, named = before.rpartition("/")
        if not TABLE_NAME.fullmatch(named):
            raise OptionError(
                f"{Query(before, 't').shown} names no table to write to (--to).",
                "Give it behind the database: postgresql://user@host/database/table, or ADDRESS#table.",
            )
        schema, _, table = named.rpartition(".")
        return cls(
            Query(f"{before}?{options}" if options else before, named), schema or None, table
        )

    def __str__(self) -> str:
        return f"{self.database.shown}, table {self.database.sql}"

    def quoted(self, table: str) -> str:
        """Return the name of a table in the same schema, for SQL."""
        return ".".join(_quoted(part) for part in (self.schema, table) if part is not None)


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def write_rows(to: Destination, rows: pa.RecordBatchReader, replace: bool = False) -> None:
    """Write rows as a new table, in one transaction: other readers see all of them or none.

    The rows go into a table of another name, which is renamed at the end of the transaction.

    Args:
        to: Where to.
        rows: Arrow batches.
        replace: Whether a table of that name is dropped; otherwise it is an error.

    Raises:
        OptionError: The extra `sql` is not installed.
        DataError: The table exists, or the database cannot be reached or refuses to write.
    """
    scheme = to.database.scheme
    _need(to.database)
    staging = f"{to.table}_{uuid.uuid4().hex[:12]}"
    put_in_place = [f"ALTER TABLE {to.quoted(staging)} RENAME TO {_quoted(to.table)}"]
    if replace:
        put_in_place.insert(0, f"DROP TABLE IF EXISTS {to.quoted(to.table)}")
    write = _write_duckdb if scheme == "duckdb" else _write_adbc
    try:
        write(to, staging, rows, put_in_place)
    except _driver_errors(scheme) as error:
        message = to.database.hidden(str(error))
        fix = "Check the address, the rights of the user and the schema."
        if "already" in message:  # "already exists", "there is already another table"
            fix = "Give another table, or --replace to drop it in the same transaction."
        raise DataError(f"{to}: nothing was written: {message}", fix) from None


def _write_adbc(
    to: Destination, staging: str, rows: pa.RecordBatchReader, put_in_place: list[str]
) -> None:
    sqlite = to.database.scheme == "sqlite"
    driver = importlib.import_module(f"{SCHEMES[to.database.scheme]}.dbapi")
    address = to.database.path if sqlite else to.database.address
    schema = {} if to.schema is None else {"db_schema_name": to.schema}
    with driver.connect(address) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(staging, rows, mode="create", **schema)
        for statement in put_in_place:
            cursor.execute(statement)
        connection.commit()


def _write_duckdb(
    to: Destination, staging: str, rows: pa.RecordBatchReader, put_in_place: list[str]
) -> None:
    import duckdb

    with duckdb.connect(to.database.path) as connection:
        connection.begin()
        connection.register("sightline_rows", rows)
        connection.execute(f"CREATE TABLE {to.quoted(staging)} AS SELECT * FROM sightline_rows")
        for statement in put_in_place:
            connection.execute(statement)
        connection.unregister("sightline_rows")
        connection.commit()
