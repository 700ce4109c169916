"""The registry of parts, and that every part is a part in the same way."""

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.contracts import Target
from sightline.errors import BundleError
from sightline.predict.parts import (
    PARTS,
    LoadContext,
    NetworkPart,
    SavedPart,
    TreesPart,
    blend_values,
)
from sightline.predict.task import Task
from tests.predict.networks import Own


def test_the_registry_names_each_part_and_its_tensors_once():
    assert {name: part.name for name, part in PARTS.items()} == {name: name for name in PARTS}
    members = [part.member for part in PARTS.values()]
    assert len(set(members)) == len(members)
    assert (PARTS["network"].member, PARTS["trees"].member) == ("weights", "trees"), (
        "bundles of old"
    )


@pytest.mark.parametrize("name", PARTS)
def test_a_part_gives_log_probabilities_and_keeps_them_when_loaded(parts, small, name):
    part, rows, task = parts[name], small.train, Task(small.spec.target)
    with torch.no_grad():
        values = part.values(task, rows.numeric, rows.categorical)
    # The mean of several ensembles' log-probabilities: the softmax of the blend makes it sum to 1.
    assert (values <= 0).all()
    np.testing.assert_allclose(values.exp().sum(dim=1), 1, atol=0.05)
    saved = part.save()
    again = PARTS[name].load(
        SavedPart(saved.config, saved.tensors), LoadContext("a.sightline", small.spec)
    )
    assert not again.module.training
    with torch.no_grad():
        assert torch.equal(again.values(task, rows.numeric, rows.categorical), values)


def test_numbers_come_in_the_unit_of_the_target():
    task = Task(Target("y", "regression"), center=100.0, scale=10.0)
    assert TreesPart.in_unit(task, torch.tensor([[0.0], [1.0]])).tolist() == [[100.0], [110.0]]
    assert blend_values(task, torch.tensor([[100.0]])).tolist() == [[100.0]]


def test_a_probability_of_nothing_has_a_logarithm():
    task = Task(Target("y", "classification", ("no", "yes"), "yes"))
    assert torch.isfinite(blend_values(task, torch.tensor([[1.0, 0.0]]))).all()


def test_only_a_network_that_is_known_to_keep_nothing_runs_in_threads(small, parts):
    assert parts["trees"].thread_safe
    assert NetworkPart(sl.Ensemble(small.spec, members=2)).thread_safe
    assert not NetworkPart(Own(small.spec)).thread_safe


def test_a_network_of_ones_own_is_not_loaded_without_its_class(small):
    saved = NetworkPart(Own(small.spec)).save()
    assert list(saved.files) == [saved.config["source"]]
    with pytest.raises(BundleError, match="network of your own, Own"):
        NetworkPart.load(saved, LoadContext("a.sightline", small.spec))
    again = NetworkPart.load(saved, LoadContext("a.sightline", small.spec, Own))
    assert isinstance(again.module, Own)


@pytest.mark.parametrize(
    ("name", "called"),
    [("forest", "forest"), ("kernel", "kernel model"), ("neighbors", "nearest-neighbours model")],
)
def test_a_part_of_other_columns_is_refused(parts, small, species, name, called):
    saved = parts[name].save()
    with pytest.raises(BundleError, match=f"{called} does not fit its columns and classes"):
        PARTS[name].load(
            SavedPart(saved.config, saved.tensors), LoadContext("a.sightline", species.spec)
        )


def test_the_second_network_is_never_one_of_ones_own(parts, small):
    saved = parts["second_network"].save()
    context = LoadContext("a.sightline", small.spec, Own)
    again = PARTS["second_network"].load(SavedPart(saved.config, saved.tensors), context)
    assert isinstance(again.module, sl.Ensemble)
