"""The kind of a column of texts: numbers, truth values, dates, categories or sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import (
    MISSING_NUMBERS,
    READING_RULES,
    Column,
    DateOrder,
    Kind,
    NumberFormat,
    Role,
)
from sightline.errors import DataError, counted, shorten
from sightline.load import values as v
from sightline.load.histograms import word_counts
from sightline.load.numbers import NUMBER_SHARE, Words, parse_formatted
from sightline.load.typed import TypedColumn, make_typed, typed_numbers, whole_numbers_reason

IDENTIFIER = "every value is different: an identifier"
IDENTIFIER_ROWS = 20
"""With fewer rows than this, distinct values are no sign of an identifier."""
HINT_WORDS = 200
MINUS = "\u2212"
"""The typographic minus sign, which word processors and databases write."""
_SLASHED = re.compile(r"\s*\d{1,2}/\d{1,2}/\d{4}")
_FORMATS_OF: dict[DateOrder, tuple[str, ...]] = {
    "day-first": tuple(form for form in v.DATE_FORMATS if form.startswith("%d/%m")),
    "month-first": tuple(form for form in v.DATE_FORMATS if form.startswith("%m/%d")),
}
_FLAG_WORDS = {"1": True, "0": False, "1.0": True, "0.0": False, **v.TRUTH}


class Writing(NamedTuple):
    """How a column of texts writes its numbers.

    Attributes:
        number_format: The format; None for plain numbers, or none.
        odd: Of a column whose values look like numbers and that is not one of numbers, why; else "".
        dates: Whether the table writes dates such as 04/01/2026 day first; None if it has none.
        rules: The version of the reading rules.
    """

    number_format: NumberFormat | None = None
    odd: str = ""
    dates: DateOrder | None = None
    rules: int = READING_RULES


PLAIN = Writing()


def type_text(
    name: str,
    data: pa.DictionaryArray,
    *,
    kind: Kind | None,
    known: Column | None,
    missing: tuple[str, ...] | None,
    writing: Writing = PLAIN,
) -> TypedColumn:
    """Give a column of texts its kind.

    Args:
        name: The column's name.
        data: Codes [rows] and unique texts.
        kind: The kind to use, or None to infer it.
        known: The column as it was at training, whose kind is `kind`; None at training.
        missing: Texts that mean missing; None is the default rule.
        writing: How the column writes its numbers.

    Raises:
        DataError: The values cannot be of the kind.
    """
    tokens = MISSING_NUMBERS if missing is None else missing
    if missing is not None:
        data = _without(data, set(missing))
    words: list[str] = data.dictionary.to_pylist()
    match kind:
        case "categorical" | "text":
            return make_typed(name, kind, data, known.values if known else "string")
        case "numeric":
            return _numbers(name, data, _parsed(words, tokens, writing), writing)
        case "boolean":
            return _flags(name, data, words)
        case "datetime":
            date_format = _date_format(_rows_of(data, words, tokens), known, writing)
            if date_format is None:
                raise DataError(
                    f"Column {name!r} cannot be read as dates: "
                    f"{shorten(words[0]) if words else ''!r} is in no known date format.",
                    "Write dates as 2026-01-31 or 2026-01-31 12:00:00, or read the column as text.",
                )
            return _dates(name, data, date_format, tokens)
        case None:
            return _infer(name, data, words, tokens, words if missing is None else (), writing)
        case _:
            assert_never(kind)


def _infer(
    name: str,
    data: pa.DictionaryArray,
    words: list[str],
    tokens: Sequence[str],
    undeclared: Sequence[str],
    writing: Writing,
) -> TypedColumn:
    """Try the kinds in order: numbers, truth values, dates, then categories or text."""
    counts = word_counts(data)
    if not counts.sum():
        return make_typed(name, "categorical", data, "string")
    if not any(v.is_code(word) for word in words):
        parsed = _parsed(words, tokens, writing)
        given = counts[~np.isnan(parsed)].sum()
        bad = counts[parsed == v.BAD].sum()
        if given and bad <= (1 - NUMBER_SHARE) * given and not _too_long(words, parsed, writing):
            return _numbers(name, data, parsed, writing)
    if {word.lower() for word in words} <= set(v.TRUTH):
        return _flags(name, data, words)
    rows_of = _rows_of(data, words, tokens)
    if date_format := _date_format(rows_of, None, writing):
        return _dates(name, data, date_format, tokens)
    typed = _categories_or_text(name, data, counts, words)
    hints = _hints([word for word in rows_of if word.strip()], undeclared, writing)
    reason = "; ".join([typed.column.reason, *hints])
    return replace(typed, column=replace(typed.column, reason=reason))


# ------------------------------------------------------------- by kind


def _parsed(words: Sequence[str], tokens: Sequence[str], writing: Writing) -> np.ndarray:
    """Parse each unique text as a number: NaN if it means missing, `BAD` if it is no number."""
    written = writing.number_format
    if written is not None:
        return np.array([parse_formatted(word, written, tokens) for word in words], np.float64)
    if writing.rules == 1:
        return np.array([v.parse_number(word, tokens) for word in words], np.float64)
    texts = pa.chunked_array([pa.array(words, pa.string())])
    return v.parse_numbers(pc.replace_substring(texts, MINUS, "-"), tokens)


def _numbers(
    name: str, data: pa.DictionaryArray, parsed: np.ndarray, writing: Writing
) -> TypedColumn:
    """Make a numeric column from the number that each unique text was parsed as."""
    floats = v.map_codes(data.indices, parsed, np.nan)
    if (exact := _exact(data, parsed, writing)) is not None:
        bad = {int(row): data[int(row)].as_py() for row in np.flatnonzero(floats == v.BAD)}
        return make_typed(name, "numeric", exact, "integer", whole_numbers_reason(exact), bad=bad)
    bad_rows = np.flatnonzero(floats == v.BAD)
    bad = {int(row): data[int(row)].as_py() for row in bad_rows}
    floats[bad_rows] = np.nan
    typed = typed_numbers(name, v.from_floats(floats), bad)
    if writing.number_format is None:
        return typed
    column = typed.column
    reason = f"{column.reason}, written as {writing.number_format.example}"
    column = replace(column, reason=reason, number_format=writing.number_format)
    return replace(typed, column=column)


def _exact(
    data: pa.DictionaryArray, parsed: np.ndarray, writing: Writing
) -> pa.ChunkedArray | None:
    """Return whole numbers that float64 would round as int64; None for all other columns."""
    if writing.rules == 1 or writing.number_format is not None or not v.has_long(parsed):
        return None
    finite = np.isfinite(parsed)
    numbers = v.exact_integers(data.dictionary.filter(pa.array(finite)).to_pylist())
    if numbers is None:
        return None
    of_word = np.zeros(len(parsed), np.int64)
    of_word[finite] = numbers
    values = v.map_codes(data.indices, of_word, 0)
    known = v.map_codes(data.indices, finite, False)
    return pa.chunked_array([pa.array(values, mask=~known)])


def _too_long(words: Sequence[str], parsed: np.ndarray, writing: Writing) -> bool:
    """Tell whether there are whole numbers of more digits than 64 bits hold: they are codes."""
    if writing.rules == 1 or writing.number_format is not None or not v.has_long(parsed):
        return False
    return any(re.fullmatch(r"\s*[+-]?[0-9]{19,}\s*", word) for word in words) and (
        v.exact_integers([w for w, n in zip(words, parsed, strict=True) if np.isfinite(n)]) is None
    )


def _flags(name: str, data: pa.DictionaryArray, words: Sequence[str]) -> TypedColumn:
    unreadable, missing = -1, -2
    of_word = [_FLAG_WORDS.get(word.strip().lower(), unreadable) for word in words]
    flags = v.map_codes(data.indices, np.array(of_word, np.int8), missing)
    bad = {
        int(row): words[data.indices[int(row)].as_py()]
        for row in np.flatnonzero(flags == unreadable)
    }
    array = pa.array(flags == 1, mask=flags < 0)
    return make_typed(name, "boolean", array, "boolean", "true or false", bad=bad)


def orders_of(words: Words, missing: Sequence[str]) -> tuple[set[DateOrder], str] | None:
    """Find the orders of day and month in which a column's texts are dates such as 04/01/2026.

    Returns:
        The orders that fit, and a date that shows it; None for a column of other texts.
    """
    first = next(
        (text for text in words.texts[:20].to_pylist() if not v.is_missing(text, missing)), ""
    )
    if not _SLASHED.match(first):
        return None
    pairs = zip(words.texts.to_pylist(), words.rows.tolist(), strict=True)
    rows_of = {text: rows for text, rows in pairs if rows and not v.is_missing(text, missing)}
    orders = {
        order
        for order, formats in _FORMATS_OF.items()
        if v.find_date_format(rows_of, NUMBER_SHARE, rows_of.values(), formats)
    }
    if len(orders) == 1:  # show a text that is in this order alone
        (other,) = set(_FORMATS_OF) - orders
        first = next(
            text for text in rows_of if not v.find_date_format([text], 1, None, _FORMATS_OF[other])
        )
    return (orders, first) if orders else None


def _date_format(rows_of: dict[str, int], known: Column | None, writing: Writing) -> str | None:
    """Find the date format of a column's texts, given how many rows have each."""
    if known is None and writing.dates is not None:
        formats = [*v.CLEAR_FORMATS, *_FORMATS_OF[writing.dates]]
        return v.find_date_format(rows_of, NUMBER_SHARE, rows_of.values(), formats)
    if known is None:
        return v.find_date_format(rows_of, NUMBER_SHARE, rows_of.values())
    if known.format is not None:
        return known.format
    # The training data held dates, not texts. A row to predict must not make the others unreadable,
    # nor may the other rows decide whether 02/01 is in January.
    return v.find_date_format(rows_of, 0.5, rows_of.values(), v.CLEAR_FORMATS) or "iso"


