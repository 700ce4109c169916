"""The end of an epoch: its record, the best weights, early stopping."""

from __future__ import annotations

import math
import time

from torch import Tensor

from sightline.contracts import EpochRecord
from sightline.load.batches import map_tensors
from sightline.train import health
from sightline.train.evaluation import evaluate, never_predicted
from sightline.train.observations import EpochNumbers, observe
from sightline.train.progress import Sums
from sightline.train.state import TrainingState

UNTRAINED_ROWS = 10_000
"""The untrained network is measured on at most this many training rows, and held-out rows, evenly spaced."""
MAX_DROPS = 3
"""How often the schedule "plateau" lowers the learning rate before training stops."""
DROP = 0.3
"""The factor by which it lowers the learning rate each time."""


def finish_untrained(state: TrainingState) -> None:
    """Record epoch 0: the network before it has learned anything.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.epochs import finish_untrained
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> finish_untrained(training.state)
        >>> training.history[0].number
        0
    """
    started = time.perf_counter()
    every = -(-len(state.data.train.row) // UNTRAINED_ROWS)
    part = map_tensors(state.data.train, lambda x: x[::every])
    smoothing = state.settings.label_smoothing
    loss, metric, _ = evaluate(state.network, state.data.task, part, smoothing)
    _record(state, 0, loss, metric, 0.0, time.perf_counter() - started, len(part.row))


def finish_epoch(state: TrainingState) -> None:
    """Make an epoch's record from its sums, keep the best weights, decide whether to stop.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.epochs import finish_epoch
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> _ = next(training.steps())
        >>> finish_epoch(training.state)
        >>> training.history[-1].number
        1
    """
    progress = state.progress
    loss, metric = state.sums.means()
    if not state.data.has_held_out_rows and (
        progress.bad_in_a_row or not state.weights_are_finite()
    ):
        loss = math.nan  # no validation loss would show it
    gradient, number = state.gradient_norm(), progress.epoch
    _record(state, number, loss, metric, gradient, progress.seconds, progress.rows)
    progress.epoch, progress.rows, progress.seconds = number + 1, 0, 0.0
    state.sums = Sums(state.data.task)
    watched = progress.numbers[-1].watched
    state.learning_rate.after_epoch(watched)
    if math.isfinite(watched):
        state.good.keep(state.network, state.structure)
        progress.good_epoch = number
    elif state.stopped is None and math.isfinite(loss):
        why = f"the validation loss of epoch {number} is not a finite number"
        progress.stopped = health.roll_back(state, why, None)
    if state.stopped is None:
        _stop_early(state, number)
    if state.stopped is None and number >= state.plan.epochs:
        progress.stopped = f"all {state.plan.epochs} epochs done"


def _stop_early(state: TrainingState, number: int) -> None:
    """Stop, or lower the learning rate, after `patience` epochs without a new best one."""
    progress, settings = state.progress, state.settings
    last_change = max(progress.best_epoch, progress.dropped_at)
    if not settings.patience or number - last_change < settings.patience:
        return
    if settings.schedule == "plateau" and progress.drops < MAX_DROPS:
        _leave_plateau(state, number)
    else:
        progress.stopped = (
            f"stopped early after epoch {number}: no better {_criterion(state)} for "
            f"{settings.patience} epochs"
        )


def _criterion(state: TrainingState) -> str:
    """Name what decides which epoch is best, such as "validation loss"."""
    rows = "validation" if state.data.folds is None else "out-of-fold"
    return f"{rows} {state.settings.eval_metric or 'loss'}"


def _leave_plateau(state: TrainingState, number: int) -> None:
    """Return to the best weights, with a lower learning rate."""
    progress, learning_rate = state.progress, state.learning_rate
    trained = progress.best_epoch > 0 or state.prepared.kept is not None
    if state.best.structure == state.structure and trained:
        state.best.put_back(state.network)
        state.restart_average()
    learning_rate.base *= DROP
    progress.drops, progress.dropped_at = progress.drops + 1, number
    state.tell(
        "plateau",
        f"no better {_criterion(state)} for {state.settings.patience} epochs: back to the weights of "
        f"epoch {progress.best_epoch}, learning rate {learning_rate.base:.3g}",
        {"epoch": progress.best_epoch, "learning_rate": learning_rate.base},
    )


def _record(
    state: TrainingState, number: int, loss: float, metric: float, gradient: float,
    seconds: float, rows: int,
) -> None:  # fmt: skip
    """Validate the network, and add the record of an epoch to the history."""
    progress, name = state.progress, state.data.task.metric
    metrics = {
        f"train_{name}": metric,
        "learning_rate": float(state.optimizer.param_groups[0]["lr"]),
        "gradient_norm": gradient,
        "seconds": seconds,
        "rows_per_second": rows / seconds if number and seconds else 0.0,
    }
    layers = tuple(state.layers)
    numbers = EpochNumbers(loss, None, metric, (), metric, layers, None)
    values = None
    with state.validated_weights():
        if state.data.has_held_out_rows:
            numbers, values = _validate(state, loss, metric, metrics)
        decided = numbers, metrics
        numbers, metrics = state.processes.decide(lambda: decided)
        progress.numbers.append(numbers)
        observation = observe(progress.numbers, state.data.yardstick)
        record = EpochRecord(number, numbers.train_loss, numbers.valid_loss, metrics, observation)
        progress.history.append(record)
        _keep_best(state, number, values)
    state.layers = []


def _validate(
    state: TrainingState, loss: float, metric: float, metrics: dict[str, float]
) -> tuple[EpochNumbers, Tensor]:
    """Measure the network on the rows held out, and add what was measured to `metrics`; return the values too."""
    data = state.data
    task, name = data.task, data.task.metric
    started = time.perf_counter()
    most = UNTRAINED_ROWS if not state.progress.history and _is_sampled(state) else None
    valid_loss, valid_metric, values, held_out = data.evaluate_held_out(
        state.network, state.processes, most
    )
    metrics[f"valid_{name}"] = valid_metric
    never: tuple[str, ...] = ()
    if task.classification:
        never = never_predicted(task, values, held_out.target)
    else:
        variance = float(held_out.target.double().var(correction=0))
        metrics["valid_r2"] = 1 - valid_metric**2 / variance if variance else math.nan
    score = None
    if data.eval_metric is not None:
        value = data.eval_metric.of(values, held_out, task.target)
        metrics[f"valid_{data.eval_metric.name}"] = value
        score = data.eval_metric.as_loss(value)
    seconds = metrics["validation_seconds"] = time.perf_counter() - started
    state.validation_seconds = seconds * len(data.held_out.row) / len(held_out.row)
    state.progress.elapsed += seconds
    layers = tuple(state.layers)
    return EpochNumbers(loss, valid_loss, valid_metric, never, metric, layers, score), values


def _is_sampled(state: TrainingState) -> bool:
    """Whether epoch 0 is measured on some of the held-out rows: not of a warm start, where it may be the best."""
    return state.prepared.kept is None and len(state.data.held_out.row) > UNTRAINED_ROWS


def _keep_best(state: TrainingState, number: int, values: Tensor | None) -> None:
    """Keep the weights of the lowest validation loss; without one, the latest finite ones."""
    progress = state.progress
    now = progress.numbers[-1]
    # A metric may rate the untrained network highest by chance, and may tie where the loss does not; and a loss of
    # some rows is not comparable to that of all.
    warm = state.prepared.kept is not None
    counts = (now.score is None or warm) and not _is_sampled(state)
    earlier = progress.numbers[:-1] if counts else progress.numbers[1:-1]
    keys = [(n.criterion, n.watched) for n in earlier if math.isfinite(n.criterion)]
    better = now.valid_loss is None or (now.criterion, now.watched) < min(
        keys, default=(math.inf, math.inf)
    )
    if number == 0 or (better and math.isfinite(now.watched) and math.isfinite(now.criterion)):
        progress.best_epoch, progress.best_edits = number, len(progress.edits)
        own = state.device.type == "cpu" and state.processes.size == 1
        state.out_of_fold = None
        if number:
            state.best.keep(state.network, state.structure)
            state.out_of_fold = values if own and state.data.folds is not None else None
