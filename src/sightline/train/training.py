"""The training loop, as a generator of steps; everything else is around it.

`steps()` is the loop and `_update` its body: forward, loss, backward, step. What looks on is
visible around them: `_count` sums an epoch up, `_finish_epoch` makes its record, keeps the best
weights and decides whether to stop, `_apply_edits` changes things between two steps. Checkpoints,
progress bars, commands from other processes and the trace are consumers of `steps()`.
"""

from __future__ import annotations

import copy
import math
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.build.networks import NetworkMaker, check_network, describe_network
from sightline.contracts import (
    Batch,
    BatchSource,
    Edit,
    EpochRecord,
    Event,
    EventType,
    Plan,
    SetBatchSize,
    SetEpochs,
    SetLearningRate,
    SetMicroBatch,
    SetWeightDecay,
    Step,
    Stop,
)
from sightline.errors import NetworkError, OptionError, UserError
from sightline.load.batches import TensorSource, cut, each, loader
from sightline.metrics.scores import check_eval_metric
from sightline.predict.attributions import typical_row
from sightline.predict.model import Model
from sightline.predict.task import TINY, Task
from sightline.prepare.prepared import Prepared
from sightline.train import health
from sightline.train.doctor import STEPS_BETWEEN, Examination
from sightline.train.edits import Turn, apply, check_edit
from sightline.train.evaluation import (
    count_members,
    evaluate,
    evaluate_folds,
    hold_out,
    never_predicted,
    with_class_weights,
    yardstick,
)
from sightline.train.glass import Glass
from sightline.train.observations import EpochNumbers, Layer, observe
from sightline.train.optimizers import AdamW, OptimizerMaker, make_optimizer
from sightline.train.plan import Wishes, autocast, choose_device, make_plan, threads_set
from sightline.train.progress import STEPS_TOGETHER, Progress, Sums
from sightline.train.randomness import Randomness
from sightline.train.schedules import LearningRate
from sightline.train.settings import ClassWeights, Settings
from sightline.train.weights import Average, Kept, norm
from sightline.views import notebook

UNTRAINED_ROWS = 10_000
MOST_DROPS = 3
DROP = 0.3
"""How often a plateau lowers the learning rate, and to what share of it."""


