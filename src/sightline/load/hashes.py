"""Hashes of a table's values, equal for equal values whatever file or type they came from."""

from __future__ import annotations

import hashlib
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import READING_RULES, Column, traits_of
from sightline.load.values import (
    LARGEST_EXACT,
    has_long,
    map_codes,
    to_flags,
    to_floats,
    to_microseconds,
)


def column_hashes(column: Column, data: pa.ChunkedArray, rules: int = READING_RULES) -> np.ndarray:
    """Hash each value of a column together with the column's name: uint64 [rows].

    Args:
        column: The column's description.
        data: Its typed values, as `Table.columns` holds them.
        rules: The version of the reading rules; by version 1 whole numbers are rounded to float64.
    """
    return mix(_value_hashes(column, data, rules) + np.uint64(_text_hash(column.name)))


def row_hashes(
    columns: list[tuple[Column, pa.ChunkedArray]], rows: int, rules: int = READING_RULES
) -> np.ndarray:
    """Hash each row's values: uint64 [rows], the same for any order of the columns."""
    total = np.zeros(rows, np.uint64)
    for column, data in sorted(columns, key=lambda pair: pair[0].name):
        total = mix(total ^ column_hashes(column, data, rules))
    return total


def mix(x: np.ndarray) -> np.ndarray:
    """Spread a uint64's bits (the finaliser of splitmix64, Steele et al. 2014)."""
    x = x.astype(np.uint64, copy=True)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _value_hashes(column: Column, data: pa.ChunkedArray, rules: int) -> np.ndarray:
    if column.values == "unsupported":  # lists, structs, bytes: their values are not known
        return np.zeros(len(data), np.uint64)
    storage = traits_of(column.kind).storage
    match storage:
        case "numbers":
            floats = to_floats(data) + 0.0  # -0.0 and 0.0 are the same number
            floats = np.where(np.isnan(floats), np.nan, floats)  # and there is one NaN
            hashes = floats.view(np.uint64)
            if rules > 1 and pa.types.is_integer(data.type) and has_long(floats):
                exact = pc.fill_null(data, 0).to_numpy().astype(np.uint64)
                return np.where(np.abs(floats) >= LARGEST_EXACT, mix(exact), hashes)
            return hashes
        case "flags":
            return to_flags(data).astype(np.int64).view(np.uint64)
        case "moments":
            return to_microseconds(data).view(np.uint64)
        case "words":
            words = data.chunk(0)
            of_words = [_text_hash(word) for word in words.dictionary.to_pylist()]
            return map_codes(words.indices, np.array(of_words, np.uint64), 0)
        case _:
            assert_never(storage)


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
