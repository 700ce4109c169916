"""Process columns in parallel threads: they are independent, and numpy releases Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
FEW_ROWS = 50_000


def each_column(
    function: Callable[[Item], Result], columns: Iterable[Item], rows: int
) -> list[Result]:
    """Apply a function to each column, in threads if there are many rows.

    If several columns raise, the error of the first one in order is raised.

    Example:
        >>> from sightline.load.parallel import each_column
        >>> each_column(len, ["a", "bb"], rows=2)
        [1, 2]
    """
    if rows < FEW_ROWS:
        return [function(column) for column in columns]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, columns))
