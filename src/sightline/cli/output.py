"""What commands print, and how they open models and runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sightline.errors import BundleError

if TYPE_CHECKING:
    from sightline.contracts import Record
    from sightline.pipeline.folder import Run
    from sightline.predict.loading import Engine
    from sightline.predict.model import Model
    from sightline.predict.tables import TableModel


def load_model(path: str, network: str | None) -> Model:
    """Load a model file, or the model of a run folder."""
    from sightline.predict.model import Model

    if path.lower().endswith(".onnx"):
        raise BundleError(
            f"{path} is an ONNX model: predict and evaluate take it; this command needs the .sightline file.",
            "Give the model that it was exported from.",
        )
    return Model.load(path, network=network)


def load_for_rows(path: str, network: str | None, engine: Engine = "auto") -> TableModel:
    """Load a model file, a run folder's model, or an .onnx file, to predict and evaluate tables."""
    from sightline.predict.loading import load

    return load(path, engine, network)


def records_of(run: str) -> list[Record]:
    """Read the records of a run folder."""
    from sightline.trace.records import read_records

    return read_records(Path(run))[0]


def summary(run: Run) -> dict[str, Any]:
    """Return what `--json` prints about a run that has ended."""
    end = run.find("run", "end")[-1].body
    return {
        "run": str(run.folder), "bundle": end["bundle"], "seconds": end["seconds"],
        "epochs": run.epochs[-1].number, "best_epoch": run.find("train", "end")[-1].body["best_epoch"],
        "metrics": dict(run.metrics),
    }  # fmt: skip


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    import json

    from sightline.trace.records import finite

    # What the stream cannot encode would become "?", and two keys one: there, JSON escapes it.
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(
        json.dumps(finite(values), ensure_ascii=not unicode, allow_nan=False, indent=2, default=str)
    )


def print_json_line(values: Mapping[str, Any]) -> None:
    """Print one JSON object in one line, at once: what starts a server waits for this line."""
    import json

    click.echo(json.dumps(values))


def safe(text: str) -> str:
    """Escape control characters, so that no text of a table can control the terminal."""
    from sightline.views.format import plain

    return plain(text, 4000)
