"""Batch scoring, Parquet to Parquet, beside LightGBM's predict in a pandas loop.

    python -m pip install -e ".[onnx]" lightgbm
    python -m benchmarks.score TABLE.csv[.gz] TARGET [--rows 1000000] [--repeats 3] [--big-gb 0] [--name score]

The table's rows are repeated to a Parquet file of `--rows` rows. The default model is fitted, saved with its ONNX model, and
asked as a user would, `sightline predict`, in a process of its own with two threads; so is LightGBM (100 and 1,000 rounds) by
a script that reads the whole file with pandas, predicts and writes. Rows a second count the whole process; `compute` leaves
the start of Python and the imports out. The largest memory of each process is noted. With `--big-gb` a CSV file of that size
is predicted too, for its memory.

Target: at most 3 times the time of LightGBM.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sightline as sl
from benchmarks.common import ratio, save

LIGHT = """
import pickle, sys, time
import pandas as pd
import lightgbm
model, categories, source, target = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]
began = time.perf_counter()
booster, kinds = pickle.load(open(model, "rb")), pickle.load(open(categories, "rb"))
frame = pd.read_parquet(source).astype(kinds)
found = booster.predict_proba(frame, num_threads=2)
pd.DataFrame(found).to_parquet(target)
print(time.perf_counter() - began, *[line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line])
"""
OURS = """
import sys, time
import sightline.cli.predict
from sightline.cli.main import main
if sys.argv.pop(1) == "torch":
    import sightline.predict.model
else:
    import sightline.predict.onnx_model, onnx, onnxruntime
began = time.perf_counter()
try:
    main()
finally:
    print(time.perf_counter() - began, *[line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--big-gb", type=float, default=0.0)
    parser.add_argument("--name", default="score")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        save(options.name, measure(Path(folder), options))


def measure(folder: Path, options: Any) -> dict[str, Any]:
    frame = pd.read_csv(options.table)
    run = sl.fit(options.table, options.target, run=folder / "run", quiet=True, report=False)
    run.model.save(folder / "m.sightline", onnx=True)
    features = [column.name for column in run.model.encoder.schema.features]
    chosen = np.random.default_rng(0).integers(0, len(frame), options.rows)
    big = frame[features].iloc[chosen]
    source = folder / "rows.parquet"
    big.to_parquet(source, index=False)
    ways = {f"sightline, {name}": ours(folder, source, name) for name in ("onnx", "torch")}
    for rounds in (100, 1000):
        ways[f"LightGBM, {rounds} trees"] = light(folder, source, frame, features, options.target, rounds)  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    compute: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, float] = {}
    for _ in range(options.repeats):
        for name, command in ways.items():
            whole, inner, size = timed(command)
            seconds[name].append(whole)
            compute[name].append(inner)
            memory[name] = max(memory.get(name, 0.0), size)
    result = {
        "table": Path(options.table).name, "rows": options.rows, "columns": len(features),
        "rows_a_second": {name: options.rows / statistics.median(times) for name, times in seconds.items()},
        "seconds": seconds, "compute_seconds": compute, "memory_mb": memory,
        "times_lightgbm": {
            f"{name} / {peer}": ratio(seconds, name, peer)
            for name in list(ways)[:2] for peer in list(ways)[2:]
        },
    }  # fmt: skip
    if options.big_gb:
        result["big_csv"] = large(folder, big, options.big_gb)
    return result


def ours(folder: Path, source: Path, engine: str) -> list[str]:
    return [sys.executable, "-c", OURS, engine, "predict", str(folder / "m.sightline"), str(source),
            "-o", str(folder / f"{engine}.parquet"), "--engine", engine, "--quiet"]  # fmt: skip


def light(
    folder: Path, source: Path, frame: pd.DataFrame, features: list[str], target: str, rounds: int
) -> list[str]:
    from lightgbm import LGBMClassifier

    texts = [name for name in features if not pd.api.types.is_numeric_dtype(frame[name])]
    kinds = {name: pd.CategoricalDtype(sorted(frame[name].dropna().unique())) for name in texts}
    model = LGBMClassifier(n_estimators=rounds, n_jobs=2, verbose=-1)
    model.fit(frame[features].astype(kinds), frame[target])
    (folder / f"light{rounds}").write_bytes(pickle.dumps(model))
    (folder / "kinds").write_bytes(pickle.dumps(kinds))
    return [sys.executable, "-c", LIGHT, str(folder / f"light{rounds}"), str(folder / "kinds"), str(source),
            str(folder / "light.parquet")]  # fmt: skip


def timed(command: list[str]) -> tuple[float, float, float]:
    """Return a process's seconds, those after its imports, and its largest memory in MB."""
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    inner, memory = said.stdout.split()[-2:]
    return time.perf_counter() - began, float(inner), int(memory) / 1024


def large(folder: Path, rows: pd.DataFrame, gigabytes: float) -> dict[str, float]:
    """Predict a CSV file of some GB, and note the largest memory."""
    path = folder / "big.csv"
    text = rows.to_csv(index=False, header=False).encode()
    with path.open("wb") as file:
        file.write((",".join(rows.columns) + "\n").encode())
        copies = max(1, round(gigabytes * 1e9 / len(text)))
        for _ in range(copies):
            file.write(text)
    command = [sys.executable, "-c", OURS, "onnx", "predict", str(folder / "m.sightline"), str(path),
               "-o", str(folder / "big.parquet"), "--engine", "onnx", "--quiet"]  # fmt: skip
    seconds, _, memory = timed(command)
    count = copies * len(rows)
    return {
        "bytes": path.stat().st_size, "rows": count, "seconds": seconds, "rows_a_second": count / seconds,
        "memory_mb": memory,
    }  # fmt: skip


if __name__ == "__main__":
    main()
