"""What the machine decides, settled once before training: device, threads, batch size."""

from __future__ import annotations

import math

import torch

from sightline.contracts import Plan
from sightline.errors import OptionError


def choose_device(device: str = "auto") -> tuple[str, str]:
    """Choose where to compute, and say why.

    Raises:
        OptionError: The device does not exist here.

    Example:
        >>> from sightline.train.plan import choose_device
        >>> choose_device("cpu")
        ('cpu', 'as asked')
    """
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda", f"a CUDA device is here: {torch.cuda.get_device_name()}"
        if torch.backends.mps.is_available():
            return "mps", "an Apple GPU is here"
        return "cpu", "no GPU is here"
    try:
        torch.empty(1, device=device).cpu()  # there, and able to give numbers back
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise OptionError(
            f"The device {device!r} cannot be used: {why}.", "Use 'auto', 'cpu' or 'cuda'."
        ) from error
    return device, "as asked"


def choose_batch_size(rows: int) -> int:
    """Choose a batch size that gives a small table enough steps and a large one speed.

    Example:
        >>> from sightline.train.plan import choose_batch_size
        >>> choose_batch_size(500), choose_batch_size(10_000), choose_batch_size(1_000_000)
        (32, 128, 512)
    """
    for most, size in ((2_000, 32), (5_000, 64), (20_000, 128), (100_000, 256)):
        if rows < most:
            return size
    return 512


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Refuse a setting that is no whole number, or too small a one.

    Raises:
        OptionError: Saying so.

    Example:
        >>> from sightline.train.plan import check_whole
        >>> check_whole("epochs", 5)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} is {value!r}.", f"Give a whole number from {least} up.")


def check_seed(seed: object) -> None:
    """Refuse a seed that one of the generators (split, weights, batches) would not take.

    Raises:
        OptionError: Saying so.

    Example:
        >>> from sightline.train.plan import check_seed
        >>> check_seed(0)
    """
    check_whole("seed", seed, least=0)
    if isinstance(seed, int) and seed >= 2**32:
        raise OptionError(f"seed is {seed}.", f"Give one below {2**32:,}.")


def check_settings(
    *,
    epochs: int,
    batch_size: int | None,
    learning_rate: float,
    weight_decay: float,
    patience: int | None,
    seed: int,
    device: str,
) -> None:
    """Refuse settings of a training that make no sense, before any data is touched.

    Raises:
        OptionError: Naming the setting and its rule.

    Example:
        >>> from sightline.train.plan import check_settings
        >>> check_settings(epochs=1, batch_size=None, learning_rate=0.1, weight_decay=0.0,
        ...                patience=None, seed=0, device="cpu")
    """
    check_whole("epochs", epochs)
    for name, count in (("batch_size", batch_size), ("patience", patience)):
        if count is not None:
            check_whole(name, count)
    for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise OptionError(f"{name} is {value!r}.", "Give a number from 0 up.")
    check_seed(seed)
    choose_device(device)


def settle_batch_size(batch_size: int | None, rows: int) -> int:
    """Return the batch size asked for, or chosen by the number of rows; never more than those.

    Example:
        >>> from sightline.train.plan import settle_batch_size
        >>> settle_batch_size(None, 500), settle_batch_size(64, 10)
        (32, 10)
    """
    return min(batch_size or choose_batch_size(rows), rows)


def make_plan(device: str, epochs: int, batch_size: int | None, rows: int) -> Plan:
    """Settle the plan of a training, from settings that `check_settings` has passed."""
    where, reason = choose_device(device)
    size = settle_batch_size(batch_size, rows)
    return Plan(
        device=where, device_reason=reason, precision="float32", threads=torch.get_num_threads(),
        epochs=epochs, batch_size=size, steps_per_epoch=-(-rows // size),
    )  # fmt: skip
