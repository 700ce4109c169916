"""The command `sightline`: parse, call the API, print. Thin on purpose.

Nothing heavy is imported before a command runs, so that `--help` is instant.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sightline.errors import Interrupted, OptionError, UserError, counted, did_you_mean

if TYPE_CHECKING:
    from sightline.contracts import Record
    from sightline.pipeline.folder import Run
    from sightline.predict.model import Model

Command = Callable[..., Any]
CHOSEN = ("epochs", "patience", "learning_rate", "schedule", "weight_decay")


class Commands(click.Group):
    """A group whose unknown commands get a suggestion."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command, or say which one was probably meant."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            names = self.list_commands(ctx)
            raise click.UsageError(
                f"No such command {args[0]!r}. {did_you_mean(args[0], names, 'commands')}", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="sightline")
def cli() -> None:
    """Deep learning on tables with PyTorch, every stage in sight.

    \b
    sightline demo                                  watch five stages on made-up rows
    sightline inspect flowers.csv                   what each column would become
    sightline fit flowers.csv --target species      the five stages on your table
    sightline predict MODEL new.csv -o out.csv      a prediction and probabilities per row
    """


# ------------------------------------------------------------- options that commands share


def _pairs(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    kinds = {}
    for pair in value:
        name, equals, kind = pair.rpartition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"{pair!r} is not of the form COLUMN=KIND, such as zip=categorical."
            )
        kinds[name] = kind
    return kinds


