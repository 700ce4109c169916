"""fit(): the five stages in a row, each leaving its records, a line a stage."""

from __future__ import annotations

import hashlib
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from sightline.build.networks import MLP, NetworkMaker, load_class, make_network, source_of
from sightline.contracts import Kind, Label, Record, Scaling, TaskName
from sightline.load.delimited import OnBadRows
from sightline.load.split import split
from sightline.load.table import Table, read
from sightline.prepare.prepared import check_scaling, prepare
from sightline.provenance import provenance
from sightline.run import BUNDLE, Run
from sightline.story import Story
from sightline.trace.records import Trace, taken
from sightline.train.plan import check_seed, check_settings, settle_batch_size
from sightline.train.training import Training


class Progress(Protocol):
    """What watches a fit: called with each record, and told of each step."""

    def __call__(self, record: Record) -> None:
        """Take a record."""

    def step(self, done: int, total: int) -> None:
        """Hear how far training is."""

    def close(self) -> None:
        """Hear that training is over, or failed."""


def fit(
    source: Any,
    target: str,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[str] | None = None,
    encoding: str | None = None,
    on_bad_rows: OnBadRows = "error",
    task: TaskName | None = None,
    positive: Label | None = None,
    valid: Any = 0.1,
    test: Any = 0.1,
    group: str | None = None,
    time: str | None = None,
    numeric: Scaling | None = None,
    network: nn.Module | NetworkMaker | str | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    patience: int | None = 16,
    seed: int = 0,
    device: str = "auto",
    run: str | Path | None = None,
    quiet: bool = False,
    view: Progress | None = None,
) -> Run:
    """Take a table through all five stages and record every one.

    Args:
        source: Anything `sl.read` takes, or a table that it has read.
        target: The column to predict.
        kinds, drop, missing, encoding, on_bad_rows: As in `sl.read`.
        task, positive, valid, test, group, time: As in `sl.split`.
        numeric: How numbers are scaled, as in `sl.prepare`.
        network: A module, a class or function that takes the spec, "file.py:Class", or None for
            the default, `sl.MLP(spec, hidden=[64])`.
        epochs, batch_size, learning_rate, weight_decay, patience, device: As in `sl.Training`.
        seed: Decides the split, the first weights and the order of the batches.
        run: The run folder to make; None makes `runs/NAME-TIME`.
        quiet: Print nothing.
        view: What watches instead of the terminal.

    Returns:
        The run: `.model`, `.records`, `.metrics`, `.epochs`, `.folder`.

    Raises:
        UserError: Bad data, options or networks; see `sightline.errors`.
        OSError: The disk is full; the run folder keeps what was written.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=30, quiet=True)
        >>> run.metrics["accuracy"] > 0.9
        True
    """
    if view is None and not quiet:
        from sightline.trace.terminal import TerminalView

        view = TerminalView()
    check_settings(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        weight_decay=weight_decay, patience=patience, seed=seed, device=device,
    )  # fmt: skip
    check_scaling(numeric)
    if isinstance(network, str):
        network = load_class(network)
    trace = Trace([view] if view else [])
    story = Story(trace, seed)
    folder = _run_folder(source, run)
    try:
        table = source if isinstance(source, Table) else read(
            source, kinds=kinds, drop=drop, missing=missing, encoding=encoding, on_bad_rows=on_bad_rows
        )  # fmt: skip
        splits = split(
            table, target, task=task, positive=positive, valid=valid, test=test, seed=seed,
            group=group, time=time,
        )  # fmt: skip
        story.load(table, splits, settle_batch_size(batch_size, len(splits.train)))

        prepared = prepare(splits, numeric=numeric)
        story.prepare(prepared)

        with _seeded(seed):
            built = make_network(network, prepared.spec)
            training = Training(
                built, prepared, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
                weight_decay=weight_decay, patience=patience, seed=seed, device=device,
            )  # fmt: skip
            story.build(training)

            trace.save_to(folder)
            _keep_source(built, folder)
            for step in story.steps():
                if view is not None:
                    view.step(step.number, training.plan.epochs * training.plan.steps_per_epoch)

        model = training.model()
        model.provenance, model.rows = provenance(source, table, splits, valid, test)
        story.predict(model)
        model.save(folder / BUNDLE)
        story.end(folder, folder / BUNDLE)
    finally:
        trace.close()
        if view is not None:
            view.close()
    return Run(folder, network=network)


def demo(
    *,
    run: str | Path | None = None,
    seed: int = 0,
    quiet: bool = False,
    view: Progress | None = None,
) -> Run:
    """Make the reference run: a small network learns three classes from ten numbers.

    1000 training rows, 250 + 250 held out, min-max scaling, one hidden layer of 32, batches of
    32, five epochs. It stays this network, whatever the default becomes.

    Args:
        run: The run folder to make; None makes `runs/demo-TIME`.
        seed: Of the data, the split, the weights and the batches.
        quiet: Print nothing.
        view: What watches instead of the terminal.

    Example:
        >>> import sightline as sl
        >>> run = sl.demo(quiet=True)
        >>> [epoch.number for epoch in run.epochs]
        [0, 1, 2, 3, 4, 5]
    """
    table = replace(read(demo_table(seed)), name="made-up rows")
    return fit(
        table, "kind", valid=250, test=250, numeric="minmax",
        network=lambda spec: MLP(spec, hidden=[32]), epochs=5, batch_size=32, learning_rate=0.007,
        weight_decay=0.01, patience=None, seed=seed, device="cpu", quiet=quiet, view=view,
        run=run if run is not None else _run_folder("demo", None),
    )  # fmt: skip


def demo_table(seed: int = 0) -> dict[str, np.ndarray]:
    """Make 1500 rows of ten measurements, each row around the middle of one of three kinds.

    Example:
        >>> from sightline.pipeline import demo_table
        >>> table = demo_table(seed=0)
        >>> len(table), len(table["kind"])
        (11, 1500)
    """
    check_seed(seed)
    random = np.random.default_rng(seed)
    # Three corners of a triangle with equal sides, turned at random: each pair is equally hard.
    corners = np.linalg.qr(random.normal(size=(10, 10)))[0][:3] * 2.8
    kind = random.permutation(np.arange(1500) % 3)
    values = (corners[kind] + random.normal(size=(1500, 10))).round(3)
    table: dict[str, np.ndarray] = {f"x{j + 1}": values[:, j] for j in range(10)}
    table["kind"] = np.array(["amber", "blue", "coral"])[kind]
    return table


def _keep_source(network: nn.Module, folder: Path) -> None:
    """Keep the source of a network of your own beside its run."""
    source = source_of(network)
    if source is not None:
        (folder / "sources").mkdir(exist_ok=True)
        (folder / "sources" / f"{hashlib.sha256(source).hexdigest()}.py").write_bytes(source)


def _run_folder(source: Any, run: str | Path | None) -> Path:
    """Name the run folder: the one asked for, or runs/NAME-TIME.

    Raises:
        RunError: The one asked for exists already.
    """
    if run is not None:
        folder = Path(run)
        if folder.exists():
            raise taken(folder)
        return folder
    name = Path(source).name.split(".")[0] if isinstance(source, str | Path) else "table"
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60] or "table"
    stem = f"{name}-{_clock()}"
    folder, number = Path("runs") / stem, 2
    while folder.exists():
        folder, number = Path("runs") / f"{stem}-{number}", number + 1
    return folder


def _clock() -> str:
    return clock.strftime("%Y%m%d-%H%M%S")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's generators for the weights and dropout, and restore them afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
