"""Metrics of groups of rows, and which groups a model is worse for than chance explains.

Groups are compared by the metric that the simple models are compared by. Each group has a 95 % interval of it, and one
of its difference to all other rows (`estimates`). The tests of all groups of all columns together keep a level of 5 %
(Holm 1979).

Letters: N rows, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.contracts import Target, traits_of
from sightline.errors import DataError, listed, readable
from sightline.evaluate.baselines import Moved, fair_metric
from sightline.evaluate.estimates import Estimate, area, balanced_accuracy, mean_loss
from sightline.evaluate.groups import FEW_VALUES, Groups, group_by
from sightline.load.table import Table, subset
from sightline.metrics.scores import SCORES
from sightline.predict.conformal import ALPHA
from sightline.trace.records import rounded

if TYPE_CHECKING:
    from sightline.predict.tables import Predictions, TableModel

FEW_ROWS = 30
"""The metrics of a group with fewer rows are uncertain, which is said."""
LEAST_ROWS = 10
"""A group with fewer rows is listed after the others and not compared; nor is one with fewer rows outside it."""
LEVEL = 0.05
"""The level of all tests together: how often chance alone may make any group be called worse."""
FIRST_ROWS = 1_000
"""Rows by which a column of many values is recognised."""
REPORT_COLUMNS = 12
"""Columns in the report, at most: the most important ones."""
WORDS = {
    "log_loss": "log loss", "rmse": "RMSE", "roc_auc": "AUC", "balanced_accuracy": "balanced accuracy",
}  # fmt: skip
NOT_COMPARED = (
    f"No group can be compared: that takes {LEAST_ROWS} rows in it and {LEAST_ROWS} others."
)
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


def measure_slices(
    target: Target,
    values: np.ndarray,
    truth: np.ndarray,
    columns: Sequence[Groups],
    *,
    guessed: np.ndarray | None = None,
    covered: np.ndarray | None = None,
    moved: Moved | None = None,
) -> dict[str, Any]:
    """Measure a model on groups of rows, and compare each group with all other rows.

    Args:
        target: What was predicted.
        values: Probabilities [N, K], or numbers [N, 1] in the target's unit; N > 0.
        truth: int64 class numbers [N], or numbers [N].
        columns: The rows by the value of each column, from `group_by`.
        guessed: The predicted class, int64 [N]; None takes the most probable one.
        covered: Whether each row's conformal set or interval contains the truth, bool [N]; None without them.
        moved: What moved the model's decisions on purpose, as in `score_baselines`; it decides the metric.

    Returns:
        The body of `predict/slices` without `part` (docs/trace.md): `rows`, `comparisons`, a `sentence`, and `columns`:
        each `column`, `kind`, `how`, `metric`, `greater_is_better`, `groups`, `sentence` and `caution`.
        Each group has `group` (its name), `rows`, `few`, `score` with `low` and `high`, `difference` with
        `difference_low` and `difference_high` (this group minus all other rows), `worse` and `values` (metrics by
        name). The worst group is first; groups with fewer than 10 rows are last. Numbers have 5 significant digits.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.groups import group_by
        >>> from sightline.evaluate.slices import measure_slices
        >>> groups = group_by(sl.read({"site": ["A"] * 40 + ["B"] * 40, "x": range(80)}), "site")
        >>> error = np.tile([1.0, -2.0], 40) * np.repeat([1, 5], 40)
        >>> body = measure_slices(Target("y", "regression"), error[:, None], np.zeros(80), [groups])
        >>> [(group["group"], group["rows"], group["score"]) for group in body["columns"][0]["groups"]]
        [('B', 40, 7.9057), ('A', 40, 1.5811)]
        >>> print(body["columns"][0]["sentence"])
        Worse than all other rows: B (RMSE 7.906, 6.325 higher).
    """
    fair = fair_metric(target, truth, moved)
    rows = _Rows(target, values, truth, guessed, covered)
    measured = []
    for groups in columns:
        # Rows of one true class have no area under the ROC curve, but a share that is predicted right.
        metric = "balanced_accuracy" if groups.is_target and fair == "roc_auc" else fair
        measured.append(_Measured.of(rows, groups, metric))
    _mark_worse(measured)
    body: dict[str, Any] = rounded({
        "rows": len(truth), "comparisons": sum(column.tests for column in measured),
        "columns": [column.to_json() for column in measured], "sentence": _sentence(measured),
    })  # fmt: skip
    return body


def slices_of(
    model: TableModel,
    predictions: Predictions,
    names: Sequence[str],
    *,
    table: Table | None = None,
    moved: Moved | None = None,
) -> dict[str, Any]:
    """Measure a model by the values of columns.

    Args:
        model: Any model.
        predictions: Of rows whose target is known.
        names: The columns.
        table: The same rows with columns that the model does not use; None takes the table of the predictions.
        moved: As in `measure_slices`.

    Returns:
        As `measure_slices`.

    Raises:
        OptionError, DataError: As `group_by`, and `TableModel.truth`.
    """
    truth, usable = model.truth(predictions)
    rows = np.flatnonzero(usable)
    found = predictions.table
    target = model.spec.target
    grouped = []
    for name in names:
        whole = found if name in found.schema or table is None else table
        part = subset(whole, rows)
        grouped.append(group_by(part, name, target=target, known=_known(model, name)))
    values = predictions.values[rows]
    return measure_slices(
        target, values, truth[rows], grouped, moved=moved, covered=covered_rows(model, values, truth[rows]),
        guessed=model.choose(values) if model.classification else None,
    )  # fmt: skip


def report_slices(
    model: TableModel,
    table: Table,
    values: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    moved: Moved | None = None,
) -> dict[str, Any] | None:
    """Measure a model by those of its columns that have few values: the body of `predict/slices` without `part`.

    Args:
        model: The model.
        table: The measured rows.
        values: Their predictions: probabilities [N, K], or numbers [N, 1].
        truth: Their true values, [N].
        names: The model's columns, the most important first; the first 12 that have at most 12 values are used.
        moved: As in `measure_slices`.

    Returns:
        None if no column has groups that can be compared.
    """
    columns: list[Groups] = []
    for name in names:
        if len(columns) < REPORT_COLUMNS and (groups := _few_groups(model, table, name)):
            columns.append(groups)
    if not columns:
        return None
    return measure_slices(
        model.spec.target, values, truth, columns, moved=moved, covered=covered_rows(model, values, truth),
        guessed=model.choose(values) if model.classification else None,
    )  # fmt: skip


def covered_rows(model: TableModel, values: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
    """Tell which rows' set or interval (alpha 0.1) contains the truth, bool [N]; None without such.

    Args:
        model: Any model.
        values: Probabilities [N, K], or numbers [N, 1].
        truth: int64 class numbers [N], or numbers [N].
    """
    conformal = model.conformal
    if conformal is None or not conformal.allows(ALPHA, model.classification):
        return None
    return conformal.inside(values, truth, ALPHA)


# ------------------------------------------------------------- groups


def _known(model: TableModel, name: str) -> Sequence[str] | None:
    """Return the texts of a column in the training rows; None of other columns."""
    schema = model.encoder.schema
    if name not in schema or schema[name].kind != "categorical":
        return None
    return schema.vocabularies.get(name)


def _few_groups(model: TableModel, table: Table, name: str) -> Groups | None:
    """Return the groups of a column that has few values and groups of enough rows; else None."""
    if _has_many_values(
        table, name
    ):  # grouping all rows of thousands of such columns would take minutes
        return None
    try:
        groups = group_by(table, name, known=_known(model, name), most=FEW_VALUES)
    except DataError:  # one value, or as many as rows
        return None
    counts = np.bincount(groups.of_row)
    enough = (counts >= LEAST_ROWS) & (len(table) - counts >= LEAST_ROWS)
    return groups if groups.cut == "values" and enough.any() else None


def _has_many_values(table: Table, name: str) -> bool:
    """Tell whether the first rows of a column of numbers or times already have more values than a report lists."""
    import pyarrow.compute as pc

    if traits_of(table.schema[name].kind).storage not in ("numbers", "moments"):
        return False
    values: int = pc.count_distinct(table.columns[name].slice(0, FIRST_ROWS)).as_py()
    return values > FEW_VALUES


# ------------------------------------------------------------- metrics


class _Rows:
    """The measured rows, and what is computed of them once."""

    def __init__(
        self, target: Target, values: np.ndarray, truth: np.ndarray, guessed: np.ndarray | None,
        covered: np.ndarray | None,
    ) -> None:  # fmt: skip
        self.target, self.values, self.truth = target, values.astype(np.float64), truth
        self.covered = covered
        self.positive = None if target.positive is None else target.classes.index(target.positive)
        if target.task == "classification":
            self.guessed = values.argmax(axis=1) if guessed is None else guessed
            of_true = self.values[np.arange(len(truth)), truth]
            self.losses = -np.log(of_true.clip(SMALLEST_PROBABILITY))
        else:
            self.errors = self.values[:, 0] - truth
            self.losses = np.square(self.errors)

    def estimate(self, name: str, rows: np.ndarray) -> Estimate:
        """Estimate a metric from some rows, bool [N]."""
        if name == "roc_auc":
            positive = self.truth[rows] == self.positive
            return area(self.values[rows, self.positive], positive)
        if name == "balanced_accuracy":
            return balanced_accuracy(self.guessed[rows] == self.truth[rows], self.truth[rows])
        return mean_loss(self.losses[rows], root=name == "rmse")

    def metrics(self, rows: np.ndarray) -> dict[str, float | None]:
        """Measure some rows, bool [N]; None where a metric is not defined."""
        found: dict[str, float | None] = {}
        if self.target.task == "regression":
            errors = self.errors[rows]
            found["rmse"] = math.sqrt(float(np.square(errors).mean()))
            found["mae"] = float(np.abs(errors).mean())
            found["mean_error"] = float(errors.mean())
        else:
            right = self.guessed[rows] == self.truth[rows]
            found["accuracy"] = float(right.mean())
            found["log_loss"] = float(self.losses[rows].mean())
            if self.positive is None:
                found["balanced_accuracy"] = balanced_accuracy(right, self.truth[rows]).value
            else:
                positive, predicted = (self.truth[rows] == self.positive), self.guessed[rows] == self.positive  # fmt: skip
                both = float((positive & predicted).sum())
                found["recall"] = both / positive.sum() if positive.any() else None
                found["precision"] = both / predicted.sum() if predicted.any() else None
                roc = area(self.values[rows, self.positive], positive).value
                found["roc_auc"] = None if math.isnan(roc) else roc
        if self.covered is not None:
            found["coverage"] = float(self.covered[rows].mean())
        return {name: None if value is None else float(value) for name, value in found.items()}


# ------------------------------------------------------------- comparisons


@dataclass
class _Slice:
    """A group that was measured.

    Attributes:
        name: Of the group.
        rows: How many it has.
        score: The metric that groups are compared by.
        others: The same of all other rows; None if the group is not compared with them.
        metrics: Further metrics by name.
        worse: Whether it is worse than all other rows beyond chance.
    """

    name: str
    rows: int
    score: Estimate
    others: Estimate | None
    metrics: Mapping[str, float | None]
    worse: bool = False

    @classmethod
    def of(cls, rows: _Rows, groups: Groups, number: int, metric: str) -> _Slice:
        """Measure one group."""
        inside = groups.of_row == number
        count = int(inside.sum())
        score = rows.estimate(metric, inside)
        others = None
        if min(count, len(inside) - count) >= LEAST_ROWS and score.known:
            others = rows.estimate(metric, ~inside)
        if others is not None and not others.known:
            others = None
        return cls(groups.names[number], count, score, others, rows.metrics(inside))

    @property
    def ranked(self) -> bool:
        """Whether it is listed among the groups with enough rows."""
        return self.rows >= LEAST_ROWS and math.isfinite(self.score.value)

    def to_json(self) -> dict[str, Any]:
        """Return the group as it is in the record."""
        value = self.score.value
        low, high = self.score.interval if self.score.known else (None, None)
        apart = (None,) * 3 if self.others is None else self.score.difference(self.others)
        return {
            "group": self.name, "rows": self.rows, "few": self.rows < FEW_ROWS,
            "score": value if math.isfinite(value) else None, "low": low, "high": high,
            "difference": apart[0], "difference_low": apart[1], "difference_high": apart[2],
            "worse": self.worse, "values": dict(self.metrics),
        }  # fmt: skip


@dataclass
class _Measured:
    """A column whose groups were measured.

    Attributes:
        groups: The rows by its values.
        metric: What groups are compared by.
        slices: The groups, the worst first; those that have too few rows last.
    """

    groups: Groups
    metric: str
    slices: list[_Slice]

    @classmethod
    def of(cls, rows: _Rows, groups: Groups, metric: str) -> _Measured:
        """Measure all groups of a column."""
        sign = 1 if SCORES[metric].greater_is_better else -1
        slices = [_Slice.of(rows, groups, number, metric) for number in range(len(groups.names))]
        slices.sort(
            key=lambda one: (not one.ranked, sign * one.score.value if one.ranked else -one.rows)
        )
        return cls(groups, metric, slices)

    @property
    def compared(self) -> list[tuple[_Slice, Estimate]]:
        """The groups that are compared, each with the estimate of all other rows."""
        return [(one, one.others) for one in self.slices if one.others is not None]

    @property
    def tests(self) -> int:
        """The number of comparisons: of two groups, each is all other rows of the other one."""
        return min(len(self.compared), 1) if len(self.slices) == 2 else len(self.compared)

    @property
    def worse(self) -> list[tuple[_Slice, Estimate]]:
        """The groups that are worse than all other rows."""
        return [(one, others) for one, others in self.compared if one.worse]

    def to_json(self) -> dict[str, Any]:
        """Return the column as it is in the record."""
        return {
            "column": self.groups.column, "kind": self.groups.kind, "how": self.groups.how,
            "metric": self.metric, "greater_is_better": SCORES[self.metric].greater_is_better,
            "groups": [one.to_json() for one in self.slices], "sentence": self._said(), "caution": self._caution(),
        }  # fmt: skip

    def _said(self) -> str:
        """Say which groups are worse."""
        if not self.compared:
            return NOT_COMPARED
        way = "lower" if SCORES[self.metric].greater_is_better else "higher"
        worse = [
            f"{one.name} ({WORDS[self.metric]} {readable(one.score.value)}, "
            f"{readable(abs(one.score.value - others.value))} {way})"
            for one, others in self.worse
        ]
        if worse:
            return f"Worse than all other rows: {listed(worse, 5)}."
        return "No group is worse than all other rows beyond chance."

    def _caution(self) -> str | None:
        """Say how many groups have few rows, and what else to know; None if there is nothing."""
        said, count = [], len(self.slices)
        few = sum(one.rows < FEW_ROWS for one in self.slices)
        last = sum(one.rows < LEAST_ROWS for one in self.slices)
        if few:
            said.append(
                f"{few} of {count} groups {'has' if few == 1 else 'have'} fewer than {FEW_ROWS} rows, so {'its' if few == 1 else 'their'} "
                "metrics are uncertain."
            )
        if last:
            said.append(
                f"{last} with fewer than {LEAST_ROWS} {'is' if last == 1 else 'are'} listed last and not compared."
            )
        if self.groups.is_target and self.metric == "log_loss":
            said.append("Rare classes have a higher log loss in a well calibrated model too.")
        return " ".join(said) or None


def _mark_worse(columns: Sequence[_Measured]) -> None:
    """Mark the groups that are worse than all other rows, at 5 % for all comparisons together (Holm 1979)."""
    tests: list[tuple[float, _Measured, list[tuple[_Slice, Estimate]]]] = []
    for column in columns:
        pairs = column.compared
        together = [pairs] if len(column.slices) == 2 and pairs else [[pair] for pair in pairs]
        tests += [(pair[0][0].score.chance(pair[0][1]), column, pair) for pair in together]
    tests.sort(key=lambda test: test[0])
    for number, (chance, column, pairs) in enumerate(tests):
        if chance > LEVEL / (len(tests) - number):
            break
        greater = SCORES[column.metric].greater_is_better
        for one, others in pairs:
            one.worse = (one.score.value < others.value) == greater


def _sentence(columns: Sequence[_Measured]) -> str:
    """Say what was compared, and which groups are worse."""
    comparisons = sum(column.tests for column in columns)
    if not comparisons:
        return NOT_COMPARED
    words = " and ".join(dict.fromkeys(WORDS[column.metric] for column in columns))
    worse = [
        f"{column.groups.column} = {one.name}" for column in columns for one, _ in column.worse
    ]
    which = f"{listed(worse, 6)} {'is' if len(worse) == 1 else 'are'}" if worse else "no group is"
    level = "at a level of 5 %"
    if comparisons > 1:
        level += f" for {comparisons:,} comparisons together (Holm)"
    return f"Each group is compared with all other rows by {words}: {which} worse beyond chance, {level}."
