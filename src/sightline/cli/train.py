"""Commands that make runs: demo, fit, tune, resume, replay."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from sightline.cli.options import (
    Command,
    fit_options,
    given,
    json_option,
    live_option,
    network_option,
    quiet_option,
    ray_engine,
    run_argument,
    target_of,
    target_option,
    workers_option,
)
from sightline.cli.output import print_json, records_of, safe, summary
from sightline.errors import OptionError


def together(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command train together with the other processes that torchrun has started, if it has."""

    @functools.wraps(command)
    def with_others(run: str | None, **options: Any) -> None:
        if "WORLD_SIZE" not in os.environ:  # PyTorch need not be imported for a mistake
            command(run=run, **options)
            return
        from sightline.train.processes import joined

        with joined(run):
            command(run=run, **options)

    return with_others


def alone(command: Callable[..., None]) -> Callable[..., None]:
    """Refuse a command where torchrun has started several processes: each would do the same."""

    @functools.wraps(command)
    def checked(**options: Any) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from sightline.train.processes import launched

            if (size := launched()) > 1:
                raise OptionError(
                    f"{command.__name__} is for one process, and torchrun has started {size:,}.",
                    "Start it without torchrun.",
                )
        command(**options)

    return checked


@click.command(cls=Command)
@click.option(
    "--lesson", metavar="NAME",
    help="Show what goes wrong in training, and its cure, side by side: overfitting, learning-rate, leakage, imbalance, "
    "vanishing, unscaled or label-noise.",
)  # fmt: skip
@click.option(
    "--run",
    metavar="DIR",
    help="The run folder to make, e.g. runs/first.  [default: runs/demo-TIME, runs/lesson-NAME-TIME]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Seed of the data, the split, the first weights and the batches.",
)
@live_option
@quiet_option
@json_option
@alone
def demo(
    lesson: str | None, run: str | None, seed: int, live: bool, quiet: bool, as_json: bool
) -> None:
    """Watch a small network learn three classes from ten numbers, or go wrong."""
    if lesson is not None:
        _lesson(lesson, run, seed, live, quiet, as_json)
        return
    from sightline.pipeline.demo import demo as run_demo

    result = run_demo(run=run, seed=seed, live=live, quiet=quiet or as_json)
    if as_json:
        print_json(summary(result))


def _lesson(
    lesson: str, run: str | None, seed: int, live: bool, quiet: bool, as_json: bool
) -> None:
    from sightline.pipeline.lessons import teach

    if live:
        raise OptionError("--live shows one run, and a lesson makes several.", "Leave out --live.")
    taught = teach(lesson, run=run, seed=seed, quiet=quiet or as_json)
    if as_json:
        print_json(taught.body)


