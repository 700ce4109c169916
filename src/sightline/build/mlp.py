"""The multilayer perceptron with embeddings for the categories.

Letters: B rows, D numbers, C codes, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightline.build.parts import CategoryEmbeddings, HiddenLayer, Layer, check_dropout
from sightline.build.surgery import replace_module
from sightline.contracts import Spec
from sightline.errors import OptionError


class MLP(nn.Module):
    """A multilayer perceptron with embeddings for the categories.

    Args:
        spec: Of the prepared table.
        hidden: Width of each hidden layer in units; an empty list makes a linear model.
        activation: "relu", "gelu", "silu", ... (`sightline.build.parts.ACTIVATIONS`).
        dropout: Probability with which a hidden unit is set to zero in training, 0 <= dropout < 1.
        residual: Indices of the hidden layers that have a residual connection, as `Deepen` inserts
            them; each is as wide as the layer before it.
        replaced: Modules that replace others, by name, as `Replace` does.

    Shapes: float32 [B, D] and int32 [B, C] -> logits [B, K].

    Raises:
        OptionError: A width, activation or dropout that is out of range.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network = sl.MLP(prepared.spec, hidden=[32, 16])
        >>> list(network(prepared.train.numeric, prepared.train.categorical).shape)
        [276, 3]
    """

    def __init__(
        self,
        spec: Spec,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        residual: Sequence[int] = (),
        replaced: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        hidden = [hidden] if isinstance(hidden, int) else list(hidden)
        for width in hidden:
            if isinstance(width, bool) or not isinstance(width, int) or width < 1:
                raise OptionError(
                    f"hidden is {hidden}, but a width is a whole number from 1.",
                    "Give a list of widths such as [64, 32].",
                )
        check_dropout(dropout)
        self.spec = spec
        self.activation = activation
        self.dropout = dropout
        self.embeddings = CategoryEmbeddings(spec.cardinalities) if spec.categorical else None
        width = len(spec.numeric) + (self.embeddings.width if self.embeddings else 0)
        self.hidden = nn.ModuleList()
        for index, outputs in enumerate(hidden):
            adds = index in residual
            self.hidden.append(HiddenLayer(width, outputs, activation, dropout, residual=adds))
            width = outputs
        self.output = nn.Linear(width, spec.outputs)
        self.replaced: dict[str, str] = {}
        for name, module in (replaced or {}).items():
            self.replace(name, module)

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Map features to logits."""
        x = numeric_BD
        if self.embeddings is not None:
            x = torch.cat([numeric_BD, self.embeddings(categorical_BC)], dim=1)
        for layer in self.hidden:
            x = layer(x)
        logits_BK: Tensor = self.output(x)
        return logits_BK

    def layers(self) -> Iterator[Layer]:
        """Name the modules that a row passes, for explanations."""
        if self.embeddings is not None:
            yield Layer("Embeddings: a vector for each category", self.embeddings)
        for number, layer in enumerate(self.hidden, start=1):
            if isinstance(layer, HiddenLayer):
                name = f"Linear + {type(layer.activation).__name__}"
                name += " + residual connection" if layer.scale is not None else ""
            else:
                name = type(layer).__name__
            yield Layer(f"Hidden layer {number}: {name}", layer)
        head = "softmax" if self.spec.target.task == "classification" else "scale"
        yield Layer(f"Output layer: {type(self.output).__name__} + {head}", self.output)

    # ------------------------------------------------------------- rebuilding

    def config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this network, read from its layers."""
        width = self.spec.outputs
        widths: list[int] = []
        for layer in reversed([*self.hidden, self.output]):
            linear = layer.linear if isinstance(layer, HiddenLayer) else layer
            if isinstance(linear, nn.Linear):
                width = linear.out_features
            widths.insert(0, width)  # a replaced layer is as wide as the next layer's inputs
            if isinstance(linear, nn.Linear):
                width = linear.in_features
        scales = [getattr(layer, "scale", None) for layer in self.hidden]
        return {
            "hidden": widths[:-1],
            "activation": self.activation,
            "dropout": self.dropout,
            "residual": [index for index, scale in enumerate(scales) if scale is not None],
            "replaced": {name: self._module_text(name) for name in self.replaced},
        }

    @classmethod
    def from_config(cls, spec: Spec, config: Mapping[str, Any]) -> Self:
        """Build the network that `config` describes, with fresh weights."""
        return cls(spec, **config)

    def _module_text(self, name: str) -> str:
        """Write a replaced module as text; a linear layer may have been widened since."""
        module = self.get_submodule(name)
        return str(module) if type(module) is nn.Linear else self.replaced[name]

    # ------------------------------------------------------------- edits (build/surgery.py)

    def chain(self) -> list[tuple[str, nn.Module]]:
        """Return the layers in the order in which a row passes them, by name; the output layer last."""
        hidden = [(f"hidden.{index}", layer) for index, layer in enumerate(self.hidden)]
        return [*hidden, ("output", self.output)]

    def replace(self, name: str, module: str) -> None:
        """Replace a module; see `sightline.build.surgery.replace_module`."""
        replace_module(self, name, module)
        below = f"{name}."
        self.replaced = {n: m for n, m in self.replaced.items() if not n.startswith(below)}
        self.replaced[name] = module

    def insert(self, after: str, width: int) -> None:
        """Insert a hidden layer that starts as the identity; see `sightline.build.surgery.deepen`."""
        index = int(after.removeprefix("hidden.")) + 1
        layer = HiddenLayer(width, width, self.activation, self.dropout, residual=True)
        self.hidden.insert(index, layer)
        # The layers behind it have new numbers, and what was replaced in them has new names.
        self.replaced = {
            _shifted(name, index): module for name, module in self.replaced.items()
        }  # fmt: skip


def _shifted(name: str, index: int) -> str:
    """Rename a module of a hidden layer at or behind `index`, where a layer was inserted."""
    parts = name.split(".")
    if parts[0] == "hidden" and len(parts) > 1 and int(parts[1]) >= index:
        parts[1] = str(int(parts[1]) + 1)
    return ".".join(parts)
