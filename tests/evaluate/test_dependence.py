import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import OptionError
from sightline.evaluate.dependence import partial_dependence


class Line(nn.Module):
    """Three times the first number; the rest is ignored."""

    def __init__(self, spec):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))
        self.outputs = spec.outputs

    def forward(self, numeric, categorical):
        return torch.cat(
            [0 * numeric[:, :1]] * (self.outputs - 1) + [self.weight * numeric[:, :1]], dim=1
        )


def model_of(data, kinds, target="y", network=Line):
    splits = sl.split(sl.read(data, kinds=kinds), target, valid=0, test=0)
    prepared = sl.prepare(splits, numeric="minmax")
    return sl.Training(network(prepared.spec), prepared, epochs=1, learning_rate=0.0).model()


def data(rows=60, seed=0):
    random = np.random.default_rng(seed)
    return {
        "x": (random.random(rows) * 10).round(2).tolist(), "c": random.choice(["a", "b"], rows).tolist(),
        "flag": (random.random(rows) > 0.5).tolist(), "constant": [1.5] * rows,
        "day": [f"2024-01-{1 + i % 28:02}" for i in range(rows)],
        "y": random.normal(size=rows).tolist(),
    }  # fmt: skip


KINDS = {
    "x": "numeric",
    "constant": "numeric",
    "day": "datetime",
    "c": "categorical",
    "flag": "boolean",
}


def found(changes=None, **options):
    table = {**data(), **(changes or {})}
    model = model_of(table, KINDS)
    return {
        one["column"]: one
        for one in partial_dependence(model, model.read(table), **options)["columns"]
    }


def test_a_line_is_a_line_and_the_rest_is_flat():
    columns = found()
    x, mean = columns["x"]["grid"], [point[0] for point in columns["x"]["mean"]]
    slopes = np.diff(mean) / np.diff(x)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-2)
    assert slopes[0] > 0
    for name in ("c", "flag", "day"):
        assert np.ptp([point[0] for point in columns[name]["mean"]]) < 1e-4
    assert columns["x"]["low"] == columns["x"]["mean"]  # the same for every row
    assert columns["constant"]["grid"] == [1.5]


def test_shares_add_up_and_grids_are_sorted():
    columns = found()
    for one in columns.values():
        assert sum(one["share"]) == pytest.approx(1, abs=1e-3)
        assert one["grid"] == sorted(one["grid"])
        assert len(one["grid"]) == len(one["mean"]) == len(one["low"]) == len(one["high"])
    assert columns["c"]["grid"] == ["a", "b"]
    assert columns["flag"]["grid"] == ["False", "True"]
    assert len(columns["x"]["grid"]) == 15


def test_a_missing_category_is_a_point():
    columns = found({"c": ["a", None, "b"] * 20})
    assert columns["c"]["grid"] == ["a", "b", "missing"]
    assert columns["c"]["share"] == [pytest.approx(1 / 3, abs=1e-3)] * 3


def test_classes():
    table = {**data(), "y": ["no", "yes"] * 30}
    model = model_of(table, KINDS)
    said = partial_dependence(model, model.read(table), ["x"])
    assert (said["outputs"], said["classes"], said["shown"]) == (["no", "yes"], ["no", "yes"], 1)
    for point in said["columns"][0]["mean"]:
        assert sum(point) == pytest.approx(1, abs=1e-3)


def test_which_columns_and_rows():
    table = data()
    model = model_of(table, KINDS)
    rows = model.read(table)
    assert [
        one["column"]
        for one in partial_dependence(model, rows, ["day", "c", "x"], most=2)["columns"]
    ] == ["day", "c"]
    assert partial_dependence(model, rows, rows=10)["rows"] == 10
    assert partial_dependence(model, model.read({n: v[:1] for n, v in table.items()}))["rows"] == 1
    with pytest.raises(OptionError, match="no column 'z'"):
        partial_dependence(model, rows, ["z"])
    with pytest.raises(OptionError, match="has no row that can be predicted"):
        partial_dependence(model, model.read({n: v[:0] for n, v in table.items()}))


def test_rows_that_cannot_be_read_are_left_out():
    table = data()
    model = model_of(table, KINDS)
    table["x"] = ["huh?", *map(str, table["x"][1:])]
    assert partial_dependence(model, model.read(table), ["x"])["rows"] == 59


def test_texts_are_left_out():
    table = {"words": ["good day", "bad day", "good night", "bad night"] * 15, **data()}
    model = model_of(table, {**KINDS, "words": "text"})
    names = [one["column"] for one in partial_dependence(model, model.read(table))["columns"]]
    assert "words" not in names
