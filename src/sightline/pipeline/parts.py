"""How a fit makes each part of a model: one function for each entry of `predict.parts.PARTS`.

A function takes a `PartRequest` and returns the fitted part with its out-of-fold predictions, or None
where the recipe leaves the part out.

Letters: N training rows, K outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.boosting import FittedTrees, fit_trees
from sightline.build.forests import FittedForest, fit_forest
from sightline.build.kernel_fit import FittedKernel, fit_kernel
from sightline.build.modes import drawing, evaluating, threads_set
from sightline.build.neighbors_fit import FittedNeighbors, Worth, fit_neighbors
from sightline.build.networks import describe_network
from sightline.contracts import Batch
from sightline.errors import counted, shorten, spelled
from sightline.load.batches import join_batches, map_tensors
from sightline.load.divide import group_rows
from sightline.pipeline.blending import blended_loss
from sightline.pipeline.recipe import (
    BEHIND,
    BEHIND_EPOCHS,
    KERNEL_WORTH,
    LEAST_LIMIT,
    NEIGHBORS_WORTH,
    TREES_CLASSES,
    Recipe,
    Size,
    forest_for,
    has_second_network,
    kernel_for,
    least_gain,
    may_end_early,
    neighbors_for,
    prepared_size,
    second_network_for,
    symmetric_trees_for,
    trees_for,
)
from sightline.predict.parts import (
    ForestPart,
    KernelPart,
    NeighborsPart,
    NetworkPart,
    OtherPart,
    Part,
    SecondNetworkPart,
    SymmetricTreesPart,
    TreesPart,
    blend_values,
)
from sightline.prepare.prepared import Prepared
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
        limit: Seconds that this part may take, out-of-fold predictions included; None means no limit.
        fitted: The parts that were fitted before, the network first.
        first: Of a replay, the record of the first run's part: what the clock decided then is decided alike.
            Else None.
    """

    training: Training
    network: Part
    recipe: Recipe
    limit: float | None = None
    fitted: tuple[FittedPart, ...] = ()
    first: Mapping[str, Any] | None = None


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
    return FittedPart(request.network, _out_of_fold(request.training, request.network))


def _out_of_fold(training: Training, part: Part) -> Tensor | None:
    """Return a network's out-of-fold predictions of the training rows; None without folds."""
    rows, splits = training.prepared.train, training.prepared.splits
    if splits.folds is None:
        return None
    values = training.state.out_of_fold
    if values is None:
        folds = torch.from_numpy(splits.folds)
        # As in the training, so that every bit is the same.
        with threads_set(training.plan.threads):
            _, _, values = evaluate_folds(
                part.module, training.task, rows, folds, splits.fold_count
            )
    return blend_values(training.task, values)


def fit_second_network(request: PartRequest) -> FittedPart | None:
    """Train a second network on the training rows, with the settings of the first.

    Of a table larger than memory it learns from the sample of rows that is in memory, as the trees do. A replay makes as
    many steps as the first run did.
    """
    first, recipe = request.training, request.recipe
    prepared = replace(first.prepared, stored=None)
    if not has_second_network(recipe, prepared.spec):
        return None
    began = time.perf_counter()
    limit = request.limit
    settings = replace(first.settings, time_limit=limit)
    if request.first is not None:
        settings = replace(settings, epochs=int(request.first["planned_epochs"]))
    with drawing(settings.seed):
        training = Training(
            second_network_for(recipe, prepared.spec), prepared, **settings.arguments()
        )
    if limit is not None:
        limit = max(limit - (time.perf_counter() - began), LEAST_LIMIT)
        training.settings = replace(settings, time_limit=limit)
    early = request.first is None and may_end_early(recipe, settings, len(prepared.train.row))
    for step in training.steps():
        if request.first is not None and step.number == int(request.first["steps"]):
            training.stop(request.first["stopped"])  # unless it has ended by itself
        if early and training.history[-1].number == BEHIND_EPOCHS:
            early = False
            if _is_behind(training, first):
                training.stop(f"far behind the first network after epoch {BEHIND_EPOCHS}")
    part = SecondNetworkPart(training.model().network)
    return FittedPart(
        part, _out_of_fold(training, part), _second_network_record(training, part, first)
    )


def _is_behind(second: Training, first: Training) -> bool:
    """Return whether the second network's held-out loss is so much higher that it would add nothing in the end."""
    losses = [
        min(epoch.valid_loss for epoch in one.history if epoch.valid_loss is not None)
        for one in (second, first)
    ]
    behind = BEHIND if second.task.classification else BEHIND**2
    return losses[0] > behind * losses[1]


