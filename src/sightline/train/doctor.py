"""The doctor: statistics of each layer in one step.

It examines the first step of an epoch, but at least `STEPS_BETWEEN` steps after the last one
examined. `observations.py` turns the numbers into sentences. The idea is that of skorch's training
doctor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from sightline.build.parts import HiddenLayer
from sightline.predict.path import followed_layers
from sightline.train.observations import LayerNumbers
from sightline.train.weights import norm

STEPS_BETWEEN = 64
BOUNDS: dict[type[Any], tuple[float, float]] = {
    nn.Tanh: (-1.0, 1.0),
    nn.Sigmoid: (0.0, 1.0),
    nn.Softsign: (-1.0, 1.0),
}
NEAR = 0.02
"""An output is saturated if it is this near to a bound, as a share of the distance of the bounds."""


class Examination:
    """Watches one step: create it before the step, call `layers` after it.

    Args:
        network: The network that makes the step; hooks watch its layers until then.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.doctor import Examination
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec, hidden=[8]), prepared, doctor=False)
        >>> examination = Examination(training.network)
        >>> step = next(training.steps())
        >>> [layer.name for layer in examination.layers()]
        ['embeddings', 'hidden.0', 'output']
    """

    def __init__(self, network: nn.Module) -> None:
        names = {id(module): name for name, module in network.named_modules()}
        self._stops = [(names[id(m)], title, m) for title, m in followed_layers(network)]
        self._before = {id(p): p.detach().clone() for p in network.parameters()}
        self._outputs: dict[int, list[Tensor]] = {}
        self._handles = [
            (module.activation if isinstance(module, HiddenLayer) else module)
            .register_forward_hook(self._watch(module)) for _, _, module in self._stops
        ]  # fmt: skip

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def layers(self) -> list[LayerNumbers]:
        """Return the numbers of each layer that was called and returned a tensor, in network order."""
        self.close()
        return [
            self._layer(name, title, module)
            for name, title, module in self._stops
            if id(module) in self._outputs
        ]

    def _watch(self, module: nn.Module) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self._outputs[id(module)] = _outputs(module, output)

        return keep

    def _layer(self, name: str, title: str, module: nn.Module) -> LayerNumbers:
        mean, deviation, zero, dead, saturated = (float(x) for x in self._outputs[id(module)])
        parameters = list(module.parameters())
        values = [p.detach() for p in parameters]
        changes = [p.detach() - self._before[id(p)] for p in parameters if id(p) in self._before]
        gradients = [p.grad for p in parameters if p.grad is not None]
        weight, change, gradient = norm(values), norm(changes), norm(gradients)
        count = sum(g.numel() for g in gradients)
        return LayerNumbers(
            name=name, title=title, mean=mean, deviation=deviation, zero=zero, dead=dead,
            saturated=None if math.isnan(saturated) else saturated, weight_norm=weight,
            gradient=gradient / math.sqrt(count) if count else 0.0,
            update=change / weight if weight else 0.0,
            frozen=bool(parameters) and not any(p.requires_grad for p in parameters),
        )  # fmt: skip


def _outputs(module: nn.Module, output: Tensor) -> list[Tensor]:
    values = output.detach().float()
    zeros = values == 0
    bounds = BOUNDS.get(type(getattr(module, "activation", module)))
    saturated = values.new_tensor(math.nan)
    if bounds is not None:
        low, high = bounds
        near = NEAR * (high - low)
        saturated = ((values < low + near) | (values > high - near)).float().mean()
    return [
        values.mean(), values.std(correction=0), zeros.float().mean(),
        zeros.all(dim=0).float().mean(), saturated,
    ]  # fmt: skip
