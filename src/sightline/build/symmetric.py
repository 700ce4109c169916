"""Boosted symmetric trees: one ensemble while PyTorch grows it.

All nodes of a level of a symmetric (oblivious) tree ask the same question, as in CatBoost (Prokhorenkova,
Gusev, Vorobev, Dorogush and Gulin 2018). So a tree is a small table, splits are chosen by all rows together,
and trees vary less from sample to sample than those that split each node for itself. As there, rows get
random weights in each round (Bayesian bootstrap), each tree sees some of the columns, and the scores of
splits get a little noise.

Letters: N rows, V values of a row (C codes, then D numbers), H held-out rows, K outputs, S slots (trees of a
round), B bins, L leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sightline.build.growth import Growing, Tree
from sightline.build.trees import CODES

SMALLEST_CURVATURE = 1e-6
"""The least second derivative of a row's loss."""
PRIOR_ROWS = 10.0
"""How many rows the mean target of all rows counts as in the mean of a category."""
SKETCH = 4
"""With more slots than this, the structure of a tree is chosen by so many random sums of them (SketchBoost,
Iosipoi and Vakhrushev 2022)."""


@dataclass(frozen=True)
class SymmetricOptions:
    """How symmetric trees grow.

    Attributes:
        learning_rate: Of the boosting.
        depth: Levels of a tree.
        l2: L2 regularisation of the leaves' values, and rows that are added to each leaf where splits are compared.
        columns: The share of the columns that a tree may look at.
        noise: The standard deviation of the noise on scores, relative to the root mean square gradient.
        seed: Of the random numbers.
    """

    learning_rate: float = 0.1
    depth: int = 5
    l2: float = 1.0
    columns: float = 0.6
    noise: float = 0.3
    seed: int = 0


