"""Widen, deepen, replace: outputs stay, configs stay true, and nothing else may happen."""

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import sightline as sl
from sightline.build.networks import check_network
from sightline.build.parts import ACTIVATIONS, HiddenLayer
from sightline.build.surgery import (
    deepen,
    make_module,
    parameters_below,
    replace_module,
    widen,
)
from sightline.errors import NetworkError, OptionError, UserError
from tests.build.specs import inputs, spec_of

SPECS = [
    spec_of(), spec_of(D=0), spec_of(cardinalities=()), spec_of(classes=()),
    spec_of(D=5, cardinalities=(3, 300), classes=("a", "b")),
]  # fmt: skip


def outputs(network, given_):
    with torch.no_grad():
        return network.eval()(*given_)


def hidden_names(network):
    return [
        name for name, layer in network.chain()[:-1] if isinstance(layer, HiddenLayer | nn.Linear)
    ]


def draw_widths(data, least=1, most=3):
    return data.draw(st.lists(st.integers(1, 9), min_size=least, max_size=most), "hidden")


def draw_mlp(data):
    torch.manual_seed(data.draw(st.integers(0, 99), "seed"))
    return sl.MLP(
        data.draw(st.sampled_from(SPECS), "spec"), draw_widths(data),
        activation=data.draw(st.sampled_from(sorted(ACTIVATIONS)), "activation"),
        dropout=data.draw(st.sampled_from([0.0, 0.3]), "dropout"),
    )  # fmt: skip


def draw_flat(data):
    torch.manual_seed(data.draw(st.integers(0, 99), "seed"))
    spec = data.draw(st.sampled_from(SPECS), "spec")
    layers, width = [], spec.flat_width
    for outputs_ in draw_widths(data):
        layers.append(nn.Linear(width, outputs_, bias=data.draw(st.booleans(), "bias")))
        more = [*(made() for made in ACTIVATIONS.values()), nn.Dropout(0.2), nn.Identity()]
        layers += data.draw(st.lists(st.sampled_from(more), max_size=2), "between")
        width = outputs_
    layers.append(nn.Linear(width, spec.outputs))
    names = [f"part_{n}" for n in range(len(layers))]
    if data.draw(st.booleans(), "named"):
        inner = nn.Sequential(OrderedDict(zip(names, layers, strict=True)))
    else:
        inner = nn.Sequential(*layers)
    network = sl.Flat(spec, inner)
    network.spec = spec
    return network


def wake(network):
    """Give everything that starts at zero another value, as training would."""
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p) * 0.1)


def edit_at_random(data, network):
    name = data.draw(st.sampled_from(hidden_names(network)), "layer")
    layer = dict(network.chain())[name]
    width = (layer.linear if isinstance(layer, HiddenLayer) else layer).out_features
    if data.draw(st.booleans(), "widen"):
        widen(network, name, width + data.draw(st.integers(1, 7), "more"))
    else:
        deepen(network, name)


@pytest.mark.parametrize("draw", [draw_mlp, draw_flat])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_edits_in_any_order_keep_the_outputs(draw, data):
    network = draw(data)
    given_ = inputs(network.spec, rows=7)
    for _ in range(data.draw(st.integers(1, 5), "edits")):
        before = outputs(network, given_)
        size = sum(p.numel() for p in network.parameters())
        edit_at_random(data, network)
        assert sum(p.numel() for p in network.parameters()) > size
        torch.testing.assert_close(outputs(network, given_), before, rtol=1e-5, atol=1e-5)
        wake(network)
        check_network(network, network.spec)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_config_is_true_after_any_edits(data):
    network = draw_mlp(data)
    for _ in range(data.draw(st.integers(1, 5), "edits")):
        edit_at_random(data, network)
        if data.draw(st.booleans(), "replace"):
            name = data.draw(st.sampled_from(hidden_names(network)), "replaced")
            part = data.draw(st.sampled_from(["activation", "linear", "whole"]), "part")
            replace_at_random(data, network, name, part)
    wake(network)
    config = json.loads(json.dumps(network.config()))
    again = sl.MLP.from_config(network.spec, config)
    again.load_state_dict(network.state_dict())
    assert again.config() == config
    assert [n for n, _ in again.named_modules()] == [n for n, _ in network.named_modules()]
    given_ = inputs(network.spec)
    assert torch.equal(outputs(again, given_), outputs(network, given_))