def _second_network_record(training: Training, part: Part, first: Training) -> dict[str, Any]:
    """Return the body of the record "train/second_network"."""
    history, best = training.history, training.best_epoch
    sentence = f"Second network: {counted(history[-1].number, 'epoch')}, the weights of epoch {best} are kept"
    return {
        "network": describe_network(part.module)[0],
        "parameters": sum(weight.numel() for weight in part.module.parameters()),
        "planned_epochs": training.plan.epochs, "steps": training.progress.steps,
        "epochs": history[-1].number, "best_epoch": best, "stopped": training.stopped,
        "history": [[epoch.number, epoch.train_loss, epoch.valid_loss] for epoch in history],
        "fingerprint": weights_fingerprint(part.module), "seconds": training.progress.elapsed,
        **_compared(sentence, history[best].valid_loss, first, "first network"),
    }  # fmt: skip


def _compared(
    sentence: str, held_out_loss: float | None, training: Training, name: str = "network"
) -> dict[str, Any]:
    """Return a part's held-out loss beside the network's, as numbers and at the end of a sentence."""
    network_loss = training.history[training.best_epoch].valid_loss
    if held_out_loss is not None and network_loss is not None:
        sentence += f": held-out loss {held_out_loss:.4g}, the {name}'s {network_loss:.4g}"
    return {
        "held_out_loss": held_out_loss, "network_held_out_loss": network_loss, "said": sentence,
    }  # fmt: skip


def fit_boosted_trees(request: PartRequest) -> FittedPart | None:
    """Grow boosted trees on the training rows.

    Without folds one ensemble is grown, and the validation rows decide the number of rounds. With more
    than `TREES_CLASSES` classes there are no trees.
    """
    if not request.recipe.trees or request.training.prepared.spec.outputs > TREES_CLASSES:
        return None
    return _boosted(request, TreesPart, trees_for)


def fit_symmetric_trees(request: PartRequest) -> FittedPart | None:
    """Grow boosted symmetric trees, in the same way."""
    if not request.recipe.symmetric_trees:
        return None
    return _boosted(request, SymmetricTreesPart, symmetric_trees_for)


def _boosted(
    request: PartRequest, kind: type[TreesPart], options_for: Callable[[Recipe, Size], dict[str, Any] | None]
) -> FittedPart | None:  # fmt: skip
    """Grow one kind of boosted trees, if the recipe has them."""
    training = request.training
    prepared = training.prepared
    rows, folds = _rows_in_folds(prepared)
    options = options_for(request.recipe, prepared_size(prepared)._replace(rows=len(rows.row)))
    if options is None:
        return None
    if options.pop("one_fold", False):
        held = folds.max() if prepared.splits.options["time"] is not None else 0  # the newest fold
        folds = np.where(folds == held, 0, -1)
    if request.first is not None:
        options = {**options, "iterations": int(request.first["iterations"])}
    fitted = fit_trees(
        **_arrays(training, rows), folds_N=folds, groups_N=_groups(training, rows),
        statistics=request.recipe.statistics, time_limit=request.limit, **options,
    )  # fmt: skip
    out_of_fold = _held_out(training, kind, fitted.held_out)
    record = _trees_record(fitted, training, spelled(kind.name))
    return FittedPart(kind(fitted.trees), out_of_fold, record)


def _numbered(folds: np.ndarray) -> np.ndarray:
    """Number the folds that have rows from 0: of a warm start, a fold may have none."""
    numbers: np.ndarray = np.unique(folds, return_inverse=True)[1]
    return numbers


def _arrays(training: Training, rows: Batch) -> dict[str, Any]:
    """Return what trees of any kind are grown from: rows, targets and weights, and what is predicted."""
    task, target = training.task, rows.target
    weight = with_class_weights(rows, training.settings.class_weights, task).weight
    return {
        "numeric_ND": rows.numeric.numpy(), "categorical_NC": rows.categorical.numpy(),
        "target_N": (target if task.classification else task.scaled(target)).numpy(),
        "weight_N": None if weight is None else weight.numpy(), "classification": task.classification,
        "outputs": training.prepared.spec.outputs, "seed": training.settings.seed,
    }  # fmt: skip


def _groups(training: Training, rows: Batch) -> np.ndarray | None:
    """Return each row's group where groups divide the table; None otherwise, and of a table larger than memory."""
    splits = training.prepared.splits
    if splits.options["group"] is None or training.prepared.stored is not None:
        return None
    return group_rows(splits.table, splits.options["group"], rows.row.numpy()).of_row


