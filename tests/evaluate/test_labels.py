import numpy as np
import pytest

import sightline as sl
from sightline.evaluate.labels import doubtful_labels


def rows(seed, strength, wrong=0.0, count=800, base=0.0):
    """Return a perfect model's probabilities, and labels of which a share is swapped at random.

    The larger the strength, the less the two classes overlap.
    """
    random = np.random.default_rng(seed)
    positive = 1 / (1 + np.exp(-strength * random.normal(size=count) - base))
    truth = (random.uniform(size=count) < positive) ^ (random.uniform(size=count) < wrong)
    known = wrong + (1 - 2 * wrong) * positive  # what a model learns of such labels
    return np.stack([1 - known, known], axis=1), truth.astype(int)


@pytest.mark.parametrize("wrong", [0.2, 0.3])
def test_labels_that_are_wrong_at_random_are_named(wrong):
    said = [doubtful_labels("a model", *rows(seed, 16.0, wrong)) for seed in range(100)]
    assert sum(one is not None for one in said) >= 80
    one = next(filter(None, said))
    assert one.startswith("Labels may be wrong: of the 200 rows that a model is surest of, ")


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0, 20.0])
@pytest.mark.parametrize("base", [0.0, 1.5, 4.0])
def test_classes_that_overlap_are_not(strength, base):
    """At most 2 in 100 clean tables get the sentence, however much their classes overlap."""
    said = [doubtful_labels("a model", *rows(seed, strength, base=base)) for seed in range(200)]
    assert sum(one is not None for one in said) <= 4


def test_few_rows_say_nothing():
    assert doubtful_labels("a model", *rows(0, 8.0, 0.3, count=399)) is None


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_the_verdict_of_a_run_says_so(wrong, tmp_path):
    random = np.random.default_rng(0)
    side = random.random(1_200) < 0.5
    x = random.normal(size=(1_200, 3)) + np.where(side, 1.0, -1.0)[:, None]
    label = np.where(side ^ (random.random(1_200) < wrong), "yes", "no")
    table = {**{f"x{j}": column for j, column in enumerate(x.T)}, "y": label}
    run = sl.fit(table, "y", test=600, network="MLP", epochs=3, run=tmp_path / "r", report=False, quiet=True)  # fmt: skip
    verdict = run.find("predict", "baselines")[0].body["verdict"]
    assert ("Labels may be wrong: of the 150 rows that " in verdict) == (wrong > 0)


def test_the_penguins_are_not_in_doubt(penguins, tmp_path):
    run = sl.fit(penguins, "sex", test=0.7, network="MLP", epochs=3, run=tmp_path / "r", report=False, quiet=True)  # fmt: skip
    assert "Labels" not in run.find("predict", "baselines")[0].body["verdict"]
