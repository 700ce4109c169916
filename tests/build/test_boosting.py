"""How trees are grown, held against scikit-learn's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from sightline.build import boosting as t
from sightline.build.boosting import coded, fit_trees
from sightline.errors import OptionError
from tests.build.grown import SMALL, grown, table


def theirs(fitted, x, c, target, fold, folds=3):
    """What scikit-learn itself makes of the same binned rows."""
    codes = coded(x, c, fitted.trees.cuts).numpy().astype(float)
    learns = np.arange(len(target)) % folds != fold
    number = fitted.trees.outputs == 1
    made = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    model = made(
        max_iter=fitted.iterations, learning_rate=0.1, max_leaf_nodes=8, min_samples_leaf=5,
        early_stopping=False, random_state=fold + 1, l2_regularization=t.L2,
        categorical_features=np.arange(codes.shape[1]) < c.shape[1] if c.shape[1] else None,
    ).fit(codes[learns], target[learns])  # fmt: skip
    return model.predict(codes)[:, None] if number else np.log(model.predict_proba(codes))


@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2), (1, 0)])
@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_they_are_scikit_learns(kind, numbers, codes):
    fitted, x, c, target = grown(kind, numbers=numbers, codes=codes)
    found = fitted.trees.per_fold(x, c).numpy()
    for fold in range(3):
        np.testing.assert_allclose(found[fold], theirs(fitted, x, c, target, fold), atol=2e-5)
        held = np.arange(300) % 3 == fold
        np.testing.assert_allclose(fitted.held_out[held], found[fold][held], atol=2e-5)
    np.testing.assert_allclose(fitted.trees(x, c).numpy(), found.mean(axis=0), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(20, 80), numbers=st.integers(0, 3))
def test_any_small_table(seed, rows, numbers):
    x, c, score = table(rows, numbers, codes=2, seed=seed)
    fitted = fit_trees(
        x, c, (score > np.median(score)).astype(np.int64), np.arange(rows) % 2, classification=True,
        outputs=2, **SMALL,
    )  # fmt: skip
    values = fitted.trees(torch.from_numpy(x), torch.from_numpy(c))
    assert torch.isfinite(values).all()
    assert np.isfinite(fitted.held_out).all()


def test_the_rounds_are_those_of_the_lowest_held_out_loss():
    fitted, _, _, target = grown("binary", iterations=60)
    rounds, losses = zip(*fitted.history, strict=True)
    assert fitted.iterations == rounds[int(np.argmin(losses))]
    given_N = fitted.held_out[np.arange(300), target]
    assert -given_N.mean() == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
@pytest.mark.parametrize("most_trees", [1, 300])
def test_rounds_that_do_not_ship_leave_nothing(kind, most_trees):
    """A replay grows only the rounds that shipped, and must find the same tensors."""
    long, *_ = grown(kind, iterations=60, learning_rate=0.5, most_trees=most_trees)
    assert long.iterations < long.history[-1][0]
    short, *_ = grown(kind, iterations=long.iterations, learning_rate=0.5, most_trees=most_trees)
    assert short.trees.config() == long.trees.config()
    for name, tensor in short.trees.state_dict().items():
        assert torch.equal(tensor, long.trees.state_dict()[name]), name


def test_growing_ends_when_it_stops_paying():
    fitted, *_ = grown("binary", iterations=10_000, learning_rate=0.5)
    assert fitted.history[-1][0] <= 160


def test_more_leaves_than_bits_are_refused():
    x, c, score = table()
    with pytest.raises(OptionError, match="leaves is 64: a tree has 2 to 63"):
        fit_trees(
            x, c, score.astype(np.float32), np.arange(300) % 2, classification=False, outputs=1, leaves=64
        )  # fmt: skip


def test_many_trees_become_one_ensemble_of_all_rows():
    fitted, x, c, _ = grown("binary", most_trees=10)
    assert fitted.trees.folds == 1
    assert np.isfinite(fitted.held_out).all()  # still by those that never saw the row
    assert not np.allclose(fitted.trees(x, c).numpy(), fitted.held_out, atol=1e-3)


def test_rows_of_weight_zero_change_nothing():
    weight = np.ones(300, np.float32)
    weight[::7] = 0
    first, x, c, _ = grown("binary", weight=weight)
    x_other = x.numpy().copy()
    x_other[::7] = 1e6
    target = (table()[2] > 0.7).astype(np.int64)
    target[::7] = 1 - target[::7]
    second = fit_trees(
        x_other, c.numpy(), target, np.arange(300) % 3, classification=True, outputs=2,
        weight_N=weight, **SMALL,
    )  # fmt: skip
    assert torch.equal(first.trees(x, c), second.trees(x, c))
    assert first.iterations == second.iterations


def test_weights_count():
    weight = np.where(np.arange(300) % 2, 10.0, 1.0).astype(np.float32)
    first, x, c, _ = grown("number", weight=weight)
    second, *_ = grown("number")
    assert not torch.equal(first.trees(x, c), second.trees(x, c))


def test_rows_that_none_holds_out():
    """Fold -1 learns always, as training rows beside validation rows do."""
    x, c, score = table()
    folds = np.where(np.arange(300) < 250, -1, 0)
    fitted = fit_trees(
        x, c, score.astype(np.float32), folds, classification=False, outputs=1, **SMALL
    )
    assert fitted.trees.folds == 1
    assert np.isnan(fitted.held_out[:250]).all()
    assert np.isfinite(fitted.held_out[250:]).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_a_class_that_a_fold_never_saw(classes):
    x, c, _ = table(60)
    folds, target = np.arange(60) % 2, np.zeros(60, np.int64)
    target[folds == 1] = 1  # the ensemble of fold 0 knows class 1 alone, and the other way round
    fitted = fit_trees(x, c, target, folds, classification=True, outputs=classes, **SMALL)
    found = fitted.trees.per_fold(torch.from_numpy(x), torch.from_numpy(c)).exp().numpy()
    assert np.isfinite(np.log(found)).all()
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)
    assert (found[0, :, 1] > 0.99).all()
    assert (found[1, :, 0] > 0.99).all()


def test_three_of_four_classes_in_a_fold():
    x, c, score = table(200)
    target = np.digitize(score, [0.2, 1.2]).astype(np.int64)
    target[:2] = 3
    folds = np.arange(200) % 4
    folds[:2] = 0  # class 3 is in fold 0 alone
    fitted = fit_trees(x, c, target, folds, classification=True, outputs=4, **SMALL)
    found = fitted.trees.per_fold(torch.from_numpy(x), torch.from_numpy(c)).exp().numpy()
    assert (found[0, :, 3] < 1e-6).all()
    assert (found[1, :2, 3] > 1e-3).all()


def test_constant_and_huge_columns():
    x, c, score = table()
    x[:, 0], x[:, 1] = 5.0, 1e6 * np.sign(x[:, 1])
    fitted = fit_trees(
        x, np.zeros_like(c), score.astype(np.float32), np.arange(300) % 3, classification=False,
        outputs=1, **SMALL,
    )  # fmt: skip
    assert np.isfinite(fitted.held_out).all()


def test_a_time_limit_grows_fewer_rounds():
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 10)).astype(np.float32)
    y = (x[:, 0] * 2 + x[:, 1] + random.normal(size=2000) > 0).astype(np.int64)
    asked = {"classification": True, "outputs": 2, "iterations": 100}
    codes, folds = np.zeros((2000, 0), np.int32), np.arange(2000) % 2
    short = fit_trees(x, codes, y, folds, time_limit=1e-6, **asked)
    assert [rounds for rounds, _ in short.history] == [1]
    assert short.iterations == 1
    again = fit_trees(x, codes, y, folds, **{**asked, "iterations": 1})
    assert torch.equal(again.trees.value, short.trees.value)
    long = fit_trees(x, codes, y, folds, time_limit=1e6, **asked)
    free = fit_trees(x, codes, y, folds, **asked)
    assert long.iterations == free.iterations
    assert torch.equal(long.trees.value, free.trees.value)


def test_columns_are_drawn_for_each_split():
    some, x, c, _ = grown("binary", max_features=0.4)
    again, *_ = grown("binary", max_features=0.4)
    every, *_ = grown("binary")
    assert torch.equal(some.trees(x, c), again.trees(x, c))
    assert not torch.equal(some.trees(x, c), every.trees(x, c))
