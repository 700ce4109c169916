"""fit(): the five stages in a row, each leaving its records, a line a stage."""

from __future__ import annotations

import hashlib
import shutil
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from sightline.build.networks import BUILT_IN, NetworkMaker, load_class, source_of
from sightline.contracts import Batch, Kind, Label, Record, Scaling, TaskName
from sightline.errors import OptionError, RunError
from sightline.load.delimited import OnBadRows
from sightline.load.table import Table, read
from sightline.page.launch import LONGEST_START, live_page
from sightline.page.report import FILE, write_report
from sightline.pipeline.finish import finish
from sightline.pipeline.folder import BUNDLE, Run
from sightline.pipeline.origin import provenance, read_again, row_numbers
from sightline.pipeline.recipe import (
    Quality,
    Recipe,
    divide,
    make_settings,
    make_training,
    set_apart,
    size_of,
    trees_limit,
)
from sightline.pipeline.recorder import Story
from sightline.pipeline.runner import Runner, edits_left, edits_of
from sightline.predict.model import Model
from sightline.prepare.prepared import check_scaling, prepare
from sightline.trace.records import Trace, being_written, busy, find, read_records, taken
from sightline.train.checkpoints import (
    SECONDS,
    Saved,
    check_rhythm,
    read_first,
    read_newest,
)
from sightline.train.optimizers import OptimizerMaker
from sightline.train.plan import settle_batch_size
from sightline.train.settings import Settings
from sightline.train.training import restore
from sightline.views.notebook import NotebookView, in_kernel
from sightline.views.terminal import TerminalView


class Progress(Protocol):
    """What watches a fit: called with each record, and told of each step."""

    def __call__(self, record: Record) -> None:
        """Take a record."""

    def step(self, done: int, total: int) -> None:
        """Hear how far training is."""

    def close(self) -> None:
        """Hear that training is over, or failed."""


