"""Fits a kernel model to the rows that a network learns from.

The landmarks, and the similarities of all rows to them, depend on no target, so the models of all folds share them. Least
squares is linear in them: the mean of the folds' models is one model, as small and as fast as each of them.

Letters: N rows, D numbers, C codes, M landmarks, K outputs, F folds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sightline.build.kernel import Kernel
from sightline.build.modes import threads_set
from sightline.build.standard import relative_weights, scales_of
from sightline.build.trees import CODES, map_in_threads
from sightline.errors import OptionError

BANDWIDTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""Widths of the kernel that are tried, relative to the median distance of the landmarks."""
RIDGES = (0.001, 0.01, 0.1, 1.0)
"""Strengths of the regularisation that are tried, in rows."""
SEARCH_LANDMARKS = 500
"""Width and regularisation are chosen with at most so many landmarks."""
FINER = 10.0
"""With all landmarks, a ridge weaker by this factor is tried too: more landmarks can tell rows better apart."""
JITTER = 1e-7
"""Added to the similarity of each landmark to itself, so that equal landmarks can be told apart by rounding."""
LEAST_WEIGHT = 1e-12
"""The least sum of row weights to divide by."""
SHARPNESSES = tuple(np.geomspace(0.25, 64, 33).tolist())
"""What the scores of classes may be multiplied by. One row's scores add up to 1."""
DRAWN = 4
"""Landmarks are the different ones among so many times as many rows, drawn at random."""
SEARCH_SHARE = 0.5
"""Share of a time limit that the search for bandwidth and ridge may take."""


@dataclass(frozen=True)
class FittedKernel:
    """A kernel model, and how it was fitted.

    Attributes:
        kernel: The mean of the folds' models.
        held_out: float32 [N, K], each row's prediction by the model that did not learn from it, in the unit of
            `Kernel.forward`; NaN for rows that no model holds out. For a fold, the other folds choose bandwidth, ridge and
            sharpness; with more landmarks than the search has, all folds together choose the bandwidth.
        held_out_loss: Its mean loss (log loss, or squared error), by weight.
        landmarks: M.
        bandwidth, ridge: Those that were chosen.
        history: What was tried with few landmarks: bandwidth, ridge and held-out loss. Its bandwidths, together with
            `landmarks`, make `fit_kernel` fit the same again.
        seconds: How long it took.
    """

    kernel: Kernel
    held_out: np.ndarray
    held_out_loss: float
    landmarks: int
    bandwidth: float
    ridge: float
    history: list[tuple[float, float, float]]
    seconds: float


