"""Small numeric tables for development, made from real ones.

    python -m benchmarks.small_tables FOLDER OUT

FOLDER has letter, california, house_16H, miami_housing and online_shoppers as .csv.gz files. OUT gets rows of them
drawn without replacement with a fixed seed, and scikit-learn's own tables, as CSV files whose target is the last column:

- letter_4: 850 rows of the four letters E, F, P and R, which look alike.
- california_1k, miami_1k, house_8k: 1,000, 1,000 and 8,000 rows; the target is a number.
- shoppers_numeric: 5,400 rows of the ten numeric columns, two classes.
- digits, breast_cancer, wine, diabetes: those of scikit-learn; the target of diabetes is a number.

They are for choices made during development, so the drawn rows are none of those that a figures' split of the
large table, seed 0, 1 or 2, tests on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.categorical_tables import read, write
from benchmarks.peers import split
from benchmarks.quality_fits import FIGURES_SEEDS

SEED = 0
ALIKE = ("E", "F", "P", "R")
DRAWN = {  # made table -> its source, rows
    "letter_4": ("letter", 850), "california_1k": ("california", 1_000), "miami_1k": ("miami_housing", 1_000),
    "house_8k": ("house_16H", 8_000), "shoppers_numeric": ("online_shoppers", 5_400),
}  # fmt: skip


def untested(target: pd.Series) -> pd.Series:
    """Say of each row whether no figures' split tests on it."""
    classify = target.nunique() < 100
    number_N = np.unique(target, return_inverse=True)[1]
    tested = pd.Series(False, target.index)
    for seed in range(FIGURES_SEEDS):
        tested.iloc[split(number_N, classify, seed)[1]] = True
    return ~tested


def draw(folder: Path, name: str) -> pd.DataFrame:
    """Draw a table's rows; they keep their order."""
    source, rows = DRAWN[name]
    frame = read(folder, source)
    frame = frame[untested(frame[frame.columns[-1]])]
    if name == "letter_4":
        frame = frame[frame["class"].isin(ALIKE)]
    if name == "shoppers_numeric":
        frame = frame[[*frame.columns[:10], "Revenue"]]
    return frame.sample(rows, random_state=SEED).sort_index()


def own() -> dict[str, pd.DataFrame]:
    """Return scikit-learn's tables, the target last; classes by name."""
    from sklearn import datasets

    made = {}
    for name in ("digits", "breast_cancer", "wine", "diabetes"):
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = bunch.data.copy()
        target = bunch.target
        if name in ("breast_cancer", "wine"):
            target = target.map(dict(enumerate(bunch.target_names)))
        made[name] = frame.assign(target=target)
    return made


def main() -> None:
    """Make all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the real tables are")
    parser.add_argument("out", type=Path, help="where the made tables go")
    given = parser.parse_args()
    for source, _ in DRAWN.values():
        if not (given.folder / f"{source}.csv.gz").is_file():
            raise SystemExit(f"{given.folder} has no {source}.csv.gz.")
    given.out.mkdir(parents=True, exist_ok=True)
    for name, frame in ({name: draw(given.folder, name) for name in DRAWN} | own()).items():
        write(frame, given.out / f"{name}.csv.gz")
        print(f"{name}: {len(frame):,} rows, {frame.shape[1] - 1} columns")


if __name__ == "__main__":
    main()
