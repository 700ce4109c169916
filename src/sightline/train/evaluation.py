"""Measure a network on rows without training it, and say what its numbers are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline.contracts import Batch
from sightline.errors import OptionError, did_you_mean
from sightline.load.batches import each
from sightline.predict.task import TINY, Task
from sightline.prepare.prepared import Prepared
from sightline.train.observations import Yardstick

EVALUATION_ROWS = 16_384


def evaluate(
    network: nn.Module, task: Task, batch: Batch, label_smoothing: float = 0.0
) -> tuple[float, float, Tensor]:
    """Return mean loss, accuracy or RMSE, and each row's head values, in float32.

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
    with torch.no_grad():
        for start in range(0, len(batch.row), EVALUATION_ROWS):
            part = each(batch, lambda x, a=start: x[a : a + EVALUATION_ROWS])  # type: ignore[misc]
            logits = network(part.numeric, part.categorical).float()
            values.append(task.head(logits))
            weight = part.weight
            count = torch.tensor(float(len(part.row))) if weight is None else weight.double().sum()
            counts.append(count.double().cpu())
            losses.append(task.loss(logits, part, label_smoothing).double().cpu() * counts[-1])
            scores.append(task.score(values[-1], part.target))
    network.train(mode)
    total = float(torch.stack(scores).double().sum())
    return (
        float(torch.stack(losses).sum()) / max(float(torch.stack(counts).sum()), TINY),
        task.mean_score(total, len(batch.row)),
        torch.cat(values),
    )


def never_predicted(task: Task, values: Tensor, target: Tensor) -> tuple[str, ...]:
    """Name the classes that have rows in `target` and that no row is given.

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
    given = torch.bincount(values.argmax(dim=1), minlength=len(classes)).tolist()
    there = torch.bincount(target, minlength=len(classes)).tolist()
    return tuple(str(c) for c, g, t in zip(classes, given, there, strict=True) if t and not g)


def yardstick(task: Task, prepared: Prepared) -> Yardstick:
    """Return the baseline's loss and metric, on the validation rows (the training rows without any).

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.task import Task
        >>> from sightline.train.evaluation import yardstick
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> round(yardstick(Task(prepared.spec.target), prepared).guess_loss, 2)
        1.05
    """
    held = prepared.valid if len(prepared.valid.row) else prepared.train
    guess = task.baseline(prepared.train.target)
    if task.classification:
        shares = guess[guess > 0]
        accuracy = float((held.target == int(guess.argmax())).double().mean())
        return Yardstick(True, float(-(shares * np.log(shares)).sum()), accuracy)
    rmse = float((held.target.double() - task.center).square().mean().sqrt())
    return Yardstick(False, 1.0, rmse)


def with_class_weights(batch: Batch, weights: Any, task: Task) -> Batch:
    """Multiply each row's weight by its class's.

    Args:
        batch: Training rows.
        weights: "balanced" (rows / (classes * rows of the class), as scikit-learn has it), a
            mapping from class to weight, or None.
        task: Whose classes.

    Raises:
        OptionError: Weights for a regression, an unknown class, or a weight below 0.

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
            "class_weights are for classes; the target is a number.", "Leave them out."
        )
    classes = task.target.classes
    counts = torch.bincount(batch.target, minlength=len(classes)).double()
    if isinstance(weights, Mapping):
        places = {str(label): place for place, label in enumerate(classes)}
        table = torch.ones(len(classes), dtype=torch.float64)
        for label, weight in weights.items():
            if str(label) not in places:
                raise OptionError(
                    f"class_weights name the class {label!r}.",
                    did_you_mean(str(label), places, "classes"),
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):  # fmt: skip
                raise OptionError(
                    f"The weight of class {label!r} is {weight!r}.", "Give a number from 0 up."
                )
            table[places[str(label)]] = weight
        if not (table * counts).any():
            raise OptionError("Every class has a weight of 0.", "Give some class a larger one.")
    else:
        table = counts.sum() / (len(classes) * counts.clamp(min=1))
    own = table[batch.target].float()
    if batch.weight is not None:
        own = batch.weight * (own if batch.weight.dim() == 1 else own[:, None])
    return batch._replace(weight=own)
