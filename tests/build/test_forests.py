"""How forests are grown, held against scikit-learn's own."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from sightline.build import forests as f
from sightline.build.forests import fit_forest
from sightline.errors import OptionError
from tests.build.grown import asked, grown_forest, table


def theirs(fitted, x, c, target, fold, *, limited, at=None, folds=3):
    """What scikit-learn itself makes of the same rows; the classes' shares with the prior."""
    values = np.concatenate([x, c], axis=1).astype(np.float32)
    learns = np.arange(len(target)) % folds != fold
    number = fitted.forest.outputs == 1
    made = ExtraTreesRegressor if number else ExtraTreesClassifier
    model = made(
        fitted.trees, max_features=0.5, min_samples_leaf=2, random_state=fold + 1,
        max_leaf_nodes=fitted.max_leaves if limited else None,
    ).fit(values[learns], target[learns])  # fmt: skip
    at = values if at is None else at
    if number:
        return model.predict(at)[:, None]
    prior = (np.bincount(target[learns]) + 1) / (learns.sum() + fitted.forest.outputs)
    return np.log((model.predict_proba(at) * fitted.trees + 2 * prior) / (fitted.trees + 2))


@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2), (1, 0)])
@pytest.mark.parametrize("kind", ["binary", "three", "number"])
@pytest.mark.parametrize("leaves", [None, 12])
def test_they_are_scikit_learns(kind, numbers, codes, leaves):
    fitted, x, c, target = grown_forest(kind, numbers=numbers, codes=codes, max_leaves=leaves)
    limited = leaves is not None
    expected = theirs(fitted, x, c, target, -1, limited=limited)
    np.testing.assert_allclose(fitted.forest(x, c).numpy(), expected, rtol=1e-5, atol=2e-6)
    for fold in range(3):
        held = np.arange(300) % 3 == fold
        expected = theirs(fitted, x, c, target, fold, limited=limited)
        np.testing.assert_allclose(fitted.held_out[held], expected[held], rtol=1e-5, atol=2e-6)


def test_values_beside_the_thresholds_go_where_scikit_learn_sends_them():
    """Its thresholds are float64; a float32 next to one must go the same way."""
    fitted, x, c, target = grown_forest("number", numbers=1, codes=0)
    cuts = fitted.forest.threshold.numpy()
    infinity = np.float32(np.inf)
    near = np.concatenate([cuts, np.nextafter(cuts, infinity), np.nextafter(cuts, -infinity)])
    found = fitted.forest(
        torch.from_numpy(near[:, None]), torch.zeros(len(near), 0, dtype=torch.int32)
    )
    expected = theirs(fitted, x, c, target, -1, limited=False, at=near[:, None])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=2e-6)


def test_the_same_whatever_the_threads(monkeypatch):
    first, x, c, _ = grown_forest("three")
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    second, *_ = grown_forest("three")
    other, *_ = grown_forest("three", seed=1)
    for name, tensor in first.forest.state_dict().items():
        assert torch.equal(tensor, second.forest.state_dict()[name]), name
    np.testing.assert_array_equal(first.held_out, second.held_out)
    assert not torch.equal(first.forest(x, c), other.forest(x, c))


def test_noise_is_not_learned_out_of_fold():
    x, c, _ = table(600)
    target = np.random.default_rng(1).integers(0, 2, 600)
    fitted = fit_forest(
        x, c, target, np.arange(600) % 5, classification=True, outputs=2, trees=50, min_rows=2
    )
    assert abs(fitted.held_out_loss - np.log(2)) < 0.1
    own = fitted.forest(torch.from_numpy(x), torch.from_numpy(c)).numpy()
    assert -own[np.arange(600), target].mean() < 0.55  # the rows it grew on, it has learned


def test_the_held_out_loss_is_that_of_the_held_out_rows():
    weight = np.where(np.arange(300) % 2, 0.0, 2.0).astype(np.float32)
    fitted, _, _, target = grown_forest("binary", weight=weight)
    of_rows = -fitted.held_out[np.arange(300), target]
    assert fitted.held_out_loss == pytest.approx(of_rows[::2].mean(), rel=1e-5)
    number, _, _, target = grown_forest("number")
    squares = np.square(number.held_out[:, 0] - target)
    assert number.held_out_loss == pytest.approx(squares.mean(), rel=1e-5)
    assert number.held_out_loss < target.var() / 2


def test_rows_of_weight_zero_change_nothing():
    weight = np.ones(300, np.float32)
    weight[::7] = 0
    first, *_ = grown_forest("binary", weight=weight)
    x_other, c, target, _ = asked("binary")
    x_other[::7] = 1e6
    target[::7] = 1 - target[::7]
    second = fit_forest(
        x_other, c, target, np.arange(300) % 3, classification=True, outputs=2, weight_N=weight,
        trees=10,
    )  # fmt: skip
    for name, tensor in first.forest.state_dict().items():
        assert torch.equal(tensor, second.forest.state_dict()[name]), name
    assert np.isfinite(first.held_out).all()


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_weights_count(kind):
    weight = np.where(np.arange(300) % 2, 10.0, 1.0).astype(np.float32)
    first, x, c, _ = grown_forest(kind, weight=weight)
    second, *_ = grown_forest(kind)
    assert not torch.equal(first.forest(x, c), second.forest(x, c))


