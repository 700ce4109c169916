"""Target statistics of categories of many values."""

import numpy as np
import pytest
import torch

from sightline.build.boosting import fit_trees
from sightline.build.statistics import MANY_VALUES, PRIOR_ROWS, StatisticsOfRows, TargetStatistics
from sightline.build.symmetric import SymmetricOptions


def rows_of(codes, target, weight=None, outputs=2):
    return StatisticsOfRows(codes, target, weight, classification=outputs > 1, outputs=outputs)


def table(rows=1_500, values=300, seed=0):
    """A category of many values that decides the target, one of few values and a number that do not."""
    random = np.random.default_rng(seed)
    codes = np.stack([random.integers(values, size=rows), random.integers(5, size=rows)], 1).astype(np.int32)  # fmt: skip
    odds = np.random.default_rng(99).random(values) < 0.5
    target = (random.random(rows) < np.where(odds[codes[:, 0]], 0.9, 0.1)).astype(np.int64)
    return random.normal(size=(rows, 1)).astype(np.float32), codes, target, np.arange(rows) % 5


def loss(values, target):
    return float(-values[np.arange(len(target)), target].mean())


def test_only_categories_of_many_values_get_statistics():
    codes = np.stack([np.arange(100) % (MANY_VALUES + 1), np.arange(100) % MANY_VALUES], 1)
    target = np.arange(100) % 2
    assert rows_of(codes, target).columns == [0]
    rare = np.where(np.arange(100) < MANY_VALUES, 1.0, 0.0)  # the others are not learned from
    assert rows_of(codes, target, rare).columns == []
    assert rows_of(codes, np.arange(100) % 11, outputs=11).columns == []


def test_a_mean_is_shrunk_and_the_rows_are_counted():
    codes = np.repeat(np.arange(2, 42), 10)[:, None]
    target = np.where(codes[:, 0] == 5, 1, 0)
    learns = np.ones(400, bool)
    tables, _ = rows_of(codes, target).of(learns, seed=0)
    prior = 10 / 400
    assert tables[5] == pytest.approx([(10 + PRIOR_ROWS * prior) / (10 + PRIOR_ROWS), np.log1p(10)])
    assert tables[6, 0] == pytest.approx(PRIOR_ROWS * prior / (10 + PRIOR_ROWS))
    assert tables[1] == pytest.approx([prior, 0.0]), "a value that no row has"
    assert tables[42] == pytest.approx([prior, 0.0]), "values beyond"


def test_a_class_has_a_mean_of_its_own_and_a_number_its_mean():
    codes = np.repeat(np.arange(40), 10)[:, None]
    learns = np.ones(400, bool)
    tables, numbers = rows_of(codes, codes[:, 0] % 3, outputs=3).of(learns, seed=0)
    assert (tables.shape, numbers.shape) == ((41, 4), (400, 4))
    np.testing.assert_allclose(tables[:, :3].sum(axis=1), 1, rtol=1e-6)
    assert tables[:40, :3].argmax(axis=1).tolist() == (np.arange(40) % 3).tolist()
    means, _ = rows_of(codes, codes[:, 0].astype(float), outputs=1).of(learns, seed=0)
    assert means[39, 0] == pytest.approx((39 * 10 + 19.5 * PRIOR_ROWS) / 20)


def test_no_row_takes_part_in_its_own_mean():
    _, codes, target, _ = table()
    learns = np.arange(len(target)) % 3 > 0
    _, before = rows_of(codes, target).of(learns, seed=1)
    for row in (0, 1, 2):  # the first is not learned from
        other = target.copy()
        other[row] = 1 - other[row]
        _, after = rows_of(codes, other).of(learns, seed=1)
        prior = np.abs(after[row] - before[row]).max()
        assert prior < PRIOR_ROWS / learns.sum(), "but for the prior, which all rows share"


def test_rows_of_weight_zero_have_no_effect():
    _, codes, target, _ = table()
    weight = np.where(np.arange(len(target)) % 2, 2.0, 0.0)
    wrong = np.where(weight > 0, target, 1 - target)
    learns = np.ones(len(target), bool)
    one, two = (rows_of(codes, truth, weight).of(learns, seed=0) for truth in (target, wrong))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_the_unit_of_the_weights_does_not_matter():
    _, codes, target, _ = table()
    learns, weight = np.ones(len(target), bool), np.arange(len(target)) % 4 / 2
    one, many = (rows_of(codes, target, weight * unit).of(learns, seed=0) for unit in (1.0, 2e3))
    np.testing.assert_allclose(one[0], many[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], many[1], rtol=1e-5)
    alike, _ = rows_of(codes, target, np.full(len(target), 1e-3)).of(learns, seed=0)
    np.testing.assert_allclose(alike, rows_of(codes, target).of(learns, seed=0)[0], rtol=1e-5)


