"""The encoder: texts and dates become float64 numbers (NaN where missing) and int32 codes, with numpy.

An encoder is plain data (a schema and a `ColumnEncoding` for each column), so that it can be saved
as JSON and exported. Codes are 0 for missing, 1 for unseen in training, 2.. for known values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Self, assert_never

import numpy as np
import pyarrow as pa

from sightline.contracts import READING_RULES, Encoding, Schema, traits_of
from sightline.load.table import Table
from sightline.load.values import MISSING_DATE, Spellings, map_codes
from sightline.prepare.ngrams import TOKENS, FoundNGrams, NGrams

MISSING, UNSEEN, FIRST_KNOWN = 0, 1, 2
DAY = 86_400_000_000
DATE_PARTS = ("year", "month", "day", "weekday", "hour", "minute")


@dataclass(frozen=True)
class ColumnEncoding:
    """How one column is encoded.

    Attributes:
        column: The column's name.
        how: "number" as it is; "codes" by vocabulary; "date" as days since the first training
            date and `parts`; "words" as 1 or 0 for each n-gram of the vocabulary.
        parts: For a date, those of `DATE_PARTS` that vary in the training rows.
    """

    column: str
    how: Encoding
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """Encoded rows, with counts of unusual values.

    Attributes:
        numeric: float64 [rows, A], NaN where missing.
        categorical: int32 [rows, C] codes.
        missing, unseen, out_of_range: The number of rows with such a value, by column; columns
            without any are left out.
    """

    numeric: np.ndarray
    categorical: np.ndarray
    missing: dict[str, int]
    unseen: dict[str, int]
    out_of_range: dict[str, int]


@dataclass(frozen=True)
class Encoder:
    """How each feature is encoded, and the schema with its vocabulary and range.

    Example:
        >>> import sightline as sl
        >>> table = sl.read("examples/penguins.csv")
        >>> encoder = sl.prepare(sl.split(table, target="species")).encoder
        >>> encoded = encoder.open(table)(slice(0, 4))
        >>> encoded.numeric.shape, encoded.categorical.shape
        ((4, 5), (4, 2))
    """

    schema: Schema
    encodings: tuple[ColumnEncoding, ...]

    @property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """The (name, column) of each of the A numbers that the encoder returns, in order."""
        named: list[tuple[str, str]] = []
        for encoding in self.encodings:
            match encoding.how:
                case "number":
                    named.append((encoding.column, encoding.column))
                case "date":
                    parts = ("elapsed_days", *encoding.parts)
                    named += [(f"{encoding.column}.{part}", encoding.column) for part in parts]
                case "words":
                    words = self.schema.vocabularies[encoding.column]
                    named += [(f"{encoding.column}.{word}", encoding.column) for word in words]
                case "codes":
                    pass
                case _:
                    assert_never(encoding.how)
        return tuple(named)

    @property
    def spans(self) -> tuple[slice, ...]:
        """Where the numbers of each of `encodings` are among all A; empty for codes.

        Example:
            >>> import sightline as sl
            >>> table = sl.read("examples/penguins.csv")
            >>> encoder = sl.prepare(sl.split(table, target="species")).encoder
            >>> [encoding.column for encoding in encoder.encodings][:2], encoder.spans[:2]
            (['island', 'bill_length_mm'], (slice(0, 0, None), slice(0, 1, None)))
        """
        widths = Counter(column for _, column in self.numbers)
        ends = [0, *accumulate(widths[encoding.column] for encoding in self.encodings)]
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are encoded, in order."""
        return tuple(encoding.column for encoding in self.encodings)

    @property
    def codes(self) -> tuple[str, ...]:
        """The C columns that the encoder returns as codes, in order."""
        return tuple(encoding.column for encoding in self.encodings if encoding.how == "codes")

    def cardinality(self, column: str) -> int:
        """Return the number of codes of a column, those for missing and unseen included."""
        return len(self.schema.vocabularies[column]) + FIRST_KNOWN

    def categories(self, column: str) -> Categories:
        """Return what looks a column's texts up; it is made once and kept: vocabularies may be large."""
        made = self._categories.get(column)
        if made is None:
            made = Categories(self.schema.vocabularies[column], self.schema.rules)
            self._categories[column] = made
        return made

    @cached_property
    def _categories(self) -> dict[str, Categories]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again."""
        return {name: value for name, value in self.__dict__.items() if name != "_categories"}

    def open(self, table: Table) -> Reader:
        """Prepare a table's columns once; the result then encodes its rows, some at a time."""
        return Reader(self, table)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return {
            "schema": self.schema.to_json(),
            "ways": [asdict(encoding) for encoding in self.encodings],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        encodings = (ColumnEncoding(w["column"], w["how"], tuple(w["parts"])) for w in data["ways"])
        return cls(Schema.from_json(data["schema"]), tuple(encodings))


class Reader:
    """A table's columns, ready to be encoded: call it with a slice or row numbers."""

    def __init__(self, encoder: Encoder, table: Table) -> None:
        self.encoder = encoder
        self._columns = [
            (encoding, _open_column(encoder, encoding, table)) for encoding in encoder.encodings
        ]

    def __call__(self, rows: slice | np.ndarray) -> Encoded:
        """Encode some rows, and count missing, unseen and out-of-range values by column."""
        numbers: list[np.ndarray] = []
        codes: list[np.ndarray] = []
        missing: dict[str, int] = {}
        unseen: dict[str, int] = {}
        outside: dict[str, int] = {}

        def note(counts: dict[str, int], name: str, where: np.ndarray) -> None:
            if number := int(np.count_nonzero(where)):
                counts[name] = number

        count = 0
        for encoding, column in self._columns:
            name = encoding.column
            if isinstance(column, _Words):
                block, empty = column.rows(rows)
                numbers += list(block.T)
                note(missing, name, empty)
                count = len(block)
                continue
            values = column[rows]
            count = len(values)
            match encoding.how:
                case "codes":
                    codes.append(values)
                    note(missing, name, values == MISSING)
                    note(unseen, name, values == UNSEEN)
                    continue
                case "number":
                    empty = np.isnan(values)
                    numbers.append(values)
                case "date":
                    empty = values == MISSING_DATE
                    first, _ = self.encoder.schema.ranges[name]
                    numbers += date_numbers(values, int(first), encoding.parts)
                case "words":
                    raise AssertionError(f"{name}: words are opened as _Words")
                case _:
                    assert_never(encoding.how)
            low, high = self.encoder.schema.ranges[name]
            note(missing, name, empty)
            note(outside, name, ((values < low) | (values > high)) & ~empty)
        numeric = np.empty((count, len(numbers)))
        for j, values in enumerate(numbers):
            numeric[:, j] = values
        categorical = np.empty((count, len(codes)), np.int32)
        for j, values in enumerate(codes):
            categorical[:, j] = values
        return Encoded(numeric, categorical, missing, unseen, outside)


def _open_column(encoder: Encoder, encoding: ColumnEncoding, table: Table) -> np.ndarray | _Words:
    schema = encoder.schema
    match encoding.how:
        case "number":
            return table.numbers(encoding.column)
        case "date":
            return table.moments(encoding.column)
        case "words":
            return _Words(table.words(encoding.column), schema.vocabularies[encoding.column])
        case "codes":
            if traits_of(schema[encoding.column].kind).storage == "flags":
                return flag_codes(
                    table.flags(encoding.column), schema.vocabularies[encoding.column]
                )
            return encoder.categories(encoding.column).codes(table.words(encoding.column))
        case _:
            assert_never(encoding.how)


def flag_codes(flags: np.ndarray, vocabulary: tuple[str, ...]) -> np.ndarray:
    """Look truth values up in a vocabulary of "false" and "true": 0 missing, 1 unseen, 2.. known.

    Args:
        flags: int8 [rows]: 1, 0, and -1 where missing.
        vocabulary: The values that occur in the training rows.

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.encode import flag_codes
        >>> flag_codes(np.array([0, 1, -1]), ("true",)).tolist()
        [1, 2, 0]
    """
    code_of = [
        vocabulary.index(word) + FIRST_KNOWN if word in vocabulary else UNSEEN
        for word in ("false", "true")
    ]
    codes: np.ndarray = np.array([*code_of, MISSING], np.int32)[flags]
    return codes


class Categories:
    """Looks texts up in a vocabulary: 0 missing, 1 unseen, 2.. known.

    A value that is spelled in another way is known too, such as 3.0 for 3 (`Spellings`). By version 1 of the reading
    rules it is not.

    Args:
        vocabulary: The known texts, in the order of their codes.
        rules: The version of the reading rules.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.prepare.encode import Categories
        >>> Categories(("a", "b")).codes(pa.array(["b", None, "x"]).dictionary_encode()).tolist()
        [3, 0, 1]
    """

    def __init__(self, vocabulary: tuple[str, ...], rules: int = READING_RULES) -> None:
        self._vocabulary, self._rules = vocabulary, rules
        self._code_of = {word: code for code, word in enumerate(vocabulary, start=FIRST_KNOWN)}

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self._vocabulary)

    def codes(self, words: pa.DictionaryArray) -> np.ndarray:
        """Return the code of each row, int32 [rows]."""
        texts = words.dictionary.to_pylist()
        known = [self._code_of.get(word, UNSEEN) for word in texts]
        if self._rules > 1 and UNSEEN in known:
            known = [
                self._code_of.get(self._spellings.find(word) or "", UNSEEN)
                if code == UNSEEN
                else code
                for word, code in zip(texts, known, strict=True)
            ]
        return map_codes(words.indices, np.array(known, np.int32), MISSING)


