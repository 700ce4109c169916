import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from sightline.errors import OptionError
from sightline.predict.threshold import Threshold, find_threshold

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
    assert f"{by} is" in found.words()


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
    assert "0.3 on, as asked" in found.words()
    assert Threshold.from_json(found.to_json()) == found


@pytest.mark.parametrize("by", [0, 1, 1.5, -0.1, "f2", True, None])
def test_what_makes_no_sense(by):
    with pytest.raises(OptionError, match="threshold is"):
        find_threshold(*rows(), by)