def replace_at_random(data, network, name, part):
    layer = dict(network.chain())[name]
    inner = layer.linear if isinstance(layer, HiddenLayer) else layer
    linear = f"Linear({inner.in_features}, {inner.out_features}, bias={data.draw(st.booleans())})"
    if part == "activation" and isinstance(layer, HiddenLayer):
        network.replace(f"{name}.activation", data.draw(st.sampled_from(["GELU()", "ELU(0.5)"])))
    elif part == "linear" and isinstance(layer, HiddenLayer):
        network.replace(f"{name}.linear", linear)
    elif not (isinstance(layer, HiddenLayer) and layer.scale is not None):
        network.replace(name, linear)


@pytest.mark.parametrize(
    ("hidden", "name", "module"),
    [
        ([8, 8], "hidden.1", "Identity()"),
        ([8, 8], "hidden.1", "LayerNorm(8)"),
        ([8, 4], "hidden.1", "GLU()"),
        ([8, 8], "hidden.1.linear", "BatchNorm1d(8)"),
        ([8, 6, 4], "hidden.1", "Linear(8, 6)"),
        ([8, 6], "hidden.1.activation", "Softmax(dim=1)"),
        ([8, 3], "output", "Identity()"),
        ([8], "output", "Linear(8, 3, bias=False)"),
    ],
)
def test_config_knows_what_was_put_in_a_layers_place(hidden, name, module):
    spec = spec_of()
    network = sl.MLP(spec, hidden)
    network.replace(name, module)
    check_network(network, spec)
    config = json.loads(json.dumps(network.config()))
    again = sl.MLP.from_config(spec, config)
    again.load_state_dict(network.state_dict())
    given_ = inputs(spec)
    assert torch.equal(outputs(again, given_), outputs(network, given_))


def test_what_is_inside_a_replaced_module_is_forgotten():
    network = sl.MLP(spec_of(), [8, 8])
    network.replace("hidden.1.activation", "GELU()")
    network.replace("hidden.1", "Linear(8, 8)")
    assert list(network.config()["replaced"]) == ["hidden.1"]
    sl.MLP.from_config(spec_of(), network.config()).load_state_dict(network.state_dict())


def test_replaced_names_move_with_their_layers():
    network = sl.MLP(spec_of(), [8, 8])
    network.replace("hidden.1.activation", "GELU()")
    deepen(network, "hidden.0")
    assert network.config()["replaced"] == {"hidden.2.activation": "GELU()"}
    assert isinstance(network.hidden[2].activation, nn.GELU)
    assert isinstance(network.hidden[1].activation, nn.ReLU)


# ------------------------------------------------------------- what new units are


@pytest.mark.parametrize("bias", [True, False])
def test_old_units_come_first_and_new_ones_start_silent(bias):
    torch.manual_seed(0)
    network = sl.Flat(spec_of(), nn.Sequential(nn.Linear(9, 4, bias), nn.Tanh(), nn.Linear(4, 3)))
    old, out = network.module[0].weight.clone(), network.module[2].weight.clone()
    widen(network, "module.0", 6)
    first, last = network.module[0], network.module[2]
    assert torch.equal(first.weight[:4], old)
    assert (first.weight[4:] != 0).all()
    assert (first.bias is not None) is bias
    assert torch.equal(last.weight[:, :4], out)
    assert (last.weight[:, 4:] == 0).all()
    assert (first.out_features, last.in_features) == (6, 6)


