from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import OptionError
from sightline.predict.conformal import KEPT_SCORES, Conformal


def classes(rows, seed, sharpness=1.0):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, 4)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (random.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=3)
    odds = np.exp(logits * sharpness)
    return odds / odds.sum(axis=1, keepdims=True), truth


@pytest.mark.parametrize("sharpness", [1.0, 3.0])  # true probabilities, and far too sure ones
@pytest.mark.parametrize("rows", [60, 600])
def test_sets_hold_the_truth_as_often_as_they_promise(rows, sharpness):
    covered = []
    for seed in range(60):
        values, truth = classes(rows + 500, seed, sharpness)
        conformal = Conformal.fit_classes(values[:rows], truth[:rows], source="some")
        sets = conformal.sets(values[rows:], 0.1)
        covered.append(sets[np.arange(500), truth[rows:]].mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


def test_intervals_hold_the_truth_as_often_as_they_promise():
    covered, random = [], np.random.default_rng(0)
    for _ in range(60):
        values = random.normal(size=900)
        truth = values + random.exponential(size=900)  # on one side
        conformal = Conformal.fit_numbers(values[:400], truth[:400], source="some")
        low, high = conformal.interval(values[400:], 0.1).T
        covered.append(((low <= truth[400:]) & (truth[400:] <= high)).mean())
        assert (low < high).all()
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


def test_a_model_that_is_nearly_always_right_has_empty_sets():
    """Else they would hold the truth more often than they promise."""
    random = np.random.default_rng(0)
    sure = random.uniform(0.9, 1.0, 16_000)
    values, truth = np.stack([sure, 1 - sure], axis=1), np.zeros(16_000, int)
    conformal = Conformal.fit_classes(values[:8000], truth[:8000], source="some")
    sets = conformal.sets(values[8000:], 0.1)
    assert sets[:, 0].mean() == pytest.approx(0.9, abs=0.015)
    assert not sets[:, 1].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.02, 0.5), st.floats(0.02, 0.5))
def test_a_smaller_alpha_holds_all_of_a_larger_ones(seed, first, second):
    values, truth = classes(200, seed)
    low, high = sorted((first, second))
    conformal = Conformal.fit_classes(values, truth, source="all")
    assert (conformal.sets(values, low) >= conformal.sets(values, high)).all()
    numbers = Conformal.fit_numbers(values[:, 0], values[:, 1], source="all")
    wide, narrow = numbers.interval(values[:, 0], low), numbers.interval(values[:, 0], high)
    assert (wide[:, 0] <= narrow[:, 0] + 1e-12).all()
    assert (wide[:, 1] >= narrow[:, 1] - 1e-12).all()


def test_equal_scores():
    values = np.tile([[0.7, 0.3]], (100, 1))
    conformal = Conformal.fit_classes(values, np.zeros(100, int), source="all")
    assert conformal.sets(values, 0.1)[:, 0].all()


def test_many_rows_are_kept_as_quantiles():
    values, truth = classes(50_000, 0)
    conformal = Conformal.fit_classes(values, truth, source="all")
    assert len(conformal.scores) == KEPT_SCORES
    assert conformal.rows == 50_000
    few = classes(20_000, 1)
    assert conformal.coverage(*few, 0.1)["coverage"] == pytest.approx(0.9, abs=0.01)


def test_weights():
    values, truth = classes(400, 0)
    weight = (np.arange(400) < 200).astype(float)
    first = Conformal.fit_classes(values, truth, weight, source="all")
    second = Conformal.fit_classes(values[:200], truth[:200], source="all")
    assert first.rows == 200
    assert (first.sets(values, 0.1) == second.sets(values, 0.1)).all()
    heavy = Conformal.fit_numbers(np.zeros(10), np.arange(10.0), np.arange(10) + 1.0, source="all")
    assert heavy._quantile(0.5) > 5  # the large ones weigh more


