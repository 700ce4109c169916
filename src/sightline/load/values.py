"""Parse the text of a cell as a number, a truth value or a date, and convert whole columns.

The same rules apply to every source: a file at training, a dict at prediction.
"""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BAD = math.inf
"""Marks a text that is no number in a column of numbers; networks cannot use infinite inputs."""

LARGEST_EXACT = 2**53
"""From here on float64 cannot tell neighbouring whole numbers apart."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MISSING_DATE = np.iinfo(np.int64).min
"""Stands for a missing value in a column of microseconds."""
BAD_DATE = -(2**63) + 1
"""Marks a text that is no date in a column of microseconds."""

DATE_FORMATS = (
    "iso",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
)
CLEAR_FORMATS = tuple(form for form in DATE_FORMATS if form[:5] not in ("%m/%d", "%d/%m"))
"""The formats in which day and month cannot be confused."""
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[nN][aA][nN]"
"""A number for every reader: ASCII digits, a decimal point, an exponent; or NaN, which means missing."""
_NUMBER = re.compile(NUMBER)
_NAN = re.compile("[+-]?nan", re.I)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")
_DIGITS_FIRST = re.compile(r"\s*\d")
_WHOLE = re.compile("[+-]?[0-9]{1,19}")
_LEADING_ZERO = re.compile(r"0\d+")
TRUTH = {"true": True, "false": False}


def parse_number(text: str, missing: Collection[str]) -> float:
    """Parse a number as Arrow's CSV reader does: ASCII digits, a decimal point, an exponent.

    Args:
        text: The cell's text; spaces around it are ignored.
        missing: Texts that mean missing, beside the empty one.

    Returns:
        The number; NaN if the text means missing; `BAD` if it is not a finite number.

    Example:
        >>> from sightline.load.values import parse_number
        >>> parse_number(" 1e3 ", ()), parse_number("?", ("?",)), parse_number("12a", ())
        (1000.0, nan, inf)
    """
    stripped = text.strip()
    if not stripped or text in missing or stripped in missing:
        return math.nan
    if not _NUMBER.fullmatch(stripped):
        return BAD
    number = float(stripped)
    return BAD if math.isinf(number) else number  # 1e999


def parse_numbers(texts: pa.ChunkedArray, missing: Sequence[str]) -> np.ndarray:
    """Parse texts as float64 numbers: NaN where missing, `BAD` where a text is no number.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.values import parse_numbers
        >>> parse_numbers(pa.chunked_array([["1.5", "?", "a"]]), ["?"]).tolist()
        [1.5, nan, inf]
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    number = pc.match_substring_regex(trimmed, f"^({NUMBER})$")
    absent = pc.is_in(trimmed, value_set=pa.array(["", *missing], pa.string()))
    numbers = pc.if_else(number, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    floats = numbers.to_numpy()
    is_number = number.to_numpy()
    is_missing = absent.to_numpy()
    return np.where(is_missing, np.nan, np.where(is_number, floats, BAD))


def is_missing(text: str, missing: Collection[str]) -> bool:
    """Tell whether a cell of a column of numbers or dates has no value.

    Example:
        >>> from sightline.load.values import is_missing
        >>> is_missing("  ", ()), is_missing(" ? ", ("?",)), is_missing("nan", ()), is_missing("0", ())
        (True, True, True, False)
    """
    stripped = text.strip()
    return (
        not stripped
        or text in missing
        or stripped in missing
        or _NAN.fullmatch(stripped) is not None
    )


def missing_numbers(missing: Collection[str] | None) -> frozenset[float]:
    """Return the numbers among the texts that mean a missing value.

    Example:
        >>> from sightline.load.values import missing_numbers
        >>> missing_numbers(("?", "-999")), missing_numbers(None)
        (frozenset({-999.0}), frozenset())
    """
    return frozenset(float(text) for text in missing or () if is_float(text))


def is_float(text: str) -> bool:
    """Tell whether Python can read a text as a float, NaN and the infinities included.

    Example:
        >>> from sightline.load.values import is_float
        >>> is_float("-999"), is_float("inf"), is_float("NA")
        (True, True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_date(text: str, form: str) -> int:
    """Parse a date in one of `DATE_FORMATS` as microseconds since 1970 UTC.

    A time without an offset is in UTC. Returns `BAD_DATE` if the text is no date in this format.

    Example:
        >>> from sightline.load.values import parse_date
        >>> parse_date("1970-01-02", "iso"), parse_date("03.01.1970", "%d.%m.%Y")
        (86400000000, 172800000000)
    """
    text = text.strip()
    try:
        if form == "iso":
            if not _ISO.fullmatch(text):
                return BAD_DATE
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, form)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return BAD_DATE


def find_date_format(
    texts: Collection[str],
    share: float,
    counts: Collection[int] | None = None,
    formats: Sequence[str] = DATE_FORMATS,
) -> str | None:
    """Find the first date format that fits at least a given share of the rows.

    Args:
        texts: Unique texts.
        share: The share of rows that must fit, 0 to 1.
        counts: The number of rows with each text; None for one each.
        formats: The formats to try, in this order.

    Returns:
        The format, or None if none fits.

    Example:
        >>> from sightline.load.values import find_date_format
        >>> find_date_format(["31/12/2020", "01/02/2021"], 0.99)
        '%d/%m/%Y'
        >>> find_date_format(["31/12/2020", "soon"], 0.99, [150, 1])
        '%d/%m/%Y'
    """
    if not texts:
        return None
    probe = next(iter(texts))
    if not _DIGITS_FIRST.match(probe) and share >= 1:
        return None
    rows = [1] * len(texts) if counts is None else counts
    allowed = int(sum(rows) * (1 - share))
    for form in formats:
        failures = 0
        for text, count in zip(texts, rows, strict=True):
            if parse_date(text, form) == BAD_DATE:
                failures += count
                if failures > allowed:
                    break
        else:
            return form
    return None


def is_code(text: str) -> bool:
    """Tell whether a number is written with leading zeros, as a postal code is.

    Example:
        >>> from sightline.load.values import is_code
        >>> is_code("01234"), is_code("0.5"), is_code("0")
        (True, False, False)
    """
    return _LEADING_ZERO.fullmatch(text.strip()) is not None


def to_text(value: Any) -> str | None:
    """Write a value as a category's text; equal values give equal texts from every source.

    Example:
        >>> from sightline.load.values import to_text
        >>> to_text(7.0), to_text(True), to_text(""), to_text(0.5)
        ('7', 'true', None, '0.5')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) or None


