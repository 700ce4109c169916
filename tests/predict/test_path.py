from itertools import pairwise

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.predict.path import VALUES_SHOWN, follow, followed_layers, one_scale
from tests.predict.networks import Members, Own
from tests.predict.tables import columns


def first_row(species):
    return species.train.numeric[:1], species.train.categorical[:1]


def test_a_row_stops_where_a_teacher_would(species):
    network = sl.MLP(species.spec, hidden=[8, 4])
    layers, logits = follow(network, *first_row(species))
    assert [layer.name for layer in layers] == [
        "Input layer: 11 features",
        "Embeddings: a vector for each category",
        "Hidden layer 1: Linear + ReLU",
        "Hidden layer 2: Linear + ReLU",
        "Output layer: Linear + softmax",
    ]
    assert [layer.shape for layer in layers[-3:]] == [(1, 8), (1, 4), (1, 3)]
    assert torch.equal(logits, network(*first_row(species)))


def test_a_layer_shows_its_largest_values_and_how_many_are_active():
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.tensor([[0.0, -9.0, 2.0, 0.0, 1.0, 3.0, 0.5, -0.1]])

    network = nn.ModuleDict({"fixed": Fixed()})
    network.forward = lambda numeric, categorical: network["fixed"](numeric)
    layer = follow(network, torch.zeros(1, 2), torch.zeros(1, 0))[0][1]
    assert (layer.name, layer.size, layer.active) == ("fixed: Fixed", 8, 6)
    assert layer.largest == ((1, -9.0), (5, 3.0), (2, 2.0), (4, 1.0), (6, 0.5))
    assert layer.values == pytest.approx((0.0, -9.0, 2.0, 0.0, 1.0, 3.0, 0.5, -0.1))
    assert (layer.places, layer.scale) == (tuple(range(8)), 9.0)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 100, 1000])
def test_up_to_64_units_are_shown_evenly_spaced(size):
    path, _ = follow(Ramp(), torch.arange(float(size))[None], torch.zeros(1, 0))
    layer = path[1]
    assert layer.size == size
    assert len(layer.values) == len(layer.places) == min(size, VALUES_SHOWN)
    assert layer.values == tuple(map(float, layer.places)), "each value is that of its unit"
    assert layer.scale == max(size - 1, 0)
    steps = {after - before for before, after in pairwise(layer.places)}
    assert steps <= {size // 64, size // 64 + 1} or size <= 64
    assert size <= 64 or layer.places[0] < size / 64 <= size - layer.places[-1] + 1


class Ramp(nn.Module):
    """Gives the numbers as they are, through a module."""

    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, numeric, categorical):
        return self.same(numeric)


def test_rows_explained_together_share_each_layers_scale(model, penguins):
    table = model.read(penguins)
    alone = [model.explain_rows(table, [row])[0] for row in range(5)]
    together = model.explain_rows(table, list(range(5)))
    for place in range(len(together[0].layers)):
        largest = max(one.layers[place].scale for one in alone)
        assert {one.layers[place].scale for one in together} == {largest}
    assert len({one.layers[-1].scale for one in alone}) > 1, "alone each has its own"
    assert one_scale([]) == []


def test_a_row_without_a_prediction_has_no_say_in_the_scale(every):
    data = columns()
    data["size"] = [str(value or 1) for value in data["size"]]
    data["size"][1] = "large"
    found = every.explain_rows(every.read(data), [0, 1])
    assert found[0].layers == every.explain_rows(every.read(data), [0])[0].layers


def test_the_input_layer_shows_numbers_then_codes(species):
    numeric, categorical = torch.zeros(1, 9), torch.tensor([[3, 2]], dtype=torch.int32)
    layer = follow(sl.MLP(species.spec), numeric, categorical)[0][0]
    assert (layer.shape, layer.active) == ((1, 11), 2)
    assert layer.largest[:2] == ((9, 3.0), (10, 2.0))


@pytest.mark.parametrize("kind", [Own, Members])
def test_a_network_of_ones_own_stops_at_its_modules(species, kind):
    """Even one that keeps its modules as `layers`, which are callable."""
    layers, logits = follow(kind(species.spec), *first_row(species))
    assert [layer.name for layer in layers] == [
        "Input layer: 11 features", "layers.0: Linear", "layers.1: Tanh", "layers.2: Linear",
    ]  # fmt: skip
    assert logits.dim() == (3 if kind is Members else 2)


def test_a_network_without_parts_is_one_stop():
    assert [name for name, _ in followed_layers(nn.Linear(2, 3))] == ["Linear: Linear"]


@pytest.mark.parametrize("training", [True, False])
def test_following_changes_nothing(species, training):
    network = sl.MLP(species.spec, hidden=[64], dropout=0.5).train(training)
    first, logits = follow(network, *first_row(species))
    second, again = follow(network, *first_row(species))
    assert first == second, "no dropout, no hook left behind"
    assert torch.equal(logits, again)
    assert network.training is training


def test_a_network_that_fails_on_the_way_is_left_as_it_was(species):
    network = sl.MLP(species.spec)
    with pytest.raises(RuntimeError, match="shape"):
        follow(network, torch.zeros(1, 3), first_row(species)[1])
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
