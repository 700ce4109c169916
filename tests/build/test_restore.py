"""Modules made of what a file holds."""

import pytest
import torch
from torch import nn

from sightline.build.restore import damaged, restored
from sightline.errors import BundleError


class Picky(nn.Linear):
    def load_state_dict(self, *arguments, **options):
        raise ValueError("a weight is odd")


def make():
    return nn.Linear(2, 1)


def test_it_is_filled():
    layer = make()
    again = restored(make, layer.state_dict(), "a.sightline", "layer")
    assert torch.equal(again.weight, layer.weight)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, "its tensors are not those"),
        ({"weight": torch.zeros(1, 2).int(), "bias": torch.zeros(1)}, "its tensors are not those"),
        ({"weight": torch.zeros(1, 2)}, "its tensors are not those"),
        (
            {"weight": torch.zeros(1, 2), "bias": torch.tensor([torch.inf])},
            "not all of its numbers",
        ),
    ],
)
def test_what_does_not_fit_is_refused(state, problem):
    with pytest.raises(BundleError, match=rf"^a\.sightline's layer is damaged: {problem}"):
        restored(make, state, "a.sightline", "layer")


def test_what_the_module_refuses_is_refused():
    with pytest.raises(BundleError, match="damaged: a weight is odd"):
        restored(lambda: Picky(2, 1), make().state_dict(), "a.sightline", "layer")
    assert "save the model again" in str(damaged("a", "layer", "it is odd"))


def test_sizes_that_a_file_has_made_up_take_no_memory():
    with pytest.raises(BundleError, match="its tensors are not those"):
        restored(lambda: nn.Linear(10**9, 10**6), make().state_dict(), "a.sightline", "layer")
