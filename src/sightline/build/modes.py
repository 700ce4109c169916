"""Put networks into evaluation mode, without gradients, for a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode without gradients, and restore each module's mode afterwards.

    In evaluation mode dropout drops nothing and batch normalisation updates no statistics. The mode
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
        with torch.no_grad():
            yield
    finally:
        for module, was_training in zip(modules, training, strict=True):
            module.train(was_training)
