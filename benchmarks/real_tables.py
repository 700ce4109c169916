"""A recorded run of each real table: metrics on its test rows, and seconds.

    python -m benchmarks.real_tables FOLDER [--seeds 1] [--numeric standard robust ...] [--name NAME]

FOLDER holds gzipped CSV files as named below (header row, target last). With several
scalings the result has their mean rank by validation loss, from which the default was chosen.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import sightline as sl
from benchmarks.common import save

TARGETS = {
    "penguins": "species", "soybean": "class", "credit_g": "class", "titanic": "survived",
    "ames": "Sale_Price", "telco_churn": "Churn", "online_shoppers": "Revenue", "letter": "class",
    "california": "MedHouseVal", "adult": "income", "connect4": "target",
}  # fmt: skip
KEPT = ("rows", "accuracy", "log_loss", "roc_auc", "rmse", "mae", "r2")


def run(path: Path, target: str, seed: int, numeric: str | None) -> dict[str, Any]:
    """Fit one table and return metrics and seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = sl.fit(
            path, target, seed=seed, numeric=numeric, quiet=True, run=Path(folder) / "run"  # type: ignore[arg-type]
        )  # fmt: skip
    end = result.find("train", "end")[-1].body
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "epochs": result.epochs[-1].number,
        "best_epoch": end["best_epoch"],
        "valid_loss": result.epochs[end["best_epoch"]].valid_loss,
        **{name: result.metrics[name] for name in KEPT if name in result.metrics},
        "baseline": result.metrics["baseline"],
    }


def ranks(
    results: dict[str, dict[str, list[dict[str, Any]]]], scalings: list[str]
) -> dict[str, float]:
    """Rank the scalings by validation loss on each table and seed; return their mean ranks."""
    ranks_of: dict[str, list[int]] = {scaling: [] for scaling in scalings}
    for by_scaling in results.values():
        for seed in range(len(by_scaling[scalings[0]])):
            order = sorted(scalings, key=lambda name: by_scaling[name][seed]["valid_loss"])
            for rank, scaling in enumerate(order, start=1):
                ranks_of[scaling].append(rank)
    return {scaling: statistics.mean(values) for scaling, values in ranks_of.items()}


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the gzipped CSV files (see TARGETS)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds per table")
    parser.add_argument(
        "--numeric",
        nargs="*",
        default=["default"],
        help="scalings to compare, such as standard robust",
    )
    parser.add_argument(
        "--only", nargs="*", default=list(TARGETS), help="names of the tables to fit"
    )
    parser.add_argument("--name", default="real_tables", help="write benchmarks/results/NAME.json")
    given = parser.parse_args()
    by_table: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in given.only:
        path = given.folder / f"{name}.csv.gz"
        by_table[name] = {
            scaling: [
                run(path, TARGETS[name], seed, None if scaling == "default" else scaling)
                for seed in range(given.seeds)
            ]
            for scaling in given.numeric
        }  # fmt: skip
        print(
            name,
            {scaling: [r["valid_loss"] for r in runs] for scaling, runs in by_table[name].items()},
            flush=True,
        )
    results: dict[str, Any] = {"seeds": given.seeds, "tables": by_table}
    if len(given.numeric) > 1:
        results["mean_rank_by_validation_loss"] = ranks(by_table, given.numeric)
    save(given.name, results)


if __name__ == "__main__":
    main()
