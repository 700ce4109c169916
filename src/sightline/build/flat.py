"""The adapter for a module that takes one tensor: numbers, then each category one-hot.

Letters: B rows, D numbers, C codes, K outputs, M members.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from sightline.build.parts import ACTIVATIONS, HiddenLayer, is_elementwise
from sightline.contracts import Spec


class Flat(nn.Module):
    """Adapt a module that takes one tensor: numbers, then each category one-hot.

    Args:
        spec: Of the prepared table; `spec.flat_width` is the number of inputs the module must have.
        module: Takes float32 [B, spec.flat_width], returns logits [B, K] or [B, M, K].

    Shapes: float32 [B, D] and int32 [B, C] -> the module's logits.

    Example:
        >>> import sightline as sl
        >>> from torch import nn
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> spec = prepared.spec
        >>> network = sl.Flat(spec, nn.Linear(spec.flat_width, spec.outputs))
        >>> list(network(prepared.train.numeric, prepared.train.categorical).shape)
        [276, 3]
    """

    starts: Tensor

    def __init__(self, spec: Spec, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        sizes = spec.cardinalities
        self.width = sum(sizes)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Map features to logits."""
        x = numeric_BD
        if self.width:
            hot = torch.zeros(len(numeric_BD), self.width, device=numeric_BD.device)
            hot.scatter_(1, categorical_BC.long() + self.starts, 1.0)
            x = torch.cat([numeric_BD, hot], dim=1)
        logits: Tensor = self.module(x)
        return logits

    # ------------------------------------------------------------- edits (build/surgery.py)

    def chain(self) -> list[tuple[str, nn.Module]]:
        """Return the layers of a `nn.Sequential` by name, in order; another module is one layer."""
        if type(self.module).forward is not nn.Sequential.forward:
            return [("module", self.module)]
        return [(f"module.{name}", layer) for name, layer in self._named_layers()]

    def _named_layers(self) -> list[tuple[str, nn.Module]]:
        """The layers by name; one that occurs twice, such as an activation, is listed twice."""
        named = self.module.named_modules(remove_duplicate=False)
        return [(name, layer) for name, layer in named if name and "." not in name]

    def insert(self, after: str, width: int) -> None:
        """Insert a hidden layer that starts as the identity, with the activation behind `after`."""
        layers = self._named_layers()
        index = [f"module.{name}" for name, _ in layers].index(after) + 1
        activation = "ReLU"
        while is_elementwise(layers[index][1]):
            if not isinstance(layers[index][1], nn.Dropout):
                activation = type(layers[index][1]).__name__
            index += 1
        name = next((n for n, cls in ACTIVATIONS.items() if cls.__name__ == activation), "relu")
        layer = HiddenLayer(width, width, name, 0.0, residual=True)
        numbered = all(name.isdigit() for name, _ in layers)
        layers.insert(index, (f"inserted_{len(layers)}", layer))
        self.module = nn.Sequential(
            OrderedDict(
                (str(n) if numbered else name, layer) for n, (name, layer) in enumerate(layers)
            )
        )
