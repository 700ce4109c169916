"""One row's preparation in detail, with every number that the lesson needs to explain it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.errors import shorten
from sightline.load.table import Table
from sightline.prepare.encode import MISSING, UNSEEN
from sightline.prepare.prepared import Prepared
from sightline.prepare.transform import Transform


def show_row(prepared: Prepared, table: Table) -> dict[str, Any]:
    """Show how one number and one category of a row are prepared.

    Args:
        prepared: The fitted preparation.
        table: The row, as a table with one row.

    Returns:
        `number`: None if no column becomes a number; else `column`, `feature`, `value` (from the
        encoder, None if missing), `missing`, the statistics of the scaling (`center`, `scale` and
        `fill`, or for "quantile" the two `knots` beside the value with their `scores`), and `result`,
        the float32 feature. `category`: None if no column becomes a code; else `column`, `value`
        (text, or None), `state` ("missing", "unseen" or "known"), `code`, and `codes`, how many
        there are.

    Example:
        >>> import sightline as sl
        >>> from sightline.prepare.shown import show_row
        >>> table = sl.read("examples/penguins.csv")
        >>> prepared = sl.prepare(sl.split(table, target="species"), numeric="minmax")
        >>> number = show_row(prepared, table)["number"]  # of its first row
        >>> scaled = (number["value"] - number["center"]) / number["scale"]
        >>> number["column"], number["value"], round(scaled, 4)
        ('bill_length_mm', 39.1, 0.2545)
    """
    encoded = prepared.encoder.open(table)(slice(0, 1))
    return {
        "number": _number(prepared, encoded.numeric[0]),
        "category": _category(prepared, table, encoded.categorical[0]),
    }


def _number(prepared: Prepared, values: np.ndarray) -> dict[str, Any] | None:
    """Show a number that is not missing, from a numeric column if there is one."""
    names = prepared.encoder.numbers
    if not names:
        return None
    order = sorted(
        range(len(names)), key=lambda j: (bool(np.isnan(values[j])), names[j][0] != names[j][1])
    )
    index, transform = order[0], prepared.transform
    missing = bool(np.isnan(values[index]))
    given = float(transform.fill[index]) if missing else float(values[index])
    number = transform(torch.from_numpy(values[None]))[0, index]
    feature, column = names[index]
    return {
        "column": column, "feature": feature, "value": None if missing else given,
        "missing": missing, "fill": float(transform.fill[index]), **_scaling(transform, index, given),
        "result": float(number),
    }  # fmt: skip


def _scaling(transform: Transform, index: int, value: float) -> dict[str, Any]:
    if transform.scaling != "quantile":
        return {"center": float(transform.center[index]), "scale": float(transform.scale[index])}
    knots, scores = transform.knots[index].numpy(), transform.scores[index].numpy()
    inside = min(max(value, knots[0]), knots[-1])
    left = max(int(np.searchsorted(knots, inside, side="right")) - 1, 0)
    right = min(left + 1, len(knots) - 1)
    return {
        "knots": [float(knots[left]), float(knots[right])],
        "scores": [float(scores[left]), float(scores[right])],
        "outside": not knots[0] <= value <= knots[-1],
    }  # fmt: skip


def _category(prepared: Prepared, table: Table, codes: np.ndarray) -> dict[str, Any] | None:
    """Show the first category that is not missing; if all are, the first one."""
    columns = prepared.encoder.codes
    if not columns:
        return None
    index = next((j for j, code in enumerate(codes) if code != MISSING), 0)
    column, code = columns[index], int(codes[index])
    value = table.cells(column, 0)
    return {
        "column": column, "value": None if value is None else shorten(str(value)), "code": code,
        "state": {MISSING: "missing", UNSEEN: "unseen"}.get(code, "known"),
        "codes": prepared.encoder.cardinality(column),
    }  # fmt: skip