@pytest.mark.parametrize("edit", ["widen", "deepen"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_new_units_learn(edit, activation):
    torch.manual_seed(0)
    spec = spec_of()
    network = sl.MLP(spec, [5], activation=activation)
    numeric, categorical = inputs(spec, 32)
    target = torch.randint(3, (32,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
    before = F.cross_entropy(network(numeric, categorical), target).item()
    if edit == "widen":
        widen(network, "hidden.0", 8)
    else:
        deepen(network, "hidden.0")
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
    first = {name: p.detach().clone() for name, p in network.named_parameters()}
    for _ in range(12):
        loss = F.cross_entropy(network(numeric, categorical), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = {name: p.detach() != first[name] for name, p in network.named_parameters()}
    assert loss.item() < before
    if edit == "widen":
        assert moved["output.weight"][:, 5:].any()
        assert moved["hidden.0.linear.weight"][5:].any()
    else:
        assert moved["hidden.1.scale"].any()
        assert moved["hidden.1.linear.weight"].any()


def test_residual_layers_grow_together():
    network = sl.MLP(spec_of(), [4, 6])
    deepen(network, "hidden.0")
    deepen(network, "hidden.1")
    wake(network)
    given_ = inputs(network.spec)
    before = outputs(network, given_)
    widen(network, "hidden.2", 9)
    assert network.config()["hidden"] == [9, 9, 9, 6]
    assert network.config()["residual"] == [1, 2]
    torch.testing.assert_close(outputs(network, given_), before, rtol=1e-5, atol=1e-6)


def test_frozen_layers_stay_frozen():
    network = sl.MLP(spec_of(), [4])
    deepen(network, "hidden.0")
    network.hidden.requires_grad_(False)
    widen(network, "hidden.0", 7)
    assert not any(p.requires_grad for p in network.hidden.parameters())
    assert all(p.requires_grad for p in network.output.parameters())


def test_a_shared_activation_stays_shared():
    shared = nn.Tanh()
    network = sl.Flat(
        spec_of(),
        nn.Sequential(nn.Linear(9, 4), shared, nn.Linear(4, 5), shared, nn.Linear(5, 3)),
    )
    given_ = inputs(spec_of())
    before = outputs(network, given_)
    deepen(network, "module.2")
    widen(network, "module.0", 8)
    torch.testing.assert_close(outputs(network, given_), before)
    assert isinstance(network.module[4], HiddenLayer)
    assert isinstance(network.module[4].activation, nn.Tanh)


# ------------------------------------------------------------- refusals

LINEAR = [nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hiden.0", r"no hidden layer 'hiden\.0'\. Did you mean 'hidden\.0'"),
        ("hidden.7", r"no hidden layer 'hidden\.7'"),
        ("output", r"no hidden layer 'output'\. The hidden layers are: 'hidden\.0', 'hidden\.1'"),
        ("", "no hidden layer ''"),
    ],
)
def test_a_layer_that_is_not_there(name, said):
    network = sl.MLP(spec_of(), [4, 3])
    for edit in (lambda: widen(network, name, 9), lambda: deepen(network, name)):
        with pytest.raises(OptionError, match=said):
            edit()
    assert network.config()["hidden"] == [4, 3]


@pytest.mark.parametrize("width", [4, 3, 0, -1, 5.5, "8", True, None])
def test_only_a_larger_whole_width(width):
    network = sl.MLP(spec_of(), [4])
    with pytest.raises(OptionError, match=r"hidden\.0 cannot be widened from 4 units to"):
        widen(network, "hidden.0", width)


def test_a_linear_model_has_nothing_to_widen():
    for network in (sl.MLP(spec_of(), []), sl.Flat(spec_of(), nn.Linear(9, 3))):
        with pytest.raises(OptionError, match="no hidden layer"):
            widen(network, "hidden.0", 9)


class NoChain(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2, 3)

    def forward(self, numeric, categorical):
        return self.last(numeric)


def test_a_network_without_a_chain():
    for edit in (lambda: widen(NoChain(), "last", 9), lambda: deepen(NoChain(), "last")):
        with pytest.raises(NetworkError, match=r"NoChain cannot be widened or deepened.*chain\(\)"):
            edit()


@pytest.mark.parametrize(
    "mixing", [nn.LayerNorm(4), nn.Softmax(dim=1), nn.BatchNorm1d(4), nn.Conv1d(1, 1, 1)]
)
def test_what_mixes_units_is_refused(mixing):
    network = sl.Flat(spec_of(), nn.Sequential(nn.Linear(9, 4), mixing, nn.Linear(4, 3)))
    with pytest.raises(NetworkError, match=rf"module\.1 has a {type(mixing).__name__}"):
        widen(network, "module.0", 9)
    with pytest.raises(NetworkError, match=rf"module\.1 has a {type(mixing).__name__}"):
        deepen(network, "module.0")


@pytest.mark.parametrize("part", ["activation", "dropout"])
def test_what_mixes_units_inside_a_layer_is_refused(part):
    network = sl.MLP(spec_of(), [4], dropout=0.1)
    network.replace(f"hidden.0.{part}", "Softmax(dim=1)")
    with pytest.raises(NetworkError, match=r"hidden\.0 has a Softmax"):
        widen(network, "hidden.0", 9)


def test_a_sequential_with_a_forward_of_its_own_is_no_chain():
    class Skip(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + x[:, :3]

    with pytest.raises(NetworkError, match="module has a Skip"):
        widen(sl.Flat(spec_of(), Skip(*LINEAR)), "module.0", 9)


def test_a_residual_layer_at_the_start_is_as_wide_as_the_features():
    first = HiddenLayer(9, 9, "relu", 0.0, residual=True)
    network = sl.Flat(spec_of(), nn.Sequential(first, nn.Linear(9, 3)))
    with pytest.raises(NetworkError, match=r"module\.0 has a residual connection to the features"):
        widen(network, "module.0", 12)


# ------------------------------------------------------------- replace

CODE = [
    "__import__('os').system('touch BAD')",
    "GELU(__import__('pathlib').Path('BAD').touch())",
    "(lambda: open('BAD', 'w'))()",
    "eval(\"open('BAD', 'w')\")",
    "[open('BAD', 'w') for _ in 'a'][0]",
    "Linear(*open('BAD', 'w'))",
    "Linear(3, open('BAD', 'w').fileno())",
    "nn.init.os.open('BAD')",
    "functional.relu(1)",
    "GELU",
    "GELU()()",
    "Gelu()",
    "",
    "  ",
    "a = GELU()",
    "import os",
    "GELU(); print()",
    "Linear(3)",
    "Linear(3, 'four')",
    "Linear(3, 4, bios=True)",
    "Linear(**{'in_features': 3, 'out_features': 4})",
    "MultiheadAttention(5, 2)",
    "Dropout(7)",
    "Linear(10**3, 4)",
    "(" * 500 + ")" * 500,
]


@pytest.mark.parametrize("text", CODE)
def test_text_that_is_no_layer_runs_nothing(text, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    network = sl.MLP(spec_of(), [4])
    with pytest.raises(
        OptionError, match=r"is not a layer: .*Write a layer of torch\.nn"
    ) as caught:
        replace_module(network, "hidden.0.activation", text)
    assert repr(text) in str(caught.value)
    assert list(Path().iterdir()) == []
    assert capfd.readouterr().out == ""
    assert isinstance(network.hidden[0].activation, nn.ReLU)


@pytest.mark.parametrize(
    "module",
    [
        nn.GELU(), nn.GELU("tanh"), nn.LeakyReLU(0.3), nn.Linear(3, 4, bias=False), nn.Dropout(0.25),
        nn.LayerNorm(8), nn.BatchNorm1d(8), nn.ELU(0.5), nn.Identity(), nn.PReLU(),
        nn.Softmax(dim=1), nn.RMSNorm(4), nn.Hardtanh(-2.0, 2.0),
    ],
)  # fmt: skip
def test_a_layer_is_taken_by_its_text(module):
    assert str(make_module(str(module))) == str(module)
    assert sl.Replace("x", module) == sl.Replace("x", str(module))


@pytest.mark.parametrize("text", ["nn.GELU()", "torch.nn.GELU()", "  GELU( )  "])
def test_ways_to_write_a_layer(text):
    assert isinstance(make_module(text), nn.GELU)


def test_a_module_that_is_not_there():
    with pytest.raises(OptionError, match=r"no module 'hidden\.0\.act'\. Did you mean"):
        replace_module(sl.MLP(spec_of(), [4]), "hidden.0.act", "GELU()")
    with pytest.raises(OptionError, match="no module ''"):
        replace_module(sl.MLP(spec_of(), [4]), "", "GELU()")


def test_weights_that_fit_carry_over():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    network[1].running_mean.fill_(2.5)
    weight, bias = network[0].weight, network[0].bias
    replace_module(network, "0", "Linear(3, 4, bias=False)")
    assert torch.equal(network[0].weight, weight)
    replace_module(network, "0", "Linear(9, 4)")
    assert network[0].weight.shape == (4, 9)
    assert not torch.equal(network[0].bias, bias)
    replace_module(network, "1", "BatchNorm1d(4, eps=0.1)")
    assert (network[1].running_mean == 2.5).all()
    assert not network[1].training


# ------------------------------------------------------------- parameters


def test_parameters_below_a_name():
    network = sl.MLP(spec_of(), [4, 4])
    names = {name for name, _ in parameters_below(network, "hidden.1")}
    assert names == {"hidden.1.linear.weight", "hidden.1.linear.bias"}
    assert [n for n, _ in parameters_below(network, "output.bias")] == ["output.bias"]
    assert len(parameters_below(network, "embeddings")) == 1


@pytest.mark.parametrize("name", ["hidden.", "hid", "", "outputs", "hidden.0.activation"])
def test_parameters_that_are_not_there(name):
    with pytest.raises(UserError, match="no parameter"):
        parameters_below(sl.MLP(spec_of(), [4]), name)


def test_a_parameter_that_was_meant():
    with pytest.raises(OptionError, match=r"Did you mean 'output\.weight'"):
        parameters_below(sl.MLP(spec_of(), [4]), "output.weigth")
