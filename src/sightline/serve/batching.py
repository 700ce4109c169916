"""Requests that wait are computed together, on a thread beside the one that talks to clients.

There is no waiting for a batch to fill: when the thread is free it takes what is there. An idle server so answers at
once, and a busy one computes large batches.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from sightline.serve.errors import Refused
from sightline.serve.metrics import Metrics
from sightline.serve.model import Computed, EncodedRows, Served


@dataclass(eq=False)
class Waiting:
    """A request's rows, on their way to the thread and back."""

    served: Served
    rows: EncodedRows
    deadline: float
    answer: asyncio.Future[Computed]


class Batcher:
    """The thread, and the queue before it.

    Args:
        batch_rows: Rows that are computed together, at most, unless one request has more.
        queue: Requests that wait, at most.
        metrics: Counts batches and rows.
    """

    def __init__(self, batch_rows: int, queue: int, metrics: Metrics) -> None:
        self.batch_rows, self.limit, self.metrics = batch_rows, queue, metrics
        self._queue: deque[Waiting] = deque()
        self._filled = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    async def compute(self, served: Served, rows: EncodedRows, deadline: float) -> Computed:
        """Compute the rows of a request.

        Args:
            served: The model.
            rows: Its encoded rows.
            deadline: By `time.monotonic`, when the client must have an answer.

        Raises:
            Refused: Too many requests wait (503), or the deadline passes (504).
        """
        loop = asyncio.get_running_loop()
        waiting = Waiting(served, rows, deadline, loop.create_future())
        with self._filled:
            if len(self._queue) >= self.limit:
                raise Refused(
                    503, f"{self.limit:,} requests wait already. Try again later.", "queue full", {"Retry-After": "1"}
                )  # fmt: skip
            self._queue.append(waiting)
            self.metrics.queue.set(len(self._queue))
            self._filled.notify()
        late = loop.call_later(max(0.0, deadline - time.monotonic()), _expire, waiting.answer)
        try:
            return await waiting.answer
        finally:
            late.cancel()

    def _run(self) -> None:
        while True:
            with self._filled:
                while not self._queue:
                    self._filled.wait()
                batch = self._take()
                self.metrics.queue.set(len(self._queue))
            if batch:
                self._answer(batch)

    def _take(self) -> list[Waiting]:
        """Take the requests of one model from the front of the queue, without those that are too late."""
        batch: list[Waiting] = []
        rows, now = 0, time.monotonic()
        while self._queue:
            first = self._queue[0]
            if first.answer.done() or first.deadline <= now:
                self._queue.popleft()  # its timer answers it
                continue
            size = len(first.rows.numbers)
            if batch and (first.served is not batch[0].served or rows + size > self.batch_rows):
                break
            batch.append(self._queue.popleft())
            rows += size
        return batch

    def _answer(self, batch: list[Waiting]) -> None:
        served = batch[0].served
        try:
            found: list[Computed | BaseException] = list(computed(served, batch, self.metrics))
        except Exception as error:  # noqa: BLE001 - every request of the batch gets it, and is answered with 500
            found = [error] * len(batch)
        loop = batch[0].answer.get_loop()
        loop.call_soon_threadsafe(_deliver, batch, found)


def computed(served: Served, batch: list[Waiting], metrics: Metrics) -> list[Computed]:
    """Compute the rows of some requests of one model together."""
    numbers = np.concatenate([waiting.rows.numbers for waiting in batch])
    codes = np.concatenate([waiting.rows.codes for waiting in batch])
    values = served.compute(EncodedRows(numbers, codes))
    marks = served.finder.marks(numbers, codes)
    metrics.batch(served, marks)
    found, start = [], 0
    unusual = any(mark.any() for mark in marks)
    for waiting in batch:
        rows = slice(start, start + len(waiting.rows.numbers))
        start = rows.stop
        counts = served.finder.counts(marks, rows) if unusual else ({}, {}, {})
        found.append(Computed(values[rows], *counts))
    return found


def _deliver(batch: list[Waiting], found: list[Computed | BaseException]) -> None:
    for waiting, one in zip(batch, found, strict=True):
        if waiting.answer.done():
            continue
        if isinstance(one, BaseException):
            waiting.answer.set_exception(one)
        else:
            waiting.answer.set_result(one)


def _expire(answer: asyncio.Future[Computed]) -> None:
    if not answer.done():
        answer.set_exception(
            Refused(504, "The answer was not ready in time (--timeout).", "deadline")
        )
