"""The kinds of columns, and one table of what follows from each.

A new kind starts here: add it to `Kind`, and mypy lists every place that must handle it, because
each of them is a `match` that ends with `assert_never`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never, get_args

Kind = Literal["numeric", "categorical", "boolean", "datetime", "text"]
Storage = Literal["numbers", "flags", "moments", "words"]
Encoding = Literal["number", "codes", "date", "words"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class KindTraits:
    """What follows from a column's kind.

    Attributes:
        storage: How a table keeps the typed values, which is also the name of the method of
            `Table` that returns them: "numbers" (Arrow float64 or integers), "flags" (Arrow
            booleans), "moments" (int64 microseconds since 1970 UTC) or "words" (int32 codes of
            unique texts).
        encoding: How the encoder turns the values into network inputs: "number" as it is, "codes"
            by vocabulary, "date" as elapsed days and calendar parts, "words" as n-grams.
        valid: The name of a valid value in error messages.
        features: About how many network inputs one column becomes.
        ordered: Whether the values have a meaningful order.
    """

    storage: Storage
    encoding: Encoding
    valid: str
    features: int
    ordered: bool


def traits_of(kind: Kind) -> KindTraits:
    """Look a kind up in the table of kinds.

    Example:
        >>> from sightline.contracts import traits_of
        >>> traits_of("boolean").storage, traits_of("boolean").encoding
        ('flags', 'codes')
    """
    match kind:
        case "numeric":
            return KindTraits("numbers", "number", "finite number", 1, True)
        case "categorical":
            return KindTraits("words", "codes", "text", 1, False)
        case "boolean":
            return KindTraits("flags", "codes", "truth value", 1, False)
        case "datetime":
            return KindTraits("moments", "date", "date", 6, True)
        case "text":
            return KindTraits("words", "words", "text", 64, False)
        case _:
            assert_never(kind)
