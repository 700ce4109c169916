"""Boosted trees, grown on the rows that a network learns from.

scikit-learn's histogram gradient boosting (after LightGBM, Ke et al. 2017), or symmetric trees, grow one
ensemble for each fold, on the rows of the other folds, so that every row has an out-of-fold prediction, by
trees that were not fitted on it. All ensembles are kept: their mean is the prediction. `growth.py` grows
one ensemble with scikit-learn, `symmetric.py` one of symmetric trees; `packing.py` turns the ensembles into
tensors, `trees.py` runs them.

Letters: N rows, V values of a row (C codes, then D numbers), K outputs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sightline.build.growth import Growing, Growth
from sightline.build.packing import pack
from sightline.build.statistics import StatisticsOfRows
from sightline.build.symmetric import SymmetricGrowth, SymmetricOptions, in_groups
from sightline.build.trees import CODES, LEAVES_OF_A_TREE, Trees, padded
from sightline.errors import OptionError
from sightline.prepare.binning import bin_edges

FIRST_ROUNDS = 40
"""Boosting rounds before the held-out loss is first checked; they double between checks."""
ROUNDS_STEP = 5
"""The numbers of rounds that may be kept are multiples of this."""
WHOLE_ENSEMBLE_TIME = 1.5
"""Time of the folds' rounds together with those of the ensemble of all rows that may replace them,
relative to the folds' alone."""
STALE_SHARE = 0.7
"""Growth ends when the best number of rounds is at most this share of the rounds done."""
L2 = 1.0
"""L2 regularisation of the leaves' values. Without it, leaves whose
rows are already fitted can grow without bound."""
DIVERGED = 0.1
"""The ensemble of all rows is discarded if its training loss exceeds the held-out loss by more."""