@click.command(cls=Command)
@click.argument("source")
@target_option
@click.option(
    "--from", "model", type=click.Path(), metavar="MODEL",
    help="Fit with the columns and options of this model; options that are given replace its own.",
)  # fmt: skip
@click.option(
    "--warm-start", is_flag=True,
    help="With --from: begin with the model's weights; rows that it has seen keep their fold or part.",
)  # fmt: skip
@fit_options("split", "read", "model", "training", "run")
@workers_option
@click.option("--balanced", is_flag=True, help="The same as --class-weights balanced.")
@json_option
@together
def fit(
    source: str, target: str | None, model: str | None, warm_start: bool, workers: str | None, balanced: bool,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Take SOURCE (a file, folder or glob) through all five stages."""
    options["engine"] = ray_engine(options["engine"], workers)
    if balanced and options["class_weights"] not in (None, "balanced"):
        raise OptionError(
            "--balanced and --class-weights are given together.", "Give only one of them."
        )
    if balanced:
        options["class_weights"] = "balanced"
    options["quiet"] = options["quiet"] or as_json
    if model is not None:
        _refit(source, target, model, warm_start, options, as_json)
        return
    if warm_start:
        raise OptionError("--warm-start is given without a model.", "Give its file: --from MODEL.")
    target = target_of(source, target, options)
    from sightline.pipeline.fit import fit as run_fit

    run = run_fit(source, target, **given(options))
    if as_json:
        print_json(summary(run))


def _refit(
    source: str, target: str | None, model: str, warm_start: bool, options: dict[str, Any], as_json: bool
) -> None:  # fmt: skip
    from dataclasses import asdict

    from sightline.pipeline.refit import refit

    typed = {
        name: value for name, value in options.items()
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
    }  # fmt: skip
    if options["class_weights"] == "balanced":
        typed["class_weights"] = "balanced"
    typed |= {"quiet": options["quiet"]} | ({"target": target} if target is not None else {})
    run, changes = refit(source, model, warm_start=warm_start, **typed)
    if as_json:
        print_json({**summary(run), "changes": asdict(changes)})
    elif not options["quiet"]:
        for sentence in changes.sentences():
            click.echo(safe(sentence), err=True)


@click.command(cls=Command)
@click.argument("source")
@target_option
@click.option(
    "--trials",
    default=50,
    show_default=True,
    help="How many fits; the first has the default options.",
)
@click.option(
    "--workers",
    type=int,
    help="Fits side by side, each in a process.  [default: 1; with --engine ray 2]",
)
@click.option(
    "--vary", multiple=True, metavar="NAME=VALUES",
    help="An option to vary and its values, e.g. learning_rate=0.0003..0.01 or numeric=robust|quantile. May be repeated.  "
    "[default: learning rate, weight decay, dropout, hidden layers, scaling, batch size]",
)  # fmt: skip
@click.option(
    "--folder", type=click.Path(), metavar="DIR",
    help="Where to write; a tuning with the same options there goes on.  [default: runs/NAME-tuned-TIME]",
)  # fmt: skip
@click.option(
    "--prune/--no-prune",
    default=True,
    show_default=True,
    help="Stop a fit that is worse than most at the same epoch.",
)
@fit_options("split", "read", "model", "training", "run")
@json_option
@alone
def tune(
    source: str, target: str | None, trials: int, workers: int | None, vary: tuple[str, ...], folder: str | None, prune: bool,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Fit SOURCE many times with other options, and once more with the best ones."""
    from sightline.pipeline.tuning import parse_vary
    from sightline.pipeline.tuning import tune as run_tune

    if options.pop("run") is not None:
        raise OptionError("--run is for one fit.", "Give --folder for a tuning.")
    target = target_of(source, target, options)
    options["quiet"] = options["quiet"] or as_json
    quiet = options["quiet"]
    tuned = run_tune(
        source, target, trials=trials, workers=workers, space=parse_vary(vary), folder=folder, prune=prune, **given(options)
    )  # fmt: skip
    if as_json:
        print_json({**tuned.to_json(), "metrics": dict(tuned.run.metrics)})
    elif not quiet:
        for sentence in tuned.sentences():
            click.echo(safe(sentence))
        click.echo(safe(f"All trials: {tuned.folder / 'tuning.html'}"))


@click.command(cls=Command)
@run_argument
@network_option
@click.option(
    "--watch",
    metavar="FILE.py:CLASS",
    help="Reload this network's file whenever it is saved from now on, e.g. net.py:Net.",
)
@click.option(
    "--checkpoint-seconds",
    type=float,
    metavar="SECONDS",
    help="Write a checkpoint every so many seconds, e.g. 60.  [default: as the fit was asked to]",
)
@click.option(
    "--checkpoint-epochs",
    type=int,
    help="Write a checkpoint every so many epochs, e.g. 10.  [default: as the fit was asked to]",
)
@live_option
@quiet_option
@json_option
@together
def resume(run: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Continue RUN, a fit that was interrupted, with the result of an uninterrupted fit."""
    from sightline.pipeline.runs import resume as run_resume
    from sightline.train.processes import current

    if (
        current().rank == 0
        and any(record.type == "end" and record.stage == "run" for record in records_of(run))
        and not quiet
    ):
        click.echo(f"{safe(run)} is complete: there is nothing to continue.", err=True)
    for name in ("checkpoint_seconds", "checkpoint_epochs"):
        if options[name] is None:
            del options[name]
    result = run_resume(run, quiet=quiet or as_json, **options)
    if as_json:
        print_json(summary(result))


@click.command(cls=Command)
@run_argument
@click.option(
    "--to",
    metavar="DIR",
    help="The run folder to make, e.g. runs/again.  [default: runs/NAME-TIME]",
)
@network_option
@quiet_option
@json_option
@alone
def replay(run: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Repeat RUN, with its edits at the same steps; exit code 1 if the weights differ."""
    from sightline.pipeline.fit import replay as run_replay

    result = run_replay(run, quiet=quiet or as_json, **options)
    comparison = result.find("train", "replay")[-1].body
    if as_json:
        print_json({**summary(result), **comparison})
    if not comparison["identical"]:
        sys.exit(1)
