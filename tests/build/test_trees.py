"""Boosted trees as tensors, held against scikit-learn's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from sightline.build import trees as t
from sightline.build.trees import Trees, fit_trees
from sightline.errors import InternalError

SMALL = {"iterations": 10, "min_rows": 5, "leaves": 8}


def table(rows=300, numbers=3, codes=2, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, numbers)).astype(np.float32)
    c = random.integers(0, 6, size=(rows, codes)).astype(np.int32)
    score = (x[:, 0] if numbers else 0) + (1.5 * (c[:, 0] % 2) if codes else 0)
    return x, c, score + random.normal(size=rows) * 0.3


def grown(kind="binary", rows=300, numbers=3, codes=2, folds=3, weight=None, **options):
    x, c, score = table(rows, numbers, codes)
    target, outputs = {
        "binary": ((score > 0.7).astype(np.int64), 2),
        "three": (np.digitize(score, [0.2, 1.2]).astype(np.int64), 3),
        "number": (score.astype(np.float32), 1),
    }[kind]
    fitted = fit_trees(
        x, c, target, np.arange(rows) % folds, classification=outputs > 1, outputs=outputs,
        weight_N=weight, **{**SMALL, **options},
    )  # fmt: skip
    return fitted, torch.from_numpy(x), torch.from_numpy(c), target


def theirs(fitted, x, c, target, fold, folds=3):
    """What scikit-learn itself makes of the same binned rows."""
    codes = t.coded(x, c, fitted.trees.cuts).numpy().astype(float)
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


def test_growing_ends_when_it_stops_paying():
    fitted, *_ = grown("binary", iterations=10_000, learning_rate=0.5)
    assert fitted.history[-1][0] <= 160


def test_chunks_change_nothing(monkeypatch):
    fitted, x, c, _ = grown("three")
    whole = fitted.trees(x, c)
    for rows in (1, 7, 1000):
        monkeypatch.setattr(t, "CHUNK_ROWS", rows)
        assert torch.equal(fitted.trees(x, c), whole)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(t, "CHUNK_ROWS", 50)
        assert torch.equal(fitted.trees(x, c), whole)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_rows():
    fitted, x, c, _ = grown("three")
    assert list(fitted.trees(x[:0], c[:0]).shape) == [0, 3]


def test_deep_trees_are_walked_to_the_end():
    x = np.sort(np.random.default_rng(0).normal(size=(400, 1)).astype(np.float32), axis=0)
    y = np.exp(3 * x[:, 0])
    fitted = fit_trees(
        x, np.zeros((400, 0), np.int32), y, np.arange(400) % 2, classification=False, outputs=1,
        iterations=5, leaves=40, min_rows=1,
    )  # fmt: skip
    assert fitted.trees.levels > t.TOGETHER
    found = fitted.trees.per_fold(
        torch.from_numpy(x), torch.zeros(400, 0, dtype=torch.int32)
    ).numpy()
    np.testing.assert_allclose(found[0, ::2], fitted.held_out[::2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_a_copy_is_filled_from_state_and_config(kind):
    fitted, x, c, _ = grown(kind)
    again = Trees.from_config(fitted.trees.config())
    again.load_state_dict(fitted.trees.state_dict())
    assert torch.equal(again(x, c), fitted.trees(x, c))
    assert not list(again.parameters())


def test_many_trees_become_one_ensemble_of_all_rows(monkeypatch):
    monkeypatch.setattr(t, "MOST_TREES", {2: 10})
    fitted, x, c, _ = grown("binary")
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


def test_codes_that_are_new_go_where_missing_ones_do():
    fitted, x, c, _ = grown("binary")
    strange = torch.full_like(c, 250)
    assert torch.isfinite(fitted.trees(x, strange)).all()
    rare = torch.full_like(c, 100_000)  # all beyond the most frequent are one
    assert torch.equal(fitted.trees(x, rare), fitted.trees(x, torch.full_like(c, t.CODES - 1)))


def test_constant_and_huge_columns():
    x, c, score = table()
    x[:, 0], x[:, 1] = 5.0, 1e6 * np.sign(x[:, 1])
    fitted = fit_trees(
        x, np.zeros_like(c), score.astype(np.float32), np.arange(300) % 3, classification=False,
        outputs=1, **SMALL,
    )  # fmt: skip
    assert np.isfinite(fitted.held_out).all()


def test_a_scikit_learn_of_another_form_is_noticed(monkeypatch):
    read = t.Growth._read

    def wrong(self, predictor):
        tree = read(self, predictor)
        tree.value[:] = tree.value[::-1]
        return tree

    monkeypatch.setattr(t.Growth, "_read", wrong)
    with pytest.raises(InternalError, match=r"scikit-learn \d.* were read wrongly"):
        grown("binary")


def test_what_it_says_of_itself():
    fitted, *_ = grown("binary")
    said = fitted.trees.describe(["a", "b", "c", "d", "e"])
    assert said["ensembles"] == 3
    assert said["trees"] == 3 * fitted.iterations
    assert said["columns"][0]["column"] in ("a", "d")  # the two that the target is made of
    assert sum(column["gain"] for column in said["columns"]) == pytest.approx(1)
    assert 2 <= said["leaves"] <= 8


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


def test_one_ensemble_that_has_run_away_does_not_ship(monkeypatch):
    monkeypatch.setattr(t, "MOST_TREES", {1: 1, 2: 1})
    fitted, *_ = grown("binary")
    assert fitted.trees.folds == 1
    monkeypatch.setattr(t.Growth, "own_loss", lambda self: 27.0)
    fitted, *_ = grown("binary")
    assert fitted.trees.folds == 3


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_its_loss_on_its_own_rows_is_below_that_of_others(kind, monkeypatch):
    losses = []
    real = t.Growth.own_loss

    def spy(self):
        losses.append(real(self))
        return losses[-1]

    monkeypatch.setattr(t, "MOST_TREES", {1: 1, 2: 1})
    monkeypatch.setattr(t.Growth, "own_loss", spy)
    fitted, *_ = grown(kind)
    assert 0 < losses[0] < min(loss for _, loss in fitted.history)