def fit(
    source: Any,
    target: str,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[str] | None = None,
    encoding: str | None = None,
    on_bad_rows: OnBadRows = "error",
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
    trees: bool | None = None,
    calibrate: bool | None = None,
    threshold: str | float | None = None,
    baselines: bool = True,
    seed: int = 0,
    watch: bool = False,
    checkpoint_seconds: float | None = SECONDS,
    checkpoint_epochs: int | None = None,
    run: str | Path | None = None,
    live: bool = False,
    report: bool = True,
    quiet: bool = False,
    view: Progress | None = None,
    **settings: Any,
) -> Run:
    """Take a table through all five stages and record every one.

    Args:
        source: Anything `sl.read` takes, or a table that it has read.
        target: The column to predict.
        kinds, drop, missing, encoding, on_bad_rows: As in `sl.read`.
        task, positive, test, group, time, weight: As in `sl.split`.
        valid: As in `sl.split`. None takes folds of the training rows in place of validation rows,
            or 0.1 with a network of your own or `time`.
        numeric: How numbers are scaled, as in `sl.prepare`.
        quality: "fast" for a first look, "default", or "best" for the last percent.
        network: A network of your own in place of the chosen one: a module, a class or function
            that takes the spec, or "file.py:Class". It trains and ships as it is.
        trees: Whether boosted trees predict beside the network; None is yes, and no with a network
            of your own.
        calibrate: Whether probabilities are calibrated on rows that nothing was learned from, and
            sets and intervals can be had; None is yes, and no with a network of your own.
        threshold: For two classes, what to choose the decision threshold by ("f1", "accuracy",
            "balanced_accuracy"), or the threshold itself; None predicts the likelier class.
        baselines: Score simple models on the same rows at the end, and say whether this one is
            worth it.
        seed: Decides the split, the first weights, the order of the batches and dropout.
        watch: Load a network given as "file.py:Class" anew whenever its file is saved.
        checkpoint_seconds, checkpoint_epochs: How often a checkpoint is written while it trains;
            there is one at the start and at the end as well.
        run: The run folder to make; None makes `runs/NAME-TIME`.
        live: Show it in a browser while it happens, at an address that is printed and in
            RUN/live.json. The page is a process of its own (extra "live"): training never waits
            for it.
        report: Explain sample rows, measure importance and write report.html at the end.
        quiet: Print nothing.
        view: What watches instead of the terminal.
        settings: Any other setting of `sl.Training` by name: epochs, batch_size, learning_rate,
            optimizer, schedule, ema, time_limit, eval_metric, precision, device, ... What is not
            given is chosen by the quality.

    Returns:
        The run: `.model`, `.records`, `.metrics`, `.epochs`, `.folder`.

    Raises:
        UserError: Bad data, options or networks; see `sightline.errors`.
        Interrupted: Ctrl-C or SIGTERM came while it trained; `sl.resume` goes on.
        OSError: The disk is full; the run folder keeps what was written.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=30, quiet=True)
        >>> run.metrics["accuracy"] > 0.9
        True
    """
    Settings.of({**settings, "seed": seed})
    recipe = Recipe.choose(
        quality=quality, network=network, trees=trees, calibrate=calibrate, threshold=threshold,
        valid=valid, time=time,
    )  # fmt: skip
    check_rhythm(checkpoint_seconds, checkpoint_epochs)
    check_scaling(numeric)
    place = network if isinstance(network, str) else None
    if watch and (place is None or place in BUILT_IN):
        raise OptionError("watch=True watches the network's file.", 'Give network="file.py:Class".')
    if isinstance(network, str):
        network = load_class(network)
    folder = run_folder(source, run)
    with live_page(folder, live, quiet) as tell_page, _telling(view, quiet) as (trace, view):
        story = Story(trace, seed, report)
        table = source if isinstance(source, Table) else read(
            source, kinds=kinds, drop=drop, missing=missing, encoding=encoding, on_bad_rows=on_bad_rows
        )  # fmt: skip
        splits = divide(
            table, target, recipe, task=task, positive=positive, valid=valid, test=test, seed=seed,
            group=group, time=time, weight=weight,
        )  # fmt: skip
        asked = make_settings(recipe, settings, size_of(splits), seed)
        again = {
            "origin": provenance(source, table, splits, valid, test), "numeric": numeric,
            "settings": asked.to_json(), "report": report, "recipe": recipe.to_json(),
            "baselines": baselines, "trees_limit": trees_limit(recipe, settings),
        }  # fmt: skip
        size = settle_batch_size(asked.batch_size, len(splits.train))
        story.load(table, splits, size, again)
        tell_page(0)

        prepared, apart = set_apart(prepare(splits, numeric=numeric), recipe)
        story.prepare(prepared)

        training = make_training(network, prepared, asked, recipe)
        if not _is_recipe(network, place):
            training.first_network.pop("source", None)
        story.build(training)

        trace.save_to(folder)
        _keep_source(training.network, folder)
        tell_page(LONGEST_START)
        story.plan(training)
        runner = Runner(
            story, training, folder, more=again, checkpoint_seconds=checkpoint_seconds,
            checkpoint_epochs=checkpoint_epochs, watch=place if watch else None,
        )  # fmt: skip
        model = _train_and_end(runner, view, apart)
    return Run(folder, network=model.network)


