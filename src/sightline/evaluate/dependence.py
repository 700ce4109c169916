"""Partial dependence: what a model predicts on average when one column is set to a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.build.modes import evaluating
from sightline.errors import OptionError, did_you_mean
from sightline.load.table import Table
from sightline.prepare.inputs import input_columns
from sightline.trace.records import rounded

if TYPE_CHECKING:
    from sightline.predict.model import Model

MOST_CATEGORIES = 12
MOST_CLASSES = 12
MISSING = "missing"


def dependence(
    model: Model,
    table: Table,
    columns: Sequence[str] | None = None,
    *,
    rows: int = 200,
    points: int = 15,
    most: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Set a column to one value after the other in all rows, and average the predictions.

    Partial dependence (Friedman 2001); the spread over rows is that of the individual curves
    (Goldstein et al. 2015). Where columns hang together, some of these rows cannot exist.

    Args:
        model: The model.
        table: Rows as `model.read` gives them.
        columns: Which columns, the first `most` of them; None takes the table's own order.
        rows: So many rows at most, drawn with the seed.
        points: Of a number's or date's grid: its quantiles.
        most: So many columns at most.
        seed: Decides the rows.

    Returns:
        `rows`, `outputs` (the 12 most frequent classes, or the target's name), `classes` (the same, None
        for a number), `shown` (which output to show first) and `columns`: each `column`, `kind`, `grid`
        (numbers, or labels), and for each of its points `share` (of the rows that lie up to it, from the
        point before) and, for each output, `mean`, `low` and `high` (10th and 90th percentile over rows).

    Raises:
        OptionError: A column that the model does not use.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.dependence import dependence
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=5, quiet=True)
        >>> found = dependence(run.model, run.model.read("examples/penguins.csv"), ["island"])
        >>> found["columns"][0]["grid"], found["outputs"]
        (['Biscoe', 'Dream', 'Torgersen'], ['Adelie', 'Chinstrap', 'Gentoo'])
    """
    names = [way.column for way in model.encoder.ways if way.how != "words"]
    for name in columns or ():
        if name not in [way.column for way in model.encoder.ways]:
            raise OptionError(f"The model has no column {name!r}.", did_you_mean(name, names))
    chosen = [name for name in columns or names if name in names][:most]
    sample = np.arange(table.rows)
    bad = np.array([row for row, _ in table.bad], dtype=np.int64)
    sample = np.setdiff1d(sample, bad)
    if len(sample) > rows:
        sample = np.sort(np.random.default_rng(seed).choice(sample, rows, replace=False))
    if not len(sample):
        raise OptionError("No row can be predicted.", "Give rows to average over.")
    encoded = model.encoder.open(table)(sample)
    base = model.values_of(encoded)
    if not model.task.classification:
        outputs: list[Any] = [model.spec.target.name]
        places, shown = np.zeros(1, int), 0
    else:
        places = np.sort(np.argsort(-base.mean(axis=0), kind="stable")[:MOST_CLASSES])
        outputs = [model.classes[place] for place in places]
        shown = int(base.mean(axis=0)[places].argmax())
        if model.spec.target.positive is not None:
            shown = outputs.index(model.spec.target.positive)
    return {
        "rows": len(sample), "outputs": outputs, "shown": shown,
        "classes": outputs if model.task.classification else None,
        "columns": [_column(model, table, name, sample, points, places) for name in chosen],
    }  # fmt: skip


def _column(
    model: Model, table: Table, name: str, sample: np.ndarray, points: int, places: np.ndarray
) -> dict[str, Any]:
    """Follow one column: rows that have a value lend it to all others."""
    kind = model.encoder.schema[name].kind
    cells = [table.cells(name, int(row)) for row in sample]
    lenders, share = _grid(cells, kind, points)
    names, number_at, code_at = input_columns(model.encoder, model.spec)
    numbers, codes = number_at == names.index(name), code_at == names.index(name)
    numeric_ND, codes_NC = model.inputs(model.encoder.open(table)(sample))
    mean: list[Any] = []
    low: list[Any] = []
    high: list[Any] = []
    for lender in lenders:
        numeric, categorical = numeric_ND.clone(), codes_NC.clone()
        numeric[:, numbers] = numeric_ND[lender, numbers]
        categorical[:, codes] = codes_NC[lender, codes]
        with evaluating(*model.modules):
            values = model.outputs(numeric, categorical).cpu().numpy()[:, places]
        mean.append(values.mean(axis=0).tolist())
        for ends, quantile in ((low, 0.1), (high, 0.9)):
            ends.append(np.quantile(values, quantile, axis=0).tolist())
    said: dict[str, Any] = rounded({"mean": mean, "low": low, "high": high, "share": share})
    grid = [MISSING if cells[lender] is None else cells[lender] for lender in lenders]
    plain = kind == "numeric"
    return {
        "column": name,
        "kind": kind,
        "grid": grid if plain else [str(one) for one in grid],
        **said,
    }


def _grid(cells: list[Any], kind: str, points: int) -> tuple[list[int], list[float]]:
    """Choose rows whose values make the grid: places in `cells`, and the share of rows of each."""
    known = [place for place, cell in enumerate(cells) if cell is not None]
    if kind in ("numeric", "datetime") and known:
        ranked = sorted(known, key=lambda place: cells[place])
        at = np.unique(np.linspace(0, len(ranked) - 1, points).round().astype(int))
        first = {cells[ranked[i]]: ranked[i] for i in at}
        tops = np.array(list(first))
        upto = np.searchsorted(tops, np.array([cells[place] for place in known]))
        counts = np.bincount(upto, minlength=len(tops))
        return list(first.values()), [float(count) / len(cells) for count in counts]
    often = Counter(cells[place] for place in known)
    top = sorted(often, key=lambda value: (-often[value], str(value)))[:MOST_CATEGORIES]
    lenders = [
        next(place for place in known if cells[place] == value) for value in sorted(top, key=str)
    ]
    if len(known) < len(cells):
        lenders.append(next(place for place, cell in enumerate(cells) if cell is None))
    share = [often.get(cells[p], len(cells) - len(known)) / len(cells) for p in lenders]
    return lenders, share
