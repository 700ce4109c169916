"""Copies of weights: averages, the best, the last good ones."""

import pytest
import torch
from torch import nn

from sightline.train.weights import Average, WeightsCopy


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def move(made, by=1.0):
    with torch.no_grad():
        for p in made.parameters():
            p.add_(by)


def values(made):
    return {name: p.detach().clone() for name, p in made.named_parameters()}


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_an_average_is_the_sum_it_stands_for(decay):
    made = network()
    average = Average(made, decay)
    expected = values(made)
    for step in range(1, 30):
        move(made, step * 0.1)
        average.update(step)
        d = min(decay, (1 + step) / (10 + step))
        for name, p in made.named_parameters():
            expected[name] = d * expected[name] + (1 - d) * p.detach()
    for name, value in average.values.items():
        torch.testing.assert_close(value, expected[name])
    first = values(made)
    if decay == 0:
        assert all(torch.equal(average.values[name], first[name]) for name in first)
    else:
        assert all(not torch.equal(average.values[name], first[name]) for name in first)


def test_averages_are_in_place_only_for_a_while():
    made = network()
    average = Average(made, 0.5)
    move(made)
    average.update(100)
    own = values(made)
    with average.in_place():
        inside = values(made)
    assert all(torch.equal(inside[name], average.values[name]) for name in inside)
    assert all(not torch.equal(inside[name], own[name]) for name in inside)
    after = values(made)
    assert all(torch.equal(own[name], after[name]) for name in own)
    with pytest.raises(ZeroDivisionError), average.in_place():
        raise ZeroDivisionError
    after = values(made)
    assert all(torch.equal(own[name], after[name]) for name in own)
    move(made)
    average.update(101)  # it still follows the network's own weights
    for name, p in made.named_parameters():
        torch.testing.assert_close(average.values[name], (inside[name] + p.detach()) / 2)


def test_averages_are_set():
    made = network()
    average = Average(made, 0.5)
    average.set({name: torch.full_like(p, 7.0) for name, p in made.named_parameters()})
    with average.in_place():
        assert all((p == 7).all() for p in made.parameters())
    with pytest.raises(KeyError):
        average.set({"nothing": torch.zeros(1)})


def test_a_copy_is_kept_and_put_back():
    made = network()
    kept = WeightsCopy(made, structure=0)
    first = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    made(torch.randn(8, 3)).sum().backward()  # gradients, and other buffers
    move(made)
    assert all(p.grad is None for p in kept.network.parameters())
    for name, tensor in kept.network.state_dict().items():
        assert torch.equal(tensor, first[name])
        if name != "1.num_batches_tracked":
            assert not torch.equal(tensor, made.state_dict()[name])
    same = kept.network
    kept.keep(made, structure=0)
    assert kept.network is same, "copied in place while the structure is the same"
    for name, tensor in kept.network.state_dict().items():
        assert torch.equal(tensor, made.state_dict()[name])
    second = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    move(made)
    with torch.no_grad():
        made[1].running_mean.fill_(float("nan"))
    kept.put_back(made)
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, second[name])


def test_another_structure_is_copied_anew():
    made = network()
    kept = WeightsCopy(made, structure=0)
    old = kept.network
    made.append(nn.Linear(2, 2))
    kept.keep(made, structure=1)
    assert len(old) == 3
    assert len(kept.network) == 4
    move(made)
    assert not torch.equal(kept.network[3].weight, made[3].weight)
    kept.put_back(made)
    assert torch.equal(kept.network[3].weight, made[3].weight)


def test_weights_are_not_put_back_into_another_structure():
    kept = WeightsCopy(network(), structure=0)
    with pytest.raises(ValueError, match="zip"):
        kept.put_back(nn.Sequential(nn.Linear(3, 4)))


def test_averages_are_what_is_copied_while_they_are_in_place():
    made = network()
    kept = WeightsCopy(made, structure=0)
    average = Average(made, 0.5)
    move(made)
    average.update(100)
    with average.in_place():
        kept.keep(made, structure=0)
    for name, p in kept.network.named_parameters():
        assert torch.equal(p, average.values[name])
