"""Where a run starts from: a table, a checkpoint, or the start of a first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sightline.build.networks import BUILT_IN, NetworkMaker, load_class
from sightline.contracts import Edit, FitOptions, Record, TrainingSettings
from sightline.errors import OptionError, RunError
from sightline.load.table import Table, read
from sightline.pipeline.decisions import Decisions
from sightline.pipeline.flow import Loaded
from sightline.pipeline.origin import provenance, read_again
from sightline.pipeline.recipe import (
    Recipe,
    divide,
    make_settings,
    make_training,
    size_of,
    trees_limit,
)
from sightline.pipeline.runner import edits_left, edits_of
from sightline.prepare.prepared import Prepared
from sightline.trace.records import find
from sightline.train.checkpoints import SavedCheckpoint, read_first
from sightline.train.optimizers import OptimizerMaker
from sightline.train.plan import check_device, settle_batch_size
from sightline.train.training import Training, restore


class Fresh:
    """A new run.

    Args:
        source: Anything `sl.read` takes, or a table that it has read.
        options: What is asked for. Everything that can be refused without the table is refused here.

    Attributes:
        options: The same.
        watched: "file.py:Class" where the network's file is to be loaded again when it is saved.

    Raises:
        UserError: An option that makes no sense, or a network that cannot be loaded.
    """

    tree_rounds: int | None = None

    def __init__(self, source: Any, options: FitOptions) -> None:
        model = options.model
        check_device(options.settings().device)
        self.source, self.options = source, options
        self._recipe = Recipe.choose(options)
        self._location = model.network if isinstance(model.network, str) else None
        if options.run.watch and (self._location is None or self._location in BUILT_IN):
            raise OptionError(
                "watch=True (--watch) needs a network that is given as a file.",
                'Give network="file.py:Class" (--network).',
            )
        self.watched = self._location if options.run.watch else None
        self._network: nn.Module | NetworkMaker | None = model.network
        if self._location is not None:
            self._network = load_class(self._location)
        self._settings: TrainingSettings | None = None

    def load(self) -> Loaded:
        """Read the table, divide its rows, and decide what they decide."""
        options, source = self.options, self.source
        table = source if isinstance(source, Table) else read(source, **vars(options.read))
        splits = divide(
            table, options.target, self._recipe, seed=options.seed, **vars(options.split)
        )
        size = size_of(splits)
        self._settings = make_settings(self._recipe, options, size)
        origin = provenance(source, table, splits, options.split.valid, options.split.test)
        decisions = Decisions(
            options, origin, self._recipe, self._settings.to_json(), trees_limit(options)
        )  # fmt: skip
        rows = settle_batch_size(self._settings.batch_size, len(splits.train))
        return Loaded(table, splits, rows, decisions)

    def build(self, prepared: Prepared, decisions: Decisions) -> Training:
        """Build the network, its first weights drawn from the seed, and its training."""
        assert self._settings is not None  # load
        training = make_training(self._network, prepared, self._settings, decisions.recipe)
        if not self._is_rebuilt_by_its_source():
            training.first_network.pop("source", None)
        return training

    def edits(self, training: Training) -> list[tuple[int, Edit]]:
        """Return the edits to make again: none."""
        return []

    def _is_rebuilt_by_its_source(self) -> bool:
        """Tell whether a kept source, called with the spec, builds this network again.

        A function or a module may have given its class arguments that no source tells; and the source of
        a class in the main script is the script, with the fit in it.
        """
        own = self._network
        return self._location is not None or (
            isinstance(own, type) and own.__module__ != "__main__"
        )


class Resumed:
    """A run that was cut off, from its newest checkpoint on.

    Args:
        run: The run folder.
        saved: The checkpoint.
        records: The records of the run, those after the checkpoint too.
        source: The table, where it was one in memory.
        own: What the run does not keep, as keyword arguments of `restore`: network, optimizer,
            schedule.

    Attributes:
        decisions: What was asked for and decided when the run began.
    """

    tree_rounds: int | None = None

    def __init__(
        self,
        run: Path,
        saved: SavedCheckpoint,
        records: Sequence[Record],
        *,
        source: Any = None,
        **own: nn.Module | NetworkMaker | OptimizerMaker | str | None,
    ) -> None:
        self.run, self.saved, self.records, self.source = run, saved, records, source
        self.decisions = Decisions.from_json(saved.more)
        self._own: dict[str, Any] = own

    def load(self) -> Loaded:
        """Read the table again and divide its rows as they were."""
        table, splits = read_again(self.decisions.origin, self.source)
        return Loaded(table, splits, self.saved.state["plan"]["batch_size"], self.decisions)

    def build(self, prepared: Prepared, decisions: Decisions) -> Training:
        """Restore the training."""
        return restore(self.saved, prepared, sources=self.run / "sources", **self._own)

    def edits(self, training: Training) -> list[tuple[int, Edit]]:
        """Return the edits that were made after the checkpoint, to be made again."""
        return edits_left(self.records, self.saved, training)


class Replayed(Resumed):
    """A run made again from the start of a first one, with its edits at the same steps.

    Args:
        run: The folder of the first run.
        records: Its records.
        source, own: As in `Resumed`.

    Raises:
        RunError: Its training did not end, or its first checkpoint is not there.
    """

    def __init__(self, run: Path, records: Sequence[Record], **more: Any) -> None:
        ended = find(records, "train", "end")
        if not ended:
            raise RunError(
                f"The training of {run} did not end.", f"Resume it: sightline resume {run}"
            )
        super().__init__(run, read_first(run), records, **more)
        grown = find(records, "train", "trees")
        self.ended: Mapping[str, Any] = ended[-1].body
        self.trees: Mapping[str, Any] | None = grown[-1].body if grown else None

    @property
    def tree_rounds(self) -> int | None:  # type: ignore[override]
        """As many rounds of boosting as the first time."""
        return None if self.trees is None else int(self.trees["iterations"])

    def build(self, prepared: Prepared, decisions: Decisions) -> Training:
        """Restore the training as it was before its first step."""
        training = super().build(prepared, decisions)
        # What the clock decided the first time is in the plan and the edits.
        training.settings = replace(training.settings, time_limit=None)
        return training

    def edits(self, training: Training) -> list[tuple[int, Edit]]:
        """Return all edits of the first run."""
        return edits_of(self.records)
