"""Attributions: how far each column moved a prediction away from a typical row's.

Shapley values (Strumbelj and Kononenko 2010, "An efficient explanation of individual
classifications using game theory"; Castro, Gomez and Tejada 2009, "Polynomial calculation of the
Shapley value based on sampling"). Starting from a typical row, the columns take this row's values
one after another, in many random orders (permutations). A column's push is how far the prediction
moves at its turn, on average over the orders. In each order the moves add up to the whole
difference, so the pushes add up to it too. Captum does the sampling; it is an extra,
`sightline[explain]`.

Letters: B rows, D numbers, C codes, G columns of the table, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.modes import evaluating
from sightline.contracts import Batch
from sightline.predict.predictor import Predictor
from sightline.prepare.inputs import InputColumns

BASE_SAID = (
    "a typical row: the median of each number (of the parts of dates and texts too), "
    "the most frequent category"
)
NO_CAPTUM = (
    "Captum, which computes the contribution of each column, is not installed: "
    "pip install 'sightline[explain]'."
)
NO_TYPICAL_ROW = (
    "The model was saved by a Sightline that kept no typical row to compare with: fit it again."
)
NO_PREDICTION = "There is no prediction to explain."
LISTED_COLUMNS = 40
"""The columns with the largest pushes are listed, at most this many; the rest are summed."""
TYPICAL_ROWS = 100_000
"""The typical row is computed from at most this many training rows, evenly spaced."""
PERMUTATIONS = (4, 50)
"""The fewest and the most permutations, the orders in which the columns take their turns."""
TURNS = 2_000
"""Turns in all (columns x permutations), unless the fewest permutations need more."""
VALUES_AT_ONCE = 2**21
"""The largest number of values in a tensor: 8 MB of float32."""


def typical_row(train: Batch) -> dict[str, Tensor]:
    """Return a typical row of the network's inputs, computed from the training rows.

    Returns:
        `numeric` float32 [1, D]: each one's median; `categorical` int32 [1, C]: each one's most
        frequent code.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> from sightline.predict.attributions import typical_row
        >>> numbers, codes = torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([[2], [3], [3]]).int()
        >>> rows = Batch(numbers, codes, torch.zeros(3), None, torch.arange(3))
        >>> typical_row(rows)["numeric"].tolist(), typical_row(rows)["categorical"].tolist()
        ([[2.0]], [[3]])
    """
    step = -(-len(train.numeric) // TYPICAL_ROWS)
    return {
        "numeric": train.numeric[::step].median(dim=0, keepdim=True).values,
        "categorical": train.categorical[::step].mode(dim=0, keepdim=True).values,
    }


def permutations_for(columns: int) -> int:
    """Return the number of permutations by the number of columns: even, fewer for more columns.

    Example:
        >>> from sightline.predict.attributions import permutations_for
        >>> permutations_for(7), permutations_for(100), permutations_for(5000)
        (50, 20, 4)
    """
    fewest, most = PERMUTATIONS
    return max(fewest, min(most, TURNS // columns // 2 * 2))


def rows_explained(columns: int) -> int:
    """Return how many rows of a sample are explained, by the number of columns: 50, or fewer.

    Example:
        >>> from sightline.predict.attributions import rows_explained
        >>> rows_explained(7), rows_explained(1000)
        (50, 10)
    """
    return min(50, max(1, 10_000 // columns))


def missing_extra() -> str | None:
    """Return a sentence that says what to install where Captum is missing, else None.

    Example:
        >>> from sightline.predict.attributions import missing_extra
        >>> missing_extra() is None  # it is installed here
        True
    """
    try:
        import captum.attr  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise  # Captum is installed, but not something that it needs
        return NO_CAPTUM
    return None


def attribute(
    predictor: Predictor,
    typical: Mapping[str, Tensor],
    columns: InputColumns,
    numeric_BD: Tensor,
    codes_BC: Tensor,
    values_BK: np.ndarray,
) -> list[dict[str, Any]]:
    """Compute how far each column pushed each row's prediction away from the typical row's.

    All inputs that were made from one column of the table (the number, its missing flag, its n-grams,
    its code) take the row's values together. What is explained is the probability of the predicted
    class, or the number.

    Args:
        predictor: What predicts.
        typical: From `typical_row`: `numeric` [1, D] and `categorical` [1, C].
        columns: The column of each input.
        numeric_BD, codes_BC: The prepared rows, B > 0.
        values_BK: Their predictions: `predictor.outputs`.

    Returns:
        For each row `of` (the class, or the target's name), `unit`, `base` and `base_said`, `value`,
        `permutations`, and `columns`: [column, push] pairs, the largest push first, all after the first
        40 summed as one. `base` and all pushes add up to `value`, within float32's accuracy.

    Raises:
        ModuleNotFoundError: Captum is not installed; call `missing_extra` first.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
        ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
        >>> pushes = run.model.explain(row).pushes
        >>> abs(pushes["base"] + sum(push for _, push in pushes["columns"]) - pushes["value"]) < 1e-5
        True
    """
    from captum.attr import ShapleyValueSampling

    device = numeric_BD.device
    typical_1D = typical["numeric"].to(device)
    typical_1C = typical["categorical"].to(device)

    def predict(own_BG: Tensor, numeric_BD: Tensor, codes_BC: Tensor, output_B: Tensor) -> Tensor:
        """Predict rows that have their own values in some columns, the typical row's in the others."""
        own_BG = own_BG.bool()
        values_BK = predictor.outputs(
            torch.where(own_BG[:, columns.numeric], numeric_BD, typical_1D),
            torch.where(own_BG[:, columns.categorical], codes_BC, typical_1C),
        )
        return values_BK.gather(1, output_B[:, None])[:, 0]

    output_B = torch.from_numpy(values_BK.argmax(axis=1)).to(device)
    count = len(columns.names)
    own_BG = torch.ones(len(numeric_BD), count, device=device)
    sampler = ShapleyValueSampling(predict)
    sampler.permutation_generator = _orders
    permutations = permutations_for(count)
    width = numeric_BD.shape[1] + codes_BC.shape[1] + count
    with evaluating(*predictor.modules):
        bases_K = predictor.outputs(typical_1D, typical_1C)[0].tolist()
        pushes_BG = sampler.attribute(
            own_BG, baselines=0.0, n_samples=permutations,
            additional_forward_args=(numeric_BD, codes_BC, output_B),
            perturbations_per_eval=max(
                1, min(count, VALUES_AT_ONCE // (len(numeric_BD) * width))
            ),
        )  # fmt: skip
    target = predictor.spec.target
    return [
        {
            "of": target.shown[k] if target.classes else target.name,
            "unit": "probability" if target.classes else "target",
            "base": bases_K[k], "base_said": BASE_SAID, "value": float(values_K[k]),
            "permutations": permutations, "columns": _ranked(dict(zip(columns.names, pushes, strict=True))),
        }
        for values_K, k, pushes in zip(values_BK, output_B.tolist(), pushes_BG.tolist(), strict=True)
    ]  # fmt: skip


def _orders(columns: int, count: int) -> Iterator[list[int]]:
    """Draw permutations, always the same ones, each followed by its reverse.

    A pair of the two gives exact Shapley values where columns interact in pairs at most (Mitchell,
    Cooper, Frank and Holmes 2022, "Sampling permutations for Shapley value estimation"). They come
    from a separate generator: explaining a row while a network trains must not change what dropout
    draws.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(count // 2):
        order = torch.randperm(columns, generator=generator).tolist()
        yield order
        yield order[::-1]


def _ranked(pushes: Mapping[str, float]) -> list[list[Any]]:
    """Sort pushes by size, the largest first, and sum those after the first 40."""
    ranked = sorted(pushes.items(), key=lambda item: -abs(item[1]))
    listed: list[list[Any]] = [[name, push] for name, push in ranked[:LISTED_COLUMNS]]
    if others := ranked[LISTED_COLUMNS:]:
        listed.append(["other columns", sum(push for _, push in others)])
    return listed
