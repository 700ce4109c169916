"""The predictor of tensors: how the parts' predictions become one."""

import numpy as np
import torch

from sightline.predict.calibration import Blend
from sightline.predict.parts import PARTS
from sightline.predict.predictor import Predictor, rows_at_once
from sightline.predict.task import Task


def predictor(prepared, parts, **options):
    return Predictor(
        spec=prepared.spec, transform=prepared.transform, task=Task(prepared.spec.target),
        parts=parts.values(), **options,
    )  # fmt: skip


def test_the_blend_weighs_every_part(small, parts):
    weights = dict(zip(parts, (0.3, 0.2, 0.9, 0.4, 0.1, 0.2, 0.3), strict=True))
    one, rows = predictor(small, parts, blend=Blend(weights)), small.train
    with torch.no_grad():
        values = one.outputs(rows.numeric, rows.categorical)
        own = {
            name: value.numpy() for name, value in one.parts(rows.numeric, rows.categorical).items()
        }
    assert list(own) == list(PARTS)
    np.testing.assert_allclose(values, Blend(weights).combine(own)["probabilities"], rtol=1e-5)


def test_without_a_blend_the_network_predicts_alone(small, parts):
    rows = small.train
    two = {name: parts[name] for name in ("network", "trees")}
    both, alone = predictor(small, two), predictor(small, {"n": parts["network"]})
    with torch.no_grad():
        first, second = (one.outputs(rows.numeric, rows.categorical) for one in (both, alone))
    assert torch.equal(first, second)
    assert both.trees is parts["trees"].module
    assert alone.trees is None
    alone.trees = both.trees
    both.trees = None
    assert (list(alone.fitted_parts), list(both.fitted_parts)) == (
        ["network", "trees"],
        ["network"],
    )
    alone.trees, both.trees = both.trees, alone.trees
    assert both.modules == [parts["network"].module, parts["trees"].module]


def test_many_rows_go_through_in_blocks_that_fit_the_cache():
    assert rows_at_once(torch.zeros(5000, 3)) == 1024
    assert rows_at_once(torch.zeros(5000, 3, device="meta")) == 5000
    assert rows_at_once(torch.zeros(0, 3, device="meta")) == 1


def test_another_module_can_take_the_place_of_the_network(small, parts):
    two = {name: parts[name] for name in ("network", "trees")}
    one, rows = predictor(small, two, blend=Blend({"network": 1.0, "trees": 0.0})), small.train
    calls = []
    network = one.network

    class Watched(torch.nn.Module):
        def forward(self, numeric, categorical):
            calls.append(len(numeric))
            return network(numeric, categorical)

    with torch.no_grad():
        before = one.outputs(rows.numeric, rows.categorical)
        one.network = Watched()
        assert torch.equal(one.outputs(rows.numeric, rows.categorical), before)
    assert calls == [len(rows.row)]
