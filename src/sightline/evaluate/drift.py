"""Whether new rows are distributed as the training rows were: each column, and the predictions.

The comparison is a two-sample chi-square test of the counts in bins (Pearson 1900), with the bins of the training rows.
Bins that expect fewer than 5 rows are joined. What healthy files reach by chance is found by resampling: both sides' rows
are dealt out again 2,000 times, and the smallest p-value over all columns and predictions is noted (Westfall and Young
1993, the columns taken as independent). The limit is the p-value that 2 of 100 such files fall below. Letters: B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sightline.contracts import traits_of
from sightline.errors import DataError, counted, readable, shorten
from sightline.load.values import date_text
from sightline.predict.model import Model
from sightline.predict.reference import Distribution, Reference, column_values, predicted_values
from sightline.prepare.encode import DAY, FIRST_KNOWN

ALARMS = 0.02
"""The share of healthy files that raise an alarm, at most."""
LEAST_EXPECTED = 5.0
RESAMPLED = 1000
"""Healthy files that are made up to find the limit."""
ENCODED_AT_ONCE = 16_384


@dataclass(frozen=True)
class Compared:
    """One column, or one thing that is predicted, in new rows and in training.

    Attributes:
        name: The column, or what is predicted.
        distance: Between the shares of the bins in training and in the new rows: the root of the sum of (p - q)^2 / r,
            with r the share in both together; 0 if they are equal.
        allowed: The distance that healthy rows of this number do not exceed.
        changes: The bins whose share changed most, in words.
    """

    name: str
    distance: float
    allowed: float
    changes: tuple[str, ...]

    @property
    def alarm(self) -> bool:
        """Whether the distance is larger than allowed."""
        return self.distance > self.allowed

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name, "distance": self.distance, "allowed": self.allowed, "alarm": self.alarm,
            "changes": list(self.changes),
        }  # fmt: skip


def reference_of(model: Model, train: Any, held_out: Any, source: str) -> Reference:
    """Make the reference of a model.

    Args:
        model: The final model.
        train: The training rows, as a `Table`.
        held_out: Rows that it did not learn from, as a `Table`; or None.
        source: Which rows these are, in words.
    """
    columns = {
        name: Distribution.of_codes(values) if name in model.encoder.codes else Distribution.of_numbers(values)
        for name, values in _columns(model, train).items()
    }  # fmt: skip
    predictions = {}
    if held_out is not None and held_out.rows:
        predictions = {
            name: Distribution.of_codes(values) if values.dtype.kind == "i" else Distribution.of_numbers(values)
            for name, values in _predictions(model, held_out).items()
        }  # fmt: skip
    return Reference(columns, predictions, source)


def check(model: Model, data: Any, *, encoding: str | None = None) -> dict[str, Any]:
    """Compare new rows with a model's training rows.

    Args:
        model: A model of `sl.fit`.
        data: Anything `Model.predict` takes.
        encoding: Of a text file that is not UTF-8.

    Returns:
        `rows`; `alarm`: whether any distance is larger than allowed; `columns` and `predictions`, each a list of
        `Compared.to_json`, the largest distance in proportion first; `missing`, `unseen` and `out_of_range` rows by
        column; `bad`, the number of rows without a prediction; `predictions_of`, the rows that predictions are compared
        with, in words; `lines`, the result in sentences.

    Raises:
        DataError: The model has no reference, or no row can be read.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.drift import check
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> check(run.model, "examples/penguins.csv")["alarm"]
        False
    """
    reference = model.reference
    if reference is None:
        raise DataError(
            "The model does not say how its training rows were distributed: sl.fit did not make it, or an older "
            "Sightline did.",
            "Fit it again.",
        )
    table = model.read(data, encoding=encoding)
    found = model.predictions_of(table)
    if table.rows == len(found.bad):
        raise DataError(f"No row of {table.name} can be read.", "Write the rows as the training rows were.")  # fmt: skip
    values = _columns(model, table)
    predicted = _of_predictions(model, found.values) if reference.predictions else {}
    found_columns = {name: one.counted(values[name]) for name, one in reference.columns.items()}
    found_predictions = {
        name: one.counted(predicted[name]) for name, one in reference.predictions.items()
    }
    limit = family_limit([
        *((one, found_columns[name]) for name, one in reference.columns.items()),
        *((one, found_predictions[name]) for name, one in reference.predictions.items()),
    ])  # fmt: skip
    columns = [
        compare(name, one, found_columns[name], limit, _bin_names(model, name, one))
        for name, one in reference.columns.items()
    ]
    predictions = [
        compare(name, one, found_predictions[name], limit, _prediction_names(model, one))
        for name, one in reference.predictions.items()
    ]
    for compared in (columns, predictions):
        compared.sort(key=lambda one: -one.distance / one.allowed)
    alarms = [one for one in [*columns, *predictions] if one.alarm]
    return {
        "name": table.name, "rows": table.rows, "alarm": bool(alarms), "bad": len(found.bad),
        "columns": [one.to_json() for one in columns], "predictions": [one.to_json() for one in predictions],
        "missing": dict(found.missing), "unseen": dict(found.unseen), "out_of_range": dict(found.out_of_range),
        "predictions_of": reference.source,
        "lines": _lines(table.name, table.rows, len(found.bad), columns, predictions, alarms),
    }  # fmt: skip


def family_limit(pairs: Sequence[tuple[Distribution, Distribution]]) -> float:
    """Return the p-value below which a healthy file falls, in any of its columns, with probability `ALARMS`.

    Args:
        pairs: Of each column, the counts in training and in the new rows.

    Example:
        >>> from sightline.evaluate.drift import family_limit
        >>> from sightline.predict.reference import Distribution
        >>> one = Distribution("values", (1.0, 2.0), (500, 500, 0, 0))
        >>> family_limit([(one, one)] * 10) < family_limit([(one, one)]) < 0.05
        True
    """
    from scipy.stats import chi2

    random = np.random.default_rng(0)
    smallest = np.ones(RESAMPLED)
    for before, now in pairs:
        a, b = _joined(np.array(before.counts), np.array(now.counts), before.how == "ranges")
        if len(a) < 2:
            continue
        both = (a + b).astype(np.int64)
        drawn = random.multivariate_hypergeometric(both, int(b.sum()), RESAMPLED, "marginals")
        statistic = _statistic(both - drawn, drawn)
        smallest = np.minimum(smallest, chi2.sf(statistic, len(a) - 1))
    return float(np.quantile(smallest, ALARMS, method="lower"))


def _statistic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the chi-square statistic of two rows of counts, [..., B] each."""
    n, m = a.sum(axis=-1, keepdims=True), b.sum(axis=-1, keepdims=True)
    share = (a + b) / (n + m)
    found: np.ndarray = ((a / n - b / m) ** 2 / share).sum(axis=-1) / (1 / n + 1 / m)[..., 0]
    return found


