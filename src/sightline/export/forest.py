"""A forest as one ONNX node, a `TreeEnsemble`, that finds leaves. Letters: N rows, T trees, K outputs."""

from __future__ import annotations

import numpy as np

from sightline.build.forest import Forest
from sightline.export.graph import ML, Graph
from sightline.export.preparation import Prepared

LESS_OR_EQUAL = 0
"""The mode of a node: true if the value is at most the split."""
SUM = 1


def write_forest(graph: Graph, forest: Forest, prepared: Prepared) -> str:
    """Write a forest: log-probabilities [N, K], or scaled numbers [N, 1].

    A leaf of a `TreeEnsemble` holds one number, so it holds the leaf's own (`MOST_LEAVES` keeps it exact in
    float32). Each tree has a target of its own, and the values of the leaves are looked up.

    Args:
        graph: Where to.
        forest: The fitted forest.
        prepared: The features and codes.

    Example:
        >>> from sightline.export.forest import write_forest
        >>> write_forest.__name__
        'write_forest'
    """
    columns = [prepared.features] if prepared.width else []
    if prepared.codes is not None:
        columns.append(graph.cast(prepared.codes, np.float32))
    leaves = graph.cast(_leaves(graph, forest, graph.joined(columns)), np.int64)
    values = graph.op("Gather", graph.constant(forest.values.cpu().numpy()), leaves, axis=0)
    mean = graph.op("ReduceMean", values, graph.constant([1], np.int64), keepdims=0)
    if forest.outputs == 1:
        return mean
    trees = len(forest.roots)
    prior = (forest.prior * forest.prior_trees).cpu().numpy()
    total = graph.op("Mul", mean, graph.constant(trees, np.float32))
    total = graph.op("Add", total, graph.constant(prior))
    share = graph.op("Div", total, graph.constant(trees + forest.prior_trees, np.float32))
    return graph.op("Log", share)


def _leaves(graph: Graph, forest: Forest, matrix: str) -> str:
    """Write the node that finds the number of each row's leaf in each tree, float32 [N, T]."""
    inner, roots = len(forest.column), forest.roots.cpu().numpy()
    single = np.flatnonzero(roots >= inner)
    grown = np.flatnonzero(roots < inner)
    # ONNX wants a node in each tree: one of a single leaf gets a node whose children are both that leaf.
    added = np.zeros(len(single))
    column = np.concatenate([forest.column.cpu().numpy(), added]).astype(np.int64)
    threshold = np.concatenate([forest.threshold.cpu().numpy(), added]).astype(np.float32)
    both = np.repeat(roots[single, None], 2, axis=1)
    children = np.concatenate([forest.below.cpu().numpy(), both]).astype(np.int64)
    starts = roots.astype(np.int64)
    starts[single] = inner + np.arange(len(single))
    place = np.searchsorted(roots[grown], np.arange(inner), side="right") - 1
    tree = np.concatenate([grown[place], single])
    # The leaves in the order in which nodes ask for them.
    is_leaf = children >= inner
    number = np.where(is_leaf, np.cumsum(is_leaf).reshape(-1, 2) - 1, children)
    tensor = graph.onnx.numpy_helper.from_array
    return graph.op(
        "TreeEnsemble", matrix, domain=ML, n_targets=len(roots), aggregate_function=SUM, post_transform=0,
        tree_roots=starts.tolist(), nodes_featureids=column.tolist(), nodes_splits=tensor(threshold),
        nodes_modes=tensor(np.full(len(column), LESS_OR_EQUAL, np.uint8)),
        nodes_truenodeids=number[:, 0].tolist(), nodes_trueleafs=is_leaf[:, 0].astype(int).tolist(),
        nodes_falsenodeids=number[:, 1].tolist(), nodes_falseleafs=is_leaf[:, 1].astype(int).tolist(),
        leaf_targetids=np.repeat(tree, is_leaf.sum(axis=1)).tolist(),
        leaf_weights=tensor((children[is_leaf] - inner).astype(np.float32)),
    )  # fmt: skip
