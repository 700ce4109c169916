"""Makes the final model from a finished training: its parts, their weights, calibration.

Letters: N held-out rows, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.modes import evaluating
from sightline.contracts import Batch
from sightline.errors import InternalError, counted
from sightline.load.batches import map_tensors
from sightline.pipeline.blending import blend_parts, blended_loss, mean_loss, row_weights
from sightline.pipeline.deadline import Budget
from sightline.pipeline.parts import PART_FITS, FittedPart, PartRequest
from sightline.pipeline.recipe import Recipe, least_gain
from sightline.pipeline.selection import Selection, select_parts
from sightline.predict.calibration import LEAST_TOTAL_WEIGHT
from sightline.predict.conformal import Conformal
from sightline.predict.model import Model
from sightline.predict.parts import NetworkPart
from sightline.predict.threshold import FEWEST_ROWS_OF_A_CLASS, Threshold, find_threshold
from sightline.train.evaluation import with_class_weights
from sightline.train.training import Training


@dataclass(frozen=True)
class Finished:
    """The final model, and what was computed while it was made.

    Attributes:
        model: The model.
        part_records: The bodies of the records "train/<part>" by part, such as "trees".
        held_out: The rows that the parts' weights and the temperature were fitted on: `source` in words, `rows`; or None.
        held_out_values: The calibrated model's probabilities [M, K] or numbers [M, 1] of the rows that sets or intervals
            were fitted on, and their targets [M]; None without them. They are the same rows, or the newest of them.
        held_out_loss: The loss on the latter rows, or `eval_metric` as a loss: of rows that no part was trained on, but that
            the parts' weights and the temperature were fitted on. None where the model was not calibrated.
        out_of_fold: Out-of-fold probabilities [N, K] or numbers [N, 1] of the training rows, or of those that stand for
            the time to come (`Splits.newest`); None without folds, or if the trees hold out only one of several folds.
        time_limit: The body of the record "train/time_limit"; None without a limit.
    """

    model: Model
    part_records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    held_out: dict[str, Any] | None = None
    held_out_values: tuple[np.ndarray, np.ndarray] | None = None
    held_out_loss: float | None = None
    out_of_fold: np.ndarray | None = None
    time_limit: dict[str, Any] | None = None


@dataclass(frozen=True)
class HeldOut:
    """Predictions for rows that the parts were not trained on, for weights and calibration.

    Attributes:
        rows: The rows, with their targets and weights.
        parts: The values of each part that are blended, float64 [N, K]: log-probabilities or numbers.
        source: Which rows these are, in words.
        latest: Which of them stand for the time to come, bool [N]; None where all do.
        complete: Whether these are all training rows.
    """

    rows: Batch
    parts: Mapping[str, np.ndarray]
    source: str
    complete: bool
    latest: np.ndarray | None = None

    def newest(self, values_NK: np.ndarray) -> np.ndarray:
        """Return those of the rows' values that are of the rows that stand for the time to come."""
        return values_NK if self.latest is None else values_NK[self.latest]

    def to_come(self) -> HeldOut:
        """Return the rows that stand for the time to come."""
        if self.latest is None:
            return self
        chosen, count = torch.from_numpy(self.latest), int(self.latest.sum())
        return replace(
            self, rows=map_tensors(self.rows, lambda x: x[chosen]), latest=None,
            parts={name: self.newest(values) for name, values in self.parts.items()},
            source=f"out-of-fold predictions of {counted(count, 'newest training row')}",
        )  # fmt: skip


