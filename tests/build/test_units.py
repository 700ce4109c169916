"""One unit of each kind, worked out: of sl.MLP alone, and of nothing that only looks like it."""

import torch
from torch import nn

import sightline as sl
from sightline.build.units import show_units


class Skips(sl.MLP):
    """A subclass whose forward leaves its layers out."""

    def forward(self, numeric, categorical):
        return numeric[:, :3] * self.output.weight.sum()


def row(species):
    return species.train.numeric[:1], species.train.categorical[:1]


def names(species):
    return [feature.name for feature in species.spec.numeric]


def test_the_sums_are_those_of_the_network(species):
    network = sl.MLP(species.spec, hidden=[8])
    hidden, output = show_units(network, *row(species), names(species))
    with torch.no_grad():
        logits = network(*row(species))
    assert abs(output["sum"] - float(logits[0, 0])) < 1e-5
    assert hidden["output"] == max(0.0, hidden["sum"])


def test_a_network_of_your_own_that_is_an_mlp_by_name_shows_none(species):
    assert show_units(Skips(species.spec), *row(species), names(species)) == []


def test_an_output_without_a_bias_shows_none(species):
    network = sl.MLP(species.spec)
    network.output = nn.Linear(64, 3, bias=False)
    assert show_units(network, *row(species), names(species)) == []


def test_a_subclass_is_fitted(penguins, tmp_path):
    run = sl.fit(penguins, "species", network=Skips, epochs=1, run=tmp_path / "r", quiet=True)
    assert run.find("run", "end")