@dataclass(frozen=True)
class FittedTrees:
    """Boosted trees, and how they were grown.

    Attributes:
        trees: The trees that are kept.
        held_out: float32 [N, K], each row's prediction by the ensemble that did not learn from it, in
            the unit of `Trees.forward`; NaN for rows that no ensemble holds out.
        iterations: How many boosting rounds were kept.
        history: Pairs of (rounds, held-out loss).
        seconds: How long it took.
        learning_rate: The learning rate of the boosting.
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
    symmetric: SymmetricOptions | None = None,
    statistics: bool = True,
    groups_N: np.ndarray | None = None,
    seed: int = 0,
    time_limit: float | None = None,
) -> FittedTrees:
    """Grow an ensemble of boosted trees for each fold, until the held-out loss stops falling.

    Args:
        numeric_ND, categorical_NC: Prepared rows, float32 and int32 codes in order of frequency.
        target_N: int64 class numbers, or scaled numbers.
        folds_N: Each row's fold, from 0; the ensemble of fold f grows on all rows of other folds.
            Rows of fold -1 are in every ensemble's training rows.
        classification, outputs: What is predicted; K classes, or 1.
        weight_N: The rows' weights; a row of weight 0 has no effect.
        learning_rate, leaves, min_rows, max_features: `learning_rate`, `max_leaf_nodes`,
            `min_samples_leaf` and `max_features` of scikit-learn's HistGradientBoosting.
        most_trees: The most trees (per class) of all folds' ensembles together; if they have more, one
            ensemble that is grown on all rows replaces them.
        symmetric: Grow symmetric trees in this way, with this `learning_rate`; None grows scikit-learn's.
        statistics: Whether trees see target statistics in place of a category of many values (`statistics.py`).
        groups_N: Each row's group, which the statistics keep whole; None without groups.
        iterations: The most boosting rounds.
        seed: Of scikit-learn's random numbers.
        time_limit: Seconds; as many rounds are grown as fit in, at least one. None for no limit.

    Raises:
        OptionError: leaves is below 2 or above 63, or the depth of symmetric trees above 5.
        InternalError: This version of scikit-learn stores its trees in a form that was misread.

    Example:
        >>> import numpy as np
        >>> from sightline.build.boosting import fit_trees
        >>> x = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
        >>> fitted = fit_trees(x, np.zeros((200, 0), np.int32), (x[:, 0] > 0).astype(np.int64),
        ...                    np.arange(200) % 2, classification=True, outputs=2)
        >>> bool(((fitted.held_out[:, 1] > np.log(0.5)) == (x[:, 0] > 0)).mean() > 0.95)
        True
    """
    if not 2 <= leaves <= LEAVES_OF_A_TREE:
        raise OptionError(
            f"leaves is {leaves}: a tree has 2 to {LEAVES_OF_A_TREE}.",
            f"Give a number from 2 to {LEAVES_OF_A_TREE}.",
        )
    if symmetric is not None and 2**symmetric.depth > LEAVES_OF_A_TREE:
        raise OptionError(
            f"The depth is {symmetric.depth}: a symmetric tree of {2**symmetric.depth} leaves, more than {LEAVES_OF_A_TREE}.",
            f"Give a depth of at most {LEAVES_OF_A_TREE.bit_length() - 1}.",
        )
    began = time.perf_counter()
    learnable = np.ones(len(target_N), bool) if weight_N is None else weight_N > 0
    described = StatisticsOfRows(
        categorical_NC if statistics else categorical_NC[:, :0], target_N, weight_N,
        classification=classification, outputs=outputs, groups_N=groups_N,
    )  # fmt: skip
    cuts = _cuts(numeric_ND[learnable])
    asked_NC = categorical_NC.copy()
    asked_NC[:, described.columns] = 0  # no tree asks for sets of their values
    codes_NV = coded(torch.from_numpy(numeric_ND), torch.from_numpy(asked_NC), cuts).numpy()
    of_growth: dict[Growing, tuple[np.ndarray, Tensor]] = {}

    def growth_of(learns: np.ndarray, fold: int) -> Growing:
        table, numbers_NW = described.of(learns, seed + fold + 1)
        own_cuts = _cuts(numbers_NW[learns])
        own_NV = np.concatenate([codes_NV, binned(torch.from_numpy(numbers_NW), own_cuts).numpy()], axis=1)  # fmt: skip
        growth: Growing
        if symmetric is not None:
            growth = SymmetricGrowth(
                own_NV, target_N, weight_N, learns, np.flatnonzero(folds_N == fold),
                categories=categorical_NC.shape[1], classification=classification, outputs=outputs,
                options=replace(symmetric, learning_rate=learning_rate, seed=seed + fold + 1),
            )  # fmt: skip
        else:
            growth = Growth(
                own_NV, target_N, weight_N, learns, np.flatnonzero(folds_N == fold),
                categories=categorical_NC.shape[1], classification=classification, outputs=outputs,
                options={
                    "learning_rate": learning_rate, "max_leaf_nodes": leaves, "max_features": max_features,
                    "min_samples_leaf": min_rows, "l2_regularization": L2, "random_state": seed + fold + 1,
                },
            )  # fmt: skip
        of_growth[growth] = table, own_cuts
        return growth

    growths = [growth_of(learnable & (folds_N != f), f) for f in range(int(folds_N.max()) + 1)]
    # Two threads that grow symmetric trees would wait for Python most of the time.
    workers = min(len(growths), os.cpu_count() or 1) if symmetric is None else 1
    history = _grow(growths, iterations, time_limit, began, workers)
    best, lowest = min(history, key=lambda pair: pair[1])
    shipped = growths
    if len(growths) > 1 and len(growths) * best > most_trees:
        whole = growth_of(learnable, -1)
        for grower in _growers([whole]):
            grower.grow(best)
        if whole.own_loss() <= lowest + DIVERGED:
            shipped = [whole]
    tables, own_cuts = zip(*(of_growth[growth] for growth in shipped), strict=True)
    trees = pack(
        shipped, best, [cuts, *own_cuts], categorical_NC.shape[1], classification, outputs,
        described.module(tables),
    )  # fmt: skip
    held_out = np.full((len(target_N), outputs), np.nan, np.float32)
    for growth in growths:
        held_out[growth.held] = growth.held_out_values(best)
    return FittedTrees(trees, held_out, best, history, time.perf_counter() - began, learning_rate)


class Grower(Protocol):
    """What grows one or more ensembles, on one thread, because others may grow at the same time."""

    def grow(self, rounds: int) -> None:
        """Grow to this many rounds."""


def _growers(growths: Sequence[Growing]) -> list[Grower]:
    """Return what grows some ensembles: each scikit-learn's grows by itself, symmetric ones grow together."""
    alone = [growth for growth in growths if isinstance(growth, Growth)]
    return [*alone, *in_groups(one for one in growths if isinstance(one, SymmetricGrowth))]


