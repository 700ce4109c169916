"""A forest as a `TreeEnsemble`, beside `Forest`."""

import numpy as np
import pytest
import torch

from sightline.build.forest import Forest
from sightline.build.forests import fit_forest
from sightline.export.forest import write_forest
from tests.build.grown import grown_forest
from tests.export.running import Written


def both(forest, x, codes):
    """Return what the graph and what the module computes."""
    written = Written(x.shape[1], codes.shape[1])
    found = written.run(
        write_forest(written.graph, forest, written.prepared), np.float32, 2, x, codes
    )
    with torch.no_grad():
        wanted = forest(torch.as_tensor(x), torch.as_tensor(codes).int())
    return found, wanted.numpy()


@pytest.mark.parametrize("kind", ["binary", "three", "five", "number"])
@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2)])
@pytest.mark.parametrize("rows", [1, 300])
def test_forests_answer_alike(kind, numbers, codes, rows):
    fitted, x, c, _ = grown_forest(kind, numbers=numbers, codes=codes)
    found, wanted = both(fitted.forest, x.numpy()[:rows], c.numpy()[:rows])
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)


def test_values_at_and_beside_the_thresholds():
    fitted, *_ = grown_forest("number", numbers=1, codes=0)
    cuts = fitted.forest.threshold.numpy()
    infinity = np.float32(np.inf)
    near = np.concatenate([cuts, np.nextafter(cuts, infinity), np.nextafter(cuts, -infinity)])
    found, wanted = both(fitted.forest, near[:, None], np.zeros((len(near), 0), np.int32))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("target", "outputs"), [(np.full(40, 1.5), 1), (np.zeros(40, int), 2)])
def test_trees_of_one_leaf(target, outputs):
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    none = np.zeros((40, 0), np.int32)
    forest = fit_forest(
        x, none, target, np.full(40, -1), classification=outputs > 1, outputs=outputs, trees=3
    ).forest
    found, wanted = both(forest, x, none)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)


def test_trees_of_one_leaf_between_others():
    """Two single leaves, and a tree of two leaves between them."""
    forest = Forest(trees=3, nodes=1, leaves=4, columns=1, outputs=1, prior_trees=0)
    forest.load_state_dict({
        **forest.state_dict(), "roots": torch.tensor([1, 0, 4]), "threshold": torch.tensor([0.5]),
        "below": torch.tensor([[2, 3]]), "values": torch.tensor([[1.0], [10], [20], [100]]),
    })  # fmt: skip
    found, wanted = both(forest, np.array([[0.5], [0.6]], np.float32), np.zeros((2, 0), np.int32))
    np.testing.assert_allclose(found, [[37], [121 / 3]], rtol=1e-6)
    np.testing.assert_allclose(wanted, found, rtol=1e-6)
