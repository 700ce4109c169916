"""Target statistics: what the training rows of each category of many values say of the target.

A tree that asks for sets of hundreds of categories finds sets that fit its training rows by luck. So each
category of many values is described by two kinds of numbers: the mean target of its training rows, shrunk
towards the mean of all rows where there are few (Micci-Barreca 2001), and how many rows it has. A row that trees
learn from takes part in its own category's mean, which would give its target away: its mean is computed
from other rows, those of the other inner folds, which keep groups whole. Rows that trees do not learn from get the mean of all
rows that they do.

Letters: N rows, C codes, S categories with statistics, K outputs, W numbers that describe a category (a mean
per class, or one, then the logarithm of the rows), M means, F ensembles, I inner folds, E cells (a cell is one value of
one category).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

MANY_VALUES = 30
"""Categories with more values than this are described by statistics; trees ask for sets of the values of others."""
MOST_CLASSES = 10
"""With more classes there are no statistics: each would add a mean per class."""
PRIOR_ROWS = 10.0
"""How many rows the mean target of all rows counts as in the mean of a category."""
INNER_FOLDS = 5
"""A training row's means are those of the rows in the other inner folds."""


class TargetStatistics(nn.Module):
    """Numbers that describe the categories of many values, as tables, one set of tables for each ensemble.

    Args:
        ensembles: F.
        columns: S.
        cells: E; each category has one for every value, and one for values beyond.
        width: W.

    Shapes: int32 [B, C] -> float32 [B, F * S * W].
    """

    columns: Tensor
    starts: Tensor
    values: Tensor

    def __init__(self, *, ensembles: int, columns: int, cells: int, width: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.zeros(columns, dtype=torch.int64))
        self.register_buffer("starts", torch.zeros(columns + 1, dtype=torch.int64))
        self.register_buffer("values", torch.zeros(ensembles, cells, width))

    def forward(self, codes_BC: Tensor) -> Tensor:
        """Look up the numbers of each row's categories; of ensemble 0 first."""
        starts, ends = self.starts[:-1], self.starts[1:]
        cells_BS = codes_BC.index_select(1, self.columns).long() + starts
        values_FBSW = self.values[:, torch.minimum(cells_BS, ends - 1)]
        return values_FBSW.transpose(0, 1).flatten(start_dim=1)

    def config(self) -> dict[str, int]:
        """Return the arguments of an empty copy."""
        ensembles, cells, width = self.values.shape
        return {
            "ensembles": ensembles, "columns": len(self.columns), "cells": cells, "width": width,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an empty copy from `config`."""
        return cls(**config)

    def described(self) -> list[int]:
        """Return the number of the category behind each number: [F * S * W]."""
        ensembles, _, width = self.values.shape
        numbers: list[int] = self.columns.repeat_interleave(width).repeat(ensembles).tolist()
        return numbers


class StatisticsOfRows:
    """Which categories of some rows get statistics, and the statistics by a part of the rows.

    Args:
        codes_NC: The rows' categories: 0 for missing, 1 for unknown, then the known values.
        target_N: int64 class numbers, or numbers.
        weight_N: The rows' weights, relative to each other; a row of weight 0 has no effect.
        classification, outputs: What is predicted.
        groups_N: Each row's group: the means of a row come from other groups. None means that each row is one.

    Attributes:
        columns: The numbers of the categories that get statistics.

    Example:
        >>> import numpy as np
        >>> from sightline.build.statistics import StatisticsOfRows
        >>> codes = np.arange(4000)[:, None] % 100
        >>> rows = StatisticsOfRows(codes, codes[:, 0] % 2, None, classification=True, outputs=2)
        >>> rows.columns
        [0]
        >>> tables, numbers = rows.of(np.ones(4000, bool), seed=0)
        >>> numbers.shape, bool((numbers[codes[:, 0] % 2 == 1, 0] > 0.5).all())
        ((4000, 2), True)
    """

    def __init__(
        self, codes_NC: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray | None, *,
        classification: bool, outputs: int, groups_N: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        weight = np.ones(len(target_N)) if weight_N is None else weight_N.astype(np.float64)
        # A row of mean weight counts as one, whatever the unit of the weights.
        self.weight_N = weight / max(weight[weight > 0].mean(), 1e-12) if weight.any() else weight
        self.groups_N = np.arange(len(target_N)) if groups_N is None else groups_N
        few = outputs <= MOST_CLASSES
        learnable = codes_NC[self.weight_N > 0]
        self.columns = [
            column
            for column in range(codes_NC.shape[1])
            if few and len(np.unique(learnable[:, column])) > MANY_VALUES
        ]
        self._codes = [codes_NC[:, column].astype(np.int64) for column in self.columns]
        self._sizes = [int(codes.max()) + 2 for codes in self._codes]
        if not classification:
            self._truth_NM = target_N[:, None].astype(np.float64)
        elif outputs == 2:
            self._truth_NM = (target_N[:, None] == 1).astype(np.float64)
        else:
            self._truth_NM = (target_N[:, None] == np.arange(outputs)).astype(np.float64)

    @property
    def width(self) -> int:
        """W."""
        return len(self._truth_NM.T) + 1

    def of(self, learns: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the statistics by the rows that an ensemble learns from.

        Args:
            learns: bool [N], these rows.
            seed: Of the inner folds.

        Returns:
            The tables, float32 [E, W], and the numbers of all N rows, float32 [N, S * W].
        """
        weight_N = np.where(learns, self.weight_N, 0.0)
        groups = int(self.groups_N.max(initial=-1)) + 1
        inner_N = (np.random.default_rng(seed).permutation(groups) % INNER_FOLDS)[self.groups_N]
        tables, numbers = [], []
        for codes, size in zip(self._codes, self._sizes, strict=True):
            rows_IE, sums_IEM = self._sums(inner_N * size + codes, weight_N, size)
            rows_E, sums_EM = rows_IE.sum(axis=0), sums_IEM.sum(axis=0)
            means_EM = _shrunk(rows_E, sums_EM)
            table = np.concatenate([means_EM, np.log1p(rows_E)[:, None]], axis=1)
            own = table[codes]
            outside_IEM = _shrunk(rows_E - rows_IE, sums_EM - sums_IEM)
            own[learns, :-1] = outside_IEM[inner_N[learns], codes[learns]]
            tables.append(table)
            numbers.append(own)
        joined = np.concatenate(tables) if tables else np.zeros((0, self.width))
        rows_N = np.concatenate(numbers, axis=1) if numbers else np.zeros((len(learns), 0))
        return joined.astype(np.float32), rows_N.astype(np.float32)

    def _sums(
        self, cells_N: np.ndarray, weight_N: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add up rows and targets by inner fold and value of a category: [I, E] and [I, E, M]."""
        shape = INNER_FOLDS, size
        rows = np.bincount(cells_N, weight_N, INNER_FOLDS * size).reshape(shape)
        sums = [
            np.bincount(cells_N, weight_N * truth, INNER_FOLDS * size).reshape(shape)
            for truth in self._truth_NM.T
        ]
        return rows, np.stack(sums, axis=-1)

    def module(self, tables: Sequence[np.ndarray]) -> TargetStatistics | None:
        """Return the module that looks the numbers up, from the tables of each ensemble; None without categories."""
        if not self.columns:
            return None
        values = torch.from_numpy(np.stack(tables))
        made = TargetStatistics(
            ensembles=len(tables),
            columns=len(self.columns),
            cells=values.shape[1],
            width=self.width,
        )
        made.load_state_dict({
            "columns": torch.tensor(self.columns), "values": values,
            "starts": torch.tensor(np.cumsum([0, *self._sizes])),
        })  # fmt: skip
        return made


def _shrunk(rows_E: np.ndarray, sums_EM: np.ndarray) -> np.ndarray:
    """Return the mean target of each value of a category, shrunk towards the mean of all rows: [..., E, M]."""
    prior = sums_EM.sum(axis=-2, keepdims=True) / np.maximum(rows_E.sum(axis=-1), 1e-12)[..., None, None]  # fmt: skip
    means: np.ndarray = (sums_EM + PRIOR_ROWS * prior) / (rows_E + PRIOR_ROWS)[..., None]
    return means
