"""Numbers and lists in a lesson's sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.contracts.schema import written
from sightline.errors import listed, shorten


def short(value: Any) -> str:
    """Write a number with three decimals, or as a whole number from 100 on.

    Example:
        >>> from sightline.lesson.wording import short
        >>> short(0.12345), short(1234.5), short("NaN")
        ('0.123', '1,234', 'nan')
    """
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def joined(parts: Sequence[str]) -> str:
    """Join parts with commas and "and".

    Example:
        >>> from sightline.lesson.wording import joined
        >>> joined(["a", "b", "c"]), joined([])
        ('a, b and c', 'none')
    """
    if len(parts) < 2:
        return parts[0] if parts else "none"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def names(values: Sequence[Any], most: int = 6) -> str:
    """List values, each cut to 30 characters.

    Example:
        >>> from sightline.lesson.wording import names
        >>> names(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    return listed([shorten(written(value), 30) for value in values], most)


def shown_classes(target: Mapping[str, Any]) -> Sequence[Any]:
    """Return the classes of a recorded target as the other records write them.

    Example:
        >>> from sightline.lesson.wording import shown_classes
        >>> shown_classes({"classes": [False, True], "names": ["NO", "YES"]})
        ['NO', 'YES']
    """
    classes: Sequence[Any] = target.get("names") or target["classes"]
    return classes
