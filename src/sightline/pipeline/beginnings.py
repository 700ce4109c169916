"""Where a run starts from: a table, a checkpoint, or the start of a first run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from sightline.build.networks import BUILT_IN, NetworkMaker, load_class
from sightline.contracts import Edit, FitOptions, Record, TrainingSettings
from sightline.contracts.metrics import check_metric
from sightline.errors import OptionError, RunError
from sightline.load.large import LargeTable, Spread, read_within
from sightline.load.limits import settle_limit
from sightline.pipeline.deadline import Budget, Deadline, recipe_in_time
from sightline.pipeline.decisions import Decisions
from sightline.pipeline.flow import FirstRun, Loaded
from sightline.pipeline.origin import provenance, read_again
from sightline.pipeline.recipe import (
    Recipe,
    divide,
    make_settings,
    make_training,
    size_of,
)
from sightline.pipeline.runner import edits_left, edits_of
from sightline.pipeline.spool import Spooled
from sightline.pipeline.warm_start import WarmStart
from sightline.predict.parts import PARTS, NetworkPart
from sightline.prepare.prepared import Prepared, prepare
from sightline.trace.records import find
from sightline.train.checkpoints import SavedCheckpoint, read_first
from sightline.train.optimizers import OptimizerMaker
from sightline.train.plan import check_device, settle_batch_size
from sightline.train.processes import current, processes_here
from sightline.train.training import Training, restore


@dataclass(frozen=True)
class Handed:
    """A table that another process has read, split and prepared.

    Attributes:
        source: Its path; None of a table in memory.
        loaded: The result of stage 1.
        prepared: The result of stage 2.
        settings: The settings of the training of a new run.
        deadline: The clock of its time limit.
    """

    source: str | Path | None
    loaded: Loaded
    prepared: Prepared
    settings: TrainingSettings | None
    deadline: Deadline


class Fresh:
    """A new run.

    Args:
        source: Anything `sl.read` takes, a table that it has read, rows that were read from a database or an object store,
            or what another process has made of it.
        options: The options of the fit. They are checked here, as far as that needs no table.
        start: What a warm start keeps of an earlier model; its network is trained further. None draws weights.

    Attributes:
        options: The options of the fit.
        folder: Where temporary files of a table larger than memory are made; None takes that of the system.
        spread: What applies functions to pieces of such a table; None takes threads.
        sharing: How many processes of this machine share its memory; None takes those that torchrun has started.
        settings: The settings of the training, once the table is loaded.
        deadline: The clock of the time limit, which starts here: before the table is read.
        watched: "file.py:Class" if the network's file is reloaded whenever it is saved; else None.

    Raises:
        UserError: An option is invalid, or the network cannot be loaded.
    """

    first: FirstRun | None = None

    def __init__(self, source: Any, options: FitOptions, start: WarmStart | None = None) -> None:
        model = options.model
        settings = options.settings()
        self.deadline = Deadline(settings.time_limit)
        check_device(settings.device)
        self.source, self.options, self.start = source, options, start
        self.folder: Path | None = None
        self.spread: Spread | None = None
        self.sharing: int | None = None
        self._recipe = Recipe.choose(options)
        if start is not None:
            self._recipe = replace(self._recipe, folds=start.earlier.folds)
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
        self.settings: TrainingSettings | None = None

    def load(self) -> Loaded:
        """Read the table, split its rows, and choose the settings that depend on them."""
        options, source = self.options, self.source
        if isinstance(source, Handed):
            self.settings, self.deadline = source.settings, source.deadline
            return source.loaded
        # Each of several processes has rows of its own in memory, and all draw the same sample.
        sharing = self.sharing or processes_here()
        limit = current().decide(lambda: settle_limit(options.run.memory_limit, sharing))
        address = None
        if isinstance(source, Spooled):
            table, address = source.table(options.read, limit), source.address
            source = source.later
        else:
            table = read_within(source, options.read, limit, self.folder, spread=self.spread)
        earlier = None if self.start is None else self.start.earlier
        given = {"seed": options.seed, "earlier": earlier, **vars(options.split)}
        splits = divide(table, options.target, self._recipe, **given)
        if earlier is None:
            asked = self._recipe
            self._recipe = recipe_in_time(asked, options, size_of(splits))
            if self._recipe.folds != asked.folds:
                splits = divide(table, options.target, self._recipe, **given)
        if (metric := options.settings().eval_metric) is not None:
            check_metric(metric, splits.target.task, splits.target.name)
        if isinstance(table, LargeTable):
            table = table.sample
        size = size_of(splits)
        self.settings = make_settings(self._recipe, options, size)
        origin = provenance(source, table, splits, options.split.valid, options.split.test, address)
        decisions = Decisions(options, origin, self._recipe, self.settings.to_json())
        rows = settle_batch_size(self.settings.batch_size, splits.train_rows)
        return Loaded(table, splits, rows, decisions, self.start)

    def prepare(self, loaded: Loaded) -> Prepared:
        """Make tensors of the rows."""
        return _prepared(self.source, loaded)

    def build(self, prepared: Prepared, decisions: Decisions, budget: Budget) -> Training:
        """Build the network, with first weights drawn from the seed or those of the warm start, and its training."""
        assert self.settings is not None  # load
        settings = replace(self.settings, time_limit=budget.seconds(NetworkPart.name))
        network = self._network if self.start is None else self.start.network(prepared.spec)
        training = make_training(network, prepared, settings, decisions.recipe)
        if not self._is_rebuilt_by_its_source():
            training.first_network.pop("source", None)
        return training

    def edits(self, training: Training) -> list[tuple[int, Edit]]:
        """Return the edits to repeat: none."""
        return []

    def _is_rebuilt_by_its_source(self) -> bool:
        """Return whether the network can be rebuilt from its source file and the spec.

        For a function or a module it cannot: its class may have been called with other arguments. The
        source file of a class in the main script also runs the fit.
        """
        network = self._network
        return self._location is not None or (
            isinstance(network, type) and network.__module__ != "__main__"
        )


class Resumed:
    """An interrupted run, continued from its newest checkpoint.

    Args:
        run: The run folder.
        saved: The checkpoint.
        records: All records of the run, including those written after the checkpoint.
        source: The table, if it was in memory, or what another process has made of it.
        own: The user's own network, optimizer and schedule, as keyword arguments of `restore`.

    Attributes:
        spread: As in `Fresh`.
        decisions: The options of the fit, and what was decided when the run began.
        deadline: The clock of the time limit, without what was used before the checkpoint.
    """

    first: FirstRun | None = None

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
        limit = self.decisions.options.training.get("time_limit")
        self.deadline = Deadline(limit, saved.more.get("used", 0.0))
        self._own: dict[str, Any] = own
        self.spread: Spread | None = None

    def load(self) -> Loaded:
        """Read the table again and split its rows as before."""
        if isinstance(self.source, Handed):
            return self.source.loaded
        origin = self.decisions.origin
        start = WarmStart.of_run(self.run) if origin.get("warm_start") else None
        earlier = None if start is None else start.earlier
        table, splits = read_again(origin, self.source, earlier, self.run.parent, self.spread)
        rows = self.saved.state["plan"]["batch_size"]
        return Loaded(table, splits, rows, self.decisions, start)

    def prepare(self, loaded: Loaded) -> Prepared:
        """Make tensors of the rows."""
        return _prepared(self.source, loaded)

    def build(self, prepared: Prepared, decisions: Decisions, budget: Budget) -> Training:
        """Restore the training."""
        return restore(self.saved, prepared, sources=self.run / "sources", **self._own)

    def edits(self, training: Training) -> list[tuple[int, Edit]]:
        """Return the edits that were made after the checkpoint and must be repeated."""
        return edits_left(self.records, self.saved, training)


class Replayed(Resumed):
    """A repetition of a run from its first checkpoint, with the same edits at the same steps.

    Args:
        run: The folder of the first run.
        records: Its records.
        own: `source`, `network`, `optimizer` and `schedule`, as in `Resumed`.

    Raises:
        RunError: The run's training did not end, or its first checkpoint is missing.
    """

    def __init__(self, run: Path, records: Sequence[Record], **own: Any) -> None:
        ended = find(records, "train", "end")
        if not ended:
            raise RunError(
                f"The training of {run} did not end.",
                f"Resume it: sightline resume {shlex.quote(str(run))}",
            )
        super().__init__(run, read_first(run), records, **own)
        self.ended: Mapping[str, Any] = ended[-1].body
        self.deadline = Deadline()
        shortened = find(records, "predict", "time_limit")
        self.first = FirstRun(
            {name: parts[-1].body for name in PARTS if (parts := find(records, "train", name))},
            shortened[-1].body if shortened else {},
        )

    def build(self, prepared: Prepared, decisions: Decisions, budget: Budget) -> Training:
        """Restore the training as it was before its first step."""
        training = super().build(prepared, decisions, budget)
        # What the time limit decided in the first run is in its plan and its edits.
        training.settings = replace(training.settings, time_limit=None)
        return training

    def edits(self, training: Training) -> list[tuple[int, Edit]]:
        """Return all edits of the first run."""
        return edits_of(self.records)


def _prepared(source: Any, loaded: Loaded) -> Prepared:
    if isinstance(source, Handed):
        return source.prepared
    kept = None if loaded.start is None else loaded.start.kept
    return prepare(loaded.splits, numeric=loaded.decisions.options.model.numeric, kept=kept)
