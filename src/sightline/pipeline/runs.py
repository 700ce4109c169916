"""Make a run, and resume() one: the five stages with their beginnings and observers, in this process."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from sightline.build.networks import NetworkMaker
from sightline.contracts import (
    FitOptions,
    Record,
    RunOptions,
)
from sightline.contracts.arguments import names_checked
from sightline.load.databases import Query
from sightline.load.object_stores import Stored
from sightline.load.sources import as_source
from sightline.page.launch import live_page
from sightline.page.report import REPORT_FILE, write_report
from sightline.pipeline.beginnings import Fresh, Handed, Resumed
from sightline.pipeline.flow import Outcome, run_stages
from sightline.pipeline.folder import Run
from sightline.pipeline.observers import FitView, LivePageShown, RunFolder, StepsShown
from sightline.pipeline.recorder import Recorder
from sightline.pipeline.runner import Runner
from sightline.pipeline.spool import Spooled, refuse_secrets, spooled
from sightline.pipeline.together import check_together, follow, goes_on, objects_of
from sightline.pipeline.warm_start import WarmStart
from sightline.trace.records import Trace, being_written, busy, find, read_records, taken
from sightline.train.checkpoints import SavedCheckpoint, read_newest
from sightline.train.optimizers import OptimizerMaker
from sightline.train.processes import current
from sightline.views.notebook import NotebookView, in_kernel
from sightline.views.terminal import TerminalView


def make_run(
    source: Any, options: FitOptions, view: FitView | None = None, start: WarmStart | None = None
) -> Run:
    """Make a run as `sightline.fit` does, which describes what it raises.

    Args:
        source: As in `fit`; or a table that another process has read, split and prepared.
        options: Its other arguments.
        view: As in `fit`.
        start: What a warm start keeps of an earlier model; None draws the first weights.
    """
    handed = isinstance(source, Handed)
    source = as_source(source, options.read.query)
    refuse_secrets(options)
    processes = current()
    if processes.run:
        options = replace(options, run=replace(options.run, run=processes.run))
    asked = options.run
    if handed:  # the process that has read the table shows the run
        asked = replace(asked, live=False, quiet=True)
    check_together(source, options, processes)
    if processes.decide(lambda: goes_on(source, options, processes)):
        return resume(
            processes.run,
            live=asked.live,
            quiet=asked.quiet,
            view=view,
            **objects_of(source, options),
        )
    beginning = Fresh(source, options, start)
    beginning.folder = None if asked.run is None else Path(asked.run).parent
    if processes.rank:
        follow(beginning)
    with (
        nullcontext(Path(processes.run)) if handed else run_folder(source, asked.run) as folder,
        spooled(source, folder, asked.quiet) as beginning.source,
        live_page(folder, asked.live, asked.quiet) as show_page, recording(view, asked.quiet) as (trace, view),
    ):  # fmt: skip
        beginning.folder = folder.parent
        recorder = Recorder(trace, folder)
        runner = Runner(
            recorder, folder, beginning.edits, beginning.deadline, checkpoint_seconds=asked.checkpoint_seconds,
            checkpoint_epochs=asked.checkpoint_epochs, watch=beginning.watched,
        )  # fmt: skip
        data = beginning.source if isinstance(beginning.source, Spooled) else None
        folder_kept = RunFolder(folder, asked.report, data=data, keep_data=asked.keep_data)
        outcome = run_stages(beginning, [
            recorder, folder_kept, LivePageShown(show_page), runner, *steps_shown(view),
        ])  # fmt: skip
    return opened(folder, outcome)


@names_checked
def resume(
    run: str | Path,
    *,
    source: Any = None,
    network: nn.Module | NetworkMaker | str | None = None,
    optimizer: OptimizerMaker | None = None,
    schedule: Any = None,
    watch: str | None = None,
    checkpoint_seconds: float | Literal["as before"] | None = "as before",
    checkpoint_epochs: int | Literal["as before"] | None = "as before",
    live: bool = False,
    quiet: bool = False,
    view: FitView | None = None,
) -> Run:
    """Continue an interrupted fit; the result is bit for bit that of an uninterrupted one.

    Args:
        run: Its run folder. A complete run is returned unchanged.
        source: The table, if it was in memory.
        network: A network of your own whose source the run does not keep.
        optimizer, schedule: Your own, if the fit had any.
        watch: "file.py:Class" to reload whenever it is saved from now on.
        checkpoint_seconds, checkpoint_epochs: As in `fit`; "as before" takes what the fit was given.
        live, quiet, view: As in `fit`.

    Raises:
        RunError: The folder is not a run, the run was interrupted before training, or another process is
            training it.
        DataError: The table does not exist any more, or has changed.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> sl.resume(run.folder, quiet=True).metrics == run.metrics  # it was complete
        True
    """
    folder = Path(run)
    given = {"checkpoint_seconds": checkpoint_seconds, "checkpoint_epochs": checkpoint_epochs}
    given = {name: value for name, value in given.items() if value != "as before"}
    RunOptions(**given)  # type: ignore[arg-type]
    processes = current()
    records, saved = processes.decide(lambda: interrupted(folder))
    if saved is None:  # it is complete
        if processes.rank:
            raise SystemExit(0)
        return Run(folder, network=network)
    beginning = Resumed(
        folder, saved, records, source=source, network=network, optimizer=optimizer,
        schedule=schedule,
    )  # fmt: skip
    if processes.rank:
        follow(beginning)
    with (
        live_page(folder, live, quiet) as show_page,
        recording(view, quiet, folder, saved.more["records"]) as (trace, view),
    ):
        recorder = Recorder(trace, folder, resumed=True)
        asked = replace(beginning.decisions.options.run, **given)  # type: ignore[arg-type]
        runner = Runner(
            recorder, folder, beginning.edits, beginning.deadline, checkpoint_seconds=asked.checkpoint_seconds,
            checkpoint_epochs=asked.checkpoint_epochs, watch=watch,
        )  # fmt: skip
        kept = RunFolder(folder, asked.report, keep_data=asked.keep_data, resumed=True)
        outcome = run_stages(
            beginning, [recorder, kept, LivePageShown(show_page), runner, *steps_shown(view)]
        )
    return opened(folder, outcome)


def interrupted(folder: Path) -> tuple[list[Record], SavedCheckpoint | None]:
    """Return the records and the newest checkpoint of an interrupted run; of a complete one, None in its place."""
    records, _ = read_records(folder)
    if ended := find(records, "run", "end"):
        if ended[-1].body.get("report") and not (folder / REPORT_FILE).exists():
            write_report(folder)  # the process was killed just before it wrote it
        return records, None
    if being_written(folder):
        raise busy(folder)
    return records, read_newest(folder)


@contextmanager
def recording(
    view: FitView | None, quiet: bool, folder: Path | None = None, records: int = 0
) -> Iterator[tuple[Trace, FitView | None]]:
    """Open a trace, or continue one after this many records; close it on any exit."""
    view = view_of(view, quiet)
    views = [view] if view else []
    trace = Trace(views) if folder is None else Trace.resume(folder, records, views)
    if isinstance(view, NotebookView | TerminalView):
        view.begin(trace.records)
    try:
        yield trace, view
    finally:
        if view is not None:
            view.close()
        trace.close()


def view_of(view: FitView | None, quiet: bool) -> FitView | None:
    """Return the view that was given, else that of the notebook or the terminal; None shows nothing."""
    if view is None and not quiet:
        return NotebookView() if in_kernel() else TerminalView()
    return view


def steps_shown(view: FitView | None) -> list[StepsShown]:
    """Return the observer that reports each step to a view, if there is one."""
    return [] if view is None else [StepsShown(view)]


def opened(folder: Path, outcome: Outcome) -> Run:
    """Open the run; its model is loaded into the trained network, which edits may have changed."""
    return Run(folder, network=outcome.finished.model.network)


_CHOSEN: set[Path] = set()
"""Folders that `run_folder` has made and that are still empty."""


@contextmanager
def run_folder(source: Any, run: str | Path | None) -> Iterator[Path]:
    """Choose the run folder: the one given, or a new runs/NAME-TIME that no other process gets.

    A folder that is still empty at the end is removed.

    Raises:
        RunError: The given folder exists already.
    """
    if run is not None:
        folder = Path(run)
        if folder.exists() and folder not in _CHOSEN:
            raise taken(folder)
        yield folder
        return
    source = source.stem if isinstance(source, Query | Stored) else source
    path = isinstance(source, str | Path)
    name = (
        "stdin"
        if str(source) in ("-", "/dev/stdin")
        else Path(source).name.split(".")[0]
        if path
        else "table"
    )
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60] or "table"
    stem = f"{name}-{_now()}"
    folder, number = Path("runs") / stem, 2
    while not _made(folder):
        folder, number = Path("runs") / f"{stem}-{number}", number + 1
    _CHOSEN.add(folder)
    try:
        yield folder
    finally:
        _CHOSEN.remove(folder)
        with suppress(OSError):  # there is something in it
            folder.rmdir()
            folder.parent.rmdir()


def _made(folder: Path) -> bool:
    """Make a folder; False if it is there already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _now() -> str:
    return clock.strftime("%Y%m%d-%H%M%S")
