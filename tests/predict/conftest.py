"""Models shared by the tests of stage 5, trained for a moment."""

import pytest
import torch

import sightline as sl
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