def resume(
    run: str | Path,
    *,
    source: Any = None,
    network: nn.Module | NetworkMaker | str | None = None,
    optimizer: OptimizerMaker | None = None,
    schedule: Any = None,
    watch: str | None = None,
    checkpoint_seconds: float | None = SECONDS,
    checkpoint_epochs: int | None = None,
    live: bool = False,
    quiet: bool = False,
    view: Progress | None = None,
) -> Run:
    """Go on with a fit that was cut off, to the last bit as if it had not been.

    Args:
        run: Its run folder. A run that is complete is returned as it is.
        source: The table, where it was one in memory.
        network: A network of your own whose source the run does not keep.
        optimizer, schedule: Your own ones, where you gave any.
        watch: "file.py:Class" to load anew whenever it is saved from now on.
        checkpoint_seconds, checkpoint_epochs, live, quiet, view: As in `fit`.

    Raises:
        RunError: It is no run, it was cut off before training, or it is still being made.
        DataError: The table is gone or has changed.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=3, quiet=True)
        >>> sl.resume(run.folder, quiet=True).metrics == run.metrics  # it was complete
        True
    """
    folder = Path(run)
    check_rhythm(checkpoint_seconds, checkpoint_epochs)
    records, _ = read_records(folder)
    if ended := find(records, "run", "end"):
        if ended[-1].body.get("report") and not (folder / FILE).exists():
            write_report(folder)  # killed just before it was written
        return Run(folder, network=network)
    if being_written(folder):
        raise busy(folder)
    saved = read_newest(folder)
    with (
        live_page(folder, live, quiet) as tell_page,
        _telling(view, quiet, folder, saved.more["records"]) as (trace, view),
    ):
        more = _asked(saved)
        story = Story(trace, saved.state["settings"]["seed"], more["report"])
        table, splits = read_again(more["origin"], source)
        story.take(table, splits)
        prepared, apart = set_apart(
            prepare(splits, numeric=more["numeric"]), Recipe(**more["recipe"])
        )
        training = restore(
            saved, prepared, sources=folder / "sources", network=network, optimizer=optimizer,
            schedule=schedule,
        )  # fmt: skip
        runner = Runner(
            story, training, folder, more=more, replayed=edits_left(records, saved, training),
            checkpoint_seconds=checkpoint_seconds, checkpoint_epochs=checkpoint_epochs, watch=watch,
        )  # fmt: skip
        tell_page(LONGEST_START)
        model = _train_and_end(runner, view, apart)
    return Run(folder, network=model.network)


def replay(
    run: str | Path,
    *,
    to: str | Path | None = None,
    source: Any = None,
    network: nn.Module | NetworkMaker | str | None = None,
    optimizer: OptimizerMaker | None = None,
    schedule: Any = None,
    quiet: bool = False,
    view: Progress | None = None,
) -> Run:
    """Do a fit again: the same rows, settings, plan and first weights, the same edits at the same steps.

    The new run's `train/end` record says whether its weights are bit for bit those of the first.

    Args:
        run: The run folder of a fit whose training ended.
        to: The run folder to make; None makes `runs/NAME-TIME`.
        source: The table, where it was one in memory.
        network, optimizer, schedule: Your own ones, where the run does not keep them.
        quiet, view: As in `fit`.

    Raises:
        RunError: It is no run, or its training did not end.
        DataError: The table is gone or has changed.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=3, quiet=True)
        >>> again = sl.replay(run.folder, quiet=True)
        >>> again.find("train", "replay")[0].body["identical"]
        True
    """
    first = Path(run)
    records, _ = read_records(first)
    ended = find(records, "train", "end")
    if not ended:
        raise RunError(
            f"The training of {first} did not end.", f"Resume it: sightline resume {first}"
        )
    saved = read_first(first)
    again = _asked(saved)
    folder = run_folder(f"{first.name}-replay", to)
    with _telling(view, quiet) as (trace, view):
        story = Story(trace, saved.state["settings"]["seed"], again["report"])
        table, splits = read_again(again["origin"], source)
        story.load(table, splits, saved.state["plan"]["batch_size"], again)
        prepared, apart = set_apart(
            prepare(splits, numeric=again["numeric"]), Recipe(**again["recipe"])
        )
        story.prepare(prepared)
        training = restore(
            saved, prepared, sources=first / "sources", network=network, optimizer=optimizer,
            schedule=schedule,
        )  # fmt: skip
        # What the clock decided the first time is in the plan and the edits.
        training.settings = replace(training.settings, time_limit=None)
        story.build(training)
        trace.save_to(folder)
        if (first / "sources").is_dir():
            shutil.copytree(first / "sources", folder / "sources")
        story.plan(training)
        runner = Runner(
            story, training, folder, more=again, replayed=edits_of(records),
            checkpoint_seconds=SECONDS, checkpoint_epochs=None,
        )  # fmt: skip
        grown = find(records, "train", "trees")
        trees = grown[-1].body if grown else None
        model = _train_and_end(runner, view, apart, ended[-1].body, trees)
    return Run(folder, network=model.network)


