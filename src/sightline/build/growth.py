"""One ensemble of boosted trees while scikit-learn grows it, and its trees in Sightline's form.

Letters: N rows, V values of a row (C codes, then D numbers), H held-out rows, K outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.build.trees import CODES
from sightline.errors import InternalError

CHECKED_ROWS = 500
"""Rows on which Sightline's form of the trees is compared with scikit-learn's, at most."""
TOLERANCE = 1e-3
"""The relative difference that the comparison allows."""
ABSENT_CLASS = -20.0
"""The initial sum of a class that has no rows in an ensemble's training rows."""


@dataclass(frozen=True)
class Tree:
    """One tree, node by node.

    Attributes:
        column: int32 [nodes], the value that the node looks at; 0 for a leaf.
        row: int32 [nodes], the row of the decision table that sends the value left or right; 0 for a
            leaf.
        leaf: bool [nodes].
        children: int32 [nodes, 2], left and right.
        value: float64 [nodes], of the leaves.
        gain: float64 [nodes], how much the split lowers the loss.
    """

    column: np.ndarray
    row: np.ndarray
    leaf: np.ndarray
    children: np.ndarray
    value: np.ndarray
    gain: np.ndarray


EMPTY_TREE = Tree(
    np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, bool), np.zeros((1, 2), np.int32),
    np.zeros(1), np.zeros(1),
)  # fmt: skip
"""A tree of one leaf, whose value is 0."""