def finish(
    training: Training,
    recipe: Recipe,
    apart: Batch | None,
    budget: Budget | None = None,
    first: Mapping[str, Mapping[str, Any]] | None = None,
) -> Finished:
    """Make the final model from a finished training.

    Args:
        training: The finished training; its best weights are used.
        recipe: Which other parts the model has, and whether it is calibrated.
        apart: The validation rows that `set_apart` kept for calibration.
        budget: How many seconds each part may take; None means no limit.
        first: Of a replay, the records of the first run's parts, by part: no other parts are made. Else None.

    Raises:
        NetworkError: The loss with the best weights is not a finite number.
    """
    budget = Budget() if budget is None else budget
    model = training.model()
    if isinstance(recipe.threshold, int | float):
        model.threshold = Threshold.given(recipe.threshold)
    if not recipe.calibrate or (training.prepared.splits.folds is None and apart is None):
        return Finished(model, time_limit=budget.record())
    network = model.fitted_parts[NetworkPart.name]
    fitted = _fitted_parts(PartRequest(training, network, recipe), budget, first)
    model.fitted_parts = {result.part.name: result.part for result in fitted}
    held_out = _out_of_fold(training, fitted) if apart is None else _set_apart_rows(model, apart)
    selection = _select(training, held_out, recipe)
    model.fitted_parts = {name: model.fitted_parts[name] for name in selection.kept}
    held_out = replace(held_out, parts={name: held_out.parts[name] for name in selection.kept})
    to_come = held_out.to_come()
    every = _calibrate(model, held_out, to_come, training, recipe)
    values = held_out.newest(every)
    loss = _loss(training, to_come.rows, values)
    # Such as the area under the curve, if the newest rows are of one class.
    if not math.isfinite(loss):
        loss = _loss(training, held_out.rows, every)
    return Finished(
        model,
        {
            result.part.name: _with_selection(result.part.name, result.record, selection)
            for result in fitted
            if result.record is not None
        },
        {"source": held_out.source, "rows": len(held_out.rows.row)},
        (values, to_come.rows.target.numpy()),
        loss,
        values if held_out.complete or held_out.latest is not None else None,
        budget.record(),
    )


def _fitted_parts(
    request: PartRequest, budget: Budget, first: Mapping[str, Mapping[str, Any]] | None
) -> list[FittedPart]:
    """Fit the parts one after another: those for which there is time, or of a replay those of the first run."""
    fitted: list[FittedPart] = []
    for name, fit in PART_FITS.items():
        request = replace(request, fitted=tuple(fitted))
        if name == NetworkPart.name:
            part = fit(request)
        elif first is not None:
            part = fit(replace(request, first=first[name])) if name in first else None
        else:
            seconds = budget.seconds(name)
            part = None if seconds == 0 else fit(replace(request, limit=seconds))
        if part is not None:
            fitted.append(part)
    return fitted


def _out_of_fold(training: Training, fitted: list[FittedPart]) -> HeldOut:
    """Return the training rows with their out-of-fold predictions.

    On a large table the trees hold out only one fold. Then only the rows of that fold have predictions
    of every part, and only they are returned.
    """
    rows, latest = training.prepared.train, training.prepared.splits.newest
    parts = {}
    for result in fitted:
        if result.out_of_fold is None:
            raise InternalError(f"The part {result.part.name!r} has no out-of-fold predictions.")
        parts[result.part.name] = result.out_of_fold
    known = ~torch.stack([values.isnan().any(dim=1) for values in parts.values()]).any(dim=0)
    complete = bool(known.all())
    if not complete:
        rows = map_tensors(rows, lambda x: x[known])
        parts = {name: values[known] for name, values in parts.items()}
        latest = None if latest is None else latest[known.numpy()]
    source = f"out-of-fold predictions of {counted(len(rows.row), 'training row')}"
    if latest is not None and not latest.all():
        source += f", of which the newest {latest.sum():,} count as much as all others together"
    return HeldOut(rows, _as_float64(parts), source, complete, latest)


def _set_apart_rows(model: Model, apart: Batch) -> HeldOut:
    """Return the validation rows that were kept for calibration, with the model's predictions."""
    with evaluating(*model.modules):
        parts = model.parts(apart.numeric, apart.categorical)
    source = f"{counted(len(apart.row), 'validation row')} not used for early stopping"
    return HeldOut(apart, _as_float64(parts), source, complete=False)


