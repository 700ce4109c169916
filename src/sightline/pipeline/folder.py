"""A run folder, reopened: its records, its model, its table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from sightline.build.networks import NetworkMaker
from sightline.contracts import EpochRecord, Record
from sightline.contracts.metrics import METRICS
from sightline.errors import RunError, counted, readable
from sightline.load.table import Table
from sightline.pipeline.origin import training_data
from sightline.predict.described import BUNDLE
from sightline.predict.model import Model
from sightline.trace.records import find, number, read_records
from sightline.views import notebook
from sightline.views.format import plain
from sightline.views.pictures import Form, pictures


class Run:
    """A recorded fit: its records, its model, its table.

    Args:
        folder: What `fit` wrote.
        network: For a network of your own, its class (see `Model.load`).

    Attributes:
        folder: The run folder.
        records: Its records in order; `docs/trace.md` lists the types.
        notes: Problems found while reading them, such as an incomplete last line.

    Raises:
        RunError: The folder is not a run, or its records are damaged.

    Example:
        >>> import sightline as sl
        >>> folder = sl.fit("examples/penguins.csv", target="species", quality="fast", epochs=2, quiet=True).folder
        >>> run = sl.Run(folder)
        >>> [epoch.number for epoch in run.epochs], run.table.rows
        ([0, 1, 2], 344)
    """

    def __init__(
        self, folder: str | Path, *, network: nn.Module | NetworkMaker | str | None = None
    ) -> None:
        self.folder = Path(folder)
        self.records, self.notes = read_records(self.folder)
        self._network = network

    def find(self, stage: str, type_: str) -> list[Record]:
        """Return the records of one type, such as ("train", "epoch")."""
        return find(self.records, stage, type_)

    @property
    def epochs(self) -> list[EpochRecord]:
        """The records of all epochs, the untrained network's first."""
        return [_epoch(record.body) for record in self.find("train", "epoch")]

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The final metrics, on the test rows (without any, the validation rows).

        Raises:
            RunError: The run has none, because it did not end.
        """
        records = self.find("predict", "metrics")
        if not records:
            raise RunError(
                f"{self.folder} has no metrics: the run did not end.",
                "Resume the run, or fit again.",
            )
        return records[-1].body

    @cached_property
    def model(self) -> Model:
        """The trained model.

        Raises:
            BundleError: The run has no model file, or its model needs `network`.
        """
        return Model.load(self.folder / BUNDLE, network=self._network)

    @cached_property
    def table(self) -> Table:
        """The table, read again.

        Raises:
            DataError: It was in memory, does not exist any more, or has changed.
        """
        return training_data(self.model)[0]

    def pictures(self, folder: str | Path, form: Form = "png") -> list[Path]:
        """Draw pictures of the run, for slides and papers: see `sightline.views.pictures`.

        Args:
            folder: Where to write; it is created if it does not exist.
            form: "png" or "svg".

        Returns:
            The files, one for each picture.

        Raises:
            OptionError: `form` is another text, or matplotlib (`pip install "sightline[plot]"`) is missing.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.pictures("slides", form="svg")[0].name
            'loss.svg'
        """
        return pictures(self.records, folder, form)

    def __repr__(self) -> str:
        """Name the table, the target, the metrics and the files in a few lines."""
        start, end, metrics = (
            found[-1].body if (found := self.find(*kind)) else {}
            for kind in (("run", "start"), ("run", "end"), ("predict", "metrics"))
        )
        lines = [f"Run {plain(self.folder, 200)}, {'complete' if end else 'not complete'}"]
        if start:
            target = start["target"]
            lines.append(
                f"  {plain(start['source'], 80)}, target {plain(target['name'], 40)}, {target['task']}"
            )
        if metrics:
            values = [
                f"{name} {readable(number(metrics[name]))}"
                for name in METRICS
                if metrics.get(name) is not None
            ]
            lines.append(
                f"  {metrics['part']}, {counted(metrics['rows'], 'row')}: {', '.join(values)}"
            )
        if end:
            lines.append(f"  model {end['bundle']}")
            lines += [f"  report {end['report']}"] if end.get("report") else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return notebook.of_run(self.records)


def _epoch(body: Mapping[str, Any]) -> EpochRecord:
    """Read an epoch's record; its numbers may be "NaN" or "Infinity" there."""
    valid_loss = body["valid_loss"]
    return EpochRecord(
        number=body["number"],
        train_loss=number(body["train_loss"]),
        valid_loss=None if valid_loss is None else number(valid_loss),
        metrics={name: number(value) for name, value in body["metrics"].items()},
        observation=body["observation"],
    )