def _asked(saved: Saved) -> dict[str, Any]:
    """Return what a fit was asked to do, from a checkpoint of it; older ones do not say all."""
    plain = Recipe(quality=None).to_json()
    more = {"report": True, "recipe": plain, "baselines": False, "trees_limit": None, **saved.more}
    names = ("origin", "numeric", "settings", "report", "recipe", "baselines", "trees_limit")
    return {name: more[name] for name in names}


def _is_recipe(network: Any, place: str | None) -> bool:
    """Tell whether a kept source, called with the spec, builds this network again.

    A function or a module may have given its class arguments that no source tells; and the source of
    a class in the main script is the script, with the fit in it.
    """
    return place is not None or (isinstance(network, type) and network.__module__ != "__main__")


def _train_and_end(
    runner: Runner,
    view: Progress | None,
    apart: Batch | None,
    first: Mapping[str, Any] | None = None,
    trees: Mapping[str, Any] | None = None,
) -> Model:
    """Do stage 4 and stage 5, and write the model; `first` and `trees` are the records of a first time.

    Edits may have given the network another structure than what was asked for builds: the run's
    model is loaded into the network that came of it.
    """
    story, training, folder = runner.story, runner.training, runner.run
    for step in runner.steps():
        if view is not None:
            view.step(step.number, training.plan.epochs * training.plan.steps_per_epoch)
    recipe = Recipe(**runner.more["recipe"])
    grown = None if trees is None else trees["iterations"]
    finished = finish(training, recipe, apart, runner.more["trees_limit"], grown)
    story.finish(finished)
    if first is not None:
        story.compare(first, None if trees is None else trees["fingerprint"], finished)
    model = finished.model
    model.provenance, model.rows = runner.more["origin"], row_numbers(story.splits)
    model.save(folder / BUNDLE)  # before all that only looks at it
    story.predict(finished, training.prepared, baselines=runner.more["baselines"])
    story.end(folder, folder / BUNDLE, folder / FILE if story.report else None)
    if story.report:
        write_report(folder)
    return model


@contextmanager
def _telling(
    view: Progress | None, quiet: bool, folder: Path | None = None, records: int = 0
) -> Iterator[tuple[Trace, Progress | None]]:
    """Open a trace, or go on with a run's from a record on, and close it whatever happens."""
    if view is None and not quiet:
        view = NotebookView() if in_kernel() else TerminalView()
    views = [view] if view else []
    trace = Trace(views) if folder is None else Trace.go_on(folder, records, views)
    if isinstance(view, NotebookView | TerminalView):
        view.begin(trace.records)
    try:
        yield trace, view
    finally:
        if view is not None:
            view.close()
        trace.close()


def _keep_source(network: nn.Module, folder: Path) -> None:
    """Keep the source of a network of your own beside its run."""
    source = source_of(network)
    if source is not None:
        (folder / "sources").mkdir(exist_ok=True)
        (folder / "sources" / f"{hashlib.sha256(source).hexdigest()}.py").write_bytes(source)


def run_folder(source: Any, run: str | Path | None) -> Path:
    """Name the run folder: the one asked for, or runs/NAME-TIME.

    Raises:
        RunError: The one asked for exists already.
    """
    if run is not None:
        folder = Path(run)
        if folder.exists():
            raise taken(folder)
        return folder
    name = Path(source).name.split(".")[0] if isinstance(source, str | Path) else "table"
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60] or "table"
    stem = f"{name}-{_clock()}"
    folder, number = Path("runs") / stem, 2
    while folder.exists():
        folder, number = Path("runs") / f"{stem}-{number}", number + 1
    return folder


def _clock() -> str:
    return clock.strftime("%Y%m%d-%H%M%S")
