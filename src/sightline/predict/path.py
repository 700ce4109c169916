"""Follow one row through the network: every layer's name, shape and values."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sightline.contracts import Label
from sightline.views import notebook

SHOWN = 5
MOST_VALUES = 64


@dataclass(frozen=True)
class LayerOutput:
    """What one layer made of the row.

    Attributes:
        name: As a teacher says it, or the module's path in a network of your own.
        shape: Of the output, for one row.
        size: How many values that is.
        active: How many of them are not zero.
        largest: Up to five (place, value) pairs of the largest magnitude.
        values: Up to 64 of the values, evenly spaced where there are more.
        places: Which of the values these are.
        scale: The largest magnitude of a value: of this row's, or of all rows explained together.
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
    """One prediction, opened up.

    Attributes:
        raw: The row's values as they came, per feature column.
        encoded: Per network input, its number: scaled features, then category codes.
        notes: What was missing, unseen or out of range, in words.
        layers: The path, the input layer first.
        logits: [K], of which the softmax is the probabilities: where the model has parts, their
            shares' sum; else the network's own, the mean over members for an ensemble.
        probabilities: Per class; empty for regression.
        classes: The class of each probability.
        prediction: The named class, or the number.
        error: Why there is no prediction, or None.
        pushes: What moved the prediction away from a typical row's, column by column, as
            `sightline.predict.attributions.attribute` gives it; or None.
        pushes_note: Why there are no pushes, or None.
        parts: What each part of the model says: `name`, `weight`, `values` (probabilities [K], or the
            number) and `share` (of each logit, or of the number; they add up).
        members: Of an ensemble: `mean` [K], `spread` [K] (standard deviation) and `values` [M][K],
            probabilities or numbers; or None.
        temperature: What the logits were divided by; None where nothing was calibrated.
        uncalibrated: The probabilities before that, or None.
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
    """Run one row through a network, noting each layer's output.

    A network with `layers()` names its own stops; any other is followed through its leaf
    modules in the order they are called, under their module paths.

    Returns:
        The path and the logits [1, K] or [1, M, K].
    """
    width = numeric_1D.shape[1] + categorical_1C.shape[1]
    together = torch.cat([numeric_1D, categorical_1C.to(numeric_1D.dtype)], dim=1)
    path = [_output(f"Input layer: {width} features", together)]
    handles = []
    for name, module in stops(network):

        def note(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            if isinstance(output, Tensor):
                path.append(_output(name, output))

        handles.append(module.register_forward_hook(note))
    try:
        with evaluating(network):
            logits = network(numeric_1D, categorical_1C)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(path), logits


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Keep a network from learning and dropping out for a while; then leave it as it was."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)


def one_scale(explained: Sequence[Explanation]) -> list[Explanation]:
    """Give each layer the scale that holds for it in all rows, so that they can be compared."""
    scales: dict[tuple[int, str], float] = {}
    for one in explained:
        for place, layer in enumerate(one.layers):
            at = (place, layer.name)
            scales[at] = max(scales.get(at, 0.0), layer.scale)
    return [
        replace(one, layers=tuple(
            replace(layer, scale=scales[place, layer.name])
            for place, layer in enumerate(one.layers)
        ))
        for one in explained
    ]  # fmt: skip


def stops(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name the modules a row stops at: a network's own `layers()`, or its leaf modules."""
    own = getattr(network, "layers", None)
    if inspect.ismethod(own):  # a module kept as `self.layers` is callable too
        yield from own()
        return
    for name, module in network.named_modules():
        if not any(True for _ in module.children()):
            yield f"{name or type(network).__name__}: {type(module).__name__}", module


def _output(name: str, output: Tensor) -> LayerOutput:
    flat = output.detach().float().reshape(-1).cpu()
    size = flat.abs()
    top = size.topk(min(SHOWN, len(flat))).indices
    places = [i * len(flat) // MOST_VALUES for i in range(MOST_VALUES)]
    places = places if len(flat) > MOST_VALUES else list(range(len(flat)))
    return LayerOutput(
        name=name,
        shape=tuple(output.shape),
        size=len(flat),
        active=int((flat != 0).sum()),
        largest=tuple((int(i), float(flat[i])) for i in top),
        values=tuple(flat[places].tolist()),
        places=tuple(places),
        scale=float(size.max()) if len(flat) else 0.0,
    )
