import json

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.networks import check_network
from sightline.errors import OptionError
from tests.build.specs import inputs, spec_of


@pytest.mark.parametrize("hidden", [[], [8], [8, 4]])
@pytest.mark.parametrize(
    "spec",
    [
        spec_of(), spec_of(D=0), spec_of(cardinalities=()), spec_of(classes=()),
        spec_of(cardinalities=(3, 300)), spec_of(classes=tuple(f"k{i}" for i in range(30))),
    ],
)  # fmt: skip
def test_an_mlp_gives_logits_for_any_spec(spec, hidden):
    network = sl.MLP(spec, hidden=hidden)
    check_network(network, spec)
    assert network(*inputs(spec)).shape == (5, spec.outputs)
    assert len(network.hidden) == len(hidden)


def test_every_input_reaches_the_logits():
    spec = spec_of()
    network = sl.MLP(spec, hidden=[16], activation="tanh").eval()
    numeric, _ = inputs(spec, 1)
    codes = torch.tensor([[2, 2]], dtype=torch.int32)
    before = network(numeric, codes)
    for j in range(2):
        moved, changed = numeric.clone(), codes.clone()
        moved[0, j] += 1
        changed[0, j] = 0
        assert not torch.equal(network(moved, codes), before)
        assert not torch.equal(network(numeric, changed), before)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_config_builds_the_network_again(activation, dropout):
    spec = spec_of()
    network = sl.MLP(spec, hidden=[8, 4], activation=activation, dropout=dropout).eval()
    config = json.loads(json.dumps(network.config()))
    again = sl.MLP.from_config(spec, config).eval()
    again.load_state_dict(network.state_dict())
    numeric, categorical = inputs(spec)
    assert torch.equal(again(numeric, categorical), network(numeric, categorical))
    assert again.config() == config


def test_config_follows_an_edit_of_the_layers():
    network = sl.MLP(spec_of(D=3, cardinalities=()), hidden=[8])
    network.hidden[0].linear = nn.Linear(3, 16)
    network.output = nn.Linear(16, 3)
    assert network.config()["hidden"] == [16]


def test_dropout_works_in_training_alone():
    spec = spec_of()
    network = sl.MLP(spec, hidden=[64], dropout=0.5)
    given = inputs(spec)
    assert not torch.equal(network(*given), network(*given))
    network.eval()
    assert torch.equal(network(*given), network(*given))


@pytest.mark.parametrize("hidden", [[0], [-1], [2.5], ["64"], "64", [True]])
def test_widths_that_make_no_sense(hidden):
    with pytest.raises(OptionError, match=r"^hidden is \[.*Give a list of widths"):
        sl.MLP(spec_of(), hidden=hidden)


@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5, float("nan")])
def test_dropout_that_makes_no_sense(dropout):
    with pytest.raises(OptionError, match=f"dropout is {dropout}"):
        sl.MLP(spec_of(), dropout=dropout)


def test_an_unknown_activation():
    with pytest.raises(OptionError, match="no activation 'swish'"):
        sl.MLP(spec_of(), activation="swish")


def test_layers_are_named_as_a_teacher_would():
    names = [layer.name for layer in sl.MLP(spec_of(), hidden=[8, 4], activation="gelu").layers()]
    assert names == [
        "Embeddings: a vector for each category",
        "Hidden layer 1: Linear + GELU",
        "Hidden layer 2: Linear + GELU",
        "Output layer: Linear + softmax",
    ]
    regression = sl.MLP(spec_of(cardinalities=(), classes=()), hidden=[])
    assert [layer.name for layer in regression.layers()] == ["Output layer: Linear + scale"]


# ------------------------------------------------------------- residual layers


def test_residual_layers_in_the_config_and_the_names():
    network = sl.MLP(spec_of(cardinalities=()), hidden=[8, 8, 4], residual=[1])
    assert network.config()["residual"] == [1]
    assert [layer.scale is not None for layer in network.hidden] == [False, True, False]
    names = [layer.name for layer in network.layers()]
    assert names[1] == "Hidden layer 2: Linear + ReLU + residual connection"
    network.replace("hidden.1", "LayerNorm(8)")
    assert [layer.name for layer in network.layers()][1] == "Hidden layer 2: LayerNorm"


def test_a_residual_layer_of_another_width_is_refused():
    with pytest.raises(OptionError, match="8 inputs and 4 outputs"):
        sl.MLP(spec_of(), hidden=[8, 4], residual=[1])


def test_old_configs_without_edits_are_read():
    old = {"hidden": [8], "activation": "relu", "dropout": 0.0}
    assert sl.MLP.from_config(spec_of(), old).config() == {**old, "residual": [], "replaced": {}}
