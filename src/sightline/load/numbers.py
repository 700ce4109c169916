"""Numbers as people write them: decimal commas, thousands separators, currencies, per cent, (12.5).

How a column of texts writes its numbers is decided once, from all its values and from the other columns
of the table (`find_formats`), and kept as a `NumberFormat`; rows to predict are read by it too.

A text can be read in one way or in two:

| text | decimal point | decimal comma |
|---|---|---|
| `950`, `1 234`, `1'234` | yes | yes, the same number |
| `0.5`, `12.25`, `1,234.5`, `1'234.5` | yes | no |
| `0,5`, `12,25`, `1.234,5`, `1.234.567` | no | yes |
| `1.234` | 1.234 | 1234 |
| `1,234` | 1234 | 1.234 |

The last two are ambiguous. A point is the decimal sign unless something in the table speaks against it. Then
the columns that can be read in one way only decide for the others. If they do not, the table is refused with
both readings and the options that choose between them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sightline.contracts import NumberFormat
from sightline.contracts.rules import check_signs
from sightline.errors import DataError, shorten
from sightline.load.values import BAD, is_code, is_missing, parse_number

Decimal = Literal[".", ","]
Reading = Literal["both", ".", ",", "point?", "comma?", "none"]
"""What a text is: a number with either decimal sign, with one of them alone, ambiguous, or no number."""
NUMBER_SHARE = 0.99
"""A column is one of numbers if at least this share of its cells are; the rest are bad rows."""
PROBE = 200
"""Unique texts that are looked at before all of them are."""
POINT, COMMA = NumberFormat("."), NumberFormat(",")

# ISO 4217, and currencies that the euro replaced. A code beside a number is a currency; other words are not.
CURRENCIES = frozenset(
    [
        "AED",
        "AFN",
        "ALL",
        "AMD",
        "ANG",
        "AOA",
        "ARS",
        "AUD",
        "AWG",
        "AZN",
        "BAM",
        "BBD",
        "BDT",
        "BGN",
        "BHD",
        "BIF",
        "BMD",
        "BND",
        "BOB",
        "BRL",
        "BSD",
        "BTN",
        "BWP",
        "BYN",
        "BZD",
        "CAD",
        "CDF",
        "CHF",
        "CLP",
        "CNY",
        "COP",
        "CRC",
        "CUP",
        "CVE",
        "CZK",
        "DJF",
        "DKK",
        "DOP",
        "DZD",
        "EGP",
        "ERN",
        "ETB",
        "EUR",
        "FJD",
        "FKP",
        "GBP",
        "GEL",
        "GHS",
        "GIP",
        "GMD",
        "GNF",
        "GTQ",
        "GYD",
        "HKD",
        "HNL",
        "HRK",
        "HTG",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "IQD",
        "IRR",
        "ISK",
        "JMD",
        "JOD",
        "JPY",
        "KES",
        "KGS",
        "KHR",
        "KMF",
        "KPW",
        "KRW",
        "KWD",
        "KYD",
        "KZT",
        "LAK",
        "LBP",
        "LKR",
        "LRD",
        "LSL",
        "LYD",
        "MAD",
        "MDL",
        "MGA",
        "MKD",
        "MMK",
        "MNT",
        "MOP",
        "MRU",
        "MUR",
        "MVR",
        "MWK",
        "MXN",
        "MYR",
        "MZN",
        "NAD",
        "NGN",
        "NIO",
        "NOK",
        "NPR",
        "NZD",
        "OMR",
        "PAB",
        "PEN",
        "PGK",
        "PHP",
        "PKR",
        "PLN",
        "PYG",
        "QAR",
        "RON",
        "RSD",
        "RUB",
        "RWF",
        "SAR",
        "SBD",
        "SCR",
        "SDG",
        "SEK",
        "SGD",
        "SHP",
        "SLE",
        "SOS",
        "SRD",
        "SSP",
        "STN",
        "SVC",
        "SYP",
        "SZL",
        "THB",
        "TJS",
        "TMT",
        "TND",
        "TOP",
        "TRY",
        "TTD",
        "TWD",
        "TZS",
        "UAH",
        "UGX",
        "USD",
        "UYU",
        "UZS",
        "VES",
        "VND",
        "VUV",
        "WST",
        "XAF",
        "XCD",
        "XOF",
        "XPF",
        "YER",
        "ZAR",
        "ZMW",
        "ATS",
        "DEM",
        "ESP",
        "FRF",
        "ITL",
    ]
)
_SYMBOLS = r"(?:US|CA|AU|NZ|HK|SG|R|C|A)?[$€£¥₹₽₩₺₴₪₫₱₦₡₲₵₸₼₾₿]|S?Fr\.?|kr\.?|zł|Kč|Ft"
_TEXT = re.compile(
    rf"""
    (?P<open>\()?\ *(?P<sign>[+-])?\ *(?P<before>{_SYMBOLS}|[A-Z]{{3}}|%)?\ *(?P<inner>[+-])?\ *
    (?P<body>[0-9](?:[0-9.,'\ ]*[0-9.,])?|[.,][0-9]+)(?P<exponent>[eE][+-]?[0-9]+)?
    \ *(?P<trailing>-)?\ *(?P<after>{_SYMBOLS}|[A-Z]{{3}}|%)?\ *(?P<last>-)?\ *(?P<close>\))?
    """,
    re.VERBOSE,
)
_BODY = {
    decimal: re.compile(
        rf"(?:[1-9][0-9]{{0,2}}(?:(?P<group>[{other}' ])[0-9]{{3}})(?:(?P=group)[0-9]{{3}})*|[0-9]+)"
        rf"(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+"
    )
    for decimal, other in ((".", ","), (",", "."))
}
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u202f\u2009\u2007\u2008\u200a\u2002\u2003\u3000", " "),
        **dict.fromkeys("\u2019\u02bc\u00b4`", "'"),
        "\u2212": "-",
    }
)


class Words:
    """The unique texts of a column, and the rows of each, which are counted when they are first needed.

    Args:
        texts: The texts.
        count: Returns the rows of each, int64.

    Example:
        >>> from sightline.load.numbers import Words
        >>> Words.of(["7", "7", "8"]).rows.tolist()
        [2, 1]
    """

    def __init__(self, texts: pa.Array, count: Callable[[], np.ndarray]) -> None:
        self.texts, self._count = texts, count

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows of each text."""
        return self._count()

    @property
    def first(self) -> Self:
        """The first texts, each once."""
        texts = self.texts[:PROBE]
        return type(self)(texts, lambda: np.ones(len(texts), np.int64))

    @classmethod
    def of(cls, cells: Iterable[str]) -> Self:
        """Count texts."""
        counts = Counter(cells)
        return cls(
            pa.array(list(counts), pa.string()), lambda: np.array(list(counts.values()), np.int64)
        )


@dataclass(frozen=True)
class Written:
    """A text that is a number, taken apart.

    Attributes:
        body: Its digits and separators.
        exponent: Such as "e-3"; "" without one.
        negative: Whether it is below zero.
        accounting: "()" or "-" if it is written as (12.5) or 12.5-; else "".
        unit: A currency or "%"; "" without one.
    """

    body: str
    exponent: str
    negative: bool
    accounting: Literal["", "()", "-"]
    unit: str

    def fits(self, decimal: Decimal) -> bool:
        """Tell whether the body is a number with this decimal sign."""
        return _BODY[decimal].fullmatch(self.body) is not None

    @property
    def thousands(self) -> str:
        """The sign between groups of digits where that is certain; else ""."""
        signs = [sign for sign in self.body if not sign.isdigit()]
        sure = len(signs) > 1 or signs[:1] in (["'"], [" "])
        return signs[0] if sure else ""


def take_apart(text: str) -> Written | None:
    """Take a text apart; None if it is no number in any format.

    Example:
        >>> from sightline.load.numbers import take_apart
        >>> take_apart("(1.234,50 €)")
        Written(body='1.234,50', exponent='', negative=True, accounting='()', unit='€')
        >>> take_apart("12 kg") is None
        True
    """
    match = _TEXT.fullmatch(text.translate(_CHARACTERS).strip())
    if match is None:
        return None
    part = match.groupdict(default="")
    units = [unit for unit in (part["before"], part["after"]) if unit]
    signs = [s for s in (part["sign"], part["inner"], part["trailing"], part["last"]) if s]
    brackets = bool(part["open"])
    if len(units) > 1 or len(signs) + brackets > 1 or brackets != bool(part["close"]):
        return None
    unit = units[0] if units else ""
    if unit.isascii() and unit.isupper() and unit.isalpha() and unit not in CURRENCIES:
        return None
    behind = part["trailing"] or part["last"]
    accounting: Literal["", "()", "-"] = "()" if brackets else "-" if behind else ""
    return Written(part["body"], part["exponent"], brackets or "-" in signs, accounting, unit)


def reading_of(written: Written | None) -> Reading:
    """Tell with which decimal sign a text is a number.

    Example:
        >>> from sightline.load.numbers import reading_of, take_apart
        >>> [reading_of(take_apart(text)) for text in ("950", "0.5", "0,5", "1.234", "1,234", "1.2.3")]
        ['both', '.', ',', 'point?', 'comma?', 'none']
    """
    if written is None:
        return "none"
    point, comma = written.fits("."), written.fits(",")
    if point and comma:
        return "point?" if "." in written.body else "comma?" if "," in written.body else "both"
    return "." if point else "," if comma else "none"


def parse_formatted(text: str, number_format: NumberFormat, missing: Collection[str]) -> float:
    """Parse a number that is written in a format.

    Args:
        text: The cell's text.
        number_format: Of the column.
        missing: Texts that mean missing, beside the empty one.

    Returns:
        The number, of "12 %" 12; NaN if the text means missing; `BAD` if it is no number in this format.

    Example:
        >>> from sightline.contracts import NumberFormat
        >>> from sightline.load.numbers import parse_formatted
        >>> german = NumberFormat(",", ".", "€")
        >>> [parse_formatted(text, german, ()) for text in ("1.234,5 €", "-7", "1.5", "$3")]
        [1234.5, -7.0, inf, inf]
    """
    if is_missing(text, missing):
        return parse_number("", ())
    written = take_apart(text)
    if written is None or not written.fits(number_format.decimal):
        return BAD
    if written.unit not in ("", number_format.unit):
        return BAD
    if written.accounting and not number_format.accounting:
        return BAD
    other = "," if number_format.decimal == "." else "."
    digits = re.sub(rf"[{other}' ]", "", written.body).replace(",", ".")
    return parse_number(f"{'-' * written.negative}{digits}{written.exponent}", ())


# ------------------------------------------------------------- evidence


@dataclass
class Evidence:
    """How the texts of one column write numbers.

    Attributes:
        rows: The rows by `Reading`.
        examples: The first text of each `Reading`.
        units: The rows by unit.
        thousands: The rows by certain sign between groups of digits.
        accounting: The rows by the way in which numbers below zero are written: "()" or "-".
        brackets: The rows written as (12), without any other mark.
        codes: The texts that are codes, such as 007.
    """

    rows: Counter[Reading] = field(default_factory=Counter)
    examples: dict[Reading, str] = field(default_factory=dict)
    units: Counter[str] = field(default_factory=Counter)
    thousands: Counter[str] = field(default_factory=Counter)
    accounting: Counter[str] = field(default_factory=Counter)
    brackets: int = 0
    codes: int = 0

    @property
    def given(self) -> int:
        """The rows that are not missing."""
        return sum(self.rows.values())

    @property
    def looks_numeric(self) -> bool:
        """Whether more than half of the cells are numbers in some format, and none is a code."""
        return not self.codes and self.given > 0 and 2 * self.rows["none"] < self.given

    def share(self, *readings: Reading) -> float:
        """Return the share of the cells that have one of these readings."""
        return sum(self.rows[reading] for reading in readings) / max(self.given, 1)

    @property
    def units_agree(self) -> bool:
        """Whether there is one unit at most, and no per cent beside plain numbers."""
        if len(self.units) > 1:
            return False
        return self.units["%"] == 0 or self.units["%"] >= NUMBER_SHARE * self.given

    @property
    def numeric(self) -> bool:
        """Whether the column is one of numbers, whichever its decimal sign."""
        if not self.looks_numeric or not self.units_agree or self.brackets == self.given:
            return False
        return any(self.share(*fits) >= NUMBER_SHARE for fits in (_FITS["."], _FITS[","]))

    @property
    def decided(self) -> Decimal | None:
        """The decimal sign that the column's own values show; None if they fit both or neither."""
        if not self.numeric or bool(self.rows["."]) == bool(self.rows[","]):
            more = self.rows["."] - self.rows[","]
            return None if not self.numeric or not more else "." if more > 0 else ","
        return "." if self.rows["."] else ","

    @property
    def ambiguous(self) -> bool:
        """Whether the column's numbers depend on the decimal sign, and its own values do not show it."""
        return self.numeric and self.decided is None and self.share("point?", "comma?") > 0


_FITS: dict[str, tuple[Reading, ...]] = {
    ".": ("both", ".", "point?", "comma?"), ",": ("both", ",", "point?", "comma?"),
}  # fmt: skip


def look_at(words: Words, missing: Collection[str]) -> Evidence:
    """Count how the texts of a column write numbers.

    Args:
        words: The column's texts.
        missing: Texts that mean missing, beside the empty one.

    Returns:
        The evidence; of the first texts alone where these are no numbers.

    Example:
        >>> from sightline.load.numbers import Words, look_at
        >>> evidence = look_at(Words.of(["1.234,50 €", "1.234,50 €", "7 €"]), ())
        >>> evidence.decided, dict(evidence.units)
        (',', {'€': 3})
    """
    first = _count(words.first, missing)
    return _count(words, missing) if first.looks_numeric else first


_EASY: dict[Reading, str] = {
    "both": r"^[+-]?([1-9][0-9]*|0)$",
    ".": r"^[+-]?(0?\.[0-9]+|[0-9]+\.([0-9]{0,2}|[0-9]{4,})|[1-9][0-9]{3,}\.[0-9]{3}|0\.[0-9]{3})$",
    "point?": r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$",
}
"""Plain numbers, which are most of them, counted without taking each apart."""


def _count(words: Words, missing: Collection[str]) -> Evidence:
    evidence = Evidence()
    shapes: set[str] = set()
    others = np.asarray(words.rows > 0)
    for reading, pattern in _EASY.items():
        matches = pc.match_substring_regex(words.texts, pattern).to_numpy(zero_copy_only=False)
        matches &= others
        if matches.any():
            evidence.rows[reading] += int(words.rows[matches].sum())
            evidence.examples[reading] = words.texts[int(np.flatnonzero(matches)[0])].as_py()
        others &= ~matches
    for text, rows in zip(words.texts.filter(others).to_pylist(), words.rows[others].tolist(), strict=True):  # fmt: skip
        if is_missing(text, missing):
            continue
        written = take_apart(text)
        reading = reading_of(written)
        evidence.rows[reading] += rows
        evidence.examples.setdefault(reading, text)
        evidence.codes += is_code(text)
        if written is None or reading == "none":
            continue
        if written.unit:
            evidence.units[written.unit] += rows
        if written.thousands:
            evidence.thousands[written.thousands] += rows
            shapes.add(re.sub("[0-9]", "9", written.body))
        if written.accounting:
            evidence.accounting[written.accounting] += rows
        if written.accounting == "()" and written.body.isdigit() and not written.unit:
            evidence.brackets += rows
    if (
        evidence.thousands[" "] == evidence.given
        and len(shapes) == 1
        and shapes.pop()[:4] == "999 "
    ):
        evidence.codes = (
            evidence.given
        )  # 732 829 320 in each row is a number that somebody was given
    return evidence


# ------------------------------------------------------------- the decision


@dataclass(frozen=True)
class Texts:
    """What is known of the columns of a table before their kinds are.

    Attributes:
        words: By column of texts, its words.
        floats: Columns that a text file writes as plain numbers throughout.
        first: (columns) -> by column, its first cells; for `floats`.
        whole: (columns) -> by column, its words; for `floats`.
        delimiter: Of the text file; None for other sources.
    """

    words: Mapping[str, Words]
    floats: Collection[str] = ()
    first: Callable[[Collection[str]], Mapping[str, Iterable[str]]] = lambda _: {}
    whole: Callable[[Collection[str]], Mapping[str, Words]] = lambda _: {}
    delimiter: str | None = None


class Formats(NamedTuple):
    """How the columns of a table write their numbers.

    Attributes:
        of: By column, its format; columns of plain numbers are not in it.
        odd: By column whose values look like numbers and that is not one of numbers, why, in a sentence.
    """

    of: Mapping[str, NumberFormat]
    odd: Mapping[str, str]


def find_formats(
    texts: Texts,
    missing: Collection[str],
    *,
    decimal: str | None = None,
    thousands: str | None = None,
    requested: Collection[str] = (),
    name: str = "The table",
) -> Formats:
    """Decide how each column of a table writes its numbers.

    Args:
        texts: The columns.
        missing: Texts that mean missing, beside the empty one.
        decimal, thousands: The signs that the user gave; None decides by the values.
        requested: Columns that the user wants to be numbers.
        name: The table, for errors.

    Raises:
        OptionError: Signs that do not exist, or that are the same.
        DataError: Numbers with two readings between which nothing decides, or that do not fit the signs given.

    Example:
        >>> from sightline.load.numbers import Texts, Words, find_formats
        >>> words = {"a": Words.of(["950", "1.234"]), "b": Words.of(["0,5", "7"])}
        >>> find_formats(Texts(words), ()).of["a"].example
        '1.234,5'
    """
    wanted = check_signs(decimal, thousands)
    looked = {column: look_at(words, missing) for column, words in texts.words.items()}
    numeric = {
        column: evidence
        for column, evidence in looked.items()
        if evidence.numeric or (column in requested and evidence.looks_numeric)
    }
    against = any(
        evidence.decided == "," or evidence.thousands["'"] or evidence.thousands["."]
        for evidence in numeric.values()
    )
    commas = any(evidence.ambiguous and evidence.rows["comma?"] for evidence in numeric.values())
    plain: dict[str, Evidence] = {}
    if wanted == "," or against or commas or texts.delimiter == ";":
        for column, cells in texts.first(texts.floats).items():
            plain[column] = look_at(Words.of(cells), missing)
        unsure = [c for c, evidence in plain.items() if evidence.decided is None]
        plain |= {column: look_at(words, missing) for column, words in texts.whole(unsure).items()}
    everything = {**numeric, **plain}
    if wanted is None:
        wanted = _decided(everything.values())
        for column, evidence in everything.items():
            if evidence.ambiguous and wanted is None:
                _refuse_ambiguous(name, column, evidence, against, texts.delimiter)
    else:
        _refuse_other_sign(name, everything, wanted)
    made = {c: _format(evidence, wanted, thousands) for c, evidence in everything.items()}
    odd = {c: _why(e) for c, e in looked.items() if c not in numeric and e.looks_numeric}
    return Formats({c: written for c, written in made.items() if written is not None}, odd)


def _decided(columns: Iterable[Evidence]) -> Decimal | None:
    """Return the decimal sign of all columns that show one; None if there is none, or if both occur."""
    signs = {evidence.decided for evidence in columns} - {None}
    return signs.pop() if len(signs) == 1 else None


def _refuse_ambiguous(
    name: str, column: str, evidence: Evidence, against: bool, delimiter: str | None
) -> None:
    points, commas = evidence.rows["point?"], evidence.rows["comma?"]
    mixed = delimiter == ";" and points and evidence.rows["both"]
    if not commas and not against and not mixed:
        return  # a point is the decimal sign
    if not points and delimiter == ",":
        return  # in a file that separates cells by commas, they group digits
    text = evidence.examples["point?" if points else "comma?"]
    as_point, as_comma = (
        f"{parse_formatted(text, NumberFormat(sign, '', _unit(evidence), '-'), ()):.15g}"
        for sign in (".", ",")
    )
    raise DataError(
        f"{name}, column {column!r}: {shorten(text, 30)!r} may mean {as_point} or {as_comma}, and no other "
        "column shows which.",
        f"Say which sign separates the decimals: decimal='.' (--decimal .) for {as_point}, decimal=',' "
        f"(--decimal ,) for {as_comma}.",
    )


def _refuse_other_sign(name: str, columns: Mapping[str, Evidence], wanted: Decimal) -> None:
    for column, evidence in columns.items():
        if evidence.decided not in (None, wanted):
            text = evidence.examples[evidence.decided]
            raise DataError(
                f"{name}, column {column!r}: {shorten(text, 30)!r} is no number with {wanted!r} as the decimal "
                "sign.",
                "Leave out decimal= and thousands= (--decimal, --thousands) to have each column decided by its "
                "values, or read this column as another kind (kinds=, --kind).",
            )


def _unit(evidence: Evidence) -> str:
    return next(iter(evidence.units), "")


def _format(
    evidence: Evidence, wanted: Decimal | None, thousands: str | None
) -> NumberFormat | None:
    """Return the format of a column of numbers; None for plain ones."""
    decimal = evidence.decided or (wanted if evidence.ambiguous else None) or "."
    other = "," if decimal == "." else "."
    ambiguous = evidence.rows["comma?" if decimal == "." else "point?"]
    seen = [sign for sign, _ in evidence.thousands.most_common() if sign != decimal]
    sign = seen[0] if seen else other if ambiguous else ""
    if decimal == "." and not sign and not evidence.units and not evidence.accounting:
        return None
    accounting = next((way for way, _ in evidence.accounting.most_common(1)), "")
    return NumberFormat(decimal, thousands or sign, _unit(evidence), accounting)  # type: ignore[arg-type]


def _why(evidence: Evidence) -> str:
    """Say why a column whose values look like numbers is not one of numbers, and what to do."""
    examples = {reading: shorten(text, 30) for reading, text in evidence.examples.items()}
    if evidence.share("none") > 1 - NUMBER_SHARE:
        return (
            f"most are numbers, but some are not, such as {examples['none']!r}: if that means missing, declare "
            "it with missing= (--missing)"
        )
    if len(evidence.units) > 1:
        first, second = list(evidence.units)[:2]
        return f"they look like numbers, but some are in {first} and others in {second}: write them in one unit"
    if not evidence.units_agree:
        return "they look like numbers, but only some are per cent: write them in one unit"
    if evidence.brackets == evidence.given:
        return "all are whole numbers in brackets: without the brackets they are read as numbers"
    if "." in examples and "," in examples:
        return (
            f"they look like numbers, but the decimal sign of {examples['.']!r} is a point and that of "
            f"{examples[',']!r} a comma: write them with one"
        )
    return "they look like numbers, but are not written in one format: write them as 1234.5"
