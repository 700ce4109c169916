"""What becomes of the types of a database: what Arrow lacks, or gives in an unusual way."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sightline.errors import DataError

EXACT_DIGITS = 18
"""Integers of as many digits fit into 64 bits."""
INFINITE = {
    "timestamp": -(2**63) + 946_684_800_000_000, "timestamptz": -(2**63) + 946_684_800_000_000,
    "date": -(2**31) + 10_957,
}  # fmt: skip
"""By PostgreSQL's type, the largest number that its infinities become: ADBC adds the time between 1970 and 2000, where
PostgreSQL begins to count, to the largest and the smallest integer, and the sum overflows."""


class Plan(NamedTuple):
    """What becomes of a column: its type, and the function that converts a batch of it."""

    type: pa.DataType
    convert: Callable[[pa.Array], pa.Array]


def plan(shown: str, column: pa.Field) -> Plan:
    """Decide how a column of a database is read.

    PostgreSQL's numeric is exact in the database: numeric(p, 0) of up to 18 digits becomes integers, one with more digits
    text, so that no digit is lost; every other one float64. JSON, UUIDs and enumerations are text. Lists, geometry and
    other types that no network input is made of stay as they are: the table ignores them, and says so. What could be
    read in two ways is refused: money, whose unit depends on the database, and intervals with months.

    Args:
        shown: The database, for errors.
        column: The column as the driver gives it, PostgreSQL's own type among its metadata.

    Raises:
        DataError: A type that may mean several things.
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
            f"{shown}: the column {column.name!r} is of type {kind}, {what}.",
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