def compare(
    name: str, before: Distribution, now: Distribution, limit: float, names: Sequence[str]
) -> Compared:
    """Compare the counts of one column.

    Args:
        name: Of the column.
        before, now: Counts in the same bins, in training and in the new rows.
        limit: The smallest p-value that is no alarm, from `family_limit`.
        names: The bins in words.

    Example:
        >>> from sightline.evaluate.drift import compare
        >>> from sightline.predict.reference import Distribution
        >>> before = Distribution("values", (1.0, 2.0), (500, 500, 0, 0))
        >>> now = Distribution("values", (1.0, 2.0), (300, 700, 0, 0))
        >>> one = compare("x", before, now, 0.02, ["1", "2", "another", "missing"])
        >>> one.alarm, one.changes[0]
        (True, '1: 50 % of the rows, now 30 %')
    """
    from scipy.stats import chi2

    a, b = np.array(before.counts, np.float64), np.array(now.counts, np.float64)
    n, m = a.sum(), b.sum()
    joined_a, joined_b = _joined(a, b, before.how == "ranges")
    scale = float(np.sqrt(1 / n + 1 / m))
    distance, allowed = 0.0, 1.0  # one bin alone cannot differ
    if len(joined_a) > 1:
        distance = float(np.sqrt(_statistic(joined_a, joined_b))) * scale
        allowed = float(np.sqrt(chi2.isf(limit, len(joined_a) - 1))) * scale
    moved = b / m - a / n
    largest = [int(i) for i in np.argsort(-np.abs(moved), kind="stable")[:3] if moved[i]]
    changes = tuple(
        f"{names[i]}: {_percent(a[i] / n)} of the rows, now {_percent(b[i] / m)}" for i in largest
    )
    return Compared(name, distance, allowed, changes)


