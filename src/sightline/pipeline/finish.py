"""From a training that has ended to the model that ships: trees, weights, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sightline.build.boosting import FittedTrees, fit_trees
from sightline.contracts import Batch
from sightline.errors import counted
from sightline.load.batches import each
from sightline.pipeline.recipe import (
    MOST_CLASSES,
    Recipe,
    prepared_size,
    trees_for,
)
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.model import Model, log_probabilities
from sightline.predict.path import evaluating
from sightline.predict.threshold import find_threshold
from sightline.train.checkpoints import weights_fingerprint
from sightline.train.evaluation import evaluate_folds, with_class_weights
from sightline.train.training import Training


@dataclass(frozen=True)
class Finished:
    """A model, and how it came about beyond its training.

    Attributes:
        model: What ships.
        trees: The body of the record "train/trees", or None.
        held_out: What was calibrated on: `source` in words, `rows`, or None.
        out_of_fold: Each training row's probabilities [N, K] or numbers [N, 1], of parts that did
            not learn from it; None without folds, or where trees held out one of them alone.
    """

    model: Model
    trees: dict[str, Any] | None = None
    held_out: dict[str, Any] | None = None
    out_of_fold: np.ndarray | None = None


def finish(
    training: Training,
    recipe: Recipe,
    apart: Batch | None,
    limit: float | None = None,
    rounds: int | None = None,
) -> Finished:
    """Make the model that ships out of a training that has ended.

    Args:
        training: Whose best weights are taken.
        recipe: What else belongs to the model.
        apart: The rows that `set_apart` set apart.
        limit: Seconds for the trees; None for as long as it takes.
        rounds: So many rounds of boosting in place of what the clock allows: those that were kept
            the first time.

    Raises:
        NetworkError: The loss with the best weights is not a finite number.
    """
    model = training.model()
    prepared, task, folds = training.prepared, training.task, training.prepared.splits.folds
    if isinstance(recipe.threshold, int | float):
        model.threshold = find_threshold(np.zeros(0), np.zeros(0, bool), recipe.threshold)
    if not recipe.calibrate or (folds is None and apart is None):
        return Finished(model)
    fitted, whole = None, folds is not None
    if recipe.trees and prepared.spec.outputs <= MOST_CLASSES:
        fitted = _grow(training, recipe, limit, rounds)
        model.trees = fitted.trees
    if folds is not None:
        rows = prepared.train
        _, _, values = evaluate_folds(model.network, task, rows, torch.from_numpy(folds))
        parts = {"network": log_probabilities(values) if task.classification else values}
        if fitted is not None:
            margins = torch.from_numpy(fitted.held_out)
            parts["trees"] = margins if task.classification else task.head(margins)
            known = ~margins.isnan().any(dim=1)
            if not known.all():  # of a large table one fold is held out by the trees
                rows, whole = each(rows, lambda x: x[known]), False
                parts = {name: value[known] for name, value in parts.items()}
        source = f"out-of-fold predictions of {counted(len(rows.row), 'training row')}"
    else:
        assert apart is not None
        rows = apart
        with evaluating(model.network):
            parts = model.parts(rows.numeric, rows.categorical)
        source = f"{counted(len(rows.row), 'validation row')} that stopping never saw"
    told = {name: value.numpy().astype(np.float64) for name, value in parts.items()}
    truth = rows.target.numpy()
    weight = None if rows.weight is None else rows.weight.numpy().astype(np.float64)
    if task.classification:
        by_class = with_class_weights(rows, training.settings.class_weights, task).weight
        counts = None if by_class is None else by_class.numpy().astype(np.float64)
        model.blend = Blend.fit(told, truth, counts)
        values_NK: np.ndarray = model.blend.combine(told)["probabilities"]
        model.conformal = Conformal.fit_classes(values_NK, truth, weight, source=source)
        if isinstance(recipe.threshold, str):
            positive = model.spec.target.positive
            assert positive is not None  # divide
            place = model.classes.index(positive)
            model.threshold = find_threshold(
                values_NK[:, place], truth == place, recipe.threshold, weight
            )
    else:
        flat = {name: value[:, 0] for name, value in told.items()}
        model.blend = Blend.fit_values(flat, truth, weight)
        values_N = sum(model.blend.weights[name] * value for name, value in flat.items())
        assert isinstance(values_N, np.ndarray)
        model.conformal = Conformal.fit_numbers(values_N, truth, weight, source=source)
        values_NK = values_N[:, None]
    said = None if fitted is None else _said_of(fitted, training)
    about = {"source": source, "rows": len(truth)}
    return Finished(model, said, about, values_NK if whole else None)


def _grow(
    training: Training, recipe: Recipe, limit: float | None, rounds: int | None
) -> FittedTrees:
    """Grow boosted trees on the rows that the network learned from."""
    prepared, task = training.prepared, training.task
    rows, folds = prepared.train, prepared.splits.folds
    if folds is None:  # all learn from the training rows; the validation rows say how long
        joined = [
            None if a is None or b is None else torch.cat([a, b])
            for a, b in zip(rows, prepared.valid, strict=True)
        ]
        folds = np.repeat([-1, 0], [len(rows.row), len(prepared.valid.row)])
        rows = Batch(*joined)  # type: ignore[arg-type]
    target = rows.target if task.classification else task.scaled(rows.target)
    rows = with_class_weights(rows, training.settings.class_weights, task)
    how = trees_for(recipe, prepared_size(prepared)._replace(rows=len(rows.row)))
    if how.pop("one_fold"):
        folds = np.where(folds == 0, 0, -1)
    if rounds is not None:
        how, limit = {**how, "iterations": rounds}, None
    return fit_trees(
        rows.numeric.numpy(), rows.categorical.numpy(), target.numpy(), folds,
        classification=task.classification, outputs=prepared.spec.outputs,
        weight_N=None if rows.weight is None else rows.weight.numpy(), seed=training.settings.seed,
        time_limit=limit, **how,
    )  # fmt: skip


def _said_of(fitted: FittedTrees, training: Training) -> dict[str, Any]:
    spec = training.prepared.spec
    names = [*(f.column for f in spec.numeric), *(f.column for f in spec.categorical)]
    network = training.history[training.best_epoch].valid_loss
    found = fitted.trees.describe(names)
    held_out = min((loss for _, loss in fitted.history), default=None)
    said = (
        f"{counted(found['trees'], 'boosted tree')} in {counted(found['ensembles'], 'ensemble')}, "
    )
    said += f"{counted(fitted.iterations, 'round')} each"
    if held_out is not None and network is not None:
        said += f": held-out loss {held_out:.4g}, the network's {network:.4g}"
    return {
        **found, "iterations": fitted.iterations,
        "fingerprint": weights_fingerprint(fitted.trees), "seconds": fitted.seconds,
        "learning_rate": fitted.learning_rate,
        "history": [list(pair) for pair in fitted.history], "held_out_loss": held_out,
        "network_held_out_loss": network, "said": said,
    }  # fmt: skip
