"""Copies of a network's weights: their moving average, those of the best epoch, the last good ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sightline.errors import NetworkError


class Average:
    """An exponential moving average of a network's parameters (Polyak and Juditsky 1992).

    Args:
        network: The network whose parameters are averaged; the average starts from them.
        decay: The share of the old average that is kept at each step, such as 0.999. Early steps
            use (1 + step) / (10 + step) if that is less, so that the first weights soon fade.

    Example:
        >>> import torch
        >>> from sightline.train.weights import Average
        >>> network = torch.nn.Linear(1, 1, bias=False)
        >>> _ = network.weight.data.fill_(1.0)
        >>> average = Average(network, decay=0.5)
        >>> _ = network.weight.data.fill_(2.0)
        >>> average.update(step=100)
        >>> average.values["weight"].item()
        1.5
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in network.named_parameters()}
        self.follow(network)

    def follow(self, network: nn.Module) -> None:
        """Average the parameters of this network from now on; `values` must have all their names."""
        self.network = network
        named = dict(network.named_parameters())
        self._parameters: list[Tensor] = [p.detach() for p in named.values()]
        self._averages = [self.values[name] for name in named]

    def update(self, step: int) -> None:
        """Update the average after a step; steps count from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._parameters, weight)

    def set(self, values: Mapping[str, Tensor]) -> None:
        """Set the averages, such as to those of a checkpoint."""
        for name, value in values.items():
            self.values[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Swap the averages into the network's parameters inside the context."""
        parameters = list(self.network.parameters())
        kept = [p.data for p in parameters]
        for p, value in zip(parameters, self._averages, strict=True):
            p.data = value
        try:
            yield
        finally:
            for p, data in zip(parameters, kept, strict=True):
                p.data = data


class WeightsCopy:
    """A copy of a network at one moment, structure and weights.

    Args:
        network: The network to copy.
        structure: The number of its structure; a change of structure gets a new number.

    Example:
        >>> import torch
        >>> from sightline.train.weights import WeightsCopy
        >>> network = torch.nn.Linear(1, 1)
        >>> kept = WeightsCopy(network, structure=0)
        >>> before = network.weight.item()
        >>> _ = network.weight.data.fill_(5.0)
        >>> kept.network.weight.item() == before
        True
    """

    def __init__(self, network: nn.Module, structure: int) -> None:
        self.structure = -1
        self.keep(network, structure)

    def keep(self, network: nn.Module, structure: int) -> None:
        """Copy the network's weights; a new structure number means that the structure is copied too."""
        if structure != self.structure:
            self.network = copy.deepcopy(network)
            for p in self.network.parameters():
                p.grad = None
            self.structure = structure
            self._own, self._theirs = _tensors(self.network), _tensors(network)
            return
        with torch.no_grad():
            torch._foreach_copy_(self._own, self._theirs)

    def put_back(self, network: nn.Module) -> None:
        """Copy the kept weights back into a network of the same structure."""
        with torch.no_grad():
            for own, kept in zip(_tensors(network), self._own, strict=True):
                own.copy_(kept)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state: parameters and buffers by name, not copied.

    Raises:
        NetworkError: The network keeps something else than tensors in its state.

    Example:
        >>> import torch
        >>> from sightline.train.weights import weights_of
        >>> list(weights_of(torch.nn.Linear(2, 1)))
        ['weight', 'bias']
    """
    state = network.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise NetworkError(
                f"{type(network).__name__} keeps {name!r} in its state_dict, which is not a tensor.",
                "Keep only tensors there: parameters and buffers.",
            )
    return dict(state)


def norm(tensors: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all elements of all tensors together; 0 without tensors.

    Example:
        >>> import torch
        >>> from sightline.train.weights import norm
        >>> norm([torch.tensor([3.0]), torch.tensor([4.0])]), norm([])
        (5.0, 0.0)
    """
    if not tensors:
        return 0.0
    return float(torch.stack(torch._foreach_norm(list(tensors))).norm())
