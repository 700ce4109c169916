"""Boosted trees as one ONNX node, a `TreeEnsemble`. Letters: N rows, F folds, R rounds, K outputs."""

from __future__ import annotations

import numpy as np

from sightline.build.statistics import TargetStatistics
from sightline.build.trees import CODES, Trees
from sightline.export.graph import ML, Graph
from sightline.export.preparation import Prepared

LESS_OR_EQUAL, MEMBER = 0, 6
"""Modes of a node: true if the value is at most the split; true if it is in a set."""
SUM = 1


def write_trees(graph: Graph, trees: Trees, prepared: Prepared) -> str:
    """Write trees: log-probabilities [N, K], or scaled numbers [N, 1], the mean over the folds.

    A number goes left if it is at most the cut, in float32 as in `Trees`. A category's code goes to the
    side of the smaller of the two sets of codes if it is in that set. Codes above the last one that a tree
    distinguishes count as that one.

    Bit sets of leaves, as `Trees` computes with, were measured beside it: on 1,000 rows they take .5 to .8 of the time,
    on one row 5 times as long (docs/decisions.md).

    Args:
        graph: Where to.
        trees: The fitted trees.
        prepared: The features and codes.

    Example:
        >>> from sightline.export.trees import write_trees
        >>> write_trees.__name__
        'write_trees'
    """
    columns = []
    codes = len(trees.gain) - len(trees.cuts)
    if codes:
        assert prepared.codes is not None
        limits = np.full(codes, CODES, np.int64)
        limits[trees.used_codes.cpu().numpy()] = trees.last_code.cpu().numpy().ravel()
        columns.append(
            graph.cast(graph.op("Min", prepared.codes, graph.constant(limits)), np.float32)
        )
    columns.append(prepared.features)
    if trees.statistics is not None:
        assert prepared.codes is not None
        columns.append(_write_statistics(graph, trees.statistics, prepared.codes))
    sums = _Nodes(trees).write(graph, graph.joined(columns))
    shape = graph.constant([0, trees.folds, trees.margins], np.int64)
    sums = graph.op("Reshape", sums, shape)
    sums = graph.op("Add", sums, graph.constant(trees.start.cpu().numpy()))
    if trees.outputs > 1:
        if trees.margins == 1:
            sums = graph.op("Concat", graph.op("Sub", sums, sums), sums, axis=2)
        sums = graph.op("LogSoftmax", sums, axis=2)
    return graph.op("ReduceMean", sums, graph.constant([1], np.int64), keepdims=0)


def _write_statistics(graph: Graph, statistics: TargetStatistics, codes: str) -> str:
    """Write target statistics, float32 [N, F * S * W]."""
    starts = statistics.starts.cpu().numpy()
    columns, values = statistics.columns.cpu().numpy(), statistics.values.cpu().numpy()
    cells = graph.op("Gather", codes, graph.constant(columns), axis=1)
    cells = graph.op("Add", cells, graph.constant(starts[:-1]))
    cells = graph.op("Min", cells, graph.constant(starts[1:] - 1))
    tables = graph.constant(np.ascontiguousarray(values.transpose(1, 0, 2)))  # [E, F, W]
    found = graph.op("Gather", tables, cells, axis=0)  # [N, S, F, W]
    found = graph.op("Transpose", found, perm=[0, 2, 1, 3])
    return graph.op("Flatten", found, axis=1)


class _Nodes:
    """The attributes of the node, collected tree by tree."""

    def __init__(self, trees: Trees) -> None:
        self.trees = trees
        self.codes = len(trees.gain) - len(trees.cuts)
        self.left = trees.left.cpu().numpy()
        self.column = trees.column.cpu().numpy()
        self.row = trees.row.cpu().numpy() // (CODES + 1)
        self.table = trees.table.cpu().numpy().reshape(-1, CODES + 1) != 0
        self.value = trees.value.cpu().numpy()
        self.cuts = trees.cuts.cpu().numpy()
        self.last = dict(
            zip(trees.used_codes.tolist(), trees.last_code.ravel().tolist(), strict=True)
        )
        self.inner: list[tuple[int, int]] = []  # column, mode
        self.children: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.splits: list[float] = []
        self.members: list[float] = []
        self.leaves: list[tuple[int, float]] = []  # target, value
        self.roots: list[int] = []

    def write(self, graph: Graph, matrix: str) -> str:
        """Write the node: the sum of each fold's trees, [N, F * margins]."""
        trees = self.trees
        for number, root in enumerate(trees.roots.tolist()):
            fold, margin = number // (trees.rounds * trees.margins), number % trees.margins
            self._tree(root, fold * trees.margins + margin)
        tensor = graph.onnx.numpy_helper.from_array
        columns, modes = zip(*self.inner, strict=True)
        true, false = zip(*self.children, strict=True)
        sets = (
            {"membership_values": tensor(np.array(self.members, np.float32))}
            if self.members
            else {}
        )
        return graph.op(
            "TreeEnsemble", matrix, domain=ML, n_targets=trees.folds * trees.margins,
            aggregate_function=SUM, post_transform=0, tree_roots=self.roots,
            nodes_featureids=columns, nodes_modes=tensor(np.array(modes, np.uint8)),
            nodes_splits=tensor(np.array(self.splits, np.float32)),
            nodes_truenodeids=[node for node, _ in true], nodes_trueleafs=[leaf for _, leaf in true],
            nodes_falsenodeids=[node for node, _ in false], nodes_falseleafs=[leaf for _, leaf in false],
            leaf_targetids=[target for target, _ in self.leaves],
            leaf_weights=tensor(np.array([value for _, value in self.leaves], np.float32)), **sets,
        )  # fmt: skip

    def _tree(self, root: int, target: int) -> None:
        self.roots.append(len(self.inner))
        if self.left[root] == root:  # a tree of one leaf: ONNX wants a node
            number = self._node(0, LESS_OR_EQUAL, 0.0)
            self.children[number] = (self._leaf(root, target), self._leaf(root, target))
            return
        self._grow(root, target)

    def _grow(self, node: int, target: int) -> tuple[int, int]:
        """Add a node and what is below it; return its number, and 1 if it is a leaf."""
        left = int(self.left[node])
        if left == node:
            return self._leaf(node, target)
        column = int(self.column[node])
        if column >= self.codes:
            cut = float(self.cuts[column - self.codes][self.row[node]])
            number = self._node(column, LESS_OR_EQUAL, cut)
            sides = left, left + 1
        else:
            right = self.table[self.row[node]][: self.last[column] + 1]
            in_set = right if 2 * right.sum() <= len(right) else ~right
            number = self._node(column, MEMBER, 0.0)
            self.members += [*map(float, np.flatnonzero(in_set)), np.nan]
            sides = (left + 1, left) if in_set is right else (left, left + 1)
        self.children[number] = (self._grow(sides[0], target), self._grow(sides[1], target))
        return number, 0

    def _node(self, column: int, mode: int, split: float) -> int:
        self.inner.append((column, mode))
        self.splits.append(split)
        self.children.append(((0, 0), (0, 0)))
        return len(self.inner) - 1

    def _leaf(self, node: int, target: int) -> tuple[int, int]:
        self.leaves.append((target, float(self.value[node])))
        return len(self.leaves) - 1, 1
