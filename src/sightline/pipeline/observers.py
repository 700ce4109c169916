"""Observers of a run: its folder, the live page, a view of the steps."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from torch import nn

from sightline.build.networks import source_of
from sightline.contracts import Record, Step
from sightline.page.launch import START_SECONDS
from sightline.page.report import write_report
from sightline.pipeline.finish import Finished
from sightline.pipeline.flow import Loaded, Observer
from sightline.pipeline.origin import reference, row_numbers
from sightline.pipeline.spool import DATA, FILES, Spooled, remove
from sightline.pipeline.warm_start import START
from sightline.predict.described import BUNDLE
from sightline.prepare.prepared import Prepared
from sightline.trace.records import read_records
from sightline.train.training import Training
from sightline.views.card import model_card


class FitView(Protocol):
    """Shows a fit, in place of the terminal: it is called with each record and each step."""

    def __call__(self, record: Record) -> None:
        """Take a record."""

    def step(self, done: int, total: int) -> None:
        """Take the number of steps done, and the planned number."""

    def close(self) -> None:
        """Close the view: the fit has ended, or failed."""


class StepsShown(Observer):
    """Reports each step to a view."""

    def __init__(self, view: FitView) -> None:
        self.view = view

    def steps(self, training: Training, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass the steps through."""
        for step in steps:
            self.view.step(step.number, training.plan.epochs * training.plan.steps_per_epoch)
            yield step


class LivePageShown(Observer):
    """Prints the address of the live page as soon as it is known, or why there is none.

    Args:
        show: From `sightline.page.launch.live_page`; takes the seconds to wait for the page.
    """

    def __init__(self, show: Callable[[float], None]) -> None:
        self.show = show

    def loaded(self, loaded: Loaded) -> None:
        """Print the address if it is known already."""
        self.show(0)

    def built(self, training: Training) -> None:
        """Wait for the address: training is about to begin."""
        self.show(START_SECONDS)


class RunFolder(Observer):
    """Writes the network's source, the model and the report into the run folder.

    Args:
        folder: The run folder.
        report: Whether to write the report.
        data: Rows that were read from a database or an object store; or None.
        keep_data: Whether they stay in the folder at the end.
        resumed: Whether the sources are already in the folder.
        first: For a replay, the folder of the first run; its sources are copied.
    """

    def __init__(
        self, folder: Path, report: bool, *, data: Spooled | None = None, keep_data: bool = True,
        resumed: bool = False, first: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.report, self.resumed, self.first = folder, report, resumed, first
        self.data, self.keep_data = data, keep_data

    def loaded(self, loaded: Loaded) -> None:
        """Take what the model keeps of its table."""
        self._loaded = loaded

    def prepared(self, prepared: Prepared) -> None:
        """Take which validation rows are for early stopping."""
        self._stopping = prepared.valid.row.numpy()

    def built(self, training: Training) -> None:
        """Write the source of a network of your own, and the model that a warm start begins with."""
        start = self._loaded.start
        if self.data is not None:
            self.data.move()
        if self.first is None and not self.resumed:
            keep_source(training.network, self.folder)
            if start is not None and start.model is not None:
                start.model.save(self.folder / START)
        elif self.first is not None:
            if (self.first / "sources").is_dir():
                shutil.copytree(self.first / "sources", self.folder / "sources")
            if start is not None:
                shutil.copyfile(self.first / START, self.folder / START)

    def finished(self, finished: Finished) -> None:
        """Save the model, with where its rows are, before it is evaluated."""
        decisions = self._loaded.decisions
        options = {
            name: value for name, value in decisions.options.to_json().items() if name != "run"
        }
        finished.model.provenance = {**decisions.origin, "options": {**options, "run": {}}}
        finished.model.rows = row_numbers(
            finished.model.encoder,
            self._loaded.splits,
            self._stopping,
            decisions.origin["fingerprint"],
        )
        finished.model.reference = reference(finished.model, self._loaded.splits)
        finished.model.save(self.folder / BUNDLE)
        self._model = finished.model

    def ended(self) -> None:
        """Put the model card into the model's file, and write the report, both of all records; remove what is not kept."""
        self._model.card = model_card(read_records(self.folder)[0])
        self._model.save(self.folder / BUNDLE)
        if self.report:
            write_report(self.folder)
        if not self.keep_data:
            remove(self.folder / DATA)
            remove(self.folder / FILES)


def keep_source(network: nn.Module, folder: Path) -> None:
    """Write the source of a network of your own into the run folder, named by its sha256."""
    source = source_of(network)
    if source is not None:
        (folder / "sources").mkdir(parents=True, exist_ok=True)
        (folder / "sources" / f"{hashlib.sha256(source).hexdigest()}.py").write_bytes(source)
