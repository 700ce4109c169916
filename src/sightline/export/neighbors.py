"""A nearest-neighbours model as ONNX nodes.

Letters: N rows, D numbers, C codes, R references of a fold, E coordinates, K outputs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sightline.build.neighbors import COORDINATES, FLAT, LEAST_SHARE, Embedding, Neighbors
from sightline.export.graph import Graph
from sightline.export.preparation import Prepared
from sightline.export.standard import write_standardised


def write_neighbors(graph: Graph, neighbors: Neighbors, prepared: Prepared) -> str:
    """Write a nearest-neighbours model: log-probabilities [N, K], or scaled numbers [N, 1], float32.

    The folds follow one another, so that no runtime holds the distances of all of them at once.

    Args:
        graph: Where to.
        neighbors: The fitted model.
        prepared: The features and codes.

    Example:
        >>> from sightline.export.neighbors import write_neighbors
        >>> write_neighbors.__name__
        'write_neighbors'
    """
    x, cells = _numbers(graph, neighbors, prepared), _cells(graph, neighbors, prepared)
    folds = len(neighbors.places)
    means = [_mean(graph, neighbors, fold, x, cells) for fold in range(folds)]
    mean = graph.op("Mul", graph.total(means), _float(graph, 1 / folds))
    if neighbors.outputs == 1:
        return mean
    shares = graph.op("Mul", mean, _float(graph, 1 - LEAST_SHARE))
    return graph.op("Log", graph.op("Add", shares, _float(graph, LEAST_SHARE / neighbors.outputs)))


def _float(graph: Graph, value: Tensor | float) -> str:
    return graph.constant(value.cpu().numpy() if isinstance(value, Tensor) else value, np.float32)


def _double(graph: Graph, value: Tensor | float) -> str:
    return graph.constant(value.cpu().numpy() if isinstance(value, Tensor) else value, np.float64)


def _numbers(graph: Graph, neighbors: Neighbors, prepared: Prepared) -> str | None:
    """Write the standardised numbers, [N, D]; None if there are none."""
    if not prepared.width:
        return None
    return write_standardised(graph, neighbors.center, neighbors.scale, prepared)


def _cells(graph: Graph, neighbors: Neighbors, prepared: Prepared) -> str | None:
    """Write the cell of each category's value, int64 [N, C]; None if there are none."""
    if prepared.codes is None:
        return None
    starts = neighbors.starts.cpu().numpy()
    moved = graph.op("Add", prepared.codes, graph.constant(starts[:-1]))
    return graph.op("Min", moved, graph.constant(starts[1:] - 1))


def _mean(graph: Graph, neighbors: Neighbors, fold: int, x: str | None, cells: str | None) -> str:
    """Write one fold's mean of its references, float32 [N, K]; places and squared distances are in float64."""
    z = _place(graph, neighbors.embedding(fold).double(), x, cells)
    places = neighbors.places[fold].double()
    products = graph.op("MatMul", z, _double(graph, -2 * places.T))
    along = graph.constant([1], np.int64)
    own = graph.op("ReduceSum", graph.op("Mul", z, z), along, keepdims=1)
    theirs = _double(graph, places.square().sum(dim=1)[None] + FLAT)
    squares = graph.op("Max", graph.total([products, own, theirs]), _double(graph, FLAT))
    distance = graph.op("Sqrt", graph.cast(squares, np.float32))
    near = graph.op("Sub", _float(graph, neighbors.pulls[fold][None]), distance)
    shares = graph.op("Softmax", near, axis=1)
    return graph.op("MatMul", shares, _float(graph, neighbors.truth(fold)))


def _place(graph: Graph, embedding: Embedding, x: str | None, cells: str | None) -> str:
    """Write the rows' places, float64 [N, E]."""
    terms = []
    if x is not None:
        terms.append(graph.op("MatMul", x, _double(graph, embedding.first)))
    if cells is not None:
        each = graph.op("Gather", _double(graph, embedding.cells), cells, axis=0)
        terms.append(graph.op("ReduceSum", each, graph.constant([1], np.int64), keepdims=0))
    z = graph.total([*terms, _double(graph, embedding.bias[None])])
    ones = _double(graph, torch.ones(COORDINATES))
    up = graph.op("MatMul", graph.op("LayerNormalization", z, ones, axis=-1), _double(graph, embedding.up))  # fmt: skip
    hidden = graph.op("Relu", graph.op("Add", up, _double(graph, embedding.up_bias[None])))
    down = graph.op("MatMul", hidden, _double(graph, embedding.down))
    return graph.op("Mul", graph.op("Add", z, down), _double(graph, embedding.stretch.exp()))
