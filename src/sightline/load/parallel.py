"""Process columns, or pieces of a table, in parallel threads: they are independent, and numpy releases Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

WAITING = 1
"""Pieces that wait beside those being processed."""
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


def each_piece(
    function: Callable[[Item], Result], pieces: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Apply a function to each piece in threads, while the next one is read; yield pieces and results in order.

    Few pieces are in memory: as many as there are processors, and one or two.

    Example:
        >>> from sightline.load.parallel import each_piece
        >>> list(each_piece(len, ["a", "bb"]))
        [('a', 1), ('bb', 2)]
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as threads:
        running: deque[tuple[Item, Future[Result]]] = deque()
        for piece in pieces:
            running.append((piece, threads.submit(function, piece)))
            if len(running) > workers + WAITING - 1:
                first, result = running.popleft()
                yield first, result.result()
        while running:
            first, result = running.popleft()
            yield first, result.result()
