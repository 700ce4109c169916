"""Networks as ONNX nodes, beside the modules: each piece alone, then whole."""

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.ensemble import Bins, Ensemble
from sightline.build.parts import ACTIVATIONS
from sightline.contracts import CategoricalFeature, NumericFeature, Spec, Target
from sightline.errors import NetworkError
from sightline.export.networks import write_network
from tests.export.running import Written
from tests.predict.tables import columns, train

EDGES = (-2.0, -0.5, 0.0, 0.25, 1.0, 3.0)


def spec(outputs=3, numbers=3, codes=2, discrete=True):
    numeric = [
        NumericFeature(f"n{i}", f"n{i}", EDGES if i < 2 else (), discrete and i == 0)
        for i in range(numbers)
    ]
    target = (
        Target("y", "classification", tuple(range(outputs)), outputs - 1 if outputs == 2 else None)
        if outputs > 1 else Target("y", "regression")
    )  # fmt: skip
    categories = tuple(CategoricalFeature(f"c{i}", f"c{i}", 4 + i) for i in range(codes))
    return Spec(tuple(numeric), categories, (target,))


def rows(described, seed=0, count=50):
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, len(described.numeric))).astype(np.float32)
    x[: len(EDGES), :2] = np.array(EDGES, np.float32)[:, None]  # at the edges
    x[6:12, :2] = np.nextafter(x[:6, :2], np.float32(9))
    codes = np.stack(
        [random.integers(0, size, count) for size in described.cardinalities] or [[]], axis=1
    )
    return x, codes[:count]


def both(network, described):
    network = randomised(network).eval()
    x, codes = rows(described)
    written = Written(x.shape[1], len(described.categorical))
    logits, of_members = write_network(written.graph, network, written.prepared)
    found = written.run(logits, np.float32, 3 if of_members else 2, x, codes)
    categorical = (
        torch.from_numpy(codes).int()
        if len(described.categorical)
        else torch.zeros(len(x), 0, dtype=torch.int32)
    )
    with torch.no_grad():
        return found, network(torch.from_numpy(x), categorical).numpy(), written.graph


def randomised(network):
    """Give every parameter and buffer of statistics a value of its own."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("waves", [0, 8])
@pytest.mark.parametrize("bins", [False, True])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_ensemble(outputs, bins, waves):
    described = spec(outputs)
    network = Ensemble(described, members=4, hidden=[16, 8], bins=bins, waves=waves)
    found, wanted, graph = both(network, described)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    kinds = {node.op_type for node in graph.model().graph.node}
    assert not kinds & {"Loop", "Scan", "If", "SequenceAt", "RandomNormal", "RandomUniform"}


@pytest.mark.parametrize(("numbers", "codes"), [(3, 0), (1, 2), (3, 1)])
def test_the_ensemble_without_some_inputs(numbers, codes):
    described = spec(3, numbers, codes)
    found, wanted, _ = both(Ensemble(described, members=2, hidden=[8]), described)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    described = spec()
    network = Ensemble(described, members=2, hidden=[8], activation=activation)
    found, wanted, _ = both(network, described)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_unknown_activation_is_refused():
    described = spec()
    network = Ensemble(described, members=2, hidden=[8])
    network.activation = nn.Softplus()
    with pytest.raises(NetworkError, match="Softplus has no ONNX form"):
        both(network, described)


def test_a_bin_begins_where_its_column_does():
    described = spec(codes=2)
    network = Ensemble(described, members=2, hidden=[4])
    assert isinstance(network.bins, Bins)
    assert network.starts.tolist() == [0, 4, 9]


class Normed(nn.Module):
    """Batch norm, dropout, layer norm, an embedding: as people write networks."""

    def __init__(self, described):
        super().__init__()
        self.look_up = nn.Embedding(described.cardinalities[0], 3)
        width = len(described.numeric) + 3
        self.net = nn.Sequential(
            nn.Linear(width, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(16),
            nn.Linear(16, described.outputs),
        )  # fmt: skip

    def forward(self, numbers, codes):
        return self.net(torch.cat([numbers, self.look_up(codes[:, 0].long())], dim=1))


class Branching(nn.Module):
    def __init__(self, described):
        super().__init__()
        self.linear = nn.Linear(len(described.numeric), described.outputs)

    def forward(self, numbers, codes):
        if numbers.sum() > 0:  # the line that is named
            return self.linear(numbers)
        return self.linear(-numbers)


@pytest.mark.parametrize("make", [
    lambda s: sl.MLP(s, hidden=[16, 16], residual=[1]), Normed,
    lambda s: sl.Flat(s, nn.Sequential(nn.Linear(s.flat_width, 8), nn.ReLU(), nn.Linear(8, s.outputs))),
])  # fmt: skip
def test_a_module_that_pytorch_exports(make, capfd):
    described = spec()
    found, wanted, _ = both(make(described), described)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert capfd.readouterr() == ("", "")  # PyTorch's exporter is talkative


def test_a_module_without_categories():
    described = spec(codes=0)
    found, wanted, _ = both(sl.MLP(described, hidden=[8]), described)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_forward_that_branches_on_its_data_is_refused_with_its_line():
    described = spec()
    with pytest.raises(
        NetworkError, match=r"test_networks\.py, line \d+: if numbers\.sum\(\) > 0"
    ) as caught:
        both(Branching(described), described)
    assert "torch.where" in str(caught.value)
    assert "Branching cannot be exported" in str(caught.value)


class Deaf(nn.Module):
    """Ignores the categories, and has members of its own kind."""

    def __init__(self, described):
        super().__init__()
        self.members = nn.ModuleList(
            nn.Linear(len(described.numeric), described.outputs) for _ in range(3)
        )

    def forward(self, numbers, codes):
        return torch.stack([member(numbers) for member in self.members], dim=1)


def test_a_network_that_ignores_its_categories(tmp_path):
    model = train(columns(), network=Deaf)
    assert model.to_onnx(tmp_path / "m.onnx", check=columns())["largest_difference"] <= 1e-5
    assert "probabilities_members" in sl.OnnxModel.load(tmp_path / "m.onnx").output_names
