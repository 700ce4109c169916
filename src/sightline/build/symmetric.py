"""Boosted symmetric trees: the ensembles of all folds while PyTorch grows them.

All nodes of a level of a symmetric (oblivious) tree ask the same question, as in CatBoost (Prokhorenkova,
Gusev, Vorobev, Dorogush and Gulin 2018). So a tree is a small table, splits are chosen by all rows together,
and trees vary less from sample to sample than those that split each node for itself. As there, rows get
random weights in each round (Bayesian bootstrap), each tree sees some of the columns, and the scores of
splits get a little noise.

On few rows a step of one tree takes PyTorch less time than Python needs to ask for it. So the folds' trees grow in the
same tensors, as many together as fit into a processor's cache.

Letters: F folds, N rows, V values of a row (codes, then numbers), C columns that a tree may look at, H held-out
rows, S slots (trees of a round), B bins, L leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

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


MOST_CELLS = 250_000
"""Folds grow together while the histogram of a level has at most so many sums: 1 MB, of which a few are in use at a time."""


class SymmetricGrowth(Growing):
    """The ensemble of one fold: its rows as codes, and its trees, which `SymmetricFolds` grows.

    Args:
        codes_NV: The values of all rows, categories first.
        target_N, weight_N, learns, held, classification, outputs: As in `Growing`.
        categories: How many of the values are categories.
        options: How it grows.

    Attributes:
        codes, held_codes: The values of the rows that it grows on [V, N], and of those that it holds out [V, H].
        weights: Of the rows that it grows on.
        varying: The columns with more than one value.
        columns: How many of them a tree may look at.
        bins: More than the largest code.
        random: Where its random numbers come from.
        own_sums: The sums of the rows that it grows on, [S, N].
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
        self.weights = np.ones(len(self.target)) if self.weight is None else self.weight
        self._begin()
        # A category's place in the order of its mean target: thresholds are then sets of categories.
        own_NV, count = codes_NV[learns], codes_NV.shape[1]
        self._ranks = [
            self._rank(own_NV[:, column]) if column < categories else None
            for column in range(count)
        ]
        self.codes, self.held_codes = (
            np.stack([self._placed(part[:, column], column) for column in range(count)])
            if count
            else np.zeros((0, len(part)), np.uint8)
            for part in (own_NV, codes_NV[held])
        )
        self.varying = np.flatnonzero((self.codes != self.codes[:, :1]).any(axis=1))
        self.columns = min(max(round(options.columns * len(self.varying)), 1), len(self.varying))
        self.bins = int(self.codes.max(initial=0)) + 1
        self.random = np.random.default_rng(options.seed)
        self.own_sums = np.repeat(self.start[self.slots][:, None], len(self.target), axis=1)

    def _begin(self) -> None:
        """Begin with the mean target, or the logarithms of the classes' odds or shares."""
        if not self.classification:
            self.start[0] = np.average(self.target, weights=self.weights)
            return
        shares = np.bincount(self.target, self.weights, self.outputs) / self.weights.sum()
        if len(self.start) > 1:
            self.start[self.slots] = np.log(shares[self.slots])
        else:
            self.start[0] = np.log(shares[1] / shares[0])

    def _rank(self, codes: np.ndarray) -> np.ndarray:
        """Return each code's place in the order of the codes' mean targets, int64 [codes]."""
        weight = self.weights
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
        return ranks

    def _placed(self, codes: np.ndarray, column: int) -> np.ndarray:
        ranks = self._ranks[column]
        return (codes if ranks is None else ranks[codes]).astype(np.uint8)

    def truth(self) -> np.ndarray:
        """Return what the rows' sums should lead to: whether a row is of a class, or its number, float64 [S, N]."""
        several = len(self.start) > 1
        truth = self.target == self.slots[:, None] if several else self.target[None]
        return np.asarray(truth, np.float64)

    def add(
        self, splits: Sequence[tuple[int, int]], gains: Sequence[float], value_SL: np.ndarray, held_SH: np.ndarray
    ) -> None:  # fmt: skip
        """Add the trees of a round, which have the same splits.

        Args:
            splits: The column and the cut of each level.
            gains: How much each level lowers the loss.
            value_SL: The leaves' values in the order of their paths: left before right.
            held_SH: The held-out rows' sums after the round.
        """
        sums = np.tile(self.start, (len(self.held), 1))
        sums[:, self.slots] = held_SH.T
        self.sums.append(sums)
        column, row, gain = (
            np.zeros(len(splits) + 1, kind) for kind in (np.int32, np.int32, np.float64)
        )
        for number, (at, cut) in enumerate(splits):
            column[number], row[number] = at, self._row(at, cut)
            gain[number] = max(gains[number], 0.0) / (1 << number)
        shape = _shape(len(splits))
        inner = int((~shape.leaf).sum())
        column, row, gain = column[shape.level], row[shape.level], gain[shape.level]
        self.trees.append([
            Tree(
                column=column, row=row, leaf=shape.leaf, children=shape.children,
                value=np.concatenate([np.zeros(inner), values]), gain=gain,
            )
            for values in value_SL
        ])  # fmt: skip

    def _row(self, column: int, cut: int) -> int:
        """Return the row of the decision table that sends codes beyond a cut to the right."""
        ranks = self._ranks[column]
        return cut if ranks is None else self.table_row((ranks > cut).astype(np.int8))

    def own_loss(self) -> float:
        """Return the mean loss on the rows that it grew on."""
        sums = np.tile(self.start, (len(self.target), 1))
        if not self.is_done:
            sums[:, self.slots] = self.own_sums.T
        return float(self.losses_of(self.values_of(sums), self.target).mean())


