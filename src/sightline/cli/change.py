"""The command that changes a training in another process: edit."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sightline.cli.options import Command, json_option, run_argument
from sightline.cli.output import print_json, safe
from sightline.errors import OptionError


@click.command(cls=Command)
@run_argument
@click.option(
    "--widen",
    multiple=True,
    metavar="LAYER=UNITS",
    help="Give a hidden layer this many units, e.g. hidden.0=128. May be repeated.",
)
@click.option(
    "--deepen",
    multiple=True,
    metavar="LAYER",
    help="Insert a new layer behind a hidden layer, e.g. hidden.0. May be repeated.",
)
@click.option(
    "--replace",
    multiple=True,
    metavar="MODULE=TEXT",
    help='Replace a module, e.g. "hidden.0.activation=GELU()". May be repeated.',
)
@click.option(
    "--freeze",
    multiple=True,
    metavar="NAME",
    help="Stop updating parameters: one, or all below a name, e.g. embeddings. May be repeated.",
)
@click.option(
    "--unfreeze",
    multiple=True,
    metavar="NAME",
    help="Update frozen parameters again, e.g. embeddings. May be repeated.",
)
@click.option(
    "--learning-rate",
    type=float,
    help="The learning rate from now on, e.g. 0.0003; the rest of a schedule is scaled with it.",
)
@click.option("--weight-decay", type=float, help="The weight decay from now on, e.g. 0.1.")
@click.option("--batch-size", type=int, help="Rows of a batch from now on, e.g. 64.")
@click.option(
    "--epochs",
    type=int,
    help="The new largest number of epochs, e.g. 200; the rest of a schedule is stretched to it.",
)
@click.option(
    "--stop", is_flag=True, help="End the training now; calibration and report follow as usual."
)
@click.option("--pause", is_flag=True, help="Pause the training at its next step.")
@click.option("--continue", "continue_", is_flag=True, help="Continue a paused training.")
@click.option(
    "--one-epoch", is_flag=True, help="Continue to the end of the epoch, then pause again."
)
@click.option(
    "--wait",
    default=30.0,
    metavar="SECONDS",
    show_default=True,
    help="How many seconds to wait for the run to answer.",
)
@json_option
def edit(run: str, wait: float, as_json: bool, **options: Any) -> None:
    """Change RUN while it trains in another process. The edits are applied at its next step."""
    from sightline.pipeline.control import control_and_wait, send_and_wait

    names = (("pause", "pause"), ("continue_", "continue"), ("one_epoch", "one_epoch"))
    controls = [control for name, control in names if options.pop(name)]
    if controls and (len(controls) > 1 or any(options.values())):
        raise OptionError(
            "--pause, --continue, --one-epoch and edits are given together.",
            "Give one of them at a time.",
        )
    if controls:
        answers, refused = control_and_wait(Path(run), controls[0], wait)
    else:
        answers, refused = send_and_wait(Path(run), _edits(options), wait)
    if as_json:
        print_json({"run": run, "answers": answers, "refused": refused})
    else:
        for sentence in answers:
            click.echo(safe(sentence))
    if refused:
        sys.exit(2)


def _edits(options: Mapping[str, Any]) -> list[Any]:
    from sightline import contracts as c

    edits: list[Any] = []
    for pair in options["widen"]:
        name, _, units = pair.rpartition("=")
        if not name or not units.isdecimal():
            raise OptionError(
                f"--widen {pair!r} is not of the form LAYER=UNITS.",
                "Write LAYER=UNITS, such as hidden.0=128.",
            )
        edits.append(c.Widen(name, int(units)))
    edits += [c.Deepen(name) for name in options["deepen"]]
    for pair in options["replace"]:
        name, equals, text = pair.partition("=")
        if not equals:
            raise OptionError(
                f"--replace {pair!r} is not of the form MODULE=TEXT.",
                'Write MODULE=TEXT, such as "hidden.0.activation=GELU()".',
            )
        edits.append(c.Replace(name, text))
    edits += [c.Freeze(name) for name in options["freeze"]]
    edits += [c.Unfreeze(name) for name in options["unfreeze"]]
    kinds = {
        "learning_rate": c.SetLearningRate, "weight_decay": c.SetWeightDecay,
        "batch_size": c.SetBatchSize, "epochs": c.SetEpochs,
    }  # fmt: skip
    edits += [kind(options[name]) for name, kind in kinds.items() if options[name] is not None]
    edits += [c.Stop()] if options["stop"] else []
    if not edits:
        raise OptionError("No edit is given.", "Give one, such as --widen hidden.0=128.")
    return edits
