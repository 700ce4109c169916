"""A training's state goes through `state_dict` and back, and the loop's parts share it."""

import copy
import dataclasses
import math

import pytest
import torch

import sightline as sl
from sightline.errors import NetworkError
from sightline.train.state import TrainingState


def train(prepared, **options):
    torch.manual_seed(0)
    network = sl.MLP(prepared.spec, hidden=[8])
    options = {"epochs": 4, "batch_size": 32, "ema": 0.9, "device": "cpu", **options}
    return sl.Training(network, prepared, **options)


def plain(values, tensors):
    """A state as values that can be compared: NaN is equal to NaN, tensors by their bits."""
    bits = {
        group: {
            name: (x.dtype, x.detach().flatten().contiguous().view(torch.uint8).numpy().tobytes())
            for name, x in named.items()
        }
        for group, named in tensors.items()
    }
    return repr(values), bits


def in_the_middle(prepared, steps=13):
    training = train(prepared)
    for step in training.steps():
        if step.number == steps:
            break
    return training


def test_a_state_that_is_loaded_is_the_same_to_the_bit(species):
    training = in_the_middle(species)
    training.edit(sl.Freeze("embeddings"))  # waits for the next step
    values, tensors = training.state.state_dict()
    fresh = sl.MLP(species.spec, hidden=[8])
    again = TrainingState(fresh, species, training.settings, training.plan)
    again.load_state_dict(values, tensors, fresh, None)
    assert plain(*again.state_dict()) == plain(values, tensors)
    assert tuple(again.waiting) == training.waiting == (sl.Freeze("embeddings"),)


def test_a_training_made_from_a_state_ends_as_the_first(species):
    training = in_the_middle(species)
    fresh = sl.MLP(species.spec, hidden=[8])
    state = TrainingState(fresh, species, training.settings, training.plan)
    state.load_state_dict(*copy.deepcopy(training.state.state_dict()), fresh, None)
    again = sl.Training.from_state(state)
    assert [e.train_loss for e in list(again)] == [e.train_loss for e in list(training)]
    ended, expected = (plain(*one.state.state_dict())[1] for one in (again, training))
    assert ended == expected


def test_weights_that_are_not_finite_are_noticed(species):
    state = train(species).state
    assert state.weights_are_finite()
    with torch.no_grad():
        next(state.network.parameters()).fill_(math.inf)
    assert not state.weights_are_finite()


def test_without_steps_the_gradient_norm_is_that_of_the_checkpoint(species):
    state = train(species).state
    assert state.gradient_norm() == 0.0
    state.last_gradient_norm = 2.5
    assert state.gradient_norm() == 2.5


def test_the_facade_reads_the_state_and_sets_two_things(species, tmp_path):
    training = train(species)
    state = training.state
    for name in ("network", "optimizer", "plan", "progress", "average", "best", "device", "source"):
        assert getattr(training, name) is getattr(state, name)
    training.settings = dataclasses.replace(training.settings, time_limit=60.0)
    training.sources = tmp_path
    assert (state.settings.time_limit, state.sources) == (60.0, tmp_path)
    for name in ("network", "plan", "history", "stopped", "waiting"):
        with pytest.raises(AttributeError):
            setattr(training, name, None)


def test_edits_wait_until_the_next_step(species):
    training = train(species)
    edit = sl.Widen("hidden.0", 12)
    training.edit(edit, learning_rate=0.5)
    assert [type(one).__name__ for one in training.waiting] == ["Widen", "SetLearningRate"]
    next(training.steps())
    assert training.waiting == ()
    assert training.state.structure == 2


def test_there_is_no_model_of_a_loss_that_is_not_finite(species):
    training = train(species, learning_rate=1e30, epochs=1)
    list(training)
    with pytest.raises(NetworkError, match="cannot predict anything"):
        training.model(best=False)
