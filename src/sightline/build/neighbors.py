"""A nearest-neighbours model with a learned distance as tensors, run by PyTorch. `neighbors_fit.py` fits it.

Letters: B rows, D numbers, C codes, F folds, R training rows that a fold refers to, E coordinates, H hidden units,
K outputs, Z cells (one for each value of each category).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.build.restore import damaged, restored
from sightline.build.standard import standardised
from sightline.build.trees import CHUNK_VALUES, FEWEST_CHUNK_ROWS, map_in_threads

COORDINATES = 64
"""E: a row's place in the space where distances are measured has so many coordinates."""
HIDDEN = 128
"""H: hidden units of the layer that bends this space."""
FLAT = 1.0
"""Added to a squared distance before its root, which is steep near 0: rounding would count there."""
LEAST_SHARE = 1e-3
"""So much of a probability is divided equally among the classes: neighbours may lack one."""


class Embedding(NamedTuple):
    """What places a row for one fold.

    Attributes:
        first: Of the numbers, [D, E].
        cells: Of each value of each category, [Z, E].
        bias: [E].
        up, up_bias: Of the hidden layer, [E, H] and [H].
        down: From the hidden layer, [H, E].
        stretch: By what all coordinates are multiplied, as its logarithm: [1].
    """

    first: Tensor
    cells: Tensor
    bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    stretch: Tensor

    @staticmethod
    def shapes(numbers: int, cells: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each of its tensors."""
        return {
            "first": (numbers, COORDINATES), "cells": (cells, COORDINATES), "bias": (COORDINATES,),
            "up": (COORDINATES, HIDDEN), "up_bias": (HIDDEN,), "down": (HIDDEN, COORDINATES), "stretch": (1,),
        }  # fmt: skip

    def place(self, x_BD: Tensor, cells_BC: Tensor, dropout: Tensor | None = None) -> Tensor:
        """Return the rows' places, [B, E].

        Args:
            x_BD: Standardised numbers.
            cells_BC: The cell of each category's value.
            dropout: What the hidden units are multiplied by, [B, H]; None leaves them as they are.
        """
        z_BE = torch.addmm(self.bias, x_BD, self.first)
        if cells_BC.shape[1]:
            z_BE = z_BE + F.embedding_bag(cells_BC, self.cells, mode="sum")
        hidden_BH = torch.addmm(self.up_bias, F.layer_norm(z_BE, (COORDINATES,)), self.up).relu()
        if dropout is not None:
            hidden_BH = hidden_BH * dropout
        return torch.addmm(z_BE, hidden_BH, self.down) * self.stretch.exp()

    def double(self) -> Embedding:
        """Return it in float64."""
        return Embedding(*(tensor.double() for tensor in self))


def mean_of_neighbors(z_BE: Tensor, places_RE: Tensor, pull_BR: Tensor, truth_RK: Tensor) -> Tensor:
    """Return the mean of what references are, the nearer the more: float32 [B, K].

    Args:
        z_BE, places_RE: Places of rows and of references.
        pull_BR: The logarithm of the references' weights, [B, R] or [1, R]; minus infinity leaves one out.
        truth_RK: What the references are: 1 for their class and 0 for others, or their number.
    """
    squares_BR = torch.addmm(places_RE.square().sum(dim=1) + FLAT, z_BE, places_RE.T, alpha=-2)
    squares_BR += z_BE.square().sum(dim=1, keepdim=True)
    distance_BR = squares_BR.float().clamp(min=FLAT).sqrt()  # less is rounding
    return (pull_BR - distance_BR).softmax(dim=1) @ truth_RK


def log_shares(shares_BK: Tensor) -> Tensor:
    """Return the logarithms of probabilities, of which none is 0 any more."""
    return (shares_BK * (1 - LEAST_SHARE) + LEAST_SHARE / shares_BK.shape[1]).log()


class Neighbors(nn.Module):
    """Each fold's mean of the targets of training rows, its references, the nearer the more; buffers without parameters.

    A network of one hidden layer places rows, and the weight of a reference is exp(-d), where d is the distance of the two
    places. The network has learned distances by which rows of like targets are near. The mean over the folds is the prediction.

    Places and squared distances are computed in float64: the square of a small distance is the difference of large numbers.

    Args:
        numbers, codes, cells: D, C and Z.
        folds, references: F and R.
        outputs: K; 1 for regression.

    Shapes: float32 [B, D] and int32 [B, C] -> float32 log-probabilities [B, K], or scaled numbers [B, 1].

    Sources:
        Goldberger, Roweis, Hinton, Salakhutdinov 2004, "Neighbourhood components analysis"; Ye, Yin, Zhan, Chao 2025, "Revisiting
        nearest neighbor for tabular data" (ModernNCA).

    Example:
        >>> import torch
        >>> from sightline.build.neighbors import Neighbors
        >>> neighbors = Neighbors(numbers=1, codes=0, cells=0, folds=1, references=2, outputs=1)
        >>> _ = neighbors.load_state_dict({**neighbors.state_dict(), "targets": torch.tensor([[1.0, 4.0]])})
        >>> neighbors(torch.zeros(1, 1), torch.zeros(1, 0, dtype=torch.int32))  # both are equally near
        tensor([[2.5000]])
    """

    center: Tensor
    scale: Tensor
    starts: Tensor
    cells: Tensor
    places: Tensor
    targets: Tensor
    pulls: Tensor

    def __init__(
        self, *, numbers: int, codes: int, cells: int, folds: int, references: int, outputs: int
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("center", torch.zeros(numbers, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(numbers, dtype=torch.float64))
        self.register_buffer("starts", torch.zeros(codes + 1, dtype=torch.int64))
        for name, shape in Embedding.shapes(numbers, cells).items():
            self.register_buffer(name, torch.zeros(folds, *shape))
        self.register_buffer("places", torch.zeros(folds, references, COORDINATES))
        self.register_buffer("targets", torch.zeros(folds, references))
        self.register_buffer("pulls", torch.zeros(folds, references))

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return log-probabilities, or scaled numbers."""
        folds = [
            (self.embedding(fold).double(), self.places[fold].double(), self.pulls[fold][None], self.truth(fold))
            for fold in range(len(self.places))
        ]  # fmt: skip
        chunk = max(CHUNK_VALUES // max(self.places.shape[1], 1), FEWEST_CHUNK_ROWS)
        chunks = [slice(start, start + chunk) for start in range(0, max(len(numeric_BD), 1), chunk)]

        def run(rows: slice) -> Tensor:
            x_BD, cells_BC = self.inputs(numeric_BD[rows], categorical_BC[rows])
            means = [
                mean_of_neighbors(embedding.place(x_BD, cells_BC), places, pulls, truth)
                for embedding, places, pulls, truth in folds
            ]
            return torch.stack(means).mean(dim=0)

        values_BK = torch.cat(map_in_threads(run, chunks, torch.get_num_threads()))
        return values_BK if self.outputs == 1 else log_shares(values_BK)

    def inputs(self, numeric_BD: Tensor, categorical_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised numbers, float64, and the cells of categories; values beyond those of training rows share the last."""
        x_BD = standardised(numeric_BD, self.center, self.scale)
        starts, ends = self.starts[:-1], self.starts[1:]
        return x_BD, torch.minimum(categorical_BC.long() + starts, ends - 1)

    def embedding(self, fold: int) -> Embedding:
        """Return what places rows for a fold."""
        return Embedding(*(getattr(self, name)[fold] for name in Embedding._fields))

    def truth(self, fold: int) -> Tensor:
        """Return what a fold's references are, [R, K]."""
        targets_R = self.targets[fold]
        if self.outputs == 1:
            return targets_R[:, None]
        return F.one_hot(targets_R.long(), self.outputs).float()

    def config(self) -> dict[str, Any]:
        """Return the arguments of an empty copy; the buffers hold the rest."""
        folds, references, _ = self.places.shape
        return {
            "numbers": len(self.center), "codes": len(self.starts) - 1, "cells": self.cells.shape[1],
            "folds": folds, "references": references, "outputs": self.outputs,
        }  # fmt: skip

    @classmethod
    def restored(
        cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str | Path
    ) -> Self:
        """Make a model of what a file holds, whatever it holds.

        Args:
            config: From `config`.
            tensors: From `state_dict`.
            source: The file, for the error.

        Raises:
            BundleError: The tensors have other sizes than the config says, or are not finite, there is no fold, reference or
                output, a scale is not above 0, or a category has no cells or a reference no class.
        """
        name = "nearest-neighbours model"
        for setting in ("folds", "references", "outputs"):
            if type(config[setting]) is not int or config[setting] < 1:
                raise damaged(source, name, f"{setting} is {config[setting]!r}")
        made = restored(lambda: cls(**config), tensors, source, name)
        if not bool((made.scale > 0).all()):
            raise damaged(source, name, "a scale is not above 0")
        starts = made.starts
        if starts[0] != 0 or starts[-1] != made.cells.shape[1] or bool((starts.diff() < 1).any()):
            raise damaged(source, name, "the values of its categories are not counted rightly")
        targets = made.targets
        if made.outputs > 1 and not bool(((targets >= 0) & (targets < made.outputs) & (targets == targets.floor())).all()):  # fmt: skip
            raise damaged(source, name, "a training row is of no class")
        return made
