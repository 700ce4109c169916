"""Forests as tensors: how rows walk down them, and what is refused."""

import numpy as np
import pytest
import torch

from sightline.build import forest as f
from sightline.build.forest import Forest
from sightline.errors import BundleError
from tests.build.grown import grown_forest

NO_CODES = torch.zeros(2, 0, dtype=torch.int32)


def test_chunks_and_threads_change_nothing(monkeypatch):
    fitted, x, c, _ = grown_forest("three")
    whole = fitted.forest(x, c)
    monkeypatch.setattr(f, "FEWEST_CHUNK_ROWS", 1)
    for rows in (1, 7, 1000):
        monkeypatch.setattr(f, "CHUNK_VALUES", rows * fitted.trees)
        assert torch.equal(fitted.forest(x, c), whole)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(f, "CHUNK_VALUES", 50 * fitted.trees)
        assert torch.equal(fitted.forest(x, c), whole)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("levels", [1, 2, 40])
def test_when_rows_are_set_aside_changes_nothing(monkeypatch, levels):
    fitted, x, c, _ = grown_forest("number")
    whole = fitted.forest(x, c)
    monkeypatch.setattr(f, "LEVELS_AT_ONCE", levels)
    assert torch.equal(fitted.forest(x, c), whole)


@pytest.mark.parametrize(("kind", "outputs"), [("three", 3), ("number", 1)])
def test_no_rows(kind, outputs):
    fitted, x, c, _ = grown_forest(kind)
    assert list(fitted.forest(x[:0], c[:0]).shape) == [0, outputs]


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_a_copy_is_filled_from_state_and_config(kind):
    fitted, x, c, _ = grown_forest(kind)
    forest = fitted.forest
    again = Forest.from_config(forest.config())
    again.load_state_dict(forest.state_dict())
    assert torch.equal(again(x, c), forest(x, c))
    restored = Forest.restored(forest.config(), forest.state_dict(), "model.sightline")
    assert torch.equal(restored(x, c), forest(x, c))
    assert not list(again.parameters())
    assert not [name for name in forest.state_dict() if name.startswith("walk")]


def test_the_prior_counts_as_two_trees():
    forest = Forest(trees=2, nodes=0, leaves=2, columns=0, outputs=2, prior_trees=2.0)
    forest.load_state_dict({
        **forest.state_dict(), "roots": torch.tensor([0, 1]), "prior": torch.tensor([0.25, 0.75]),
        "values": torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
    })  # fmt: skip
    found = forest(torch.zeros(2, 0), NO_CODES)
    np.testing.assert_allclose(found.exp().numpy(), [[0.625, 0.375]] * 2, rtol=1e-6)


def test_what_it_says_of_itself():
    fitted, *_ = grown_forest("binary", max_leaves=8)
    said = fitted.forest.describe(["a", "b", "c", "d", "e"])
    assert said["trees"] == 10
    assert said["leaves"] == 8
    assert said["columns"][0]["column"] in ("a", "d")  # the two that the target is made of
    assert sum(column["gain"] for column in said["columns"]) == pytest.approx(1)


def damaged(name, change):
    """Return a forest's config, and its tensors with a change in one of them."""
    forest = grown_forest()[0].forest
    state = {key: tensor.clone() for key, tensor in forest.state_dict().items()}
    state[name] = change(forest, state[name])
    return forest.config(), state


def put(place, value):
    def change(forest, tensor):
        tensor.view(-1)[place] = value(forest) if callable(value) else value
        return tensor

    return change


def end(forest):
    return len(forest.column) + len(forest.values)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("below", put(3, end), "a child is not a later node or leaf of the"),
        ("below", put(3, 2**31 - 1), "a child is not a later node or leaf"),
        ("below", put(3, -1), "a child is not a later node or leaf"),
        ("below", put(3, 1), "a child is not a later node or leaf"),  # its own child: it would walk for ever
        ("below", put(3, 0), "a child is not a later node or leaf"),
        ("roots", put(2, end), "a tree begins at a node that is not among its"),
        ("roots", put(2, -1), "a tree begins at a node that is not among its"),
        ("column", put(5, 5), "a node asks for a column that is not among the 5"),
        ("column", put(5, -1), "a node asks for a column that is not among the 5"),
        ("values", lambda _, tensor: tensor[1:], "its tensors are not those of its settings"),
        ("threshold", lambda _, tensor: tensor[None], "its tensors are not those of its settings"),
    ],
)  # fmt: skip
def test_tensors_that_contradict_each_other_are_refused(name, change, problem):
    config, state = damaged(name, change)
    with pytest.raises(BundleError, match=rf"^bad\.sightline's forest is damaged: {problem}"):
        Forest.restored(config, state, "bad.sightline")


@pytest.mark.parametrize("size", ["trees", "nodes", "leaves", "columns"])
def test_sizes_that_a_file_has_made_up_take_no_memory(size):
    config, state = damaged("gain", lambda _, tensor: tensor)
    with pytest.raises(BundleError, match="its tensors are not those of its settings"):
        Forest.restored({**config, size: 10**15}, state, "bad.sightline")


@pytest.mark.parametrize(("trees", "leaves"), [(0, 1), (1, 0)])
def test_a_forest_of_nothing_is_refused(trees, leaves):
    empty = Forest(trees=trees, nodes=0, leaves=leaves, columns=1, outputs=2, prior_trees=2)
    with pytest.raises(BundleError, match=f"it has {trees} trees and {leaves} leaves"):
        Forest.restored(empty.config(), empty.state_dict(), "bad.sightline")


def test_more_leaves_than_float32_can_number_are_refused(monkeypatch):
    forest = grown_forest()[0].forest
    leaves = len(forest.values)
    monkeypatch.setattr(f, "MOST_LEAVES", leaves)
    Forest.restored(forest.config(), forest.state_dict(), "good.sightline")
    monkeypatch.setattr(f, "MOST_LEAVES", leaves - 1)
    with pytest.raises(BundleError, match=f"it has 10 trees and {leaves} leaves"):
        Forest.restored(forest.config(), forest.state_dict(), "bad.sightline")


def test_tensors_that_are_missing_or_unknown_are_refused():
    forest = grown_forest()[0].forest
    state = forest.state_dict()
    for wrong in ({**state, "more": torch.zeros(1)}, {"roots": state["roots"]}):
        with pytest.raises(BundleError, match="its tensors are not those of its settings"):
            Forest.restored(forest.config(), wrong, "bad.sightline")


def test_rows_of_another_width_are_refused():
    fitted, x, c, _ = grown_forest()
    with pytest.raises(RuntimeError, match="shape"):
        fitted.forest(x[:, :2], c)
