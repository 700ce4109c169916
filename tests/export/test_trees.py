"""Boosted trees as a `TreeEnsemble`, beside `Trees`."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.build.boosting import fit_trees
from sightline.export.trees import write_trees
from tests.build.grown import grown
from tests.export.running import Written


def both(trees, x, codes):
    """Return what the graph and what the module computes."""
    written = Written(x.shape[1], codes.shape[1])
    found = written.run(
        write_trees(written.graph, trees, written.prepared), np.float32, 2, x, codes
    )
    with torch.no_grad():
        wanted = trees(torch.as_tensor(x), torch.as_tensor(codes).int())
    return found, wanted.numpy()


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_trees_answer_alike(kind):
    fitted, x, codes, _ = grown(kind)
    found, wanted = both(fitted.trees, x.numpy(), codes.numpy())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    categories=st.sampled_from([2, 20, 40, 250]),
    classes=st.integers(2, 4),
)
def test_any_trees_answer_alike_at_their_cuts_and_for_every_code(seed, categories, classes):
    random = np.random.default_rng(seed)
    rows = 400
    x = random.normal(size=(rows, 2)).astype(np.float32)
    codes = random.integers(0, categories, size=(rows, 2)).astype(np.int32)
    effect = random.normal(size=(categories, classes))
    y = (effect[codes[:, 0]] + x[:, :1] * random.normal(size=classes)).argmax(axis=1)
    y[:classes] = np.arange(classes)
    trees = fit_trees(
        x, codes, y, np.arange(rows) % 2, classification=True, outputs=classes, iterations=4,
        leaves=12, min_rows=2,
    ).trees  # fmt: skip
    cuts = trees.cuts.numpy()
    at = []
    for column in range(2):
        own = cuts[column][np.isfinite(cuts[column])]
        near = np.concatenate(
            [
                own,
                np.nextafter(own, np.float32(-np.inf)),
                np.nextafter(own, np.float32(np.inf)),
                [np.float32(0)],
            ]
        )
        at.append(np.resize(near.astype(np.float32), 900))
    new = np.arange(900)
    found, wanted = both(trees, np.stack(at, axis=1), np.stack([new % 300, new % 7], axis=1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_numbers_alone_codes_alone_and_a_tree_of_one_leaf():
    random = np.random.default_rng(0)
    x, none = random.normal(size=(200, 3)).astype(np.float32), np.zeros((200, 0), np.int32)
    options = {"classification": False, "outputs": 1, "iterations": 3, "leaves": 4, "min_rows": 5}
    y = x[:, 0].astype(np.float64)
    for numbers, codes, target in (
        (x, none, y),
        (x[:, :0], (x > 0).astype(np.int32), y),
        (x, none, np.zeros(200)),
    ):
        trees = fit_trees(numbers, codes, target, np.arange(200) % 2, **options).trees
        written = Written(numbers.shape[1], codes.shape[1])
        if not numbers.shape[1]:
            continue
        found = written.run(
            write_trees(written.graph, trees, written.prepared), np.float32, 2, numbers, codes
        )
        with torch.no_grad():
            wanted = trees(torch.from_numpy(numbers), torch.from_numpy(codes)).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("most_trees", [1, 1_000])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_target_statistics_answer_alike_for_known_and_for_unknown_values(outputs, most_trees):
    random = np.random.default_rng(outputs)
    codes = random.integers(0, 60, size=(500, 2)).astype(np.int32)
    codes[:, 1] %= 3
    x = random.normal(size=(500, 1)).astype(np.float32)
    effect = random.normal(size=60)[codes[:, 0]] + x[:, 0]
    y = effect if outputs == 1 else np.digitize(effect, np.linspace(-0.5, 0.5, outputs - 1))
    trees = fit_trees(
        x, codes, y, np.arange(500) % 3, classification=outputs > 1, outputs=outputs, iterations=5,
        most_trees=most_trees,
    ).trees  # fmt: skip
    assert (trees.folds, len(trees.statistics.columns)) == (1 if most_trees == 1 else 3, 1)
    codes[:100, 0] = np.arange(100)
    found, wanted = both(trees, x, codes)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
