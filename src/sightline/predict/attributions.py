"""What pushed a prediction from a typical row's to this one's, column by column.

Shapley values (Strumbelj and Kononenko 2010, "An efficient explanation of individual
classifications using game theory"; Castro, Gomez and Tejada 2009, "Polynomial calculation of the
Shapley value based on sampling"): starting from a typical row, the columns take this row's values
one after another, in many random orders; a column's push is how far the prediction moves when it
is its turn, on average over the orders. Each order's moves add up to the whole way, so the pushes
do too. Captum does the sampling; it is an extra, `sightline[explain]`.

Letters: B rows, D numbers, C codes, G columns of the table, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sightline.contracts import Batch
from sightline.predict.path import evaluating

if TYPE_CHECKING:
    from sightline.predict.model import Model

BASE_SAID = (
    "a typical row: the median of each number (of the parts of dates and texts too), "
    "the most frequent category"
)
NO_CAPTUM = (
    "Captum, which finds what pushed a prediction, is not installed: "
    "pip install 'sightline[explain]'."
)
NO_TYPICAL_ROW = (
    "The model was saved by a Sightline that kept no typical row to compare with: fit it again."
)
NO_PREDICTION = "There is no prediction to explain."
MOST_COLUMNS = 40
TYPICAL_ROWS = 100_000
"""A typical row is that of so many training rows at most, evenly spaced."""
PERMUTATIONS = (4, 50)
"""The fewest and the most orders in which the columns take their turns."""
TURNS = 2_000
"""So many turns of columns in all, unless that is fewer than the fewest orders take."""
VALUES_AT_ONCE = 2**21
"""So many numbers in the largest tensor: 8 MB."""


def typical_row(train: Batch) -> dict[str, Tensor]:
    """Make a typical row of the network's inputs from the training rows.

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


def input_columns(model: Model) -> tuple[list[str], Tensor, Tensor]:
    """Say which column of the table each input of the network is made of.

    Returns:
        The columns' names [G]; per number its column's place among them, int64 [D]; per code, [C].

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.attributions import input_columns
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
        >>> names, number_at, code_at = input_columns(run.model)
        >>> [names[place] for place in code_at]
        ['island', 'sex']
    """
    names = [way.column for way in model.encoder.ways]
    at = {name: place for place, name in enumerate(names)}
    return (
        names,
        torch.tensor([at[feature.column] for feature in model.spec.numeric], dtype=torch.long),
        torch.tensor([at[feature.column] for feature in model.spec.categorical], dtype=torch.long),
    )