def _dates(
    name: str, data: pa.DictionaryArray, date_format: str, missing: Sequence[str]
) -> TypedColumn:
    def is_missing(word: str) -> bool:
        return not word.strip() or word.strip() in missing

    def parse(word: str) -> int:
        return 0 if is_missing(word) else v.parse_date(word, date_format)

    moments = v.map_words(data, parse, np.int64, 0)
    empty = v.map_words(data, is_missing, bool, True)
    unreadable = moments == v.BAD_DATE
    bad = {int(row): data[int(row)].as_py() for row in np.flatnonzero(unreadable)}
    reason = "dates" if date_format == "iso" else f"dates written as {v.date_example(date_format)}"
    array = pa.array(moments, mask=empty | unreadable)
    return make_typed(name, "datetime", array, "datetime", reason, bad=bad, date_format=date_format)


def _categories_or_text(
    name: str, data: pa.DictionaryArray, counts: np.ndarray, words: list[str]
) -> TypedColumn:
    """Tell categories from sentences and identifiers by how many values differ and how long they are."""
    kind, reason, role = role_of_texts(int(counts.sum()), int((counts > 0).sum()), words)
    return make_typed(name, kind, data, "string", reason, role)


def role_of_texts(rows: int, distinct: int, words: Sequence[str]) -> tuple[Kind, str, Role]:
    """Return the kind and role of a column of texts that are no numbers or dates, and why.

    Args:
        rows: How many rows have a value.
        distinct: How many different values there are.
        words: Some of them, or all.

    Example:
        >>> from sightline.load.text_kinds import role_of_texts
        >>> role_of_texts(1_000, 1_000, ["a1", "b7"])
        ('categorical', 'every value is different: an identifier', 'ignored')
    """
    sample = words[:1000]
    length = sum(len(word.split()) for word in sample) / max(len(sample), 1)
    sentences = f"text of about {length:.0f} words"
    if rows >= IDENTIFIER_ROWS and distinct > 0.5 * rows:
        if length >= 3:
            return "text", sentences, "feature"
        if distinct == rows:
            return "categorical", IDENTIFIER, "ignored"
        reason = (
            f"text, {distinct:,} different values in {rows:,} rows; if it only identifies the row, "
            "drop it (--drop)"
        )
        return "text", reason, "feature"
    if length >= 4 and distinct > 0.1 * rows and rows >= IDENTIFIER_ROWS:
        return "text", sentences, "feature"
    reason = f"text with {counted(distinct, 'different value')}"
    if code := next((word for word in sample if v.is_code(word)), None):
        reason = (
            f"codes with leading zeros, such as {shorten(code, 20)}, {distinct:,} different values"
        )
    return "categorical", reason, "feature"