def _joined(a: np.ndarray, b: np.ndarray, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Join bins until each expects at least 5 rows on both sides; neighbours where bins have an order."""
    total = a.sum() + b.sum()
    smaller = min(a.sum(), b.sum())

    def expected(x: float, y: float) -> float:
        return float((x + y) / total * smaller)

    bins = [(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if x + y]
    if not ordered:
        bins.sort(key=lambda one: -sum(one))
    kept: list[tuple[float, float]] = []
    pending = (0.0, 0.0)
    for x, y in bins:
        pending = (pending[0] + x, pending[1] + y)
        if expected(*pending) >= LEAST_EXPECTED:
            kept.append(pending)
            pending = (0.0, 0.0)
    if sum(pending) and kept:
        kept[-1] = (kept[-1][0] + pending[0], kept[-1][1] + pending[1])
    elif sum(pending):
        kept = [pending]
    joined = np.array(kept).reshape(-1, 2)
    return joined[:, 0], joined[:, 1]


def _columns(model: Model, table: Any) -> dict[str, np.ndarray]:
    """Return the values of all columns of a table's readable rows."""
    reader = model.encoder.open(table)
    rows = np.delete(np.arange(table.rows), [row for row, _ in table.bad])
    parts = [
        column_values(model.encoder, reader(rows[start : start + ENCODED_AT_ONCE]))
        for start in range(0, len(rows), ENCODED_AT_ONCE)
    ] or [column_values(model.encoder, reader(rows))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _predictions(model: Model, table: Any) -> dict[str, np.ndarray]:
    return _of_predictions(model, model.predictions_of(model.read(table)).values)


def _of_predictions(model: Model, values: np.ndarray) -> dict[str, np.ndarray]:
    good = values[~np.isnan(values).any(axis=1)]
    chosen = model.choose(good) if model.classification else np.zeros(len(good), np.int64)
    return predicted_values(model.spec.target, good, chosen)


# ------------------------------------------------------------- words


def _bin_names(model: Model, name: str, one: Distribution) -> list[str]:
    column = model.encoder.schema[name]
    if one.how == "codes":
        words = model.encoder.schema.vocabularies[name]
        named = [shorten(words[int(code) - FIRST_KNOWN], 40) for code in one.bins]
        return [*named, "rare in training, or never seen", "missing"]
    first = int(model.encoder.schema.ranges[name][0]) if name in model.encoder.schema.ranges else 0
    dates = traits_of(column.kind).storage == "moments"
    unit = " known words" if column.kind == "text" else ""

    def said(value: float) -> str:
        return date_text(int(first + value * DAY))[:10] if dates else f"{readable(value, 6)}{unit}"

    return _number_bins(one, [said(value) for value in one.bins], f"another number{unit and ' of'}{unit}")  # fmt: skip


def _number_bins(one: Distribution, said: Sequence[str], another: str = "another number") -> list[str]:  # fmt: skip
    if one.how == "values":
        return [*said, another, "missing"]
    between = [f"{low} to {high}" for low, high in pairwise(said)]
    if len(between) < 2:
        return ["any number", "missing"]
    return [f"up to {said[1]}", *between[1:-1], f"above {said[-2]}", "missing"]


def _prediction_names(model: Model, one: Distribution) -> list[str]:
    if one.how == "codes":
        texts = model.spec.target.texts
        return [*(texts[int(code) - FIRST_KNOWN] for code in one.bins), "a rarer class", "missing"]
    return _number_bins(one, [readable(value, 4) for value in one.bins])


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _lines(
    name: str, rows: int, bad: int, columns: Sequence[Compared], predictions: Sequence[Compared],
    alarms: Sequence[Compared],
) -> list[str]:  # fmt: skip
    compared = counted(len(columns), "column") + (" and the predictions" if predictions else "")
    lines = [f"{name}: {counted(rows, 'row')}, {compared} compared with training."]
    if bad:
        lines.append(f"{counted(bad, 'row has', 'rows have')} no prediction.")
    for one in alarms:
        changes = "; ".join(one.changes)
        lines.append(
            f"{one.name} differs: distance {readable(one.distance, 3)}, allowed {readable(one.allowed, 3)}. {changes}."
        )
    if not alarms:
        lines.append("Nothing differs more than it may between healthy files of this size.")
    return lines
