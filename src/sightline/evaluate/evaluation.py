"""Stage 5 of a run: a finished model measured, explained and compared, as bodies of records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.build.modes import evaluating
from sightline.errors import counted
from sightline.evaluate.baselines import Moved, score_baselines
from sightline.evaluate.curves import measure_curves
from sightline.evaluate.dependence import partial_dependence
from sightline.evaluate.in_time import InTime
from sightline.evaluate.outliers import outlier_effect
from sightline.evaluate.over_time import coverage_warning, time_warnings, times_of
from sightline.evaluate.rows import example_row, explained_rows, measured_rows
from sightline.evaluate.slices import report_slices
from sightline.evaluate.trust import by_class_sentence, calibration_sentence, measure_calibration
from sightline.evaluate.worst import worst_rows
from sightline.load.table import Table, subset
from sightline.metrics.importance import SAMPLED_ROWS
from sightline.metrics.importance import importance as measure_importance
from sightline.predict.attributions import permutations_for, rows_explained
from sightline.predict.conformal import ALPHA
from sightline.predict.threshold import count_decisions, possible_thresholds
from sightline.prepare.prepared import Prepared
from sightline.train.evaluation import with_class_weights

if TYPE_CHECKING:
    from sightline.predict.model import Model
    from sightline.predict.tables import Predictions

REPEATS = 5
"""How often each column is shuffled for its importance..."""
MANY_COLUMNS = 1_000
"""... unless the table has more columns than this: then each is shuffled once."""
RECORDS = (
    "example", "metrics", "calibration", "sets", "threshold", "thresholds", "baselines", "curves", "worst", "rows",
    "importance", "dependence", "slices", "time_limit",
)  # fmt: skip
"""The types of records of stage 5, in the order in which a run writes them."""
TRIED_ROWS = 1_024
"""Rows that are predicted to see how long a row takes, where there is a time limit."""
SORTED_ROWS = 1e6
"""About how many rows are sorted in a second, for a curve of a class or for the worst rows."""
SHORT_SECONDS = 0.1
"""Seconds of a result that takes about as long for every table."""
DEPENDENCE_ROWS = 8 * 15 * 200
"""Predictions of the partial dependence: columns x points x rows."""
CONTRIBUTIONS_SECONDS = 1.2
"""Seconds of loading what computes contributions (Captum), about."""
EXPLAINED_SECONDS = 0.01
"""Seconds of an explained row, besides its predictions."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of stage 5 for a finished model.

    Each attribute named in `RECORDS` is the body of the record of that type (docs/trace.md), or None
    where a run has no such record. It is computed when it is first read and kept: a run that writes
    `records()` one after another shows its metrics while simple models are still being fitted.

    The model is measured on the test rows; without any on the validation rows, then on out-of-fold
    predictions, then on the training rows.

    Args:
        model: The final model.
        prepared: The rows that it was trained on, and their splits.
        held_out: The rows that the parts' weights and the temperature were fitted on: `source` in words and the number of
            `rows`; None without calibration.
        held_out_values: The model's probabilities or numbers of the rows that sets or intervals were fitted on, and their
            targets; None without calibration.
        out_of_fold: Out-of-fold probabilities [N, K] or numbers [N, 1] of the training rows that are measured where no others are; or None.
        class_weights: Those that the model was trained with ("balanced", or a mapping), or None.
        with_baselines: Whether simple models are fitted on the same rows to compare with.
        with_report: Whether to compute what only the report shows: curves, worst and explained rows,
            importance, dependence, slices.
        seed: Seed of the samples, the shuffles and the bootstrap.
        in_time: Says whether there is time for what may be left out: simple models, and what only the report shows.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.evaluation import Evaluation
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species", valid=0.1, test=0.1)
        >>> prepared = sl.prepare(splits)
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=3)
        >>> for _ in training.steps():
        ...     pass
        >>> evaluation = Evaluation(training.model(), prepared, with_report=False)
        >>> [type_ for type_, _ in evaluation.records()]
        ['example', 'metrics', 'baselines']
        >>> evaluation.part, evaluation.metrics["rows"]
        ('test', 34)
    """

    model: Model
    prepared: Prepared
    held_out: Mapping[str, Any] | None = None
    held_out_values: tuple[np.ndarray, np.ndarray] | None = None
    out_of_fold: np.ndarray | None = None
    class_weights: Any = None
    with_baselines: bool = True
    with_report: bool = True
    seed: int = 0
    in_time: InTime = field(default_factory=InTime)

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the type and the body of each record that this run has, in the order of `RECORDS`."""
        for type_ in RECORDS:
            body = getattr(self, type_)
            if body is not None:
                yield type_, body

    # ------------------------------------------------------------- the measured rows

    @property
    def rows_measured(self) -> np.ndarray:
        """The numbers of the measured rows in the table, int64 [N]."""
        return measured_rows(self.prepared.splits)[1]

    @property
    def part(self) -> str:
        """What the measured rows are: "test", "validation", "out-of-fold" or "training"."""
        part, _ = measured_rows(self.prepared.splits)
        return "out-of-fold" if part == "training" and self.out_of_fold is not None else part

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions of the measured rows."""
        table = subset(self.prepared.splits.table, self.rows_measured)
        predictions = self.model.predictions(table)
        if self.part != "out-of-fold":
            return predictions
        assert self.out_of_fold is not None
        values = self.out_of_fold.astype(predictions.values.dtype)
        return replace(predictions, values=values, labels=self.model.decode(values))

    @cached_property
    def _truth(self) -> tuple[np.ndarray, np.ndarray]:
        """The true values of the measured rows, and which rows have a truth and a prediction."""
        return self.model.truth(self.predictions)

    @property
    def _compared(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted values and true values of the rows that have both."""
        truth, usable = self._truth
        return self.predictions.values[usable], truth[usable]

    @cached_property
    def _compared_table(self) -> Table:
        """The table of the rows of `_compared`."""
        _, usable = self._truth
        return subset(self.predictions.table, np.flatnonzero(usable))

    @property
    def _rows(self) -> int:
        """How many rows are measured."""
        return len(self.rows_measured)

    @property
    def _times(self) -> np.ndarray | None:
        """The times of the rows of `_compared`, if the newest rows are held out; else None."""
        _, usable = self._truth
        held_out = self.part in ("test", "validation")
        return times_of(self.prepared.splits, self.rows_measured[usable]) if held_out else None

    def _time_warnings(self) -> list[str]:
        if (times := self._times) is None:
            return []
        options = self.prepared.splits.options
        groups = options["group"] is not None
        return time_warnings(
            self.model.spec.target,
            *self._compared,
            times,
            options["time"],
            self.part,
            groups=groups,
        )

    def _outlier_notes(self) -> list[str]:
        """Say what rows with an outlier do to the RMSE."""
        if self.model.task.classification:
            return []
        splits, (_, usable), (values, truth) = self.prepared.splits, self._truth, self._compared
        numbers = splits.row_numbers(self.rows_measured[usable])
        return outlier_effect(
            splits.remarks, self.rows_measured[usable], numbers, truth - values[:, 0]
        )

    def _chosen(self, values: np.ndarray) -> np.ndarray | None:
        """The class that the model decides for in each row; None for regression."""
        return self.model.choose(values) if self.model.task.classification else None

    @property
    def _moved(self) -> Moved | None:
        """What moved the model's decisions on purpose."""
        if self.class_weights is not None:
            return "class weights"
        return None if self.model.threshold is None else "threshold"

    def _about(self, held_out: Mapping[str, Any]) -> dict[str, Any]:
        """Return which rows calibration was fitted on, and which it is measured on."""
        _, usable = self._truth
        return {"source": held_out["source"], "part": self.part, "rows": int(usable.sum())}

    @cached_property
    def _row_seconds(self) -> float:
        """About how long the prediction of a row takes among many; 0 where no clock decides."""
        if not self.in_time.is_limited():
            return 0.0
        model, table = self.model, self.predictions.table
        sample = np.arange(min(TRIED_ROWS, table.rows))
        numeric_BD, codes_BC = model.inputs(model.encoder.open(table)(sample))
        times = -(-TRIED_ROWS // len(sample))
        numeric_BD, codes_BC = numeric_BD.repeat(times, 1), codes_BC.repeat(times, 1)
        with evaluating(*model.modules):
            began = time.perf_counter()
            model.outputs(numeric_BD, codes_BC)
        return (time.perf_counter() - began) / len(numeric_BD)

    @property
    def _turns(self) -> int:
        """How many predictions the contributions of a row's columns take."""
        columns = len(self.model.encoder.encodings)
        return columns * permutations_for(columns)

    @cached_property
    def _contributions(self) -> bool:
        """Whether there is time for the contributions of each column."""
        seconds = CONTRIBUTIONS_SECONDS + self._turns * self._row_seconds
        return self.in_time.allows("contributions", seconds)

    def _allows(self, name: str, seconds: float) -> bool:
        """Return whether what only the report shows is computed: there is a report, and time for it."""
        return self.with_report and self.in_time.allows(name, seconds)

    # ------------------------------------------------------------- the bodies

    @cached_property
    def example(self) -> dict[str, Any]:
        """The first measured row, followed through the model."""
        return example_row(self.model, self.prepared.splits, self._contributions)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Loss, accuracy and the like."""
        measured = self.model.measure(self.predictions)
        notes = [*self._outlier_notes(), *measured["notes"], *self._time_warnings()]
        return {**measured, "notes": notes, "part": self.part}

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """The weight of each part of the model, and its probabilities before and after calibration."""
        held_out, blend = self.held_out, self.model.blend
        if held_out is None or blend is None:
            return None
        weights, shares = blend.weights, blend.shares
        body: dict[str, Any] = {
            **self._about(held_out), "fitted_rows": held_out["rows"],
            "parts": [{"name": n, "weight": weights[n], "share": shares[n]} for n in weights],
        }  # fmt: skip
        if self.model.task.classification:
            body |= measure_calibration(self.model, *self._compared)
        return {**body, "said": calibration_sentence(body)}

    @cached_property
    def sets(self) -> dict[str, Any] | None:
        """How often the model's sets or intervals contain the true value."""
        held_out, conformal = self.held_out, self.model.conformal
        if held_out is None or self.model.blend is None:
            return None
        if conformal is None or not conformal.allows(ALPHA, self.model.classification):
            return None
        body = {
            **self._about(held_out), "source": conformal.source, **conformal.coverage(*self._compared, ALPHA)
        }  # fmt: skip
        if self.model.classification:
            texts = self.model.spec.target.texts
            body["by_class"] = [(t, *own) for t, own in zip(texts, body["by_class"], strict=True)]
            body["said"] += by_class_sentence(body["by_class"])
        if (times := self._times) is not None:
            inside = conformal.inside(*self._compared, ALPHA)
            warning = coverage_warning(inside, ALPHA, times, conformal.rows)
            body |= {} if warning is None else {"said": f"{body['said']} {warning}"}
        return body

    @cached_property
    def threshold(self) -> dict[str, Any] | None:
        """The decision threshold of a binary classification."""
        threshold = self.model.threshold
        if self.held_out is None or self.model.blend is None or threshold is None:
            return None
        return {**threshold.to_json(), "said": threshold.words(self.model.spec.target)}

    @cached_property
    def thresholds(self) -> dict[str, Any] | None:
        """What each threshold decides, on the rows that sets were fitted on and on the test rows."""
        target, held_out = self.model.spec.target, self.held_out
        if held_out is None or self.held_out_values is None or target.positive is None:
            return None
        conformal = self.model.conformal
        source = held_out["source"] if conformal is None else conformal.source
        index, threshold = target.classes.index(target.positive), self.model.threshold
        values, truth = self.held_out_values
        chosen = 0.5 if threshold is None else threshold.value
        tried = possible_thresholds(values[:, index], truth == index, {0.5, chosen})

        def counted_on(source: str, values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
            counts = count_decisions(values[:, index], truth == index, tried)
            return {"source": source, "rows": len(truth), **counts}

        body = {
            "positive": target.shown[index], "negative": target.shown[1 - index], "chosen": chosen,
            "thresholds": tried.tolist(), "calibration": counted_on(source, values, truth),
        }  # fmt: skip
        if self.part == "test":
            values, truth = self._compared
            body["test"] = counted_on(counted(len(truth), "test row"), values, truth)
        if self.prepared.train.weight is not None:
            body["note"] = (
                "Each row counts once here. A threshold that a metric chooses counts rows by their weights."
            )
        return body

    @cached_property
    def baselines(self) -> dict[str, Any] | None:
        """Simple models, scored on the same rows; None if the model was trained on these rows."""
        prepared, target = self.prepared, self.model.spec.target
        batch = {"test": prepared.test, "validation": prepared.valid}.get(self.part)
        if not self.with_baselines or batch is None:
            return None
        values, (truth, _) = self.predictions.values, self._truth
        if len(batch.row) != len(truth):
            return None  # half of the validation rows were set apart for calibration
        train = with_class_weights(prepared.train, self.class_weights, self.model.task)
        body = score_baselines(
            target, train, batch, self.model.spec.cardinalities, values, truth,
            guessed=self._chosen(values), seed=self.seed, plain=prepared.standardised, moved=self._moved,
            allows=self.in_time.allows,
        )  # fmt: skip
        remark = prepared.splits.table.remark
        return {"part": self.part, **body, **({"remark": remark} if remark else {})}

    @cached_property
    def curves(self) -> dict[str, Any] | None:
        """ROC, precision-recall and reliability curves, or residuals."""
        classes = len(self.model.classes) or 1
        if not self._allows("curves", SHORT_SECONDS + self._rows * classes / SORTED_ROWS):
            return None
        return {"part": self.part, **measure_curves(self.model.spec.target, *self._compared)}

    @cached_property
    def worst(self) -> dict[str, Any] | None:
        """The rows with the largest errors, with their raw values."""
        if not self._allows("worst", SHORT_SECONDS + self._rows / SORTED_ROWS):
            return None
        _, usable = self._truth
        values, truth = self._compared
        table = self._compared_table
        numbers = self.prepared.splits.row_numbers(self.rows_measured[usable])
        body = worst_rows(
            self.model.spec.target, values, truth, table, numbers, self._chosen(values)
        )
        return {"part": self.part, **body}

    @cached_property
    def rows(self) -> dict[str, Any] | None:
        """A sample of rows, each followed through the model."""
        if not self.with_report or not self._contributions:
            return None
        most = rows_explained(len(self.model.encoder.encodings))
        most = self.in_time.at_most(
            "rows", most, EXPLAINED_SECONDS + self._turns * self._row_seconds
        )
        if not most:
            return None
        return explained_rows(self.model, self.prepared.splits, self.seed, most)

    @cached_property
    def importance(self) -> dict[str, Any] | None:
        """How much worse the metric gets when a column is shuffled."""
        if not self.with_report:
            return None
        columns = len(self.model.encoder.encodings)
        repeats = self.in_time.at_most(
            "importance", REPEATS if columns <= MANY_COLUMNS else 1,
            columns * min(self._rows, SAMPLED_ROWS) * self._row_seconds,
        )  # fmt: skip
        if not repeats:
            return None
        truth, usable = self.model.truth(self.predictions)
        return measure_importance(
            self.model, self.predictions.table, truth, usable, self.part, repeats=repeats,
            seed=self.seed,
        )  # fmt: skip

    @cached_property
    def dependence(self) -> dict[str, Any] | None:
        """The mean prediction by the value of each of the most important columns."""
        seconds = SHORT_SECONDS + DEPENDENCE_ROWS * self._row_seconds
        if self.importance is None or not self._allows("dependence", seconds):
            return None
        columns = [column["column"] for column in self.importance["columns"]]
        body = partial_dependence(self.model, self.predictions.table, columns, seed=self.seed)
        return {"part": self.part, **body}

    @cached_property
    def slices(self) -> dict[str, Any] | None:
        """The metrics by the value of the most important columns that have few values."""
        if self.importance is None or not self._allows("slices", 2 * SHORT_SECONDS):
            return None
        values, truth = self._compared
        columns = [column["column"] for column in self.importance["columns"]]
        body = report_slices(self.model, self._compared_table, values, truth, columns, self._moved)
        return None if body is None else {"part": self.part, **body}

    @property
    def time_limit(self) -> dict[str, Any] | None:
        """What of the above a time limit left out or shortened; None if nothing."""
        return self.in_time.body()
