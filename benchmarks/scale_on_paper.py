"""What tables of any size need, from measured constants: machines, hours, storage.

    python -m benchmarks.scale_on_paper [--rows 1e6 1e9 1e12] [--epochs 2] [--hidden 256 256 256]

The constants are those of `benchmarks/results/scale.json`, measured on two cores: seconds for a row of each pass over
the table, rows a second of training, bytes on the disk. A machine is taken to have `--cores` such cores, `--memory`,
and a network of `--network` bytes a second; passes over the table and training are taken to grow with the cores, and
each machine to prepare and train its share of the rows. Where that is not what is built, docs/scaling.md says so.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from typing import NamedTuple

from benchmarks.common import RESULTS

FEATURES = 32
PARQUET_BYTES = 218
"""Of a row of the synthetic table, 28 doubles and 4 categories."""
PREPARED_BYTES = 4 * FEATURES + 24
MEMORY_BYTES = 24
"""In memory for each row, while the rows are divided."""
STEP_ROWS = 4_096
"""Rows of a batch on each machine."""
PASSES = ("sample of the rows", "split, with the facts", "prepare and shuffle")


class Constants(NamedTuple):
    """Measured on two cores.

    Attributes:
        pass_seconds: For a row, all passes over the table together.
        flops: Floating-point operations a second of training.
    """

    pass_seconds: float
    flops: float


class Need(NamedTuple):
    """What a table needs."""

    machines: int
    hours_prepare: float
    hours_train: float
    bytes_parquet: float
    bytes_prepared: float
    bound: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e9, 1e12])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256, 256])
    parser.add_argument("--cores", type=int, default=32)
    parser.add_argument("--memory", type=float, default=128e9, help="bytes of a machine")
    parser.add_argument(
        "--network", type=float, default=1.25e9, help="bytes a second between two machines"
    )
    parser.add_argument(
        "--hours", type=float, default=24, help="the longest training that is wanted"
    )
    options = parser.parse_args()
    constants = measured()
    print(
        f"{constants.pass_seconds * 1e6:.2f} us for a row to prepare, {constants.flops / 1e9:.0f} GFLOP/s of training, two cores"
    )
    print("| rows | machines | hours to prepare | hours to train | Parquet | prepared | bound by |")
    print("|---|---|---|---|---|---|---|")
    for rows in options.rows:
        need = needed(rows, constants, options)
        print(
            f"| {rows:.0e} | {need.machines:,} | {need.hours_prepare:.2g} | {need.hours_train:.2g} | "
            f"{in_bytes(need.bytes_parquet)} | {in_bytes(need.bytes_prepared)} | {need.bound} |"
        )


def measured() -> Constants:
    """Read the constants from the largest table that was measured."""
    found = json.loads((RESULTS / "scale.json").read_text(encoding="utf-8"))
    largest = found["growth"][max(found["growth"], key=int)]
    seconds = sum(1 / largest["rows_a_second"][name] for name in PASSES)
    speed = found["rates"]["rows_a_second"]["disk"]
    return Constants(seconds, speed * 6 * weights(found["hidden"]))


def weights(hidden: list[int]) -> int:
    """Count the weights of a network: a row costs 2 operations for each forward, and 4 backward."""
    return sum(a * b for a, b in pairwise([FEATURES + 4 * 15, *hidden, 2]))


def needed(rows: float, constants: Constants, options: argparse.Namespace) -> Need:
    """Find the fewest machines that hold the rows and train them in time."""
    faster = options.cores / 2
    work = rows * options.epochs * 6 * weights(options.hidden) / (constants.flops * faster)
    least = max(
        math.ceil(rows * MEMORY_BYTES / options.memory), math.ceil(work / 3600 / options.hours), 1
    )
    machines = least
    gradients = 4 * weights(options.hidden) * 2 * (machines - 1) / machines
    steps = rows * options.epochs / (STEP_ROWS * machines)
    compute, network = work / machines, steps * gradients / options.network
    prepare = rows * constants.pass_seconds / faster / machines
    memory = math.ceil(rows * MEMORY_BYTES / options.memory) == machines > 1
    bound = "memory" if memory else "network" if network > compute else "processor"
    return Need(
        machines, prepare / 3600, (compute + network) / 3600, rows * PARQUET_BYTES, rows * PREPARED_BYTES, bound
    )  # fmt: skip


def in_bytes(size: float) -> str:
    for unit, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} bytes"


if __name__ == "__main__":
    main()