def test_the_prior_is_the_shares_by_weight_with_a_row_more_of_each_class():
    target = np.array([0, 0, 1, 1, 1, 1])
    weight = np.array([4.0, 4, 1, 1, 1, 1])
    x, c = np.zeros((6, 1), np.float32), np.zeros((6, 0), np.int32)
    fitted = fit_forest(
        x, c, target, np.full(6, -1), classification=True, outputs=3, weight_N=weight, trees=2
    )
    expected = np.array([6 * 8 / 12 + 1, 6 * 4 / 12 + 1, 1]) / 9
    np.testing.assert_allclose(fitted.forest.prior.numpy(), expected, rtol=1e-6)
    found = fitted.forest(torch.zeros(1, 1), torch.zeros(1, 0, dtype=torch.int32)).exp().numpy()
    np.testing.assert_allclose(found, [(np.array([2 / 3, 1 / 3, 0]) + expected) / 2], rtol=1e-6)


def test_rows_that_none_holds_out():
    x, c, target, _ = asked("number")
    options = {"classification": False, "outputs": 1, "trees": 5}
    one = fit_forest(x, c, target, np.where(np.arange(300) < 250, -1, 0), **options)
    assert np.isnan(one.held_out[:250]).all()
    assert np.isfinite(one.held_out[250:]).all()
    none = fit_forest(x, c, target, np.full(300, -1), **options)
    assert np.isnan(none.held_out).all()
    assert none.held_out_loss is None
    x, c = torch.from_numpy(x), torch.from_numpy(c)
    assert torch.equal(none.forest(x, c), one.forest(x, c))  # both grew on all rows


@pytest.mark.parametrize("classes", [2, 4])
def test_a_class_that_a_fold_never_saw(classes):
    x, c, _ = table(60)
    folds, target = np.arange(60) % 2, np.zeros(60, np.int64)
    target[folds == 1] = 1  # the forest of fold 0 knows class 1 alone, and the other way round
    fitted = fit_forest(x, c, target, folds, classification=True, outputs=classes, trees=10)
    found = np.exp(fitted.held_out)
    assert np.isfinite(fitted.held_out).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found[folds == 0, 1] > 0.9).all()
    assert (found[folds == 1, 0] > 0.9).all()


@pytest.mark.parametrize("kind", ["three", "number"])
def test_a_fold_that_holds_all_rows(kind):
    """Its forest has nothing to grow on."""
    fitted, x, c, _ = grown_forest(kind, folds=1)
    expected = np.log(1 / 3) if kind == "three" else 0.0
    np.testing.assert_allclose(fitted.held_out, expected, rtol=1e-6)
    assert fitted.forest(x, c).std() > 0.1


def test_a_constant_target_and_no_columns():
    none = np.zeros((40, 0), np.int32)
    options = {"classification": False, "outputs": 1, "trees": 3}
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    for numbers in (x, x[:, :0]):
        fitted = fit_forest(numbers, none, np.full(40, 1.5), np.arange(40) % 2, **options)
        assert len(fitted.forest.column) == 0
        np.testing.assert_allclose(fitted.held_out, 1.5)
        found = fitted.forest(torch.from_numpy(numbers), torch.from_numpy(none))
        np.testing.assert_allclose(found, 1.5)


def test_the_bytes_limit_the_leaves():
    x, c, target, _ = asked("three", rows=2000)
    options = {"classification": True, "outputs": 3, "trees": 4, "min_rows": 1}
    fitted = fit_forest(x, c, target, np.full(2000, -1), most_bytes=5_000, **options)
    state = fitted.forest.state_dict().values()
    taken = sum(tensor.numel() * tensor.element_size() for tensor in state)
    assert 4_800 < taken <= 5_000
    assert fitted.forest.describe(list("abcde"))["leaves"] == fitted.max_leaves
    fewer = fit_forest(x, c, target, np.full(2000, -1), most_bytes=5_000, max_leaves=7, **options)
    assert fewer.max_leaves == 7


def test_no_more_leaves_than_float32_can_number(monkeypatch):
    monkeypatch.setattr(f, "MOST_LEAVES", 49)
    fitted, *_ = grown_forest("binary")
    assert fitted.max_leaves == 4
    assert len(fitted.forest.values) == 40


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"trees": 0}, "trees is 0"),
        ({"max_leaves": 1}, "max_leaves is 1"),
        ({"most_bytes": 300}, "most_bytes is 300, too few for 10 trees"),
    ],
)
def test_what_cannot_be_grown_is_refused(options, problem):
    with pytest.raises(OptionError, match=problem):
        grown_forest(**options)


def test_a_time_limit_grows_fewer_trees():
    short, x, c, _ = grown_forest("binary", time_limit=1e-6, most_bytes=10_000)
    assert short.trees == len(short.forest.roots) == 1
    again, *_ = grown_forest("binary", trees=1, max_leaves=short.max_leaves, most_bytes=10_000)
    assert torch.equal(again.forest(x, c), short.forest(x, c))
    np.testing.assert_array_equal(again.held_out, short.held_out)


def test_trees_that_grow_in_steps_are_the_same():
    long, *_ = grown_forest("three", time_limit=1e6)
    free, *_ = grown_forest("three")
    assert long.trees == free.trees == 10
    for name, tensor in long.forest.state_dict().items():
        assert torch.equal(tensor, free.forest.state_dict()[name]), name


def test_the_clock_ends_the_list_of_trees(monkeypatch):
    """A clock on which each tree takes a second."""
    seconds = [0.0]
    grow = f._Growth.grow

    def slow(growth, trees):
        seconds[0] = float(trees)
        grow(growth, trees)

    monkeypatch.setattr(f._Growth, "grow", slow)
    monkeypatch.setattr("time.perf_counter", lambda: seconds[0])
    fitted, *_ = grown_forest("number", trees=100, time_limit=7.5)
    assert fitted.trees == 6  # 7.5 s less a part for reading them
