"""Predictions as a table of their own: for a file, one row for each row given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from sightline.archive import atomic_file
from sightline.errors import DataError, OptionError
from sightline.predict.model import Model, Predictions
from sightline.predict.reading import plain_column


def prediction_table(
    model: Model, found: Predictions, keep: Sequence[str], alpha: float | None = None
) -> pa.Table:
    """Lay predictions out as columns: kept ones, prediction, a probability per class, error.

    With `alpha` columns more: "set", its classes parted by |, and "set_size", which tells an empty
    set from a row without a prediction; or "low" and "high" of an interval. They miss the truth in a
    share `alpha` of the rows.
    """
    columns: dict[str, Any] = {}

    def add(name: str, values: Any) -> None:
        if name in columns:
            raise OptionError(
                f"The column {name!r} would be written twice.", "Keep fewer columns (--keep)."
            )
        columns[name] = values

    for name in keep:
        add(name, plain_column(found.table, name))
    add("prediction", pa.array(found.labels, from_pandas=True))
    if model.task.classification:
        for place, label in enumerate(model.classes):
            values = found.values[:, place]
            add(f"probability_{label}", pa.array(values, mask=np.isnan(values)))
    if alpha is not None:
        good = ~np.isnan(found.values).any(axis=1)
        if model.task.classification:
            chosen = model.sets(found.values, alpha)
            sets = [
                "|".join(str(label) for label, one in zip(model.classes, row, strict=True) if one)
                for row in chosen.tolist()
            ]
            add("set", pa.array(sets, pa.string(), mask=~good))
            add("set_size", pa.array(chosen.sum(axis=1), pa.int64(), mask=~good))
        else:
            for end, ends in zip(
                ("low", "high"), model.intervals(found.values, alpha).T, strict=True
            ):
                add(end, pa.array(ends, mask=~good))
    if found.bad:
        errors: list[str | None] = [None] * len(found.labels)
        for row, error in found.bad:
            errors[row] = error
        add("error", pa.array(errors, pa.string()))
    return pa.table(columns)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as CSV or Parquet, by the path's ending, atomically.

    Raises:
        DataError: The folder does not exist.
        OptionError: Another ending.
    """
    if not path.parent.is_dir():
        raise DataError(
            f"The folder {path.parent} does not exist.", "Make it, or choose another place."
        )
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise OptionError(
            f"{path} is neither .csv nor .parquet.", "Give one of these endings (-o)."
        )
    with atomic_file(path) as file:
        if path.suffix.lower() == ".csv":
            pc.write_csv(table, file)
        else:
            pq.write_table(table, file)
