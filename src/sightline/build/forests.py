"""Forests of extremely randomised trees, grown by scikit-learn on the rows that a network learns from.

A forest grows for each fold, on the rows of the other folds, so that every row has an out-of-fold
prediction. The forest that ships grows on all rows. `forest.py` runs it.

Letters: N rows, V values of a row (D numbers, then C codes), K outputs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from sightline.build.forest import MOST_LEAVES, Forest
from sightline.errors import OptionError

PRIOR_TREES = 2.0
"""How many trees the classes' shares of the training rows count as."""
NODE_BYTES, ROOT_BYTES, NUMBER_BYTES = 16, 4, 4
"""Of an inner node (column, threshold, two children), of a tree's root, and of a float32."""
READING_TIME = 1.2
"""The time of a forest that is grown, read and asked for its held-out rows, relative to growing alone."""


@dataclass(frozen=True)
class FittedForest:
    """A forest, and how it was grown.

    Attributes:
        forest: The forest that was grown on all rows.
        held_out: float32 [N, K], each row's prediction by the forest that did not learn from it, in the
            unit of `Forest.forward`; NaN for rows that no forest holds out.
        held_out_loss: Its mean loss (log loss, or squared error), by weight; None without such rows.
        trees: How many trees each forest has. With `max_leaves`, it makes `fit_forest` grow the same again.
        max_leaves: The most leaves that a tree was allowed.
        seconds: How long it took.
    """

    forest: Forest
    held_out: np.ndarray
    held_out_loss: float | None
    trees: int
    max_leaves: int
    seconds: float


def fit_forest(
    numeric_ND: np.ndarray,
    categorical_NC: np.ndarray,
    target_N: np.ndarray,
    folds_N: np.ndarray,
    *,
    classification: bool,
    outputs: int,
    weight_N: np.ndarray | None = None,
    trees: int = 100,
    max_leaves: int | None = None,
    min_rows: int = 2,
    max_features: float = 0.5,
    most_bytes: int = 8_000_000,
    seed: int = 0,
    time_limit: float | None = None,
) -> FittedForest:
    """Grow a forest for each fold, and one on all rows, which ships.

    The result depends on the seed and not on the number of threads: forests grow at the same time, each on
    one thread.

    Args:
        numeric_ND, categorical_NC: Prepared rows, float32 and int32 codes in order of frequency, which trees
            compare like numbers.
        target_N: int64 class numbers, or scaled numbers.
        folds_N: Each row's fold, from 0; the forest of fold f grows on all rows of other folds. Rows of fold
            -1 are in every forest's training rows.
        classification, outputs: What is predicted; K classes, or 1.
        weight_N: The rows' weights; a row of weight 0 has no effect.
        trees: The number of trees of a forest.
        max_leaves: The most leaves of a tree; None for as many as `most_bytes` allows, which it never exceeds.
        min_rows, max_features: `min_samples_leaf` and `max_features` (a share of the columns) of
            scikit-learn's ExtraTreesClassifier and ExtraTreesRegressor.
        most_bytes: The most bytes of the tensors of the forest that ships.
        seed: Of scikit-learn's random numbers.
        time_limit: Seconds; as many trees are grown as fit in, at least one. None for no limit.

    Raises:
        OptionError: trees is below 1 or max_leaves below 2, or `most_bytes` has no room for 2 leaves a tree.

    Source:
        Geurts, Ernst, Wehenkel 2006, "Extremely randomized trees".

    Example:
        >>> import numpy as np
        >>> from sightline.build.forests import fit_forest
        >>> x = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
        >>> fitted = fit_forest(x, np.zeros((200, 0), np.int32), (x[:, 0] > 0).astype(np.int64),
        ...                     np.arange(200) % 2, classification=True, outputs=2, trees=20)
        >>> bool(((fitted.held_out[:, 1] > np.log(0.5)) == (x[:, 0] > 0)).mean() > 0.95)
        True
    """
    began = time.perf_counter()
    columns = numeric_ND.shape[1] + categorical_NC.shape[1]
    leaves = _leaves_allowed(trees, max_leaves, most_bytes, columns, outputs)
    learnable = np.ones(len(target_N), bool) if weight_N is None else weight_N > 0
    x_NV = np.concatenate([numeric_ND, categorical_NC.astype(np.float32)], axis=1)

    def growth_of(fold: int) -> _Growth:
        learns = learnable & ((folds_N != fold) | (fold < 0))
        return _Growth(
            x_NV[learns], target_N[learns], None if weight_N is None else weight_N[learns],
            classification=classification, outputs=outputs, leaves=leaves,
            options={
                "min_samples_leaf": min_rows, "max_features": max_features,
                "random_state": seed + fold + 1,
            },
        )  # fmt: skip

    *folds, whole = growths = [growth_of(fold) for fold in (*range(int(folds_N.max()) + 1), -1)]
    grown = _grow(growths, trees, time_limit, began)
    held_out = np.full((len(target_N), outputs), np.nan, np.float32)
    for fold, growth in enumerate(folds):
        held = folds_N == fold
        forest, numbers = growth.forest(grown), torch.from_numpy(numeric_ND[held])
        held_out[held] = forest(numbers, torch.from_numpy(categorical_NC[held])).numpy()
    return FittedForest(
        whole.forest(grown), held_out, _loss(held_out, target_N, weight_N, classification), grown, leaves,
        time.perf_counter() - began,
    )  # fmt: skip


