import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

import sightline as sl
from sightline.contracts import Batch, Target
from sightline.errors import OptionError
from sightline.predict.task import Task
from sightline.train import evaluation
from sightline.train.evaluation import evaluate, never_predicted, with_class_weights, yardstick

CLASSES = Task(Target("y", "classification", ("a", "b", "c")))
NUMBER = Task(Target("y", "regression"), center=10.0, scale=4.0)


class Members(nn.Module):
    def __init__(self, K=3):
        super().__init__()
        self.linear = nn.Linear(4, 2 * K)

    def forward(self, numeric, categorical):
        return self.linear(numeric).view(len(numeric), 2, -1)


def rows(task, n=50, weight=None, seed=0):
    random = torch.Generator().manual_seed(seed)
    target = (
        torch.randint(3, (n,), generator=random)
        if task.classification
        else torch.randn(n, generator=random).double() * 4 + 10
    )
    if weight is not None:
        weight = torch.rand(n, *([2] if weight == "BM" else []), generator=random)
    numeric = torch.randn(n, 4, generator=random)
    return Batch(numeric, torch.zeros(n, 0).int(), target, weight, torch.arange(n))


def flat(K):
    linear = nn.Linear(4, K)

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear

        def forward(self, numeric, categorical):
            return self.linear(numeric)

    return Plain()


@pytest.mark.parametrize("task", [CLASSES, NUMBER], ids=["classes", "number"])
@pytest.mark.parametrize("weight", [None, "B", "BM"])
@pytest.mark.parametrize("members", [False, True])
def test_parts_add_up_to_the_whole(task, weight, members, monkeypatch):
    if weight == "BM" and not members:
        pytest.skip("weights for members go with members")
    K = 3 if task.classification else 1
    network, batch = Members(K) if members else flat(K), rows(task, weight=weight)
    with torch.no_grad():
        logits = network(batch.numeric, batch.categorical)
    expected = float(task.loss(logits.double(), batch))
    for size in (16, 1000):
        monkeypatch.setattr(evaluation, "EVALUATION_ROWS", size)
        loss, metric, values = evaluate(network, task, batch)
        assert loss == pytest.approx(expected, rel=1e-6)
        assert torch.allclose(values, task.head(logits))
        score = float(task.score(task.head(logits), batch.target))
        assert metric == pytest.approx(task.mean_score(score, 50))


def test_weights_by_hand():
    batch = rows(CLASSES, weight="B")
    network = flat(3)
    with torch.no_grad():
        losses = F.cross_entropy(network(batch.numeric, None), batch.target, reduction="none")
    expected = float((losses * batch.weight).sum() / batch.weight.sum())
    assert evaluate(network, CLASSES, batch)[0] == pytest.approx(expected, rel=1e-6)
    assert evaluate(network, CLASSES, batch)[0] != pytest.approx(float(losses.mean()), rel=1e-4)


def test_smoothing_is_that_of_cross_entropy():
    network, batch = flat(3), rows(CLASSES)
    with torch.no_grad():
        expected = F.cross_entropy(network(batch.numeric, None), batch.target, label_smoothing=0.2)
    assert evaluate(network, CLASSES, batch, 0.2)[0] == pytest.approx(float(expected), rel=1e-6)


def test_rows_without_weight_make_no_division_by_zero():
    batch = rows(CLASSES)._replace(weight=torch.zeros(50))
    assert evaluate(flat(3), CLASSES, batch)[0] == 0.0


@pytest.mark.parametrize("mode", [True, False])
def test_the_network_is_left_as_it_was(mode):
    network = nn.Module()
    network.norm = nn.BatchNorm1d(4)
    network.forward = lambda numeric, categorical: network.norm(numeric)[:, :3]
    network.train(mode)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, CLASSES, rows(CLASSES))
    assert network.training is network.norm.training is mode
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_classes_never_predicted():
    values = torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    assert never_predicted(CLASSES, values, torch.tensor([0, 1])) == ("a",)
    assert never_predicted(CLASSES, values, torch.tensor([0, 2])) == ("a", "c")
    assert never_predicted(CLASSES, values, torch.tensor([1, 1])) == ()
    shares = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.2, 0.6]])  # the likeliest classes count
    assert never_predicted(CLASSES, values, shares) == ("a", "c")


