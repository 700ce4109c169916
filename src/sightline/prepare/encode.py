"""Host side: strings and dates become float64 numbers with NaN and int32 codes.

An encoder is plain data (a schema and a list of ways), so that it can be saved as JSON and
written as ONNX nodes. Codes are 0 for missing, 1 for unseen, 2.. for known values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa

from sightline.contracts import Schema
from sightline.load.table import Table
from sightline.load.values import map_codes

MISSING, UNSEEN, FIRST_KNOWN = 0, 1, 2
DAY = 86_400_000_000
NOTHING = np.iinfo(np.int64).min
PARTS = ("year", "month", "day", "weekday", "hour", "minute")
TOKENS = r"(?u)\b\w+\b"

How = Literal["number", "codes", "date", "words"]


@dataclass(frozen=True)
class Way:
    """How one column becomes numbers.

    Attributes:
        column: Its name.
        how: "number" as it is; "codes" by vocabulary; "date" as days since the first training
            date and `parts`; "words" as 1 and 0 for each n-gram of the vocabulary.
        parts: For a date, which of `PARTS` vary in the training rows.
    """

    column: str
    how: How
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """Rows as numbers, with what was noticed on the way.

    Attributes:
        numeric: float64 [rows, numbers], NaN where missing.
        categorical: int32 [rows, C].
        missing, unseen, out_of_range: Per column, how many rows (those with none left out).
    """

    numeric: np.ndarray
    categorical: np.ndarray
    missing: dict[str, int]
    unseen: dict[str, int]
    out_of_range: dict[str, int]


@dataclass(frozen=True)
class Encoder:
    """Every feature's way, and the schema that holds its vocabulary and range.

    Example:
        >>> import sightline as sl
        >>> table = sl.read("examples/penguins.csv")
        >>> encoder = sl.prepare(sl.split(table, target="species")).encoder
        >>> encoded = encoder.open(table)(slice(0, 4))
        >>> encoded.numeric.shape, encoded.categorical.shape
        ((4, 5), (4, 2))
    """

    schema: Schema
    ways: tuple[Way, ...]

    @property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """The (name, column) of each number that leaves the encoder, in order."""
        named: list[tuple[str, str]] = []
        for way in self.ways:
            if way.how == "number":
                named.append((way.column, way.column))
            elif way.how == "date":
                parts = ("elapsed_days", *way.parts)
                named += [(f"{way.column}.{part}", way.column) for part in parts]
            elif way.how == "words":
                words = self.schema.vocabularies[way.column]
                named += [(f"{way.column}.{word}", way.column) for word in words]
        return tuple(named)

    @property
    def codes(self) -> tuple[str, ...]:
        """The columns that leave the encoder as codes, in order."""
        return tuple(way.column for way in self.ways if way.how == "codes")

    def cardinality(self, column: str) -> int:
        """How many codes a column has, missing and unseen counted."""
        return len(self.schema.vocabularies[column]) + FIRST_KNOWN

    def open(self, table: Table) -> Reader:
        """Look a table's columns up once; then encode its rows part by part."""
        return Reader(self, table)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return {"schema": self.schema.to_json(), "ways": [asdict(way) for way in self.ways]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        ways = (Way(w["column"], w["how"], tuple(w["parts"])) for w in data["ways"])
        return cls(Schema.from_json(data["schema"]), tuple(ways))


class Reader:
    """A table's columns, looked up; call it with a slice or row numbers to encode them."""

    def __init__(self, encoder: Encoder, table: Table) -> None:
        self.encoder = encoder
        schema = encoder.schema
        self._columns: list[tuple[Way, np.ndarray | _Words]] = []
        for way in encoder.ways:
            column: np.ndarray | _Words
            if way.how == "number":
                column = table.numbers(way.column)
            elif way.how == "date":
                column = table.moments(way.column)
            elif way.how == "words":
                column = _Words(table.words(way.column), schema.vocabularies[way.column])
            elif schema[way.column].kind == "boolean":
                flags = table.flags(way.column)
                words = schema.vocabularies[way.column]
                place = [
                    words.index(t) + FIRST_KNOWN if t in words else UNSEEN
                    for t in ("false", "true")
                ]
                column = np.array([*place, MISSING], np.int32)[flags]
            else:
                column = codes_of(table.words(way.column), schema.vocabularies[way.column])
            self._columns.append((way, column))

    def __call__(self, rows: slice | np.ndarray) -> Encoded:
        """Encode some rows, counting what is missing, unseen and out of range per column."""
        schema = self.encoder.schema
        numbers: list[np.ndarray] = []
        codes: list[np.ndarray] = []
        missing: dict[str, int] = {}
        unseen: dict[str, int] = {}
        outside: dict[str, int] = {}

        def note(counts: dict[str, int], name: str, where: np.ndarray) -> None:
            if number := int(np.count_nonzero(where)):
                counts[name] = number

        count = 0
        for way, column in self._columns:
            name = way.column
            if isinstance(column, _Words):
                block, empty = column.rows(rows)
                numbers += list(block.T)
                note(missing, name, empty)
                count = len(block)
                continue
            values = column[rows]
            count = len(values)
            if way.how == "codes":
                codes.append(values)
                note(missing, name, values == MISSING)
                note(unseen, name, values == UNSEEN)
                continue
            low, high = schema.ranges[name]
            empty = np.isnan(values) if way.how == "number" else values == NOTHING
            note(missing, name, empty)
            note(outside, name, ((values < low) | (values > high)) & ~empty)
            numbers += (
                [values] if way.how == "number" else date_numbers(values, int(low), way.parts)
            )
        numeric = np.empty((count, len(numbers)))
        for j, values in enumerate(numbers):
            numeric[:, j] = values
        categorical = np.empty((count, len(codes)), np.int32)
        for j, values in enumerate(codes):
            categorical[:, j] = values
        return Encoded(numeric, categorical, missing, unseen, outside)


def codes_of(words: pa.DictionaryArray, vocabulary: tuple[str, ...]) -> np.ndarray:
    """Look words up in a vocabulary: 0 missing, 1 unseen, 2.. known.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.prepare.encode import codes_of
        >>> codes_of(pa.array(["b", None, "x"]).dictionary_encode(), ("a", "b")).tolist()
        [3, 0, 1]
    """
    place = {word: code for code, word in enumerate(vocabulary, start=FIRST_KNOWN)}
    known = [place.get(word, UNSEEN) for word in words.dictionary.to_pylist()]
    return map_codes(words.indices, np.array(known, np.int32), MISSING)


def date_numbers(moments: np.ndarray, first: int, parts: tuple[str, ...]) -> list[np.ndarray]:
    """Turn microseconds into days since the first training date and calendar parts.

    Args:
        moments: int64 microseconds since 1970 UTC; the smallest int64 is missing.
        first: The first training date; subtracted as an integer, so that no digit is lost.
        parts: Which of `PARTS`.

    Returns:
        float64 columns with NaN where missing: elapsed days, then the parts (weekday 0 is Monday).

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.encode import date_numbers
        >>> [part.tolist() for part in date_numbers(np.array([86_400_000_000 * 2]), 0, ("weekday",))]
        [[2.0], [5.0]]
    """
    empty = moments == NOTHING
    safe = np.where(empty, first, moments)
    days = safe // DAY
    rest = safe - days * DAY
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    found = {
        "year": months // 12 + 1970,
        "month": months % 12 + 1,
        "day": (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1,
        "weekday": (days + 3) % 7,
        "hour": rest // 3_600_000_000,
        "minute": rest // 60_000_000 % 60,
    }
    columns = [(safe - first) / DAY, *(found[part] for part in parts)]
    return [np.where(empty, np.nan, column) for column in columns]


class _Words:
    """A text column as 1 and 0 per n-gram: each different text is cut up once."""

    def __init__(self, words: pa.DictionaryArray, vocabulary: tuple[str, ...]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.width = len(vocabulary)
        self.codes = map_codes(words.indices, np.arange(len(words.dictionary)), -1)
        self.counts: Any = None
        texts = words.dictionary.to_pylist()
        if texts:
            counter = CountVectorizer(
                vocabulary=list(vocabulary), ngram_range=(1, 2), binary=True, token_pattern=TOKENS
            )
            self.counts = counter.transform(texts).tocsr()

    def rows(self, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = self.codes[rows]
        block = np.full((len(codes), self.width), np.nan)
        given = codes >= 0
        if given.any():
            block[given] = self.counts[codes[given]].toarray()
        return block, ~given


def find_words(texts: list[str], counts: np.ndarray, most: int) -> tuple[str, ...]:
    """Choose a text column's n-grams: one and two words, in 2 rows or more but not in all.

    The most frequent come first.

    Args:
        texts: The different texts.
        counts: How many training rows have each.
        most: How many n-grams at most.

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.encode import find_words
        >>> find_words(["red wine", "red beer"], np.array([3, 1]), 2)
        ('red wine', 'wine')
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=TOKENS)
    try:
        found = counter.fit_transform(texts)
    except ValueError:  # "empty vocabulary": no text holds a word
        return ()
    rows = np.asarray(found.T @ counts).ravel()
    names = counter.get_feature_names_out()
    ranked = sorted(range(len(names)), key=lambda i: (-rows[i], names[i]))
    total = counts.sum()
    return tuple(str(names[i]) for i in ranked if 2 <= rows[i] < total)[:most]
