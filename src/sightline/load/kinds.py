"""What a column is, and why: kind, role and reason, inferred over all rows or obeyed.

The rules, in the order in which they are tried:

1. Nothing but missing cells: ignored.
2. At least 99 % of the cells are numbers: numeric; the rest are bad rows. Numbers written with
   leading zeros are codes, hence categories.
3. true and false: boolean.
4. At least 99 % are dates in one format: datetime.
5. Otherwise text: every value different is an identifier (ignored) unless it reads like
   sentences; more than half of the values different, or sentences, is text; all else is
   categorical.

A column with one value is ignored, and so are whole numbers that count the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import MISSING_NUMBERS, Column, Kind, Role, Values
from sightline.errors import DataError, OptionError, counted, shorten
from sightline.load import values as v

NUMBER_SHARE = 0.99
IDENTIFIER_ROWS = 20
HINT_WORDS = 200
_ID_NAME = re.compile(
    r"(^|[_\s-])(id|uuid|guid|key|index|rowid)$|[a-z]I[dD]$|^unnamed|^column_1$", re.I
)


_NUMERIC = re.compile(
    r"[$€£¥]?\s*[+-]?((\d{1,3}(,\d{3})+|\d+)(\.\d+)?|\d{1,3}([.' ]\d{3})+(,\d+)?|\d+,\d+)\s*[%$€£¥]?"
)
"""Numbers as people write them: thousands parted, a decimal comma, a currency or per cent sign."""
_NOTHING = {"numeric": pa.float64(), "boolean": pa.bool_(), "datetime": pa.timestamp("us")}
_FIRST_MOMENT = v.parse_date("0001-01-01", "iso")
_LAST_MOMENT = v.parse_date("9999-12-31T23:59:59.999999", "iso")


@dataclass(frozen=True)
class Typed:
    """A column with its kind, and the rows whose values do not fit it.

    `data` is float64 or an integer type (numeric), bool (boolean), int64 microseconds
    (datetime) or int32 codes of texts (categorical, text). Bad values are null in it.
    """

    column: Column
    data: pa.ChunkedArray
    bad: dict[int, str]


def type_column(
    name: str,
    data: pa.ChunkedArray,
    *,
    kind: Kind | None = None,
    known: Column | None = None,
    missing: tuple[str, ...] | None = None,
    note: str | None = None,
) -> Typed:
    """Give a raw column its kind.

    Args:
        name: The column's name.
        data: Values of any Arrow type.
        kind: Asked for by the user, or None to infer.
        known: The column as it was at training; obeyed.
        missing: Texts that mean missing; None is the default rule.
        note: What the reader has to say of the column, added to the reason.

    Raises:
        DataError: The values cannot be of the kind asked for.

    Example:
        >>> import pyarrow as pa
        >>> from sightline.load.kinds import type_column
        >>> type_column("age", pa.chunked_array([["12", "", "30"]])).column.kind
        'numeric'
    """
    wanted = known.kind if known is not None else kind
    if isinstance(data.type, pa.BaseExtensionType):
        data = pa.chunked_array([chunk.storage for chunk in data.chunks], data.type.storage_type)
    inner = data.type.value_type if pa.types.is_dictionary(data.type) else None
    if inner is not None and not _is_text(inner):
        data = data.cast(inner)
        if wanted is None:  # categories that are numbers, dates, ...: they stay categories
            typed = type_column(name, data, kind="categorical", missing=missing)
            column = replace(typed.column, reason="categories in the source")
            return replace(typed, column=_role(replace(typed, column=column)))
    if pa.types.is_null(data.type):  # nothing tells of what kind the missing values are
        data = data.cast(_NOTHING.get(wanted or "", pa.string()))
    data = _simplify(name, data, missing)
    arrow = data.type
    if not _is_plain(arrow):
        if known is not None or kind is not None:
            raise DataError(
                f"Column {name!r} holds {arrow} values, not plain ones.",
                "Turn them into numbers or text, or drop the column.",
            )
        nothing = pa.nulls(len(data), pa.string()).dictionary_encode()
        reason = f"holds {arrow} values, which a table model cannot read"
        return _typed(name, "categorical", nothing, "string", reason, "ignored")
    if pa.types.is_dictionary(arrow):
        typed = _from_text(name, v.as_dictionary(data), wanted, known, missing)
    elif pa.types.is_boolean(arrow):
        typed = _from_flags(name, data, wanted)
    elif pa.types.is_timestamp(arrow):
        typed = _from_moments(name, data, wanted)
    else:
        typed = _from_numbers(name, data, wanted)
    if known is not None:
        return replace(typed, column=known)
    if kind is not None:
        column = replace(typed.column, reason=f"{kind}, as asked", role="feature")
    else:
        column = _role(typed)
    if note:
        column = replace(column, reason=f"{column.reason} ({note})")
    return replace(typed, column=column)


def _simplify(name: str, data: pa.ChunkedArray, missing: tuple[str, ...] | None) -> pa.ChunkedArray:
    """Bring the many Arrow types down to a few."""
    arrow = data.type
    if _is_text(arrow):
        return data.cast(pa.string()).dictionary_encode()
    if pa.types.is_decimal(arrow) or pa.types.is_float16(arrow):
        return data.cast(pa.float64())
    if pa.types.is_date(arrow) or (pa.types.is_timestamp(arrow)):
        fine = getattr(arrow, "unit", "s") == "ns"  # what is finer than a microsecond is cut off
        try:
            return data.cast(pa.timestamp("us", getattr(arrow, "tz", None)), safe=not fine)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"Column {name!r}: {error}.", "Mend the date, or drop the column."
            ) from error
    if pa.types.is_duration(arrow):
        return _seconds(data.cast(pa.duration("us"), safe=False))
    if pa.types.is_time(arrow):
        return _seconds(data.cast(pa.time64("us"), safe=False))
    if missing and (pa.types.is_integer(arrow) or pa.types.is_floating(arrow)):
        tokens = [float(token) for token in missing if v.is_float(token)]
        gone = np.isin(v.to_floats(data), tokens)
        if gone.any():
            return pc.if_else(pa.array(gone), pa.scalar(None, arrow), data)
    return data


def _seconds(data: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(data.cast(pa.int64()).cast(pa.float64()), 1e6)


def _is_plain(arrow: pa.DataType) -> bool:
    """Numbers, texts, truth values and moments; no lists, bytes, or spans of the calendar."""
    types = pa.types
    plain = (
        types.is_dictionary, types.is_integer, types.is_floating, types.is_boolean,
        types.is_timestamp,
    )  # fmt: skip
    return any(is_plain(arrow) for is_plain in plain)


def _is_text(arrow: pa.DataType) -> bool:
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_text(arrow) for is_text in text)


def _typed(
    name: str,
    kind: Kind,
    data: pa.Array | pa.ChunkedArray,
    values: Values,
    reason: str = "",
    role: Role = "feature",
    bad: dict[int, str] | None = None,
    form: str | None = None,
) -> Typed:
    if not isinstance(data, pa.ChunkedArray):
        data = pa.chunked_array([data])
    return Typed(Column(name, kind, role, reason, values, form), data, bad or {})


# ------------------------------------------------------------- by what came in


def _from_numbers(name: str, data: pa.ChunkedArray, wanted: Kind | None) -> Typed:
    if wanted in ("categorical", "text"):
        return _typed(name, wanted, v.as_dictionary(data), _number_type(data))
    if wanted == "boolean":
        flags = v.to_floats(data)
        odd = {
            int(row): f"{flags[row]:g}"
            for row in np.flatnonzero(~np.isnan(flags) & (flags != 0) & (flags != 1))
        }
        array = pa.array(
            flags == 1, mask=np.isnan(flags) | np.isin(np.arange(len(flags)), list(odd))
        )
        return _typed(name, "boolean", array, _number_type(data), bad=odd)
    if wanted == "datetime":
        raise DataError(
            f"Column {name!r} holds plain numbers: it cannot be read as dates.",
            "Turn it into dates before, or read it as numeric.",
        )
    if pa.types.is_integer(data.type):
        return _typed(name, "numeric", data, "integer", _numbers_reason(data))
    floats = v.to_floats(data)
    bad: dict[int, str] = {}
    if np.isinf(floats).any():
        bad = {int(row): f"{floats[row]:g}" for row in np.flatnonzero(np.isinf(floats))}
        floats = np.where(np.isinf(floats), np.nan, floats)
        data = v.from_floats(floats)
    elif np.isnan(floats).sum() > data.null_count:  # a NaN is a missing value too
        data = v.from_floats(floats)
    whole = _is_whole(floats)
    return _typed(
        name,
        "numeric",
        data,
        "integer" if whole else "float",
        _numbers_reason(data) if whole else "numbers",
        bad=bad,
    )


def _is_whole(floats: np.ndarray) -> bool:
    """Whole numbers that a float64 holds exactly? Looks at a few before all."""
    for part in (floats[:1000], floats):
        given = part[~np.isnan(part)]
        if not (given == np.rint(given)).all():
            return False
    return bool(len(given)) and float(np.abs(given).max()) < 2**53


def _number_type(data: pa.ChunkedArray) -> Values:
    if pa.types.is_integer(data.type):
        return "integer"
    return "integer" if _is_whole(v.to_floats(data)) else "float"


def _numbers_reason(data: pa.ChunkedArray) -> str:
    if data.null_count == len(data):
        return "numbers"
    span = pc.min_max(data).as_py()
    low, high = span["min"], span["max"]
    if low is not None and high - low < 1000:
        count = pc.count_distinct(data, mode="only_valid").as_py() if len(data) <= 100_000 else None
        few = count if count is not None else _few(data, int(low))
        if few <= 20:
            return (
                f"whole numbers with {few} different values, taken as quantities because their "
                "order may matter (kind 'categorical' would ignore it)"
            )
    return "whole numbers"


def _few(data: pa.ChunkedArray, low: int) -> int:
    floats = v.to_floats(data)
    return int(np.count_nonzero(np.bincount((floats[~np.isnan(floats)] - low).astype(np.int64))))


def _from_flags(name: str, data: pa.ChunkedArray, wanted: Kind | None) -> Typed:
    if wanted in ("categorical", "text"):
        return _typed(name, wanted, v.as_dictionary(data), "boolean")
    if wanted == "numeric":
        return _typed(name, "numeric", data.cast(pa.int8()), "boolean")
    if wanted == "datetime":
        raise DataError(
            f"Column {name!r} holds true and false: it cannot be read as dates.",
            "Read it as boolean.",
        )
    return _typed(name, "boolean", data, "boolean", "true or false")


def _from_moments(name: str, data: pa.ChunkedArray, wanted: Kind | None) -> Typed:
    if wanted in ("categorical", "text"):
        return _typed(name, wanted, v.as_dictionary(data), "datetime")
    if wanted in ("numeric", "boolean"):
        raise DataError(
            f"Column {name!r} holds dates: it cannot be read as {wanted}.",
            "Read it as datetime, or as categorical.",
        )
    data = data.cast(pa.int64())
    moments = v.to_microseconds(data)
    odd = data.is_valid().to_numpy() & ((moments < _FIRST_MOMENT) | (moments > _LAST_MOMENT))
    bad = {int(row): f"{moments[row]} microseconds since 1970" for row in np.flatnonzero(odd)}
    if bad:  # years that the calendar does not have, such as a database's 'infinity'
        data = pc.if_else(pa.array(odd), pa.scalar(None, pa.int64()), data)
    return _typed(name, "datetime", data, "datetime", "dates", bad=bad)


def _from_text(
    name: str,
    data: pa.DictionaryArray,
    wanted: Kind | None,
    known: Column | None,
    missing: tuple[str, ...] | None,
) -> Typed:
    tokens = MISSING_NUMBERS if missing is None else missing
    if missing is not None:
        data = _blank(data, set(missing))
    counts = np.bincount(
        data.indices.drop_null().to_numpy(zero_copy_only=False), minlength=len(data.dictionary)
    )
    words: list[str] = data.dictionary.to_pylist()
    if wanted in ("categorical", "text"):
        return _typed(name, wanted, data, known.values if known else "string")
    if not counts.sum() and wanted is None:
        return _typed(name, "categorical", data, "string")
    if wanted == "numeric" or (wanted is None and not any(v.is_code(word) for word in words)):
        parsed = np.array([v.parse_number(word, tokens) for word in words], np.float64)
        given = counts[~np.isnan(parsed)].sum()
        bad = counts[parsed == v.BAD].sum()
        if wanted == "numeric" or (given and bad <= (1 - NUMBER_SHARE) * given):
            return _text_numbers(name, data, parsed)
    if wanted == "boolean" or (wanted is None and {word.lower() for word in words} <= set(v.TRUTH)):
        known_words = {"1": True, "0": False, **v.TRUTH}
        flags = np.array([known_words.get(word.strip().lower(), -1) for word in words], np.int8)
        spread = v.map_codes(data.indices, flags, -2)
        odd = {
            int(row): words[data.indices[int(row)].as_py()] for row in np.flatnonzero(spread == -1)
        }
        return _typed(
            name,
            "boolean",
            pa.array(spread == 1, mask=spread < 0),
            "boolean",
            "true or false",
            bad=odd,
        )
    dates = {
        word: count
        for word, count in zip(words, counts.tolist(), strict=True)
        if count and word.strip() not in tokens
    }
    form = known.format if known else None
    if form is None and known is None:
        form = v.find_date_format(dates, NUMBER_SHARE, dates.values())
    elif form is None:
        # A row to predict must not refuse the others, nor they say whether 02/01 is in January.
        form = v.find_date_format(dates, 0.5, dates.values(), v.CLEAR_FORMATS) or "iso"
    if wanted == "datetime" or (wanted is None and form is not None):
        if form is None:
            raise DataError(
                f"Column {name!r} cannot be read as dates: {shorten(words[0]) if words else ''!r} "
                "is in no format that is known.",
                "Write dates as 2026-01-31 or 2026-01-31 12:00:00, or read the column as text.",
            )
        return _text_dates(name, data, form, tokens)
    typed = _text_words(name, data, counts, words)
    hints = _hints([word for word in dates if word.strip()], words if missing is None else ())
    return replace(
        typed, column=replace(typed.column, reason="; ".join([typed.column.reason, *hints]))
    )


def _hints(words: Sequence[str], unasked: Sequence[str]) -> list[str]:
    """Say what texts look as if they were meant to be, so that it can be put right.

    Args:
        words: Different texts that are no missing ones.
        unasked: All texts, where nobody has said which mean missing.
    """
    said = []
    sample = words[:HINT_WORDS]
    numbers = [word for word in sample if _NUMERIC.fullmatch(word.strip())]
    if 2 * len(numbers) > len(sample):
        written = next((word for word in numbers if v.parse_number(word, ()) == v.BAD), None)
        other = next((word for word in words if not _NUMERIC.fullmatch(word.strip())), None)
        if written is not None:
            said.append(
                f"they look like numbers, such as {shorten(written, 30)!r}: written as 1234.5 they would "
                "count as such"
            )
        elif other is not None and not any(v.is_code(word) for word in sample):
            said.append(
                f"most are numbers, but some are no numbers, such as {shorten(other, 30)!r}: if that means "
                "missing, name it as that (--missing)"
            )
    formats: dict[str, str] = {}
    for word in sample:
        if (form := v.find_date_format([word], 1.0)) is None:
            break
        formats.setdefault(form, word)
    else:
        if len(formats) > 1:
            few = " and ".join(repr(shorten(word, 30)) for word in list(formats.values())[:2])
            said.append(
                f"they look like dates in several formats, such as {few}: written in one they would "
                "count as dates"
            )
    nothing = [word for word in unasked if word.strip() in MISSING_NUMBERS]
    if nothing:
        said.append(
            f"{nothing[0]!r} is one of them: if it means missing, name it as that (--missing)"
        )
    return said


def _blank(data: pa.DictionaryArray, missing: set[str]) -> pa.DictionaryArray:
    """Make the given texts null, and forget them."""
    words = data.dictionary.to_pylist()
    gone = [word for word in words if word in missing or word.strip() in missing]
    if not gone:
        return data
    kept = [word for word in words if word not in set(gone)]
    moved = np.full(len(words), -1, np.int32)
    moved[[number for number, word in enumerate(words) if word not in set(gone)]] = np.arange(
        len(kept)
    )
    codes = v.map_codes(data.indices, moved, -1)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), pa.array(kept, pa.string())
    )


def _text_numbers(name: str, data: pa.DictionaryArray, parsed: np.ndarray) -> Typed:
    floats = v.map_codes(data.indices, parsed, np.nan)
    bad_rows = np.flatnonzero(floats == v.BAD)
    bad = {int(row): data[int(row)].as_py() for row in bad_rows}
    floats[bad_rows] = np.nan
    array = v.from_floats(floats)
    whole = _is_whole(floats)
    reason = _numbers_reason(array) if whole else "numbers"
    return _typed(name, "numeric", array, "integer" if whole else "float", reason, bad=bad)


def _text_dates(name: str, data: pa.DictionaryArray, form: str, tokens: Sequence[str]) -> Typed:
    def read(word: str) -> int:
        return 0 if not word.strip() or word.strip() in tokens else v.parse_date(word, form)

    moments = v.map_words(data, read, np.int64, 0)
    empty = v.map_words(data, lambda word: not word.strip() or word.strip() in tokens, bool, True)
    odd = moments == v.BAD_DATE
    bad = {int(row): data[int(row)].as_py() for row in np.flatnonzero(odd)}
    how = "dates" if form == "iso" else f"dates written as {form}"
    if form.startswith("%m/%d"):
        how += " (month first; day-first dates would be read wrongly, so write them 2026-01-31)"
    return _typed(
        name, "datetime", pa.array(moments, mask=empty | odd), "datetime", how, bad=bad, form=form
    )


def _text_words(name: str, data: pa.DictionaryArray, counts: np.ndarray, words: list[str]) -> Typed:
    rows, distinct = int(counts.sum()), int((counts > 0).sum())
    sample = words[:1000]
    length = sum(len(word.split()) for word in sample) / max(len(sample), 1)
    if rows >= IDENTIFIER_ROWS and distinct > 0.5 * rows:
        if length >= 3:
            return _typed(name, "text", data, "string", f"text of some {length:.0f} words")
        if distinct == rows:
            reason = "every value is different: an identifier"
            return _typed(name, "categorical", data, "string", reason, "ignored")
        return _typed(
            name, "text", data, "string",
            f"text, {distinct:,} different values in {rows:,} rows; if it only names the row, drop it",
        )  # fmt: skip
    if length >= 4 and distinct > 0.1 * rows and rows >= IDENTIFIER_ROWS:
        return _typed(name, "text", data, "string", f"text of some {length:.0f} words")
    reason = f"text with {counted(distinct, 'different value')}"
    if any(v.is_code(word) for word in sample):
        code = next(word for word in sample if v.is_code(word))
        reason = (
            f"codes with leading zeros, such as {shorten(code, 20)}, {distinct:,} different values"
        )
    return _typed(name, "categorical", data, "string", reason)


# ------------------------------------------------------------- roles


def _role(typed: Typed) -> Column:
    """Ignore what cannot help: nothing in it, one value in it, or a count of the rows."""
    column, data = typed.column, typed.data
    if column.role == "ignored":
        return column
    rows = len(data) - data.null_count
    if rows == 0:
        return replace(column, role="ignored", reason="all values are missing")
    if data.null_count == 0 and len(data) > 1 and _is_constant(data):
        value = shorten(str(data[0].as_py()), 30)
        return replace(column, role="ignored", reason=f"one value in every row: {value}")
    if column.kind == "numeric" and column.values == "integer" and rows >= IDENTIFIER_ROWS:
        reason = _counts_rows(column.name, v.to_floats(data))
        if reason:
            return replace(column, role="ignored", reason=reason)
    return column


def _is_constant(data: pa.ChunkedArray) -> bool:
    """One value in every row? The first rows mostly tell, so they are asked first."""
    if pa.types.is_dictionary(data.type):
        data = pa.chunked_array([data.chunk(0).indices])
    return all(len(pc.unique(part)) == 1 for part in (data[:100], data))


def _counts_rows(name: str, floats: np.ndarray) -> str | None:
    if np.isnan(floats).any():
        return None
    as_many = floats.max() - floats.min() + 1 == len(floats)
    if not as_many and not _ID_NAME.search(name):
        return None
    different = len(np.unique(floats)) == len(floats)
    if as_many and different:
        return "counts the rows one by one: an identifier"
    if different:
        return "whole numbers, every one different, and a name such as an identifier has"
    return None


def check_kinds(kinds: object) -> None:
    """Refuse kinds that do not exist.

    Raises:
        OptionError: An unknown kind, with the ones there are.
    """
    from sightline.contracts import KINDS
    from sightline.errors import did_you_mean

    if not isinstance(kinds, Mapping):
        raise OptionError(f"kinds is {kinds!r}.", "Give a dict such as {'zip': 'categorical'}.")
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise OptionError(
                f"Column {name!r} cannot be of kind {kind!r}.",
                did_you_mean(str(kind), KINDS, "kinds"),
            )
