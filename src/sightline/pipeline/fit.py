"""fit() and replay(): the five stages with their beginnings and observers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import nn

from sightline.build.networks import NetworkMaker
from sightline.contracts import (
    FitOptions,
    Kind,
    Label,
    Ray,
    Scaling,
    TaskName,
    TrainingOverrides,
)
from sightline.contracts.arguments import names_checked
from sightline.contracts.options import (
    CHECKPOINT_SECONDS,
    BadRows,
    DateOrder,
    Quality,
    ThresholdRule,
)
from sightline.pipeline.beginnings import Replayed
from sightline.pipeline.flow import run_stages
from sightline.pipeline.folder import Run
from sightline.pipeline.observers import FitView, RunFolder
from sightline.pipeline.on_ray import fit_on_ray
from sightline.pipeline.recorder import Recorder
from sightline.pipeline.runner import Runner
from sightline.pipeline.runs import (
    make_run,
    opened,
    recording,
    run_folder,
    steps_shown,
)
from sightline.pipeline.warm_start import WarmStart
from sightline.trace.records import read_records
from sightline.train.optimizers import OptimizerMaker


@names_checked
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
    time_feature: bool = False,
    weight: str | None = None,
    numeric: Scaling | None = None,
    quality: Quality | None = None,
    network: nn.Module | NetworkMaker | str | None = None,
    hidden: Sequence[int] | None = None,
    dropout: float | None = None,
    second_network: bool | None = None,
    trees: bool | None = None,
    symmetric_trees: bool | None = None,
    forest: bool | None = None,
    kernel: bool | None = None,
    neighbors: bool | None = None,
    calibrate: bool | None = None,
    threshold: ThresholdRule | float | None = None,
    baselines: bool = True,
    seed: int = 0,
    watch: bool = False,
    checkpoint_seconds: float | None = CHECKPOINT_SECONDS,
    checkpoint_epochs: int | None = None,
    run: str | Path | None = None,
    memory_limit: int | str | None = None,
    engine: Ray | Literal["ray"] | None = None,
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
        task, positive, test, group, time, time_feature, weight: As in `sl.split`.
        valid: As in `sl.split`. None makes cross-validation folds of the training rows in place of
            validation rows, which follow each other in time with `time`; with a network of your own it means 0.1.
        numeric: How numbers are scaled, as in `sl.prepare`.
        quality: "fast" for a first look in seconds, "default", or "best" for the most accurate model,
            which takes several times longer.
        network: A network of your own in place of the chosen one: a module, a class or function
            that takes the spec, or "file.py:Class". It is trained without changes to its structure.
        hidden: Units in each hidden layer of a member of the default network, such as [128, 128]; None
            chooses by the quality and the table.
        dropout: Dropout of the default network, from 0 up to, not including, 1; None means 0.1.
        second_network: Whether a second, deeper network that sees numbers as they are is added to the default model,
            if the table has numbers; None means yes where it lowers the held-out loss, and no with `quality="fast"` or
            `calibrate=False`.
        trees: Whether boosted trees are added to the model; None means yes where they lower the
            held-out loss, and no with a network of your own.
        symmetric_trees: Whether boosted symmetric trees are added to the model; None means yes with `quality="best"` or
            a category of more than 30 values, where they lower the held-out loss, and not for tables of many rows.
        forest: Whether a forest of randomised trees is added to the model; None as for `second_network`, and no for
            tables of many rows.
        kernel: Whether a kernel model is added to the model; None as for `second_network`, and no for tables of more than
            5,000 training rows (`quality="best"`: 20,000). It compares a row with up to 2,000 training rows, whose
            features the model's file then holds.
        neighbors: Whether a nearest-neighbours model with a learned distance is added to the model; None as for `second_network`, and
            no for tables of more than 10,000 training rows (`quality="best"`: 50,000). In each fold it compares a row with up to
            3,000 training rows, whose targets and places the model's file then holds.
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
        engine: `sl.Ray(workers=8)` or "ray" to train on the processes of a Ray cluster (extra "ray"), which all find the
            run folder at the same place. The same call with `run` goes on with a run that was interrupted.
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
            chooses those that are not given. `time_limit` covers the whole fit in seconds, from reading to the report: it may take a
            tenth longer, or a second; what there is no time for is left out and recorded.

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
        time=time, time_feature=time_feature, weight=weight, numeric=numeric, quality=quality, network=network, hidden=hidden, dropout=dropout, second_network=second_network, trees=trees, symmetric_trees=symmetric_trees, forest=forest, kernel=kernel, neighbors=neighbors,
        calibrate=calibrate, threshold=threshold, baselines=baselines, watch=watch,
        checkpoint_seconds=checkpoint_seconds, checkpoint_epochs=checkpoint_epochs, run=run, memory_limit=memory_limit, engine=engine, keep_data=keep_data, live=live,
        report=report, quiet=quiet, **settings,
    )  # fmt: skip
    return fit_with(source, options, view)


def fit_with(
    source: Any, options: FitOptions, view: FitView | None = None, start: WarmStart | None = None
) -> Run:
    """Make a run as `fit` does, which describes what it raises, where the options say.

    Args:
        source: As in `fit`.
        options: Its other arguments.
        view: As in `fit`.
        start: What a warm start keeps of an earlier model; None draws the first weights.
    """
    make = make_run if options.run.engine is None else fit_on_ray
    return make(source, options, view, start)


@names_checked
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
    with run_folder(name, to) as folder, recording(view, quiet) as (trace, view):
        beginning.decisions = beginning.decisions.into(folder)
        assert beginning.first is not None  # the records of the first run
        recorder = Recorder(trace, folder, first=(beginning.ended, beginning.first.parts))
        runner = Runner(
            recorder, folder, beginning.edits, beginning.deadline, checkpoint_seconds=CHECKPOINT_SECONDS,
            checkpoint_epochs=None,
        )  # fmt: skip
        kept = RunFolder(folder, beginning.decisions.options.run.report, first=first)
        outcome = run_stages(beginning, [recorder, kept, runner, *steps_shown(view)])
    return opened(folder, outcome)
