"""Fits a nearest-neighbours model with a learned distance to the rows that a network learns from.

Each fold has a network of its own, which learns from the rows of the other folds: a row's prediction is the mean of other
rows' targets, the nearer the more, and the gradient of its loss moves the places of all of them. The folds learn in
threads of their own, so that the number of cores changes no bit.

Letters: N rows, D numbers, C codes, F folds, B rows of a batch, R references, E coordinates, H hidden units, K outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sightline.build.modes import threads_set
from sightline.build.neighbors import (
    COORDINATES,
    HIDDEN,
    Embedding,
    Neighbors,
    log_shares,
    mean_of_neighbors,
)
from sightline.build.standard import relative_weights, scales_of
from sightline.build.trees import CODES, map_in_threads
from sightline.errors import OptionError

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
DROPOUT = 0.1
LARGEST_BATCH, SMALLEST_BATCH = 256, 32
BATCHES = 8
"""An epoch has at least so many batches, on few rows smaller ones."""
CANDIDATES = 1_000
"""A row of a batch is compared with the others of the batch, and with so many more."""
IMPROVEMENT = 1e-3
"""The held-out loss has to fall by this share, or the epoch counts as one without improvement."""
CHECKED_EPOCH = 2
"""After so many epochs it is asked whether the model is worth going on with."""
LOSS_ROWS = 1_000
"""So many held-out rows at a time are compared with all references."""
LEAST_PULL = -1e9
"""The logarithm of the weight of a reference that does not count; a file holds no infinity."""
LEAST_WEIGHT = 1e-12
"""The least sum of row weights to divide by, and the least weight whose logarithm is taken."""

Worth = Callable[[np.ndarray], bool]
"""Whether held-out predictions [N, K] are worth going on for; NaN for rows that no fold holds out."""


@dataclass(frozen=True)
class FittedNeighbors:
    """A nearest-neighbours model, and how it was fitted.

    Attributes:
        neighbors: The model.
        held_out: float32 [N, K], each row's prediction by the fold that did not learn from it, in the unit of
            `Neighbors.forward`; NaN for rows that no fold holds out. All rows together choose the epoch.
        held_out_loss: Its mean loss (log loss, or squared error), by weight.
        references: The most training rows with which a fold compares a row.
        best_epoch: The epoch whose weights are kept, from 1.
        history: Of each epoch its number, and the mean loss in training and of held-out rows.
        stopped: Why training ended.
        seconds: How long it took.
    """

    neighbors: Neighbors
    held_out: np.ndarray
    held_out_loss: float
    references: int
    best_epoch: int
    history: list[tuple[int, float, float]]
    stopped: str
    seconds: float


def fit_neighbors(
    numeric_ND: np.ndarray,
    categorical_NC: np.ndarray,
    target_N: np.ndarray,
    folds_N: np.ndarray,
    *,
    classification: bool,
    outputs: int,
    weight_N: np.ndarray | None = None,
    references: int = 2_000,
    epochs: int = 40,
    patience: int | None = 6,
    worth: Worth | None = None,
    seed: int = 0,
    time_limit: float | None = None,
) -> FittedNeighbors:
    """Learn a distance for each fold from the rows of the other folds, and keep some of these rows to compare with.

    The epoch with the lowest held-out loss of all folds counts. The result depends on the seed and not on the number of threads.

    Args:
        numeric_ND, categorical_NC: Prepared rows, float32 and int32 codes in order of frequency; those beyond the 254 most
            frequent count as alike.
        target_N: int64 class numbers, or scaled numbers.
        folds_N: Each row's fold, from 0; fold f learns from all rows of other folds. Rows of fold -1 are in every fold's
            training rows.
        classification, outputs: What is predicted; K classes, or 1.
        weight_N: The rows' weights, of which only the relations count; a row of weight 0 has no effect.
        references: The most rows that a fold keeps, drawn without looking at their targets.
        epochs: The most epochs.
        patience: Training ends after so many epochs in which the held-out loss does not fall; None means never.
        worth: Training ends after epoch 2 if this says no of the held-out predictions; None does not ask.
        seed: Decides first weights, batches and references.
        time_limit: Seconds; training ends when another epoch would take longer. None for no limit.

    Raises:
        OptionError: references or epochs is below 1, or there is no fold.

    Example:
        >>> import numpy as np
        >>> from sightline.build.neighbors_fit import fit_neighbors
        >>> x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
        >>> inside = (np.hypot(*x.T) < 1).astype(np.int64)
        >>> fitted = fit_neighbors(x, np.zeros((300, 0), np.int32), inside, np.arange(300) % 3, classification=True, outputs=2, epochs=8)
        >>> bool(((fitted.held_out[:, 1] > np.log(0.5)) == (inside == 1)).mean() > 0.9)
        True
    """
    began = time.perf_counter()
    for name, value in (("references", references), ("epochs", epochs)):
        if value < 1:
            raise OptionError(f"{name} is {value}.", "Give a number from 1.")
    if folds_N.max(initial=-1) < 0:
        raise OptionError(
            "A nearest-neighbours model is fitted in folds, and there are none.",
            "Give each row's fold, from 0.",
        )
    weight_N = relative_weights(weight_N, len(target_N))
    if not weight_N.any():
        weight_N = np.ones(len(target_N))
    learns = [_learns(weight_N, folds_N == fold) for fold in range(int(folds_N.max()) + 1)]
    history: list[tuple[int, float, float]] = []
    lowest, since, stopped = float("inf"), 0, f"all {epochs} epochs done"
    threads = torch.get_num_threads()
    # Each fold computes on one thread, so that the number of cores changes no bit.
    with threads_set(1), torch.no_grad():
        neighbors, rows = _prepared(
            torch.from_numpy(numeric_ND), torch.from_numpy(categorical_NC), torch.from_numpy(target_N), weight_N, learns,
            references=references, outputs=outputs,
        )  # fmt: skip
        folds = [
            _Fold(rows, own, np.flatnonzero(folds_N == fold), neighbors, seed + fold)
            for fold, own in enumerate(learns)
        ]
        for epoch in range(1, epochs + 1):
            losses = map_in_threads(_Fold.train_epoch, folds, threads)
            values = torch.full((len(target_N), outputs), torch.nan)
            for fold, held in zip(folds, map_in_threads(_Fold.held_out, folds, threads), strict=True):  # fmt: skip
                values[fold.held] = held
            loss = _loss(rows, values, np.flatnonzero((folds_N >= 0) & (weight_N > 0)))
            history.append((epoch, float(np.mean(losses)), loss))
            since = 0 if loss < lowest * (1 - IMPROVEMENT) else since + 1
            if epoch == 1 or loss < lowest:
                lowest, best_epoch, best = loss, epoch, values
                for fold in folds:
                    fold.keep()
            if worth is not None and epoch == CHECKED_EPOCH and not worth(values.numpy()):
                stopped = f"no help to the other parts after epoch {CHECKED_EPOCH}"
                break
            if patience is not None and since == patience:
                stopped = f"the held-out loss has not fallen for {patience} epochs"
                break
            taken = time.perf_counter() - began
            if time_limit is not None and taken * (1 + 1 / epoch) > time_limit:
                stopped = "time limit"
                break
        for number, fold in enumerate(folds):
            fold.fill(neighbors, number)
    return FittedNeighbors(
        neighbors, best.numpy(), lowest, neighbors.places.shape[1], best_epoch, history, stopped,
        time.perf_counter() - began,
    )  # fmt: skip


class _Rows(NamedTuple):
    """The rows that a model learns from.

    Attributes:
        x, cells: Their inputs, from `Neighbors.inputs`.
        target: Class numbers, or scaled numbers.
        truth: 1 for a row's class and 0 for others, or its number: float32 [N, K].
        weight: float32 [N]; the mean of those above 0 is 1.
    """

    x: Tensor
    cells: Tensor
    target: Tensor
    truth: Tensor
    weight: Tensor

    def losses(self, values: Tensor, own: Tensor) -> Tensor:
        """Return the loss of log-probabilities or numbers of some rows."""
        if self.truth.shape[1] > 1:
            return -values.gather(1, self.target[own][:, None])[:, 0]
        return (values - self.truth[own])[:, 0].square()


class _Fold:
    """The network of one fold while it learns.

    Args:
        rows: All rows.
        learns: The numbers of those that it learns from.
        held: The numbers of those that it holds out.
        neighbors: The model that it will be a part of.
        seed: Of its random numbers.
    """

    def __init__(
        self, rows: _Rows, learns: np.ndarray, held: np.ndarray, neighbors: Neighbors, seed: int
    ) -> None:
        self.rows, self.learns, self.held = rows, torch.from_numpy(learns), torch.from_numpy(held)
        self._random = torch.Generator().manual_seed(seed)
        self._references = self._shuffled()[: neighbors.places.shape[1]]
        columns = len(neighbors.center) + len(neighbors.starts) - 1
        sizes = {
            "first": columns**-0.5 if columns else 0.0, "cells": columns**-0.5 if columns else 0.0,
            "up": (2 / COORDINATES) ** 0.5, "down": 0.3 * HIDDEN**-0.5,
        }  # fmt: skip
        shapes = Embedding.shapes(len(neighbors.center), neighbors.cells.shape[1])
        tensors = {
            name: torch.randn(shape, generator=self._random) * sizes.get(name, 0.0)
            for name, shape in shapes.items()
        }
        # A value that no row has says nothing.
        seen = torch.bincount(rows.cells[self.learns].ravel(), minlength=neighbors.cells.shape[1])
        tensors["cells"][seen == 0] = 0.0
        self._embedding = Embedding(**{name: x.requires_grad_() for name, x in tensors.items()})
        self._optimizer = torch.optim.AdamW(
            self._embedding, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        self.keep()

    def _shuffled(self) -> Tensor:
        return self.learns[torch.randperm(len(self.learns), generator=self._random)]

    def train_epoch(self) -> float:
        """Learn from all rows once; return the mean loss."""
        order, rows = self._shuffled(), self.rows
        size = min(max(len(order) // BATCHES, SMALLEST_BATCH), LARGEST_BATCH)
        losses = []
        for start in range(0, len(order), size):
            own = order[start : start + size]
            others = torch.cat([order[start + size :], order[:start]])[:CANDIDATES]
            together = torch.cat([own, others])
            if len(together) < 2:
                break  # it has no neighbours
            pulls = _pulls(rows.weight[together]).repeat(len(own), 1)
            pulls[:, : len(own)].fill_diagonal_(-torch.inf)  # no row is its own neighbour
            with torch.enable_grad():
                places = self._embedding.place(
                    rows.x[together], rows.cells[together], self._dropout(len(together))
                )
                means = mean_of_neighbors(places[: len(own)], places, pulls, rows.truth[together])
                values = log_shares(means) if means.shape[1] > 1 else means
                weight = rows.weight[own]
                loss = (rows.losses(values, own) * weight).sum() / weight.sum().clamp(
                    min=LEAST_WEIGHT
                )
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses)) if losses else float("nan")

    def _dropout(self, rows: int) -> Tensor:
        kept = torch.rand(rows, HIDDEN, generator=self._random) >= DROPOUT
        return kept / (1 - DROPOUT)

    def held_out(self) -> Tensor:
        """Return the predictions of the rows that it holds out, [held-out rows, K]."""
        places, pulls = self._placed(self._embedding)
        truth, means = self.rows.truth[self._references], []
        for some in torch.split(self.held, LOSS_ROWS):
            own = self._embedding.place(self.rows.x[some], self.rows.cells[some])
            means.append(mean_of_neighbors(own, places, pulls, truth))
        values = torch.cat(means) if means else torch.zeros(0, truth.shape[1])
        return log_shares(values) if values.shape[1] > 1 else values

    def _placed(self, embedding: Embedding) -> tuple[Tensor, Tensor]:
        """Return the references' places [R, E], and the logarithms of their weights [1, R]."""
        own = self._references
        places = embedding.place(self.rows.x[own], self.rows.cells[own])
        return places, _pulls(self.rows.weight[own])[None]

    def keep(self) -> None:
        """Keep the present weights."""
        self._kept = Embedding(*(tensor.detach().clone() for tensor in self._embedding))

    def fill(self, neighbors: Neighbors, fold: int) -> None:
        """Write the kept weights and the references into a model; if others have more references, pad with ones that pull nothing."""
        for name, tensor in self._kept._asdict().items():
            getattr(neighbors, name)[fold] = tensor
        places, pulls = self._placed(self._kept)
        count = len(places)
        neighbors.places[fold, :count] = places
        neighbors.pulls[fold] = LEAST_PULL
        neighbors.pulls[fold, :count] = pulls[0]
        neighbors.targets[fold, :count] = self.rows.target[self._references].float()


