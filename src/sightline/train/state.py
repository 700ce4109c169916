"""The state of a training: all that a step, an edit or a checkpoint reads or changes.

The loop (`training.py`), the edits, the recovery from bad losses (`health.py`), the ends of epochs
(`epochs.py`) and the checkpoints all work on a `TrainingState`; none of them keeps state that a
checkpoint would need.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.build.networks import check_network, describe_network
from sightline.contracts import BatchSource, Edit, Event, EventType, Plan, Step, edit_from_json
from sightline.contracts.options import TrainingSettings
from sightline.prepare.prepared import Prepared
from sightline.train.data import TrainingData, data_fingerprint
from sightline.train.observations import LayerNumbers
from sightline.train.optimizers import (
    group_options,
    make_optimizer,
    set_group_options,
    set_state_by_name,
    state_by_name,
)
from sightline.train.plan import PlanRequest, choose_device, make_plan
from sightline.train.processes import current
from sightline.train.progress import Progress, Sums
from sightline.train.randomness import Randomness
from sightline.train.schedules import LearningRate
from sightline.train.step_detail import StepDetail
from sightline.train.weights import Average, WeightsCopy, norm, weights_of

ANOTHER_STRUCTURE = -2
"""The structure number of a kept network that has another structure than the current network."""


class TrainingState:
    """The whole state of a training.

    Args:
        network: The network to train, with its first weights; it is moved to the device.
        prepared: The prepared table.
        settings: The requested settings.
        plan: The plan of another training, used instead of a new one.

    Attributes:
        settings, prepared: As given.
        processes: The processes that train together; usually this one alone.
        device: Where the network and the rows are.
        data: The rows on the device, and how a network is scored on them.
        plan: Batch size, epochs, threads, precision; edits change it.
        source: Where the batches come from.
        network, optimizer: The network being trained, and its optimizer.
        learning_rate: The learning-rate schedule, and its current position.
        average: The moving average of the weights; None without `ema`.
        best: A copy of the network of the best epoch.
        good: A copy of the network after the last epoch with a finite loss.
        structure: How many structures the network has had; a copy keeps the number, which tells
            whether it still fits.
        randomness: What dropout draws in a step.
        progress: Counts, history, events and edits so far.
        sums: The training loss and metric of the current epoch.
        out_of_fold: Of the best epoch, the out-of-fold values [N, K] of all training rows; None where they have to be
            computed again: without folds, on a GPU, with several processes, or if a checkpoint was loaded since.
        waiting: Edits that the next step applies.
        layers: The doctor's numbers of the current epoch.
        validation_seconds: How long the last validation took; after that of some rows, how long all would take.
        first_network: The initial network: its class, configuration and source.
        first_printed: The same network as PyTorch prints it.
        sources: The folder that keeps the source text of reloaded networks.
        last_gradient_norm: Of the last step before the checkpoint that this training continues
            from.

    Raises:
        NetworkError: The network does not fit the spec or the folds.
        OptionError: A setting that does not fit the table or the machine.
        DataError: Another process that trains together with this one has other rows.

    Example:
        >>> import sightline as sl
        >>> from sightline.contracts.options import TrainingSettings
        >>> from sightline.train.state import TrainingState
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> state = TrainingState(sl.MLP(prepared.spec), prepared, TrainingSettings(epochs=3))
        >>> state.plan.epochs, state.epochs_done
        (3, 0.0)
    """

    def __init__(
        self,
        network: nn.Module,
        prepared: Prepared,
        settings: TrainingSettings,
        plan: Plan | None = None,
    ) -> None:
        check_network(network, prepared.spec)
        self.settings, self.prepared, self.processes = settings, prepared, current()
        self.first_network, _ = describe_network(network)
        self.first_printed = printed(network)
        self.device = torch.device(choose_device(plan.device if plan else settings.device)[0])
        self.network = network.to(self.device)
        self.data = TrainingData.of(self.network, prepared, settings, self.device)
        request = PlanRequest(
            settings.device, settings.precision, settings.epochs, settings.batch_size,
            settings.accumulate, settings.time_limit, self.processes.size,
        )  # fmt: skip
        task, train = self.data.task, self.data.train
        rows = self.data.rows
        self.plan = plan or self.processes.decide(
            lambda: make_plan(request, self.network, task, train, self.data.held_out, rows)
        )
        self.processes.begin_alike(
            self.network, self.device, self.plan.batch_size, lambda: data_fingerprint(prepared)
        )
        self.source: BatchSource = self.data.source(self.plan.batch_size, settings.seed)
        self.progress = Progress(weight_decay=settings.weight_decay)
        self.sums = Sums(task)
        self.structure = 0
        self.average: Average | None = None
        self.learning_rate = LearningRate(
            settings.schedule, settings.warm_up, settings.learning_rate
        )
        self.take_network(self.network, self.make_optimizer(self.network))
        self.best = WeightsCopy(self.network, self.structure)
        self.out_of_fold: Tensor | None = None
        self.waiting: deque[Edit] = deque()
        self.layers: list[LayerNumbers] = []
        self.validation_seconds = 0.0
        self.sources: Path | None = None
        self.last_gradient_norm = 0.0
        self._unread_steps: list[tuple[StepDetail, Step]] = []

    # ------------------------------------------------------------- network and optimizer

    def make_optimizer(self, network: nn.Module) -> Optimizer:
        """Make the optimizer that the settings name, over all parameters of a network."""
        settings, outputs = self.settings, self.prepared.spec.outputs
        return make_optimizer(
            settings.optimizer, network, outputs, settings.learning_rate, settings.weight_decay
        )

    def take_network(self, network: nn.Module, optimizer: Optimizer) -> None:
        """Train another network from now on, or the same one with another structure."""
        network = self.processes.synchronised(network, self.device)
        self.network, self.optimizer = network, optimizer
        self.structure += 1
        self.randomness = Randomness(network, self.settings.seed, self.device)
        self.good = WeightsCopy(network, self.structure)
        if self.settings.ema is not None:
            self.average = Average(network, self.settings.ema)
        self.set_weight_decay(self.progress.weight_decay)
        self.learning_rate.follow(optimizer)

    def set_weight_decay(self, value: float) -> None:
        """Set the weight decay of all parameters but biases and norms."""
        self.progress.weight_decay = value
        for group in self.optimizer.param_groups:
            if group.get("decays", True):
                group["weight_decay"] = value

    def forget_momentum(self) -> None:
        """Clear the optimizer's state, and start the moving average from the current weights."""
        self.optimizer.state.clear()
        self.optimizer.load_state_dict(self.optimizer.state_dict())
        self.restart_average()

    def restart_average(self) -> None:
        """Start the moving average, if there is one, from the current weights."""
        if self.average is not None:
            self.average.set({name: p.detach() for name, p in self.network.named_parameters()})

    def validated_weights(self) -> AbstractContextManager[None]:
        """Return the context in which the network has the weights that are validated and kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def gradient_norm(self) -> float:
        """Return the norm of the last step's gradients, which a checkpoint does not keep."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return norm(gradients) if gradients else self.last_gradient_norm

    def weights_are_finite(self) -> bool:
        """Tell whether every weight is a finite number."""
        norms = torch._foreach_norm([p.detach() for p in self.network.parameters()])
        return bool(torch.stack(norms).isfinite().all())

    # ------------------------------------------------------------- progress

    @property
    def epochs_done(self) -> float:
        """How many epochs are done; the current one counts in part."""
        return self.progress.epoch - 1 + self.progress.rows / self.source.rows

    @property
    def stopped(self) -> str | None:
        """Why training ended; None while it can go on."""
        return self.progress.stopped

    def tell(
        self, type_: EventType, sentence: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """Add an event, at the current step and epoch."""
        progress = self.progress
        progress.events.append(
            Event(type_, progress.steps, progress.epoch, sentence, details or {})
        )

    @property
    def detailed_steps(self) -> dict[int, dict[str, Any]]:
        """One step in full, of the first epoch and of the latest one, by epoch."""
        kept = self.progress.detailed_steps
        for detail, step in self._unread_steps:
            for epoch in set(kept) - {min(kept, default=0)}:
                del kept[epoch]
            kept[step.epoch] = detail.describe(step)
        self._unread_steps = []
        return kept

    def keep_step_detail(self, detail: StepDetail, step: Step) -> None:
        """Keep a step; `detailed_steps` reads it from the device."""
        self._unread_steps[1:] = [(detail, step)]  # the first one, and the latest

    # ------------------------------------------------------------- to and from a checkpoint

    def state_dict(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return everything as JSON values, and as named tensors by group.

        The tensors are those of the training itself: copy them before another state loads them.
        Numbers may be infinite or NaN.

        Raises:
            NetworkError: The network keeps something else than tensors in its own state.
        """
        network, average = self.network, self.average
        optimizer_tensors, optimizer_values = _split_state(state_by_name(self.optimizer, network))
        self.detailed_steps  # noqa: B018 - updates progress.detailed_steps
        values = {
            "settings": self.settings.to_json(),
            "plan": asdict(self.plan),
            "progress": self.progress.to_json(),
            "learning_rate": self.learning_rate.to_json(),
            "groups": group_options(self.optimizer),
            "optimizer": optimizer_values,
            "network": self.first_network,
            "printed": self.first_printed,
            "gradient_norm": self.gradient_norm(),
            "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
            "queue": [edit.to_json() for edit in self.waiting],
            "layers": [layer.to_json() for layer in self.layers],
        }
        tensors = {
            "network": weights_of(network), "best": weights_of(self.best.network),
            "good": weights_of(self.good.network), "optimizer": optimizer_tensors,
            "average": {} if average is None else average.values, "sums": self.sums.to_tensors(),
        }  # fmt: skip
        return values, tensors

    def load_state_dict(
        self,
        values: Mapping[str, Any],
        tensors: Mapping[str, Mapping[str, Tensor]],
        network: nn.Module,
        best: nn.Module | None,
    ) -> None:
        """Load the state of another training, bit for bit.

        The settings and the plan are those of the constructor.

        Args:
            values, tensors: From `state_dict`.
            network: A network with the structure that it had; its weights are overwritten.
            best: A network with the structure of the best epoch, where that was another one.
        """
        self.first_network, self.first_printed = values["network"], values["printed"]
        self.last_gradient_norm = values["gradient_norm"]
        self.progress = Progress.from_json(values["progress"])
        if history := self.progress.history:
            self.validation_seconds = history[-1].metrics.get("validation_seconds", 0.0)
        network.to(self.device).load_state_dict(tensors["network"])
        self.learning_rate.base = values["learning_rate"]["base"]
        self.take_network(network, self.make_optimizer(network))
        for name, p in network.named_parameters():
            p.requires_grad_(name not in values["frozen"])
        optimizer_state = _joined_state(values["optimizer"], tensors["optimizer"])
        set_state_by_name(self.optimizer, network, optimizer_state)
        self.learning_rate.from_json(values["learning_rate"])
        set_group_options(self.optimizer, values["groups"])
        if self.average is not None:
            self.average.set(
                {name: value.to(self.device) for name, value in tensors["average"].items()}
            )
        self.good.network.load_state_dict(tensors["good"])
        if best is None:
            self.best = WeightsCopy(network, self.structure)
        else:
            self.best = WeightsCopy(best.to(self.device), ANOTHER_STRUCTURE)
        self.best.network.load_state_dict(tensors["best"])
        self.sums.from_tensors(tensors["sums"], self.device)
        self.waiting.extend(edit_from_json(edit) for edit in values["queue"])
        self.layers = [LayerNumbers(**layer) for layer in values["layers"]]


def printed(network: nn.Module) -> str:
    """Return a network as PyTorch prints it, without memory addresses, to recognise it by.

    Example:
        >>> import torch
        >>> from sightline.train.state import printed
        >>> printed(torch.nn.Linear(2, 1))
        'Linear(in_features=2, out_features=1, bias=True)'
    """
    return re.sub(r" at 0x[0-9a-f]+", "", str(network))


def _split_state(
    state: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the optimizer's state by parameter name into tensors and values, keyed "name/key"."""
    tensors, values = {}, {}
    for name, of_parameter in state.items():
        for key, value in of_parameter.items():
            if isinstance(value, Tensor):
                tensors[f"{name}/{key}"] = value
            else:
                values[f"{name}/{key}"] = value
    return tensors, values


def _joined_state(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """Undo `_split_state`."""
    state: dict[str, dict[str, Any]] = {}
    for path, value in [*values.items(), *tensors.items()]:
        name, _, key = path.rpartition("/")
        state.setdefault(name, {})[key] = value
    return state
