"""A table larger than memory: memory, rows a second, and growth; gradient boosting beside it.

    python -m benchmarks.scale FOLDER [--rows 3000000 30000000] [--limit 1GB] [--peers python] [--cgroup FOLDER]
                               [--parts rates growth words peers]

FOLDER keeps the synthetic tables of `benchmarks/scale_data.py`, which are made where they are missing: 28 float columns and
4 categorical ones, Parquet files of a million rows.

- rates: a network of 3 x 256, batches of 4,096: rows a second of the training loop on 3 million rows in memory and on the
  disk, in turns.
- growth: one epoch of that network under the memory limit, each table in a process of its own: seconds of each stage, and
  its peak memory, read from outside 20 times a second (anonymous memory, and all resident memory).
- words: a column of 5 million different texts, each in two rows: one epoch under the memory limit, the model's file, and the
  predictions of a million rows.
- With `--cgroup`, the processes of growth run in a control group whose limit of memory you have set, for example
  /sys/fs/cgroup/memory/NAME; the kernel ends a process that needs more.
- peers: XGBoost with external memory and LightGBM on the smallest table, 100 rounds each; `--peers` is a Python that has both.

Targets: peak resident memory of 1.5 GB under a limit of 1 GB with 30 million rows; 80 % of the rows a second in memory; a
million rows a second in the shuffle pass; time for a row from 3 to 30 million below 1.15.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import scale_data
from benchmarks.common import RESULTS, save

NETWORK = """
import sightline as sl


class Net(sl.MLP):
    def __init__(self, spec):
        super().__init__(spec, hidden=[256, 256, 256])
"""
BATCH = 4_096
PARTS = ("rates", "growth", "words", "peers")
WORDS = 5_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[3_000_000, 30_000_000])
    parser.add_argument("--limit", default="1GB")
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cgroup", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="scale")
    options = parser.parse_args()
    folders = {rows: scale_data.write(options.folder / f"{rows}", rows) for rows in options.rows}
    kept = RESULTS / f"{options.name}.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    found = {part: found[part] for part in PARTS if part in found}
    smallest = folders[min(folders)]
    if "rates" in options.parts:
        found["rates"] = json.loads(
            in_process(RATES, smallest, options.limit, options.repeats).output
        )
    if "growth" in options.parts:
        found["growth"] = {
            str(rows): growth(folder, options.limit, options.cgroup)
            for rows, folder in folders.items()
        }
    if "words" in options.parts:
        folder = scale_data.write_words(options.folder / "words", WORDS)
        found["words"] = words(folder, options.limit)
    if "peers" in options.parts:
        found["peers"] = {
            name: peer(options.peers, name, smallest) for name in ("xgboost", "lightgbm")
        }
    save(
        options.name,
        {"limit": options.limit, "hidden": [256, 256, 256], "batch_size": BATCH, **found},
    )


# ------------------------------------------------------------- memory from outside


class Watched:
    """A process and its peak memory.

    Attributes:
        output: What it printed last.
        seconds: How long it ran.
        resident, anonymous: Peak memory in MB, all of it and without pages of files.
    """

    def __init__(self, command: list[str], folder: Path, cgroup: Path | None = None) -> None:
        began = time.perf_counter()
        if cgroup is not None:
            command = [
                "sh",
                "-c",
                'echo $$ > "$0" && exec "$@"',
                f"{cgroup}/cgroup.procs",
                *command,
            ]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        self.resident = self.anonymous = 0.0
        while process.poll() is None:
            for name, size in memory(process.pid):
                if name == "VmRSS":
                    self.resident = max(self.resident, size)
                elif name == "RssAnon":
                    self.anonymous = max(self.anonymous, size)
            time.sleep(0.05)
        assert process.stdout is not None
        self.output = process.stdout.read().strip().splitlines()[-1]
        self.seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}")

    def to_json(self) -> dict[str, float]:
        return {
            "wall_seconds": round(self.seconds, 1), "peak_resident_mb": round(self.resident), "peak_anonymous_mb": round(self.anonymous)
        }  # fmt: skip


def memory(pid: int) -> Iterator[tuple[str, float]]:
    """Yield the sizes in MB that Linux says of a process; none when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            yield name, int(value.split()[0]) / 1e3


