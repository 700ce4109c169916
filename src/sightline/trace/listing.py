"""The runs of a folder, as a list: when each was made, of which table, and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.contracts import Record
from sightline.errors import RunError
from sightline.trace.records import being_written, find, read_records

TRACE = "trace.jsonl"
MAIN_METRICS = ("accuracy", "rmse")


def runs(folder: str | Path = "runs") -> list[dict[str, Any]]:
    """List the runs of a folder, the newest first.

    Args:
        folder: The folder that holds the run folders.

    Returns:
        For each run `run` (its folder), `date` (ISO 8601, in UTC), `table`, `target`, `state` ("complete", "training",
        "interrupted" or "damaged"), `metric` and `value` on the rows of `part`, `rows` of the table, and `seconds`;
        None where the run has not come to it, or cannot be read. Empty where no run is in the folder.

    Raises:
        RunError: There is no such folder, or it is a run itself.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True, run="runs/listed/first")
        >>> [(one["run"], one["target"], one["state"], one["metric"]) for one in sl.runs("runs/listed")]
        [('runs/listed/first', 'species', 'complete', 'accuracy')]
    """
    place = Path(folder)
    if not place.is_dir():
        raise RunError(
            f"There is no folder {folder}.",
            "Give the folder that holds run folders, or fit a table first.",
        )
    if (place / TRACE).is_file():
        raise RunError(
            f"{folder} is a run itself.", f"Give the folder that it is in: {place.parent}."
        )
    found = [_listed(path.parent) for path in place.glob(f"*/{TRACE}")]
    return sorted(found, key=lambda one: (one["date"] or "", one["run"]), reverse=True)


def _listed(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(
        ("date", "table", "target", "metric", "value", "part", "rows", "seconds")
    )
    row = {"run": str(folder), "state": "damaged", **row}
    try:
        records, _ = read_records(folder)
    except RunError:  # the list shows the others all the same
        return row
    start, table, metrics, end = (
        _last(records, *kind)
        for kind in (("run", "start"), ("load", "table"), ("predict", "metrics"), ("run", "end"))
    )
    ended = "complete" if end else "training" if being_written(folder) else "interrupted"
    metric = next((name for name in MAIN_METRICS if name in metrics), None)
    return {
        **row, "state": ended, "date": records[0].time if records else None, "table": start.get("source"),
        "target": start.get("target", {}).get("name"), "metric": metric, "value": metrics.get(metric or ""),
        "part": metrics.get("part"), "rows": table.get("rows"), "seconds": end.get("seconds"),
    }  # fmt: skip


def _last(records: list[Record], stage: str, type_: str) -> dict[str, Any]:
    matching = find(records, stage, type_)
    return dict(matching[-1].body) if matching else {}
