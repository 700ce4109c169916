"""Nearest-neighbours models as tensors: what they compute, and what is refused."""

import numpy as np
import pytest
import torch

from sightline.build import neighbors as n
from sightline.build.neighbors import Neighbors
from sightline.errors import BundleError
from tests.build.grown import fitted_neighbors


def by_hand(model, x, c):
    """The predictions, fold by fold, row by row and reference by reference."""
    tensors = {name: value.double().numpy() for name, value in model.state_dict().items()}
    inputs = np.clip((x.double().numpy() - tensors["center"]) / tensors["scale"], -5, 5)
    starts = tensors["starts"].astype(int)
    cells = np.minimum(c.numpy() + starts[:-1], starts[1:] - 1)
    means = []
    for fold, (places, pulls, targets) in enumerate(zip(*(tensors[k] for k in ("places", "pulls", "targets")), strict=True)):  # fmt: skip
        own = {name: tensors[name][fold] for name in n.Embedding._fields}
        z = inputs @ own["first"] + own["bias"] + own["cells"][cells].sum(axis=1)
        centred = z - z.mean(axis=1, keepdims=True)
        hidden = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + 1e-5)
        hidden = np.maximum(hidden @ own["up"] + own["up_bias"], 0)
        z = (z + hidden @ own["down"]) * np.exp(own["stretch"])
        distance = np.sqrt(1 + np.square(z[:, None] - places[None]).sum(axis=2))
        weight = np.exp(pulls - distance)
        truth = (
            targets[:, None] if model.outputs == 1 else np.eye(model.outputs)[targets.astype(int)]
        )
        means.append(weight @ truth / weight.sum(axis=1, keepdims=True))
    mean = np.mean(means, axis=0)
    return mean if model.outputs == 1 else np.log(0.999 * mean + 0.001 / model.outputs)


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2)])
def test_a_prediction_is_the_mean_of_the_references_the_nearer_the_more(kind, numbers, codes):
    weight = np.random.default_rng(1).uniform(0.1, 2, size=60)
    fitted, x, c, _ = fitted_neighbors(kind, rows=60, numbers=numbers, codes=codes, weight=weight)
    x, c = x * 3, c.clone()
    c[::7] += 300  # values of a category that training rows do not have
    found = fitted.neighbors(x, c).numpy()
    np.testing.assert_allclose(found, by_hand(fitted.neighbors, x, c), rtol=1e-4, atol=1e-4)


def test_chunks_and_threads_change_nothing(monkeypatch):
    fitted, x, c, _ = fitted_neighbors("three")
    whole = fitted.neighbors(x, c)
    before = torch.get_num_threads()
    monkeypatch.setattr(n, "FEWEST_CHUNK_ROWS", 1)
    try:
        for rows, threads in ((1, 1), (7, 2), (1_000, 2)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(n, "CHUNK_VALUES", rows * fitted.references)
            torch.testing.assert_close(fitted.neighbors(x, c), whole, rtol=1e-5, atol=1e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("kind", "outputs"), [("three", 3), ("number", 1)])
def test_no_rows(kind, outputs):
    fitted, x, c, _ = fitted_neighbors(kind)
    assert list(fitted.neighbors(x[:0], c[:0]).shape) == [0, outputs]


def test_a_copy_is_filled_from_state_and_config():
    fitted, x, c, _ = fitted_neighbors("three")
    model = fitted.neighbors
    again = Neighbors.restored(model.config(), model.state_dict(), "model.sightline")
    assert torch.equal(again(x, c), model(x, c))
    assert not list(again.parameters())


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("scale", lambda tensor: -tensor, "a scale is not above 0"),
        ("places", lambda tensor: tensor * torch.nan, "not all of its numbers are finite"),
        ("pulls", lambda tensor: tensor - torch.inf, "not all of its numbers are finite"),
        ("starts", lambda tensor: tensor + 1, "the values of its categories are not counted rightly"),
        ("starts", lambda tensor: tensor.flip(0), "the values of its categories are not counted rightly"),
        ("starts", lambda tensor: tensor * 2, "the values of its categories are not counted rightly"),
        ("targets", lambda tensor: tensor + 3, "a training row is of no class"),
        ("targets", lambda tensor: tensor - 1, "a training row is of no class"),
        ("targets", lambda tensor: tensor + 0.5, "a training row is of no class"),
        ("places", lambda tensor: tensor[:, 1:], "its tensors are not those of its settings"),
        ("targets", lambda tensor: tensor.long(), "its tensors are not those of its settings"),
        ("more", lambda _: torch.zeros(1), "its tensors are not those of its settings"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(name, change, problem):
    model = fitted_neighbors("three", rows=30)[0].neighbors
    state = model.state_dict()
    state[name] = change(state.get(name))
    expected = rf"^bad\.sightline's nearest-neighbours model is damaged: {problem}"
    with pytest.raises(BundleError, match=expected):
        Neighbors.restored(model.config(), state, "bad.sightline")


def test_sizes_that_a_file_has_made_up_take_no_memory():
    model = fitted_neighbors(rows=30)[0].neighbors
    with pytest.raises(BundleError, match="its tensors are not those of its settings"):
        Neighbors.restored(
            {**model.config(), "references": 10**12}, model.state_dict(), "bad.sightline"
        )


@pytest.mark.parametrize(
    ("setting", "value"),
    [("outputs", 0), ("outputs", 2.0), ("outputs", True), ("folds", 0), ("references", 0)],
)
def test_a_model_that_compares_nothing_is_refused(setting, value):
    model = fitted_neighbors(rows=30)[0].neighbors
    config = {**model.config(), setting: value}
    with torch.device("cpu"):
        state = Neighbors(**{**config, "outputs": 2}).state_dict()
    with pytest.raises(BundleError, match=f"damaged: {setting} is {value}"):
        Neighbors.restored(config, state, "bad.sightline")
