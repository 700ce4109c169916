"""Commands that use models: predict, evaluate, check, importance, explain, inspect."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sightline.cli.options import (
    Command,
    encoding_option,
    engine_option,
    fit_options,
    json_option,
    keep_option,
    model_argument,
    named_options,
    network_option,
    predict_engine_option,
    query_option,
    quiet_option,
    ray_engine,
    workers_option,
)
from sightline.cli.output import load_for_rows, load_model, print_json, safe
from sightline.errors import DataError, OptionError, counted, readable

if TYPE_CHECKING:
    from sightline.contracts import Ray
    from sightline.predict.loading import Engine
    from sightline.predict.tables import Predictions, TableModel


TARGET_OPTIONS = ("task", "positive", "group", "time", "weight")
"""What a fit is told about the target and the roles of columns."""


@click.command(cls=Command)
@model_argument
@click.argument("source")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="The file to write: .csv, .csv.gz, .csv.zst or .parquet.  [default: CSV on standard output]",
)
@click.option(
    "--to", metavar="ADDRESS/TABLE",
    help="Write the predictions to a new table of a database, e.g. postgresql://me@host/shop/scores.",
)  # fmt: skip
@click.option(
    "--replace", is_flag=True, help="With --to: drop a table of that name, in the same transaction."
)
@keep_option
@click.option(
    "--alpha", type=float, metavar="SHARE",
    help="Add a prediction set or interval that misses the truth in this share of rows, e.g. 0.1.",
)  # fmt: skip
@predict_engine_option
@workers_option
@encoding_option
@query_option
@network_option
@quiet_option
@json_option
def predict(
    model: str,
    source: str,
    output: str | None,
    to: str | None,
    replace: bool,
    keep: list[str],
    alpha: float | None,
    engine: Engine | Literal["ray"],
    workers: str | None,
    encoding: str | None,
    query: str | None,
    network: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Predict each row of SOURCE with MODEL; the output keeps the order of the rows.

    CSV and Parquet files and queries are read piece by piece: they may be larger than the memory.
    """
    from sightline.load.database_tables import Destination
    from sightline.load.object_stores import is_stored
    from sightline.load.sources import as_source
    from sightline.predict.output import PredictionFile, prediction_table
    from sightline.predict.summary import Summary

    if to is not None and output is not None:
        raise OptionError("--to and --output are given together.", "Give only one of them.")
    if replace and to is None:
        raise OptionError(
            "--replace is given without --to.", "Leave it out: a file is replaced anyway."
        )
    if is_stored(output):
        raise OptionError(
            "Predictions cannot be written into an object store.",
            "Give a file to -o, and copy it there.",
        )
    table_to = None if to is None else Destination.parse(to)
    if output is not None:
        for name, what in ((source, "the rows to predict"), (model, "the model")):
            if Path(output).exists() and Path(name).exists() and Path(output).samefile(name):
                raise OptionError(
                    f"{output} is {what}, which the predictions would overwrite.",
                    "Give another file to -o.",
                )
    rows = as_source(source, query)
    ray = ray_engine(engine, workers)
    loaded = load_for_rows(model, network, "auto" if engine == "ray" else engine)
    summary, listed = Summary(), []
    printed = output is None and table_to is None
    began = time.monotonic()
    with PredictionFile(
        None if output is None else Path(output), parquet=table_to is not None
    ) as file:
        for predictions in _shown(
            _pieces(loaded, rows, tuple(keep), encoding, ray), quiet or as_json
        ):
            table = prediction_table(loaded, predictions, keep, alpha)
            predictions.add_to(summary)
            if as_json and printed:
                listed += table.to_pylist()
            else:
                file.add(table)
        if table_to is not None:
            file.write_to(table_to, replace)
        elif printed and not as_json:
            sys.stdout.flush()
            file.copy_to(sys.stdout.buffer)
    seconds = time.monotonic() - began
    for sentence in summary.news(loaded.encoder.schema):
        click.echo(safe(f"Warning: {sentence}"), err=True)
    if as_json:
        body: dict[str, Any] = {
            "rows": summary.rows, "output": None if printed else output or str(table_to), "missing": summary.missing, "unseen": summary.unseen,
            "out_of_range": summary.out_of_range, "extra": list(summary.extra), "bad_rows": summary.bad,
            "bad": [{"row": row, "error": error} for row, error in summary.bad_rows],
            "seconds": seconds,
        }  # fmt: skip
        if printed:
            body["predictions"] = listed
        print_json(body)
    elif not quiet:
        for sentence in summary.report():
            click.echo(safe(sentence), err=True)
        if not printed:
            count = counted(summary.rows - summary.bad, "prediction")
            without = f"; {summary.bad:,} without, see the column error" if summary.bad else ""
            speed = f", {readable(summary.rows / seconds, 2)} rows a second" if seconds > 1 else ""
            click.echo(safe(f"{count} written to {output or table_to}{without}{speed}."), err=True)
    if summary.bad and summary.bad == summary.rows:
        row, error = summary.bad_rows[0]
        raise DataError(
            f"No row of {rows} has a prediction; the first one, row {row:,}: {error}.",
            "Write the rows as the training rows were.",
        )


