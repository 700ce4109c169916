"""Rows a second of training: two processes of one thread each beside one process with one thread.

    python -m benchmarks.scale_processes [--rows 65536] [--epochs 4] [--repeats 3] [--name scale_processes]

Rows of made-up numbers, an MLP with three hidden layers of 512 units, float32, with the global batches 256, 1,024 and
4,096; the processes in turns. A figure is the median over epochs of the rows a second that the run has recorded, which
are those of the steps alone: starting, reading and measuring are not in it. It is the median of the repeats.

Target: 1.7 times the rows a second with a global batch of 4,096 on two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import save
from sightline.trace.records import find, read_records

COLUMNS = 64
BATCHES = (256, 1024, 4096)
NETWORK = """
import sightline as sl


class Net(sl.MLP):
    def __init__(self, spec):
        super().__init__(spec, hidden=[512, 512, 512])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="scale_processes")
    options = parser.parse_args()
    save(options.name, measure(options.rows, options.epochs, options.repeats))


def measure(rows: int, epochs: int, repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_table(folder / "rows.parquet", rows)
        (folder / "net.py").write_text(NETWORK)
        for batch in BATCHES:
            speeds: dict[int, list[float]] = {1: [], 2: []}
            for number in range(repeats):
                for processes in speeds:
                    run = f"{batch}-{number}-{processes}"
                    speeds[processes].append(rows_a_second(folder, run, processes, batch, epochs))
                    print(
                        batch, processes, round(speeds[processes][-1]), "rows a second", flush=True
                    )
            ratios = [two / one for one, two in zip(*speeds.values(), strict=True)]
            found[str(batch)] = {
                "rows_a_second": {str(n): statistics.median(each) for n, each in speeds.items()},
                "rounds": {str(n): each for n, each in speeds.items()},
                "two_times_one": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
            }  # fmt: skip
    return {
        "rows": rows, "columns": COLUMNS, "hidden": [512, 512, 512], "precision": "float32", "epochs": epochs,
        "batches": found, "target": "1.7 times with 4,096 rows",
    }  # fmt: skip


def write_table(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    target = (numbers[:, 0] + numbers[:, 1] * numbers[:, 2] > 0).astype(int)
    columns = {f"x{n}": numbers[:, n] for n in range(COLUMNS)}
    pq.write_table(pa.table({**columns, "y": np.where(target, "yes", "no")}), path)


def rows_a_second(folder: Path, run: str, processes: int, batch: int, epochs: int) -> float:
    """Train once, and return the median of the rows a second of the epochs after the first."""
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
        "-m",
        "--",
    ]
    words = [
        "sightline", "fit", "rows.parquet", "--target", "y", "--network", "net.py:Net", "--epochs", str(epochs),
        "--batch-size", str(batch), "--precision", "float32", "--device", "cpu", "--valid", "0.01", "--patience", "1000",
        "--no-report", "--no-baselines", "--quiet", "--run", run,
    ]  # fmt: skip
    root = str(Path(__file__).parent.parent / "src")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    subprocess.run([sys.executable, *launch, *words], cwd=folder, check=True, env=environment)
    epochs_recorded = find(read_records(folder / run)[0], "train", "epoch")[2:]
    return statistics.median(epoch.body["metrics"]["rows_per_second"] for epoch in epochs_recorded)


if __name__ == "__main__":
    main()
