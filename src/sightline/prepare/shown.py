"""One row's values on their way into the network, with every number that it takes to follow them."""

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
    """Follow one number and one category of a row.

    Args:
        prepared: The fitted preparation.
        table: The row, as a table of one.

    Returns:
        `number`: None where no column becomes a number; else `column`, `feature`, `value` (what
        the encoder gave, None where missing), `missing`, and what the scaling takes: `center`,
        `scale` and `fill`, or for "quantile" the two `knots` beside the value with their `scores`;
        `result`, the float32 feature. `category`: None where no column becomes a code; else
        `column`, `value` (text, or None), `state` ("missing", "unseen" or "known"), `code`, `codes`.

    Example:
        >>> import sightline as sl
        >>> from sightline.prepare.shown import show_row
        >>> table = sl.read("examples/penguins.csv")
        >>> prepared = sl.prepare(sl.split(table, target="species"), numeric="minmax")
        >>> said = show_row(prepared, table)["number"]  # of its first row
        >>> said["column"], said["value"], round((said["value"] - said["center"]) / said["scale"], 4)
        ('bill_length_mm', 39.1, 0.2545)
    """
    encoded = prepared.encoder.open(table)(slice(0, 1))
    return {
        "number": _number(prepared, encoded.numeric[0]),
        "category": _category(prepared, table, encoded.categorical[0]),
    }


def _number(prepared: Prepared, values: np.ndarray) -> dict[str, Any] | None:
    """Follow the first number of a column of numbers that is there; failing that, any first one."""
    names = prepared.encoder.numbers
    if not names:
        return None
    order = sorted(
        range(len(names)), key=lambda j: (bool(np.isnan(values[j])), names[j][0] != names[j][1])
    )
    place, transform = order[0], prepared.transform
    missing = bool(np.isnan(values[place]))
    given = float(transform.fill[place]) if missing else float(values[place])
    number = transform(torch.from_numpy(values[None]))[0, place]
    feature, column = names[place]
    return {
        "column": column, "feature": feature, "value": None if missing else given,
        "missing": missing, "fill": float(transform.fill[place]), **_scaling(transform, place, given),
        "result": float(number),
    }  # fmt: skip


def _scaling(transform: Transform, place: int, value: float) -> dict[str, Any]:
    if transform.scaling != "quantile":
        return {"center": float(transform.center[place]), "scale": float(transform.scale[place])}
    knots, scores = transform.knots[place].numpy(), transform.scores[place].numpy()
    inside = min(max(value, knots[0]), knots[-1])
    left = max(int(np.searchsorted(knots, inside, side="right")) - 1, 0)
    right = min(left + 1, len(knots) - 1)
    return {
        "knots": [float(knots[left]), float(knots[right])],
        "scores": [float(scores[left]), float(scores[right])],
        "outside": not knots[0] <= value <= knots[-1],
    }  # fmt: skip


def _category(prepared: Prepared, table: Table, codes: np.ndarray) -> dict[str, Any] | None:
    """Follow the first category that is there; failing that, the first one."""
    columns = prepared.encoder.codes
    if not columns:
        return None
    place = next((j for j, code in enumerate(codes) if code != MISSING), 0)
    column, code = columns[place], int(codes[place])
    value = table.cells(column, 0)
    return {
        "column": column, "value": None if value is None else shorten(str(value)), "code": code,
        "state": {MISSING: "missing", UNSEEN: "unseen"}.get(code, "known"),
        "codes": prepared.encoder.cardinality(column),
    }  # fmt: skip
