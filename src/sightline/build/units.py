"""A unit of the network, opened up: its products, their sum, what the activation makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightline.build.networks import MLP
from sightline.build.parts import HiddenLayer

TERMS = 3


def show_units(
    network: nn.Module, numeric_1D: Tensor, categorical_1C: Tensor, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Follow one row through the first hidden unit and the first output of an `MLP`.

    Args:
        network: Any; those that are no `MLP` of linear layers have no units to show.
        numeric_1D, categorical_1C: The row.
        names: Of the numeric inputs; what comes from embeddings is numbered.

    Returns:
        Each `name`; `terms`, its largest products as (input's name, weight, value); `others` and
        `rest`, how many more there are and their sum; `bias`, `sum`; `activation` and `output`
        (None for an output).

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
    caught: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        caught[module] = given[0][0].cpu().double(), made[0].cpu().double()

    first = network.hidden[0] if len(network.hidden) else None
    hidden = first if isinstance(first, HiddenLayer) and first.scale is None else None
    if hidden is not None and type(hidden.linear) is not nn.Linear:
        hidden = None
    modules = [network.output, *([hidden.linear, hidden.activation] if hidden else [])]
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

    if any(module not in caught for module in modules) or network.output.bias is None:
        return []
    features = [*names, *(f"embedding {i + 1}" for i in range(_embedded(network)))]
    units = []
    if hidden is not None:
        x, made = caught[hidden.linear]
        active = caught[hidden.activation][1]
        unit = {"name": "Hidden layer 1, unit 1", **_products(hidden.linear, x, features)}
        units.append({**unit, "sum": float(made[0]), "output": float(active[0]),
                      "activation": type(hidden.activation).__name__})  # fmt: skip
    x, made = caught[network.output]
    inputs = [f"unit {i + 1}" for i in range(len(x))] if len(network.hidden) else features
    unit = {"name": "Output layer, output 1", **_products(network.output, x, inputs)}
    units.append({**unit, "sum": float(made[0]), "output": None, "activation": None})
    return units


def _embedded(network: MLP) -> int:
    return network.embeddings.width if network.embeddings is not None else 0


def _products(linear: nn.Linear, x: Tensor, names: Sequence[str]) -> dict[str, Any]:
    weight = linear.weight[0].detach().cpu().double()
    products = weight * x
    order = products.abs().argsort(descending=True).tolist()
    return {
        "terms": [[names[i], float(weight[i]), float(x[i])] for i in order[:TERMS]],
        "others": len(order[TERMS:]), "rest": float(products[order[TERMS:]].sum()),
        "bias": float(linear.bias[0].detach()),
    }  # fmt: skip