def permutations_for(columns: int) -> int:
    """Say in how many orders so many columns take their turns: an even number, fewer for many.

    Example:
        >>> from sightline.predict.attributions import permutations_for
        >>> permutations_for(7), permutations_for(100), permutations_for(5000)
        (50, 20, 4)
    """
    fewest, most = PERMUTATIONS
    return max(fewest, min(most, TURNS // columns // 2 * 2))


def rows_explained(columns: int) -> int:
    """Say how many rows of a table of so many columns are explained where a sample is: 50, or fewer.

    Example:
        >>> from sightline.predict.attributions import rows_explained
        >>> rows_explained(7), rows_explained(1000)
        (50, 10)
    """
    return min(50, max(1, 10_000 // columns))


def missing_extra() -> str | None:
    """Say what to install where Captum is not, else None.

    Example:
        >>> from sightline.predict.attributions import missing_extra
        >>> missing_extra() is None  # it is installed here
        True
    """
    try:
        import captum.attr  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise  # Captum is there, and something that it needs is not
        return NO_CAPTUM
    return None


def attribute(
    model: Model, numeric_BD: Tensor, codes_BC: Tensor, values_BK: np.ndarray
) -> list[dict[str, Any]]:
    """Find what pushed each row's prediction away from the typical row's.

    All inputs of one column of the table (the number, its flag, its n-grams, its code) move
    together. What is explained is the probability of the predicted class, or the number.

    Args:
        model: With a typical row.
        numeric_BD, codes_BC: The rows as the network takes them, B > 0.
        values_BK: What the model predicts for them: `model.outputs`.

    Returns:
        Per row `of` (the class, or the target's name), `unit`, `base` and `base_said`, `value`,
        `permutations`, and `columns`: [column, push] pairs, largest push first, all that come
        after the first 40 as one. `base` and all pushes add up to `value`, to float32's accuracy.

    Raises:
        ModuleNotFoundError: Captum is not installed; ask `missing_extra` first.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=3, quiet=True)
        >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
        ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
        >>> pushes = run.model.explain(row).pushes
        >>> abs(pushes["base"] + sum(push for _, push in pushes["columns"]) - pushes["value"]) < 1e-5
        True
    """
    from captum.attr import ShapleyValueSampling

    assert model.typical is not None
    names, number_at, code_at = input_columns(model)
    device = numeric_BD.device
    typical_1D = model.typical["numeric"].to(device)
    typical_1C = model.typical["categorical"].to(device)

    def value(own_BG: Tensor, numeric_BD: Tensor, codes_BC: Tensor, output_B: Tensor) -> Tensor:
        """Predict rows of which some columns are their own, and the rest the typical row's."""
        own_BG = own_BG.bool()
        values_BK = model.outputs(
            torch.where(own_BG[:, number_at], numeric_BD, typical_1D),
            torch.where(own_BG[:, code_at], codes_BC, typical_1C),
        )
        return values_BK.gather(1, output_B[:, None])[:, 0]

    output_B = torch.from_numpy(values_BK.argmax(axis=1)).to(device)
    own_BG = torch.ones(len(numeric_BD), len(names), device=device)
    sampler = ShapleyValueSampling(value)
    sampler.permutation_generator = _orders
    permutations = permutations_for(len(names))
    width = numeric_BD.shape[1] + codes_BC.shape[1] + len(names)
    with evaluating(model.network):
        bases_K = model.outputs(typical_1D, typical_1C)[0].tolist()
        pushes_BG = sampler.attribute(
            own_BG, baselines=0.0, n_samples=permutations,
            additional_forward_args=(numeric_BD, codes_BC, output_B),
            perturbations_per_eval=max(
                1, min(len(names), VALUES_AT_ONCE // (len(numeric_BD) * width))
            ),
        )  # fmt: skip
    target = model.spec.target
    return [
        {
            "of": target.classes[k] if target.classes else target.name,
            "unit": "probability" if target.classes else "target",
            "base": bases_K[k], "base_said": BASE_SAID, "value": float(values_K[k]),
            "permutations": permutations, "columns": _listed(dict(zip(names, pushes, strict=True))),
        }
        for values_K, k, pushes in zip(values_BK, output_B.tolist(), pushes_BG.tolist(), strict=True)
    ]  # fmt: skip


def _orders(columns: int, count: int) -> Iterator[list[int]]:
    """Draw orders, always the same ones, each followed by its reverse.

    A pair of the two gives exact Shapley values where columns act in pairs at most (Mitchell,
    Cooper, Frank and Holmes 2022, "Sampling permutations for Shapley value estimation"). The
    generator is their own: explaining a row while a network trains must not change what dropout
    draws.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(count // 2):
        order = torch.randperm(columns, generator=generator).tolist()
        yield order
        yield order[::-1]


def _listed(pushes: Mapping[str, float]) -> list[list[Any]]:
    """Sort pushes by size, the largest first, and sum those that are too many to list."""
    ranked = sorted(pushes.items(), key=lambda item: -abs(item[1]))
    listed: list[list[Any]] = [[name, push] for name, push in ranked[:MOST_COLUMNS]]
    if rest := ranked[MOST_COLUMNS:]:
        listed.append(["other columns", sum(push for _, push in rest)])
    return listed
