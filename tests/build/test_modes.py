import pytest
import torch
from torch import nn

from sightline.build.modes import evaluating


def test_evaluating_ends_as_it_began():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    with evaluating(network):
        assert not network.training
        assert not torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), evaluating(network):
        _ = 1 / 0
    assert network.training
    assert torch.is_grad_enabled()


def test_each_of_several_modules_gets_its_own_mode_back():
    first, second = nn.Dropout(), nn.Dropout().eval()
    with evaluating(first, second):
        assert not first.training
        assert not second.training
    assert first.training
    assert not second.training
