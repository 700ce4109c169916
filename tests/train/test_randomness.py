"""What dropout draws is a function of the seed and the step alone."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import sightline as sl
from sightline.train.randomness import QUIET, Randomness, mixed
from tests.train.test_training import network, same, train, weights

CPU = torch.device("cpu")


def draws(randomness, number, count=4):
    with randomness.at(number):
        return torch.rand(count)


def test_draws_depend_on_seed_and_step_alone():
    first, again, other = (Randomness(nn.Dropout(), seed, CPU) for seed in (0, 0, 1))
    expected = draws(first, 7)
    torch.rand(100)
    draws(again, 3)
    assert torch.equal(draws(again, 7), expected)
    assert not torch.equal(draws(first, 8), expected)
    assert not torch.equal(draws(other, 7), expected)


def test_the_global_generator_is_not_disturbed():
    randomness = Randomness(nn.Dropout(), 0, CPU)
    torch.manual_seed(5)
    expected = torch.rand(6)
    torch.manual_seed(5)
    found = [torch.rand(3)]
    draws(randomness, 1, 50)
    with pytest.raises(ZeroDivisionError), randomness.at(2):
        torch.rand(9).fill_(1 / 0)
    found.append(torch.rand(3))
    assert torch.equal(torch.cat(found), expected)


def test_a_network_that_draws_nothing_costs_nothing():
    randomness = Randomness(nn.Linear(2, 2), 0, CPU)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with randomness.at(1):
        assert torch.equal(torch.rand(2), expected), "the global generator itself"
    with randomness.at(1, always=True):
        always = torch.rand(2)
    assert torch.equal(draws(Randomness(nn.Dropout(), 0, CPU), 1, 2), always)


class Own(nn.Linear):
    """May draw, being somebody's own."""


@pytest.mark.parametrize(
    ("made", "used"),
    [
        (nn.Linear(2, 2), False), (nn.Dropout(0.0), False), (nn.Dropout(0.1), True),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), False), (nn.Sequential(nn.RReLU()), True),
        (nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.2)), True), (Own(2, 2), True),
        (nn.AlphaDropout(0.0), True), (nn.BatchNorm1d(3), False),
    ],
)  # fmt: skip
def test_who_may_draw(made, used):
    assert Randomness(made, 0, CPU).used is used


def test_built_in_networks_draw_only_with_dropout(species):
    assert not Randomness(network(species), 0, CPU).used
    assert Randomness(network(species, dropout=0.1), 0, CPU).used
    changed = network(species)
    changed.replace("hidden.0.activation", "RReLU()")
    assert Randomness(changed, 0, CPU).used


@pytest.mark.parametrize("kind", [kind for kind in QUIET if kind.__module__.startswith("torch")])
def test_what_is_held_to_be_quiet_is(kind):
    values = {nn.Linear: (4, 4), nn.Embedding: (5, 4), nn.LayerNorm: (4,), nn.RMSNorm: (4,), nn.BatchNorm1d: (4,)}  # fmt: skip
    made = kind(*values.get(kind, ()))
    if kind is nn.ModuleList:
        return  # it has no forward
    before = torch.get_rng_state()
    made.train()(torch.ones(3, 4, dtype=torch.int64 if kind is nn.Embedding else None))
    assert torch.equal(torch.get_rng_state(), before)


def test_mixed_numbers_do_not_collide_and_fit():
    seeds = [*range(40), 2**31, 2**32 - 1]
    numbers = [*range(100), *range(10**6, 10**6 + 20), *(2**40 + n for n in range(20))]
    found = {mixed(seed, number) for seed in seeds for number in numbers}
    assert len(found) == len(seeds) * len(numbers)
    assert all(0 <= value < 2**32 for value in found)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**41))
def test_neighbours_differ(seed, number):
    here = mixed(seed, number)
    assert here != mixed(seed, number + 1)
    assert here != mixed(seed + 1, number)
    assert here == mixed(seed, number)


def test_every_bit_of_a_seed_counts():
    """Of some 500 changes of one bit, about half of the 32 bits change."""
    changes = [
        bin(mixed(7, 3) ^ mixed(7 ^ 1 << a, 3 ^ 1 << b)).count("1")
        for a in range(32) for b in range(16)
    ]  # fmt: skip
    assert 14 < np.mean(changes) < 18


# ------------------------------------------------------------- a whole training


def noisy(training, noise):
    """Train with a program around it that draws, and sets seeds of its own."""
    for step in training.steps():
        torch.rand(noise)
        if step.number % 3 == 0:
            torch.manual_seed(step.number + noise)
        random.random()
        np.random.rand()
    return weights(training)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_program_around_it_changes_nothing(species, optimizer):
    options = {"epochs": 2, "optimizer": optimizer}
    found = [
        noisy(train(species, network(species, dropout=0.4), **options), noise) for noise in (0, 9)
    ]
    assert same(*found)
    other = noisy(train(species, network(species, dropout=0.4), seed=1, **options), 0)
    assert not same(found[0], other)


def test_training_does_not_disturb_the_program_around_it(species):
    training = train(species, network(species, dropout=0.4), epochs=2)
    torch.manual_seed(11)
    expected = torch.rand(20)
    torch.manual_seed(11)
    found = []
    for step in training.steps():
        if len(found) < 10:
            found.append(torch.rand(1))
        if step.number == 3:
            training.edit(sl.Widen("hidden.0", 20), sl.Deepen("hidden.0"))
    training.model()
    found.append(torch.rand(20 - len(found)))
    assert torch.equal(torch.cat(found), expected)


def test_each_step_draws_another_mask(species):
    training = train(species, network(species, dropout=0.5), epochs=1, learning_rate=0)
    masks = set()
    for number in range(6):
        with training.state.randomness.at(number):
            hidden = training.network.train().hidden[0].dropout(torch.ones(4, 16))
        masks.add(tuple(hidden.flatten().tolist()))
    assert len(masks) == 6


def test_parts_of_a_batch_have_masks_of_their_own(species):
    """The same row twice in a batch, in two parts of it: dropout draws for each."""
    seen = []

    class Listening(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network(species, dropout=0.5)

        def forward(self, numeric, categorical):
            if self.training:
                seen.append(self.inner.hidden[0].dropout(torch.ones(8, 16)))
            return self.inner(numeric, categorical)

    training = train(species, Listening(), batch_size=20, accumulate=2, precision="float32")
    seen.clear()
    next(training.steps())
    assert len(seen) == 2
    assert not torch.equal(*seen)
