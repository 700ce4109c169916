import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sightline.build.parts import (
    ACTIVATIONS,
    CategoryEmbeddings,
    HiddenLayer,
    embedding_width,
    is_elementwise,
    make_activation,
)
from sightline.errors import OptionError


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name):
    activation = make_activation(name)
    assert isinstance(activation, nn.Module)
    assert activation(torch.randn(2, 3)).shape == (2, 3)


def test_an_unknown_activation_is_named_with_the_nearest():
    with pytest.raises(OptionError, match=r"no activation 'rellu'. Did you mean 'relu'\?"):
        make_activation("rellu")


@given(st.integers(2, 10**7))
def test_a_vector_is_never_wider_for_fewer_categories(cardinality):
    assert 2 <= embedding_width(cardinality) <= embedding_width(cardinality + 1) <= 50


@settings(deadline=None)  # how long it takes depends on the machine
@given(st.lists(st.integers(2, 400), min_size=1, max_size=6), st.integers(0, 5))
def test_each_column_has_vectors_of_its_own(cardinalities, rows):
    embeddings = CategoryEmbeddings(cardinalities)
    codes = torch.stack([torch.randint(n, (rows,)) for n in cardinalities], dim=1).int()
    out = embeddings(codes)
    assert out.shape == (rows, embeddings.width)
    assert embeddings.width == sum(map(embedding_width, cardinalities))
    if not rows:
        return
    # Each code of each column reaches weights that no other code reaches.
    touched = []
    for column, cardinality in enumerate(cardinalities):
        for code in {0, 1, cardinality - 1}:
            embeddings.zero_grad()
            probe = torch.zeros(1, len(cardinalities), dtype=torch.int32)
            probe[0, column] = code
            embeddings(probe).sum().backward()
            touched.append(torch.cat([(t.weight.grad != 0).flatten() for t in embeddings.tables]))
    assert (
        len({tuple(mask.tolist()) for mask in touched})
        == len({(c, code) for c, n in enumerate(cardinalities) for code in {0, 1, n - 1} if code})
        + 1
    )  # code 0 of every column is the same probe


def test_what_training_never_shows_is_the_middle_and_not_noise():
    embeddings = CategoryEmbeddings([4, 9, 9])
    for code in (0, 1):
        assert (embeddings(torch.full((1, 3), code, dtype=torch.int32)) == 0).all()
    assert (embeddings(torch.full((1, 3), 2, dtype=torch.int32)) != 0).all()


# ------------------------------------------------------------- layers


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_residual_layer_starts_as_nothing(activation, dropout):
    x = torch.randn(6, 5)
    layer = HiddenLayer(5, 5, activation, dropout, residual=True)
    assert torch.equal(layer(x), x)
    layer.scale.data.fill_(1.0)
    assert not torch.equal(layer(x), x)


def test_a_residual_layer_keeps_the_width():
    with pytest.raises(OptionError, match="4 inputs and 5 outputs"):
        HiddenLayer(4, 5, "relu", 0.0, residual=True)


def test_a_hidden_layer_is_linear_activation_dropout():
    x = torch.randn(6, 5)
    layer = HiddenLayer(5, 7, "tanh", 0.5)
    assert layer.width == 7
    assert layer.scale is None
    out = layer.eval()(x)
    wanted = torch.tanh(x @ layer.linear.weight.T + layer.linear.bias)
    assert torch.allclose(out, wanted, atol=1e-6)
    dropped = layer.train()(x)
    assert (dropped == 0).any()


@pytest.mark.parametrize(
    "module", [*(made() for made in ACTIVATIONS.values()), nn.Identity(), nn.Dropout(0.1)]
)
def test_what_is_elementwise_changes_with_its_own_input_alone(module):
    assert is_elementwise(module)
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    module.eval()
    torch.testing.assert_close(module(x)[:, :2], module(x[:, :2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        nn.LayerNorm(3), nn.RMSNorm(3), nn.BatchNorm1d(3), nn.Softmax(1), nn.GLU(), nn.Linear(3, 3),
        nn.Sequential(nn.ReLU()), nn.PReLU(3),
    ],
)  # fmt: skip
def test_what_is_not_elementwise(module):
    assert not is_elementwise(module)
