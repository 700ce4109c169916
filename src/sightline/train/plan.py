"""The plan of a training: device, threads, precision, batch size, epochs; made before the first step."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.build.modes import drawing, threads_set
from sightline.contracts import Batch, Plan
from sightline.errors import OptionError
from sightline.load.batches import count_batches, map_tensors
from sightline.predict.task import Task

LARGEST_INTEGER = 2**63 - 1
THREAD_WORK = 1e7
"""Floating-point operations of a step that each thread needs to be worth waiting for."""
BFLOAT16_WORK = 2e8
"""Floating-point operations of a step per thread from which bfloat16 is faster than float32 by a fifth."""
BFLOAT16_ROWS = 64
"""Rows of a batch below which bfloat16 gains nothing, however wide the network is."""
GPU_WORK = 1e10
"""Floating-point operations of a step from which bfloat16 is chosen on a GPU."""
TRIAL_STEPS = 6
LARGEST_DIFFERENCE = 0.01
"""By how much its loss may differ from that in float32, as a share."""
SHARE_OF_LIMIT = 0.9
"""The share of a time limit that is planned for; the rest is a reserve."""


def choose_device(device: str = "auto") -> tuple[str, str]:
    """Choose the device to compute on, and say why.

    Args:
        device: "cpu", "cuda" or "mps"; "auto" takes a GPU where there is one.

    Returns:
        The device and the reason.

    Raises:
        OptionError: The device cannot be used on this machine.

    Example:
        >>> from sightline.train.plan import choose_device
        >>> choose_device("cpu")
        ('cpu', 'as requested')
    """
    if not isinstance(device, str):  # a Plan is JSON
        raise OptionError(f"device is {device!r}.", _usable_devices())
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda", f"a CUDA device is available: {torch.cuda.get_device_name()}"
        if torch.backends.mps.is_available():
            return "mps", "an Apple GPU is available"
        return "cpu", "no GPU is available"
    try:
        torch.empty(1, device=device).cpu()  # it exists, and its tensors can be read
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        if why.startswith(("Expected one of", "Invalid device string")):
            why = "PyTorch knows no device of this name"  # and lists all that it can be built for
        elif (
            isinstance(error, NotImplementedError) and "Could not run" in why
        ):  # and lists its own parts
            why = "this PyTorch was built without it, or the machine has none"
        raise OptionError(
            f"The device {device!r} cannot be used: {why}.", _usable_devices()
        ) from error
    return device, "as requested"


def _usable_devices() -> str:
    """Say which devices can be used on this machine."""
    found = [
        *(["'cuda'"] if torch.cuda.is_available() else []),
        *(["'mps'"] if torch.backends.mps.is_available() else []),
    ]
    return f"Use {', '.join([repr('auto'), *found])} or 'cpu'."


def choose_batch_size(rows: int) -> int:
    """Choose a batch size by the number of rows: many steps for a small table, speed for a large one.

    Example:
        >>> from sightline.train.plan import choose_batch_size
        >>> choose_batch_size(500), choose_batch_size(10_000), choose_batch_size(1_000_000)
        (32, 128, 512)
    """
    for most, size in ((2_000, 32), (5_000, 64), (20_000, 128), (100_000, 256)):
        if rows < most:
            return size
    return 512


def check_device(device: str) -> None:
    """Check that a device can be used on this machine.

    Raises:
        OptionError: It cannot.

    Example:
        >>> from sightline.train.plan import check_device
        >>> check_device("cpu")
    """
    choose_device(device)


def settle_batch_size(batch_size: int | None, rows: int) -> int:
    """Return the requested batch size, or one chosen by the number of rows; at most that number.

    Example:
        >>> from sightline.train.plan import settle_batch_size
        >>> settle_batch_size(None, 500), settle_batch_size(64, 10)
        (32, 10)
    """
    return min(batch_size or choose_batch_size(rows), rows)


@dataclass(frozen=True)
class PlanRequest:
    """The request from which `make_plan` makes a plan; see `sl.Training`.

    Example:
        >>> from sightline.train.plan import PlanRequest
        >>> PlanRequest("cpu", "auto", 10, None, 1, None).epochs
        10
    """

    device: str
    precision: str
    epochs: int
    batch_size: int | None
    accumulate: int
    time_limit: float | None
    processes: int = 1


def make_plan(
    request: PlanRequest,
    network: nn.Module,
    task: Task,
    train: Batch,
    held_out: Batch,
    rows: int | None = None,
) -> Plan:
    """Make the plan of a training, by rule: the same request on the same machine gives the same plan.

    Threads: one for every ten million floating-point operations of a step, as many as PyTorch has at
    most; several threads wait for each other in smaller steps. Precision: bfloat16 is chosen for large
    steps on hardware that multiplies it fast, if the loss differs from float32's by at most 1 %.
    `benchmarks/plan_choice.py` measures where these limits are. The clock decides one thing: with a time
    limit, a few steps of a copy of the network are timed to plan the number of epochs.

    Args:
        request: From the settings.
        network: The network, on the device; a copy of it is timed.
        task: Its loss.
        train: Training rows, on the device.
        held_out: Rows that the network is measured on after each epoch, on the device.
        rows: The number of training rows; None means those of `train`.

    Raises:
        OptionError: The device cannot be used on this machine.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.task import Task
        >>> from sightline.train.plan import PlanRequest, make_plan
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> request = PlanRequest("cpu", "float32", 10, None, 1, None)
        >>> plan = make_plan(request, sl.MLP(prepared.spec), Task(prepared.spec.target),
        ...                  prepared.train, prepared.valid)
        >>> plan.precision, plan.threads, plan.batch_size, plan.steps_per_epoch
        ('float32', 1, 32, 9)
    """
    device, device_reason = choose_device(request.device)
    rows = len(train.row) if rows is None else rows
    micro = settle_batch_size(request.batch_size, rows)
    size = min(micro * request.accumulate, rows)
    batch = map_tensors(train, lambda x: x[: -(-micro // request.processes)])  # what one computes
    trial = Trial(network, task, batch, torch.device(device))
    threads, threads_reason = choose_threads(trial.work, device)
    with threads_set(threads):
        precision, precision_reason = request.precision, "as requested"
        if precision == "auto":
            precision, precision_reason = choose_precision(trial, device, threads)
        epochs = request.epochs
        if request.time_limit is not None:
            seconds = trial.seconds(precision) * rows / micro
            seconds += trial.evaluation_seconds() * len(held_out.row) / micro
            epochs = max(1, min(epochs, int(SHARE_OF_LIMIT * request.time_limit / seconds)))
    return Plan(
        device=device, device_reason=device_reason, precision=precision,
        precision_reason=precision_reason, threads=threads, threads_reason=threads_reason,
        epochs=epochs, batch_size=size, micro_batch=micro,
        steps_per_epoch=count_batches(rows, size),
    )  # fmt: skip


class Trial:
    """Tries a few steps of a copy of a network: their time, their loss; the network is not changed.

    Example:
        >>> import sightline as sl, torch
        >>> from sightline.predict.task import Task
        >>> from sightline.train.plan import Trial
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network, task = sl.MLP(prepared.spec), Task(prepared.spec.target)
        >>> trial = Trial(network, task, prepared.train, torch.device("cpu"))
        >>> trial.seconds("float32") > 0, abs(trial.loss("bfloat16") - trial.loss("float32")) < 0.1
        (True, True)
    """

    def __init__(self, network: nn.Module, task: Task, batch: Batch, device: torch.device) -> None:
        self.network, self.task, self.batch, self.device = network, task, batch, device
        self.work = 6 * len(batch.row) * sum(p.numel() for p in network.parameters() if p.dim() > 1)
        """Approximate floating-point operations of a step: per row and weight 2 forward, 4 backward."""

    def seconds(self, precision: str) -> float:
        """Return the shortest time of a few steps, in seconds."""
        with drawing():
            network = copy.deepcopy(self.network).train()
            times = []
            for _ in range(TRIAL_STEPS):
                began = time.perf_counter()
                self._loss(network, precision).backward()  # type: ignore[no-untyped-call]
                self._wait()
                times.append(time.perf_counter() - began)
            return min(times[1:])

    def evaluation_seconds(self) -> float:
        """Return the time of a forward pass without gradients, in seconds."""
        network = copy.deepcopy(self.network).eval()
        with torch.no_grad():
            self._loss(network, "float32")
            began = time.perf_counter()
            self._loss(network, "float32")
            self._wait()
        return time.perf_counter() - began

    def loss(self, precision: str) -> float:
        """Return the loss of the batch, without dropout."""
        network = copy.deepcopy(self.network).eval()
        with torch.no_grad():
            return float(self._loss(network, precision))

    def _loss(self, network: nn.Module, precision: str) -> Tensor:
        with autocast(self.device, precision):
            logits = network(self.batch.numeric, self.batch.categorical)
        return self.task.loss(logits.float(), self.batch)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def choose_threads(work: float, device: str) -> tuple[int, str]:
    """Choose the number of threads by the floating-point operations of a step, and say why.

    Args:
        work: Of `Trial`.
        device: "cpu", "cuda" or "mps".

    Example:
        >>> from sightline.build.modes import threads_set
        >>> from sightline.train.plan import choose_threads
        >>> with threads_set(2):
        ...     choose_threads(1e6, "cpu"), choose_threads(1e9, "cpu")
        ((1, 'small steps run faster on one'), (2, 'large steps use all that PyTorch has'))
    """
    most = torch.get_num_threads()
    if most == 1:
        return 1, "PyTorch has one"
    if device != "cpu":
        return most, "all that PyTorch has"
    threads = max(1, min(most, int(work / THREAD_WORK)))
    if threads == 1:
        return 1, "small steps run faster on one"
    if threads == most:
        return most, "large steps use all that PyTorch has"
    return threads, f"steps of this size do not use all {most} that PyTorch has"


def choose_precision(trial: Trial, device: str, threads: int) -> tuple[str, str]:
    """Choose float32 or bfloat16 for the matrix products of training by rule, and say why.

    Args:
        trial: Of the network and a batch.
        device: "cpu", "cuda" or "mps".
        threads: Of the plan.

    Example:
        >>> import sightline as sl, torch
        >>> from sightline.predict.task import Task
        >>> from sightline.train.plan import Trial, choose_precision
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network, task = sl.MLP(prepared.spec), Task(prepared.spec.target)
        >>> trial = Trial(network, task, prepared.train, torch.device("cpu"))
        >>> choose_precision(trial, "mps", 1)
        ('float32', 'bfloat16 is only used on CPUs and CUDA devices')
    """
    if device not in ("cpu", "cuda"):
        return "float32", "bfloat16 is only used on CPUs and CUDA devices"
    least = GPU_WORK if device == "cuda" else BFLOAT16_WORK * threads
    if trial.work < least or len(trial.batch.row) < BFLOAT16_ROWS:
        return "float32", "the matrices are too small for bfloat16 to gain"
    if not has_bfloat16(device):
        return "float32", "the hardware has no fast bfloat16 matrix products"
    loss, rounded_loss = trial.loss("float32"), trial.loss("bfloat16")
    if not abs(rounded_loss - loss) <= LARGEST_DIFFERENCE * max(abs(loss), 1e-3):
        return (
            "float32",
            f"the losses differ: {loss:.5g} in float32, {rounded_loss:.5g} in bfloat16",
        )
    return "bfloat16", "large steps are faster in it, and the loss is the same within 1 %"


def has_bfloat16(device: str) -> bool:
    """Return whether the hardware multiplies matrices faster in bfloat16 than in float32.

    Of CPUs these are the ones with AMX. AVX-512-BF16 alone makes a step 1.3 to 1.7 times slower than
    float32 (`benchmarks/results/plan_choice_avx512_bf16.json`).

    Example:
        >>> from sightline.train.plan import has_bfloat16
        >>> has_bfloat16("cpu") in (True, False)
        True
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which a network's matrix products use a precision.

    Example:
        >>> import torch
        >>> from sightline.train.plan import autocast
        >>> with autocast(torch.device("cpu"), "bfloat16"):
        ...     print(torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype)
        torch.bfloat16
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
