"""Boosted symmetric trees."""

import itertools

import numpy as np
import pytest
import torch

from sightline.build.boosting import fit_trees
from sightline.build.symmetric import (
    Histograms,
    SymmetricFolds,
    SymmetricGrowth,
    SymmetricOptions,
    in_groups,
)
from sightline.errors import OptionError

OPTIONS = SymmetricOptions()


def table(rows=300, outputs=2, seed=0):
    """Two numbers and two categories, of which one of each matters, with targets and folds."""
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(rows, 2)).astype(np.float32)
    codes = np.stack([random.integers(6, size=rows), random.integers(3, size=rows)], 1).astype(np.int32)  # fmt: skip
    signal = numeric[:, 0] + np.array([1.0, -1.0, 1.0, -1.0, 0.0, 0.0])[codes[:, 0]]
    target = signal if outputs == 1 else np.digitize(signal, np.linspace(-1, 1, outputs - 1))
    return numeric, codes, target.astype(np.float64 if outputs == 1 else np.int64), np.arange(rows) % 3  # fmt: skip


def fit(data, outputs, **options):
    defaults = {"iterations": 60, "most_trees": 10_000, "symmetric": OPTIONS}
    return fit_trees(*data, classification=outputs > 1, outputs=outputs, **(defaults | options))


def loss(values, target, outputs):
    if outputs == 1:
        return float(np.square(values[:, 0] - target).mean())
    return float(-values[np.arange(len(target)), target].mean())


@pytest.mark.parametrize("outputs", [1, 2, 3, 8])
def test_it_learns_and_the_tensors_predict_what_the_growth_did(outputs):
    data = table(outputs=outputs)
    numeric, codes, target, folds = data
    fitted = fit(data, outputs)
    with torch.no_grad():
        each = fitted.trees.per_fold(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()
    held = each[folds, np.arange(len(folds))]
    np.testing.assert_allclose(held, fitted.held_out, atol=1e-4)
    shares = np.bincount(target, minlength=outputs) / len(target) if outputs > 1 else None
    guess = float(target.var()) if outputs == 1 else float(-(shares * np.log(shares)).sum())
    assert loss(fitted.held_out, target, outputs) < 0.6 * guess
    used = {number for number, gain in enumerate(fitted.trees.gain.tolist()) if gain > 0}
    assert {0, 2} <= used, "the first category and the first number"
    gains = fitted.trees.gain.tolist()
    assert min(gains[0], gains[2]) > max(gains[1], gains[3])


def test_all_nodes_of_a_level_ask_the_same_question():
    trees = fit(table(), 2, iterations=5).trees
    column, row, left = (x.numpy() for x in (trees.column, trees.row, trees.left))
    for root in trees.roots.tolist():
        level = [root]
        while level:
            assert len({(column[node], row[node], left[node] == node) for node in level}) == 1
            level = [left[node] + side for node in level if left[node] != node for side in (0, 1)]
    assert int((left == np.arange(len(left))).sum()) == len(trees.roots) * 2**OPTIONS.depth


def test_a_tree_of_too_many_leaves_is_refused():
    with pytest.raises(OptionError, match=r"The depth is 6.*"):
        fit(table(), 2, symmetric=SymmetricOptions(depth=6))


def test_a_split_is_worth_the_squared_gradients_over_the_rows_on_both_sides():
    random = np.random.default_rng(0)
    codes, leaf = random.integers(5, size=(2, 3, 200)), random.integers(4, size=(2, 200))
    codes[1, 2] = 0
    gradient, weight = random.normal(size=(2, 2, 200)), random.random((2, 200))
    histograms = Histograms(
        torch.from_numpy(codes), 5, torch.from_numpy(gradient), torch.from_numpy(weight), l2=1.0
    )
    scores = histograms.scores(torch.from_numpy(leaf), 4)
    for fold, column, cut in itertools.product(range(2), range(3), range(4)):
        sides = [
            (leaf[fold] == number) & ((codes[fold, column] > cut) == right)
            for number in range(4)
            for right in (False, True)
        ]
        worth = sum(
            slot[side].sum() ** 2 / (weight[fold, side].sum() + 1)
            for slot in gradient[fold]
            for side in sides
        )
        assert scores[fold, column, cut].item() == pytest.approx(worth, rel=1e-4)
    assert histograms.divides_FCB.tolist()[1][2] == [False] * 4, "a single value"
    assert histograms.divides_FCB.flatten(0, 1)[:5].all()


def test_folds_that_grow_together_are_what_each_is_alone():
    """Their rows, columns that vary, and bins differ: what is missing is padded."""
    numeric, codes, target, folds = table(rows=301, outputs=3)
    values = np.concatenate([codes, np.digitize(numeric, np.linspace(-2, 2, 20))], axis=1).astype(np.int32)  # fmt: skip
    values[folds != 1, 1] = 2  # a column that only ensembles with rows of fold 1 can divide by
    values[folds == 2, 2] = 40

    def growths():
        return [
            SymmetricGrowth(
                values, target, None, folds != f, np.flatnonzero(folds == f), categories=2,
                classification=True, outputs=3, options=SymmetricOptions(seed=f),
            )
            for f in range(3)
        ]  # fmt: skip

    together, alone = growths(), growths()
    SymmetricFolds(together).grow(10)
    for growth in alone:
        SymmetricFolds([growth]).grow(10)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.sums, other.sums, atol=1e-6)
        assert one.own_loss() == pytest.approx(other.own_loss())
        assert [len(tree.leaf) for (tree, *_) in one.trees] == [63] * 10


