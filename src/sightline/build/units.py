"""A unit of an MLP computed by hand for one row: its products, their sum, and the activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightline.build.mlp import MLP
from sightline.build.parts import HiddenLayer

SHOWN_TERMS = 3
"""How many products of a unit are listed: the largest ones."""


def show_units(
    network: nn.Module, numeric_1D: Tensor, categorical_1C: Tensor, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Compute the first hidden unit and the first output of an `MLP` for one row.

    Args:
        network: Any; one that is not exactly an `MLP` of linear layers has no units to show.
        numeric_1D, categorical_1C: The row.
        names: Of the numeric inputs, [D]; what comes from embeddings is numbered.

    Returns:
        No, one or two units. Each has a `name`; `terms`, its largest products as [input's name, weight,
        value]; `others` and `rest`, the number and the sum of all other products; `bias`, `sum`;
        `activation` and `output` (None for an output of the network).

    Example:
        >>> import sightline as sl
        >>> from sightline.build.units import show_units
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> names = [feature.name for feature in prepared.spec.numeric]
        >>> row = prepared.train.numeric[:1], prepared.train.categorical[:1]
        >>> unit = show_units(sl.MLP(prepared.spec), *row, names)[0]
        >>> products = sum(weight * value for _, weight, value in unit["terms"])
        >>> abs(products + unit["rest"] + unit["bias"] - unit["sum"]) < 1e-5
        True
    """
    if type(network) is not MLP or type(network.output) is not nn.Linear:
        return []  # a subclass may compute anything
    hidden = _first_hidden_layer(network)
    modules = [network.output, *([hidden.linear, hidden.activation] if hidden else [])]
    calls = _calls(network, modules, numeric_1D, categorical_1C)
    if any(module not in calls for module in modules) or network.output.bias is None:
        return []
    embedded = network.embeddings.width if network.embeddings is not None else 0
    features = [*names, *(f"embedding {i + 1}" for i in range(embedded))]
    units = []
    if hidden is not None:
        x, sums = calls[hidden.linear]
        _, active = calls[hidden.activation]
        unit = {"name": "Hidden layer 1, unit 1", **_products(hidden.linear, x, features)}
        units.append({**unit, "sum": float(sums[0]), "output": float(active[0]),
                      "activation": type(hidden.activation).__name__})  # fmt: skip
    x, sums = calls[network.output]
    inputs = [f"unit {i + 1}" for i in range(len(x))] if len(network.hidden) else features
    unit = {"name": "Output layer, output 1", **_products(network.output, x, inputs)}
    units.append({**unit, "sum": float(sums[0]), "output": None, "activation": None})
    return units


def _first_hidden_layer(network: MLP) -> HiddenLayer | None:
    """The first hidden layer, if it is a plain linear layer with an activation."""
    first = network.hidden[0] if len(network.hidden) else None
    if not isinstance(first, HiddenLayer) or first.scale is not None:
        return None
    return first if type(first.linear) is nn.Linear else None


def _calls(
    network: nn.Module, modules: Sequence[nn.Module], numeric_1D: Tensor, categorical_1C: Tensor
) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Run the row through the network; return each module's input and output, float64 vectors."""
    calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] = inputs[0][0].cpu().double(), output[0].cpu().double()

    handles = [module.register_forward_hook(note) for module in modules]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(numeric_1D, categorical_1C)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return calls


def _products(linear: nn.Linear, x: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """List the largest products of a linear layer's first unit, and sum up the others."""
    weight = linear.weight[0].detach().cpu().double()
    products = weight * x
    order = products.abs().argsort(descending=True).tolist()
    return {
        "terms": [[names[i], float(weight[i]), float(x[i])] for i in order[:SHOWN_TERMS]],
        "others": len(order[SHOWN_TERMS:]), "rest": float(products[order[SHOWN_TERMS:]].sum()),
        "bias": float(linear.bias[0].detach()),
    }  # fmt: skip
