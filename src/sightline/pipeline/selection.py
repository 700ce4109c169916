"""Which of the fitted parts a model keeps: those without which its held-out loss is higher.

A part costs time at each prediction, and on few rows its weight is partly luck. So parts leave the
model one after another, the one that brings least first (backward elimination).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

Losses = Callable[[Mapping[str, np.ndarray]], float]
"""The held-out loss of the best blend of some parts' values."""


@dataclass(frozen=True)
class Selection:
    """What `select_parts` chose.

    Attributes:
        kept: The names of the parts that stay, in their order.
        gains: Of each part that might have left: by what share the held-out loss is higher without it,
            beside the other parts that stay, or that were there when it left.
    """

    kept: tuple[str, ...]
    gains: Mapping[str, float]


def select_parts(
    parts: Mapping[str, np.ndarray],
    always: Collection[str],
    least_gain: Callable[[str], float],
    loss_of: Losses,
) -> Selection:
    """Leave out the parts that bring too little.

    Args:
        parts: By part, its values of the held-out rows, as `loss_of` takes them.
        always: The parts that stay whatever they bring.
        least_gain: Returns, by name, by what share the loss has to be higher without a part so that it stays.
        loss_of: Fits a blend of some parts, and returns its held-out loss.

    Example:
        >>> import numpy as np
        >>> from sightline.pipeline.selection import select_parts
        >>> truth = np.arange(6.0)
        >>> parts = {"network": truth + [1, -1, 1, -1, 1, -1], "trees": truth + [-1, 1, -1, 1, -1, 1], "forest": truth * 0}
        >>> def loss_of(parts):
        ...     return float(np.square(np.mean(list(parts.values()), axis=0) - truth).mean()) + 1
        >>> select_parts(parts, ["network"], lambda name: 0.005, loss_of).kept
        ('network', 'trees')
    """
    kept, gains = dict(parts), dict[str, float]()
    least = {name: least_gain(name) for name in parts}
    loss = loss_of(kept)
    while optional := [name for name in kept if name not in always]:
        without = {
            name: loss_of({other: values for other, values in kept.items() if other != name})
            for name in optional
            if len(kept) > 1
        }
        gains |= {name: _gain(other, loss) for name, other in without.items()}
        if not without:
            break
        idle = min(without, key=lambda name: gains[name] - least[name])
        if not gains[idle] < least[idle]:
            break
        del kept[idle]
        loss = without[idle]
    return Selection(tuple(kept), gains)


def _gain(without: float, loss: float) -> float:
    """Return by what share a loss is higher than another; from a loss of 0, none or all."""
    if loss > 0:
        return without / loss - 1
    return float("inf") if without > 0 else 0.0
