"""Commands that take a model to production: threshold, distill, export, card, serve."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sightline.archive import atomic_file, member
from sightline.cli.options import (
    Command,
    encoding_option,
    json_option,
    model_argument,
    network_option,
    query_option,
    quiet_option,
    ready_json_option,
)
from sightline.cli.output import load_model, print_json, print_json_line, safe
from sightline.cli.train import alone
from sightline.contracts.exported import ONNX_MEMBER
from sightline.errors import OptionError, counted, readable

if TYPE_CHECKING:
    from sightline.predict.loading import Engine
    from sightline.serve.settings import Log

SERVE_NEEDS = ("starlette", "uvicorn", "prometheus_client")


@click.command(cls=Command)
@model_argument
@click.argument("value")
@click.option(
    "-o", "--output", type=click.Path(), required=True, help="The file to write, e.g. model-0.37.sightline."
)  # fmt: skip
@network_option
@quiet_option
@json_option
def threshold(
    model: str, value: str, output: str, network: str | None, quiet: bool, as_json: bool
) -> None:
    """Write MODEL with the decision threshold VALUE, such as 0.37; nothing is fitted again."""
    number = _as_threshold(value)
    own = _file_of(model)
    if _same_file(output, own):
        raise OptionError(
            f"{output} is the model itself, which is kept.", "Give another file to -o."
        )
    loaded = load_model(model, network)
    changed = loaded.with_threshold(number)
    onnx = member(own, "model", ONNX_MEMBER)
    alpha = None
    if onnx is not None:
        from sightline.predict.onnx_model import OnnxModel

        alpha = OnnxModel.load(own).metadata["alpha"]
    changed.save(output, onnx=onnx is not None, alpha=alpha)
    before = 0.5 if loaded.threshold is None else loaded.threshold.value
    if as_json:
        print_json(
            {"output": output, "threshold": number, "before": before, "onnx": onnx is not None}
        )
    elif not quiet:
        assert changed.threshold is not None
        words = changed.threshold.words(changed.spec.target)
        click.echo(safe(f"{output}: {words} It was {before:g} in {own}."))


def _as_threshold(text: str) -> float:
    from sightline.predict.threshold import THRESHOLDS

    try:
        return float(text)
    except ValueError as error:
        if text in THRESHOLDS:
            raise OptionError(
                f"{text} is a metric: the threshold that it is best with is chosen on held-out rows, during a fit.",
                f"Give the threshold itself, such as 0.37, or fit with --threshold {text}.",
            ) from error
        raise OptionError(
            f"{text!r} is not a number.", "Give a threshold between 0 and 1, such as 0.37."
        ) from error


def _file_of(model: str) -> Path:
    """Return a model's file, also if its run folder is given."""
    from sightline.predict.described import BUNDLE

    return Path(model) / BUNDLE if Path(model).is_dir() else Path(model)


def _same_file(output: str | None, own: Path) -> bool:
    return output is not None and Path(output).exists() and own.exists() and own.samefile(output)