def _pieces(
    loaded: TableModel, source: Any, keep: tuple[str, ...], encoding: str | None, ray: Ray | None
) -> Iterator[Predictions]:
    """Predict a source; CSV and Parquet files and queries piece by piece."""
    from sightline.load.pieces import can_be_pieces

    if can_be_pieces(source):
        yield from loaded.in_pieces(source, keep=keep, encoding=encoding, engine=ray)
    elif ray is not None:
        raise OptionError(
            f"{source} is read in one piece, which one process does.",
            "Leave --engine ray out, or give Parquet or CSV files.",
        )
    else:
        yield loaded.predictions_of(loaded.read(source, keep=keep, encoding=encoding))


def _shown(pieces: Iterator[Predictions], quiet: bool) -> Iterator[Predictions]:
    """Show rows and rows a second on a terminal while pieces are predicted."""
    if quiet or not sys.stderr.isatty():
        yield from pieces
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,.0f} rows"), TextColumn("{task.fields[speed]}"), TimeElapsedColumn())  # fmt: skip
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, rows = progress.add_task("", total=None, speed=""), 0
        for piece in pieces:
            rows += len(piece.labels)
            speed = readable(rows / (time.monotonic() - began), 2)
            progress.update(task, completed=rows, speed=f"{speed} rows a second")
            yield piece


