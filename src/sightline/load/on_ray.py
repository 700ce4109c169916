"""Ray: connect to a cluster, and apply functions to parts of a table in its processes with Ray Data (extra `ray`)."""

from __future__ import annotations

import importlib
import logging
import math
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sightline.contracts.engines import Ray
from sightline.errors import InternalError, OptionError, UserError
from sightline.load.large import LargeTable
from sightline.load.pieces import Part
from sightline.load.places import Places
from sightline.load.table import Table

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def started(engine: Ray) -> Iterator[Any]:
    """Connect to a Ray cluster, or start Ray on this machine; end what was begun here at the end.

    Args:
        engine: Which cluster. A connection that exists already is used.

    Yields:
        The module `ray`.

    Raises:
        OptionError: The extra `ray` is not installed, no cluster answers, or this machine has too few GPUs.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise OptionError(
            "The engine ray needs Ray, which is not installed.",
            'Install it: pip install "sightline[ray]".',
        ) from None
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault(
        "RAY_USAGE_STATS_ENABLED", "0"
    )  # Ray would report its use over the network
    address = engine.address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {}
    if address == "local":
        # A training reserves the processors of its workers; more are needed to start it at all.
        needed = math.ceil(engine.most_workers * engine.cpus) + 1
        own = {"num_cpus": max(os.cpu_count() or 1, needed), "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        said = str(error).strip().split("\n")[0].rstrip(".")
        raise OptionError(
            f"The Ray cluster {address!r} cannot be used: {said}.",
            "Start one (ray start --head) and give its address (RAY_ADDRESS), or give none: then Ray is started here.",
        ) from error
    try:
        if address == "local" and (missing := lacking(ray, engine)):
            raise OptionError(
                f"{missing} on this machine.",
                "Give the address of a cluster (RAY_ADDRESS), or fewer.",
            )
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def own_deprecations_hidden() -> Iterator[None]:
    """Hide what Ray says of its own deprecated options, which it reads itself when it copies them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
        yield


def lacking(ray: Any, engine: Ray) -> str | None:
    """Say which processors or GPUs of the workers a cluster does not have now; None if it has all."""
    least = engine.workers[0] if isinstance(engine.workers, tuple) else engine.workers
    there = ray.cluster_resources()
    for name, word, each in (("CPU", "processors", engine.cpus), ("GPU", "GPUs", engine.gpus)):
        if least * each > (has := there.get(name, 0)):
            return f"The workers need {least * each:g} {word}, and Ray has {has:g}"
    return None


def processes_of_a_machine(ray: Any, engine: Ray) -> int:
    """Return how many workers one machine may have, at most, with the process that reads the table."""
    machines: int = sum(node["Alive"] for node in ray.nodes())
    return math.ceil(engine.most_workers / max(machines, 1)) + 1


def spread(
    engine: Ray,
    function: Callable[[Item], Iterator[Result]],
    items: Sequence[Item],
    modules: Sequence[ModuleType] = (),
) -> Iterator[Result]:
    """Apply a function to items in the processes of a cluster, with Ray Data.

    A process that is lost is replaced, and its items are done again.

    Args:
        engine: The cluster, to which `started` has connected.
        function: Yields results for an item.
        items: The items.
        modules: Modules that the other processes cannot import; they get their contents.

    Yields:
        The results, in the order of the items.

    Raises:
        UserError: What the function raised.
    """
    if not items:
        return
    ray = importlib.import_module("ray")
    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    pickle = ray.cloudpickle
    for module in modules:
        pickle.register_pickle_by_value(module)
    try:
        sent = ray.put(pickle.dumps(function))
        rows = [{"item": pickle.dumps(item)} for item in items]
    finally:
        for module in modules:
            pickle.unregister_pickle_by_value(module)
    with own_deprecations_hidden():
        found = data.from_items(rows, override_num_blocks=len(rows)).flat_map(
            _apply, fn_kwargs={"sent": sent}, num_cpus=engine.cpus,
            compute=data.TaskPoolStrategy(size=min(engine.most_workers, len(rows))),
        )  # fmt: skip
        found.context.execution_options.preserve_order = True
        found.context.enable_progress_bars = found.context.print_on_execution_start = False
        results = iter(found.iter_rows())
    while True:
        with own_deprecations_hidden():
            row = next(results, None)
        if row is None:
            return
        done, result = pickle.loads(row["result"])
        if not done:
            raise result
        yield result


def _apply(row: dict[str, bytes], sent: Any) -> Iterator[dict[str, bytes]]:
    """Apply the function to an item in a process of the cluster."""
    pickle = importlib.import_module("ray").cloudpickle
    try:
        for result in _function(sent)(pickle.loads(row["item"])):
            yield {"result": pickle.dumps((True, result))}
    except (UserError, InternalError) as error:  # Ray would try again, and wrap it
        yield {"result": pickle.dumps((False, error))}


@lru_cache(maxsize=1)
def _function(sent: Any) -> Callable[[Any], Iterator[Any]]:
    """Return the function; a process reads it once for all its items."""
    ray = importlib.import_module("ray")
    function: Callable[[Any], Iterator[Any]] = ray.cloudpickle.loads(ray.get(sent))
    return function


class RayPieces:
    """Applies functions to the pieces of a table larger than memory with Ray Data: a `sightline.load.large.Spread`.

    Args:
        engine: The cluster, to which `started` has connected.
        folder: Where temporary files are, on a disk that all machines share.
    """

    def __init__(self, engine: Ray, folder: Path) -> None:
        self.engine, self.folder = engine, folder

    def __call__(
        self, table: LargeTable, function: Callable[[Places, Table], Result], names: Collection[str], places: Places
    ) -> Iterator[Result]:  # fmt: skip
        """Do what `LargeTable.each` does: each row group of Parquet files is read where a processor is free."""
        items, start, trained = [], 0, 0
        for part in table.parts():
            own = places.cut(start, part.rows, trained)
            items.append((replace(part, source=str(Path(str(part.source)).absolute())), own))
            start, trained = start + part.rows, trained + len(own.train)
        table.check_rows(start)
        light = replace(table, sample=replace(table.sample, columns={}, rows=0))
        yield from spread(self.engine, partial(_pieces, light, function, list(names)), items)


def _pieces(
    table: LargeTable,
    function: Callable[[Places, Table], Result],
    names: list[str],
    item: tuple[Part, Places],
) -> Iterator[Result]:
    part, places = item
    for own, piece in table.placed(names, places, part):
        yield function(own, piece)