def fit_kernel(
    numeric_ND: np.ndarray,
    categorical_NC: np.ndarray,
    target_N: np.ndarray,
    folds_N: np.ndarray,
    *,
    classification: bool,
    outputs: int,
    weight_N: np.ndarray | None = None,
    landmarks: int = 2_000,
    bandwidths: Sequence[float] = BANDWIDTHS,
    ridges: Sequence[float] = RIDGES,
    worth: float | None = None,
    seed: int = 0,
    time_limit: float | None = None,
) -> FittedKernel:
    """Fit a model for each fold on the rows of the other folds, and return their mean.

    Bandwidth and ridge with the lowest held-out loss are chosen with few landmarks, then all landmarks are used. The result
    depends on the seed and not on the number of threads.

    Args:
        numeric_ND, categorical_NC: Prepared rows, float32 and int32 codes in order of frequency; those beyond the 254 most
            frequent count as alike.
        target_N: int64 class numbers, or scaled numbers.
        folds_N: Each row's fold, from 0; the model of fold f learns from all rows of other folds. Rows of fold -1 are in
            every model's training rows.
        classification, outputs: What is predicted; K classes, or 1.
        weight_N: The rows' weights, of which only the relations count; a row of weight 0 has no effect.
        landmarks: The most landmarks, which are drawn from the rows without looking at their targets.
        bandwidths: Widths of the kernel to try, relative to the median distance of the landmarks.
        ridges: Strengths of the regularisation to try.
        worth: If the held-out loss with few landmarks is higher, the others are not used; None means that they are.
        seed: Decides the landmarks.
        time_limit: Seconds; fewer are tried, and fewer landmarks are used, if there is no time for all. None for no limit.

    Raises:
        OptionError: landmarks is below 1, or there is no fold.

    Example:
        >>> import numpy as np
        >>> from sightline.build.kernel_fit import fit_kernel
        >>> x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
        >>> inside = (np.hypot(*x.T) < 1).astype(np.int64)
        >>> fitted = fit_kernel(x, np.zeros((300, 0), np.int32), inside, np.arange(300) % 3, classification=True, outputs=2)
        >>> bool(((fitted.held_out[:, 1] > np.log(0.5)) == (inside == 1)).mean() > 0.95)
        True
    """
    began = time.perf_counter()
    if landmarks < 1:
        raise OptionError(f"landmarks is {landmarks}.", "Give a number from 1.")
    if folds_N.max(initial=-1) < 0:
        raise OptionError(
            "A kernel model is fitted in folds, and there are none.",
            "Give each row's fold, from 0.",
        )
    weight = relative_weights(weight_N, len(target_N))
    rows = _Rows(
        torch.from_numpy(numeric_ND), torch.from_numpy(categorical_NC), target_N, folds_N, weight, classification, outputs
    )  # fmt: skip
    drawn = _drawn(numeric_ND, categorical_NC, weight > 0, landmarks, seed)
    few = drawn[:SEARCH_LANDMARKS]
    threads = torch.get_num_threads()
    # One thread for each piece of work, so that the number of cores changes no bit.
    with threads_set(1), torch.no_grad():
        kernel = _empty_kernel(rows, few)
        median = _median_distance(kernel, rows, few)
        tried: list[_Solved] = []
        for bandwidth in bandwidths:
            before = time.perf_counter()
            kernel.width.fill_(bandwidth * median)
            tried += _solve(rows, kernel, few, bandwidth, ridges, threads)
            now = time.perf_counter()
            if time_limit is not None and 2 * now - before - began > SEARCH_SHARE * time_limit:
                break
        history = [(one.bandwidth, one.ridge, _chosen([one], rows).loss) for one in tried]
        (bandwidth, ridge, *_), _, lowest = _chosen(tried, rows)
        if worth is not None and lowest > worth:
            drawn = few
        if time_limit is not None:
            left = max(began + time_limit - time.perf_counter(), 0)
            # Of a bandwidth, most time goes with the square of the landmarks, some with their third power.
            drawn = drawn[: int(len(few) * (left / (now - before)) ** (1 / 3))]
        if len(drawn) > len(few):
            kernel = _empty_kernel(rows, drawn)
            finer = sorted({ridge, max(ridge / FINER, min(ridges))})
            kernel.width.fill_(bandwidth * median)
            tried = _solve(rows, kernel, drawn, bandwidth, finer, threads)
        best, sharpness, _ = _chosen(tried, rows)
        held_out, loss = _held_out(tried, rows)
    kernel.width.fill_(best.bandwidth * median)
    kernel.weights.copy_(best.weights)
    kernel.intercept.copy_(best.intercept)
    kernel.sharpness.fill_(sharpness)
    return FittedKernel(
        kernel, held_out.float().numpy(), loss, len(kernel.weights), best.bandwidth, best.ridge, history,
        time.perf_counter() - began,
    )  # fmt: skip


class _Rows(NamedTuple):
    """The rows that a kernel model learns from.

    Attributes:
        numeric, categorical, target, folds: As in `fit_kernel`.
        weight: float64 [N]; the mean of those above 0 is 1.
        classification, outputs: What is predicted.
    """

    numeric: Tensor
    categorical: Tensor
    target: np.ndarray
    folds: np.ndarray
    weight: np.ndarray
    classification: bool
    outputs: int

    def wanted(self) -> Tensor:
        """Return what least squares is to give: 1 for a row's class and 0 for others, or the number; float64 [N, K]."""
        target = torch.from_numpy(self.target)
        if self.classification:
            return torch.nn.functional.one_hot(target, self.outputs).double()
        return target.double()[:, None]


class _Solved(NamedTuple):
    """The folds' models with one bandwidth and ridge.

    Attributes:
        bandwidth, ridge: Width of the kernel, and strength of the regularisation.
        losses: The held-out losses of each fold's rows with each sharpness, by weight and added up, [S, F].
        scores: Each row's scores by the model that did not learn from it, [N, K]; NaN where there is none.
        weights, intercept: Of the mean model, as the buffers of `Kernel`.
    """

    bandwidth: float
    ridge: float
    losses: Tensor
    scores: Tensor
    weights: Tensor
    intercept: Tensor


