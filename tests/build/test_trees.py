"""Trees as tensors: how they are laid out and run."""

import numpy as np
import pytest
import torch

from sightline.build import trees as t
from sightline.build.boosting import fit_trees
from sightline.build.trees import Trees
from sightline.errors import BundleError
from tests.build.grown import grown, table


def test_chunks_change_nothing(monkeypatch):
    fitted, x, c, _ = grown("three")
    whole = fitted.trees(x, c)
    monkeypatch.setattr(t, "FEWEST_CHUNK_ROWS", 1)
    for rows in (1, 7, 1000):
        monkeypatch.setattr(t, "CHUNK_VALUES", rows * len(fitted.trees.roots))
        assert torch.equal(fitted.trees(x, c), whole)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(t, "CHUNK_VALUES", 50 * len(fitted.trees.roots))
        assert torch.equal(fitted.trees(x, c), whole)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_rows():
    fitted, x, c, _ = grown("three")
    assert list(fitted.trees(x[:0], c[:0]).shape) == [0, 3]


@pytest.mark.parametrize(
    ("leaves", "kind"), [(8, torch.int16), (31, torch.int32), (63, torch.int64)]
)
def test_a_bit_a_leaf(leaves, kind):
    x = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    y = np.sin(9 * x[:, 0]) * x[:, 1]
    fitted = fit_trees(
        x, np.zeros((600, 0), np.int32), y, np.arange(600) % 2, classification=False, outputs=1,
        iterations=5, leaves=leaves, min_rows=1,
    )  # fmt: skip
    assert fitted.trees.reachable.dtype == kind
    assert fitted.trees.describe(["a", "b"])["leaves"] == leaves
    found = fitted.trees.per_fold(
        torch.from_numpy(x), torch.zeros(600, 0, dtype=torch.int32)
    ).numpy()
    np.testing.assert_allclose(found[0, ::2], fitted.held_out[::2], rtol=1e-4, atol=1e-4)


def test_only_what_is_asked_for_is_laid_out():
    """A column of noise that no tree asks for, categories that all go one way, unused thresholds."""
    x, c, _ = table(400, numbers=2)
    c[:, 1] = 7
    target = (c[:, 0] > 2).astype(np.int64)
    fitted = fit_trees(
        x, c, target, np.arange(400) % 2, classification=True, outputs=2, iterations=1, leaves=2,
        min_rows=5,
    )  # fmt: skip
    trees = fitted.trees
    assert (trees.used_codes.tolist(), trees.used_numbers.tolist()) == ([0], [])
    assert len(trees.reachable) == int(trees.last_code[0, 0]) + 1 <= 6
    found = trees(torch.from_numpy(x), torch.from_numpy(c)).argmax(dim=1).numpy()
    np.testing.assert_array_equal(found, target)


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_a_copy_is_filled_from_state_and_config(kind):
    fitted, x, c, _ = grown(kind)
    again = Trees.from_config(fitted.trees.config())
    again.load_state_dict(fitted.trees.state_dict())
    assert torch.equal(again(x, c), fitted.trees(x, c))
    assert not list(again.parameters())


def test_codes_that_are_new_go_where_missing_ones_do():
    fitted, x, c, _ = grown("binary")
    strange = torch.full_like(c, 250)
    assert torch.isfinite(fitted.trees(x, strange)).all()
    rare = torch.full_like(c, 100_000)  # all beyond the most frequent are one
    assert torch.equal(fitted.trees(x, rare), fitted.trees(x, torch.full_like(c, t.CODES - 1)))


def test_rare_categories_are_one_when_trees_run_as_when_they_grow():
    """Codes beyond the 254 most frequent; they are a minority, and what was never seen is not."""
    random = np.random.default_rng(0)
    c = random.integers(0, 300, size=(3000, 1)).astype(np.int32)
    target = (c[:, 0] >= t.CODES - 1).astype(np.int64)
    x = np.zeros((3000, 0), np.float32)
    folds = np.arange(3000) % 2
    fitted = fit_trees(
        x, c, target, folds, classification=True, outputs=2, iterations=20, leaves=31, min_rows=2
    )
    found = fitted.trees.per_fold(torch.from_numpy(x), torch.from_numpy(c)).numpy()
    for fold in range(2):
        held = folds == fold
        np.testing.assert_allclose(found[fold][held], fitted.held_out[held], atol=2e-5)


def test_what_it_says_of_itself():
    fitted, *_ = grown("binary")
    said = fitted.trees.describe(["a", "b", "c", "d", "e"])
    assert said["ensembles"] == 3
    assert said["trees"] == 3 * fitted.iterations
    assert said["columns"][0]["column"] in ("a", "d")  # the two that the target is made of
    assert sum(column["gain"] for column in said["columns"]) == pytest.approx(1)
    assert 2 <= said["leaves"] <= 8


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"levels": 10**9}, "they have 1000000000 levels"),
        ({"levels": -1}, "they have -1 levels"),
        ({"nodes": 10**12}, "its tensors are not those of its settings"),
        ({"table": 10**12}, "its tensors are not those of its settings"),
        ({"folds": 2}, "its tensors are not those of its settings"),
    ],
)
def test_settings_that_a_file_has_made_up_take_no_memory_and_no_time(change, problem):
    trees = grown("three")[0].trees
    with pytest.raises(
        BundleError, match=rf"^a\.sightline's ensemble of boosted trees is damaged: {problem}"
    ):
        Trees.restored({**trees.config(), **change}, trees.state_dict(), "a.sightline")


def test_thresholds_may_be_infinite_and_values_may_not():
    trees = grown("three")[0].trees
    state = trees.state_dict()
    state["cuts"] = torch.where(
        state["cuts"] > 1, torch.inf, state["cuts"]
    )  # as columns of few values are padded
    assert Trees.restored(trees.config(), state, "a.sightline").levels == trees.levels
    for name in ("cuts", "value", "start"):
        broken = {**state, name: state[name] * torch.nan}
        with pytest.raises(BundleError, match="not all of its numbers are finite"):
            Trees.restored(trees.config(), broken, "a.sightline")
