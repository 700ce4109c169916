"""How a fit makes each part of a model: one function for each entry of `predict.parts.PARTS`.

A function takes a `PartRequest` and returns the fitted part with its out-of-fold predictions, or None
where the recipe leaves the part out.

Letters: N training rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.boosting import FittedTrees, fit_trees
from sightline.contracts import Batch
from sightline.errors import counted
from sightline.load.batches import join_batches
from sightline.pipeline.recipe import TREES_CLASSES, Recipe, prepared_size, trees_for
from sightline.predict.parts import NetworkPart, Part, TreesPart, blend_values
from sightline.train.checkpoints import weights_fingerprint
from sightline.train.evaluation import evaluate_folds, with_class_weights
from sightline.train.training import Training


@dataclass(frozen=True)
class PartRequest:
    """What a part is fitted from.

    Attributes:
        training: The network's training, which has ended.
        network: The network with the best weights, from `training.model()`.
        recipe: Which parts the model has.
        limit: Time limit for the trees in seconds; None means no limit.
        first: Of a replay, the records of the first run's parts, by part: what the clock decided then
            is decided alike.
    """

    training: Training
    network: Part
    recipe: Recipe
    limit: float | None = None
    first: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class FittedPart:
    """A part, and what was computed while it was fitted.

    Attributes:
        part: The part of the final model.
        out_of_fold: Out-of-fold predictions of the training rows, in the unit that is blended
            (`Part.values`), [N, K]; NaN for rows that no model holds out; None without folds.
        record: The body of the record "train/<part's name>", or None.
    """

    part: Part
    out_of_fold: Tensor | None
    record: dict[str, Any] | None = None


def fit_network(request: PartRequest) -> FittedPart:
    """Return the trained network, with folds also its out-of-fold predictions."""
    training, part = request.training, request.network
    rows, folds = training.prepared.train, training.prepared.splits.folds
    if folds is None:
        return FittedPart(part, None)
    count = training.prepared.splits.fold_count
    _, _, values = evaluate_folds(part.module, training.task, rows, torch.from_numpy(folds), count)
    return FittedPart(part, blend_values(training.task, values))


def fit_boosted_trees(request: PartRequest) -> FittedPart | None:
    """Grow boosted trees on the training rows.

    Without folds one ensemble is grown, and the validation rows decide the number of rounds. With more
    than `TREES_CLASSES` classes there are no trees.
    """
    training, recipe = request.training, request.recipe
    prepared, task, seed = training.prepared, training.task, training.settings.seed
    if not recipe.trees or prepared.spec.outputs > TREES_CLASSES:
        return None
    rows, folds = prepared.train, prepared.splits.folds
    if folds is None:
        rows, folds = _with_validation_rows(rows, prepared.valid)
    else:
        folds = np.unique(folds, return_inverse=True)[1]  # of a warm start, a fold may have no rows
    target = rows.target if task.classification else task.scaled(rows.target)
    rows = with_class_weights(rows, training.settings.class_weights, task)
    options = trees_for(recipe, prepared_size(prepared)._replace(rows=len(rows.row)))
    if options.pop("one_fold"):
        folds = np.where(folds == 0, 0, -1)
    limit = request.limit
    if (first := request.first.get(TreesPart.name)) is not None:
        options, limit = {**options, "iterations": int(first["iterations"])}, None
    fitted = fit_trees(
        rows.numeric.numpy(), rows.categorical.numpy(), target.numpy(), folds,
        classification=task.classification, outputs=prepared.spec.outputs,
        weight_N=None if rows.weight is None else rows.weight.numpy(), seed=seed,
        time_limit=limit, **options,
    )  # fmt: skip
    out_of_fold = None
    if prepared.splits.folds is not None:
        out_of_fold = TreesPart.in_unit(task, torch.from_numpy(fitted.held_out))
    return FittedPart(TreesPart(fitted.trees), out_of_fold, _trees_record(fitted, training))


def _with_validation_rows(train: Batch, valid: Batch) -> tuple[Batch, np.ndarray]:
    """Append the validation rows as the one fold that is held out, 0; training rows are in none, -1."""
    folds = np.repeat([-1, 0], [len(train.row), len(valid.row)])
    return join_batches(train, valid), folds


def _trees_record(fitted: FittedTrees, training: Training) -> dict[str, Any]:
    """Return the body of the record "train/trees"."""
    spec = training.prepared.spec
    columns = [f.column for f in spec.numeric] + [f.column for f in spec.categorical]
    network_loss = training.history[training.best_epoch].valid_loss
    description = fitted.trees.describe(columns)
    held_out_loss = min((loss for _, loss in fitted.history), default=None)
    sentence = (
        f"{counted(description['trees'], 'boosted tree')} in "
        f"{counted(description['ensembles'], 'ensemble')}, {counted(fitted.iterations, 'round')} each"
    )
    if held_out_loss is not None and network_loss is not None:
        sentence += f": held-out loss {held_out_loss:.4g}, the network's {network_loss:.4g}"
    return {
        **description, "iterations": fitted.iterations,
        "fingerprint": weights_fingerprint(fitted.trees), "seconds": fitted.seconds,
        "learning_rate": fitted.learning_rate,
        "history": [list(pair) for pair in fitted.history], "held_out_loss": held_out_loss,
        "network_held_out_loss": network_loss, "said": sentence,
    }  # fmt: skip


PART_FITS: dict[str, Callable[[PartRequest], FittedPart | None]] = {
    NetworkPart.name: fit_network,
    TreesPart.name: fit_boosted_trees,
}
"""By the name of each entry of `PARTS`, in the same order, the function that fits it."""