@click.command(cls=Command)
@model_argument
@click.argument("source", required=False)
@click.option(
    "--require", multiple=True, metavar="METRIC>=NUMBER",
    help="What a metric must be, e.g. 'accuracy>=0.84' or 'rmse<=3'. May be repeated.",
)  # fmt: skip
@click.option(
    "--by", multiple=True, metavar="COLUMN",
    help="Also measure each group of rows with the same value of this column, e.g. island. May be repeated.",
)  # fmt: skip
@engine_option
@encoding_option
@query_option
@network_option
@quiet_option
@json_option
def evaluate(
    model: str,
    source: str | None,
    require: tuple[str, ...],
    by: tuple[str, ...],
    engine: Engine,
    encoding: str | None,
    query: str | None,
    network: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Print the metrics of MODEL on its own test rows, or on the rows of SOURCE.

    --by tells which groups of rows MODEL is worse for than chance explains. The exit code is 1 if a metric is not as --require asks.
    """
    from sightline.load.sources import as_source
    from sightline.metrics.required import Requirement
    from sightline.pipeline.origin import evaluate as run_evaluate
    from sightline.pipeline.origin import evaluate_rows, overlap
    from sightline.predict.model import Model
    from sightline.trace.records import finite

    requirements = [Requirement.parse(text) for text in require]
    loaded = load_for_rows(model, network, engine)
    columns = tuple(dict.fromkeys(by))
    warning = None
    if source is None:
        if not isinstance(loaded, Model):
            raise OptionError(
                f"{model} does not know its test rows.", "Give a file whose rows have the target."
            )
        metrics = run_evaluate(loaded, by=columns)
    else:
        rows = as_source(source, query)
        metrics, predictions = evaluate_rows(loaded, rows, by=columns, encoding=encoding)
        metrics["part"] = str(rows)
        seen = overlap(loaded, predictions.table)[0] if isinstance(loaded, Model) else 0
        if seen:
            warning = (
                f"{seen:,} of the {predictions.table.rows:,} rows of {rows} equal a row that the model was "
                "trained on, in every value (duplicates among them): the metrics are too good."
            )
        metrics["training_rows_seen"] = seen
    if as_json:
        print_json(metrics)
    elif not quiet:
        from sightline.views.terminal import TerminalView

        view, shown = TerminalView(), finite(metrics)
        view.metrics(shown)
        if columns:
            view.slices(shown["slices"])
    if warning and not quiet:
        click.echo(f"Warning: {warning}", err=True)
    failed = [said for one in requirements if (said := one.failure(metrics)) is not None]
    for said in failed:
        click.echo(safe(f"Not met: {said}"), err=True)
    if failed:
        sys.exit(1)


@click.command(cls=Command)
@model_argument
@click.argument("source")
@click.option("--fail", is_flag=True, help="Exit with 1 if something differs more than it may.")
@click.option(
    "-o", "--output", type=click.Path(), help="Write the comparison as a page, e.g. check.html."
)
@encoding_option
@query_option
@network_option
@quiet_option
@json_option
def check(
    model: str, source: str, fail: bool, output: str | None, encoding: str | None, query: str | None,
    network: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compare each column of SOURCE, and the predictions of MODEL for it, with the training rows.

    A distance is allowed that healthy rows of the same number exceed in at most 2 of 100 files, over all columns together.
    """
    from sightline.evaluate.drift import check as compare
    from sightline.load.sources import as_source

    result = compare(load_model(model, network), as_source(source, query), encoding=encoding)
    if output is not None:
        from sightline.page.check import write_check

        write_check(result, Path(output))
    if as_json:
        print_json(result)
    elif not quiet:
        for line in result["lines"]:
            click.echo(safe(line))
        if output is not None:
            click.echo(safe(f"All distances: {output}"))
    if fail and result["alarm"]:
        sys.exit(1)


@click.command(cls=Command)
@model_argument
@click.argument("source", required=False)
@click.option("--repeats", default=5, show_default=True, help="How often each column is shuffled.")
@click.option("--seed", default=0, show_default=True, help="Seed of the shuffles, e.g. 1.")
@encoding_option
@query_option
@network_option
@json_option
def importance(
    model: str,
    source: str | None,
    repeats: int,
    seed: int,
    encoding: str | None,
    query: str | None,
    network: str | None,
    as_json: bool,
) -> None:
    """Measure how much worse MODEL predicts when a column is shuffled (permutation importance)."""
    from sightline.load.sources import as_source
    from sightline.pipeline.origin import importance as run_importance

    loaded = load_model(model, network)
    if source is None:
        measured = run_importance(loaded, repeats=repeats, seed=seed)
    else:
        rows = as_source(source, query)
        measured = loaded.importance(rows, repeats=repeats, seed=seed, encoding=encoding)
    if as_json:
        print_json(measured)
        return
    from sightline.views.terminal import TerminalView

    TerminalView().importance(measured)


@click.command(cls=Command)
@model_argument
@click.argument("source")
@click.option(
    "--row", default=0, show_default=True, help="The row to explain, counted from 0, e.g. 3."
)
@encoding_option
@query_option
@network_option
@json_option
def explain(
    model: str, source: str, row: int, encoding: str | None, query: str | None, network: str | None, as_json: bool
) -> None:  # fmt: skip
    """Show how MODEL predicts one row of SOURCE, layer by layer."""
    from sightline.load.sources import as_source
    from sightline.trace.records import finite

    loaded = load_model(model, network)
    rows = as_source(source, query)
    table = loaded.read(rows, encoding=encoding)
    if not 0 <= row < table.rows:
        raise OptionError(
            f"{rows} has no row {row:,}.", f"Give a row from 0 to {table.rows - 1:,} (--row)."
        )
    explained = finite(loaded.explain_rows(table, [row])[0].to_json())
    if as_json:
        print_json(explained)
        return
    from sightline.views.terminal import TerminalView

    TerminalView().explanation(explained, f"Row {row:,} of {rows}")


@click.command(cls=Command)
@click.argument("source")
@click.option(
    "--target", metavar="COLUMN", help="Show what a fit would make of this target, e.g. species."
)
@fit_options("read")
@named_options(*TARGET_OPTIONS)
@json_option
def inspect(source: str, target: str | None, as_json: bool, **options: Any) -> None:
    """Show how the columns of SOURCE would be read, or what a .sightline or .onnx file contains."""
    from sightline.views.terminal import TerminalView

    if (Path(source) / "model.sightline").is_file():
        source = str(Path(source) / "model.sightline")
    split = {name: options.pop(name) for name in TARGET_OPTIONS}
    if target is None and (given := [name for name, value in split.items() if value is not None]):
        raise OptionError(
            f"--{given[0]} is given without --target.", "Give the column to predict as well."
        )
    if source.endswith((".sightline", ".onnx")):
        if target is not None:
            raise OptionError(f"{source} is a model, whose target is known.", "Leave --target out.")
        description = _described(source)
        if as_json:
            print_json(description)
            return
        view = TerminalView()
        for line in description["lines"]:
            view.console.print(safe(line), markup=False)
        view.columns(description["columns"])
        return
    from sightline.load.remarks import remarks
    from sightline.load.table import read

    table = read(source, **options)
    notes = [
        f"{table.name}: {counted(table.rows, 'row')} x {counted(len(table.columns), 'column')}."
    ]
    if table.skipped:
        notes.append(f"Left out: {counted(table.skipped, 'row')} that could not be read.")
    notes += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in table.said]
    notes += remarks(table).sentences() if target is None else []
    columns, facts = table.summary(), None
    if target is not None:
        from sightline.contracts import FitOptions
        from sightline.pipeline.recipe import Recipe, divide

        asked = FitOptions.of(target, **split)
        splits = divide(table, target, Recipe.choose(asked), seed=asked.seed, **vars(asked.split))
        columns, facts = splits.table.summary(splits.target), splits.target_facts()
    if as_json:
        found = {"rows": table.rows, "skipped": table.skipped, "columns": columns}
        print_json(found if facts is None else {**found, "target": facts})
        return
    view = TerminalView()
    view.columns(columns, notes)
    if facts is not None:
        view.target(facts)


def _described(model: str) -> dict[str, Any]:
    if model.endswith(".onnx"):
        from sightline.predict.onnx_model import OnnxModel

        return OnnxModel.load(model).describe(model)
    from sightline.predict.bundle import describe

    return describe(model)
