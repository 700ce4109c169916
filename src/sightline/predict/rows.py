"""One row, or a few, from plain Python values to the encoder's numbers and codes, without a table.

A value that is not plainly what its column holds is read by the table's own rules, once, and remembered: so a
row is encoded as a table of it would be. Letters: A numbers, C codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

import numpy as np

from sightline.contracts import traits_of
from sightline.load.pandas_columns import column_name
from sightline.load.table import Table
from sightline.load.values import MISSING_DATE, missing_numbers
from sightline.prepare.encode import (
    FIRST_KNOWN,
    MISSING,
    ColumnEncoding,
    Encoder,
    date_numbers,
    flag_codes,
)
from sightline.prepare.ngrams import NGrams

REMEMBERED = 50_000
"""Values of a column that are remembered; then its memory starts anew."""
LONGEST_REMEMBERED = 200
"""Characters; longer texts would let strangers fill the memory."""
LARGEST_EXACT = 2**53
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Numbers = tuple[float, ...]


class RowEncoder:
    """Encodes single rows as the encoder encodes a table of them.

    Threads may share one.

    Args:
        encoder: The fitted encoder.
        read: Reads a dict of one row as a table, as `Model.read` does.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.rows import RowEncoder
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> encode = RowEncoder(run.model.encoder, run.model.read)
        >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
        ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
        >>> numbers, codes = encode(row)
        >>> numbers[:2], codes
        ([46.5, 17.9], [3, 0])
    """

    def __init__(self, encoder: Encoder, read: Callable[[Any], Table]) -> None:
        self.encoder = encoder
        self.read = read
        self._spans = encoder.spans
        self._columns = [
            (encoding.column, self._opened(encoding), encoding.how == "codes")
            for encoding in encoder.encodings
        ]

    def __call__(self, row: Mapping[str, Any]) -> tuple[list[float], list[int]] | None:
        """Return a row's A numbers (NaN where missing) and C codes; None if it cannot be predicted.

        Raises:
            DataError: A column that the model needs is missing.
        """
        numbers: list[float] = []
        codes: list[int] = []
        for column, encode, is_code in self._columns:
            if column not in row:
                named = {column_name(name): value for name, value in row.items()}
                if named.keys() != row.keys():  # such as 0 for "0"
                    return self(named)
                self.read(row)  # names all missing columns
            found = encode(row[column])
            if found is None:
                return self._by_table(row)
            if is_code:
                codes.append(found)
            else:
                numbers += found
        return numbers, codes

    def _by_table(self, row: Mapping[str, Any]) -> tuple[list[float], list[int]] | None:
        """Encode a row through a table, and remember what its unusual values mean."""
        table = self.read(row)
        if table.bad:
            return None
        encoded = self.encoder.open(table)(slice(0, 1))
        numbers, codes = encoded.numeric[0].tolist(), encoded.categorical[0].tolist()
        given = iter(codes)
        for span, (column, encode, is_code) in zip(self._spans, self._columns, strict=True):
            encode.remember(row[column], next(given) if is_code else tuple(numbers[span]))
        return numbers, codes

    def _opened(self, encoding: ColumnEncoding) -> _Column:
        schema, column = self.encoder.schema, encoding.column
        match encoding.how:
            case "number":
                return _Number(missing_numbers(schema.missing))
            case "date":
                return _Date(int(schema.ranges[column][0]), encoding.parts)
            case "words":
                return _Text(schema.vocabularies[column], schema.missing or ())
            case "codes":
                vocabulary = schema.vocabularies[column]
                if traits_of(schema[column].kind).storage == "flags":
                    return _Flag(vocabulary)
                return _Category(vocabulary)
            case _:
                assert_never(encoding.how)


class _Column:
    """Encodes the plain values of one column; `remember` adds others."""

    def __init__(self) -> None:
        self._known: dict[tuple[type, Any], Any] = {}

    def __call__(self, value: Any) -> Any:
        """Return a code or a tuple of numbers; None if the table must read the value."""
        raise NotImplementedError

    def remembered(self, value: Any) -> Any:
        try:
            return self._known.get((type(value), value))
        except TypeError:  # a list
            return None

    def remember(self, value: Any, found: Any) -> None:
        if isinstance(value, str | bytes) and len(value) > LONGEST_REMEMBERED:
            return
        try:
            if value == value:
                if len(self._known) >= REMEMBERED:
                    self._known = {}
                self._known[type(value), value] = found
        except (TypeError, ValueError):  # an array, a list
            return


NOT_A_NUMBER: Numbers = (math.nan,)


class _Number(_Column):
    def __init__(self, missing: frozenset[float]) -> None:
        super().__init__()
        self.missing = missing

    def __call__(self, value: Any) -> Numbers | None:
        kind = type(value)
        if kind is float or isinstance(value, np.floating):
            number = float(value)
            if not math.isfinite(number):  # infinities are errors, which the table words
                return NOT_A_NUMBER if math.isnan(number) else None
            return NOT_A_NUMBER if number in self.missing else (number,)
        if kind is int and -LARGEST_EXACT <= value <= LARGEST_EXACT:
            return NOT_A_NUMBER if value in self.missing else (float(value),)
        if value is None:
            return NOT_A_NUMBER
        found: Numbers | None = self.remembered(value)
        return found


class _Category(_Column):
    def __init__(self, vocabulary: tuple[str, ...]) -> None:
        super().__init__()
        self.code_of = {word: code for code, word in enumerate(vocabulary, start=FIRST_KNOWN)}

    def __call__(self, value: Any) -> int | None:
        if type(value) is str:
            code = self.code_of.get(value)
            if code is not None:
                return code
        elif value is None:
            return MISSING
        found: int | None = self.remembered(value)
        return found


class _Flag(_Column):
    def __init__(self, vocabulary: tuple[str, ...]) -> None:
        super().__init__()
        self.false, self.true, self.missing = flag_codes(np.array([0, 1, -1]), vocabulary).tolist()

    def __call__(self, value: Any) -> int | None:
        if value is True:
            return int(self.true)
        if value is False:
            return int(self.false)
        if value is None:
            return int(self.missing)
        found: int | None = self.remembered(value)
        return found


class _Date(_Column):
    def __init__(self, first: int, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.first, self.parts = first, parts

    def __call__(self, value: Any) -> Numbers | None:
        if value is None:
            return self._numbers(int(MISSING_DATE))
        if type(value) is datetime:
            aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
            since = aware - EPOCH
            return self._numbers(
                (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            )
        found: Numbers | None = self.remembered(value)
        return found

    def _numbers(self, moment: int) -> Numbers:
        columns = date_numbers(np.array([moment], np.int64), self.first, self.parts)
        return tuple(float(column[0]) for column in columns)


class _Text(_Column):
    def __init__(self, vocabulary: tuple[str, ...], missing: tuple[str, ...]) -> None:
        super().__init__()
        self.ngrams = NGrams(vocabulary)
        self.missing = frozenset(missing)

    def __call__(self, value: Any) -> list[float] | tuple[float, ...] | None:
        if type(value) is str and value.strip() and value not in self.missing:
            found = [0.0] * self.ngrams.width
            for place in self.ngrams.places(value):
                found[place] = 1.0
            return found
        if value is None:
            return (math.nan,) * self.ngrams.width
        remembered: Numbers | None = self.remembered(value)
        return remembered
