"""What a server counts, for Prometheus; the sums over all processes.

`prometheus_client` (extra `serve`) keeps the numbers of each process in files of a folder that the environment
variable PROMETHEUS_MULTIPROC_DIR names when it is imported; so this module is imported only in processes of a server.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from sightline.prepare.unusual import Marks

if TYPE_CHECKING:
    from sightline.serve.model import Served

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Metrics:
    """The counters of one process.

    Attributes:
        queue: The number of requests that wait to be computed.
    """

    def __init__(self) -> None:
        own = CollectorRegistry()  # not the library's global one: a process may make several
        self._requests = Counter(
            "sightline_requests_total", "Answers.", ["endpoint", "status"], registry=own
        )
        self._errors = Counter(
            "sightline_errors_total", "Answers that are errors.", ["endpoint", "kind"], registry=own
        )
        self._seconds = Histogram(
            "sightline_request_seconds", "Time from the arrival of a request's head to the end of its answer.",
            ["endpoint"], buckets=SECONDS, registry=own,
        )  # fmt: skip
        self._batch = Histogram(
            "sightline_batch_rows", "Rows that were computed together.", buckets=ROWS, registry=own
        )
        self.queue = Gauge(
            "sightline_queue", "Requests that wait to be computed.", registry=own, multiprocess_mode="livesum"
        )  # fmt: skip
        self._rows = Counter(
            "sightline_rows_total", "Rows that were predicted.", ["model"], registry=own
        )
        self._marks = tuple(
            Counter(f"sightline_{name}_total", help_, ["model", "column"], registry=own)
            for name, help_ in (
                ("missing", "Rows without a value in a column."),
                ("unseen", "Rows whose value of a column was never seen in training."),
                ("out_of_range", "Rows whose value of a column lies outside its training range."),
            )
        )
        self._info = Gauge(
            "sightline_model_info", "1 for each model that is served.", ["model", "version", "engine", "sha256"],
            registry=own, multiprocess_mode="livemax",
        )  # fmt: skip
        self._requests_of = lru_cache(4096)(self._requests.labels)
        self._seconds_of = lru_cache(256)(self._seconds.labels)
        self._rows_of = lru_cache(256)(self._rows.labels)

    def request(self, endpoint: str, status: int, seconds: float, error: str | None) -> None:
        """Count an answer."""
        self._requests_of(endpoint, str(status)).inc()
        self._seconds_of(endpoint).observe(seconds)
        if error is not None:
            self._errors.labels(endpoint, error).inc()

    def batch(self, served: Served, marks: Marks) -> None:
        """Count rows that were computed together, and their unusual values."""
        rows = len(marks.missing)
        self._batch.observe(rows)
        self._rows_of(served.name).inc(rows)
        for counter, mark in zip(self._marks, marks, strict=True):
            if mark.any():
                found = mark.sum(axis=0)
                for place in np.flatnonzero(found).tolist():
                    counter.labels(served.name, served.finder.columns[place]).inc(int(found[place]))

    def serving(self, served: Served, now: bool) -> None:
        """Note that a model is served, or not any more."""
        labels = (served.name, served.version or "", served.engine, served.sha256[:12])
        self._info.labels(*labels).set(1 if now else 0)


def exposition() -> bytes:
    """Return the numbers of all processes in Prometheus's text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
