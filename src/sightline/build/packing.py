"""Grown trees packed into the tensors of `Trees`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sightline.build.growth import EMPTY_TREE, Growing, Tree
from sightline.build.statistics import TargetStatistics
from sightline.build.trees import CODES, Trees, padded


def pack(
    growths: Sequence[Growing],
    rounds: int,
    cuts: Sequence[Tensor],
    codes: int,
    classification: bool,
    outputs: int,
    statistics: TargetStatistics | None = None,
) -> Trees:
    """Put all trees into one `Trees`, whose node tables hold a node's children side by side.

    Args:
        growths: The ensembles, grown to the same number of rounds or done before.
        rounds: How many rounds ship.
        cuts: Thresholds of the numbers' bins, [D, most]; then for each ensemble those of the numbers of its
            target statistics.
        codes: C.
        classification, outputs: What is predicted.
        statistics: What looks these numbers up; None if there are none.
    """
    width = outputs if classification and outputs > 2 else 1
    joined = padded([row.numpy() for own in cuts for row in own])
    columns, shared = codes + len(joined), codes + len(cuts[0])
    trees: list[tuple[Tree, int]] = []  # each with the offset of its fold's rows in the table
    sets: list[np.ndarray] = list(growths[0].table[: CODES + 1])
    for fold, growth in enumerate(growths):
        offset = len(sets) - (CODES + 1)
        moved = fold * len(cuts[1]) if len(cuts) > 1 else 0
        # Rounds that were grown and do not ship leave no rows: the tensors are those of a growth that
        # was told to stop here, as a replay is.
        grown = [[_moved(tree, shared, moved) for tree in group] for group in growth.trees[:rounds]]
        shipped = [tree for group in grown for tree in group]
        last = max((int(tree.row.max()) for tree in shipped), default=CODES)
        sets += growth.table[CODES + 1 : last + 1]
        slots = growth.slots.tolist()
        for number in range(rounds):
            group = [EMPTY_TREE] * width
            if number < len(grown):
                for slot, tree in zip(slots, grown[number], strict=True):
                    group[slot] = tree
            trees += [(tree, offset) for tree in group]
    nodes, gain, roots, levels = _node_tables(trees, columns)
    packed = Trees(
        folds=len(growths), rounds=rounds, outputs=outputs, margins=width, columns=columns,
        cuts=list(joined.shape), nodes=len(nodes["left"]), table=len(sets), levels=levels,
        statistics=None if statistics is None else statistics.config(),
    )  # fmt: skip
    start = np.stack([growth.start for growth in growths])
    table = np.array(sets).astype(np.int32).reshape(-1)
    packed.load_state_dict({
        "cuts": joined, "roots": torch.from_numpy(roots).int(), "table": torch.from_numpy(table),
        "column": torch.from_numpy(nodes["column"]).int(), "left": torch.from_numpy(nodes["left"]).int(),
        "row": torch.from_numpy(nodes["row"] * (CODES + 1)).int(),
        "value": torch.from_numpy(nodes["value"]).float(), "start": torch.from_numpy(start).float(),
        "gain": torch.from_numpy(gain).float(),
        **({} if statistics is None else {f"statistics.{key}": value for key, value in statistics.state_dict().items()}),
    })  # fmt: skip
    return packed


def _moved(tree: Tree, shared: int, places: int) -> Tree:
    """Let a tree ask for the statistics of its own ensemble: columns from `shared` on, moved by some places."""
    return replace(tree, column=np.where(tree.column < shared, tree.column, tree.column + places))


def _node_tables(
    trees: Sequence[tuple[Tree, int]], columns: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, int]:
    """Number the nodes of all trees one after another, breadth first.

    Args:
        trees: Each with the offset of its own rows in the decision table.
        columns: V.

    Returns:
        `column`, `row`, `left` (a leaf is its own left child) and `value` of every node; each column's
        summed gain [V]; each tree's root; and the depth of the deepest tree.
    """
    size = sum(len(tree.leaf) for tree, _ in trees)
    nodes = {
        "column": np.zeros(size, np.int64), "row": np.zeros(size, np.int64),
        "left": np.zeros(size, np.int64), "value": np.zeros(size),
    }  # fmt: skip
    gain = np.zeros(columns)
    roots = np.zeros(len(trees), np.int64)
    levels, begin = 0, 0
    for number, (tree, offset) in enumerate(trees):
        order, depth = _breadth_first(tree)
        end = begin + len(order)
        index = np.empty(len(order), np.int64)
        index[order] = np.arange(begin, end)
        leaf, here = tree.leaf[order], slice(begin, end)
        nodes["column"][here] = tree.column[order]
        row = tree.row[order].astype(np.int64)
        nodes["row"][here] = np.where(leaf, CODES, np.where(row > CODES, row + offset, row))
        nodes["left"][here] = np.where(leaf, np.arange(begin, end), index[tree.children[order, 0]])
        nodes["value"][here] = np.where(leaf, tree.value[order], 0.0)
        np.add.at(gain, tree.column[~tree.leaf], tree.gain[~tree.leaf])
        roots[number] = begin
        levels, begin = max(levels, depth), end
    return nodes, gain, roots, levels


def _breadth_first(tree: Tree) -> tuple[np.ndarray, int]:
    """Return a tree's nodes in breadth-first order, right child after left child, and its depth."""
    order, level, depth = [0], [0], 0
    while level:
        below = [
            child for node in level if not tree.leaf[node] for child in tree.children[node].tolist()
        ]
        order += below
        depth += bool(below)
        level = below
    return np.array(order), depth
