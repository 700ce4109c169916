"""Boosted trees as tensors: kept as data, run by PyTorch. `boosting.py` grows them.

Letters: B rows, V values of a row (C codes, then D numbers), F folds, T trees, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

CODES = 255
"""A value is a small whole number: one of so many bins or categories."""
MOST_LEAVES = 63
"""Of a tree: a bit of a whole number each."""
CHUNK_VALUES = 131_072
"""Rows times trees at a time, so that what is computed of them stays in a processor's cache."""
LEAST_ROWS = 16
"""At a time, however many trees."""
LAID_OUT = (
    "reach", "whole", "leaf_values", "first_leaf", "asked_codes", "asked_numbers", "last_code", "asked_cuts",
    "first_row",
)  # fmt: skip


class Trees(nn.Module):
    """Boosted trees, one ensemble a fold, as buffers: there is nothing to learn in them.

    A row's numbers become bins and its categories codes, all of them small whole numbers. A node
    looks one of them up in its row of a table, which says left or right: a threshold and a set of
    categories are the same then.

    No row walks down a tree. Whatever a column's value is, it leaves some of a tree's leaves within
    reach and not the others; a set of leaves is a whole number's bits, and the leaf that all columns
    leave within reach is the one (after Lucchese et al. 2015, "QuickScorer", who do this node by
    node). So a row's leaves of all trees are the bitwise "and" of one vector a column.

    Args:
        folds: F, how many ensembles.
        rounds: Trees of an ensemble and output.
        outputs: K; 1 for regression.
        margins: Sums that a fold's trees give a row: 1 (binary, regression) or K.
        columns: V, how many values a row has.
        cuts: [D, most] thresholds of the numbers' bins: how many at most.
        nodes, table: How many nodes, and rows of the table, there are.
        levels: Steps from the root to the deepest leaf.

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
    reach: Tensor
    whole: Tensor
    leaf_values: Tensor
    first_leaf: Tensor
    asked_codes: Tensor
    asked_numbers: Tensor
    last_code: Tensor
    asked_cuts: Tensor
    first_row: Tensor

    def __init__(
        self, *, folds: int, rounds: int, outputs: int, margins: int, columns: int, cuts: Sequence[int],
        nodes: int, table: int, levels: int,
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
        for name in LAID_OUT:  # made of the others
            self.register_buffer(name, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_lay_out)  # type: ignore[no-untyped-call]

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return the mean over the folds' ensembles."""
        return self.per_fold(numeric_BD, categorical_BC).mean(dim=0)

    def per_fold(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return what each fold's ensemble says: [F, B, K]."""
        rows = len(numeric_BD)
        chunk = max(CHUNK_VALUES // len(self.roots), LEAST_ROWS)
        if numeric_BD.device.type != "cpu":
            chunk = max(rows, 1)
        places = [slice(a, a + chunk) for a in range(0, rows, chunk)]

        def run(part: slice) -> Tensor:
            return self._sums(numeric_BD[part], categorical_BC[part])

        sums = map_in_threads(run, places, torch.get_num_threads())
        found_FBM = (
            torch.cat(sums, dim=1) if sums else self.start.new_zeros(self.folds, 0, self.margins)
        )
        return self._outputs(found_FBM)

    def _sums(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Find the leaves of all trees, T, and add them up: [F, B, margins]."""
        rows, trees = len(numeric_BD), len(self.roots)
        codes_VB = categorical_BC.T.index_select(0, self.asked_codes).clamp(max=self.last_code)
        if len(self.asked_numbers):
            x_VB = numeric_BD.T.index_select(0, self.asked_numbers)
            codes_VB = torch.cat(
                [codes_VB, torch.searchsorted(self.asked_cuts, x_VB, out_int32=True)]
            )
        codes_VB = codes_VB + self.first_row
        leaf_BT = self.whole.expand(rows, trees)
        for number, places in enumerate(codes_VB):
            left_BT = self.reach.index_select(0, places)
            leaf_BT = left_BT.bitwise_and_(leaf_BT) if number else left_BT
        # One bit is left of each: the logarithm is its number.
        place_BT = leaf_BT.float().log2_().round_().int().add_(self.first_leaf)
        values = self.leaf_values.index_select(0, place_BT.view(-1))
        return values.view(rows, self.folds, self.rounds, self.margins).sum(dim=2).transpose(0, 1) + self.start[:, None]  # fmt: skip

    def _outputs(self, sums_FBM: Tensor) -> Tensor:
        if self.outputs == 1:
            return sums_FBM
        if self.margins == 1:
            sums_FBM = torch.cat([torch.zeros_like(sums_FBM), sums_FBM], dim=2)
        return torch.log_softmax(sums_FBM, dim=2)

    def config(self) -> dict[str, Any]:
        """Return the arguments that make an empty copy; the buffers hold the rest."""
        return {
            "folds": self.folds, "rounds": self.rounds, "outputs": self.outputs,
            "margins": self.margins, "columns": len(self.gain), "cuts": list(self.cuts.shape),
            "nodes": len(self.column), "table": len(self.table) // (CODES + 1), "levels": self.levels,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an empty copy, for `load_state_dict`."""
        return cls(**config)

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Say how many trees and leaves there are, and which columns they ask for.

        Args:
            names: The table's column behind each value: of the numbers, then of the codes.
        """
        codes = len(self.gain) - len(self.cuts)
        by_column: dict[str, float] = {}
        for name, gain in zip(names, self.gain.roll(-codes).tolist(), strict=True):
            by_column[name] = by_column.get(name, 0.0) + gain
        total = sum(by_column.values()) or 1.0
        ranked = sorted(by_column.items(), key=lambda item: -item[1])
        leaves = int((self.left == torch.arange(len(self.left))).sum())
        return {
            "ensembles": self.folds, "trees": len(self.roots), "leaves": leaves / len(self.roots),
            "columns": [{"column": name, "gain": gain / total} for name, gain in ranked[:20]],
        }  # fmt: skip


def _lay_out(trees: Trees, _: Any = None) -> None:
    """Say of each column and value which leaves of which trees it leaves within reach.

    Columns that no tree asks for are left out, and so are thresholds: a number's values are one
    between two thresholds that are in use, a category's from the last on that a tree tells apart.
    """
    asked, left = trees.column.cpu().numpy(), trees.left.cpu().numpy()
    row = trees.row.cpu().numpy() // (CODES + 1)
    table = trees.table.cpu().numpy().reshape(-1, CODES + 1) != 0
    inner = left != np.arange(len(left))
    tree, below, whole, first_leaf = _leaves_below(trees, left, inner)
    codes = len(trees.gain) - len(trees.cuts)
    asked_codes, asked_numbers, last, cuts, blocks = [], [], [], [], []
    for column in np.unique(asked[inner]).tolist():
        own = np.flatnonzero(inner & (asked == column))
        if column < codes:
            sets = table[row[own]][:, :CODES]  # the last code is that of all rare ones
            differ = np.flatnonzero((sets != sets[:, -1:]).any(axis=0))
            asked_codes.append(column)
            last.append(int(differ[-1]) + 1 if len(differ) else 0)
            right = sets[:, : last[-1] + 1]
        else:
            used = np.unique(row[own])
            asked_numbers.append(column - codes)
            cuts.append(trees.cuts[column - codes].cpu().numpy()[used])
            right = np.arange(len(used) + 1) > np.searchsorted(used, row[own])[:, None]
        out_of_reach = np.where(right, below[left[own], None], below[left[own] + 1, None])
        which, begins = np.unique(tree[own], return_index=True)
        block = np.repeat(whole[:, None], right.shape[1], axis=1)
        block[which] &= np.bitwise_and.reduceat(~out_of_reach, begins)
        blocks.append(block.T)
    begins = np.cumsum([0, *map(len, blocks)])[:-1]
    found = {
        "reach": np.concatenate(blocks) if blocks else whole[None, :0], "whole": whole,
        "leaf_values": trees.value.cpu().numpy()[~inner], "first_leaf": first_leaf.astype(np.int32),
        "asked_codes": np.array(asked_codes, np.int64), "last_code": np.array(last, np.int32)[:, None],
        "asked_numbers": np.array(asked_numbers, np.int64), "asked_cuts": padded(cuts).numpy(),
        "first_row": begins.astype(np.int32)[:, None],
    }  # fmt: skip
    for name, value in found.items():
        setattr(trees, name, torch.from_numpy(np.ascontiguousarray(value)).to(trees.value.device))


def _leaves_below(
    trees: Trees, left: np.ndarray, inner: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number each tree's leaves from 0, a bit each.

    Returns:
        Each node's tree, the leaves below each node, and each tree's leaves, as sets of bits; and
        how many leaves there are before each tree's.
    """
    roots = trees.roots.cpu().numpy()
    tree = np.searchsorted(roots, np.arange(len(left)), side="right") - 1
    count = np.cumsum(~inner)
    first_leaf = count[roots] - ~inner[roots]
    bits = int(np.diff(first_leaf, append=count[-1]).max())
    kind = np.int16 if bits < 16 else np.int32 if bits < 32 else np.int64
    below = np.where(inner, 0, np.int64(1) << (count - 1 - first_leaf[tree]).clip(0))
    for _ in range(trees.levels):
        below[inner] = below[left[inner]] | below[left[inner] + 1]
    return tree, below.astype(kind), below[roots].astype(kind), first_leaf


def padded(cuts: Sequence[np.ndarray]) -> Tensor:
    """Put thresholds of columns into one matrix; where a column has too few is infinity, which nothing passes."""
    found = np.full((len(cuts), max(map(len, cuts), default=0)), np.inf, np.float32)
    for place, own in enumerate(cuts):
        found[place, : len(own)] = own
    return torch.from_numpy(found)


def map_in_threads(
    run: Callable[[slice], Tensor], slices: list[slice], threads: int
) -> list[Tensor]:
    """Call a function on each slice of some rows, in several threads; return the results in order.

    Each of Python's threads has one of PyTorch's. A single thread runs where it is called.

    Args:
        run: What to call; it must keep nothing between two calls.
        slices: Its arguments.
        threads: The largest number of threads.

    Example:
        >>> import torch
        >>> from sightline.build.trees import map_in_threads
        >>> x = torch.arange(4)
        >>> [part.tolist() for part in map_in_threads(lambda rows: x[rows] * 2, [slice(0, 3), slice(3, 4)], 2)]
        [[0, 2, 4], [6]]
    """
    threads = min(threads, len(slices))
    if threads < 2:
        return [run(rows) for rows in slices]

    def work(number: int) -> list[Tensor]:
        torch.set_num_threads(1)  # for this thread of Python's alone
        with torch.no_grad():
            return [run(rows) for rows in slices[number::threads]]

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(work, range(threads)))
    finally:
        torch.set_num_threads(before)
    return [results[index % threads][index // threads] for index in range(len(slices))]
