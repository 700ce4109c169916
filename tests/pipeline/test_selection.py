"""Which parts a model keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.pipeline.selection import select_parts


def loss_from(table):
    return lambda parts: table[frozenset(parts)]


def table_of(losses):
    """Losses by the initials of the parts."""
    return {frozenset(names.split()): loss for names, loss in losses.items()}


def test_parts_leave_one_after_another_the_one_that_brings_least_first():
    losses = table_of({
        "n s t f": 1.0, "n t f": 1.001, "n s f": 1.2, "n s t": 1.002, "n t": 1.1, "n f": 1.3,
    })  # fmt: skip
    parts = dict.fromkeys("nstf", np.zeros(1))
    chosen = select_parts(parts, ["n"], lambda _: 0.005, loss_from(losses))
    assert chosen.kept == ("n", "t", "f"), "without s, the forest brings 10 %"
    assert chosen.gains == pytest.approx({"s": 0.001, "t": 1.3 / 1.001 - 1, "f": 1.1 / 1.001 - 1})


def test_a_costly_part_has_to_bring_more():
    losses = table_of({"n t f": 1.0, "n t": 1.03, "n f": 1.01, "n": 1.2})
    parts = dict.fromkeys("ntf", np.zeros(1))
    least = {"n": 0.0, "t": 0.005, "f": 0.05}
    chosen = select_parts(parts, ["n"], least.__getitem__, loss_from(losses))
    assert chosen.kept == ("n", "t"), "f brings 3 %, which is not enough"


def test_what_was_asked_for_stays_and_the_last_part_too():
    parts = dict.fromkeys("nt", np.zeros(1))
    assert select_parts(parts, ["n", "t"], lambda _: 0.005, lambda _: 1.0).kept == ("n", "t")
    assert select_parts(parts, ["n"], lambda _: 0.005, lambda _: 1.0).kept == ("n",)
    assert select_parts({"t": np.zeros(1)}, [], lambda _: 0.005, lambda _: 1.0).kept == ("t",)


def test_a_perfect_blend_keeps_what_makes_it_perfect():
    losses = table_of({"n t f": 0.0, "n t": 0.0, "n f": 0.1, "n": 0.5})
    chosen = select_parts(
        dict.fromkeys("ntf", np.zeros(1)), ["n"], lambda _: 0.005, loss_from(losses)
    )
    assert chosen.kept == ("n", "t")
    assert chosen.gains == {"f": 0.0, "t": float("inf")}


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), min_size=1), st.floats(0, 0.5))
def test_the_loss_rises_by_less_than_the_least_gain_for_each_part_left_out(values, least):
    def loss_of(parts):
        return 1 + sum(own for name, own in values.items() if name not in parts)

    chosen = select_parts({name: np.zeros(1) for name in values}, [], lambda _: least, loss_of)
    assert chosen.kept
    assert loss_of(chosen.kept) <= (1 + least) ** (len(values) - len(chosen.kept)) + 1e-9


def test_a_part_that_brings_nothing_is_recorded_and_left_out(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    y = x[:, 0] + 0.01 * random.normal(size=300)  # a straight line, which trees only approximate
    data = {"a": x[:, 0], "b": x[:, 1], "y": y}
    options = {"target": "y", "quiet": True, "report": False, "baselines": False, "epochs": 20}
    run = sl.fit(data, forest=None, second_network=True, run=tmp_path / "a", **options)
    body = run.find("train", "forest")[0].body
    assert body["kept"] is ("forest" in run.model.fitted_parts) is False
    assert body["gain"] < 0.005
    assert "left out of the model, whose held-out loss is" in body["said"]
    assert "kept" not in run.find("train", "second_network")[0].body, "it was asked for"
    assert list(run.model.blend.weights) == list(run.model.fitted_parts)
    asked = sl.fit(data, forest=True, run=tmp_path / "b", **options)
    assert "forest" in asked.model.fitted_parts
