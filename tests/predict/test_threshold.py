import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from sightline.contracts import Target
from sightline.errors import OptionError
from sightline.predict.threshold import (
    MOST_THRESHOLDS,
    Threshold,
    count_decisions,
    find_threshold,
    possible_thresholds,
)

TARGET = Target("ill", "classification", ("no", "yes"), "yes")
SCORES = {"f1": f1_score, "accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}


def rows(count=300, seed=0):
    random = np.random.default_rng(seed)
    probability = random.beta(1, 4, count).round(3)
    return probability, random.random(count) < probability


@pytest.mark.parametrize("by", SCORES)
def test_no_other_threshold_is_better(by):
    probability, positive = rows()
    found = find_threshold(probability, positive, by)
    score = SCORES[by]
    assert found.score == pytest.approx(score(positive, probability >= found.value))
    assert found.score_at_half == pytest.approx(score(positive, probability >= 0.5))
    tried = [score(positive, probability >= cut) for cut in np.linspace(0, 1, 200)]
    assert found.score >= max(tried) - 1e-9
    assert f"{by} is" in found.words(TARGET)


def test_weights_count_as_rows():
    probability, positive = rows(80)
    weight = np.random.default_rng(1).integers(0, 3, 80)
    weighed = find_threshold(probability, positive, "f1", weight.astype(float))
    repeated = find_threshold(np.repeat(probability, weight), np.repeat(positive, weight), "f1")
    assert weighed.score == pytest.approx(repeated.score)


def test_of_equals_the_one_nearest_a_half():
    found = find_threshold(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]) > 0, "accuracy")
    assert found.value == 0.5


def test_one_given():
    found = find_threshold(*rows(), 0.3)
    assert (found.value, found.by) == (0.3, "given")
    assert "at least 0.3, as requested" in found.words(TARGET)
    assert Threshold.from_json(found.to_json()) == found


def test_the_words_name_the_class_and_say_what_to_doubt():
    probability, positive = rows(1000)
    few = find_threshold(probability[:30], np.arange(30) == 3, "f1")
    frequent = find_threshold(1 - probability, ~positive, "f1").words(TARGET)
    assert "A row is predicted as yes, the positive class, if its probability is at" in frequent
    assert frequent.endswith("to find the other class give positive='no' (--positive).")
    assert few.words(TARGET).endswith(
        "Only 1 of them is yes: with so few the best threshold is mostly chance."
    )
    assert Threshold.from_json({**few.to_json(), "positives": None}).words(TARGET).endswith("rows.")
    rare = find_threshold(probability, positive, "f1").words(TARGET)
    assert not any(word in rare for word in ("chance", "F1 is high"))
    assert "F1 is high" not in find_threshold(1 - probability, ~positive, "accuracy").words(TARGET)


@pytest.mark.parametrize("by", [0, 1, 1.5, -0.1, "f2", True, None])
def test_what_makes_no_sense(by):
    with pytest.raises(OptionError, match="threshold is"):
        find_threshold(*rows(), by)


def plain_counts(probability, positive, threshold):
    """Count the decisions one by one."""
    pairs = [(p >= threshold, bool(y)) for p, y in zip(probability, positive, strict=True)]
    return [
        pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
    ]


@given(st.integers(1, 60), st.integers(0, 2**31), st.integers(1, 4))
def test_the_counts_are_those_of_each_row(count, seed, digits):
    random = np.random.default_rng(seed)
    probability, positive = random.random(count).round(digits), random.random(count) < 0.3
    tried = possible_thresholds(probability, positive, {0.5})
    counted = count_decisions(probability, positive, tried)
    names = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    for i, threshold in enumerate(tried):
        found, wrong, missed, left = plain_counts(probability, positive, threshold)
        assert [counted[name][i] for name in names] == [found, wrong, missed, left]
        assert counted["precision"][i] == (found / (found + wrong) if found + wrong else None)
        assert counted["recall"][i] == (found / (found + missed) if found + missed else None)
        assert counted["flagged"][i] == (found + wrong) / count


def test_every_different_decision_has_a_threshold_where_there_are_few():
    probability, positive = np.array([0.1, 0.1, 0.25, 0.7]), np.array([0, 1, 0, 1]) > 0
    tried = possible_thresholds(probability, positive)
    decided = {tuple(probability >= threshold) for threshold in tried}
    assert len(decided) == len(tried) == 4
    assert all(0 < threshold < 1 for threshold in tried)


def test_many_rows_have_at_most_two_hundred_and_the_rare_class_its_share():
    random = np.random.default_rng(0)
    positive = random.random(50_000) < 0.002
    probability = np.where(positive, random.beta(5, 2, 50_000), random.beta(1, 300, 50_000))
    tried = possible_thresholds(probability, positive, {0.5, 0.37})
    assert 100 < len(tried) <= MOST_THRESHOLDS
    assert {0.5, 0.37} <= set(tried)
    assert (np.diff(tried) > 0).all()
    assert len({tuple(probability[positive] >= threshold) for threshold in tried}) > 80


def test_thresholds_are_short_numbers():
    tried = possible_thresholds(np.array([0.1234567, 0.4321, 0.9]), np.array([0, 1, 1]) > 0)
    assert all(len(str(threshold)) <= 4 for threshold in tried.tolist())


@pytest.mark.parametrize("value", [0, 1, -1, 2, float("nan")])
def test_a_given_threshold_is_between_0_and_1(value):
    with pytest.raises(OptionError, match="threshold is"):
        Threshold.given(value)
