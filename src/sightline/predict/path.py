"""The path of one row through the network: every layer's name, shape and values."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sightline.build.modes import evaluating
from sightline.contracts import Label
from sightline.views import notebook

LARGEST_SHOWN = 5
"""How many of the largest values of a layer are listed."""
VALUES_SHOWN = 64
"""How many values of a layer are drawn; of more, evenly spaced ones."""


@dataclass(frozen=True)
class LayerOutput:
    """The output of one layer for one row.

    Attributes:
        name: What the layer is, such as "Hidden layer 1: Linear + ReLU"; in a network of your own the
            module's path and class.
        shape: The shape of the output.
        size: The number of values in it.
        active: How many of them are not zero.
        largest: Up to 5 (index, value) pairs of the largest magnitude.
        values: Up to 64 of the values; where there are more, evenly spaced ones.
        places: The indexes of these values.
        scale: The largest magnitude of a value, of this row or of all rows explained together.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    active: int
    largest: tuple[tuple[int, float], ...]
    values: tuple[float, ...]
    places: tuple[int, ...]
    scale: float


@dataclass(frozen=True)
class Explanation:
    """One prediction, and how it was computed.

    Attributes:
        raw: The row's values as they came, by feature column.
        encoded: The number of each network input, by its name: scaled features, then category codes.
        notes: What was missing, unseen or out of range, in words.
        layers: The outputs of the layers, the input layer first.
        logits: [K], whose softmax is the probabilities: the sum of the parts' shares where the model
            has a blend; else the network's logits, the mean over members for an ensemble.
        probabilities: Of each class; empty for regression.
        classes: The class of each probability, as the training file writes it (`Target.shown`).
        prediction: The predicted class, as in `classes`, or the number.
        error: Why there is no prediction, or None.
        pushes: How far each column moved the prediction away from a typical row's, as
            `sightline.predict.attributions.attribute` returns it; or None.
        pushes_note: Why there are no pushes, or None.
        parts: The prediction of each part of the model: `name`, `weight`, `values` (probabilities [K],
            or the number) and `share` (of each logit, or of the number; the shares add up).
        members: Of an ensemble: `mean` [K], `spread` [K] (standard deviation) and `values` [M][K],
            probabilities or numbers; or None.
        temperature: What the logits were divided by; None without calibration.
        uncalibrated: The probabilities without the temperature, or None.
    """

    raw: dict[str, Any]
    encoded: dict[str, float]
    notes: tuple[str, ...]
    layers: tuple[LayerOutput, ...]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    classes: tuple[Label, ...]
    prediction: Label | None
    error: str | None = None
    pushes: dict[str, Any] | None = None
    pushes_note: str | None = None
    parts: tuple[dict[str, Any], ...] = ()
    members: dict[str, Any] | None = None
    temperature: float | None = None
    uncalibrated: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return notebook.of_explanation(self.to_json())


def follow(
    network: nn.Module, numeric_1D: Tensor, categorical_1C: Tensor
) -> tuple[tuple[LayerOutput, ...], Tensor]:
    """Run one row through a network and keep each layer's output.

    Args:
        network: A network that has a method `layers()` names its own layers; of any other the leaf
            modules are followed, in the order in which they are called, under their module paths.
        numeric_1D, categorical_1C: The row, prepared.

    Returns:
        The layers' outputs, and the logits [1, K] or [1, M, K].
    """
    width = numeric_1D.shape[1] + categorical_1C.shape[1]
    inputs = torch.cat([numeric_1D, categorical_1C.to(numeric_1D.dtype)], dim=1)
    path = [_output(f"Input layer: {width} features", inputs)]
    handles = []
    for name, module in followed_layers(network):

        def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            if isinstance(output, Tensor):
                path.append(_output(name, output))

        handles.append(module.register_forward_hook(keep))
    try:
        with evaluating(network):
            logits = network(numeric_1D, categorical_1C)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(path), logits


def one_scale(explained: Sequence[Explanation]) -> list[Explanation]:
    """Give each layer the largest scale it has in any of the rows, so that rows can be compared."""
    scales: dict[tuple[int, str], float] = {}
    for explanation in explained:
        for index, layer in enumerate(explanation.layers):
            key = (index, layer.name)
            scales[key] = max(scales.get(key, 0.0), layer.scale)
    return [
        replace(explanation, layers=tuple(
            replace(layer, scale=scales[index, layer.name])
            for index, layer in enumerate(explanation.layers)
        ))
        for explanation in explained
    ]  # fmt: skip


def followed_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Return the layers to follow, with their names: the network's `layers()`, or its leaf modules."""
    own = getattr(network, "layers", None)
    if inspect.ismethod(own):  # a module kept as `self.layers` is callable too
        yield from own()
        return
    for name, module in network.named_modules():
        if not any(True for _ in module.children()):
            yield f"{name or type(network).__name__}: {type(module).__name__}", module


def _output(name: str, output: Tensor) -> LayerOutput:
    flat = output.detach().float().reshape(-1).cpu()
    magnitude = flat.abs()
    top = magnitude.topk(min(LARGEST_SHOWN, len(flat))).indices
    indexes = [i * len(flat) // VALUES_SHOWN for i in range(VALUES_SHOWN)]
    indexes = indexes if len(flat) > VALUES_SHOWN else list(range(len(flat)))
    return LayerOutput(
        name=name,
        shape=tuple(output.shape),
        size=len(flat),
        active=int((flat != 0).sum()),
        largest=tuple((int(i), float(flat[i])) for i in top),
        values=tuple(flat[indexes].tolist()),
        places=tuple(indexes),
        scale=float(magnitude.max()) if len(flat) else 0.0,
    )