@dataclass(frozen=True)
class Shape:
    """The nodes of a symmetric tree, level after level.

    Attributes:
        level: int64 [nodes].
        leaf: bool [nodes].
        children: int32 [nodes, 2], left and right; 0 of leaves.
    """

    level: np.ndarray
    leaf: np.ndarray
    children: np.ndarray


@lru_cache(maxsize=8)
def _shape(depth: int) -> Shape:
    """Return the nodes of a symmetric tree with so many levels of splits."""
    node = np.arange((1 << depth + 1) - 1)
    level = np.floor(np.log2(node + 1)).astype(np.int64)
    leaf = level == depth
    left = np.where(leaf, 0, 2 * node + 1)
    children = np.stack([left, np.where(leaf, 0, left + 1)], axis=1).astype(np.int32)
    return Shape(level, leaf, children)


def in_groups(growths: Iterable[SymmetricGrowth]) -> list[SymmetricFolds]:
    """Divide folds into groups that grow together: as many in each as `MOST_CELLS` allows, at least one.

    Folds whose training rows lack a class have fewer trees in a round, so they grow by themselves.
    """
    groups = []
    growing = sorted(
        (one for one in growths if not one.is_done), key=lambda growth: len(growth.slots)
    )
    for _, same in groupby(growing, key=lambda growth: len(growth.slots)):
        alike = list(same)
        # The last level divides half as many leaves as the tree has in the end.
        cells = max(max(one.columns, 1) * one.bins << one.options.depth - 1 for one in alike)
        size = max(MOST_CELLS // cells, 1)
        groups += [SymmetricFolds(alike[at : at + size]) for at in range(0, len(alike), size)]
    return groups


class SymmetricFolds:
    """Ensembles of symmetric trees while they grow in the same tensors; each is what it would be alone.

    Args:
        growths: The ensembles of some folds, with the same options and as many slots each. Missing rows are padded
            with rows of weight 0, missing columns with one that has a single value.
    """

    def __init__(self, growths: Sequence[SymmetricGrowth]) -> None:
        self.growths, self.options = growths, growths[0].options
        self.classification, self.several = growths[0].classification, len(growths[0].start) > 1
        self._bins = max(one.bins for one in growths)
        self._codes = _stacked([np.pad(one.codes, ((0, 1), (0, 0))) for one in growths])
        self._held_codes = _stacked([np.pad(one.held_codes, ((0, 1), (0, 0))) for one in growths])
        self._weight = _stacked([one.weights for one in growths])
        self._truth = _stacked([one.truth() for one in growths])
        self._sums = _stacked([one.own_sums for one in growths])
        self._held_sums = _stacked(
            [np.repeat(one.start[one.slots][:, None], len(one.held), axis=1) for one in growths]
        )
        self._rows = torch.tensor([float(len(one.target)) for one in growths], dtype=torch.float64)
        self._rounds = 0

    def grow(self, rounds: int) -> None:
        """Grow to this many rounds, on one thread: several would mostly wait for Python, in which the steps are small."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for this Python thread only
        try:
            with torch.no_grad():
                while self._rounds < rounds:
                    self._grow_round()
                    self._rounds += 1
        finally:
            torch.set_num_threads(threads)
        for growth, sums_SN in zip(self.growths, self._sums, strict=True):
            growth.own_sums = sums_SN[:, : len(growth.target)].numpy()

    def _grow_round(self) -> None:
        g_FSN, h_FSN = self._derivatives()
        drawn_FN, columns_FC = self._drawn()
        index_FCN = columns_FC[:, :, None].expand(-1, -1, self._codes.shape[2])
        histograms = Histograms(
            self._codes.gather(1, index_FCN).long(), self._bins, self._sketched(g_FSN) * drawn_FN[:, None],
            self._weight * drawn_FN, self.options.l2,
        )  # fmt: skip
        noise_FLCB = self._noise(g_FSN)
        folds = torch.arange(len(self.growths))
        leaf_FN = torch.zeros(self._weight.shape, dtype=torch.int64)
        held_FH = torch.zeros(self._held_sums.shape[::2], dtype=torch.int64)
        places, cuts, worth = [], [], [histograms.worth_of_one_leaf()]
        for level in range(self.options.depth if histograms.any_divides else 0):
            score_FCB = histograms.scores(leaf_FN, 1 << level)
            noisy = score_FCB.clamp(min=0).sqrt_().add_(noise_FLCB[:, level])
            noisy.masked_fill_(~histograms.divides_FCB, -torch.inf)
            best_F = noisy.flatten(1).argmax(dim=1)
            place_F = best_F // (self._bins - 1)
            # A fold whose columns can't be divided keeps all rows on the left.
            cut_F = (best_F % (self._bins - 1)).masked_fill_(~histograms.divisible_F, self._bins)
            column_F = columns_FC[folds, place_F]
            leaf_FN = 2 * leaf_FN + (histograms.codes_FCN[folds, place_F] > cut_F[:, None])
            held_FH = 2 * held_FH + (self._held_codes[folds, column_F] > cut_F[:, None])
            places.append(column_F)
            cuts.append(cut_F)
            worth.append(score_FCB.flatten(1).gather(1, best_F[:, None])[:, 0])
        value_FSL = self._values(leaf_FN, 1 << len(places), g_FSN, h_FSN)
        self._sums += value_FSL.gather(2, leaf_FN[:, None].expand_as(self._sums))
        self._held_sums += value_FSL.gather(2, held_FH[:, None].expand_as(self._held_sums))
        self._add(places, cuts, worth, value_FSL, histograms.divisible_F)

    def _derivatives(self) -> tuple[Tensor, Tensor]:
        """Return the first and second derivatives of each row's loss, weighted: [F, S, N] each."""
        if not self.classification:
            gradient, curvature = self._sums - self._truth, torch.ones_like(self._sums)
        else:
            p = self._sums.softmax(dim=1) if self.several else self._sums.sigmoid()
            gradient, curvature = p - self._truth, p * (1 - p)
        weight_FSN = self._weight[:, None]
        return gradient * weight_FSN, curvature.clamp_(min=SMALLEST_CURVATURE) * weight_FSN

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """Draw the rows' random weights [F, N], and the columns that each tree may look at [F, C]."""
        rows = [one.random.standard_exponential(len(one.target)) for one in self.growths]
        single_valued = self._codes.shape[1] - 1
        columns = np.full(
            (len(self.growths), max(one.columns for one in self.growths)), single_valued
        )
        for chosen, one in zip(columns, self.growths, strict=True):
            chosen[: one.columns] = np.sort(one.random.permutation(one.varying)[: one.columns])
        return _stacked(rows), torch.from_numpy(columns)

    def _noise(self, g_FSN: Tensor) -> Tensor:
        """Draw the noise on the scores of all levels: [F, levels, C, B - 1].

        It has the size of a gradient, and fades out as the model fits its rows, as in CatBoost.
        """
        left_F = (self._rows.log() - self._rounds * self.options.learning_rate).exp()
        mean_F = g_FSN.square().sum(dim=(1, 2)) / (self._rows * g_FSN.shape[1])
        scale_F = self.options.noise * left_F / (1 + left_F) * mean_F.sqrt()
        drawn_FLCB = _stacked(
            [
                one.random.standard_normal(
                    (self.options.depth, one.columns, one.bins - 1), np.float32
                )
                for one in self.growths
            ]
        )
        return drawn_FLCB * scale_F.float()[:, None, None, None]

    def _sketched(self, g_FSN: Tensor) -> Tensor:
        """Return the first derivatives by which a tree's structure is chosen: those of the slots, or random sums of them."""
        slots = g_FSN.shape[1]
        if slots <= SKETCH:
            return g_FSN
        mix = [one.random.standard_normal((SKETCH, slots)) for one in self.growths]
        sums_FSN: Tensor = torch.from_numpy(np.stack(mix)) @ g_FSN / SKETCH**0.5
        return sums_FSN

    def _values(self, leaf_FN: Tensor, leaves: int, g_FSN: Tensor, h_FSN: Tensor) -> Tensor:
        """Return the value of each leaf, times the learning rate: [F, S, L]."""
        index = leaf_FN[:, None].expand_as(g_FSN)
        sums = [
            torch.zeros(*g_FSN.shape[:2], leaves, dtype=torch.float64).scatter_add_(2, index, x)
            for x in (g_FSN, h_FSN)
        ]
        return -self.options.learning_rate * sums[0] / (sums[1] + self.options.l2)

    def _add(
        self, columns: list[Tensor], cuts: list[Tensor], worth: list[Tensor], value_FSL: Tensor, divisible_F: Tensor
    ) -> None:  # fmt: skip
        """Hand each fold the trees of the round."""
        split_FL = list(zip(*(x.tolist() for x in columns), strict=True))
        cut_FL = list(zip(*(x.tolist() for x in cuts), strict=True))
        gain_FL = torch.stack(worth, dim=1).diff(dim=1).tolist()
        for number, growth in enumerate(self.growths):
            held_SH = self._held_sums[number, :, : len(growth.held)].numpy()
            if columns and divisible_F[number]:
                splits = list(zip(split_FL[number], cut_FL[number], strict=True))
                growth.add(splits, gain_FL[number], value_FSL[number].numpy(), held_SH)
            else:
                growth.add([], [], value_FSL[number, :, :1].numpy(), held_SH)


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    """Stack arrays, padded with zeros to the largest: [F, ...]."""
    stacked = np.zeros((len(arrays), *np.max([array.shape for array in arrays], axis=0)), arrays[0].dtype)  # fmt: skip
    for place, array in zip(stacked, arrays, strict=True):
        place[tuple(slice(size) for size in array.shape)] = array
    return torch.from_numpy(stacked)


class Histograms:
    """Sums of the rows' first derivatives by leaf, column and bin, while trees grow level after level.

    They are in float32: they only choose between splits.

    A split is worth the squared sums of the first derivatives over the numbers of rows, as in CatBoost, and not over the
    sums of the second derivatives, which are all but 0 where the model is sure: by those, few rows decide.

    Args:
        codes_FCN: The values of the columns that each tree may look at.
        bins: B, more than the largest value.
        g_FSN: The first derivative of each slot's loss, times the rows' weights.
        weight_FN: The rows' weights.
        l2: Rows that are added to each leaf.

    Attributes:
        divides_FCB: Whether a cut divides the rows, [F, C, B - 1].
        divisible_F: Whether any cut does.
        any_divides: Whether any cut of any tree does.
    """

    def __init__(
        self, codes_FCN: Tensor, bins: int, g_FSN: Tensor, weight_FN: Tensor, l2: float
    ) -> None:
        self.codes_FCN, self.bins, self.l2 = codes_FCN, bins, l2
        self._index_FCN = codes_FCN
        self._g_FSN, self._weight_FN = g_FSN.float(), weight_FN.float()
        rows_FCB = self._sums(self._weight_FN, 1)[:, :, 0]
        self.divides_FCB = (rows_FCB[..., :-1] > 0) & (rows_FCB[..., :-1] < rows_FCB[..., -1:] * (1 - 1e-6))  # fmt: skip
        self.divisible_F = self.divides_FCB.flatten(1).any(dim=1)
        self.any_divides = bool(self.divisible_F.any())

    def worth_of_one_leaf(self) -> Tensor:
        """Return the score of all rows in one leaf: [F]."""
        return self._g_FSN.sum(dim=2).square().sum(dim=1) / (self._weight_FN.sum(dim=1) + self.l2)

    def scores(self, leaf_FN: Tensor, leaves: int) -> Tensor:
        """Return each cut's score, by how much the leaves on both sides lower the loss: [F, C, B - 1]."""
        # The place of each row's value in the sums of its fold and column.
        self._index_FCN = self.codes_FCN + (leaf_FN * self.bins)[:, None]
        rows_FCLB = self._sums(self._weight_FN, leaves)
        left = rows_FCLB[..., :-1] + self.l2
        right = (rows_FCLB[..., -1:] - rows_FCLB[..., :-1]).clamp_(min=0).add_(self.l2)
        total = torch.zeros(self.divides_FCB.shape)
        for g_FN in self._g_FSN.unbind(dim=1):
            g_FCLB = self._sums(g_FN, leaves)
            g_left = g_FCLB[..., :-1]
            score = (g_FCLB[..., -1:] - g_left).square_().div_(right)
            total += score.addcdiv_(g_left.square(), left).sum(dim=2)
        return total

    def _sums(self, values_FN: Tensor, leaves: int) -> Tensor:
        """Add values up by leaf, column and bin, and over the bins up to each: [F, C, L, B]."""
        folds, columns, _ = self.codes_FCN.shape
        sums = torch.zeros(folds, columns, leaves * self.bins)
        sums.scatter_add_(2, self._index_FCN, values_FN[:, None].expand_as(self._index_FCN))
        return sums.view(folds, columns, leaves, self.bins).cumsum(dim=3)
