"""What rows with an outlier do to the RMSE."""

from __future__ import annotations

import numpy as np

from sightline.errors import counted, listed, readable
from sightline.load.remarks import Remarks

LEAST_EFFECT = 0.1
"""The RMSE without these rows must be lower by this share to be worth a note."""
NAMED = 3
"""A note names this many rows."""


def outlier_effect(
    found: Remarks, rows: np.ndarray, numbers: np.ndarray, errors: np.ndarray
) -> list[str]:
    """Say how large the RMSE is with and without the measured rows that have an outlier.

    Args:
        found: The outliers of the table.
        rows: int64 [N], the measured rows in the table.
        numbers: int64 [N], the numbers by which they are named.
        errors: float64 [N], their true minus predicted numbers.

    Returns:
        A sentence; none if these rows make little difference.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.outliers import outlier_effect
        >>> from sightline.load.remarks import Outliers, Remarks
        >>> far = Outliers("y", np.array([7]), np.array([1e6]), 3.0, np.array([5e5]), (1.0, 5.0))
        >>> outlier_effect(Remarks((far,)), np.array([2, 7, 9]), np.array([2, 7, 9]), np.array([1.0, 1e6, -1.0]))
        ["Row 7 ('y' is 1,000,000), far from all others, makes the RMSE 577,350; without it, it is 1 on 2 rows. See whether it is an error."]
    """
    cells: dict[int, list[str]] = {}
    for column in found.outliers:
        for row, value in zip(column.rows.tolist(), column.values.tolist(), strict=True):
            cells.setdefault(row, []).append(f"{column.column!r} is {readable(value)}")
    far = np.isin(rows, list(cells))
    if not far.any() or far.all():
        return []
    with_all, without = (float(np.sqrt(np.mean(kept**2))) for kept in (errors, errors[~far]))
    if without > (1 - LEAST_EFFECT) * with_all:
        return []
    places = np.flatnonzero(far)
    places = places[np.argsort(-np.abs(errors[places]), kind="stable")]
    one = len(places) == 1
    named = [f"{numbers[k]:,} ({listed(cells[int(rows[k])], NAMED)})" for k in places.tolist()]
    return [
        f"Row{'' if one else 's'} {listed(named, NAMED)}, far from all others, make{'s' if one else ''} the RMSE "
        f"{readable(with_all)}; without {'it' if one else 'them'}, it is {readable(without)} on "
        f"{counted(int((~far).sum()), 'row')}. See whether {'it is an error' if one else 'they are errors'}."
    ]
