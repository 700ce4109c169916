"""Validation loss after training in bfloat16, compared with float32.

    python -m benchmarks.bfloat16_quality FOLDER [--seeds 5] [--epochs 20]

FOLDER holds the tables (see `TABLES`). Each is trained in both precisions with the same seeds; the
lowest validation losses are compared, measured in float32. It runs on any hardware: without bfloat16
units it is slower, with the same rounding.

Target: within 1 % on the mean over five tables and five seeds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

import sightline as sl
from benchmarks.common import save
from benchmarks.real_tables import TARGETS

TABLES = ("credit_g", "titanic", "telco_churn", "online_shoppers", "california")
HIDDEN = [128, 128]


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the tables (see TABLES)")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds per table")
    parser.add_argument("--epochs", type=int, default=20, help="epochs per training")
    given = parser.parse_args()
    lowest: dict[str, dict[str, list[float]]] = {}
    for name in TABLES:
        table = sl.read(given.folder / f"{name}.csv.gz")
        lowest[name] = {"float32": [], "bfloat16": []}
        for seed in range(given.seeds):
            prepared = sl.prepare(sl.split(table, target=TARGETS[name], seed=seed, test=0))
            for precision, losses in lowest[name].items():
                torch.manual_seed(seed)
                training = sl.Training(
                    sl.MLP(prepared.spec, hidden=HIDDEN), prepared, epochs=given.epochs, seed=seed,
                    precision=precision, device="cpu",
                )  # fmt: skip
                losses.append(min(e.valid_loss or 0.0 for e in training))
        print(name, {p: statistics.mean(x) for p, x in lowest[name].items()}, flush=True)
    ratios = {
        name: [b / a for a, b in zip(losses["float32"], losses["bfloat16"], strict=True)]
        for name, losses in lowest.items()
    }
    every = [ratio for row in ratios.values() for ratio in row]
    save("bfloat16_quality", {
        "hidden": HIDDEN, "epochs": given.epochs, "seeds": given.seeds,
        "has_bfloat16_units": bool(torch.cpu._is_avx512_bf16_supported()),
        "lowest_validation_loss": lowest,
        "ratio_bfloat16_to_float32": {name: statistics.mean(row) for name, row in ratios.items()},
        "mean_ratio": statistics.mean(every), "standard_deviation": statistics.stdev(every),
        "goal": 1.01,
    })  # fmt: skip


if __name__ == "__main__":
    main()
