"""The five stages, written once: load, prepare, build, train, predict.

`sl.fit`, `sl.resume`, `sl.replay` and the scikit-learn estimators are this flow with different beginnings
(`beginnings.py`: fresh, from a checkpoint, from the start of an earlier run) and different observers (the
recorder, the live page, checkpoints and commands; or none).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sightline.build.modes import usual_settings
from sightline.contracts import Batch, Step
from sightline.evaluate.evaluation import Evaluation
from sightline.evaluate.in_time import InTime
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.pipeline.deadline import Budget, Deadline
from sightline.pipeline.decisions import Decisions
from sightline.pipeline.finish import Finished, finish
from sightline.pipeline.recipe import set_apart
from sightline.pipeline.warm_start import WarmStart
from sightline.prepare.prepared import Prepared
from sightline.train.processes import leave
from sightline.train.training import Training


@dataclass(frozen=True)
class Loaded:
    """The result of stage 1.

    Attributes:
        table: The table as it was read.
        splits: The table, split.
        batch_size: Rows of a batch.
        decisions: The options of the fit, and what was decided from the rows.
        start: Of a warm start, what it keeps of the earlier model; else None.
    """

    table: Table
    splits: Splits
    batch_size: int
    decisions: Decisions
    start: WarmStart | None = None


@dataclass(frozen=True)
class FirstRun:
    """What a replay takes from the records of the first run, besides the steps of its training.

    Attributes:
        parts: The bodies of the records of the parts beside the network, by part: only these parts are made again.
        end: The body of "predict/time_limit": what the clock left out or shortened after the training; empty if nothing.
    """

    parts: Mapping[str, Mapping[str, Any]]
    end: Mapping[str, Any]


class Beginning(Protocol):
    """The start of a run: fresh, from a checkpoint, or from an earlier run."""

    def load(self) -> Loaded:
        """Read the table and split its rows."""

    def prepare(self, loaded: Loaded) -> Prepared:
        """Make tensors of the rows."""

    def build(self, prepared: Prepared, decisions: Decisions, budget: Budget) -> Training:
        """Build the network and its training, or restore them."""

    @property
    def deadline(self) -> Deadline:
        """The clock of the fit's time limit."""

    @property
    def first(self) -> FirstRun | None:
        """Of a replay, what the first run's clock decided; else None."""


class Observer:
    """Watches a run; the flow knows only this class.

    Each method is called when the event that it is named after has happened. By default it does
    nothing. An observer may act on the training as the owner of any loop may, through its public
    methods: the runner queues edits, pauses between two steps and stops. Observers are called in the
    order in which they are given: the recorder first, so that records are written before anything that
    points to them.
    """

    def loaded(self, loaded: Loaded) -> None:
        """Stage 1 is done."""

    def prepared(self, prepared: Prepared) -> None:
        """Stage 2 is done."""

    def built(self, training: Training) -> None:
        """Stage 3 is done."""

    def begins(self, training: Training) -> None:
        """Stage 4 begins."""

    def steps(self, training: Training, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass the steps of stage 4 through."""
        return steps

    def finished(self, finished: Finished) -> None:
        """Stage 4 is done: the final model exists."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Stage 5 has begun: the evaluation computes each result when it is first read."""

    def ended(self) -> None:
        """The run is complete."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        finished: The final model, and what was computed while it was made.
        training: The finished training.
    """

    finished: Finished
    training: Training


@dataclass(frozen=True)
class Trained:
    """What stages 1 to 4 leave.

    Attributes:
        loaded: The result of stage 1.
        prepared: The result of stage 2.
        calibration_rows: Validation rows that early stopping has not seen; None without any.
        training: The finished training of the network.
        budget: How much of the time limit each other part may take.
    """

    loaded: Loaded
    prepared: Prepared
    calibration_rows: Batch | None
    training: Training
    budget: Budget


@usual_settings()
def train_network(beginning: Beginning, observers: Sequence[Observer] = ()) -> Trained:
    """Take a table through loading, preparing, building and training.

    All processes that train together make these stages; the first one goes on with `run_stages`.

    Args:
        beginning, observers: As in `run_stages`.

    Example:
        >>> from sightline.contracts import FitOptions
        >>> from sightline.pipeline.beginnings import Fresh
        >>> from sightline.pipeline.flow import train_network
        >>> options = FitOptions.of("species", quality="fast", epochs=2)
        >>> trained = train_network(Fresh("examples/penguins.csv", options))
        >>> trained.training.stopped
        'all 2 epochs done'
    """
    # 1 load: a file becomes typed columns, and its rows are split
    loaded = beginning.load()
    _notify(observers, "loaded", loaded)
    decisions, recipe = loaded.decisions, loaded.decisions.recipe

    # 2 prepare: typed columns become tensors, fitted on the training rows alone
    prepared, calibration_rows = set_apart(beginning.prepare(loaded), recipe)
    _notify(observers, "prepared", prepared)

    # 3 build: a network, features in, logits out
    budget = Budget.of(beginning.deadline, recipe, decisions.options, prepared)
    training = beginning.build(prepared, decisions, budget)
    _notify(observers, "built", training)

    # 4 train: weights are updated after each batch
    _notify(observers, "begins", training)
    steps = training.steps()
    for observer in observers:
        steps = observer.steps(training, steps)
    for _ in steps:
        pass
    leave()
    return Trained(loaded, prepared, calibration_rows, training, budget)


@usual_settings()
def run_stages(beginning: Beginning, observers: Sequence[Observer] = ()) -> Outcome:
    """Take a table through the five stages.

    Args:
        beginning: Where to start from.
        observers: Objects that are notified of each event, in this order.

    Example:
        >>> import sightline as sl
        >>> from sightline.contracts import FitOptions
        >>> from sightline.pipeline.beginnings import Fresh
        >>> from sightline.pipeline.flow import run_stages
        >>> options = FitOptions.of("species", quality="fast", epochs=2)
        >>> outcome = run_stages(Fresh("examples/penguins.csv", options))
        >>> outcome.training.best_epoch in (1, 2), outcome.finished.model.classes
        (True, ('Adelie', 'Chinstrap', 'Gentoo'))
    """
    # 1 load, 2 prepare, 3 build, 4 train the network
    trained = train_network(beginning, observers)
    training, decisions = trained.training, trained.loaded.decisions

    # 4 train, the rest: trees, the parts' weights, calibration
    options, first = decisions.options, beginning.first
    finished = finish(
        training, decisions.recipe, trained.calibration_rows, trained.budget,
        None if first is None else first.parts,
    )  # fmt: skip
    _notify(observers, "finished", finished)

    # 5 predict: the model is measured on rows that it has not seen
    evaluation = Evaluation(
        finished.model, trained.prepared, finished.held_out, finished.held_out_values, finished.out_of_fold,
        training.settings.class_weights, with_baselines=options.model.baselines, with_report=options.run.report, seed=options.seed,
        in_time=InTime(beginning.deadline.left, None if first is None else first.end),
    )  # fmt: skip
    _notify(observers, "evaluated", evaluation)
    _notify(observers, "ended")
    return Outcome(finished, training)


def _notify(observers: Sequence[Observer], event: str, *about: Any) -> None:
    for observer in observers:
        getattr(observer, event)(*about)
