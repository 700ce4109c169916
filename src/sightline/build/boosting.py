"""Boosted trees, grown by scikit-learn on the rows that a network learns from.

scikit-learn's histogram gradient boosting (after LightGBM, Ke et al. 2017) grows one ensemble for
each fold, on the rows of the other folds, so that every row has a prediction of trees that never
saw it. All of them ship: their mean is the prediction.

Letters: N rows, V values of a row (C codes, then D numbers), K outputs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.trees import CODES, MOST_LEAVES, Trees, padded
from sightline.errors import InternalError, OptionError
from sightline.prepare.binning import bin_edges

FIRST_ROUNDS = 40
"""Boosting rounds before the first look at the held-out loss; twice as many before each next one."""
STEP = 5
"""Numbers of rounds that are tried: multiples of this."""
ALONE = 1.5
"""What time rounds take with those of the one ensemble that may be grown in the folds' place."""
STALE = 0.7
"""Growing ends where the best number of rounds is no more than this share of those done."""
CHECKED_ROWS = 500
TOLERANCE = 1e-3
L2 = 1.0
"""Of a leaf's value: without it, leaves of rows that are right already can run away to any size."""
RUNAWAY = 0.1
"""An ensemble whose loss on rows that it grew on passes the held-out loss by so much has run away."""
LEAST_MARGIN = -20.0
"""Where a class starts that no row has of those an ensemble grows on."""


@dataclass(frozen=True)
class FittedTrees:
    """Trees, and what came of growing them.

    Attributes:
        trees: What ships.
        held_out: float32 [N, K], each row by the ensemble that never saw it, in the unit of
            `Trees.forward`; NaN for rows that no ensemble holds out.
        iterations: Rounds of boosting kept.
        history: Pairs of (rounds, held-out loss).
        seconds: It took.
        learning_rate: The trees were grown with.
    """

    trees: Trees
    held_out: np.ndarray
    iterations: int
    history: list[tuple[int, float]]
    seconds: float
    learning_rate: float


