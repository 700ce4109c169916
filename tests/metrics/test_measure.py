import math

import numpy as np
import pytest

from sightline.contracts import Target
from sightline.metrics.measure import measure

BINARY = Target("y", "classification", ("no", "yes"), "yes")
THREE = Target("y", "classification", ("a", "b", "c"))


def test_binary_metrics_by_hand():
    values = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], np.float32)
    found = measure(BINARY, values, np.array([0, 0, 1, 1]), np.array([0.6, 0.4]))
    assert (found["rows"], found["accuracy"], found["roc_auc"]) == (4, 0.75, 1.0)
    expected = -np.mean(np.log([0.9, 0.4, 0.7, 0.8]))
    assert found["log_loss"] == pytest.approx(expected, rel=1e-6)
    assert found["confusion"] == [[1, 1], [0, 2]]
    no, yes = found["classes"]
    assert (no["class"], no["precision"], no["recall"], no["rows"]) == ("no", 1.0, 0.5, 2)
    assert (yes["precision"], yes["recall"], yes["f1"]) == pytest.approx((2 / 3, 1.0, 0.8))
    assert found["positive"] == "yes"
    assert "majority class, no" in found["baseline"]["what"]
    assert found["baseline"]["accuracy"] == 0.5
    assert found["baseline"]["log_loss"] == pytest.approx(-np.mean(np.log([0.6, 0.6, 0.4, 0.4])))


def test_auc_is_that_of_the_positive_class():
    values = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    truth = np.array([0, 1, 0])
    first = Target("y", "classification", ("no", "yes"), "no")
    assert measure(first, values, truth, np.array([0.5, 0.5]))["roc_auc"] == 1.0
    turned = values[:, ::-1]
    assert measure(BINARY, turned, truth, np.array([0.5, 0.5]))["roc_auc"] == 0.0


def test_average_precision_of_two_classes():
    values = np.array([[0.1, 0.9], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    found = measure(BINARY, values, np.array([0, 1, 0, 1]), np.array([0.5, 0.5]))
    assert found["average_precision"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found["baseline"]["average_precision"] == 0.5
    alone = measure(BINARY, values, np.ones(4, np.int64), np.array([0.5, 0.5]))
    assert alone["average_precision"] is alone["baseline"]["average_precision"] is None
    three = measure(THREE, np.full((3, 3), 1 / 3), np.array([0, 1, 2]), np.full(3, 1 / 3))
    assert "average_precision" not in three


def test_auc_of_three_classes_is_the_mean_over_those_that_are_there():
    values = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1]])
    found = measure(THREE, values, np.array([0, 1, 1]), np.full(3, 1 / 3))
    assert found["roc_auc"] == 1.0
    assert found["classes"][2] == {
        "class": "c", "precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0,
    }  # fmt: skip


def test_one_class_alone_has_no_auc():
    values = np.array([[0.8, 0.2], [0.3, 0.7]])
    found = measure(BINARY, values, np.array([1, 1]), np.array([0.5, 0.5]))
    assert found["roc_auc"] is None
    assert found["baseline"]["roc_auc"] is None
    assert found["accuracy"] == 0.5


def test_a_class_that_no_row_is_given_is_named_with_what_finds_it():
    truth = np.array([0] * 18 + [1] * 2)
    values = np.tile([0.9, 0.1], (20, 1))

    def notes(target, values, truth, guessed=None):
        shares = np.full(len(target.classes), 1 / len(target.classes))
        return measure(target, values, truth, shares, guessed)["notes"]

    (said,) = notes(BINARY, values, truth)
    assert said.startswith(
        "No row is predicted as yes (2 rows): its probability is never large enough."
    )
    assert "threshold='f1' (--threshold f1) moves the decision threshold" in said
    (turned,) = notes(BINARY, values[:, ::-1], 1 - truth)
    assert "threshold='f1' (--threshold f1) with positive='no' (--positive) moves" in turned
    three = np.tile([0.5, 0.3, 0.2], (20, 1))
    (many,) = notes(THREE, three, truth)  # of c there is no row: nothing to say of it
    assert "as b (2 rows)" in many
    assert "threshold" not in many
    chosen = measure(BINARY, values, truth, np.array([0.9, 0.1]), 0 * truth, True)["notes"]
    assert chosen[0].endswith("never large enough. Give another threshold (--threshold).")
    assert not notes(BINARY, values, truth, guessed=truth)
    assert not notes(BINARY, values[:19], truth[1:])
    assert not notes(BINARY, values, np.zeros(20, int))


