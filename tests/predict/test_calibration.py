import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.evaluate.curves import calibration_error
from sightline.predict.calibration import Blend, perfect_ece


def drawn(rows=4000, classes=3, seed=0, sharpness=1.0):
    """Log-probabilities that are true when divided by `sharpness`, and truths drawn so."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (random.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1)
    logits = logits * sharpness
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), truth


def loss(logs, truth):
    return -logs[np.arange(len(truth)), truth].mean()


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0, 4.0])
def test_one_part_is_temperature_scaling(sharpness):
    logs, truth = drawn(rows=20_000, sharpness=sharpness)
    blend = Blend.fit({"network": logs}, truth)
    assert blend.temperature == pytest.approx(sharpness, rel=0.08)
    values = blend.combine({"network": logs})["probabilities"]
    assert loss(np.log(values), truth) <= loss(logs, truth) + 1e-9
    right = values.argmax(axis=1) == truth
    assert calibration_error(values.max(axis=1), right)[0] < 0.03


def test_few_rows_change_little():
    logs, truth = drawn(rows=20, sharpness=4.0)
    blend = Blend.fit({"network": logs, "trees": logs}, truth)
    assert blend.weights["network"] == pytest.approx(blend.weights["trees"])
    assert 1.0 < blend.temperature < 2.0  # of 4.0, which so few rows cannot show


def test_the_better_part_counts_more():
    good, truth = drawn()
    random = np.random.default_rng(1)
    bad = good + random.normal(size=good.shape)
    bad -= np.log(np.exp(bad).sum(axis=1, keepdims=True))
    blend = Blend.fit({"network": bad, "trees": good}, truth)
    assert blend.shares["trees"] > 0.8
    assert sum(blend.shares.values()) == pytest.approx(1)


def test_two_views_are_better_than_one():
    truth = drawn()[1]
    random, hot = np.random.default_rng(2), np.eye(3)[drawn()[1]]
    parts = {name: hot + random.normal(size=hot.shape) for name in ("network", "trees")}
    parts = {n: z - np.log(np.exp(z).sum(axis=1, keepdims=True)) for n, z in parts.items()}
    both = loss(np.log(Blend.fit(parts, truth).combine(parts)["probabilities"]), truth)
    for name, logs in parts.items():
        alone = Blend.fit({name: logs}, truth).combine({name: logs})["probabilities"]
        assert both < loss(np.log(alone), truth)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 40))
def test_shares_add_up_to_logits_and_probabilities_to_one(seed, classes, rows):
    random = np.random.default_rng(seed)
    parts = {
        n: np.log(random.dirichlet(np.ones(classes), rows) + 1e-30) for n in ("network", "trees")
    }
    blend = Blend.fit(parts, random.integers(classes, size=rows))
    found = blend.combine(parts)
    np.testing.assert_allclose(sum(found["shares"].values()), found["logits"], rtol=1e-12)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-12)
    odds = np.exp(found["logits"] - found["logits"].max(axis=1, keepdims=True))
    np.testing.assert_allclose(found["probabilities"], odds / odds.sum(axis=1, keepdims=True))
    assert all(weight >= 0 for weight in blend.weights.values())


def test_few_rows_stay_near_equal_weights():
    sure = np.log(np.array([[0.6, 0.4]]))
    blend = Blend.fit({"network": sure, "trees": sure}, np.array([1]))
    assert 0 <= blend.weights["network"] < 0.7


def test_a_part_that_is_worse_than_nothing_ends_flat():
    wrong = np.log(np.array([[0.999, 0.001]] * 2000))
    blend = Blend.fit({"network": wrong}, np.ones(2000, int))
    values = blend.combine({"network": wrong})["probabilities"]
    np.testing.assert_allclose(values, 0.5, atol=0.02)


def test_weights_of_zero_leave_rows_out():
    logs, truth = drawn(500)
    other = truth.copy()
    other[100:] = 0
    weight = (np.arange(500) < 100).astype(float)
    first = Blend.fit({"network": logs}, truth, weight)
    assert first.weights == Blend.fit({"network": logs}, other, weight).weights


def test_numbers_are_averaged():
    random = np.random.default_rng(0)
    truth = random.normal(size=2000)
    parts = {
        "network": truth + random.normal(size=2000),
        "trees": truth + 2 * random.normal(size=2000),
    }
    blend = Blend.fit_values(parts, truth)
    assert blend.weights["network"] == pytest.approx(0.8, abs=0.03)  # by variance: 4 to 1
    assert sum(blend.weights.values()) == pytest.approx(1)
    assert Blend.fit_values({"network": truth}, truth).weights == {"network": 1.0}
    assert Blend.fit_values({"network": truth, "trees": truth}, truth).weights["trees"] == 0.5


def test_three_parts_of_numbers_get_the_weights_of_the_lowest_error():
    random = np.random.default_rng(0)
    truth = random.normal(size=3000) * 100
    deviations = {"network": 10.0, "trees": 20.0, "forest": 40.0}
    parts = {name: truth + size * random.normal(size=3000) for name, size in deviations.items()}
    weights = Blend.fit_values(parts, truth).weights
    inverse = {name: size**-2 for name, size in deviations.items()}
    for name, own in inverse.items():  # the best weights go by the inverse variance
        assert weights[name] == pytest.approx(own / sum(inverse.values()), abs=0.03)
    assert sum(weights.values()) == pytest.approx(1)

    def error(weights):
        return np.square(sum(weights[name] * parts[name] for name in parts) - truth).mean()

    for first in parts:
        for second in parts:
            moved = dict(weights)
            moved[first] += 0.01
            moved[second] -= 0.01
            assert error(weights) <= error(moved) * (1 + 1e-9)


def test_of_three_parts_the_useless_ones_weigh_nothing_and_row_weights_count():
    random = np.random.default_rng(1)
    truth = random.normal(size=400)
    parts = {"a": truth, "b": truth + 50, "c": truth - random.normal(size=400) * 30}
    assert Blend.fit_values(parts, truth).weights == pytest.approx({"a": 1, "b": 0, "c": 0})
    half = np.arange(400) < 200
    parts = {"a": np.where(half, truth, 0), "b": np.where(half, 0, truth), "c": truth * 0}
    assert Blend.fit_values(parts, truth, half * 1.0).weights["a"] == pytest.approx(1)
    perfect = Blend.fit_values(dict.fromkeys("abc", truth), truth).weights
    assert sum(perfect.values()) == pytest.approx(1)


def test_json():
    blend = Blend({"network": 0.3, "trees": 0.9})
    assert Blend.from_json(blend.to_json()) == blend


def test_perfectly_calibrated_probabilities_stay_below_it():
    below = 0
    for seed in range(20):
        logs, truth = drawn(500, seed=seed)
        values = np.exp(logs)
        error, _ = calibration_error(values.max(axis=1), values.argmax(axis=1) == truth)
        below += error <= perfect_ece(values)
    assert below >= 16
