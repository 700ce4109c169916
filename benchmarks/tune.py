"""Trials an hour: two workers beside one.

    python -m pip install -e ".[tune]"
    python -m benchmarks.tune TABLE.csv[.gz] TARGET [--trials 12] [--repeats 3] [--name tune]

The same trials (a fixed list of options, so that every side fits the same) of the default model, without pruning, in turns: one
worker with one thread, one worker with two threads, two workers with one thread each. The time is that of `sl.tune` less that of its
last fit, reading the table and starting processes included.

Target: two workers do 1.7 times the trials an hour of one worker with one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import save

SIDES = {
    "1 worker, 1 thread": (1, 1), "1 worker, 2 threads": (1, 2), "2 workers, 1 thread each": (2, 1),
}  # fmt: skip
PROGRAM = """
import json, time, torch, sightline as sl
from sightline.pipeline import tuning
if __name__ == "__main__":
    torch.set_num_threads({threads})
    last, spent = tuning._last_fit, []
    def timed(*arguments):
        spent.append(time.perf_counter())
        run = last(*arguments)
        spent.append(time.perf_counter())
        return run
    tuning._last_fit = timed
    began = time.perf_counter()
    tuned = sl.tune({table!r}, {target!r}, trials={trials}, workers={workers}, prune=False, quality="fast", report=False,
                    baselines=False, quiet=True, folder={folder!r}, space={{"learning_rate": (0.001, 0.005)}})
    assert len(tuned.trials) == {trials}
    print(json.dumps(spent[0] - began))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("target")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="tune")
    options = parser.parse_args()
    save(options.name, measure(options))


def measure(options: Any) -> dict[str, Any]:
    found: dict[str, list[float]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.repeats):
            for name, (workers, threads) in SIDES.items():
                place = Path(folder) / f"{number}-{workers}-{threads}"
                script = Path(folder) / "program.py"
                script.write_text(PROGRAM.format(
                    threads=threads, table=str(Path(options.table).absolute()), target=options.target, trials=options.trials,
                    workers=workers, folder=str(place),
                ))  # fmt: skip
                environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
                said = subprocess.run([sys.executable, str(script)], check=True, env=environment, capture_output=True, text=True).stdout  # fmt: skip
                found[name].append(3600 * options.trials / float(said.splitlines()[-1]))
                print(name, round(found[name][-1]), "trials an hour", flush=True)
    one, two = found["1 worker, 1 thread"], found["2 workers, 1 thread each"]
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    return {
        "table": Path(options.table).name, "trials": options.trials, "quality": "fast",
        "trials_an_hour": {name: statistics.median(speeds) for name, speeds in found.items()}, "rounds": found,
        "two_workers_times_one": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
    }  # fmt: skip


if __name__ == "__main__":
    main()