def test_a_probability_of_zero_for_the_truth_costs_much_but_not_infinity():
    found = measure(BINARY, np.array([[1.0, 0.0]]), np.array([1]), np.array([1.0, 0.0]))
    assert 80 < found["log_loss"] < 100
    assert math.isfinite(found["baseline"]["log_loss"])


def test_numbers_below_zero_where_there_are_none_are_told():
    target = Target("y", "regression")
    values, zero = np.array([[-1.0], [3.0]]), np.array([1.0])
    (said,) = measure(target, values, np.array([0.0, 2.0]), zero)["notes"]
    assert said.startswith("1 of 2 predictions is below 0, and no true number is")
    assert not measure(target, values, np.array([-0.1, 2.0]), zero)["notes"]
    assert not measure(target, np.abs(values), np.array([0.0, 2.0]), zero)["notes"]


def test_regression_metrics_by_hand():
    target = Target("y", "regression")
    found = measure(target, np.array([[1.0], [3.0]]), np.array([1.0, 2.0]), np.array([0.0]))
    assert found["rmse"] == pytest.approx(0.5**0.5)
    assert (found["mae"], found["r2"], found["rows"]) == (0.5, -1.0, 2)
    assert found["baseline"]["rmse"] == pytest.approx(2.5**0.5)


@pytest.mark.parametrize("truth", [[2.0], [2.0, 2.0]])
def test_r2_needs_two_different_values(truth):
    values = np.ones((len(truth), 1))
    found = measure(Target("y", "regression"), values, np.array(truth), np.array([2.0]))
    assert found["r2"] is None
    assert found["rmse"] == 1.0


def test_classes_that_rows_are_given_may_be_others_than_the_likeliest():
    target = Target("y", "classification", ("no", "yes"), "yes")
    values, truth = np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])
    likeliest = measure(target, values, truth, np.array([0.5, 0.5]))
    moved = measure(target, values, truth, np.array([0.5, 0.5]), np.array([0, 1]))
    assert (likeliest["accuracy"], moved["accuracy"]) == (0.5, 1.0)
    assert moved["confusion"] == [[1, 0], [0, 1]]
    assert moved["log_loss"] == likeliest["log_loss"]


def test_a_class_without_training_rows_is_not_blamed_on_its_probability():
    target = Target("y", "classification", ("a", "b", "c"))
    values = np.tile([0.6, 0.4, 0.0], (40, 1))
    body = measure(target, values, np.arange(40) % 3, np.array([0.5, 0.5, 0.0]))
    assert "never large enough" in body["notes"][0]  # b has training rows
    body = measure(
        target, values[:, [0, 1, 2]], np.where(np.arange(40) % 2, 0, 2), np.array([0.5, 0.5, 0.0])
    )
    assert (
        "no training row is of this class, so the model cannot learn to predict it"
        in body["notes"][0]
    )
    assert "balanced" not in body["notes"][0]


def test_a_useless_model_is_not_told_to_predict_a_logarithm():
    target, truth = Target("y", "regression"), np.linspace(1, 5, 20)
    bad, good = np.full((20, 1), -1e6), (truth - 1.1)[:, None]
    assert measure(target, bad, truth, np.array([3.0]))["notes"] == []
    assert "logarithm" in measure(target, good, truth, np.array([3.0]))["notes"][0]
