"""Measure a network without training it; weights of rows by class and by fold; the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.ensemble import Ensemble
from sightline.contracts import Batch
from sightline.errors import NetworkError, OptionError, counted, did_you_mean
from sightline.load.batches import map_tensors
from sightline.predict.predictor import rows_at_once
from sightline.predict.task import LEAST_TOTAL_WEIGHT, Task, class_numbers
from sightline.prepare.prepared import Prepared
from sightline.train.observations import Yardstick
from sightline.train.processes import ALONE, Processes

EVALUATION_ROWS = 16_384
"""Rows that go through the network at once."""
MAX_LOGITS = 2**24
"""Logits of an ensemble that are in memory at once."""
PROBED_ROWS = 256
"""The first rows of an ensemble, by whose logits the size of the next part is chosen."""


def evaluate(
    network: nn.Module,
    task: Task,
    batch: Batch,
    label_smoothing: float = 0.0,
    processes: Processes = ALONE,
) -> tuple[float, float, Tensor]:
    """Measure a network on some rows, in float32.

    Args:
        network: The network.
        task: Loss, head and metric.
        batch: The N rows.
        label_smoothing: Of the loss.
        processes: The processes that share the rows; all get the result.

    Returns:
        The mean loss; accuracy or RMSE; the values of the task's head [N, K].

    Example:
        >>> import sightline as sl
        >>> from sightline.train.evaluation import evaluate
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> loss, accuracy, probabilities = evaluate(training.network, training.task, prepared.valid)
        >>> list(probabilities.shape)
        [34, 3]
    """
    mode = network.training
    network.eval()
    losses, scores, values, counts = [], [], [], []
    processes, own = _shared(processes, batch)
    with torch.no_grad():
        for start in range(own.start, own.stop, EVALUATION_ROWS):
            stop = min(start + EVALUATION_ROWS, own.stop)
            part = map_tensors(batch, lambda x, a=start, b=stop: x[a:b])  # type: ignore[misc]
            logits = network(part.numeric, part.categorical).float()
            values.append(task.head(logits))
            weight = part.weight
            count = torch.tensor(float(len(part.row))) if weight is None else weight.double().sum()
            counts.append(count.double().cpu())
            losses.append(task.loss(logits, part, label_smoothing).double().cpu() * counts[-1])
            scores.append(task.score(values[-1], part.target))
    network.train(mode)
    loss, total, score = processes.sum(
        float(torch.stack(losses).sum()),
        float(torch.stack(counts).sum()),
        float(torch.stack(scores).double().sum()),
    )
    return (
        loss / max(total, LEAST_TOTAL_WEIGHT),
        task.mean_score(score, len(batch.row)),
        processes.gather(torch.cat(values), len(batch.row)),
    )


def _shared(processes: Processes, batch: Batch) -> tuple[Processes, slice]:
    """Return who shares rows, and which are this process's; where there are too few, each measures all of them."""
    processes = processes if len(batch.row) >= processes.size else ALONE
    return processes, processes.rows(len(batch.row))


def evaluate_folds(
    network: nn.Module,
    task: Task,
    batch: Batch,
    folds: Tensor,
    count: int | None = None,
    processes: Processes = ALONE,
) -> tuple[float, float, Tensor]:
    """Measure an ensemble out-of-fold: each training row by the members that did not learn from it.

    The rows of fold m % F are held out from member m (`hold_out`).

    Args:
        network: A network with logits [B, M, K].
        task: Loss, head and metric.
        batch: The N training rows.
        folds: int64 [N], each row's fold, from 0 to F - 1.
        count: F; None is the largest fold and one.
        processes: The processes that share the rows; all get the result.

    Returns:
        The out-of-fold loss, weighted over rows; accuracy or RMSE; the mean [N, K] over those
        members, of the values of the task's head.

    Example:
        >>> import sightline as sl, torch
        >>> from sightline.predict.task import Task
        >>> from sightline.train.evaluation import evaluate_folds
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species", valid=0, folds=5)
        >>> prepared = sl.prepare(splits)
        >>> network = sl.Ensemble(prepared.spec, members=5)
        >>> loss, accuracy, probabilities = evaluate_folds(
        ...     network, Task(prepared.spec.target), prepared.train, torch.from_numpy(splits.folds))
        >>> list(probabilities.shape)
        [310, 3]
    """
    mode = network.training
    network.eval()
    count = count or int(folds.max()) + 1
    processes, own = _shared(processes, batch)
    part, own_folds = map_tensors(batch, lambda x: x[own]), folds[own]
    with torch.no_grad():
        if isinstance(network, Ensemble):
            own_values_NK = _held_out_values(network, task, part, own_folds, count)
        else:
            own_values_NK = _values_of_all(network, task, part, own_folds, count)
    network.train(mode)
    values_NK = processes.gather(own_values_NK, len(batch.row))
    weight = batch.weight
    if weight is not None and weight.dim() == 2:
        weight = weight.amax(dim=1)  # the row's own; it is 0 for members it is held out from
    losses = task.value_losses(values_NK, batch.target)
    loss = (
        losses.mean()
        if weight is None
        else (losses * weight).sum() / weight.sum().clamp(min=LEAST_TOTAL_WEIGHT)
    )
    score = float(task.score(values_NK, batch.target))
    return float(loss), task.mean_score(score, len(batch.row)), values_NK


