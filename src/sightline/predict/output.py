"""Predictions as a table, one row for each row that was given, to be written to a file."""

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
from sightline.predict.reading import plain_column
from sightline.predict.tables import Predictions, TableModel


def prediction_table(
    model: TableModel, predictions: Predictions, keep: Sequence[str], alpha: float | None = None
) -> pa.Table:
    """Return predictions as columns.

    Args:
        model: What predicted.
        predictions: From `model.predictions`.
        keep: Columns of the rows to copy.
        alpha: The share of rows whose set or interval may miss the truth; None adds neither.

    Returns:
        The kept columns, "prediction", "probability_<class>" for each class, and "error" where a row
        could not be read. With `alpha` also "set" (its classes separated by |) and "set_size" (0 for an
        empty set, null for a row without a prediction), or "low" and "high" of an interval.

    Raises:
        OptionError: Two columns would have the same name; or as `Model.sets` and `Model.intervals`.
    """
    columns: dict[str, Any] = {}

    def add(name: str, values: Any) -> None:
        if name in columns:
            raise OptionError(
                f"The column {name!r} would be written twice.", "Keep fewer columns (--keep)."
            )
        columns[name] = values

    for name in keep:
        add(name, plain_column(predictions.table, name))
    own = model.encoder.schema.rules > 1
    texts = model.spec.target.texts if own else tuple(map(str, model.classes))
    labels = predictions.labels.tolist()
    if model.spec.target.names:
        text_of = dict(zip(model.classes, texts, strict=True))
        add("prediction", pa.array([text_of.get(label) for label in labels], pa.string()))
    else:
        add("prediction", pa.array(predictions.labels, from_pandas=True))
    if model.classification:
        for index, text in enumerate(texts):
            values = predictions.values[:, index]
            add(f"probability_{text}", pa.array(values, mask=np.isnan(values)))
    if alpha is not None:
        good = ~np.isnan(predictions.values).any(axis=1)
        if model.classification:
            in_sets = model.sets(predictions.values, alpha)
            sets = [
                "|".join(text for text, chosen in zip(texts, row, strict=True) if chosen)
                for row in in_sets.tolist()
            ]
            add("set", pa.array(sets, pa.string(), mask=~good))
            add("set_size", pa.array(in_sets.sum(axis=1), pa.int64(), mask=~good))
        else:
            for end, ends in zip(
                ("low", "high"), model.intervals(predictions.values, alpha).T, strict=True
            ):
                add(end, pa.array(ends, mask=~good))
    if predictions.bad:
        errors: list[str | None] = [None] * len(predictions.labels)
        for row, error in predictions.bad:
            errors[row] = error
        add("error", pa.array(errors, pa.string()))
    return pa.table(columns)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as CSV or Parquet, by the ending of the path, atomically.

    Raises:
        DataError: The folder does not exist.
        OptionError: The ending is neither .csv nor .parquet.
    """
    if not path.parent.is_dir():
        raise DataError(
            f"The folder {path.parent} does not exist.", "Create it, or give another path (-o)."
        )
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise OptionError(
            f"{path} ends in neither .csv nor .parquet.",
            "Give a path with one of these endings (-o).",
        )
    with atomic_file(path) as file:
        if path.suffix.lower() == ".csv":
            pc.write_csv(table, file)
        else:
            pq.write_table(table, file)