def date_numbers(moments: np.ndarray, first: int, parts: tuple[str, ...]) -> list[np.ndarray]:
    """Turn microseconds into days since the first training date and calendar parts.

    Args:
        moments: int64 microseconds since 1970 UTC; the smallest int64 is missing.
        first: The first training date; subtracted as an integer, so that no digit is lost.
        parts: Which of `DATE_PARTS`.

    Returns:
        float64 columns with NaN where missing: elapsed days, then the parts (weekday 0 is Monday).

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.encode import date_numbers
        >>> [part.tolist() for part in date_numbers(np.array([86_400_000_000 * 2]), 0, ("weekday",))]
        [[2.0], [5.0]]
    """
    empty = moments == MISSING_DATE
    safe = np.where(empty, first, moments)
    days = safe // DAY
    time_of_day = safe - days * DAY
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    calendar = {
        "year": months // 12 + 1970,
        "month": months % 12 + 1,
        "day": (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1,
        "weekday": (days + 3) % 7,
        "hour": time_of_day // 3_600_000_000,
        "minute": time_of_day // 60_000_000 % 60,
    }
    columns = [(safe - first) / DAY, *(calendar[part] for part in parts)]
    return [np.where(empty, np.nan, column) for column in columns]


class _Words:
    """A text column as 1 or 0 for each n-gram; each unique text is looked at once."""

    def __init__(self, words: pa.DictionaryArray, vocabulary: tuple[str, ...]) -> None:
        self.codes = map_codes(words.indices, np.arange(len(words.dictionary)), -1)
        self.found = FoundNGrams(NGrams(vocabulary), words.dictionary.to_pylist())

    def rows(self, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = self.codes[rows]
        block = np.full((len(codes), self.found.width), np.nan)
        given = codes >= 0
        block[given] = self.found.rows(codes[given])
        return block, ~given


def find_words(texts: list[str], counts: np.ndarray, most: int) -> tuple[str, ...]:
    """Choose the n-grams of a text column: one or two words that occur in 2 or more rows but not in all.

    The most frequent come first.

    Args:
        texts: The unique texts.
        counts: The number of training rows with each text.
        most: The largest number of n-grams.

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.encode import find_words
        >>> find_words(["red wine", "red beer"], np.array([3, 1]), 2)
        ('red wine', 'wine')
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=TOKENS)
    try:
        occurs = counter.fit_transform(texts)
    except ValueError:  # "empty vocabulary": no text holds a word
        return ()
    rows = np.asarray(occurs.T @ counts).ravel()
    names = counter.get_feature_names_out()
    ranked = sorted(range(len(names)), key=lambda i: (-rows[i], names[i]))
    total = counts.sum()
    return tuple(str(names[i]) for i in ranked if 2 <= rows[i] < total)[:most]