def _names(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[str]:
    import csv

    try:
        return [name for given in value for name in next(csv.reader([given]), [])]
    except csv.Error as error:
        raise click.BadParameter(
            f'{error}. Write names as in a CSV header: a name with a line end or comma in "quotes".'
        ) from error


def _share(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> float | int | str | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        raise click.BadParameter(f"{value!r} is neither a share, nor a number of rows, nor a file.")
    # "1" is one row; "1.0" may be meant as all of them, and is refused.
    rows = number.is_integer() and (number > 1 or value.strip() == "1")
    return int(number) if rows else number


def _threshold(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> float | str | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def reading(command: Command) -> Command:
    """Options that say how a table is read."""
    for option in (
        click.option("--kind", "kinds", multiple=True, metavar="COLUMN=KIND", callback=_pairs,
                     help="Read a column as numeric, categorical, boolean, datetime or text."),
        click.option("--drop", multiple=True, metavar="COLUMNS", callback=_names,
                     help="Leave columns out; several with commas."),
        click.option("--missing", multiple=True, metavar="TEXT",
                     help="A text that means missing, in every column (may be repeated)."),
        click.option("--encoding", metavar="NAME", help="Of text files that are not UTF-8, e.g. cp1252."),
        click.option("--on-bad-rows", type=click.Choice(["error", "skip"]), default="error",
                     help="Stop at a row that cannot be read, or leave it out and count it.", show_default=True),
    ):  # fmt: skip
        command = option(command)
    return command


def training_options(command: Command) -> Command:
    """Options that say how the network is trained."""
    names = click.Choice
    for option in reversed([
        click.option("--epochs", type=int, help="The most epochs."),
        click.option("--time-limit", type=float, metavar="SECONDS", help="The most seconds of training."),
        click.option("--patience", type=int,
                     help="Stop after so many epochs without a better validation loss."),
        click.option("--eval-metric", metavar="NAME",
                     help="What decides which epoch is best, instead of the loss: roc_auc, f1, mae, ..."),
        click.option("--batch-size", type=int, help="Rows of a batch.  [default: by the number of rows]"),
        click.option("--accumulate", default=1, show_default=True, help="Batches to a weight update."),
        click.option("--optimizer", type=names(["adamw", "sgd", "muon"]), default="adamw", show_default=True),
        click.option("--learning-rate", type=float, help="Of the optimizer."),
        click.option("--schedule", type=names(["constant", "warm-up", "cosine", "one-cycle", "plateau"]),
                     help="Of the learning rate."),
        click.option("--warm-up", type=float, metavar="SHARE", help="Share of training in which it rises."),
        click.option("--weight-decay", type=float, help="Not of biases and norms."),
        click.option("--clip-norm", type=float, help="The largest norm of all gradients together."),
        click.option("--ema", type=float, metavar="DECAY", help="Average the weights, e.g. 0.999."),
        click.option("--label-smoothing", default=0.0, show_default=True, help="Spread over all classes."),
        click.option("--balanced", is_flag=True, help="Weigh each class by how rare it is."),
        click.option("--precision", type=names(["auto", "float32", "bfloat16"]), default="auto",
                     show_default=True, help="Of the matrix products."),
        click.option("--doctor/--no-doctor", default=True, help="Look at each layer's health.  [default: yes]"),
    ]):  # fmt: skip
        command = option(command)
    return command


def checkpoint_options(command: Command) -> Command:
    """Options that say how often a checkpoint is written."""
    for option in (
        click.option("--checkpoint-epochs", type=int, help="A checkpoint after so many epochs."),
        click.option("--checkpoint-seconds", default=30.0, show_default=True,
                     help="A checkpoint after so many seconds."),
    ):  # fmt: skip
        command = option(command)
    return command


run_argument = click.argument("run", type=click.Path())
quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
network_option = click.option(
    "--network",
    metavar="FILE.py:CLASS",
    help="A network of your own: its class takes the spec. Or MLP.",
)
model_argument = click.argument("model", type=click.Path())
live_option = click.option("--live", is_flag=True, help="Show it in a browser while it happens.")


# ------------------------------------------------------------- commands


@cli.command()
@click.option("--run", metavar="DIR", help="The run folder to make.  [default: runs/demo-TIME]")
@click.option("--seed", default=0, show_default=True, help="Of data, split, weights and batches.")
@live_option
@quiet_option
@json_option
def demo(run: str | None, seed: int, live: bool, quiet: bool, as_json: bool) -> None:
    """Watch a small network learn three classes from ten numbers."""
    from sightline.pipeline.demo import demo as run_demo

    made = run_demo(run=run, seed=seed, live=live, quiet=quiet or as_json)
    if as_json:
        _print_json(_fitted(made))


@cli.command()
@click.argument("source")
@click.option("--target", required=True, help="The column to predict.")
@click.option(
    "--task", type=click.Choice(["classification", "regression"]), help="Instead of inferring it."
)
@click.option("--positive", metavar="CLASS", help="The class that binary metrics are about.")
@click.option(
    "--valid",
    callback=_share,
    metavar="SHARE|ROWS|FILE",
    help="Validation rows: a share, a number, or a file.  [default: folds of the training rows; 0.1 "
    "with --network or --time]",
)
@click.option(
    "--test",
    default="0.1",
    callback=_share,
    metavar="SHARE|ROWS|FILE",
    show_default=True,
    help="Test rows, likewise.",
)
@click.option("--group", metavar="COLUMN", help="Equal values stay in one part of the split.")
@click.option("--time", metavar="COLUMN", help="The newest rows become the test rows.")
@click.option("--weight", metavar="COLUMN", help="How much each row counts in the loss.")
@reading
@click.option(
    "--numeric",
    type=click.Choice(["standard", "minmax", "robust", "quantile"]),
    help="How numbers are scaled.  [default: quantile]",
)
@click.option(
    "--quality",
    type=click.Choice(["fast", "default", "best"]),
    help="A first look, the usual, or the last percent.  [default: default]",
)
@network_option
@click.option(
    "--trees/--no-trees",
    default=None,
    help="Boosted trees beside the network.  [default: yes, and no with --network]",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Calibrate on rows that nothing was learned from.  [default: yes, and no with --network]",
)
@click.option(
    "--threshold",
    metavar="f1|accuracy|balanced_accuracy|SHARE",
    callback=_threshold,
    help="Choose the decision threshold of two classes.  [default: the likelier class]",
)
@click.option(
    "--baselines/--no-baselines", default=True, help="Score simple models as well.  [default: yes]"
)
@training_options
@click.option("--seed", default=0, show_default=True, help="Of split, weights and batches.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
@click.option("--watch", is_flag=True, help="Load the file of --network anew whenever it is saved.")
@checkpoint_options
@click.option("--run", metavar="DIR", help="The run folder to make.  [default: runs/NAME-TIME]")
@click.option(
    "--report/--no-report",
    default=True,
    help="Explain sample rows, measure importance and write report.html at the end.  [default: yes]",
)
@live_option
@quiet_option
@json_option
def fit(
    source: str, target: str, quiet: bool, as_json: bool, balanced: bool, **options: Any
) -> None:
    """Take SOURCE (a file, folder or glob) through all five stages."""  # fmt: skip
    from sightline.pipeline.flow import fit as run_fit

    options["missing"] = list(options["missing"]) or None
    options["class_weights"] = "balanced" if balanced else None
    for name in CHOSEN:  # by the quality, where they are not given
        if options[name] is None:
            del options[name]
    run = run_fit(source, target, quiet=quiet or as_json, **options)
    if as_json:
        _print_json(_fitted(run))


@cli.command()
@run_argument
@network_option
@click.option(
    "--watch", metavar="FILE.py:CLASS", help="Load it anew whenever it is saved from now on."
)
@checkpoint_options
@live_option
@quiet_option
@json_option
def resume(run: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Go on with RUN, a fit that was cut off, as if it had not been."""
    from sightline.pipeline.flow import resume as run_resume

    if (
        any(record.type == "end" and record.stage == "run" for record in _records(run))
        and not quiet
    ):
        click.echo(f"{_safe(run)} is complete: there is nothing to go on with.", err=True)
    made = run_resume(run, quiet=quiet or as_json, **options)
    if as_json:
        _print_json(_fitted(made))


@cli.command()
@run_argument
@click.option("--to", metavar="DIR", help="The run folder to make.  [default: runs/NAME-TIME]")
@network_option
@quiet_option
@json_option
def replay(run: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Do RUN again with its edits at the same steps; exit code 1 if other weights come of it."""
    from sightline.pipeline.flow import replay as run_replay

    made = run_replay(run, quiet=quiet or as_json, **options)
    found = made.find("train", "replay")[-1].body
    if as_json:
        _print_json({**_fitted(made), **found})
    if not found["identical"]:
        sys.exit(1)


@cli.command()
@run_argument
@click.option("--widen", multiple=True, metavar="LAYER=UNITS", help="E.g. hidden.0=128.")
@click.option("--deepen", multiple=True, metavar="LAYER", help="Insert a layer after it.")
@click.option(
    "--replace", multiple=True, metavar="MODULE=TEXT", help='E.g. "hidden.0.activation=GELU()".'
)
@click.option("--freeze", multiple=True, metavar="NAME", help="Parameters that keep their values.")
@click.option("--unfreeze", multiple=True, metavar="NAME", help="Parameters that learn again.")
@click.option("--learning-rate", type=float)
@click.option("--weight-decay", type=float)
@click.option("--batch-size", type=int)
@click.option("--epochs", type=int)
@click.option("--stop", is_flag=True, help="End the training here, with all that follows.")
@click.option("--pause", is_flag=True, help="Hold the training at its next step.")
@click.option("--continue", "continue_", is_flag=True, help="Go on with a paused training.")
@click.option("--one-epoch", is_flag=True, help="Go on to the end of the epoch, then pause.")
@click.option(
    "--wait", default=30.0, show_default=True, help="Seconds to wait for what comes of it."
)
def edit(run: str, wait: float, **options: Any) -> None:
    """Change RUN while it trains in another process, at its next step."""
    from sightline.pipeline.control import control_and_wait, send_and_wait

    names = (("pause", "pause"), ("continue_", "continue"), ("one_epoch", "one_epoch"))
    controls = [control for name, control in names if options.pop(name)]
    if controls and (len(controls) > 1 or any(options.values())):
        raise OptionError(
            "--pause, --continue, --one-epoch and edits are given together.",
            "Give one of them at a time.",
        )
    if controls:
        said, refused = control_and_wait(Path(run), controls[0], wait)
    else:
        said, refused = send_and_wait(Path(run), _edits(options), wait)
    for sentence in said:
        click.echo(_safe(sentence))
    if refused:
        sys.exit(2)


def _edits(options: Mapping[str, Any]) -> list[Any]:
    from sightline import contracts as c

    made: list[Any] = []
    for pair in options["widen"]:
        name, _, units = pair.rpartition("=")
        if not name or not units.isdecimal():
            raise OptionError(f"--widen is {pair!r}.", "Write LAYER=UNITS, such as hidden.0=128.")
        made.append(c.Widen(name, int(units)))
    made += [c.Deepen(name) for name in options["deepen"]]
    for pair in options["replace"]:
        name, equals, text = pair.partition("=")
        if not equals:
            raise OptionError(f"--replace is {pair!r}.", "Write MODULE=TEXT.")
        made.append(c.Replace(name, text))
    made += [c.Freeze(name) for name in options["freeze"]]
    made += [c.Unfreeze(name) for name in options["unfreeze"]]
    kinds = {
        "learning_rate": c.SetLearningRate, "weight_decay": c.SetWeightDecay,
        "batch_size": c.SetBatchSize, "epochs": c.SetEpochs,
    }  # fmt: skip
    made += [kind(options[name]) for name, kind in kinds.items() if options[name] is not None]
    made += [c.Stop()] if options["stop"] else []
    if not made:
        raise OptionError("There is no edit.", "Give one, such as --widen hidden.0=128.")
    return made


@cli.command()
@run_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="[default: the same as before, or a free one]",
)
@click.option("--browser/--no-browser", default=False, help="Open the page.  [default: no]")
@click.option("--of-fit", type=int, hidden=True)
def live(run: str, host: str, port: int, browser: bool, of_fit: int | None) -> None:
    """Show RUN in a browser, one that is being made or a finished one, until Ctrl-C."""
    from importlib.util import find_spec

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise OptionError(
            "The live page needs Starlette and uvicorn, which are not installed.",
            'Install them: pip install "sightline[live]"',
        )
    from sightline.page.server import serve

    def ready(address: str) -> None:
        if of_fit is not None:  # to the fit, in one line; then nothing holds its output open
            click.echo(json.dumps({"address": address}))
            _let_go_of_output()
            return
        click.echo(f"{_safe(run)} is shown at {address} until Ctrl-C.")
        if browser:
            click.launch(address)

    serve(Path(run), host=host, port=port, of_fit=of_fit, ready=ready)


def _let_go_of_output() -> None:
    """Leave standard output and error to whoever reads them: a pipe ends when all have left it."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    for number in (1, 2):
        os.dup2(nothing, number)
    os.close(nothing)


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--page", is_flag=True, help="Write a page with the runs side by side.")
@click.option(
    "-o", "--output", type=click.Path(), default="compare.html", show_default=True, help="The page."
)
@json_option
def compare(runs: Sequence[str], page: bool, output: str, as_json: bool) -> None:
    """Say in what RUNS differ, and how well each did."""
    from sightline.trace.compare import compare as run_compare

    if page:
        from sightline.page.report import write_comparison

        written = write_comparison(runs, output)
        if not as_json:
            click.echo(f"{len(runs)} runs side by side: {_safe(str(written))}")
            return
    said = run_compare(*runs)
    if as_json:
        _print_json(said)
        return
    from sightline.views.terminal import TerminalView

    TerminalView().compared(said)


@cli.command()
@model_argument
@click.argument("source")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="A .csv or .parquet file.  [default: CSV on standard output]",
)
@click.option(
    "--keep", multiple=True, metavar="COLUMNS", callback=_names, help="Carry columns through."
)
@click.option(
    "--alpha", type=float, metavar="SHARE",
    help="Add a set of classes, or an interval, that misses the truth in this share of rows.",
)  # fmt: skip
@click.option("--encoding", metavar="NAME", help="Of a text file that is not UTF-8.")
@network_option
@quiet_option
@json_option
def predict(
    model: str,
    source: str,
    output: str | None,
    keep: list[str],
    alpha: float | None,
    encoding: str | None,
    network: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Predict each row of SOURCE with MODEL, in the order of its rows."""
    from sightline.predict.output import prediction_table, write_table

    if output is not None:
        for name, what in ((source, "the rows to predict"), (model, "the model")):
            if Path(output).exists() and Path(name).exists() and Path(output).samefile(name):
                raise OptionError(
                    f"{output} is {what}, which the predictions would overwrite.",
                    "Give another file to -o.",
                )
    loaded = _load(model, network)
    found = loaded.predictions(source, keep=tuple(keep), encoding=encoding)
    table = prediction_table(loaded, found, keep, alpha)
    if output is not None:
        write_table(table, Path(output))
    if as_json:
        said: dict[str, Any] = {
            "rows": len(found.labels), "output": output, "missing": dict(found.missing),
            "unseen": dict(found.unseen), "out_of_range": dict(found.out_of_range),
            "extra": list(found.extra), "bad": [{"row": row, "error": error} for row, error in found.bad],
        }  # fmt: skip
        if output is None:
            said["predictions"] = table.to_pylist()
        _print_json(said)
        return
    if output is None:
        import pyarrow.csv as pc

        sys.stdout.flush()
        pc.write_csv(table, sys.stdout.buffer)
    if not quiet:
        for sentence in found.report():
            click.echo(_safe(sentence), err=True)
        if output is not None:
            made = counted(len(found.labels) - len(found.bad), "prediction")
            without = f"; {len(found.bad):,} without, see the column error" if found.bad else ""
            click.echo(_safe(f"{made} written to {output}{without}."), err=True)


@cli.command()
@model_argument
@click.argument("source", required=False)
@click.option("--encoding", metavar="NAME", help="Of a text file that is not UTF-8.")
@network_option
@quiet_option
@json_option
def evaluate(
    model: str,
    source: str | None,
    encoding: str | None,
    network: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure MODEL on its own test rows, or on those of SOURCE."""
    from sightline.pipeline.origin import evaluate as run_evaluate
    from sightline.pipeline.origin import overlap
    from sightline.trace.records import finite

    loaded = _load(model, network)
    warning = None
    if source is None:
        metrics = run_evaluate(loaded)
    else:
        found = loaded.predictions(source, encoding=encoding)
        metrics = {**loaded.measure(found), "part": source}
        seen, _ = overlap(loaded, found.table)
        if seen:
            warning = (
                f"{seen:,} of the {found.table.rows:,} rows of {source} equal a row that the model was "
                "trained on, in every value (duplicates among them): these figures flatter it."
            )
        metrics["training_rows_seen"] = seen
    if as_json:
        _print_json(metrics)
    elif not quiet:
        from sightline.views.terminal import TerminalView

        TerminalView().metrics(finite(metrics))
    if warning and not quiet:
        click.echo(f"Warning: {warning}", err=True)


@cli.command()
@model_argument
@click.argument("source", required=False)
@click.option("--repeats", default=5, show_default=True, help="Shuffles of each column.")
@click.option("--seed", default=0, show_default=True, help="Of the shuffles.")
@click.option("--encoding", metavar="NAME", help="Of a text file that is not UTF-8.")
@network_option
@json_option
def importance(
    model: str,
    source: str | None,
    repeats: int,
    seed: int,
    encoding: str | None,
    network: str | None,
    as_json: bool,
) -> None:
    """Say how much worse MODEL gets without each column, on its own test rows or those of SOURCE."""
    from sightline.pipeline.origin import importance as run_importance

    loaded = _load(model, network)
    if source is None:
        found = run_importance(loaded, repeats=repeats, seed=seed)
    else:
        found = loaded.importance(source, repeats=repeats, seed=seed, encoding=encoding)
    if as_json:
        _print_json(found)
        return
    from sightline.views.terminal import TerminalView

    TerminalView().importance(found)


@cli.command()
@model_argument
@click.argument("source")
@click.option("--row", default=0, show_default=True, help="Which data row, counted from 0.")
@click.option("--encoding", metavar="NAME", help="Of a text file that is not UTF-8.")
@network_option
@json_option
def explain(
    model: str, source: str, row: int, encoding: str | None, network: str | None, as_json: bool
) -> None:
    """Follow one row of SOURCE through MODEL, layer by layer."""
    from sightline.trace.records import finite

    loaded = _load(model, network)
    table = loaded.read(source, encoding=encoding)
    if not 0 <= row < table.rows:
        raise OptionError(
            f"{source} has no row {row:,}.", f"Give a row from 0 to {table.rows - 1:,} (--row)."
        )
    explained = finite(loaded.explain_rows(table, [row])[0].to_json())
    if as_json:
        _print_json(explained)
        return
    from sightline.views.terminal import TerminalView

    TerminalView().explanation(explained, f"Row {row:,} of {source}")


@cli.command()
@click.argument("source")
@reading
@json_option
def inspect(source: str, as_json: bool, **options: Any) -> None:
    """Say what the columns of SOURCE would become, or what a .sightline file holds."""
    from sightline.views.terminal import TerminalView

    if (Path(source) / "model.sightline").is_file():
        source = str(Path(source) / "model.sightline")
    if source.endswith(".sightline"):
        from sightline.predict.bundle import describe

        said = describe(source)
        if as_json:
            _print_json(said)
            return
        view = TerminalView()
        for line in said["lines"]:
            view.console.print(_safe(line), markup=False)
        view.columns(said["columns"])
        return
    from sightline.load.table import read

    options["missing"] = list(options["missing"]) or None
    table = read(source, **options)
    notes = [
        f"{table.name}: {counted(table.rows, 'row')} x {counted(len(table.columns), 'column')}."
    ]
    if table.skipped:
        notes.append(f"Left out: {counted(table.skipped, 'row')} that could not be read.")
    if as_json:
        _print_json({"rows": table.rows, "skipped": table.skipped, "columns": table.summary()})
        return
    TerminalView().columns(table.summary(), notes)


@cli.command()
@run_argument
@click.option("-o", "--output", type=click.Path(), help="The page.  [default: RUN/report.html]")
@click.option("--png", metavar="DIR", help="Write pictures for slides instead, or as well with -o.")
@click.option("--svg", metavar="DIR", help="The same as vector graphics, for papers.")
@json_option
def report(run: str, output: str | None, png: str | None, svg: str | None, as_json: bool) -> None:
    """Write RUN as one HTML page, or as pictures."""
    from sightline.views.pictures import pictures

    records, page = _records(run), None
    drawn = pictures(records, png, "png") if png is not None else []
    drawn += pictures(records, svg, "svg") if svg is not None else []
    if output is not None or (png is None and svg is None):
        from sightline.page.report import write_report

        page = write_report(run, output)
    if as_json:
        _print_json({"report": page and str(page), "pictures": list(map(str, drawn))})
        return
    for path in [*drawn, *([page] if page else [])]:
        click.echo(_safe(str(path)))


@cli.command()
@click.argument("run", type=click.Path())
@json_option
def quiz(run: str, as_json: bool) -> None:
    """Answer three questions about RUN, a run folder."""
    from sightline.errors import RunError
    from sightline.trace.records import find, read_records
    from sightline.views.terminal import TerminalView

    records, _ = read_records(Path(run))
    found = find(records, "lesson", "quiz")
    if not found:
        raise RunError(f"{run} has no questions: the run did not end.", "Make the run again.")
    questions = found[-1].body["questions"]
    if as_json:
        _print_json({"questions": questions})
        return
    view, right = TerminalView(), 0
    for number, question in enumerate(questions, start=1):
        view.question(number, question)
        answer = _ask()
        if answer is None:
            verdict = "The answer is"
        elif answer == question["right"]:
            right += 1
            verdict = "Right:"
        else:
            verdict = "Not quite: it is"
        click.echo(f"{verdict} {question['right']}. {_safe(question['why'])}\n")
    click.echo(f"{right} of {len(questions)} right.")


def _ask() -> str | None:
    """Read A, B, C or D; None when there is nobody to ask."""
    while True:
        click.echo("Your answer (A, B, C or D): ", nl=False)
        line = sys.stdin.readline() if sys.stdin else ""  # None where it is closed
        if not line:
            click.echo()
            return None
        answer = line.strip().upper()
        if answer in ("A", "B", "C", "D"):
            return answer
        click.echo("Please type A, B, C or D.")


# ------------------------------------------------------------- helpers


def _load(path: str, network: str | None) -> Model:
    from sightline.predict.model import Model

    folder = Path(path) / "model.sightline"
    return Model.load(folder if folder.is_file() else path, network=network)


def _records(run: str) -> list[Record]:
    from sightline.trace.records import read_records

    return read_records(Path(run))[0]


def _fitted(run: Run) -> dict[str, Any]:
    end = run.find("run", "end")[-1].body
    return {
        "run": str(run.folder), "bundle": end["bundle"], "seconds": end["seconds"],
        "epochs": run.epochs[-1].number, "best_epoch": run.find("train", "end")[-1].body["best_epoch"],
        "metrics": dict(run.metrics),
    }  # fmt: skip


def _print_json(values: Mapping[str, Any]) -> None:
    from sightline.trace.records import finite

    click.echo(
        json.dumps(finite(values), ensure_ascii=False, allow_nan=False, indent=2, default=str)
    )


def _safe(text: str) -> str:
    from sightline.views.format import plain

    return plain(text, 4000)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def main() -> None:
    """Run the command: exit code 2 and one message for a user's mistake, a traceback for ours.

    A reader that has seen enough, such as head, ends it without a word: click sees to that.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # a terminal that lacks a letter shows ? instead of failing
            stream.reconfigure(errors="replace")
    try:
        cli(prog_name="sightline", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        cause = error.__cause__  # click makes an Abort of every KeyboardInterrupt
        if isinstance(cause, Interrupted):
            _fail(_safe(str(cause)), 128 + cause.signal)
        _fail("\nInterrupted.", 130)
    except UserError as error:
        _fail(f"Error: {_safe(error.problem)} {_safe(error.fix)}", 2)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        _fail(f"Error: {what}{error.strerror or error}. Nothing was left half-written; free space or "
              "choose another place, then try again.", 2)  # fmt: skip
