"""A recorded run of each real table: metrics on its test rows, and seconds.

    python -m benchmarks.real_tables FOLDER [--seeds 1] [--numeric standard robust ...] [--name NAME]

FOLDER holds gzipped CSV files as named below (header row, target last). With several ways of
scaling, it is the evidence for the default: the mean rank by validation loss is in the result.
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
    """Fit one table and say how it went."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = sl.fit(
            path, target, seed=seed, numeric=numeric, quiet=True, run=Path(folder) / "run"  # type: ignore[arg-type]
        )  # fmt: skip
    end = made.find("train", "end")[-1].body
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "epochs": made.epochs[-1].number,
        "best_epoch": end["best_epoch"],
        "valid_loss": made.epochs[end["best_epoch"]].valid_loss,
        **{name: made.metrics[name] for name in KEPT if name in made.metrics},
        "baseline": made.metrics["baseline"],
    }


def ranks(found: dict[str, dict[str, list[dict[str, Any]]]], ways: list[str]) -> dict[str, float]:
    """Rank the ways by validation loss on each table and seed; return their mean ranks."""
    places: dict[str, list[int]] = {way: [] for way in ways}
    for by_way in found.values():
        for seed in range(len(by_way[ways[0]])):
            order = sorted(ways, key=lambda way: by_way[way][seed]["valid_loss"])
            for place, way in enumerate(order, start=1):
                places[way].append(place)
    return {way: statistics.mean(place) for way, place in places.items()}


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
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in given.only:
        path = given.folder / f"{name}.csv.gz"
        found[name] = {
            way: [run(path, TARGETS[name], seed, None if way == "default" else way) for seed in range(given.seeds)]
            for way in given.numeric
        }  # fmt: skip
        print(
            name,
            {way: [r["valid_loss"] for r in runs] for way, runs in found[name].items()},
            flush=True,
        )
    results: dict[str, Any] = {"seeds": given.seeds, "tables": found}
    if len(given.numeric) > 1:
        results["mean_rank_by_validation_loss"] = ranks(found, given.numeric)
    save(given.name, results)


if __name__ == "__main__":
    main()
