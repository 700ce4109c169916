import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.networks import check_network
from tests.build.specs import inputs, spec_of


def test_flat_gives_numbers_then_each_category_one_hot():
    spec = spec_of(D=1, cardinalities=(4, 3))
    flat = sl.Flat(spec, nn.Identity())
    out = flat(torch.tensor([[0.5], [7.0]]), torch.tensor([[0, 2], [3, 1]], dtype=torch.int32))
    assert out.tolist() == [[0.5, 1, 0, 0, 0, 0, 0, 1], [7.0, 0, 0, 0, 1, 0, 1, 0]]
    assert out.shape[1] == spec.flat_width


@pytest.mark.parametrize("spec", [spec_of(D=0), spec_of(cardinalities=())])
def test_flat_without_numbers_or_categories(spec):
    network = sl.Flat(spec, nn.Linear(spec.flat_width, 3))
    check_network(network, spec)
    assert network(*inputs(spec)).shape == (5, 3)
