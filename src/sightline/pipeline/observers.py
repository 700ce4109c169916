"""What else looks on while a run is made: its folder, the live page, a view of the steps."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from torch import nn

from sightline.build.networks import source_of
from sightline.contracts import Record, Step
from sightline.page.launch import LONGEST_START
from sightline.page.report import write_report
from sightline.pipeline.finish import Finished
from sightline.pipeline.flow import Loaded, Observer
from sightline.pipeline.folder import BUNDLE
from sightline.train.training import Training


class FitView(Protocol):
    """What watches a fit in place of the terminal: called with each record, and told of each step."""

    def __call__(self, record: Record) -> None:
        """Take a record."""

    def step(self, done: int, total: int) -> None:
        """Take how many steps are done, of how many at most."""

    def close(self) -> None:
        """Training is over, or failed."""


class StepsShown(Observer):
    """Tells a view of each step."""

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
        """Print it if it is known already."""
        self.show(0)

    def built(self, training: Training) -> None:
        """Wait for it: training is about to begin."""
        self.show(LONGEST_START)


class RunFolder(Observer):
    """Keeps the network's source, the model and the report in the run folder.

    Args:
        folder: The run folder.
        report: Whether to write the report.
        resumed: The sources are kept already.
        first: Of a replay, the folder of the first run, whose sources are copied.
    """

    def __init__(
        self, folder: Path, report: bool, *, resumed: bool = False, first: Path | None = None
    ) -> None:
        self.folder, self.report, self.resumed, self.first = folder, report, resumed, first

    def built(self, training: Training) -> None:
        """Keep the source of a network of your own."""
        if self.first is None and not self.resumed:
            keep_source(training.network, self.folder)
        elif self.first is not None and (self.first / "sources").is_dir():
            shutil.copytree(self.first / "sources", self.folder / "sources")

    def finished(self, finished: Finished) -> None:
        """Save the model, before anything that only looks at it."""
        finished.model.save(self.folder / BUNDLE)

    def ended(self) -> None:
        """Write the report of all records."""
        if self.report:
            write_report(self.folder)


def keep_source(network: nn.Module, folder: Path) -> None:
    """Keep the source of a network of your own beside its run, by its sha256."""
    source = source_of(network)
    if source is not None:
        (folder / "sources").mkdir(exist_ok=True)
        (folder / "sources" / f"{hashlib.sha256(source).hexdigest()}.py").write_bytes(source)