def _columns(training: Training) -> list[str]:
    """Return the table's column behind each value that trees ask for: of the numbers, then of the codes."""
    spec = training.prepared.spec
    return [f.column for f in spec.numeric] + [f.column for f in spec.categorical]


def _rows_in_folds(prepared: Prepared) -> tuple[Batch, np.ndarray]:
    """Return the rows of a part whose size held-out rows decide, and each row's fold.

    Without folds the validation rows follow the training rows as the one fold that is held out, 0; training rows are in
    none, -1.
    """
    train, valid, folds = prepared.train, prepared.valid, prepared.splits.folds
    if folds is not None:
        return train, _numbered(folds)
    return join_batches(train, valid), np.repeat([-1, 0], [len(train.row), len(valid.row)])


def _held_out(training: Training, kind: type[OtherPart], values_NK: np.ndarray) -> Tensor | None:
    """Return a part's out-of-fold predictions in the unit that is blended; None without folds."""
    if training.prepared.splits.folds is None:
        return None
    return kind.in_unit(training.task, torch.from_numpy(values_NK))


def _trees_record(fitted: FittedTrees, training: Training, kind: str) -> dict[str, Any]:
    """Return the body of the record of boosted trees of a kind: "trees" or "symmetric trees"."""
    description = fitted.trees.describe(_columns(training))
    held_out_loss = min((loss for _, loss in fitted.history), default=None)
    sentence = (
        f"{counted(description['trees'], f'boosted {kind[:-1]}')} in "
        f"{counted(description['ensembles'], 'ensemble')}, {counted(fitted.iterations, 'round')} each"
    )
    if columns := description.get("statistics"):
        sentence += f", which see target statistics of {shorten(', '.join(columns), 60)}"
    return {
        **description, "iterations": fitted.iterations,
        "fingerprint": weights_fingerprint(fitted.trees), "seconds": fitted.seconds,
        "learning_rate": fitted.learning_rate,
        "history": [list(pair) for pair in fitted.history], **_compared(sentence, held_out_loss, training),
    }  # fmt: skip


def fit_random_forest(request: PartRequest) -> FittedPart | None:
    """Grow a forest of randomised trees on the training rows, without the validation rows.

    A replay grows as many trees as the first run did.
    """
    training = request.training
    prepared, folds = training.prepared, training.prepared.splits.folds
    options = forest_for(request.recipe, prepared_size(prepared))
    if options is None:
        return None
    if request.first is not None:
        options |= {name: int(request.first[name]) for name in ("trees", "max_leaves")}
    rows = prepared.train
    fitted = fit_forest(
        **_arrays(training, rows), time_limit=request.limit, **options,
        folds_N=np.full(len(rows.row), -1) if folds is None else _numbered(folds),
    )  # fmt: skip
    out_of_fold = _held_out(training, ForestPart, fitted.held_out)
    return FittedPart(ForestPart(fitted.forest), out_of_fold, _forest_record(fitted, training))


def _forest_record(fitted: FittedForest, training: Training) -> dict[str, Any]:
    """Return the body of the record "train/forest"."""
    sentence = f"A forest of {counted(fitted.trees, 'randomised tree')}"
    return {
        **fitted.forest.describe(_columns(training)), "trees": fitted.trees, "max_leaves": fitted.max_leaves,
        "fingerprint": weights_fingerprint(fitted.forest), "seconds": fitted.seconds,
        **_compared(sentence, fitted.held_out_loss, training),
    }  # fmt: skip


def fit_kernel_model(request: PartRequest) -> FittedPart | None:
    """Fit a kernel model to the training rows.

    Without folds the validation rows decide its width and regularisation. A replay tries what the first run tried.
    """
    training = request.training
    prepared = training.prepared
    rows, folds = _rows_in_folds(prepared)
    options = kernel_for(request.recipe, prepared_size(prepared)._replace(rows=len(rows.row)))
    if options is None:
        return None
    if (first := request.first) is not None:
        # Of a fit with a time limit, those that the clock allowed.
        bandwidths = dict.fromkeys(bandwidth for bandwidth, _, _ in first["tried"])
        options |= {"landmarks": int(first["landmarks"]), "bandwidths": list(bandwidths)}
    network_loss = training.history[training.best_epoch].valid_loss
    fitted = fit_kernel(
        **_arrays(training, rows), folds_N=folds, time_limit=request.limit, **options,
        worth=None if network_loss is None else KERNEL_WORTH * network_loss,
    )  # fmt: skip
    out_of_fold = _held_out(training, KernelPart, fitted.held_out)
    return FittedPart(KernelPart(fitted.kernel), out_of_fold, _kernel_record(fitted, training))


