import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as m

from sightline.contracts import Batch, Target
from sightline.errors import OptionError
from sightline.metrics.scores import MEASURES, SCORES, check_eval_metric

TWO = Target("y", "classification", ("no", "yes"), "yes")
THREE = Target("y", "classification", ("a", "b", "c"))
NUMBER = Target("y", "regression")


def rows(classes, seed=0, count=120):
    random = np.random.default_rng(seed)
    values = random.dirichlet(np.ones(classes), count).round(2) + 1e-9
    values /= values.sum(axis=1, keepdims=True)
    truth = np.concatenate([np.arange(classes), random.integers(classes, size=count - classes)])
    return values, truth, random.integers(1, 4, count).astype(float)


THEIRS = {
    "log_loss": lambda v, y, w: m.log_loss(y, v, sample_weight=w),
    "accuracy": lambda v, y, w: m.accuracy_score(y, v.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda v, y, w: m.balanced_accuracy_score(y, v.argmax(1), sample_weight=w),
}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), target=st.sampled_from([TWO, THREE]))
def test_they_are_scikit_learns(seed, target):
    values, truth, weight = rows(len(target.classes), seed)
    for name, theirs in THEIRS.items():
        found = SCORES[name].measure(values, truth, weight, target)
        assert found == pytest.approx(theirs(values, truth, weight)), name
    guessed = values.argmax(axis=1)
    if target is TWO:
        expected = {
            "roc_auc": m.roc_auc_score(truth, values[:, 1], sample_weight=weight),
            "average_precision": m.average_precision_score(
                truth, values[:, 1], sample_weight=weight
            ),
            "f1": m.f1_score(truth, guessed, sample_weight=weight),
            "brier": m.brier_score_loss(truth, values[:, 1], sample_weight=weight),
        }
    else:
        areas = [m.roc_auc_score(truth == k, values[:, k], sample_weight=weight) for k in range(3)]
        off = np.square(values - np.eye(3)[truth]).sum(axis=1)
        expected = {
            "roc_auc": np.mean(areas),
            "average_precision": np.mean(
                [
                    m.average_precision_score(truth == k, values[:, k], sample_weight=weight)
                    for k in range(3)
                ]
            ),
            "f1": m.f1_score(truth, guessed, average="macro", sample_weight=weight),
            "brier": np.average(off, weights=weight),
        }
    for name, theirs in expected.items():
        assert SCORES[name].measure(values, truth, weight, target) == pytest.approx(theirs), name


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_numbers_are_scikit_learns(seed):
    random = np.random.default_rng(seed)
    values, truth, weight = random.normal(size=(50, 1)), random.normal(size=50), random.random(50)
    expected = {
        "rmse": m.root_mean_squared_error(truth, values[:, 0], sample_weight=weight),
        "mae": m.mean_absolute_error(truth, values[:, 0], sample_weight=weight),
        "r2": m.r2_score(truth, values[:, 0], sample_weight=weight),
    }
    for name, theirs in expected.items():
        assert SCORES[name].measure(values, truth, weight, NUMBER) == pytest.approx(theirs), name


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_has_no_area(name, only):
    values = np.full((5, 2), 0.5)
    assert np.isnan(SCORES[name].measure(values, np.full(5, only), np.ones(5), TWO))


def test_average_precision_where_the_best_row_does_not_count():
    values = np.array([[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]])
    found = SCORES["average_precision"].measure(
        values, np.array([1, 0, 1]), np.array([0.0, 1.0, 1.0]), TWO
    )
    assert found == pytest.approx(0.5)


def test_every_metric_is_measured():
    assert list(SCORES) == list(MEASURES)


def test_a_constant_target_has_no_r2():
    assert np.isnan(SCORES["r2"].measure(np.ones((4, 1)), np.ones(4), np.ones(4), NUMBER))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_weights_of_nothing_give_no_number(score):
    values = np.array([[0.5, 0.5]]) if score.task == "classification" else np.array([[0.5]])
    truth = np.array([1]) if score.task == "classification" else np.array([1.0])
    target = TWO if score.task == "classification" else NUMBER
    assert np.isnan(score.measure(values, truth, np.zeros(1), target))


def test_lower_is_better_as_a_loss():
    assert SCORES["roc_auc"].as_loss(0.9) == -0.9
    assert SCORES["rmse"].as_loss(0.9) == 0.9


def test_of_a_batch_with_weights_for_members():
    values, truth, _ = rows(2, count=4)
    weight = torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0], [3.0, 3.0]])
    batch = Batch(torch.zeros(4, 0), torch.zeros(4, 0).int(), torch.from_numpy(truth), weight,
                  torch.arange(4))  # fmt: skip
    found = SCORES["accuracy"].of(torch.from_numpy(values), batch, TWO)
    expected = SCORES["accuracy"].measure(values, truth, np.array([2.0, 1.0, 0.0, 3.0]), TWO)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [("auc", TWO, "Did you mean 'roc_auc'"), ("rmse", TWO, "a metric of regression"),
     ("f1", NUMBER, "a metric of classification"), (7, TWO, "eval_metric is 7")],
)  # fmt: skip
def test_names_that_do_not_fit(name, target, message):
    with pytest.raises(OptionError, match=message):
        check_eval_metric(name, target)
