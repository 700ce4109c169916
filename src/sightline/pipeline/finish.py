"""From a training that has ended to the model that ships: its parts, their weights, calibration.

Letters: N held-out rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.modes import evaluating
from sightline.contracts import Batch
from sightline.errors import counted
from sightline.load.batches import map_tensors
from sightline.pipeline.parts import PART_FITS, FittedPart, PartRequest
from sightline.pipeline.recipe import (
    Recipe,
)
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.model import Model
from sightline.predict.parts import NetworkPart
from sightline.predict.threshold import find_threshold
from sightline.train.evaluation import with_class_weights
from sightline.train.training import Training


@dataclass(frozen=True)
class Finished:
    """A model, and what finishing it left behind besides its training.

    Attributes:
        model: What ships.
        part_records: The bodies of the records "train/<part>" by part, such as "trees".
        held_out: The rows that it was calibrated on: `source` in words, `rows`; or None.
        out_of_fold: Each training row's probabilities [N, K] or numbers [N, 1], of parts that did
            not learn from it; None without folds, or where the trees hold out one fold alone.
    """

    model: Model
    part_records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    held_out: dict[str, Any] | None = None
    out_of_fold: np.ndarray | None = None

    @property
    def trees(self) -> dict[str, Any] | None:
        """The body of the record "train/trees", or None."""
        return self.part_records.get("trees")


@dataclass(frozen=True)
class HeldOut:
    """Predictions of rows that no part learned from, to weigh and calibrate the parts with.

    Attributes:
        rows: The rows, with their targets and weights.
        parts: float64 [N, K], by part, what is blended: log-probabilities or numbers.
        source: Which rows these are, in words.
        every_row: Whether these are all training rows.
    """

    rows: Batch
    parts: Mapping[str, np.ndarray]
    source: str
    every_row: bool


def finish(
    training: Training,
    recipe: Recipe,
    apart: Batch | None,
    limit: float | None = None,
    rounds: int | None = None,
) -> Finished:
    """Make the model that ships out of a training that has ended.

    Args:
        training: The training, whose best weights are taken.
        recipe: What else belongs to the model.
        apart: The validation rows that `set_apart` kept for calibration.
        limit: Seconds for the boosted trees; None for as long as it takes.
        rounds: Exactly this many boosting rounds, in place of what the clock allows: those of the
            first time, where a run is resumed or replayed.

    Raises:
        NetworkError: The loss with the best weights is not a finite number.
    """
    model = training.model()
    if isinstance(recipe.threshold, int | float):
        model.threshold = find_threshold(np.zeros(0), np.zeros(0, bool), recipe.threshold)
    if not recipe.calibrate or (training.prepared.splits.folds is None and apart is None):
        return Finished(model)
    network = model.fitted_parts[NetworkPart.name]
    request = PartRequest(training, network, recipe, limit, rounds)
    fitted = [part for fit in PART_FITS.values() if (part := fit(request)) is not None]
    model.fitted_parts = {one.part.name: one.part for one in fitted}
    held_out = _out_of_fold(training, fitted) if apart is None else _set_apart_rows(model, apart)
    values = _calibrate(model, held_out, training, recipe)
    return Finished(
        model,
        {one.part.name: one.record for one in fitted if one.record is not None},
        {"source": held_out.source, "rows": len(held_out.rows.row)},
        values if held_out.every_row else None,
    )


def _out_of_fold(training: Training, fitted: list[FittedPart]) -> HeldOut:
    """Return the training rows with their out-of-fold predictions.

    Of a large table the trees hold out one fold alone: then only its rows are known of every part.
    """
    rows = training.prepared.train
    parts = {one.part.name: one.out_of_fold for one in fitted if one.out_of_fold is not None}
    unknown = torch.stack([values.isnan().any(dim=1) for values in parts.values()]).any(dim=0)
    every_row = not bool(unknown.any())
    if not every_row:
        rows = map_tensors(rows, lambda x: x[~unknown])
        parts = {name: values[~unknown] for name, values in parts.items()}
    source = f"out-of-fold predictions of {counted(len(rows.row), 'training row')}"
    return HeldOut(rows, _as_float64(parts), source, every_row)


def _set_apart_rows(model: Model, apart: Batch) -> HeldOut:
    """Return the validation rows that were kept for calibration, with the model's predictions."""
    with evaluating(*model.modules):
        parts = model.parts(apart.numeric, apart.categorical)
    source = f"{counted(len(apart.row), 'validation row')} that stopping never saw"
    return HeldOut(apart, _as_float64(parts), source, every_row=False)


def _as_float64(parts: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: values.numpy().astype(np.float64) for name, values in parts.items()}


def _calibrate(model: Model, held_out: HeldOut, training: Training, recipe: Recipe) -> np.ndarray:
    """Fit the model's blend, conformal scores and threshold; return the blended values [N, K]."""
    rows, parts, task = held_out.rows, held_out.parts, training.task
    truth, weight = rows.target.numpy(), _row_weights(rows)
    if not task.classification:
        numbers = {name: values[:, 0] for name, values in parts.items()}
        model.blend = Blend.fit_values(numbers, truth, weight)
        values_N = sum(model.blend.weights[name] * values for name, values in numbers.items())
        assert isinstance(values_N, np.ndarray)
        model.conformal = Conformal.fit_numbers(values_N, truth, weight, source=held_out.source)
        return values_N[:, None]
    by_class = with_class_weights(rows, training.settings.class_weights, task)
    model.blend = Blend.fit(parts, truth, _row_weights(by_class))
    values_NK: np.ndarray = model.blend.combine(parts)["probabilities"]
    model.conformal = Conformal.fit_classes(values_NK, truth, weight, source=held_out.source)
    if isinstance(recipe.threshold, str):
        positive = model.spec.target.positive
        assert positive is not None  # `divide` refuses a threshold for other targets
        index = model.classes.index(positive)
        model.threshold = find_threshold(
            values_NK[:, index], truth == index, recipe.threshold, weight
        )
    return values_NK


def _row_weights(rows: Batch) -> np.ndarray | None:
    return None if rows.weight is None else rows.weight.numpy().astype(np.float64)
