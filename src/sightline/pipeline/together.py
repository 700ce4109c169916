"""A run that several processes make together: what process 0 does besides, and what the others do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NoReturn

from sightline.contracts import FitOptions
from sightline.errors import OptionError, RunError
from sightline.load.databases import Query
from sightline.load.object_stores import Stored
from sightline.load.text_files import is_stream
from sightline.pipeline.beginnings import Handed
from sightline.pipeline.flow import Beginning, train_network
from sightline.pipeline.runner import signals_caught
from sightline.trace.records import (
    TRACE_FILE,
    being_written,
    busy,
    find,
    finite,
    read_records,
    taken,
)
from sightline.train.checkpoints import CHECKPOINTS_FOLDER
from sightline.train.processes import Processes, restarts

SHOWN = ("quiet", "live", "engine")


def check_together(source: Any, options: FitOptions, processes: Processes) -> None:
    """Refuse what several processes cannot do.

    Raises:
        OptionError: The rows of a query, a stream or an object store are read only once, or a file is watched.
    """
    if processes.size == 1:
        return
    stream = isinstance(source, str | Path) and is_stream(Path(source))
    if stream or isinstance(source, Query | Stored):
        raise OptionError(
            "Each of the processes reads all rows, and those of a query, a stream or an object store are read only once.",
            "Write them into a file first.",
        )
    if options.run.watch:
        raise OptionError(
            "watch=True (--watch) is for one process.", "Leave it out, or start one process."
        )


def goes_on(source: Any, options: FitOptions, processes: Processes) -> bool:
    """Return whether a fit that torchrun or Ray starts goes on with the run in its folder, which it began before.

    A run that was killed before its first checkpoint is removed, and begins anew.

    Raises:
        RunError: The folder holds something else than an interrupted run of this table with these options.
    """
    folder = Path(processes.run)
    if not processes.run or not folder.exists():
        return False
    if not (folder / TRACE_FILE).exists():
        if folder.is_dir() and not any(folder.iterdir()):
            return False
        raise taken(folder)
    records, _ = read_records(folder)
    again = restarts() > 0 or isinstance(source, Handed)  # Ray starts only what may go on
    source = source.source if isinstance(source, Handed) else source
    started, ended = find(records, "run", "start"), find(records, "run", "end")
    same = started and (_decisive(started[0].body["options"]), started[0].body["origin"]["source"]) == (
        _decisive(json.loads(json.dumps(finite(options.to_json())))),
        str(Path(source).absolute()) if isinstance(source, str | Path) else None,
    )  # fmt: skip
    if not same or (ended and not again):
        raise taken(folder)
    if being_written(folder):
        raise busy(folder)
    if any((folder / CHECKPOINTS_FOLDER).glob("step-*.checkpoint")):
        return True
    shutil.rmtree(folder)
    return False


def _decisive(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out what does not change a run: how it is shown, and which processes make it."""
    run = {name: value for name, value in options["run"].items() if name not in SHOWN}
    return {**options, "run": run}


def objects_of(source: Any, options: FitOptions) -> dict[str, Any]:
    """Return the table, network, optimizer and schedule of a fit that are objects, which a run does not keep."""
    given = {"source": source, "network": options.model.network}
    given |= {name: options.training.get(name) for name in ("optimizer", "schedule")}
    return {
        name: value for name, value in given.items() if not isinstance(value, str | Path | None)
    }


def follow(beginning: Beginning) -> NoReturn:
    """Train as another process than 0: nothing is written, and the process ends with the training.

    A signal is left to process 0, which ends the training for all with a checkpoint.

    Raises:
        SystemExit: The training has ended, or a signal has ended it.
    """
    with signals_caught() as signals:
        try:
            train_network(beginning)
        except RunError as error:
            if signals:  # process 0 has ended the training
                raise SystemExit(128 + signals[0]) from error
            raise
    raise SystemExit(0)
