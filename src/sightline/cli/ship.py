"""Commands that take a model to production: export."""

from __future__ import annotations

from pathlib import Path

import click

from sightline.cli.options import (
    Command,
    json_option,
    model_argument,
    network_option,
    quiet_option,
)
from sightline.cli.output import load_model, print_json, safe
from sightline.errors import OptionError, counted, readable


@click.command(cls=Command)
@model_argument
@click.option("-o", "--output", type=click.Path(), help="The file to write, e.g. model.onnx.")
@click.option(
    "--into-bundle", is_flag=True,
    help="Put the ONNX model into the .sightline file: MODEL itself, or a copy at --output.",
)  # fmt: skip
@click.option(
    "--alpha", type=float, metavar="SHARE",
    help="The share of rows whose prediction set or interval may miss the truth.  [default: 0.1]",
)  # fmt: skip
@click.option(
    "--check", metavar="SOURCE", help="Rows of your own to compare on as well, e.g. new.csv."
)
@network_option
@quiet_option
@json_option
def export(
    model: str, output: str | None, into_bundle: bool, alpha: float | None, check: str | None, network: str | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write MODEL as one ONNX file, and prove that it predicts the same."""
    from sightline.predict.bundle import BUNDLE

    if output is None and not into_bundle:
        raise OptionError("No file is given to write.", "Give -o model.onnx, or --into-bundle.")
    own = Path(model) / BUNDLE if Path(model).is_dir() else Path(model)
    over = output is not None and Path(output).exists() and own.exists() and own.samefile(output)
    if over and not into_bundle:
        raise OptionError(
            f"{output} is the model, which the export would overwrite.", "Give another file to -o."
        )
    loaded = load_model(model, network)
    if into_bundle:
        path = own if output is None else Path(output)
        result = loaded.save(path, onnx=True, alpha=alpha, check=check)
    else:
        assert output is not None
        path = Path(output)
        result = loaded.to_onnx(path, alpha=alpha, check=check)
    assert result is not None
    if as_json:
        print_json({"output": str(path), **result})
    elif not quiet:
        unit = "" if loaded.task.classification else " standard deviations of the target"
        ties = f"; {counted(result['ties'], 'tie')} decided otherwise" if result["ties"] else ""
        click.echo(safe(
            f"{path}: ONNX with the preparation inside, {result['bytes'] / 1e6:.1f} MB. On "
            f"{counted(result['rows'], 'row')} it differs from the model by at most "
            f"{readable(result['largest_difference'], 2)}{unit}{ties}."
        ))  # fmt: skip
