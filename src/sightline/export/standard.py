"""Standardised numbers as ONNX nodes. Letters: N rows, D numbers."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sightline.build.standard import FARTHEST
from sightline.export.graph import Graph
from sightline.export.preparation import Prepared


def write_standardised(graph: Graph, center: Tensor, scale: Tensor, prepared: Prepared) -> str:
    """Write numbers in standard deviations from their mean, float64 [N, D], as `build.standard.standardised` computes them.

    Args:
        graph: Where to.
        center, scale: The numbers' means and standard deviations, [D].
        prepared: The features; there is at least one number.

    Example:
        >>> from sightline.export.standard import write_standardised
        >>> write_standardised.__name__
        'write_standardised'
    """
    wide = np.float64
    x = graph.op("Sub", graph.cast(prepared.features, wide), graph.constant(center.cpu().numpy(), wide))  # fmt: skip
    x = graph.op("Div", x, graph.constant(scale.cpu().numpy(), wide))
    return graph.op("Clip", x, graph.constant(-FARTHEST, wide), graph.constant(FARTHEST, wide))
