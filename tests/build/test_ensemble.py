import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.build.ensemble import Bins, Features, Members, Pieces, Waves
from sightline.contracts import CategoricalFeature, NumericFeature, Spec, Target
from sightline.errors import OptionError

EDGES = ((0.0, 1.0, 2.0, 5.0), (), (-1.0, 1.0))


def spec_of(edges=EDGES, cardinalities=(4, 3), classes=("a", "b", "c"), discrete=(0, 2)):
    target = Target("y", "classification", classes) if classes else Target("y", "regression")
    return Spec(
        tuple(NumericFeature(f"x{j}", f"x{j}", own, j in discrete) for j, own in enumerate(edges)),
        tuple(CategoricalFeature(f"c{j}", f"c{j}", n) for j, n in enumerate(cardinalities)),
        (target,),
    )


def rows(spec, count=6):
    torch.manual_seed(1)
    codes = [torch.randint(n, (count, 1)) for n in spec.cardinalities]
    empty = torch.zeros(count, 0)
    return torch.randn(count, len(spec.numeric)), torch.cat([empty, *codes], dim=1).int()


def test_pieces_are_shares_of_each_piece():
    found = Pieces(EDGES, segments=16)(torch.tensor([[1.5, 7.0, 0.0], [-3.0, 7.0, 9.0]]))
    assert found.tolist() == [[1.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]]


def test_many_edges_make_few_pieces():
    pieces = Pieces([tuple(float(i) for i in range(101))], segments=10)
    assert pieces.width == 10
    assert pieces(torch.tensor([[55.0]])).sum().item() == pytest.approx(5.5)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=30, unique=True),
    st.floats(-200, 200, width=32),
)
def test_pieces_rise_with_the_number(edges, x):
    edges = sorted(edges)
    pieces = Pieces([tuple(edges)], segments=64)
    low, high = pieces(torch.tensor([[x], [x + 1.0]])).sum(dim=1).tolist()
    assert 0 <= low <= high + 1e-4 <= len(edges) - 1 + 2e-4


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=30, unique=True),
    st.floats(-200, 200, width=32),
)
def test_bins_are_those_of_numpy(edges, x):
    edges = np.array(sorted(edges), np.float32)
    found = Bins([tuple(edges.tolist())])(torch.tensor([[x]]))
    assert found.dtype == torch.int32
    assert found.tolist() == [[int(np.searchsorted(edges[1:-1], np.float32(x)))]]


def test_columns_without_bins_are_left_out():
    bins = Bins(EDGES)
    assert bins.sizes == [3]  # two edges are one bin, none are a flag
    assert bins(torch.tensor([[1.5, 0.0, 0.0]])).tolist() == [[1]]
    assert list(Bins([()])(torch.zeros(2, 1)).shape) == [2, 0]


def test_waves_are_each_members_own_units_on_cosines():
    torch.manual_seed(0)
    waves = Waves([2, 0], members=3, waves=4, units=5)
    x = torch.randn(6, 3)
    found = waves(x)
    assert list(found.shape) == [3, 6, 10]
    cosines = torch.cos(x[:, [2]] * waves.frequency + waves.phase)
    units = torch.relu(
        cosines @ waves.weight[0] + waves.bias[0]
    )  # of all members, the first column
    assert torch.allclose(found[1, :, :5], units[:, 5:10], atol=1e-6)
    assert list(waves(x[:0]).shape) == [3, 0, 10]
    assert {name for name, _ in waves.named_parameters()} == {"weight", "bias"}  # fixed frequencies


def test_stops_add_up_to_what_the_activation_gets():
    spec = spec_of(discrete=(0,))
    network = sl.Ensemble(spec, members=2, hidden=[8], waves=4).eval()
    kept = {}
    for layer in network.layers():
        layer.module.register_forward_hook(
            lambda _, __, out, name=layer.name: kept.update({name: out})
        )
    network.activation.register_forward_hook(lambda _, given, __: kept.update(sum=given[0]))
    network(*rows(spec))
    own = [kept[name] for name in kept if name.startswith("Hidden layer 1")]
    assert len(own) == 2
    features = own[0].view(6, 2, 8).transpose(0, 1)
    assert torch.equal(features + own[1], kept["sum"])


def test_what_is_looked_up_has_no_waves():
    spec = spec_of(discrete=(0,))
    network = sl.Ensemble(spec, members=2, waves=4)
    assert network.bins.sizes == [3]
    assert network.waves.columns.tolist() == [2]
    assert sl.Ensemble(spec, members=2, waves=4, bins=False).waves.columns.tolist() == [0, 2]
    assert sl.Ensemble(spec, members=2).waves is None


def test_a_wide_table_has_few_units_a_column_and_then_none():
    wide = [spec_of(edges=((0.0, 1.0),) * n, cardinalities=(), discrete=()) for n in (32, 200)]
    assert sl.Ensemble(wide[0], members=1, waves=4).waves.units == 8
    assert sl.Ensemble(wide[1], members=1, waves=4).waves is None