def test_what_it_says():
    values, truth = classes(500, 0)
    said = Conformal.fit_classes(values, truth, source="all").coverage(values, truth, 0.1)
    assert sum(said["sizes"]) == said["rows"] == 500
    assert said["mean_size"] == pytest.approx(np.arange(5) @ said["sizes"] / 500)
    assert "90 % sets contain the true class in 9" in said["said"]
    numbers = Conformal.fit_numbers(np.zeros(500), np.arange(500.0), source="all")
    said = numbers.coverage(np.zeros((500, 1)), np.arange(500.0), 0.2)
    assert said["mean_width"] == said["median_width"] > 300


def test_json():
    values, truth = classes(50, 0)
    first = Conformal.fit_classes(values, truth, source="all")
    again = Conformal.from_json(first.to_json(), first.arrays())
    assert (again.sets(values, 0.2) == first.sets(values, 0.2)).all()
    assert again.source == "all"


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "0.1", True, float("nan")])
def test_an_alpha_that_makes_no_sense(alpha):
    values, truth = classes(50, 0)
    with pytest.raises(OptionError, match="alpha is"):
        Conformal.fit_classes(values, truth, source="all").sets(values, alpha)


def test_too_few_rows_for_an_alpha():
    values, truth = classes(8, 0)
    with pytest.raises(OptionError, match=r"allow no alpha below 0\.11"):
        Conformal.fit_classes(values, truth, source="all").sets(values, 0.1)
    with pytest.raises(OptionError, match="allow no alpha below"):
        Conformal.fit_numbers(values[:, 0], values[:, 1], source="all").interval(values[:, 0], 0.2)


@pytest.mark.parametrize("rows", [8, 9, 18, 19, 100])
def test_what_is_allowed_is_what_is_computed(rows):
    truth, weight = np.linspace(0, 1, rows), None
    numbers = Conformal.fit_numbers(np.zeros(rows), truth, weight, source="rows")
    shares = np.tile([0.25, 0.75], (rows, 1))
    classes = Conformal.fit_classes(shares, np.ones(rows, np.int64), weight, source="rows")
    for allowed, compute in (
        (numbers.allows(0.1, classification=False), lambda: numbers.interval(np.zeros(1), 0.1)),
        (classes.allows(0.1, classification=True), lambda: classes.sets(shares, 0.1)),
    ):
        if allowed:
            compute()
        else:
            with pytest.raises(OptionError, match="allow no alpha below"):
                compute()


def grown(rows, seed=0):
    """Predictions, and truths whose errors grow with them."""
    random = np.random.default_rng(seed)
    values = random.uniform(1, 10, rows)
    return values, values * (1 + 0.1 * random.normal(size=rows))


def test_intervals_fit_their_predictions_and_cover_each_tenth():
    conformal = Conformal.fit_numbers(*grown(5000), source="")
    values, truth = grown(20000, seed=1)
    measured = conformal.coverage(values[:, None], truth, 0.1)
    assert [rows for _, rows, _, _ in measured["by_tenth"]] == [2000] * 10
    assert all(0.85 < share < 0.95 for _, _, share, _ in measured["by_tenth"])
    widths = [width for *_, width in measured["by_tenth"]]
    assert widths == sorted(widths)
    alike = replace(Conformal.fit_numbers(values * 0, truth - values, source=""), knots=np.empty(0))
    low, high = alike.interval(values, 0.1).T
    assert measured["mean_width"] < 0.97 * (high - low).mean()


def test_few_rows_and_equal_predictions_have_intervals_of_one_width():
    for values, truth in (
        grown(99),
        (np.full(500, 3.0), 3 + grown(500)[1]),
        (np.ones(500), np.ones(500)),
    ):
        conformal = Conformal.fit_numbers(values, truth, source="")
        assert not len(conformal.knots)
        assert set(conformal.arrays()) == {"scores", "shares"}
        np.testing.assert_array_equal(conformal.scores, np.sort(truth - values))


