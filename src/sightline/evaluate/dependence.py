"""Partial dependence: the mean prediction when one column is set to a value in every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.build.modes import evaluating
from sightline.contracts import traits_of
from sightline.errors import OptionError, did_you_mean
from sightline.load.table import Table
from sightline.prepare.inputs import input_columns
from sightline.trace.records import rounded

if TYPE_CHECKING:
    from sightline.predict.model import Model

GRID_CATEGORIES = 12
"""Points of a category's grid, at most: the most frequent values (and "missing")."""
SHOWN_CLASSES = 12
"""Classes whose probabilities are recorded, at most: the most probable ones."""
MISSING = "missing"


def partial_dependence(
    model: Model,
    table: Table,
    columns: Sequence[str] | None = None,
    *,
    rows: int = 200,
    points: int = 15,
    most: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Set a column to one value after another in all rows, and average the predictions.

    Partial dependence (Friedman 2001); its spread over the rows is that of the individual conditional
    expectation curves (Goldstein et al. 2015). If columns are correlated, some of the rows made in this
    way cannot exist in reality. Texts have no grid and are left out.

    Args:
        model: A trained model.
        table: Rows as `model.read` gives them.
        columns: Which columns, of which the first `most` are used; None means all, in the table's order.
        rows: The largest number of rows to average over, drawn at random.
        points: The largest number of grid points of a number or a date: quantiles of its values.
        most: The largest number of columns.
        seed: Seed of the sample of rows.

    Returns:
        `rows` (how many were averaged over), `outputs` (the 12 most probable classes, or the target's
        name), `classes` (the same; None for regression), `shown` (the index of the output to show
        first) and `columns`: each `column`, `kind`, `grid` (numbers or labels) and for each grid point
        `share` (of the rows between the previous point and this one) and, for each output, `mean`,
        `low` and `high` (10th and 90th percentile over the rows).

    Raises:
        OptionError: A column that the model does not use, or no row that can be predicted.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.dependence import partial_dependence
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> body = partial_dependence(run.model, run.model.read("examples/penguins.csv"), ["island"])
        >>> body["columns"][0]["grid"], body["outputs"]
        (['Biscoe', 'Dream', 'Torgersen'], ['Adelie', 'Chinstrap', 'Gentoo'])
    """
    names = [encoding.column for encoding in model.encoder.encodings if encoding.how != "words"]
    for name in columns or ():
        if name not in [encoding.column for encoding in model.encoder.encodings]:
            raise OptionError(f"The model has no column {name!r}.", did_you_mean(name, names))
    chosen = [name for name in columns or names if name in names][:most]
    bad = np.array([row for row, _ in table.bad], dtype=np.int64)
    sample = np.setdiff1d(np.arange(table.rows), bad)
    if len(sample) > rows:
        sample = np.sort(np.random.default_rng(seed).choice(sample, rows, replace=False))
    if not len(sample):
        raise OptionError(
            f"{table.name} has no row that can be predicted.", "Give rows to average over."
        )
    outputs, labels, shown = _outputs(model, table, sample)
    return {
        "rows": len(sample), "outputs": labels, "shown": shown,
        "classes": labels if model.task.classification else None,
        "columns": [_column(model, table, name, sample, points, outputs) for name in chosen],
    }  # fmt: skip


def _outputs(model: Model, table: Table, sample: np.ndarray) -> tuple[np.ndarray, list[Any], int]:
    """Choose the model's outputs to follow: their numbers, their names, and which to show first."""
    if not model.task.classification:
        return np.zeros(1, int), [model.spec.target.name], 0
    mean_K = model.values_of(model.encoder.open(table)(sample)).mean(axis=0)
    outputs = np.sort(np.argsort(-mean_K, kind="stable")[:SHOWN_CLASSES])
    target = model.spec.target
    labels = [target.shown[output] for output in outputs]
    positive = target.shown_positive
    shown = int(mean_K[outputs].argmax()) if positive is None else labels.index(positive)
    return outputs, labels, shown


def _column(
    model: Model, table: Table, name: str, sample: np.ndarray, points: int, outputs: np.ndarray
) -> dict[str, Any]:
    """Compute one column's curves: at each grid point all rows get the value of one of them."""
    kind = model.encoder.schema[name].kind
    traits = traits_of(kind)
    cells = [table.cells(name, int(row)) for row in sample]
    sources, share = _grid(cells, traits.ordered, points)
    names, number_at, code_at = input_columns(model.encoder, model.spec)
    numbers, codes = number_at == names.index(name), code_at == names.index(name)
    numeric_ND, codes_NC = model.inputs(model.encoder.open(table)(sample))
    mean: list[Any] = []
    low: list[Any] = []
    high: list[Any] = []
    for source in sources:
        numeric, categorical = numeric_ND.clone(), codes_NC.clone()
        numeric[:, numbers] = numeric_ND[source, numbers]
        categorical[:, codes] = codes_NC[source, codes]
        with evaluating(*model.modules):
            values = model.outputs(numeric, categorical).cpu().numpy()[:, outputs]
        mean.append(values.mean(axis=0).tolist())
        low.append(np.quantile(values, 0.1, axis=0).tolist())
        high.append(np.quantile(values, 0.9, axis=0).tolist())
    curves: dict[str, Any] = rounded({"mean": mean, "low": low, "high": high, "share": share})
    grid = [MISSING if cells[source] is None else cells[source] for source in sources]
    if traits.storage != "numbers":
        grid = [str(value) for value in grid]
    return {"column": name, "kind": kind, "grid": grid, **curves}


def _grid(cells: list[Any], ordered: bool, points: int) -> tuple[list[int], list[float]]:
    """Choose a column's grid: quantiles of numbers and dates, else the most frequent values.

    Returns:
        For each grid point the index in `cells` of a row with this value, and the share of rows.
    """
    known = [index for index, cell in enumerate(cells) if cell is not None]
    if ordered and known:
        ranked = sorted(known, key=lambda index: cells[index])
        ranks = np.unique(np.linspace(0, len(ranked) - 1, points).round().astype(int))
        first = {cells[ranked[rank]]: ranked[rank] for rank in ranks}
        upper = np.array(list(first))
        point = np.searchsorted(upper, np.array([cells[index] for index in known]))
        counts = np.bincount(point, minlength=len(upper))
        return list(first.values()), [float(count) / len(cells) for count in counts]
    frequency = Counter(cells[index] for index in known)
    top = sorted(frequency, key=lambda value: (-frequency[value], str(value)))[:GRID_CATEGORIES]
    sources = [
        next(index for index in known if cells[index] == value) for value in sorted(top, key=str)
    ]
    if len(known) < len(cells):
        sources.append(next(index for index, cell in enumerate(cells) if cell is None))
    share = [frequency.get(cells[i], len(cells) - len(known)) / len(cells) for i in sources]
    return sources, share