class _Sums(NamedTuple):
    """What least squares needs of some rows, weighted: sums over the rows.

    Attributes:
        squares: Products of each two features, [M, M].
        products: Of the features and what is wanted, [M, K].
        features, wanted, weight: [M], [K], and a number.
    """

    squares: Tensor
    products: Tensor
    features: Tensor
    wanted: Tensor
    weight: Tensor


def _drawn(
    numeric_ND: np.ndarray, categorical_NC: np.ndarray, learnable: np.ndarray, most: int, seed: int
) -> np.ndarray:
    """Draw landmarks: the numbers of different rows, in an order that is random."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(learnable))[: DRAWN * most]
    codes = np.minimum(categorical_NC, CODES - 1)
    values = np.concatenate([numeric_ND, codes.astype(np.float32)], axis=1)[order]
    if not values.shape[1]:
        return order[:1]
    first = np.unique(values, axis=0, return_index=True)[1]
    drawn: np.ndarray = order[np.sort(first)[:most]]
    return drawn


def _empty_kernel(rows: _Rows, landmarks: np.ndarray) -> Kernel:
    """Return a kernel model with these rows as landmarks, whose weights are 0."""
    numbers, codes = rows.numeric.shape[1], rows.categorical.shape[1]
    kernel = Kernel(numbers=numbers, codes=codes, landmarks=len(landmarks), outputs=rows.outputs)
    scales = scales_of(rows.numeric[torch.from_numpy(rows.weight > 0)])
    kernel.center.copy_(scales.center)
    kernel.scale.copy_(scales.scale)
    kernel.landmark_numbers.copy_(rows.numeric[landmarks])
    kernel.landmark_codes.copy_(rows.categorical[landmarks].clamp(max=CODES - 1))
    return kernel


def _median_distance(kernel: Kernel, rows: _Rows, landmarks: np.ndarray) -> float:
    """Return the median distance of two landmarks; 1 if there are no two."""
    squares_MM = kernel.squares(rows.numeric[landmarks], rows.categorical[landmarks])
    squares = squares_MM[torch.ones_like(squares_MM, dtype=torch.bool).triu(diagonal=1)]
    return float(squares.median().sqrt()) if len(squares) and squares.median() > 0 else 1.0


def _solve(
    rows: _Rows,
    kernel: Kernel,
    landmarks: np.ndarray,
    bandwidth: float,
    ridges: Sequence[float],
    threads: int,
) -> list[_Solved]:
    """Fit the folds' models with each ridge, and return what they come to."""
    near_MM = kernel.similarities(rows.numeric[landmarks], rows.categorical[landmarks])
    wanted_NK, weight_N = rows.wanted(), torch.from_numpy(rows.weight)
    # Features whose squared weights are the model's squared norm (Williams and Seeger 2001).
    near_MM.diagonal().add_(JITTER)
    root_MM = torch.linalg.cholesky(near_MM)
    folds = [torch.from_numpy(rows.folds == fold) for fold in range(-1, int(rows.folds.max()) + 1)]

    def features_of(own: Tensor) -> Tensor:
        near = kernel.similarities(rows.numeric[own], rows.categorical[own])
        solved: Tensor = torch.linalg.solve_triangular(root_MM, near.T, upper=False)
        return solved.T.contiguous()

    def sums_of(features: Tensor, own: Tensor) -> _Sums:
        weighted = features * weight_N[own, None]
        return _Sums(
            features.T @ weighted, weighted.T @ wanted_NK[own], weighted.sum(dim=0),
            (wanted_NK[own] * weight_N[own, None]).sum(dim=0), weight_N[own].sum(),
        )  # fmt: skip

    features = map_in_threads(features_of, folds, threads)
    sums = map_in_threads(
        lambda pair: sums_of(*pair), list(zip(features, folds, strict=True)), threads
    )
    whole = _Sums(*(reduce(torch.add, kind) for kind in zip(*sums, strict=True)))

    def fit(fold: int) -> list[tuple[Tensor, Tensor]]:
        squares, products, means, wanted, mass = (
            all_rows - own for all_rows, own in zip(whole, sums[fold], strict=True)
        )
        intercept = wanted / mass.clamp(min=LEAST_WEIGHT)
        products = products - means[:, None] * intercept
        result = []
        for ridge in ridges:
            regularised = squares.clone()
            regularised.diagonal().add_(ridge)
            result.append(
                (torch.cholesky_solve(products, torch.linalg.cholesky(regularised)), intercept)
            )
        return result

    fitted = map_in_threads(fit, list(range(1, len(folds))), threads)
    return [
        _joined(rows, bandwidth, ridge, [of_fold[i] for of_fold in fitted], features[1:], folds[1:], root_MM)
        for i, ridge in enumerate(ridges)
    ]  # fmt: skip