# ------------------------------------------------------------- helpers


def _rows_of(
    data: pa.DictionaryArray, words: Sequence[str], tokens: Sequence[str]
) -> dict[str, int]:
    """Count the rows of each text that occurs and does not mean missing."""
    counts = word_counts(data).tolist()
    return {
        word: count
        for word, count in zip(words, counts, strict=True)
        if count and word.strip() not in tokens
    }


def _hints(words: Sequence[str], undeclared: Sequence[str], writing: Writing) -> list[str]:
    """Suggest which kind the texts may have, and how to have them read as it.

    Args:
        words: Unique texts that do not mean missing.
        undeclared: All unique texts if the user has not said which of them mean missing, else none.
        writing: How the column writes its numbers.
    """
    hints = []
    sample = words[:HINT_WORDS]
    if writing.odd:
        hints.append(writing.odd)
    formats: dict[str, str] = {}
    for word in sample:
        if (date_format := v.find_date_format([word], 1.0)) is None:
            break
        formats.setdefault(date_format, word)
    else:
        if len(formats) > 1:
            examples = " and ".join(repr(shorten(word, 30)) for word in list(formats.values())[:2])
            hints.append(
                f"they look like dates in several formats, such as {examples}: write them in one format "
                "to have them read as dates"
            )
    missing = [word for word in undeclared if word.strip() in MISSING_NUMBERS]
    if missing:
        hints.append(
            f"{missing[0]!r} is one of them: if it means missing, declare it with missing= (--missing)"
        )
    return hints


def _without(data: pa.DictionaryArray, missing: set[str]) -> pa.DictionaryArray:
    """Make the rows of some texts null, and remove these texts from the unique ones."""
    words = data.dictionary.to_pylist()
    gone = {word for word in words if word in missing or word.strip() in missing}
    if not gone:
        return data
    kept = [word for word in words if word not in gone]
    new_codes = np.full(len(words), -1, np.int32)
    new_codes[[code for code, word in enumerate(words) if word not in gone]] = np.arange(len(kept))
    codes = v.map_codes(data.indices, new_codes, -1)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), pa.array(kept, pa.string())
    )