def _grow(
    growths: Sequence[Growing],
    iterations: int,
    time_limit: float | None,
    began: float,
    workers: int,
) -> list[tuple[int, float]]:
    """Grow all folds' ensembles to the same rounds until the held-out loss stops falling.

    Args:
        growths: The ensembles.
        iterations: The most rounds.
        time_limit: Seconds from `began` on, or None.
        began: When the clock started, by `time.perf_counter`.
        workers: How many growers work at the same time.

    Returns:
        Pairs of (rounds, held-out loss of all folds).
    """
    history: list[tuple[int, float]] = []
    done, goal = 0, FIRST_ROUNDS if time_limit is None else 1
    growers = _growers(growths)
    with ThreadPoolExecutor(workers) as pool:
        while True:
            goal = min(goal, iterations)
            list(pool.map(lambda one, rounds=goal: one.grow(rounds), growers))
            tried = {*range(done + ROUNDS_STEP - done % ROUNDS_STEP, goal, ROUNDS_STEP), goal}
            history += [(rounds, _loss(growths, rounds)) for rounds in sorted(tried)]
            done = goal
            best, _ = min(history, key=lambda pair: pair[1])
            goal = max(2 * done, FIRST_ROUNDS)
            if time_limit is not None:
                taken = time.perf_counter() - began
                goal = min(goal, int(done * time_limit / (taken * WHOLE_ENSEMBLE_TIME)))
            stale = done >= FIRST_ROUNDS and best <= STALE_SHARE * done
            if done >= iterations or goal <= done or stale:
                return history


def _cuts(numeric_ND: np.ndarray) -> Tensor:
    """Return the thresholds between the bins of each number, [D, most], padded with infinity."""
    columns = [bin_edges(column, CODES)[1:-1] for column in numeric_ND.T]
    return padded([
        cuts if len(cuts) < CODES else cuts[:: -(-len(cuts) // (CODES - 1))] for cuts in columns
    ])  # fmt: skip


def coded(numeric_BD: Tensor, categorical_BC: Tensor, cuts_DE: Tensor) -> Tensor:
    """Turn rows' categories and numbers into codes and bins, int32 [B, V].

    Categories beyond the 254 most frequent share one code.
    """
    codes = categorical_BC.clamp(max=CODES - 1).to(torch.int32)
    return torch.cat([codes, binned(numeric_BD, cuts_DE)], dim=1)


def binned(numeric_BD: Tensor, cuts_DE: Tensor) -> Tensor:
    """Turn rows' numbers into bins, int32 [B, D]."""
    if not numeric_BD.shape[1]:
        return numeric_BD.to(torch.int32)
    return torch.searchsorted(cuts_DE, numeric_BD.T.contiguous(), out_int32=True).T


def _loss(growths: Sequence[Growing], rounds: int) -> float:
    """Return the held-out loss over all folds: log loss, or squared error."""
    total = sum(growth.loss(rounds) for growth in growths)
    return float(total / max(sum(growth.held_weight for growth in growths), 1e-12))