def _held_out_values(
    network: Ensemble, task: Task, batch: Batch, folds: Tensor, count: int
) -> Tensor:
    """Compute each row's mean [N, K] over the members that hold it out, and no other member."""
    values, places = [], []
    for fold in range(count):
        members = slice(fold, None, count)
        logits_a_row = len(range(network.members)[members]) * network.spec.outputs
        at_once = max(min(rows_at_once(batch.numeric), MAX_LOGITS // logits_a_row), 1)
        of_fold = (folds == fold).nonzero().ravel()
        for start in range(0, len(of_fold), at_once):
            rows = of_fold[start : start + at_once]
            logits = network(batch.numeric[rows], batch.categorical[rows], members).float()
            values.append(task.member_values(logits).mean(dim=1))
            places.append(rows)
    values_NK = torch.cat(values)
    return torch.empty_like(values_NK).index_copy_(0, torch.cat(places), values_NK)


def _values_of_all(
    network: nn.Module, task: Task, batch: Batch, folds: Tensor, count: int
) -> Tensor:
    """Compute the same by a network that always computes all of its members."""
    values, rows, start = [], PROBED_ROWS, 0
    while start < len(batch.row):
        stop = start + rows
        numeric, codes = batch.numeric[start:stop], batch.categorical[start:stop]
        logits = network(numeric, codes).float()
        fold_M = torch.arange(logits.shape[1], device=logits.device) % count
        held_out_BM = fold_M == folds[start:stop, None]
        values_BMK = task.member_values(logits)
        counts_BM1 = held_out_BM[:, :, None].to(values_BMK.dtype)
        values.append((values_BMK * counts_BM1).sum(dim=1) / counts_BM1.sum(dim=1))
        start = stop
        rows = max(min(rows_at_once(numeric), MAX_LOGITS // logits[0].numel()), 1)
    return torch.cat(values)


def count_members(network: nn.Module, batch: Batch) -> int:
    """Count an ensemble's members by the logits of one row; a single network has 1.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.evaluation import count_members
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> count_members(sl.Ensemble(prepared.spec, members=7), prepared.train)
        7
    """
    mode, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        logits = network(batch.numeric[:1].to(device), batch.categorical[:1].to(device))
    network.train(mode)
    return int(logits.shape[1]) if logits.dim() == 3 else 1


def hold_out(batch: Batch, folds: Tensor, members: int, count: int | None = None) -> Batch:
    """Hold the rows of fold m % F out from member m, by weights of 0.

    Args:
        batch: The training rows.
        folds: int64 [N], each row's fold.
        members: The number of members, M.
        count: F; None is the largest fold and one.

    Returns:
        The rows with weights [N, M].

    Raises:
        NetworkError: There are fewer members than folds.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.train.evaluation import hold_out
        >>> rows = Batch(torch.zeros(3, 1), torch.zeros(3, 0).int(), torch.zeros(3), None,
        ...              torch.arange(3))
        >>> hold_out(rows, torch.tensor([0, 1, 0]), members=2).weight.tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    count = count or int(folds.max()) + 1
    if members < count:
        raise NetworkError(
            f"The network has {counted(members, 'member')} for {count} folds.",
            "Give a network with at least one member per fold (logits [B, M, K]), or folds=0 and "
            "validation rows.",
        )
    weight = (folds[:, None] != torch.arange(members, device=folds.device) % count).float()
    if batch.weight is not None:
        weight = weight * (batch.weight if batch.weight.dim() == 2 else batch.weight[:, None])
    return batch._replace(weight=weight)


def never_predicted(task: Task, values: Tensor, target: Tensor) -> tuple[str, ...]:
    """Name the classes that have rows in `target` but are predicted for no row.

    Args:
        task: Of a classification.
        values: Probabilities [N, K].
        target: Class indices [N], or probabilities [N, K], whose likeliest classes count.

    Example:
        >>> import torch
        >>> from sightline.contracts import Target
        >>> from sightline.predict.task import Task
        >>> from sightline.train.evaluation import never_predicted
        >>> task = Task(Target("y", "classification", ("a", "b", "c")))
        >>> never_predicted(task, torch.tensor([[0.9, 0.1, 0.0]] * 2), torch.tensor([0, 1]))
        ('b',)
    """
    classes = task.target.classes
    predicted = torch.bincount(values.argmax(dim=1), minlength=len(classes)).tolist()
    present = torch.bincount(class_numbers(target), minlength=len(classes)).tolist()
    counts = zip(task.target.texts, predicted, present, strict=True)
    return tuple(text for text, times, rows in counts if rows and not times)


def yardstick(task: Task, prepared: Prepared) -> Yardstick:
    """Return the loss and metric of the baseline: the majority class, or the mean.

    They are measured on the validation rows; without any, on the training rows.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.task import Task
        >>> from sightline.train.evaluation import yardstick
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> round(yardstick(Task(prepared.spec.target), prepared).guess_loss, 2)
        1.05
    """
    rows = prepared.valid if len(prepared.valid.row) else prepared.train
    name = "validation" if prepared.splits.folds is None else "out-of-fold"
    guess, warm = task.baseline(prepared.train.target), prepared.kept is not None
    if task.classification:
        shares = guess[guess > 0]
        accuracy = float((class_numbers(rows.target) == int(guess.argmax())).double().mean())
        return Yardstick(True, float(-(shares * np.log(shares)).sum()), accuracy, name, warm)
    rmse = float((rows.target.double() - task.center).square().mean().sqrt())
    return Yardstick(False, 1.0, rmse, name, warm)


def with_class_weights(
    batch: Batch, weights: Any, task: Task, counts: Tensor | None = None
) -> Batch:
    """Multiply each row's weight by the weight of its class.

    Args:
        batch: Training rows.
        weights: "balanced" (rows / (classes * rows of the class), as in scikit-learn), a mapping
            from class to weight with 1 for those not named, or None.
        task: The task that has the classes.
        counts: int64 [K], how many training rows each class has; None counts those of the batch.

    Raises:
        OptionError: The target is a number, a class is unknown, or a weight is below 0.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.task import Task
        >>> from sightline.train.evaluation import with_class_weights
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> batch = with_class_weights(prepared.train, "balanced", Task(prepared.spec.target))
        >>> round(float(batch.weight.sum()))
        276
    """
    if weights is None:
        return batch
    if not task.classification:
        raise OptionError(
            f"class_weights are for classes; the target {task.target.name!r} is a number.",
            "Leave class_weights out.",
        )
    classes = task.target.classes
    if counts is None:
        counts = torch.bincount(batch.target, minlength=len(classes))
    counts = counts.double()
    if isinstance(weights, Mapping):
        table = torch.ones(len(classes), dtype=torch.float64)
        for label, weight in weights.items():
            index = task.target.find(label)
            if index is None:
                raise OptionError(
                    f"class_weights names {label!r}, which is no class of the target.",
                    did_you_mean(str(label), task.target.texts, "classes"),
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):  # fmt: skip
                raise OptionError(
                    f"The weight of class {label!r} is {weight!r}.", "Give a number from 0 up."
                )
            table[index] = weight
        if not (table * counts).any():
            raise OptionError(
                "class_weights gives every class a weight of 0.", "Give a class a weight above 0."
            )
    else:
        table = counts.sum() / (len(classes) * counts.clamp(min=1))
    own = table[batch.target].float()
    if batch.weight is not None:
        own = batch.weight * (own if batch.weight.dim() == 1 else own[:, None])
    return batch._replace(weight=own)
