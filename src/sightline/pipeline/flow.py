"""The five stages, written once: load, prepare, build, train, predict.

`sl.fit`, `sl.resume`, `sl.replay` and the scikit-learn estimators are this flow with another beginning
(`beginnings.py`: fresh, from a checkpoint, from the start of a first run) and other observers (the
recorder, the live page, checkpoints and commands; or nobody).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sightline.contracts import Step
from sightline.evaluate.evaluation import Evaluation
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.pipeline.decisions import Decisions
from sightline.pipeline.finish import Finished, finish
from sightline.pipeline.origin import row_numbers
from sightline.pipeline.recipe import set_apart
from sightline.prepare.prepared import Prepared, prepare
from sightline.train.training import Training


@dataclass(frozen=True)
class Loaded:
    """What stage 1 gives.

    Attributes:
        table: As it was read.
        splits: Its rows, divided.
        batch_size: Rows of a batch.
        decisions: What was asked for, and what was decided now that the rows are known.
    """

    table: Table
    splits: Splits
    batch_size: int
    decisions: Decisions


class Beginning(Protocol):
    """Where a run starts from."""

    def load(self) -> Loaded:
        """Read the table and divide its rows."""

    def build(self, prepared: Prepared, decisions: Decisions) -> Training:
        """Build the network and its training, or restore them."""

    @property
    def tree_rounds(self) -> int | None:
        """How many rounds of boosting to take; None lets validation and the clock decide."""


class Observer:
    """What looks on while a run is made. It changes nothing in the flow, which does not know its name.

    Each method is called when what it is named after has happened, and does nothing unless it is
    overridden.
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
        """Stage 4 is done: the model that ships is there."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Stage 5 has begun: what is read from the evaluation is computed then."""

    def ended(self) -> None:
        """The run is complete."""


@dataclass(frozen=True)
class Outcome:
    """What a run gives.

    Attributes:
        finished: The model that ships, and how it came about.
        training: The training, ended.
    """

    finished: Finished
    training: Training


def run_stages(beginning: Beginning, observers: Sequence[Observer] = ()) -> Outcome:
    """Take a table through the five stages.

    Args:
        beginning: Where to start from.
        observers: What looks on; each is told of a stage in this order.

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
    # 1 load: a file becomes typed columns, and its rows are divided
    loaded = beginning.load()
    _tell(observers, "loaded", loaded)
    decisions, recipe = loaded.decisions, loaded.decisions.recipe

    # 2 prepare: typed columns become tensors, fitted on the training rows alone
    prepared = prepare(loaded.splits, numeric=decisions.options.model.numeric)
    prepared, calibration_rows = set_apart(prepared, recipe)
    _tell(observers, "prepared", prepared)

    # 3 build: a network, features in, logits out
    training = beginning.build(prepared, decisions)
    _tell(observers, "built", training)

    # 4 train: weights are updated after each batch; then trees, weights of the parts, calibration
    _tell(observers, "begins", training)
    steps = training.steps()
    for observer in observers:
        steps = observer.steps(training, steps)
    for _ in steps:
        pass
    finished = finish(
        training, recipe, calibration_rows, decisions.trees_limit, beginning.tree_rounds
    )
    finished.model.provenance = dict(decisions.origin)
    finished.model.rows = row_numbers(loaded.splits)
    _tell(observers, "finished", finished)

    # 5 predict: the model is measured on rows that it has not seen
    options = decisions.options
    evaluation = Evaluation(
        finished.model, prepared, finished.held_out, finished.out_of_fold,
        with_baselines=options.model.baselines, with_report=options.run.report, seed=options.seed,
    )  # fmt: skip
    _tell(observers, "evaluated", evaluation)
    _tell(observers, "ended")
    return Outcome(finished, training)


def _tell(observers: Sequence[Observer], event: str, *about: Any) -> None:
    for observer in observers:
        getattr(observer, event)(*about)