def _kernel_record(fitted: FittedKernel, training: Training) -> dict[str, Any]:
    """Return the body of the record "train/kernel"."""
    sentence = (
        f"A kernel model, which compares a row with {counted(fitted.landmarks, 'training row')}: width {fitted.bandwidth:g} "
        f"times their median distance, ridge {fitted.ridge:g}"
    )
    return {
        "landmarks": fitted.landmarks, "bandwidth": fitted.bandwidth, "ridge": fitted.ridge,
        "tried": [list(one) for one in fitted.history], "fingerprint": weights_fingerprint(fitted.kernel),
        "seconds": fitted.seconds, **_compared(sentence, fitted.held_out_loss, training),
    }  # fmt: skip


def fit_nearest_neighbors(request: PartRequest) -> FittedPart | None:
    """Fit a nearest-neighbours model to the training rows.

    Unless it was asked for, its training ends early if the parts that were fitted before hardly need it. Without folds the
    validation rows decide the number of epochs. A replay trains as many epochs as the first run did.
    """
    training = request.training
    rows, folds = _rows_in_folds(training.prepared)
    size = prepared_size(training.prepared)._replace(rows=len(rows.row))
    options = neighbors_for(request.recipe, size)
    if options is None:
        return None
    if (first := request.first) is not None:
        options |= {"epochs": int(first["epochs"]), "patience": None}
    elif NeighborsPart.name not in request.recipe.asked:
        options["worth"] = _worth(request, rows)
    fitted = fit_neighbors(
        **_arrays(training, rows), folds_N=folds, time_limit=request.limit, **options
    )
    out_of_fold = _held_out(training, NeighborsPart, fitted.held_out)
    part = NeighborsPart(fitted.neighbors)
    record = _neighbors_record(fitted, training)
    if first is not None:
        record["stopped"] = first["stopped"]
    return FittedPart(part, out_of_fold, record)


def _worth(request: PartRequest, rows: Batch) -> Worth:
    """Return what says whether a part's held-out predictions of some rows are worth it beside the parts that were fitted before."""
    training = request.training
    task, valid = training.task, training.prepared.valid
    weighted = with_class_weights(rows, training.settings.class_weights, task)
    least = NEIGHBORS_WORTH * least_gain(request.recipe, NeighborsPart.name)
    others: dict[str, Tensor] = {}
    for one in request.fitted:
        if (values := one.out_of_fold) is None:  # no folds: the last rows are the validation rows
            with evaluating(one.part.module):
                values = one.part.values(task, valid.numeric, valid.categorical)
            missing = torch.full((len(rows.row) - len(values), values.shape[1]), torch.nan)
            values = torch.cat([missing, values])
        others[one.part.name] = values

    def worth(held_out: np.ndarray) -> bool:
        own = NeighborsPart.in_unit(task, torch.from_numpy(held_out))
        every = {**others, NeighborsPart.name: own}
        known = ~torch.stack([values.isnan().any(dim=1) for values in every.values()]).any(dim=0)
        used = map_tensors(weighted, lambda x: x[known])
        with_it, without = (
            blended_loss(task, {name: values[known].numpy().astype(np.float64) for name, values in parts.items()}, used)
            for parts in (every, others)
        )  # fmt: skip
        return without > (1 + least) * with_it

    return worth


def _neighbors_record(fitted: FittedNeighbors, training: Training) -> dict[str, Any]:
    """Return the body of the record "train/neighbors"."""
    sentence = (
        f"A nearest-neighbours model, which compares a row with {counted(fitted.references, 'training row')} in each fold: "
        f"{counted(len(fitted.history), 'epoch')}, the weights of epoch {fitted.best_epoch} are kept"
    )
    return {
        "references": fitted.references, "epochs": len(fitted.history), "best_epoch": fitted.best_epoch,
        "stopped": fitted.stopped, "history": [list(one) for one in fitted.history],
        "fingerprint": weights_fingerprint(fitted.neighbors), "seconds": fitted.seconds,
        **_compared(sentence, fitted.held_out_loss, training),
    }  # fmt: skip


PART_FITS: dict[str, Callable[[PartRequest], FittedPart | None]] = {
    NetworkPart.name: fit_network,
    SecondNetworkPart.name: fit_second_network,
    TreesPart.name: fit_boosted_trees,
    SymmetricTreesPart.name: fit_symmetric_trees,
    ForestPart.name: fit_random_forest,
    KernelPart.name: fit_kernel_model,
    NeighborsPart.name: fit_nearest_neighbors,
}
"""By the name of each entry of `PARTS`, in the same order, the function that fits it."""
