"""The training loop, as a generator of steps.

`Training.steps` is the loop and `_update` its body: forward, loss, backward, optimizer step.
Around them, `_count` adds a step to its epoch, `edit` and `_apply_edits` change the training between two
steps. The state is in `state.py`, its public attributes in `facade.py`, the end of an epoch in
`epochs.py`. Checkpoints, progress bars, commands from other processes and the trace are consumers
of `steps()`; the loop does not know them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline.build.modes import threads_set
from sightline.build.networks import NetworkMaker
from sightline.contracts import (
    Batch,
    Edit,
    EpochRecord,
    Plan,
    SetBatchSize,
    SetEpochs,
    SetLearningRate,
    SetMicroBatch,
    SetWeightDecay,
    Step,
    Stop,
)
from sightline.contracts.arguments import names_checked
from sightline.contracts.options import (
    ClassWeights,
    OptimizerName,
    Precision,
    ScheduleName,
    TrainingSettings,
)
from sightline.errors import OptionError, UserError
from sightline.load.batches import loader
from sightline.prepare.prepared import Prepared
from sightline.train import health
from sightline.train.checkpoints import SavedCheckpoint, read_newest, restored_state
from sightline.train.edits import apply, check_edit
from sightline.train.epochs import finish_epoch, finish_untrained
from sightline.train.facade import TrainingFacade
from sightline.train.fair_lock import FairLock
from sightline.train.gradients import backward, parts_of
from sightline.train.inspection import Inspection
from sightline.train.optimizers import AdamW, OptimizerMaker
from sightline.train.plan import autocast
from sightline.train.processes import OtherOutOfMemoryError
from sightline.train.progress import STEPS_TOGETHER
from sightline.train.state import TrainingState


class Training(TrainingFacade):
    """A network being trained, as an iterator.

    Iterating yields an `EpochRecord` for the untrained network (number 0) and for each epoch;
    `steps()` yields a `Step` after each weight update. A `break` may leave either, even in the
    middle of an epoch; iterating again continues at the next step. `edit()` changes the training,
    the network included, between two steps.

    Args:
        network: Any `nn.Module` with `forward(numeric, categorical) -> logits`.
        prepared: From `sightline.prepare`.
        epochs: The largest number of epochs.
        batch_size: Rows in a batch; None chooses by the number of training rows.
        accumulate: Number of batches whose gradients are summed for one weight update.
        learning_rate: The optimizer's learning rate, before the schedule.
        weight_decay: Weight decay of all parameters but biases and norms.
        optimizer: "adamw" (Loshchilov and Hutter 2019), "sgd", "muon", a class of `torch.optim`,
            or a function of parameter groups and `lr`. Where the function gives a group its own
            `lr`, the groups' rates keep their ratio; `weight_decay` replaces a group's own.
        schedule: Learning-rate schedule: "constant", "warm-up", "cosine", "one-cycle", "plateau"
            (each time `patience` runs out, training returns to the best weights with 0.3 times
            the learning rate; it stops after three times), or a function that makes a
            `torch.optim.lr_scheduler` for an optimizer, which is stepped after each weight
            update (a `ReduceLROnPlateau` after each epoch).
        warm_up: Share of training over which a named schedule raises the learning rate linearly
            at the start, from 0 up to, not including, 1; None takes the schedule's own.
        clip_norm: Gradient clipping: the largest norm of all gradients together; None does not
            clip.
        ema: Decay of an exponential moving average of the weights, such as 0.999. The averaged
            weights are then validated and kept; None keeps the weights themselves.
        label_smoothing: Share of a class's target that is spread over all classes.
        class_weights: Weight of a row in the training loss by its class: "balanced" (as in
            scikit-learn), or a mapping from class to weight, 1 for classes not named.
        patience: Early stopping: stop after this many epochs without a new best validation loss
            (or `eval_metric`); None never stops early.
        eval_metric: The metric that decides which epoch is best, instead of the loss: "roc_auc",
            "f1", ... (`sightline.metrics.scores.SCORES`).
        time_limit: Seconds of training. The plan has as many epochs as fit, and training ends at
            the step that reaches the limit.
        precision: "auto", "float32" or "bfloat16", of the network's matrix products.
        doctor: Whether to record each layer's health in some of the steps.
        seed: Decides the order of the batches and what dropout draws.
        device: "auto", "cpu", "cuda", "mps".
        plan: The plan of another training, used instead of a new one.

    Attributes:
        plan: What was decided before the first step: batch size, epochs, threads, precision.
        history: The epoch records so far.
        events: Other events: edits, skipped steps, the doctor's numbers.
        best_epoch: The epoch whose weights `model()` returns.
        stopped: Why training ended, as a sentence; None while it can go on.
        waiting: The edits that the next step applies.
        state: Everything that a checkpoint keeps.

    Raises:
        NetworkError: The network does not fit the spec.
        OptionError: A setting is outside its range or does not fit the table.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=3)
        >>> [epoch.number for epoch in training]
        [0, 1, 2, 3]
        >>> training.model().classes
        ('Adelie', 'Chinstrap', 'Gentoo')
    """

    @names_checked
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
        optimizer: OptimizerName | OptimizerMaker = "adamw",
        schedule: ScheduleName | Callable[..., Any] = "constant",
        warm_up: float | None = None,
        clip_norm: float | None = None,
        ema: float | None = None,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights | None = None,
        patience: int | None = 16,
        eval_metric: str | None = None,
        time_limit: float | None = None,
        precision: Precision = "auto",
        doctor: bool = True,
        seed: int = 0,
        device: str = "auto",
        plan: Plan | None = None,
    ) -> None:
        settings = TrainingSettings(
            epochs=epochs, batch_size=batch_size, accumulate=accumulate,
            learning_rate=learning_rate, weight_decay=weight_decay, optimizer=optimizer,
            schedule=schedule, warm_up=warm_up, clip_norm=clip_norm, ema=ema,
            label_smoothing=label_smoothing, class_weights=class_weights, patience=patience,
            eval_metric=eval_metric, time_limit=time_limit, precision=precision, doctor=doctor, seed=seed, device=device,
        )  # fmt: skip
        self._begin(TrainingState(network, prepared, settings, plan))

    @classmethod
    def from_state(cls, state: TrainingState) -> Training:
        """Make a training that continues from a state."""
        training = cls.__new__(cls)
        training._begin(state)
        return training

    def _begin(self, state: TrainingState) -> None:
        super().__init__(state)
        self._unit_gradient = torch.ones((), device=state.device)
        self._reads_loss = state.device.type == "cpu" or not isinstance(state.optimizer, AdamW)
        self._lock = FairLock()
        self._inspection = Inspection()

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
        """Continue from a run's newest checkpoint: the same bits as without the interruption.

        Args:
            run: A folder with `checkpoints/`, as `Checkpoints` and `sl.fit` make it. `sl.resume`
                continues a whole fit, and reads the table itself.
            prepared: The same rows, prepared in the same way.
            network: Your own network, where the run does not keep its source.
            optimizer, schedule: Your own functions, where training began with any.

        Raises:
            RunError: There is no checkpoint that can be read.
            DataError: The rows differ from those it was trained on.
            NetworkError, OptionError: A network, optimizer or schedule of your own is missing.
        """
        return restore(
            read_newest(run), prepared, sources=Path(run) / "sources", network=network,
            optimizer=optimizer, schedule=schedule,
        )  # fmt: skip

    # ------------------------------------------------------------- the loop

    def steps(self) -> Iterator[Step]:
        """Train: yield after each weight update, record each epoch, apply edits between two steps.

        Example:
            >>> import sightline as sl
            >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
            >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
            >>> len([step.loss for step in training.steps()]) == training.plan.steps_per_epoch
            True
        """
        state = self.state
        with threads_set(self.plan.threads):
            if not self.history:
                finish_untrained(state)
            while self._apply_edits():
                state.network.train()
                clock = time.perf_counter()
                for batch in loader(state.source, state.progress.epoch, state.progress.rows):
                    with self._lock:
                        try:
                            step, loss = self._update(batch)
                        except Exception as error:  # noqa: BLE001 - raised again, unless out of memory
                            self._use_less_memory(error)
                            break  # the same batch again, in smaller parts
                        self._count(step, loss, clock)
                    yield step
                    if state.processes.says(bool(state.waiting)) or self.stopped is not None:
                        break
                    clock = time.perf_counter()

    def _update(self, batch: Batch) -> tuple[Step, float | None]:
        """Make one weight update: forward, loss, backward, step; return the loss if it is known."""
        state, plan = self.state, self.state.plan
        network, progress, task = state.network, state.progress, state.data.task
        state.learning_rate.at(state.epochs_done, plan.epochs)
        self._inspection.before_step(state)
        state.optimizer.zero_grad()
        losses, outputs = [], []
        own = state.processes.rows(len(batch.row))
        with state.randomness.at(state.processes.stream(progress.steps)):
            for part, share in parts_of(batch, plan.micro_batch, own):
                with autocast(state.device, plan.precision):
                    logits = network(part.numeric, part.categorical)
                loss = task.loss(logits.float(), part, state.settings.label_smoothing)
                if share is not None:
                    loss = loss * share
                backward(loss, self._unit_gradient)
                losses.append(loss.detach())
                outputs.append(logits.detach())

        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        logits = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        loss, score = state.processes.sum_gradients(
            network, progress.steps, loss, lambda: task.score_of(logits, batch.target[own])
        )
        value = loss.item() if self._reads_loss else None  # reading from a GPU would wait for it
        if value is None or math.isfinite(value):
            self._step_optimizer(loss)
        number, epoch = progress.steps + 1, progress.epoch
        return Step(number, epoch, batch.row.size(0), loss, batch, logits, score), value

    def _step_optimizer(self, loss: Tensor) -> None:
        """Clip the gradients, step, average; the loss is finite, or not read from the device yet."""
        state = self.state
        if state.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(state.network.parameters(), state.settings.clip_norm)
        if self._reads_loss:
            state.optimizer.step()
        else:  # the device itself skips the update where the loss is not finite
            assert isinstance(state.optimizer, AdamW)
            state.optimizer.step(found_inf=(~torch.isfinite(loss)).float())
        state.learning_rate.after_step()
        if state.average is not None:
            state.average.update(state.progress.steps + 1)

    def __iter__(self) -> Iterator[EpochRecord]:
        """Yield a record per epoch, the untrained network's first."""
        if not self.history:
            with threads_set(self.plan.threads):
                finish_untrained(self.state)
            yield self.history[0]
        count = len(self.history)
        for _ in self.steps():
            if len(self.history) > count:
                count = len(self.history)
                yield self.history[-1]
        if len(self.history) > count:  # an epoch that an edit or the time limit cut short
            yield self.history[-1]

    # ------------------------------------------------------------- between two steps

    def _count(self, step: Step, loss: float | None, clock: float) -> None:
        """Add a step to its epoch; close the epoch with its last one."""
        state, progress = self.state, self.state.progress
        progress.steps = step.number
        progress.rows += step.rows
        self._inspection.after_step(state, step)
        state.sums.add(step, loss)
        last = progress.rows == state.source.rows
        if loss is not None:
            self._check_losses([(step, math.isfinite(loss))])
        elif last or len(state.sums.late) >= STEPS_TOGETHER:
            self._check_losses(state.sums.read_late())
        seconds = time.perf_counter() - clock  # a GPU has finished by now
        progress.seconds += seconds
        progress.elapsed += seconds
        limit = state.settings.time_limit
        if limit is not None and progress.elapsed + state.validation_seconds > limit:
            state.waiting.append(
                Stop(f"the time limit of {limit:.3g} s for the training is reached")
            )
        if last and self.stopped is None:
            finish_epoch(state)

    def _check_losses(self, steps: list[tuple[Step, bool]]) -> None:
        """Count steps without a finite loss, which may lead to a rollback or to the end."""
        progress, rollbacks = self.progress, self.progress.rollbacks
        for step, finite in steps:
            if finite:
                progress.bad_in_a_row = 0
            elif self.stopped is None and progress.rollbacks == rollbacks:
                # Steps after one that led to a rollback were made before it.
                why = health.count_bad_step(self.state, step.batch)
                if why is not None:
                    self.stop(why)

    def _use_less_memory(self, error: BaseException) -> None:
        """Send fewer rows through the network at once, or raise the error again."""
        state, plan, processes = self.state, self.state.plan, self.state.processes
        rows = min(plan.micro_batch, -(-plan.batch_size // processes.size))
        self._inspection.cancel()
        if not health.out_of_memory(error) or rows == 1:
            raise error
        if not isinstance(error, OtherOutOfMemoryError):
            processes.out_of_memory(state.network, state.progress.steps)
        state.optimizer.zero_grad()
        state.tell("memory", f"out of memory with {rows:,} rows at once")
        state.waiting.appendleft(SetMicroBatch(-(-rows // 2)))

    def stop(self, why: str) -> None:
        """End training; the current epoch is recorded as far as it got."""
        state = self.state
        self._check_losses(state.sums.read_late())
        if self.stopped is None:
            if state.progress.rows:
                finish_epoch(state)
            state.progress.stopped = why

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
            edits: Such as `sl.Widen("hidden.0", 128)`, applied in order.
            learning_rate: The learning rate from now on; the rest of the schedule is rescaled.
            weight_decay: The weight decay from now on.
            batch_size: Rows of a weight update from now on.
            epochs: The last epoch; the rest of the schedule is stretched to it.

        Raises:
            OptionError: An unknown name, or a value outside its range; nothing is changed then.
            NetworkError: The network cannot be changed in this way; nothing is changed then.

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
        by_name: tuple[tuple[type[Any], Any], ...] = (
            (SetLearningRate, learning_rate), (SetWeightDecay, weight_decay),
            (SetBatchSize, batch_size), (SetEpochs, epochs),
        )  # fmt: skip
        added = [*edits, *(kind(value) for kind, value in by_name if value is not None)]
        if added and self.stopped is not None:
            raise OptionError(f"Training has ended ({self.stopped}).", "Train again, or longer.")
        state = self.state
        with self._lock:
            tried = state.network
            for edit in [*state.waiting, *added]:
                if not isinstance(edit, Edit):
                    raise OptionError(
                        f"{edit!r} is no edit.", 'Give one such as sl.Widen("hidden.0", 128).'
                    )
                tried = check_edit(edit, tried, state.prepared.spec, state.sources)
            state.waiting.extend(added)

    def _apply_edits(self) -> bool:
        """Apply the waiting edits; return whether training goes on."""
        state = self.state
        while (edit := state.processes.decide(self._next_edit)) is not None:
            state.learning_rate.at(state.epochs_done, state.plan.epochs)
            try:
                with self._lock:
                    outcome = apply(edit, state)
                    if outcome.stop is not None:
                        self.stop(outcome.stop)
            except UserError as error:
                self._refuse(edit, error)
                continue
            state.progress.edits.append((state.progress.steps, edit.to_json()))
            state.tell("edit", outcome.sentence, {"edit": edit.to_json(), **outcome.details})
        return self.stopped is None

    def _next_edit(self) -> Edit | None:
        """Take the next of the waiting edits that can be made; None if there is none, or training has ended."""
        state = self.state
        while state.waiting and self.stopped is None:
            edit = state.waiting.popleft()
            try:
                with self._lock:
                    tried = check_edit(edit, state.network, state.prepared.spec, state.sources)
                    state.processes.synchronised(tried, state.device)
            except UserError as error:
                self._refuse(edit, error)
            else:
                return edit
        return None

    def _refuse(self, edit: Edit, error: UserError) -> None:
        sentence = f"{type(edit).__name__} refused: {error}"
        self.state.tell("refused", sentence, {"edit": edit.to_json()})


def restore(
    saved: SavedCheckpoint,
    prepared: Prepared,
    *,
    sources: Path | None = None,
    network: nn.Module | NetworkMaker | str | None = None,
    optimizer: OptimizerMaker | None = None,
    schedule: Any = None,
) -> Training:
    """Restore the training that a checkpoint holds.

    Args:
        saved: From `read_newest` or `read_first`.
        prepared: The same rows, prepared in the same way.
        sources: The folder that keeps the source text of networks.
        network, optimizer, schedule: Your own, where training began with any.

    Raises:
        DataError: The prepared rows differ from those it was trained on.
        NetworkError: A network of your own is needed, or does not fit.
        OptionError: An optimizer or schedule of your own is needed.
        RunError: The checkpoint does not fit together.
    """
    return Training.from_state(
        restored_state(
            saved,
            prepared,
            sources=sources,
            network=network,
            optimizer=optimizer,
            schedule=schedule,
        )
    )
