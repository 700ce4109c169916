"""Training against the bare 12-line PyTorch loop: same network, gather, fused AdamW, float32.

    python -m benchmarks.train_overhead [--rows 100000] [--repeats 5]

Ours keeps its records (losses, accuracy, observations, one step whole) and validates after each
epoch; the time of validation's own forward passes is taken off, and reported. The bare loop's
gather is `X[index]` of one `randperm` an epoch.

Figure to hold: at most 1.15 x bare.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn

import sightline as sl
from benchmarks.common import interleaved, ratio, save


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=28)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    held = given.rows // 10
    values = random.normal(size=(given.rows + held, given.features)).astype(np.float32)
    label = (
        values[:, 0] + values[:, 1] * values[:, 2] + random.normal(size=len(values)) > 0
    ).astype(int)
    columns = {f"x{j}": values[:, j] for j in range(given.features)}
    splits = sl.split(sl.read({**columns, "y": label}), target="y", valid=held, test=0)
    prepared = sl.prepare(splits, numeric="standard")
    X, y, size = prepared.train.numeric, prepared.train.target, given.batch_size
    hidden = [given.width] * given.layers
    validation: list[float] = []

    def network() -> nn.Module:
        torch.manual_seed(0)
        return sl.MLP(prepared.spec, hidden=hidden)

    def ours() -> float:
        training = sl.Training(network(), prepared, epochs=1, batch_size=size, device="cpu")
        iterator = iter(training)
        next(iterator)  # the untrained network's record: the bare loop has none
        began = time.perf_counter()
        epoch = next(iterator)
        seconds = time.perf_counter() - began
        validation.append(epoch.metrics["validation_seconds"])
        return seconds - validation[-1]

    def bare() -> float:
        model = network()
        nothing = torch.zeros(size, 0, dtype=torch.int32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        began = time.perf_counter()
        order = torch.randperm(len(X))
        for start in range(0, len(X), size):
            index = order[start : start + size]
            loss = nn.functional.cross_entropy(model(X[index], nothing), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - began

    ours(), bare()
    validation.clear()
    seconds = interleaved({"sightline": ours, "bare": bare}, given.repeats)
    save(
        "train_overhead" if (given.rows, given.width) == (100_000, 256) else f"train_overhead_{given.rows}_{given.width}",
        {
            "rows": given.rows, "features": given.features, "hidden": hidden, "batch_size": size,
            "threads": torch.get_num_threads(), "seconds_per_epoch": seconds,
            "validation_seconds_taken_off": validation,
            "ratio": ratio(seconds, "sightline", "bare"), "ratio_goal": 1.15,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
