"""fit(), resume() and replay(): the five stages with their beginnings and observers."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import nn

from sightline.build.networks import NetworkMaker
from sightline.contracts import (
    FitOptions,
    Kind,
    Label,
    Record,
    RunOptions,
    Scaling,
    TaskName,
    TrainingOverrides,
)
from sightline.contracts.options import (
    CHECKPOINT_SECONDS,
    BadRows,
    DateOrder,
    Quality,
    ThresholdRule,
)
from sightline.load.databases import Query
from sightline.load.object_stores import Stored
from sightline.load.sources import as_source
from sightline.page.launch import live_page
from sightline.page.report import REPORT_FILE, write_report
from sightline.pipeline.beginnings import Fresh, Replayed, Resumed
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


def fit(
    source: Any,
    target: str,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[str] | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
    thousands: Literal[".", ",", "'", " "] | None = None,
    dates: DateOrder | None = None,
    header: int | None = None,
    sheet: str | None = None,
    query: str | None = None,
    on_bad_rows: BadRows = "error",
    task: TaskName | None = None,
    positive: Label | None = None,
    valid: Any = None,
    test: Any = 0.1,
    group: str | None = None,
    time: str | None = None,
    weight: str | None = None,
    numeric: Scaling | None = None,
    quality: Quality | None = None,
    network: nn.Module | NetworkMaker | str | None = None,
    hidden: Sequence[int] | None = None,
    dropout: float | None = None,
    trees: bool | None = None,
    calibrate: bool | None = None,
    threshold: ThresholdRule | float | None = None,
    baselines: bool = True,
    seed: int = 0,
    watch: bool = False,
    checkpoint_seconds: float | None = CHECKPOINT_SECONDS,
    checkpoint_epochs: int | None = None,
    run: str | Path | None = None,
    memory_limit: int | str | None = None,
    keep_data: bool = True,
    live: bool = False,
    report: bool = True,
    quiet: bool = False,
    view: FitView | None = None,
    **settings: Unpack[TrainingOverrides],
) -> Run:
    """Take a table through all five stages and record every one.

    Args:
        source: Anything `sl.read` takes, or a table that it has read.
        target: The column to predict.
        kinds, drop, missing, encoding, decimal, thousands, dates, header, sheet, query, on_bad_rows: As in `sl.read`.
        task, positive, test, group, time, weight: As in `sl.split`.
        valid: As in `sl.split`. None makes cross-validation folds of the training rows in place of
            validation rows; with a network of your own or `time` it means 0.1.
        numeric: How numbers are scaled, as in `sl.prepare`.
        quality: "fast" for a first look in seconds, "default", or "best" for the most accurate model,
            which takes several times longer.
        network: A network of your own in place of the chosen one: a module, a class or function
            that takes the spec, or "file.py:Class". It is trained without changes to its structure.
        hidden: Units in each hidden layer of a member of the default network, such as [128, 128]; None
            chooses by the quality and the table.
        dropout: Dropout of the default network, from 0 up to, not including, 1; None means 0.1.
        trees: Whether boosted trees are added to the model; None means yes, and no with a network
            of your own.
        calibrate: Whether probabilities are calibrated on rows that the model did not learn from, and
            prediction sets and intervals are available; None means yes, and no with a network of your
            own.
        threshold: For two classes, the metric ("f1", "accuracy", "balanced_accuracy") for which the
            best decision threshold is chosen, or the threshold itself, such as 0.3; None predicts the
            class with the higher probability.
        baselines: Whether to score simple models on the same rows at the end, to see whether this one
            is better.
        seed: Seed of the split, the first weights, the order of the batches and dropout.
        watch: Whether to load a network given as "file.py:Class" again whenever its file is saved.
        checkpoint_seconds: Seconds between two checkpoints; None writes none by the clock. There is one at the
            start and one at the end as well.
        checkpoint_epochs: Epochs between two checkpoints; None writes none by their number.
        run: The run folder to make; None makes `runs/NAME-TIME`.
        memory_limit: Memory for the rows of the table, such as "1GB" or a number of bytes; None means half of the
            machine's. A larger Parquet or CSV table stays on the disk: the network trains on all its rows, and trees,
            calibration and simple models on a random sample.
        keep_data: Whether the rows of a database, or the files of an object store, stay in the run folder, as data.parquet or
            in data/: they are read once. Without the rows of a database, which have no stable order, the model can be
            evaluated on new rows only; files are then read from the store again.
        live: Whether to show the run in a browser while it trains, at an address that is printed and
            kept in RUN/live.json. The page is served by a separate process (extra "live"):
            training never waits for it.
        report: Whether to explain sample rows, measure importance and write report.html at the end.
        quiet: Whether to print nothing.
        view: Shows the run in place of the terminal.
        settings: Any other setting of `sl.Training` by name: epochs, batch_size, learning_rate,
            optimizer, schedule, ema, time_limit, eval_metric, precision, device, ... The quality
            chooses those that are not given.

    Returns:
        The run: `.model`, `.records`, `.metrics`, `.epochs`, `.folder`.

    Raises:
        UserError: Bad data, options or networks; see `sightline.errors`.
        Interrupted: Ctrl-C or SIGTERM came while it trained; `sl.resume` continues the run.
        OSError: The disk is full; the run folder keeps what was written.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> run.metrics["accuracy"] > 0.9
        True
    """
    options = FitOptions.of(
        target, seed=seed, kinds=dict(kinds or {}), drop=drop, missing=missing, encoding=encoding,
        decimal=decimal, thousands=thousands, dates=dates, header=header, sheet=sheet, query=query, on_bad_rows=on_bad_rows, task=task, positive=positive, valid=valid, test=test, group=group,
        time=time, weight=weight, numeric=numeric, quality=quality, network=network, hidden=hidden, dropout=dropout, trees=trees,
        calibrate=calibrate, threshold=threshold, baselines=baselines, watch=watch,
        checkpoint_seconds=checkpoint_seconds, checkpoint_epochs=checkpoint_epochs, run=run, memory_limit=memory_limit, keep_data=keep_data, live=live,
        report=report, quiet=quiet, **settings,
    )  # fmt: skip
    return fit_with(source, options, view)


def fit_with(
    source: Any, options: FitOptions, view: FitView | None = None, start: WarmStart | None = None
) -> Run:
    """Make a run as `fit` does, which describes what it raises.

    Args:
        source: As in `fit`.
        options: Its other arguments.
        view: As in `fit`.
        start: What a warm start keeps of an earlier model; None draws the first weights.
    """
    source = as_source(source, options.read.query)
    refuse_secrets(options)
    processes = current()
    if processes.run:
        options = replace(options, run=replace(options.run, run=processes.run))
    asked = options.run
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
        run_folder(source, asked.run) as folder,
        spooled(source, folder, asked.quiet) as beginning.source,
        live_page(folder, asked.live, asked.quiet) as show_page, _recording(view, asked.quiet) as (trace, view),
    ):  # fmt: skip
        beginning.folder = folder.parent
        recorder = Recorder(trace, folder)
        runner = Runner(
            recorder, folder, beginning.edits, checkpoint_seconds=asked.checkpoint_seconds,
            checkpoint_epochs=asked.checkpoint_epochs, watch=beginning.watched,
        )  # fmt: skip
        data = beginning.source if isinstance(beginning.source, Spooled) else None
        folder_kept = RunFolder(folder, asked.report, data=data, keep_data=asked.keep_data)
        outcome = run_stages(beginning, [
            recorder, folder_kept, LivePageShown(show_page), runner, *_shown(view),
        ])  # fmt: skip
    return _run(folder, outcome)


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
    records, saved = processes.decide(lambda: _interrupted(folder))
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
        _recording(view, quiet, folder, saved.more["records"]) as (trace, view),
    ):
        recorder = Recorder(trace, folder, resumed=True)
        asked = replace(beginning.decisions.options.run, **given)  # type: ignore[arg-type]
        runner = Runner(
            recorder, folder, beginning.edits, checkpoint_seconds=asked.checkpoint_seconds,
            checkpoint_epochs=asked.checkpoint_epochs, watch=watch,
        )  # fmt: skip
        kept = RunFolder(folder, asked.report, keep_data=asked.keep_data, resumed=True)
        outcome = run_stages(
            beginning, [recorder, kept, LivePageShown(show_page), runner, *_shown(view)]
        )
    return _run(folder, outcome)


def _interrupted(folder: Path) -> tuple[list[Record], SavedCheckpoint | None]:
    """Return the records and the newest checkpoint of an interrupted run; of a complete one, None in its place."""
    records, _ = read_records(folder)
    if ended := find(records, "run", "end"):
        if ended[-1].body.get("report") and not (folder / REPORT_FILE).exists():
            write_report(folder)  # the process was killed just before it wrote it
        return records, None
    if being_written(folder):
        raise busy(folder)
    return records, read_newest(folder)


def replay(
    run: str | Path,
    *,
    to: str | Path | None = None,
    source: Any = None,
    network: nn.Module | NetworkMaker | str | None = None,
    optimizer: OptimizerMaker | None = None,
    schedule: Any = None,
    quiet: bool = False,
    view: FitView | None = None,
) -> Run:
    """Repeat a fit: the same rows, settings, plan and first weights, the same edits at the same steps.

    The new run's `train/replay` record says whether its weights are bit for bit those of the first.

    Args:
        run: The run folder of a fit whose training ended.
        to: The run folder to make; None makes `runs/NAME-TIME`.
        source: The table, if it was in memory.
        network, optimizer, schedule: Your own, if the run does not keep them.
        quiet, view: As in `fit`.

    Raises:
        RunError: The folder is not a run, or its training did not end.
        DataError: The table does not exist any more, or has changed.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> repeated = sl.replay(run.folder, quiet=True)
        >>> repeated.find("train", "replay")[0].body["identical"]
        True
    """
    first = Path(run)
    records, _ = read_records(first)
    beginning = Replayed(
        first, records, source=source, network=network, optimizer=optimizer, schedule=schedule
    )
    name = f"{first.name}-replay"
    with run_folder(name, to) as folder, _recording(view, quiet) as (trace, view):
        beginning.decisions = beginning.decisions.into(folder)
        recorder = Recorder(trace, folder, first=(beginning.ended, beginning.first_parts))
        runner = Runner(
            recorder, folder, beginning.edits, checkpoint_seconds=CHECKPOINT_SECONDS,
            checkpoint_epochs=None,
        )  # fmt: skip
        kept = RunFolder(folder, beginning.decisions.options.run.report, first=first)
        outcome = run_stages(beginning, [recorder, kept, runner, *_shown(view)])
    return _run(folder, outcome)


@contextmanager
def _recording(
    view: FitView | None, quiet: bool, folder: Path | None = None, records: int = 0
) -> Iterator[tuple[Trace, FitView | None]]:
    """Open a trace, or continue one after this many records; close it on any exit."""
    if view is None and not quiet:
        view = NotebookView() if in_kernel() else TerminalView()
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


def _shown(view: FitView | None) -> list[StepsShown]:
    return [] if view is None else [StepsShown(view)]


def _run(folder: Path, outcome: Outcome) -> Run:
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
