"""Several processes that train one network together, each on its share of every batch.

`torchrun` or Ray Train starts them. Every process has all rows and makes the same steps: it computes the gradients of its own
rows of a batch, and the sums over all processes are those of one process. Process 0 alone decides, writes and
prints; before each step it tells the others whether there is something to do. With one process, each method returns
what it is given.

The loop does not use `DistributedDataParallel`: it averages the processes' means, which is another loss where their
rows weigh differently, and a change of the network's structure would need a new wrapper.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sightline.errors import (
    DataError,
    InternalError,
    NetworkError,
    OptionError,
    RunError,
    UserError,
)

BEAT_SECONDS = 2.0
"""Between two signs of life of a process."""
LOST_SECONDS = 30.0
"""A process without a sign of life for so long counts as lost."""
ANY_TIME = timedelta(days=365)
"""How long a process waits for another that lives: process 0 may be paused."""
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""The environment that torchrun gives a process."""
LEAVE_SECONDS = 5.0
"""How long a process waits for the thread that shows its life, before it ends."""
JOIN_SECONDS = 1800.0
"""How long a process waits for the others when it starts."""
MEET_SECONDS = 0.02
"""Between two looks whether they are there."""
STEPS_TOLD_APART = 2**20
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
T = TypeVar("T")


class OtherOutOfMemoryError(MemoryError):
    """Another process ran out of memory in this step, so that all repeat it."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them; by default it is alone.

    Attributes:
        rank: The number of this process, from 0.
        size: How many processes there are.
        run: The run folder, if torchrun started the process; else empty.
        group: The group of `torch.distributed`; None for one process.

    Example:
        >>> from sightline.train.processes import Processes
        >>> Processes(rank=1, size=3).rows(10)
        slice(4, 7, None)
    """

    rank: int = 0
    size: int = 1
    run: str = ""
    group: Any = None

    # ------------------------------------------------------------- a step

    def rows(self, count: int) -> slice:
        """Return which of `count` rows are this process's own; they differ by at most one between processes."""
        least, more = divmod(count, self.size)
        start = self.rank * least + min(self.rank, more)
        return slice(start, start + least + (self.rank < more))

    def stream(self, step: int) -> int:
        """Return the number of the random numbers of a step, which each process draws for itself."""
        return step * self.size + self.rank

    def sum_gradients(
        self, network: nn.Module, step: int, loss: Tensor, score: Callable[[], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Sum gradients, loss and score over all processes.

        Args:
            network: The network, whose gradients are replaced by their sums.
            step: How many steps are done; all processes must be at the same one.
            loss: This process's share of the batch's loss.
            score: Returns the sum for the metric over this process's rows, from `Task.score`.

        Returns:
            The loss and the score of the whole batch. For one process the loss, and None.

        Raises:
            OtherOutOfMemoryError: Another process ran out of memory. No gradient is left.
            RunError: The connection to another process is lost.
        """
        return (loss, None) if self.size == 1 else self._sum(network, step, loss, score())

    def out_of_memory(self, network: nn.Module, step: int) -> None:
        """Tell the others, who wait for the gradients of this step, that there are none."""
        if self.size > 1:
            zero = torch.zeros((), device=next(network.parameters()).device)
            try:
                self._sum(network, step, zero, zero, failed=True)
            except OtherOutOfMemoryError:
                return

    def _sum(
        self, network: nn.Module, step: int, loss: Tensor, score: Tensor, failed: bool = False
    ) -> tuple[Tensor, Tensor]:
        learning = [p for p in network.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        told = [failed, step % STEPS_TOLD_APART, *(p.grad is not None for p in learning)]
        numbers = torch.cat([
            torch.stack([loss.double(), score.double()]),
            torch.tensor(told, dtype=torch.float64, device=flat.device),
        ])  # fmt: skip
        with self._connected():
            works = [
                dist.all_reduce(sums, group=self.group, async_op=True) for sums in (flat, numbers)
            ]
            for work in works:
                work.wait()
        any_failed, steps, *given = numbers[2:].tolist()
        if steps != self.size * (step % STEPS_TOLD_APART):
            raise InternalError(f"Process {self.rank} is at step {step:,}, another one is not.")
        if any_failed:
            network.zero_grad()
            raise OtherOutOfMemoryError("another process ran out of memory")
        parts = torch.split(flat, [p.numel() for p in learning])
        for p, part, count in zip(learning, parts, given, strict=True):
            p.grad = part.view_as(p).to(p.dtype) if count else None
        return numbers[0].to(loss.dtype), numbers[1]

    # ------------------------------------------------------------- what process 0 decides

    def says(self, answer: bool) -> bool:
        """Return process 0's answer; the others wait for it."""
        if self.size == 1:
            return answer
        told = torch.tensor(answer, dtype=torch.uint8)
        with self._connected():
            dist.broadcast(told, 0, group=self.group)
        return bool(told)

    def decide(self, make: Callable[[], T]) -> T:
        """Return what process 0 makes, in all processes.

        If it raises a `UserError`, the others end: process 0 says why.
        """
        if self.size == 1:
            return make()
        box: list[Any] = [None, None]
        try:
            if self.rank == 0:
                box[0] = make()
        except UserError as error:
            box[1] = error
        with self._connected():
            dist.broadcast_object_list(box, 0, group=self.group, device=torch.device("cpu"))
        if box[1] is not None:
            raise box[1] if self.rank == 0 else SystemExit(2)
        value: T = box[0]
        return value

    # ------------------------------------------------------------- measuring

    def gather(self, own: Tensor, count: int) -> Tensor:
        """Put together the values of all rows [count, ...] of each process's `own`, which are those of `rows(count)`."""
        if self.size == 1:
            return own
        most = -(-count // self.size)
        padded = own.new_zeros(most, *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        with self._connected():
            dist.all_gather(parts, padded, group=self.group)
        sizes = [Processes(rank, self.size).rows(count) for rank in range(self.size)]
        return torch.cat([x[: own.stop - own.start] for x, own in zip(parts, sizes, strict=True)])

    def sum(self, *values: float) -> list[float]:
        """Sum each of some numbers over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        with self._connected():
            dist.all_reduce(sums, group=self.group)
        return sums.tolist()

    # ------------------------------------------------------------- the start

    def begin_alike(self, network: nn.Module, device: torch.device, batch_size: int, data: Callable[[], str]) -> None:  # fmt: skip
        """Check that all processes have the same rows, and give all of them process 0's weights.

        Args:
            network: The network, on the device.
            device: Where it is.
            batch_size: Rows of a batch, which the processes divide among themselves.
            data: Returns the fingerprint of the rows.

        Raises:
            OptionError: The device cannot be used by several processes, or there are fewer rows in a batch than processes.
            DataError: The rows differ.
        """
        if self.size == 1:
            return
        if device.type not in ("cpu", "cuda"):
            raise OptionError(
                f"Several processes cannot train on the device {device.type!r}.",
                "Use 'cpu' or 'cuda'.",
            )
        if batch_size < self.size:
            raise OptionError(
                f"A batch has {batch_size:,} rows for {self.size:,} processes.",
                "Start fewer processes, or give a larger batch_size (--batch-size).",
            )
        alike: list[Any] = [None] * self.size
        with self._connected():
            dist.all_gather_object(alike, (device.type, data()), group=self.group)
        for rank, theirs in enumerate(alike):
            if theirs[0] != alike[0][0]:
                raise OptionError(
                    f"Process 0 trains on the device {alike[0][0]!r}, process {rank} on {theirs[0]!r}.",
                    "Give device (--device).",
                )
            if theirs != alike[0]:
                raise DataError(
                    f"Process {rank} has read other rows than process 0.",
                    "Give all processes the same file, of the same version.",
                )
        with self._connected():
            for tensor in (*network.parameters(), *network.buffers()):
                values = tensor.detach().contiguous()
                dist.broadcast(values, 0, group=self.group)
                tensor.detach().copy_(values)

    def synchronised(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Let batch normalisation use the rows of all processes; any other network is returned as it is.

        Raises:
            NetworkError: PyTorch has no such batch normalisation for the device, which would be trained on each
                process's rows alone.
        """
        own = [type(m) for m in network.modules() if isinstance(m, NORMS)]
        if self.size == 1 or all(kind is nn.SyncBatchNorm for kind in own):
            return network
        if device.type == "cpu":
            raise NetworkError(
                f"The network has a {own[0].__name__}, and on a CPU PyTorch has none over several processes.",
                "Use nn.LayerNorm, train on GPUs, or start one process.",
            )
        return nn.SyncBatchNorm.convert_sync_batchnorm(network, self.group)  # type: ignore[no-untyped-call, no-any-return]

    def lost(self, why: str) -> RunError:
        """Return the error for a connection that broke."""
        return RunError(
            f"Process {self.rank} of {self.size} has lost another one: {why}.",
            "Unless they are all started again (torchrun: --max-restarts), go on with: sightline resume "
            f"{shlex.quote(self.run)}",
        )

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # gloo and NCCL raise no other class
            raise self.lost(_first(error)) from error


ALONE = Processes()
_now = ALONE


def current() -> Processes:
    """Return the processes that train together now; outside of `joined`, this one alone.

    Example:
        >>> from sightline.train.processes import current
        >>> current().size
        1
    """
    return _now


def launched() -> int:
    """Return how many processes torchrun or Ray Train has started; 0 if neither has started this one.

    Example:
        >>> from sightline.train.processes import launched
        >>> launched()
        0
    """
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in LAUNCHED) else 0


def processes_here() -> int:
    """Return how many processes torchrun has started on this machine.

    Example:
        >>> from sightline.train.processes import processes_here
        >>> processes_here()
        1
    """
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def restarts() -> int:
    """Return how often torchrun has started this process again.

    Example:
        >>> from sightline.train.processes import restarts
        >>> restarts()
        0
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextmanager
def joined(run: str | None) -> Iterator[Processes]:
    """Train together with the other processes that torchrun has started, until the context or `leave` ends it.

    Without torchrun, the process is alone.

    Args:
        run: The run folder. None takes runs/torchrun-PID, with the number of torchrun's own process: processes that it
            starts again find their run there.

    Raises:
        RunError: The processes do not find each other.

    Example:
        >>> from sightline.train.processes import joined
        >>> with joined(None) as processes:
        ...     processes.size
        1
    """
    global _now
    size = launched()
    if not size:
        yield ALONE
        return
    if run is None:
        run = f"runs/torchrun-{os.getppid()}"
    _now = Processes(run=run) if size == 1 else _connect(run)
    try:
        yield _now
    finally:
        _close()


def leave() -> None:
    """End the training together: from here on each process is alone. All of them must have come here."""
    global _now
    if _now.size > 1:
        with _now._connected():
            dist.barrier()
        _close()
    _now = Processes(run=_now.run)


def backends(gpus: bool) -> str:
    """Return what connects processes, for PyTorch.

    Example:
        >>> from sightline.train.processes import backends
        >>> backends(gpus=False)
        'gloo'
    """
    return "cpu:gloo,cuda:nccl" if gpus and dist.is_nccl_available() else "gloo"


def _connect(run: str) -> Processes:
    """Make the group of processes; a GPU's tensors are summed by NCCL."""
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    backend = backends(gpus > 0)
    if dist.is_initialized():  # Ray Train has connected the processes, and looks after them
        group = dist.new_group(backend=backend, timeout=ANY_TIME)
        return Processes(dist.get_rank(), dist.get_world_size(), run, group)
    try:
        shared, rank, size = next(rendezvous("env://"))
        store = _meet(shared, rank, size)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        group = dist.new_group(backend=backend, timeout=ANY_TIME)
    except RuntimeError as error:
        raise RunError(
            f"Process {os.environ['RANK']} has not found the others: {_first(error)}.",
            "Give every machine's torchrun the same --master-addr and --master-port.",
        ) from error
    processes = Processes(rank, size, run, group)
    processes = replace(processes, run=processes.decide(lambda: run))
    _heartbeat.begin(processes, store)
    return processes


def _meet(shared: Store, rank: int, size: int) -> Store:
    """Return a store for the processes of this start alone, as soon as all of them are there.

    torchrun keeps one store for all starts, in which a process would find addresses of others that were killed. So each
    process shows a new word, and process 0 answers with it and with the word of this start.
    """
    own, start, until = uuid4().hex, "", time.monotonic() + JOIN_SECONDS
    others = [] if rank else list(range(1, size))
    if rank:
        shared.set(f"here/{rank}", own)
    else:
        start = own
    while not start or not all(shared.check([f"{start}/{other}"]) for other in others):
        for other in others:
            if shared.check([f"here/{other}"]):
                shared.set(f"answer/{other}", f"{shared.get(f'here/{other}').decode()} {start}")
        if rank and shared.check([f"answer/{rank}"]):
            word, answer = shared.get(f"answer/{rank}").decode().split()
            start = answer if word == own else ""
        if time.monotonic() > until:
            raise RuntimeError(f"they did not all come within {JOIN_SECONDS:g} s")
        time.sleep(MEET_SECONDS)
    if rank:
        shared.set(f"{start}/{rank}", own)
    return PrefixStore(start, shared)


def _first(error: RuntimeError) -> str:
    """Return the first sentence of what gloo or NCCL says, without the place in its source."""
    text = str(error).partition(".cc:")[2].partition("] ")[2] or str(error)
    return text.strip().split("\n")[0].split(". ")[0].rstrip(".") or type(error).__name__


def _close() -> None:
    global _now
    _heartbeat.end()
    if dist.is_initialized():
        dist.destroy_process_group()
    _now = ALONE


class _Heartbeat:
    """Shows the others that this process lives, and ends it when another one shows nothing any more.

    A broken network closes no connection: a process would wait for ever for the gradients of the others, in code that
    no Python exception reaches. So a thread ends the process. Another one talks to the others, and may wait for ever too.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, processes: Processes, store: Store) -> None:
        """Start the threads."""
        self._ended = threading.Event()
        self._heard = time.monotonic()
        self._seen: dict[int, tuple[bytes, float]] = {}
        own = store.clone()  # type: ignore[attr-defined]
        own.set(f"beat/{processes.rank}", "0")
        self._threads = [
            threading.Thread(target=work, args=(processes, own, self._ended), daemon=True)
            for work in (self._beat, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """End the threads; the process must not end while one of them is inside PyTorch, which would abort it."""
        self._ended.set()
        for thread in self._threads:
            thread.join(LEAVE_SECONDS)
        self._threads = []

    def _beat(self, processes: Processes, store: Store, ended: threading.Event) -> None:
        beat = 0
        while not ended.wait(BEAT_SECONDS):
            beat += 1
            try:
                store.set(f"beat/{processes.rank}", str(beat))
                values = [store.get(f"beat/{rank}") for rank in range(processes.size)]
            except RuntimeError:
                return  # `_watch` ends the process
            self._heard = time.monotonic()
            for rank, value in enumerate(values):
                if rank not in self._seen or self._seen[rank][0] != value:
                    self._seen[rank] = value, self._heard

    def _watch(self, processes: Processes, store: Store, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            least = time.monotonic() - LOST_SECONDS
            silent = [rank for rank, (_, at) in self._seen.items() if at < least]
            why = ""
            if self._heard < least:
                why = f"{os.environ['MASTER_ADDR']} does not answer"
            elif silent:
                why = f"process {silent[0]} shows no sign of life for {LOST_SECONDS:g} s"
            if why and not ended.is_set():
                sys.stderr.write(f"Error: {processes.lost(why)}\n")
                sys.stderr.flush()
                os._exit(2)


_heartbeat = _Heartbeat()
