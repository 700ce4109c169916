"""Roles of columns that are not features: target, group, time or weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sightline.contracts import Role, traits_of
from sightline.errors import DataError, counted
from sightline.load.table import Table


def with_roles(
    table: Table,
    target: str,
    group: str | None,
    time: str | None,
    weight: str | None,
    time_feature: bool = False,
) -> Table:
    """Set the roles of columns that are not features; with `time_feature` the time column is one all the same.

    Raises:
        DataError: A time column without dates or numbers, a weight column without numbers, or no
            feature left.
    """
    schema = table.schema
    for role, name in (("target", target), ("group", group), ("time", time), ("weight", weight)):
        if name is not None and schema[name].values == "unsupported":
            raise DataError(
                f"The column {name!r} cannot be the {role}: it {schema[name].reason}.",
                "Choose another column.",
            )
    changed: list[tuple[str, Role, str]] = [(target, "target", schema[target].reason)]
    if group:
        changed.append((group, "group", "groups of rows that stay in one part"))
    if time:
        if traits_of(schema[time].kind).storage not in ("moments", "numbers"):
            raise DataError(
                f"The time column {time!r} is {schema[time].kind}: {schema[time].reason}.",
                "Give a column of dates or numbers.",
            )
        orders = "orders the rows: the newest are held out"
        if time_feature:
            reason = f"{orders}; a feature too, as requested (time_feature)"
            changed.append((time, "feature", reason))
        else:
            changed.append((time, "time", orders))
    if weight:
        if traits_of(schema[weight].kind).storage not in ("numbers", "flags"):
            raise DataError(
                f"The column {weight!r} is {schema[weight].kind}; a weight is a number.",
                "Choose a number column, or set its kind with kinds= (--kind).",
            )
        changed.append((weight, "weight", "how much a row counts in the loss"))
    for name, role, reason in changed:
        schema = schema.with_column(replace(schema[name], role=role, reason=reason))
    if not schema.features:
        raise DataError(
            f"{table.name} has no feature besides the target: every other column is ignored or has "
            "another role.",
            "Look at the reasons with `sightline inspect`, and set kinds= (--kind) for columns to use.",
        )
    return replace(table, schema=schema)


def row_weights(table: Table, rows: np.ndarray | None = None) -> np.ndarray | None:
    """Return each row's weight in the loss, float32 [rows], or None without a weight column.

    Args:
        table: The table.
        rows: Which rows need a weight, bool [rows]; that of the others is not looked at, and is 0. None needs all.

    Raises:
        DataError: A weight is missing, negative or not finite, or all are 0.

    Example:
        >>> import sightline as sl
        >>> from sightline.load.roles import row_weights
        >>> table = sl.read({"x": [1.5, 2.5] * 10, "w": [0.5, 2.5] * 10, "y": ["a", "b", "b", "a"] * 5})
        >>> row_weights(sl.split(table, target="y", weight="w").table)[:3].tolist()
        [0.5, 2.5, 0.5]
    """
    name = next((c.name for c in table.schema.columns if c.role == "weight"), None)
    if name is None:
        return None
    boolean = traits_of(table.schema[name].kind).storage == "flags"
    values = table.flags(name).astype(np.float64) if boolean else table.numbers(name)
    if rows is not None:
        values = np.where(rows, values, 0.0)
    bad = np.flatnonzero(~((values >= 0) & (values <= np.finfo(np.float32).max)))
    if len(bad):
        value = values[bad[0]]
        shown = "missing" if boolean or np.isnan(value) else f"{value:g}"
        raise DataError(
            f"The weight {name!r} of row {bad[0]:,} is {shown} ({counted(len(bad), 'such row')}): a "
            "weight is a finite number, 0 or greater.",
            "Fill or drop these rows, or choose another column.",
        )
    if not values.any():
        raise DataError(
            f"The weight {name!r} is 0 in every row.",
            "Choose another column, or give some rows a weight above 0.",
        )
    return values.astype(np.float32)
