import json

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.networks import describe_network
from sightline.evaluate.stages import build_network, prepare_columns


def described(network, prepared, seed=0, batch_size=32):
    return build_network(network, prepared, batch_size, describe_network(network)[0], seed)


def drawn_from(seed, make):
    torch.manual_seed(seed)
    return make()


def test_a_preparation_in_numbers(species):
    body = prepare_columns(species, 0)
    assert body["columns_in"] == len(body["ways"]) - 1 == 7  # all but the target
    assert body["numbers"] + body["flags"] == body["numeric_shape"][1]
    assert body["codes"] == body["categorical_shape"][1]
    assert body["shown"]["row"] == species.splits.test[0]
    assert body["shown"]["target"] is None
    assert "seconds" not in body
    json.dumps(body, allow_nan=False)


def test_a_regressions_example_has_its_scaled_target(weight):
    target = prepare_columns(weight, 0)["shown"]["target"]
    row = int(weight.splits.test[0])
    assert target["value"] == weight.splits.table.cells("body_mass_g", row)
    assert target["result"] == pytest.approx((target["value"] - target["center"]) / target["scale"])


def test_a_network_in_numbers(species):
    network = sl.MLP(species.spec, hidden=[16, 8])
    body = described(network, species)
    assert body["class"] == "MLP"
    assert body["parameters"] == sum(p.numel() for p in network.parameters())
    assert sum(layer["parameters"] for layer in body["layers"]) == body["parameters"]
    assert (body["logits_shape"], body["logits_dtype"]) == ([32, 3], "float32")
    assert body["weight_bytes"] == 4 * body["parameters"]
    assert {unit["row"] for unit in body["units"]} == {int(species.splits.test[0])}
    assert all(feature["edges"] == [] for feature in body["spec"]["numeric"])
    assert "seconds" not in body
    json.dumps(body, allow_nan=False)


def test_whether_the_seed_drew_the_first_weights(species):
    network = drawn_from(3, lambda: sl.MLP(species.spec, hidden=[4]))
    state = torch.random.get_rng_state()
    assert described(network, species, seed=3)["again"]["drawn"]
    assert not described(network, species, seed=4)["again"]["drawn"]
    assert torch.equal(torch.random.get_rng_state(), state)  # the run's own draws are untouched
    own = drawn_from(3, lambda: sl.Flat(species.spec, nn.Linear(species.spec.flat_width, 3)))
    assert not described(own, species, seed=3)["again"]["drawn"]


def test_an_ensembles_logits_have_its_members(species):
    body = described(sl.Ensemble(species.spec, members=4, hidden=[8]), species, batch_size=8)
    assert body["logits_shape"] == [8, 4, 3]
    assert body["units"] == []