def in_process(
    program: str, *arguments: Any, python: str = sys.executable, cgroup: Path | None = None
) -> Watched:
    """Run a program in a process of its own, whose last line of output is its result."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "net.py").write_text(NETWORK)
        (Path(place) / "program.py").write_text(program)
        return Watched([python, "program.py", *map(str, arguments)], Path(place), cgroup)


# ------------------------------------------------------------- parts

RATES = f"""
import json, statistics, sys, time
import sightline as sl
from sightline.contracts import ReadOptions
from sightline.load.large import LargeTable
from sightline.load.limits import Budget, settle_limit
from sightline.load.split_large import split_large
from net import Net

folder, limit, repeats = sys.argv[1], settle_limit(sys.argv[2]), int(sys.argv[3])
options = dict(epochs=1000, batch_size={BATCH}, precision="float32", patience=None, doctor=False)
memory = sl.prepare(sl.split(sl.read(folder), "y"))
large = LargeTable.open(folder, ReadOptions(), Budget(limit))
disk = sl.prepare(split_large(large, "y"))
steps = {{name: sl.Training(Net(p.spec), p, **options).steps() for name, p in (("memory", memory), ("disk", disk))}}
for each in steps.values():
    for _ in range(20):
        next(each)
speeds = {{name: [] for name in steps}}
for _ in range(repeats):
    for name, each in steps.items():
        began = time.perf_counter()
        for _ in range(120):
            next(each)
        speeds[name].append(120 * {BATCH} / (time.perf_counter() - began))
ratios = sorted(a / b for a, b in zip(speeds["disk"], speeds["memory"]))
print(json.dumps({{
    "rows": memory.splits.train_rows, "rows_a_second": {{n: round(statistics.median(s)) for n, s in speeds.items()}},
    "rounds": {{n: [round(x) for x in s] for n, s in speeds.items()}},
    "disk_to_memory": {{"median": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}},
}}))
"""

GROWTH = f"""
import json, sys, time
import sightline as sl
from sightline.load import large, split_large
from sightline.load.shuffled import ShuffledRows
from sightline.pipeline import recipe
from sightline.prepare import prepared

seconds = {{}}
def timed(place, name, called):
    function = getattr(place, name)
    def run(*arguments, **more):
        began = time.perf_counter()
        result = function(*arguments, **more)
        seconds[called] = seconds.get(called, 0) + time.perf_counter() - began
        return result
    setattr(place, name, run)
timed(large.LargeTable, "open", "sample of the rows")
timed(split_large, "_read_all", "facts of all rows")
timed(recipe, "split_large", "split, with the facts")
timed(prepared, "_store", "prepare and shuffle")
for name in ("add", "flush"):
    timed(ShuffledRows, name, "shuffle alone")
began = time.perf_counter()
run = sl.fit(sys.argv[1], "y", memory_limit=sys.argv[2], network="net.py:Net", epochs=1, batch_size={BATCH},
             precision="float32", baselines=False, report=False, quiet=True, run="run")
rows = run.find("load", "table")[0].body["rows"]
epoch = run.find("train", "epoch")[-1].body["metrics"]
seconds["epoch"] = epoch["seconds"]
seconds["all"] = time.perf_counter() - began
print(json.dumps({{
    "rows": rows, "seconds": seconds, "rows_a_second": {{name: round(rows / s) for name, s in seconds.items() if s}},
    "sampled": run.find("load", "table")[0].body.get("sampled"), "accuracy": run.metrics["accuracy"],
}}))
"""


def growth(folder: Path, limit: str, cgroup: Path | None) -> dict[str, Any]:
    """Fit one epoch of a table under the limit."""
    watched = in_process(GROWTH, folder, limit, cgroup=cgroup)
    found = {**json.loads(watched.output), **watched.to_json()}
    if cgroup is not None:
        names = ("memory.limit_in_bytes", "memory.max")  # version 1, version 2
        [kept] = [cgroup / name for name in names if (cgroup / name).exists()]
        found["cgroup_limit_mb"] = round(int(kept.read_text()) / 1e6)
    return found


FIT_WORDS = f"""
import json, sys, time
import sightline as sl
began = time.perf_counter()
run = sl.fit(sys.argv[1], "y", kinds={{"user": "categorical"}}, network="net.py:Net", epochs=1, batch_size={BATCH}, memory_limit=sys.argv[2],
    run="run", report=False, baselines=False, quiet=True)
