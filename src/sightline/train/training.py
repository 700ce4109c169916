"""Training is a `for` loop. `steps()` is that loop; iterating folds its steps into epochs."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.networks import check_network
from sightline.contracts import Batch, BatchSource, EpochRecord, Plan, Step
from sightline.errors import NetworkError
from sightline.load.batches import TensorSource, each, loader
from sightline.predict.model import Model
from sightline.predict.task import Task
from sightline.prepare.prepared import Prepared
from sightline.train.glass import Glass
from sightline.train.observations import EpochNumbers, Yardstick, observe
from sightline.train.plan import check_settings, make_plan

EVALUATION_ROWS = 16_384
UNTRAINED_ROWS = 10_000
STEPS_TOGETHER = 16


class Training:
    """A network being trained, as an iterator.

    Iterating yields an `EpochRecord` for the untrained network (number 0) and for each epoch;
    `steps()` yields a `Step` after each weight update. Either may be left with `break` and taken
    up again; nothing is lost, in the middle of an epoch neither.

    Args:
        network: Any `nn.Module` with `forward(numeric, categorical) -> logits`.
        prepared: From `sightline.prepare`.
        epochs: The most epochs.
        batch_size: Rows of a batch; None chooses by the number of training rows.
        learning_rate: Of AdamW (Loshchilov and Hutter 2019).
        weight_decay: Of AdamW.
        patience: Stop when the validation loss has had no new best for so many epochs; None
            never stops early.
        seed: Decides the order of the batches.
        device: "auto", "cpu", "cuda", "mps".

    Attributes:
        plan: What was decided before the first step.
        history: The records so far.
        best_epoch: The epoch whose weights `model()` returns.
        stopped: Why training ended, in words; None while it can go on.

    Raises:
        NetworkError: The network does not fit the spec.
        OptionError: A setting that makes no sense.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=3)
        >>> [epoch.number for epoch in training]
        [0, 1, 2, 3]
        >>> training.model().classes
        ('Adelie', 'Chinstrap', 'Gentoo')
    """

    def __init__(
        self,
        network: nn.Module,
        prepared: Prepared,
        *,
        epochs: int = 100,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        patience: int | None = 16,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        check_settings(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
            weight_decay=weight_decay, patience=patience, seed=seed, device=device,
        )  # fmt: skip
        check_network(network, prepared.spec)
        self.prepared = prepared
        self.task = Task.fit(prepared.spec.target, prepared.train.target)
        self.plan: Plan = make_plan(device, epochs, batch_size, len(prepared.train.row))
        self.seed = seed
        self.patience = patience
        self.device = torch.device(self.plan.device)
        self.network = network.to(self.device)
        self.optimizer = torch.optim.AdamW(
            [p for p in network.parameters() if p.requires_grad],
            lr=learning_rate, weight_decay=weight_decay, fused=self.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        self.valid = each(prepared.valid, self._on_device)
        self.source: BatchSource = TensorSource(
            each(prepared.train, self._on_device), self.plan.batch_size, seed
        )
        self.history: list[EpochRecord] = []
        self.stopped: str | None = None
        self.best_epoch = 0
        self._step_number = 0
        self.glasses: dict[int, dict[str, Any]] = {}
        self._best: dict[str, Tensor] | None = None
        self._epoch = _Epoch(number=1)
        self._numbers: list[EpochNumbers] = []
        self._yardstick = _yardstick(self.task, prepared)

    # ------------------------------------------------------------- the loop

    def steps(self) -> Iterator[Step]:
        """Go on training: forward, loss, backward, step, yield; validate after each epoch.

        Example:
            >>> import sightline as sl
            >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
            >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
            >>> len([step.loss for step in training.steps()]) == training.plan.steps_per_epoch
            True
        """
        if not self.history:
            self._finish_untrained()
        network, optimizer, task = self.network, self.optimizer, self.task
        while self.stopped is None:
            network.train()
            clock = time.perf_counter()
            for batch in loader(self.source, self._epoch.number, self._epoch.rows):
                glass = None if self._epoch.rows else Glass.before(network)

                logits = network(batch.numeric, batch.categorical)
                loss = task.loss(logits, batch)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

                step = Step(
                    self._step_number + 1, self._epoch.number, len(batch.row),
                    loss.detach(), batch, logits.detach(),
                )  # fmt: skip
                self._count(step, time.perf_counter() - clock, glass)
                yield step
                clock = time.perf_counter()

    def __iter__(self) -> Iterator[EpochRecord]:
        """Yield a record per epoch, the untrained network's first."""
        if not self.history:
            self._finish_untrained()
            yield self.history[0]
        for _ in self.steps():
            if self._epoch.rows == 0:  # that step was its epoch's last
                yield self.history[-1]

    # ------------------------------------------------------------- around the loop

    def model(self, *, best: bool = True) -> Model:
        """Return the model: the best epoch's weights, or the current ones with `best=False`.

        The network is copied: training may go on.

        Raises:
            NetworkError: The loss with those weights is not a finite number.
        """
        if self.history:
            kept = self.history[self.best_epoch if best else -1]
            watched = kept.train_loss if kept.valid_loss is None else kept.valid_loss
            if not math.isfinite(watched):
                raise NetworkError(
                    f"The loss in epoch {kept.number} is not a finite number: its weights predict "
                    "nothing.",
                    "Train again with a lower learning rate.",
                )
        network = copy.deepcopy(self.network)
        if best and self._best is not None:
            network.load_state_dict(self._best)
        return Model(
            spec=self.prepared.spec,
            encoder=self.prepared.encoder,
            transform=self.prepared.transform,
            network=network.to("cpu"),
            task=self.task,
            baseline=self.task.baseline(self.prepared.train.target),
        )

    def evaluate(self, batch: Batch) -> tuple[float, float, Tensor]:
        """Return mean loss, accuracy or RMSE, and each row's head values, without training."""
        training = self.network.training
        self.network.eval()
        losses, scores, values = [], [], []
        with torch.no_grad():
            for start in range(0, len(batch.row), EVALUATION_ROWS):
                part = each(batch, lambda x, a=start: x[a : a + EVALUATION_ROWS])  # type: ignore[misc]
                logits = self.network(part.numeric, part.categorical).float()
                values.append(self.task.head(logits))
                losses.append(self.task.loss(logits, part).double() * len(part.row))
                scores.append(self.task.score(values[-1], part.target))
        self.network.train(training)
        rows = len(batch.row)
        total = float(torch.stack(scores).double().sum())
        return (
            float(torch.stack(losses).sum()) / rows,
            self.task.mean_score(total, rows),
            torch.cat(values),
        )

    def _on_device(self, x: Tensor) -> Tensor:
        if self.device.type == "mps" and x.dtype == torch.float64:
            x = x.float()  # Apple's GPUs have no float64
        return x.to(self.device)

    def _count(self, step: Step, seconds: float, glass: Glass | None) -> None:
        """Add a step to its epoch; close the epoch with its last one."""
        self._step_number = step.number
        self._epoch.add(step, seconds, self.task)
        if glass is not None:
            self._keep_glass(glass.after(step, self.network))
        if self._epoch.rows == self.source.rows:
            self._finish_epoch(self._epoch)

    def _finish_untrained(self) -> None:
        """Record epoch 0: what the network says before it has learned anything."""
        started = time.perf_counter()
        train = self.source.batch if isinstance(self.source, TensorSource) else self.prepared.train
        part = each(train, lambda x: x[:: -(-len(x) // UNTRAINED_ROWS)])
        loss, metric, _ = self.evaluate(part)
        self._record(0, loss, metric, 0.0, time.perf_counter() - started, len(part.row))

    def _finish_epoch(self, epoch: _Epoch) -> None:
        """Fold an epoch's steps into a record, keep the best weights, decide whether to stop."""
        total, score = epoch.totals(self.task)
        gradient = math.sqrt(
            sum(
                float(p.grad.square().sum())
                for p in self.network.parameters()
                if p.grad is not None
            )
        )
        metric = self.task.mean_score(score, epoch.rows)
        self._record(epoch.number, total / epoch.rows, metric, gradient, epoch.seconds, epoch.rows)
        self._epoch = _Epoch(number=epoch.number + 1)
        if not math.isfinite(total):
            self.stopped = f"stopped in epoch {epoch.number}: the loss is not a finite number"
        elif self.patience and epoch.number - self.best_epoch >= self.patience:
            self.stopped = (
                f"stopped early after epoch {epoch.number}: no better validation loss for "
                f"{self.patience} epochs"
            )
        elif epoch.number >= self.plan.epochs:
            self.stopped = f"all {self.plan.epochs} epochs done"

    def _record(
        self, number: int, loss: float, metric: float, gradient: float, seconds: float, rows: int
    ) -> None:
        task, name = self.task, self.task.metric
        metrics = {
            f"train_{name}": metric,
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "gradient_norm": gradient,
            "seconds": seconds,
            "rows_per_second": rows / seconds if number and seconds else 0.0,
        }
        valid_loss, watched = None, metric
        never: tuple[str, ...] = ()
        if len(self.valid.row):
            started = time.perf_counter()
            valid_loss, watched, values = self.evaluate(self.valid)
            metrics[f"valid_{name}"] = watched
            if not task.classification:
                spread = float(self.valid.target.double().var(correction=0))
                metrics["valid_r2"] = 1 - watched**2 / spread if spread else math.nan
            else:
                never = self._never_predicted(values)
            metrics["validation_seconds"] = time.perf_counter() - started
        self._numbers.append(EpochNumbers(loss, valid_loss, watched, never))
        observation = observe(self._numbers, self._yardstick)
        self.history.append(EpochRecord(number, loss, valid_loss, metrics, observation))
        self._keep_best(number)

    def _keep_best(self, number: int) -> None:
        """Keep the weights of the lowest validation loss; without one, the latest."""
        watched = [
            math.inf if n.valid_loss is None or not math.isfinite(n.valid_loss) else n.valid_loss
            for n in self._numbers
        ]
        if self._numbers[-1].valid_loss is None:
            self.best_epoch = number
        elif number == 0 or watched[-1] < min(watched[:-1]):
            self.best_epoch = number
            self._best = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def _never_predicted(self, values: Tensor) -> tuple[str, ...]:
        classes = self.task.target.classes
        given = torch.bincount(values.argmax(dim=1), minlength=len(classes)).tolist()
        there = torch.bincount(self.valid.target, minlength=len(classes)).tolist()
        return tuple(str(c) for c, g, t in zip(classes, given, there, strict=True) if t and not g)

    def _keep_glass(self, seen: dict[str, Any]) -> None:
        """Keep the first epoch's step and the latest: the last epoch is known only afterwards."""
        first = min(self.glasses, default=seen["epoch"])
        self.glasses = {n: g for n, g in self.glasses.items() if n == first}
        self.glasses[seen["epoch"]] = seen


@dataclass
class _Epoch:
    """What an epoch's steps add up to.

    Sums stay on the device, and are made of some steps at a time: a few large operations cost
    less than many small ones.
    """

    number: int
    rows: int = 0
    seconds: float = 0.0
    pending: list[Step] = field(default_factory=list)
    loss: Tensor | float = 0.0
    score: Tensor | float = 0.0

    def add(self, step: Step, seconds: float, task: Task) -> None:
        self.pending.append(step)
        self.rows += step.rows
        self.seconds += seconds
        if len(self.pending) >= STEPS_TOGETHER:
            self._sum(task)

    def totals(self, task: Task) -> tuple[float, float]:
        """Return the sums over rows of loss and score."""
        self._sum(task)
        return float(self.loss), float(self.score)

    def _sum(self, task: Task) -> None:
        if not self.pending:
            return
        losses = torch.stack([step.loss for step in self.pending]).double()
        rows = torch.tensor([step.rows for step in self.pending], device=losses.device)
        logits = torch.cat([step.logits for step in self.pending])
        target = torch.cat([step.batch.target for step in self.pending])
        self.loss = self.loss + (losses * rows).sum()
        self.score = self.score + task.score(task.head(logits), target).double()
        self.pending = []


def _yardstick(task: Task, prepared: Prepared) -> Yardstick:
    """The baseline's loss and metric, on the validation rows (the training rows without any)."""
    held = prepared.valid if len(prepared.valid.row) else prepared.train
    guess = task.baseline(prepared.train.target)
    if task.classification:
        shares = guess[guess > 0]
        accuracy = float((held.target == int(guess.argmax())).double().mean())
        return Yardstick(True, float(-(shares * np.log(shares)).sum()), accuracy)
    rmse = float((held.target.double() - task.center).square().mean().sqrt())
    return Yardstick(False, 1.0, rmse)
