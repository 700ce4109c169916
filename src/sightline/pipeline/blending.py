"""What the blend of some parts comes to on held-out rows.

Letters: N held-out rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from sightline.contracts import Batch
from sightline.predict.calibration import Blend
from sightline.predict.task import Task


def blend_parts(
    task: Task, parts: Mapping[str, np.ndarray], rows: Batch
) -> tuple[Blend, np.ndarray]:
    """Fit the weights of parts on held-out rows; return them, and the blended values.

    Args:
        task: What is predicted.
        parts: By part, the values that are blended, float64 [N, K]: log-probabilities or numbers.
        rows: The rows' targets and weights.

    Returns:
        The blend, and probabilities or numbers, [N, K].
    """
    truth, weight = rows.target.numpy(), row_weights(rows)
    if task.classification:
        blend = Blend.fit(parts, truth, weight)
        probabilities: np.ndarray = blend.combine(parts)["probabilities"]
        return blend, probabilities
    numbers = {name: values[:, 0] for name, values in parts.items()}
    blend = Blend.fit_values(numbers, truth, weight)
    values_N = np.sum([blend.weights[name] * values for name, values in numbers.items()], axis=0)
    return blend, values_N[:, None]


def blended_loss(task: Task, parts: Mapping[str, np.ndarray], rows: Batch) -> float:
    """Return the held-out loss of the best blend of some parts: log loss, or root mean square error."""
    loss = mean_loss(task, rows, blend_parts(task, parts, rows)[1])
    return loss if task.classification else loss**0.5


def mean_loss(task: Task, rows: Batch, values_NK: np.ndarray) -> float:
    """Return the mean loss of predictions over weighted rows."""
    losses = task.value_losses(torch.from_numpy(values_NK), rows.target).double()
    weight = torch.ones_like(losses) if rows.weight is None else rows.weight.double()
    return float((losses * weight).sum() / weight.sum())


def row_weights(rows: Batch) -> np.ndarray | None:
    """Return the rows' weights, float64; None without."""
    return None if rows.weight is None else rows.weight.numpy().astype(np.float64)