def test_yardsticks(species, weight, penguins):
    task = Task.fit(species.spec.target, species.train.target)
    shares = np.bincount(species.train.target) / len(species.train.target)
    measured = yardstick(task, species)
    assert measured.classification
    assert measured.guess_loss == pytest.approx(-(shares * np.log(shares)).sum())
    held = species.valid.target
    assert measured.baseline == float((held == int(shares.argmax())).double().mean())
    task = Task.fit(weight.spec.target, weight.train.target)
    errors = weight.valid.target.double() - weight.train.target.double().mean()
    assert yardstick(task, weight).guess_loss == 1.0
    assert yardstick(task, weight).baseline == pytest.approx(float(errors.square().mean().sqrt()))
    alone = sl.prepare(sl.split(sl.read(penguins), target="species", valid=0, test=0))
    assert yardstick(Task(alone.spec.target), alone).baseline == pytest.approx(
        float(torch.bincount(alone.train.target).max()) / len(alone.train.row)
    )


# ------------------------------------------------------------- class weights


def test_balanced_is_scikit_learns():
    batch = rows(CLASSES)._replace(target=torch.tensor([0] * 30 + [1] * 15 + [2] * 5))
    made = with_class_weights(batch, "balanced", CLASSES)
    target = batch.target.numpy()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=target)[target]
    assert made.weight.dtype == torch.float32
    assert np.allclose(made.weight.numpy(), expected)
    assert batch.weight is None  # as it was


def test_a_class_without_rows_does_no_harm():
    batch = rows(CLASSES)._replace(target=torch.tensor([0] * 40 + [1] * 10))
    weight = with_class_weights(batch, "balanced", CLASSES).weight
    assert weight.isfinite().all()
    assert float(weight[0]) == pytest.approx(50 / (3 * 40))


def test_weights_per_class():
    batch = rows(CLASSES)
    made = with_class_weights(batch, {"a": 2.0, "c": 0}, CLASSES)
    assert torch.equal(made.weight, torch.tensor([2.0, 1.0, 0.0])[batch.target])
    assert with_class_weights(batch, None, CLASSES) is batch


@pytest.mark.parametrize("shape", ["B", "BM"])
def test_class_weights_multiply_the_rows_own(shape):
    batch = rows(CLASSES, weight=shape)
    made = with_class_weights(batch, {"a": 2.0, "c": 0.5}, CLASSES)
    own = torch.tensor([2.0, 1.0, 0.5])[batch.target]
    assert torch.equal(made.weight, batch.weight * (own if shape == "B" else own[:, None]))


@pytest.mark.parametrize(
    ("classes", "weights"),
    [
        ((1, 2), {1: 3.0}),
        ((False, True), {False: 3.0}),
        ((0.5, 1.5), {0.5: 3.0}),
        ((1, 2), {"1": 3}),
    ],
)
def test_labels_of_any_type(classes, weights):
    task = Task(Target("y", "classification", classes))
    batch = rows(CLASSES)._replace(target=torch.tensor([0, 1] * 25))
    assert with_class_weights(batch, weights, task).weight[:2].tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("task", "weights", "said"),
    [
        (NUMBER, "balanced", "class_weights are for classes; the target 'y' is a number."),
        (NUMBER, {"a": 1.0}, "class_weights are for classes; the target 'y' is a number."),
        (
            CLASSES,
            {"A": 1.0},
            "class_weights names 'A', which is no class of the target. Did you mean 'a'?",
        ),
        (
            CLASSES,
            {1: 1.0},
            "class_weights names 1, which is no class of the target. The classes are: 'a', 'b', 'c'.",
        ),
        (CLASSES, {"a": -1}, "The weight of class 'a' is -1. Give a number from 0 up."),
        (CLASSES, {"a": math.nan}, "The weight of class 'a' is nan."),
        (CLASSES, {"a": math.inf}, "The weight of class 'a' is inf."),
        (CLASSES, {"a": True}, "The weight of class 'a' is True."),
        (CLASSES, {"a": "2"}, "The weight of class 'a' is '2'."),
    ],
)
def test_bad_class_weights(task, weights, said):
    with pytest.raises(OptionError) as caught:
        with_class_weights(rows(task), weights, task)
    assert str(caught.value).startswith(said)


def test_in_training_class_weights_are_cross_entropys(species):
    """Batches of all rows: the weighted mean is PyTorch's."""
    torch.manual_seed(0)
    training = sl.Training(
        sl.MLP(species.spec, hidden=[4]), species, batch_size=1000, class_weights={"Adelie": 3.0},
        label_smoothing=0.1, precision="float32", device="cpu",
    )  # fmt: skip
    step = next(training.steps())
    weight = torch.tensor([3.0, 1.0, 1.0])
    own = weight[step.batch.target]
    losses = F.cross_entropy(step.logits, step.batch.target, reduction="none", label_smoothing=0.1)
    assert float(step.loss) == pytest.approx(float((losses * own).sum() / own.sum()))
    assert training.valid.weight is None  # validation is of the rows as they are
    assert species.train.weight is None
