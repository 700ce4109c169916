"""What the blend of some parts comes to."""

import numpy as np
import pytest
import torch

from sightline.contracts import Batch, Target
from sightline.pipeline.blending import blend_parts, blended_loss, mean_loss, row_weights
from sightline.predict.task import Task


def rows(target, weight=None):
    count = len(target)
    return Batch(
        numeric=torch.zeros(count, 0), categorical=torch.zeros(count, 0, dtype=torch.int32),
        target=torch.tensor(target), weight=None if weight is None else torch.tensor(weight),
        row=torch.arange(count),
    )  # fmt: skip


def test_numbers_are_weighed_by_least_squares_and_the_loss_is_its_root():
    task = Task(Target("y", "regression"), center=0.0, scale=1.0)
    truth = np.linspace(0, 3, 400)
    error = np.where(np.arange(400) % 2, 1.0, -1.0)
    parts = {"network": (truth + error)[:, None], "trees": (truth - error)[:, None]}
    blend, values = blend_parts(task, parts, rows(truth))
    assert blend.weights["network"] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(values[:, 0], truth, atol=0.1)
    assert blended_loss(task, parts, rows(truth)) < 0.1 < blended_loss(task, {"network": parts["network"]}, rows(truth))  # fmt: skip


def test_classes_get_probabilities_and_weights_count():
    task = Task(Target("y", "classification", ("no", "yes"), "yes"))
    truth = np.arange(400) % 2
    logs = np.log(np.where(np.eye(2)[truth] == 1, 0.8, 0.2))
    _, values = blend_parts(task, {"network": logs}, rows(truth))
    np.testing.assert_allclose(values.sum(axis=1), 1)
    wrong = np.where(np.arange(400)[:, None] < 200, values, values[:, ::-1])
    weight = np.where(np.arange(400) < 200, 1.0, 0.0)
    assert mean_loss(task, rows(truth, weight), wrong) == pytest.approx(mean_loss(task, rows(truth), values))  # fmt: skip
    assert mean_loss(task, rows(truth), wrong) > mean_loss(task, rows(truth), values)
    assert row_weights(rows(truth)) is None
    assert row_weights(rows(truth, weight)).dtype == np.float64