def fit_trees(
    numeric_ND: np.ndarray,
    categorical_NC: np.ndarray,
    target_N: np.ndarray,
    folds_N: np.ndarray,
    *,
    classification: bool,
    outputs: int,
    weight_N: np.ndarray | None = None,
    learning_rate: float = 0.1,
    iterations: int = 200,
    leaves: int = 31,
    min_rows: int = 20,
    max_features: float = 1.0,
    most_trees: int = 300,
    seed: int = 0,
    time_limit: float | None = None,
) -> FittedTrees:
    """Grow an ensemble of boosted trees for each fold, until the held-out loss stops falling.

    Args:
        numeric_ND, categorical_NC: Prepared rows, float32 and int32 codes in order of frequency.
        target_N: int64 class numbers, or scaled numbers.
        folds_N: Each row's fold, from 0; the ensemble of fold f grows on all rows of other folds.
            Rows of fold -1 are held out by none.
        classification, outputs: What is predicted; K classes, or 1.
        weight_N: Rows' weights; a row of weight 0 changes nothing.
        learning_rate, leaves, min_rows, max_features: Of scikit-learn's
            HistGradientBoosting.
        most_trees: So many trees (a class) ship at most, folds and all; else one ensemble that is
            grown on all rows does.
        iterations: The most rounds.
        seed: Of what it draws.
        time_limit: Seconds; as many rounds are grown as fit, one at least.

    Raises:
        OptionError: More leaves than a tree can have.
        InternalError: scikit-learn's trees were read wrongly (another version's form).

    Example:
        >>> import numpy as np
        >>> from sightline.build.boosting import fit_trees
        >>> x = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
        >>> fitted = fit_trees(x, np.zeros((200, 0), np.int32), (x[:, 0] > 0).astype(np.int64),
        ...                    np.arange(200) % 2, classification=True, outputs=2)
        >>> bool(((fitted.held_out[:, 1] > np.log(0.5)) == (x[:, 0] > 0)).mean() > 0.95)
        True
    """
    if not 2 <= leaves <= MOST_LEAVES:
        raise OptionError(
            f"leaves is {leaves}: a tree has 2 to {MOST_LEAVES}.", "Give a number of these."
        )
    began = time.perf_counter()
    counts = np.ones(len(target_N), bool) if weight_N is None else weight_N > 0
    cuts = _cuts(numeric_ND[counts])
    codes_NV = coded(torch.from_numpy(numeric_ND), torch.from_numpy(categorical_NC), cuts).numpy()

    def growth_of(learns: np.ndarray, fold: int) -> Growth:
        return Growth(
            codes_NV, target_N, weight_N, learns, np.flatnonzero(folds_N == fold),
            categories=categorical_NC.shape[1], classification=classification, outputs=outputs,
            options={
                "learning_rate": learning_rate, "max_leaf_nodes": leaves, "max_features": max_features,
                "min_samples_leaf": min_rows, "l2_regularization": L2, "random_state": seed + fold + 1,
            },
        )  # fmt: skip

    growths = [growth_of(counts & (folds_N != f), f) for f in range(int(folds_N.max()) + 1)]
    history: list[tuple[int, float]] = []
    workers = min(len(growths), os.cpu_count() or 1)
    done, aim = 0, FIRST_ROUNDS if time_limit is None else 1
    with ThreadPoolExecutor(workers) as pool:
        while True:
            aim = min(aim, iterations)
            list(pool.map(Growth.grow, growths, [aim] * len(growths)))
            tried = {*range(done + STEP - done % STEP, aim, STEP), aim}
            history += [(n, _loss(growths, n)) for n in sorted(tried)]
            done = aim
            best, _ = min(history, key=lambda pair: pair[1])
            aim = max(2 * done, FIRST_ROUNDS)
            if time_limit is not None:
                taken = time.perf_counter() - began
                aim = min(aim, int(done * time_limit / (taken * ALONE)))
            if done >= iterations or aim <= done or (done >= FIRST_ROUNDS and best <= STALE * done):
                break
    ships = growths
    if len(growths) > 1 and len(growths) * best > most_trees:
        whole = growth_of(counts, -1)
        whole.grow(best)
        if whole.own_loss() <= min(loss for _, loss in history) + RUNAWAY:
            ships = [whole]
    trees = _pack(ships, best, cuts, codes_NV.shape[1], classification, outputs)
    held_out = np.full((len(target_N), outputs), np.nan, np.float32)
    for growth in growths:
        held_out[growth.held] = growth.said(best)
    return FittedTrees(trees, held_out, best, history, time.perf_counter() - began, learning_rate)


