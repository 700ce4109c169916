"""One epoch through our DataLoader, no model, against a bare loop and the default DataLoader.

    python -m benchmarks.loader_speed [--rows 1000000] [--repeats 7]

Bare: one `randperm`, then `X[index]` and `y[index]` for each batch. Ours also returns an empty
categorical tensor and the row numbers. The default is `DataLoader(TensorDataset(X, y),
shuffle=True)`, timed on 2 % of an epoch and scaled up, because it is so slow.

Targets: at most 0.6 x bare, and at least 40 x faster than the default.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.common import interleaved, ratio, save
from sightline.contracts import Batch
from sightline.load.batches import TensorSource, loader


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the synthetic table")
    parser.add_argument("--features", type=int, default=28, help="numeric columns")
    parser.add_argument("--batch-size", type=int, default=256, help="rows per batch")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    given = parser.parse_args()
    rows, size = given.rows, given.batch_size
    X = torch.randn(rows, given.features)
    y = torch.randint(0, 2, (rows,))
    nothing = torch.zeros(rows, 0, dtype=torch.int32)
    source = TensorSource(Batch(X, nothing, y, None, torch.arange(rows)), size)

    def bare() -> None:
        order = torch.randperm(rows)
        for start in range(0, rows, size):
            index = order[start : start + size]
            X[index], y[index]

    def ours() -> None:
        for _ in loader(source, epoch=1):
            pass

    def default() -> float:
        most = rows // 50
        began = time.perf_counter()
        seen = 0
        for batch in DataLoader(TensorDataset(X, y), batch_size=size, shuffle=True):
            seen += len(batch[0])
            if seen >= most:
                break
        return (time.perf_counter() - began) * rows / seen

    bare(), ours()
    seconds = interleaved(
        {"sightline": ours, "bare": bare, "default DataLoader": default}, given.repeats
    )
    slower = ratio(seconds, "default DataLoader", "sightline")
    save(
        "loader_speed",
        {
            "rows": rows, "features": given.features, "batch_size": size,
            "threads": torch.get_num_threads(), "seconds": seconds,
            "ratio_to_bare": ratio(seconds, "sightline", "bare"), "ratio_to_bare_goal": 0.6,
            "times_faster_than_default": slower, "times_faster_goal": 40,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
