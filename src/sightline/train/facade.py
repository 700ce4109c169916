"""The public attributes of a training: plan, history, weights, the model."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sightline.contracts import Batch, BatchSource, Edit, EpochRecord, Event, EventType, Plan
from sightline.contracts.options import TrainingSettings
from sightline.errors import NetworkError
from sightline.predict.attributions import typical_row
from sightline.predict.model import Model
from sightline.predict.task import Task
from sightline.prepare.prepared import Prepared
from sightline.train.progress import Progress
from sightline.train.schedules import LearningRate
from sightline.train.state import TrainingState
from sightline.train.weights import Average, WeightsCopy
from sightline.views import notebook


class TrainingFacade:
    """The public face of a training's state; `sl.Training` adds the loop and the edits.

    Args:
        state: The state of the training.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=3)
        >>> training.plan.epochs, training.history, training.stopped, training.waiting
        (3, [], None, ())
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state

    # ------------------------------------------------------------- what it is made from

    @property
    def settings(self) -> TrainingSettings:
        """The requested settings; may be set, such as to lift a time limit."""
        return self.state.settings

    @settings.setter
    def settings(self, settings: TrainingSettings) -> None:
        self.state.settings = settings

    @property
    def prepared(self) -> Prepared:
        """The prepared table."""
        return self.state.prepared

    @property
    def task(self) -> Task:
        """Loss, head and metric."""
        return self.state.data.task

    @property
    def device(self) -> torch.device:
        """Where the network and the rows are."""
        return self.state.device

    @property
    def valid(self) -> Batch:
        """The validation rows, on the device; none with folds."""
        return self.state.data.valid

    @property
    def source(self) -> BatchSource:
        """Where the batches come from."""
        return self.state.source

    @property
    def plan(self) -> Plan:
        """Batch size, epochs, threads and precision, as decided before the first step or edited."""
        return self.state.plan

    @property
    def first_network(self) -> dict[str, Any]:
        """The initial network: its class, configuration and source."""
        return self.state.first_network

    @property
    def sources(self) -> Path | None:
        """The folder that keeps the source text of reloaded networks; may be set."""
        return self.state.sources

    @sources.setter
    def sources(self, folder: Path | None) -> None:
        self.state.sources = folder

    # ------------------------------------------------------------- what is trained

    @property
    def network(self) -> nn.Module:
        """The network, with the current weights."""
        return self.state.network

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the network's parameters."""
        return self.state.optimizer

    @property
    def learning_rate(self) -> LearningRate:
        """The learning-rate schedule, and its current position."""
        return self.state.learning_rate

    @property
    def average(self) -> Average | None:
        """The moving average of the weights; None without `ema`."""
        return self.state.average

    @property
    def best(self) -> WeightsCopy:
        """A copy of the network of the best epoch."""
        return self.state.best

    def take_network(self, network: nn.Module, optimizer: Optimizer) -> None:
        """Train another network from now on, or the same one with another structure."""
        self.state.take_network(network, optimizer)

    def set_weight_decay(self, value: float) -> None:
        """Set the weight decay of all parameters but biases and norms."""
        self.state.set_weight_decay(value)

    def forget_momentum(self) -> None:
        """Clear the optimizer's state, and start the moving average from the current weights."""
        self.state.forget_momentum()

    def gradient_norm(self) -> float:
        """Return the norm of the last step's gradients."""
        return self.state.gradient_norm()

    # ------------------------------------------------------------- what has happened

    @property
    def progress(self) -> Progress:
        """Counts, history, events and edits so far."""
        return self.state.progress

    @property
    def epochs_done(self) -> float:
        """How many epochs are done; the current one counts in part."""
        return self.state.epochs_done

    @property
    def history(self) -> list[EpochRecord]:
        """The records of the epochs so far, the untrained network's first."""
        return self.progress.history

    @property
    def events(self) -> list[Event]:
        """What happened besides steps and epochs: edits, skipped steps, the doctor's numbers."""
        return self.progress.events

    @property
    def waiting(self) -> tuple[Edit, ...]:
        """The edits that the next step applies, in order."""
        return tuple(self.state.waiting)

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights `model()` returns."""
        return self.progress.best_epoch

    @property
    def stopped(self) -> str | None:
        """Why training ended, as a sentence; None while it can go on."""
        return self.progress.stopped

    @property
    def detailed_steps(self) -> dict[int, dict[str, Any]]:
        """One step in full, of the first epoch and of the latest one, by epoch."""
        return self.state.detailed_steps

    def tell(
        self, type_: EventType, sentence: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """Add an event, at the current step and epoch."""
        self.state.tell(type_, sentence, details)

    # ------------------------------------------------------------- the model

    def model(self, *, best: bool = True) -> Model:
        """Return the model: the best epoch's weights, or the current ones with `best=False`.

        The network is copied: training may go on.

        Raises:
            NetworkError: The loss with those weights is not a finite number.
        """
        self._check_loss(best)
        state = self.state
        if best:
            network = copy.deepcopy(state.best.network)
        else:
            with state.validated_weights():
                network = copy.deepcopy(state.network)
        prepared, task = state.prepared, state.data.task
        return Model(
            spec=prepared.spec,
            encoder=prepared.encoder,
            transform=prepared.transform,
            network=network.to("cpu"),
            task=task,
            baseline=task.baseline(prepared.train.target),
            typical=typical_row(prepared.train),
        )

    def _check_loss(self, best: bool) -> None:
        if not self.history:
            return
        epoch = self.history[self.best_epoch if best else -1]
        watched = epoch.train_loss if epoch.valid_loss is None else epoch.valid_loss
        if not math.isfinite(watched):
            why = f" ({self.stopped})" if self.stopped else ""
            raise NetworkError(
                f"The loss in epoch {epoch.number} is not a finite number, so a model with its weights "
                f"cannot predict anything{why}.",
                "Train again with a lower learning rate.",
            )

    def _repr_html_(self) -> str:
        return notebook.of_training({
            "class": type(self.network).__name__, "plan": asdict(self.plan),
            "folds": self.prepared.splits.fold_count,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "steps": self.progress.steps, "stopped": self.stopped, "best_epoch": self.best_epoch,
            "epochs": [epoch.to_json() for epoch in self.history],
            "edits": [event.to_json() for event in self.events if event.type == "edit"],
        })  # fmt: skip
