"""How well a fit keeps to its time limit, and what more time brings.

    python -m benchmarks.time_limit FOLDER [--tables penguins credit_g ...] [--limits 10 30 60] [--qualities default best]

FOLDER holds gzipped CSV files as `benchmarks.real_tables` names them. Each fit is a process of its own, as a command is:
its seconds are those of the whole `sl.fit`, from reading to the report, with loading of libraries that `import sightline`
leaves for later. Loss: log loss or RMSE, on the test rows and out of fold.

Target: no fit takes more than a tenth of its limit longer, or a second, whichever is more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import save
from benchmarks.real_tables import TARGETS

TABLES = ("penguins", "credit_g", "online_shoppers", "adult", "connect4")
PROGRAM = """
import json, sys, time
import sightline as sl
table, target, quality, limit, folder = sys.argv[1:]
fit = sl.fit
began = time.perf_counter()
run = fit(table, target, quality=quality, time_limit=float(limit), run=folder, quiet=True)
seconds = time.perf_counter() - began
held_out = min(epoch.valid_loss for epoch in run.epochs)
metrics, spent = run.metrics, run.find("train", "time_limit")[0].body
short = run.find("predict", "time_limit")
print(json.dumps({
    "seconds": round(seconds, 2), "loss": metrics.get("log_loss", metrics.get("rmse")), "network_held_out_loss": held_out,
    "parts": list(run.model.blend.weights), "parts_left_out": [part["part"] for part in spent["left_out"]],
    "left_out_at_the_end": short[0].body["left_out"] if short else [], "stopped": run.find("train", "end")[0].body["stopped"],
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--limits", nargs="+", type=float, default=[10.0, 30.0, 60.0])
    parser.add_argument("--qualities", nargs="+", default=["default", "best"])
    parser.add_argument("--note", default=None, help="What else the machine did meanwhile.")
    parser.add_argument("--name", default="time_limit")
    options = parser.parse_args()
    save(options.name, measure(options))


def measure(options: Any) -> dict[str, Any]:
    fits = [
        {"table": table, "quality": quality, "limit": limit, **fit(options.folder, table, quality, limit)}
        for limit in options.limits for table in options.tables for quality in options.qualities
    ]  # fmt: skip
    over = [one for one in fits if one["seconds"] > one["limit"] + max(one["limit"] / 10, 1.0)]
    return {
        "note": options.note, "kept": len(fits) - len(over), "of": len(fits),
        "largest_share": max(one["seconds"] / one["limit"] for one in fits), "fits": fits,
    }  # fmt: skip


def fit(folder: Path, table: str, quality: str, limit: float) -> dict[str, Any]:
    """Fit one table in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable, "-c", PROGRAM, str(folder / f"{table}.csv.gz"), TARGETS[table], quality, str(limit),
            str(Path(place) / "run"),
        ]  # fmt: skip
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    result["load"] = round(os.getloadavg()[0], 1)
    print(table, quality, f"{limit:g} s:", result, flush=True)
    return result


if __name__ == "__main__":
    main()
