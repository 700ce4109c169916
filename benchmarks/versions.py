"""This version beside an earlier one: start-up, loading and training, in one run.

    git worktree add ../earlier COMMIT
    python -m benchmarks.versions ../earlier/src [--only startup load train] [--sizes small medium] [--repeats 7]

The two versions take turns, each measurement in a process of its own that imports `sightline` from
the version's `src`; which goes first changes every round. A ratio is the median of the rounds'
ratios, this version's seconds divided by the earlier one's. Start-up counts user and system time,
loading and training the wall clock of the same work as in `benchmarks.load_speed` and
`benchmarks.train_speed`.

Target: every ratio at most 1, within its spread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import ratio, save
from benchmarks.load_speed import OURS, write_table
from benchmarks.startup import cost
from benchmarks.train_speed import SIZES

SOURCE = Path(__file__).parent.parent / "src"
STARTUP = {
    "sightline --help": ["-m", "sightline", "--help"],
    "sightline fit --help": ["-m", "sightline", "fit", "--help"],
    "import sightline": ["-c", "import sightline"],
}
TRAIN = """
import sys, tempfile
from benchmarks.train_speed import SIZES, Sides
with tempfile.TemporaryDirectory() as folder:
    sides = Sides(SIZES[sys.argv[1]], folder)
    sides.sightline()  # the first run fills caches
    print(min(sides.sightline() for _ in range(2)))
"""


def measures(
    only: list[str], sizes: list[str], rows: int, folder: Path
) -> dict[str, Callable[[], float]]:
    """Return what is measured, by name: each returns the seconds of the version on PYTHONPATH."""

    def printed(code: str, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    chosen: dict[str, Callable[[], float]] = {}
    if "startup" in only:
        for name, arguments in STARTUP.items():
            chosen[name] = lambda arguments=arguments: cost([sys.executable, *arguments])
    if "load" in only:
        table = folder / "table.csv"
        write_table(table, rows)
        chosen[f"load, {rows} rows"] = lambda: printed(OURS, str(table), "quantile")["seconds"]
    if "train" in only:
        for size in sizes:
            chosen[f"train, {size}"] = lambda size=size: printed(TRAIN, size)
    return chosen


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("earlier", type=Path, help="the earlier version's src folder")
    parser.add_argument(
        "--only", nargs="+", choices=["startup", "load", "train"],
        default=["startup", "load", "train"], help="what to measure",
    )  # fmt: skip
    parser.add_argument(
        "--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="what to train"
    )
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the loaded table")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    given = parser.parse_args()
    versions = {"this": SOURCE, "earlier": given.earlier.resolve()}
    if not (versions["earlier"] / "sightline").is_dir():
        parser.error(f"{given.earlier} holds no package sightline: give the src folder.")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in measures(given.only, given.sizes, given.rows, Path(folder)).items():
            seconds: dict[str, list[float]] = {"this": [], "earlier": []}
            for number in range(given.repeats):
                for version in sorted(versions, reverse=bool(number % 2)):
                    os.environ["PYTHONPATH"] = str(versions[version])
                    seconds[version].append(measure())
            results[name] = {"ratio": ratio(seconds, "this", "earlier"), "seconds": seconds}
            print(name, results[name]["ratio"], flush=True)
    commit = subprocess.run(
        ["git", "-C", str(versions["earlier"]), "rev-parse", "HEAD"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    save("versions", {"earlier": commit, "results": results})


if __name__ == "__main__":
    main()
