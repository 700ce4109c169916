"""The registry of parts, and that every part is a part in the same way."""

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.build.boosting import fit_trees
from sightline.contracts import Target
from sightline.errors import BundleError
from sightline.predict.calibration import Blend
from sightline.predict.parts import (
    PARTS,
    LoadContext,
    NetworkPart,
    SavedPart,
    TreesPart,
    blend_values,
)
from sightline.predict.predictor import Predictor
from sightline.predict.task import Task
from tests.predict.networks import Own

ROWS = 60


@pytest.fixture(scope="module")
def prepared():
    random = np.random.default_rng(0)
    data = {"x": random.normal(size=ROWS), "c": [f"c{i % 3}" for i in range(ROWS)]}
    data["y"] = np.where(data["x"] > 0, "yes", "no")
    kinds = {"x": "numeric", "c": "categorical"}
    return sl.prepare(sl.split(sl.read(data, kinds=kinds), target="y", valid=0))


def parts_of(prepared):
    torch.manual_seed(0)
    rows = prepared.train
    fitted = fit_trees(
        rows.numeric.numpy(), rows.categorical.numpy(), rows.target.numpy(),
        np.arange(len(rows.row)) % 2, classification=True, outputs=2, iterations=5,
    )  # fmt: skip
    return {"network": NetworkPart(sl.MLP(prepared.spec, hidden=[4])), "trees": TreesPart(fitted.trees)}  # fmt: skip


@pytest.fixture(scope="module")
def parts(prepared):
    made = parts_of(prepared)
    assert list(made) == list(PARTS), "a part without a test"
    return made


def test_the_registry_names_each_part_and_its_tensors_once():
    assert {name: part.name for name, part in PARTS.items()} == {name: name for name in PARTS}
    members = [part.member for part in PARTS.values()]
    assert len(set(members)) == len(members)
    assert (PARTS["network"].member, PARTS["trees"].member) == ("weights", "trees"), (
        "bundles of old"
    )


@pytest.mark.parametrize("name", PARTS)
def test_a_part_gives_log_probabilities_and_keeps_them_when_loaded(parts, prepared, name):
    part, rows, task = parts[name], prepared.train, Task(prepared.spec.target)
    with torch.no_grad():
        values = part.values(task, rows.numeric, rows.categorical)
    # The mean of several ensembles' log-probabilities: the softmax of the blend makes it sum to 1.
    assert (values <= 0).all()
    np.testing.assert_allclose(values.exp().sum(dim=1), 1, atol=0.01)
    saved = part.save()
    again = PARTS[name].load(
        SavedPart(saved.config, saved.tensors), LoadContext("a.sightline", prepared.spec)
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


def test_only_a_network_that_is_known_to_keep_nothing_runs_in_threads(prepared, parts):
    assert parts["trees"].thread_safe
    assert NetworkPart(sl.Ensemble(prepared.spec, members=2)).thread_safe
    assert not NetworkPart(Own(prepared.spec)).thread_safe


def test_a_network_of_ones_own_is_not_loaded_without_its_class(prepared):
    saved = NetworkPart(Own(prepared.spec)).save()
    assert list(saved.files) == [saved.config["source"]]
    with pytest.raises(BundleError, match="network of your own, Own"):
        NetworkPart.load(saved, LoadContext("a.sightline", prepared.spec))
    again = NetworkPart.load(saved, LoadContext("a.sightline", prepared.spec, Own))
    assert isinstance(again.module, Own)


# ------------------------------------------------------------- the predictor of tensors


def predictor(prepared, parts, **options):
    return Predictor(
        spec=prepared.spec, transform=prepared.transform, task=Task(prepared.spec.target),
        parts=parts.values(), **options,
    )  # fmt: skip


def test_the_blend_weighs_every_part(prepared, parts):
    weights = {"network": 0.3, "trees": 0.9}
    one, rows = predictor(prepared, parts, blend=Blend(weights)), prepared.train
    with torch.no_grad():
        values = one.outputs(rows.numeric, rows.categorical)
        own = {
            name: value.numpy() for name, value in one.parts(rows.numeric, rows.categorical).items()
        }
    assert list(own) == ["network", "trees"]
    np.testing.assert_allclose(values, Blend(weights).combine(own)["probabilities"], rtol=1e-5)


def test_without_a_blend_the_network_predicts_alone(prepared, parts):
    rows = prepared.train
    both, alone = predictor(prepared, parts), predictor(prepared, {"n": parts["network"]})
    with torch.no_grad():
        first, second = (one.outputs(rows.numeric, rows.categorical) for one in (both, alone))
    assert torch.equal(first, second)
    assert both.trees is parts["trees"].module
    assert alone.trees is None
    assert both.modules == [parts["network"].module, parts["trees"].module]
