"""Value of text columns: n-grams of the words, compared with leaving the column out.

    python -m benchmarks.text_choice FOLDER [--seeds 3]

None of the real tables has a text column, so the categories of a row are written as one sentence
("workclass Private, education HS-grad, ...", in a different order in each row), and a model is trained
on the numbers with that sentence, without it, and with the columns it was made of.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import tempfile
from pathlib import Path
from typing import Any

import sightline as sl
from benchmarks.common import save

TABLES = {"adult": "income", "credit_g": "class", "telco_churn": "Churn"}


def columns_of(path: Path, target: str, most: int) -> dict[str, dict[str, list[Any]]]:
    """Read a table and return its three forms."""
    generator = random.Random(0)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    generator.shuffle(rows)
    rows = rows[:most]
    schema = sl.read({name: [row[name] for row in rows] for name in rows[0]}).schema
    words = [c.name for c in schema.columns if c.kind != "numeric" and c.name != target]
    numbers = [name for name in rows[0] if name not in words]
    sentences = []
    for row in rows:
        parts = [f"{name} {row[name]}" for name in words if row[name]]
        generator.shuffle(parts)
        sentences.append(", ".join(parts))
    plain = {name: [row[name] or None for row in rows] for name in numbers}
    return {
        "left out": plain,
        "n-grams": {**plain, "sentence": sentences},
        "the columns themselves": {n: [row[n] or None for row in rows] for n in rows[0]},
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the gzipped CSV files")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds per table")
    parser.add_argument("--rows", type=int, default=10_000, help="rows per table, at most")
    given = parser.parse_args()
    test_metrics: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, target in TABLES.items():
        forms = columns_of(given.folder / f"{name}.csv.gz", target, given.rows)
        test_metrics[name] = {form: [] for form in forms}
        for form, columns in forms.items():
            kinds = {"sentence": "text"} if "sentence" in columns else {}
            for seed in range(given.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    run = sl.fit(
                        columns,
                        target,
                        kinds=kinds,
                        seed=seed,
                        quiet=True,
                        run=Path(folder) / "run",
                    )
                metrics = {key: run.metrics[key] for key in ("accuracy", "log_loss", "roc_auc")}
                test_metrics[name][form].append(metrics)
        print(name, test_metrics[name], flush=True)
    save("text_choice", {"seeds": given.seeds, "rows": given.rows, "test_metrics": test_metrics})


if __name__ == "__main__":
    main()
