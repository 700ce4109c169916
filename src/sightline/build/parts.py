"""Parts that networks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sightline.errors import OptionError, did_you_mean

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "selu": nn.SELU,
    "elu": nn.ELU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip


class Layer(NamedTuple):
    """A named stop on the path of a row through a network, and the module that makes it."""

    name: str
    module: nn.Module


def make_activation(name: str) -> nn.Module:
    """Make an activation by name.

    Raises:
        OptionError: There is none of that name.
    """
    if name not in ACTIVATIONS:
        raise OptionError(
            f"There is no activation {name!r}.", did_you_mean(name, ACTIVATIONS, "activations")
        )
    return ACTIVATIONS[name]()


def is_elementwise(module: nn.Module) -> bool:
    """Tell whether each output is made of its own input alone, as an activation's or dropout's is.

    Example:
        >>> from torch import nn
        >>> from sightline.build.parts import is_elementwise
        >>> is_elementwise(nn.GELU()), is_elementwise(nn.LayerNorm(3))
        (True, False)
    """
    return isinstance(module, (*ACTIVATIONS.values(), nn.Identity, nn.Dropout))


class HiddenLayer(nn.Module):
    """Linear, activation, dropout; added to what came in where `residual`.

    A residual layer gives x + scale * f(x) and starts as x itself, its scale being zero (ReZero,
    Bachlechner et al. 2020): it can be inserted into a trained network without a change of output.

    Shapes: [B, inputs] -> [B, outputs].

    Example:
        >>> import torch
        >>> from sightline.build.parts import HiddenLayer
        >>> x = torch.randn(4, 8)
        >>> torch.equal(HiddenLayer(8, 8, "gelu", 0.0, residual=True)(x), x)
        True
    """

    def __init__(
        self, inputs: int, outputs: int, activation: str, dropout: float, residual: bool = False
    ) -> None:
        super().__init__()
        if residual and inputs != outputs:
            raise OptionError(
                f"A residual layer has {inputs} inputs and {outputs} outputs.",
                "Make it as wide as the layer before it.",
            )
        self.linear = nn.Linear(inputs, outputs)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.scale = nn.Parameter(torch.zeros(outputs)) if residual else None

    @property
    def width(self) -> int:
        """How many units it has."""
        return self.linear.out_features

    def forward(self, x_BI: Tensor) -> Tensor:
        """Map [B, inputs] to [B, outputs]."""
        x_BO: Tensor = self.activation(self.linear(x_BI))
        if self.dropout is not None:
            x_BO = self.dropout(x_BO)
        return x_BO if self.scale is None else x_BI + self.scale * x_BO


def embedding_width(cardinality: int) -> int:
    """How wide a category's vector is: min(50, 1.6 n^0.56), as in fastai's tabular models.

    Example:
        >>> from sightline.build.parts import embedding_width
        >>> embedding_width(4), embedding_width(1000)
        (3, 50)
    """
    return min(50, max(2, round(1.6 * math.pow(cardinality, 0.56))))


class CategoryEmbeddings(nn.Module):
    """A learned vector for each category of each column, side by side.

    Columns of equal width share one table, so that forty columns cost one look-up. The vectors of
    "missing" (code 0) and "unseen" (code 1) start at zero, the middle of the others, and stay
    there as long as no training row has them: what was never learned must not be noise.

    Args:
        cardinalities: Codes per column, missing and unseen counted.

    Shapes: int32 [B, C] -> float32 [B, width].

    Example:
        >>> import torch
        >>> from sightline.build.parts import CategoryEmbeddings
        >>> embeddings = CategoryEmbeddings([5, 5, 300])
        >>> list(embeddings(torch.zeros(2, 3, dtype=torch.int32)).shape), embeddings.width
        ([2, 47], 47)
    """

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        by_width: dict[int, list[int]] = {}
        for column, cardinality in enumerate(cardinalities):
            by_width.setdefault(embedding_width(cardinality), []).append(column)
        self.tables = nn.ModuleList()
        self._columns: list[str] = []
        self.width = 0
        for number, (width, columns) in enumerate(by_width.items()):
            sizes = [cardinalities[column] for column in columns]
            starts = [sum(sizes[:i]) for i in range(len(sizes))]
            table = nn.Embedding(sum(sizes), width)
            nn.init.normal_(table.weight, std=width**-0.5)
            with torch.no_grad():
                table.weight[[row for start in starts for row in (start, start + 1)]] = 0.0
            self.tables.append(table)
            self.register_buffer(f"columns_{number}", torch.tensor(columns), persistent=False)
            self.register_buffer(
                f"starts_{number}", torch.tensor(starts, dtype=torch.int32), persistent=False
            )
            self.width += width * len(columns)
        self._whole = len(by_width) == 1

    def forward(self, categorical_BC: Tensor) -> Tensor:
        """Look up each code and lay the vectors side by side."""
        parts: list[Tensor] = []
        for number, table in enumerate(self.tables):
            codes = categorical_BC
            if not self._whole:
                codes = codes.index_select(1, self.get_buffer(f"columns_{number}"))
            codes = codes + self.get_buffer(f"starts_{number}")
            parts.append(table(codes).flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