def test_sizes_are_interpolated_and_hold_beyond_the_knots():
    values, truth = grown(1000)
    one = Conformal.fit_numbers(values, truth, source="")
    assert len(one.knots) == len(one.sizes) == 20
    between = (one.knots[3] + one.knots[4]) / 2
    found = one.sizes_at(np.array([-1e9, one.knots[3], between, 1e9]))
    np.testing.assert_allclose(
        found, [one.sizes[0], one.sizes[3], (one.sizes[3] + one.sizes[4]) / 2, one.sizes[-1]]
    )
    again = Conformal.from_json(one.to_json(), one.arrays())
    np.testing.assert_array_equal(again.interval(values, 0.2), one.interval(values, 0.2))


def test_a_row_of_weight_two_counts_like_two_rows_in_the_sizes():
    values, truth = grown(400)
    weight = np.where(np.arange(400) < 200, 2.0, 1.0)
    order = np.argsort(values, kind="stable")
    twice = np.concatenate([values, values[:200]]), np.concatenate([truth, truth[:200]])
    one = Conformal.fit_numbers(values, truth, weight, source="")
    many = Conformal.fit_numbers(*twice, source="")
    at = values[order][[100, 200, 300]]
    np.testing.assert_allclose(one.sizes_at(at), many.sizes_at(at), rtol=0.3)
    none = Conformal.fit_numbers(
        np.append(values, 1e9), np.append(truth, -1e9), np.append(weight, 0.0), source=""
    )
    np.testing.assert_array_equal(none.sizes, one.sizes)


def test_sets_say_how_often_they_cover_each_class():
    random = np.random.default_rng(0)
    sure = random.random(1000) < 0.9
    values = np.where(sure[:, None], [[0.9, 0.1, 0.0]], [[0.8, 0.2, 0.0]])
    truth = np.where(sure, 0, 1)
    conformal = Conformal.fit_classes(values, truth, source="")
    by_class = conformal.coverage(values, truth, 0.2)["by_class"]
    assert by_class == [(int(sure.sum()), 1.0), (int((~sure).sum()), 0.0), (0, None)]


# ------------------------------------------------------------- scores for a model that learned another's predictions


def test_the_wider_of_two_scores_for_classes():
    values, truth = classes(500, 0)
    first = Conformal.fit_classes(values, truth, source="held out")
    sure = np.where(np.arange(4) == truth[:, None], 1.0, 0.0)  # it knows these rows
    same = first.wider(sure, truth, source="both")
    worse = first.wider(1 - sure, truth, source="both")
    for alpha in (0.05, 0.1, 0.5):
        assert same.set_limit(alpha) == first.set_limit(alpha)
        assert worse.set_limit(alpha) == pytest.approx(1.0)
    assert (same.rows, same.source) == (500, "both")
    assert (np.diff(worse.scores) >= 0).all()


def test_the_wider_of_two_scores_counts_the_weights():
    values, truth = classes(500, 0)
    first = Conformal.fit_classes(values, truth, source="held out")
    weight = np.where(np.arange(500) % 2, 1.0, 0.0)
    wrong = np.where(np.arange(4) == truth[:, None], 1 - weight[:, None], weight[:, None] / 3)
    heavy = first.wider(wrong, truth, weight, source="both")
    light = first.wider(wrong, truth, 1 - weight, source="both")
    assert heavy.set_limit(0.6) == pytest.approx(1.0)  # all rows that count are wrong
    assert light.set_limit(0.6) == first.set_limit(0.6)


@pytest.mark.parametrize("rows", [3, 200, 3 * KEPT_SCORES])
def test_the_wider_of_two_scores_for_numbers(rows):
    random = np.random.default_rng(0)
    values = random.uniform(1, 10, 2000)
    truth = values * (1 + 0.1 * random.normal(size=2000))
    first = Conformal.fit_numbers(values, truth, source="held out")
    other = random.uniform(1, 10, rows)
    off = first.wider(
        other[:, None], other + 5, source="both"
    )  # always too low: the upper end is wider
    low, high = first.interval(np.array([5.0]), 0.1)[0]
    lower, higher = off.interval(np.array([5.0]), 0.1)[0]
    assert lower == pytest.approx(low, abs=0.05)
    assert higher > high + 1
    assert (np.diff(off.scores) >= 0).all()
    assert np.array_equal(off.sizes, first.sizes)