def leaf_values(group: Sequence[Tree], codes_NV: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Walk rows down some trees and return the values of their leaves: float64 [N, trees]."""
    values = np.empty((len(codes_NV), len(group)))
    for number, tree in enumerate(group):
        node = np.zeros(len(codes_NV), np.int32)
        rows = np.flatnonzero(~tree.leaf[node])
        while len(rows):
            here = node[rows]
            right = table[tree.row[here], codes_NV[rows, tree.column[here]]]
            node[rows] = tree.children[here, right]
            rows = rows[~tree.leaf[node[rows]]]
        values[:, number] = tree.value[node]
    return values


class Growing(ABC):
    """One ensemble of boosted trees while it grows: where it begins, its trees, and its held-out rows.

    Args:
        target_N, weight_N: Of all rows.
        learns: bool [N], the rows it grows on.
        held: The numbers of the rows that it holds out.
        classification, outputs: What is predicted.

    Attributes:
        start: The sums that the trees add to, [width]; a class without rows among those it grows on keeps a
            very low one.
        slots: Which of the sums have trees.
        trees: [round][slot].
        table: The rows of the decision table, each for all codes; `CODES + 1` thresholds first.
        sums: Of the held-out rows after each round, [H, width].
        is_done: Whether there is nothing to grow.
    """

    def __init__(
        self, target_N: np.ndarray, weight_N: np.ndarray | None, learns: np.ndarray, held: np.ndarray,
        *, classification: bool, outputs: int,
    ) -> None:  # fmt: skip
        self.target = target_N[learns]
        self.weight = None if weight_N is None else weight_N[learns].astype(np.float64)
        self.held, self.held_target = held, target_N[held]
        weights = np.ones(len(held)) if weight_N is None else weight_N[held].astype(np.float64)
        self.held_weights, self.held_weight = weights, float(weights.sum())
        self.classification, self.outputs = classification, outputs
        present = np.unique(self.target) if classification else np.zeros(1, np.int64)
        width = outputs if classification and outputs > 2 else 1
        self.start = np.full(width, 0.0 if width == 1 else ABSENT_CLASS)
        self.slots = present if len(present) > 2 else present[1:]
        if width == 1:
            self.slots = np.zeros(1, np.int64)
            if classification and len(present) < 2:
                self.start[0] = -ABSENT_CLASS if 1 in present else ABSENT_CLASS
        else:
            self.start[present] = 0.0
        self.is_done = not len(self.target) or (classification and len(present) < 2)
        self.table = list(
            np.triu(np.ones((CODES + 1, CODES + 1), np.int8), k=1)
        )  # code > threshold
        self._table_rows: dict[bytes, int] = {}
        self.trees: list[list[Tree]] = []
        self.sums: list[np.ndarray] = []

    @abstractmethod
    def own_loss(self) -> float:
        """Return the mean loss on some of the rows that it grew on."""

    def table_row(self, right: np.ndarray) -> int:
        """Return the row of the decision table that sends these codes to the right, int8 [CODES + 1]."""
        key = right.tobytes()
        if key not in self._table_rows:
            self._table_rows[key] = len(self.table)
            self.table.append(right)
        return self._table_rows[key]

    def held_out_values(self, rounds: int) -> np.ndarray:
        """Return the held-out rows' log-probabilities [H, K], or numbers [H, 1]."""
        sums = self.sums[rounds - 1] if self.sums else np.tile(self.start, (len(self.held), 1))
        return self.values_of(sums)

    def loss(self, rounds: int) -> float:
        """Return the held-out loss, summed over rows."""
        losses = self.losses_of(self.held_out_values(rounds), self.held_target)
        return float((losses * self.held_weights).sum())

    def values_of(self, sums: np.ndarray) -> np.ndarray:
        """Turn rows' sums into log-probabilities [rows, K], or numbers [rows, 1]."""
        if not self.classification:
            return sums
        if sums.shape[1] == 1:
            sums = np.concatenate([np.zeros_like(sums), sums], axis=1)
        sums = sums - sums.max(axis=1, keepdims=True)
        logs: np.ndarray = sums - np.log(np.exp(sums).sum(axis=1, keepdims=True))
        return logs

    def losses_of(self, values: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the loss of each row's values: log loss, or squared error."""
        if not self.classification:
            return np.asarray(np.square(values[:, 0] - target))
        return np.asarray(-values[np.arange(len(values)), target])


class Growth(Growing):
    """The ensemble of one fold while scikit-learn grows it.

    Args:
        codes_NV: The values of all rows, categories first.
        target_N, weight_N: Of all rows.
        learns: bool [N], the rows it grows on.
        held: The numbers of the rows that it holds out.
        categories: How many of the values are categories.
        classification, outputs: What is predicted.
        options: Arguments of scikit-learn's estimator.
    """

    def __init__(
        self, codes_NV: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray | None, learns: np.ndarray,
        held: np.ndarray, *, categories: int, classification: bool, outputs: int, options: dict[str, Any],
    ) -> None:  # fmt: skip
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        super().__init__(
            target_N, weight_N, learns, held, classification=classification, outputs=outputs
        )
        self.codes, self.held_codes = codes_NV[learns].astype(np.float64), codes_NV[held]
        mask = np.arange(codes_NV.shape[1]) < categories
        estimator = (
            HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
        )
        self.model = estimator(
            **options, max_iter=1, warm_start=True, early_stopping=False,
            categorical_features=mask if categories else None,
        )  # fmt: skip
        self.known = [np.unique(self.codes[:, column]).astype(int) for column in range(categories)]
        some = slice(None, None, -(-len(self.target) // CHECKED_ROWS) or 1)
        self._checked, self._checked_target = self.codes[some].astype(np.int32), self.target[some]
        self._checked_sums = np.zeros((len(self._checked), len(self.slots)))

    def grow(self, rounds: int) -> None:
        """Grow to this many rounds, on one thread, because the folds grow at the same time."""
        from threadpoolctl import threadpool_limits

        if self.is_done:
            return
        self.model.set_params(max_iter=rounds)
        with threadpool_limits(1, user_api="openmp"):
            self.model.fit(self.codes, self.target, sample_weight=self.weight)
            if not self.trees:
                self.start[self.slots] = self._start_sums()
            for predictors in self.model._predictors[len(self.trees) :]:
                group = [self._read(predictor) for predictor in predictors]
                table = np.array(self.table)
                self.trees.append(group)
                self._checked_sums += leaf_values(group, self._checked, table)
                before = self.sums[-1] if self.sums else np.tile(self.start, (len(self.held), 1))
                after = before.copy()
                after[:, self.slots] += leaf_values(group, self.held_codes, table)
                self.sums.append(after)
            self._check()

    def _start_sums(self) -> np.ndarray:
        """Return the sums that scikit-learn starts from: its sums of a row without what the trees add."""
        row = self._checked[:1]
        groups = [[self._read(tree) for tree in group] for group in self.model._predictors]
        table = np.array(self.table)
        added = sum(leaf_values(group, row, table) for group in groups)
        start: np.ndarray = (self._margin(row) - added)[0]
        return start

    def _margin(self, rows: np.ndarray) -> np.ndarray:
        """Return scikit-learn's own sums over its trees, float64 [rows, slots]."""
        model, wide = self.model, rows.astype(np.float64)
        sums = model.decision_function(wide) if self.classification else model.predict(wide)
        return np.asarray(sums, np.float64).reshape(len(rows), -1)

    def _read(self, predictor: Any) -> Tree:
        """Convert a tree of scikit-learn."""
        nodes, sets = predictor.nodes, predictor.raw_left_cat_bitsets
        leaf = nodes["is_leaf"].astype(bool)
        # A number is a bin: bins above the threshold, rounded down, go right.
        thresholds = np.where(leaf | (nodes["is_categorical"] == 1), 0, nodes["num_threshold"])
        row = np.floor(thresholds).clip(-1, CODES).astype(np.int32)
        for index in np.flatnonzero(~leaf & (nodes["is_categorical"] == 1)).tolist():
            node = nodes[index]
            known = self.known[int(node["feature_idx"])]
            right = np.full(CODES + 1, not node["missing_go_to_left"], np.int8)  # for unseen codes
            position = np.arange(len(known), dtype=np.uint32)
            bits = sets[int(node["bitset_idx"])][position // 32] >> (position % 32)
            right[known] = 1 - (bits & 1).astype(np.int8)
            row[index] = self.table_row(right)
        return Tree(
            column=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32), row=row, leaf=leaf,
            children=np.stack([nodes["left"], nodes["right"]], axis=1).astype(np.int32),
            value=nodes["value"].astype(np.float64),
            gain=np.where(leaf, 0.0, nodes["gain"].clip(min=0.0)),
        )  # fmt: skip

    def _check(self) -> None:
        """Compare with scikit-learn on some rows, because its trees are private and may change their form."""
        expected = self._margin(self._checked)
        sums = self._checked_sums + self.start[self.slots]
        difference = float(np.abs(sums - expected).max())
        if not difference <= TOLERANCE * (1 + float(np.abs(expected).max())):
            import sklearn

            raise InternalError(
                f"The boosted trees of scikit-learn {sklearn.__version__} were read wrongly: margins "
                f"differ by {difference:.3g}. Fit with trees=False (--no-trees), and report this."
            )

    def own_loss(self) -> float:
        """Return the mean loss on up to 500 of the rows that it grew on."""
        sums = np.tile(self.start, (len(self._checked), 1))
        sums[:, self.slots] += self._checked_sums
        return float(self.losses_of(self.values_of(sums), self._checked_target).mean())
