"""Models shared by the tests of stage 5, trained for a moment."""

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.build.boosting import fit_trees
from sightline.build.forests import fit_forest
from sightline.build.kernel_fit import fit_kernel
from sightline.build.neighbors_fit import fit_neighbors
from sightline.build.symmetric import SymmetricOptions
from sightline.predict.parts import (
    PARTS,
    ForestPart,
    KernelPart,
    NeighborsPart,
    NetworkPart,
    SecondNetworkPart,
    SymmetricTreesPart,
    TreesPart,
)
from tests.predict.tables import columns, train


@pytest.fixture(scope="session")
def model(species):
    """The penguins' species, three epochs."""
    torch.manual_seed(0)
    training = sl.Training(sl.MLP(species.spec, hidden=[16]), species, epochs=3)
    assert len(list(training)) == 4
    return training.model()


@pytest.fixture(scope="session")
def number(weight):
    """The penguins' body mass."""
    torch.manual_seed(0)
    training = sl.Training(sl.MLP(weight.spec, hidden=[16]), weight, epochs=3)
    assert len(list(training)) == 4
    return training.model()


@pytest.fixture(scope="session")
def every():
    """A model of a table with columns of every kind."""
    return train(columns())


@pytest.fixture(scope="module")
def small():
    """A prepared table of two classes."""
    random = np.random.default_rng(0)
    data = {"x": random.normal(size=60), "c": [f"c{i % 3}" for i in range(60)]}
    data["y"] = np.where(data["x"] > 0, "yes", "no")
    kinds = {"x": "numeric", "c": "categorical"}
    return sl.prepare(sl.split(sl.read(data, kinds=kinds), target="y", valid=0))


def parts_of(prepared):
    """One part of each kind, by name."""
    torch.manual_seed(0)
    rows = prepared.train
    fitted = fit_trees(
        rows.numeric.numpy(), rows.categorical.numpy(), rows.target.numpy(),
        np.arange(len(rows.row)) % 2, classification=True, outputs=2, iterations=5,
    )  # fmt: skip
    symmetric = fit_trees(
        rows.numeric.numpy(), rows.categorical.numpy(), rows.target.numpy(), np.arange(len(rows.row)) % 2,
        classification=True, outputs=2, iterations=5, symmetric=SymmetricOptions(),
    )  # fmt: skip
    forest = fit_forest(
        rows.numeric.numpy(), rows.categorical.numpy(), rows.target.numpy(),
        np.full(len(rows.row), -1), classification=True, outputs=2, trees=5,
    ).forest  # fmt: skip
    kernel = fit_kernel(
        rows.numeric.numpy(), rows.categorical.numpy(), rows.target.numpy(), np.arange(len(rows.row)) % 2,
        classification=True, outputs=2,
    ).kernel  # fmt: skip
    neighbors = fit_neighbors(
        rows.numeric.numpy(), rows.categorical.numpy(), rows.target.numpy(), np.arange(len(rows.row)) % 2,
        classification=True, outputs=2, epochs=2,
    ).neighbors  # fmt: skip
    return {
        "network": NetworkPart(sl.MLP(prepared.spec, hidden=[4])),
        "second_network": SecondNetworkPart(sl.Ensemble(prepared.spec, members=2, hidden=[4])),
        "trees": TreesPart(fitted.trees),
        "symmetric_trees": SymmetricTreesPart(symmetric.trees),
        "forest": ForestPart(forest),
        "kernel": KernelPart(kernel),
        "neighbors": NeighborsPart(neighbors),
    }


@pytest.fixture(scope="module")
def parts(small):
    """One part of each kind, by name."""
    made = parts_of(small)
    assert list(made) == list(PARTS), "a part without a test"
    return made
