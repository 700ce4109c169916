"""A forest of extremely randomised trees as tensors, run by PyTorch. `forests.py` grows it.

`Trees` holds at most 63 leaves a tree. A forest's trees have thousands, so here rows walk from node to
node.

Letters: B rows, V values of a row (D numbers, then C codes), T trees, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.build.restore import restored
from sightline.build.trees import CHUNK_VALUES, FEWEST_CHUNK_ROWS, map_in_threads

MOST_LEAVES = 2**24
"""The most leaves of a forest: float32, in which ONNX keeps their numbers, is exact below."""
DEVICE_VALUES = 2**24
"""Rows x trees that are computed at a time on a device other than the processor."""
LEVELS_AT_ONCE = 6
"""Levels that rows go down before those that have reached a leaf are set aside."""


class Forest(nn.Module):
    """A forest of decision trees, as buffers without parameters.

    A node sends a row to its first child if the value of its column is at most the threshold, in float32,
    and otherwise to its second. The inner nodes are numbered from 0, tree after tree, and the leaves after
    them: with I inner nodes, child I + 3 is leaf 3. An inner node has a smaller number than its children.

    The output of classification is the logarithm of the classes' shares in the leaves, averaged over the
    trees, together with the `prior`, which counts as `prior_trees` trees: so no class has probability 0.

    Args:
        trees, nodes, leaves: T, and the number of inner nodes and of leaves of all trees.
        columns: V, the number of values of a row.
        outputs: K; 1 for regression.
        prior_trees: How many trees the prior counts as; 0 for regression.

    Shapes: float32 [B, D] and int32 [B, C] -> log-probabilities [B, K], or scaled numbers [B, 1].

    Source:
        Geurts, Ernst, Wehenkel 2006, "Extremely randomized trees".

    Example:
        >>> import torch
        >>> from sightline.build.forest import Forest
        >>> forest = Forest(trees=1, nodes=1, leaves=2, columns=1, outputs=1, prior_trees=0)
        >>> _ = forest.load_state_dict({
        ...     "roots": torch.tensor([0]), "column": torch.tensor([0]), "threshold": torch.tensor([0.5]),
        ...     "below": torch.tensor([[1, 2]]), "values": torch.tensor([[-1.0], [1.0]]),
        ...     "prior": torch.zeros(1), "gain": torch.ones(1)})
        >>> forest(torch.tensor([[0.5], [0.6]]), torch.zeros(2, 0, dtype=torch.int32)).ravel().tolist()
        [-1.0, 1.0]
    """

    roots: Tensor
    column: Tensor
    threshold: Tensor
    below: Tensor
    values: Tensor
    prior: Tensor
    gain: Tensor
    walk_column: Tensor
    walk_threshold: Tensor
    walk_below: Tensor

    def __init__(
        self, *, trees: int, nodes: int, leaves: int, columns: int, outputs: int, prior_trees: float
    ) -> None:
        super().__init__()
        self.outputs, self.prior_trees = outputs, prior_trees
        self.register_buffer("roots", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("column", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("below", torch.zeros(nodes, 2, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(leaves, outputs))
        self.register_buffer("prior", torch.zeros(outputs))
        self.register_buffer("gain", torch.zeros(columns))
        for name in ("walk_column", "walk_threshold", "walk_below"):
            self.register_buffer(name, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_derive_buffers)  # type: ignore[no-untyped-call]

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return the logarithm of the mean shares, or the mean number, over all trees."""
        x_BV = torch.cat([numeric_BD, categorical_BC.to(numeric_BD.dtype)], dim=1)
        x_BV = x_BV.view(len(x_BV), len(self.gain))
        at_once = CHUNK_VALUES if x_BV.device.type == "cpu" else DEVICE_VALUES
        chunk = max(at_once // max(len(self.roots), len(self.gain)), FEWEST_CHUNK_ROWS)
        chunks = [slice(start, start + chunk) for start in range(0, max(len(x_BV), 1), chunk)]

        def run(rows: slice) -> Tensor:
            return F.embedding_bag(self._leaves(x_BV[rows]), self.values, mode="mean")

        mean_BK = torch.cat(map_in_threads(run, chunks, torch.get_num_threads()))
        if self.outputs == 1:
            return mean_BK
        trees = len(self.roots)
        share_BK = (mean_BK * trees + self.prior * self.prior_trees) / (trees + self.prior_trees)
        return share_BK.log()

    def _leaves(self, x_BV: Tensor) -> Tensor:
        """Walk down all trees and return the number of each row's leaf, int32 [B, T]."""
        rows, columns = x_BV.shape
        trees, inner, x = len(self.roots), len(self.column), x_BV.reshape(-1)
        # Tree by tree, because the nodes of one tree fit into the fastest cache.
        found = self.roots.repeat_interleave(rows)
        first = (torch.arange(rows, dtype=torch.int32, device=x.device) * columns).repeat(trees)
        walking = (found < inner).nonzero().view(-1)
        while len(walking):
            node, row = found.index_select(0, walking), first.index_select(0, walking)
            for _ in range(LEVELS_AT_ONCE):
                value = x.index_select(0, self.walk_column.index_select(0, node).add_(row))
                second = value > self.walk_threshold.index_select(0, node)
                node = self.walk_below.index_select(0, node.mul_(2).add_(second))
            found.index_copy_(0, walking, node)
            walking = walking[node < inner]
        return found.sub_(inner).view(trees, rows).T.contiguous()

    def config(self) -> dict[str, Any]:
        """Return the arguments of an empty copy; the buffers hold the rest."""
        return {
            "trees": len(self.roots), "nodes": len(self.column), "leaves": len(self.values),
            "columns": len(self.gain), "outputs": self.outputs, "prior_trees": self.prior_trees,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an empty copy from `config`, for `load_state_dict` to fill."""
        return cls(**config)

    @classmethod
    def restored(
        cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str | Path
    ) -> Self:
        """Make a forest of what a file holds, whatever it holds.

        Args:
            config: From `config`.
            tensors: From `state_dict`.
            source: The file, for the error.

        Raises:
            BundleError: The tensors have other sizes than the config says, or name nodes, leaves or
                columns that do not exist.
        """
        return restored(lambda: cls.from_config(config), tensors, source, "forest")

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the number of trees and leaves, and how much each column lowers the impurity.

        Args:
            names: The table's column behind each value: of the numbers, then of the codes.

        Returns:
            `trees`, `leaves` (of a tree, on average) and `columns`: each `column` and its `gain`, its
            share of the impurity that all splits took away, the 20 largest first.
        """
        by_column: dict[str, float] = {}
        for name, gain in zip(names, self.gain.tolist(), strict=True):
            by_column[name] = by_column.get(name, 0.0) + gain
        total = sum(by_column.values()) or 1.0
        ranked = sorted(by_column.items(), key=lambda item: -item[1])
        return {
            "trees": len(self.roots), "leaves": len(self.values) / len(self.roots),
            "columns": [{"column": name, "gain": gain / total} for name, gain in ranked[:20]],
        }  # fmt: skip


def _derive_buffers(forest: Forest, _: Any = None) -> None:
    """Append the leaves to the nodes, each its own child, so that rows in a leaf stay there.

    Raises:
        ValueError: A root, child or column does not exist, or a child stands before its parent, so that a
            walk would not end.
    """
    inner, leaves = len(forest.column), len(forest.values)
    end, node = inner + leaves, torch.arange(inner, device=forest.column.device)
    if not len(forest.roots) or not 0 < leaves <= MOST_LEAVES:
        raise ValueError(f"it has {len(forest.roots)} trees and {leaves} leaves")
    if bool(((forest.roots < 0) | (forest.roots >= end)).any()):
        raise ValueError(f"a tree begins at a node that is not among its {end}")
    if bool(((forest.below <= node[:, None]) | (forest.below >= end)).any()):
        raise ValueError(f"a child is not a later node or leaf of the {end}")
    if bool(((forest.column < 0) | (forest.column >= len(forest.gain))).any()):
        raise ValueError(f"a node asks for a column that is not among the {len(forest.gain)}")
    own = torch.arange(inner, end, dtype=torch.int32, device=node.device)
    children = torch.cat([forest.below, own[:, None].expand(leaves, 2)])
    forest.walk_column = F.pad(forest.column, (0, leaves))
    forest.walk_threshold = F.pad(forest.threshold, (0, leaves), value=torch.inf)
    forest.walk_below = children.view(-1)
