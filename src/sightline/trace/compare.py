"""Compare runs by their records: settings that differ, and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.contracts import Record
from sightline.contracts.metrics import METRICS as KNOWN
from sightline.trace.records import find, number, read_records

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
        `best_epoch`, `epochs`, `steps`, `edits`, `parameters` and `seconds` of training. `better`: for each metric
        with different values that can be compared, the numbers of the runs that have the best one. `warnings`: why
        metrics cannot be compared, in sentences.

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
    by_name = {name: [values.get(name) for values in metrics] for name in known}
    warnings = _warnings(records)
    return {
        "runs": [str(run) for run in runs],
        "settings": differ,
        "same": len(rows) - len(differ),
        "metrics": by_name,
        "better": {} if warnings else _better(by_name),
        "warnings": warnings,
    }


def _better(metrics: Mapping[str, Sequence[Any]]) -> dict[str, list[int]]:
    """Return for each metric whose values differ the numbers of the runs with the best one."""
    better = {}
    for name, values in metrics.items():
        finite = {
            index: number(value) for index, value in enumerate(values)
            if value is not None and name in METRICS and math.isfinite(number(value))
        }  # fmt: skip
        if len(set(finite.values())) < 2:
            continue
        greater = KNOWN[name].greater_is_better
        best = max(finite.values()) if greater else min(finite.values())
        better[name] = [index for index, value in finite.items() if value == best]
    return better


def _warnings(records: Sequence[Sequence[Record]]) -> list[str]:
    """Say why the metrics of runs cannot be compared: other rows, another target, or other test rows."""
    starts = [_body(run, "run", "start") for run in records]
    origins = [start.get("origin", {}) for start in starts]
    splits = [
        {
            name: value
            for name, value in start.get("split", {}).items()
            if name not in ("folds", "valid")
        }
        for start in starts
    ]
    parts = [_body(run, "predict", "metrics").get("part") for run in records]
    if _differ([start.get("target", {}).get("name") for start in starts]):
        return ["The runs predict different targets: their metrics cannot be compared."]
    if _differ([origin.get("fingerprint") for origin in origins]):
        return [
            "The tables of the runs differ: their metrics are not of the same rows, and cannot be compared."
        ]
    names = sorted(
        {name for one in splits for name in one if _differ([split.get(name) for split in splits])}
    )
    if names:
        return [
            f"The runs were split differently ({', '.join(names)}): their metrics are not of the same rows."
        ]
    if _differ(parts):
        return [
            "The metrics are of different parts of the tables, such as test and validation rows."
        ]
    return []


def _differ(values: Sequence[Any]) -> bool:
    """Tell whether values that are known differ."""
    known = [value for value in values if value is not None]
    return any(value != known[0] for value in known)


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
        **{f"recipe.{name}": value for name, value in start.get("recipe", {}).items()},
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
