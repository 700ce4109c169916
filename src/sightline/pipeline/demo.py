"""demo(): the reference run on made-up rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sightline.build.mlp import MLP
from sightline.contracts.rules import check_seed
from sightline.load.table import read
from sightline.pipeline.fit import fit
from sightline.pipeline.folder import Run
from sightline.pipeline.observers import FitView
from sightline.pipeline.runs import run_folder

REMARK = (
    "These rows were made so that straight boundaries separate the classes: a linear model is enough for them, and "
    "this run shows how a network learns."
)


def demo(
    *,
    run: str | Path | None = None,
    seed: int = 0,
    live: bool = False,
    quiet: bool = False,
    view: FitView | None = None,
) -> Run:
    """Run the reference fit: a small network learns three classes from ten numbers.

    1000 training rows, 250 + 250 held out, min-max scaling, one hidden layer of 32, batches of
    32, five epochs. The network does not change when the default model does.

    Args:
        run: The run folder to make; None makes `runs/demo-TIME`.
        seed: Seed of the data, the split, the first weights and the batches.
        live: Whether to show the run in a browser while it trains, as in `fit`.
        quiet: Whether to print nothing.
        view: Shows the run instead of the terminal, as in `fit`.

    Example:
        >>> import sightline as sl
        >>> run = sl.demo(quiet=True)
        >>> [epoch.number for epoch in run.epochs]
        [0, 1, 2, 3, 4, 5]
    """
    table = replace(read(demo_table(seed)), name="made-up rows", remark=REMARK)
    with run_folder("demo", run) as folder:
        return fit(
            table, "kind", valid=250, test=250, numeric="minmax",
            network=lambda spec: MLP(spec, hidden=[32]), epochs=5, batch_size=32, learning_rate=0.007,
            weight_decay=0.01, patience=None, seed=seed, device="cpu", live=live, quiet=quiet,
            view=view, run=folder,
        )  # fmt: skip


def demo_table(seed: int = 0) -> dict[str, np.ndarray]:
    """Make 1500 rows of ten measurements, each row near the center of one of three classes.

    Example:
        >>> from sightline.pipeline.demo import demo_table
        >>> table = demo_table(seed=0)
        >>> len(table), len(table["kind"])
        (11, 1500)
    """
    check_seed(seed)
    random = np.random.default_rng(seed)
    # Three corners of a triangle with equal sides, rotated at random: each pair is equally hard.
    corners = np.linalg.qr(random.normal(size=(10, 10)))[0][:3] * 2.8
    kind = random.permutation(np.arange(1500) % 3)
    values = (corners[kind] + random.normal(size=(1500, 10))).round(3)
    table: dict[str, np.ndarray] = {f"x{j + 1}": values[:, j] for j in range(10)}
    table["kind"] = np.array(["amber", "blue", "coral"])[kind]
    return table
