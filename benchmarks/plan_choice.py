"""One training step on one thread and on all, in float32 and in bfloat16, over sizes of networks and batches.

    python -m benchmarks.plan_choice [--repeats 7]

`train/plan.py` chooses threads and precision from the floating-point operations of a step; its limits come
from this table. The four sides take turns in every round. A row holds the operations of a step, the medians
in milliseconds, and the ratios "all threads / one thread" and "bfloat16 / float32" (on the threads that the
plan would use) with their spread. The last lines say, for each limit that could be chosen, how much slower
its choices are than the best choice of each row, on average.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

import sightline as sl
from benchmarks.common import interleaved, ratio, save
from sightline.build.modes import threads_set
from sightline.contracts import Batch, NumericFeature, Spec, Target
from sightline.predict.task import Task
from sightline.train.plan import Trial, has_bfloat16

WIDTHS = (32, 64, 128, 256, 512, 1024)
BATCHES = (32, 128, 256, 512, 1024)
FEATURES = 30


def spec(features: int) -> Spec:
    """Describe a table of numbers with two classes; each number has 17 edges, as a prepared one."""
    edges = tuple(i / 16 for i in range(17))
    numeric = tuple(NumericFeature(f"x{j}", f"x{j}", edges) for j in range(features))
    return Spec(numeric, (), (Target("y", "classification", ("a", "b"), "b"),))


def networks(features: int) -> dict[str, Callable[[], nn.Module]]:
    """Return the networks: MLPs of three layers, and the default ensemble in two widths."""
    made = spec(features)
    mlps: dict[str, Callable[[], nn.Module]] = {
        f"MLP 3 x {width}": lambda width=width: sl.MLP(made, hidden=[width] * 3) for width in WIDTHS
    }  # fmt: skip
    ensembles: dict[str, Callable[[], nn.Module]] = {
        f"Ensemble 2 x {width}": lambda width=width: sl.Ensemble(made, hidden=[width] * 2)
        for width in (64, 256)
    }
    return mlps | ensembles


def measure(make: Callable[[], nn.Module], rows: int, repeats: int) -> dict[str, Any]:
    """Time one step of a network in every way."""
    torch.manual_seed(0)
    network, numeric = make(), torch.randn(rows, FEATURES)
    batch = Batch(
        numeric, torch.zeros(rows, 0).int(), torch.randint(2, (rows,)), None, torch.arange(rows)
    )
    trial = Trial(network, Task(spec(FEATURES).target), batch, torch.device("cpu"))
    most = torch.get_num_threads()
    precisions = ["float32", *(["bfloat16"] if has_bfloat16("cpu") else [])]

    def timed(threads: int, precision: str) -> Callable[[], float]:
        def run() -> float:
            with threads_set(threads):
                return trial.seconds(precision)

        return run

    sides = {f"{p} {t}": timed(t, p) for p in precisions for t in dict.fromkeys((1, most))}
    seconds = interleaved(sides, repeats)
    result: dict[str, Any] = {
        "work": trial.work,
        "milliseconds": {name: 1e3 * statistics.median(values) for name, values in seconds.items()},
        "threads_ratio": ratio(seconds, f"float32 {most}", "float32 1"),
    }
    for threads in dict.fromkeys((1, most)):
        if len(precisions) > 1:
            key = f"bfloat16_ratio_{threads}"
            result[key] = ratio(seconds, f"bfloat16 {threads}", f"float32 {threads}")
    return result


def regrets(rows: Mapping[str, Mapping[str, Any]], small: str, large: str) -> dict[str, float]:
    """Return, for each limit of a step's work, the mean slowdown of choosing `large` from it on."""
    limits = sorted({row["work"] for row in rows.values()})
    result = {}
    for limit in [*limits, math.inf]:
        lost = [
            math.log(row["milliseconds"][large if row["work"] >= limit else small]
                     / min(row["milliseconds"][small], row["milliseconds"][large]))
            for row in rows.values()
        ]  # fmt: skip
        result[f"{limit:.3g}"] = math.exp(statistics.fmean(lost))
    return result


def main() -> None:
    """Measure every network with every batch, and save the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--name", default="plan_choice", help="The name of the result.")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    rows = {
        f"{name}, batch {size}": measure(make, size, repeats)
        for name, make in networks(FEATURES).items() for size in BATCHES
    }  # fmt: skip
    most = torch.get_num_threads()
    choices = {"threads": regrets(rows, "float32 1", f"float32 {most}")}
    if has_bfloat16("cpu"):
        choices["bfloat16 on one thread"] = regrets(rows, "float32 1", "bfloat16 1")
        choices["bfloat16 on all"] = regrets(rows, f"float32 {most}", f"bfloat16 {most}")
    save(arguments.name, {"threads": most, "rows": rows, "slowdown_by_limit": choices})


if __name__ == "__main__":
    main()
