"""Which results of stage 5 there is time for: what a time limit leaves out or shortens at the end of a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sightline.errors import counted, listed

WORDS = {"rows": "explained rows", "worst": "worst rows"}
"""What a result is called where the name of its record does not say it."""
UNITS = {"importance": "shuffle", "rows": "row"}
"""What is fewer in a shortened result."""
CLOSING_SECONDS = 0.8
"""The lesson, the model file and the report, which are always written, about."""


class InTime:
    """Says whether there is time for a result, and keeps what was left out or shortened.

    Args:
        left: Returns the seconds that are left of the time limit; None means no limit.
        first: Of a replay, the body of the first run's record "predict/time_limit": the same is left out and shortened,
            whatever the clock says; empty if nothing was. Else None.

    Attributes:
        left_out: What there was no time for.
        shortened: What was made smaller, and how large it is.

    Example:
        >>> from sightline.evaluate.in_time import InTime
        >>> in_time = InTime(lambda: 3.0)
        >>> in_time.allows("curves", 1.0), in_time.allows("rows", 9.0), in_time.at_most("importance", 5, 1.0)
        (True, False, 2)
        >>> in_time.body()["said"]
        'The time limit left no time for explained rows; shortened: importance (2 shuffles).'
    """

    def __init__(
        self, left: Callable[[], float] | None = None, first: Mapping[str, Any] | None = None
    ) -> None:
        self._left, self._first = left or (lambda: math.inf), first
        self.left_out: list[str] = []
        self.shortened: dict[str, int] = {}

    def is_limited(self) -> bool:
        """Return whether the clock decides: there is a limit, and this is no replay."""
        return self._first is None and math.isfinite(self._left())

    def allows(self, name: str, seconds: float) -> bool:
        """Return whether there is time for a result that takes about so many seconds."""
        return self.at_most(name, 1, seconds) == 1

    def at_most(self, name: str, wanted: int, seconds: float) -> int:
        """Return how many shuffles or rows of a result there is time for, at most as many as are wanted.

        Args:
            name: Of the result, such as "importance".
            wanted: How many, if there is time.
            seconds: Of each, about.
        """
        if self._first is not None:
            shortened = self._first.get("shortened", {}).get(name, wanted)
            count = 0 if name in self._first.get("left_out", ()) else int(shortened)
        else:
            left = self._left() - CLOSING_SECONDS
            count = wanted if left >= wanted * seconds else int(max(left, 0.0) / seconds)
        if count == 0:
            self.left_out.append(name)
        elif count < wanted:
            self.shortened[name] = count
        return count

    def body(self) -> dict[str, Any] | None:
        """Return the body of the record "predict/time_limit"; None if nothing was left out or shortened."""
        if not self.left_out and not self.shortened:
            return None
        parts = []
        if self.left_out:
            parts.append(
                f"left no time for {listed([WORDS.get(name, name) for name in self.left_out], 10)}"
            )
        if self.shortened:
            sizes = [
                f"{WORDS.get(name, name)} ({counted(size, UNITS[name])})"
                for name, size in self.shortened.items()
            ]
            parts.append(f"{'shortened: ' if self.left_out else 'shortened '}{listed(sizes, 10)}")
        return {
            "left_out": list(self.left_out), "shortened": dict(self.shortened),
            "said": f"The time limit {'; '.join(parts)}.",
        }  # fmt: skip