def _pulls(weight: Tensor) -> Tensor:
    """Return the logarithms of weights."""
    return weight.clamp(min=LEAST_WEIGHT).log()


def _learns(weight_N: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the numbers of the rows that a fold learns from: those of weight above 0, unless there are none."""
    own = np.flatnonzero(~held & (weight_N > 0))
    return own if len(own) else np.flatnonzero(~held)


def _prepared(
    numeric_ND: Tensor, categorical_NC: Tensor, target_N: Tensor, weight_N: np.ndarray, learns: list[np.ndarray],
    *, references: int, outputs: int,
) -> tuple[Neighbors, _Rows]:  # fmt: skip
    """Return a model that knows how numbers vary and which values categories have, and no more; and all rows as it sees them."""
    learned = np.zeros(len(weight_N), bool)
    for own in learns:
        learned[own] = True
    some = torch.from_numpy(np.flatnonzero(learned))
    sizes = categorical_NC[some].clamp(max=CODES - 1).amax(dim=0) + 1
    neighbors = Neighbors(
        numbers=numeric_ND.shape[1], codes=categorical_NC.shape[1], cells=int(sizes.sum()), folds=len(learns),
        references=min(max(map(len, learns)), references), outputs=outputs,
    )  # fmt: skip
    scales = scales_of(numeric_ND[some])
    neighbors.center.copy_(scales.center)
    neighbors.scale.copy_(scales.scale)
    neighbors.starts[1:] = sizes.cumsum(dim=0)
    x, cells = neighbors.inputs(numeric_ND, categorical_NC)
    truth = one_hot(target_N, outputs) if outputs > 1 else target_N[:, None]
    weight = torch.from_numpy(weight_N).float()
    return neighbors, _Rows(x.float(), cells, target_N, truth.float(), weight)


def _loss(rows: _Rows, values: Tensor, own: np.ndarray) -> float:
    """Return the mean loss of some rows that folds hold out, by weight; infinity if it is not a number."""
    some = torch.from_numpy(own)
    weight = rows.weight[some].double()
    total = (rows.losses(values[some], some).double() * weight).sum()
    loss = float(total / weight.sum().clamp(min=LEAST_WEIGHT))
    return loss if np.isfinite(loss) else float("inf")
