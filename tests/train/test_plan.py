import pytest
import torch

from sightline.errors import OptionError
from sightline.train.plan import (
    check_seed,
    check_settings,
    check_whole,
    choose_batch_size,
    choose_device,
    make_plan,
)

SETTINGS = {
    "epochs": 1, "batch_size": None, "learning_rate": 0.1, "weight_decay": 0.0, "patience": None,
    "seed": 0, "device": "cpu",
}  # fmt: skip


def test_auto_takes_the_best_device_and_says_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == ("cpu", "no GPU is here")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == ("mps", "an Apple GPU is here")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    assert choose_device("auto") == ("cuda", "a CUDA device is here: Some GPU")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "", "cpu gpu"])
def test_a_device_that_cannot_compute_is_refused(device):
    with pytest.raises(OptionError, match="cannot be used") as caught:
        choose_device(device)
    assert repr(device) in caught.value.problem
    assert caught.value.fix == "Use 'auto', 'cpu' or 'cuda'."


@pytest.mark.parametrize(
    ("rows", "size"),
    [(1, 32), (1_999, 32), (2_000, 64), (4_999, 64), (5_000, 128), (19_999, 128), (20_000, 256),
     (99_999, 256), (100_000, 512), (10**9, 512)],
)  # fmt: skip
def test_batch_size_by_rows(rows, size):
    assert choose_batch_size(rows) == size


@pytest.mark.parametrize(
    ("rows", "asked", "size", "steps"),
    [(1000, 32, 32, 32), (1000, None, 32, 32), (10, 32, 10, 1), (33, 32, 32, 2), (7, 1, 1, 7)],
)
def test_the_plan_counts_its_steps(rows, asked, size, steps):
    plan = make_plan("cpu", 3, asked, rows)
    assert (plan.batch_size, plan.steps_per_epoch, plan.epochs) == (size, steps, 3)
    assert (plan.device, plan.device_reason, plan.precision) == ("cpu", "as asked", "float32")
    assert plan.threads == torch.get_num_threads()


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None])
def test_epochs_must_be_whole(value):
    with pytest.raises(OptionError, match=f"epochs is {value!r}. Give a whole number from 1 up."):
        check_settings(**{**SETTINGS, "epochs": value})


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_batch_size_must_be_whole(value):
    with pytest.raises(OptionError, match=f"batch_size is {value!r}. Give a whole"):
        check_settings(**{**SETTINGS, "batch_size": value})


@pytest.mark.parametrize("seed", [-1, 1.0, "a", None, False])
def test_a_seed_is_whole(seed):
    with pytest.raises(OptionError, match=f"seed is {seed!r}. Give a whole number from 0 up."):
        check_seed(seed)


def test_a_seed_fits_every_generator():
    check_seed(2**32 - 1)
    with pytest.raises(OptionError, match="Give one below 4,294,967,296"):
        check_seed(2**32)


def test_the_least_is_said():
    check_whole("rows", 2, least=2)
    with pytest.raises(OptionError, match=r"rows is 1. Give a whole number from 2 up."):
        check_whole("rows", 1, least=2)
