"""Boosted trees as tensors: stored as data and run by PyTorch. `boosting.py` grows them.

Letters: B rows, V values of a row (C codes, then D numbers), F folds, T trees, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.restore import damaged, restored
from sightline.build.statistics import TargetStatistics

Item = TypeVar("Item")
Result = TypeVar("Result")
CODES = 255
"""The number of bins of a number, and of distinct categories."""
LEAVES_OF_A_TREE = 63
"""The most leaves of a tree: each is one bit of a 64-bit integer."""
CHUNK_VALUES = 131_072
"""Rows x trees that are computed at a time, so that the intermediate tensors stay in the cache."""
FEWEST_CHUNK_ROWS = 16
"""The fewest rows computed at a time, however many trees there are."""
FEW_SETS = 32_768
"""Up to so many sets of leaves, rows x columns x trees, are combined in halves."""
DERIVED_BUFFERS = (
    "reachable", "all_leaves", "leaf_values", "first_leaf", "used_codes", "used_numbers", "last_code",
    "used_cuts", "first_row",
)  # fmt: skip
"""Computed from the other buffers by `_derive_buffers`, and not saved."""


class Trees(nn.Module):
    """Boosted trees, one ensemble per fold, as buffers without parameters.

    A row's numbers become bins and its categories become codes: small integers in both cases. A node
    looks the integer up in its row of a decision table, whose entry says left (0) or right (1), so that
    thresholds and sets of categories need no different code.

    Rows do not walk down the trees node by node. For each value of a column, a precomputed bit set per
    tree says which leaves can still be reached. The bitwise "and" over all columns leaves one bit: the
    row's leaf (after QuickScorer, Lucchese et al. 2015, which does this node by node). A row's leaves
    of all trees together are thus the "and" of one vector per column.

    Args:
        folds: F, the number of ensembles.
        rounds: Boosting rounds: trees of an ensemble per output.
        outputs: K; 1 for regression.
        margins: Sums over a fold's trees per row: 1 (binary, regression) or K.
        columns: V, the number of values of a row.
        cuts: The shape of the thresholds between the bins: D, and the most thresholds of a number.
        nodes, table: The number of nodes, and of rows of the decision table.
        levels: The depth of the deepest tree.
        statistics: The arguments of the `TargetStatistics` whose numbers follow the table's; None without.

    Shapes: float32 [B, D] and int32 [B, C] -> log-probabilities [B, K], or scaled numbers [B, 1].
    """

    cuts: Tensor
    roots: Tensor
    column: Tensor
    row: Tensor
    left: Tensor
    value: Tensor
    table: Tensor
    start: Tensor
    gain: Tensor
    reachable: Tensor
    all_leaves: Tensor
    leaf_values: Tensor
    first_leaf: Tensor
    used_codes: Tensor
    used_numbers: Tensor
    last_code: Tensor
    used_cuts: Tensor
    first_row: Tensor

    def __init__(
        self, *, folds: int, rounds: int, outputs: int, margins: int, columns: int, cuts: Sequence[int],
        nodes: int, table: int, levels: int, statistics: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.folds, self.rounds, self.outputs, self.margins = folds, rounds, outputs, margins
        self.levels = levels
        trees = folds * rounds * margins
        self.register_buffer("cuts", torch.zeros(tuple(cuts)))
        self.register_buffer("roots", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("column", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("row", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("left", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("value", torch.zeros(nodes))
        self.register_buffer("table", torch.zeros(table * (CODES + 1), dtype=torch.int32))
        self.register_buffer("start", torch.zeros(folds, margins))
        self.register_buffer("gain", torch.zeros(columns))
        self.statistics = None if statistics is None else TargetStatistics.from_config(statistics)
        for name in DERIVED_BUFFERS:
            self.register_buffer(name, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_derive_buffers)  # type: ignore[no-untyped-call]

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return the mean over the folds' ensembles."""
        return self.per_fold(numeric_BD, categorical_BC).mean(dim=0)

    def per_fold(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return the prediction of each fold's ensemble: [F, B, K]."""
        rows = len(numeric_BD)
        chunk = max(CHUNK_VALUES // len(self.roots), FEWEST_CHUNK_ROWS)
        if numeric_BD.device.type != "cpu":
            chunk = max(rows, 1)
        if rows <= chunk:
            return self._outputs(self._sums(numeric_BD, categorical_BC))
        chunks = [slice(start, start + chunk) for start in range(0, rows, chunk)]

        def run(rows: slice) -> Tensor:
            return self._sums(numeric_BD[rows], categorical_BC[rows])

        sums = map_in_threads(run, chunks, torch.get_num_threads())
        return self._outputs(torch.cat(sums, dim=1))

    def _sums(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Find each row's leaf in every tree and add up their values: [F, B, margins]."""
        rows = len(numeric_BD)
        if self.statistics is not None:
            numeric_BD = torch.cat([numeric_BD, self.statistics(categorical_BC)], dim=1)
        codes_VB = categorical_BC.T.index_select(0, self.used_codes).clamp(max=self.last_code)
        if len(self.used_numbers):
            x_VB = numeric_BD.T.index_select(0, self.used_numbers)
            codes_VB = torch.cat(
                [codes_VB, torch.searchsorted(self.used_cuts, x_VB, out_int32=True)]
            )
        codes_VB = codes_VB + self.first_row
        leaf_BT = self._leaves(codes_VB)
        # One bit is left in each tree's set; its logarithm is the leaf's number.
        index_BT = leaf_BT.float().log2_().round_().int().add_(self.first_leaf)
        values = self.leaf_values.index_select(0, index_BT.view(-1))
        return values.view(rows, self.folds, self.rounds, self.margins).sum(dim=2).transpose(0, 1) + self.start[:, None]  # fmt: skip

    def _leaves(self, codes_VB: Tensor) -> Tensor:
        """Return the leaf that can be reached in each tree, as the one bit of a set: [B, T]."""
        values, rows = codes_VB.shape
        trees = len(self.roots)
        if not values:
            return self.all_leaves.expand(rows, trees)
        if rows * values * trees > FEW_SETS:
            leaf_BT = self.reachable.index_select(0, codes_VB[0])
            for rows_B in codes_VB[1:]:
                leaf_BT.bitwise_and_(self.reachable.index_select(0, rows_B))
            return leaf_BT
        # Of few rows the number of operations counts: all sets at once, then halves of them.
        sets_VBT = self.reachable.index_select(0, codes_VB.reshape(-1)).view(values, rows, trees)
        while values > 1:
            half = values // 2
            halved = sets_VBT[:half].bitwise_and_(sets_VBT[half : 2 * half])
            if values % 2:
                halved[0].bitwise_and_(sets_VBT[-1])
            sets_VBT, values = halved, half
        return sets_VBT[0]

    def _outputs(self, sums_FBM: Tensor) -> Tensor:
        if self.outputs == 1:
            return sums_FBM
        if self.margins == 1:
            sums_FBM = torch.cat([torch.zeros_like(sums_FBM), sums_FBM], dim=2)
        return torch.log_softmax(sums_FBM, dim=2)

    def config(self) -> dict[str, Any]:
        """Return the arguments of an empty copy; the buffers hold the rest."""
        return {
            "folds": self.folds, "rounds": self.rounds, "outputs": self.outputs,
            "margins": self.margins, "columns": len(self.gain), "cuts": list(self.cuts.shape),
            "nodes": len(self.column), "table": len(self.table) // (CODES + 1), "levels": self.levels,
            **({} if self.statistics is None else {"statistics": self.statistics.config()}),
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an empty copy from `config`, for `load_state_dict` to fill."""
        return cls(**config)

    @classmethod
    def restored(
        cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str | Path
    ) -> Self:
        """Make trees of what a file holds.

        Args:
            config: From `config`.
            tensors: From `state_dict`.
            source: The file, for the error.

        Raises:
            BundleError: The tensors have other sizes than the config says, or are not numbers, or the trees are deeper
                than trees can be.
        """
        if not 0 <= config["levels"] <= LEAVES_OF_A_TREE:
            raise damaged(
                source, "ensemble of boosted trees", f"they have {config['levels']} levels"
            )
        make = lambda: cls.from_config(config)  # noqa: E731
        return restored(make, tensors, source, "ensemble of boosted trees", infinite=["cuts"])

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the number of trees and leaves, and how much each column lowers the loss.

        Args:
            names: The table's column behind each value: of the numbers, then of the codes.

        Returns:
            `ensembles`, `trees`, `leaves` (of a tree, on average) and `columns`: each `column` and its
            `gain`, its share of the loss that all splits saved, the 20 largest first. With target
            statistics also `statistics`: the columns that they describe.
        """
        codes = len(self.gain) - len(self.cuts)
        numbers, categories = list(names[: len(names) - codes]), list(names[len(names) - codes :])
        described: list[str] = []
        if self.statistics is not None:
            described = [categories[column] for column in self.statistics.described()]
        by_column: dict[str, float] = {}
        asked = [*categories, *numbers, *described]
        for name, gain in zip(asked, self.gain.tolist(), strict=True):
            by_column[name] = by_column.get(name, 0.0) + gain
        total = sum(by_column.values()) or 1.0
        ranked = sorted(by_column.items(), key=lambda item: -item[1])
        leaves = int((self.left == torch.arange(len(self.left))).sum())
        return {
            "ensembles": self.folds, "trees": len(self.roots), "leaves": leaves / len(self.roots),
            "columns": [{"column": name, "gain": gain / total} for name, gain in ranked[:20]],
            **({"statistics": list(dict.fromkeys(described))} if described else {}),
        }  # fmt: skip


def _derive_buffers(trees: Trees, _: Any = None) -> None:
    """Compute, for each column and value, the bit set of leaves that can be reached in each tree.

    Columns that no tree uses are left out, and so are unused thresholds: the values of a number are the
    intervals between thresholds in use, those of a category end with the last one that a tree
    distinguishes from rare categories.
    """
    column_of, left = trees.column.cpu().numpy(), trees.left.cpu().numpy()
    row = trees.row.cpu().numpy() // (CODES + 1)
    table = trees.table.cpu().numpy().reshape(-1, CODES + 1) != 0
    inner = left != np.arange(len(left))
    tree, below, all_leaves, first_leaf = _leaf_sets(trees, left, inner)
    codes = len(trees.gain) - len(trees.cuts)
    used_codes, used_numbers, last, cuts, blocks = [], [], [], [], []
    for column in np.unique(column_of[inner]).tolist():
        nodes = np.flatnonzero(inner & (column_of == column))
        if column < codes:
            sets = table[row[nodes]][:, :CODES]  # the last code is that of all rare categories
            differ = np.flatnonzero((sets != sets[:, -1:]).any(axis=0))
            used_codes.append(column)
            last.append(int(differ[-1]) + 1 if len(differ) else 0)
            right = sets[:, : last[-1] + 1]
        else:
            used = np.unique(row[nodes])
            used_numbers.append(column - codes)
            cuts.append(trees.cuts[column - codes].cpu().numpy()[used])
            right = np.arange(len(used) + 1) > np.searchsorted(used, row[nodes])[:, None]
        unreachable = np.where(right, below[left[nodes], None], below[left[nodes] + 1, None])
        asked_trees, begins = np.unique(tree[nodes], return_index=True)
        block = np.repeat(all_leaves[:, None], right.shape[1], axis=1)
        block[asked_trees] &= np.bitwise_and.reduceat(~unreachable, begins)
        blocks.append(block.T)
    begins = np.cumsum([0, *map(len, blocks)])[:-1]
    derived = {
        "reachable": np.concatenate(blocks) if blocks else all_leaves[None, :0],
        "all_leaves": all_leaves, "leaf_values": trees.value.cpu().numpy()[~inner],
        "first_leaf": first_leaf.astype(np.int32),
        "used_codes": np.array(used_codes, np.int64), "last_code": np.array(last, np.int32)[:, None],
        "used_numbers": np.array(used_numbers, np.int64), "used_cuts": padded(cuts).numpy(),
        "first_row": begins.astype(np.int32)[:, None],
    }  # fmt: skip
    for name, values in derived.items():
        buffer = torch.from_numpy(np.ascontiguousarray(values)).to(trees.value.device)
        setattr(trees, name, buffer)


def _leaf_sets(
    trees: Trees, left: np.ndarray, inner: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number each tree's leaves from 0 and represent sets of them as bits of an integer.

    Returns:
        Each node's tree; the set of leaves below each node; the set of each tree's leaves; and for each
        tree the number of leaves in the trees before it.
    """
    roots = trees.roots.cpu().numpy()
    tree = np.searchsorted(roots, np.arange(len(left)), side="right") - 1
    count = np.cumsum(~inner)
    first_leaf = count[roots] - ~inner[roots]
    bits = int(np.diff(first_leaf, append=count[-1]).max())
    dtype = np.int16 if bits < 16 else np.int32 if bits < 32 else np.int64
    below = np.where(inner, 0, np.int64(1) << (count - 1 - first_leaf[tree]).clip(0))
    for _ in range(trees.levels):
        below[inner] = below[left[inner]] | below[left[inner] + 1]
    return tree, below.astype(dtype), below[roots].astype(dtype), first_leaf


def padded(cuts: Sequence[np.ndarray]) -> Tensor:
    """Put the thresholds of columns into one matrix, padded with infinity, which no value exceeds."""
    matrix = np.full((len(cuts), max(map(len, cuts), default=0)), np.inf, np.float32)
    for index, own in enumerate(cuts):
        matrix[index, : len(own)] = own
    return torch.from_numpy(matrix)


def map_in_threads(
    run: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> list[Result]:
    """Call a function on each of some items, such as slices of rows, in several threads; return the results in order.

    Each Python thread uses one PyTorch thread. With one thread, everything runs in the caller's.

    Args:
        run: What to call; it must keep nothing between two calls.
        items: Its arguments.
        threads: The largest number of threads.

    Example:
        >>> import torch
        >>> from sightline.build.trees import map_in_threads
        >>> x = torch.arange(4)
        >>> [part.tolist() for part in map_in_threads(lambda rows: x[rows] * 2, [slice(0, 3), slice(3, 4)], 2)]
        [[0, 2, 4], [6]]
    """
    threads = min(threads, len(items))
    if threads < 2:
        return [run(item) for item in items]

    def work(number: int) -> list[Result]:
        torch.set_num_threads(1)  # for this Python thread only
        with torch.no_grad():
            return [run(item) for item in items[number::threads]]

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(work, range(threads)))
    finally:
        torch.set_num_threads(before)
    return [results[index % threads][index // threads] for index in range(len(items))]