# ------------------------------------------------------------- whole columns


def as_dictionary(data: pa.ChunkedArray) -> pa.DictionaryArray:
    """Turn any column into int32 codes and unique texts; an empty text becomes null."""
    if not pa.types.is_dictionary(data.type):
        data = data.dictionary_encode()
    if data.num_chunks > 1:
        data = data.unify_dictionaries()
        codes = pa.concat_arrays([chunk.indices for chunk in data.chunks])
        words = data.chunk(0).dictionary
    elif data.num_chunks == 1:
        codes, words = data.chunk(0).indices, data.chunk(0).dictionary
    else:
        codes, words = pa.array([], pa.int32()), pa.array([], pa.string())
    codes = codes.cast(pa.int32())
    if pa.types.is_string(words.type) and words.null_count == 0:
        empty = pc.any(pc.equal(words, ""), min_count=0).as_py()
        if not empty and pc.count_distinct(words).as_py() == len(words):
            return pa.DictionaryArray.from_arrays(codes, words)
    texts = [to_text(word) for word in words.to_pylist()]
    if len(set(texts)) == len(texts) and None not in texts:
        return pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string()))
    # Two values may have the same text (1 and 1.0), and the empty string has none.
    unique = list(dict.fromkeys(text for text in texts if text is not None))
    code_of = {text: code for code, text in enumerate(unique)}
    new_codes = np.array([code_of[text] if text is not None else -1 for text in texts], np.int32)
    codes = map_codes(codes, new_codes, missing=-1)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), pa.array(unique, pa.string())
    )


def map_codes(codes: pa.Array, values: np.ndarray, missing: Any) -> np.ndarray:
    """Look up the value of each row's code; a null code gets `missing`."""
    if codes.null_count == 0:
        of_rows: np.ndarray = values[codes.to_numpy()]
        return of_rows
    indices = pc.fill_null(codes, len(values)).to_numpy(zero_copy_only=False)
    of_rows = np.append(values, np.array([missing], values.dtype))[indices]
    return of_rows


def map_words(
    data: pa.DictionaryArray, function: Callable[[str], Any], dtype: Any, missing: Any
) -> np.ndarray:
    """Apply a function to each unique text once, and return the result of each row's text.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.values import map_words
        >>> map_words(pa.array(["a", None, "bb"]).dictionary_encode(), len, int, -1).tolist()
        [1, -1, 2]
    """
    words = data.dictionary.to_pylist()
    return map_codes(data.indices, np.array([function(word) for word in words], dtype), missing)