def _as_float64(parts: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: values.numpy().astype(np.float64) for name, values in parts.items()}


def _select(training: Training, held_out: HeldOut, recipe: Recipe) -> Selection:
    """Choose the parts that lower the held-out loss enough; the network always stays, and what was asked for."""
    rows, task = _favoured(training, held_out), training.task

    always = {NetworkPart.name, *recipe.asked}
    return select_parts(
        held_out.parts, always, lambda name: least_gain(recipe, name),
        lambda parts: blended_loss(task, parts, rows),
    )  # fmt: skip


def _with_selection(name: str, record: dict[str, Any], selection: Selection) -> dict[str, Any]:
    """Add to the record of a part whether the model keeps it, and why not."""
    if (gain := selection.gains.get(name)) is None:  # it had to stay
        return record
    record = {**record, "gain": gain, "kept": name in selection.kept}
    if not record["kept"]:
        much = f"only {100 * gain:.2g} % higher" if gain > 0 else "not higher"
        why = f"left out of the model, whose held-out loss is {much} without it"
        record["said"] = f"{record['said']}; {why}" if "said" in record else why
    return record


def _calibrate(
    model: Model, held_out: HeldOut, to_come: HeldOut, training: Training, recipe: Recipe
) -> np.ndarray:
    """Fit the model's blend on held-out rows, conformal scores and threshold on those that stand for the time to come.

    Returns:
        The blended values of all held-out rows, [N, K].
    """
    rows, task = to_come.rows, training.task
    truth, weight = rows.target.numpy(), row_weights(rows)
    model.blend, every_NK = blend_parts(task, held_out.parts, _favoured(training, held_out))
    values_NK = held_out.newest(every_NK)
    if not task.classification:
        values_N = values_NK[:, 0]
        model.conformal = Conformal.fit_numbers(values_N, truth, weight, source=to_come.source)
        return every_NK
    model.conformal = Conformal.fit_classes(values_NK, truth, weight, source=to_come.source)
    if isinstance(recipe.threshold, str):
        positive = model.spec.target.positive
        assert positive is not None  # `divide` refuses a threshold for other targets
        index = model.classes.index(positive)
        # Of the newest rows a class may have too few.
        if np.bincount(truth == index, minlength=2).min() < FEWEST_ROWS_OF_A_CLASS:
            rows, values_NK = held_out.rows, every_NK
        model.threshold = find_threshold(
            values_NK[:, index], rows.target.numpy() == index, recipe.threshold, row_weights(rows)
        )
    return every_NK


def _loss(training: Training, rows: Batch, values_NK: np.ndarray) -> float:
    """Return the loss of predictions, or `eval_metric` as a loss; lower is better."""
    task = training.task
    rows = map_tensors(rows, lambda x: x.cpu())
    if (score := training.state.data.eval_metric) is not None:
        return score.as_loss(score.of(torch.from_numpy(values_NK), rows, task.target))
    return mean_loss(task, rows, values_NK)


def _weighted(training: Training, rows: Batch) -> Batch:
    """Weight rows by their classes, if the fit does."""
    return with_class_weights(rows, training.settings.class_weights, training.task)


def _favoured(training: Training, held_out: HeldOut) -> Batch:
    """Weight held-out rows by their classes, if the fit does, and those that stand for the time to come as all others.

    Weights that are fitted on the newest rows alone follow chance and the season (docs/decisions.md).
    """
    rows, latest = _weighted(training, held_out.rows), held_out.latest
    if latest is None or latest.all():
        return rows
    weight = np.ones(len(latest)) if (own := row_weights(rows)) is None else own
    total = weight.sum()
    for part in (latest, ~latest):
        weight[part] *= total / (2 * max(weight[part].sum(), LEAST_TOTAL_WEIGHT))
    return rows._replace(weight=torch.from_numpy(weight).float())