run.model.save(sys.argv[3])
print(json.dumps({{"values": len(run.model.encoder.schema.vocabularies["user"]), "seconds": time.perf_counter() - began}}))
"""

PREDICT_WORDS = """
import json, os, sys, time
import sightline as sl
from net import Net
began = time.perf_counter()
model = sl.Model.load(sys.argv[1], network=Net)
loaded = time.perf_counter()
model.save("again.sightline")
saved = time.perf_counter()
rows = sum(len(piece.labels) for piece in model.in_pieces(sys.argv[2]))
print(json.dumps({
    "file_mb": os.path.getsize(sys.argv[1]) / 1e6, "load_seconds": loaded - began, "save_seconds": saved - loaded,
    "rows_a_second": rows / (time.perf_counter() - saved),
}))
"""


def words(folder: Path, limit: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        model = f"{place}/model.sightline"
        fitted = in_process(FIT_WORDS, folder, limit, model)
        predicted = in_process(PREDICT_WORDS, model, folder / "part-00000.parquet")
    return {
        "different": WORDS, "fit": {**json.loads(fitted.output), **fitted.to_json()},
        "predict": {**json.loads(predicted.output), **predicted.to_json()},
    }  # fmt: skip


PEERS = {
    "xgboost": """
import glob, json, sys, tempfile, time
import numpy as np, pyarrow.parquet as pq, xgboost as xgb

class Files(xgb.DataIter):
    def __init__(self, files):
        self.files, self.at = files, 0
        super().__init__(cache_prefix=tempfile.mkdtemp() + "/cache")
    def next(self, take):
        if self.at == len(self.files):
            return False
        frame = pq.read_table(self.files[self.at]).to_pandas()
        self.at += 1
        y = (frame.pop("y") == "yes").to_numpy()
        for name in ("c0", "c1", "c2", "c3"):
            frame[name] = frame[name].str[3:].astype(np.float32)
        take(data=frame.to_numpy(np.float32), label=y)
        return True
    def reset(self):
        self.at = 0

began = time.perf_counter()
data = xgb.ExtMemQuantileDMatrix(Files(sorted(glob.glob(sys.argv[1] + "/*"))), max_bin=256)
read = time.perf_counter() - began
xgb.train({"tree_method": "hist", "objective": "binary:logistic", "max_depth": 6, "nthread": 2}, data, 100)
print(json.dumps({"version": xgb.__version__, "seconds_reading": read, "seconds_all": time.perf_counter() - began}))
""",
    "lightgbm": """
import json, sys, time
import numpy as np, pyarrow.parquet as pq, lightgbm as lgb

began = time.perf_counter()
frame = pq.read_table(sys.argv[1]).to_pandas()
y = (frame.pop("y") == "yes").to_numpy()
for name in ("c0", "c1", "c2", "c3"):
    frame[name] = frame[name].astype("category")
read = time.perf_counter() - began
lgb.train({"objective": "binary", "num_threads": 2, "verbose": -1}, lgb.Dataset(frame, y), 100)
print(json.dumps({"version": lgb.__version__, "seconds_reading": read, "seconds_all": time.perf_counter() - began}))
""",
}


def peer(python: str, name: str, folder: Path) -> dict[str, Any]:
    """Fit 100 rounds with another library."""
    watched = in_process(PEERS[name], folder, python=python)
    return {**json.loads(watched.output), **watched.to_json()}


if __name__ == "__main__":
    main()
