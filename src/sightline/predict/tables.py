"""A model as its users see it: tables in, predictions and metrics out, whatever computes the values.

`Model` computes them with PyTorch, `OnnxModel` with ONNX Runtime. This module imports neither.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sightline.contracts import BadRow, Ray, Role, Schema
from sightline.errors import DataError, DataWarning, OptionError
from sightline.load.databases import Query
from sightline.load.object_stores import Stored
from sightline.load.pieces import Part, parts_of
from sightline.load.sources import as_source
from sightline.load.table import Table, pieces_like
from sightline.load.target import target_values
from sightline.metrics.measure import measure
from sightline.predict.conformal import Conformal, required
from sightline.predict.decisions import Decisions
from sightline.predict.reading import is_one_row, read_rows
from sightline.predict.row_predictor import Engine, RowPredictor
from sightline.predict.summary import Summary
from sightline.prepare.encode import Encoded, Encoder
from sightline.views import notebook

ENCODED_AT_ONCE = 16_384
"""Rows that are encoded together, at most."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for all rows that were given, in their order.

    Attributes:
        labels: [rows], labels in the type of the training target, or numbers; None where a row is bad.
        values: float32 [rows, K] probabilities, or float64 [rows, 1] numbers; NaN where a row is bad.
        bad: The rows that could not be read, with the reason.
        missing, unseen, out_of_range: By column, the number of rows.
        extra: Columns that the model does not know, which were ignored.
        table: The rows as they were read.
    """

    labels: np.ndarray
    values: np.ndarray
    bad: tuple[BadRow, ...]
    missing: Mapping[str, int]
    unseen: Mapping[str, int]
    out_of_range: Mapping[str, int]
    extra: tuple[str, ...]
    table: Table

    @property
    def summary(self) -> Summary:
        """The counts, which pieces of a file are added up in."""
        summary = Summary()
        self.add_to(summary)
        return summary

    def add_to(self, summary: Summary) -> None:
        """Add the counts of these rows to those of other pieces."""
        summary.add(
            len(self.labels), self.bad, self.missing, self.unseen, self.out_of_range, self.extra
        )

    def report(self) -> list[str]:
        """Return what was unusual in the rows, one sentence each; empty when nothing was."""
        return self.summary.report()

    def news(self, schema: Schema) -> list[str]:
        """Return, one sentence each, the columns whose values are hardly ever as in training; see `Summary.news`."""
        return self.summary.news(schema)

    def _repr_html_(self) -> str:
        labels, values = self.labels[:10].tolist(), self.values[:10]
        shares = values.max(axis=1).tolist() if values.shape[1] > 1 else [None] * len(labels)
        first = [list(pair) for pair in zip(labels, shares, strict=True)]
        return notebook.of_predictions(
            {"rows": len(self.labels), "first": first, "report": self.report()}
        )


class TableModel(Decisions, ABC):
    """Predictions, sets, intervals and metrics of tables.

    Attributes:
        spec: The network's inputs and the target.
        encoder: The fitted encoder, with the schema of the training table.
        baseline: The prediction that uses no features: the training rows' class shares [K], or their
            mean [1].
        provenance: Where the model comes from: source, split, test rows, versions, as JSON.
        conformal: Scores of held-out rows, for prediction sets and intervals; or None.
        threshold: For two classes, the probability from which a row is the positive class; None chooses
            the likelier class.
    """

    encoder: Encoder
    baseline: np.ndarray
    provenance: dict[str, Any]
    conformal: Conformal | None
    _row_predictor: RowPredictor | None = None

    @abstractmethod
    def values_of(self, encoded: Encoded) -> np.ndarray:
        """Return probabilities [B, K], or numbers [B, 1], of encoded rows."""

    @abstractmethod
    def engine(self) -> Engine:
        """Return what computes the values of few rows, on one thread; threads may share it."""

    # ------------------------------------------------------------- predict

    def predict(self, data: Any) -> np.ndarray:
        """Predict a label (or number) for each row.

        Args:
            data: Anything `sl.read` takes, such as a DataFrame or a list of dicts, one a row; for one row also a dict
                with a value per column, or a Series of pandas.

        Returns:
            [rows], in the type that the target had; None where a row cannot be read.

        Raises:
            DataError: A column the model needs is missing, or the source cannot be read.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> len(run.model.predict("examples/penguins.csv"))
            344
        """
        if self._is_row(data):
            return self.predictor().predict(data)
        return self.predictions(data).labels

    def predictor(self) -> RowPredictor:
        """Return what predicts single rows fast: dicts in, without a table, on one thread.

        Threads may share it. It is made once and kept; `predict` and `predict_proba` use it for a dict of one row.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> predictor = run.model.predictor()
            >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
            ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
            >>> predictor.predict_proba(row).shape, predictor.predict([row, row]).tolist()
            ((1, 3), ['Chinstrap', 'Chinstrap'])
        """
        if self._row_predictor is None:
            self._row_predictor = RowPredictor(
                self.encoder, self.read, self.engine(), self.decode, self.spec.outputs
            )
        return self._row_predictor

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the predictor of rows: a copy makes its own, which answers with the copy's weights."""
        return {name: value for name, value in self.__dict__.items() if name != "_row_predictor"}

    def _is_row(self, data: Any) -> bool:
        """Tell whether some rows are a dict of one row."""
        return isinstance(data, Mapping) and is_one_row(data)

    def predict_proba(self, data: Any) -> np.ndarray:
        """Predict each class's probability.

        Args:
            data: As in `predict`.

        Returns:
            float32 [rows, classes], in the order of `classes`; NaN where a row cannot be read.

        Raises:
            OptionError: The model is a regression.
            DataError: As `predict`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> bool(abs(run.model.predict_proba("examples/penguins.csv").sum(axis=1) - 1).max() < 1e-5)
            True
        """
        if not self.classification:
            raise OptionError(
                f"The model predicts {self.spec.target.name!r}, a number: it has no probabilities.",
                "Use predict().",
            )
        if self._is_row(data):
            return self.predictor().predict_proba(data)
        return self.predictions(data).values

    def predictions(
        self, data: Any, *, keep: tuple[str, ...] = (), encoding: str | None = None
    ) -> Predictions:
        """Predict, and report what was missing, unseen, out of range or unreadable.

        Args:
            data: As in `predict`.
            keep: Columns to carry along in `Predictions.table`.
            encoding: Of a text file that is not UTF-8.

        Raises:
            DataError: As `predict`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.model.predictions("examples/penguins.csv").missing["sex"]
            11
        """
        predictions = self.predictions_of(self.read(data, keep=keep, encoding=encoding))
        for sentence in predictions.news(self.encoder.schema):
            warnings.warn(DataWarning(sentence), stacklevel=2)
        return predictions

    def in_pieces(
        self,
        source: str | Path | Query | Stored,
        *,
        keep: tuple[str, ...] = (),
        encoding: str | None = None,
        engine: Ray | None = None,
    ) -> Iterator[Predictions]:
        """Predict a query, or CSV or Parquet files, of any size piece by piece, in the order of the rows.

        Memory is needed for one piece at a time: about 16 MB of text, or 131,072 rows of Parquet.

        Args:
            source: A query, a CSV or Parquet file, or a folder or glob of such files.
            keep, encoding: As in `predictions`.
            engine: A Ray cluster whose processes predict side by side: row groups of Parquet files, else whole files,
                which must be at the same place on all machines. None predicts in this process.

        Yields:
            The predictions of each piece; the rows in `bad` are counted from its start.

        Raises:
            DataError: As `predict`.
            OptionError: The extra `ray` is not installed, or Ray would have to read a query, whose rows come once.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> sum(len(piece.labels) for piece in run.model.in_pieces("examples/penguins.csv"))
            344
        """
        source = as_source(source)
        if engine is None:
            return self._part(keep, encoding, Part(source))
        if isinstance(source, Query):
            raise OptionError(
                "The rows of a query come once, and Ray would have several processes read them.",
                "Leave engine='ray' (--engine ray) out, or write the rows into Parquet files first.",
            )
        return self._on_ray(engine, parts_of(source), keep, encoding)

    def _part(
        self, keep: tuple[str, ...], encoding: str | None, part: Part
    ) -> Iterator[Predictions]:
        """Predict a part of a table piece by piece."""
        tables = pieces_like(
            part.source, self.encoder.schema, keep=keep, encoding=encoding,
            like=self.provenance.get("read", {}), groups=part.groups,
        )  # fmt: skip
        return map(self.predictions_of, tables)

    def _on_ray(
        self, engine: Ray, parts: Sequence[Part], keep: tuple[str, ...], encoding: str | None
    ) -> Iterator[Predictions]:
        """Predict parts of a table in the processes of a cluster."""
        from sightline.load.on_ray import spread, started

        with started(engine):
            parts = [
                part if isinstance(part.source, Stored) else replace(part, source=str(Path(str(part.source)).absolute()))
                for part in parts
            ]  # fmt: skip
            yield from spread(
                engine, partial(self._part, keep, encoding), parts, self._own_modules()
            )

    def _own_modules(self) -> list[ModuleType]:
        """Return the modules of the model's classes that other processes cannot import: none, but of a network of one's own."""
        return []

    def predictions_of(self, table: Table) -> Predictions:
        """Predict the rows of a table that `read` has read; see `predictions`."""
        reader = self.encoder.open(table)
        dtype = np.float32 if self.classification else np.float64
        values = np.full((table.rows, self.spec.outputs), np.nan, dtype)
        counts: tuple[dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {})
        bad = [row for row, _ in table.bad]
        good = np.delete(np.arange(table.rows), bad) if bad else None
        for start in range(0, table.rows - len(bad), ENCODED_AT_ONCE):
            block = slice(start, start + ENCODED_AT_ONCE)
            rows = block if good is None else good[block]
            encoded = reader(rows)
            values[rows] = self.values_of(encoded)
            for total, own in zip(
                counts, (encoded.missing, encoded.unseen, encoded.out_of_range), strict=True
            ):
                for name, count in own.items():
                    total[name] = total.get(name, 0) + count
        labels = self.decode(np.nan_to_num(values) if bad else values)
        if bad:
            labels = labels.astype(object)
            labels[bad] = None
        missing, unseen, out_of_range = counts
        return Predictions(
            labels, values, table.bad, missing, unseen, out_of_range, table.extra, table
        )

    def predict_set(self, data: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict a set of classes per row that contains the true class with probability 1 - alpha.

        Conformal prediction (Sadinle, Lei and Wasserman 2019). The guarantee holds on average over
        rows from the same distribution as the held-out rows. A set may be empty: then no class is
        as probable as the true classes of most held-out rows were.

        Args:
            data: As in `predict`.
            alpha: The share of rows whose set may miss the true class, between 0 and 1.

        Returns:
            bool [rows, classes]; a row that cannot be read has an empty set.

        Raises:
            OptionError: The model is a regression, was not calibrated on held-out rows, or alpha is
                too small for their number.
            DataError: As `predict`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.model.predict_set("examples/penguins.csv", alpha=0.1).shape
            (344, 3)
        """
        if not self.classification:
            raise OptionError(
                f"The target {self.spec.target.name!r} is a number: it has no set of classes.",
                "Use predict_interval().",
            )
        return self.sets(self.predictions(data).values, alpha)

    def sets(self, values_NK: np.ndarray, alpha: float) -> np.ndarray:
        """Return the sets of rows whose probabilities are known, bool [N, K]; see `predict_set`."""
        sets = required(self.conformal).sets(np.nan_to_num(values_NK), alpha)
        sets[np.isnan(values_NK)] = False
        return sets

    def predict_interval(self, data: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict an interval per row that contains the true number with probability 1 - alpha.

        Args:
            data: As in `predict`.
            alpha: The share of rows whose interval may miss the true number, between 0 and 1.

        Returns:
            float64 [rows, 2], the lower and the upper end; NaN for a row that cannot be read.

        Raises:
            OptionError: The model is a classification, was not calibrated on held-out rows, or alpha
                is too small for their number.
            DataError: As `predict`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="body_mass_g", quality="fast", quiet=True)
            >>> run.model.predict_interval("examples/penguins.csv", alpha=0.1).shape
            (344, 2)
        """
        if self.classification:
            raise OptionError(
                f"The target {self.spec.target.name!r} has classes: it has no interval.",
                "Use predict_set().",
            )
        return self.intervals(self.predictions(data).values, alpha)

    def intervals(self, values_N1: np.ndarray, alpha: float) -> np.ndarray:
        """Return the intervals of rows whose predictions are known, [N, 2]; see `predict_interval`."""
        return required(self.conformal).interval(values_N1[:, 0], alpha)

    def read(
        self,
        data: Any,
        *,
        keep: tuple[str, ...] = (),
        roles: tuple[Role, ...] = (),
        encoding: str | None = None,
    ) -> Table:
        """Read rows as the training table was read; one dict of single values is one row.

        Args:
            data: As in `predict`.
            keep: Further columns to carry along.
            roles: Columns of these roles at training, such as "group", are read too, where the data have them.
            encoding: Of a text file that is not UTF-8.

        Raises:
            DataError: As `predict`.
        """
        like, schema = self.provenance.get("read", {}), self.encoder.schema
        return read_rows(data, schema, keep=keep, roles=roles, encoding=encoding, like=like)

    # ------------------------------------------------------------- evaluate

    def evaluate(self, data: Any, *, encoding: str | None = None) -> dict[str, Any]:
        """Measure the model on rows whose target is known.

        Args:
            data: Anything `sl.read` takes, the target column in it.
            encoding: Of a text file that is not UTF-8.

        Returns:
            The metrics of `sightline.metrics.measure.measure`, and `left_out`: the number of rows
            without a usable target or features.

        Raises:
            DataError: The target column is missing, holds a class that the model does not know, or no
                row can be used.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.model.evaluate("examples/penguins.csv")["accuracy"] > 0.9
            True
        """
        return self.measure(self.predictions(data, encoding=encoding))

    def measure(self, predictions: Predictions, rows: np.ndarray | None = None) -> dict[str, Any]:
        """Measure predictions whose table holds the target.

        Args:
            predictions: From `predictions`.
            rows: Which rows to measure on; None for all.

        Returns:
            As `evaluate`.

        Raises:
            DataError: As `evaluate`.
        """
        truth, usable = self.truth(predictions)
        if rows is not None:
            chosen = np.zeros(len(usable), bool)
            chosen[rows] = True
            usable &= chosen
        if not usable.any():
            raise DataError(
                f"{predictions.table.name} has no row with a target.",
                "Give rows whose target is known.",
            )
        count = len(usable) if rows is None else len(rows)
        values = predictions.values[usable]
        predicted = self.choose(values) if self.classification else None
        metrics = measure(
            self.spec.target, values, truth[usable], self.baseline, predicted,
            threshold=self.threshold is not None,
        )  # fmt: skip
        return {**metrics, "left_out": count - int(usable.sum())}

    def truth(self, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Return the true targets of predicted rows.

        Returns:
            The true class numbers (int64) or numbers, [rows]; and which rows can be measured, bool
            [rows]: those with a target whose features could be read.

        Raises:
            DataError: The target column is missing, or holds a class that the model does not know.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> truth, usable = run.model.truth(run.model.predictions("examples/penguins.csv"))
            >>> truth[:3].tolist(), int(usable.sum())
            ([0, 0, 0], 344)
        """
        return self.truth_of(predictions.table)

    def truth_of(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the true targets of rows that `read` has read; see `truth`."""
        target = self.spec.target
        if target.name not in table.columns:
            raise DataError(
                f"{table.name} has no column {target.name!r}, the target: nothing to compare with.",
                "Give rows with the target, or use predict.",
            )
        truth = target_values(table, target)
        usable = table.columns[target.name].is_valid().to_numpy().copy()
        usable[[row for row, _ in table.bad]] = False
        if self.classification and (unknown := usable & (truth < 0)).any():
            row = int(np.flatnonzero(unknown)[0])
            raise DataError(
                f"{table.name}, row {row:,}: the class {table.cells(target.name, row)!r} "
                f"is none of the model's ({', '.join(target.texts[:10])}).",
                "Leave such rows out, or train the model with them.",
            )
        return truth, usable
