"""Rows written to a table of a database, in one transaction."""

from __future__ import annotations

import importlib
import uuid
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from sightline.errors import DataError, OptionError
from sightline.load.databases import (
    SCHEMES,
    TABLE_NAME,
    Query,
    driver_errors,
    is_address,
    need,
    quoted,
)


@dataclass(frozen=True)
class Destination:
    """A table of a database that rows are written to.

    Attributes:
        database: The database; its `sql` is the table's name.
        schema: The table's schema; None is the usual one.
        table: The table.

    Example:
        >>> from sightline.load.database_tables import Destination
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

    def named(self, table: str) -> str:
        """Return the name of a table in the same schema, for SQL."""
        return ".".join(quoted(part) for part in (self.schema, table) if part is not None)


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
    need(to.database)
    staging = f"{to.table}_{uuid.uuid4().hex[:12]}"
    put_in_place = [f"ALTER TABLE {to.named(staging)} RENAME TO {quoted(to.table)}"]
    if replace:
        put_in_place.insert(0, f"DROP TABLE IF EXISTS {to.named(to.table)}")
    write = _write_duckdb if scheme == "duckdb" else _write_adbc
    try:
        write(to, staging, rows, put_in_place)
    except driver_errors(scheme) as error:
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
        connection.execute(f"CREATE TABLE {to.named(staging)} AS SELECT * FROM sightline_rows")
        for statement in put_in_place:
            connection.execute(statement)
        connection.unregister("sightline_rows")
        connection.commit()