def test_folds_are_grouped_by_their_trees_and_by_the_size_of_their_histograms(monkeypatch):
    _, codes, target, folds = table(rows=400, outputs=3)
    target = np.where((folds == 0) | (target < 2), target, 0)  # the third class is in fold 0 alone
    growths = [
        SymmetricGrowth(
            codes, target, None, folds != f, np.flatnonzero(folds == f), categories=2,
            classification=True, outputs=3, options=OPTIONS,
        )
        for f in (0, 1, 2, 1, 2)
    ]  # fmt: skip
    of = [[growths.index(one) for one in group.growths] for group in in_groups(growths)]
    assert of == [[0], [1, 2, 3, 4]]
    monkeypatch.setattr("sightline.build.symmetric.MOST_CELLS", 1)
    assert [len(group.growths) for group in in_groups(growths)] == [1] * 5


def test_the_seed_decides_and_the_number_of_threads_does_not():
    data, threads = table(outputs=3), torch.get_num_threads()
    first = fit(data, 3, seed=1, iterations=10)
    try:
        torch.set_num_threads(1)
        again = fit(data, 3, seed=1, iterations=10)
    finally:
        torch.set_num_threads(threads)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(first.held_out, again.held_out)
    other = fit(data, 3, seed=2, iterations=10)
    assert not np.array_equal(first.held_out, other.held_out)


def test_rows_of_weight_zero_have_no_effect():
    numeric, codes, target, folds = table()
    weight = np.ones(len(target))
    wrong = np.where(np.arange(len(target)) % 5 == 0, 1 - target, target)
    weight[::5] = 0.0
    one = fit((numeric, codes, target, folds), 2, weight_N=weight, iterations=10)
    two = fit((numeric, codes, wrong, folds), 2, weight_N=weight, iterations=10)
    np.testing.assert_array_equal(one.held_out, two.held_out)


def test_a_fold_may_lack_a_class_or_have_only_one():
    numeric, codes, target, folds = table(outputs=3)
    rare = np.where(folds == 0, target, np.minimum(target, 1))
    held_out = fit((numeric, codes, rare, folds), 3, iterations=10).held_out
    assert np.isfinite(held_out).all()
    np.testing.assert_allclose(np.exp(held_out).sum(axis=1), 1, atol=1e-5)
    assert np.exp(held_out[folds == 0, 2]).max() < 1e-6, "no tree has seen the third class"
    single = np.where(folds == 0, target.clip(max=1), 0)
    assert np.isfinite(fit((numeric, codes, single, folds), 2, iterations=5).held_out).all()


@pytest.mark.parametrize("columns", ["numbers", "codes", "none"])
def test_columns_of_one_kind_or_none(columns):
    numeric, codes, target, folds = table()
    numeric = numeric if columns == "numbers" else numeric[:, :0]
    codes = codes if columns == "codes" else codes[:, :0]
    fitted = fit((numeric, codes, target, folds), 2, iterations=5)
    with torch.no_grad():
        values = fitted.trees(torch.from_numpy(numeric), torch.from_numpy(codes))
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("values", [200, 10_000])
def test_noise_and_an_identifier_are_not_learned_out_of_fold(values):
    losses = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        numeric = random.normal(size=(200, 1)).astype(np.float32)
        codes = random.integers(values, size=(200, 1)).astype(np.int32).clip(max=254)
        target, folds = random.integers(2, size=200), np.arange(200) % 5
        fitted = fit((numeric, codes, target, folds), 2)
        losses.append(loss(fitted.held_out, target, 2))
    assert np.mean(losses) > np.log(2) - 2 * np.std(losses) / len(losses) ** 0.5


def test_categories_are_ordered_by_their_mean_target_and_rare_ones_stay_in_the_middle():
    codes = np.repeat([0, 1, 2, 3], [100, 100, 100, 1])[:, None]
    target = np.concatenate([np.zeros(100), np.ones(100), np.arange(100) % 2, [1.0]])
    growth = SymmetricGrowth(
        codes, target, None, np.ones(301, bool), np.arange(0), categories=1, classification=False,
        outputs=1, options=OPTIONS,
    )  # fmt: skip
    assert growth._ranks[0][:4].tolist() == [0, 3, 1, 2], "one row hardly moves a category"
    assert growth._ranks[0][200] in (1, 2), "a code without rows is in the middle"
