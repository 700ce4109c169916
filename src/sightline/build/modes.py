"""The state of PyTorch for a `with` block: evaluation mode, and settings that the caller may have changed.

A process that is forked from one that has used PyTorch has none of its threads, and would wait for them for ever:
from the import of this module on, a forked process uses one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

generator_lock = threading.RLock()
"""Held while something seeds or draws from PyTorch's global generator, which the threads of a process share."""


network_lock = threading.RLock()
"""Held while a network of one's own computes, which may keep values between its layers."""


def _after_fork() -> None:
    global generator_lock, network_lock
    network_lock = threading.RLock()
    generator_lock = threading.RLock()  # another thread may have held it
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def alone() -> Iterator[None]:
    """Keep other threads of the process out of networks that only one may run.

    Example:
        >>> from sightline.build.modes import alone
        >>> with alone():
        ...     print("one thread at a time")
        one thread at a time
    """
    with network_lock:
        yield


@contextmanager
def drawing(seed: int | None = None) -> Iterator[None]:
    """Draw from PyTorch's generator undisturbed by other threads; restore its state afterwards.

    Args:
        seed: The seed to start from; None goes on from the present state.

    Example:
        >>> import torch
        >>> from sightline.build.modes import drawing
        >>> with drawing(0):
        ...     first = torch.rand(3)
        >>> with drawing(0):
        ...     print(torch.equal(torch.rand(3), first))
        True
    """
    with generator_lock, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield


@contextmanager
def usual_settings() -> Iterator[None]:
    """Let PyTorch make float32 tensors and record gradients, whatever the caller has set; restore it afterwards.

    Example:
        >>> import torch
        >>> from sightline.build.modes import usual_settings
        >>> torch.set_default_dtype(torch.float64)
        >>> with usual_settings():
        ...     print(torch.ones(1).dtype)
        torch.float32
        >>> torch.get_default_dtype()
        torch.float64
        >>> torch.set_default_dtype(torch.float32)
    """
    before = torch.get_default_dtype()
    with torch.inference_mode(False), torch.enable_grad():
        if before != torch.float32:
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            if before != torch.float32:
                torch.set_default_dtype(before)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode without gradients, and restore each module's mode afterwards.

    Besides, `usual_settings` hold. In evaluation mode dropout drops nothing and batch normalisation updates no statistics. The mode
    is restored after an error as well.

    Example:
        >>> from torch import nn
        >>> from sightline.build.modes import evaluating
        >>> network = nn.Dropout().train()
        >>> with evaluating(network):
        ...     print(network.training)
        False
        >>> network.training
        True
    """
    training = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with usual_settings(), torch.no_grad():
            yield
    finally:
        for module, was_training in zip(modules, training, strict=True):
            module.train(was_training)


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Let PyTorch use `count` threads inside the context.

    Example:
        >>> import torch
        >>> from sightline.build.modes import threads_set
        >>> with threads_set(1):
        ...     print(torch.get_num_threads())
        1
    """
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