def _cuts(numeric_ND: np.ndarray) -> Tensor:
    """Find each number's bins; what a column has too few of is infinity, which nothing passes."""
    own = [bin_edges(numeric_ND[:, place], CODES)[1:-1] for place in range(numeric_ND.shape[1])]
    own = [cuts if len(cuts) < CODES else cuts[:: -(-len(cuts) // (CODES - 1))] for cuts in own]
    return padded(own)


def coded(numeric_BD: Tensor, categorical_BC: Tensor, cuts_DE: Tensor) -> Tensor:
    """Turn a row's categories and numbers into small whole numbers, int32 [B, V].

    Categories beyond the 254 most frequent are one.
    """
    codes = categorical_BC.clamp(max=CODES - 1).to(torch.int32)
    if not numeric_BD.shape[1]:
        return codes
    bins = torch.searchsorted(cuts_DE, numeric_BD.T.contiguous(), out_int32=True).T
    return torch.cat([codes, bins], dim=1)


class Growth:
    """One fold's ensemble while it grows.

    Args:
        codes_NV: All rows, categories first.
        target_N, weight_N: Of all rows.
        learns: bool [N], the rows it grows on.
        held: The rows that it holds out.
        categories: How many of the values are categories.
        classification, outputs: What is predicted.
        options: Of scikit-learn's estimator.
    """

    def __init__(
        self, codes_NV: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray | None, learns: np.ndarray,
        held: np.ndarray, *, categories: int, classification: bool, outputs: int, options: dict[str, Any],
    ) -> None:  # fmt: skip
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        self.codes, self.target = codes_NV[learns].astype(np.float64), target_N[learns]
        self.weight = None if weight_N is None else weight_N[learns].astype(np.float64)
        self.held, self.held_codes, self.held_target = held, codes_NV[held], target_N[held]
        weights = np.ones(len(held)) if weight_N is None else weight_N[held].astype(np.float64)
        self.held_weights, self.held_weight = weights, float(weights.sum())
        self.classification, self.outputs = classification, outputs
        present = np.unique(self.target) if classification else np.zeros(1, np.int64)
        # Which of the sums scikit-learn's trees add to; a class that no row here has stays far below.
        width = outputs if classification and outputs > 2 else 1
        self.start = np.full(width, 0.0 if width == 1 else LEAST_MARGIN)
        self.slots = present if len(present) > 2 else present[1:]
        if width == 1:
            self.slots = np.zeros(1, np.int64)
            if classification and len(present) < 2:
                self.start[0] = -LEAST_MARGIN if 1 in present else LEAST_MARGIN
        else:
            self.start[present] = 0.0
        self.is_done = not len(self.target) or (classification and len(present) < 2)
        # Categories that are one in all rows are nothing to split by, and scikit-learn wants some.
        mask = np.arange(codes_NV.shape[1]) < categories
        made = HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
        self.model = made(
            **options, max_iter=1, warm_start=True, early_stopping=False,
            categorical_features=mask if categories else None,
        )  # fmt: skip
        self.known = [np.unique(self.codes[:, place]).astype(int) for place in range(categories)]
        self.table = list(
            np.triu(np.ones((CODES + 1, CODES + 1), np.int8), k=1)
        )  # code > threshold
        self._places: dict[bytes, int] = {}
        self.trees: list[list[Tree]] = []  # [round][slot]
        self.sums: list[np.ndarray] = []  # of the held-out rows, [round][H, width]
        some = slice(None, None, -(-len(self.target) // CHECKED_ROWS) or 1)
        self._checked, self._checked_target = self.codes[some].astype(np.int32), self.target[some]
        self._checked_sums = np.zeros((len(self._checked), len(self.slots)))

    def grow(self, rounds: int) -> None:
        """Grow to so many rounds; on one thread, because the folds are side by side."""
        from threadpoolctl import threadpool_limits

        if self.is_done:
            return
        self.model.set_params(max_iter=rounds)
        with threadpool_limits(1, user_api="openmp"):
            self.model.fit(self.codes, self.target, sample_weight=self.weight)
            if not self.trees:
                self.start[self.slots] = self._beginning()
            for predictors in self.model._predictors[len(self.trees) :]:
                group = [self._read(predictor) for predictor in predictors]
                table = np.array(self.table)
                self.trees.append(group)
                self._checked_sums += _leaf_values(group, self._checked, table)
                before = self.sums[-1] if self.sums else np.tile(self.start, (len(self.held), 1))
                after = before.copy()
                after[:, self.slots] += _leaf_values(group, self.held_codes, table)
                self.sums.append(after)
            self._check()

    def _beginning(self) -> np.ndarray:
        """Find what scikit-learn starts from: its sums for a row, less what the trees add."""
        row = self._checked[:1]
        groups = [[self._read(tree) for tree in group] for group in self.model._predictors]
        table = np.array(self.table)
        added = sum(_leaf_values(group, row, table) for group in groups)
        begins: np.ndarray = (self._margin(row) - added)[0]
        return begins

    def _margin(self, rows: np.ndarray) -> np.ndarray:
        model, wide = self.model, rows.astype(np.float64)
        found = model.decision_function(wide) if self.classification else model.predict(wide)
        return np.asarray(found, np.float64).reshape(len(rows), -1)

    def _read(self, predictor: Any) -> Tree:
        """Turn a tree of scikit-learn's into our own form."""
        nodes, sets = predictor.nodes, predictor.raw_left_cat_bitsets
        leaf = nodes["is_leaf"].astype(bool)
        # A number is a bin: it goes right above the threshold's whole part.
        thresholds = np.where(leaf | (nodes["is_categorical"] == 1), 0, nodes["num_threshold"])
        row = np.floor(thresholds).clip(-1, CODES).astype(np.int32)
        for place in np.flatnonzero(~leaf & (nodes["is_categorical"] == 1)).tolist():
            node = nodes[place]
            known = self.known[int(node["feature_idx"])]
            right = np.full(CODES + 1, not node["missing_go_to_left"], np.int8)  # what it never saw
            position = np.arange(len(known), dtype=np.uint32)
            bits = sets[int(node["bitset_idx"])][position // 32] >> (position % 32)
            right[known] = 1 - (bits & 1).astype(np.int8)
            key = right.tobytes()
            if key not in self._places:
                self._places[key] = len(self.table)
                self.table.append(right)
            row[place] = self._places[key]
        return Tree(
            column=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32), row=row, leaf=leaf,
            children=np.stack([nodes["left"], nodes["right"]], axis=1).astype(np.int32),
            value=nodes["value"].astype(np.float64),
            gain=np.where(leaf, 0.0, nodes["gain"].clip(min=0.0)),
        )  # fmt: skip

    def _check(self) -> None:
        """Compare with scikit-learn on some rows: its trees are read from where it promises nothing."""
        expected = self._margin(self._checked)
        found = self._checked_sums + self.start[self.slots]
        far = float(np.abs(found - expected).max())
        if not far <= TOLERANCE * (1 + float(np.abs(expected).max())):
            import sklearn

            raise InternalError(
                f"The boosted trees of scikit-learn {sklearn.__version__} were read wrongly: margins "
                f"differ by {far:.3g}. Fit with trees=False (--no-trees), and report this."
            )

    def said(self, rounds: int) -> np.ndarray:
        """Return the held-out rows' log-probabilities [H, K], or numbers [H, 1]."""
        sums = self.sums[rounds - 1] if self.sums else np.tile(self.start, (len(self.held), 1))
        return self._outputs(sums)

    def own_loss(self) -> float:
        """Return the mean loss on some of the rows that it grew on."""
        sums = np.tile(self.start, (len(self._checked), 1))
        sums[:, self.slots] += self._checked_sums
        return float(self._losses(self._outputs(sums), self._checked_target).mean())

    def loss(self, rounds: int) -> float:
        """Return the held-out loss, summed over rows."""
        losses = self._losses(self.said(rounds), self.held_target)
        return float((losses * self.held_weights).sum())

    def _outputs(self, sums: np.ndarray) -> np.ndarray:
        if not self.classification:
            return sums
        if sums.shape[1] == 1:
            sums = np.concatenate([np.zeros_like(sums), sums], axis=1)
        sums = sums - sums.max(axis=1, keepdims=True)
        found: np.ndarray = sums - np.log(np.exp(sums).sum(axis=1, keepdims=True))
        return found

    def _losses(self, found: np.ndarray, target: np.ndarray) -> np.ndarray:
        if not self.classification:
            return np.asarray(np.square(found[:, 0] - target))
        return np.asarray(-found[np.arange(len(found)), target])


@dataclass(frozen=True)
class Tree:
    """One tree: per node its column, the table's row that says right or not, its children.

    Attributes:
        column, row: int32 [nodes]; of a leaf 0.
        leaf: bool [nodes].
        children: int32 [nodes, 2], left and right.
        value: float64 [nodes], of the leaves.
        gain: float64 [nodes], of the loss by the split.
    """

    column: np.ndarray
    row: np.ndarray
    leaf: np.ndarray
    children: np.ndarray
    value: np.ndarray
    gain: np.ndarray


NOTHING = Tree(
    np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, bool), np.zeros((1, 2), np.int32),
    np.zeros(1), np.zeros(1),
)  # fmt: skip
"""A tree that adds nothing."""


def _leaf_values(group: Sequence[Tree], codes_NV: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Walk rows down some trees: float64 [N, trees]."""
    found = np.empty((len(codes_NV), len(group)))
    for number, tree in enumerate(group):
        node = np.zeros(len(codes_NV), np.int32)
        rows = np.flatnonzero(~tree.leaf[node])
        while len(rows):
            at = node[rows]
            right = table[tree.row[at], codes_NV[rows, tree.column[at]]]
            node[rows] = tree.children[at, right]
            rows = rows[~tree.leaf[node[rows]]]
        found[:, number] = tree.value[node]
    return found


def _pack(
    growths: Sequence[Growth],
    rounds: int,
    cuts: Tensor,
    columns: int,
    classification: bool,
    outputs: int,
) -> Trees:
    """Lay all trees out as tensors, a node's children side by side."""
    width = outputs if classification and outputs > 2 else 1
    own: list[tuple[Tree, int]] = []  # each tree, and where its fold's sets begin in the table
    sets: list[np.ndarray] = list(growths[0].table[: CODES + 1])
    for growth in growths:
        begin = len(sets) - (CODES + 1)
        sets += growth.table[CODES + 1 :]
        slots = growth.slots.tolist()
        for place in range(rounds):
            group = [NOTHING] * width
            if place < len(growth.trees):
                for slot, tree in zip(slots, growth.trees[place], strict=True):
                    group[slot] = tree
            own += [(tree, begin) for tree in group]
    nodes = sum(len(tree.leaf) for tree, _ in own)
    # Twice as many places as a child pair needs would be simpler; this packs breadth first.
    found = {
        name: np.zeros(nodes, np.int64) for name in ("column", "row", "left")
    } | {"value": np.zeros(nodes)}  # fmt: skip
    gain = np.zeros(columns)
    roots = np.zeros(len(own), np.int64)
    levels, offset = 0, 0
    for number, (tree, begin) in enumerate(own):
        order, depth = _side_by_side_order(tree)
        size = len(order)
        place_of = np.empty(size, np.int64)
        place_of[order] = np.arange(size) + offset
        leaf = tree.leaf[order]
        here = slice(offset, offset + size)
        found["column"][here] = tree.column[order]
        row = tree.row[order].astype(np.int64)
        found["row"][here] = np.where(leaf, CODES, np.where(row > CODES, row + begin, row))
        found["left"][here] = np.where(
            leaf, np.arange(offset, offset + size), place_of[tree.children[order, 0]]
        )
        found["value"][here] = np.where(leaf, tree.value[order], 0.0)
        np.add.at(gain, tree.column[~tree.leaf], tree.gain[~tree.leaf])
        roots[number] = offset
        levels, offset = max(levels, depth), offset + size
    trees = Trees(
        folds=len(growths), rounds=rounds, outputs=outputs, margins=width, columns=columns,
        cuts=list(cuts.shape), nodes=nodes, table=len(sets), levels=levels,
    )  # fmt: skip
    start = np.stack([growth.start for growth in growths])
    table = np.array(sets).astype(np.int32).reshape(-1)
    trees.load_state_dict({
        "cuts": cuts, "roots": torch.from_numpy(roots).int(), "table": torch.from_numpy(table),
        "column": torch.from_numpy(found["column"]).int(), "left": torch.from_numpy(found["left"]).int(),
        "row": torch.from_numpy(found["row"] * (CODES + 1)).int(),
        "value": torch.from_numpy(found["value"]).float(), "start": torch.from_numpy(start).float(),
        "gain": torch.from_numpy(gain).float(),
    })  # fmt: skip
    return trees


def _side_by_side_order(tree: Tree) -> tuple[np.ndarray, int]:
    """Order a tree's nodes so that a right child follows its left one; with the tree's depth."""
    order, level, depth = [0], [0], 0
    while level:
        below = [
            child for node in level if not tree.leaf[node] for child in tree.children[node].tolist()
        ]
        order += below
        depth += bool(below)
        level = below
    return np.array(order), depth


def _loss(growths: Sequence[Growth], rounds: int) -> float:
    """Return the held-out loss over all folds: log loss, or squared error."""
    total = sum(growth.loss(rounds) for growth in growths)
    return float(total / max(sum(growth.held_weight for growth in growths), 1e-12))
