"""CSV to training tensors: Sightline against pandas and scikit-learn, time and peak memory.

    python -m benchmarks.load_speed [--rows 1000000] [--repeats 5] [--numeric quantile]

The table has 20 numeric columns, 10 columns of categories (3 to 5000 different texts) and a
target; 5 % of the cells are missing. The sides take turns, each in its own process. pandas and
scikit-learn do the minimum that gives tensors: read_csv, OrdinalEncoder, StandardScaler (missing
numbers left as they are). Sightline infers kinds over all rows, splits, fits on the training rows,
fills and flags what is missing.

Targets: at most half of the time; peak memory above the process's size after its imports
at most 3 x the tensors' size + 300 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import interleaved, ratio, save

CATEGORIES = (3, 5, 8, 12, 20, 50, 100, 300, 1000, 5000)

START = """
import json, sys, time, threading
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
"""
WATCH = """
base, peak, over = resident(), 0, False
def watch():
    global peak
    while not over:
        peak = max(peak, resident())
        time.sleep(0.002)
thread = threading.Thread(target=watch); thread.start()
began = time.perf_counter()
"""
END = """
seconds = time.perf_counter() - began
over = True; thread.join()
print(json.dumps({"seconds": seconds, "peak": peak - base, "tensors": tensors}))
"""
OURS = (
    START
    + """
import torch, pyarrow.compute, sightline as sl
import sightline.load.table, sightline.load.split, sightline.prepare.prepared, pyarrow.csv
"""
    + WATCH
    + """
prepared = sl.prepare(sl.split(sl.read(sys.argv[1]), target="y"), numeric=sys.argv[2])
parts = (prepared.train, prepared.valid, prepared.test)
tensors = sum(t.nbytes for part in parts for t in part if t is not None)
"""
    + END
)
THEIRS = (
    START
    + """
import torch, numpy as np, pandas as pd
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
"""
    + WATCH
    + """
frame = pd.read_csv(sys.argv[1])
numbers, words = [f"n{i}" for i in range(20)], [f"c{i}" for i in range(10)]
numeric = torch.from_numpy(StandardScaler().fit_transform(frame[numbers]).astype("float32"))
codes = OrdinalEncoder(encoded_missing_value=-1).fit_transform(frame[words])
categorical = torch.from_numpy(codes.astype("int32"))
target = torch.from_numpy(frame["y"].to_numpy())
tensors = numeric.nbytes + categorical.nbytes + target.nbytes
"""
    + END
)


def write_table(path: Path, rows: int) -> None:
    """Write the synthetic table as CSV."""
    import pyarrow as pa
    import pyarrow.csv as pc

    random = np.random.default_rng(0)
    columns = {}
    for i in range(20):
        columns[f"n{i}"] = pa.array(
            random.normal(size=rows).round(4), mask=random.random(rows) < 0.05
        )
    for i, count in enumerate(CATEGORIES):
        words = np.array([f"cat_{i}_{k}" for k in range(count)])
        chosen = words[random.integers(0, count, rows)]
        columns[f"c{i}"] = pa.array(chosen, mask=random.random(rows) < 0.05)
    columns["y"] = pa.array(random.integers(0, 3, rows))
    pc.write_csv(pa.table(columns), path)


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the synthetic table")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--numeric", default="quantile", help="scaling, as in sightline.prepare")
    given = parser.parse_args()
    seen: dict[str, list[dict[str, float]]] = {"sightline": [], "pandas + scikit-learn": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_table(path, given.rows)
        size = path.stat().st_size

        def run(name: str, code: str) -> float:
            done = subprocess.run(
                [sys.executable, "-c", code, str(path), given.numeric],
                capture_output=True,
                text=True,
                check=True,
            )
            seen[name].append(json.loads(done.stdout))
            return seen[name][-1]["seconds"]

        seconds = interleaved(
            {
                "sightline": lambda: run("sightline", OURS),
                "pandas + scikit-learn": lambda: run("pandas + scikit-learn", THEIRS),
            },
            given.repeats,
        )
    tensors = seen["sightline"][0]["tensors"]
    peak = max(result["peak"] for result in seen["sightline"])
    save(
        "load_speed" if given.numeric == "quantile" else f"load_speed_{given.numeric}",
        {
            "numeric": given.numeric,
            "rows": given.rows,
            "csv_bytes": size,
            "seconds": seconds,
            "time_ratio": ratio(seconds, "sightline", "pandas + scikit-learn"),
            "time_ratio_goal": 0.5,
            "tensor_mb": tensors / 1e6,
            "peak_mb": {
                name: max(result["peak"] for result in runs) / 1e6 for name, runs in seen.items()
            },
            "peak_goal_mb": (3 * tensors + 300e6) / 1e6,
            "peak_ok": peak <= 3 * tensors + 300e6,
        },
    )


if __name__ == "__main__":
    main()