def test_no_row_takes_part_in_the_mean_of_a_row_of_its_group():
    _, codes, target, _ = table()
    groups, learns = np.arange(len(target)) % 100, np.ones(len(target), bool)

    def numbers(truth):
        rows = StatisticsOfRows(codes, truth, None, classification=True, outputs=2, groups_N=groups)
        return rows.of(learns, seed=1)[1][groups == 7, 0]

    other = np.where(groups == 7, 1 - target, target)
    assert np.abs(numbers(other) - numbers(target)).max() < PRIOR_ROWS / len(target)


def test_the_module_looks_up_what_was_computed_and_is_read_back():
    _, codes, target, folds = table()
    rows = rows_of(codes, target)
    parts = [rows.of(folds != fold, seed=fold) for fold in range(3)]
    module = rows.module([tables for tables, _ in parts])
    assert module.described() == [0, 0] * 3
    found = module(torch.from_numpy(codes)).numpy().reshape(-1, 3, 2)
    for fold, (_, numbers) in enumerate(parts):
        held = folds == fold
        np.testing.assert_array_equal(found[held, fold], numbers[held])
    copy = TargetStatistics.from_config(module.config())
    copy.load_state_dict(module.state_dict())
    beyond = torch.tensor([[10_000, 0]], dtype=torch.int32)
    torch.testing.assert_close(copy(beyond), module(beyond))
    assert np.ptp(copy(beyond)[0, ::2].numpy()) < 0.1, "the prior of each ensemble"
    assert rows_of(codes[:, 1:], target).module([]) is None


@pytest.mark.parametrize("symmetric", [None, SymmetricOptions()])
@pytest.mark.parametrize("most_trees", [1, 10_000])
def test_trees_learn_from_them_and_their_tensors_predict_the_same(symmetric, most_trees):
    numeric, codes, target, folds = table()
    fitted = fit_trees(
        numeric, codes, target, folds, classification=True, outputs=2, iterations=40,
        most_trees=most_trees, symmetric=symmetric,
    )  # fmt: skip
    assert loss(fitted.held_out, target) < 0.55, "guessing has .69, and the truth .33"
    trees = fitted.trees
    with torch.no_grad():
        each = trees.per_fold(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()
    if most_trees > 1:
        np.testing.assert_allclose(each[folds, np.arange(len(folds))], fitted.held_out, atol=1e-4)
    else:
        assert trees.folds == 1
        assert loss(each[0], target) < loss(fitted.held_out, target)
    assert not trees.gain[0], "no tree asks for sets of its values"
    described = trees.describe(["number", "many", "few"])
    assert described["statistics"] == ["many"]
    assert described["columns"][0]["column"] == "many"
    copy = type(trees).from_config(trees.config())
    copy.load_state_dict(trees.state_dict())
    torch.testing.assert_close(
        copy(torch.from_numpy(numeric), torch.from_numpy(codes)), torch.from_numpy(each).mean(dim=0)
    )


def test_without_statistics_trees_ask_for_sets_of_values():
    numeric, codes, target, folds = table()
    trees = fit_trees(
        numeric, codes, target, folds, classification=True, outputs=2, iterations=5, statistics=False
    ).trees  # fmt: skip
    assert trees.statistics is None
    assert trees.gain[0] > 0
    assert "statistics" not in trees.config()


@pytest.mark.parametrize("rows", [200, 1_000, 5_000])
def test_a_target_of_noise_is_not_learned_from_an_identifier(rows):
    differences, losses = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        both = 2 * rows
        codes = random.integers(500, size=(both, 1)).astype(np.int32)
        target, folds = random.integers(2, size=both), np.arange(rows) % 5
        fitted = fit_trees(
            np.zeros((rows, 0), np.float32), codes[:rows], target[:rows], folds, classification=True,
            outputs=2, iterations=20, leaves=8,
        )  # fmt: skip
        with torch.no_grad():
            values = fitted.trees(torch.zeros(rows, 0), torch.from_numpy(codes[rows:])).numpy()
        losses.append(loss(fitted.held_out, target[:rows]))
        differences.append(losses[-1] - loss(values, target[rows:]))
    error = np.std(differences) / len(differences) ** 0.5
    assert np.mean(differences) > -2 * error, "out of fold it is not lower than on new rows"
    assert np.mean(losses) > np.log(2) - 2 * np.std(losses) / len(losses) ** 0.5
