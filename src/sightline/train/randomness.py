"""The random numbers of a training step, such as dropout's: a function of the seed and the step.

PyTorch's layers draw from its global generator, which other code may use too. Each step therefore
seeds that generator from (seed, step) and restores its state afterwards. So a checkpoint keeps no
generator, and code around the loop neither changes what a step draws nor notices it. Meanwhile other threads
of the process that train wait: they share the generator.
"""

from __future__ import annotations

from types import TracebackType

import torch
from torch import nn

from sightline.build import modes
from sightline.build.flat import Flat
from sightline.build.mlp import MLP
from sightline.build.parts import ACTIVATIONS, CategoryEmbeddings, HiddenLayer

QUIET = (
    MLP, Flat, HiddenLayer, CategoryEmbeddings, *ACTIVATIONS.values(), nn.Linear, nn.Embedding,
    nn.ModuleList, nn.Sequential, nn.Identity, nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d,
)  # fmt: skip
"""Modules that draw no random numbers; any other module may."""
MASK = 2**64 - 1


class Randomness:
    """Seeds PyTorch's generator for a step, and restores it afterwards.

    Args:
        network: If all of its modules are known to draw nothing, the generator is left alone.
        seed: The training's seed.
        device: Where the network is.

    Example:
        >>> import torch
        >>> from sightline.train.randomness import Randomness
        >>> randomness = Randomness(torch.nn.Dropout(), seed=0, device=torch.device("cpu"))
        >>> with randomness.at(7):
        ...     first = torch.rand(3)
        >>> with randomness.at(7):
        ...     print(torch.equal(torch.rand(3), first))
        True
    """

    def __init__(self, network: nn.Module, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.used = any(type(m) not in QUIET for m in network.modules() if not _idle(m))
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            index = device.index if device.index is not None else torch.cuda.current_device()
            self._generators = [torch.cuda.default_generators[index], torch.default_generator]
        else:
            self._generators = [torch.default_generator]
        self._outer: list[torch.Tensor] = []
        self._number, self._on = 0, False

    def at(self, number: int, always: bool = False) -> Randomness:
        """Return the context of a step; with `always` even if the network draws nothing."""
        self._number, self._on = number, self.used or always
        return self

    def __enter__(self) -> None:
        if self._on:
            self._lock = modes.generator_lock
            self._lock.acquire()
            self._outer = [generator.get_state() for generator in self._generators]
            seed = mixed(self.seed, self._number)
            for generator in self._generators:
                generator.manual_seed(seed)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._on:
            for generator, state in zip(self._generators, self._outer, strict=True):
                generator.set_state(state)
            self._lock.release()


def mixed(seed: int, number: int) -> int:
    """Mix a seed and a step into a seed of 32 bits (SplitMix64, Steele, Lea and Flood 2014).

    PyTorch's CPU generator uses only 32 bits of a seed, so consecutive steps must differ in those.

    Example:
        >>> from sightline.train.randomness import mixed
        >>> len({mixed(seed, step) for seed in range(10) for step in range(100)})
        1000
    """
    z = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xD1B54A32D192ED03) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return (z ^ (z >> 31)) >> 32


def _idle(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout) and module.p == 0
