"""Layers and checks that several networks share: activations, hidden layers, embeddings."""

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
    """A module that a row passes through, and its name in explanations."""

    name: str
    module: nn.Module


def make_activation(name: str) -> nn.Module:
    """Make an activation by its name in `ACTIVATIONS`.

    Raises:
        OptionError: There is no activation of that name.

    Example:
        >>> from sightline.build.parts import make_activation
        >>> make_activation("relu")
        ReLU()
    """
    if name not in ACTIVATIONS:
        raise OptionError(
            f"There is no activation {name!r}.", did_you_mean(name, ACTIVATIONS, "activations")
        )
    return ACTIVATIONS[name]()


def check_dropout(dropout: float) -> None:
    """Refuse a dropout probability that is not in [0, 1).

    Raises:
        OptionError: It is out of range or not a number.

    Example:
        >>> from sightline.build.parts import check_dropout
        >>> check_dropout(0.1)
    """
    if not 0 <= dropout < 1:
        raise OptionError(
            f"dropout is {dropout}, but must be at least 0 and less than 1.",
            "Give a number such as 0.1, or 0 for no dropout.",
        )


def is_elementwise(module: nn.Module) -> bool:
    """Tell whether each output depends on its own input alone, as in an activation or dropout.

    Example:
        >>> from torch import nn
        >>> from sightline.build.parts import is_elementwise
        >>> is_elementwise(nn.GELU()), is_elementwise(nn.LayerNorm(3))
        (True, False)
    """
    return isinstance(module, (*ACTIVATIONS.values(), nn.Identity, nn.Dropout))


class HiddenLayer(nn.Module):
    """A linear layer, an activation and dropout, with a residual connection if `residual`.

    A residual layer computes x + scale * f(x). Its scale starts at zero, so it starts as the identity
    (ReZero, Bachlechner et al. 2020) and can be inserted into a trained network without changing the
    network's output.

    Args:
        inputs, outputs: Units; equal in a residual layer.
        activation: A name in `ACTIVATIONS`.
        dropout: Probability with which a unit is set to zero in training.
        residual: Whether the input is added to the output.

    Shapes: [B, inputs] -> [B, outputs].

    Raises:
        OptionError: An unknown activation, or a residual layer whose widths differ.

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
                "Give it as many units as the layer before it.",
            )
        self.linear = nn.Linear(inputs, outputs)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.scale = nn.Parameter(torch.zeros(outputs)) if residual else None

    @property
    def width(self) -> int:
        """The number of its units."""
        return self.linear.out_features

    def forward(self, x_BI: Tensor) -> Tensor:
        """Map [B, inputs] to [B, outputs]."""
        x_BO: Tensor = self.activation(self.linear(x_BI))
        if self.dropout is not None:
            x_BO = self.dropout(x_BO)
        return x_BO if self.scale is None else x_BI + self.scale * x_BO


def embedding_width(cardinality: int) -> int:
    """Return the length of the vector of a category of n values: min(50, 1.6 n^0.56), as in fastai.

    Example:
        >>> from sightline.build.parts import embedding_width
        >>> embedding_width(4), embedding_width(1000)
        (3, 50)
    """
    return min(50, max(2, round(1.6 * math.pow(cardinality, 0.56))))


class CategoryEmbeddings(nn.Module):
    """Embeddings: a learned vector for each category of each column, concatenated.

    Columns of equal width share one embedding table, so that forty columns cost one look-up. The
    vectors of "missing" (code 0) and "unseen" (code 1) start at zero, the mean of the others, and stay
    there if no training row has them: a vector that was never trained must not add noise.

    Args:
        cardinalities: Codes per column, "missing" and "unseen" included.

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
        """Look up the vector of each code and concatenate them."""
        parts: list[Tensor] = []
        for number, table in enumerate(self.tables):
            codes = categorical_BC
            if not self._whole:
                codes = codes.index_select(1, self.get_buffer(f"columns_{number}"))
            codes = codes + self.get_buffer(f"starts_{number}")
            parts.append(table(codes).flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