def _joined(
    rows: _Rows, bandwidth: float, ridge: float, fitted: list[tuple[Tensor, Tensor]], features: list[Tensor],
    folds: list[Tensor], root_MM: Tensor,
) -> _Solved:  # fmt: skip
    """Put the folds' models together: their held-out scores and losses, and their mean."""
    scores_NK = torch.full((len(rows.target), rows.outputs), torch.nan, dtype=torch.float64)
    sums_SF = []
    for own, values, (weights, intercept) in zip(folds, features, fitted, strict=True):
        scores_NK[own] = values @ weights + intercept
        sums_SF.append(_losses(scores_NK[own], rows, own) @ torch.from_numpy(rows.weight)[own])
    mean = torch.stack([weights for weights, _ in fitted]).mean(dim=0)
    return _Solved(
        bandwidth, ridge, torch.stack(sums_SF, dim=1), scores_NK,
        torch.linalg.solve_triangular(root_MM.T, mean, upper=True),
        torch.stack([intercept for _, intercept in fitted]).mean(dim=0),
    )  # fmt: skip


def _losses(scores: Tensor, rows: _Rows, own: Tensor) -> Tensor:
    """Return the loss of each of some rows with each sharpness, [S, rows]; a number's squared error has no sharpness."""
    target = torch.from_numpy(rows.target)[own]
    if not rows.classification:
        return (scores[:, 0] - target).square()[None]
    given = scores.gather(1, target[:, None]).squeeze(1)
    return torch.stack([(x * scores).logsumexp(dim=1) - x * given for x in SHARPNESSES])


class _Choice(NamedTuple):
    """The best of the solutions and sharpnesses.

    Attributes:
        solved: The solution.
        sharpness: Of the logits; 1 for a number.
        loss: The held-out loss of the rows that decided.
    """

    solved: _Solved
    sharpness: float
    loss: float


def _chosen(tried: Sequence[_Solved], rows: _Rows, without: int | None = None) -> _Choice:
    """Choose by the held-out loss of all folds, or of all but one."""
    used = np.bincount(rows.folds[rows.folds >= 0], rows.weight[rows.folds >= 0])
    total = used.sum() - (0 if without is None else used[without])
    sums_TS = torch.stack([
        one.losses.sum(dim=1) - (0 if without is None else one.losses[:, without]) for one in tried
    ])  # fmt: skip
    number, sharp = divmod(int(sums_TS.argmin()), sums_TS.shape[1])
    sharpness = float(SHARPNESSES[sharp]) if rows.classification else 1.0
    return _Choice(tried[number], sharpness, float(sums_TS.min() / max(total, LEAST_WEIGHT)))


def _held_out(tried: Sequence[_Solved], rows: _Rows) -> tuple[Tensor, float]:
    """Return each row's prediction by the model that did not learn from it, [N, K], and their loss.

    For a fold the other folds choose among what was tried: the best of many choices looks better than it is on the rows that
    chose it. (Their models did learn from the fold's targets.)
    """
    values_NK = torch.full((len(rows.target), rows.outputs), torch.nan, dtype=torch.float64)
    folds = range(int(rows.folds.max()) + 1)
    total = 0.0
    for fold in folds:
        choice = _chosen(tried, rows, fold if len(folds) > 1 else None)
        own = torch.from_numpy(rows.folds == fold)
        scores = choice.solved.scores[own]
        values_NK[own] = (
            (choice.sharpness * scores).log_softmax(dim=1) if rows.classification else scores
        )
        losses = choice.solved.losses[:, fold]
        total += float(losses[SHARPNESSES.index(choice.sharpness) if rows.classification else 0])
    weight = rows.weight[rows.folds >= 0].sum()
    return values_NK, total / max(weight, LEAST_WEIGHT)
