"""A synthetic table of any size, written as Parquet files of a million rows.

    python -m benchmarks.scale_data --rows 3000000 FOLDER

28 float columns x0 to x27 with a few missing values, 4 categorical columns of 10, 100, 1,000 and 10,000 values with
frequent and rare ones, and a target of two classes that depends on a dozen of them. Rows are a function of their number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILE_ROWS = 1_000_000
CARDINALITIES = (10, 100, 1_000, 10_000)


def write(folder: Path, rows: int) -> Path:
    """Write a table of so many rows into a folder, unless it is there; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        file = folder / f"part-{number:05}.parquet"
        if not file.exists():
            pq.write_table(table(number, min(FILE_ROWS, rows - start)), file)
    return folder


def write_words(folder: Path, words: int) -> Path:
    """Write a table with a column of so many different texts, each in two rows, unless it is there; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, 2 * words, FILE_ROWS)):
        file = folder / f"part-{number:05}.parquet"
        if file.exists():
            continue
        random = np.random.default_rng([19, number])
        code = random.permutation(np.arange(start, min(start + FILE_ROWS, 2 * words)) % words)
        x = random.normal(size=(len(code), 3))
        score = x[:, 0] + np.sin(code % 97) + random.logistic(size=len(code))
        columns = {
            "user": [f"user-{one:08x}" for one in code],
            "y": np.where(score > 0, "yes", "no"),
        }
        pq.write_table(
            pa.table({**columns, **{name: x[:, j] for j, name in enumerate("abc")}}), file
        )
    return folder


def table(number: int, rows: int) -> pa.Table:
    """Make one file's rows."""
    random = np.random.default_rng([17, number])
    x = random.normal(size=(rows, 28))
    x[:, 5] = np.exp(x[:, 5])
    x[:, 6] = np.round(x[:, 6] * 3)
    codes = [(c * random.random(rows) ** 2).astype(int) for c in CARDINALITIES]
    score = (
        x[:, 0] + 0.8 * x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + 0.5 * np.abs(x[:, 4]) - 0.3 * x[:, 5]
        + 0.2 * x[:, 6] + 0.5 * np.sin(codes[0] * 2.0) + 0.5 * np.sin(codes[1] * 1.7) + 0.5 * np.sin(codes[2] * 0.9)
    )  # fmt: skip
    y = np.where(score + random.logistic(size=rows) > 0, "yes", "no")
    columns: dict[str, pa.Array] = {f"x{j}": pa.array(x[:, j]) for j in range(28)}
    columns["x7"] = pa.array(x[:, 7], mask=random.random(rows) < 0.02)
    for j, values in enumerate(codes):
        names = pa.array([f"c{j}-{i}" for i in range(CARDINALITIES[j])])
        columns[f"c{j}"] = names.take(pa.array(values))
    columns["y"] = pa.array(y)
    return pa.table(columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=3_000_000)
    options = parser.parse_args()
    write(options.folder, options.rows)
