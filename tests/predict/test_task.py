import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sightline.contracts import Batch, Target
from sightline.predict.task import Task, class_numbers

CLASSES = Task(Target("y", "classification", ("a", "b", "c")))
NUMBER = Task(Target("y", "regression"), center=10.0, scale=4.0)
B, M = 5, 3


def batch_of(task, weight=None, seed=0):
    random = torch.Generator().manual_seed(seed)
    target = (
        torch.randint(3, (B,), generator=random)
        if task.classification
        else torch.randn(B, generator=random) * 4 + 10
    )
    nothing = torch.zeros(B, 0)
    return Batch(nothing, nothing.int(), target, weight, torch.arange(B))


def by_hand(task, logits, batch):
    """The loss in plain Python: a weighted mean over rows and members."""
    K = logits.shape[-1]
    members = logits if logits.dim() == 3 else logits[:, None]
    total = weights = 0.0
    for b in range(B):
        for m in range(members.shape[1]):
            row = [float(members[b, m, k]) for k in range(K)]
            if task.classification:
                loss = math.log(sum(math.exp(x) for x in row)) - row[int(batch.target[b])]
            else:
                loss = (row[0] - (float(batch.target[b]) - task.center) / task.scale) ** 2
            weight = 1.0
            if batch.weight is not None:
                weight = float(batch.weight[b, m] if batch.weight.dim() == 2 else batch.weight[b])
            total, weights = total + weight * loss, weights + weight
    return total / weights


@pytest.mark.parametrize("task", [CLASSES, NUMBER], ids=["classification", "regression"])
@pytest.mark.parametrize("shape", [(B,), (B, M)], ids=["B", "BM"])
@pytest.mark.parametrize("weight", [None, "B", "BM"])
def test_the_loss_is_the_weighted_mean_over_rows_and_members(task, shape, weight):
    if weight == "BM" and len(shape) == 1:
        shape = (B, 1)  # weights for members go with members
    K = 3 if task.classification else 1
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(*shape, K, generator=random) * 2
    weights = {None: (), "B": (B,), "BM": shape}[weight]
    batch = batch_of(task, torch.rand(*weights, generator=random) + 0.1 if weight else None)
    assert float(task.loss(logits, batch)) == pytest.approx(by_hand(task, logits, batch), rel=1e-5)


@pytest.mark.parametrize("task", [CLASSES, NUMBER])
def test_a_row_without_weight_does_not_count(task):
    logits = torch.randn(B, 3 if task.classification else 1, requires_grad=True)
    task.loss(logits, batch_of(task, torch.tensor([1.0, 0, 1, 1, 1]))).backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[0] != 0).any()


def test_probabilities_are_the_mean_of_the_members_after_the_softmax():
    logits = torch.randn(B, M, 3) * 5
    expected = torch.softmax(logits, -1).mean(1)
    assert torch.allclose(CLASSES.head(logits), expected)
    assert not torch.allclose(torch.softmax(logits.mean(1), -1), expected, atol=1e-3)


def test_numbers_come_back_in_the_targets_unit():
    assert NUMBER.head(torch.tensor([[0.0], [1.0]])).tolist() == [[10.0], [14.0]]
    assert NUMBER.head(torch.tensor([[[0.0], [1.0]]])).tolist() == [[12.0]]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30))
def test_a_regression_is_scaled_on_its_training_rows(values):
    target = torch.tensor(values, dtype=torch.float64)
    task = Task.fit(Target("y", "regression"), target)
    assert task.scale > 0
    back = task.head(task.scaled(target)[:, None])[:, 0]
    assert torch.allclose(back, target, rtol=1e-4, atol=1e-4 * float(target.abs().max()) + 1e-30)
    assert task.baseline(target) == pytest.approx(np.array([target.double().mean()]))


def test_a_constant_regression_has_a_scale():
    assert Task.fit(Target("y", "regression"), torch.full((3,), 7.0)).to_json() == {
        "center": 7.0, "scale": 1.0,
    }  # fmt: skip


def test_a_classification_is_not_scaled():
    assert Task.fit(CLASSES.target, torch.tensor([0, 1, 2])).to_json() == {
        "center": 0.0, "scale": 1.0,
    }  # fmt: skip


