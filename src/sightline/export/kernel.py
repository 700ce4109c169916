"""A kernel model as ONNX nodes. Letters: N rows, D numbers, C codes, M landmarks, K outputs."""

from __future__ import annotations

import numpy as np

from sightline.build.kernel import UNLIKE, Kernel
from sightline.build.trees import CODES
from sightline.export.graph import Graph
from sightline.export.preparation import Prepared
from sightline.export.standard import write_standardised


def write_kernel(graph: Graph, kernel: Kernel, prepared: Prepared) -> str:
    """Write a kernel model: log-probabilities [N, K], or scaled numbers [N, 1], float32; all sums are in float64.

    Args:
        graph: Where to.
        kernel: The fitted model.
        prepared: The features and codes.

    Example:
        >>> from sightline.export.kernel import write_kernel
        >>> write_kernel.__name__
        'write_kernel'
    """
    squares = [*_of_numbers(graph, kernel, prepared), *_of_codes(graph, kernel, prepared)]
    width = float(kernel.width)
    exponent = graph.op(
        "Mul", graph.total(squares), graph.constant(-1 / (2 * width**2), np.float64)
    )
    near = graph.op("Exp", exponent)
    scores = graph.op("MatMul", near, graph.constant(kernel.weights.cpu().numpy(), np.float64))
    scores = graph.op("Add", scores, graph.constant(kernel.intercept.cpu().numpy(), np.float64))
    if len(kernel.intercept) > 1:
        logits = graph.op("Mul", scores, graph.constant(float(kernel.sharpness), np.float64))
        scores = graph.op("LogSoftmax", logits, axis=1)
    return graph.cast(scores, np.float32)


def _of_numbers(graph: Graph, kernel: Kernel, prepared: Prepared) -> list[str]:
    """Write the squared distances of the standardised numbers, [N, M]."""
    z_MD = kernel.standardised(kernel.landmark_numbers).cpu().numpy()
    if not prepared.width:
        return []
    squares = graph.constant(np.square(z_MD).sum(axis=1)[None], np.float64)
    x = write_standardised(graph, kernel.center, kernel.scale, prepared)
    products = graph.op("MatMul", x, graph.constant(-2 * z_MD.T, np.float64))
    own = graph.op("ReduceSum", graph.op("Mul", x, x), graph.constant([1], np.int64), keepdims=1)
    squares = graph.total([products, own, squares])
    return [graph.op("Max", squares, graph.constant(0.0, np.float64))]


def _of_codes(graph: Graph, kernel: Kernel, prepared: Prepared) -> list[str]:
    """Write what each category in which a row and a landmark differ adds, [N, M] each."""
    if prepared.codes is None:
        return []
    codes = graph.op("Min", prepared.codes, graph.constant(CODES - 1, np.int64))
    result = []
    for column, landmarks in enumerate(kernel.landmark_codes.T.cpu().numpy().astype(np.int64)):
        own = graph.columns(codes, [column], prepared.categories)
        same = graph.op("Equal", own, graph.constant(landmarks[None]))
        result.append(
            graph.op(
                "Where", same, graph.constant(0.0, np.float64), graph.constant(UNLIKE, np.float64)
            )
        )
    return result