@click.command(cls=Command)
@model_argument
@click.argument("source")
@click.option(
    "-o", "--output", type=click.Path(), required=True, help="The file to write, e.g. student.sightline."
)  # fmt: skip
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Seed of the rows held out, the perturbed copies, the first weights and the batches.",
)
@encoding_option
@query_option
@network_option
@quiet_option
@json_option
@alone
def distill(
    model: str, source: str, output: str, seed: int, encoding: str | None, query: str | None, network: str | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train one network to predict what MODEL predicts for the rows of SOURCE and perturbed copies of them.

    The network is a model like others, and faster than one of several parts. The target is not learned from: SOURCE may
    lack it. With it, both are compared on rows that neither has learned from, if there are any.
    """
    from sightline.pipeline.distill import distill as run_distill

    for name, what in ((_file_of(model), "the model"), (Path(source), "the rows to learn from")):
        if _same_file(output, name):
            raise OptionError(
                f"{output} is {what}, which the new model would overwrite.",
                "Give another file to -o.",
            )
    if Path(output).is_dir():
        raise OptionError(f"{output} is a folder.", "Give a file to -o, such as student.sightline.")
    distilled = run_distill(
        load_model(model, network), source, seed=seed, encoding=encoding, query=query
    )
    distilled.model.save(output)
    if as_json:
        print_json({"output": output, **distilled.to_json()})
    elif not quiet:
        for line in distilled.lines():
            click.echo(safe(line))


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
    if output is None and not into_bundle:
        raise OptionError("No file is given to write.", "Give -o model.onnx, or --into-bundle.")
    own = _file_of(model)
    if _same_file(output, own) and not into_bundle:
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


@click.command(cls=Command)
@model_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="The file to write, e.g. README.md.  [default: standard output]",
)
@network_option
@json_option
def card(model: str, output: str | None, network: str | None, as_json: bool) -> None:
    """Print the model card of MODEL: what it is, what it was made of and how good it is, as Markdown."""
    text = load_model(model, network).card
    if text is None:
        raise OptionError(f"{model} holds no model card: sl.fit did not make it, or an older Sightline did.", "Fit it again.")  # fmt: skip
    if output is not None:
        with atomic_file(Path(output)) as file:
            file.write(text.encode("utf-8", "replace"))
    if as_json:
        print_json({"model": model, "output": output, "card": text})
    elif output is None:
        for line in text.splitlines():
            click.echo(safe(line))


@click.command(cls=Command)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--watch", type=click.Path(), metavar="FOLDER",
    help="Serve the models of a folder, and change to new ones as they appear.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port; 0 is any free one.")
@click.option("--workers", default=1, show_default=True, help="The number of processes.")
@click.option(
    "--engine", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True,
    help="What computes; auto is ONNX Runtime where the file holds the model as ONNX.",
)  # fmt: skip
@click.option(
    "--queue", default=1000, show_default=True,
    help="Requests that wait in a process; a further one is answered with 503.",
)  # fmt: skip
@click.option(
    "--batch-rows", default=1024, show_default=True, help="Rows that are computed together, at most."
)  # fmt: skip
@click.option(
    "--timeout", default=10.0, show_default=True, metavar="SECONDS",
    help="From a request's arrival to its answer; then it is answered with 504.",
)  # fmt: skip
@click.option(
    "--max-body", default=16 << 20, show_default=True, metavar="BYTES", help="Of a request."
)  # fmt: skip
@click.option("--max-rows", default=10_000, show_default=True, help="Of a request.")
@click.option(
    "--drain", default=5.0, show_default=True, metavar="SECONDS",
    help="From SIGTERM, when /v2/health/ready turns to 503, to the end of listening.",
)  # fmt: skip
@click.option(
    "--api-keys", type=click.Path(), metavar="FILE",
    help="A file with an API key a line, which requests must have; or the environment variable SIGHTLINE_API_KEYS.",
)  # fmt: skip
@click.option(
    "--log", type=click.Choice(["all", "errors", "none"]), default="errors", show_default=True,
    help="Which requests are logged, as JSON lines on standard error.",
)  # fmt: skip
@click.option(
    "--log-rows", is_flag=True, help="Log error messages too, which may quote values of rows."
)
@network_option
@quiet_option
@ready_json_option
def serve(
    models: tuple[str, ...], watch: str | None, host: str, port: int, workers: int, engine: Engine, queue: int,
    batch_rows: int, timeout: float, max_body: int, max_rows: int, drain: float, api_keys: str | None, log: Log,
    log_rows: bool, network: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Serve each MODEL over HTTP: a .sightline or .onnx file or a run folder, or NAME=PATH.

    Paths: /predict and /explain for rows as JSON, /v2 for the Open Inference Protocol, /metrics, /docs, and / to try
    rows by hand. SIGHUP looks at the files again; SIGTERM drains and ends.
    """
    needed = [name for name in SERVE_NEEDS if importlib.util.find_spec(name) is None]
    if needed:
        raise OptionError(
            f"Serving needs {', '.join(needed)}.", 'Install it: pip install "sightline[serve]".'
        )
    from sightline.serve.settings import Settings, keys_of
    from sightline.serve.supervisor import Supervisor

    lines = os.environ.get("SIGHTLINE_API_KEYS", "").split(",")
    if api_keys is not None:
        try:
            lines += Path(api_keys).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(
                f"{api_keys} cannot be read: {error}.", "Give a text file with an API key a line."
            ) from error
    keys = keys_of(lines)
    if api_keys is not None and not keys:
        raise OptionError(f"{api_keys} holds no key.", "Write an API key a line.")
    settings = Settings(
        host=host, port=port, workers=workers, engine=engine, network=network, batch_rows=batch_rows, queue=queue,
        timeout=timeout, max_body=max_body, max_rows=max_rows, drain=drain, keys=keys, log=log, log_rows=log_rows,
    )  # fmt: skip

    def ready(url: str, names: list[str]) -> None:
        if as_json:
            print_json_line({"address": url, "models": names})
        elif not quiet:
            click.echo(safe(f"Serving {', '.join(names)} at {url} (interface: {url}/docs). Stop with Ctrl-C."))  # fmt: skip

    Supervisor(settings, models, None if watch is None else Path(watch), ready).run()