class SymmetricGrowth(Growing):
    """The ensemble of one fold while it grows.

    Args:
        codes_NV: The values of all rows, categories first.
        target_N, weight_N, learns, held, classification, outputs: As in `Growing`.
        categories: How many of the values are categories.
        options: How it grows.
    """

    def __init__(
        self, codes_NV: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray | None, learns: np.ndarray,
        held: np.ndarray, *, categories: int, classification: bool, outputs: int, options: SymmetricOptions,
    ) -> None:  # fmt: skip
        super().__init__(
            target_N, weight_N, learns, held, classification=classification, outputs=outputs
        )
        self.options = options
        if self.is_done:
            return
        if len(self.start) > 1:
            self.slots = np.unique(self.target)
        weight = np.ones(len(self.target)) if self.weight is None else self.weight
        self._begin(weight)
        self._weight = torch.from_numpy(weight)
        # A category's place in the order of its mean target: thresholds are then sets of categories.
        own_NV, count = codes_NV[learns], codes_NV.shape[1]
        self._ranks = [
            self._rank(own_NV[:, column], weight) if column < categories else None
            for column in range(count)
        ]
        self._codes, self._held_codes = (
            torch.from_numpy(
                np.stack([self._placed(part[:, column], column) for column in range(count)])
            )
            if count
            else torch.zeros(0, len(part), dtype=torch.int64)
            for part in (own_NV, codes_NV[held])
        )
        self._bins = int(self._codes.max()) + 1 if count else 1
        varies = (self._codes != self._codes[:, :1]).any(dim=1)
        self._varying = varies.nonzero().ravel().numpy()
        self._random = np.random.default_rng(options.seed)
        self._slots, target = torch.from_numpy(self.slots), torch.from_numpy(self.target)
        start = torch.from_numpy(self.start)
        self._sums = start[self._slots][:, None].repeat(1, len(target))
        self._held_sums = start[:, None].repeat(1, len(held))
        several = len(self.start) > 1
        self._truth = (target == self._slots[:, None] if several else target[None]).double()

    def _begin(self, weight: np.ndarray) -> None:
        """Begin with the mean target, or the logarithms of the classes' odds or shares."""
        if not self.classification:
            self.start[0] = np.average(self.target, weights=weight)
            return
        shares = np.bincount(self.target, weight, self.outputs) / weight.sum()
        if len(self.start) > 1:
            self.start[self.slots] = np.log(shares[self.slots])
        else:
            self.start[0] = np.log(shares[1] / shares[0])

    def _rank(self, codes: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return each code's place in the order of the codes' mean targets, int64 [codes]."""
        counts = np.bincount(codes, weight, CODES + 1)
        if len(self.start) > 1:
            sums = np.stack([np.bincount(codes, weight * (self.target == k), CODES + 1) for k in self.slots], axis=1)  # fmt: skip
        else:
            sums = np.bincount(codes, weight * self.target, CODES + 1)[:, None]
        overall = sums.sum(axis=0) / max(counts.sum(), 1e-12)
        means = (sums + PRIOR_ROWS * overall) / (counts + PRIOR_ROWS)[:, None] - overall
        if means.shape[1] > 1:  # along the first principal component (Coppersmith et al. 1999)
            weighted = means * np.sqrt(counts)[:, None]
            means = means @ np.linalg.svd(weighted, full_matrices=False)[2][0]
        places = np.unique(means.reshape(-1).round(12), return_inverse=True)[1]
        # Only codes of these rows take a place; the others share that of the nearest mean.
        seen = np.unique(places[counts > 0])
        ranks: np.ndarray = np.searchsorted(seen, places).clip(max=max(len(seen) - 1, 0))
        return ranks.astype(np.int64)

    def _placed(self, codes: np.ndarray, column: int) -> np.ndarray:
        ranks = self._ranks[column]
        return codes.astype(np.int64) if ranks is None else ranks[codes]

    def grow(self, rounds: int) -> None:
        """Grow to this many rounds, on one thread: the steps are too small for several."""
        if self.is_done:
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for this Python thread only
        try:
            with torch.no_grad():
                while len(self.trees) < rounds:
                    self._grow_round()
        finally:
            torch.set_num_threads(threads)

    def _grow_round(self) -> None:
        gradient_SN, curvature_SN = self._derivatives()
        # Noise of the size of a gradient, which fades out as the model fits its rows, as in CatBoost.
        left = math.exp(math.log(len(self.target)) - len(self.trees) * self.options.learning_rate)
        scale = self.options.noise * left / (1 + left) * float(gradient_SN.square().mean().sqrt())
        drawn_N = torch.from_numpy(self._random.standard_exponential(len(self.target)))
        g_SN, drawn_N = self._sketched(gradient_SN) * drawn_N, self._weight * drawn_N
        some = max(round(self.options.columns * len(self._varying)), 1)
        columns = np.sort(self._random.permutation(self._varying)[:some])
        histograms = Histograms(self._codes[columns], self._bins, g_SN, drawn_N, self.options.l2)
        leaf_N = torch.zeros(len(self.target), dtype=torch.int64)
        splits: list[tuple[int, int]] = []
        before = float(g_SN.sum(dim=1).square().sum() / (drawn_N.sum() + self.options.l2))
        gains: list[float] = []
        for _ in range(self.options.depth if len(columns) else 0):
            score_CB = histograms.scores(leaf_N, 1 << len(splits))
            noise = torch.from_numpy(self._random.standard_normal(tuple(score_CB.shape)))
            impossible = score_CB < 0
            if bool(impossible.all()):  # also if there are no cuts
                break
            noisy = score_CB.clamp(min=0).sqrt() + scale * noise
            best = int(noisy.masked_fill(impossible, -torch.inf).argmax())
            place, cut = divmod(best, score_CB.shape[1])
            splits.append((int(columns[place]), cut))
            gains.append(float(score_CB[place, cut]) - before)
            before = float(score_CB[place, cut])
            leaf_N = 2 * leaf_N + (histograms.codes_CN[place] > cut)
        leaves = 1 << len(splits)
        value_SL = self._values(leaf_N, leaves, gradient_SN, curvature_SN)
        self._sums += value_SL[:, leaf_N]
        held_leaf = torch.zeros(len(self.held), dtype=torch.int64)
        for column, cut in splits:
            held_leaf = 2 * held_leaf + (self._held_codes[column] > cut)
        self._held_sums[self._slots] += value_SL[:, held_leaf]
        self.sums.append(self._held_sums.T.numpy().copy())
        self.trees.append([self._tree(splits, gains, values) for values in value_SL.numpy()])

    def _derivatives(self) -> tuple[Tensor, Tensor]:
        """Return the first and second derivatives of each row's loss, weighted: [S, N] each."""
        if not self.classification:
            gradient, curvature = self._sums - self._truth, torch.ones_like(self._sums)
        else:
            p = self._sums.sigmoid() if len(self.start) == 1 else self._sums.softmax(dim=0)
            gradient, curvature = p - self._truth, p * (1 - p)
        return gradient * self._weight, curvature.clamp_(min=SMALLEST_CURVATURE) * self._weight

    def _sketched(self, g_SN: Tensor) -> Tensor:
        """Return the first derivatives by which a tree's structure is chosen: those of the slots, or random sums of them."""
        if len(g_SN) <= SKETCH:
            return g_SN
        mix = torch.from_numpy(self._random.standard_normal((SKETCH, len(g_SN))))
        sums_SN: Tensor = mix @ g_SN / SKETCH**0.5
        return sums_SN

    def _values(self, leaf_N: Tensor, leaves: int, g_SN: Tensor, h_SN: Tensor) -> Tensor:
        """Return the value of each leaf, times the learning rate: [S, L]."""
        index = leaf_N.expand(len(g_SN), -1)
        sums = [torch.zeros(len(g_SN), leaves, dtype=torch.float64).scatter_add_(1, index, x) for x in (g_SN, h_SN)]  # fmt: skip
        return -self.options.learning_rate * sums[0] / (sums[1] + self.options.l2)

    def _tree(self, splits: list[tuple[int, int]], gains: list[float], values: np.ndarray) -> Tree:
        """Write a symmetric tree node by node, level after level."""
        depth = len(splits)
        inner, size = (1 << depth) - 1, (1 << depth + 1) - 1
        level = np.array([(node + 1).bit_length() - 1 for node in range(size)])
        leaf = level == depth
        column, row, gain = (np.zeros(depth + 1, kind) for kind in (np.int32, np.int32, np.float64))
        for number, (at, cut) in enumerate(splits):
            column[number], row[number] = at, self._row(at, cut)
            gain[number] = max(gains[number], 0.0) / (1 << number)
        value = np.zeros(size)
        value[inner:] = values
        left = np.where(leaf, 0, 2 * np.arange(size) + 1).astype(np.int32)
        return Tree(
            column=column[level], row=row[level], leaf=leaf,
            children=np.stack([left, np.where(leaf, 0, left + 1)], axis=1).astype(np.int32),
            value=value, gain=np.where(leaf, 0.0, gain[level]),
        )  # fmt: skip

    def _row(self, column: int, cut: int) -> int:
        """Return the row of the decision table that sends codes beyond a cut to the right."""
        ranks = self._ranks[column]
        return cut if ranks is None else self.table_row((ranks > cut).astype(np.int8))

    def own_loss(self) -> float:
        """Return the mean loss on the rows that it grew on."""
        sums = np.tile(self.start, (len(self.target), 1))
        if not self.is_done:
            sums[:, self.slots] = self._sums.T.numpy()
        return float(self.losses_of(self.values_of(sums), self.target).mean())


class Histograms:
    """Sums of the rows' first derivatives by leaf, column and bin, while a tree grows level after level.

    A split is worth the squared sums of the first derivatives over the numbers of rows, as in CatBoost, and not over the
    sums of the second derivatives, which are all but 0 where the model is sure: by those, few rows decide.

    Args:
        codes_CN: The values of the columns that the tree may look at.
        bins: B, more than the largest value.
        g_SN: The first derivative of each slot's loss, times the rows' weights.
        weight_N: The rows' weights.
        l2: Rows that are added to each leaf.
    """

    def __init__(
        self, codes_CN: Tensor, bins: int, g_SN: Tensor, weight_N: Tensor, l2: float
    ) -> None:
        self.codes_CN, self.bins, self.l2 = codes_CN, bins, l2
        columns = len(codes_CN)
        # The values that a level adds up, and where, are the same but for the rows' leaves: made once.
        self._cells_CN = codes_CN + torch.arange(columns)[:, None] * bins
        self._index_CN = torch.empty_like(self._cells_CN)
        self._slots = [g_N.repeat(columns) for g_N in g_SN]
        self._weight = weight_N.repeat(columns)

    def scores(self, leaf_N: Tensor, leaves: int) -> Tensor:
        """Return each cut's score, by how much the leaves on both sides lower the loss: [C, B - 1].

        It is minus infinity where a cut divides no rows.
        """
        columns, bins = len(self.codes_CN), self.bins
        torch.add(self._cells_CN, leaf_N * (columns * bins), out=self._index_CN)
        rows_LCB = self._sums(self._weight, leaves)
        left = rows_LCB[:, :, :-1] + self.l2
        right = (rows_LCB[:, :, -1:] - rows_LCB[:, :, :-1]).clamp_(min=0).add_(self.l2)
        total = torch.zeros(columns, bins - 1, dtype=torch.float64)
        for values in self._slots:
            g_LCB = self._sums(values, leaves)
            g_left = g_LCB[:, :, :-1]
            score = (g_LCB[:, :, -1:] - g_left).square_().div_(right)
            total += score.addcdiv_(g_left.square(), left).sum(dim=0)
        rows = rows_LCB.sum(dim=0)
        divides = (rows[:, :-1] > 0) & (rows[:, :-1] < rows[:, -1:] * (1 - 1e-12))
        return total.masked_fill_(~divides, -torch.inf)

    def _sums(self, values: Tensor, leaves: int) -> Tensor:
        """Add values up by leaf, column and bin, and over the bins up to each: float64 [L, C, B]."""
        columns = len(self.codes_CN)
        sums = torch.zeros(leaves * columns * self.bins, dtype=torch.float64)
        sums.index_add_(0, self._index_CN.view(-1), values)
        return sums.view(leaves, columns, self.bins).cumsum(dim=2)
