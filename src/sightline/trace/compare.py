"""Compare runs by their records: settings that differ, and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.contracts import Record
from sightline.trace.records import find, read_records

METRICS = ("accuracy", "log_loss", "roc_auc", "average_precision", "rmse", "mae", "r2")
PLANNED = ("device", "precision", "threads", "epochs", "batch_size", "micro_batch")


def compare(*runs: str | Path) -> dict[str, Any]:
    """Compare the settings and metrics of runs.

    Args:
        runs: Run folders, usually two or more.

    Returns:
        `runs`: the folders. `settings`: for each setting that differs, its value in each run, or None
        where a run does not have it. `same`: number of settings that are equal. `metrics`: for each
        metric, its value in each run: the metrics of stage 5, then `valid_loss` of the best epoch,
        `best_epoch`, `epochs`, `steps`, `edits`, `parameters` and `seconds` of training.

    Raises:
        RunError: A folder is no run, or its records are damaged.

    Example:
        >>> import sightline as sl
        >>> table = "examples/penguins.csv"
        >>> one = sl.fit(table, "species", epochs=2, quiet=True)
        >>> two = sl.fit(table, "species", epochs=2, learning_rate=0.01, quiet=True)
        >>> sl.compare(one.folder, two.folder)["settings"]
        {'learning_rate': [0.002, 0.01]}
    """
    records = [read_records(Path(run))[0] for run in runs]
    settings = [_settings(run) for run in records]
    names = dict.fromkeys(name for values in settings for name in values)
    rows = {name: [values.get(name) for values in settings] for name in names}
    differ = {name: row for name, row in rows.items() if any(value != row[0] for value in row)}
    metrics = [_metrics(run) for run in records]
    known = dict.fromkeys(name for values in metrics for name in values)
    return {
        "runs": [str(run) for run in runs],
        "settings": differ,
        "same": len(rows) - len(differ),
        "metrics": {name: [values.get(name) for values in metrics] for name in known},
    }


def _settings(records: Sequence[Record]) -> dict[str, Any]:
    """Return every setting that was requested or planned, by name."""
    start = _body(records, "run", "start")
    split = {f"split.{name}": value for name, value in start.get("split", {}).items()}
    read = {f"read.{name}": value for name, value in start.get("read", {}).items()}
    plan = _body(records, "train", "plan")
    network = _body(records, "build", "network").get("again", {})
    edits = [
        f"after step {record.body['step']:,}: {record.body['said']}"
        for record in find(records, "train", "edit")
    ]
    return {
        "source": start.get("source"), **split, **read, "numeric": start.get("numeric"),
        "network": network.get("class"),
        **{f"network.{name}": value for name, value in network.get("config", {}).items()},
        "network.source": network.get("source"),
        **start.get("settings", {}),
        **{f"plan.{name}": plan.get(name) for name in PLANNED if plan},
        "edits": edits,
        **{f"versions.{name}": value for name, value in start.get("versions", {}).items()},
    }  # fmt: skip


def _metrics(records: Sequence[Record]) -> dict[str, Any]:
    metrics = _body(records, "predict", "metrics")
    end = _body(records, "train", "end")
    epochs = [record.body for record in find(records, "train", "epoch")]
    best = next((e for e in epochs if e["number"] == end.get("best_epoch")), {})
    return {
        **{name: metrics[name] for name in METRICS if name in metrics},
        "part": metrics.get("part"),
        "valid_loss": best.get("valid_loss"),
        "best_epoch": end.get("best_epoch"),
        "epochs": epochs[-1]["number"] if epochs else None,
        "steps": end.get("steps"),
        "edits": end.get("edits"),
        "parameters": end.get("parameters"),
        "seconds": end.get("seconds"),
    }


def _body(records: Sequence[Record], stage: str, type_: str) -> Mapping[str, Any]:
    """Return the body of the last record of a type; empty for a run that was interrupted before it."""
    matching = find(records, stage, type_)
    return matching[-1].body if matching else {}