@pytest.mark.parametrize("waves", [0, 4])
@pytest.mark.parametrize("bins", [True, False])
@pytest.mark.parametrize(
    "spec",
    [spec_of(), spec_of(edges=()), spec_of(cardinalities=()), spec_of(classes=None),
     spec_of(edges=((),), cardinalities=()), spec_of(discrete=())],
)  # fmt: skip
def test_shapes(spec, bins, waves):
    network = sl.Ensemble(spec, members=4, hidden=[8, 5], bins=bins, waves=waves).eval()
    numeric, codes = rows(spec)
    logits = network(numeric, codes)
    assert list(logits.shape) == [6, 4, spec.outputs]
    assert list(network(numeric[:0], codes[:0]).shape) == [0, 4, spec.outputs]
    again = sl.Ensemble.from_config(spec, network.config()).eval()
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(numeric, codes), logits)
    odd = slice(1, None, 2)
    torch.testing.assert_close(network(numeric, codes, odd), logits[:, odd])
    assert [layer.name for layer in network.layers()][-1].startswith("Output layer of 4 members")


def test_members_are_perceptrons_of_their_own():
    spec = spec_of()
    network = sl.Ensemble(spec, members=3, hidden=[8, 5]).eval()
    numeric, codes = rows(spec)
    before = network(numeric, codes)
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for layer in (*changed.hidden, changed.output):
            layer.weight[1] += 1.0
        changed.numbers.weight[:, 8:16] += 1.0  # the second member's first layer
        changed.numbers.vectors[:, 8:16] += 1.0
    after = changed(numeric, codes)
    assert torch.allclose(after[:, [0, 2]], before[:, [0, 2]], atol=1e-6)
    assert not torch.allclose(after[:, 1], before[:, 1], atol=1e-2)


def test_gradients_stay_with_their_member():
    spec = spec_of()
    network = sl.Ensemble(spec, members=3, hidden=[8], dropout=0.0, bins=False, waves=4)
    network(*rows(spec))[:, 1].sum().backward()
    own = network.waves.weight.grad.view(2, 4, 3, -1)  # a member never learns by another's
    assert not own[:, :, [0, 2]].any()
    assert own[:, :, 1].any()
    gradient = network.numbers.vectors.grad.view(-1, 3, 8)
    assert not gradient[:, [0, 2]].any()
    assert gradient[:, 1].any()


def test_missing_and_unseen_begin_as_nothing():
    network = sl.Ensemble(spec_of(), members=2, hidden=[4])
    vectors = network.numbers.vectors
    assert not vectors[[0, 1, 4, 5]].any()
    assert vectors[[2, 3, 6]].any(dim=1).all()


def test_dropout_drops_in_training_alone():
    spec = spec_of()
    network = sl.Ensemble(spec, members=2, hidden=[64], dropout=0.5)
    numeric, codes = rows(spec)
    network.train()
    assert not torch.equal(network(numeric, codes), network(numeric, codes))
    network.eval()
    assert torch.equal(network(numeric, codes), network(numeric, codes))
    torch.manual_seed(0)
    kept = network.train()._drop(torch.ones(3, 2000, 64))
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)
    assert set(kept.unique().tolist()) == {0.0, 2.0}


def test_a_wide_table_gets_fewer_pieces():
    spec = spec_of(edges=((0.0, 1.0, 2.0, 3.0, 4.0),) * 1500, cardinalities=())
    assert sl.Ensemble(spec, members=1, hidden=[2]).pieces.width == 1500


@pytest.mark.parametrize(
    ("options", "message"),
    [({"members": 0}, "members is 0"), ({"members": True}, "members is True"),
     ({"hidden": []}, "hidden is empty"), ({"hidden": [0]}, "hidden is"),
     ({"hidden": [2.5]}, "hidden is"), ({"dropout": 1.0}, "dropout is 1.0"),
     ({"activation": "rely"}, "relu"), ({"waves": -1}, "waves is -1"), ({"waves": True}, "waves is True")],
)  # fmt: skip
def test_what_makes_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        sl.Ensemble(spec_of(), **options)


def test_features_are_a_linear_layer_on_one_hot_codes():
    torch.manual_seed(0)
    layer = Features(3, [4, 2], 5, active=5)
    numbers, codes = (
        torch.randn(6, 3),
        torch.stack([torch.randint(4, (6,)), torch.randint(2, (6,))], 1),
    )
    hot = torch.cat([torch.nn.functional.one_hot(codes[:, i], n) for i, n in enumerate((4, 2))], 1)
    expected = numbers @ layer.weight + layer.bias + hot.float() @ layer.vectors
    found = layer(numbers, (codes + torch.tensor([0, 4])).int())
    assert torch.allclose(found, expected, atol=1e-5)


def test_members_are_linear_layers():
    torch.manual_seed(0)
    layer, x = Members(2, 3, 4), torch.randn(2, 5, 3)
    for m in range(2):
        expected = x[m] @ layer.weight[m] + layer.bias[m]
        assert torch.allclose(layer(x)[m], expected, atol=1e-6)


def test_without_pieces_bins_and_waves_numbers_come_as_they_are(species):
    spec = species.spec
    network = sl.Ensemble(spec, members=2, hidden=[8], bins=False, pieces=False).eval()
    assert (network.pieces.width, network.bins, network.waves) == (0, None, None)
    assert network.numbers.weight.shape[0] == len(spec.numeric)
    again = sl.Ensemble.from_config(spec, network.config()).eval()
    again.load_state_dict(network.state_dict())
    rows = species.train
    with torch.no_grad():
        assert torch.equal(
            again(rows.numeric, rows.categorical), network(rows.numeric, rows.categorical)
        )
    older = {name: value for name, value in sl.Ensemble(spec).config().items() if name != "pieces"}
    assert sl.Ensemble.from_config(spec, older).pieces.width > 0, "bundles of old do not say"
