"""Checks of option values; each raises an `OptionError` that names the option."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from sightline.errors import OptionError, did_you_mean

LARGEST_WHOLE = 2**63 - 1
LARGEST_SEED = 2**32 - 1


def plain_number(value: Any) -> Any:
    """Return a number of numpy's as one of Python's, and anything else as it is.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts.rules import plain_number
        >>> plain_number(np.int64(3)), plain_number("a")
        (3, 'a')
    """
    of_numpy = type(value).__module__ == "numpy" and not getattr(value, "shape", (1,))
    if isinstance(value, dict):
        return {plain_number(key): plain_number(item) for key, item in value.items()}
    return value.item() if of_numpy else value


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Refuse a setting that is not a whole number, or is too small.

    Raises:
        OptionError: It names the setting and the rule.

    Example:
        >>> from sightline.contracts.rules import check_whole
        >>> check_whole("epochs", 5)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} is {value!r}.", f"Give a whole number from {least} up.")
    if value > LARGEST_WHOLE:
        raise OptionError(
            f"{name} has {value.bit_length():,} binary digits.", "Give a number below 2 ** 63."
        )


UNITS = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.I)


def check_bytes(name: str, value: object) -> int:
    """Return a size in bytes, given as a whole number or as text with a unit.

    Raises:
        OptionError: It is neither; names the option.

    Example:
        >>> from sightline.contracts.rules import check_bytes
        >>> check_bytes("memory_limit", "1.5 GB"), check_bytes("memory_limit", 2_000_000)
        (1500000000, 2000000)
    """
    size: float = 0
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * UNITS.get(match[2].upper(), 0)
    elif isinstance(value, str) and value.strip().isdecimal():
        size = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if not 1 <= size <= LARGEST_WHOLE:
        raise OptionError(
            f"{name} is {value!r}.", "Give a size with its unit, such as 500MB, 1.5GB or 2GiB, or a number of bytes."
        )  # fmt: skip
    return int(size)


def check_seed(seed: object) -> None:
    """Refuse a seed that one of the random generators (split, weights, batches) cannot take.

    Raises:
        OptionError: It names the rule.

    Example:
        >>> from sightline.contracts.rules import check_seed
        >>> check_seed(0)
    """
    check_whole("seed", seed, least=0)
    if isinstance(seed, int) and seed > LARGEST_SEED:
        raise OptionError(f"seed is {seed}.", f"Give one below {LARGEST_SEED + 1:,}.")


def check_checkpoint_intervals(seconds: object, epochs: object) -> None:
    """Refuse invalid intervals between checkpoints.

    Raises:
        OptionError: It names the option and the rule.

    Example:
        >>> from sightline.contracts.rules import check_checkpoint_intervals
        >>> check_checkpoint_intervals(30.0, None)
    """
    if seconds is not None and not (isinstance(seconds, int | float) and 0 <= seconds < math.inf):
        raise OptionError(
            f"checkpoint_seconds is {seconds!r}.", "Give a number from 0 up, or None."
        )
    if epochs is not None and (
        isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1
    ):
        raise OptionError(f"checkpoint_epochs is {epochs!r}.", "Give a whole number from 1 up.")


def check_bool(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        OptionError: It names the option.

    Example:
        >>> from sightline.contracts.rules import check_bool
        >>> check_bool("report", True)
    """
    if not isinstance(value, bool):
        raise OptionError(f"{name} is {value!r}.", "Give True or False.")


def check_number(
    name: str, value: object, low: float, high: float, rule: str, above: bool = False
) -> None:
    """Refuse a value that is not a number from `low` up to, but not including, `high`.

    Args:
        name: The setting's name.
        value: The given value.
        low, high: The bounds.
        rule: The same in words, for the error.
        above: Whether `low` itself is refused too.

    Raises:
        OptionError: It names the setting and the rule.

    Example:
        >>> from sightline.contracts.rules import check_number
        >>> check_number("ema", 0.9, 0, 1, "from 0 up to, but not including, 1")
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high
    if not fits or (above and value == low):
        raise OptionError(f"{name} is {value!r}.", f"Give a number {rule}.")


def check_choice(name: str, value: object, choices: Sequence[str], own: bool = False) -> None:
    """Refuse a value that is not a choice; `own` allows a function of the user's too.

    Raises:
        OptionError: It names the setting and the choices.

    Example:
        >>> from sightline.contracts.rules import check_choice
        >>> check_choice("precision", "auto", ("auto", "float32"))
    """
    if isinstance(value, str) and value in choices:
        return
    if not (own and callable(value)):
        raise OptionError(
            f"{name} is {value!r}.", did_you_mean(str(value), choices, f"values of {name}")
        )


def check_signs(decimal: str | None, thousands: str | None) -> Literal[".", ","] | None:
    """Check the signs in numbers, and return the decimal sign that they mean.

    Args:
        decimal: "." or ","; None if it was not given.
        thousands: ".", ",", "'" or " "; None if it was not given.

    Raises:
        OptionError: Signs that do not exist, or that are the same.

    Example:
        >>> from sightline.contracts.rules import check_signs
        >>> check_signs(None, "."), check_signs(".", "'"), check_signs(None, " ")
        (',', '.', None)
    """
    if decimal is not None:
        check_choice("decimal", decimal, (".", ","))
    if thousands is not None:
        check_choice("thousands", thousands, (".", ",", "'", " "))
    if decimal is not None and decimal == thousands:
        raise OptionError(
            f"decimal and thousands are both {decimal!r}.",
            "Give two different signs, or one of them (--decimal, --thousands).",
        )
    if decimal is None and thousands in (".", ","):
        return "," if thousands == "." else "."
    return "," if decimal == "," else "." if decimal == "." else None
