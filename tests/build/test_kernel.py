"""Kernel models as tensors: what they compute, and what is refused."""

import numpy as np
import pytest
import torch

from sightline.build import kernel as k
from sightline.build.kernel import Kernel
from sightline.errors import BundleError
from tests.build.grown import fitted_kernel


def by_hand(kernel, x, c):
    """The scores, row by row and landmark by landmark."""
    scale = lambda values: np.clip((values - kernel.center.numpy()) / kernel.scale.numpy(), -5, 5)  # noqa: E731
    rows, landmarks = scale(x.double().numpy()), scale(kernel.landmark_numbers.double().numpy())
    codes, own = np.minimum(c.numpy(), 254), kernel.landmark_codes.numpy()
    near = np.array([
        [np.exp(-(np.square(a - b).sum() + 2 * (p != q).sum()) / (2 * float(kernel.width) ** 2))
         for b, q in zip(landmarks, own, strict=True)]
        for a, p in zip(rows, codes, strict=True)
    ])  # fmt: skip
    return near @ kernel.weights.numpy() + kernel.intercept.numpy()


@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2)])
def test_a_score_is_a_weighted_sum_of_similarities(numbers, codes):
    fitted, x, c, _ = fitted_kernel("three", rows=60, numbers=numbers, codes=codes)
    kernel, x, c = fitted.kernel, x * 3, c.clone()
    c[::7] += 300  # values of a category that training rows do not have
    scores = by_hand(kernel, x, c) * float(kernel.sharpness)
    expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(kernel(x, c).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_number_has_no_sharpness():
    fitted, x, c, _ = fitted_kernel("number", rows=60)
    np.testing.assert_allclose(
        fitted.kernel(x, c).numpy(), by_hand(fitted.kernel, x, c), rtol=1e-5, atol=1e-5
    )


def test_chunks_and_threads_change_nothing(monkeypatch):
    fitted, x, c, _ = fitted_kernel("three")
    whole = fitted.kernel(x, c)
    before = torch.get_num_threads()
    monkeypatch.setattr(k, "FEWEST_CHUNK_ROWS", 1)
    try:
        for rows, threads in ((1, 1), (7, 2), (1_000, 2)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(k, "CHUNK_VALUES", rows * fitted.landmarks)
            torch.testing.assert_close(fitted.kernel(x, c), whole, rtol=0, atol=1e-6)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("kind", "outputs"), [("three", 3), ("number", 1)])
def test_no_rows(kind, outputs):
    fitted, x, c, _ = fitted_kernel(kind)
    assert list(fitted.kernel(x[:0], c[:0]).shape) == [0, outputs]


def test_a_copy_is_filled_from_state_and_config():
    fitted, x, c, _ = fitted_kernel("three")
    kernel = fitted.kernel
    again = Kernel.restored(kernel.config(), kernel.state_dict(), "model.sightline")
    assert torch.equal(again(x, c), kernel(x, c))
    assert not list(again.parameters())


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("width", lambda _: torch.zeros((), dtype=torch.float64), "a width or a scale is not above 0"),
        ("width", lambda _: torch.tensor(torch.nan, dtype=torch.float64), "not all of its numbers are finite"),
        ("weights", lambda tensor: tensor * torch.nan, "not all of its numbers are finite"),
        ("landmark_numbers", lambda tensor: tensor + torch.inf, "not all of its numbers are finite"),
        ("scale", lambda tensor: -tensor, "a width or a scale is not above 0"),
        ("weights", lambda tensor: tensor[1:], "its tensors are not those of its settings"),
        ("weights", lambda tensor: tensor.float(), "its tensors are not those of its settings"),
        ("landmark_codes", lambda tensor: tensor.int(), "its tensors are not those of its settings"),
        ("more", lambda _: torch.zeros(1), "its tensors are not those of its settings"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(name, change, problem):
    kernel = fitted_kernel(rows=30)[0].kernel
    state = kernel.state_dict()
    state[name] = change(state.get(name))
    with pytest.raises(BundleError, match=rf"^bad\.sightline's kernel model is damaged: {problem}"):
        Kernel.restored(kernel.config(), state, "bad.sightline")


def test_sizes_that_a_file_has_made_up_take_no_memory():
    kernel = fitted_kernel(rows=30)[0].kernel
    with pytest.raises(BundleError, match="its tensors are not those of its settings"):
        Kernel.restored(
            {**kernel.config(), "landmarks": 10**15}, kernel.state_dict(), "bad.sightline"
        )