def exact_integers(texts: Collection[str]) -> list[int] | None:
    """Parse texts as whole numbers, exactly; None if one is not written as one, or needs more than 64 bits.

    Example:
        >>> from sightline.load.values import exact_integers
        >>> exact_integers(["900719925474099311", " -7"]), exact_integers(["1e20"]), exact_integers(["9" * 20])
        ([900719925474099311, -7], None, None)
    """
    stripped = [text.strip() for text in texts]
    if not all(_WHOLE.fullmatch(text) for text in stripped):
        return None
    numbers = [int(text) for text in stripped]
    return numbers if all(-(2**63) <= number < 2**63 for number in numbers) else None


def has_long(floats: np.ndarray) -> bool:
    """Tell whether there is a finite number that float64 may hold inexactly."""
    floats = floats.ravel()
    if not len(floats):
        return False
    low, high = (
        float(np.fmin.reduce(floats)),
        float(np.fmax.reduce(floats)),
    )  # no copy of the column
    if math.isinf(low) or math.isinf(high):
        return has_long(floats[np.isfinite(floats)])
    return max(-low, high) >= LARGEST_EXACT


class Spellings:
    """Finds the known text of a value that is written in another way: 3.0, " 3" or 003 for 3.

    A text is looked up as it is, then without blanks around it, then as a number or a truth value. A code such as
    007 is found without its zeros, unless 7 is another known text.

    Example:
        >>> from sightline.load.values import Spellings
        >>> known = Spellings(["3", "blue", "true"])
        >>> [known.find(text) for text in ("3.0", " 3", "003", "blue ", "True", "4", "Blue")]
        ['3', '3', '3', 'blue', 'true', None, None]
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = set(known)
        keys: dict[Any, str | None] = {}
        for text in known:
            if (key := _value_key(text)) is not None:
                keys[key] = None if key in keys else text  # 7 and 007 are told apart
        self._keys = keys

    def find(self, text: str) -> str | None:
        """Return the known text that means the same; None if there is none."""
        if text in self._known:
            return text
        stripped = text.strip()
        if stripped in self._known:
            return stripped
        key = _value_key(stripped)
        return None if key is None else self._keys.get(key)


def _value_key(text: str) -> Any:
    """Return what is equal for two spellings of one number or truth value; None for other texts."""
    if text.lower() in TRUTH:
        return text.lower()
    if not _NUMBER.fullmatch(text) or _NAN.fullmatch(text):
        return None
    return decimal.Decimal(text)


def from_floats(floats: np.ndarray) -> pa.ChunkedArray:
    """Make an Arrow column of float64 in which NaN is null, without copying."""
    return pa.chunked_array([pa.array(floats, pa.float64(), from_pandas=True)])


def to_floats(data: pa.ChunkedArray) -> np.ndarray:
    """Return a column of any number type as float64 with NaN for null, without copying if possible.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.values import to_floats
        >>> to_floats(pa.chunked_array([[1, None]])).tolist()
        [1.0, nan]
    """
    if not pa.types.is_float64(data.type):
        data = data.cast(pa.float64(), safe=False)
    if data.num_chunks == 1:
        chunk = data.chunk(0)
        if chunk.null_count == 0:
            whole: np.ndarray = chunk.to_numpy()
            return whole
        # The value under a null is undefined in Arrow, but it is NaN in columns made by `from_floats`.
        floats = np.frombuffer(chunk.buffers()[1], np.float64)[chunk.offset :][: len(chunk)]
        if np.array_equal(np.isnan(floats), chunk.is_null().to_numpy(zero_copy_only=False)):
            return floats
    copied: np.ndarray = data.to_numpy()
    return copied


def to_flags(data: pa.ChunkedArray) -> np.ndarray:
    """Return Arrow booleans as int8: 1, 0, and -1 for null."""
    flags: np.ndarray = pc.fill_null(data.cast(pa.int8()), -1).to_numpy()
    return flags


def date_text(microseconds: int) -> str:
    """Write microseconds since 1970 UTC as a date and time.

    Example:
        >>> from sightline.load.values import date_text
        >>> date_text(86_400_000_000)
        '1970-01-02 00:00:00'
    """
    moment = EPOCH + microseconds * MICROSECOND
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def date_example(form: str) -> str:
    """Write 31 January 2026, half past four in the afternoon, in one of `DATE_FORMATS`.

    Example:
        >>> from sightline.load.values import date_example
        >>> date_example("iso"), date_example("%d.%m.%Y %H:%M")
        ('2026-01-31', '31.01.2026 16:30')
    """
    return datetime(2026, 1, 31, 16, 30).strftime("%Y-%m-%d" if form == "iso" else form)


def to_microseconds(data: pa.ChunkedArray) -> np.ndarray:
    """Return int64 microseconds since 1970 UTC; a null becomes the smallest int64."""
    moments: np.ndarray = pc.fill_null(data.cast(pa.int64()), MISSING_DATE).to_numpy()
    return moments
