"""A kernel model as tensors, run by PyTorch. `kernel_fit.py` fits it.

Letters: B rows, D numbers, C codes, M landmarks, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightline.build.restore import damaged, restored
from sightline.build.standard import standardised
from sightline.build.trees import CHUNK_VALUES, CODES, FEWEST_CHUNK_ROWS, map_in_threads

UNLIKE = 2.0
"""The squared distance of two different categories: on average that of two standardised numbers."""


class Kernel(nn.Module):
    """Least squares on the similarities of a row to some training rows, the landmarks; buffers without parameters.

    A row's similarity to a landmark is exp(-d^2 / (2 width^2)), a Gaussian kernel. The squared distance d^2 is that of the standardised
    numbers, and `UNLIKE` for each category in which the two differ. A score for each output is a weighted sum of the similarities.
    For classes, the logits are the scores times `sharpness`.

    All sums are in float64: neighbouring landmarks have large weights of opposite signs, and what is left of them would be
    lost in float32.

    Args:
        numbers, codes: D and C.
        landmarks: M.
        outputs: K; 1 for regression.

    Shapes: float32 [B, D] and int32 [B, C] -> float32 log-probabilities [B, K], or scaled numbers [B, 1].

    Sources:
        Saunders, Gammerman, Vovk 1998, "Ridge regression learning algorithm in dual variables"; Williams and Seeger 2001,
        "Using the Nyström method to speed up kernel machines".

    Example:
        >>> import torch
        >>> from sightline.build.kernel import Kernel
        >>> kernel = Kernel(numbers=1, codes=0, landmarks=1, outputs=1)
        >>> _ = kernel.load_state_dict({**kernel.state_dict(), "weights": torch.ones(1, 1)})
        >>> codes = torch.zeros(3, 0, dtype=torch.int32)
        >>> [round(float(y), 2) for y in kernel(torch.tensor([[0.0], [1.0], [2.0]]), codes)]
        [1.0, 0.61, 0.14]
    """

    center: Tensor
    scale: Tensor
    landmark_numbers: Tensor
    landmark_codes: Tensor
    weights: Tensor
    intercept: Tensor
    width: Tensor
    sharpness: Tensor

    def __init__(self, *, numbers: int, codes: int, landmarks: int, outputs: int) -> None:
        super().__init__()
        wide = torch.float64
        self.register_buffer("center", torch.zeros(numbers, dtype=wide))
        self.register_buffer("scale", torch.ones(numbers, dtype=wide))
        self.register_buffer("landmark_numbers", torch.zeros(landmarks, numbers))
        self.register_buffer("landmark_codes", torch.zeros(landmarks, codes, dtype=torch.uint8))
        self.register_buffer("weights", torch.zeros(landmarks, outputs, dtype=wide))
        self.register_buffer("intercept", torch.zeros(outputs, dtype=wide))
        self.register_buffer("width", torch.ones((), dtype=wide))
        self.register_buffer("sharpness", torch.ones((), dtype=wide))

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return log-probabilities, or scaled numbers."""
        scores_BK = self._in_chunks(
            numeric_BD, categorical_BC, lambda squares_BM: self._near(squares_BM) @ self.weights
        )
        scores_BK = scores_BK + self.intercept
        if scores_BK.shape[1] > 1:
            scores_BK = (self.sharpness * scores_BK).log_softmax(dim=1)
        return scores_BK.float()

    def similarities(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return the similarity of each row to each landmark, float64 [B, M]."""
        return self._in_chunks(numeric_BD, categorical_BC, self._near)

    def squares(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Return the squared distance of each row to each landmark, float64 [B, M]."""
        return self._in_chunks(numeric_BD, categorical_BC, lambda squares_BM: squares_BM)

    def _near(self, squares_BM: Tensor) -> Tensor:
        return squares_BM.div_(-2 * self.width.square()).exp_()

    def _in_chunks(
        self, numeric_BD: Tensor, categorical_BC: Tensor, function: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Apply a function to the squared distances of some rows at a time, in several threads."""
        z_MD = self.standardised(self.landmark_numbers)
        codes_BC = categorical_BC.clamp(max=CODES - 1).to(torch.uint8)
        chunk = max(CHUNK_VALUES // max(len(z_MD), 1), FEWEST_CHUNK_ROWS)
        chunks = [slice(start, start + chunk) for start in range(0, max(len(numeric_BD), 1), chunk)]

        def run(rows: slice) -> Tensor:
            return function(
                self._squares(self.standardised(numeric_BD[rows]), codes_BC[rows], z_MD)
            )

        return torch.cat(map_in_threads(run, chunks, torch.get_num_threads()))

    def standardised(self, numeric_BD: Tensor) -> Tensor:
        """Return numbers in standard deviations from their mean, float64."""
        return standardised(numeric_BD, self.center, self.scale)

    def _squares(self, x_BD: Tensor, codes_BC: Tensor, z_MD: Tensor) -> Tensor:
        """Return the squared distance of each row to each landmark."""
        squares_BM = torch.addmm(z_MD.square().sum(dim=1), x_BD, z_MD.T, alpha=-2)
        squares_BM += x_BD.square().sum(dim=1, keepdim=True)
        squares_BM.clamp_(min=0)  # rounding
        if codes_BC.shape[1]:
            unlike_BM = torch.zeros(squares_BM.shape, dtype=torch.int16, device=x_BD.device)
            for row, landmark in zip(codes_BC.T, self.landmark_codes.T, strict=True):
                unlike_BM += row[:, None] != landmark
            squares_BM.add_(unlike_BM, alpha=UNLIKE)
        return squares_BM

    def config(self) -> dict[str, Any]:
        """Return the arguments of an empty copy; the buffers hold the rest."""
        return {
            "numbers": len(self.center), "codes": self.landmark_codes.shape[1],
            "landmarks": len(self.weights), "outputs": len(self.intercept),
        }  # fmt: skip

    @classmethod
    def restored(
        cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str | Path
    ) -> Self:
        """Make a kernel model of what a file holds, whatever it holds.

        Args:
            config: From `config`.
            tensors: From `state_dict`.
            source: The file, for the error.

        Raises:
            BundleError: The tensors have other sizes than the config says, or are not finite, or a width or scale is not above 0.
        """
        kernel = restored(lambda: cls(**config), tensors, source, "kernel model")
        if not (bool((tensors["scale"] > 0).all()) and bool(tensors["width"] > 0)):
            raise damaged(source, "kernel model", "a width or a scale is not above 0")
        return kernel