class Training:
    """A network being trained, as an iterator.

    Iterating yields an `EpochRecord` for the untrained network (number 0) and for each epoch;
    `steps()` yields a `Step` after each weight update. Either may be left with `break` and taken
    up again; nothing is lost, in the middle of an epoch neither. `edit()` changes the training,
    the network included, between two steps.

    Args:
        network: Any `nn.Module` with `forward(numeric, categorical) -> logits`.
        prepared: From `sightline.prepare`.
        epochs: The most epochs.
        batch_size: Rows of a batch; None chooses by the number of training rows.
        accumulate: Batches whose gradients are added up for one weight update.
        learning_rate: Of the optimizer.
        weight_decay: Of every parameter but biases and norms.
        optimizer: "adamw" (Loshchilov and Hutter 2019), "sgd", "muon", a class of `torch.optim`,
            or a function of parameter groups and `lr`. A group's own `lr` stays in proportion;
            `weight_decay` rules over a group's own.
        schedule: "constant", "warm-up", "cosine", "one-cycle", "plateau" (each time `patience` is
            over, back to the best weights with 0.3 times the learning rate, three times before
            training stops), or a function that makes a
            `torch.optim.lr_scheduler` for an optimizer; that is stepped after each weight
            update (a `ReduceLROnPlateau` after each epoch).
        warm_up: Share of training in which a schedule by name rises; None takes its own.
        clip_norm: The largest norm of all gradients together; None does not clip.
        ema: Decay of a moving average of the weights, such as 0.999, which is then what is
            validated and kept; None keeps the weights themselves.
        label_smoothing: Share of a class's target that is spread over all classes.
        class_weights: How much a row counts in the training loss by its class: "balanced" (as
            scikit-learn's), or a weight per class, 1 for those not named.
        patience: Stop when the validation loss (or `eval_metric`) has had no new best for so many
            epochs; None never stops early.
        eval_metric: What decides which epoch is best, in place of the loss: "roc_auc", "f1", ...
            (`sightline.metrics.scores.SCORES`).
        time_limit: Seconds of training. As many epochs are planned as fit, and training ends at
            the step at which the time is over.
        precision: "auto", "float32" or "bfloat16", of the network's matrix products.
        doctor: Look at each layer's health in some of the steps.
        seed: Decides the order of the batches and what dropout draws.
        device: "auto", "cpu", "cuda", "mps".
        plan: The plan of another training, obeyed in place of measuring anew.

    Attributes:
        plan: What was decided before the first step.
        history: The records so far.
        events: What else happened: edits, skipped steps, the doctor's numbers.
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
        accumulate: int = 1,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        optimizer: str | OptimizerMaker = "adamw",
        schedule: Any = "constant",
        warm_up: float | None = None,
        clip_norm: float | None = None,
        ema: float | None = None,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights | None = None,
        patience: int | None = 16,
        eval_metric: str | None = None,
        time_limit: float | None = None,
        precision: str = "auto",
        doctor: bool = True,
        seed: int = 0,
        device: str = "auto",
        plan: Plan | None = None,
    ) -> None:
        self.settings = Settings(
            epochs=epochs, batch_size=batch_size, accumulate=accumulate,
            learning_rate=learning_rate, weight_decay=weight_decay, optimizer=optimizer,
            schedule=schedule, warm_up=warm_up, clip_norm=clip_norm, ema=ema,
            label_smoothing=label_smoothing, class_weights=class_weights, patience=patience,
            eval_metric=eval_metric, time_limit=time_limit, precision=precision, doctor=doctor, seed=seed, device=device,
        )  # fmt: skip
        check_network(network, prepared.spec)
        self.prepared = prepared
        self.task = Task.fit(prepared.spec.target, prepared.train.target)
        self.judge = (
            None if eval_metric is None else check_eval_metric(eval_metric, prepared.spec.target)
        )
        self.sources: Path | None = None
        self.first_network, _ = describe_network(network)
        self.first_printed = printed(network)
        self.device = torch.device(choose_device(plan.device if plan else device)[0])
        self.network = network.to(self.device)
        self.valid = each(prepared.valid, self._on_device)
        train = with_class_weights(prepared.train, class_weights, self.task)
        self.folds: Tensor | None = None
        if prepared.splits.folds is not None:
            folds = torch.from_numpy(prepared.splits.folds)
            train = hold_out(train, folds, count_members(network, prepared.train))
            self.folds = folds.to(self.device)
        train = each(train, self._on_device)
        self.judges = self.folds is not None or len(prepared.valid.row) > 0
        wishes = Wishes(device, precision, epochs, batch_size, accumulate, time_limit)
        self.plan = plan or make_plan(wishes, self.network, self.task, train, self.valid)
        self.source: BatchSource = TensorSource(train, self.plan.batch_size, seed)
        self.progress = Progress(weight_decay=weight_decay)
        self.sums = Sums(self.task)
        self.structure = 0
        self.average: Average | None = None
        self.learning_rate = LearningRate(schedule, warm_up, learning_rate)
        outputs = prepared.spec.outputs
        self.take_network(
            self.network,
            make_optimizer(optimizer, self.network, outputs, learning_rate, weight_decay),
        )
        self.best = Kept(self.network, self.structure)
        self._one = torch.ones((), device=self.device)
        self._asks = self.device.type == "cpu" or not isinstance(self.optimizer, AdamW)
        self._queue: deque[Edit] = deque()
        self._turn = Turn()
        self._examination: Examination | None = None
        self.last_gradient_norm = 0.0  # of the training that this one goes on with
        self._layers: list[Layer] = []
        self._validation_seconds = 0.0
        self._glasses: list[tuple[Glass, Step]] = []
        self._yardstick = yardstick(self.task, prepared)

    @classmethod
    def resume(
        cls,
        run: str | Path,
        prepared: Prepared,
        *,
        network: nn.Module | NetworkMaker | str | None = None,
        optimizer: OptimizerMaker | None = None,
        schedule: Any = None,
    ) -> Training:
        """Go on from a run's newest checkpoint, to the last bit as if nothing had happened.

        Args:
            run: A folder with `checkpoints/`, as `Checkpoints` and `sl.fit` make it. `sl.resume`
                goes on with a whole fit, and reads the table by itself.
            prepared: The same rows, prepared as they were.
            network: A network of your own whose source the run does not keep.
            optimizer, schedule: Your own ones, where you gave any.

        Raises:
            RunError: There is no checkpoint that can be read.
            DataError: The rows are others.
            NetworkError, OptionError: Something of your own is needed again.
        """
        from sightline.train.checkpoints import read_newest, restore

        return restore(
            read_newest(run), prepared, sources=Path(run) / "sources", network=network,
            optimizer=optimizer, schedule=schedule,
        )  # fmt: skip

    # ------------------------------------------------------------- the loop

    def steps(self) -> Iterator[Step]:
        """Go on training: a weight update, yield; a record after each epoch; edits in between.

        Example:
            >>> import sightline as sl
            >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
            >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
            >>> len([step.loss for step in training.steps()]) == training.plan.steps_per_epoch
            True
        """
        with threads_set(self.plan.threads):
            if not self.history:
                self._finish_untrained()
            while self._apply_edits():
                self.network.train()
                clock = time.perf_counter()
                for batch in loader(self.source, self.progress.epoch, self.progress.rows):
                    with self._turn:
                        try:
                            step, loss = self._update(batch)
                        except Exception as error:  # noqa: BLE001 - passed on, or memory is short
                            self._use_less_memory(error)
                            break  # the same batch again, in smaller parts
                        self._count(step, loss, clock)
                    yield step
                    if self._queue or self.stopped is not None:
                        break
                    clock = time.perf_counter()

    def _update(self, batch: Batch) -> tuple[Step, float | None]:
        """Make one weight update: forward, loss, backward, step; return the loss if it is known."""
        network, optimizer, plan = self.network, self.optimizer, self.plan
        self._before_step()
        optimizer.zero_grad()
        losses, outputs = [], []
        with self.randomness.at(self.progress.steps):
            for part, share in _parts(batch, plan.micro_batch):
                with autocast(self.device, plan.precision):
                    logits = network(part.numeric, part.categorical)
                loss = self.task.loss(logits.float(), part, self.settings.label_smoothing)
                if share is not None:
                    loss = loss * share
                backward(loss, self._one)
                losses.append(loss.detach())
                outputs.append(logits.detach())

        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        logits = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        value = loss.item() if self._asks else None  # asking a GPU would make it wait
        if value is None or math.isfinite(value):
            self._step_optimizer(loss)
        number, epoch = self.progress.steps + 1, self.progress.epoch
        return Step(number, epoch, batch.row.size(0), loss, batch, logits), value

    def _step_optimizer(self, loss: Tensor) -> None:
        """Clip, step, average; the loss is a finite number, or nobody knows yet."""
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        if self._asks:
            self.optimizer.step()
        else:  # the device decides by itself whether to change anything
            assert isinstance(self.optimizer, AdamW)
            self.optimizer.step(found_inf=(~torch.isfinite(loss)).float())
        self.learning_rate.after_step()
        if self.average is not None:
            self.average.update(self.progress.steps + 1)

    def __iter__(self) -> Iterator[EpochRecord]:
        """Yield a record per epoch, the untrained network's first."""
        if not self.history:
            with threads_set(self.plan.threads):
                self._finish_untrained()
            yield self.history[0]
        told = len(self.history)
        for _ in self.steps():
            if len(self.history) > told:
                told = len(self.history)
                yield self.history[-1]
        if len(self.history) > told:  # an epoch that an edit or the clock cut short
            yield self.history[-1]

    # ------------------------------------------------------------- edits

    def edit(
        self,
        *edits: Edit,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
    ) -> None:
        """Change the training at the next step; may be called from another thread.

        Args:
            edits: Such as `sl.Widen("hidden.0", 128)`, in order.
            learning_rate: From now on; what is left of a schedule is rescaled with it.
            weight_decay, batch_size, epochs: From now on.

        Raises:
            OptionError: A name or value that makes no sense; nothing is changed then.
            NetworkError: The network cannot be changed so.

        Example:
            >>> import sightline as sl
            >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
            >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=3)
            >>> for epoch in training:
            ...     if epoch.number == 1:
            ...         training.edit(sl.Widen("hidden.0", 128), learning_rate=3e-4)
            >>> training.network.config()["hidden"], training.history[-1].metrics["learning_rate"]
            ([128], 0.0003)
        """
        named: tuple[tuple[type[Any], Any], ...] = (
            (SetLearningRate, learning_rate), (SetWeightDecay, weight_decay),
            (SetBatchSize, batch_size), (SetEpochs, epochs),
        )  # fmt: skip
        asked = [*edits, *(kind(value) for kind, value in named if value is not None)]
        if asked and self.stopped is not None:
            raise OptionError(f"Training has ended ({self.stopped}).", "Train again, or longer.")
        with self._turn:
            tried = self.network
            for edit in [*self._queue, *asked]:
                if not isinstance(edit, Edit):
                    raise OptionError(
                        f"{edit!r} is no edit.", 'Give one such as sl.Widen("hidden.0", 128).'
                    )
                tried = check_edit(edit, tried, self.prepared.spec, self.sources)
            self._queue.extend(asked)

    def _apply_edits(self) -> bool:
        """Apply what is queued; tell whether training goes on."""
        while self._queue and self.stopped is None:
            edit = self._queue.popleft()
            self.learning_rate.at(self.epochs_done, self.plan.epochs)
            said: dict[str, Any] = {"edit": edit.to_json()}
            try:
                with self._turn:
                    check_edit(edit, self.network, self.prepared.spec, self.sources)
                    sentence, details = apply(edit, self)
            except UserError as error:
                self.tell("refused", f"{type(edit).__name__} refused: {error}", said)
                continue
            self.progress.edits.append((self.progress.steps, edit.to_json()))
            self.tell("edit", sentence, {**said, **details})
        return self.stopped is None

    def take_network(self, network: nn.Module, optimizer: Optimizer) -> None:
        """Train another network, or another structure of the same, from now on."""
        self.network, self.optimizer = network, optimizer
        self.structure += 1
        self.randomness = Randomness(network, self.settings.seed, self.device)
        self.good = Kept(network, self.structure)
        if self.settings.ema is not None:
            self.average = Average(network, self.settings.ema)
        self.set_weight_decay(self.progress.weight_decay)
        self.learning_rate.follow(optimizer)

    def forget_momentum(self) -> None:
        """Let the optimizer and the average start anew from the weights of now."""
        self.optimizer.state.clear()
        self.optimizer.load_state_dict(self.optimizer.state_dict())
        if self.average is not None:
            self.average.set({name: p.detach() for name, p in self.network.named_parameters()})

    def set_weight_decay(self, value: float) -> None:
        """Set the weight decay of the parameters that have one."""
        self.progress.weight_decay = value
        for group in self.optimizer.param_groups:
            if group.get("decays", True):
                group["weight_decay"] = value

    def stop(self, why: str) -> None:
        """End training, with the epoch under way as far as it has come."""
        self._check(self.sums.ask())
        if self.stopped is None:
            if self.progress.rows:
                self._finish_epoch()
            self.progress.stopped = why

    def tell(self, type_: EventType, said: str, details: Mapping[str, Any] | None = None) -> None:
        """Add an event."""
        progress = self.progress
        progress.events.append(Event(type_, progress.steps, progress.epoch, said, details or {}))

    # ------------------------------------------------------------- around the loop

    @property
    def epochs_done(self) -> float:
        """How many epochs lie behind, the one under way in part."""
        return self.progress.epoch - 1 + self.progress.rows / self.source.rows

    @property
    def waiting(self) -> tuple[Edit, ...]:
        """The edits that are queued for the next step."""
        return tuple(self._queue)

    @property
    def history(self) -> list[EpochRecord]:
        """The records so far, the untrained network's first."""
        return self.progress.history

    @property
    def events(self) -> list[Event]:
        """What happened besides steps and epochs: edits, skipped steps, the doctor's numbers."""
        return self.progress.events

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights `model()` returns."""
        return self.progress.best_epoch

    @property
    def stopped(self) -> str | None:
        """Why training ended, in words; None while it can go on."""
        return self.progress.stopped

    @property
    def glasses(self) -> dict[int, dict[str, Any]]:
        """One step whole, of the first epoch and of the latest, by epoch."""
        kept = self.progress.glasses
        for glass, step in self._glasses:
            for epoch in set(kept) - {min(kept, default=0)}:
                del kept[epoch]
            kept[step.epoch] = glass.seen(step)
        self._glasses = []
        return kept

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
                why = f" ({self.stopped})" if self.stopped else ""
                raise NetworkError(
                    f"The loss in epoch {kept.number} is not a finite number: its weights predict "
                    f"nothing{why}.",
                    "Train again with a lower learning rate.",
                )
        if best:
            network = copy.deepcopy(self.best.network)
        else:
            with self._validated_weights():
                network = copy.deepcopy(self.network)
        return Model(
            spec=self.prepared.spec,
            encoder=self.prepared.encoder,
            transform=self.prepared.transform,
            network=network.to("cpu"),
            task=self.task,
            baseline=self.task.baseline(self.prepared.train.target),
            typical=typical_row(self.prepared.train),
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

    def _before_step(self) -> None:
        """Set the learning rate of the moment; look closely at some steps."""
        progress = self.progress
        self.learning_rate.at(self.epochs_done, self.plan.epochs)
        if progress.rows:
            return
        self._glass_before = Glass.before(self.network, self.optimizer)
        due = progress.doctor_at is None or progress.steps - progress.doctor_at >= STEPS_BETWEEN
        if self.settings.doctor and due and self._examination is None:
            self._examination = Examination(self.network)

    def _count(self, step: Step, loss: float | None, clock: float) -> None:
        """Add a step to its epoch; close the epoch with its last one."""
        progress = self.progress
        first = not progress.rows
        progress.steps = step.number
        progress.rows += step.rows
        if first:
            self._glasses[1:] = [(self._glass_before.after(self.network, self.optimizer), step)]
            self._look_at_layers()
        self.sums.add(step, loss)
        last = progress.rows == self.source.rows
        if loss is not None:
            self._check([(step, math.isfinite(loss))])
        elif last or len(self.sums.late) >= STEPS_TOGETHER:
            self._check(self.sums.ask())
        seconds = time.perf_counter() - clock  # only now has a GPU been waited for
        progress.seconds += seconds
        progress.elapsed += seconds
        limit = self.settings.time_limit
        if limit is not None and progress.elapsed + self._validation_seconds > limit:
            self._queue.append(Stop(f"the time limit of {limit:g} s is reached"))
        if last and self.stopped is None:
            self._finish_epoch()

    def _check(self, steps: list[tuple[Step, bool]]) -> None:
        """Act on steps whose loss is not finite."""
        progress, rollbacks = self.progress, self.progress.rollbacks
        for step, finite in steps:
            if finite:
                progress.bad_in_a_row = 0
            elif self.stopped is None and progress.rollbacks == rollbacks:
                health.count_bad(self, step.batch)  # those behind a rollback were made before it

    def _look_at_layers(self) -> None:
        examination, self._examination = self._examination, None
        if examination is None:
            return
        layers = examination.layers()
        self.progress.doctor_at = self.progress.steps
        self._layers = layers
        said = f"each layer in step {self.progress.steps:,}"
        self.tell("layers", said, {"layers": [layer.to_json() for layer in layers]})

    def _use_less_memory(self, error: BaseException) -> None:
        """Send fewer rows through the network at once, or pass the error on."""
        if self._examination is not None:
            self._examination.close()
            self._examination = None
        if not health.out_of_memory(error) or self.plan.micro_batch == 1:
            raise error
        self.optimizer.zero_grad()
        rows = -(-self.plan.micro_batch // 2)
        self.tell("memory", f"memory is short for {self.plan.micro_batch:,} rows at once")
        self._queue.appendleft(SetMicroBatch(rows))

    def _finish_untrained(self) -> None:
        """Record epoch 0: what the network says before it has learned anything."""
        started = time.perf_counter()
        train = self.source.batch if isinstance(self.source, TensorSource) else self.prepared.train
        part = each(train, lambda x: x[:: -(-len(x) // UNTRAINED_ROWS)])
        loss, metric, _ = evaluate(self.network, self.task, part, self.settings.label_smoothing)
        self._record(0, loss, metric, 0.0, time.perf_counter() - started, len(part.row))

    def _finish_epoch(self) -> None:
        """Fold an epoch's steps into a record, keep weights, decide whether to stop."""
        progress = self.progress
        loss, metric = self.sums.means()
        if not self.judges and (progress.bad_in_a_row or not self._weights_are_finite()):
            loss = math.nan  # no validation loss would tell
        gradient, number = self.gradient_norm(), progress.epoch
        self._record(number, loss, metric, gradient, progress.seconds, progress.rows)
        progress.epoch, progress.rows, progress.seconds = number + 1, 0, 0.0
        self.sums = Sums(self.task)
        watched = progress.numbers[-1].watched
        self.learning_rate.after_epoch(watched)
        if math.isfinite(watched):
            self.good.keep(self.network, self.structure)
            progress.good_epoch = number
        elif self.stopped is None and math.isfinite(loss):
            health.fail(self, f"the validation loss of epoch {number} is not a finite number", None)
        if self.stopped is not None:
            return
        patience = self.settings.patience
        if patience and number - max(self.best_epoch, progress.dropped_at) >= patience:
            if self.settings.schedule == "plateau" and progress.drops < MOST_DROPS:
                self._leave_plateau(number)
            else:
                progress.stopped = (
                    f"stopped early after epoch {number}: no better {self._judged_by} for "
                    f"{patience} epochs"
                )
        if self.stopped is None and number >= self.plan.epochs:
            progress.stopped = f"all {self.plan.epochs} epochs done"

    @property
    def _judged_by(self) -> str:
        where = "validation" if self.folds is None else "out-of-fold"
        return f"{where} {self.settings.eval_metric or 'loss'}"

    def _leave_plateau(self, number: int) -> None:
        """Go on from the best weights, with a lower learning rate."""
        progress = self.progress
        if self.best.structure == self.structure and self.best_epoch:
            self.best.put_back(self.network)
            if self.average is not None:
                self.average.set({name: p.detach() for name, p in self.network.named_parameters()})
        self.learning_rate.base *= DROP
        progress.drops, progress.dropped_at = progress.drops + 1, number
        self.tell(
            "plateau",
            f"no better {self._judged_by} for {self.settings.patience} epochs: back to the weights of "
            f"epoch {self.best_epoch}, learning rate {self.learning_rate.base:.3g}",
            {"epoch": self.best_epoch, "learning_rate": self.learning_rate.base},
        )

    def gradient_norm(self) -> float:
        """Return the norm of the last step's gradients, which a checkpoint does not keep."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return norm(gradients) if gradients else self.last_gradient_norm

    def _weights_are_finite(self) -> bool:
        norms = torch._foreach_norm([p.detach() for p in self.network.parameters()])
        return bool(torch.stack(norms).isfinite().all())

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
        valid_loss, watched, score = None, metric, None
        never: tuple[str, ...] = ()
        with self._validated_weights():
            if self.judges:
                started = time.perf_counter()
                valid_loss, watched, values, held = self._judge()
                metrics[f"valid_{name}"] = watched
                if not task.classification:
                    spread = float(held.target.double().var(correction=0))
                    metrics["valid_r2"] = 1 - watched**2 / spread if spread else math.nan
                else:
                    never = never_predicted(task, values, held.target)
                if self.judge is not None:
                    found = self.judge.of(values, held, task.target)
                    metrics[f"valid_{self.judge.name}"] = found
                    score = self.judge.as_loss(found)
                self._validation_seconds = time.perf_counter() - started
                metrics["validation_seconds"] = self._validation_seconds
                self.progress.elapsed += self._validation_seconds
            numbers = EpochNumbers(
                loss, valid_loss, watched, never, metric, tuple(self._layers), score
            )
            self.progress.numbers.append(numbers)
            observation = observe(self.progress.numbers, self._yardstick)
            self.history.append(EpochRecord(number, loss, valid_loss, metrics, observation))
            self._keep_best(number)
        self._layers = []

    def _judge(self) -> tuple[float, float, Tensor, Batch]:
        """Measure on rows that were not learned from: loss, metric, values, and these rows."""
        if self.folds is None:
            return *evaluate(self.network, self.task, self.valid), self.valid
        assert isinstance(self.source, TensorSource)
        train = self.source.batch
        return *evaluate_folds(self.network, self.task, train, self.folds), train

    def _keep_best(self, number: int) -> None:
        """Keep the weights of the lowest validation loss; without one, the latest finite ones."""
        progress = self.progress
        now = progress.numbers[-1]
        # A metric may like the untrained network by chance, and may be equal where the loss is not.
        rivals = progress.numbers[:-1] if now.score is None else progress.numbers[1:-1]
        earlier = [(n.judged, n.watched) for n in rivals if math.isfinite(n.judged)]
        best = min(earlier, default=(math.inf, math.inf))
        better = now.valid_loss is None or (now.judged, now.watched) < best
        if number == 0 or (better and math.isfinite(now.watched) and math.isfinite(now.judged)):
            progress.best_epoch, progress.best_edits = number, len(progress.edits)
            if number:
                self.best.keep(self.network, self.structure)

    def _validated_weights(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.in_place()

    def _on_device(self, x: Tensor) -> Tensor:
        if self.device.type == "mps" and x.dtype == torch.float64:
            x = x.float()  # Apple's GPUs have no float64
        return x.to(self.device)


def printed(network: nn.Module) -> str:
    """Return a network as PyTorch prints it, without places in memory: to know it again.

    Example:
        >>> import torch
        >>> from sightline.train.training import printed
        >>> printed(torch.nn.Linear(2, 1))
        'Linear(in_features=2, out_features=1, bias=True)'
    """
    return re.sub(r" at 0x[0-9a-f]+", "", str(network))


def backward(loss: Tensor, one: Tensor) -> None:
    """Do what `loss.backward()` does, by the engine's own door.

    The Python on the usual way (gradients of ones made anew, checks of arguments that are right
    here) costs a small network a seventh of its step.

    Args:
        loss: A scalar.
        one: Its gradient by itself, a scalar 1.

    Example:
        >>> import torch
        >>> from sightline.train.training import backward
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> backward(x * x, torch.ones(()))
        >>> x.grad.item()
        6.0
    """
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _parts(batch: Batch, rows: int) -> Iterable[tuple[Batch, Tensor | float | None]]:
    """Cut a batch into parts of some rows, each with its share in the batch's mean loss."""
    if len(batch.row) <= rows:
        return ((batch, None),)
    parts = cut(batch, rows)
    if batch.weight is None:
        return ((part, len(part.row) / len(batch.row)) for part in parts)
    total = batch.weight.sum().clamp(min=TINY)
    return ((part, part.weight.sum() / total) for part in parts if part.weight is not None)