def test_scores_add_up_to_accuracy_and_rmse():
    values = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    total = float(CLASSES.score(values, torch.tensor([1, 2])))
    assert (CLASSES.metric, CLASSES.mean_score(total, 2)) == ("accuracy", 0.5)
    total = float(NUMBER.score(torch.tensor([[1.0], [5.0]]), torch.tensor([4.0, 1.0])))
    assert (NUMBER.metric, NUMBER.mean_score(total, 2)) == ("rmse", pytest.approx(12.5**0.5))


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        ((3, 7), np.int64), ((0.5, 1.5), np.float64), ((False, True), np.bool_),
        (("a", 'q"uo,te\n😀'), object),
    ],
)  # fmt: skip
def test_labels_come_back_in_the_type_they_came_in(classes, dtype):
    task = Task(Target("y", "classification", classes))
    labels = task.decode(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    assert labels.dtype == dtype
    assert labels.tolist() == list(classes)
    assert task.decode(np.empty((0, 2), np.float32)).dtype == dtype


def test_the_baseline_is_the_training_shares():
    assert CLASSES.baseline(torch.tensor([0, 0, 0, 2])).tolist() == [0.75, 0.0, 0.25]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("members", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_label_smoothing_is_that_of_cross_entropy(smoothing, members, weighted):
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(B, *([M] if members else []), 3, generator=random)
    weight = torch.rand(B, generator=random) if weighted else None
    batch = batch_of(CLASSES, weight)
    every = logits if members else logits[:, None]
    losses = torch.stack(
        [
            F.cross_entropy(every[:, m], batch.target, reduction="none", label_smoothing=smoothing)
            for m in range(every.shape[1])
        ],
        dim=1,
    )
    own = torch.ones(B) if weight is None else weight
    expected = (losses.mean(1) * own).sum() / own.sum()
    assert torch.allclose(CLASSES.loss(logits, batch, smoothing), expected)
    assert torch.allclose(CLASSES.losses(logits, batch.target, smoothing).view(B, -1), losses)
    if smoothing:
        assert not torch.allclose(CLASSES.loss(logits, batch), expected, rtol=1e-3)


def test_smoothing_means_nothing_to_a_number():
    logits = torch.randn(B, 1)
    assert torch.equal(
        NUMBER.loss(logits, batch_of(NUMBER), 0.5), NUMBER.loss(logits, batch_of(NUMBER))
    )


@pytest.mark.parametrize("task", [CLASSES, NUMBER])
@pytest.mark.parametrize("shape", [(B,), (B, M)])
def test_a_batch_of_rows_without_weight_teaches_nothing(task, shape):
    logits = torch.randn(*shape, 3 if task.classification else 1, requires_grad=True)
    loss = task.loss(logits, batch_of(task, torch.zeros(B)))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("task", [CLASSES, NUMBER])
def test_members_weights_choose_among_members(task):
    logits = torch.randn(B, M, 3 if task.classification else 1)
    weight = torch.zeros(B, M)
    weight[:, 1] = 1.0
    expected = task.loss(logits[:, 1], batch_of(task))
    assert torch.allclose(task.loss(logits, batch_of(task, weight)), expected)


# ------------------------------------------------------------- probabilities as targets


@pytest.mark.parametrize("shape", [(B,), (B, M)], ids=["B", "BM"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_probabilities_is_the_mean_of_the_losses_of_the_classes(shape, weighted):
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(*shape, 3, generator=random)
    shares = torch.rand(B, 3, generator=random).softmax(dim=1)
    batch = batch_of(CLASSES, torch.rand(B, generator=random) + 0.1 if weighted else None)
    each = torch.stack([CLASSES.losses(logits, torch.full((B,), k)) for k in range(3)], dim=-1)
    wanted = (each * (shares if len(shape) == 1 else shares[:, None])).sum(dim=-1)
    torch.testing.assert_close(CLASSES.losses(logits, shares), wanted)
    weight = torch.ones(B) if batch.weight is None else batch.weight
    mean = wanted if len(shape) == 1 else wanted.mean(dim=1)
    loss = CLASSES.loss(logits, batch._replace(target=shares))
    torch.testing.assert_close(loss, (mean * weight).sum() / weight.sum())
    if len(shape) == 1:
        torch.testing.assert_close(CLASSES.value_losses(CLASSES.head(logits), shares), wanted)


def test_probabilities_of_one_class_are_that_class():
    batch = batch_of(CLASSES)
    sure = F.one_hot(batch.target, 3).float()
    logits = torch.randn(B, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(class_numbers(sure), batch.target)
    torch.testing.assert_close(
        CLASSES.loss(logits, batch._replace(target=sure)), CLASSES.loss(logits, batch)
    )
    values = CLASSES.head(logits)
    assert CLASSES.score(values, sure) == CLASSES.score(values, batch.target)
    np.testing.assert_allclose(CLASSES.baseline(sure), CLASSES.baseline(batch.target))