def _leaves_allowed(
    trees: int, max_leaves: int | None, most_bytes: int, columns: int, outputs: int
) -> int:
    """Return the most leaves of a tree such that the forest's tensors stay within `most_bytes`."""
    if trees < 1:
        raise OptionError(f"trees is {trees}: a forest has one at least.", "Give a number from 1.")
    if max_leaves is not None and max_leaves < 2:
        raise OptionError(
            f"max_leaves is {max_leaves}: a tree has two at least.", "Give a number from 2."
        )
    # A tree of L leaves has L - 1 inner nodes.
    of_a_tree = (most_bytes - NUMBER_BYTES * (columns + outputs)) // trees - ROOT_BYTES
    leaves = (of_a_tree + NODE_BYTES) // (NODE_BYTES + NUMBER_BYTES * outputs)
    leaves = min(leaves, MOST_LEAVES // trees)
    if leaves < 2:
        raise OptionError(
            f"most_bytes is {most_bytes:,}, too few for {trees:,} trees of two leaves.",
            "Give more bytes, or fewer trees.",
        )
    return leaves if max_leaves is None else min(leaves, max_leaves)


def _grow(growths: Sequence[_Growth], trees: int, time_limit: float | None, began: float) -> int:
    """Grow all forests at the same time, to the same number of trees; return that number.

    Args:
        growths: The forests.
        trees: The most trees.
        time_limit: Seconds from `began` on, or None.
        began: When the clock started, by `time.perf_counter`.
    """
    goal = trees if time_limit is None else 1
    with ThreadPoolExecutor(min(len(growths), os.cpu_count() or 1)) as pool:
        while True:
            list(pool.map(_Growth.grow, growths, [goal] * len(growths)))
            done = goal
            if time_limit is not None:
                taken = time.perf_counter() - began
                in_time = int(done * time_limit / (taken * READING_TIME))
                goal = min(trees, 2 * done, in_time)
            if goal <= done:
                return done


class _Growth:
    """One forest while it grows.

    Args:
        x_NV, target_N, weight_N: The rows that it grows on.
        classification, outputs: What is predicted.
        leaves: The most leaves of a tree.
        options: Arguments of scikit-learn's estimator.
    """

    def __init__(
        self, x_NV: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray | None, *,
        classification: bool, outputs: int, leaves: int, options: dict[str, Any],
    ) -> None:  # fmt: skip
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        self.columns, self.outputs, self.classification = x_NV.shape[1], outputs, classification
        # scikit-learn wants a column; one of zeros is never asked for.
        self.x = x_NV if self.columns else np.zeros((len(x_NV), 1), np.float32)
        self.target, self.weight = target_N, weight_N
        # Without a limit, which few rows cannot reach, scikit-learn is faster.
        limited = len(x_NV) // options["min_samples_leaf"] > leaves
        estimator = ExtraTreesClassifier if classification else ExtraTreesRegressor
        self.model = estimator(
            **options, max_leaf_nodes=leaves if limited else None, n_jobs=1, warm_start=True
        )

    def grow(self, trees: int) -> None:
        """Grow to this many trees, on one thread, because the forests grow at the same time."""
        if len(self.target):
            self.model.set_params(n_estimators=trees)
            self.model.fit(self.x, self.target, sample_weight=self.weight)

    def prior(self) -> np.ndarray:
        """Return the classes' shares by weight, with one more row of each class; 0 for regression."""
        if not self.classification:
            return np.zeros(1)
        rows = len(self.target)
        weight = np.ones(rows) if self.weight is None else self.weight.astype(np.float64)
        counts = np.bincount(self.target, weight, self.outputs)
        share = counts / max(counts.sum(), np.finfo(np.float64).tiny)
        prior: np.ndarray = (share * rows + 1) / (rows + self.outputs)
        return prior

    def forest(self, trees: int) -> Forest:
        """Return the grown forest; without rows, each of its trees is a leaf that holds the prior."""
        prior = self.prior()
        if len(self.target):
            grown = [self._read(estimator.tree_) for estimator in self.model.estimators_]
        else:
            none = np.zeros(0)
            leaf = _Tree(none, none, np.zeros((0, 2)), prior[None], np.zeros(self.columns))
            grown = [leaf] * trees
        prior_trees = PRIOR_TREES if self.classification else 0.0
        return _packed(grown, prior, prior_trees)

    def _read(self, tree: Any) -> _Tree:
        """Convert a tree of scikit-learn."""
        inner = tree.children_left >= 0
        place = np.where(inner, np.cumsum(inner), inner.sum() + np.cumsum(~inner)) - 1
        pairs = np.stack([tree.children_left[inner], tree.children_right[inner]], axis=1)
        values = np.zeros((tree.n_leaves, self.outputs))
        slots = self.model.classes_ if self.classification else slice(None)
        values[:, slots] = tree.value[~inner, 0]
        gain = tree.compute_feature_importances(normalize=False)[: self.columns]
        threshold = _rounded_down(tree.threshold[inner])
        return _Tree(tree.feature[inner], threshold, place[pairs], values, gain)


class _Tree(NamedTuple):
    """One tree: its inner nodes, numbered from 0, then its leaves.

    Attributes:
        column, threshold, children: Of the inner nodes; the first is the root.
        values: Of the leaves, [leaves, K].
        gain: How much the splits of each column lower the impurity, [V].
    """

    column: np.ndarray
    threshold: np.ndarray
    children: np.ndarray
    values: np.ndarray
    gain: np.ndarray


def _packed(trees: Sequence[_Tree], prior: np.ndarray, prior_trees: float) -> Forest:
    """Put trees into one forest: first the inner nodes, tree after tree, then all leaves."""
    inner = [len(tree.column) for tree in trees]
    first_node = np.cumsum([0, *inner])
    first_leaf = first_node[-1] + np.cumsum([0, *(len(tree.values) for tree in trees)])

    def numbered(number: int, own: np.ndarray) -> np.ndarray:
        """Return the forest's numbers of a tree's own nodes and leaves."""
        leaf = first_leaf[number] - inner[number]
        numbers: np.ndarray = own + np.where(own < inner[number], first_node[number], leaf)
        return numbers

    column, threshold, children, values, gain = zip(*trees, strict=True)
    state = {
        "roots": np.concatenate([numbered(n, np.zeros(1)) for n in range(len(trees))]),
        "column": np.concatenate(column), "threshold": np.concatenate(threshold),
        "below": np.concatenate([numbered(n, own) for n, own in enumerate(children)]),
        "values": np.concatenate(values), "prior": prior, "gain": np.sum(gain, axis=0),
    }  # fmt: skip
    forest = Forest(
        trees=len(trees), nodes=len(state["column"]), leaves=len(state["values"]),
        columns=len(state["gain"]), outputs=len(prior), prior_trees=prior_trees,
    )  # fmt: skip
    forest.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return forest


def _rounded_down(threshold: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each float64: the same float32 values are at most both."""
    rounded = threshold.astype(np.float32)
    down = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > threshold, down, rounded)


def _loss(
    held_out: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray | None, classification: bool
) -> float | None:
    """Return the mean log loss or squared error of the rows that were held out, by weight."""
    weight = np.ones(len(target_N)) if weight_N is None else weight_N.astype(np.float64)
    known = ~np.isnan(held_out[:, 0]) & (weight > 0)
    if not known.any():
        return None
    values, target = held_out[known], target_N[known]
    if classification:
        losses = -values[np.arange(len(values)), target]
    else:
        losses = np.square(values[:, 0] - target)
    return float(np.average(losses, weights=weight[known]))
